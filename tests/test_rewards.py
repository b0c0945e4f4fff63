"""Rewards: against the scores that they are made of and definitions written out, as sums, step by step, for TRL."""

import pickle
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jiwer
import numpy as np
import pytest
import sacrebleu
import seqloss_rs
from nltk.translate.gleu_score import sentence_gleu  # type: ignore[import-untyped]  # it has no stubs
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from seqloss_rs import Bleu, Chrf, ErrorRate, ExactMatch, Gleu, Rouge, rewards

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


def test_scores_are_those_of_the_original_packages() -> None:
    random = np.random.default_rng(31)
    words = np.array(["the", "a", "cat", "dog", "sat", "on", "mat,", "ran.", "away", "far", "Home"])
    several = [[" ".join(random.choice(words, random.integers(1, 9))) for _ in range(2)] for _ in range(60)]
    hypotheses = [" ".join(random.choice(words, random.integers(1, 9))) for _ in range(57)] + [
        pair[0] for pair in several[57:]
    ]
    bleu, chrf, rouge = sacrebleu.BLEU(effective_order=True), sacrebleu.CHRF(), RougeScorer(["rouge1", "rougeL"])
    expected: dict[str, list[float]] = {name: [] for name in ("bleu", "chrf", "rouge", "rouge1", "gleu", "wer", "cer")}
    for hypothesis, both in zip(hypotheses, several, strict=True):
        expected["bleu"].append(bleu.sentence_score(hypothesis, both).score / 100)
        expected["chrf"].append(chrf.sentence_score(hypothesis, both).score / 100)
        best = rouge.score_multi(both, hypothesis)
        expected["rouge"].append(best["rougeL"].fmeasure)
        expected["rouge1"].append(best["rouge1"].fmeasure)
        expected["gleu"].append(sentence_gleu([one.split() for one in both], hypothesis.split()))
        expected["wer"].append(max(0.0, 1 - min(jiwer.wer(one, hypothesis) for one in both)))
        rates = [Levenshtein.distance(hypothesis, one) / len(one) for one in both]
        expected["cer"].append(max(0.0, 1 - min(rates)))
    own = {
        "bleu": rewards.bleu(hypotheses, several),
        "chrf": rewards.chrf(hypotheses, several),
        "rouge": rewards.rouge(hypotheses, several),
        "rouge1": rewards.rouge(hypotheses, several, metric=Rouge(variant="rouge1")),
        "gleu": rewards.gleu(hypotheses, several, metric=Gleu(tokenize="none")),
        "wer": rewards.edit(hypotheses, several),
        "cer": rewards.edit(hypotheses, several, metric=ErrorRate(unit="char")),
    }
    for name, scores in own.items():
        np.testing.assert_allclose(scores, expected[name], rtol=1e-12, atol=1e-15, err_msg=name)
        assert len(set(scores.tolist())) > 1, name


def test_exact_match_compares_what_is_written() -> None:
    pairs = [("-5", "5"), ("3.5", "35"), ("1/2", "12"), ("Paris", "paris"), ("a cat", "cat"), ("x  y", "x y")]
    apart, right = [one for one, _ in pairs], [other for _, other in pairs]
    np.testing.assert_array_equal(rewards.exact_match(apart, right), [0.0] * 6)
    np.testing.assert_array_equal(rewards.exact_match(apart, right, metric=ExactMatch()), [1.0] * 6)
    np.testing.assert_array_equal(rewards.exact_match(apart, [["7", one] for one in apart]), [1.0] * 6)
    # Whitespace around them is what str.strip() takes away.
    spaces = "".join(map(chr, (c for c in range(0x3100) if chr(c).isspace())))
    written = [f"{space}a b{space}" for space in spaces] + ["", "  ", "\u200ba b"]
    answers = ["a b"] * (len(spaces) + 1) + ["", "a b"]
    assert rewards.exact_match(written, answers).tolist() == [
        float(one.strip() == other.strip()) for one, other in zip(written, answers, strict=True)
    ]


