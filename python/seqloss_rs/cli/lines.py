"""Files of lines: plain text, and objects of JSON that each are one sample."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import json
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .batch import BATCH_SAMPLES, LINE_BYTES, Batch
from .errors import DataError
from .loss import Argument, Loss
from .names import STANDARD_INPUT, held, meant_by, missing, shortened, shown, unknown

__all__ = ["Line", "blocks", "lines_of", "parse", "read_lines", "share", "size_of"]

# A line that is longer is not a line: /dev/zero, or a file of another kind.
LONGEST_LINE = 1 << 28


Line = tuple[int, str, int]
"""Its number from 1, its text, and how many bytes it took."""

_Item = TypeVar("_Item", Line, tuple[int, list[str], int])


def lines_of(stream: io.BufferedReader, path: str) -> Iterator[Line]:
    """Yield the lines of a file in UTF-8. Only a line feed ends one: other breaks belong to the text."""
    for number in itertools.count(1):
        raw = stream.readline(LONGEST_LINE)
        if not raw:
            return
        if len(raw) == LONGEST_LINE:
            raise DataError(f"is longer than {LONGEST_LINE >> 20} MiB", file=shown(path), record=f"line {number}")
        content = raw.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            content = content.removeprefix(codecs.BOM_UTF8)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"is not UTF-8: byte 0x{content[error.start]:02x} in place {error.start + 1}",
                file=shown(path),
                record=f"line {number}",
            ) from None
        yield number, text, len(raw)


def blocks(items: Iterator[_Item], whole: bool) -> Iterator[list[_Item]]:
    """Yield runs of lines, each the size of a batch; all of them in one where the loss wants them together."""
    block: list[_Item] = []
    size = 0
    for item in items:
        block.append(item)
        size += item[2]
        if not whole and (len(block) == BATCH_SAMPLES or size >= LINE_BYTES):
            yield block
            block, size = [], 0
    if block:
        yield block


def read_lines(
    stream: io.BufferedReader, path: str, loss: Loss, options: Mapping[str, Any], ignored: Collection[str]
) -> Iterator[Batch]:
    """Yield the batches of a file with a JSON object on each line."""
    reader = _TextRecords(path) if loss.is_text else _NumericRecords(path, loss, options, ignored)
    size = size_of(path, stream)
    consumed = count = 0
    lines = (line for line in lines_of(stream, path) if line[1].strip())
    for block in blocks(lines, loss.whole(options)):
        consumed += sum(length for _, _, length in block)
        count += len(block)
        records = [number for number, _, _ in block]
        objects = [parse(text, path, number) for number, text, _ in block]
        arguments, kept = reader.read(records, objects)
        yield Batch(
            file=path,
            records=records,
            record_noun="line",
            arguments=arguments,
            axes=dict.fromkeys(arguments, 0),
            kept=kept,
            done=share(consumed, size),
        )
    if not count:
        raise DataError("holds nothing but empty lines", file=shown(path))


def parse(text: str, path: str, number: int) -> dict[str, Any]:
    """Read the object of a line."""

    def fault(message: str) -> DataError:
        return DataError(message, file=shown(path), record=f"line {number}")

    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise fault(f"is not JSON: {error.msg} in column {error.colno}") from None
    except RecursionError:
        raise fault("is nested too deeply") from None
    except ValueError as error:
        raise fault(f"is not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise fault(f'expected an object such as {{"…": …}}, got {kind_of(value)}')
    return value


def kind_of(value: Any) -> str:
    """Say what a value of JSON is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the string {shortened(value)!r}"
    return "an array" if isinstance(value, list) else "an object"


class _Records:
    """Objects of a file, one after the other, that must be of one form."""

    def __init__(self, path: str):
        self._path = path

    def fault(self, message: str, number: int, field: str | None = None) -> DataError:
        """Return the error that says `message` of a field in a line."""
        return DataError(message, file=shown(self._path), record=f"line {number}", field=field)


