"""Matrices of scores and minimum Bayes risk, against scores of single pairs."""

from typing import Any

import numpy as np
import pytest
import sacrebleu
import seqloss_rs
from seqloss_rs import Bleu, Chrf, ErrorRate, ExactMatch, Gleu, MbrChoice, NltkBleu, Rouge, Ter, TokenF1, mbr

OF_IDS: list[Any] = [
    Bleu(),
    Bleu(smoothing="add-k", max_order=9, effective_order=False),
    Rouge(variant="rouge1"),
    Rouge(variant="rouge4", measure="recall"),
    Rouge(variant="rougeL"),
    Rouge(variant="rougeLsum", measure="precision"),
    ErrorRate(),
    ErrorRate(measure="wil"),
    ErrorRate(measure="wip"),
    Chrf(),
    Chrf(char_order=1, beta=1, eps_smoothing=True),
    Gleu(),
    Gleu(min_order=2, max_order=3),
    NltkBleu(),
    NltkBleu(weights=(0.5, 0.3, 0.2), method=7),
    TokenF1(),
    ExactMatch(),
]
OF_STRINGS: list[Any] = [
    *OF_IDS,
    Bleu(tokenize="char", lowercase=True),
    Rouge(variant="rouge2", stem=True),
    ErrorRate(unit="char"),
    Chrf(word_order=2),
    Chrf(char_order=0, word_order=1, lowercase=True, whitespace=True),
]
UNTYPED: Any = mbr
WORDS = ["the", "The", "cat", "sat", "on", "mats,", "(dogs)", "running", "\u00fcber", "\n"]


def sentences(rng: np.random.Generator, count: int, longest: int = 12) -> list[str]:
    return [" ".join(rng.choice(WORDS, rng.integers(0, longest))) for _ in range(count)]


def one_by_one(metric: Any, hypotheses: list[Any], references: list[Any]) -> Any:
    pairs = [(hypothesis, reference) for hypothesis in hypotheses for reference in references]
    scores = metric.sentences([hypothesis for hypothesis, _ in pairs], [[reference] for _, reference in pairs])
    return scores.reshape(len(hypotheses), len(references))


@pytest.mark.parametrize("metric", OF_STRINGS, ids=str)
def test_strings_have_the_scores_of_single_pairs(metric: Any) -> None:
    rng = np.random.default_rng(1)
    hypotheses, references = sentences(rng, 21), ["", *sentences(rng, 17)]
    matrix = metric.pairwise(hypotheses, references)
    assert matrix.shape == (21, 18)
    assert matrix.tobytes() == one_by_one(metric, hypotheses, references).tobytes()
    assert metric.prepare(references).pairwise(hypotheses).tobytes() == matrix.tobytes()


@pytest.mark.parametrize("metric", OF_IDS, ids=str)
def test_ids_have_the_scores_of_single_pairs(metric: Any) -> None:
    rng = np.random.default_rng(2)
    for longest, distinct in [(6, 2), (70, 4), (200, 50)]:
        texts = [rng.integers(-3, distinct, rng.integers(0, longest)) for _ in range(24)]
        hypotheses, references = texts[:13], [*texts[9:], texts[3]]
        assert metric.pairwise(hypotheses, references).tobytes() == one_by_one(metric, hypotheses, references).tobytes()
    padded, targets, lengths = rng.integers(0, 5, (7, 9)), rng.integers(0, 5, (5, 9)), rng.integers(0, 10, 7)
    matrix = metric.pairwise(padded, targets, lengths=lengths, eos_id=4)
    cut = [list(row[:length]) for row, length in zip(padded, lengths, strict=True)]
    ended = [[row[: row.index(4)] if 4 in row else row for row in rows] for rows in (cut, targets.tolist())]
    assert matrix.tobytes() == one_by_one(metric, *ended).tobytes()


def test_long_texts() -> None:
    rng = np.random.default_rng(3)
    texts = [rng.integers(0, 9, length) for length in [0, 1, 64, 65, 128, 130, 450]]
    for metric in OF_IDS:
        assert metric.pairwise(texts, texts).tobytes() == one_by_one(metric, texts, texts).tobytes()


def test_sacrebleu_says_the_same() -> None:
    rng = np.random.default_rng(4)
    hypotheses, references = sentences(rng, 6), sentences(rng, 5)
    originals: list[tuple[Any, Any]] = [
        (Bleu(), sacrebleu.BLEU(effective_order=True)),
        (Chrf(), sacrebleu.CHRF()),
        (Chrf(word_order=2), sacrebleu.CHRF(word_order=2)),
    ]
    for metric, original in originals:
        expected = [[original.sentence_score(h, [r]).score for r in references] for h in hypotheses]
        assert np.allclose(metric.pairwise(hypotheses, references), expected, rtol=1e-12, atol=1e-12)


