"""Losses of sets of answers: preferences, minimum risk, word errors of n-best lists."""

import math
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_policy as trainers
from reference_policy import Array, differences, spoiled
from seqloss_rs import dpo_loss, mrt_loss, mwer_loss, value_and_grad

# ---------------------------------------------------------------------------------------------------------------------
# Sets of answers


@pytest.mark.parametrize(
    ("kind", "beta", "smoothing"), [("dpo", 0.1, 0.0), ("dpo", 2.0, 0.2), ("ipo", 0.3, 0.0), ("hinge", 0.5, 0.0)]
)
def test_preferences_of_trl(kind: Any, beta: float, smoothing: float) -> None:
    random = np.random.default_rng(20)
    log_probs, reference = random.normal(-20, 3, (2, 30, 2))
    loss = partial(dpo_loss, objective=kind, beta=beta, label_smoothing=smoothing)
    formula = partial(trainers.trl_dpo, kind=kind, beta=beta, smoothing=smoothing)
    value, gradient = value_and_grad(partial(loss, reduction="none"))(log_probs, reference)
    np.testing.assert_allclose(value, formula(trainers.Numpy, log_probs, reference), rtol=1e-12)
    slope = differences(lambda x: formula(trainers.Numpy, x, reference).sum(), log_probs)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    assert loss(log_probs, reference) == pytest.approx(float(np.mean(value)), rel=1e-14)
    assert loss(log_probs[0], None) == pytest.approx(formula(trainers.Numpy, log_probs[:1], 0 * reference[:1])[0])


def test_preferences_far_away_stay_finite() -> None:
    log_probs = np.array([[0.0, -1e5], [-1e5, 0.0], [0.0, -400.0]])
    value, gradient = value_and_grad(partial(dpo_loss, beta=1.0, reduction="none"))(log_probs, None)
    np.testing.assert_allclose(value, [0.0, 1e5, math.exp(-400)], rtol=1e-12)
    np.testing.assert_allclose(gradient[:, 0], [0.0, -1.0, -math.exp(-400)], rtol=1e-12)
    np.testing.assert_array_equal(gradient[:, 0], -gradient[:, 1])


@pytest.mark.parametrize("alpha", [5e-3, 1.0, 3.0])
def test_minimum_risk(alpha: float) -> None:
    random = np.random.default_rng(21)
    log_probs, costs = random.normal(-5, 2, (4, 6)), random.random((4, 6))
    value, gradient = value_and_grad(partial(mrt_loss, alpha=alpha, reduction="none"))(log_probs, costs)
    np.testing.assert_allclose(value, trainers.minimum_risk(trainers.Numpy, log_probs, costs, alpha), rtol=1e-12)
    slope = differences(lambda x: trainers.minimum_risk(trainers.Numpy, x, costs, alpha).sum(), log_probs, 1e-3)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    # Answers that are masked are not there; of other lists there are fewer.
    mask = random.random((4, 6)) < 0.6
    mask[3] = False
    masked = partial(mrt_loss, alpha=alpha, reduction="none", mask=mask)
    value, gradient = value_and_grad(masked)(spoiled(log_probs, mask), spoiled(costs, mask))
    rows = [[row[keep] for row, keep in zip(array, mask, strict=True)] for array in (log_probs, costs)]
    ragged = value_and_grad(partial(mrt_loss, alpha=alpha, reduction="none"))(*rows)
    np.testing.assert_array_equal(value, ragged[0])
    np.testing.assert_array_equal(gradient[mask], np.concatenate(ragged[1]))
    assert not np.any(gradient[~mask])
    assert np.asarray(value)[3] == 0


def test_mwer_counts_its_errors() -> None:
    random = np.random.default_rng(22)
    n, k, steps = 5, 4, 12
    hypotheses, references = random.integers(0, 6, (n, k, steps)), random.integers(0, 6, (n, 10))
    lengths, reference_lengths = random.integers(0, steps + 1, (n, k)), random.integers(1, 11, n)
    errors = np.array(
        [
            [
                trainers.edit_distance(hypotheses[i, j, : lengths[i, j]], references[i, : reference_lengths[i]])
                for j in range(k)
            ]
            for i in range(n)
        ]
    )
    log_probs = random.normal(-10, 2, (n, k))
    weights = np.exp(log_probs) / np.exp(log_probs).sum(1, keepdims=True)
    expected = (weights * (errors - errors.mean(1, keepdims=True))).sum(1)
    slopes = weights * (errors - (weights * errors).sum(1, keepdims=True))
    loss = partial(mwer_loss, reduction="none")
    counted = partial(loss, lengths=lengths, reference_lengths=reference_lengths)
    nested = [
        [ids[:length].tolist() for ids, length in zip(*of_one, strict=True)]
        for of_one in zip(hypotheses, lengths, strict=True)
    ]
    for value, gradient in (
        value_and_grad(counted)(log_probs, hypotheses, references),
        value_and_grad(partial(loss, errors=errors))(log_probs),
        value_and_grad(partial(loss, reference_lengths=reference_lengths))(log_probs, nested, references),
        value_and_grad(loss)(log_probs, *texts(hypotheses, lengths, references, reference_lengths)),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-12, atol=1e-13)
    value = loss(log_probs, errors=errors, subtract_mean=False)
    np.testing.assert_allclose(value, (weights * errors).sum(1), rtol=1e-12)


