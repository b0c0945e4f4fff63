"""Every row of the table: dtypes, shapes, reductions, forms and layouts in memory, against the definition."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import reference
import seqloss_rs
from cases import (
    BY_NAME,
    CASES,
    FLOATS,
    LAYOUTS,
    LENGTHS,
    REDUCTIONS,
    ROW_NAMES,
    ROWS,
    TEXT_LOSSES,
    WIDTHS,
    Array,
    Case,
    assert_value,
    bytes_of,
    lay_out,
    pad,
)
from reference import ctc_by_enumeration, ctc_by_mpmath, ctc_by_recursion, log_probabilities


def test_every_public_loss_has_a_row() -> None:
    public = {name for name in seqloss_rs.__all__ if name.endswith("_loss")}
    # These have arguments of their own, and tests: test_policy_losses.py, test_policy_sets.py, test_expected.py.
    of_policies = {"ppo_loss", "grpo_loss", "value_loss", "dpo_loss", "mrt_loss", "mwer_loss"}
    of_expectations = {"expected_bleu_loss", "expected_rouge_loss", "soft_rouge_l_loss", "eisl_loss"}
    assert {case.name for case in CASES} | set(TEXT_LOSSES) == public - of_policies - of_expectations


# ---------------------------------------------------------------------------------------------------------------------
# The definition itself


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize(
    ("steps", "target"),
    [(4, [1, 1]), (5, [1, 3]), (3, []), (3, [1, 1, 1]), (0, []), (0, [1]), (6, [3, 3, 1]), (5, [1, 3, 1]), (1, [3])],
)
def test_the_two_ways_to_ctc_agree(steps: int, target: list[int], blank: int) -> None:
    generator = np.random.default_rng(steps)
    logits = generator.normal(size=(steps, 4)) * 2
    log_p = np.array([log_probabilities(row, "logits") for row in logits]).reshape(steps, 4)
    loss, posterior = ctc_by_enumeration(log_p, target, blank)
    other_loss, other_posterior = ctc_by_recursion(log_p, target, blank)
    assert other_loss == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(other_posterior, posterior, atol=1e-14)
    if steps and np.isfinite(loss):
        assert float(ctc_by_mpmath(logits, target, blank)) == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_rewards_to_go_of_a_worked_example() -> None:
    valid = np.array([True, True, True])
    np.testing.assert_array_equal(reference.rewards_to_go([1.0, 2.0, 4.0], valid, 0.5), [3.0, 4.0, 4.0])
    valid = np.array([True, False, True])
    np.testing.assert_array_equal(reference.rewards_to_go([1.0, 2.0, 4.0], valid, 0.5), [3.0, 0.0, 4.0])


def test_leave_one_out_of_a_worked_example() -> None:
    valid = [np.ones(1, bool)] * 4
    worth = reference.advantages([1.0, 3.0, 5.0, 6.0], valid, "leave_one_out", group=2)
    np.testing.assert_array_equal(np.concatenate(worth), [-2.0, 2.0, -1.0, 1.0])


# ---------------------------------------------------------------------------------------------------------------------
# Sizes, dtypes, reductions, forms


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_dtypes(case: Case, variant: str, dtype: str) -> None:
    problem = case.problem(variant, (5, 0, 3), 4, 1, dtype)
    for form in problem.forms():
        for reduction in REDUCTIONS:
            assert_value(case, problem, form, reduction, problem(form, reduction=reduction))


@pytest.mark.parametrize("shape", LENGTHS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_shapes(case: Case, variant: str, shape: str) -> None:
    for seed, dtype in enumerate(("float32", "float64")):
        problem = case.problem(variant, LENGTHS[shape], 5, seed, dtype)
        for form in problem.forms():
            for reduction in REDUCTIONS:
                assert_value(case, problem, form, reduction, problem(form, reduction=reduction))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_widths(case: Case, variant: str, width: int) -> None:
    for dtype in FLOATS:
        problem = case.problem(variant, (3, 2), width, width, dtype)
        for form in problem.forms():
            for reduction in ("none", "mean"):
                assert_value(case, problem, form, reduction, problem(form, reduction=reduction))


@pytest.mark.parametrize("width", [127, 128, 129, 1000, 4097])
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_wide_rows(name: str, width: int) -> None:
    case = BY_NAME[name]
    for dtype in FLOATS:
        problem = case.problem("plain", (3, 2), width, width, dtype)
        assert_value(case, problem, "ragged", "none", problem("ragged", reduction="none"))


@pytest.mark.parametrize("lengths", [(15,), (16, 17), (33, 0, 2)], ids=str)
@pytest.mark.parametrize("variant", ["plain", "mask", "weights", "everything"])
@pytest.mark.parametrize("name", ["mse_loss", "mae_loss"])
def test_pointwise_without_a_last_axis(name: str, variant: str, lengths: tuple[int, ...]) -> None:
    case = BY_NAME[name]
    for dtype in FLOATS:
        problem = case.problem(variant, lengths, 0, 3, dtype)
        for form in problem.forms():
            for reduction in REDUCTIONS:
                assert_value(case, problem, form, reduction, problem(form, reduction=reduction))


@pytest.mark.parametrize("lengths", [(40, 61, 33), (200,)], ids=str)
@pytest.mark.parametrize("variant", BY_NAME["ctc_loss"].variants)
def test_longer_ctc(variant: str, lengths: tuple[int, ...]) -> None:
    case = BY_NAME["ctc_loss"]
    for dtype in FLOATS:
        problem = case.problem(variant, lengths, 7, 3, dtype)
        for form in problem.forms():
            assert_value(case, problem, form, "none", problem(form, reduction="none"))


# ---------------------------------------------------------------------------------------------------------------------
# Layouts in memory


def plain(array: Array) -> Array:
    """C order, native, aligned."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_how_an_array_lies_in_memory_changes_no_bit(case: Case, variant: str, layout: str) -> None:
    for dtype in FLOATS:
        problem = case.problem(variant, (17, 4), 19, 5, dtype)
        for form in ("padded", "ragged"):
            positional, named = problem.arguments(form)
            laid_out = [lay_out(argument, LAYOUTS[layout]) for argument in positional]
            named_laid_out = {name: lay_out(argument, LAYOUTS[layout]) for name, argument in named.items()}
            ask = seqloss_rs.value_and_grad(problem.loss)
            for reduction in ("none", "mean"):
                clean = ask(*positional, **named, reduction=reduction)
                assert bytes_of(ask(*laid_out, **named_laid_out, reduction=reduction)) == bytes_of(clean)
                assert bytes_of(problem.loss(*laid_out, **named_laid_out, reduction=reduction)) == bytes_of(clean[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broadcast_view_is_read_like_its_copy(case: Case) -> None:
    for dtype in FLOATS:
        problem = case.problem("plain", (6,), 19, 5, dtype)
        positional, named = problem.arguments("stacked")
        views = [np.broadcast_to(argument, (4, *argument.shape[1:])) for argument in positional]
        ask = seqloss_rs.value_and_grad(problem.loss)
        assert bytes_of(ask(*views, **named, reduction="none")) == bytes_of(
            ask(*[view.copy() for view in views], **named, reduction="none")
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_written_to_the_arguments(case: Case) -> None:
    for variant in case.variants:
        problem = case.problem(variant, (17, 4), 19, 5, "float32")
        positional, named = problem.arguments("padded")
        before = bytes_of([positional, list(named.items())])
        seqloss_rs.value_and_grad(problem.loss)(*positional, **named, reduction="none")
        assert bytes_of([positional, list(named.items())]) == before


# ---------------------------------------------------------------------------------------------------------------------
# What else may be handed over


@pytest.mark.parametrize("integer", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4"])
def test_labels_of_every_integer_type(integer: str) -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(size=(3, 7, 5))
    targets = generator.integers(1, 5, (3, 7))
    expected = seqloss_rs.cross_entropy_loss(logits, targets)
    assert seqloss_rs.cross_entropy_loss(logits, targets.astype(integer)) == expected
    rewards = np.ones(3)
    expected = seqloss_rs.reinforce_loss(logits, targets, rewards)
    assert seqloss_rs.reinforce_loss(logits, targets.astype(integer), rewards) == expected
    labels, lengths = targets[:, :2], np.array([2, 1, 0])
    expected = seqloss_rs.ctc_loss(logits, labels, target_lengths=lengths)
    assert seqloss_rs.ctc_loss(logits, labels.astype(integer), target_lengths=lengths.astype(integer)) == expected
    lengths = np.array([7, 3, 0])
    expected = seqloss_rs.cross_entropy_loss(logits, targets, lengths=lengths)
    assert seqloss_rs.cross_entropy_loss(logits, targets, lengths=lengths.astype(integer)) == expected


def test_plain_python_lists_are_arrays_too() -> None:
    assert seqloss_rs.mse_loss([1.0, 2.0], [0.0, 0.0]) == 2.5
    assert seqloss_rs.mae_loss([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], lengths=[2, 1]) == 2.0
    logits = [[[0.0, 0.0], [0.0, 0.0]]]
    assert seqloss_rs.cross_entropy_loss(logits, [[1, 0]]) == pytest.approx(np.log(2), rel=1e-15)
    assert seqloss_rs.ctc_loss(logits, [[1]], reduction="sum") == pytest.approx(-np.log(0.75), rel=1e-14)
    assert seqloss_rs.reinforce_loss(logits, [[1, 0]], [2.0]) == pytest.approx(2 * np.log(2), rel=1e-15)


def test_a_list_of_arrays_of_one_length_is_ragged_all_the_same() -> None:
    arrays = [np.arange(3.0), np.arange(3.0) + 1]
    result = seqloss_rs.mse_loss(arrays, [array + 2 for array in arrays], reduction="none")
    assert isinstance(result, list)
    assert [entry.tolist() for entry in result] == [[4.0] * 3, [4.0] * 3]


@pytest.mark.parametrize("length_type", [list, tuple, np.array])
def test_lengths_as_lists_tuples_and_arrays(length_type: Callable[[Any], Any]) -> None:
    predictions = np.arange(12.0).reshape(3, 4)
    value = seqloss_rs.mse_loss(predictions, predictions * 0, lengths=length_type([4, 0, 1]), reduction="sequence")
    np.testing.assert_array_equal(value, [14.0, 0.0, 64.0])


# ---------------------------------------------------------------------------------------------------------------------
# CTC: layouts and ways to write targets


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("variant", BY_NAME["ctc_loss"].variants)
def test_time_major_is_the_same_to_the_bit(variant: str, dtype: str) -> None:
    problem = BY_NAME["ctc_loss"].problem(variant, (17, 4, 9), 19, 5, dtype)
    (logits, targets), named = problem.arguments("padded")
    ask = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)
    for reduction in ("none", "mean"):
        value, gradient = ask(logits, targets, **named, reduction=reduction)
        for time_major in (logits.swapaxes(0, 1), logits.swapaxes(0, 1).copy()):
            other_value, other = ask(time_major, targets, layout="TNC", **named, reduction=reduction)
            assert bytes_of(other_value) == bytes_of(value)
            assert other.shape == time_major.shape
            assert other.swapaxes(0, 1).tobytes() == gradient.tobytes()


def test_layout_says_nothing_about_one_sequence_or_a_list() -> None:
    problem = BY_NAME["ctc_loss"].problem("plain", (9, 4), 5, 5, "float64")
    single = problem.first[0], problem.by_sequence["targets"][0]
    assert seqloss_rs.ctc_loss(*single, layout="TNC") == seqloss_rs.ctc_loss(*single)
    ragged, _ = problem.arguments("ragged")
    assert seqloss_rs.ctc_loss(*ragged, layout="TNC") == seqloss_rs.ctc_loss(*ragged)


@pytest.mark.parametrize("variant", BY_NAME["ctc_loss"].variants)
def test_every_way_to_write_targets_is_the_same_to_the_bit(variant: str) -> None:
    problem = BY_NAME["ctc_loss"].problem(variant, (17, 4, 9), 19, 5, "float32")
    (logits, padded), named = problem.arguments("padded")
    targets = problem.by_sequence["targets"]
    ask = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)
    expected = bytes_of(ask(logits, padded, **named, reduction="none"))
    target_lengths = named.pop("target_lengths")
    concatenated = np.concatenate(targets)
    assert bytes_of(ask(logits, targets, **named, reduction="none")) == expected
    assert bytes_of(ask(logits, [list(target) for target in targets], **named, reduction="none")) == expected
    assert bytes_of(ask(logits, concatenated, target_lengths=target_lengths, **named, reduction="none")) == expected
    # torch's order of positional arguments.
    input_lengths = named.pop("input_lengths")
    by_position = ask(logits, concatenated, input_lengths, target_lengths, **named, reduction="none")
    assert bytes_of(by_position) == expected


def test_ctc_with_padded_logits_and_a_list_of_targets_and_the_other_way_round() -> None:
    case = BY_NAME["ctc_loss"]
    problem = case.problem("plain", (9, 4), 5, 5, "float64")
    padded = pad(problem.by_sequence["targets"])
    lengths = [len(target) for target in problem.by_sequence["targets"]]
    value = seqloss_rs.ctc_loss(problem.first, padded, target_lengths=lengths)
    assert value == problem("ragged")
    value = seqloss_rs.ctc_loss(pad(problem.first), problem.by_sequence["targets"], input_lengths=[9, 4])
    assert value == problem("ragged")


# ---------------------------------------------------------------------------------------------------------------------
# REINFORCE over groups


@pytest.mark.parametrize("baseline", [None, 0.5, "array", "batch_mean", "leave_one_out"])
@pytest.mark.parametrize("variant", ["plain", "per step", "discounted", "mask", "log_probs of the actions"])
def test_a_group_axis(variant: str, baseline: Any) -> None:
    case, group, count, steps = BY_NAME["reinforce_loss"], 3, 2, 4
    problem = case.problem(variant, (steps,) * (group * count), 5, 7, "float64")
    if baseline == "array":
        shape = problem.by_sequence["rewards"][0].shape
        problem.by_sequence["baseline"] = [np.full(shape, index / 8) for index in range(group * count)]
    elif baseline is not None:
        problem.shared["baseline"] = baseline
    positional, named = problem.arguments("stacked")

    def grouped(argument: Any) -> Any:
        if isinstance(argument, np.ndarray):
            return argument.reshape(count, group, *argument.shape[1:])
        return argument

    problem.shared["group"] = group
    reductions: Any = REDUCTIONS
    for reduction in reductions:
        value, gradient = seqloss_rs.value_and_grad(seqloss_rs.reinforce_loss)(
            *[grouped(argument) for argument in positional],
            **{name: grouped(argument) for name, argument in named.items()},
            reduction=reduction,
        )
        assert gradient.shape == (count, group, *positional[0].shape[1:])
        expected = case.expected(problem, reduction)
        if reduction in ("none", "sequence", "sequence_mean"):
            assert np.asarray(value).shape[:2] == (count, group)
            value = np.reshape(value, (group * count, *np.asarray(value).shape[2:]))
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14, err_msg=reduction)


def test_leave_one_out_with_nothing_to_leave_out_is_zero() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 1, 3, 4))
    actions = np.zeros((2, 1, 3), int)
    value, gradient = seqloss_rs.value_and_grad(seqloss_rs.reinforce_loss)(
        logits, actions, np.array([[3.0], [5.0]]), baseline="leave_one_out"
    )
    assert value == 0.0
    assert not gradient.any()


