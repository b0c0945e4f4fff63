"""Losses of single numbers and measures of forecasts: where libraries disagree, what is said about it is true."""

import functools
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import reference
import seqloss_rs
from cases import FLOATS, bytes_of, eighths, mask_of, pad
from seqloss_rs import value_and_grad

NUMBERS = (np.array([1.0, 0.0, -2.0, 0.0]), np.array([3.0, 0.0, 2.0, 4.0]))
CURVES = [
    "mse_loss",
    "mae_loss",
    "huber_loss",
    "smooth_l1_loss",
    "log_cosh_loss",
    "msle_loss",
    "mape_loss",
    "smape_loss",
    "quantile_loss",
    "poisson_nll_loss",
]

# ---------------------------------------------------------------------------------------------------------------------
# Conventions that disagree


def test_smooth_l1_is_huber_over_beta() -> None:
    predictions, targets = np.random.default_rng(0).normal(size=(2, 3, 50)) * 3
    for beta in (0.25, 1.0, 2.0):
        smooth = value_and_grad(seqloss_rs.smooth_l1_loss)(predictions, targets, beta=beta)
        huber = value_and_grad(seqloss_rs.huber_loss, grad_output=1 / beta)(predictions, targets, delta=beta)
        assert smooth[0] == pytest.approx(huber[0] / beta, rel=1e-14)
        np.testing.assert_allclose(smooth[1], huber[1], rtol=1e-14)
    absolute = value_and_grad(seqloss_rs.mae_loss)(predictions, targets)
    assert bytes_of(value_and_grad(seqloss_rs.smooth_l1_loss)(predictions, targets, beta=0)) == bytes_of(absolute)


def test_the_ranges_of_smape() -> None:
    predictions, targets = NUMBERS
    most = {scale: seqloss_rs.smape_loss(predictions, targets, scale=scale, reduction="none") for scale in (1, 2, 200)}
    for scale, values in most.items():
        np.testing.assert_allclose(values, np.array([0.5, 0, 1, 1]) * scale)
    assert seqloss_rs.smape_loss(predictions, targets) == pytest.approx(1.25)


def test_zero_by_zero_in_smape() -> None:
    value, gradient = value_and_grad(seqloss_rs.smape_loss)([0.0, 1.0], [0.0, 1.0])
    assert value == 0
    assert gradient.tolist() == [0, 0]
    assert math.isnan(seqloss_rs.smape_loss([0.0, 1.0], [0.0, 1.0], zero_division=math.nan))


def test_targets_of_zero_in_mape() -> None:
    predictions, targets = NUMBERS
    assert seqloss_rs.mape_loss(predictions[:1], targets[:1]) == pytest.approx(2 / 3)
    none: Any = functools.partial(seqloss_rs.mape_loss, predictions=[1.0, 0.0], targets=[0.0, 0.0], reduction="none")
    np.testing.assert_allclose(none(), [1 / np.finfo(np.float64).eps, 0])
    np.testing.assert_allclose(none(eps=1.17e-6), [1 / 1.17e-6, 0])
    np.testing.assert_array_equal(none(eps=0), [np.inf, np.nan])
    assert none(factor=100, eps=1)[0] == 100


def test_the_factor_of_the_pinball() -> None:
    predictions, targets = np.random.default_rng(1).normal(size=(2, 40))
    one = seqloss_rs.quantile_loss(predictions, targets, quantile=0.3)
    assert seqloss_rs.quantile_loss(predictions, targets, quantile=0.3, factor=2.0) == pytest.approx(2 * one, rel=1e-15)
    median = seqloss_rs.quantile_loss(predictions, targets, factor=2.0)
    assert median == pytest.approx(seqloss_rs.mae_loss(predictions, targets), rel=1e-14)
    # What lies too low costs the more the higher the quantile is.
    assert seqloss_rs.quantile_loss([0.0], [1.0], quantile=0.9) == 0.9
    assert seqloss_rs.quantile_loss([1.0], [0.0], quantile=0.9) == pytest.approx(0.1)


