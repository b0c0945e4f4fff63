"""What the metrics have in common: scores, signatures, and the way from streams of strings to statistics."""

import json
import logging
import os
import re
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...._metric import _Metric
from ....significance import bootstrap
from ..version import __version__

__all__ = ["Metric", "Score", "Signature"]

# The name that users of sacrebleu know to silence.
logger = logging.getLogger("sacrebleu")

Streams: TypeAlias = Sequence[Sequence[str | None]]
Segments: TypeAlias = list[str] | list[list[str]]


class Score:
    """A score and how it is written down.

    Parameters
    ----------
    name : str
        Of the metric.
    score : float
        On the scale of 100.
    """

    def __init__(self, name: str, score: float) -> None:
        self.name = name
        self.score = score
        # Of resamples; -1 where there are none.
        self._mean = -1.0
        self._ci = -1.0
        # What stands behind the score.
        self._verbose = ""

    def format(self, width: int = 2, score_only: bool = False, signature: str = "", is_json: bool = False) -> str:
        """Write the score down.

        Parameters
        ----------
        width : int
            Digits behind the point.
        score_only : bool
            The number, with its interval if there is one, and nothing else.
        signature : str
            What to say about the metric.
        is_json : bool
            A JSON object instead of a line.
        """
        number = f"{self.score:.{width}f}"
        fields: dict[str, Any] = {"name": self.name, "score": float(number), "signature": signature}
        if self._mean > 0:
            mean, interval = f"{self._mean:.{width}f}", f"{self._ci:.{width}f}"
            confidence = f"μ = {mean} ± {interval}"
            number += f" ({confidence})"
            fields |= {"confidence_mean": float(mean), "confidence_var": float(interval), "confidence": confidence}
        if score_only:
            return number
        if is_json:
            if self._verbose:
                fields["verbose_score"] = self._verbose
            pairs = (part.partition(":") for part in signature.split("|") if part)
            fields |= {key: value for key, _, value in pairs}
            return json.dumps(fields, indent=1, ensure_ascii=False)
        line = f"{self.name}|{signature}" if signature else self.name
        line += f" = {number}"
        return f"{line} {self._verbose}" if self._verbose else line

    def estimate_ci(self, scores: "list[Score]") -> None:
        """Keep the mean of the scores of resamples, and half the width of their 95% interval."""
        ordered = sorted(score.score for score in scores)
        outside = len(ordered) // 40
        self._ci = (ordered[len(ordered) - outside - 1] - ordered[outside]) / 2
        self._mean = statistics.mean(ordered)

    def __repr__(self) -> str:
        return self.format()


class Signature:
    """What must be known of a metric to compute the same score again.

    Parameters
    ----------
    args : dict
        What a metric knows of itself: ``num_refs`` (-1 where segments differ), and ``n_bootstrap`` and ``seed`` where
        it has drawn resamples.
    """

    def __init__(self, args: Mapping[str, Any]) -> None:
        if args.get("num_refs") is None:
            message = "the number of references is not known yet: score something first"
            raise ValueError(message)
        self._abbr = {
            "version": "v",
            "nrefs": "#",
            "test": "t",
            "lang": "l",
            "subset": "S",
            "origlang": "o",
            "bs": "bs",
            "ar": "ar",
            "seed": "rs",
        }
        self.info: dict[str, Any] = {
            "version": __version__,
            "nrefs": "var" if args["num_refs"] == -1 else args["num_refs"],
            "bs": args.get("n_bootstrap"),
            "ar": None,
            "seed": args.get("seed"),
            "test": args.get("test_set"),
            "lang": args.get("langpair"),
            "origlang": args.get("origlang"),
            "subset": args.get("subset"),
        }

    def format(self, short: bool = False) -> str:
        """Write ``key:value|key:value|…``, the version last."""
        # A dict keeps the first place of a key.
        last = {key: value for key, value in self.info.items() if key != "version"} | {"version": self.info["version"]}
        words = {True: "yes", False: "no"}
        return "|".join(
            f"{self._abbr[key] if short else key}:{words[value] if isinstance(value, bool) else value}"
            for key, value in last.items()
            if value is not None
        )

    def update(self, key: str, value: Any) -> None:
        """Set what a key says; None leaves it out."""
        self.info[key] = value

    def __repr__(self) -> str:
        return self.format()


AnyScore = TypeVar("AnyScore", bound=Score)


