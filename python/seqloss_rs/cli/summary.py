"""The summary of all samples.

The median and the 95th percentile are exact, so the losses are kept: 8 bytes a sample, and as much again at the end.
"""

from __future__ import annotations

import importlib.util
import math
from array import array
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .loss import Loss, Scored
from .options import shown
from .tables import WIDTH, score_lines
from .write import to_json

__all__ = ["Summary", "add_up", "exact_sum", "head", "print_summary", "print_table"]


class Summary:
    """Adds up what batches give; keeps the statistics of texts where corpora will be resampled."""

    def __init__(self, keeps_rows: bool = False) -> None:
        self._losses = array("d")
        self.tallies: dict[str, Any] = {}
        self._keeps_rows = keeps_rows
        self._rows: dict[str, list[npt.NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self._losses)

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """All losses so far."""
        return np.frombuffer(self._losses, dtype=np.float64)

    def add(self, scored: Scored) -> None:
        """Take one batch more."""
        self._losses.frombytes(scored.losses.tobytes())
        add_up(self.tallies, scored.tallies)
        if self._keeps_rows:
            for name, rows in scored.rows.items():
                self._rows.setdefault(name, []).append(rows)

    def rows(self, metric: str) -> npt.NDArray[np.int64]:
        """Return the statistics of all samples by a metric, where they are kept."""
        blocks = self._rows[metric]
        width = max(rows.shape[1] for rows in blocks)
        # A row of ROUGE has -1 for the references that others have and it lacks.
        return np.concatenate(
            [np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=-1) for rows in blocks]
        )

    @property
    def sums(self) -> tuple[seqloss_rs.LossSum, seqloss_rs.LossSum]:
        """The sum of the finite losses, and of the others."""
        finite, others = seqloss_rs.LossSum(), seqloss_rs.LossSum()
        is_finite = np.isfinite(self.losses)
        finite.update(self.losses, mask=is_finite)
        others.update(self.losses, mask=~is_finite)
        return finite, others

    def result(self, loss: Loss, options: Mapping[str, Any], files: int, seconds: float) -> dict[str, Any]:
        """Return what is known at the end.

        Losses that are not finite are counted, and are in none of the other numbers.
        """
        losses = self.losses
        finite = losses[np.isfinite(losses)]
        known = bool(finite.size)
        total, nonfinite = self.sums
        return {
            **head(loss, total, nonfinite),
            "median": float(np.median(finite)) if known else math.nan,
            "p95": float(np.percentile(finite, 95)) if known else math.nan,
            "max": float(finite.max()) if known else math.nan,
            **(loss.conclude(self.tallies, total.value, options) if self.tallies else {}),
            "seconds": round(seconds, 3),
            "files": files,
            "options": shown(options),
            "version": seqloss_rs.__version__,
        }


def head(loss: Loss, finite: seqloss_rs.LossSum, nonfinite: seqloss_rs.LossSum) -> dict[str, Any]:
    """Return what the summary of one run and that of merged ones begin with."""
    return {
        "loss": loss.name,
        "count": finite.count + nonfinite.count,
        "nonfinite": nonfinite.count,
        "sum": finite.value,
        "mean": finite.mean,
    }


def add_up(tallies: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add to tallies those of other samples."""
    for name, value in more.items():
        tallies[name] = tallies[name] + value if name in tallies else value


def exact_sum(values: npt.NDArray[np.float64]) -> float:
    """Add finite numbers without rounding on the way."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(math.inf, float(values[np.abs(values).argmax()]))


def print_summary(result: Mapping[str, Any], stream: IO[str], as_json: bool, width: int = WIDTH) -> None:
    """Write a summary: JSON on one line, or a table, and of texts a line for each metric."""
    if as_json:
        stream.write(to_json(result) + "\n")
        return
    rows = [(name, _written(value)) for name, value in result.items() if name not in ("options", "metrics")]
    rows[-1:-1] = [(f"--{name.replace('_', '-')}", str(value)) for name, value in result["options"].items()]
    print_table(rows, stream)
    if "metrics" in result:
        stream.write("\n" + score_lines(result["metrics"], width))


def print_table(rows: list[tuple[str, str]], stream: IO[str]) -> None:
    """Write names and values in two columns, with rich where it is installed."""
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, value in rows:
            table.add_row(Text(name), Text(value))
        Console(file=stream).print(table)
        return
    width = max(len(name) for name, _ in rows)
    breadth = max(len(value) for _, value in rows)
    for name, value in rows:
        stream.write(f"{name:<{width}}  {value:>{breadth}}\n")


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