def test_the_slope_of_the_pinball_where_it_has_none() -> None:
    _, gradient = value_and_grad(seqloss_rs.quantile_loss)(
        [1.0, 0.0, 2.0], [1.0, 1.0, 1.0], quantile=0.9, reduction="sum"
    )
    np.testing.assert_allclose(gradient, [0, -0.9, 0.1])


@pytest.mark.parametrize("dtype", FLOATS)
def test_many_quantiles_are_as_many_calls(dtype: str) -> None:
    generator = np.random.default_rng(2)
    levels = np.linspace(0.05, 0.95, 7)
    lengths = (5, 400, 0, 33)
    predictions = [generator.normal(size=(n, 7)).astype(FLOATS[dtype]) for n in lengths]
    targets = [generator.normal(size=n).astype(FLOATS[dtype]) for n in lengths]
    ask: Any = value_and_grad(seqloss_rs.quantile_loss)
    value, gradient = ask(predictions, targets, quantile=levels, reduction="none")
    padded, padded_gradient = ask(pad(predictions), pad(targets), quantile=levels, lengths=lengths, reduction="none")
    for column, level in enumerate(levels):
        columns = [rows[:, column].copy() for rows in predictions]
        expected, slope = ask(columns, targets, quantile=level, reduction="none")
        for index, length in enumerate(lengths):
            for own, wanted in ((value, expected), (gradient, slope)):
                assert own[index][:, column].tobytes() == wanted[index].tobytes()
            np.testing.assert_array_equal(padded[index, :length], value[index])
            np.testing.assert_array_equal(padded_gradient[index, :length], gradient[index])
    # One sequence: two axes are steps and quantiles.
    alone, own = ask(predictions[1], targets[1], quantile=levels, reduction="none")
    np.testing.assert_array_equal(alone, value[1])
    np.testing.assert_array_equal(own, gradient[1])


def test_log_cosh_does_not_overflow_and_is_a_parabola_near_zero() -> None:
    assert seqloss_rs.log_cosh_loss([1e30], [0.0]) == 1e30
    assert seqloss_rs.log_cosh_loss(np.array([1e-3], np.float32), np.zeros(1, np.float32)) == pytest.approx(
        5e-7, rel=1e-6
    )
    _, gradient = value_and_grad(seqloss_rs.log_cosh_loss)([1e30, -1e30, 1e-9, np.inf], [0.0] * 4, reduction="sum")
    np.testing.assert_allclose(gradient, [1, -1, 1e-9, 1], rtol=1e-6)


def test_log_cosh_keeps_its_digits_near_zero() -> None:
    for e in (1e-160, 3e-9, 1e-5, 1e-3, 0.0999, 0.1, 0.1001, 0.5, 3.0, 30.0):
        value, gradient = value_and_grad(seqloss_rs.log_cosh_loss)([-e], [0.0], reduction="sum")
        with mpmath.workdps(400):
            truth = mpmath.log(mpmath.cosh(mpmath.mpf(e)))
            assert abs(value - truth) <= 5e-14 * truth + 5e-324
            assert abs(gradient[0] + mpmath.tanh(mpmath.mpf(e))) <= 1e-14 * e


def test_keras_divides_a_weighted_sum_by_the_number_of_elements() -> None:
    predictions, targets = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    weights = np.array([1.0, 0.5, 0.0])
    assert seqloss_rs.mse_loss(predictions, targets, weights=weights) == 3 / 1.5
    assert seqloss_rs.mse_loss(predictions, targets, weights=weights, normalizer=3) == 1.0


@pytest.mark.parametrize("name", CURVES)
def test_a_mean_is_over_what_is_valid_and_not_over_the_padding(name: str) -> None:
    loss: Callable[..., float] = getattr(seqloss_rs, name)
    rows, targets = [np.array([1.0, 2.0, 4.0]), np.array([3.0])], [np.array([2.0, 5.0, 3.0]), np.array([1.0])]
    alone = loss(np.concatenate(rows), np.concatenate(targets))
    assert loss(pad(rows), pad(targets), lengths=[3, 1]) == pytest.approx(alone, rel=1e-15)
    mask = [[True, True, True], [True, False, False]]
    value, gradient = value_and_grad(loss)(pad(rows), pad(targets), mask=mask)
    assert value == pytest.approx(alone, rel=1e-15)
    assert gradient[1, 1:].tolist() == [0, 0]


