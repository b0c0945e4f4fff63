"""Gradients: against central differences of the definition, in every narrower type, and where they are written to."""

import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import seqloss_rs
from cases import (
    BY_NAME,
    CASES,
    FLOATS,
    LAYOUTS,
    REDUCTIONS,
    ROW_NAMES,
    ROWS,
    SCALAR_REDUCTIONS,
    TEXT_LOSSES,
    Array,
    Case,
    Problem,
    attempt,
    bytes_of,
    pad,
    unpad,
)
from seqloss_rs import value_and_grad

STEP = 1e-4


def numeric_gradient(case: Case, problem: Problem, objective: Callable[[reference.Terms], float]) -> list[Array]:
    """Central differences of the definition, of fourth order, with respect to each number of the first argument."""
    name = problem.positional[0]
    gradient = []
    for index, array in enumerate(problem.first):
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            if not np.isfinite(array[place]):
                continue
            # The logarithm of a small probability bends too fast for a step of any other size.
            step = STEP * array[place] if problem.shared.get("scores") == "probs" else STEP
            sides = []
            for steps in (2, 1, -1, -2):
                moved = [other.copy() for other in problem.first]
                moved[index][place] += steps * step
                sides.append(objective(case.reference_terms(problem.replace(**{name: moved}))))
            if np.all(np.isfinite(sides)):
                slope[place] = (8 * (sides[1] - sides[2]) - (sides[0] - sides[3])) / (12 * step)
        gradient.append(slope)
    return gradient


def as_list(problem: Problem, form: str, gradient: Any) -> list[Array]:
    """The gradient of each sequence, without padding."""
    if form == "ragged":
        return list(gradient)
    if form == "single":
        return [gradient]
    for rows, length in zip(gradient, problem.lengths, strict=True):
        assert not np.any(rows[length:]), "the gradient of padding is not 0"
    return unpad(gradient, problem.lengths)


