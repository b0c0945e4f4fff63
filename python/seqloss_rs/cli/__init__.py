"""The program `seqloss`, which is `python -m seqloss_rs` too.

One room for each command; `losses.py` is the list of what can be scored. Nothing of this is imported with the package.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

import seqloss_rs

from . import align, doctor, merge, report, score
from .errors import CommandError, UsageError, one_line
from .losses import loss_of
from .options import flag

__all__ = ["main"]

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; those of the process if None.

    Returns
    -------
    int
        The exit status: 0, 1 for bad data, 2 for bad usage; as shells have it, 130 after Ctrl-C and 141 when
        the reader of the output has gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a letter gets its number; as JSON has it, so that a summary stays JSON.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = _parse(sys.argv[1:] if argv is None else list(argv))
        # Where a statistic of huge losses is beyond all floats, infinity is the answer and needs no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except CommandError as error:
        return _fail(str(error), error.status)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end, and must find no closed pipe there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except MemoryError:
        return _fail("out of memory", 1)
    except Exception as error:
        if os.environ.get("SEQLOSS_DEBUG"):
            raise
        text = f"this is a bug, please report it ({type(error).__name__}: {error}); SEQLOSS_DEBUG=1 shows where"
        return _fail(one_line(text), 1)


def _fail(message: str, status: int) -> int:
    print(f"seqloss: {message}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def __init__(self, *arguments: Any, **keywords: Any):
        # A shortened flag would change its meaning with the next flag that is added.
        super().__init__(*arguments, **{"allow_abbrev": False, **keywords})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; the usage is a `--help` away."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def _with_values(argv: Sequence[str]) -> list[str]:
    """Put negative numbers to the flag before them: argparse takes such as -1e-3 and -1,-2 for flags."""
    words: list[str] = []
    for word in argv:
        if words and re.match(r"-\.?\d", word) and re.fullmatch(r"--[a-z][a-z-]*", words[-1]):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="seqloss", description="Losses for sequences: scores data files, and reports.")
    parser.add_argument("--version", action="version", version=f"seqloss {seqloss_rs.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    score.add_parser(commands, argv)
    for command in (align, merge, report, doctor):
        command.add_parser(commands)
    arguments, rest = parser.parse_known_args(_with_values(argv))
    # argparse takes positional arguments from one place only; files may stand on both sides of an option.
    if rest and not (hasattr(arguments, "files") and all(word == "-" or not word.startswith("-") for word in rest)):
        raise UsageError(f"unknown argument: {rest[0]}{_meant(arguments, rest[0])}")
    if rest:
        arguments.files += rest
    return arguments


def _meant(arguments: argparse.Namespace, unknown: str) -> str:
    """Name the flags that several metrics have instead of one, and where the others are told."""
    command = f"{arguments.command} {arguments.loss}" if arguments.command == "score" else arguments.command
    name = unknown.partition("=")[0].removeprefix("--no-").removeprefix("--")
    options = loss_of(arguments.loss).options if arguments.command == "score" else {}
    own = [flag(option) for option in options if flag(option).endswith(f"-{name}")]
    hint = f"; here it is {' and '.join(own)}" if own and name else ""
    return f"{hint} (see seqloss {command} --help)"