def test_shapes_are_not_broadcast() -> None:
    for name in CURVES:
        with pytest.raises(ValueError, match=r"targets has shape \(3, 1\), expected \(3, 4\)"):
            getattr(seqloss_rs, name)(np.ones((3, 4)), np.ones((3, 1)))


# ---------------------------------------------------------------------------------------------------------------------
# NaN


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*CURVES, "gaussian_nll_loss"])
def test_omitting_is_masking(name: str, dtype: str) -> None:
    generator = np.random.default_rng(4)
    arguments = [np.abs(generator.normal(size=(3, 1500))).astype(FLOATS[dtype]) for _ in range(2)]
    if name == "gaussian_nll_loss":
        arguments.append(eighths(generator, (3, 1500), FLOATS[dtype]))
    for array in arguments:
        array[generator.random(array.shape) < 0.1] = np.nan
    valid = ~np.any([np.isnan(array) for array in arguments], axis=0)
    mask, weights = mask_of(generator, valid.shape), eighths(generator, valid.shape)
    ask = value_and_grad(getattr(seqloss_rs, name))
    for reduction in ("none", "sequence", "sequence_mean", "sum", "mean", "batch_mean"):
        omitted = ask(*arguments, nan="omit", mask=mask, weights=weights, reduction=reduction)
        masked = ask(*arguments, mask=mask & valid, weights=weights, reduction=reduction)
        assert bytes_of(omitted) == bytes_of(masked)
        assert not np.any(omitted[1][~valid])
        # In place too, where what is valid has to be known before it is overwritten.
        own = arguments[0].copy()
        result = value_and_grad(getattr(seqloss_rs, name), out=own)(
            own, *arguments[1:], nan="omit", mask=mask, weights=weights, reduction=reduction
        )
        assert result[1] is own
        assert bytes_of(result) == bytes_of(omitted)


@pytest.mark.parametrize("name", CURVES)
def test_nan_propagates(name: str) -> None:
    loss = getattr(seqloss_rs, name)
    for place in range(2):
        arguments = [np.ones(40), np.ones(40)]
        arguments[place][17] = np.nan
        assert math.isnan(loss(*arguments))
        assert not math.isnan(loss(*arguments, nan="omit"))
        value, gradient = value_and_grad(loss)(*arguments, reduction="none")
        for numbers in (value, gradient):
            assert np.flatnonzero(np.isnan(numbers)).tolist() == [17]


def test_nothing_but_nan() -> None:
    value, gradient = value_and_grad(seqloss_rs.mae_loss)([np.nan, 1.0], [1.0, np.nan], nan="omit")
    assert math.isnan(value)
    assert gradient.tolist() == [0, 0]
    assert seqloss_rs.mae_loss([np.nan], [1.0], nan="omit", reduction="sum") == 0


# ---------------------------------------------------------------------------------------------------------------------
# The Gaussian loss


def test_the_gradient_with_respect_to_the_variances() -> None:
    generator = np.random.default_rng(5)
    predictions, targets = generator.normal(size=(2, 3, 7))
    variances = eighths(generator, (3, 7))
    mask, weights = mask_of(generator, (3, 7)), eighths(generator, (3, 7))
    ask = value_and_grad(seqloss_rs.gaussian_nll_loss, argnums=2)
    for reduction in ("mean", "sum", "batch_mean"):
        loss = functools.partial(
            seqloss_rs.gaussian_nll_loss, predictions, targets, mask=mask, weights=weights, reduction=reduction
        )
        value, gradient = ask(predictions, targets, variances, mask=mask, weights=weights, reduction=reduction)
        assert value == loss(variances)
        for place in np.ndindex(3, 7):
            step = np.zeros((3, 7))
            step[place] = 1e-5
            slope = (loss(variances + step) - loss(variances - step)) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-7, abs=1e-7)
    # By name, in place, ragged, and once more after pickling.
    expected = bytes_of(ask(predictions, targets, variances))
    assert bytes_of(ask(predictions=predictions, targets=targets, variances=variances)) == expected
    own = variances.copy()
    assert (
        bytes_of(value_and_grad(seqloss_rs.gaussian_nll_loss, out=own, argnums=2)(predictions, targets, own))
        == expected
    )
    _, ragged = ask(list(predictions), list(targets), list(variances))
    np.testing.assert_array_equal(ragged, ask(predictions, targets, variances)[1])
    assert bytes_of(pickle.loads(pickle.dumps(ask))(predictions, targets, variances)) == expected


