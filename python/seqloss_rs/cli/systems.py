"""Plain text: the hypotheses of one system or several, and what they are compared with, line by line."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

from .batch import Batch
from .errors import DataError
from .lines import Line, blocks, lines_of, share, size_of
from .names import STANDARD_INPUT, shown
from .read import open_file

__all__ = ["read_systems"]


def read_systems(hypotheses: Sequence[str], references: Sequence[str]) -> Iterator[list[Batch]]:
    """Yield the batches of text files, one for each system: line i of every file belongs together.

    Parameters
    ----------
    hypotheses : sequence of str
        A file for each system; standard input alone may have several in columns, with tabs between them.
    references : sequence of str
        The files of the references. An empty line is a reference without words.
    """
    paths = [*hypotheses, *references]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(open_file(path)) for path in paths]
        readers = [lines_of(stream, path) for stream, path in zip(streams, paths, strict=True)]
        size = size_of(paths[0], streams[0])
        consumed = 0
        systems: list[str] = []
        for block in blocks(_side_by_side(readers, paths), whole=False):
            consumed += sum(length for _, _, length in block)
            rows = [_columns(texts[: len(hypotheses)], hypotheses, number, systems) for number, texts, _ in block]
            right = [texts[len(hypotheses) :] for _, texts, _ in block]
            name = "reference" if len(references) == 1 else "references"
            answers = [texts[0] if len(references) == 1 else texts for texts in right]
            yield [
                Batch(
                    file=hypotheses[place] if len(hypotheses) > 1 else hypotheses[0],
                    records=[number for number, _, _ in block],
                    record_noun="line",
                    arguments={"hypotheses": list(column), "references": answers},
                    axes={"hypotheses": 0, "references": 0},
                    kept=[{"hypothesis": text, name: answer} for text, answer in zip(column, answers, strict=True)],
                    system=system if len(systems) > 1 else "",
                    done=share(consumed, size),
                )
                for place, (system, column) in enumerate(zip(systems, zip(*rows, strict=True), strict=True))
            ]


def _columns(texts: list[str], paths: Sequence[str], number: int, systems: list[str]) -> list[str]:
    """Return the text of each system; the first line says how many there are, and fills in their names."""
    if list(paths) == [STANDARD_INPUT]:
        texts = texts[0].split("\t")
    if not systems:
        systems.extend(paths if len(paths) > 1 else [f"System {place + 1}" for place in range(len(texts))])
    if len(texts) != len(systems):
        counts = f"expected {len(systems)} columns with tabs between them as in the first line, got {len(texts)}"
        raise DataError(counts, file=shown(STANDARD_INPUT), record=f"line {number}")
    return texts


def _side_by_side(readers: list[Iterator[Line]], paths: list[str]) -> Iterator[tuple[int, list[str], int]]:
    """Yield one line of each file at a time, until all of them end together."""
    for number in itertools.count(1):
        rows = [next(reader, None) for reader in readers]
        present = [row for row in rows if row is not None]
        if not present:
            return
        if len(present) < len(rows):
            short, long = rows.index(None), rows.index(present[0])
            lines = number + sum(1 for _ in readers[long])
            raise DataError(
                f"has {_lines(number - 1)}, and {shown(paths[long])} has {_lines(lines)}: lines belong together",
                file=shown(paths[short]),
            )
        yield number, [text for _, text, _ in present], present[0][2]


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"
