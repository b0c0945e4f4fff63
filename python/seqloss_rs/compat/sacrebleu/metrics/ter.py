"""The translation edit rate."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....metrics import Ter
from ..tokenizers.tokenizer_ter import TercomTokenizer
from .base import Metric, Score, Streams

__all__ = ["TER", "TERScore"]


class TERScore(Score):
    """TER and what it is made of.

    Parameters
    ----------
    score : float
        In percent; it can exceed 100.
    num_edits : int
        Edits, shifts among them.
    ref_length : float
        In words; the mean where there are several references.
    """

    def __init__(self, score: float, num_edits: float, ref_length: float) -> None:
        super().__init__("TER", score)
        self.num_edits = int(num_edits)
        self.ref_length = ref_length


class TER(Metric[TERScore]):
    """Translation edit rate.

    Parameters
    ----------
    normalized : bool
        Turn markup into characters, join lines, and let punctuation stand alone.
    no_punct : bool
        Leave punctuation out.
    asian_support : bool
        With ``normalized``, let each Chinese character and mark stand alone; with ``no_punct``, leave such marks out.
    case_sensitive : bool
        Do not lower-case strings.
    references : list of R lists of N strings, optional
        As :class:`Metric` takes them.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import TER
    >>> ter = TER()
    >>> ter.corpus_score(["on the mat the cat sat", "a dog"], [["the cat sat on the mat", "the dog"]])
    TER = 25.00
    >>> ter.get_signature().format(short=True)
    '#:1|c:lc|t:tercom|nr:no|pn:yes|as:no|v:2.6.0'
    """

    def __init__(
        self,
        normalized: bool = False,
        no_punct: bool = False,
        asian_support: bool = False,
        case_sensitive: bool = False,
        references: Streams | None = None,
    ) -> None:
        self.normalized = normalized
        self.no_punct = no_punct
        self.asian_support = asian_support
        self.case_sensitive = case_sensitive
        self.tokenizer = TercomTokenizer(normalized, no_punct, asian_support, case_sensitive)
        self.tokenizer_signature = self.tokenizer.signature()
        super().__init__(references)

    def _metric(self) -> Ter:
        return Ter(
            normalized=bool(self.normalized),
            no_punct=bool(self.no_punct),
            asian_support=bool(self.asian_support),
            case_sensitive=bool(self.case_sensitive),
        )

    def _aggregate_and_compute(self, stats: NDArray[np.int64]) -> TERScore:
        found = self._metric().from_statistics(stats)
        return TERScore(found.score, found.edits, found.reference_length)

    def _describe(self) -> Mapping[str, tuple[str, Any]]:
        return {
            "case": ("c", "mixed" if self.case_sensitive else "lc"),
            "tok": ("t", self.tokenizer_signature),
            "norm": ("nr", self.normalized),
            "punct": ("pn", not self.no_punct),
            "asian": ("as", self.asian_support),
        }
