"""What each reduction means, by hand and by the definition, for every loss and with every option."""

import math
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from cases import BY_NAME, CASES, REDUCTIONS, ROW_NAMES, ROWS, Case, assert_value, unpad

# Differences of 1, 2, 3 in the first sequence, and of 4 in the second, which is one step long.
PREDICTIONS = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, np.nan]])
TARGETS = np.zeros((2, 3))
LENGTHS = np.array([3, 1])


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("none", [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]),
        ("sequence", [6.0, 4.0]),
        ("sequence_mean", [2.0, 4.0]),
        ("sum", 10.0),
        ("mean", 2.5),
        ("batch_mean", 5.0),
    ],
)
def test_a_worked_example(reduction: Any, expected: Any) -> None:
    value = seqloss_rs.mae_loss(PREDICTIONS, TARGETS, lengths=LENGTHS, reduction=reduction)
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("none", [[2.0, 0.0, 3.0], [2.0, 0.0, 0.0]]),
        ("sequence", [5.0, 2.0]),
        ("sequence_mean", [2.5, 2.0]),
        ("sum", 7.0),
        ("mean", 2.0),
        ("batch_mean", 3.5),
    ],
)
def test_a_worked_example_with_weights_and_a_mask(reduction: Any, expected: Any) -> None:
    weights = np.array([[2.0, np.nan, 1.0], [0.5, 7.0, 7.0]])
    mask = np.array([[True, False, True], [True, True, True]])
    value = seqloss_rs.mae_loss(PREDICTIONS, TARGETS, lengths=LENGTHS, mask=mask, weights=weights, reduction=reduction)
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("none", [[1.0, 2.0], [0.0, 0.0]]),
        ("sequence", [3.0, 0.0]),
        ("sequence_mean", [1.5, math.nan]),
        ("sum", 3.0),
        ("mean", 1.5),
        ("batch_mean", 1.5),
    ],
)
def test_a_sequence_without_steps(reduction: Any, expected: Any) -> None:
    predictions = np.array([[1.0, 2.0], [np.nan, np.nan]])
    value = seqloss_rs.mae_loss(predictions, predictions * 0 + 0, lengths=[2, 0], reduction=reduction)
    np.testing.assert_array_equal(value, expected)


def test_an_element_is_a_term_when_there_is_a_last_axis() -> None:
    predictions = np.arange(1.0, 9.0).reshape(1, 4, 2)
    targets = np.zeros((1, 4, 2))
    value = seqloss_rs.mae_loss(predictions, targets, lengths=[3], reduction="sequence_mean")
    np.testing.assert_array_equal(value, [21 / 6])
    value = seqloss_rs.mae_loss(predictions, targets, weights=[[1.0, 0.0, 2.0, 0.0]], reduction="mean")
    assert value == (1 + 2 + 2 * 5 + 2 * 6) / (2 * 1 + 2 * 2)


def test_the_mean_of_ctc_is_over_target_lengths_first() -> None:
    logits = np.zeros((3, 4, 2))
    targets = [[1], [], [1, 1]]
    losses, counts = np.asarray(seqloss_rs.ctc_loss(logits, targets, reduction="none")), np.array([1, 1, 2])
    assert seqloss_rs.ctc_loss(logits, targets) == pytest.approx(np.mean(losses / counts), rel=1e-14)
    np.testing.assert_allclose(seqloss_rs.ctc_loss(logits, targets, reduction="sequence_mean"), losses / counts)
    np.testing.assert_array_equal(seqloss_rs.ctc_loss(logits, targets, reduction="sequence"), losses)
    assert seqloss_rs.ctc_loss(logits, targets, reduction="batch_mean") == pytest.approx(losses.mean(), rel=1e-14)
    assert seqloss_rs.ctc_loss(logits, targets, reduction="sum") == pytest.approx(losses.sum(), rel=1e-14)