def test_exact_match_by_the_rules_of_squad_and_of_ids() -> None:
    np.testing.assert_array_equal(
        rewards.exact_match(["Yes.", "no", "the Cat"], ["yes", "yes", ["dog", "cat"]], metric=ExactMatch()),
        [1.0, 0.0, 1.0],
    )
    np.testing.assert_array_equal(rewards.exact_match(np.array([[[1, 2], [2, 1]]]), np.array([[1, 2]])), [[1.0, 0.0]])
    # Of prepared references the options are those of what prepared them.
    np.testing.assert_array_equal(rewards.exact_match(["The cat!"], ExactMatch().prepare(["cat"])), [1.0])
    np.testing.assert_array_equal(
        rewards.exact_match(["The cat!"], ExactMatch(normalize="strip").prepare(["cat"])), [0.0]
    )
    np.testing.assert_array_equal(
        ExactMatch(normalize="strip").pairwise(["3.5", " a b"], ["35", "a b ", "3.5"]), [[0, 0, 1], [0, 1, 0]]
    )
    assert ExactMatch(normalize="strip").signature(1).startswith("EM|nrefs:1|norm:strip|")
    wrong: Any = "lower"
    with pytest.raises(ValueError, match='normalize is "lower", expected one of "squad", "strip"'):
        ExactMatch(normalize=wrong)