def test_other_losses_have_no_other_gradient() -> None:
    for loss in (seqloss_rs.mse_loss, seqloss_rs.ctc_loss, functools.partial(seqloss_rs.huber_loss, delta=2.0)):
        with pytest.raises(ValueError, match=r"argnums is 1, but \w+ has gradients with respect to 0 \(\w+\) only"):
            value_and_grad(loss, argnums=1)
    with pytest.raises(ValueError, match=r"argnums is 1, .* 0 \(predictions\) and 2 \(variances\) only"):
        value_and_grad(seqloss_rs.gaussian_nll_loss, argnums=1)


def test_a_negative_variance_is_named_unless_it_is_masked() -> None:
    ones = np.ones((2, 3, 2))
    variances = ones.copy()
    variances[1, 2, 0] = -1
    for ask in (seqloss_rs.gaussian_nll_loss, value_and_grad(seqloss_rs.gaussian_nll_loss, argnums=2)):
        with pytest.raises(ValueError, match=r"variances\[1, 2, 0\] is -1, expected at least 0"):
            ask(ones, ones, variances)
        with pytest.raises(ValueError, match=r"variances\[1\]\[2, 0\] is -1, expected at least 0"):
            ask(list(ones), list(ones), list(variances))
        ask(ones, ones, variances, mask=variances > 0)
        ask(ones, ones, variances, lengths=[3, 2])
    assert seqloss_rs.gaussian_nll_loss([0.0], [0.0], [0.0], eps=0.25) == pytest.approx(math.log(0.25) / 2)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit


WRONG: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "delta": (seqloss_rs.huber_loss, {"delta": 0.0}, "delta is 0, expected a positive number"),
    "delta that is NaN": (seqloss_rs.huber_loss, {"delta": math.nan}, "delta is NaN, expected a positive number"),
    "beta": (seqloss_rs.smooth_l1_loss, {"beta": -1.0}, "beta is -1, expected a number that is at least 0"),
    "quantile": (seqloss_rs.quantile_loss, {"quantile": 1.5}, "quantile is 1.5, expected a number from 0 to 1"),
    "factor": (seqloss_rs.quantile_loss, {"factor": -2.0}, "factor is -2, expected a positive number"),
    "scale": (seqloss_rs.smape_loss, {"scale": 0.0}, "scale is 0, expected a positive number"),
    "eps": (seqloss_rs.mape_loss, {"eps": -1.0}, "eps is -1, expected"),
    "nan": (seqloss_rs.mse_loss, {"nan": "drop"}, 'nan is "drop", expected one of "propagate", "omit"'),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_named(wrong: str) -> None:
    loss, keywords, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        loss(np.ones(3), np.ones(3), **keywords)


def test_quantiles_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"quantile\[1\] is -0.5, expected a number from 0 to 1"):
        seqloss_rs.quantile_loss(np.ones((3, 2)), np.ones(3), quantile=[0.5, -0.5])
    with pytest.raises(ValueError, match=r"predictions has shape \(3, 3\), expected a last axis of 2"):
        seqloss_rs.quantile_loss(np.ones((3, 3)), np.ones(3), quantile=[0.5, 0.6])
    with pytest.raises(ValueError, match=r"targets has shape \(3, 2\), expected \(3,\)"):
        seqloss_rs.quantile_loss(np.ones((3, 2)), np.ones((3, 2)), quantile=[0.5, 0.6])
    with pytest.raises(ValueError, match="quantile has shape"):
        seqloss_rs.quantile_loss(np.ones((3, 0)), np.ones(3), quantile=[])


def test_a_keyword_that_a_loss_does_not_have() -> None:
    for ask in (seqloss_rs.mse_loss, value_and_grad(seqloss_rs.mse_loss)):
        with pytest.raises(TypeError, match="delta"):
            ask(np.ones(3), np.ones(3), delta=1.0)  # type: ignore[call-arg]  # the point of the test