def test_ignored_targets_are_not_steps() -> None:
    logits, targets = np.zeros((2, 3, 4)), np.array([[1, -100, -100], [0, 1, 2]])
    value = seqloss_rs.cross_entropy_loss(logits, targets, reduction="sequence_mean")
    np.testing.assert_allclose(value, [math.log(4), math.log(4)], rtol=1e-14)
    assert seqloss_rs.cross_entropy_loss(logits, targets) == pytest.approx(math.log(4), rel=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_normalizer_is_the_divisor_and_nothing_else(case: Case, variant: str, reduction: str) -> None:
    for dtype in ("float32", "float64"):
        problem = case.problem(variant, (5, 0, 3), 4, 2, dtype)
        for normalizer in (17.5, 3, np.float64(8), np.int64(12)):
            value = problem("padded", reduction=reduction, normalizer=normalizer)
            assert_value(case, problem, "padded", reduction, value, normalizer)
        whole = problem.value_and_grad("padded", reduction="sum")
        halved = problem.value_and_grad("padded", reduction=reduction, normalizer=2)
        assert halved[0] == whole[0] / 2 or not np.isfinite(whole[0])
        np.testing.assert_array_equal(halved[1], whole[1] / 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_accumulated_over_parts_a_normalizer_gives_the_mean_of_the_whole(case: Case) -> None:
    variant = "everything" if "everything" in case.variants else "plain"
    problem = case.problem(variant, (5, 2, 3, 4), 6, 9, "float64")
    whole, whole_gradient = problem.value_and_grad("ragged", reduction="sum", normalizer=11)
    parts = []
    for first, last in ((0, 1), (1, 4)):
        part = problem.replace(**{name: arrays[first:last] for name, arrays in problem.by_sequence.items()})
        parts.append(part.value_and_grad("ragged", reduction="sum", normalizer=11))
    assert sum(value for value, _ in parts) == pytest.approx(whole, rel=1e-14)
    gradients = [gradient for _, part in parts for gradient in part]
    for gradient, expected in zip(gradients, whole_gradient, strict=True):
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("reduction", ["none", "sequence", "sequence_mean", "batch_mean"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_normalizer_that_would_be_ignored_is_refused(case: Case, reduction: str) -> None:
    problem = case.problem("plain", (5, 3), 4, 2, "float64")
    with pytest.raises(ValueError, match="normalizer"):
        problem("padded", reduction=reduction, normalizer=2.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reduction_that_does_not_exist_is_refused(case: Case) -> None:
    problem = case.problem("plain", (5, 3), 4, 2, "float64")
    for word in ("avg", "Mean", "", "corpus"):
        with pytest.raises(ValueError, match="reduction"):
            problem("padded", reduction=word)
    for nonsense in (None, 1):
        with pytest.raises((TypeError, ValueError), match="reduction"):
            problem("padded", reduction=nonsense)
    with pytest.raises((TypeError, ValueError), match="normalizer"):
        problem("padded", normalizer="many")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reductions_are_functions_of_the_terms(case: Case) -> None:
    for variant in case.variants:
        problem = case.problem(variant, (5, 0, 3), 4, 6, "float64")
        values = {reduction: problem("padded", reduction=reduction) for reduction in REDUCTIONS}
        terms = values["none"]
        sums = [row.sum() for row in unpad(terms, problem.lengths)] if terms.ndim > 1 else list(terms)
        np.testing.assert_allclose(values["sequence"], sums, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(values["sum"], np.sum(sums), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(values["batch_mean"], np.sum(sums) / 3, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["cross_entropy_loss", "mse_loss", "mae_loss", "reinforce_loss"])
def test_masking_everything(name: str) -> None:
    problem = BY_NAME[name].problem("mask", (4, 2), 5, 2, "float64")
    nothing = problem.replace(mask=[np.zeros(mask.shape, bool) for mask in problem.by_sequence["mask"]])
    for form in ("padded", "ragged"):
        value, gradient = nothing.value_and_grad(form)
        assert math.isnan(value)
        assert not any(np.any(rows) for rows in gradient)
        assert nothing(form, reduction="sum") == 0
        assert nothing(form, reduction="sequence").tolist() == [0, 0]
        assert np.isnan(nothing(form, reduction="sequence_mean")).all()


def test_ignoring_everything_is_nan_as_in_torch() -> None:
    logits, targets = np.zeros((2, 3, 4)), np.full((2, 3), -100)
    assert math.isnan(seqloss_rs.cross_entropy_loss(logits, targets))
    assert seqloss_rs.cross_entropy_loss(logits, targets, reduction="sum") == 0


def test_weights_that_sum_to_zero_have_no_mean() -> None:
    assert math.isnan(seqloss_rs.mse_loss([1.0, 2.0], [0.0, 0.0], weights=[0.0, 0.0]))
    assert seqloss_rs.mse_loss([1.0, 2.0], [0.0, 0.0], weights=[0.0, 0.0], reduction="sum") == 0


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("baseline", ["batch_mean", "leave_one_out"])
def test_baselines_of_reinforce_are_correctly_rounded_sums_in_any_order(baseline: Any, steps: int | None) -> None:
    random = np.random.default_rng(17)
    count = 200
    shape = (count,) if steps is None else (count, steps)
    rewards = random.standard_normal(shape) * 10.0 ** random.integers(-8, 16, shape)
    # A log-probability of −1 makes the loss the advantage.
    scores = np.full((count, steps or 1), -1.0)

    def advantages(order: Any) -> Any:
        return seqloss_rs.reinforce_loss(
            scores, None, rewards[order], baseline=baseline, scores="log_probs", reduction="none"
        )

    columns = rewards.reshape(count, -1)
    sums = np.array([math.fsum(column) for column in columns.T])
    expected = columns - sums / count
    if baseline == "leave_one_out":
        expected *= count / (count - 1)
    np.testing.assert_array_equal(advantages(np.arange(count)), expected)
    for _ in range(5):
        order = random.permutation(count)
        np.testing.assert_array_equal(advantages(order), expected[order])
