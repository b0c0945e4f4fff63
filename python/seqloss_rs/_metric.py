"""What the metrics of text have in common."""

from typing import Any, Generic, Literal, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._texts import Layout, Prefix, References, Texts
from ._types import Integers

__all__ = ["PreparedReferences"]

Score = TypeVar("Score")


class _Metric(Generic[Score]):
    """What the metrics have in common."""

    def __post_init__(self) -> None:
        self._metric()

    def _metric(self) -> Any:
        """Return the native metric; it checks the options."""
        raise NotImplementedError

    def _score(self, parts: tuple[Any, ...]) -> Score:
        """Put the parts of the corpus score together."""
        raise NotImplementedError

    def corpus(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> Score:
        """Score all pairs together.

        Parameters
        ----------
        hypotheses : list of N strings, list of N lists of tokens, or token ids
            What is scored. Token ids of any integer type (below 2**63 - 1) are (N, T), (N, K, T) with K hypotheses for
            each item of the references, a list of N arrays, or flat with ``offsets``.
        references : list of N texts, or list of N lists of texts
            ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several; None in a list of several
            is a missing one. Token ids may be (N, R), and several of them (N, M, R).
        **layout
            lengths, reference_lengths, offsets, reference_offsets, eos_id, pad_id, rollouts, as :class:`Layout` tells.
        """
        return self._score(self._metric().corpus(hypotheses, references, layout))

    @overload
    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Literal[False] = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64]: ...

    @overload
    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Prefix, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]: ...

    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Prefix = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]:
        """Score each pair: (N,), or (N, K) for K hypotheses for each item of the references.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        prefix : bool or "shaped"
            True scores every beginning of every hypothesis instead, of 1, 2, … tokens, each exactly as if it stood
            alone. "shaped" gives what each token adds, the first one its whole score, so that they sum to the score of
            the whole: rewards for single steps. Token ids in an array (N, T) or (N, K, T) have an array of that shape,
            NaN beyond their end; other hypotheses have a list of arrays, one for each. Tokens are the metric's own:
            words, or characters. All prefixes together take about as long as a few whole pairs; ROUGE-Lsum, TER and
            chrF with words have none.

        Examples
        --------
        >>> import numpy as np, seqloss_rs
        >>> rouge = seqloss_rs.Rouge(variant="rouge1")
        >>> rouge.sentences(np.array([[5, 6, 7]]), np.array([[5, 7]]), prefix=True).round(4)
        array([[0.6667, 0.5   , 0.8   ]])
        >>> rouge.sentences(["the cat"], ["a cat"], prefix="shaped")
        [array([0. , 0.5])]
        """
        if prefix is not False:
            every: NDArray[np.float64] | list[NDArray[np.float64]]
            every = _native.prefix_scores(self._metric(), hypotheses, references, layout, prefix)
            return every
        scores: NDArray[np.float64] = self._metric().sentences(hypotheses, references, layout)
        return scores

    def pairwise(self, hypotheses: Texts, references: Texts, **layout: Unpack[Layout]) -> NDArray[np.float64]:
        """Score every hypothesis against every reference: (H, R).

        Much faster than pair by pair: texts are read once, and n-grams of the references are looked up in an index.

        Parameters
        ----------
        hypotheses : H texts
            As in :meth:`corpus`.
        references : R texts
            The same kind, one text each.
        **layout
            All of :class:`Layout` but rollouts.

        Examples
        --------
        >>> import seqloss_rs
        >>> seqloss_rs.Rouge(variant="rouge1").pairwise(["the cat", "a dog", "sat"], ["the dog", "cat"]).round(4)
        array([[0.5   , 0.6667],
               [0.5   , 0.    ],
               [0.    , 0.    ]])
        """
        matrix: NDArray[np.float64] = _native.pairwise(self._metric(), hypotheses, references, layout)
        return matrix

    def statistics(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> NDArray[np.int64]:
        """Count each pair: (N, k) or (N, K, k), rows that can be kept, added and scored later.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        """
        rows: NDArray[np.int64] = self._metric().statistics(hypotheses, references, layout)
        return rows

    def prepare(self, references: References, **layout: Unpack[Layout]) -> "PreparedReferences[Score]":
        """Read references once, for many calls with other hypotheses.

        Parameters
        ----------
        references
            As in :meth:`corpus`; a list of strings among them is several references, so one reference that is cut into
            tokens is a list that holds it.
        **layout
            reference_lengths, reference_offsets; eos_id, pad_id, which then hold for hypotheses as well.

        Returns
        -------
        PreparedReferences
        """
        return PreparedReferences(self, references, layout)

    def from_statistics(self, rows: Integers) -> Score:
        """Score rows of :meth:`statistics`: (N, k), or one row (k,) that may be the sum of many."""
        return self._score(self._metric().score_statistics(rows))


class PreparedReferences(Generic[Score]):
    """References that were read, copied and checked once: what :meth:`Bleu.prepare` and its like return.

    It can be pickled, and shared by threads. ``len()`` is N, the number of items.

    Attributes
    ----------
    metric : Bleu, Rouge, ErrorRate, …
        What scores.

    Examples
    --------
    >>> import seqloss_rs
    >>> prepared = seqloss_rs.Rouge(variant="rouge1").prepare(["the cat", ["a dog", "one dog"]])
    >>> prepared.sentences(["the cat", "dog"]).round(4)
    array([1.    , 0.6667])
    >>> prepared.sentences(["the cat", "the", "one dog", "two"], rollouts=2).round(4)
    array([[1.    , 0.6667],
           [1.    , 0.    ]])
    """

    def __init__(self, metric: _Metric[Score], references: References, layout: Layout) -> None:
        self.metric = metric
        self._texts = metric._metric().prepare(references, layout)
        self._layout: Layout = {"eos_id": layout.get("eos_id"), "pad_id": layout.get("pad_id")}

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"PreparedReferences({len(self)} for {self.metric})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.metric, self._texts.lists(), self._layout)

    def _with(self, layout: Layout) -> Layout:
        return {**self._layout, **layout}

    def corpus(self, hypotheses: Texts, **layout: Unpack[Layout]) -> Score:
        """Score all pairs together.

        Parameters
        ----------
        hypotheses
            As in :meth:`Bleu.corpus`: N of them, or K for each item of the references.
        **layout
            lengths, offsets, rollouts, as :class:`Layout` tells.
        """
        return self.metric.corpus(hypotheses, self._texts, **self._with(layout))

    @overload
    def sentences(
        self, hypotheses: Texts, *, prefix: Literal[False] = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64]: ...

    @overload
    def sentences(
        self, hypotheses: Texts, *, prefix: Prefix, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]: ...

    def sentences(
        self, hypotheses: Texts, *, prefix: Prefix = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]:
        """Score each pair: (N,), or (N, K) for K hypotheses for each item of the references.

        Parameters
        ----------
        hypotheses, prefix, **layout
            As in :meth:`corpus` and :meth:`Bleu.sentences`.
        """
        return self.metric.sentences(hypotheses, self._texts, prefix=prefix, **self._with(layout))

    def pairwise(self, hypotheses: Texts, **layout: Unpack[Layout]) -> NDArray[np.float64]:
        """Score every hypothesis against every reference: (H, N), as :meth:`Bleu.pairwise` does.

        Parameters
        ----------
        hypotheses, **layout
            As in :meth:`corpus`, but without rollouts.
        """
        return self.metric.pairwise(hypotheses, self._texts, **self._with(layout))

    def statistics(self, hypotheses: Texts, **layout: Unpack[Layout]) -> NDArray[np.int64]:
        """Count each pair: (N, k) or (N, K, k).

        Parameters
        ----------
        hypotheses, **layout
            As in :meth:`corpus`.
        """
        return self.metric.statistics(hypotheses, self._texts, **self._with(layout))
