"""How texts come in, and the words for how they are compared."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, TypedDict

from . import _native
from ._types import Integers, Lengths

Texts: TypeAlias = Sequence[str] | Sequence[Sequence[str]] | Integers
"""N strings, N lists of tokens, or N texts of token ids: an (N, T) array or a list of N arrays."""

References: TypeAlias = (
    Sequence[str] | Sequence[Sequence[str | None]] | Sequence[Sequence[Sequence[str] | None]] | Integers
)
"""What each of N texts is compared with: one text, or a list of them."""

Smoothing: TypeAlias = Literal["none", "floor", "add-k", "exp"]
OwnTokenizer: TypeAlias = Callable[[str], str | list[str] | tuple[str, ...]]
"""Takes a string, and returns it with spaces between its tokens, or a list of them."""

Tokenize: TypeAlias = Literal["13a", "none", "char", "intl", "zh"] | OwnTokenizer
RougeTokenize: TypeAlias = Literal["ascii", "unicode"] | OwnTokenizer
MultipleReferences: TypeAlias = Literal["best", "mean"]
Measure: TypeAlias = Literal["f", "precision", "recall"]
Variant: TypeAlias = Literal[
    "rouge1", "rouge2", "rouge3", "rouge4", "rouge5", "rouge6", "rouge7", "rouge8", "rouge9", "rougeL", "rougeLsum"
]
Unit: TypeAlias = Literal["word", "char"] | OwnTokenizer
Prefix: TypeAlias = bool | Literal["shaped"]
TextReduction: TypeAlias = (
    Literal["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean", "corpus"] | _native.LossSum
)


class Layout(TypedDict, total=False):
    """How token ids lie in their arrays; None is as good as left out.

    Attributes
    ----------
    lengths, reference_lengths : (N,) integers, or (N, K)
        How many ids of each text count; what lies beyond changes nothing.
    offsets, reference_offsets : (N + 1,) integers
        The array is flat, and text i lies between offsets i and i + 1.
    eos_id : int
        A text ends before the first id like this.
    pad_id : int
        Ids like this do not count at the end of a text.
    rollouts : int
        K: so many hypotheses, one after another, are compared with the same item of the references. Arrays of ids
        (N, K, T) say it themselves.
    """

    lengths: Lengths | None
    reference_lengths: Lengths | None
    offsets: Lengths | None
    reference_offsets: Lengths | None
    eos_id: int | None
    pad_id: int | None
    rollouts: int | None
