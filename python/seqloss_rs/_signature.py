"""Signatures: what a score was computed with, in a line."""

from typing import Any

from . import _native


def signature(name: str, references: int | None, short: bool, keys: dict[str, tuple[str, Any]]) -> str:
    """Join a metric's name, its keys and the version of this package.

    ``keys`` has a short name and a value for each key; those whose value is None are left out.
    """
    if references is not None and (isinstance(references, bool) or not isinstance(references, int) or references < 1):
        raise ValueError(f"references is {references!r}, expected a count of at least 1, or None where it varies")
    keys = {"nrefs": ("#", "var" if references is None else references), **keys, "version": ("v", version())}
    parts = [name]
    for key, (shorter, value) in keys.items():
        word = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        if value is not None:
            parts.append(f"{shorter if short else key}:{word}")
    return "|".join(parts)


def version() -> str:
    """Name this package and its version, so that nobody takes its scores for another's."""
    return f"seqloss_rs.{_native.__version__}"


def tokenizer(tokenize: Any) -> str:
    """Name a tokenizer; one of the caller's by its own name."""
    return tokenize if isinstance(tokenize, str) else f"own.{getattr(tokenize, '__name__', type(tokenize).__name__)}"


def case(lowercase: bool) -> str:
    """Say whether case counts."""
    return "lc" if lowercase else "mixed"


def smoothing(method: str, value: float | None) -> str:
    """Name a smoothing, with its value if it has one."""
    value = {"floor": 0.1, "add-k": 1.0}.get(method) if value is None else value
    return method if value is None else f"{method}[{number(value)}]"


def number(value: float) -> str:
    """Write a number with two digits, or with as many as it takes."""
    return f"{value:.2f}" if float(f"{value:.2f}") == value else f"{float(value)!r}"
