"""CTC beyond the loss: alignment, feasibility and decoding.

Arguments are those of :func:`seqloss_rs.ctc_loss`; what comes out says which frames, which labels, and how sure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._types import Floats, Integers, Layout, Lengths, Star

__all__ = [
    "Alignment",
    "Feasibility",
    "Hypothesis",
    "LabelPosteriors",
    "Span",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_posteriors",
]

TokenScores: TypeAlias = Floats | Callable[[tuple[int, ...]], Floats]
"""Scores of tokens: an array, or a function of the labels so far that returns one."""


class Span(NamedTuple):
    """A run of frames that say the same label.

    Attributes
    ----------
    label : int
        The class.
    start, end : int
        Its first frame, and the frame behind its last one.
    score : float
        The mean probability of the label over these frames.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Span(3, 10, 14, 0.75)
    Span(label=3, start=10, end=14, score=0.75)
    """

    label: int
    start: int
    end: int
    score: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """One path through the frames of every sequence; of one sequence (T, C), its items without the list.

    Attributes
    ----------
    labels : list of N int64 arrays
        The class of every frame, the blank among them; empty where there is no path.
    spans : list of N lists of `Span`
        The runs of labels.
    scores : (N,) float64 array, or float
        The log-probability of each path.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> found = seqloss_rs.ctc_align(np.log([[0.25, 0.75], [0.25, 0.75], [0.9, 0.1]]), [1], scores="log_probs")
    >>> found.spans
    [Span(label=1, start=0, end=2, score=0.75)]
    """

    labels: list[NDArray[np.int64]] | Any
    spans: list[Any]
    scores: NDArray[np.float64] | Any


class Feasibility(NamedTuple):
    """Whether targets have an alignment; of one sequence (T, C), a bool and an int.

    Attributes
    ----------
    mask : (N,) bool array
        True where some path has a probability above 0: where the CTC loss is finite.
    frames_needed : (N,) int64 array
        The fewest frames that say the target: one for each label, and a blank between equal neighbours.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> mask, frames_needed = seqloss_rs.ctc_feasible(np.zeros((2, 2, 3)), [[1, 2], [1, 1]])
    >>> mask, frames_needed
    (array([ True, False]), array([2, 3]))
    """

    mask: NDArray[np.bool_] | Any
    frames_needed: NDArray[np.int64] | Any


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A label sequence that a beam search has found.

    Attributes
    ----------
    labels : int64 array
        The labels, without blanks.
    score : float
        Their log-probability over the paths of the beam, plus their token scores.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> best = seqloss_rs.ctc_beam_decode(np.zeros((2, 2)))[0]
    >>> best.labels, round(best.score, 6)  # three of four paths: ln ¾
    (array([1]), -0.287682)
    """

    labels: NDArray[np.int64]
    score: float


def ctc_align(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
) -> Alignment:
    """Return the best path of each target: which label, or the blank, each frame says (forced alignment).

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes, the blank among them, in each of T frames; of float16, bfloat16, float32 or float64.
    targets : (L,) or (N, L) integers, a list of N arrays, or (ΣL,) concatenated with `target_lengths`
        The labels of each sequence.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence; what lies beyond is never read.
    target_lengths : (N,) integers, optional
        The labels of each sequence.
    blank : int
        The class of the blank.
    scores : {"logits", "log_probs"}
        What `logits` holds: the softmax is taken of logits; log-probabilities are taken as they are.
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C).

    Returns
    -------
    Alignment
        The class of every frame, a `Span` for every label of the target, and the log-probability of the path. Of equal
        paths that one is returned which ends in the last label, and from there backwards stays in a state where it can,
        else comes from the state before, else from two before (blanks and labels are states in turn). A target without
        any path of a probability above 0 has no labels, no spans, and the score -inf; one with NaN in a valid frame has
        neither, and the score NaN.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it, as that of ``ctc_loss`` does.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> probabilities = [[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.3, 0.2, 0.5]]
    >>> found = seqloss_rs.ctc_align(np.log([probabilities]), [[1, 2]])
    >>> found.labels
    [array([1, 0, 2, 2])]
    >>> for span in found.spans[0]:
    ...     print(span.label, span.start, span.end, round(span.score, 6))
    1 0 1 0.8
    2 2 4 0.5
    >>> np.exp(found.scores).round(6)
    array([0.12])

    References
    ----------
    Viterbi, 1967, https://doi.org/10.1109/TIT.1967.1054010; ``torchaudio.functional.forced_align`` and
    ``merge_tokens``, for one sequence at a time.
    """
    found = _native.ctc_align(logits, targets, input_lengths, target_lengths, blank, scores, layout)
    return _alignment(*found)


