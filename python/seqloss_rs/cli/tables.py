"""Scores of texts for a reader: lines with signatures, and a table of systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import one_line

__all__ = ["WIDTH", "score_lines", "table"]

WIDTH = 2
# A p-value below this is marked, as that of an interval of 95 %.
LEVEL = 0.05

Found = Mapping[str, Any]


def score_lines(metrics: Mapping[str, Found], width: int | None) -> str:
    """Return a line for each metric: its signature, its score and what that is made of; no scores without a width."""
    names = [f"{found['name']}|{found['signature']}" for found in metrics.values()]
    if width is None:
        return "".join(f"{name}\n" for name in names)
    longest = max(map(len, names))
    return "".join(
        " ".join(filter(None, [f"{name:<{longest}} =", _score(found, width), _parts(found)])) + "\n"
        for name, found in zip(names, metrics.values(), strict=True)
    )


def _digits(found: Found, width: int) -> int:
    """Return how many digits show as much of a ratio as of a percentage."""
    is_percentage = any(part in found for part in ("precisions", "char_order", "edits"))
    return width if is_percentage else width + 2


def _score(found: Found, width: int) -> str:
    digits = _digits(found, width)
    text = f"{found['score']:.{digits}f}"
    if "mean" in found:
        text += f" (μ = {found['mean']:.{digits}f} ± {found['half_width']:.{digits}f})"
    return text


def _parts(found: Found) -> str:
    match found:
        case {"precisions": precisions, "hypothesis_length": length, "reference_length": reference_length}:
            ratio = length / reference_length if reference_length > 0 else 0.0
            return (
                f"{'/'.join(f'{precision:.1f}' for precision in precisions)} (BP = {found['brevity_penalty']:.3f} "
                f"ratio = {ratio:.3f} hyp_len = {length} ref_len = {reference_length})"
            )
        case {"edits": edits, "reference_length": reference_length}:
            return f"(edits = {edits} ref_len = {reference_length:g})"
        case {"precision": precision, "recall": recall, "f": f}:
            return f"(P = {precision:.4f} R = {recall:.4f} F = {f:.4f})"
        case {"hits": hits, "substitutions": substitutions, "deletions": deletions, "insertions": insertions}:
            return f"(hits = {hits} sub = {substitutions} del = {deletions} ins = {insertions})"
        case {"matches": matches, "ngrams": ngrams}:
            return f"(matches = {matches} ngrams = {ngrams})"
        case {"hypothesis_length": length, "reference_length": reference_length}:
            return f"(hyp_len = {length} ref_len = {reference_length})"
        case {"count": count}:
            return f"(answers = {count})"
    return ""


def table(results: Mapping[str, Found], width: int, is_latex: bool = False) -> str:
    """Return a table of systems by metrics.

    Parameters
    ----------
    results : dict
        The summary of each system by its name; the first is what others are compared with.
    width : int
        Digits after the point; ratios have two more.
    is_latex : bool
        Whether it is for LaTeX rather than for a terminal.
    """
    first, *_ = results.values()
    rows = [["System", *(found["name"] for found in first["metrics"].values())]]
    is_tested = any("p_value" in found for found in first["metrics"].values())
    for place, (system, result) in enumerate(results.items()):
        name = f"Baseline: {system}" if is_tested and place == 0 else system
        rows.append([one_line(name), *(_cell(found, width) for found in result["metrics"].values())])
    if is_latex:
        return _latex(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    remark = [f"* differs from the baseline at p < {LEVEL:g}"] if is_tested else []
    return "\n".join([*lines, *remark]) + "\n"


def _cell(found: Found, width: int) -> str:
    digits = _digits(found, width)
    text = f"{found['score']:.{digits}f}"
    if "mean" in found:
        text += f" ({found['mean']:.{digits}f} ± {found['half_width']:.{digits}f})"
    if found.get("p_value") is not None:
        text += f" (p = {found['p_value']:.4f}){'*' if found['p_value'] < LEVEL else ''}"
    return text


SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "*": r"$^*$", "<": r"\textless{}", ">": r"\textgreater{}"},
}


def _latex(rows: list[list[str]]) -> str:
    head, *body = [" & ".join("".join(SPECIAL.get(letter, letter) for letter in cell) for cell in row) for row in rows]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}", r"\hline", rf"{head} \\", r"\hline"]
    return "\n".join([*lines, *(rf"{row} \\" for row in body), r"\hline", r"\end{tabular}"]) + "\n"
