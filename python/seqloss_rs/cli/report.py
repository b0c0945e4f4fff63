"""`seqloss report`: the output of `seqloss score` as one page with pictures."""

from __future__ import annotations

import argparse
import csv
import heapq
import io
import json
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .errors import DataError, UsageError
from .lines import lines_of, parse
from .metrics import METRICS
from .page import Line, Scores, page
from .read import open_file
from .write import STANDARD_OUTPUT, destination

__all__ = ["add_parser"]

DESCRIPTION = """\
Makes one HTML page of the lines that `seqloss score -o` has written: the distribution of the loss, the loss against
the length, the worst samples, and for CTC the emissions of the worst lines with the most likely class of each frame.
For those the data file is read again, from where the lines say it is, or from --data. The page is a single file, opens
without a network and runs no script.
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report", help="a page with pictures from the output of score", description=DESCRIPTION
    )
    parser.add_argument("lines", metavar="LINES", help="output of score, .jsonl or .csv; - is standard input")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the page, .html; - is standard output")
    parser.add_argument(
        "--data", metavar="FILE", action="append", default=[], help="where a data file is now; matched by its name"
    )
    parser.add_argument(
        "--by", metavar="METRIC", choices=list(METRICS), help="which metric of texts is the loss (default: the first)"
    )
    parser.add_argument("--worst", metavar="N", type=_count, default=20, help="rows of the table (default: 20)")
    parser.add_argument("--emissions", metavar="N", type=_count, default=6, help="lines with a picture (default: 6)")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1000")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Read the lines and write the page."""
    if arguments.output != STANDARD_OUTPUT and os.path.realpath(arguments.output) == os.path.realpath(arguments.lines):
        raise UsageError(f"-o {arguments.output} is the file that is read")
    scores = _gather(arguments.lines, max(arguments.worst, arguments.emissions), arguments.by)
    content = page(scores, arguments.worst, arguments.emissions, arguments.data)
    with destination(arguments.output) as stream:
        stream.write(content.encode("utf-8", "replace"))
    return 0


def _gather(path: str, keep: int, metric: str | None) -> Scores:
    losses, lengths = array("d"), array("d")
    functions: set[str] = set()
    worst: list[tuple[float, int, Line]] = []
    for number, line in _read(path):
        loss = _loss(path, number, line) if metric is None else _metric_loss(path, number, line, metric)
        losses.append(loss)
        lengths.append(_number(line.get("length")))
        functions.add(str(line.get("function", "")))
        # A sum that is no number at all is the worst that a sample can be.
        rank = math.inf if math.isnan(loss) else loss
        item = (rank, -len(losses), {**line, "loss": loss})
        if len(worst) < keep:
            heapq.heappush(worst, item)
        elif keep:
            heapq.heappushpop(worst, item)
    if not losses:
        raise DataError("holds no samples", file=path)
    ordered = [line for _, _, line in sorted(worst, key=lambda item: item[:2], reverse=True)]
    return Scores(path, np.frombuffer(losses), np.frombuffer(lengths), ordered, functions, metric)


def _read(path: str) -> Iterator[tuple[int, Line]]:
    with open_file(path) as stream:
        start = stream.peek(4096).lstrip()
        if start.startswith(b"{"):
            for number, text, _ in lines_of(stream, path):
                if text.strip():
                    yield number, parse(text, path, number)
            return
        content = io.TextIOWrapper(stream, encoding="utf-8", errors="strict", newline="")
        rows = csv.reader(content)
        try:
            names = next(rows, [])
            if "loss" not in names:
                raise DataError("is neither lines of JSON nor CSV with a column 'loss'", file=path)
            for cells in filter(None, rows):
                yield rows.line_num, _typed(names, cells)
        except UnicodeDecodeError:
            raise DataError("is neither lines of JSON nor CSV: it is no text in UTF-8", file=path) from None
        except csv.Error as error:
            raise DataError(f"is not CSV: {error}", file=path, record=f"line {rows.line_num}") from None


TEXTS = {"file", "function", "system", "text", "target", "hypothesis", "reference"}


def _typed(names: Sequence[str], cells: Sequence[str]) -> Line:
    """Return a row of CSV as the line of JSON that it stands for."""
    line: Line = {}
    for name, cell in zip(names, cells, strict=False):
        if not cell and name not in TEXTS:
            continue
        try:
            line[name] = cell if name in TEXTS else json.loads(cell)
        except (ValueError, RecursionError):
            line[name] = cell
        if name == "loss":
            try:
                line[name] = float(cell)
            except ValueError:
                line[name] = cell
    return line


def _loss(path: str, number: int, line: Line) -> float:
    if "loss" not in line:
        raise DataError("is missing", file=path, record=f"line {number}", field="loss")
    value = line["loss"]
    if value is None:
        word = line.get("nonfinite")
        return float(word) if word in ("inf", "-inf") else math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"expected a number or null, got {value!r}", file=path, record=f"line {number}", field="loss")
    return _number(value)


def _metric_loss(path: str, number: int, line: Line, metric: str) -> float:
    """Return the loss by one of the scores that a line holds."""
    value = line.get(metric)
    if metric not in str(line.get("function", "")) or isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"expected a score by {metric}", file=path, record=f"line {number}", field=metric)
    return float(METRICS[metric].loss(np.array([_number(value)]))[0])


def _number(value: object) -> float:
    """Return the number that a value is; infinity for an integer beyond all floats, NaN for what is none."""
    try:
        return float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return math.inf