SCORES: dict[str, Callable[..., Any]] = {
    name: getattr(rewards, name) for name in ("bleu", "gleu", "rouge", "chrf", "edit", "exact_match")
}
METRICS: dict[str, Any] = {
    "bleu": Bleu(), "gleu": Gleu(), "rouge": Rouge(), "chrf": Chrf(), "edit": ErrorRate(),
    "exact_match": ExactMatch(normalize="strip"),
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


NESTED = [["the cat", "the dog", "the  cat "], ["a b", "b", ""]]


def forms_of_texts() -> dict[str, Any]:
    """Two times three texts, in all forms of strings."""
    column = np.empty(2, object)
    column[:] = NESTED
    return {
        "lists": NESTED,
        "tuples": tuple(map(tuple, NESTED)),
        "array": np.array(NESTED),
        "objects": np.array(NESTED, object),
        "strings": np.array(NESTED, np.dtypes.StringDType()),
        "column of lists": column,
    }


@pytest.mark.parametrize("form", forms_of_texts())
@pytest.mark.parametrize("name", SCORES)
def test_nested_strings_are_rollouts_whatever_the_references_are(name: str, form: str) -> None:
    """Never lists of tokens, which metrics take."""
    hypotheses, reward = forms_of_texts()[form], SCORES[name]
    references: list[Any] = [
        ["the cat", "a b"],
        ("the cat", "a b"),
        np.array(["the cat", "a b"]),
        [["the cat"], ["a b"]],
        [["the cat"], "a b"],
        [["the cat", "cat"], ["a b"]],
        [["the cat", None], [None, "a b"]],
        np.array([["the cat", "cat"], ["a b", "c"]]),
    ]
    for given in references:
        sets = [one if isinstance(one, str) else [text for text in one if text is not None] for one in given]
        expected = [[reward([text], [own])[0] for text in row] for row, own in zip(NESTED, sets, strict=True)]
        assert expected[0][0] == expected[1][0] == 1
        np.testing.assert_array_equal(reward(hypotheses, given), expected)
        np.testing.assert_array_equal(reward(hypotheses, given, rollouts=3), expected)
        np.testing.assert_array_equal(reward(hypotheses, METRICS[name].prepare(given)), expected)
    assert reward([["the cat"], ["a b"]], ["the cat", "a b"]).tolist() == [[1.0], [1.0]]
    with pytest.raises(ValueError, match="rollouts is 2, but hypotheses have 3"):
        reward(hypotheses, references[0], rollouts=2)
    with pytest.raises(ValueError, match=re.escape("references has length 3, expected 2")):
        reward(hypotheses, ["a", "b", "c"])


@pytest.mark.parametrize("form", forms_of_texts())
def test_nested_strings_are_rollouts_of_penalties(form: str) -> None:
    hypotheses = forms_of_texts()[form]
    np.testing.assert_array_equal(rewards.overlong(hypotheses, max_length=2, buffer=1), [[-1, -1, -1], [-1, 0, 0]])
    again = [["A a", "b"], ["c", "d D d"]]
    expected = [[-0.5, 0.0], [0.0, -2 / 3]]
    for given in (again, np.array(again), np.array(again, object), np.array(again, np.dtypes.StringDType())):
        np.testing.assert_allclose(rewards.repetition(given, order=1), expected)
        np.testing.assert_allclose(rewards.repetition(np.asarray(given).ravel(), order=1), np.ravel(expected))


@pytest.mark.parametrize("name", ["bleu", "gleu", "rouge", "chrf", "edit"])
def test_prefixes_of_nested_strings(name: str) -> None:
    own = SCORES[name](NESTED, ["the cat", "a b"], prefix="shaped")
    flat = [text for row in NESTED for text in row]
    expected = SCORES[name](flat, ["the cat", "a b"], prefix="shaped", rollouts=3)
    assert len(own) == len(expected) == 6
    for one, other in zip(own, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nested_strings_with_a_tokenizer_of_ones_own() -> None:
    own = rewards.bleu(NESTED, ["the cat", "a b"], metric=Bleu(max_order=1, tokenize=list))
    flat = [text for row in NESTED for text in row]
    expected = rewards.bleu(flat, ["the cat", "a b"], metric=Bleu(max_order=1, tokenize=list), rollouts=3)
    np.testing.assert_array_equal(own, expected)


def test_numpy_strings_are_strings() -> None:
    texts = ["A a", "b c b", "d"]
    expected = rewards.repetition(texts, order=1)
    np.testing.assert_allclose(expected, [-1 / 2, -1 / 3, 0])
    for dtype in (str, object, np.dtypes.StringDType()):
        np.testing.assert_array_equal(rewards.repetition(np.array(texts, dtype), order=1), expected)
        np.testing.assert_array_equal(rewards.exact_match(np.array(texts, dtype), texts), [1.0, 1.0, 1.0])
    ids_as_objects = np.empty(2, object)
    ids_as_objects[:] = [np.array([1, 1]), np.array([1, 2, 3])]
    np.testing.assert_array_equal(rewards.repetition(ids_as_objects, order=1), [-0.5, 0.0])


def test_references_of_another_metric_are_refused() -> None:
    with pytest.raises(TypeError, match=r"references were prepared by Rouge\(.*expected a Bleu"):
        rewards.bleu(["a"], Rouge().prepare(["a"]))
    # Options are those of the metric that prepared them.
    prepared = Bleu(max_order=1).prepare(["a b"])
    np.testing.assert_array_equal(rewards.bleu(["b a"], prepared), [1.0])
    np.testing.assert_array_equal(rewards.bleu(["b a"], prepared, metric=Bleu(max_order=1)), [1.0])
    with pytest.raises(ValueError, match=r"metric is Bleu\(.*, but references were prepared by Bleu\(max_order=1"):
        rewards.bleu(["b a"], prepared, metric=Bleu())


@pytest.mark.parametrize("name", SCORES)
def test_another_metric_is_refused(name: str) -> None:
    other = ErrorRate() if name != "edit" else Bleu()
    for wrong in (other, "x", type(METRICS[name]), 3):
        shown = re.escape('"x"' if wrong == "x" else repr(wrong))
        with pytest.raises(TypeError, match=rf"metric is {shown}, expected {type(METRICS[name]).__name__}\(\.\.\.\)"):
            SCORES[name](["a"], ["a"], metric=wrong)
        with pytest.raises(TypeError, match="metric is"):
            SCORES[name](["a"], METRICS[name].prepare(["a"]), metric=wrong)


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
    np.testing.assert_array_equal(rewards.total([[1.0, None], [None, None]]), [1.0, np.nan])
    advantages = seqloss_rs.group_advantages(own)
    assert advantages[1, 2] == 0
    assert np.all(np.isfinite(advantages))


def test_a_reward_of_weight_0_is_left_out() -> None:
    parts = [[np.inf, np.nan, 2.0, 3.0, -np.inf], [1.0, 1.0, np.nan, -np.inf, np.inf]]
    np.testing.assert_array_equal(rewards.total(parts, weights=[0, 1]), parts[1])
    np.testing.assert_array_equal(rewards.total(parts, weights=[1, 0.0]), parts[0])
    np.testing.assert_array_equal(rewards.total(parts, weights=[0, 0]), [np.nan] * 5)
    # inf − inf is NaN, without a warning.
    np.testing.assert_array_equal(rewards.total(parts), [np.inf, 1, 2, -np.inf, np.nan])


WRONG: Any = rewards


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WRONG.total([]), "rewards is empty"),
        (lambda: WRONG.total([[1.0], [1.0, 2.0]]), "rewards[1] has shape (2,), expected (1,)"),
        (lambda: WRONG.total([[1.0]], weights=[1, 2]), "weights has length 2, expected 1"),
        (lambda: WRONG.total([[1.0]], weights=[np.nan]), "weights[0] is nan, expected a finite number"),
        (lambda: WRONG.repetition(["a"], max_penalty=0.5), "max_penalty is 0.5, expected a number that is at most 0"),
        (lambda: WRONG.repetition(["a"], max_penalty=np.nan), "max_penalty is nan"),
        (lambda: WRONG.repetition(["a"], max_penalty=-np.inf), "max_penalty is -inf, expected a finite number"),
        (lambda: WRONG.repetition(["a"], order=0), "order"),
        (lambda: WRONG.repetition(["a"] * 3, rollouts=2), "rollouts is 2, which does not divide 3"),
        (lambda: WRONG.repetition(["a"] * 3, rollouts=0), "rollouts is 0, expected 1 or more"),
        (lambda: WRONG.repetition(np.ones((2, 3, 4), int), rollouts=2), "rollouts is 2, but hypotheses have 3"),
        (lambda: WRONG.repetition([["a", "b"]], rollouts=3), "rollouts is 3, but hypotheses have 2"),
        (
            lambda: WRONG.repetition([["a", "b"], ["a"]]),
            "hypotheses[1] has 1 texts, expected 2 as hypotheses[0] has: lists of strings are rollouts here",
        ),
        (lambda: WRONG.bleu([[], ["a"]], ["a", "b"]), "hypotheses[0] has 0 texts, expected 1 as hypotheses[1] has"),
        (lambda: WRONG.overlong(["a"], max_length=3, buffer=4), "buffer is 4, which is not in 0..=3"),
        (lambda: WRONG.overlong(["a"], max_length=3, buffer=-1), "buffer is -1, which is not in 0..=3"),
        (lambda: WRONG.overlong(["a"], max_length=-1, buffer=0), "max_length is -1, expected 0 or more"),
        (
            lambda: WRONG.overlong(np.ones((2, 3, 5), int), lengths=np.ones((3, 2), int), max_length=3, buffer=1),
            "lengths has shape (3, 2), expected (2, 3)",
        ),
        (
            lambda: WRONG.repetition(np.ones((2, 3, 5), int), lengths=np.ones(6, int)),
            "lengths has shape (6,), expected (2, 3)",
        ),
        (lambda: WRONG.edit(["a"], ["a"], prefix="all"), "prefix"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WRONG.total([["a"]]), "rewards[0] holds something else than numbers and None"),
        (lambda: WRONG.total([["2"]]), "rewards[0] holds something else than numbers and None"),
        (
            lambda: WRONG.total([[1.0], [[1.0], [1.0, 2.0]]]),
            "rewards[1] holds something else than numbers and None, or lists",
        ),
        (
            lambda: WRONG.total([np.ma.array([1.0, 2.0], mask=[True, False])]),
            "rewards[0] is a MaskedArray, whose mask would be lost",
        ),
        (lambda: WRONG.total([[1.0]], weights=[None]), "weights[0] is None, expected a number"),
        (lambda: WRONG.total([[1.0]], weights=["2"]), 'weights[0] is "2", expected a number'),
        (lambda: WRONG.repetition(["a"], max_penalty=None), "max_penalty is None, expected a number"),
        (lambda: WRONG.repetition(["a"], max_penalty="-1"), 'max_penalty is "-1", expected a number'),
        (lambda: WRONG.repetition(["a"], lowercase="yes"), "lowercase is 'yes', expected True or False"),
        (lambda: WRONG.repetition(["a"], rollouts="2"), 'rollouts is "2", expected a whole number'),
        (lambda: WRONG.repetition("a b"), "hypotheses is a single string, expected a list of them"),
        (lambda: WRONG.repetition(3), "hypotheses has"),
        (lambda: WRONG.repetition(None), "hypotheses has type NoneType"),
        (lambda: WRONG.repetition(["a", 3]), "hypotheses[1] has type int, expected a string"),
        (lambda: WRONG.repetition([["a", "b"], ["c", 3]]), "hypotheses[1][1] has type int, expected a string"),
        (
            lambda: WRONG.bleu([["a", "b"], ["c", ["d"]]], ["a", "b"]),
            "hypotheses[1][1] has type list, expected a string",
        ),
        (lambda: WRONG.bleu([["a"], "b"], ["a", "b"]), "hypotheses[1] has type str, expected a list of strings"),
        (lambda: WRONG.bleu(["a", ["b"]], ["a", "b"]), "hypotheses[0] has type str, expected a list of strings"),
        (lambda: WRONG.overlong("a b", max_length=3, buffer=1), "hypotheses is a single string, expected a list"),
        *[
            (lambda wrong=wrong: WRONG.overlong(["a"], max_length=wrong, buffer=0), "max_length is")
            for wrong in (None, "3", np.nan, 2.5, True)
        ],
        *[
            (lambda wrong=wrong: WRONG.overlong(["a"], max_length=3, buffer=wrong), "buffer is")
            for wrong in (None, "3", np.nan, 2.5)
        ],
    ],
)
def test_what_has_a_wrong_type_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
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


