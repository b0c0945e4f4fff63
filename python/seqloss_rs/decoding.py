"""From the scores of frames to labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._types import Floats, Layout, Lengths

__all__ = ["ctc_greedy_decode"]


def ctc_greedy_decode(
    logits: Floats, input_lengths: Lengths | None = None, *, blank: int = 0, layout: Layout = "NTC"
) -> list[NDArray[np.int64]] | Any:
    """Return the labels of the best path: the best class of each frame, repeats merged, blanks dropped.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes in each frame: logits, log-probabilities or probabilities. The first of equal scores wins;
        NaN counts as the least.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence.
    blank : int
        The class of the blank.
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C).

    Returns
    -------
    list of N int64 arrays
        The labels of each sequence; one array for one sequence (T, C).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> path = [1, 1, 0, 1, 2, 2]
    >>> seqloss_rs.ctc_greedy_decode(np.eye(3)[path])
    array([1, 1, 2])

    References
    ----------
    Graves et al., 2006, section 3.2, https://doi.org/10.1145/1143844.1143891.
    """
    return _native.ctc_greedy_decode(logits, input_lengths, blank, layout)
