"""GLEU, NLTK's BLEU, answers, CIDEr-D, distinct n-grams and self-BLEU against NLTK and their definitions."""

import math
import random
import re
import string
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from nltk.translate.bleu_score import (  # type: ignore[import-untyped]  # it has no stubs
    SmoothingFunction,
    corpus_bleu,
    sentence_bleu,
)
from nltk.translate.gleu_score import corpus_gleu, sentence_gleu  # type: ignore[import-untyped]  # it has no stubs
from seqloss_rs import Bleu, ExactMatch, Gleu, NltkBleu, TokenF1

Tokens = list[str]
UNTYPED: Any = seqloss_rs


def samples(seed: int, count: int, longest: int = 14) -> tuple[list[Tokens], list[list[Tokens]]]:
    """Hypotheses and one to three references each, of few words, some of them empty."""
    rng = random.Random(seed)

    def text() -> Tokens:
        return [rng.choice("abcdefg") for _ in range(rng.randrange(longest))]

    hypotheses = [text() for _ in range(count)]
    references = []
    for hypothesis in hypotheses:
        near = hypothesis[: rng.randrange(len(hypothesis) + 1)] + text()[:4]
        references.append([near, *(text() for _ in range(rng.randrange(3)))])
    return hypotheses, references


@pytest.mark.parametrize(("shortest", "longest"), [(1, 4), (2, 3), (1, 1), (1, 9)])
def test_gleu_is_that_of_nltk(shortest: int, longest: int) -> None:
    hypotheses, references = samples(1, 300)
    metric = Gleu(min_order=shortest, max_order=longest)
    expected = [
        sentence_gleu(of, text, min_len=shortest, max_len=longest) if any(of) or text else 0.0
        for text, of in zip(hypotheses, references, strict=True)
    ]
    np.testing.assert_allclose(metric.sentences(hypotheses, references), expected, rtol=1e-12)
    whole = metric.corpus(hypotheses, references)
    assert whole.score == pytest.approx(
        corpus_gleu(references, hypotheses, min_len=shortest, max_len=longest), rel=1e-12
    )
    assert metric.from_statistics(metric.statistics(hypotheses, references)) == whole


