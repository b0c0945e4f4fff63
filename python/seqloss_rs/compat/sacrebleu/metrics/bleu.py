"""BLEU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....metrics import Bleu
from ..tokenizers import NATIVE, TOKENIZERS
from ..tokenizers.tokenizer_base import BaseTokenizer
from .base import Metric, Score, Streams, logger

__all__ = ["BLEU", "BLEUScore"]

MAX_NGRAM_ORDER = 4


class BLEUScore(Score):
    """BLEU and what it is made of.

    Parameters
    ----------
    score : float
        In [0, 100].
    counts, totals : list of int
        The n-grams of each order that match, and all; with what add-k has added.
    precisions : list of float
        Of each order, smoothed, in [0, 100].
    bp : float
        The brevity penalty.
    sys_len, ref_len : int
        The lengths of hypotheses and references; ``ratio`` is the first by the second.
    """

    def __init__(
        self,
        score: float,
        counts: Sequence[float],
        totals: Sequence[float],
        precisions: Sequence[float],
        bp: float,
        sys_len: int,
        ref_len: int,
    ) -> None:
        super().__init__("BLEU", score)
        self.counts = counts
        self.totals = totals
        self.precisions = precisions
        self.bp = bp
        self.sys_len = sys_len
        self.ref_len = ref_len
        self.ratio = sys_len / ref_len if ref_len else 0
        self.prec_str = "/".join(f"{precision:.1f}" for precision in precisions)
        self._verbose = (
            f"{self.prec_str} (BP = {bp:.3f} ratio = {self.ratio:.3f} hyp_len = {sys_len:d} ref_len = {ref_len:d})"
        )


class BLEU(Metric[BLEUScore]):
    """BLEU.

    Parameters
    ----------
    lowercase : bool
        Lower-case all strings first.
    force : bool
        Do not warn of input that looks as if it were cut into tokens already.
    tokenize : str, optional
        The tokenizer: one of ``BLEU.TOKENIZERS``; by default what ``trg_lang`` asks for, else "13a".
    smooth_method : {"exp", "floor", "add-k", "none"}
        What is done about orders without matches.
    smooth_value : float, optional
        What floor puts in the place of no match (0.1 by default), and what add-k adds (1).
    max_ngram_order : int
        The longest n-grams, in 1..32.
    effective_order : bool
        Leave out orders that the hypotheses are too short for; recommended for sentences.
    trg_lang : str
        The language: "zh", "ja" and "ko" have tokenizers of their own.
    references : list of R lists of N strings, optional
        As :class:`Metric` takes them.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import BLEU
    >>> bleu = BLEU(references=[["the cat sat on the mat", "a dog barked"]])
    >>> bleu.corpus_score(["the cat sat on a mat", "the dog barked"], None)
    BLEU = 49.34 77.8/57.1/40.0/33.3 (BP = 1.000 ratio = 1.000 hyp_len = 9 ref_len = 9)
    >>> bleu.get_signature()
    nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0
    """

    SMOOTH_DEFAULTS: ClassVar[dict[str, float | None]] = {"none": None, "floor": 0.1, "add-k": 1, "exp": None}
    TOKENIZERS = TOKENIZERS.keys()
    TOKENIZER_DEFAULT = "13a"
    _TOKENIZER_MAP: ClassVar[Mapping[str, str]] = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}

    def __init__(
        self,
        lowercase: bool = False,
        force: bool = False,
        tokenize: str | None = None,
        smooth_method: str = "exp",
        smooth_value: float | None = None,
        max_ngram_order: int = MAX_NGRAM_ORDER,
        effective_order: bool = False,
        trg_lang: str = "",
        references: Streams | None = None,
    ) -> None:
        fitting = self._TOKENIZER_MAP.get(trg_lang)
        if tokenize is None:
            tokenize = fitting or self.TOKENIZER_DEFAULT
        elif fitting not in (None, tokenize):
            logger.warning("The language is %s, for which the tokenizer %s is better.", trg_lang, fitting)
        if tokenize not in TOKENIZERS:
            message = f"tokenize is {tokenize!r}, expected one of {', '.join(TOKENIZERS)}"
            raise ValueError(message)
        self._force = force
        self.trg_lang = trg_lang
        self.lowercase = lowercase
        self.smooth_method = smooth_method
        self.smooth_value = smooth_value
        self.max_ngram_order = max_ngram_order
        self.effective_order = effective_order
        self.tokenizer: BaseTokenizer = TOKENIZERS[tokenize]()
        self.tokenizer_signature = self.tokenizer.signature()
        self._metric()
        super().__init__(references)

    @staticmethod
    def compute_bleu(
        correct: Sequence[float],
        total: Sequence[float],
        sys_len: int,
        ref_len: int,
        smooth_method: str = "none",
        smooth_value: float | None = None,
        effective_order: bool = False,
        max_ngram_order: int = MAX_NGRAM_ORDER,
    ) -> BLEUScore:
        """Score what somebody else has counted.

        Parameters
        ----------
        correct, total : list of int
            The n-grams of each order that match, and all.
        sys_len, ref_len : int
            The lengths of hypotheses and references.
        smooth_method, smooth_value, effective_order, max_ngram_order
            As the class takes them.
        """
        metric = _bleu(smooth_method, smooth_value, effective_order, max_ngram_order)
        row = np.array([sys_len, ref_len, *correct[:max_ngram_order], *total[:max_ngram_order]])
        # Sums in float32 or float64, as long as they are counts.
        whole = row.astype(np.int64)
        score = _scored(metric, smooth_value, whole if (whole == row).all() else row)
        # Longer n-grams that somebody has counted too are shown, and are not in the score.
        score.counts = [*score.counts, *correct[max_ngram_order:]]
        score.totals = [*score.totals, *total[max_ngram_order:]]
        return score

    def sentence_score(self, hypothesis: str, references: Sequence[str | None]) -> BLEUScore:
        """Score one string; best with ``effective_order=True``.

        Parameters
        ----------
        hypothesis : str
            What is scored.
        references : list of strings
            What it is compared with.
        """
        if not self.effective_order:
            logger.warning("effective_order=True is recommended for BLEU of sentences.")
        return super().sentence_score(hypothesis, references)

    def _metric(self) -> Bleu:
        native = NATIVE.get(type(self.tokenizer))
        # A tokenizer from outside has done it all, and its tokens are what stands between spaces.
        tokenize: Any = native or "none"
        return _bleu(
            self.smooth_method,
            self.smooth_value,
            bool(self.effective_order),
            self.max_ngram_order,
            tokenize=tokenize,
            lowercase=bool(self.lowercase) and native is not None,
        )

    def _preprocess(self) -> Callable[[str], str] | None:
        if type(self.tokenizer) in NATIVE:
            return None
        tokenizer, lowercase = self.tokenizer, self.lowercase
        return lambda text: tokenizer((text.lower() if lowercase else text).rstrip())

    def _aggregate_and_compute(self, stats: NDArray[np.int64]) -> BLEUScore:
        return _scored(self._metric(), self.smooth_value, stats)

    def _describe(self) -> Mapping[str, tuple[str, Any]]:
        smooth, default = self.smooth_method, self.SMOOTH_DEFAULTS[self.smooth_method]
        if default is not None:
            smooth += f"[{default if self.smooth_value is None else self.smooth_value:.2f}]"
        return {
            "case": ("c", "lc" if self.lowercase else "mixed"),
            "eff": ("e", bool(self.effective_order)),
            "tok": ("tok", self.tokenizer_signature),
            "smooth": ("s", smooth),
        }


def _bleu(
    smooth_method: str, smooth_value: float | None, effective_order: bool, max_ngram_order: int, **options: Any
) -> Bleu:
    if smooth_method not in BLEU.SMOOTH_DEFAULTS:
        message = f"smooth_method is {smooth_method!r}, expected one of {', '.join(BLEU.SMOOTH_DEFAULTS)}"
        raise ValueError(message)
    # sacrebleu does not look at a value that the method has no use for.
    if smooth_value is not None and BLEU.SMOOTH_DEFAULTS[smooth_method] is not None:
        options["smoothing_value"] = smooth_value
    smoothing: Any = smooth_method
    try:
        return Bleu(max_order=max_ngram_order, smoothing=smoothing, effective_order=effective_order, **options)
    except (ValueError, TypeError) as error:
        message = str(error).replace("smoothing_value", "smooth_value").replace("max_order", "max_ngram_order")
        raise type(error)(message) from None


def _scored(metric: Bleu, smooth_value: float | None, rows: NDArray[Any]) -> BLEUScore:
    found = metric.from_statistics(rows)
    counts: list[float] = list(found.counts)
    totals: list[float] = list(found.totals)
    if metric.smoothing == "add-k" and any(counts):
        more = 1 if smooth_value is None else smooth_value
        counts[1:], totals[1:] = ([count + more for count in row[1:]] for row in (counts, totals))
    return BLEUScore(
        found.score,
        counts,
        totals,
        list(found.precisions),
        found.brevity_penalty,
        found.hypothesis_length,
        found.reference_length,
    )
