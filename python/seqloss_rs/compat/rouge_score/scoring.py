"""Scores, and how confident one can be of their mean."""

import abc
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["AggregateScore", "BaseScorer", "BootstrapAggregator", "Score", "fmeasure"]


class Score(NamedTuple):
    """The scores of one pair, in [0, 1]."""

    precision: float
    recall: float
    fmeasure: float


class AggregateScore(NamedTuple):
    """The lower bound, the median and the upper bound of the mean of many scores."""

    low: Any
    mid: Any
    high: Any


class BaseScorer(abc.ABC):
    """What scores a prediction against a target."""

    @abc.abstractmethod
    def score(self, target: str, prediction: str) -> dict[str, Score]:
        """Return a score of each type."""


class BootstrapAggregator:
    """The mean of scores and its confidence interval, by resampling.

    Samples are drawn by NumPy's global generator, as rouge-score does: after ``np.random.seed`` bounds are the same.

    Parameters
    ----------
    confidence_interval : float
        How much of the distribution of means lies between the bounds, in [0, 1].
    n_samples : int
        How often scores are resampled.

    Raises
    ------
    ValueError
        If one of them is out of range.

    Examples
    --------
    >>> from seqloss_rs.compat.rouge_score import scoring
    >>> aggregator = scoring.BootstrapAggregator(n_samples=10)
    >>> for _ in range(3):
    ...     aggregator.add_scores({"rouge1": scoring.Score(1.0, 0.5, 0.75)})
    >>> float(aggregator.aggregate()["rouge1"].low.recall)
    0.5
    """

    def __init__(self, confidence_interval: float = 0.95, n_samples: int = 1000) -> None:
        if not 0 <= confidence_interval <= 1:
            raise ValueError(f"confidence_interval is {confidence_interval}, expected a number in [0, 1]")
        if n_samples <= 0:
            raise ValueError(f"n_samples is {n_samples}, expected a count of at least 1")
        self._confidence_interval = confidence_interval
        self._n_samples = n_samples
        self._scores: dict[str, list[Any]] = defaultdict(list)

    def add_scores(self, scores: Mapping[str, Any]) -> None:
        """Add the scores of one pair: a named tuple for each type."""
        for kind, score in scores.items():
            self._scores[kind].append(score)

    def aggregate(self) -> dict[str, AggregateScore]:
        """Return the bounds of each type."""
        tail = (1 - self._confidence_interval) / 2
        bounds = 100 * np.array([tail, 0.5, 1 - tail])
        result = {}
        for kind, scores in self._scores.items():
            rows = np.vstack(scores)
            count = len(rows)
            # The generator is the one that rouge-score draws from, and draws the same numbers in the same order.
            draws = (np.random.choice(count, size=count) for _ in range(self._n_samples))  # noqa: NPY002
            means = np.array([rows[draw].mean(axis=0) for draw in draws])
            result[kind] = AggregateScore(*(type(scores[0])(*row) for row in np.percentile(means, bounds, axis=0)))
        return result


def fmeasure(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall; 0 for none of either.

    Examples
    --------
    >>> from seqloss_rs.compat.rouge_score import scoring
    >>> scoring.fmeasure(1.0, 0.5)
    0.6666666666666666
    """
    both = precision + recall
    return 2 * precision * recall / both if both > 0 else 0.0
