"""How sure a score is, from its statistics alone: intervals by the bootstrap, and paired tests of systems.

Nothing is counted a second time: corpora are resampled from rows of ``metric.statistics``. What is drawn is what
sacrebleu 2.6.0 draws from NumPy's generator, by default from the same seed, so p-values agree. Under NumPy 2 it adds
statistics in float32, and here they are exact integers: scores of resamples differ by less than 1e-6 of themselves. Its
seed 0 means no seed for systems other than the baseline; here 0 is a seed like others.

As in sacrebleu, a p-value is (c + 1) / (n + 1), where c of n draws show a difference that exceeds the one that was
found. Equal ones do not exceed it, so the copy of a baseline has the smallest p-value there is, 1 / (n + 1), and not 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._metric import _Metric
from ._steps import shown, whole_number
from ._texts import References, Texts
from ._types import Integers
from .metrics import Bleu

__all__ = [
    "Bootstrap",
    "Comparison",
    "PairedScore",
    "bootstrap",
    "compare",
    "paired_bootstrap",
    "paired_randomization",
]

Seed: TypeAlias = "int | np.random.Generator | None"  # NumPy imports its generators when they are first named
"""Where random numbers begin; a generator that goes on; or None for a beginning that nobody knows."""

Test: TypeAlias = Literal["bootstrap", "randomization"]

TRIALS = 10_000
# So many indices are drawn at a time, or those of one resample: it bounds the memory, and the stream is the same.
INDICES = 1 << 20
# In a word of the generator.
COINS = 32


# ---------------------------------------------------------------------------------------------------------------------
# One system


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A score with its interval.

    Examples
    --------
    >>> import seqloss_rs
    >>> found = seqloss_rs.significance.bootstrap(seqloss_rs.ErrorRate(), [[8, 1, 1, 0], [3, 0, 0, 0], [6, 2, 0, 1]])
    >>> found.score, round(found.mean, 4), (found.low, round(found.high, 4), round(found.half_width, 4))
    (0.23809523809523808, 0.2219, (0.0, 0.375, 0.1875))
    >>> found.scores.shape
    (1000,)
    """

    score: float
    """Of the corpus itself."""
    mean: float
    """Of the scores of its resamples."""
    low: float
    """The end of the interval below."""
    high: float
    """The end of the interval above."""
    scores: NDArray[np.float64]
    """(B,): the score of each resample, in the order in which they were drawn."""

    @property
    def half_width(self) -> float:
        """(high − low) / 2, what is written behind ±."""
        return (self.high - self.low) / 2


def bootstrap(
    metric: _Metric[Any],
    rows: Integers,
    *,
    resamples: int = 1000,
    seed: Seed = 12345,
    confidence: float = 0.95,
) -> Bootstrap:
    """Score a corpus and resamples of it, for an interval around the score.

    Parameters
    ----------
    metric : Bleu, Chrf, Ter, Rouge, ErrorRate, Gleu, NltkBleu, TokenF1 or ExactMatch
        What has counted the rows.
    rows : (N, k) integers
        The statistics of each segment: ``metric.statistics(hypotheses, references)``.
    resamples : int
        How many corpora of N segments are drawn from it, with replacement.
    seed : int, numpy.random.Generator, or None
        Where the random numbers begin; None for another place each time.
    confidence : float
        The share of the resamples within the interval, in (0, 1): of B scores in order, ⌊B (1 − confidence) / 2⌋ are
        left out at either end.

    Returns
    -------
    Bootstrap
        The score, and mean, interval and scores of the resamples, on the scale of the metric.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> bleu = seqloss_rs.Bleu()
    >>> hypotheses = ["the cat sat on the mat", "a dog barked at me", "it is a rainy day"]
    >>> references = ["the cat sat on a mat", "the dog barked at me", "this is a rainy day"]
    >>> found = seqloss_rs.significance.bootstrap(bleu, bleu.statistics(hypotheses, references))
    >>> print(f"{found.score:.2f} ({found.mean:.2f} ± {found.half_width:.2f})")
    61.67 (61.95 ± 6.57)

    References
    ----------
    Koehn 2004, https://aclanthology.org/W04-3250/; ``corpus_score(n_bootstrap=…)`` of sacrebleu 2.6.0.
    """
    segments = _native.Segments(metric._metric(), "rows", rows)
    resamples = whole_number("resamples", resamples, 1)
    return _interval(segments, _draw([segments], resamples, _generator(seed))[0], _tail(confidence))


def _generator(seed: Seed) -> np.random.Generator:
    if not isinstance(seed, np.random.Generator) and seed is not None:
        seed = whole_number("seed", seed, 0)
    return np.random.default_rng(seed)


