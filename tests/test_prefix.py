"""Scores of prefixes, and references that are prepared, against scores of texts that are cut by hand."""

import pickle
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from seqloss_rs import Bleu, Chrf, ErrorRate, ExactMatch, Gleu, NltkBleu, Rouge, Ter, TokenF1

METRICS: list[Any] = [
    Bleu(),
    Bleu(smoothing="none", max_order=2),
    Bleu(smoothing="floor", max_order=9, effective_order=False),
    Rouge(variant="rouge1"),
    Rouge(variant="rouge3", measure="precision"),
    Rouge(variant="rougeL"),
    Rouge(variant="rougeL", measure="recall"),
    ErrorRate(),
    Chrf(),
    Chrf(char_order=2, eps_smoothing=True),
    Gleu(),
    Gleu(min_order=2, max_order=3),
    NltkBleu(),
    NltkBleu(weights=(0.5, 0.3, 0.2), method=7),
    TokenF1(),
    ExactMatch(),
]
"""All that know prefixes."""


def ids(rng: np.random.Generator, count: int, longest: int, distinct: int) -> list[Any]:
    return [rng.integers(0, distinct, rng.integers(0, longest + 1)) for _ in range(count)]


def assert_prefixes(metric: Any, hypotheses: list[Any], references: list[Any], scores: Any) -> None:
    """Each score is that of the prefix as a text of its own, bit for bit."""
    for hypothesis, reference, every in zip(hypotheses, references, scores, strict=True):
        assert every.dtype == np.float64
        prefixes = [hypothesis[: end + 1] for end in range(len(hypothesis))]
        expected = metric.sentences(prefixes, [reference] * len(prefixes)) if prefixes else np.empty(0)
        assert every.tobytes() == expected.tobytes()


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_every_prefix_is_scored_like_a_text(metric: Any) -> None:
    rng = np.random.default_rng(1)
    for longest, distinct in [(9, 2), (70, 4), (140, 40)]:
        hypotheses = ids(rng, 12, longest, distinct)
        references: list[Any] = [ids(rng, 1 + i % 3, longest, distinct) for i in range(11)]
        references.append([hypotheses[-1]])
        assert_prefixes(metric, hypotheses, references, metric.sentences(hypotheses, references, prefix=True))


@pytest.mark.parametrize("metric", [METRICS[0], METRICS[4], METRICS[5], METRICS[7], METRICS[8]], ids=str)
def test_long_texts(metric: Any) -> None:
    rng = np.random.default_rng(2)
    hypothesis, references = rng.integers(0, 6, 450), [rng.integers(0, 6, 300), rng.integers(0, 6, 500)]
    (every,) = metric.sentences([hypothesis], [references], prefix=True)
    ends = [1, 2, 63, 64, 65, 128, 383, 384, 385, 449, 450]
    expected = metric.sentences([hypothesis[:end] for end in ends], [references] * len(ends))
    assert every[np.array(ends) - 1].tobytes() == expected.tobytes()


def test_an_array_has_an_array() -> None:
    rng = np.random.default_rng(3)
    hypotheses, references = rng.integers(0, 5, (4, 3, 7)), rng.integers(0, 5, (4, 6))
    lengths = rng.integers(0, 8, (4, 3))
    for metric in METRICS:
        every = metric.sentences(hypotheses, references, lengths=lengths, prefix=True)
        assert every.shape == (4, 3, 7)
        beyond = np.arange(7) >= lengths[..., None]
        assert np.array_equal(np.isnan(every), beyond)
        for end in range(1, 8):
            whole = metric.sentences(hypotheses, references, lengths=np.minimum(lengths, end))
            inside = lengths >= end
            assert np.array_equal(every[inside, end - 1], whole[inside])
        flat = metric.sentences(
            hypotheses.reshape(12, 7), references, lengths=lengths.reshape(12), rollouts=3, prefix=True
        )
        assert np.array_equal(flat, every, equal_nan=True)
    assert METRICS[0].sentences(np.empty((0, 4), int), np.empty((0, 4), int), prefix=True).shape == (0, 4)
    assert METRICS[0].sentences(np.empty((2, 0), int), references[:2], prefix=True).shape == (2, 0)
    cut = Rouge(variant="rouge1").sentences([[1, 2, 9, 3]], [[1, 2]], eos_id=9, prefix=True)
    assert [list(scores) for scores in cut] == [[2 / 3, 1.0]]


