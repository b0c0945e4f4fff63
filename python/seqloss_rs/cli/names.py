"""Names in files, as errors say them, and the slips in them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection

from .loss import Loss

__all__ = ["STANDARD_INPUT", "held", "meant_by", "missing", "shortened", "shown", "unknown"]

STANDARD_INPUT = "-"


def shown(path: str) -> str:
    """Return a file's name for a reader."""
    return "standard input" if path == STANDARD_INPUT else path


def shortened(text: str, limit: int = 40) -> str:
    """Return the text, or its beginning."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def held(names: Collection[str]) -> str:
    """Say what is there instead."""
    listed = [repr(shortened(name)) for name in itertools.islice(names, 8)]
    return ", ".join(listed) + (", …" if len(names) > 8 else "") if listed else "nothing"


def missing(name: str, present: Collection[str]) -> str:
    """Say that a name is missing, and what might be meant as it."""
    close = difflib.get_close_matches(name, present, n=1, cutoff=0.6)
    hint = f"; is {shortened(close[0])!r} meant as that?" if close else ""
    return f"has no {name!r}, only {held(present)}{hint}"


def meant_by(name: str, parameters: Collection[str], present: Collection[str]) -> str | None:
    """Return the parameter that a name seems to be a slip of, when it is not there itself."""
    if name in parameters or len(name) > 64:
        return None
    close = difflib.get_close_matches(name, [other for other in parameters if other not in present], n=1, cutoff=0.8)
    return close[0] if close and abs(len(close[0]) - len(name)) <= 2 else None


def unknown(loss: Loss, meant: str, name: str) -> str:
    """Say that a name is a slip."""
    return f"is no argument of {loss.function}: is {meant!r} meant? Rename it, or leave it out by --ignore {name}"
