"""Rewards for policies that write: scores of texts in [0, 1], penalties that are at most 0, and sums of several.

Every function takes N texts, strings or token ids, and returns float64 (N,), or (N, K) for K rollouts of each item:
what :func:`reinforce_loss`, :func:`grpo_loss` and :func:`group_advantages` take. N lists of K strings are rollouts, as
is an array (N, K) of strings, whatever the references are; here they are never lists of tokens, which metrics take
(:meth:`Bleu.sentences`). NaN stands for "not applicable" everywhere: a sum passes over it, and an advantage of it is 0.
A call uses all threads that there are and lets others of Python go on, so that no pool of processes is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._metric import PreparedReferences, _Metric
from ._steps import real_number, real_numbers, shown, whole_number
from ._texts import Layout, Prefix, References, Texts, Tokenize
from ._types import Floats, Lengths
from .answers import ExactMatch
from .error_rate import ErrorRate
from .gleu import Gleu
from .metrics import Bleu, Chrf
from .rouge import Rouge

__all__ = [
    "TrlReward",
    "bleu",
    "chrf",
    "edit",
    "exact_match",
    "for_trl",
    "gleu",
    "overlong",
    "repetition",
    "rouge",
    "total",
]

Rewards: TypeAlias = NDArray[np.float64] | list[NDArray[np.float64]]
"""(N,) or (N, K); of every prefix (N, T) or (N, K, T), or a list of arrays where texts are strings or a list."""

Prepared: TypeAlias = References | PreparedReferences[Any]
"""References, or what ``metric.prepare(references)`` returned, whose metric then is the one that scores."""


def bleu(
    hypotheses: Texts,
    references: Prepared,
    *,
    metric: Bleu | None = None,
    prefix: Prefix = False,
    **layout: Unpack[Layout],
) -> Any:
    """Reward each text by its BLEU, in [0, 1].

    Parameters
    ----------
    hypotheses : list of N strings, list of N lists of K strings, or token ids
        What is rewarded. Token ids are (N, T), (N, K, T), a list of N arrays, or flat with ``offsets``.
    references, **layout
        As in :meth:`Bleu.sentences`: for each of the N items a text or a list of several, any of which may be hit.
        References may be prepared.
    metric : Bleu, optional
        How BLEU is computed; ``Bleu()`` by default, or what prepared the references. Short texts want
        ``smoothing="add-k"`` or a lower ``max_order``.
    prefix : bool or "shaped"
        True rewards every beginning of a text, "shaped" each token by what it adds, as :meth:`Bleu.sentences` does:
        rewards of steps for :func:`reinforce_loss`, which sum to the reward of the whole.

    Returns
    -------
    (N,) or (N, K) float64; of prefixes (N, T) or (N, K, T) with NaN beyond the end, or a list of arrays

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from seqloss_rs import Bleu, rewards
    >>> rewards.bleu(np.array([[[4, 5, 6, 7], [4, 5, 9, 9]]]), np.array([[4, 5, 6, 7]]), metric=Bleu(max_order=2))
    array([[1.        , 0.40824829]])
    >>> rewards.bleu([["the cat", "the dog"], ["a", "b"]], [["the cat"], "a"], metric=Bleu(max_order=1))
    array([[1. , 0.5],
           [1. , 0. ]])
    >>> rewards.bleu(["a b", "a c"], ["a b"], metric=Bleu(max_order=1), prefix="shaped", rollouts=2)
    [array([0.36787944, 0.63212056]), array([0.36787944, 0.13212056])]
    """
    return _scores(Bleu, metric, hypotheses, references, prefix, layout, _hundredth)


def gleu(
    hypotheses: Texts,
    references: Prepared,
    *,
    metric: Gleu | None = None,
    prefix: Prefix = False,
    **layout: Unpack[Layout],
) -> Any:
    """Reward each text by its GLEU, in [0, 1], which was made for sentences.

    Parameters
    ----------
    hypotheses, references, metric, prefix, **layout
        As in :func:`bleu`.

    Returns
    -------
    As :func:`bleu`.

    Raises
    ------
    ValueError, TypeError
        As :func:`bleu`.

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.gleu([["a b", "a c"]], ["a b"]).round(4)
    array([[1.    , 0.3333]])
    """
    return _scores(Gleu, metric, hypotheses, references, prefix, layout, _as_it_is)


def rouge(
    hypotheses: Texts,
    references: Prepared,
    *,
    metric: Rouge | None = None,
    prefix: Prefix = False,
    **layout: Unpack[Layout],
) -> Any:
    """Reward each text by its ROUGE, in [0, 1].

    Parameters
    ----------
    hypotheses, references, prefix, **layout
        As in :func:`bleu`.
    metric : Rouge, optional
        How ROUGE is computed; ``Rouge()``, which is ROUGE-L, by default.

    Returns
    -------
    As :func:`bleu`.

    Raises
    ------
    ValueError, TypeError
        As :func:`bleu`.

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.rouge(["the cat", "a dog"], ["the cat", "one dog"])
    array([1. , 0.5])
    """
    return _scores(Rouge, metric, hypotheses, references, prefix, layout, _as_it_is)


def chrf(
    hypotheses: Texts,
    references: Prepared,
    *,
    metric: Chrf | None = None,
    prefix: Prefix = False,
    **layout: Unpack[Layout],
) -> Any:
    """Reward each text by its chrF, in [0, 1].

    Parameters
    ----------
    hypotheses, references, prefix, **layout
        As in :func:`bleu`.
    metric : Chrf, optional
        How chrF is computed; ``Chrf()`` by default.

    Returns
    -------
    As :func:`bleu`.

    Raises
    ------
    ValueError, TypeError
        As :func:`bleu`.

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.chrf(["the cat", "the mat"], ["the cat"], rollouts=2).round(3)
    array([[1.   , 0.281]])
    """
    return _scores(Chrf, metric, hypotheses, references, prefix, layout, _hundredth)


def edit(
    hypotheses: Texts,
    references: Prepared,
    *,
    metric: ErrorRate | None = None,
    prefix: Prefix = False,
    **layout: Unpack[Layout],
) -> Any:
    """Reward each text by how few edits lead to its reference: 1 − error rate, and 0 where that exceeds 1.

    Parameters
    ----------
    hypotheses, references, prefix, **layout
        As in :func:`bleu`.
    metric : ErrorRate, optional
        Whose rate; the word error rate by default. Its measure may not be "wip", which is no rate of errors.

    Returns
    -------
    As :func:`bleu`.

    Raises
    ------
    ValueError, TypeError
        As :func:`bleu`.

    Examples
    --------
    >>> from seqloss_rs import ErrorRate, rewards
    >>> rewards.edit(["a b x d", "x y z x y"], ["a b c d", "a b"])
    array([0.75, 0.  ])
    >>> rewards.edit(["abxd"], ["abcd"], metric=ErrorRate(unit="char"), prefix="shaped")
    [array([0.25, 0.25, 0.  , 0.25])]
    """
    used = _used(ErrorRate, metric, references)
    if used.measure == "wip":
        raise ValueError("metric has measure 'wip', expected a rate of errors: 'wer', 'mer' or 'wil'")
    # What a token adds is told by what is left of the rate, which may be cut off.
    every = True if prefix == "shaped" else prefix
    scores = _scores(ErrorRate, metric, hypotheses, references, every, layout, _remainder)
    if prefix != "shaped":
        return scores
    return [_differences(each) for each in scores] if isinstance(scores, list) else _differences(scores)


def exact_match(
    hypotheses: Texts, references: Prepared, *, metric: ExactMatch | None = None, **layout: Unpack[Layout]
) -> NDArray[np.float64]:
    """Reward each text by 1 where it is its reference, of several any, and by 0 elsewhere.

    Strings are compared as they stand, but for whitespace around them, as trainers do with what they have cut out of a
    completion. SQuAD's rules are made for answers in words: by them "3.5" matches "35", and "-5" and "1/2" match "5"
    and "12", so that a policy would be paid for what is wrong.

    Parameters
    ----------
    hypotheses, references, **layout
        As in :func:`bleu`.
    metric : ExactMatch, optional
        How texts are compared; ``ExactMatch(normalize="strip")`` by default. ``ExactMatch()`` is SQuAD's: lower-cased,
        without punctuation and articles.

    Returns
    -------
    (N,) or (N, K) float64

    Raises
    ------
    ValueError, TypeError
        As :func:`bleu`.

    Examples
    --------
    >>> from seqloss_rs import ExactMatch, rewards
    >>> rewards.exact_match([[" 3.5", "35"], ["1/2", "0.5"]], ["3.5", ["1/2", "0.5"]])
    array([[1., 0.],
           [1., 1.]])
    >>> rewards.exact_match(["The Eiffel Tower!", "Paris"], [["eiffel tower"], ["London"]], metric=ExactMatch())
    array([1., 0.])
    """
    if metric is None and not isinstance(references, PreparedReferences):
        metric = ExactMatch(normalize="strip")
    found: NDArray[np.float64] = _scores(ExactMatch, metric, hypotheses, references, False, layout, _as_it_is)
    return found


def repetition(
    hypotheses: Texts,
    *,
    order: int = 3,
    max_penalty: float = -1.0,
    tokenize: Tokenize = "none",
    lowercase: bool = True,
    lengths: Lengths | None = None,
    offsets: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    rollouts: int | None = None,
) -> NDArray[np.float64]:
    """Punish what repeats itself: `max_penalty` times the part of n-grams that have been there before.

    Parameters
    ----------
    hypotheses : list of N strings, list of N lists of K strings, or token ids
        As in :func:`bleu`.
    order : int
        The length of the n-grams, in 1..32.
    max_penalty : float
        At most 0; −1 for one n-gram over and over.
    tokenize, lowercase
        How strings are cut, as in :func:`bleu_loss`: at spaces and in lower case by default. Ids stay.
    lengths, offsets, eos_id, pad_id, rollouts
        How texts lie, as in :class:`Bleu`.

    Returns
    -------
    (N,) or (N, K) float64
        In [`max_penalty`, 0]; 0 for a text that is too short to repeat.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.repetition(["a b a b a b", "a b c"], order=2)
    array([-0.6,  0. ])

    References
    ----------
    ``get_repetition_penalty_reward`` of open-r1, after Yeo et al., 2025, https://arxiv.org/abs/2502.03373.
    """
    max_penalty = real_number("max_penalty", max_penalty)
    if max_penalty > 0:
        message = f"max_penalty is {max_penalty}, expected a number that is at most 0"
        raise ValueError(message)
    own = _rollouts(hypotheses)
    reader = Bleu(tokenize=tokenize, lowercase=lowercase if _are_strings(own) else False)
    layout = {"lengths": lengths, "offsets": offsets, "eos_id": eos_id, "pad_id": pad_id}
    different, of_all = _ngrams(own, order, reader, layout, rollouts)
    return (1 - different / np.maximum(of_all, 1)) * np.where(of_all > 0, max_penalty, 0.0) + 0.0


def overlong(
    hypotheses: Texts,
    *,
    max_length: int,
    buffer: int,
    tokenize: Tokenize = "none",
    lengths: Lengths | None = None,
    offsets: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    rollouts: int | None = None,
) -> NDArray[np.float64]:
    """Punish what is too long, softly: from 0 at `max_length` − `buffer` tokens down to −1 at `max_length` and beyond.

    Parameters
    ----------
    hypotheses, tokenize, lengths, offsets, eos_id, pad_id, rollouts
        As in :func:`repetition`.
    max_length : int
        The most tokens that a text may have.
    buffer : int
        How many before are punished already, from 0 to `max_length`.

    Returns
    -------
    (N,) or (N, K) float64
        In [−1, 0].

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from seqloss_rs import rewards
    >>> rewards.overlong(np.zeros((5, 12), int), lengths=[4, 6, 8, 10, 12], max_length=10, buffer=4)
    array([ 0. ,  0. , -0.5, -1. , -1. ])

    References
    ----------
    Equation 13 of DAPO, Yu et al., 2025, https://arxiv.org/abs/2503.14476; ``get_soft_overlong_punishment`` of TRL.
    """
    max_length, buffer = whole_number("max_length", max_length, 0), whole_number("buffer", buffer, None)
    if not 0 <= buffer <= max_length:
        message = f"buffer is {buffer}, which is not in 0..={max_length}, up to max_length"
        raise ValueError(message)
    layout = {"lengths": lengths, "offsets": offsets, "eos_id": eos_id, "pad_id": pad_id}
    _, counts = _ngrams(_rollouts(hypotheses), 1, Bleu(tokenize=tokenize), layout, rollouts)
    beyond = counts - (max_length - buffer)
    return np.where(counts > max_length, -1.0, -np.clip(beyond, 0, None) / max(buffer, 1)) + 0.0


def total(rewards: Sequence[Floats], weights: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Add rewards up, each times its weight; one that is NaN (or None) is not applicable, and passed over.

    Parameters
    ----------
    rewards : list of arrays of one shape
        Such as (N, K), or (N, T) of single steps.
    weights : list of floats, optional
        One for each, finite; 1 by default. A reward of weight 0 is as good as left out, whatever it holds.

    Returns
    -------
    array of that shape, float64
        NaN where no reward is applicable: such a text has no advantage. TRL has 0 there, which is a reward.

    Raises
    ------
    ValueError, TypeError
        Where shapes differ, weights are not as many, or something is no number; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from seqloss_rs import rewards
    >>> rewards.total([[1.0, None, None], np.array([0.5, -1.0, np.nan])], weights=[1.0, 0.5])
    array([ 1.25, -0.5 ,   nan])
    """
    parts = [real_numbers(f"rewards[{place}]", part) for place, part in enumerate(rewards)]
    given = [1.0] * len(parts) if weights is None else weights
    factors = [real_number(f"weights[{place}]", weight) for place, weight in enumerate(given)]
    if not parts:
        raise ValueError("rewards is empty, expected at least one array")
    if len(factors) != len(parts):
        message = f"weights has length {len(factors)}, expected {len(parts)}, one for each of rewards"
        raise ValueError(message)
    for place, part in enumerate(parts):
        if part.shape != parts[0].shape:
            message = f"rewards[{place}] has shape {part.shape}, expected {parts[0].shape}, that of rewards[0]"
            raise ValueError(message)
    own, scale = np.stack(parts), np.reshape(factors, (-1, *[1] * parts[0].ndim))
    there = ~np.isnan(own) & (scale != 0)
    with np.errstate(invalid="ignore"):  # inf - inf
        weighted: NDArray[np.float64] = (np.where(there, own, 0.0) * scale).sum(0)
    return np.where(there.any(0), weighted, np.nan)


