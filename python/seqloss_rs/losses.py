"""The numeric losses, and their gradients.

Every loss is a function of arrays with everything optional as keywords; :func:`value_and_grad` turns it into one that
returns its gradient as well. Defaults and words live here, checks and numbers in the native module.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from . import _native
from ._types import Array, Floats, Integers, Lengths, Mask, Value

__all__ = ["mae_loss", "mse_loss", "value_and_grad"]

P = ParamSpec("P")
R = TypeVar("R")


def mse_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    reduction: str = "mean",
    normalizer: float | None = None,
) -> Value:
    """Mean squared error: ℓ = (prediction − target)².

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : booleans of the shape of `predictions`, with or without D, optional
        The valid elements; NaN elsewhere changes nothing, and the gradient there is exactly 0.
    weights : floats of the shape of `predictions`, with or without D, optional
        A factor for each element.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        Σ w ℓ / Σ w over valid elements; every element; a sum for each sequence; the same over its valid elements; one sum;
        the same over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ w ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean", "sum" and "batch_mean"; otherwise float32 (float64 for float64 predictions): (N,), or the shape
        of `predictions` (a list for a list).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> predictions = np.array([[1.0, 2.0, 4.0], [0.0, 9.0, 9.0]])
    >>> targets = np.array([[1.0, 2.0, 3.0], [2.0, 0.0, 0.0]])
    >>> seqloss_rs.mse_loss(predictions, targets, lengths=[3, 1])
    1.25
    >>> seqloss_rs.mse_loss(predictions, targets, lengths=[3, 1], reduction="sequence")
    array([1., 4.])

    References
    ----------
    ``torch.nn.functional.mse_loss`` (PyTorch 2.13), with lengths, mask and weights.
    """
    return _native.mse_loss(None, predictions, targets, lengths, mask, weights, reduction, normalizer)


def mae_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    reduction: str = "mean",
    normalizer: float | None = None,
) -> Value:
    """Mean absolute error: ℓ = |prediction − target|. Its slope at 0 is 0.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, reduction, normalizer
        As in :func:`mse_loss`.

    Returns
    -------
    float or array
        As in :func:`mse_loss`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.mae_loss(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 1.0]))
    1.0

    References
    ----------
    ``torch.nn.functional.l1_loss`` (PyTorch 2.13), with lengths, mask and weights.
    """
    return _native.mae_loss(None, predictions, targets, lengths, mask, weights, reduction, normalizer)


class ValueAndGrad(Generic[P, R]):
    """What :func:`value_and_grad` returns: calls a loss, and returns (value, gradient). Pickles."""

    def __init__(self, loss: Callable[P, R], grad_output: Any, out: Any) -> None:
        self.loss = loss
        self.grad_output = grad_output
        self.out = out
        function: Any = loss
        defaults: dict[str, Any] = {}
        arguments: tuple[Any, ...] = ()
        while isinstance(function, partial):
            defaults = function.keywords | defaults
            arguments = function.args + arguments
            function = function.func
        name = getattr(function, "__name__", None)
        if name in _TEXT and getattr(function, "__module__", None) == f"{__package__}.text":
            raise TypeError(
                f"{name} has no gradient, because text does not vary by degrees; use expected_bleu_loss for a "
                "differentiable one, or reinforce_loss with the loss as a reward"
            )
        if name not in __all__ or globals().get(name) is not function:
            raise TypeError(f"loss is {loss!r}, expected one of {', '.join(_DIFFERENTIABLE)} or a partial of one")
        self._native = getattr(_native, name)
        self._defaults = (function.__kwdefaults__ or {}) | defaults
        self._arguments = arguments
        self.__wrapped__ = loss

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Any]:
        """Return (value, gradient)."""
        result: tuple[R, Any] = self._native(
            (self.grad_output, self.out), *self._arguments, *args, **(self._defaults | kwargs)
        )
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return (ValueAndGrad, (self.loss, self.grad_output, self.out))

    def __repr__(self) -> str:
        return f"value_and_grad({self.loss!r})"


_TEXT = ("bleu_loss", "rouge_loss")
_DIFFERENTIABLE = [name for name in __all__ if name != "value_and_grad"]


def value_and_grad(
    loss: Callable[P, R], grad_output: Floats | float | None = None, out: Array | list[Array] | None = None
) -> ValueAndGrad[P, R]:
    """Turn a loss into a function that returns (value, gradient).

    The gradient is with respect to the first argument: of the reduced value, or of the sum of an array-valued one.

    Parameters
    ----------
    loss : callable
        A numeric loss of this package, or a ``functools.partial`` of one.
    grad_output : float, or floats of the shape of the value, optional
        Makes the gradient that of ``(grad_output * value).sum()``.
    out : array like the first argument (or list of arrays), optional
        Receives the gradient; it may be the first argument itself, which is then overwritten (also where the call is
        interrupted).

    Returns
    -------
    callable
        Takes the arguments of `loss`. The gradient has the dtype and the shape of the first argument (a list for a list),
        and is exactly 0 where a step is masked or lies beyond its length.

    Raises
    ------
    TypeError
        For anything else than a numeric loss; text losses have no gradient.

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
    return ValueAndGrad(loss, grad_output, out)
