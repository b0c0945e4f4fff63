"""Signatures: what it takes to compute a score again, in a line that says who computed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import seqloss_rs

__all__ = ["signature", "title_of"]

SMOOTHING = {"floor": "floor[0.10]", "add-k": "add-k[1.00]"}


def title_of(metric: Any) -> str:
    """Return the name of a metric as papers have it."""
    match type(metric).__name__:
        case "Bleu":
            return "BLEU"
        case "Chrf":
            return f"chrF{metric.beta:g}{'+' * metric.word_order}"
        case "Ter":
            return "TER"
        case "Rouge":
            return f"ROUGE-{metric.variant.removeprefix('rouge')}"
    return "CER" if (metric.unit, metric.measure) == ("char", "wer") else str(metric.measure).upper()


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
    parts = {
        "nrefs": "var" if references is None else references,
        **(drawn or {}),
        **_settings(metric),
        "version": f"seqloss_rs.{seqloss_rs.__version__}",
    }
    return "|".join(f"{name}:{_written(value)}" for name, value in parts.items())


def _written(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _settings(metric: Any) -> dict[str, Any]:
    match type(metric).__name__:
        case "Bleu":
            return {
                **({} if metric.max_order == 4 else {"order": metric.max_order}),
                "case": "lc" if metric.lowercase else "mixed",
                "eff": bool(metric.effective_order),
                "tok": metric.tokenize,
                "smooth": SMOOTHING.get(metric.smoothing, metric.smoothing),
            }
        case "Chrf":
            return {
                "case": "lc" if metric.lowercase else "mixed",
                "eff": not metric.eps_smoothing,
                "nc": metric.char_order,
                "nw": metric.word_order,
                "space": metric.whitespace,
            }
        case "Ter":
            return {
                "case": "mixed" if metric.case_sensitive else "lc",
                "tok": "tercom",
                "norm": metric.normalized,
                "punct": not metric.no_punct,
                "asian": metric.asian_support,
            }
        case "Rouge":
            return {"measure": metric.measure, "stem": metric.stem}
    return {
        "case": "lc" if metric.lowercase else "mixed",
        "punct": not metric.remove_punctuation,
        "unit": metric.unit,
    }
