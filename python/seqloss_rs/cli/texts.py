"""What `seqloss score` does besides where texts are scored: several systems, intervals, tests, and lines of scores."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import IO, Any

from .batch import Batch
from .compared import drawing_of
from .errors import UsageError
from .loss import Options
from .metrics import TextLoss
from .summary import Summary, print_summary
from .tables import WIDTH, score_lines, table
from .write import to_json

__all__ = ["TextRun", "add_text_flags"]

TEXTS = ("hypothesis", "reference", "references")


def add_text_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of plain text, and of how scores are shown."""
    parser.add_argument(
        "-i",
        "--hyp",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="plain text, a hypothesis on each line; several files are several systems; - is standard input, where "
        "tabs stand between several systems (default: - where there is --ref)",
    )
    parser.add_argument(
        "--ref",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="plain text, a reference on each line; several files are several references",
    )
    parser.add_argument(
        "--texts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="hypothesis and reference in the lines of the output (default: yes)",
    )
    parser.add_argument("--latex", action="store_true", help="the summary as a table for LaTeX")
    parser.add_argument(
        "-w",
        "--width",
        metavar="N",
        type=_digits,
        default=WIDTH,
        help=f"digits after the point in the summary, two more for ratios (default: {WIDTH}); JSON has all of them",
    )


def _digits(text: str) -> int:
    if text not in map(str, range(13)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 12")
    return int(text)


class TextRun:
    """A run over texts.

    Parameters
    ----------
    arguments : argparse.Namespace
        The command line.
    loss : TextLoss
        What is scored.
    """

    def __init__(self, arguments: argparse.Namespace, loss: TextLoss):
        if arguments.latex and arguments.json:
            raise UsageError("either --json or --latex, not both")
        self._arguments = arguments
        self._loss = loss
        self.drawing = drawing_of(arguments)

    def check(self, group: Sequence[Batch]) -> None:
        """Refuse what does not go with as many systems as there are."""
        if len(group) < 2 and self.drawing is not None and self.drawing.test is not None:
            raise UsageError("--paired-bs and --paired-ar compare systems, and there is only one: give --hyp FILE FILE")
        if len(group) > 1 and self._arguments.state is not None:
            raise UsageError(f"--state holds one system, and there are {len(group)}")

    def line(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what is written of a sample."""
        if self._arguments.texts:
            return fields
        return {name: value for name, value in fields.items() if name not in TEXTS}

    def finish(
        self,
        summaries: Mapping[str, Summary],
        results: dict[str, dict[str, Any]],
        options: Options,
        stream: IO[str],
        as_json: bool,
    ) -> None:
        """Draw what is to be drawn, and write the summary of all systems."""
        if not all("metrics" in result for result in results.values()):
            # Without a text there is nothing to score, to draw from or to put into a table.
            print_summary(next(iter(results.values())), stream, as_json)
            return
        if self.drawing is not None:
            self.drawing.add(self._loss, summaries, results, options)
        settings = {} if self.drawing is None else {"drawn": self.drawing.settings}
        width = self._arguments.width
        if self._arguments.latex:
            stream.write(table(results, width, is_latex=True))
        elif len(results) == 1:
            (result,) = results.values()
            print_summary({**result, **settings} if as_json else result, stream, as_json, width)
        elif as_json:
            stream.write(to_json({"systems": [_named(*item) for item in results.items()], **settings}) + "\n")
        else:
            first, *_ = results.values()
            stream.write(table(results, width) + "\n" + score_lines(first["metrics"], None))


def _named(system: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"system": system, **result}