def _tail(confidence: float) -> Fraction:
    """Return the share beyond each end of the interval, without the rounding of (1 − 0.9) / 2."""
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float, np.floating)):
        message = f"confidence is {shown(confidence)}, expected a number"
        raise TypeError(message)
    if not 0 < confidence < 1:
        message = f"confidence is {confidence}, which is not between 0 and 1"
        raise ValueError(message)
    return (1 - Fraction(repr(float(confidence)))) / 2


def _draw(systems: Sequence[_native.Segments], resamples: int, generator: np.random.Generator) -> list[Any]:
    """Return the scores (B,) of each system, of the same resamples of segments."""
    count = len(systems[0])
    step = max(1, INDICES // count)
    parts: list[list[Any]] = [[] for _ in systems]
    for first in range(0, resamples, step):
        # Of 32 bits or 64, NumPy draws the same numbers.
        shape = (min(step, resamples - first), count)
        indices = generator.integers(0, count, size=shape, dtype=np.uint32)
        for part, system in zip(parts, systems, strict=True):
            part.append(system.bootstrap(indices))
    return [np.concatenate(part) for part in parts]


def _interval(system: _native.Segments, scores: NDArray[np.float64], tail: Fraction) -> Bootstrap:
    ordered = np.sort(scores)
    outside = int(len(ordered) * tail)
    low, high = float(ordered[outside]), float(ordered[len(ordered) - outside - 1])
    return Bootstrap(system.score(), math.fsum(scores) / len(scores), low, high, scores)


# ---------------------------------------------------------------------------------------------------------------------
# Systems against a baseline


@dataclass(frozen=True)
class PairedScore:
    """The score of a system, and what became of it in a test against a baseline.

    Examples
    --------
    >>> import seqloss_rs
    >>> rows = [[8, 1, 1, 0], [3, 0, 0, 0], [6, 2, 0, 1]], [[9, 1, 0, 0], [2, 1, 0, 0], [7, 1, 0, 0]]
    >>> baseline, other = seqloss_rs.significance.paired_randomization(seqloss_rs.ErrorRate(), *rows, resamples=0)
    >>> other
    PairedScore(score=0.14285714285714285, p_value=0.24777522247775222, mean=None, low=None, high=None)
    >>> baseline.p_value is None
    True
    """

    score: float
    """Of the corpus itself."""
    p_value: float | None
    """How likely such a difference from the baseline is where there is none; None for the baseline itself."""
    mean: float | None
    """Of the scores of resamples; this and the interval are None where none were asked for."""
    low: float | None
    """The end of the interval below."""
    high: float | None
    """The end of the interval above."""

    @property
    def half_width(self) -> float | None:
        """(high − low) / 2, what is written behind ±."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def paired_bootstrap(
    metric: _Metric[Any],
    baseline_rows: Integers,
    *system_rows: Integers,
    resamples: int = 1000,
    seed: Seed = 12345,
    confidence: float = 0.95,
) -> tuple[PairedScore, ...]:
    """Test by paired bootstrap resampling whether systems differ from a baseline.

    All systems are scored on the same resamples. Of the differences between system and baseline (without
    their signs) those count that exceed their mean by more than the difference of the corpora.

    Parameters
    ----------
    metric : Bleu, Chrf, Ter, Rouge, ErrorRate, Gleu, NltkBleu, TokenF1 or ExactMatch
        What has counted the rows.
    baseline_rows, *system_rows : (N, k) integers
        The statistics of each segment, ``metric.statistics(hypotheses, references)``, of the baseline and of each
        system.
    resamples, seed, confidence
        As in :func:`bootstrap`.

    Returns
    -------
    tuple of PairedScore
        The baseline, then each system.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> bleu = seqloss_rs.Bleu()
    >>> references = ["the cat sat on a mat", "the dog barked at me", "this is a rainy day"]
    >>> baseline = bleu.statistics(["the cat sits on mats", "a dog barked at me", "it is a rainy day"], references)
    >>> system = bleu.statistics(["the cat sat on a mat", "a dog barked at me", "it was a rainy day"], references)
    >>> [found.p_value for found in seqloss_rs.significance.paired_bootstrap(bleu, baseline, system)]
    [None, 0.14385614385614387]

    References
    ----------
    Koehn 2004, https://aclanthology.org/W04-3250/; ``PairedTest(test_type="bs")`` of sacrebleu 2.6.0.
    """
    systems = _segments(metric, baseline_rows, system_rows)
    return _paired_bootstrap([systems], whole_number("resamples", resamples, 1), seed, _tail(confidence))[0]


def paired_randomization(
    metric: _Metric[Any],
    baseline_rows: Integers,
    *system_rows: Integers,
    trials: int = TRIALS,
    resamples: int = 1000,
    seed: Seed = 12345,
    confidence: float = 0.95,
) -> tuple[PairedScore, ...]:
    """Test by paired approximate randomisation whether systems differ from a baseline.

    In each trial a coin is thrown for every segment, that swaps what baseline and system made of it. Those trials count
    in which the two differ by more than they do.

    Parameters
    ----------
    metric : Bleu, Chrf, Ter, Rouge, ErrorRate, Gleu, NltkBleu, TokenF1 or ExactMatch
        What has counted the rows.
    baseline_rows, *system_rows : (N, k) integers
        The statistics of each segment, ``metric.statistics(hypotheses, references)``, of the baseline and of each
        system.
    trials : int
        How often all coins are thrown.
    resamples : int
        How many resamples are drawn for the intervals, after the trials; 0 for no intervals.
    seed, confidence
        As in :func:`bootstrap`.

    Returns
    -------
    tuple of PairedScore
        The baseline, then each system.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> rouge = seqloss_rs.Rouge(variant="rouge1")
    >>> references = ["the cat sat on a mat", "the dog barked at me", "this is a rainy day"]
    >>> baseline = rouge.statistics(["the cat sits on mats", "a dog barked at me", "it is a rainy day"], references)
    >>> system = rouge.statistics(["the cat sat on a mat", "the dog barked at me", "it was a rainy day"], references)
    >>> [found.p_value for found in seqloss_rs.significance.paired_randomization(rouge, baseline, system)]
    [None, 0.5034496550344966]

    References
    ----------
    Riezler and Maxwell 2005, https://aclanthology.org/W05-0908/; ``PairedTest(test_type="ar")`` of sacrebleu 2.6.0.
    """
    systems = _segments(metric, baseline_rows, system_rows)
    trials, resamples = whole_number("trials", trials, 1), whole_number("resamples", resamples, 0)
    return _paired_randomization([systems], trials, resamples, seed, _tail(confidence))[0]


def _segments(metric: _Metric[Any], baseline_rows: Any, system_rows: Sequence[Any]) -> list[_native.Segments]:
    named = [("baseline_rows", baseline_rows), *((f"system_rows[{i}]", rows) for i, rows in enumerate(system_rows))]
    systems = [_native.Segments(metric._metric(), name, rows) for name, rows in named]
    for (name, _), system in zip(named, systems, strict=True):
        if len(system) != len(systems[0]):
            message = f"{name} has {len(system)} rows, but baseline_rows has {len(systems[0])}"
            raise ValueError(message)
    return systems


# What follows takes the systems of each metric, the baseline first, all of the same segments: all share what is drawn.
Systems: TypeAlias = Sequence[Sequence[_native.Segments]]


def _paired_bootstrap(metrics: Systems, resamples: int, seed: Seed, tail: Fraction) -> list[tuple[PairedScore, ...]]:
    drawn = iter(_draw([system for systems in metrics for system in systems], resamples, _generator(seed)))
    results = []
    for systems in metrics:
        baseline, *others = (_interval(system, next(drawn), tail) for system in systems)
        paired = [_paired(baseline, None)]
        for other in others:
            differences = np.abs(other.scores - baseline.scores)
            above_mean = differences - math.fsum(differences) / len(differences)
            paired.append(_paired(other, _p_value(above_mean, abs(other.score - baseline.score))))
        results.append(tuple(paired))
    return results


def _paired_randomization(
    metrics: Systems, trials: int, resamples: int, seed: Seed, tail: Fraction
) -> list[tuple[PairedScore, ...]]:
    generator = _generator(seed)
    pairs = [(baseline, other) for baseline, *others in metrics for other in others]
    p_values = iter(
        _p_value(differences, abs(baseline.score() - other.score()))
        for (baseline, other), differences in zip(pairs, _trials(pairs, trials, generator), strict=True)
    )
    if resamples == 0:
        return [
            tuple(
                PairedScore(system.score(), next(p_values) if place else None, None, None, None)
                for place, system in enumerate(systems)
            )
            for systems in metrics
        ]
    # As in sacrebleu: those of the others go on where the trials have ended, those of the baseline begin at the seed.
    others = iter(_draw([other for _, other in pairs], resamples, generator) if pairs else [])
    baselines = iter(_draw([systems[0] for systems in metrics], resamples, _generator(seed)))
    return [
        (
            _paired(_interval(systems[0], next(baselines), tail), None),
            *(_paired(_interval(other, next(others), tail), next(p_values)) for other in systems[1:]),
        )
        for systems in metrics
    ]


def _trials(pairs: Sequence[tuple[Any, Any]], trials: int, generator: np.random.Generator) -> list[Any]:
    """Return how far baseline and system of each pair are apart in each trial: (trials,) each."""
    if not pairs:
        return []
    count = len(pairs[0][0])
    # NumPy throws coins with the bits of 32-bit words, the lowest first; so many trials use up all bits of their words.
    step = COINS * max(1, INDICES // COINS // count)
    parts: list[list[Any]] = [[] for _ in pairs]
    for first in range(0, trials, step):
        number = min(step, trials - first)
        coins = generator.integers(0, 1 << COINS, size=-(-number * count // COINS), dtype=np.uint32)
        for part, (baseline, other) in zip(parts, pairs, strict=True):
            scores = baseline.swapped(other, coins, number)
            part.append(np.abs(scores[0] - scores[1]))
    return [np.concatenate(part) for part in parts]


def _p_value(draws: NDArray[np.float64], difference: float) -> float:
    return (int(np.count_nonzero(draws > difference)) + 1) / (len(draws) + 1)


def _paired(found: Bootstrap, p_value: float | None) -> PairedScore:
    return PairedScore(found.score, p_value, found.mean, found.low, found.high)


# ---------------------------------------------------------------------------------------------------------------------
# One table of systems and metrics


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` returns: a table of systems by metrics; ``print`` shows it.

    Examples
    --------
    >>> import seqloss_rs
    >>> systems = {"small": ["a b", "c d", "e"], "large": ["a c", "c d", "e"]}
    >>> metrics = {"CER": seqloss_rs.ErrorRate(unit="char")}
    >>> print(seqloss_rs.significance.compare(systems, ["a c", "b d", "e"], metrics=metrics, seed=1, confidence=0.9))
    system           CER (μ ± 90% CI)
    ---------------  -------------------------------------
    Baseline: small  0.2857 (0.2682 ± 0.0667)
    large            0.1429 (0.1360 ± 0.1429) (p = 0.1419)
    <BLANKLINE>
    Paired bootstrap resampling, 1000 resamples, seed 1; * differs from the baseline at p < 0.1
    """

    rows: dict[str, dict[str, PairedScore]]
    """By system and by the name of the metric; the first system is the baseline."""
    test: Test
    """Which test gave the p-values."""
    trials: int | None
    """How often coins were thrown; None for the bootstrap."""
    resamples: int
    """How many resamples the intervals, and the bootstrap's p-values, are of."""
    seed: int | None
    """Where random numbers began; None where nobody knows."""
    confidence: float
    """The share of the resamples within the intervals."""

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json`` can write: the settings, and a list of the systems with what each metric says."""
        systems = [
            {
                "system": system,
                **{metric: {**asdict(score), "half_width": score.half_width} for metric, score in scores.items()},
            }
            for system, scores in self.rows.items()
        ]
        settings = {name: getattr(self, name) for name in ("test", "trials", "resamples", "seed", "confidence")}
        return {**settings, "systems": systems}

    def __str__(self) -> str:
        """Return a table in plain text; scores of which none reaches 2 are ratios, and have more digits."""
        level = float(2 * _tail(self.confidence))
        baseline, *_ = self.rows
        table = [["system"], *([name] for name in self.rows)]
        table[1][0] = f"Baseline: {baseline}"
        for metric in self.rows[baseline]:
            scores = [row[metric] for row in self.rows.values()]
            digits = 2 if max(score.score for score in scores) >= 2 else 4
            table[0].append(f"{metric} (μ ± {100 * self.confidence:g}% CI)" if self.resamples else metric)
            for line, score in zip(table[1:], scores, strict=True):
                cell = f"{score.score:.{digits}f}"
                if score.mean is not None:
                    cell += f" ({score.mean:.{digits}f} ± {score.half_width:.{digits}f})"
                if score.p_value is not None:
                    cell += f" (p = {score.p_value:.4f}){'*' if score.p_value < level else ''}"
                line.append(cell)
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        table.insert(1, ["-" * width for width in widths])
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        about = "bootstrap resampling" if self.trials is None else f"approximate randomization, {self.trials} trials"
        resamples = f", {self.resamples} resamples" if self.resamples else ""
        seed = "no seed" if self.seed is None else f"seed {self.seed}"
        lines += ["", f"Paired {about}{resamples}, {seed}; * differs from the baseline at p < {level:g}"]
        return "\n".join(line.rstrip() for line in lines)


def compare(
    systems: Mapping[str, Texts],
    references: References,
    *,
    metrics: Mapping[str, _Metric[Any]] | None = None,
    test: Test = "bootstrap",
    trials: int | None = None,
    resamples: int = 1000,
    seed: Seed = 12345,
    confidence: float = 0.95,
) -> Comparison:
    """Score systems by several metrics, and test whether they differ from the first.

    Parameters
    ----------
    systems : dict of list of N strings, or of (N, T) integers, or of list of N integer arrays
        The hypotheses of each system by its name, the baseline first. Where token ids have ``lengths`` or an
        ``eos_id``, give a list of arrays without what lies beyond, or rows of ``metric.statistics`` to
        :func:`paired_bootstrap` or :func:`paired_randomization`.
    references : list of N strings, or list of N lists of strings
        What the hypotheses are compared with, as in ``metric.statistics``.
    metrics : dict of metrics, optional
        Any of :func:`bootstrap` by the names that the table shows; ``{"BLEU": Bleu()}`` by default.
    test : {"bootstrap", "randomization"}
        Which p-values: those of :func:`paired_bootstrap`, or of :func:`paired_randomization`.
    trials : int, optional
        For "randomization" only: how often all coins are thrown; 10,000 by default.
    resamples : int
        How many resamples are drawn; "randomization" takes 0 for no intervals.
    seed, confidence
        As in :func:`bootstrap`. All systems and metrics share what is drawn.

    Returns
    -------
    Comparison
        A table, for ``print``, ``to_dict`` or to read from.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> references = ["the cat sat on a mat", "the dog barked at me", "this is a rainy day"]
    >>> systems = {
    ...     "small": ["the cat sits on mats", "a dog barked at me", "it is a rainy day"],
    ...     "large": ["the cat sat on a mat", "a dog barked at me", "it was a rainy day"],
    ... }
    >>> metrics = {"BLEU": seqloss_rs.Bleu(), "WER": seqloss_rs.ErrorRate()}
    >>> table = seqloss_rs.significance.compare(systems, references, metrics=metrics)
    >>> print(table)
    system           BLEU (μ ± 95% CI)                   WER (μ ± 95% CI)
    ---------------  ----------------------------------  -------------------------------------
    Baseline: small  46.94 (47.24 ± 27.85)               0.3125 (0.3085 ± 0.1500)
    large            70.71 (69.35 ± 34.89) (p = 0.1439)  0.1875 (0.1882 ± 0.2000) (p = 0.1439)
    <BLANKLINE>
    Paired bootstrap resampling, 1000 resamples, seed 12345; * differs from the baseline at p < 0.05
    >>> table.rows["large"]["WER"].score, table.to_dict()["systems"][1]["WER"]["score"]
    (0.1875, 0.1875)

    References
    ----------
    ``PairedTest`` of sacrebleu 2.6.0.
    """
    metrics = {"BLEU": Bleu()} if metrics is None else metrics
    for name, mapping in (("systems", systems), ("metrics", metrics)):
        if not isinstance(mapping, Mapping):
            message = f"{name} is a {type(mapping).__name__}, expected a dict by names"
            raise TypeError(message)
        if not mapping:
            message = f"{name} is empty, expected at least one"
            raise ValueError(message)
    if test not in get_args(Test):
        message = f'test is {shown(test)}, expected one of "bootstrap", "randomization"'
        raise ValueError(message)
    tail = _tail(confidence)
    counted = [
        [_counted(metric, name, hypotheses, references) for name, hypotheses in systems.items()]
        for metric in metrics.values()
    ]
    if test == "bootstrap":
        if trials is not None:
            message = f'trials is {trials}, but test is "bootstrap", which has resamples only'
            raise ValueError(message)
        resamples = whole_number("resamples", resamples, 1)
        results = _paired_bootstrap(counted, resamples, seed, tail)
    else:
        trials = whole_number("trials", TRIALS if trials is None else trials, 1)
        resamples = whole_number("resamples", resamples, 0)
        results = _paired_randomization(counted, trials, resamples, seed, tail)
    rows = {
        name: {metric: scores[place] for metric, scores in zip(metrics, results, strict=True)}
        for place, name in enumerate(systems)
    }
    known = None if seed is None or isinstance(seed, np.random.Generator) else int(seed)
    return Comparison(rows, test, trials, resamples, known, confidence)


def _counted(metric: _Metric[Any], name: str, hypotheses: Texts, references: References) -> _native.Segments:
    try:
        rows = metric.statistics(hypotheses, references)
    except (TypeError, ValueError) as error:
        message = f"systems[{name!r}]: {error}"
        raise type(error)(message) from None
    return _native.Segments(metric._metric(), f"systems[{name!r}]", rows)
