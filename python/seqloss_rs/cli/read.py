"""Data files on their way in: each becomes batches, and a batch is the arguments of one call.

Whatever a file lacks is said here, with its place: what a function of the package would say of an argument in a call, a
user of the program must be told of a record in a file.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from .arrays import read_arrays
from .batch import Batch
from .errors import DataError
from .lines import Line, blocks, lines_of, read_lines, share, size_of
from .losses import Loss
from .names import STANDARD_INPUT, shown

__all__ = ["open_file", "read_file", "read_text"]

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


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
            if not stream.seekable() or path == STANDARD_INPUT:
                raise DataError("an .npz cannot be read from a pipe; give the file's name", file=shown(path))
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


def read_text(hypotheses: str, references: Sequence[str]) -> Iterator[Batch]:
    """Yield the batches of plain text files: line i of each reference belongs to line i of the hypotheses."""
    paths = [hypotheses, *references]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(open_file(path)) for path in paths]
        readers = [lines_of(stream, path) for stream, path in zip(streams, paths, strict=True)]
        size = size_of(hypotheses)
        consumed = 0
        for block in blocks(_side_by_side(readers, paths), whole=False):
            consumed += sum(length for _, _, length in block)
            pairs = [texts for _, texts, _ in block]
            hypothesis_lines = [texts[0] for texts in pairs]
            reference_lines = [texts[1] if len(texts) == 2 else texts[1:] for texts in pairs]
            name = "reference" if len(references) == 1 else "references"
            yield Batch(
                file=hypotheses,
                records=[number for number, _, _ in block],
                record_noun="line",
                arguments={"hypotheses": hypothesis_lines, "references": reference_lines},
                axes={"hypotheses": 0, "references": 0},
                kept=[
                    {"hypothesis": hypothesis, name: reference}
                    for hypothesis, reference in zip(hypothesis_lines, reference_lines, strict=True)
                ],
                done=share(consumed, size),
            )


def _side_by_side(readers: list[Iterator[Line]], paths: list[str]) -> Iterator[tuple[int, list[str], int]]:
    """Yield one line of each file at a time, until all of them end together."""
    for rows in itertools.zip_longest(*readers):
        present = [row for row in rows if row is not None]
        if len(present) < len(rows):
            shorter, longer = paths[rows.index(None)], paths[rows.index(present[0])]
            raise DataError(
                f"ends after line {present[0][0] - 1}, and {shown(longer)} goes on: lines belong together",
                file=shown(shorter),
            )
        number, _, length = present[0]
        yield number, [text for _, text, _ in present], length


@contextlib.contextmanager
def open_file(path: str) -> Iterator[io.BufferedReader]:
    """Open a file's bytes, when it is one that can be read at all."""
    stream = None
    try:
        stream = os.fdopen(os.dup(0) if path == STANDARD_INPUT else os.open(path, os.O_RDONLY), "rb")
        start = stream.peek(8)
        if not start:
            raise DataError("is empty", file=shown(path))
        for magic, name in COMPRESSED.items():
            if start.startswith(magic):
                raise DataError(
                    f"is compressed by {name}; unpack it first, or into a pipe and give -", file=shown(path)
                )
        yield stream
    except OSError as error:
        raise DataError(error.strerror or str(error), file=shown(path)) from None
    finally:
        if stream is not None:
            stream.close()
