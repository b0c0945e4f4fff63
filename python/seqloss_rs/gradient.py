"""The gradients of losses, in the manner of JAX."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from . import _native, expected, losses, pointwise, policy_losses
from ._types import Array, Floats

__all__ = ["value_and_grad"]

P = ParamSpec("P")
R = TypeVar("R")


class ValueAndGrad(Generic[P, R]):
    """What :func:`value_and_grad` returns: calls a loss, and returns (value, gradient). Pickles."""

    def __init__(self, loss: Callable[P, R], grad_output: Any, out: Any, argnums: int = 0) -> None:
        self.loss = loss
        self.grad_output = grad_output
        self.out = out
        self.argnums = argnums
        function: Any = loss
        defaults: dict[str, Any] = {}
        arguments: tuple[Any, ...] = ()
        while isinstance(function, partial):
            defaults = function.keywords | defaults
            arguments = function.args + arguments
            function = function.func
        name = getattr(function, "__name__", "")
        if name in _TEXT and getattr(function, "__module__", None) == f"{__package__}.text":
            raise TypeError(
                f"{name} has no gradient, because text does not vary by degrees; use expected_{name} with "
                "probabilities of tokens for a differentiable one, or reinforce_loss with the loss as a reward"
            )
        if name not in _DIFFERENTIABLE or _DIFFERENTIABLE[name] is not function:
            raise TypeError(f"loss is {loss!r}, expected one of {', '.join(_DIFFERENTIABLE)} or a partial of one")
        self._native = _native_of(name)
        self._defaults = (function.__kwdefaults__ or {}) | defaults
        code, values = function.__code__, function.__defaults__ or ()
        if argnums != 0:
            others = _OTHER_ARGUMENTS.get(name, ())
            if argnums not in others:
                known = " and ".join(f"{place} ({code.co_varnames[place]})" for place in (0, *others))
                raise ValueError(f"argnums is {argnums!r}, but {name} has gradients with respect to {known} only")
            self._defaults["argnums"] = argnums
        # Parameters that may be passed by position or left out, with their places.
        first = code.co_argcount - len(values)
        self._optional = list(zip(range(first, code.co_argcount), code.co_varnames[first:], values, strict=False))
        self._arguments = arguments
        # What follows so many arguments, where all of it can be handed on by position, which is faster than by name.
        self._rest: dict[int, tuple[Any, ...]] = {}
        if (*code.co_varnames[: code.co_argcount], *self._defaults) == _parameters(name):
            options = tuple(self._defaults.values())
            for count in range(first, code.co_argcount + 1):
                self._rest[count] = (*values[count - first :], *options)
        self.__wrapped__ = loss

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Any]:
        """Return (value, gradient)."""
        arguments = self._arguments + args
        result: tuple[R, Any]
        if not kwargs and (rest := self._rest.get(len(arguments))) is not None:
            result = self._native((self.grad_output, self.out), *arguments, *rest)
            return result
        keywords = self._defaults | kwargs
        for place, name, default in self._optional:
            if place >= len(arguments):
                keywords.setdefault(name, default)
        result = self._native((self.grad_output, self.out), *arguments, **keywords)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return (ValueAndGrad, (self.loss, self.grad_output, self.out, self.argnums))

    def __repr__(self) -> str:
        return f"value_and_grad({self.loss!r})"


_TEXT = ("bleu_loss", "rouge_loss")
_DIFFERENTIABLE: dict[str, Callable[..., Any]] = {
    name: getattr(module, name) for module in (losses, pointwise, policy_losses, expected) for name in module.__all__
}

_OTHER_ARGUMENTS = {"gaussian_nll_loss": (2,)}
"""The arguments besides the first with respect to which there is a gradient."""


def _native_of(name: str) -> Callable[..., Any]:
    """Return the native function of a loss, which takes (grad_output, out) before the arguments of the loss."""
    own: Callable[..., Any] | None = getattr(_native, name, None)
    family = _native.policy_loss if name in policy_losses.__all__ else _native.pointwise_loss
    family = _native.expected_loss if name in expected.__all__ else family
    return own or partial(family, name.removesuffix("_loss"))


def _parameters(name: str) -> tuple[str, ...]:
    """Return the names of what the native function of a loss takes after (grad_output, out)."""
    function: Any = getattr(_native, name, _native.pointwise_loss)
    names = (function.__text_signature__ or "()").strip("()").split(", ")
    return tuple(name for name in names if name not in ("curve", "gradient", "**parameters"))


def value_and_grad(
    loss: Callable[P, R],
    grad_output: Floats | float | None = None,
    out: Array | Sequence[Array] | None = None,
    argnums: int = 0,
) -> ValueAndGrad[P, R]:
    """Turn a loss into a function that returns (value, gradient).

    The gradient is with respect to the first argument (or that of `argnums`): of the reduced value, or of the sum of an
    array-valued one.

    Parameters
    ----------
    loss : callable
        A numeric loss of this package, or a ``functools.partial`` of one.
    grad_output : float, or floats of the shape of the value, optional
        Makes the gradient that of ``(grad_output * value).sum()``.
    out : array like the first argument (or list of arrays), optional
        Receives the gradient; it may be the first argument itself, which is then overwritten (also where the call is
        interrupted).
    argnums : int
        With respect to which argument: 0, or 2 for the variances of :func:`gaussian_nll_loss`, whose dtype the results
        then have.

    Returns
    -------
    callable
        Takes the arguments of `loss`. The gradient has the dtype and the shape of the first argument (a list for a
        list), and is exactly 0 where a step is masked or lies beyond its length.

    Raises
    ------
    TypeError
        For anything else than a numeric loss; text losses have no gradient.
    ValueError
        Where there is no gradient with respect to the argument that `argnums` names.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> value, grad = seqloss_rs.value_and_grad(seqloss_rs.mse_loss)(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    >>> value, grad
    (2.0, array([0., 2.]))

    References
    ----------
    ``jax.value_and_grad``.
    """
    return ValueAndGrad(loss, grad_output, out, argnums)
