"""Options of a function, from its own signature and docstring: as flags of the command line, and out of data files."""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Option", "add_flags", "described", "flag", "given", "options_of", "shown"]

PREFIX = "option:"


@dataclass(frozen=True)
class Option:
    """A parameter that says how something is done.

    Attributes
    ----------
    name : str
        The function's name for it.
    default : Any
        What holds where it is not given.
    words : dict
        The words that it may be written as, and the values that they stand for.
    several : bool
        Whether it takes several of the words, or of the numbers.
    parse : callable, optional
        Reads any other text: `int`, `float`, `numbers`, `few_numbers` or `one_or_more`; raises ValueError for what is
        none.
    help : str
        What it does.
    """

    name: str
    default: Any
    words: Mapping[str, Any]
    several: bool
    parse: Callable[[str], Any] | None
    help: str

    @property
    def axes(self) -> int:
        """How many axes its value may have in a data file."""
        return 1 if self.several else 0

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off, so that its flag needs no value."""
        return isinstance(self.default, bool)

    @property
    def metavar(self) -> str:
        """What stands for its value in a help."""
        if not self.words:
            several = "NUMBER[,...]" if self.parse is one_or_more else "NUMBER"
            return "NUMBER,..." if self.parse in (numbers, few_numbers) else several
        return f"{{{','.join([*(['NUMBER'] if self.parse else []), *self.words])}}}"

    def read(self, text: str) -> Any:
        """Read a value, or one of several, from the command line."""
        if text in self.words:
            return self.words[text]
        try:
            if self.parse is not None:
                return self.parse(text)
        except ValueError:
            pass
        expected = [*([WRITTEN[self.parse]] if self.parse else []), *map(repr, self.words)]
        listed = " or ".join(filter(None, [", ".join(expected[:-1]), expected[-1]]))
        raise argparse.ArgumentTypeError(f"{text!r} is not {listed}")


def numbers(text: str) -> npt.NDArray[np.float64]:
    """Read numbers with commas between them."""
    return np.array([float(part) for part in text.split(",")])


def few_numbers(text: str) -> list[float]:
    """Read numbers with commas between them, so few that a summary shows them."""
    return [float(part) for part in text.split(",")]


def one_or_more(text: str) -> float | list[float]:
    """Read a number, or several with commas between them."""
    read = [float(part) for part in text.split(",")]
    return read if "," in text else read[0]


WRITTEN: Mapping[Callable[[str], Any], str] = {
    int: "an integer",
    float: "a number",
    numbers: "a list of numbers such as 1,0.5,2",
    few_numbers: "a list of numbers such as 1,0.5,2",
    one_or_more: "a number, or several such as 0.1,0.5,0.9",
}


def options_of(function: Callable[..., Any], left_out: Collection[str]) -> dict[str, Option]:
    """Return the options of a function: its keyword-only parameters but for those that are left out.

    The types of a parameter say how it is written: words for those of a literal type (several where it takes a sequence
    of them), a number, or numbers where it takes an array and no single one.
    """
    hints = typing.get_type_hints(function)
    descriptions = described(function)
    return {
        name: _option(name, parameter.default, hints[name], descriptions.get(name, ""))
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in left_out
    }


def _option(name: str, default: Any, hint: Any, description: str) -> Option:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    literals = [kind for kind in kinds if typing.get_origin(kind) is typing.Literal]
    words = {word: word for literal in literals for word in typing.get_args(literal)}
    if bool in kinds:
        words = {"true": True, "false": False}
    parse: Callable[[str], Any] | None = next((kind for kind in (float, int) if kind in kinds), None)
    if not words and parse is None:
        if not any(typing.get_origin(kind) in (np.ndarray, tuple) for kind in kinds):
            raise TypeError(f"{name} is {hint}, which no flag is known for")
        parse = few_numbers if typing.get_origin(hint) is tuple else numbers
    sequences_of = [typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is Sequence]
    if parse is float and float in sequences_of:
        parse = one_or_more
    several = parse is one_or_more or any(literal in sequences_of for literal in literals)
    # What follows a colon explains the words one by one, in an order that need not be that of the type.
    text = re.split(r"(?<=[.;:]) " if words and not isinstance(default, bool) else r"(?<=[.;]) ", description)[0]
    remarks = [
        text.rstrip(".;:"),
        "may be given several times" if several and words else "",
        "several with commas between them" if parse is one_or_more else "",
        "numbers with commas between them, or an array of an .npz" if parse is numbers else "",
        "numbers with commas between them" if parse is few_numbers else "",
    ]
    return Option(name, default, words, several, parse, "; ".join(filter(None, remarks)))


def described(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a NumPy docstring says of each parameter, on one line and without marks."""
    descriptions = {}
    docstring = f"{inspect.getdoc(function) or ''}\n"
    for names, text in re.findall(r"^(\w+(?:, \w+)*)(?: : .*)?\n((?:    .*\n)+)", docstring, re.MULTILINE):
        plain = re.sub(r",? \[\d+\]_|:\w+:(?=`)|`", "", " ".join(text.split()))
        descriptions.update(dict.fromkeys(names.split(", "), plain))
    return descriptions


def flag(name: str) -> str:
    """Write a parameter as the command line has it."""
    return f"--{name.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser, function: str, options: Mapping[str, Option]) -> None:
    """Add a flag for each option of a function."""
    group = parser.add_argument_group(f"options of {function}")
    for name, option in options.items():
        default = "" if option.default is None else f"(default: {option.default})"
        keywords: dict[str, Any] = {
            "dest": PREFIX + name,
            "default": argparse.SUPPRESS,
            "help": " ".join(filter(None, [option.help, default])).replace("%", "%%"),
        }
        if option.is_switch:
            # Of --no-punct the other action would make what switches --punct off.
            keywords["action"] = "store_true" if name.startswith("no_") else argparse.BooleanOptionalAction
        else:
            keywords |= {
                "action": "append" if option.several and option.words else "store",
                "type": option.read,
                "metavar": option.metavar,
            }
        group.add_argument(flag(name), **keywords)


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were on the command line, as the function takes them."""
    return {name.removeprefix(PREFIX): value for name, value in vars(arguments).items() if name.startswith(PREFIX)}


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same, as JSON has them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in options.items()}