# ---------------------------------------------------------------------------------------------------------------------
# Precision


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-7), ("float64", 1e-13)])
def test_a_ctc_loss_near_zero_is_right_and_never_negative(dtype: str, most: float) -> None:
    generator = np.random.default_rng(11)
    for steps, margin in [(1, 5), (3, 10), (7, 20), (20, 30), (20, 60), (40, 90), (100, 16), (300, 14)]:
        classes = 6
        target: list[int] = []
        path: list[int] = []
        while len(path) + 2 < steps:
            label = int(generator.integers(1, classes))
            target.append(label)
            path += [label, label, 0]
        path += [0] * (steps - len(path))
        logits = generator.normal(size=(steps, classes))
        logits[np.arange(steps), path] += margin
        logits = logits.astype(dtype)
        truth = float(ctc_by_mpmath(logits, target, 0))
        loss = float(seqloss_rs.ctc_loss(logits, np.array(target, int), reduction="none"))
        assert loss >= 0
        # Near 0 the error is absolute; elsewhere it grows with the loss.
        assert abs(loss - truth) <= most * max(1.0, 10 * truth), (steps, margin, loss, truth)


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_long_ctc_in_float32(scale: float) -> None:
    generator = np.random.default_rng(3)
    steps, classes, labels = 10_000, 32, 500
    logits = (generator.normal(size=(steps, classes)) * scale).astype(np.float32)
    target = generator.integers(1, classes, labels)
    log_p = np.array([log_probabilities(row, "logits") for row in logits])
    loss, posterior = ctc_by_recursion(log_p, target, 0)
    value, gradient = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(logits, target, reduction="sum")
    assert value == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(gradient, np.exp(log_p) - posterior, atol=5e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [30.0, 300.0, 1e3, 3e3, 1e4, 1e5, 1e6, 1e8, 1e12])
