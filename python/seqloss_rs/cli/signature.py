"""Signatures: what it takes to compute a score again, in a line that says who computed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["signature", "title_of"]


def title_of(metric: Any) -> str:
    """Return the name of a metric as papers have it."""
    return str(metric.signature()).split("|")[0]


def signature(metric: Any, references: int | None, drawn: Mapping[str, Any] | None = None) -> str:
    """Return the signature of a score, with sacrebleu's keys where it has them.

    Parameters
    ----------
    metric : Bleu, Chrf, Ter, Rouge or ErrorRate
        What has scored.
    references : int, optional
        How many each text has; None if their number varies.
    drawn : dict, optional
        What intervals and p-values come from: `bs`, `ar`, `seed`.
    """
    _, count, *settings = metric.signature(references).split("|")
    return "|".join([count, *(f"{name}:{value}" for name, value in (drawn or {}).items()), *settings])
