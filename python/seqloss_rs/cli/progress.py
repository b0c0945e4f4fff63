"""How far the work is, on a terminal."""

from __future__ import annotations

import math
import shutil
import time
from typing import TextIO

__all__ = ["Progress"]

SECONDS_BETWEEN = 0.1
WIDTH = 30


class Progress:
    """A bar on one line of a terminal; nothing anywhere else.

    Parameters
    ----------
    stream : text stream
        Where it is drawn.
    files : int
        How many files there are.
    shown : bool
        False draws nothing even on a terminal.
    """

    def __init__(self, stream: TextIO, files: int, shown: bool = True):
        self._stream = stream
        self._files = files
        self._shown = shown and stream.isatty()
        self._start = time.monotonic()
        self._drawn = 0.0
        self._full, self._empty = ("█", "░") if "utf" in (stream.encoding or "").lower() else ("#", "-")

    def update(self, file: int, share: float, samples: int) -> None:
        """Say that a share of file number `file` (from 0) is done, and how many samples there have been."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < SECONDS_BETWEEN:
            return
        self._drawn = now
        rate = samples / max(now - self._start, 1e-9)
        text = f"{samples:,} samples, {rate:,.0f}/s"
        if not math.isnan(share):
            done = (file + share) / self._files
            filled = round(done * WIDTH)
            text = f"{self._full * filled}{self._empty * (WIDTH - filled)} {done:4.0%}  {text}"
        columns = shutil.get_terminal_size().columns
        self._stream.write(f"\r\x1b[K{text[: columns - 1]}")
        self._stream.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown and self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