def test_empty_and_tokens() -> None:
    assert Bleu().pairwise([], ["a"]).shape == (0, 1)
    assert Bleu().pairwise(["a"], []).shape == (1, 0)
    assert Chrf().pairwise([], []).shape == (0, 0)
    assert Rouge().pairwise(np.empty((0, 3), int), np.ones((2, 3), int)).shape == (0, 2)
    tokens = ErrorRate().pairwise([["a", "b"], ["c"]], [["a"], ["x", "b"], ["q", "r"]])
    assert np.array_equal(tokens, [[1.0, 0.5, 1.0], [1.0, 1.0, 1.0]])


def test_what_does_not_fit_is_named() -> None:
    array = np.ones((2, 3), int)
    lengths: Any = [[1, 4]]
    calls: list[tuple[Any, str]] = [
        (lambda: Bleu().pairwise(["a"], [["a", "b"]]), r"references\[0\] has 2 texts, expected 1"),
        (lambda: Bleu().pairwise(np.ones((2, 3, 4), int), array), "hypotheses are 2 sets of 3"),
        (lambda: Bleu().pairwise(["a"], ["a"], rollouts=1), "rollouts goes with pairs"),
        (lambda: Bleu().pairwise(["a"], array), "references is an array, expected a list, as hypotheses are strings"),
        (lambda: Bleu().pairwise(array, ["a"]), r"references\[0\] is a string"),
        (lambda: Bleu().pairwise("a", ["a"]), "hypotheses is a single string"),
        (lambda: Bleu().pairwise(["a", None], ["a"]), r"hypotheses\[1\] has type NoneType"),
        (lambda: Bleu().pairwise(["\ud800"], ["a"]), "lone surrogate"),
        (lambda: Bleu().pairwise(array, array, lengths=[1, 4]), r"lengths\[1\] is 4"),
        (lambda: Chrf(word_order=1).pairwise(array, array), "word_order is not 0, which goes with strings"),
        (lambda: OF_IDS[0].pairwise(["a"], ["a"], x=1), "unexpected keyword argument 'x'"),
        (lambda: Ter().pairwise(["a"], ["a"]), "Ter has no matrix of scores"),
        (lambda: mbr(["a", "b"], utility=Bleu()), r"candidates\[0\] is one text"),
        (lambda: mbr([["a"], []], utility=Bleu()), r"candidates\[1\] is empty"),
        (lambda: mbr([[1, 2], [3, 4]], utility=Bleu()), r"candidates\[0\] is one text"),
        (lambda: mbr(array, utility=Bleu()), r"candidates has shape \(2, 3\), expected \(N, K, T\)"),
        (lambda: mbr([["a", 3]], utility=Bleu()), r"candidates\[0\]\[1\] has type int"),
        (lambda: mbr([["a"]], utility=Bleu(), references=[["a"], ["b"]]), "references has length 2, expected 1"),
        (lambda: mbr([["a"]], utility=Bleu(), references=[[[1]]]), "references"),
        (lambda: mbr([["a"]], utility=Bleu(), references=["a"]), r"references\[0\] is one text"),
        (lambda: mbr([["a", "b"]], utility=Bleu(), weights=[[1]]), r"weights has shape \(1, 1\), expected \(1, 2\)"),
        (lambda: mbr([["a", "b"]], utility=Bleu(), weights=[1, 2]), r"weights has shape \(2,\), expected \(N, K\)"),
        (lambda: mbr([["a", "b"]], utility=Bleu(), weights=[[1, -1]]), r"weights\[0, 1\] is -1"),
        (lambda: mbr([["a", "b"]], utility=Bleu(), weights=[[1, np.nan]]), r"weights\[0, 1\] is NaN"),
        (lambda: mbr([["a", "b"]], utility=Bleu(), weights=[[0, 0]]), r"weights\[0\] has the sum 0"),
        (
            lambda: mbr([["a"]], utility=Bleu(), lengths=lengths),
            "lengths goes with token ids, and candidates are strings",
        ),
        (lambda: mbr(np.ones((1, 2, 3), int), utility=Bleu(), lengths=lengths), r"lengths\[0, 1\] is 4"),
        (lambda: UNTYPED([[None, "x", "a b"]], utility=Bleu()), r"candidates\[0\]\[0\] is None, expected a text"),
        (lambda: UNTYPED([["a"], ("a", None)], utility=Bleu()), r"candidates\[1\]\[1\] is None"),
        (lambda: UNTYPED([["a"]], utility=Bleu(), references=[["a", None]]), r"references\[0\]\[1\] is None"),
        (lambda: mbr([[]], utility=Chrf()), r"candidates\[0\] is empty, expected at least one text"),
        (lambda: UNTYPED([["a"]], utility=Chrf), r"utility is the class Chrf, expected a metric such as Chrf\(\)"),
        (lambda: UNTYPED([["a"]], utility="chrf"), "utility is 'chrf', expected a metric"),
        (lambda: UNTYPED([["a"]], utility=None), "utility is None, expected a metric"),
        (
            lambda: mbr([["a"], ["a", "b"]], utility=Bleu(), weights=[[1], [1, 2]]),
            r"weights is \[\[1\], \[1, 2\]\], exp",
        ),
    ]
    for number, (call, message) in enumerate(calls):
        with pytest.raises((TypeError, ValueError), match=message):
            print(number, call())
    wrong: Any = Ter()
    with pytest.raises(TypeError, match="Ter has no matrix"):
        mbr([["a"]], utility=wrong)


