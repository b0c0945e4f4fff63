"""The losses of single numbers: mean squared and absolute error, and what lies between and beyond them.

All compare predictions with targets, number by number; they differ in the curve. Defaults and words live here, checks
and numbers in the native module.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from . import _native
from ._types import Array, Floats, Lengths, Mask, Reduction, Value

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "log_cosh_loss",
    "mae_loss",
    "mape_loss",
    "mse_loss",
    "msle_loss",
    "poisson_nll_loss",
    "quantile_loss",
    "smape_loss",
    "smooth_l1_loss",
]

Nan: TypeAlias = Literal["propagate", "omit"]
"""What becomes of a pair with a NaN in it."""


def mse_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
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
        A factor for each element, in the range of float64 whatever `predictions` are. An element of weight 0 is not
        valid, as if `mask` left it out.
    nan : {"propagate", "omit"}
        "omit": an element whose prediction or target is NaN is not valid, as if `mask` left it out.
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
    >>> seqloss_rs.mse_loss(predictions, np.array([[1.0, np.nan, 3.0], [2.0, 9.0, 9.0]]), nan="omit")
    1.0

    References
    ----------
    ``torch.nn.functional.mse_loss`` (PyTorch 2.13), with lengths, mask and weights. (Keras divides a weighted sum by
    the number of elements: ``normalizer=predictions.size``.)
    """
    return _native.pointwise_loss("mse", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer)


def mae_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
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
    lengths, mask, weights, nan, reduction, normalizer
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
    return _native.pointwise_loss("mae", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer)


def huber_loss(
    predictions: Floats,
    targets: Floats,
    *,
    delta: float = 1.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Huber loss: ℓ = ½ e² where |e| ≤ δ, else δ (|e| − ½ δ), for e = prediction − target.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    delta : float
        δ > 0, where the parabola becomes a line, and the largest slope.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.huber_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])

    References
    ----------
    Huber, 1964, https://doi.org/10.1214/aoms/1177703732; ``torch.nn.functional.huber_loss`` (PyTorch 2.13).
    """
    return _native.pointwise_loss(
        "huber", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer, delta=delta
    )


def smooth_l1_loss(
    predictions: Floats,
    targets: Floats,
    *,
    beta: float = 1.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Smooth L1 loss: ℓ = ½ e² / β where |e| < β, else |e| − ½ β, for e = prediction − target.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    beta : float
        β ≥ 0, where the parabola becomes a line of slope 1; 0 is the absolute error. The loss is
        ``huber_loss(delta=beta) / beta``.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.smooth_l1_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), beta=2.0, reduction="none")
    array([0.0625, 2.    ])

    References
    ----------
    Girshick, 2015, https://arxiv.org/abs/1504.08083; ``torch.nn.functional.smooth_l1_loss`` (PyTorch 2.13).
    """
    return _native.pointwise_loss(
        "smooth_l1", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer, beta=beta
    )


def log_cosh_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Log-cosh loss: ℓ = ln cosh(e) = |e| + ln(1 + exp(−2 |e|)) − ln 2, for e = prediction − target.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.log_cosh_loss(np.array([0.0, 1000.0]), np.array([0.0, 0.0]), reduction="none").round(3)
    array([  0.   , 999.307])

    References
    ----------
    ``keras.losses.LogCosh``: the same form, which does not overflow.
    """
    return _native.pointwise_loss(
        "log_cosh", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer
    )


def quantile_loss(
    predictions: Floats,
    targets: Floats,
    *,
    quantile: float | Sequence[float] | Array = 0.5,
    factor: float = 1.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Quantile loss (pinball): ℓ = factor · max(q (target − prediction), (q − 1) (target − prediction)).

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    quantile : float, or (Q,) floats
        q in [0, 1]. Where there are several, `predictions` have a last axis with a number for each, (T, Q) or
        (N, T, Q), which `targets` lack; every number of `predictions` is an element.
    factor : float
        1 in the definition, in neuralforecast and utilsforecast; 2 in GluonTS, darts and pytorch-forecasting, which
        makes the loss of the median the absolute error.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.quantile_loss(np.array([1.0, 1.0]), np.array([3.0, 0.0]), quantile=0.9, reduction="none").round(6)
    array([1.8, 0.1])
    >>> predictions = np.array([[1.0, 2.0, 4.0]])  # one step, three quantiles
    >>> seqloss_rs.quantile_loss(predictions, np.array([3.0]), quantile=[0.1, 0.5, 0.9], reduction="none").round(6)
    array([[0.2, 0.5, 0.1]])

    References
    ----------
    Koenker and Bassett, 1978, https://doi.org/10.2307/1913643. The slope where prediction and target are equal is 0.
    """
    return _native.pointwise_loss(
        "quantile",
        None,
        predictions,
        targets,
        lengths,
        mask,
        weights,
        nan,
        reduction,
        normalizer,
        quantile=quantile,
        factor=factor,
    )


