"""Options of a loss as flags of the command line, from the function's own signature."""

from __future__ import annotations

import argparse
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

import seqloss_rs

from .losses import Loss

__all__ = ["add_flags", "flag", "given", "shown"]

PREFIX = "option:"


def flag(name: str) -> str:
    """Write a parameter as the command line has it."""
    return f"--{name.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser, loss: Loss) -> None:
    """Add a flag for each option of the loss."""
    group = parser.add_argument_group(f"options of {loss.function}")
    function = getattr(seqloss_rs, loss.function)
    hints = typing.get_type_hints(function)
    words = _described(inspect.getdoc(function) or "")
    for name, default in loss.options.items():
        keywords: dict[str, Any] = {
            "dest": PREFIX + name,
            "default": argparse.SUPPRESS,
            "help": _help(words.get(name, ""), default).replace("%", "%%"),
        }
        if isinstance(default, bool):
            keywords["action"] = argparse.BooleanOptionalAction
        else:
            keywords["type"] = loss.parsers.get(name, type(default))
            choices = _choices(hints.get(name))
            if choices and name not in loss.parsers:
                keywords["choices"] = choices
            else:
                optional = typing.get_args(hints.get(name)) == (bool, type(None))
                keywords["metavar"] = "{true,false}" if optional else name.upper()
        group.add_argument(flag(name), **keywords)


def _help(words: str, default: Any) -> str:
    return words if default is None else f"{words} (default: {default})".lstrip()


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were on the command line, as the function takes them."""
    return {name.removeprefix(PREFIX): value for name, value in vars(arguments).items() if name.startswith(PREFIX)}


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same, as JSON has them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in options.items()}


def _choices(hint: Any) -> tuple[str, ...]:
    """Return the words of a parameter that takes one of a few words."""
    if typing.get_origin(hint) is typing.Literal:
        return tuple(word for word in typing.get_args(hint) if isinstance(word, str))
    return ()


def _described(docstring: str) -> dict[str, str]:
    """Return the first sentence about each parameter of a NumPy docstring."""
    described = {}
    for names, text in re.findall(r"^(\w+(?:, \w+)*) : .*\n((?:    .*\n)+)", docstring + "\n", re.MULTILINE):
        sentence = " ".join(text.split())
        sentence = re.split(r"(?<=[.;:]) ", sentence)[0].rstrip(".;:").replace("`", "")
        described.update(dict.fromkeys(names.split(", "), sentence))
    return described