@pytest.mark.parametrize("metric", OF_STRINGS, ids=str)
def test_the_expected_utility_is_the_mean_over_references(metric: Any) -> None:
    rng = np.random.default_rng(5)
    sets = [sentences(rng, count) for count in [4, 1, 6, 6]]
    others = [sentences(rng, count) for count in [3, 5, 1, 2]]
    sign = -1 if isinstance(metric, ErrorRate) and metric.measure != "wip" else 1
    for references in [None, others]:
        against = references or sets
        weights = rng.uniform(0, 2, (4, max(map(len, against))))
        for used in [None, weights]:
            choice = mbr(sets, utility=metric, weights=used, references=references)
            assert isinstance(choice, MbrChoice)
            assert choice.scores.shape == (4, 6)
            assert choice.index.dtype == np.int64
            for row, (candidates, compared) in enumerate(zip(sets, against, strict=True)):
                utilities = sign * one_by_one(metric, candidates, compared)
                of_row = None if used is None else used[row, : len(compared)]
                scores = choice.scores[row, : len(candidates)]
                assert np.allclose(scores, np.average(utilities, axis=1, weights=of_row), rtol=1e-13)
                assert choice.index[row] == np.argmax(scores)
                assert np.isnan(choice.scores[row, len(candidates) :]).all()


def test_candidates_that_are_ids() -> None:
    rng = np.random.default_rng(6)
    candidates, lengths = rng.integers(0, 5, (6, 4, 9)), rng.integers(1, 10, (6, 4))
    choice = mbr(candidates, utility=Rouge(), lengths=lengths)
    ragged = [
        [row[:length] for row, length in zip(*item, strict=True)] for item in zip(candidates, lengths, strict=True)
    ]
    again = mbr(ragged, utility=Rouge())
    assert np.array_equal(choice.scores, again.scores)
    for scores, texts in zip(choice.scores, ragged, strict=True):
        assert np.allclose(scores, one_by_one(Rouge(), texts, texts).mean(axis=1), rtol=1e-13)
    tied = mbr([["a", "b", "b"], ["a", "b", "c"]], utility=ErrorRate())
    assert list(tied.index) == [1, 0]
    tokens = mbr([[["a", "b"], ["a"]]], utility=Rouge(variant="rouge1"), references=[[["a"], ["z"]]])
    assert np.allclose(tokens.scores, [[1 / 3, 1 / 2]])
    empty = mbr([], utility=Bleu())
    assert (empty.index.shape, empty.scores.shape) == ((0,), (0, 0))


def test_the_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(7)
    hypotheses, references = sentences(rng, 90, 30), sentences(rng, 70, 30)
    sets = [sentences(rng, 9) for _ in range(40)]
    threads = seqloss_rs.get_num_threads()
    try:
        for metric in OF_STRINGS:
            results = []
            for count in [1, 2]:
                seqloss_rs.set_num_threads(count)
                bits = metric.pairwise(hypotheses, references).tobytes()
                results.append((bits, mbr(sets, utility=metric).scores.tobytes()))
            assert results[0] == results[1]
    finally:
        seqloss_rs.set_num_threads(threads)