@dataclass(frozen=True)
class TrlReward:
    """A reward in the form that TRL's trainers call: what :func:`for_trl` returns. It can be pickled.

    Attributes
    ----------
    function : callable
        One of this module's, or one like them.
    column : str, optional
        The column of the data set that holds the references.
    of_ids : bool
        Whether the function gets token ids; else the texts.
    options : dict
        What else it is called with.
    """

    function: Callable[..., Any]
    column: str | None
    of_ids: bool
    # A dict has no hash; the rest tells most rewards apart.
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def __name__(self) -> str:
        """The name that TRL logs."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __call__(
        self, completions: Sequence[Any] | None = None, completion_ids: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """Reward each completion: a float, or None where the reward is not applicable, or its reference is None."""
        given: Sequence[Any] | None = completion_ids if self.of_ids else completions
        if given is None:
            message = f"{'completion_ids' if self.of_ids else 'completions'} is None, and {self.__name__} is of them"
            raise TypeError(message)
        # Of a conversation, what was said last.
        texts = [np.asarray(each, np.int64) for each in given] if self.of_ids else [_said(each) for each in given]
        found: list[float | None] = [None] * len(texts)
        arguments: list[Any] = [texts]
        applicable = list(range(len(texts)))
        if self.column is not None:
            references = columns[self.column]
            if len(references) != len(texts):
                message = f"{self.column} has length {len(references)}, expected {len(texts)}, one for each completion"
                raise ValueError(message)
            applicable = [place for place in applicable if references[place] is not None]
            arguments = [[each[place] for place in applicable] for each in (texts, references)]
        if applicable:
            for place, reward in zip(applicable, self.function(*arguments, **self.options), strict=True):
                found[place] = None if np.isnan(reward) else float(reward)
        return found


def for_trl(function: Callable[..., Any], column: str | None = None, *, ids: bool = False, **options: Any) -> TrlReward:
    """Make a reward that TRL's trainers can call, with ``reward_funcs=[...]``.

    Parameters
    ----------
    function : callable
        Such as :func:`bleu`, called with the completions and, if `column` is given, with the references.
    column : str, optional
        The column of the data set that holds a reference for each completion, or a list of them; or None, and then the
        reward of that completion is None as well: not applicable.
    ids : bool
        Whether the function gets the token ids of the completions, such as :func:`overlong` wants; the references then
        are ids as well.
    **options
        What else the function is called with.

    Returns
    -------
    TrlReward

    Raises
    ------
    KeyError, ValueError, TypeError
        When it is called: where there is no such column, where that has another length than the completions, and where
        there are no ids; and what the function raises.

    Examples
    --------
    >>> from seqloss_rs import Rouge, rewards
    >>> reward = rewards.for_trl(rewards.rouge, "answer", metric=Rouge(variant="rouge1"))
    >>> reward.__name__, reward(completions=["the cat", "a", "b"], answer=["the dog", "a", None], prompts=[""] * 3)
    ('rouge', [0.5, 1.0, None])
    """
    return TrlReward(function, column, ids, options)


def _said(completion: Any) -> str:
    text: str = completion if isinstance(completion, str) else completion[-1]["content"]
    return text


def _as_it_is(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores


def _hundredth(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores / 100


def _remainder(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - rates, 0)


def _differences(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each score adds to the one before it; nothing was rewarded before the first."""
    return np.diff(scores, axis=-1, prepend=0.0)