@pytest.mark.parametrize("method", range(8))
@pytest.mark.parametrize("weights", [(0.25,) * 4, (0.5, 0.3, 0.15, 0.05), (1.0,), (0.5, 0.5), (0.2,) * 5, (0.125,) * 8])
def test_smoothings_are_those_of_nltk(method: int, weights: tuple[float, ...]) -> None:
    if method == 6 and len(weights) < 3:
        pytest.skip("NLTK's method 6 fails for fewer than three orders")
    hypotheses, references = samples(2 + method, 300)
    smoothing = getattr(SmoothingFunction(epsilon=0.2, alpha=4, k=3), f"method{method}")
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text, of in zip(hypotheses, references, strict=True):
            try:
                expected.append(sentence_bleu(of, text, weights, smoothing))
            except AssertionError:  # method 6 wants trigrams that match
                expected.append(math.nan)
    scores = NltkBleu(weights=weights, method=method, epsilon=0.2, alpha=4, k=3).sentences(hypotheses, references)
    compared = ~np.isnan(expected)
    assert compared.mean() > 0.1
    np.testing.assert_allclose(scores[compared], np.array(expected)[compared], rtol=1e-12, atol=1e-300)
    if method in (0, 1, 2, 3, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = corpus_bleu(references, hypotheses, weights, smoothing)
        metric = NltkBleu(weights=weights, method=method, epsilon=0.2, alpha=4, k=3)
        assert metric.corpus(hypotheses, references).score == pytest.approx(whole, rel=1e-12)


def normalized(text: str) -> Tokens:
    """By SQuAD's definition."""
    lower = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", lower).split()


def f1(hypothesis: Tokens, reference: Tokens) -> float:
    common = sum((Counter(hypothesis) & Counter(reference)).values())
    if not hypothesis or not reference:
        return float(hypothesis == reference)
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def test_answers_are_compared_as_squad_does() -> None:
    rng = random.Random(3)
    pieces = [
        "a",
        "an",
        "the",
        "The",
        "A",
        "cat",
        "Über",
        "x-y",
        "it's",
        "—",
        "«",
        ".",
        ",",
        " ",
        "  ",
        "\t",
        "1st",
        "日本",
    ]

    def text() -> str:
        return "".join(rng.choice(pieces) + rng.choice(["", " "]) for _ in range(rng.randrange(7)))

    hypotheses = [text() for _ in range(2000)]
    references = [
        [rng.choice([text(), hypothesis.upper()]) for _ in range(1 + rng.randrange(3))] for hypothesis in hypotheses
    ]
    pairs = list(zip(hypotheses, references, strict=True))
    expected = [max(f1(normalized(text), normalized(of)) for of in several) for text, several in pairs]
    np.testing.assert_allclose(TokenF1().sentences(hypotheses, references), expected, rtol=1e-15)
    exact = [max(float(normalized(text) == normalized(of)) for of in several) for text, several in pairs]
    np.testing.assert_array_equal(ExactMatch().sentences(hypotheses, references), exact)
    assert 0.2 < np.mean(exact) < 0.9
    assert ExactMatch().corpus(hypotheses, references).score == np.mean(exact)
    assert TokenF1().corpus(hypotheses, references).score == pytest.approx(np.mean(expected), rel=1e-14)


def cider_by_definition(
    hypotheses: list[Tokens], references: list[list[Tokens]], documents: list[list[Tokens]], sigma: float
) -> list[float]:
    def grams(text: Tokens, order: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(text[at : at + order]) for at in range(len(text) - order + 1))

    scores = []
    for text, several in zip(hypotheses, references, strict=True):
        total = 0.0
        for order in range(1, 5):

            def weight(gram: tuple[str, ...], order: int = order) -> float:
                frequency = sum(any(gram in grams(of, order) for of in document) for document in documents)
                return math.log(len(documents)) - math.log(max(1, frequency))

            own = {gram: count * weight(gram) for gram, count in grams(text, order).items()}
            for of in several:
                other = {gram: count * weight(gram) for gram, count in grams(of, order).items()}
                norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in (own, other)]
                product = sum(min(value, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, value in own.items())
                difference = max(len(text) - 1, 0) - max(len(of) - 1, 0)
                if min(norms) > 0:
                    total += product / math.prod(norms) * math.exp(-(difference**2) / (2 * sigma**2)) / len(several)
        scores.append(10 * total / 4)
    return scores


def test_cider_d_is_its_definition() -> None:
    hypotheses, references = samples(4, 40)
    expected = cider_by_definition(hypotheses, references, references, 6.0)
    np.testing.assert_allclose(seqloss_rs.cider_d(hypotheses, references), expected, rtol=1e-12, atol=1e-14)
    assert max(expected) > 1
    _, documents = samples(5, 30)
    expected = cider_by_definition(hypotheses, references, documents, 2.0)
    scores = seqloss_rs.cider_d(hypotheses, references, documents=documents, sigma=2.0)
    np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-14)
    # Strings, and ids in arrays, are the same texts.
    strings = [" ".join(text) for text in hypotheses], [[" ".join(of) for of in several] for several in references]
    words = [[" ".join(of) for of in several] for several in documents]
    np.testing.assert_array_equal(seqloss_rs.cider_d(*strings, documents=words, sigma=2.0), scores)
    ids = [np.array([ord(token) for token in text], np.int64) for text in hypotheses]
    of_ids = [[np.array([ord(token) for token in of], np.int64) for of in several] for several in references]
    np.testing.assert_array_equal(seqloss_rs.cider_d(ids, of_ids), seqloss_rs.cider_d(hypotheses, references))
    np.testing.assert_array_equal(seqloss_rs.cider_d(["a b", "c"], ["a b", "c"], rollouts=1).shape, (2, 1))
    # A single document says nothing of how rare an n-gram is.
    assert seqloss_rs.cider_d(["a b"], ["a b"]).tolist() == [0.0]


