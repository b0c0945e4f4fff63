"""ROUGE of one pair of texts after another."""

from collections.abc import Callable, Sequence
from typing import Any

from ...rouge import rouge_scores
from .._strings import check_string
from .scoring import BaseScorer, Score
from .tokenizers import DefaultTokenizer

__all__ = ["RougeScorer"]

SUMMARY = "rougeLsum"


class RougeScorer(BaseScorer):
    """Scores predictions against targets.

    Many pairs are scored faster by :func:`seqloss_rs.rouge_scores`, all in one call.

    Parameters
    ----------
    rouge_types : sequence of str
        "rouge1" to "rouge9", "rougeL", "rougeLsum"; others are refused when something is scored.
    use_stemmer : bool
        Compare the stems of words; a ``tokenizer`` knows nothing of it.
    split_summaries : bool
        Cut texts into sentences by NLTK for "rougeLsum", instead of at line breaks.
    tokenizer : object, optional
        What has a method ``tokenize`` that returns the tokens of a text; they can be of any type that can be hashed.

    Examples
    --------
    >>> from seqloss_rs.compat.rouge_score import rouge_scorer
    >>> scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    >>> scorer.score("the cats sat", "the cat")["rouge1"]
    Score(precision=1.0, recall=0.6666666666666666, fmeasure=0.8)
    """

    def __init__(
        self,
        rouge_types: Sequence[str],
        use_stemmer: bool = False,
        split_summaries: bool = False,
        tokenizer: Any = None,
    ) -> None:
        self.rouge_types = rouge_types
        self._tokenizer = tokenizer or DefaultTokenizer(use_stemmer)
        self._split_summaries = split_summaries

    def score(self, target: str, prediction: str) -> dict[str, Score]:
        """Score a prediction against a target.

        Raises
        ------
        ValueError
            If one of the types is unknown.
        """
        return self._scores(["target"], [target], prediction)

    def score_multi(self, targets: Sequence[str], prediction: str) -> dict[str, Score]:
        """Score a prediction against the target for which F is highest, the first of equals, for each type its own.

        Raises
        ------
        ValueError
            If one of the types is unknown, or there is no target.
        """
        targets = list(targets)
        return self._scores([f"targets[{index}]" for index in range(len(targets))], targets, prediction)

    def _scores(self, names: Sequence[str], targets: Sequence[str], prediction: str) -> dict[str, Score]:
        types, texts = list(self.rouge_types), [prediction, *targets]
        if type(self._tokenizer) is DefaultTokenizer:
            for name, text in zip(("prediction", *names), texts, strict=True):
                check_string(name, text)
            stem, whole, lines = self._tokenizer.use_stemmer, texts, texts
            if self._split_summaries and SUMMARY in types:
                # A sentence is a line, whatever was in it.
                lines = ["\n".join(part.replace("\n", " ") for part in self._sentences(text)) for text in texts]
        else:
            stem, number = False, _Numbers(self._tokenizer.tokenize)
            whole = list(map(number, texts)) if types != [SUMMARY] else texts
            lines = ["\n".join(map(number, self._sentences(text))) for text in texts] if SUMMARY in types else whole
        calls: list[tuple[list[str], list[Any]]] = [(whole, types)]
        if lines is not whole:
            calls = [(whole, [name for name in types if name != SUMMARY]), (lines, [SUMMARY])]
        found: dict[Any, Any] = {}
        for read, variants in calls:
            found |= rouge_scores(read[:1], [read[1:]], variants, stem)
        return {name: Score(*found[name][0].tolist()) for name in types}

    def _sentences(self, text: str) -> list[str]:
        """Cut a text into what "rougeLsum" compares."""
        if not self._split_summaries:
            return [line for line in text.split("\n") if line]
        try:
            import nltk  # type: ignore[import-untyped]  # it has no stubs
        except ImportError as error:
            raise ImportError("split_summaries is True, which goes with NLTK: pip install nltk") from error
        sentences: list[str] = nltk.sent_tokenize(text)
        return sentences


class _Numbers:
    """Writes tokens as numbers, equal ones for equal tokens, which ROUGE's own tokenizer takes apart again."""

    def __init__(self, tokenize: Callable[[str], Any]) -> None:
        self.tokenize = tokenize
        self.numbers: dict[Any, int] = {}

    def __call__(self, text: str) -> str:
        """Cut a text and write it."""
        return " ".join(str(self.numbers.setdefault(token, len(self.numbers))) for token in self.tokenize(text))
