"""What forecasts are measured by: errors that are scaled, or reduced otherwise than the losses are.

All take the masks, weights and lengths of the losses of single numbers, and return a float; the losses with a gradient
are in :mod:`seqloss_rs.pointwise`.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from . import _native
from ._types import Array, Floats, Lengths, Mask, Value
from .pointwise import Nan

__all__ = ["crps", "interval_coverage", "mase", "rmse", "rmsse", "wape"]


def rmse(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
) -> float:
    """Root of the mean squared error, √(Σ w e² / Σ w).

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, nan
        As in :func:`mse_loss`.

    Returns
    -------
    float
        NaN where nothing is valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.rmse(np.array([1.0, 2.0]), np.array([2.0, 9.0]))
    5.0

    References
    ----------
    ``sklearn.metrics.root_mean_squared_error``.
    """
    return float(_root(_reduced("mse", predictions, targets, lengths, mask, weights, nan, "mean")))


def wape(
    predictions: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
) -> float:
    """Weighted absolute percentage error, Σ w |prediction − target| / Σ w |target|, as a ratio.

    Parameters
    ----------
    predictions : (T,), (N, T) or (N, T, D) array, or list of N arrays
        N sequences of T steps (of D numbers each), of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, nan
        As in :func:`mse_loss`.

    Returns
    -------
    float
        Where all targets are 0: NaN if there is no error, else inf.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.wape(np.array([9.0, 2.0]), np.array([10.0, 0.0]))
    0.3

    References
    ----------
    Kolassa and Schütz, 2007 (as MAD/mean ratio), https://ideas.repec.org/a/for/ijafaa/y2007i6p40-43.html; darts and
    utilsforecast (``nd`` of GluonTS).
    """
    error = _reduced("mae", predictions, targets, lengths, mask, weights, nan, "sum")
    size = _reduced("target_size", predictions, targets, lengths, mask, weights, nan, "sum", quantile=0.5)
    return float(_ratio(error, size))


def mase(
    predictions: Floats,
    targets: Floats,
    *,
    insample: Floats | None = None,
    insample_lengths: Lengths | None = None,
    scale: Floats | float | None = None,
    seasonality: int = 1,
    zero_scale: Literal["propagate", "omit"] = "propagate",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Literal["mean", "sequence"] = "mean",
) -> Value:
    """Mean absolute scaled error: of each series Σ w |e| / Σ w over its scale, the mean of |yₛ − yₛ₋ₘ| in its past.

    Parameters
    ----------
    predictions : (T,) or (N, T) array, or list of N arrays (Tₙ,)
        N series of T steps, of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    insample : (S,) or (N, S) array, or list of N arrays (Sₙ,), optional
        The past of each series, of any length.
    insample_lengths : (N,) integers, optional
        The valid steps of each past; what lies beyond is never read.
    scale : float or (N,) floats, optional
        The scales themselves, instead of `insample`.
    seasonality : int
        m ≥ 1: the naive forecast in the past is the number m steps before.
    zero_scale : {"propagate", "omit"}
        What becomes of a series with scale 0: as numbers are divided, inf or NaN (utilsforecast); or it is left out
        (as in GluonTS).
    lengths, mask, weights, nan
        As in :func:`mse_loss`; with ``nan="omit"`` pairs with a NaN are left out of the scale too.
    reduction : {"mean", "sequence"}
        The mean over the series that have valid steps, or one number for each.

    Returns
    -------
    float or (N,) array of float64
        The sums of each series are rounded to float32 first, where predictions are narrower than float64.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.mase(np.array([5.0, 6.0]), np.array([6.0, 8.0]), insample=np.array([1.0, 2.0, 4.0, 4.0]))
    1.5

    References
    ----------
    Hyndman and Koehler, 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001.
    """
    errors, weight = _of_series("mae", predictions, targets, lengths, mask, weights, nan)
    scales = _scales("mae", insample, insample_lengths, scale, seasonality, nan, len(errors))
    return _scaled(_ratio(_ratio(errors, weight), scales), weight, scales, zero_scale, reduction)


def rmsse(
    predictions: Floats,
    targets: Floats,
    *,
    insample: Floats | None = None,
    insample_lengths: Lengths | None = None,
    scale: Floats | float | None = None,
    seasonality: int = 1,
    zero_scale: Literal["propagate", "omit"] = "propagate",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
    reduction: Literal["mean", "sequence"] = "mean",
) -> Value:
    """Root mean squared scaled error: of each series √(Σ w e² / Σ w over the mean of (yₛ − yₛ₋ₘ)² in its past).

    Parameters
    ----------
    predictions : (T,) or (N, T) array, or list of N arrays (Tₙ,)
        N series of T steps, of float16, bfloat16, float32 or float64.
    targets : like `predictions`
        Any of these dtypes; shapes must be equal.
    scale : float or (N,) floats, optional
        The mean squares themselves, instead of `insample`.
    insample, insample_lengths, seasonality, zero_scale, lengths, mask, weights, nan, reduction
        As in :func:`mase`.

    Returns
    -------
    float or (N,) array of float64
        As in :func:`mase`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.rmsse(np.array([5.0, 6.0]), np.array([8.0, 3.0]), insample=np.array([1.0, 2.0, 3.0]))
    3.0

    References
    ----------
    Makridakis et al., 2022 (M5), https://doi.org/10.1016/j.ijforecast.2021.11.013.
    """
    errors, weight = _of_series("mse", predictions, targets, lengths, mask, weights, nan)
    scales = _scales("mse", insample, insample_lengths, scale, seasonality, nan, len(errors))
    return _scaled(_root(_ratio(_ratio(errors, weight), scales)), weight, scales, zero_scale, reduction)


def crps(
    predictions: Floats,
    targets: Floats,
    quantiles: Sequence[float] | Array,
    *,
    scaled: bool = False,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
) -> float:
    """Continuous ranked probability score from Q quantiles: the mean of (2 / Q) Σ_q pinball_q.

    Parameters
    ----------
    predictions : (T, Q) or (N, T, Q) array, or list of N arrays (Tₙ, Q)
        The forecast quantiles of each step, of float16, bfloat16, float32 or float64.
    targets : (T,) or (N, T) array, or list of N arrays (Tₙ,)
        What came.
    quantiles : (Q,) floats
        The levels, in [0, 1]; evenly spaced ones, (i − ½) / Q for i = 1 … Q, approximate the integral.
    scaled : bool
        Whether to divide by the mean of |target| instead: the mean weighted quantile loss, Σ over quantiles of
        2 Σ pinball_q / Σ |target|, over Q.
    lengths, mask, weights, nan
        As in :func:`mse_loss`; a mask or weights may leave out Q.

    Returns
    -------
    float
        NaN where nothing is valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> predictions = np.array([[1.0, 2.0, 4.0]])
    >>> round(seqloss_rs.crps(predictions, np.array([3.0]), [0.1, 0.5, 0.9]), 6)  # 2/3 (0.2 + 0.5 + 0.1)
    0.533333

    References
    ----------
    Gneiting and Raftery, 2007, https://doi.org/10.1198/016214506000001437; ``mean_weighted_sum_quantile_loss`` of
    GluonTS.
    """
    arguments = (predictions, targets, lengths, mask, weights, nan)
    if not scaled:
        return float(_reduced("quantile", *arguments, "mean", quantile=quantiles, factor=2.0))
    error = _reduced("quantile", *arguments, "sum", quantile=quantiles, factor=2.0)
    return float(_ratio(error, _reduced("target_size", *arguments, "sum", quantile=quantiles)))


def interval_coverage(
    lower: Floats,
    upper: Floats,
    targets: Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    nan: Nan = "propagate",
) -> float:
    """Coverage of an interval: the share of targets with lower ≤ target ≤ upper.

    Parameters
    ----------
    lower : (T,), (N, T) or (N, T, D) array, or list of N arrays
        Of float16, bfloat16, float32 or float64.
    upper, targets : like `lower`
        Any of these dtypes; shapes must be equal.
    lengths, mask, weights, nan
        As in :func:`mse_loss`.

    Returns
    -------
    float
        From 0 to 1; NaN where nothing is valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.interval_coverage(np.zeros(4), np.ones(4), np.array([0.0, 0.5, 1.0, 2.0]))
    0.75

    References
    ----------
    ``coverage`` of utilsforecast.
    """
    result: float = _native.interval_coverage(lower, upper, targets, lengths, mask, weights, nan)
    return result


def _reduced(
    curve: str,
    predictions: Floats,
    targets: Floats,
    lengths: Lengths | None,
    mask: Mask | None,
    weights: Floats | None,
    nan: Nan,
    reduction: str,
    **parameters: Any,
) -> Any:
    return _native.pointwise_loss(
        curve, None, predictions, targets, lengths, mask, weights, nan, reduction, None, **parameters
    )


def _ratio(numerator: Any, denominator: Any) -> Any:
    """Divide as numbers are, without a warning where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float64(numerator) / np.float64(denominator)