# ---------------------------------------------------------------------------------------------------------------------
# Measures of forecasts, by brute force


def forecasts(seed: int, dtype: Any = np.float64) -> dict[str, Any]:
    """Four ragged series with weights, masks and NaN."""
    generator = np.random.default_rng(seed)
    lengths = (5, 1, 40, 7)
    series: dict[str, Any] = {
        "predictions": [generator.normal(size=n).astype(dtype) for n in lengths],
        "targets": [generator.normal(size=n).astype(dtype) for n in lengths],
        "mask": [generator.random(n) < 0.8 for n in lengths],
        "weights": [eighths(generator, n) for n in lengths],
    }
    series["mask"][1][:] = True
    series["targets"][2][3] = np.nan
    return series


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rmse_and_wape(dtype: str) -> None:
    series = forecasts(6, dtype)
    triples = list(reference.valid_pairs(**series))
    weight = sum(w for _, _, _, w in triples)
    squares = sum(w * (x - y) ** 2 for _, x, y, w in triples)
    errors = sum(w * abs(x - y) for _, x, y, w in triples)
    sizes = sum(w * abs(y) for _, _, y, w in triples)
    relative = 1e-6 if dtype == "float32" else 1e-13
    assert seqloss_rs.rmse(**series, nan="omit") == pytest.approx(math.sqrt(squares / weight), rel=relative)
    assert seqloss_rs.wape(**series, nan="omit") == pytest.approx(errors / sizes, rel=relative)
    for measure in (seqloss_rs.rmse, seqloss_rs.wape):
        every = {**series, "mask": [np.ones(len(mask), bool) for mask in series["mask"]]}
        assert math.isnan(measure(**every))
        padded = {name: pad(rows) for name, rows in series.items() if name != "mask"}
        assert measure(**padded, mask=pad(series["mask"]), lengths=[5, 1, 40, 7], nan="omit") == measure(
            **series, nan="omit"
        )


def test_wape_of_nothing_but_zeros() -> None:
    assert math.isnan(seqloss_rs.wape([0.0], [0.0]))
    assert seqloss_rs.wape([1.0], [0.0]) == math.inf


@pytest.mark.filterwarnings("error")
def test_a_mean_below_zero_has_no_root() -> None:
    predictions, targets, weights = np.array([1.0, 2.0]), np.zeros(2), np.array([-1.0, 0.5])
    assert seqloss_rs.mse_loss(predictions, targets, weights=weights) == -2
    assert math.isnan(seqloss_rs.rmse(predictions, targets, weights=weights))
    assert math.isnan(seqloss_rs.rmsse(predictions, targets, weights=weights, scale=1.0))


@pytest.mark.parametrize("form", ["ragged", "padded"])
@pytest.mark.parametrize("seasonality", [1, 3])
def test_scaled_errors(seasonality: int, form: str) -> None:
    generator = np.random.default_rng(7)
    series = forecasts(7)
    past = [generator.normal(size=n) for n in (12, 4, 30, 5)]
    past[2][5] = np.nan
    given: dict[str, Any] = {**series, "insample": past, "seasonality": seasonality, "nan": "omit"}
    if form == "padded":
        given |= {name: pad(rows) for name, rows in {**series, "insample": past}.items()}
        given |= {"lengths": [5, 1, 40, 7], "insample_lengths": [12, 4, 30, 5]}
    for measure, curve in ((seqloss_rs.mase, abs), (seqloss_rs.rmsse, lambda e: e * e)):
        expected = reference.scaled_errors(series, past, seasonality, curve)
        if measure is seqloss_rs.rmsse:
            expected = np.sqrt(expected)
        np.testing.assert_allclose(measure(**given, reduction="sequence"), expected, rtol=1e-12)
        assert measure(**given) == pytest.approx(np.mean(expected), rel=1e-12)
        scales = reference.scales(past, seasonality, curve)
        direct = {name: value for name, value in given.items() if not name.startswith(("insample", "seasonality"))}
        assert measure(**direct, scale=scales) == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_scale_of_zero() -> None:
    predictions, targets = (
        np.array([[1.0, 2.0], [3.0, 3.0], [5.0, 5.0]]),
        np.array([[2.0, 2.0], [3.0, 4.0], [5.0, 5.0]]),
    )
    insample = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [7.0, 7.0, 7.0]])
    each = seqloss_rs.mase(predictions, targets, insample=insample, reduction="sequence")
    np.testing.assert_array_equal(each, [0.5, np.inf, np.nan])
    assert math.isnan(seqloss_rs.mase(predictions, targets, insample=insample))
    assert seqloss_rs.mase(predictions[:2], targets[:2], insample=insample[:2]) == math.inf
    assert seqloss_rs.mase(predictions, targets, insample=insample, zero_scale="omit") == 0.5
    assert seqloss_rs.rmsse(predictions, targets, insample=insample, zero_scale="omit") == math.sqrt(0.5)


