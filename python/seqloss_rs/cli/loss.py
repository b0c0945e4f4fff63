"""What a loss is on the command line, and what scoring gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .batch import Batch
from .options import Option, options_of

__all__ = ["LENGTHS", "Argument", "Fields", "KnownValue", "Loss", "Options", "Scored"]

Options = Mapping[str, Any]
Fields = list[dict[str, Any]]


@dataclass(frozen=True)
class Argument:
    """A parameter that carries data.

    Attributes
    ----------
    name : str
        The function's name for it.
    values : str
        What it holds; `"number"` is integers or floats, `"text"` strings or token ids.
    ranks : tuple of int
        How many axes one sequence's value may have; 0 is one number for each sequence.
    steps : bool
        Whether its values lie beside the steps of the first argument, so that both may share `X_offsets`.
    shared : bool
        Whether one array belongs to all the samples; it is an option too.
    shareable : bool
        Whether one value may stand for all the samples, which then is an option.
    layout : bool
        Whether the option `layout` says which of its axes is N.
    required : bool
        Whether the call needs it.
    cut_by : str, optional
        The argument with the lengths that cut this one, where its values lie end to end in one axis (torch's way).
    """

    name: str
    values: Literal["float", "integer", "boolean", "number", "text"]
    ranks: tuple[int, ...] = (0,)
    steps: bool = False
    shared: bool = False
    shareable: bool = False
    layout: bool = False
    required: bool = False
    cut_by: str | None = None


LENGTHS = Argument("lengths", "integer")


@dataclass(frozen=True)
class Scored:
    """What scoring a batch gives.

    Attributes
    ----------
    losses : (n,) array of float64
        The loss of each sample.
    fields : list of dict
        What the loss adds to the line of each.
    tallies : dict
        What is added up over all batches for the summary: integers, arrays of them, or a LossSum.
    rows : dict
        The statistics (n, k) of each sample by the metrics of texts, from which corpora can be resampled.
    """

    losses: npt.NDArray[np.float64]
    fields: Fields
    tallies: dict[str, Any]
    rows: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownValue:
    """A call whose value is known from the definition."""

    arguments: Mapping[str, Any]
    value: float
    source: str


@dataclass(frozen=True)
class Loss:
    """A loss on the command line.

    Attributes
    ----------
    name, function, title, help : str
        Its name as a command, the function in `seqloss_rs`, its heading, and what it computes in a line.
    data : tuple of Argument
        The parameters that carry data; the first one first.
    score : callable
        Scores a batch, with the options of the call.
    conclude : callable
        From the tallies, the sum of the finite losses and the options to what the summary says besides.
    known : KnownValue, optional
        What `seqloss doctor` checks.
    adds : str
        What the line of a sample holds besides, for the help.
    whole : callable
        Whether the options make a sample's loss depend on the others, so that a file must be one call.
    rank : callable, optional
        How many axes the first argument has for one sequence, where that depends on which arguments are there, or on
        the options.
    """

    name: str
    function: str
    title: str
    help: str
    data: tuple[Argument, ...]
    score: Callable[[Loss, Batch, Options], Scored]
    conclude: Callable[[Mapping[str, Any], float, Options], dict[str, Any]]
    known: KnownValue | None
    adds: str
    whole: Callable[[Options], bool] = lambda options: False
    rank: Callable[[Collection[str], Options], int] | None = None

    @property
    def first(self) -> Argument:
        """The first argument, the one whose axis N counts the samples."""
        return self.data[0]

    def sequence_rank(self, names: Collection[str], options: Options) -> int:
        """How many axes the first argument has when it is one sequence, without the axis N."""
        return min(self.first.ranks) if self.rank is None else self.rank(names, options)

    @property
    def is_text(self) -> bool:
        """Whether it compares texts."""
        return self.first.values == "text"

    @property
    def documented(self) -> Callable[..., Any]:
        """What says in its docstring what the arguments are."""
        function: Callable[..., Any] = getattr(seqloss_rs, self.function)
        return function

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        """The parameters that carry data, by name."""
        return {argument.name: argument for argument in self.data}

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of the function by name; how samples are reduced is for the command to say."""
        of_samples = [argument.name for argument in self.data if not (argument.shared or argument.shareable)]
        return options_of(getattr(seqloss_rs, self.function), [*of_samples, "reduction", "normalizer"])

    def call(self, batch: Batch, options: Options, reduction: str) -> npt.NDArray[np.float64]:
        """Call the function, with the options over what the file itself says."""
        function = getattr(seqloss_rs, self.function)
        arguments = {**self._left_out, **batch.arguments, **batch.options, **options, "reduction": reduction}
        return np.atleast_1d(np.asarray(function(**arguments), dtype=np.float64))

    @cached_property
    def _left_out(self) -> dict[str, None]:
        """The parameters without a default that a file may leave out all the same: None says so."""
        parameters = inspect.signature(getattr(seqloss_rs, self.function)).parameters
        empty = inspect.Parameter.empty
        return {data.name: None for data in self.data if not data.required and parameters[data.name].default is empty}