def _root(square: Any) -> Any:
    """Return the square root; that of a mean with negative weights may be NaN."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(square)


def _of_series(
    curve: str,
    predictions: Floats,
    targets: Floats,
    lengths: Lengths | None,
    mask: Mask | None,
    weights: Floats | None,
    nan: Nan,
) -> tuple[Array, Array]:
    """Return the weighted sum of each series, and its weight."""
    first = predictions[0] if isinstance(predictions, (list, tuple)) and len(predictions) > 0 else predictions
    most = 2 if first is predictions else 1
    if np.ndim(first) > most:
        expected = "(T,) or (N, T)" if most == 2 else "(T,) for each item"
        raise ValueError(f"predictions has shape {np.shape(first)}, expected {expected}: a scale belongs to one series")
    arguments = (predictions, targets, lengths, mask, weights, nan, "sequence")
    errors, weight = _reduced(curve, *arguments), _reduced("one", *arguments)
    return np.atleast_1d(np.asarray(errors, np.float64)), np.atleast_1d(np.asarray(weight, np.float64))


def _scales(
    curve: str,
    insample: Floats | None,
    insample_lengths: Lengths | None,
    scale: Floats | float | None,
    seasonality: int,
    nan: Nan,
    series: int,
) -> Array:
    """Return the scale of each series: given, or the mean of the curve of differences in its past."""
    if (insample is None) == (scale is None):
        are = "both" if scale is not None else "not"
        raise ValueError(f"insample and scale are {are} given, expected one of them")
    if insample is None:
        if insample_lengths is not None:
            raise ValueError("insample_lengths goes with insample, which is not given")
        given = np.asarray(_unmasked("scale", scale))
        try:
            given = given.astype(np.float64, casting="same_kind" if given.size else "unsafe")
        except TypeError:
            raise TypeError(f"scale has dtype {given.dtype}, expected real numbers") from None
        if given.shape not in ((), (series,)):
            raise ValueError(f"scale has shape {given.shape}, expected a number or ({series},)")
        if (given < 0).any():
            raise ValueError(f"scale has {given.min():g}, expected numbers that are at least 0")
        return np.broadcast_to(given, (series,))
    is_whole = isinstance(seasonality, (int, np.integer)) and not isinstance(seasonality, bool)
    if not is_whole or seasonality < 1:
        raise ValueError(f"seasonality is {seasonality!r}, expected an integer that is at least 1")
    if isinstance(insample, (list, tuple)) and any(np.ndim(row) > 0 for row in insample):
        rows = [np.asarray(_unmasked(f"insample[{index}]", row)) for index, row in enumerate(insample)]
        for index, row in enumerate(rows):
            if row.ndim != 1:
                raise ValueError(f"insample[{index}] has shape {row.shape}, expected one axis")
        shapes = [row.shape for row in rows]
        later: Any = [row[seasonality:] for row in rows]
        earlier: Any = [row[:-seasonality] for row in rows]
    else:
        array = np.asarray(_unmasked("insample", insample))
        if array.ndim not in (1, 2):
            raise ValueError(f"insample has shape {array.shape}, expected (S,) or (N, S)")
        shapes = [array.shape[-1:]] * (len(array) if array.ndim > 1 else 1)
        later, earlier = array[..., seasonality:], array[..., :-seasonality]
    if len(shapes) != series:
        raise ValueError(f"insample has {len(shapes)} series, but predictions has {series}")
    lengths: Any = None
    if insample_lengths is not None:
        lengths = np.atleast_1d(np.asarray(insample_lengths))
        if lengths.shape != (series,) or lengths.dtype.kind not in "iu":
            found = f"shape {lengths.shape} and dtype {lengths.dtype}"
            raise ValueError(f"insample_lengths has {found}, expected ({series},) integers")
        for index, (length, shape) in enumerate(zip(lengths.tolist(), shapes, strict=True)):
            if not 0 <= length <= shape[0]:
                raise ValueError(f"insample_lengths[{index}] is {length}, which is not in 0..={shape[0]}")
        lengths = np.maximum(lengths.astype(np.int64) - seasonality, 0)
    scales = _reduced(curve, later, earlier, lengths, None, None, nan, "sequence_mean")
    return np.atleast_1d(np.asarray(scales, np.float64))


def _unmasked(name: str, given: Any) -> Any:
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{name} is a MaskedArray, whose mask would be lost: pass {name}.filled(numpy.nan)")
    return given


def _scaled(errors: Array, weight: Array, scales: Array, zero_scale: str, reduction: str) -> Value:
    if zero_scale not in ("propagate", "omit"):
        raise ValueError(f'zero_scale is {zero_scale!r}, expected one of "propagate", "omit"')
    if reduction not in ("mean", "sequence"):
        raise ValueError(f'reduction is {reduction!r}, expected one of "mean", "sequence"')
    if reduction == "sequence":
        return np.where(scales == 0, np.nan, errors) if zero_scale == "omit" else errors
    counted = weight != 0
    if zero_scale == "omit":
        counted &= scales != 0
    return float(np.mean(errors[counted])) if counted.any() else math.nan