def assert_gradient(problem: Problem, form: str, gradient: Any, expected: list[Array]) -> None:
    assert isinstance(gradient, list if form == "ragged" else np.ndarray)
    for own, wanted, first in zip(as_list(problem, form, gradient), expected, problem.first, strict=True):
        assert own.dtype == first.dtype
        assert own.shape == first.shape
        np.testing.assert_allclose(own, wanted, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# The slope itself


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_central_differences(case: Case, variant: str, reduction: str) -> None:
    lengths = (3, 0, 2) if reduction != "sequence_mean" else (3, 2)
    problem = case.problem(variant, lengths, 3, 8, "float64")

    def objective(terms: reference.Terms) -> float:
        reduced = reference.reduce(terms, reduction)
        if isinstance(reduced, float):
            return reduced
        sums = np.array([np.sum(entry) for entry in reduced])
        return float(np.sum(sums[np.isfinite(sums)]))

    expected = numeric_gradient(case, problem, objective)
    # The gradient of a sample that cannot be is 0, whatever the others are.
    if "infeasible" in variant and reduction in SCALAR_REDUCTIONS:
        alone = problem.replace(**{name: arrays[:1] for name, arrays in problem.by_sequence.items()})
        share = 1.0 if reduction == "sum" else 1 / len(lengths)
        expected[0] = share * numeric_gradient(case, alone, lambda terms: reference.reduce(terms, "sum"))[0]
        if reduction == "mean":
            expected[0] /= max(len(problem.by_sequence["targets"][0]), 1)
    for form in problem.forms():
        value, gradient = problem.value_and_grad(form, reduction=reduction)
        assert bytes_of(value) == bytes_of(problem(form, reduction=reduction))
        assert_gradient(problem, form, gradient, expected)


@pytest.mark.parametrize("variant", ["plain", "mask", "everything"])
@pytest.mark.parametrize("name", ["mse_loss", "mae_loss"])
def test_central_differences_without_a_last_axis(name: str, variant: str) -> None:
    case = BY_NAME[name]
    problem = case.problem(variant, (4, 2), 0, 8, "float64")
    expected = numeric_gradient(case, problem, lambda terms: reference.reduce(terms, "mean"))
    for form in problem.forms():
        assert_gradient(problem, form, problem.value_and_grad(form)[1], expected)


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_grad_output_as_an_array_weighs_the_values(case: Case, variant: str) -> None:
    generator = np.random.default_rng(3)
    problem = case.problem(variant, (3, 2), 3, 9, "float64")
    terms = case.reference_terms(problem)
    for reduction in ("none", "sequence", "sequence_mean"):
        shapes = [np.shape(entry) for entry in reference.reduce(terms, reduction)]
        weights = [np.asarray(generator.normal(size=shape)) for shape in shapes]

        def objective(terms: reference.Terms, reduction: str = reduction, weights: list[Array] = weights) -> float:
            values = reference.reduce(terms, reduction)
            weighted = [np.sum(w * v) for w, v in zip(weights, values, strict=True)]
            return float(np.sum([value for value in weighted if np.isfinite(value)]))

        expected = numeric_gradient(case, problem, objective)
        for form in ("padded", "ragged"):
            ragged_terms = reduction == "none" and weights[0].ndim > 0
            if not ragged_terms:
                grad_output: Any = np.array(weights)
            else:
                grad_output = weights if form == "ragged" else pad(weights)
            _, gradient = problem.value_and_grad(form, reduction=reduction, grad_output=grad_output)
            assert_gradient(problem, form, gradient, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_grad_output_as_a_number_scales(case: Case) -> None:
    for dtype in ("float32", "float64"):
        problem = case.problem("plain", (5, 3), 4, 9, dtype)
        for reduction in REDUCTIONS:
            value, plain = problem.value_and_grad("padded", reduction=reduction)
            for number in (2, -0.5, np.float32(4), np.array(0.25)):
                scaled_value, scaled = problem.value_and_grad("padded", reduction=reduction, grad_output=number)
                assert bytes_of(scaled_value) == bytes_of(value)
                np.testing.assert_array_equal(scaled, plain * plain.dtype.type(number))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_grad_output_of_the_wrong_shape_is_refused(case: Case) -> None:
    problem = case.problem("plain", (5, 3), 4, 9, "float64")
    for reduction, wrong in (("mean", np.ones(3)), ("sequence", np.ones(3)), ("none", np.ones((7, 7, 7)))):
        with pytest.raises(ValueError, match="grad_output"):
            problem.value_and_grad("padded", reduction=reduction, grad_output=wrong)
    for nonsense in ("one", object(), np.array(["a"])):
        with pytest.raises((TypeError, ValueError), match="grad_output"):
            problem.value_and_grad("padded", grad_output=nonsense)


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_narrow_types(case: Case, variant: str) -> None:
    """The gradient of a narrow type is that of the same numbers in float64, rounded once or nearly so."""
    for dtype, rounding, smallest in (("float32", 4e-6, 1e-6), ("float16", 2**-10, 1e-6), ("bfloat16", 2**-7, 1e-6)):
        for width in (4, 17):
            problem = case.problem(variant, (9, 4), width, 5, dtype)
            wide = problem.replace(
                **{
                    name: [a.astype(np.float64) if a.dtype == FLOATS[dtype] else a for a in arrays]
                    for name, arrays in problem.by_sequence.items()
                }
            )
            for reduction in ("none", "mean"):
                _, gradient = problem.value_and_grad("ragged", reduction=reduction)
                _, expected = wide.value_and_grad("ragged", reduction=reduction)
                for own, wanted in zip(gradient, expected, strict=True):
                    assert own.dtype == FLOATS[dtype]
                    np.testing.assert_allclose(own.astype(np.float64), wanted, rtol=rounding, atol=smallest)


@pytest.mark.parametrize("variant", ["plain", "mask", "smoothed class weights", "everything"])
def test_the_gradient_with_respect_to_logits_sums_to_zero(variant: str) -> None:
    for name in ("cross_entropy_loss", "ctc_loss", "reinforce_loss"):
        case = BY_NAME[name]
        if variant not in case.variants:
            continue
        problem = case.problem(variant, (9, 17), 33, 5, "float64")
        _, gradient = problem.value_and_grad("ragged", reduction="none")
        for rows in gradient:
            np.testing.assert_allclose(rows.sum(axis=-1), 0, atol=1e-13)


def test_the_gradient_of_ctc_from_log_probs_is_minus_the_posterior() -> None:
    problem = BY_NAME["ctc_loss"].problem("log_probs unnormalised last blank", (9, 17), 4, 5, "float64")
    _, gradient = problem.value_and_grad("ragged", reduction="sum")
    for rows, log_p, target in zip(gradient, problem.first, problem.by_sequence["targets"], strict=True):
        _, posterior = reference.ctc_by_recursion(log_p, target, 3)
        np.testing.assert_allclose(rows, -posterior, atol=1e-12)


def test_the_slope_of_mae_at_zero_is_zero() -> None:
    for dtype in FLOATS.values():
        predictions = np.array([1.0, 2.0, -3.0, 0.0, -0.0]).astype(dtype)
        targets = np.array([1.0, 5.0, -5.0, -0.0, 0.0]).astype(dtype)
        _, gradient = value_and_grad(seqloss_rs.mae_loss)(predictions, targets, reduction="sum")
        assert gradient.astype(np.float64).tolist() == [0, -1, 1, 0, 0]


# ---------------------------------------------------------------------------------------------------------------------
# What is masked


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_masked_places_have_a_gradient_of_exactly_zero(case: Case, variant: str) -> None:
    """Arguments by mask have NaN and impossible classes where nothing may be read (see `cases.poison`)."""
    for dtype in FLOATS:
        problem = case.problem(variant, (9, 0, 4), 17, 5, dtype)
        for form in ("padded", "ragged"):
            value, gradient = problem.value_and_grad(form, reduction="none")
            for rows in gradient:
                assert not np.isnan(np.asarray(rows, np.float64)).any()
            if "mask" in problem.by_sequence:
                for rows, mask in zip(gradient, problem.by_sequence["mask"], strict=True):
                    assert not np.any(rows[: len(mask)][~mask])
            if form == "padded":
                for rows, length in zip(gradient, problem.lengths, strict=True):
                    assert not np.any(rows[length:])
                    # Not even the sign bit.
                    assert not np.signbit(np.asarray(rows[length:], np.float64)).any()
            del value


def test_ignored_rows_may_hold_anything() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 4))
    targets = np.array([[1, -100, 2], [-100, 0, -100]])
    value, gradient = value_and_grad(seqloss_rs.cross_entropy_loss)(logits, targets)
    logits[targets == -100] = np.nan
    assert bytes_of(value_and_grad(seqloss_rs.cross_entropy_loss)(logits, targets)) == bytes_of((value, gradient))
    assert not gradient[targets == -100].any()