def test_shaped_rewards_add_up() -> None:
    rng = np.random.default_rng(4)
    hypotheses, references = rng.integers(0, 5, (20, 30)), rng.integers(0, 5, (20, 25))
    for metric in METRICS:
        every = metric.sentences(hypotheses, references, prefix=True)
        shaped = metric.sentences(hypotheses, references, prefix="shaped")
        assert np.array_equal(shaped, np.diff(every, axis=1, prepend=0.0))
        assert np.allclose(shaped.sum(axis=1), metric.sentences(hypotheses, references), rtol=1e-12)


def test_strings_go_token_by_token() -> None:
    every = Bleu(max_order=1).sentences(["Hello, world"], ["hello , world"], prefix=True)
    assert isinstance(every, list)
    expected = Bleu(max_order=1).sentences(["Hello", "Hello ,", "Hello , world"], ["hello , world"] * 3)
    assert np.array_equal(every[0], expected)
    (every,) = ErrorRate(unit="char").sentences(["abc"], ["abd"], prefix=True)
    assert list(every) == [2 / 3, 1 / 3, 1 / 3]
    (every,) = Rouge(variant="rougeL").sentences(["the\ncat sat"], [["the sat", "cat"]], prefix=True)
    assert np.array_equal(every, Rouge().sentences(["the", "the cat", "the cat sat"], [["the sat", "cat"]] * 3))
    (every,) = Chrf().sentences(["a b\u00e9"], ["ab\u00e9"], prefix=True)
    assert np.array_equal(every, Chrf().sentences(["a", "ab", "ab\u00e9"], ["ab\u00e9"] * 3))
    assert [len(scores) for scores in Bleu().sentences(["", "a"], ["a", "a"], prefix=True)] == [0, 1]
    (every,) = ErrorRate().sentences([["a", "b"]], [["a"]], prefix=True)
    assert list(every) == [0.0, 1.0]


def test_what_has_no_prefixes() -> None:
    without: list[tuple[Any, str]] = [
        (Rouge(variant="rougeLsum"), "rougeLsum.*rougeL"),
        (Chrf(word_order=2), "word_order is not 0"),
        (ErrorRate(measure="mer"), "measure is not .wer."),
        (Ter(), "Ter has no scores of prefixes"),
    ]
    for metric, message in without:
        with pytest.raises((TypeError, ValueError), match=message):
            metric.sentences(["a b"], ["a b"], prefix=True)
    wrong: Any
    for wrong in ["shape", 1, None, np.True_]:
        with pytest.raises(ValueError, match=r"prefix is .*, expected True, False or 'shaped'"):
            Bleu().sentences(["a"], ["a"], prefix=wrong)
    with pytest.raises(ValueError, match="references has length 2, expected 1"):
        Bleu().sentences(["a"], ["a", "b"], prefix=True)


