"""What all of the interfaces ask of a string."""

from typing import Any

__all__ = ["check_string"]


def check_string(name: str, text: Any) -> None:
    """Refuse what is no string, and a string with half of a pair of surrogates, which is no character."""
    if not isinstance(text, str):
        raise TypeError(f"{name} has type {type(text).__name__}, expected a string")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate, which is not a character") from None
