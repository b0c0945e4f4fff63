"""Some samples of a data file, as the arguments of one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["BATCH_BYTES", "BATCH_SAMPLES", "LINE_BYTES", "Batch"]

# A batch is large enough that a call's overhead does not count, and small enough to be nothing beside the interpreter.
BATCH_BYTES = 8 << 20
# Numbers and texts take several times the room in memory that they take as JSON.
LINE_BYTES = 1 << 20
BATCH_SAMPLES = 1024


@dataclass(frozen=True)
class Batch:
    """The samples of a file that are scored by one call.

    Attributes
    ----------
    file : str
        The file's name as the user gave it.
    records : sequence of int
        Where each sample stands: its line from 1, or its index in the arrays from 0.
    record_noun : str
        `"line"` or `"record"`.
    arguments : dict
        What the call takes: arrays with an axis of N, or lists of N.
    axes : dict
        Which axis of an argument is N; an argument that is not here belongs to all the samples.
    options : dict
        Options of the loss that the file itself sets (arrays of no dimension).
    single : bool
        Whether the arguments are one sequence, without the axis N.
    kept : list of dict
        What else a sample carries; goes into the output as it is.
    texts : list of str, optional
        What each sample says.
    classes : list of str, optional
        How a class is written.
    system : str
        Which of several systems the hypotheses are of.
    done : float
        How much of the file has been read, from 0 to 1; NaN where that cannot be known.
    """

    file: str
    records: Sequence[int]
    record_noun: str
    arguments: dict[str, Any]
    axes: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)
    single: bool = False
    kept: Sequence[dict[str, Any]] = ()
    texts: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    system: str = ""
    done: float = float("nan")

    def __len__(self) -> int:
        return len(self.records)

    def place(self, sample: int) -> str:
        """Say where a sample stands."""
        return f"{self.record_noun} {self.records[sample]}"

    def sample(self, index: int) -> Batch:
        """Return the batch that holds one of the samples alone."""
        if self.single:
            return self
        arguments = dict(self.arguments)
        for name, axis in self.axes.items():
            value = arguments[name]
            arguments[name] = value[:, index : index + 1] if axis == 1 else value[index : index + 1]
        return replace(
            self,
            records=self.records[index : index + 1],
            arguments=arguments,
            kept=self.kept[index : index + 1],
            texts=None if self.texts is None else self.texts[index : index + 1],
        )