def test_without_a_reference_there_is_no_reward() -> None:
    reward = rewards.for_trl(rewards.exact_match, "answer")
    assert reward(completions=["a", "b", "c"], answer=["a", None, "d"]) == [1.0, None, 0.0]
    assert reward(completions=["a", "b"], answer=[None, None]) == [None, None]
    assert reward(completions=[], answer=[]) == []
    of_ids = rewards.for_trl(rewards.exact_match, "answer", ids=True)
    assert of_ids(completion_ids=[[1, 2], [], [3]], answer=[None, [1], [3]]) == [None, 0.0, 1.0]
    with pytest.raises(ValueError, match="answer has length 1, expected 2, one for each completion"):
        reward(completions=["a", "b"], answer=["a"])


def test_rewards_for_trl_have_a_hash() -> None:
    rewards_by_hash = {rewards.for_trl(rewards.bleu, "a", metric=Bleu(max_order=order)): order for order in (1, 2, 1)}
    assert sorted(rewards_by_hash.values()) == [1, 2]
    again = pickle.loads(pickle.dumps(rewards.for_trl(rewards.bleu, "a", metric=Bleu(max_order=2))))
    assert rewards_by_hash[again] == 2


# ---------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.fixture
def switches_are_rare() -> Iterator[None]:
    """A thread keeps the GIL until it lets go of it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("name", ["bleu", "gleu", "rouge", "chrf", "edit", "exact_match", "repetition"])
def test_other_threads_go_on_during_a_call(name: str, switches_are_rare: None) -> None:
    """The other thread can count only where a call lets go of the GIL; if it is slow to begin, another call is made."""
    random = np.random.default_rng(41)
    texts = [" ".join(map(str, row)) for row in random.integers(0, 50, (3000, 40))]
    arguments = [texts] if name == "repetition" else [texts, texts[::-1]]
    count, is_over = [0], threading.Event()

    def work() -> None:
        while not is_over.is_set():
            count[0] += 1
            time.sleep(0)  # lets go of the GIL

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(1000):
            before = count[0]
            getattr(rewards, name)(*arguments)
            if count[0] > before:
                break
        else:
            pytest.fail("no call let another thread go on")
    finally:
        is_over.set()
        thread.join()