def test_distinct_ngrams_are_counted() -> None:
    texts, _ = samples(6, 200)
    for order in (1, 2, 3, 5):
        grams = [[tuple(text[at : at + order]) for at in range(len(text) - order + 1)] for text in texts]
        result = seqloss_rs.distinct_ngrams(texts, order=order)
        everything = [gram for of_text in grams for gram in of_text]
        assert (result.distinct, result.total) == (len(set(everything)), len(everything))
        assert result.score == len(set(everything)) / len(everything)
        np.testing.assert_array_equal(result.sentences, [len(set(of)) / len(of) if of else math.nan for of in grams])
        np.testing.assert_array_equal(result.repetition, [1 - len(set(of)) / len(of) if of else 0.0 for of in grams])
    ids = np.array([[1, 1, 2, 9], [3, 3, 3, 9]])
    assert seqloss_rs.distinct_ngrams(ids, order=1, eos_id=9).distinct == 3
    assert seqloss_rs.distinct_ngrams(ids, order=1, lengths=[2, 1]).total == 3
    assert seqloss_rs.distinct_ngrams(ids.ravel(), order=2, offsets=[0, 4, 8]).total == 6
    assert math.isnan(seqloss_rs.distinct_ngrams([], order=1).score)


@pytest.mark.parametrize("metric", [Bleu(tokenize="none"), Bleu(max_order=2, smoothing="floor", tokenize="none")])
def test_self_bleu_is_bleu_against_all_others(metric: Any) -> None:
    texts, _ = samples(7, 60)
    texts += texts[:5]
    strings = [" ".join(text) for text in texts]
    others = [strings[:index] + strings[index + 1 :] for index in range(len(strings))]
    np.testing.assert_array_equal(seqloss_rs.self_bleu(strings, metric=metric), metric.sentences(strings, others))
    np.testing.assert_array_equal(seqloss_rs.self_bleu(texts, metric=metric), metric.sentences(strings, others))


def test_self_bleu_of_sets_is_that_of_each() -> None:
    generator = np.random.default_rng(8)
    ids, lengths = generator.integers(0, 4, (3, 5, 9)), generator.integers(0, 10, (3, 5))
    each = [seqloss_rs.self_bleu(texts, lengths=own, eos_id=3) for texts, own in zip(ids, lengths, strict=True)]
    np.testing.assert_array_equal(seqloss_rs.self_bleu(ids, lengths=lengths, eos_id=3), each)
    assert seqloss_rs.self_bleu(ids[:0]).shape == (0, 5)
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\), expected \(3, 5\)"):
        seqloss_rs.self_bleu(ids, lengths=[1, 2, 3])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Gleu(tokenize="none"), "GLEU|nrefs:2|case:mixed|tok:none|order:1-4"),
        (
            NltkBleu(weights=(0.5, 0.5), lowercase=True),
            "BLEU-NLTK|nrefs:2|case:lc|tok:13a|smooth:method0|weights:0.50,0.50",
        ),
        (NltkBleu(weights=(1,), method=1), "BLEU-NLTK|nrefs:2|case:mixed|tok:13a|smooth:method1[0.10]|weights:1.00"),
        (TokenF1(), "F1|nrefs:2|norm:squad"),
        (ExactMatch(), "EM|nrefs:2|norm:squad"),
    ],
)
def test_signatures(metric: Any, expected: str) -> None:
    assert metric.signature(2) == f"{expected}|version:seqloss_rs.{seqloss_rs.__version__}"
    assert metric.signature(short=True).split("|")[1] == "#:var"


