"""Paired tests of systems, and intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ...significance import PairedScore, paired_bootstrap, paired_randomization
from .metrics.base import Metric, Signature, Streams, seed

__all__ = ["PairedTest", "Result", "estimate_ci"]

Test: TypeAlias = Literal["ar", "bs"]


class Result:
    """What became of one system.

    Parameters
    ----------
    score : float
        Of the corpus.
    p_value : float, optional
        Of the difference from the baseline; None for the baseline itself.
    mean, ci : float, optional
        Of the scores of resamples: their mean, and half the width of their 95% interval.
    """

    def __init__(
        self, score: float, p_value: float | None = None, mean: float | None = None, ci: float | None = None
    ) -> None:
        self.score = score
        self.p_value = p_value
        self.mean = mean
        self.ci = ci

    def __repr__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in vars(self).items())


def estimate_ci(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of the scores of resamples, and half the width of their 95% interval.

    Examples
    --------
    >>> import numpy as np
    >>> from seqloss_rs.compat.sacrebleu.significance import estimate_ci
    >>> estimate_ci(np.arange(101.0))
    (50.0, 48.0)
    """
    ordered = np.sort(scores)
    outside = len(ordered) // 40
    return float(ordered.mean()), float(ordered[len(ordered) - outside - 1] - ordered[outside]) / 2


class PairedTest:
    """Test whether systems differ from the first.

    Parameters
    ----------
    named_systems : list of (str, list of N strings)
        The hypotheses of each system with its name, the baseline first.
    metrics : dict of Metric
        What to score with.
    references : list of R lists of N strings, or None
        Streams of references, or None for those that the metrics were made with.
    test_type : {"ar", "bs"}
        Approximate randomisation, or the paired bootstrap.
    n_samples : int
        Trials of the one (10,000 for 0), or resamples of the other (1,000 for 0).
    n_ar_confidence : int
        Resamples for intervals beside approximate randomisation: 1,000 for 0, none for -1.
    n_jobs : int
        As sacrebleu has it; the threads of ``seqloss_rs.set_num_threads`` do the work, whatever it is.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import CHRF
    >>> from seqloss_rs.compat.sacrebleu.significance import PairedTest
    >>> references = [["the cat sat on a mat", "the dog barked at me", "this is a rainy day"]]
    >>> systems = [
    ...     ("small", ["the cat sits on mats", "a dog barked at me", "it is a rainy day"]),
    ...     ("large", ["the cat sat on a mat", "a dog barked at me", "it was a rainy day"]),
    ... ]
    >>> signatures, scores = PairedTest(systems, {"chrF": CHRF()}, references, test_type="bs")()
    >>> scores["System"], scores["chrF2"][1].p_value
    (['small', 'large'], 0.24975024975024976)
    >>> signatures["chrF2"]
    nrefs:1|bs:1000|seed:12345|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0
    """

    _DEFAULT_SAMPLES: Mapping[Test, int] = {"ar": 10_000, "bs": 1000}

    def __init__(
        self,
        named_systems: Sequence[tuple[str, Sequence[str]]],
        metrics: Mapping[str, Metric[Any]],
        references: Streams | None,
        test_type: Test = "ar",
        n_samples: int = 0,
        n_ar_confidence: int = -1,
        n_jobs: int = 1,
    ) -> None:
        if test_type not in get_args(Test):
            message = f"test_type is {test_type!r}, expected one of ar, bs"
            raise ValueError(message)
        self.named_systems = named_systems
        self.references = references
        self.test_type = test_type
        self.n_samples = n_samples if n_samples > 0 else self._DEFAULT_SAMPLES[test_type]
        self.n_ar_confidence = n_ar_confidence or self._DEFAULT_SAMPLES["bs"]
        self.n_systems = len(named_systems) - 1
        self.n_jobs = n_jobs
        self._seed = seed()
        self.metrics: dict[str, Metric[Any]] = {}
        self._rows: dict[str, NDArray[np.int64]] = {}
        self._signatures: dict[str, Signature] = {}
        _, baseline = named_systems[0]
        for metric in metrics.values():
            rows = metric._extract_corpus_statistics(baseline, references)
            name = metric._aggregate_and_compute(rows).name
            signature = metric.get_signature()
            signature.update("seed", str(self._seed).lower())
            signature.update(test_type, self.n_samples)
            if self.n_ar_confidence > 0:
                signature.update("bs", self.n_ar_confidence)
            self.metrics[name], self._rows[name], self._signatures[name] = metric, rows, signature

    def __call__(self) -> tuple[dict[str, Signature], dict[str, list[Any]]]:
        """Run the test.

        Returns
        -------
        signatures : dict of Signature
            By the name that the scores of a metric have.
        scores : dict of list
            ``"System"``: the names of the systems; and for each metric a :class:`Result` of each system.
        """
        scores: dict[str, list[Any]] = {"System": [name for name, _ in self.named_systems]}
        for name, metric in self.metrics.items():
            rows = [
                self._rows[name],
                *(
                    metric._extract_corpus_statistics(hypotheses, self.references)
                    for _, hypotheses in self.named_systems[1:]
                ),
            ]
            found: tuple[PairedScore, ...]
            if self.test_type == "bs":
                found = paired_bootstrap(metric._metric(), *rows, resamples=self.n_samples, seed=self._seed)
            else:
                resamples = max(self.n_ar_confidence, 0)
                found = paired_randomization(
                    metric._metric(), *rows, trials=self.n_samples, resamples=resamples, seed=self._seed
                )
            scores[name] = [Result(score.score, score.p_value, score.mean, score.half_width) for score in found]
        return self._signatures, scores
