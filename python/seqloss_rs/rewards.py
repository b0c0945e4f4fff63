"""Rewards for policies that write: scores of texts in [0, 1], penalties that are at most 0, and sums of several.

Every function takes N texts, strings or token ids, and returns float64 (N,), or (N, K) for K rollouts of each item:
what :func:`reinforce_loss`, :func:`grpo_loss` and :func:`group_advantages` take. NaN stands for "not applicable"
everywhere: a sum passes over it, and an advantage of it is 0. A call uses all threads that there are and lets others of
Python go on, so that no pool of processes is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._metric import PreparedReferences, _Metric
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
    hypotheses, references, **layout
        As in :meth:`Bleu.sentences`; references may be prepared.
    metric : Bleu, optional
        How BLEU is computed; ``Bleu()`` by default. Short texts want ``smoothing="add-k"`` or a lower ``max_order``.
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
    >>> rewards.bleu(["a b", "a c"], ["a b"], metric=Bleu(max_order=1), prefix="shaped", rollouts=2)
    [array([0.36787944, 0.63212056]), array([0.36787944, 0.13212056])]
    """
    return _scores(Bleu() if metric is None else metric, hypotheses, references, prefix, layout, _hundredth)


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

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.gleu(["a b", "a c"], ["a b"], rollouts=2).round(4)
    array([[1.    , 0.3333]])
    """
    return _scores(Gleu() if metric is None else metric, hypotheses, references, prefix, layout, _as_it_is)


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

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.rouge(["the cat", "a dog"], ["the cat", "one dog"])
    array([1. , 0.5])
    """
    return _scores(Rouge() if metric is None else metric, hypotheses, references, prefix, layout, _as_it_is)


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

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.chrf(["the cat", "the mat"], ["the cat"], rollouts=2).round(3)
    array([[1.   , 0.281]])
    """
    return _scores(Chrf() if metric is None else metric, hypotheses, references, prefix, layout, _hundredth)


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

    Examples
    --------
    >>> from seqloss_rs import ErrorRate, rewards
    >>> rewards.edit(["a b x d", "x y z x y"], ["a b c d", "a b"])
    array([0.75, 0.  ])
    >>> rewards.edit(["abxd"], ["abcd"], metric=ErrorRate(unit="char"), prefix="shaped")
    [array([0.25, 0.25, 0.  , 0.25])]
    """
    metric = ErrorRate() if metric is None else metric
    used = references.metric if isinstance(references, PreparedReferences) else metric
    if getattr(used, "measure", None) == "wip":
        raise ValueError("metric has measure 'wip', expected a rate of errors: 'wer', 'mer' or 'wil'")
    # What a token adds is told by what is left of the rate, which may be cut off.
    scores = _scores(metric, hypotheses, references, bool(prefix), layout, _remainder)
    if prefix != "shaped":
        return scores
    return [_differences(each) for each in scores] if isinstance(scores, list) else _differences(scores)


def exact_match(hypotheses: Texts, references: Prepared, **layout: Unpack[Layout]) -> NDArray[np.float64]:
    """Reward each text by 1 where it has the words of its reference, of several any, and by 0 elsewhere.

    Parameters
    ----------
    hypotheses, references, **layout
        As in :func:`bleu`. Strings are lower-cased, and lose punctuation and articles, as :class:`ExactMatch` does.

    Returns
    -------
    (N,) or (N, K) float64

    Examples
    --------
    >>> from seqloss_rs import rewards
    >>> rewards.exact_match(["The Eiffel Tower!", "Paris"], [["eiffel tower"], ["London"]])
    array([1., 0.])
    """
    found: NDArray[np.float64] = _scores(ExactMatch(), hypotheses, references, False, layout, _as_it_is)
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
    hypotheses : list of strings, list of lists of tokens, or token ids
        Token ids are (N, T), (N, K, T), a list of arrays, or flat with ``offsets``.
    order : int
        The length of the n-grams, in 1..32.
    max_penalty : float
        At most 0; −1 for one n-gram over and over.
    tokenize, lowercase
        How strings are cut, as in :func:`bleu_loss`: at spaces and in lower case by default. Tokens and ids stay.
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
    if not max_penalty <= 0:
        message = f"max_penalty is {max_penalty}, expected a number that is at most 0"
        raise ValueError(message)
    reader = Bleu(tokenize=tokenize, lowercase=lowercase and _are_strings(hypotheses))
    different, of_all = _ngrams(hypotheses, order, reader, lengths, offsets, eos_id, pad_id, rollouts)
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
    if not 0 <= buffer <= max_length:
        message = f"buffer is {buffer}, which is not in 0..={max_length}, up to max_length"
        raise ValueError(message)
    _, counts = _ngrams(hypotheses, 1, Bleu(tokenize=tokenize), lengths, offsets, eos_id, pad_id, rollouts)
    beyond = counts - (max_length - buffer)
    return np.where(counts > max_length, -1.0, -np.clip(beyond, 0, None) / max(buffer, 1)) + 0.0