def msle_loss(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Mean squared logarithmic error: ℓ = (ln(1 + prediction) − ln(1 + target))².

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.msle_loss(np.array([np.e - 1]), np.array([0.0]))
    1.0

    References
    ----------
    ``sklearn.metrics.mean_squared_log_error``; numbers below −1 have no logarithm and give NaN.
    """
    return _native.pointwise_loss(
        "msle", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer
    )


def mape_loss(
    predictions: Floats,
    targets: Floats,
    *,
    eps: float = 2.220446049250313e-16,
    factor: float = 1.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Mean absolute percentage error: ℓ = factor · |prediction − target| / max(|target|, ε).

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    eps : float
        ε ≥ 0. scikit-learn's rule and number; torchmetrics has 1.17e-6, and with 0 a target of 0 gives inf, or NaN
        where the prediction is 0 too. (To leave such targets out, as GluonTS does: ``mask=targets != 0``.)
    factor : float
        1 for ratios; 100 for percentages, as in darts.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.mape_loss(np.array([90.0, 60.0]), np.array([100.0, 50.0]), reduction="none").round(6)
    array([0.1, 0.2])

    References
    ----------
    ``sklearn.metrics.mean_absolute_percentage_error``.
    """
    return _native.pointwise_loss(
        "mape", None, predictions, targets, lengths, mask, weights, nan, reduction, normalizer, eps=eps, factor=factor
    )


def smape_loss(
    predictions: Floats,
    targets: Floats,
    *,
    scale: float = 2.0,
    zero_division: float = 0.0,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Symmetric mean absolute percentage error: ℓ = scale · |prediction − target| / (|prediction| + |target|).

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    scale : float
        The largest value: 2 in the M4 competition, GluonTS, neuralforecast and pytorch-forecasting; 1 in utilsforecast;
        200 in darts.
    zero_division : float
        The value where prediction and target are both 0: 0, or NaN as in GluonTS. The slope there is 0.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.smape_loss(np.array([1.0, 0.0]), np.array([3.0, 0.0]), reduction="none")
    array([1., 0.])

    References
    ----------
    Makridakis et al., 2020, https://doi.org/10.1016/j.ijforecast.2019.04.014.
    """
    return _native.pointwise_loss(
        "smape",
        None,
        predictions,
        targets,
        lengths,
        mask,
        weights,
        nan,
        reduction,
        normalizer,
        scale=scale,
        zero_division=zero_division,
    )


def poisson_nll_loss(
    predictions: Floats,
    targets: Floats,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Poisson negative log-likelihood: ℓ = exp(x) − t x, or x − t ln(x + ε), for a prediction x and a target t.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    log_input : bool
        Whether `predictions` are logarithms of rates.
    full : bool
        Whether to add Stirling's approximation of ln t!, t ln t − t + ½ ln(2πt), where t > 1.
    eps : float
        ε ≥ 0, so that a rate of 0 has a logarithm. Without effect where `log_input` is true.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> seqloss_rs.poisson_nll_loss(np.array([0.0]), np.array([2.0]))
    1.0
    >>> round(seqloss_rs.poisson_nll_loss(np.array([3.0]), np.array([2.0]), log_input=False, full=True), 6)
    1.454582

    References
    ----------
    ``torch.nn.functional.poisson_nll_loss`` (PyTorch 2.13).
    """
    return _native.pointwise_loss(
        "poisson_nll",
        None,
        predictions,
        targets,
        lengths,
        mask,
        weights,
        nan,
        reduction,
        normalizer,
        log_input=log_input,
        full=full,
        eps=eps,
    )


def gaussian_nll_loss(
    predictions: Floats,
    targets: Floats,
    variances: Floats,
    *,
    full: bool = False,
    eps: float = 1e-6,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Gaussian negative log-likelihood: ℓ = ½ (ln v + (prediction − target)² / v), v = max(variance, ε).

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    variances : like `predictions`
        The variance of each target, at least 0.
    full : bool
        Whether to add ½ ln 2π.
    eps : float
        ε > 0. The gradient with respect to a variance below is that with respect to v, as in torch.
    lengths, mask, weights, nan, reduction, normalizer
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
    >>> predictions, targets, variances = np.array([1.0]), np.array([3.0]), np.array([1.0])
    >>> seqloss_rs.gaussian_nll_loss(predictions, targets, variances)
    2.0
    >>> seqloss_rs.value_and_grad(seqloss_rs.gaussian_nll_loss, argnums=2)(predictions, targets, variances)
    (2.0, array([-1.5]))

    References
    ----------
    Nix and Weigend, 1994, https://doi.org/10.1109/ICNN.1994.374138; ``torch.nn.functional.gaussian_nll_loss`` (PyTorch
    2.13).
    """
    return _native.gaussian_nll_loss(
        None, predictions, targets, variances, full, eps, lengths, mask, weights, nan, reduction, normalizer
    )
