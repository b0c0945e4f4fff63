"""`seqloss_rs.compat.rouge_score` beside rouge-score 0.1.2: the same calls, the same results."""

import inspect
import random
from typing import Any

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]  # it has no stubs
from rouge_score import rouge_scorer as their_scorer  # type: ignore[import-untyped]  # it has no stubs
from rouge_score import scoring as their_scoring
from rouge_score import tokenize as their_tokenize
from rouge_score import tokenizers as their_tokenizers
from seqloss_rs.compat.rouge_score import rouge_scorer, scoring, tokenize, tokenizers
from test_text import generated, real

TYPES = [*(f"rouge{order}" for order in range(1, 10)), "rougeL", "rougeLsum"]


def pairs(count: int) -> list[tuple[str, list[str]]]:
    cases = [*zip(*generated(count, 3), strict=True), *zip(*real(count // 5), strict=True)]
    corners = ["", " ", "\n", "a", "a\n\nb", "你好", "b a"]
    return cases + [(text, [other]) for text in corners for other in corners]


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, score in expected.items():
        assert found[name] == score
        assert found[name]._asdict() == score._asdict()


@pytest.mark.parametrize("stem", [False, True])
def test_scores(stem: bool) -> None:
    for types in (TYPES, ["rougeL"], ["rougeLsum"], ["rouge2", "rouge1", "rouge2"], []):
        theirs, own = their_scorer.RougeScorer(types, stem), rouge_scorer.RougeScorer(types, stem)
        for prediction, targets in pairs(150):
            same(own.score(targets[0], prediction), theirs.score(targets[0], prediction))
            same(own.score_multi(targets, prediction), theirs.score_multi(targets, prediction))


class Whitespace:
    """Tokens of which some are alike by equality only, and which differ by line."""

    def tokenize(self, text: str) -> list[Any]:
        return [text.count("\n"), *(int(word) if word.isdigit() else (word,) for word in text.split())]


@pytest.mark.parametrize("make", [Whitespace, their_tokenizers.DefaultTokenizer, tokenizers.DefaultTokenizer])
def test_custom_tokenizers(make: Any) -> None:
    for types in (TYPES, ["rougeLsum"], ["rouge1"]):
        theirs = their_scorer.RougeScorer(types, True, tokenizer=make())
        own = rouge_scorer.RougeScorer(types, True, tokenizer=make())
        for prediction, targets in pairs(60):
            same(own.score_multi(targets, prediction), theirs.score_multi(targets, prediction))


def test_sentences_of_nltk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sentences need data that is not installed; what matters is what becomes of them."""
    monkeypatch.setattr("nltk.sent_tokenize", lambda text: [part for part in text.split(". ") if part])
    for tokenizer in (None, Whitespace()):
        theirs = their_scorer.RougeScorer(["rouge1", "rougeLsum"], split_summaries=True, tokenizer=tokenizer)
        own = rouge_scorer.RougeScorer(["rouge1", "rougeLsum"], split_summaries=True, tokenizer=tokenizer)
        for prediction, targets in [*pairs(60), ("a b.\nc. d e", ["d e. a b. c"])]:
            same(own.score_multi(targets, prediction), theirs.score_multi(targets, prediction))


@pytest.mark.parametrize("name", ["rougen", "rouge0", "rouge10", "rougel", ""])
def test_unknown_types_are_refused_when_something_is_scored(name: str) -> None:
    for package in (their_scorer, rouge_scorer):
        scorer = package.RougeScorer(["rouge1", name])
        with pytest.raises(ValueError, match=name or "Invalid|variant"):
            scorer.score("a", "a")
    with pytest.raises(ValueError, match="empty"):
        rouge_scorer.RougeScorer(["rouge1"]).score_multi([], "a")


def test_tokens() -> None:
    stemmer = PorterStemmer()
    for prediction, targets in pairs(300):
        for text in (prediction, *targets):
            assert tokenize.tokenize(text, None) == their_tokenize.tokenize(text, None)
            assert tokenize.tokenize(text, stemmer) == their_tokenize.tokenize(text, stemmer)
            for stem in (False, True):
                expected = their_tokenizers.DefaultTokenizer(stem).tokenize(text)
                assert tokenizers.DefaultTokenizer(stem).tokenize(text) == expected
    assert issubclass(tokenizers.DefaultTokenizer, tokenizers.Tokenizer)
    with pytest.raises(TypeError, match="abstract"):
        tokenizers.Tokenizer()  # type: ignore[abstract]  # that is the point


UNTYPED: Any = rouge_scorer.RougeScorer(["rouge1", "rougeLsum"])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: UNTYPED.score("a", 3), TypeError, "^prediction has type int, expected a string"),
        (lambda: UNTYPED.score(["a"], ["a"]), TypeError, "has type list, expected a string"),
        (lambda: UNTYPED.score("a", ["a", "b"]), TypeError, "^prediction has type list, expected a string"),
        (lambda: UNTYPED.score(None, "a"), TypeError, "^target has type NoneType, expected a string"),
        (lambda: UNTYPED.score_multi(["a", None], "a"), TypeError, r"^targets\[1\] has type NoneType"),
        (lambda: UNTYPED.score("a\ud83d", "a"), ValueError, "^target holds a lone surrogate"),
        (lambda: tokenize.tokenize("a \ud83d", None), ValueError, "^text holds a lone surrogate"),
        (lambda: tokenizers.DefaultTokenizer().tokenize("a \ud83d"), ValueError, "^text holds a lone surrogate"),
    ],
)
def test_what_is_no_text_is_named(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_f_of_precision_and_recall() -> None:
    for precision, recall in ((0.0, 0.0), (1.0, 0.5), (0.3, 0.7), (0.0, 1.0)):
        assert scoring.fmeasure(precision, recall) == their_scoring.fmeasure(precision, recall)


@pytest.mark.parametrize("confidence", [0.0, 0.9, 0.95, 1.0])
def test_intervals(confidence: float) -> None:
    generator = random.Random(7)
    aggregators = [package.BootstrapAggregator(confidence, 200) for package in (scoring, their_scoring)]
    for _ in range(31):
        numbers = [generator.random() for _ in range(6)]
        for aggregator, package in zip(aggregators, (scoring, their_scoring), strict=True):
            scores = {"rouge1": package.Score(*numbers[:3]), "rougeL": package.Score(*numbers[3:])}
            aggregator.add_scores(scores)
    results = []
    for aggregator in aggregators:
        np.random.seed(5)  # noqa: NPY002 - what rouge-score draws from
        results.append(aggregator.aggregate())
    found, expected = results
    assert list(found) == list(expected)
    for name, bounds in expected.items():
        assert tuple(found[name]) == tuple(bounds)
        assert found[name]._fields == bounds._fields
        assert isinstance(found[name].mid, scoring.Score)


@pytest.mark.parametrize("options", [{"confidence_interval": 1.5}, {"confidence_interval": -0.1}, {"n_samples": 0}])
def test_what_aggregators_refuse(options: Any) -> None:
    for package in (scoring, their_scoring):
        with pytest.raises(ValueError, match=next(iter(options))):
            package.BootstrapAggregator(**options)


def test_names_and_signatures() -> None:
    for own, theirs in (
        (rouge_scorer.RougeScorer, their_scorer.RougeScorer),
        (rouge_scorer.RougeScorer.score, their_scorer.RougeScorer.score),
        (rouge_scorer.RougeScorer.score_multi, their_scorer.RougeScorer.score_multi),
        (scoring.BootstrapAggregator, their_scoring.BootstrapAggregator),
        (scoring.BootstrapAggregator.add_scores, their_scoring.BootstrapAggregator.add_scores),
        (scoring.fmeasure, their_scoring.fmeasure),
        (tokenize.tokenize, their_tokenize.tokenize),
        (tokenizers.DefaultTokenizer, their_tokenizers.DefaultTokenizer),
    ):
        found, expected = (
            [(parameter.name, parameter.default) for parameter in inspect.signature(each).parameters.values()]
            for each in (own, theirs)
        )
        assert found == expected
    assert issubclass(rouge_scorer.RougeScorer, scoring.BaseScorer)