def texts(hypotheses: Array, lengths: Array, references: Array, reference_lengths: Array) -> tuple[Any, Any]:
    """The same as strings, the lists one after another."""

    def words(ids: Array) -> str:
        return " ".join(f"w{own}" for own in ids)

    flat = [words(ids[:length]) for ids, length in zip(hypotheses.reshape(-1, 12), lengths.ravel(), strict=True)]
    return flat, [words(ids[:length]) for ids, length in zip(references, reference_lengths, strict=True)]


WORDS = [["a b c", "a x c", ""], ["d", "d e", "f g d"]]
RIGHT = ["a b c", "d e"]
IDS: Any = [[[0, 1, 2], [0, 9, 2], []], [[3], [3, 4], [5, 6, 3]]]
RIGHT_IDS: Any = [[0, 1, 2], [3, 4]]
ERRORS = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 3.0]])


def test_n_best_lists_in_every_form() -> None:
    log_probs = np.random.default_rng(23).normal(size=(2, 3))
    padded = np.full((2, 3, 4), 99)
    for index in np.ndindex(2, 3):
        text = IDS[index[0]][index[1]]
        padded[index][: len(text)] = text
    arrays = [[np.array(text, int) for text in texts] for texts in IDS]
    right = np.array([[0, 1, 2], [3, 4, 99]])
    flat, flat_arrays = [text for texts in WORDS for text in texts], [text for texts in arrays for text in texts]
    each = [text for text in RIGHT for _ in range(3)]
    lengths: Any = {"lengths": [[len(text) for text in texts] for texts in IDS], "reference_lengths": [3, 2]}
    forms: list[tuple[Any, Any, Any]] = [
        (flat, RIGHT, {}),
        (tuple(flat), tuple(RIGHT), {}),
        (WORDS, RIGHT, {}),
        (tuple(map(tuple, WORDS)), tuple(RIGHT), {}),
        (np.array(WORDS), np.array(RIGHT), {}),
        (np.array(WORDS, object), RIGHT, {}),
        (flat, each, {}),
        (WORDS, each, {}),
        (IDS, RIGHT_IDS, {}),
        (arrays, RIGHT_IDS, {}),
        (flat_arrays, [np.array(text) for text in RIGHT_IDS], {}),
        (padded, right, lengths),
        (list(padded), list(right), {"pad_id": 99}),
        (padded.reshape(6, 4), right, {"lengths": np.ravel(lengths["lengths"]), "reference_lengths": [3, 2]}),
        (padded, right, {"pad_id": 99}),
        (np.where(padded == 99, 0, padded + 1), right + 1, {"eos_id": 0, "reference_lengths": [3, 2]}),
        (padded, np.repeat(right, 3, 0), {"pad_id": 99}),
    ]
    for own in (log_probs, list(log_probs)):
        expected = value_and_grad(partial(mwer_loss, reduction="none", alpha=0.5))(
            own, errors=ERRORS if own is log_probs else list(ERRORS)
        )
        for hypotheses, references, layout in forms:
            if own is not log_probs and np.ndim(layout.get("lengths", [0])) > 1:
                continue
            if own is not log_probs and isinstance(hypotheses, np.ndarray) and hypotheses.ndim == 3:
                continue
            value, gradient = value_and_grad(partial(mwer_loss, reduction="none", alpha=0.5, **layout))(
                own, hypotheses, references
            )
            np.testing.assert_array_equal(value, expected[0])
            np.testing.assert_array_equal(np.stack(gradient), np.stack(expected[1]))
    # One list, without the axis N.
    value, gradient = value_and_grad(mwer_loss)(log_probs[0], errors=ERRORS[0])
    one: list[tuple[Any, Any, Any]] = [
        (WORDS[0], RIGHT[:1], {}),
        (WORDS[:1], RIGHT[:1], {}),
        (WORDS[0], RIGHT[:1] * 3, {}),
        (IDS[0], RIGHT_IDS[:1], {}),
        (IDS[0], RIGHT_IDS[0], {}),
        (arrays[0], right[0], {}),
        (padded[0], right[:1], {"lengths": lengths["lengths"][0], "reference_lengths": [3]}),
        (padded[0], right[0], {"pad_id": 99, "reference_lengths": 3}),
        (padded[:1], right[:1], {"pad_id": 99}),
    ]
    for hypotheses, references, layout in one:
        found = value_and_grad(mwer_loss)(log_probs[0], hypotheses, references, **layout)
        assert found[0] == value
        np.testing.assert_array_equal(found[1], gradient)