def ctc_feasible(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
) -> Feasibility:
    """Return whether each target has an alignment, and how many frames it needs.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes, the blank among them, in each of T frames; of float16, bfloat16, float32 or float64.
    targets : (L,) or (N, L) integers, a list of N arrays, or (ΣL,) concatenated with `target_lengths`
        The labels of each sequence.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence; what lies beyond is never read.
    target_lengths : (N,) integers, optional
        The labels of each sequence.
    blank : int
        The class of the blank.
    scores : {"logits", "log_probs"}
        What `logits` holds.
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C).

    Returns
    -------
    Feasibility
        `mask`, True where ``ctc_loss`` is finite: where there are frames enough, and not every path meets a probability
        of 0 (a score of -inf). NaN in a valid frame makes the loss NaN, and the mask False. `frames_needed`, the number
        of labels and of equal neighbours among them.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it, as that of ``ctc_loss`` does.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.zeros((2, 3, 3))
    >>> logits[1, 1] = [-np.inf, 0, -np.inf]  # this frame says 1, and nothing else
    >>> seqloss_rs.ctc_feasible(logits, [[1, 1], [2, 2]])
    Feasibility(mask=array([ True, False]), frames_needed=array([3, 3]))
    """
    return Feasibility(*_native.ctc_feasible(logits, targets, input_lengths, target_lengths, blank, scores, layout))


@overload
def ctc_greedy_decode(
    logits: Floats,
    input_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    spans: Literal[False] = False,
) -> list[NDArray[np.int64]] | Any: ...


@overload
def ctc_greedy_decode(
    logits: Floats,
    input_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    spans: Literal[True],
) -> Alignment: ...


def ctc_greedy_decode(
    logits: Floats,
    input_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    spans: bool = False,
) -> list[NDArray[np.int64]] | Any:
    """Return the labels of the best path: the best class of each frame, repeats merged, blanks dropped.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes in each frame. The first of equal scores wins; NaN counts as the least.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence.
    blank : int
        The class of the blank.
    scores : {"logits", "log_probs"}
        What `logits` holds. It matters for the scores of spans only; the labels are the same for logits,
        log-probabilities and probabilities.
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C).
    spans : bool
        Makes the result an `Alignment`.

    Returns
    -------
    list of N int64 arrays, or Alignment
        The labels of each sequence; one array for one sequence (T, C). With ``spans=True`` the class of every frame, a
        `Span` with its mean probability for every label, and the log-probability of the path (NaN where a frame has NaN
        logits).

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
    >>> found = seqloss_rs.ctc_greedy_decode(np.log(np.eye(3)[path] * 0.7 + 0.1), spans=True)
    >>> [(span.label, span.start, span.end, round(span.score, 6)) for span in found.spans]
    [(1, 0, 2, 0.8), (1, 3, 4, 0.8), (2, 4, 6, 0.8)]

    References
    ----------
    Graves et al., 2006, section 3.2, https://doi.org/10.1145/1143844.1143891.
    """
    found = _native.ctc_greedy_decode(logits, input_lengths, blank, scores, layout, spans)
    return _alignment(*found) if spans else found


def ctc_beam_decode(
    logits: Floats,
    input_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    beam_width: int = 16,
    n_best: int = 1,
    token_scores: TokenScores | None = None,
) -> list[Any]:
    """Return the label sequences of the largest probability, each summed over its paths (prefix beam search).

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes, the blank among them, in each of T frames; of float16, bfloat16, float32 or float64.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence.
    blank : int
        The class of the blank.
    scores : {"logits", "log_probs"}
        What `logits` holds: the softmax is taken of logits; log-probabilities are taken as they are.
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C).
    beam_width : int
        How many prefixes stay after each frame. A beam that is wide enough for all of them finds exact probabilities.
    n_best : int
        How many label sequences are returned, at most; at most `beam_width`.
    token_scores : (C,) or (C, C) floats, or a function, optional
        What is added to the score when a label is appended, such as the weighted log-probability of a language model:
        a number for each label; or one for each label (column) behind each label (row; the blank's row for the first
        label); or a function of the labels so far, a tuple, that returns (C,) numbers. It is called once for each
        prefix that is extended, by the caller's thread; sequences are decoded one after another then. -inf forbids a
        label; the blank's own number is not used.

    Returns
    -------
    list of N lists of Hypothesis
        The best label sequences, the best one first; one list for one sequence (T, C). There are fewer than `n_best`
        where fewer have a probability above 0. Of equal scores those come first that were in the beam before, in its
        order; then the extensions of the first of them, by their labels. NaN in a valid frame makes one hypothesis
        without labels, whose score is NaN.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it. What `token_scores` raises is passed on.

    Examples
    --------
    The best path of these frames says nothing, but most paths say 1:

    >>> import numpy as np, seqloss_rs
    >>> frames = np.log([[0.6, 0.4], [0.6, 0.4]])
    >>> seqloss_rs.ctc_greedy_decode(frames)
    array([], dtype=int64)
    >>> for found in seqloss_rs.ctc_beam_decode(frames, n_best=3):
    ...     print(found.labels, round(np.exp(found.score), 6))
    [1] 0.64
    [] 0.36

    References
    ----------
    Graves, 2012, https://doi.org/10.1007/978-3-642-24797-2, section 7.5; Hannun et al., 2014,
    https://arxiv.org/abs/1408.2873.
    """
    found = _native.ctc_beam_decode(logits, input_lengths, blank, scores, layout, beam_width, n_best, token_scores)
    if found and isinstance(found[0], list):
        return [[Hypothesis(*pair) for pair in pairs] for pairs in found]
    return [Hypothesis(*pair) for pair in found]