def test_an_infeasible_sample_does_not_touch_the_others() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(3, 4, 5))
    targets = [[1, 2], [1, 1, 1, 1], [3]]
    ask = value_and_grad(seqloss_rs.ctc_loss)
    value, gradient = ask(logits, targets)
    assert value == np.inf
    assert not gradient[1].any()
    value, with_zero = ask(logits, targets, zero_infinity=True)
    assert np.isfinite(value)
    assert with_zero.tobytes() == gradient.tobytes()
    alone, own = ask(logits[::2], targets[::2], reduction="sum")
    assert seqloss_rs.ctc_loss(logits, targets, reduction="sum", zero_infinity=True) == alone
    assert ask(logits, targets, reduction="sum")[1][::2].tobytes() == own.tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# out=


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_out_receives_the_gradient(case: Case, variant: str, dtype: str) -> None:
    problem = case.problem(variant, (9, 4), 17, 5, dtype)
    for form in ("padded", "ragged"):
        positional, named = problem.arguments(form)
        for reduction in ("none", "mean"):
            value, gradient = problem.value_and_grad(form, reduction=reduction)
            expected = bytes_of((value, gradient))

            def like(array: Any) -> Any:
                if isinstance(array, list):
                    return [like(entry) for entry in array]
                return np.full_like(array, 77)

            fresh = like(positional[0])
            result = value_and_grad(problem.loss, out=fresh)(*positional, **named, reduction=reduction)
            assert result[1] is fresh
            assert bytes_of(result) == expected
            # The logits themselves.
            own = [entry.copy() for entry in positional[0]] if form == "ragged" else positional[0].copy()
            result = value_and_grad(problem.loss, out=own)(own, *positional[1:], **named, reduction=reduction)
            assert result[1] is own
            assert bytes_of(result) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_out_may_be_strided_and_what_lies_between_stays(case: Case) -> None:
    for dtype in FLOATS:
        problem = case.problem("plain", (9, 9), 17, 5, dtype)
        positional, named = problem.arguments("padded")
        shape = positional[0].shape
        _, gradient = problem.value_and_grad("padded")
        larger = np.full((shape[0], 2 * shape[1], shape[2] + 3), 77, FLOATS[dtype])
        for view in (larger[:, ::2, : shape[2]], larger[:, 1::2, 3:]):
            value_and_grad(problem.loss, out=view)(*positional, **named)
            assert np.array(view).tobytes() == gradient.tobytes()
        assert np.all(larger[:, ::2, shape[2] :] == 77)
        assert np.all(larger[:, 1::2, :3] == 77)
        for view in (
            np.full(shape, 77, FLOATS[dtype], order="F"),
            np.full(shape, 77, FLOATS[dtype])[::-1, ::-1, ::-1],
            np.full((*shape[:2], 2 * shape[2]), 77, FLOATS[dtype])[..., ::2],
            LAYOUTS["misaligned"](np.full(shape, 77, FLOATS[dtype])),
        ):
            value_and_grad(problem.loss, out=view)(*positional, **named)
            assert np.array(view, order="C").tobytes() == gradient.tobytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_out_in_the_other_byte_order_is_right_or_refused(case: Case) -> None:
    problem = case.problem("plain", (9, 4), 17, 5, "float32")
    positional, named = problem.arguments("padded")
    value, gradient = value_and_grad(problem.loss)(*positional, **named)
    swapped = LAYOUTS["byte_swapped"](positional[0])
    for first, out in ((positional[0], np.zeros(swapped.shape, swapped.dtype)), (swapped, swapped)):
        result = attempt(functools.partial(value_and_grad(problem.loss, out=out), first, *positional[1:], **named))
        if isinstance(result, Exception):
            assert "out" in str(result)
        else:
            assert result[0] == value
            np.testing.assert_array_equal(result[1], gradient)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_out_that_does_not_fit_is_refused(case: Case) -> None:
    problem = case.problem("plain", (9, 4), 17, 5, "float32")
    positional, named = problem.arguments("padded")
    shape = positional[0].shape
    read_only = np.zeros(shape, np.float32)
    read_only.flags.writeable = False
    wrong: list[Any] = [
        np.zeros((*shape[:2], shape[2] + 1), np.float32),
        np.zeros(shape[1:], np.float32),
        np.zeros((1, *shape), np.float32),
        np.zeros(shape, np.float64),
        np.zeros(shape, np.float16),
        np.zeros(shape, np.int32),
        read_only,
        np.broadcast_to(np.float32(0), shape),
        np.ma.zeros(shape, np.float32),
        np.zeros(shape, np.float32).tolist(),
        [np.zeros(shape[1:], np.float32)] * shape[0],
        "out",
        3.0,
    ]
    for out in wrong:
        with pytest.raises((TypeError, ValueError), match="out"):
            value_and_grad(problem.loss, out=out)(*positional, **named)
    positional, named = problem.arguments("ragged")
    for out in (
        np.zeros(shape, np.float32),
        [np.zeros_like(positional[0][0])],
        [np.zeros_like(positional[0][0]), np.zeros((1, 1), np.float32)],
        [np.zeros_like(positional[0][0]), np.zeros(positional[0][1].shape)],
    ):
        with pytest.raises((TypeError, ValueError), match="out"):
            value_and_grad(problem.loss, out=out)(*positional, **named)