class _TextRecords(_Records):
    """A hypothesis and what it is compared with on each line, as text, as tokens or as token ids."""

    def __init__(self, path: str):
        super().__init__(path)
        self._form: str | None = None

    def read(
        self, records: Sequence[int], objects: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the call's arguments, and what the output keeps: all of the line."""
        hypotheses, references = [], []
        for number, value in zip(records, objects, strict=True):
            if "hypothesis" not in value:
                raise self.fault(missing("hypothesis", value), number)
            if ("reference" in value) == ("references" in value):
                came = "both" if "reference" in value else held(value)
                raise self.fault(f"expected either 'reference' or 'references', got {came}", number)
            hypotheses.append(self._text(value["hypothesis"], number, "hypothesis"))
            if "reference" in value:
                references.append([self._text(value["reference"], number, "reference")])
                continue
            several = value["references"]
            if not isinstance(several, list):
                raise self.fault(
                    f"expected an array of references, got {kind_of(several)}; a single one goes into 'reference'",
                    number,
                    "references",
                )
            present = [self._text(reference, number, "references") for reference in several if reference is not None]
            if several and not present:
                raise self.fault("expected at least one reference, got nothing but null", number, "references")
            references.append(present)
        if self._form == "tokens":
            # An empty list may stand before the first that shows what the others hold.
            hypotheses = [list(text) for text in hypotheses]
            references = [[list(text) for text in texts] for texts in references]
        return {"hypotheses": hypotheses, "references": references}, objects

    def _text(self, value: Any, number: int, field: str) -> Any:
        is_list = isinstance(value, list)
        is_ids = is_list and all(type(item) is int for item in value)
        is_tokens = is_list and all(isinstance(item, str) for item in value)
        if not is_ids and not is_tokens and not isinstance(value, str):
            raise self.fault(
                f"expected a string, or an array of token ids or of tokens, got {kind_of(value)}", number, field
            )
        form = "text" if not is_list else "token ids" if is_ids else "tokens"
        # An empty array may be either.
        if value or not is_list:
            self._form = self._form or form
        if self._form is not None and (form != self._form if value or not is_list else self._form == "text"):
            raise self.fault(f"expected {self._form} as before it in this file, got {form}", number, field)
        try:
            if is_ids:
                return np.array(value, dtype=np.int64)
            for text in [value] if isinstance(value, str) else value:
                text.encode("utf-8")
        except OverflowError:
            raise self.fault("expected token ids of 64 bits, got a larger number", number, field) from None
        except UnicodeEncodeError:
            raise self.fault("holds half of a surrogate pair, which is no character", number, field) from None
        return value


class _NumericRecords(_Records):
    """The arguments of one sequence on each line, as lists."""

    def __init__(self, path: str, loss: Loss, options: Mapping[str, Any], ignored: Collection[str]):
        super().__init__(path)
        self._loss = loss
        self._options = options
        self._ignored = ignored
        self._names: frozenset[str] | None = None
        self._forms: dict[str, npt.NDArray[Any]] = {}

    def read(
        self, records: Sequence[int], objects: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the call's arguments, and the fields that are no arguments."""
        columns: dict[str, list[Any]] = {}
        kept = []
        for number, value in zip(records, objects, strict=True):
            values = self._values(value, number)
            kept.append({name: item for name, item in value.items() if name not in values})
            for name, item in values.items():
                columns.setdefault(name, []).append(item)
        return {name: self._joined(name, column, records) for name, column in columns.items()}, kept

    def _values(self, value: dict[str, Any], number: int) -> dict[str, npt.NDArray[Any]]:
        loss = self._loss
        own = {name: item for name, item in value.items() if name not in self._ignored}
        for argument in loss.data:
            if argument.required and argument.name not in own:
                raise self.fault(missing(argument.name, own), number)
        # A sequence's own length is that of its lists, so a `length` beside them is taken for a remark.
        hinted = [name for name in loss.arguments if not name.endswith("lengths")]
        for name in own:
            self._refuse_option(name, number)
            meant = meant_by(name, hinted, own)
            if meant is not None:
                raise self.fault(unknown(loss, meant, name), number, name)
        values = {
            name: self._array(loss.arguments[name], item, number)
            for name, item in own.items()
            if name in loss.arguments
        }
        self._names = self._names or frozenset(values)
        for name in sorted(self._names ^ values.keys()):
            came = (
                "is missing, and the lines before have it"
                if name in self._names
                else "is there, and the lines before lack it"
            )
            raise self.fault(came, number, name)
        return values

    def _refuse_option(self, name: str, number: int) -> None:
        argument = self._loss.arguments.get(name)
        if argument.shared if argument is not None else name in self._loss.options:
            flag = name.replace("_", "-")
            raise self.fault(
                f"is one for all lines: give --{flag}, or leave the field out by --ignore {name}", number, name
            )

    def _array(self, argument: Argument, value: Any, number: int) -> npt.NDArray[Any]:
        def fault(message: str) -> DataError:
            return self.fault(message, number, argument.name)

        expected = f"expected {ARRAYS[argument.values]}"
        if not isinstance(value, (list, int, float)):
            raise fault(f"{expected}, got {kind_of(value)}")
        try:
            array = np.array(value)
        except ValueError:
            raise fault(f"{expected}, got lists of different lengths side by side") from None
        if not array.size:
            array = array.astype(KINDS[argument.values][1])
        if array.dtype.kind not in KINDS[argument.values][0]:
            odd = next(
                (item for item in _leaves(value) if np.array(item).dtype.kind not in KINDS[argument.values][0]), value
            )
            raise fault(f"{expected}, got {kind_of(odd)}")
        if array.size and array.ndim not in argument.ranks:
            ranks = " or ".join(str(rank) for rank in argument.ranks)
            raise fault(f"expected {ranks} axes for one sequence, got shape {array.shape}")
        if argument.values == "float" or (argument.values == "number" and array.ndim == 2):
            array = array.astype(np.float64)
        if array.size:
            first = self._forms.setdefault(argument.name, array)
            if (array.dtype.kind, array.ndim, array.shape[1:]) != (first.dtype.kind, first.ndim, first.shape[1:]):
                raise fault(
                    f"expected the form of the lines before, {first.dtype} of shape {_form(first)}, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        return array

    def _joined(self, name: str, column: list[npt.NDArray[Any]], records: Sequence[int]) -> Any:
        """Join the values of all lines: one array of numbers, or a list of arrays."""
        first = self._forms.get(name)
        if first is None:
            argument = self._loss.arguments[name]
            own = argument is self._loss.first
            rank = self._loss.sequence_rank(self._names or (), self._options) if own else max(1, min(argument.ranks))
            return [array.reshape((0,) * rank) for array in column]
        if first.ndim == 0:
            for number, array in zip(records, column, strict=True):
                if array.ndim:
                    raise self.fault("expected a number as in the other lines, got an empty list", number, name)
            return np.array(column)
        # An empty list says nothing of its inner axes; they are those of the others.
        return [array if array.size else np.empty((0, *first.shape[1:]), dtype=first.dtype) for array in column]


ARRAYS = {
    "float": "a list of numbers",
    "integer": "a list of integers",
    "boolean": "a list of true and false",
    "number": "a list of integers, or of lists of numbers",
}
KINDS = {
    "float": ("fiu", np.float64),
    "integer": ("iu", np.int64),
    "boolean": ("b", np.bool_),
    "number": ("fiu", np.int64),
}


def _form(array: npt.NDArray[Any]) -> str:
    return f"({', '.join(['…', *map(str, array.shape[1:])])})" if array.ndim else "()"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def size_of(path: str, stream: io.BufferedReader) -> int:
    """Return how many bytes there are to read; 0 where there is no saying."""
    return 0 if path == STANDARD_INPUT or isinstance(stream.raw, gzip.GzipFile) else os.stat(path).st_size


def share(consumed: int, size: int) -> float:
    """Return how much of a file has been read; NaN where its size is not known."""
    return min(consumed / size, 1.0) if size else math.nan