def test_ctc_of_logits_of_any_size(scale: float, dtype: str) -> None:
    """Probabilities far below the smallest number that a float has."""
    for seed in range(10):
        generator = np.random.default_rng(seed)
        logits = (generator.normal(size=(30, 6)) * scale).astype(dtype)
        target = generator.integers(1, 6, int(generator.integers(0, 11)))
        log_p = np.array([log_probabilities(row, "logits") for row in logits])
        loss, posterior = ctc_by_recursion(log_p, target, 0)
        # The other form of the recursion adds log-probabilities, whose last digit is worth so much.
        digit = np.abs(log_p).max() * 30 * np.finfo(np.float64).eps
        value, gradient = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(logits, target, reduction="sum")
        assert value == pytest.approx(loss, rel=1e-12 if dtype == "float64" else 1e-6)
        most = (1e-10 if dtype == "float64" else 5e-6) + 10 * digit
        np.testing.assert_allclose(gradient, np.exp(log_p) - posterior, atol=most, rtol=0)
        value, gradient = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(
            log_p, target, scores="log_probs", reduction="sum"
        )
        assert value == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(gradient, -posterior, atol=1e-10 + 10 * digit, rtol=0)


@pytest.mark.parametrize("masked", [-1e4, -1e9, float(np.finfo(np.float32).min)])
def test_ctc_with_classes_that_are_masked_by_a_large_number(masked: float) -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(size=(12, 8)).astype(np.float32)
    logits[:, 5:] = masked
    target = np.array([1, 1, 4])
    value, gradient = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(logits, target, reduction="sum")
    expected, slope = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(logits[:, :5].copy(), target, reduction="sum")
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient[:, :5], slope, atol=1e-6)
    assert not gradient[:, 5:].any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_probabilities_that_vanish_and_logits_that_are_huge(dtype: str) -> None:
    infinity = np.inf
    for scale in (10.0, 1e3, 3e4):
        logits = np.array([[0.0, scale, -scale], [-infinity, 0.0, 0.0], [scale, scale, -infinity]]).astype(dtype)
        rows = np.asarray(logits, np.float64)
        expected = [-log_probabilities(row, "logits")[label] for row, label in zip(rows, (0, 1, 1), strict=True)]
        value, gradient = seqloss_rs.value_and_grad(seqloss_rs.cross_entropy_loss)(
            logits, np.array([0, 1, 1]), reduction="none"
        )
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert np.all(np.isfinite(np.asarray(gradient, np.float64)))
        assert gradient[1, 0] == 0
        assert gradient[2, 2] == 0


