"""What the commands refuse: one sentence each, and the exit code that goes with it."""

from __future__ import annotations

__all__ = ["CommandError", "DataError", "UsageError", "one_line"]


def one_line(text: str) -> str:
    """Put `text` on one line: names and values from files may hold line breaks and terminal codes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class CommandError(Exception):
    """An end of the program that the user can do something about."""

    status = 1


class DataError(CommandError):
    """A file that cannot be used; says which one, and where in it.

    Parameters
    ----------
    message : str
        What was expected and what came.
    file, record, field : str, optional
        The file's name, the place in it (`"line 17"`, `"record 203"`), and the field or array.
    """

    def __init__(self, message: str, *, file: str | None = None, record: str | None = None, field: str | None = None):
        place = [part for part in (file, record, None if field is None else f"field {field!r}") if part is not None]
        super().__init__(one_line(": ".join([*place, message])))


class UsageError(CommandError):
    """A command line that cannot be followed."""

    status = 2

    def __init__(self, message: str):
        super().__init__(one_line(message))