def test_n_best_lists_of_their_own_lengths() -> None:
    random = np.random.default_rng(24)
    rows = [random.normal(size=count) for count in (2, 0, 3)]
    hypotheses: Any = [["a b", "a"], [], ["c", "d", "c d"]]
    errors = [np.array([0.0, 1.0]), np.array([]), np.array([1.0, 1.0, 0.0])]
    expected = value_and_grad(partial(mwer_loss, reduction="none"))(rows, errors=errors)
    flat = [text for texts in hypotheses for text in texts]
    right = ["a b", "e", "c d"]
    for texts, references in ((hypotheses, right), (flat, right), (flat, ["a b"] * 2 + ["c d"] * 3)):
        own = value_and_grad(partial(mwer_loss, reduction="none"))(rows, texts, references)
        np.testing.assert_array_equal(own[0], expected[0])
        np.testing.assert_array_equal(np.concatenate(own[1]), np.concatenate(expected[1]))
    for empty in (np.zeros((0, 3)), np.zeros((2, 0))):
        value: Any = mwer_loss(empty, [], [], reduction="none")
        np.testing.assert_array_equal(value, np.zeros(len(empty)))


def test_hypotheses_that_are_masked_are_not_looked_at() -> None:
    log_probs = np.random.default_rng(25).normal(size=(2, 3))
    mask = np.array([[True, False, True], [False, False, True]])
    expected = value_and_grad(partial(mwer_loss, reduction="none"))(log_probs, errors=ERRORS, mask=mask)
    masked: Any = [["a b c", None, ""], [None, 7, "f g d"]]
    ids: Any = [[[0, 1, 2], None, []], [None, 7, [5, 6, 3]]]
    padded = np.full((2, 3, 3), -5)
    padded[0, 0], padded[1, 2] = [0, 1, 2], [5, 6, 3]
    forms: list[tuple[Any, Any, Any]] = [
        (masked, RIGHT, {}),
        ([text for texts in masked for text in texts], RIGHT, {}),
        (ids, RIGHT_IDS, {}),
        (masked, [text for text in RIGHT for _ in range(3)], {}),
        (padded, np.array([[0, 1, 2], [3, 4, 0]]), {"lengths": [[3, 99, 0], [-1, 99, 3]], "reference_lengths": [3, 2]}),
    ]
    for hypotheses, references, layout in forms:
        loss = partial(mwer_loss, reduction="none", mask=mask, **layout)
        own = value_and_grad(loss)(log_probs, hypotheses, references)
        np.testing.assert_array_equal(own[0], expected[0])
        np.testing.assert_array_equal(own[1], expected[1])
    # A list without any hypothesis has no reference either.
    none_of_first = np.array([[False] * 3, [True] * 3])
    nothing: list[Any] = [None, *RIGHT[1:]]
    value: Any = mwer_loss(log_probs, [None, WORDS[1]], nothing, mask=none_of_first, reduction="none")
    assert value[0] == 0
    assert value[1] == mwer_loss(log_probs[1], WORDS[1], RIGHT[1:])


def test_what_does_not_fit_an_n_best_list_is_named() -> None:
    log_probs: Any = np.zeros((2, 3))
    flat = [text for texts in WORDS for text in texts]
    loss: Any = mwer_loss
    cases: list[tuple[Any, str]] = [
        (lambda: loss(log_probs, flat[:5], RIGHT), "hypotheses has length 5, expected 6, one for each of log_probs"),
        (lambda: loss(log_probs, [WORDS[0], WORDS[1][:2]], RIGHT), "hypotheses[1] has length 2, expected 3, one for"),
        (
            lambda: loss(log_probs, WORDS, RIGHT[:1]),
            "references has length 1, expected 2, one for each n-best list (or 6",
        ),
        (
            lambda: loss(log_probs[0], WORDS[0], RIGHT),
            "references has length 2, expected 1, one for each n-best list (or 3",
        ),
        (
            lambda: loss(log_probs, np.zeros((3, 2, 4), int), RIGHT_IDS),
            "hypotheses has shape (3, 2, 4), expected (2, 3, T)",
        ),
        (lambda: loss(log_probs[0], np.zeros((2, 4), int), RIGHT_IDS), "hypotheses has shape (2, 4), expected (3, T)"),
        (lambda: loss(log_probs, IDS, RIGHT_IDS, lengths=[1, 2]), "lengths has shape (2,), expected (2, 3)"),
        (
            lambda: loss(log_probs, errors=ERRORS, lengths=[[1] * 3] * 2),
            "errors is given, which stands in the place of lengths",
        ),
        (lambda: loss(log_probs, WORDS, errors=ERRORS), "errors is given, which stands in the place of hypotheses"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            call()


@pytest.mark.parametrize("alpha", [5e-3, 2.0])
def test_the_mean_cost_is_a_constant(alpha: float) -> None:
    random = np.random.default_rng(26)
    log_probs, costs, mask = random.normal(size=(4, 5)), random.random((4, 5)), random.random((4, 5)) < 0.7
    loss = value_and_grad(partial(mrt_loss, alpha=alpha, mask=mask, reduction="none"))
    plain: Any = loss(log_probs, costs)
    shifted: Any = loss(log_probs, costs, subtract_mean=True)
    means = [row[keep].mean() for row, keep in zip(costs, mask, strict=True)]
    np.testing.assert_allclose(shifted[0], plain[0] - means, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(shifted[1], plain[1])