@pytest.mark.parametrize("value", [1e-30, 1e-8, 1.0, 1e15, 1e30])
def test_pointwise_over_the_range_of_float32(value: float) -> None:
    x = np.full((2, 17), value, np.float32)
    assert seqloss_rs.mae_loss(x, -x, reduction="mean") == pytest.approx(2 * float(np.float32(value)), rel=1e-6)
    squared = (2 * float(np.float32(value))) ** 2
    if 1e-37 < squared < 1e38:
        assert seqloss_rs.mse_loss(x, -x, reduction="mean") == pytest.approx(squared, rel=1e-6)


def test_many_small_terms_are_added_in_float64() -> None:
    count = 3_000_000
    predictions = np.full(count, 0.1, np.float32)
    term = float(np.float32(0.1))
    assert seqloss_rs.mae_loss(predictions, np.zeros(count, np.float32), reduction="sum") == pytest.approx(
        term * count, rel=1e-7
    )
    narrow = predictions.astype(ml_dtypes.bfloat16)
    assert seqloss_rs.mae_loss(narrow, np.zeros_like(narrow)) == pytest.approx(float(narrow[0]), rel=1e-7)


def test_groups_without_members_as_a_list() -> None:
    logits, actions = [np.zeros((0, 3, 4), np.float32)] * 2, [np.zeros((0, 3), np.int64)] * 2
    terms: Any = seqloss_rs.reinforce_loss(logits, actions, np.zeros((2, 0)), reduction="none")
    assert [item.shape for item in terms] == [(0, 3), (0, 3)]
