"""`seqloss merge`: one summary of what `seqloss score --state` has summed up in parts."""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import math
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

import seqloss_rs

from .batch import Batch
from .errors import DataError, UsageError
from .losses import loss_of
from .names import shown as shown_name
from .summary import Summary, add_up, head, print_summary
from .write import STANDARD_OUTPUT, destination

__all__ = ["State", "add_parser", "settings_of"]

DESCRIPTION = """\
Puts together what several runs of "seqloss score --state STATE" have summed up: on parts of the data, in any order, on
any number of machines. The sums have the same bits as those of one run over everything. States of different losses, or
of one loss with different options or class weights, do not merge.
"""
EPILOG = """\
output:
  The summary of one run over everything, without median and p95, which need every loss; states is how many there are,
  and an array among the options is named by its dtype, its shape and a digest. A table on a terminal, JSON elsewhere.

exit status: 0 merged, 1 bad data, 2 bad usage
"""
FORM = "seqloss state 1"


@dataclass
class State:
    """What is known of samples that were scored with the same settings, in sums and counts.

    As a file it is an object of JSON on one line: this format's name, the checksum of the rest, and the rest; a LossSum
    is its bytes in base 64.

    Attributes
    ----------
    settings : dict
        The loss, and its options.
    finite, nonfinite : LossSum
        Of the losses that are finite, and of the others.
    most : float, optional
        The largest finite loss, if there is one.
    tallies : dict
        What the loss adds up besides: integers, lists of integers, or LossSums.
    """

    settings: dict[str, Any]
    finite: seqloss_rs.LossSum
    nonfinite: seqloss_rs.LossSum
    most: float | None
    tallies: dict[str, Any]

    @classmethod
    def of(cls, summary: Summary, settings: dict[str, Any]) -> Self:
        """Return that of a run."""
        finite = summary.losses[np.isfinite(summary.losses)]
        return cls(settings, *summary.sums, float(finite.max()) if finite.size else None, summary.tallies)

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a file."""
        try:
            with open(path, "rb") as stream:
                content = json.loads(stream.read())
            if not isinstance(content, dict) or content.pop("form", None) != FORM:
                raise DataError(f"is not a {FORM}, as score --state writes it", file=shown_name(path))
            if content.pop("checksum", None) != _checksum(content):
                raise DataError("is damaged: its checksum does not fit", file=shown_name(path))
            return cls(**{name: _loaded(value) for name, value in content.items()})
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", file=shown_name(path)) from None
        except (ValueError, RecursionError, TypeError, binascii.Error):
            raise DataError(f"is not a {FORM}, as score --state writes it", file=shown_name(path)) from None

    def write(self, path: str) -> None:
        """Write a file."""
        content = {name: _stored(value) for name, value in vars(self).items()}
        text = json.dumps({"form": FORM, "checksum": _checksum(content), **content})
        with destination(path) as stream:
            stream.write(text.encode("ascii") + b"\n")

    def merge(self, other: State) -> None:
        """Add what another one knows."""
        own, others = (seqloss_rs.LossSum(state.settings) for state in (self, other))
        own.merge(others)
        self.finite.merge(other.finite)
        self.nonfinite.merge(other.nonfinite)
        known = [most for most in (self.most, other.most) if most is not None]
        self.most = max(known) if known else None
        add_up(self.tallies, other.tallies)

    def result(self) -> dict[str, Any]:
        """Return the summary."""
        options = {name: value for name, value in self.settings.items() if name != "loss"}
        loss = loss_of(self.settings["loss"])
        return {
            **head(loss, self.finite, self.nonfinite),
            "max": math.nan if self.most is None else self.most,
            **(loss.conclude(self.tallies, self.finite.value, options) if self.tallies else {}),
            "options": options,
        }


def settings_of(loss: str, batch: Batch | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a batch is scored with: words and numbers, and of arrays that belong to all samples a digest."""
    own = {} if batch is None else {name: value for name, value in batch.arguments.items() if name not in batch.axes}
    given = {**({} if batch is None else batch.options), **own, **options}
    return {
        **{name: _digest(value) if isinstance(value, np.ndarray) else value for name, value in given.items()},
        "loss": loss,
    }


def _digest(array: np.ndarray[Any, Any]) -> str:
    return f"{array.dtype} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]}"


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode("ascii"))


def _stored(value: Any) -> Any:
    """Return the same, as JSON has it."""
    if isinstance(value, seqloss_rs.LossSum):
        return {"LossSum": base64.b64encode(value.to_bytes()).decode("ascii")}
    if isinstance(value, dict):
        return {name: _stored(item) for name, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _loaded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"LossSum"}:
            return seqloss_rs.LossSum.from_bytes(base64.b64decode(value["LossSum"]))
        return {
            name: np.array(item, np.int64) if name.endswith("statistics") else _loaded(item)
            for name, item in value.items()
        }
    return value


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "merge",
        help="one summary of the states that score --state has written",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="STATE", help="what score --state has written")
    parser.add_argument("--state", metavar="FILE", help="write the merged state, to be merged again")
    parser.add_argument(
        "--json", action=argparse.BooleanOptionalAction, help="the summary as JSON (default: not on a terminal)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Merge the files of the command line."""
    if arguments.state == STANDARD_OUTPUT:
        raise UsageError("--state -: a state needs a file of its own")
    total = State.read(arguments.files[0])
    for path in arguments.files[1:]:
        part = State.read(path)
        try:
            total.merge(part)
        except ValueError as error:
            raise DataError(str(error), file=shown_name(path)) from None
    if arguments.state is not None:
        total.write(arguments.state)
    result = total.result()
    options = result.pop("options")
    result |= {"states": len(arguments.files), "options": options, "version": seqloss_rs.__version__}
    print_summary(result, sys.stdout, not sys.stdout.isatty() if arguments.json is None else arguments.json)
    return 0
