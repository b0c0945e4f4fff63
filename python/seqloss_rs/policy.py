"""From logits to what policies and evaluations are made of, and from coefficients back to logits.

A loss that is a function of the log-probabilities of tokens (and of entropies) needs two passes over its logits and
nothing else: :func:`token_log_probs` gives what it is a function of, and :func:`policy_gradient_logits` takes its
derivatives with respect to those back to the logits.
"""

from dataclasses import dataclass
from typing import Any

from . import _native
from ._types import Array, Floats, Integers, Lengths, Mask

__all__ = ["TokenLogProbs", "policy_gradient_logits", "token_log_probs"]


@dataclass(frozen=True, eq=False)
class TokenLogProbs:
    """What :func:`token_log_probs` returns: arrays of the shape of the targets, or lists of them for a list of logits.

    Attributes
    ----------
    log_probs : float32 (float64 for float64 logits)
        Logarithm of the target's probability, at most 0; 0 for a step that is not valid.
    entropy : float32 (float64 for float64 logits)
        Entropy of the distribution in nats; 0 for a step that is not valid.
    argmax : int64
        The class with the largest probability, the first of equals; -1 for a step that is not valid, and where all
        logits are NaN.
    max_log_probs : float32 (float64 for float64 logits)
        Its log-probability; 0 for a step that is not valid.
    rank : int64
        How many classes come before the target when they are sorted by falling probability, equal ones by their number:
        0 where the target is `argmax`; C where logits are NaN or +inf; -1 for a step that is not valid.
    """

    log_probs: Any
    entropy: Any
    argmax: Any
    max_log_probs: Any
    rank: Any


def token_log_probs(
    logits: Floats,
    targets: Integers,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    softcap: float | None = None,
) -> TokenLogProbs:
    """Log-probability and rank of each target, entropy and argmax of each step, in one reading of the logits.

    Parameters
    ----------
    logits : (T, C), (N, T, C) or (N, K, T, C) array, or list of N arrays
        Scores of C classes in each step, of float16, bfloat16, float32 or float64.
    targets : (T,), (N, T) or (N, K, T) integers, or list of N arrays
        The class of each step.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : (N, T) booleans, optional
        The valid steps.
    ignore_index : int
        Steps with this target are not valid.
    temperature : float
        τ > 0: the distribution is the softmax of logits / τ.
    softcap : float, optional
        Caps the logits at cap · tanh(logits / cap), before they are divided by the temperature.

    Returns
    -------
    TokenLogProbs
        `log_probs`, `entropy`, `argmax`, `max_log_probs` and `rank`, each of the shape of `targets`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> found = seqloss_rs.token_log_probs(np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]), [0, 0])
    >>> np.exp(found.log_probs).round(6), found.entropy.round(6)
    (array([0.5, 0.1]), array([1.039721, 0.801819]))
    >>> found.argmax, found.rank
    (array([0, 2]), array([0, 2]))

    References
    ----------
    ``selective_log_softmax`` and ``entropy_from_logits`` of TRL 0.24, in one pass.
    """
    return TokenLogProbs(*_native.token_log_probs(logits, targets, lengths, mask, ignore_index, temperature, softcap))


def policy_gradient_logits(
    logits: Floats,
    ids: Integers,
    coefficients: Floats,
    *,
    entropy: Floats | float = 0.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    softcap: float | None = None,
    out: Array | None = None,
) -> Any:
    """Gradient of Σₜ (cₜ ln pₜ(aₜ) + eₜ Hₜ) with respect to the logits: c ([j = a] − pⱼ) − e pⱼ (ln pⱼ + H).

    With c the derivative of a loss with respect to the log-probability of each token, and e that with respect to each
    entropy, it is the gradient of that loss. Softmax and log-probabilities are never stored.

    Parameters
    ----------
    logits : (T, C), (N, T, C) or (N, K, T, C) array, or list of N arrays
        Scores of C classes in each step, of float16, bfloat16, float32 or float64.
    ids : (T,), (N, T) or (N, K, T) integers, or list of N arrays
        The token a of each step.
    coefficients : floats of the shape of `ids`
        c
    entropy : float, or floats of the shape of `ids`
        e, the derivative of the loss with respect to H: −β for a bonus of β H, which :func:`reinforce_loss` takes as
        ``entropy=β``.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read, and its gradient is 0.
    mask : (N, T) booleans, optional
        The valid steps; the gradient of others is exactly 0, and NaN there changes nothing.
    ignore_index : int
        Steps with this token are not valid.
    temperature : float
        τ > 0: p is the softmax of logits / τ.
    softcap : float, optional
        Caps the logits at cap · tanh(logits / cap), before they are divided by the temperature.
    out : array like `logits` (or list of arrays), optional
        Receives the gradient; it may be `logits` itself, which is then overwritten.

    Returns
    -------
    array or list of arrays
        The gradient, with the dtype and shape of `logits`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    The gradient of −ln p is that of cross-entropy:

    >>> import numpy as np, seqloss_rs
    >>> logits = np.log([[0.5, 0.25, 0.25]])
    >>> seqloss_rs.policy_gradient_logits(logits, [0], [-1.0])
    array([[-0.5 ,  0.25,  0.25]])
    """
    return _native.policy_gradient_logits(
        logits, ids, coefficients, entropy, lengths, mask, ignore_index, temperature, softcap, out
    )