def test_weights_are_kept_as_a_tuple() -> None:
    metrics = {UNTYPED.NltkBleu(weights=weights) for weights in ((0.5, 0.5), [0.5, 0.5], np.array([0.5, 0.5]))}
    assert metrics == {NltkBleu(weights=(0.5, 0.5))}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Gleu(min_order=3, max_order=2), ValueError, "min_order is 3, "),
        (lambda: NltkBleu(method=8), ValueError, "method is 8, "),
        (lambda: NltkBleu(weights=()), ValueError, "weights is empty"),
        (
            lambda: NltkBleu(weights=(0.1,) * 40),
            ValueError,
            r"weights has 40 numbers, expected one for each order in 1..=32",
        ),
        (lambda: NltkBleu(weights=(0.5, -1)), ValueError, r"weights\[1\] is -1"),
        (
            lambda: UNTYPED.NltkBleu(weights=[(0.5, 0.5)]),
            TypeError,
            r"weights is \[\(0.5, 0.5\)\], expected a sequence of",
        ),
        (lambda: UNTYPED.NltkBleu(weights=0.5), TypeError, "weights is 0.5, expected a sequence of numbers"),
        (lambda: UNTYPED.NltkBleu(weights="12"), TypeError, "weights is '12', expected a sequence of numbers"),
        (lambda: NltkBleu(epsilon=0), ValueError, "epsilon is 0"),
        (lambda: Gleu(lowercase=True).sentences([[1]], [[1]]), ValueError, "lowercase is True"),
        (lambda: Gleu().from_statistics([[3, 2]]), ValueError, "3 matches, which is more than 2"),
        (lambda: TokenF1().from_statistics([[3, 2, 4, 0]]), ValueError, "3 words in common"),
        (lambda: ExactMatch().from_statistics([[1, 2, 4, 2]]), ValueError, "2 for the same words"),
        (lambda: seqloss_rs.self_bleu(["a"]), ValueError, "texts has length 1, expected at least two"),
        (lambda: seqloss_rs.self_bleu(["a b", "c"], metric=Gleu()), TypeError, r"metric is Gleu\(.*, expected a Bleu"),  # type: ignore[arg-type]
        (lambda: seqloss_rs.distinct_ngrams(["a"], order=0), ValueError, "order is 0, "),
        (lambda: seqloss_rs.cider_d(["a"], ["a"], sigma=0.0), ValueError, "sigma is 0, "),
        (lambda: seqloss_rs.cider_d(["a"], ["a"], max_order=33), ValueError, "max_order is 33, "),
        (lambda: seqloss_rs.cider_d(np.ones((1, 2), int), [[1]], documents=[[[1]]]), TypeError, "documents goes with"),
        (lambda: seqloss_rs.cider_d(["a"], ["a", "b"]), ValueError, "references has length 2, expected 1"),
        (
            lambda: seqloss_rs.cider_d(["a"], ["a", "b"], documents=["a"]),
            ValueError,
            "references has length 2, expected 1, as there are hypotheses",
        ),
        (lambda: seqloss_rs.cider_d(["a"], ["a"], documents=[]), ValueError, "documents is empty, expected at least"),
        (
            lambda: seqloss_rs.cider_d(["a"], ["a"], documents="ab"),
            TypeError,
            "documents has type str, expected a list",
        ),
        (
            lambda: UNTYPED.cider_d(["a"], ["a"], documents=(text for text in "ab")),
            TypeError,
            "documents has type generator, expected a list",
        ),
        (lambda: seqloss_rs.cider_d(["a"], ["a"], documents=["a", 3]), TypeError, r"^documents\[1\] has type int"),
        (lambda: seqloss_rs.cider_d(["a"], ["a"], documents=["a", []]), ValueError, r"^documents\[1\] is empty"),
        (lambda: UNTYPED.cider_d(["a"], [3], documents=["a"]), TypeError, r"^references\[0\] has type int"),
        (
            lambda: seqloss_rs.distinct_ngrams(np.ones((2, 3, 4), int)),
            ValueError,
            r"texts has shape \(2, 3, 4\), expected \(N, T\)",
        ),
        (lambda: seqloss_rs.self_bleu(np.ones((2, 1, 4), int)), ValueError, "expected at least two"),
    ],
)
def test_what_does_not_fit_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