def test_prepared_references_give_the_same() -> None:
    rng = np.random.default_rng(5)
    words = ["the", "cat", "sat", "on", "mat", "dogs,", "running"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 12))) for _ in range(40)]
    sets: list[Any] = [texts[20 + i : 20 + i + 1 + i % 3] for i in range(10)]
    padded, targets = rng.integers(0, 9, (10, 2, 8)), rng.integers(0, 9, (10, 6))
    metrics = [*METRICS, Ter(), Rouge(variant="rougeLsum", stem=True), Chrf(word_order=2), Bleu(lowercase=True)]
    for metric in metrics:
        prepared = metric.prepare(sets)
        assert len(prepared) == 10
        for again in [prepared, pickle.loads(pickle.dumps(prepared))]:
            for hypotheses, rollouts in [(texts[:10], None), (texts[:20], 2), (texts[20:], 2)]:
                for name in ["sentences", "statistics", "corpus"]:
                    score = getattr(again, name)(hypotheses, rollouts=rollouts)
                    expected = getattr(metric, name)(hypotheses, sets, rollouts=rollouts)
                    assert np.array_equal(score, expected)
    for metric in METRICS:
        prepared = metric.prepare(targets, eos_id=7, pad_id=0)
        for again in [prepared, pickle.loads(pickle.dumps(prepared))]:
            for prefix in [False, True]:
                score = again.sentences(padded, prefix=prefix)
                expected = metric.sentences(padded, targets, eos_id=7, pad_id=0, prefix=prefix)
                assert np.array_equal(score, expected, equal_nan=True)
    lengths = np.arange(10) % 7
    prepared = Bleu().prepare(targets, reference_lengths=lengths)
    assert np.array_equal(
        prepared.sentences(padded, lengths=np.full((10, 2), 5)),
        Bleu().sentences(padded, targets, reference_lengths=lengths, lengths=np.full((10, 2), 5)),
    )
    tokens = [[["a", "b"]], [["c"], ["d", "e"]]]
    for prepared in [ErrorRate().prepare(tokens), pickle.loads(pickle.dumps(ErrorRate().prepare(tokens)))]:
        assert list(prepared.sentences([["a", "x"], ["d"]])) == [0.5, 0.5]
        assert list(prepared.sentences([["x"], ["c"]])) == [1.0, 0.0]
    assert list(Bleu().prepare([]).sentences([])) == []
    assert repr(Bleu().prepare(["a"])).startswith("PreparedReferences(1 for Bleu(")


def test_prepared_references_that_do_not_fit() -> None:
    array = np.array([[1, 2], [3, 4]])
    prepared = Bleu().prepare(["a", "b"])
    tokens = ErrorRate().prepare([[["a"]], [["b"]]])
    calls: list[tuple[Any, str]] = [
        (lambda: prepared.sentences(["a"]), "references has length 2, expected 1"),
        (lambda: prepared.sentences(array), "hypotheses are token ids, but the prepared references are strings"),
        (lambda: prepared.sentences([["a"], ["b"]]), "is \\[tokens\\]"),
        (lambda: prepared.sentences([]), "references has length 2, expected 0"),
        (
            lambda: tokens.sentences(["a", "b"]),
            "hypotheses are strings, but the prepared references are lists of tokens",
        ),
        (lambda: tokens.sentences(array), "hypotheses are token ids, but the prepared references are lists of tokens"),
        (
            lambda: prepared.sentences(["a", "b"], reference_lengths=[1, 1]),
            "reference_lengths goes with the references",
        ),
        (lambda: Bleu().prepare(array, lengths=[1, 2]), "lengths goes with hypotheses"),
        (lambda: Bleu().prepare(array, rollouts=2), "rollouts goes with hypotheses"),
        (lambda: Bleu().prepare(array, reference_lengths=[1, 3]), r"reference_lengths\[1\] is 3"),
        (lambda: Bleu().prepare(["a"], eos_id=3), "eos_id goes with token ids, and references are strings"),
        (lambda: Bleu().prepare([["a"], []]), r"references\[1\] is empty"),
        (lambda: Bleu().prepare("a b"), "references is a single string"),
        (lambda: Bleu().prepare(["a", 3]), r"references\[1\] has type int"),
        (lambda: Bleu(lowercase=True).prepare(array), "lowercase is True, which goes with strings"),
        (lambda: METRICS[0].prepare(["a"], lenghts=[1]), "unexpected keyword argument 'lenghts'"),
    ]
    for call, message in calls:
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_the_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(6)
    hypotheses, references = rng.integers(0, 30, (300, 60)), rng.integers(0, 30, (300, 60))
    threads = seqloss_rs.get_num_threads()
    try:
        for metric in METRICS:
            results = []
            for count in [1, 2]:
                seqloss_rs.set_num_threads(count)
                results.append(metric.sentences(hypotheses, references, prefix="shaped").tobytes())
            assert results[0] == results[1]
    finally:
        seqloss_rs.set_num_threads(threads)
