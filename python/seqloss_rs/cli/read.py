"""Data files on their way in: each becomes batches, and a batch is the arguments of one call.

Whatever a file lacks is said here, with its place: what a function of the package would say of an argument in a call, a
user of the program must be told of a record in a file.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Collection, Iterator
from typing import Any

from .arrays import read_arrays
from .batch import Batch
from .errors import DataError
from .lines import read_lines
from .loss import Loss
from .names import STANDARD_INPUT, shown

__all__ = ["open_file", "read_file"]

GZIP = b"\x1f\x8b"
COMPRESSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def read_file(path: str, loss: Loss, options: dict[str, Any], ignored: Collection[str] = ()) -> Iterator[Batch]:
    """Yield the batches of a data file.

    Parameters
    ----------
    path : str
        An `.npz` or lines of JSON; `-` is standard input.
    loss : Loss
        Whose arguments the file holds.
    options : dict
        The options of the call.
    ignored : collection of str
        Arrays or fields that are no arguments, whatever their names.

    Yields
    ------
    Batch
        In the order of the file.

    Raises
    ------
    DataError
        Where the file cannot be understood.
    """
    with open_file(path) as stream:
        start = stream.peek(8)[:8]
        if start.startswith(b"\x93NUMPY"):
            raise DataError("is an .npy of one array; save the arguments by their names in an .npz", file=shown(path))
        if start.startswith(b"PK"):
            if not stream.seekable() or path == STANDARD_INPUT or isinstance(stream.raw, gzip.GzipFile):
                message = "an .npz cannot be read from a pipe or out of gzip; give the file's name"
                raise DataError(message, file=shown(path))
            batches = read_arrays(path, loss, options, ignored)
        elif path.endswith(".npz"):
            raise DataError(f"is not an .npz (a zip archive): it begins with {start!r}", file=shown(path))
        else:
            if options.get("layout", "NTC") != "NTC":
                raise DataError(
                    "a line holds one sequence (T, C); layout is for the arrays of an .npz", file=shown(path)
                )
            batches = read_lines(stream, path, loss, options, ignored)
        yield from batches


@contextlib.contextmanager
def open_file(path: str) -> Iterator[io.BufferedReader]:
    """Open a file's bytes, unpacked from gzip, when it is one that can be read at all."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.dup(0) if path == STANDARD_INPUT else os.open(path, os.O_RDONLY)
            stream = stack.enter_context(os.fdopen(descriptor, "rb"))
            start = stream.peek(8)
            if start.startswith(GZIP):
                unpacked: Any = gzip.GzipFile(fileobj=stream)
                stream = stack.enter_context(io.BufferedReader(unpacked))
                start = stream.peek(8)
            if not start:
                raise DataError("is empty", file=shown(path))
            for magic, name in COMPRESSED.items():
                if start.startswith(magic):
                    raise DataError(
                        f"is compressed by {name}; unpack it first, or into a pipe and give -", file=shown(path)
                    )
            yield stream
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"is damaged: gzip cannot unpack it ({error})", file=shown(path)) from None
        except OSError as error:
            raise DataError(error.strerror or str(error), file=shown(path)) from None
