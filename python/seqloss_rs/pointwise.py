"""The losses of single numbers: mean squared error and mean absolute error.

Defaults and words live here, checks and numbers in the native module.
"""

from . import _native
from ._types import Floats, Lengths, Mask, Reduction, Value

__all__ = ["mae_loss", "mse_loss"]


def mse_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    reduction: Reduction = "mean",
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
        Σ w ℓ / Σ w over valid elements; every element; a sum for each sequence; the same over its valid elements; one
        sum; the same over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ w ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean", "sum" and "batch_mean"; otherwise float32 (float64 for float64 predictions): (N,), or the
        shape of `predictions` (a list for a list).

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
    reduction: Reduction = "mean",
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
