"""Arrays of an `.npz` as batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batch import BATCH_BYTES, BATCH_SAMPLES, Batch
from .errors import DataError
from .loss import Loss
from .names import meant_by, missing, unknown
from .npz import Archive, Member

__all__ = ["read_arrays"]

DISPLAY = ("texts", "classes")


class _Column:
    """An argument whose samples are read in order from a member of the archive."""

    def __init__(self, member: Member, offsets: npt.NDArray[np.int64] | None, axis: int = 0):
        self.axis = axis
        self._member = member
        self._offsets = offsets
        # Rows of a later axis do not lie end to end in the file.
        self._whole = member.whole() if axis else None

    @property
    def count(self) -> int | None:
        """How many samples there are; None if the array has no axis for them."""
        if self._offsets is not None:
            return len(self._offsets) - 1
        return self._member.shape[self.axis] if self._member.ndim > self.axis else None

    def take(self, first: int, stop: int) -> Any:
        """Return the values of the samples from `first` to before `stop`."""
        if self._whole is not None:
            return self._whole[:, first:stop]
        if self._offsets is None:
            return self._member.rows(stop - first)
        bounds = self._offsets[first : stop + 1]
        values = self._member.rows(int(bounds[-1] - bounds[0]))
        return np.split(values, bounds[1:-1] - bounds[0])


def read_arrays(path: str, loss: Loss, options: Mapping[str, Any], ignored: Collection[str]) -> Iterator[Batch]:
    """Yield the batches of an archive."""
    with Archive(path) as archive:
        # Offsets go with what they cut.
        left_out = {*ignored, *(f"{name}_offsets" for name in ignored)}
        call = _Call(archive, loss, options, [name for name in archive.names if name not in left_out])
        if call.is_single:
            yield call.single_batch()
        else:
            yield from call.batches()


class _Call:
    """The arrays of an archive, sorted by what they are to the loss."""

    def __init__(self, archive: Archive, loss: Loss, options: Mapping[str, Any], names: Sequence[str]):
        _check_names(archive.path, loss, names)
        self._path = archive.path
        self._loss = loss
        self._options: dict[str, Any] = {}
        self._data: dict[str, Member] = {}
        for name in names:
            if name not in loss.options and name not in loss.arguments:
                continue
            member = archive.member(name)
            option = loss.options.get(name)
            if option is not None and member.ndim <= option.axes:
                self._options[name] = member.whole().tolist()
            elif name in loss.arguments:
                self._data[name] = member
            else:
                several = " or several in one axis" if option is not None and option.several else ""
                raise member.fault(f"expected one value (an array without axes){several}, got shape {member.shape}")
        if loss.first.name not in self._data:
            raise archive.member(loss.first.name).fault("expected an array with axes, got one without")
        self._effective = {**self._options, **options}
        self._offsets = {
            name: _read_offsets(archive, name, self._data[name]) for name in self._data if f"{name}_offsets" in names
        }
        self._shared = {name: self._data.pop(name).whole() for name in list(self._data) if loss.arguments[name].shared}
        self._first = self._data[loss.first.name]
        self._texts = archive.member("texts") if "texts" in names else None
        self._classes = self._read_classes(archive) if "classes" in names else None

    @property
    def is_single(self) -> bool:
        """Whether the file is one sequence, without the axis N."""
        ragged = self._loss.first.name in self._offsets
        return (
            not ragged
            and not self._loss.is_text
            and self._first.ndim == self._loss.sequence_rank(self._data, self._effective)
        )

    def single_batch(self) -> Batch:
        """Return the one sequence."""
        arguments = {name: _value(member) for name, member in self._data.items()}
        texts = None
        if self._texts is not None:
            texts = _strings(self._texts, np.atleast_1d(self._texts.whole()))
            _check_count(self._texts, len(texts), 1)
        return Batch(
            file=self._path,
            records=[0],
            record_noun="record",
            arguments={**arguments, **self._shared},
            axes=dict.fromkeys(arguments, 0),
            options=self._options,
            single=True,
            texts=texts,
            classes=self._classes,
            done=1.0,
        )

    def batches(self) -> Iterator[Batch]:
        """Yield runs of the sequences."""
        sizes = self._sizes()
        count = len(sizes)
        _share_offsets(self._loss, self._data, self._offsets, count)
        columns = {name: self._column(member, count) for name, member in self._data.items()}
        if self._texts is not None:
            _check_count(self._texts, self._texts.shape[0] if self._texts.ndim else None, count)
        for start, stop in _runs(sizes, self._loss.whole(self._effective)):
            arguments = {name: column.take(start, stop) for name, column in columns.items()}
            kept: list[dict[str, Any]] = []
            if self._loss.is_text:
                for name in ("hypotheses", "references"):
                    arguments[name] = _texts_or_ids(self._data[name], arguments[name])
                kept = _kept_texts(arguments["hypotheses"], arguments["references"])
            yield Batch(
                file=self._path,
                records=range(start, stop),
                record_noun="record",
                arguments={**arguments, **self._shared},
                axes={name: column.axis for name, column in columns.items()},
                options=self._options,
                kept=kept,
                texts=None if self._texts is None else _strings(self._texts, self._texts.rows(stop - start)),
                classes=self._classes,
                done=stop / count,
            )

    def _axis(self, name: str) -> int:
        """Which axis of an argument counts the sequences."""
        by_frame = self._loss.arguments[name].layout and self._effective.get("layout") == "TNC"
        return 1 if by_frame and name not in self._offsets else 0

    def _sizes(self) -> npt.NDArray[np.int64]:
        """Return how many bytes of the first argument each sequence takes; 0 where they are in memory anyhow."""
        offsets = self._offsets.get(self._loss.first.name)
        if offsets is not None:
            return np.diff(offsets) * self._first.row_bytes
        axis = self._axis(self._first.name)
        if self._first.ndim <= axis:
            raise self._first.fault(f"expected an array with an axis for the samples, got shape {self._first.shape}")
        return np.full(self._first.shape[axis], 0 if axis else self._first.row_bytes, dtype=np.int64)

    def _column(self, member: Member, count: int) -> _Column:
        column = _Column(member, self._offsets.get(member.name), self._axis(member.name))
        _check_count(member, column.count, count)
        return column

    def _read_classes(self, archive: Archive) -> list[str]:
        member = archive.member("classes")
        classes = _strings(member, member.whole())
        expected = self._first.shape[-1] if self._first.ndim else 0
        if len(classes) != expected or member.ndim != 1:
            raise member.fault(f"expected a text for each of {expected} classes, got shape {member.shape}")
        return classes


def _check_names(path: str, loss: Loss, names: Collection[str]) -> None:
    parameters = [*loss.arguments, *loss.options, *(f"{name}_offsets" for name in loss.arguments)]
    for name in names:
        meant = None if name in DISPLAY else meant_by(name, parameters, names)
        if meant is not None:
            raise DataError(unknown(loss, meant, name), file=path, field=name)
    for argument in loss.data:
        if argument.required and argument.name not in names:
            raise DataError(missing(argument.name, names), file=path)
        # Offsets of nothing are an array that was left out.
        if f"{argument.name}_offsets" in names and argument.name not in names:
            raise DataError(missing(argument.name, names), file=path)


def _read_offsets(archive: Archive, name: str, values: Member) -> npt.NDArray[np.int64]:
    """Read where the samples of a ragged array begin and end."""
    member = archive.member(f"{name}_offsets")
    if member.ndim != 1 or member.dtype.kind not in "iu" or not member.shape[0]:
        raise member.fault(f"expected N + 1 integers, got {member.dtype} of shape {member.shape}")
    if not values.ndim:
        raise values.fault("expected the values of all samples end to end, got an array without axes")
    offsets = member.whole().astype(np.int64)
    return _checked_offsets(offsets, member, values)


def _checked_offsets(offsets: npt.NDArray[np.int64], source: Member, values: Member) -> npt.NDArray[np.int64]:
    if offsets[0] != 0:
        raise source.fault(f"expected to begin at 0, got {offsets[0]}")
    falling = np.flatnonzero(offsets[1:] < offsets[:-1])
    if falling.size:
        at = int(falling[0]) + 1
        raise source.fault(f"falls from {offsets[at - 1]} to {offsets[at]} at index {at}")
    if offsets[-1] != values.shape[0]:
        raise source.fault(f"ends at {offsets[-1]}, and {values.name!r} has {values.shape[0]} values")
    return offsets


def _share_offsets(loss: Loss, data: dict[str, Member], offsets: dict[str, npt.NDArray[np.int64]], count: int) -> None:
    """Give offsets to the arrays that lie end to end without their own.

    What lies beside the steps of a ragged first argument shares its offsets; labels end to end are cut by their
    lengths, which the call then needs no longer.
    """
    shared = offsets.get(loss.first.name)
    for name, member in data.items():
        argument = loss.arguments[name]
        if shared is not None and argument.steps and name not in offsets and member.ndim:
            beside = member.shape[0] == shared[-1]
            if beside and (member.shape[0] != count or 0 not in argument.ranks):
                offsets[name] = shared
            elif 0 not in argument.ranks:
                expected = f"{shared[-1]} values end to end as {loss.first.name!r} has them"
                raise member.fault(f"expected {expected}, got shape {member.shape}")
    for argument in loss.data:
        if argument.cut_by is None or argument.name in offsets or data[argument.name].ndim != 1:
            continue
        values = data[argument.name]
        if argument.cut_by not in data:
            raise values.fault(
                f"a single axis is for values end to end, which need {argument.cut_by!r} or '{argument.name}_offsets'"
            )
        lengths = data.pop(argument.cut_by)
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise lengths.fault(f"expected {count} integers, got {lengths.dtype} of shape {lengths.shape}")
        _check_count(lengths, lengths.shape[0], count)
        ends = np.cumsum(lengths.whole(), dtype=np.int64)
        offsets[argument.name] = _checked_offsets(np.concatenate([np.zeros(1, np.int64), ends]), lengths, values)


def _value(member: Member) -> Any:
    """Return an array, or the number of one without axes."""
    return member.whole() if member.ndim else member.whole().item()


def _check_count(member: Member, held: int | None, count: int) -> None:
    if held != count:
        raise member.fault(
            f"expected {count} samples, got shape {member.shape}" + ("" if held is None else f" for {held}")
        )


def _runs(sizes: npt.NDArray[np.int64], whole: bool) -> Iterator[tuple[int, int]]:
    """Yield runs of samples, each the size of a batch."""
    count = len(sizes)
    if whole:
        yield 0, count
        return
    ends = np.cumsum(sizes)
    start = 0
    while start < count:
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + BATCH_BYTES, side="right"))
        stop = min(max(fitting, start + 1), start + BATCH_SAMPLES, count)
        yield start, stop
        start = stop


def _strings(member: Member, values: npt.NDArray[Any]) -> list[Any]:
    """Return strings as Python has them."""
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise member.fault(f"is not UTF-8: {error.reason}") from None
    if values.dtype.kind != "U":
        raise member.fault(f"expected strings, got {values.dtype}")
    return list(values.tolist())


def _kept_texts(hypotheses: Any, references: Any) -> list[dict[str, Any]]:
    """Return the texts under the names that they have in lines; token ids stay in the file."""
    if not (isinstance(hypotheses, list) and isinstance(references, list) and hypotheses):
        return []
    if not isinstance(hypotheses[0], str):
        return []
    return [
        {"hypothesis": hypothesis, "reference" if isinstance(reference, str) else "references": reference}
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def _texts_or_ids(member: Member, values: Any) -> Any:
    sample = values[0] if isinstance(values, list) else values
    if sample.dtype.kind in "iu":
        return values
    return [_strings(member, item) for item in values] if isinstance(values, list) else _strings(member, values)
