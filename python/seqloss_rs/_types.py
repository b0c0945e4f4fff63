"""Types that signatures share."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _native


class SupportsArray(Protocol):
    """What NumPy can read as an array, such as a CPU tensor of another framework."""

    def __array__(self) -> NDArray[Any]:
        """Return the numbers as a NumPy array."""
        ...


Array: TypeAlias = NDArray[Any]
"""A NumPy array of any dtype."""

Floats: TypeAlias = NDArray[Any] | SupportsArray | Sequence[Any]
"""Real numbers: an array, or a list of numbers, or a list of arrays (ragged)."""

Integers: TypeAlias = NDArray[np.integer[Any]] | SupportsArray | Sequence[Any]
"""Integers of any width: an array, or a list of them, or a list of arrays (ragged)."""

Lengths: TypeAlias = NDArray[np.integer[Any]] | SupportsArray | Sequence[int] | int
"""One integer for each sequence; a plain one for one sequence."""

Mask: TypeAlias = NDArray[np.bool_] | SupportsArray | Sequence[Any]
"""Booleans: an array, or a list of them, or a list of arrays (ragged)."""

Value: TypeAlias = float | Any
"""A float for reductions to one number; otherwise an array, or a list of arrays where the argument was one."""

Reduction: TypeAlias = Literal["mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"] | _native.LossSum
"""What becomes of the terms of a numeric loss; a LossSum takes them in, and their sum is returned."""

PolicyReduction: TypeAlias = (
    Literal["mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "mean_of_means"] | _native.LossSum
)
"""The same for the losses of policies, which have one more: the mean over sequences of the mean of each."""

Layout: TypeAlias = Literal["NTC", "TNC"]
"""Whether sequences or frames come first."""

Star: TypeAlias = Literal["before", "between", "after"]
"""Where any class may be emitted beside the blank."""