@pytest.mark.parametrize("count", [40, 200_000])
def test_an_out_that_overlaps_an_argument_is_right_or_refused(count: int) -> None:
    """Only the first argument may be `out` itself; whatever else it overlaps, no wrong number comes out."""
    generator = np.random.default_rng(3)

    def calls(numbers: Array) -> list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Array]]:
        """A loss, its arguments, and an `out`, all of them in one buffer."""
        mse, first, second = seqloss_rs.mse_loss, numbers[:count], numbers[count : 2 * count]
        rows = numbers[: count // 10 * 10].reshape(1, -1, 10)
        labels = np.arange(rows.shape[1])[None] % 10
        return [
            (mse, (first, second), {}, second),
            (mse, (first, second), {}, numbers[3 : count + 3]),
            (mse, (numbers[3 : count + 3], second), {}, first),
            (mse, (first, second), {}, numbers[count - 5 : 2 * count - 5]),
            (mse, (first, second), {}, numbers[count - 1 :: -1]),
            (mse, (first, first + 1), {"weights": second}, second),
            (
                seqloss_rs.cross_entropy_loss,
                (rows, labels),
                {"weights": numbers[: rows.shape[1]][None]},
                numbers[7 : rows.size + 7].reshape(rows.shape),
            ),
            (
                seqloss_rs.ctc_loss,
                (rows, [[1, 2, 1]]),
                {},
                numbers[10 : rows.size + 10].reshape(rows.shape),
            ),
        ]

    original = generator.normal(size=2 * count + 20)
    for index in range(len(calls(original))):
        loss, arguments, keywords, _ = calls(original.copy())[index]
        value, gradient = value_and_grad(loss)(*arguments, **keywords)
        loss, arguments, keywords, out = calls(original.copy())[index]
        result = attempt(functools.partial(value_and_grad(loss, out=out), *arguments, **keywords))
        if isinstance(result, Exception):
            assert "out" in str(result)
        else:
            assert result[0] == value
            assert result[1] is out
            np.testing.assert_array_equal(out, gradient)


# ---------------------------------------------------------------------------------------------------------------------
# The function that value_and_grad makes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_inside_and_outside_of_partial(case: Case) -> None:
    problem = case.problem("plain", (5, 3), 4, 9, "float32")
    positional, named = problem.arguments("padded")
    expected = bytes_of(value_and_grad(problem.loss)(*positional, **named, reduction="sum"))
    inside = value_and_grad(functools.partial(problem.loss, reduction="sum"))
    assert bytes_of(inside(*positional, **named)) == expected
    outside = functools.partial(value_and_grad(problem.loss), reduction="sum")
    assert bytes_of(outside(*positional, **named)) == expected
    nested = value_and_grad(functools.partial(functools.partial(problem.loss, **named), reduction="mean"))
    assert bytes_of(nested(*positional, reduction="sum")) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_pickles(case: Case) -> None:
    problem = case.problem("plain", (5, 3), 4, 9, "float32")
    positional, named = problem.arguments("padded")
    for made in (
        value_and_grad(problem.loss),
        value_and_grad(problem.loss, grad_output=2.0),
        value_and_grad(functools.partial(problem.loss, reduction="sum")),
    ):
        copy = pickle.loads(pickle.dumps(made))
        assert bytes_of(copy(*positional, **named)) == bytes_of(made(*positional, **named))
    assert pickle.loads(pickle.dumps(problem.loss)) is problem.loss


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_shows_the_signature_of_its_loss(case: Case) -> None:
    loss = getattr(seqloss_rs, case.name)
    shown = inspect.signature(value_and_grad(loss))
    assert list(shown.parameters.values()) == list(inspect.signature(loss).parameters.values())
    partial = functools.partial(loss, reduction="sum")
    assert inspect.signature(value_and_grad(partial)).parameters["reduction"].default == "sum"


@pytest.mark.parametrize("name", TEXT_LOSSES)
def test_a_text_loss_has_no_gradient(name: str) -> None:
    loss = getattr(seqloss_rs, name)
    for asked in (loss, functools.partial(loss, reduction="none")):
        with pytest.raises(TypeError) as caught:
            value_and_grad(asked)(["a b c d"], ["a b c d"])
        assert f"expected_{name}" in str(caught.value)
        assert "reinforce_loss" in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 3, "mse_loss", len, lambda x, y: 0.0, np.mean])
