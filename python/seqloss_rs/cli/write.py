"""Lines on their way out: a JSON object or a row of CSV for each sample.

A file is written under a temporary name beside its own and takes its name when it is whole: what stands under that name
is never half of an output.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, Protocol

from .errors import DataError

__all__ = ["FORMATS", "STANDARD_OUTPUT", "Writer", "destination", "open_writer", "to_json"]

FORMATS = ("jsonl", "csv")
STANDARD_OUTPUT = "-"


class Writer(Protocol):
    """Takes the fields of one sample after the other."""

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write one sample."""


@contextlib.contextmanager
def open_writer(path: str | None, form: str) -> Iterator[Writer]:
    """Open a writer to a file, which is there under its name once all has gone well.

    Parameters
    ----------
    path : str, optional
        Where to; `-` is standard output, None is nowhere.
    form : str
        One of `FORMATS`.
    """
    if path is None:
        yield _Nowhere()
        return
    with destination(path) as stream:
        if form == "jsonl":
            yield _Lines(stream)
        else:
            with tempfile.TemporaryFile() as spool:
                table = _Table(spool)
                yield table
                table.finish(stream)


ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def to_json(fields: Mapping[str, Any]) -> str:
    """Write valid JSON: a number that is not finite is null, since JSON has no other word for it."""
    try:
        return ENCODER.encode(fields)
    except ValueError:
        return ENCODER.encode(_finite(fields))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


@contextlib.contextmanager
def destination(path: str) -> Iterator[IO[bytes]]:
    """Open a file that takes its name at the end; `-` is standard output."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise DataError("cannot be written: it is a directory", file=path)
    # A pipe or a device has a meaning under its own name only; a link stays a link to what is replaced.
    target = os.path.realpath(path) if stat.S_ISREG(mode) else path
    temporary = f"{target}.{os.getpid()}.part" if stat.S_ISREG(mode) else target
    try:
        with open(temporary, "wb") as stream:
            yield stream
        if temporary != target:
            os.replace(temporary, target)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", file=path) from None
    finally:
        if temporary != target:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


class _Nowhere:
    def write(self, fields: Mapping[str, Any]) -> None:
        """Write nothing."""


class _Lines:
    """A JSON object on each line. A loss that is not finite is null, and `nonfinite` says what it is."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write one sample."""
        self._stream.write(_line(_with_word(fields)))


def _with_word(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    loss = fields["loss"]
    if math.isfinite(loss):
        return fields
    marked = {}
    for name, value in fields.items():
        marked[name] = value
        if name == "loss":
            marked["nonfinite"] = str(loss)
    return marked


def _line(fields: Mapping[str, Any]) -> bytes:
    text = to_json(fields)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair came in as an escape, and can go out only as one.
        return json.dumps(json.loads(text)).encode("ascii") + b"\n"


class _Table:
    """Rows of CSV. The columns are known when the last sample is, so the samples wait on the disk."""

    def __init__(self, spool: IO[bytes]):
        self._spool = spool
        self._columns: dict[str, None] = {}

    def write(self, fields: Mapping[str, Any]) -> None:
        """Take one sample."""
        self._columns.update(dict.fromkeys(fields))
        self._spool.write(json.dumps(fields).encode("ascii") + b"\n")

    def finish(self, stream: IO[bytes]) -> None:
        """Write all of them."""
        self._spool.seek(0)
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="")
        rows = csv.DictWriter(text, list(self._columns))
        rows.writeheader()
        for line in self._spool:
            rows.writerow({name: _cell(value) for name, value in json.loads(line).items()})
        text.flush()
        text.detach()


def _cell(value: Any) -> Any:
    """Write a value as CSV has it: text as it is, true and false as in JSON, lists and objects as JSON."""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else _structured(value)


def _structured(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