def total(rewards: Sequence[Floats], weights: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Add rewards up, each times its weight; one that is NaN (or None) is not applicable, and passed over.

    Parameters
    ----------
    rewards : list of arrays of one shape
        Such as (N, K), or (N, T) of single steps.
    weights : list of floats, optional
        One for each; 1 by default.

    Returns
    -------
    array of that shape, float64
        NaN where no reward is applicable: such a text has no advantage. TRL has 0 there, which is a reward.

    Raises
    ------
    ValueError
        Where shapes differ, or weights are not as many.

    Examples
    --------
    >>> import numpy as np
    >>> from seqloss_rs import rewards
    >>> rewards.total([[1.0, None, None], np.array([0.5, -1.0, np.nan])], weights=[1.0, 0.5])
    array([ 1.25, -0.5 ,   nan])
    """
    parts = [np.asarray(part, np.float64) for part in rewards]
    factors = [1.0] * len(parts) if weights is None else [float(weight) for weight in weights]
    if not parts:
        raise ValueError("rewards is empty, expected at least one array")
    if len(factors) != len(parts):
        message = f"weights has length {len(factors)}, expected {len(parts)}, one for each of rewards"
        raise ValueError(message)
    for place, part in enumerate(parts):
        if part.shape != parts[0].shape:
            message = f"rewards[{place}] has shape {part.shape}, expected {parts[0].shape}, that of rewards[0]"
            raise ValueError(message)
    own = np.stack(parts)
    there = ~np.isnan(own)
    weighted = np.where(there, own, 0.0) * np.reshape(factors, (-1, *[1] * parts[0].ndim))
    summed: NDArray[np.float64] = np.where(there.any(0), weighted.sum(0), np.nan)
    return summed


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
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def __name__(self) -> str:
        """The name that TRL logs."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __call__(
        self, completions: Sequence[Any] | None = None, completion_ids: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """Reward each completion: a float, or None where the reward is not applicable."""
        given: Sequence[Any] | None = completion_ids if self.of_ids else completions
        if given is None:
            message = f"{'completion_ids' if self.of_ids else 'completions'} is None, and {self.__name__} is of them"
            raise TypeError(message)
        # Of a conversation, what was said last.
        texts = [np.asarray(each, np.int64) for each in given] if self.of_ids else [_said(each) for each in given]
        arguments = [texts] if self.column is None else [texts, columns[self.column]]
        rewards = self.function(*arguments, **self.options)
        return [None if np.isnan(reward) else float(reward) for reward in rewards]


def for_trl(function: Callable[..., Any], column: str | None = None, *, ids: bool = False, **options: Any) -> TrlReward:
    """Make a reward that TRL's trainers can call, with ``reward_funcs=[...]``.

    Parameters
    ----------
    function : callable
        Such as :func:`bleu`, called with the completions and, if `column` is given, with the references.
    column : str, optional
        The column of the data set that holds a reference for each completion, or a list of them.
    ids : bool
        Whether the function gets the token ids of the completions, such as :func:`overlong` wants; the references then
        are ids as well.
    **options
        What else the function is called with.

    Returns
    -------
    TrlReward

    Examples
    --------
    >>> from seqloss_rs import Rouge, rewards
    >>> reward = rewards.for_trl(rewards.rouge, "answer", metric=Rouge(variant="rouge1"))
    >>> reward.__name__, reward(completions=["the cat", "a"], answer=["the dog", "a"], prompts=["", ""])
    ('rouge', [0.5, 1.0])
    """
    return TrlReward(function, column, ids, options)


def _are_strings(texts: Any) -> bool:
    return isinstance(texts, (list, tuple)) and len(texts) > 0 and isinstance(texts[0], str)


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


def _scores(
    metric: _Metric[Any],
    hypotheses: Texts,
    references: Prepared,
    prefix: Prefix,
    layout: Layout,
    scale: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Any:
    if isinstance(references, PreparedReferences):
        if type(references.metric) is not type(metric):
            message = f"references were prepared by {references.metric}, expected a {type(metric).__name__}"
            raise TypeError(message)
        scores: Any = references.sentences(hypotheses, prefix=prefix, **layout)
    else:
        scores = metric.sentences(hypotheses, references, prefix=prefix, **layout)
    return [scale(each) for each in scores] if isinstance(scores, list) else scale(scores)


def _ngrams(
    texts: Texts,
    order: int,
    reader: Bleu,
    lengths: Lengths | None,
    offsets: Lengths | None,
    eos_id: int | None,
    pad_id: int | None,
    rollouts: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Different n-grams, and all, of each text: (N,) or (N, K)."""
    shape: tuple[int, ...] = (-1,) if rollouts is None else (-1, rollouts)
    if rollouts is not None and rollouts < 1:
        message = f"rollouts is {rollouts}, which is not a count of at least 1"
        raise ValueError(message)
    own: Any = texts
    if not isinstance(texts, (list, tuple)) and np.ndim(own := np.asarray(texts)) == 3:
        if rollouts not in (None, own.shape[1]):
            message = f"rollouts is {rollouts}, but hypotheses have {own.shape[1]} for each item"
            raise ValueError(message)
        shape = own.shape[:2]
        own = own.reshape(-1, own.shape[2])
        lengths = None if lengths is None else np.reshape(np.asarray(lengths), -1)
    layout = {"lengths": lengths, "offsets": offsets, "eos_id": eos_id, "pad_id": pad_id}
    rows: NDArray[np.int64] = _native.distinct_ngrams(reader._metric(), own, order, layout)[:-1]
    if rollouts is not None and len(rows) % rollouts:
        message = f"rollouts is {rollouts}, which does not divide {len(rows)}, the number of hypotheses"
        raise ValueError(message)
    if shape[0] == -1:
        shape = (len(rows) // (rollouts or 1), *shape[1:])
    return rows[:, 0].reshape(shape), rows[:, 1].reshape(shape)