M = TypeVar("M", bound=_Metric[Any])


def _used(kind: type[M], metric: M | None, references: Prepared) -> M:
    """Return the metric that scores."""
    if metric is not None and not isinstance(metric, kind):
        message = f"metric is {shown(metric)}, expected {kind.__name__}(...)"
        raise TypeError(message)
    if not isinstance(references, PreparedReferences):
        return kind() if metric is None else metric
    prepared: _Metric[Any] = references.metric
    if not isinstance(prepared, kind):
        message = f"references were prepared by {prepared}, expected a {kind.__name__}"
        raise TypeError(message)
    if metric not in (None, prepared):
        message = f"metric is {metric}, but references were prepared by {prepared}"
        raise ValueError(message)
    return prepared


def _scores(
    kind: type[M],
    metric: M | None,
    hypotheses: Texts,
    references: Prepared,
    prefix: Prefix,
    layout: Layout,
    scale: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Any:
    used, own = _used(kind, metric, references), _rollouts(hypotheses)
    if isinstance(references, PreparedReferences):
        scores: Any = references.sentences(own, prefix=prefix, **layout)
    else:
        scores = used.sentences(own, references, prefix=prefix, **layout)
    return [scale(each) for each in scores] if isinstance(scores, list) else scale(scores)


def _rollouts(texts: Texts) -> Any:
    """Return N lists of K strings as an array of them, which no metric takes for lists of tokens."""
    own: Any = texts
    if not isinstance(texts, (list, tuple, str)):
        array = np.asarray(texts)
        # A column of a table may hold lists.
        own = array.tolist() if array.dtype == object and array.ndim == 1 else texts
    if not isinstance(own, (list, tuple)):
        return own
    rows = [row if isinstance(row, (list, tuple)) else None for row in own]
    if not any(row and isinstance(row[0], str) for row in rows):
        return own
    first = next(place for place, row in enumerate(rows) if row)
    for place, row in enumerate(rows):
        if row is None:
            message = f"hypotheses[{place}] has type {type(own[place]).__name__}, expected a list of strings"
            raise TypeError(message)
        if len(row) != len(own[first]):
            message = f"hypotheses[{place}] has {len(row)} texts, expected {len(own[first])} as hypotheses[{first}] has"
            raise ValueError(f"{message}: lists of strings are rollouts here, and never lists of tokens")
    return np.array([text for row in own for text in row], object).reshape(len(rows), -1)


def _are_strings(texts: Any) -> bool:
    if isinstance(texts, (list, tuple)):
        return len(texts) > 0 and isinstance(texts[0], str)
    return np.asarray(texts).dtype.kind in "OUT"


def _ngrams(
    texts: Any, order: int, reader: Bleu, layout: dict[str, Any], rollouts: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Different n-grams, and all, of each text: (N,) or (N, K)."""
    rows: NDArray[np.int64]
    rows, axes = _native.distinct_ngrams(reader._metric(), texts, order, layout, "hypotheses")
    if rollouts is not None:
        rollouts, count = whole_number("rollouts", rollouts, 1), len(rows) - 1
        if len(axes) == 2 and axes[1] != rollouts:
            message = f"rollouts is {rollouts}, but hypotheses have {axes[1]} for each item"
            raise ValueError(message)
        if count % rollouts:
            message = f"rollouts is {rollouts}, which does not divide {count}, the number of hypotheses"
            raise ValueError(message)
        axes = (count // rollouts, rollouts)
    return rows[:-1, 0].reshape(axes), rows[:-1, 1].reshape(axes)