def test_series_without_a_valid_step_do_not_count_in_a_scaled_error() -> None:
    predictions, targets = np.ones((2, 3)), np.zeros((2, 3))
    assert seqloss_rs.mase(predictions, targets, scale=2.0, lengths=[3, 0]) == 0.5
    assert math.isnan(seqloss_rs.mase(predictions, targets, scale=2.0, lengths=[0, 0]))
    assert math.isnan(seqloss_rs.mase(np.zeros((0, 3)), np.zeros((0, 3)), scale=2.0))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "insample and scale are not given"),
        ({"insample": np.ones((2, 4)), "scale": 1.0}, "insample and scale are both given"),
        ({"insample": np.ones((3, 4))}, "insample has 3 series, but predictions has 2"),
        ({"insample": np.ones((2, 4)), "seasonality": 0}, "seasonality is 0"),
        (
            {"insample": np.ones((2, 4)), "insample_lengths": [4, 5]},
            r"insample_lengths\[1\] is 5, which is not in 0..=4",
        ),
        ({"insample": np.ones((2, 4)), "seasonality": True}, "seasonality is True"),
        ({"insample": np.ones((2, 4, 3))}, r"insample has shape \(2, 4, 3\), expected \(S,\) or \(N, S\)"),
        ({"insample": [np.ones(4), np.ones((4, 3))]}, r"insample\[1\] has shape \(4, 3\), expected one axis"),
        ({"insample": np.ma.masked_equal([[1.0, 9.0]] * 2, 9)}, r"insample is a MaskedArray"),
        ({"insample": [np.ones(4), np.ma.masked_equal([1.0, 9.0], 9)]}, r"insample\[1\] is a MaskedArray"),
        ({"scale": np.ones(3)}, r"scale has shape \(3,\)"),
        ({"scale": [1.0, -2.0]}, "scale has -2, expected numbers that are at least 0"),
        ({"scale": "one"}, "scale has dtype <U3, expected real numbers"),
        ({"scale": np.ma.masked_equal([1.0, 9.0], 9)}, "scale is a MaskedArray"),
        ({"scale": 1.0, "insample_lengths": [1, 1]}, "insample_lengths goes with insample"),
        ({"scale": 1.0, "zero_scale": "drop"}, "zero_scale is 'drop'"),
        ({"scale": 1.0, "reduction": "sum"}, "reduction is 'sum'"),
    ],
)
def test_scales_that_do_not_fit_are_named(keywords: dict[str, Any], message: str) -> None:
    for measure in (seqloss_rs.mase, seqloss_rs.rmsse):
        with pytest.raises((ValueError, TypeError), match=message):
            measure(np.ones((2, 3)), np.ones((2, 3)), **keywords)
    with pytest.raises(ValueError, match="a scale belongs to one series"):
        seqloss_rs.mase(np.ones((2, 3, 4)), np.ones((2, 3, 4)), scale=1.0)