class Metric(ABC, Generic[AnyScore]):
    """A metric with sacrebleu's methods.

    Parameters
    ----------
    references : list of R lists of N strings, optional
        Streams of references for all corpora to come, for which ``references=None`` then stands; None in a stream is a
        missing one.
    """

    # Whether input may look as if it had been cut into tokens already.
    _force = True

    def __init__(self, references: Streams | None = None) -> None:
        self.n_bootstrap: int | None = None
        self.seed: str | None = None
        self.num_refs: int | None = None
        self._ref_cache = None if references is None else self._cache_references(references)

    @abstractmethod
    def _metric(self) -> _Metric[Any]:
        """Return the metric that counts and scores."""

    @abstractmethod
    def _aggregate_and_compute(self, stats: NDArray[np.int64]) -> AnyScore:
        """Score the sum of rows of statistics."""

    @abstractmethod
    def _describe(self) -> Mapping[str, tuple[str, Any]]:
        """Return what is the metric's own in its signature: short names and values by their names."""

    def _preprocess(self) -> Callable[[str], str] | None:
        """Return what is done to a string before it is counted, unless the metric does it all."""
        return None

    def corpus_score(self, hypotheses: Sequence[str], references: Streams | None, n_bootstrap: int = 1) -> AnyScore:
        """Score a corpus.

        Parameters
        ----------
        hypotheses : list of N strings
            What is scored.
        references : list of R lists of N strings, or None
            Streams of references; None in a stream is a missing one, and None instead of streams stands for those that
            the metric was made with.
        n_bootstrap : int
            How many resamples are drawn for an interval, if more than 1. The environment's ``SACREBLEU_SEED`` says
            where random numbers begin: 12345 by default, ``none`` for anywhere.
        """
        rows = self._extract_corpus_statistics(hypotheses, references)
        score = self._aggregate_and_compute(rows)
        if n_bootstrap > 1:
            self.n_bootstrap, self.seed = n_bootstrap, str(seed()).lower()
            found = bootstrap(self._metric(), rows, resamples=n_bootstrap, seed=seed())
            score._mean, score._ci = found.mean, found.half_width
        return score

    def sentence_score(self, hypothesis: str, references: Sequence[str | None]) -> AnyScore:
        """Score one string.

        Parameters
        ----------
        hypothesis : str
            What is scored.
        references : list of strings
            What it is compared with.
        """
        if not isinstance(hypothesis, str):
            message = f"hypothesis is a {type(hypothesis).__name__}, expected a string"
            raise TypeError(message)
        if isinstance(references, str) or not isinstance(references, Sequence):
            message = f"references is a {type(references).__name__}, expected a list of strings"
            raise TypeError(message)
        rows = self._extract_corpus_statistics([hypothesis], [[reference] for reference in references])
        return self._aggregate_and_compute(rows)

    def get_signature(self) -> Signature:
        """Return what must be known to compute the same score again; something must have been scored before."""
        signature = Signature(vars(self))
        for key, (short, value) in self._describe().items():
            signature._abbr[key] = short
            signature.update(key, value)
        return signature

    def _cache_references(self, references: Streams) -> Segments:
        """Turn streams into the references of each segment, without those that are missing."""
        if isinstance(references, str) or not isinstance(references, Sequence):
            message = f"references is a {type(references).__name__}, expected a list of lists of strings"
            raise TypeError(message)
        if not references:
            message = "references is empty, expected at least one stream"
            raise ValueError(message)
        for index, stream in enumerate(references):
            _check("references", f"[{index}]", stream, (str, type(None)))
            if len(stream) != len(references[0]):
                message = f"references[{index}] has {len(stream)} segments, but references[0] has {len(references[0])}"
                raise ValueError(message)
        segments = [[text for text in texts if text is not None] for texts in zip(*references, strict=True)]
        alone = next((index for index, texts in enumerate(segments) if not texts), None)
        if alone is not None:
            message = f"segment {alone} has no reference: it is None in every stream"
            raise ValueError(message)
        counts = {len(texts) for texts in segments}
        self.num_refs = counts.pop() if len(counts) == 1 else -1
        if (preprocess := self._preprocess()) is not None:
            return [[preprocess(text) for text in texts] for texts in segments]
        return segments

    def _extract_corpus_statistics(self, hypotheses: Sequence[str], references: Streams | None) -> NDArray[np.int64]:
        """Count each segment: (N, k)."""
        _check("hypotheses", "", hypotheses, (str,))
        segments = self._ref_cache if references is None else self._cache_references(references)
        if segments is None:
            message = "references is None, but the metric was made without references"
            raise RuntimeError(message)
        if len(hypotheses) != len(segments):
            message = f"hypotheses has {len(hypotheses)} segments, but the references have {len(segments)}"
            raise ValueError(message)
        if not self._force and sum(text.endswith(" .") for text in hypotheses) >= 100:
            logger.warning(
                "100 or more hypotheses end with ' .', as if they were cut into tokens already, which may lower the "
                "score; force=True says that it is meant so."
            )
        if (preprocess := self._preprocess()) is not None:
            hypotheses = [preprocess(text) for text in hypotheses]
        try:
            return self._metric().statistics(list(hypotheses), segments)
        except ValueError as error:
            # Streams are the other way round here, and a missing reference is counted.
            message = re.sub(r"^references\[(\d+)\]\[\d+\]", r"a reference of segment \1", str(error))
            raise ValueError(message) from None


def _check(name: str, place: str, texts: object, kinds: tuple[type, ...]) -> None:
    """Refuse what is no list of strings; a string would be a list of its characters."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        message = f"{name}{place} is a {type(texts).__name__}, expected a list of strings"
        raise TypeError(message)
    if not texts:
        message = f"{name}{place} is empty, expected at least one segment"
        raise ValueError(message)
    for index, text in enumerate(texts):
        if not isinstance(text, kinds):
            message = f"{name}{place}[{index}] is a {type(text).__name__}, expected a string"
            raise TypeError(message)


def seed() -> int | None:
    """Return where random numbers begin, as the environment says; None for anywhere."""
    text = os.environ.get("SACREBLEU_SEED", "12345")
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        message = f"SACREBLEU_SEED is {text!r}, expected an integer or none"
        raise ValueError(message) from None