# What ``Span._make`` does, in half the time: there are as many spans as labels.
_span: Callable[[tuple[int, int, int, float]], Span] = partial(tuple.__new__, Span)


def _alignment(labels: Any, spans: Any, scores: Any) -> Alignment:
    return Alignment(labels, _spans(spans) if isinstance(spans, tuple) else list(map(_spans, spans)), scores)


def _spans(columns: tuple[list[int], list[int], list[int], list[float]]) -> list[Span]:
    return list(map(_span, zip(*columns, strict=True)))


@dataclass(frozen=True, eq=False)
class LabelPosteriors:
    """Where the labels of targets are expected to be: one float64 array (L,) for each sequence, or one array each.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.ctc_posteriors(np.zeros((2, 2)), [1], per="label").expected_time
    array([0.5])
    """

    occupancy: list[NDArray[np.float64]] | Any
    """Σₜ γ: the frames that each label is expected to last; 0 where the target cannot be aligned."""
    expected_time: list[NDArray[np.float64]] | Any
    """Σₜ t γ / Σₜ γ, in frames from 0; NaN where the target cannot be aligned."""
    confidence: list[NDArray[np.float64]] | Any
    """Σₜ p γ / Σₜ γ: the probability of each label where it is expected to be, in [0, 1]; 0 where the target cannot be
    aligned."""


@overload
def ctc_posteriors(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    per: Literal["class"] = "class",
    merge_repeated: bool = True,
    temperature: float = 1.0,
    log_priors: Floats | None = None,
    prior_weight: float = 1.0,
    delay_penalty: float = 0.0,
    star: Star | Sequence[Star] | None = None,
    star_penalty: float = 0.0,
) -> Any: ...


@overload
def ctc_posteriors(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    per: Literal["label"],
    merge_repeated: bool = True,
    temperature: float = 1.0,
    log_priors: Floats | None = None,
    prior_weight: float = 1.0,
    delay_penalty: float = 0.0,
    star: Star | Sequence[Star] | None = None,
    star_penalty: float = 0.0,
) -> LabelPosteriors: ...


def ctc_posteriors(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    per: Literal["class", "label"] = "class",
    merge_repeated: bool = True,
    temperature: float = 1.0,
    log_priors: Floats | None = None,
    prior_weight: float = 1.0,
    delay_penalty: float = 0.0,
    star: Star | Sequence[Star] | None = None,
    star_penalty: float = 0.0,
) -> Any:
    """Return where a target is, softly: the posterior of its alignment, over all of its paths.

    Parameters
    ----------
    logits, targets, input_lengths, target_lengths, blank, scores, layout
        As in :func:`ctc_loss`.
    merge_repeated, temperature, log_priors, prior_weight, delay_penalty, star, star_penalty
        As in :func:`ctc_loss`: they change the paths, or what a path counts for.
    per : {"class", "label"}
        "class": γ, the posterior of every class in every frame. "label": what each label of the target has of it.

    Returns
    -------
    array or list of arrays, or LabelPosteriors
        "class": like `logits` in shape (or raggedness) and dtype; a valid frame sums to 1 (what stars stand for apart),
        a frame beyond the length is 0. It is 0 where the target cannot be aligned and NaN where a valid frame is.
        "label": occupancy, expected time and confidence of each label, float64.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    Of the three paths of two frames over {blank, a} that give "a", two are at a in each frame:

    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.ctc_posteriors(np.zeros((2, 2)), [1]).round(3)
    array([[0.333, 0.667],
           [0.333, 0.667]])
    >>> labels = seqloss_rs.ctc_posteriors(np.zeros((2, 2)), [1], per="label")
    >>> labels.occupancy.round(3), labels.expected_time.round(3), labels.confidence.round(3)
    (array([1.333]), array([0.5]), array([0.5]))

    References
    ----------
    Graves et al., 2006, section 4.1, https://doi.org/10.1145/1143844.1143891.
    """
    variants = {
        "merge_repeated": merge_repeated,
        "temperature": temperature,
        "log_priors": log_priors,
        "prior_weight": prior_weight,
        "delay_penalty": delay_penalty,
        "star": star,
        "star_penalty": star_penalty,
        # What changes the loss but not the posterior.
        "entropy_weight": 0.0,
        "focal_gamma": 0.0,
        "label_smoothing": 0.0,
        "consistency_with": None,
        "consistency_weight": 0.0,
    }
    given = (logits, targets, input_lengths, target_lengths, blank, scores, layout, variants)
    if per == "class":
        return _native.ctc_posteriors(*given)
    if per != "label":
        message = f'per is {per!r}, expected one of "class", "label"'
        raise ValueError(message)
    found = _native.ctc_label_posteriors(*given)
    if isinstance(found, tuple):
        return LabelPosteriors(*found)
    return LabelPosteriors(*([arrays[kind] for arrays in found] for kind in range(3)))