def test_crps_is_the_mean_of_doubled_pinballs() -> None:
    generator = np.random.default_rng(8)
    levels = [0.1, 0.5, 0.9]
    predictions, targets = generator.normal(size=(4, 6, 3)), generator.normal(size=(4, 6))
    mask, weights = mask_of(generator, (4, 6)), eighths(generator, (4, 6))
    pinballs = sizes = total = 0.0
    for place in np.ndindex(4, 6):
        if mask[place]:
            for level, x in zip(levels, predictions[place], strict=True):
                e = float(targets[place] - x)
                pinballs += float(weights[place]) * max(level * e, (level - 1) * e)
            sizes += float(weights[place]) * abs(float(targets[place]))
            total += float(weights[place])
    keywords: dict[str, Any] = {"mask": mask, "weights": weights}
    assert seqloss_rs.crps(predictions, targets, levels, **keywords) == pytest.approx(
        2 / 3 * pinballs / total, rel=1e-13
    )
    scaled = seqloss_rs.crps(predictions, targets, levels, scaled=True, **keywords)
    assert scaled == pytest.approx(2 / 3 * pinballs / sizes, rel=1e-13)


def test_crps_of_many_quantiles_is_that_of_the_distribution() -> None:
    # Of the uniform distribution on [0, 1] at y: y² − y + 1/3.
    levels = (np.arange(1000) + 0.5) / 1000
    for y in (0.0, 0.25, 0.5, 1.0):
        found = seqloss_rs.crps(levels[None, :].copy(), np.array([y]), levels)
        assert found == pytest.approx(y * y - y + 1 / 3, abs=1e-6)


def test_coverage() -> None:
    lower, upper = np.zeros((2, 3)), np.ones((2, 3))
    targets = np.array([[0.0, 1.0, 1.5], [-0.1, 0.5, np.nan]])
    assert math.isnan(seqloss_rs.interval_coverage(lower, upper, targets))
    assert seqloss_rs.interval_coverage(lower, upper, targets, nan="omit") == 3 / 5
    assert seqloss_rs.interval_coverage(lower, upper, targets, lengths=[3, 1]) == 0.5
    assert seqloss_rs.interval_coverage(lower, upper, targets, mask=targets < 2, weights=np.ones((2, 3)) * 2) == 3 / 5
    infinite = np.full((2, 3), np.inf)
    assert seqloss_rs.interval_coverage(-infinite, infinite, np.nan_to_num(targets)) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy of logarithms near 1


def test_squared_logarithms_are_as_exact_for_small_numbers() -> None:
    """Within 4 ulp for sizes from 1e-12 to 1e3, also where prediction and target nearly agree."""
    random = np.random.default_rng(0)
    predictions, targets = 10 ** random.uniform(-12, 3, (2, 3000))
    targets[:1000] = predictions[:1000] * (1 + 10 ** random.uniform(-14, 0, 1000) * random.choice([-1, 1], 1000))
    targets[1000:1100] = 0
    found: Any = value_and_grad(seqloss_rs.msle_loss)(predictions, targets, reduction="none")
    with mpmath.workprec(200):
        for prediction, target, value, slope in zip(predictions, targets, *found, strict=True):
            distance = mpmath.log1p(mpmath.mpf(prediction)) - mpmath.log1p(mpmath.mpf(target))
            for got, true in ((value, distance**2), (slope, 2 * distance / (1 + mpmath.mpf(prediction)))):
                assert abs(mpmath.mpf(got) - true) <= 4 * np.spacing(abs(float(true))), (prediction, target)


def test_squared_logarithms_at_the_edges() -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        for prediction, target in itertools.product([-3.0, -2.5, -1.0, -0.5, 0.0, 2.0, np.inf, np.nan], repeat=2):
            expected = (np.log1p(prediction) - np.log1p(target)) ** 2
            found = seqloss_rs.msle_loss([prediction], [target])
            np.testing.assert_allclose(found, expected, rtol=1e-14, err_msg=f"{prediction} {target}")


# ---------------------------------------------------------------------------------------------------------------------
# Messages


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (np.zeros((1, 2, 3, 4)), r"predictions has shape \(1, 2, 3, 4\), expected 1 to 3 axes"),
        (np.float64(1), r"predictions has shape \(\), expected 1 to 3 axes"),
        ([np.zeros((2, 3, 4))], r"predictions\[0\] has shape \(2, 3, 4\), expected 1 to 2 axes"),
    ],
)
def test_how_many_axes_there_may_be(predictions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seqloss_rs.mse_loss(predictions, predictions)
