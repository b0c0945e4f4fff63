"""How sure the scores of texts are: intervals, and whether systems differ from the first of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import seqloss_rs

from .errors import UsageError
from .loss import Options
from .metrics import TextLoss
from .signature import signature
from .summary import Summary

__all__ = ["Drawing", "add_drawing_flags", "drawing_of"]

RESAMPLES, TRIALS, SEED = 1000, 10_000, 12345


@dataclass(frozen=True)
class Drawing:
    """What is drawn at random.

    Attributes
    ----------
    test : str, optional
        `"bootstrap"` or `"randomization"` of systems against the first; None for intervals alone.
    resamples, trials : int
        How many of each are drawn; 0 for none.
    seed : int, optional
        Where random numbers begin.
    """

    test: str | None
    resamples: int
    trials: int
    seed: int | None

    @property
    def signature(self) -> dict[str, Any]:
        """What a signature says of it."""
        seed = "none" if self.seed is None else self.seed
        return {
            **({"bs": self.resamples} if self.resamples else {}),
            **({"ar": self.trials} if self.trials else {}),
            "seed": seed,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What the summary says of it."""
        return {"test": self.test, "resamples": self.resamples, "trials": self.trials, "seed": self.seed}

    def add(
        self, loss: TextLoss, summaries: Mapping[str, Summary], results: Mapping[str, dict[str, Any]], options: Options
    ) -> None:
        """Put means, intervals and p-values into the results of each system."""
        drawn: dict[str, Any] = {"resamples": self.resamples, "seed": self.seed}
        for metric in loss.metrics:
            counting = loss.make(metric, options)
            rows = [summary.rows(metric.name) for summary in summaries.values()]
            found: Any
            if self.test == "bootstrap":
                found = seqloss_rs.significance.paired_bootstrap(counting, *rows, **drawn)
            elif self.test == "randomization":
                found = seqloss_rs.significance.paired_randomization(counting, *rows, trials=self.trials, **drawn)
            else:
                found = [seqloss_rs.significance.bootstrap(counting, own, **drawn) for own in rows]
            for result, score in zip(results.values(), found, strict=True):
                parts = result["metrics"][metric.name]
                if score.mean is not None:
                    parts |= {name: getattr(score, name) for name in ("mean", "low", "high", "half_width")}
                if self.test is not None:
                    parts["p_value"] = score.p_value
                parts["signature"] = signature(counting, parts["references"], self.signature)


def add_drawing_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of intervals and tests."""
    group = parser.add_argument_group("how sure the scores are")
    group.add_argument("--confidence", action="store_true", help="a 95%% interval of each score, by the bootstrap")
    tests = group.add_mutually_exclusive_group()
    tests.add_argument("--paired-bs", action="store_true", help="test systems against the first: paired bootstrap")
    tests.add_argument("--paired-ar", action="store_true", help="the same by paired approximate randomization")
    group.add_argument("--resamples", metavar="N", type=_count, help=f"of the bootstrap (default: {RESAMPLES})")
    group.add_argument("--trials", metavar="N", type=_count, help=f"of the randomization (default: {TRIALS})")
    group.add_argument(
        "--seed",
        metavar="N",
        type=_seed,
        help=f"of random numbers, or none (default: that of SACREBLEU_SEED, else {SEED})",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _seed(text: str) -> int | str:
    if text != "none" and not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0, or 'none'")
    return text if text == "none" else int(text)


def drawing_of(arguments: argparse.Namespace) -> Drawing | None:
    """Return what the command line wants to be drawn, if anything."""
    test = "bootstrap" if arguments.paired_bs else "randomization" if arguments.paired_ar else None
    is_drawn = arguments.confidence or test is not None
    for name in ("resamples", "trials", "seed"):
        if getattr(arguments, name) is not None and not (test == "randomization" if name == "trials" else is_drawn):
            needed = "--paired-ar" if name == "trials" else "--confidence, --paired-bs or --paired-ar"
            raise UsageError(f"--{name} says nothing without {needed}")
    if not is_drawn:
        return None
    # As in sacrebleu: with randomization, intervals are there if they are asked for.
    has_intervals = test != "randomization" or arguments.confidence or arguments.resamples is not None
    return Drawing(
        test,
        (arguments.resamples or RESAMPLES) if has_intervals else 0,
        (arguments.trials or TRIALS) if test == "randomization" else 0,
        _seed_of(arguments.seed),
    )


def _seed_of(given: int | str | None) -> int | None:
    """Return where random numbers begin: as the flag says, or else the environment, which sacrebleu heeds too."""
    try:
        seed = _seed(os.environ.get("SACREBLEU_SEED", str(SEED)).lower()) if given is None else given
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"SACREBLEU_SEED: {error}") from None
    return None if isinstance(seed, str) else seed
