"""Rewards: against the scores that they are made of and definitions written out, as sums, step by step, for TRL."""

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from numpy.typing import NDArray
from seqloss_rs import Bleu, Chrf, ErrorRate, Gleu, Rouge, rewards

Array = NDArray[Any]

HYPOTHESES = ["the cat sat on the mat", "a dog", "", "on the mat the cat", "a b c d e", "a dog ran far away home"]
REFERENCES = ["the cat sat on a mat", ["one dog", "the dog ran"], "nothing", "a b c d e", "f", "a dog"]


def levenshtein(one: list[Any], other: list[Any]) -> int:
    row = list(range(len(other) + 1))
    for i, own in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, its in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (own != its))
    return row[-1]


def ids(seed: int, *shape: int, words: int = 9) -> Array:
    return np.random.default_rng(seed).integers(3, words, shape)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def test_scores_are_those_of_the_metrics_in_0_to_1() -> None:
    scored: dict[str, tuple[Array, Array]] = {
        "bleu": (rewards.bleu(HYPOTHESES, REFERENCES), Bleu().sentences(HYPOTHESES, REFERENCES) / 100),
        "bleu of two": (
            rewards.bleu(HYPOTHESES, REFERENCES, metric=Bleu(max_order=2, smoothing="add-k")),
            Bleu(max_order=2, smoothing="add-k").sentences(HYPOTHESES, REFERENCES) / 100,
        ),
        "gleu": (rewards.gleu(HYPOTHESES, REFERENCES), Gleu().sentences(HYPOTHESES, REFERENCES)),
        "rouge": (rewards.rouge(HYPOTHESES, REFERENCES), Rouge().sentences(HYPOTHESES, REFERENCES)),
        "chrf": (rewards.chrf(HYPOTHESES, REFERENCES), Chrf().sentences(HYPOTHESES, REFERENCES) / 100),
    }
    for name, (own, expected) in scored.items():
        np.testing.assert_array_equal(own, expected, err_msg=name)
        assert own.dtype == np.float64
        assert own.shape == (6,)
        assert np.all((own >= 0) & (own <= 1)), name
    losses: Any = seqloss_rs.bleu_loss(HYPOTHESES, REFERENCES, reduction="none")
    np.testing.assert_allclose(1 - losses, scored["bleu"][0], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("unit", ["word", "char"])
def test_edit_is_what_is_left_of_the_error_rate(unit: Any) -> None:
    own = rewards.edit(HYPOTHESES, REFERENCES, metric=ErrorRate(unit=unit))
    cut: Callable[[str], list[str]] = list if unit == "char" else str.split
    expected = []
    for hypothesis, several in zip(HYPOTHESES, REFERENCES, strict=True):
        all_references = [several] if isinstance(several, str) else several
        rates = [levenshtein(cut(hypothesis), cut(one)) / len(cut(one)) for one in all_references]
        expected.append(max(0.0, 1 - min(rates)))
    np.testing.assert_allclose(own, expected, rtol=1e-14)
    with pytest.raises(ValueError, match="metric has measure 'wip', expected a rate of errors"):
        rewards.edit(["a"], ["a"], metric=ErrorRate(measure="wip"))


def test_exact_match() -> None:
    np.testing.assert_array_equal(
        rewards.exact_match(["Yes.", "no", "the Cat"], ["yes", "yes", ["dog", "cat"]]), [1.0, 0.0, 1.0]
    )
    np.testing.assert_array_equal(rewards.exact_match(np.array([[[1, 2], [2, 1]]]), np.array([[1, 2]])), [[1.0, 0.0]])


SCORES: dict[str, Callable[..., Any]] = {
    name: getattr(rewards, name) for name in ("bleu", "gleu", "rouge", "chrf", "edit", "exact_match")
}
METRICS: dict[str, Any] = {
    "bleu": Bleu(), "gleu": Gleu(), "rouge": Rouge(), "chrf": Chrf(), "edit": ErrorRate(),
    "exact_match": seqloss_rs.ExactMatch(),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_rollouts_of_ids_and_strings(name: str) -> None:
    reward = SCORES[name]
    hypotheses, references = ids(1, 4, 3, 8), ids(2, 4, 8)
    lengths, reference_lengths = ids(3, 4, 3, words=8), ids(4, 4, words=8)
    hypotheses[:, 0], lengths[:, 0] = references, reference_lengths
    own = reward(hypotheses, references, lengths=lengths, reference_lengths=reference_lengths)
    assert own.shape == (4, 3)
    np.testing.assert_array_equal(own[:, 0] == 1, True)
    for n in range(4):
        for k in range(3):
            one = reward([hypotheses[n, k, : lengths[n, k]]], [references[n, : reference_lengths[n]]])
            assert one[0] == own[n, k]
    texts = [" ".join(map(str, row)) for row in hypotheses.reshape(12, 8)]
    written = [" ".join(map(str, row)) for row in references]
    grouped = reward(texts, written, rollouts=3)
    assert grouped.shape == (4, 3)
    np.testing.assert_array_equal(grouped.ravel(), reward(texts, [one for one in written for _ in range(3)]))
    prepared = METRICS[name].prepare(written)
    np.testing.assert_array_equal(reward(texts, prepared, rollouts=3), grouped)


def test_references_of_another_metric_are_refused() -> None:
    with pytest.raises(TypeError, match=r"references were prepared by Rouge\(.*expected a Bleu"):
        rewards.bleu(["a"], Rouge().prepare(["a"]))
    # Options are those of the metric that prepared them.
    prepared = Bleu(max_order=1).prepare(["a b"])
    np.testing.assert_array_equal(rewards.bleu(["b a"], prepared), [1.0])


# ---------------------------------------------------------------------------------------------------------------------
# Step by step


@pytest.mark.parametrize("name", ["bleu", "gleu", "rouge", "chrf", "edit"])
def test_rewards_of_prefixes(name: str) -> None:
    reward = SCORES[name]
    hypotheses, references = ids(5, 3, 2, 6), ids(6, 3, 6)
    lengths = np.array([[6, 0], [3, 1], [6, 5]])
    own = reward(hypotheses, references, lengths=lengths, prefix=True)
    shaped = reward(hypotheses, references, lengths=lengths, prefix="shaped")
    whole = reward(hypotheses, references, lengths=lengths)
    assert own.shape == shaped.shape == (3, 2, 6)
    for n, k in np.ndindex(3, 2):
        length = lengths[n, k]
        for end in range(1, length + 1):
            alone = reward([hypotheses[n, k, :end]], [references[n]])[0]
            assert own[n, k, end - 1] == pytest.approx(alone, rel=1e-14)
        assert np.all(np.isnan(own[n, k, length:]))
        assert np.all(np.isnan(shaped[n, k, length:]))
        if length:
            assert shaped[n, k, :length].sum() == pytest.approx(whole[n, k], abs=1e-14)
            np.testing.assert_allclose(np.cumsum(shaped[n, k, :length]), own[n, k, :length], atol=1e-14)


def test_shaped_rewards_train_step_by_step() -> None:
    """NaN beyond the end is no reward, so that no lengths are needed for what they are worth."""
    hypotheses, references = ids(7, 3, 2, 6), ids(8, 3, 6)
    lengths = np.array([[6, 2], [3, 1], [6, 5]])
    shaped = rewards.gleu(hypotheses, references, lengths=lengths, prefix="shaped")
    log_probs = np.full((3, 2, 6), -1.0)
    options: Any = {"discount": 1.0, "scores": "log_probs", "reduction": "none"}
    own: Any = seqloss_rs.reinforce_loss(log_probs, None, shaped, **options)
    zeros: Any = seqloss_rs.reinforce_loss(log_probs, None, np.nan_to_num(shaped), lengths=lengths, **options)
    np.testing.assert_allclose(own, zeros, atol=1e-15)
    np.testing.assert_allclose(own[..., 0], rewards.gleu(hypotheses, references, lengths=lengths), atol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# Penalties


def repeated(tokens: list[Any], order: int) -> float:
    """What open-r1 computes."""
    grams = [tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@pytest.mark.parametrize("order", [1, 2, 3])
def test_repetition_is_that_of_open_r1(order: int) -> None:
    hypotheses, lengths = ids(9, 5, 4, 12, words=6), ids(10, 5, 4, words=13)
    lengths[0, 0] = 0
    own = rewards.repetition(hypotheses, order=order, max_penalty=-0.5, lengths=lengths)
    assert own.shape == (5, 4)
    for n, k in np.ndindex(5, 4):
        expected = -0.5 * repeated(hypotheses[n, k, : lengths[n, k]].tolist(), order)
        assert own[n, k] == pytest.approx(expected, rel=1e-14, abs=1e-15)
    texts = ["A b a B a b", "x", "", "one two one two three one two"]
    expected_of_texts = [-repeated(text.lower().split(), order) for text in texts]
    np.testing.assert_allclose(rewards.repetition(texts, order=order), expected_of_texts, rtol=1e-14)
    np.testing.assert_allclose(
        rewards.repetition(texts, order=order, rollouts=2), np.reshape(expected_of_texts, (2, 2)), rtol=1e-14
    )
    assert not np.signbit(rewards.repetition(texts, order=order)[1])


def trl_overlong(length: int, most: int, buffer: int) -> float:
    """What ``get_soft_overlong_punishment`` of TRL computes."""
    if length <= most - buffer:
        return 0.0
    if most - buffer < length <= most:
        return (most - buffer - length) / buffer
    return -1.0


@pytest.mark.parametrize(("most", "buffer"), [(10, 4), (10, 10), (10, 0), (3, 1), (0, 0)])
def test_overlong_is_that_of_trl(most: int, buffer: int) -> None:
    lengths = np.arange(15).reshape(3, 5)
    hypotheses = np.ones((3, 5, 14), np.int64)
    own = rewards.overlong(hypotheses, lengths=lengths, max_length=most, buffer=buffer)
    expected = np.vectorize(lambda length: trl_overlong(length, most, buffer))(lengths)
    np.testing.assert_array_equal(own, expected)
    assert not np.any(np.signbit(own) & (own == 0))
    texts = [" ".join("w" * int(length)) for length in lengths.ravel()]
    np.testing.assert_array_equal(rewards.overlong(texts, max_length=most, buffer=buffer), expected.ravel())
    ended = np.where(np.arange(14) < lengths[..., None], 7, 2)
    np.testing.assert_array_equal(rewards.overlong(ended, eos_id=2, max_length=most, buffer=buffer), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Sums


def test_total_is_trls_nansum_but_for_what_has_no_reward() -> None:
    random = np.random.default_rng(11)
    parts = random.normal(size=(3, 5, 4))
    parts[random.random(parts.shape) < 0.3] = np.nan
    parts[:, 1, 2] = np.nan
    weights = [1.0, -0.5, 2.0]
    own = rewards.total(list(parts), weights)
    expected = np.nansum(parts * np.reshape(weights, (3, 1, 1)), 0)
    expected[np.isnan(parts).all(0)] = np.nan
    np.testing.assert_allclose(own, expected, rtol=1e-14)
    np.testing.assert_allclose(rewards.total(list(parts)), np.where(np.isnan(own), np.nan, np.nansum(parts, 0)))
    # A weight of 0 makes nothing of what is infinite, and what is not there has none.
    np.testing.assert_array_equal(rewards.total([[1.0, None], [None, None]]), [1.0, np.nan])
    advantages = seqloss_rs.group_advantages(own)
    assert advantages[1, 2] == 0
    assert np.all(np.isfinite(advantages))


WRONG: Any = rewards


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WRONG.total([]), "rewards is empty"),
        (lambda: WRONG.total([[1.0], [1.0, 2.0]]), "rewards[1] has shape (2,), expected (1,)"),
        (lambda: WRONG.total([[1.0]], weights=[1, 2]), "weights has length 2, expected 1"),
        (lambda: WRONG.repetition(["a"], max_penalty=0.5), "max_penalty is 0.5, expected a number that is at most 0"),
        (lambda: WRONG.repetition(["a"], max_penalty=np.nan), "max_penalty is nan"),
        (lambda: WRONG.repetition(["a"], order=0), "order"),
        (lambda: WRONG.repetition(["a"] * 3, rollouts=2), "rollouts is 2, which does not divide 3"),
        (lambda: WRONG.repetition(["a"] * 3, rollouts=0), "rollouts is 0"),
        (lambda: WRONG.repetition(np.ones((2, 3, 4), int), rollouts=2), "rollouts is 2, but hypotheses have 3"),
        (lambda: WRONG.overlong(["a"], max_length=3, buffer=4), "buffer is 4, which is not in 0..=3"),
        (lambda: WRONG.overlong(["a"], max_length=3, buffer=-1), "buffer is -1, which is not in 0..=3"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# ---------------------------------------------------------------------------------------------------------------------
# TRL


def test_trl_calls_them() -> None:
    reward = rewards.for_trl(rewards.bleu, "solution", metric=Bleu(max_order=1))
    assert reward.__name__ == "bleu"
    again = pickle.loads(pickle.dumps(reward))
    assert again == reward
    columns: dict[str, Any] = {"prompts": ["p", "q"], "solution": ["a b", ["c", "a c"]], "trainer_state": None}
    expected = rewards.bleu(["a b", "a d"], columns["solution"], metric=Bleu(max_order=1)).tolist()
    for completions in (["a b", "a d"], [[{"role": "assistant", "content": text}] for text in ("a b", "a d")]):
        given = again(completions=completions, completion_ids=[[1], [2]], **columns)
        assert given == expected
        assert all(type(one) is float for one in given)
    long = rewards.for_trl(rewards.overlong, ids=True, max_length=4, buffer=2)
    assert long(completions=["", ""], completion_ids=[[1, 2], [1, 2, 3]], **columns) == [0.0, -0.5]
    empty = rewards.for_trl(rewards.repetition, ids=True)
    assert empty(completion_ids=[[], [1, 1, 1, 1]]) == [0.0, -0.5]
    nothing = rewards.for_trl(np.asarray, ids=False)
    assert nothing.__name__ == "asarray"
    with pytest.raises(TypeError, match="completion_ids is None, and overlong is of them"):
        long(completions=["a"])
    with pytest.raises(KeyError, match="solution"):
        reward(completions=["a"])


def not_applicable(texts: list[str]) -> Array:
    return np.array([np.nan if not text else 1.0 for text in texts])


def test_what_is_not_applicable_is_none_for_trl() -> None:
    assert rewards.for_trl(not_applicable)(completions=["", "a"]) == [None, 1.0]
