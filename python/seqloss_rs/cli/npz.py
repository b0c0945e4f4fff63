"""Arrays out of an `.npz`, some rows at a time.

A member is read as a stream, whether it is compressed or not: the rows of a batch are the next bytes of it, so that the
memory does not grow with the file, and its checksum is checked when its end is reached. An array that cannot be read in
order of its first axis (Fortran order) is read whole.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from .errors import DataError

__all__ = ["Archive", "Member"]

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError)


class Member:
    """One array of the archive; its rows come in order, each once."""

    def __init__(self, file: str, name: str, stream: IO[bytes], size: int):
        self.name = name
        self._file = file
        self._stream = stream
        self._rest: npt.NDArray[Any] | None = None
        self._position = 0
        try:
            version = np.lib.format.read_magic(stream)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise ValueError(f"version {version} of the array format is not read")
            self.shape, self._fortran, self.dtype = readers[version](stream)
        except (ValueError, *DAMAGE) as error:
            raise self.fault(f"is not an array: {error}") from None
        if not self.dtype.hasobject:
            expected = math.prod(self.shape) * self.dtype.itemsize
            if expected > size:
                raise self.fault(f"its header promises {expected} bytes and {size} are there")

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """What one step along the first axis takes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def whole(self) -> npt.NDArray[Any]:
        """Return all of the array."""
        if self._position:
            raise AssertionError("a member is read either whole or by rows")
        if not self.ndim:
            return self._take(()).copy()
        return self.rows(self.shape[0])

    def rows(self, count: int) -> npt.NDArray[Any]:
        """Return the next `count` rows."""
        if self._fortran and self.ndim > 1:
            if self._rest is None:
                self._rest = self._take(self.shape[::-1]).T
            rows = self._rest[self._position : self._position + count]
        else:
            rows = self._take((count, *self.shape[1:]))
        self._position += count
        return rows

    def fault(self, message: str) -> DataError:
        """Return the error that says `message` of this array."""
        return DataError(message, file=self._file, field=self.name)

    def _take(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        if self.dtype.hasobject:
            raise self.fault("holds Python objects (a pickle), which are never loaded; save numbers or strings")
        size = math.prod(shape) * self.dtype.itemsize
        try:
            content = self._stream.read(size)
        except DAMAGE as error:
            raise self.fault(f"is damaged: {error}") from None
        if len(content) < size:
            raise self.fault(f"ends after {len(content)} of {size} bytes: the file is truncated")
        if self.dtype.itemsize == 0:
            return np.zeros(shape, dtype=self.dtype)
        return np.frombuffer(content, dtype=self.dtype).reshape(shape)


class Archive:
    """An `.npz` that is open for reading.

    Parameters
    ----------
    path : str
        Where it is.
    """

    def __init__(self, path: str):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise DataError(f"is not a whole .npz: {error}", file=path) from None
        self._streams: list[IO[bytes]] = []
        self.names = [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]
        if not self.names:
            raise DataError("holds no arrays", file=path)

    def member(self, name: str) -> Member:
        """Open the array of that name, at its first row."""
        information = self._zip.getinfo(f"{name}.npy")
        try:
            stream = self._zip.open(information)
        except DAMAGE as error:
            raise DataError(f"is damaged: {error}", file=self.path, field=name) from None
        self._streams.append(stream)
        return Member(self.path, name, stream, information.file_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()
        self._zip.close()
