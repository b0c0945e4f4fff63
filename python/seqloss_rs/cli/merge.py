"""`seqloss merge`: one summary of what `seqloss score --state` has summed up in parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .errors import DataError, UsageError
from .names import shown as shown_name
from .options import shown
from .summary import print_summary
from .write import STANDARD_OUTPUT, destination

__all__ = ["add_parser", "write_state"]

DESCRIPTION = """\
Puts together what several runs of "seqloss score --state STATE" have summed up: on parts of the data, in any order, on
any number of machines. The sum has the same bits as that of one run over everything. States of different losses, or of
one loss with different options, do not merge.
"""
EPILOG = """\
output:
  finite is the number of finite losses, sum and mean are over them. A table on a terminal, JSON elsewhere.

exit status: 0 merged, 1 bad data, 2 bad usage
"""


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
    total: seqloss_rs.LossSum | None = None
    for path in arguments.files:
        try:
            with open(path, "rb") as stream:
                part = seqloss_rs.LossSum.from_bytes(stream.read())
            if total is None:
                total = part
            else:
                total.merge(part)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", file=shown_name(path)) from None
        except ValueError as error:
            raise DataError(str(error), file=shown_name(path)) from None
    assert total is not None, "argparse asks for one file at least"
    if arguments.state is not None:
        _write(arguments.state, total)
    result = {
        "settings": total.settings,
        "finite": total.count,
        "sum": total.value,
        "mean": total.mean,
        "states": len(arguments.files),
        "options": {},
        "version": seqloss_rs.__version__,
    }
    print_summary(result, sys.stdout, not sys.stdout.isatty() if arguments.json is None else arguments.json)
    return 0


def write_state(path: str, loss: str, options: Mapping[str, Any], losses: npt.NDArray[np.float64]) -> None:
    """Write the sum of the finite losses of samples, for `seqloss merge`."""
    state = seqloss_rs.LossSum({**shown(options), "loss": loss})
    state.update(losses, mask=np.isfinite(losses))
    _write(path, state)


def _write(path: str, state: seqloss_rs.LossSum) -> None:
    with destination(path) as stream:
        stream.write(state.to_bytes())