def test_what_is_no_loss_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="loss"):
        value_and_grad(wrong)(np.ones(3), np.ones(3))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_argument_by_its_name(case: Case) -> None:
    problem = case.problem("plain", (5, 3), 4, 9, "float32")
    positional, named = problem.arguments("padded")
    by_name = dict(zip(problem.positional, positional, strict=True))
    expected = bytes_of(value_and_grad(problem.loss)(*positional, **named))
    assert bytes_of(value_and_grad(problem.loss)(**by_name, **named)) == expected
    assert bytes_of(problem.loss(**by_name, **named)) == expected[0]


def test_in_place_where_another_argument_is_the_same_memory() -> None:
    generator = np.random.default_rng(3)
    same = np.full((2, 3), 2.0, np.float32)
    value, gradient = value_and_grad(seqloss_rs.mse_loss, out=same)(same, same, reduction="sum")
    assert value == 0
    assert not gradient.any()
    logits = generator.random((2, 3, 4))
    logits /= logits.sum(-1, keepdims=True)
    expected, slope = value_and_grad(seqloss_rs.cross_entropy_loss)(logits.copy(), logits.copy())
    value, gradient = value_and_grad(seqloss_rs.cross_entropy_loss, out=logits)(logits, logits)
    assert value == expected
    assert gradient is logits
    np.testing.assert_array_equal(gradient, slope)


def test_a_grad_output_that_shares_memory_with_out() -> None:
    memory = np.arange(1, 3002, dtype=np.float32)
    grad_output, out = memory[:-1].reshape(1, -1), memory[1:].reshape(1, -1)
    expected = 2 * grad_output
    ones, zeros = np.ones((1, 3000), np.float32), np.zeros((1, 3000), np.float32)
    _, gradient = value_and_grad(seqloss_rs.mse_loss, grad_output=grad_output, out=out)(ones, zeros, reduction="none")
    np.testing.assert_array_equal(gradient, expected)


def test_out_is_a_tuple_of_arrays() -> None:
    logits = (np.zeros((2, 3)), np.zeros((1, 3)))
    targets = ([0, 1], [2])
    out = tuple(np.ones_like(item) for item in logits)
    _, expected = value_and_grad(seqloss_rs.cross_entropy_loss)(list(logits), list(targets))
    _, gradient = value_and_grad(seqloss_rs.cross_entropy_loss, out=out)(logits, targets)
    assert gradient is out
    for found, wanted in zip(out, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
