"""Weights: their range is that of float64, and what has the weight 0 is as if it were masked."""

from typing import Any

import numpy as np
import pytest
import seqloss_rs
from seqloss_rs import LossSum, value_and_grad

POINTWISE: dict[str, dict[str, Any]] = {
    "mse_loss": {},
    "mae_loss": {},
    "huber_loss": {},
    "smooth_l1_loss": {},
    "log_cosh_loss": {},
    "msle_loss": {},
    "mape_loss": {},
    "smape_loss": {},
    "quantile_loss": {"quantile": 0.3},
    "poisson_nll_loss": {},
    "gaussian_nll_loss": {},
}
METRICS = ("rmse", "wape", "interval_coverage", "crps", "mase", "rmsse")
DTYPES = ("float16", "float32", "float64")
BAD = (np.nan, np.inf, -np.inf)
REDUCTIONS = ("none", "sequence", "sequence_mean", "sum", "mean", "batch_mean")


def numbers(name: str, dtype: str, seed: int = 0) -> dict[str, Any]:
    """Return the arguments of a loss of single numbers: 3 sequences of 40."""
    random = np.random.default_rng(seed)
    arguments = {"predictions": random.uniform(0.1, 2, (3, 40)), "targets": random.uniform(0.1, 2, (3, 40))}
    if name == "gaussian_nll_loss":
        arguments["variances"] = random.uniform(0.5, 2, (3, 40))
    return {key: value.astype(dtype) for key, value in arguments.items()}


def same(first: Any, second: Any) -> None:
    """Check that two answers have the same bits."""
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", POINTWISE)
def test_weight_0_of_a_number_is_a_mask(name: str, dtype: str) -> None:
    """Whatever stands there is never looked at: not NaN, not infinity, not what the loss refuses."""
    arguments = numbers(name, dtype)
    function = getattr(seqloss_rs, name)
    random = np.random.default_rng(1)
    keep = random.random((3, 40)) > 0.4
    weights = np.where(keep, random.uniform(0.5, 2, keep.shape), 0.0)
    weights[0, ~keep[0]] = -0.0
    spoiled = {
        key: np.where(keep, value, random.choice(BAD, keep.shape)).astype(dtype) for key, value in arguments.items()
    }
    for reduction in REDUCTIONS:
        options = {**POINTWISE[name], "reduction": reduction}
        expected = value_and_grad(function)(**arguments, weights=np.where(keep, weights, 1.0), mask=keep, **options)
        same(value_and_grad(function)(**spoiled, weights=weights, **options), expected)
        assert np.all(expected[1][~keep] == 0)
        if reduction in ("none", "sequence", "sum"):
            assert np.all(np.isfinite(expected[0]))
    total, other = LossSum(), LossSum()
    function(**spoiled, weights=weights, reduction=total, **POINTWISE[name])
    function(**arguments, weights=np.where(keep, weights, 1.0), mask=keep, reduction=other, **POINTWISE[name])
    assert total == other
    assert total.count == keep.sum()


@pytest.mark.parametrize("scores", ["logits", "log_probs", "probs"])
@pytest.mark.parametrize("kind", ["classes", "distributions"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weight_0_of_a_step_is_a_mask(scores: str, kind: str, smoothing: float) -> None:
    random = np.random.default_rng(2)
    probs = random.dirichlet(np.ones(5), (3, 7))
    logits = probs if scores == "probs" else np.log(probs)
    targets = random.integers(0, 5, (3, 7)) if kind == "classes" else random.dirichlet(np.ones(5), (3, 7))
    keep = random.random((3, 7)) > 0.4
    weights = np.where(keep, random.uniform(0.5, 2, keep.shape), 0.0)
    spoiled = logits.copy()
    spoiled[~keep] = random.choice(BAD, (int((~keep).sum()), 5))
    no_class = np.where(keep, targets, 77) if kind == "classes" else np.where(keep[..., None], targets, np.nan)
    for reduction in REDUCTIONS:
        options: dict[str, Any] = {"scores": scores, "label_smoothing": smoothing, "reduction": reduction}
        loss = value_and_grad(seqloss_rs.cross_entropy_loss)
        expected = loss(logits, targets, weights=np.where(keep, weights, 1.0), mask=keep, **options)
        same(loss(spoiled, no_class, weights=weights, **options), expected)
        assert np.all(expected[1][~keep] == 0)


@pytest.mark.parametrize("name", METRICS)
def test_weight_0_in_a_metric_is_a_mask(name: str) -> None:
    random = np.random.default_rng(3)
    function = getattr(seqloss_rs, name)
    predictions, targets = random.uniform(1, 2, (3, 40)), random.uniform(1, 2, (3, 40))
    keep = random.random((3, 40)) > 0.4
    bad = np.where(keep, targets, np.nan)
    weights = keep.astype("float32")
    more: dict[str, Any] = {}
    first: tuple[Any, ...] = (predictions,)
    if name == "interval_coverage":
        first = (predictions - 0.3, predictions + 0.3)
    elif name == "crps":
        first, more = (np.stack([predictions - 0.3, predictions], axis=-1),), {"quantiles": [0.2, 0.5]}
    elif name in ("mase", "rmsse"):
        more = {"insample": random.uniform(1, 2, (3, 50))}
    given = function(*first, bad, weights=weights, **more)
    assert given == function(*first, targets, mask=keep, **more)
    assert np.isfinite(given)


def test_weight_0_in_a_sum_is_a_mask() -> None:
    total = LossSum()
    total.update(np.array([np.nan, np.inf, 2.0]), np.array([0.0, -0.0, 3.0]))
    assert (total.value, total.weight, total.mean, total.count, total.nan_count) == (6.0, 3.0, 2.0, 1, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", POINTWISE)
def test_weights_have_the_range_of_float64(name: str, dtype: str) -> None:
    """Every weight times 2^200 leaves means and their gradients as they are, and multiplies sums."""
    arguments = numbers(name, dtype)
    function = getattr(seqloss_rs, name)
    weights = np.random.default_rng(4).uniform(0.5, 2, (3, 40))
    for scale in (2.0**200, 2.0**-200):
        loss = value_and_grad(function)
        same(
            loss(**arguments, weights=scale * weights, **POINTWISE[name]),
            loss(**arguments, weights=weights, **POINTWISE[name]),
        )
        small = function(**arguments, weights=weights, reduction="sum", **POINTWISE[name])
        assert function(**arguments, weights=scale * weights, reduction="sum", **POINTWISE[name]) == scale * small


def test_the_weights_of_a_mean_are_those_that_are_given() -> None:
    """The same value, to the last bit of the mean, as the definition in float64 gives for numbers of float32."""
    random = np.random.default_rng(5)
    predictions, targets = (random.integers(-8, 8, 100).astype("float32") for _ in range(2))
    weights = random.uniform(0, 1, 100)
    terms = (predictions.astype("float64") - targets) ** 2
    found = seqloss_rs.mse_loss(predictions, targets, weights=weights)
    assert found == pytest.approx(np.sum(terms * weights) / np.sum(weights), rel=1e-15)
    assert seqloss_rs.mse_loss(np.array([1, 2], np.float32), [0, 0], weights=[1e60, 1e60]) == 2.5
    value, gradient = value_and_grad(seqloss_rs.mse_loss)(np.array([1, 2], np.float32), [1, 0], weights=[1e60, 1e60])
    assert value == 2.0
    assert gradient.tolist() == [0.0, 2.0]
