"""One call for a score, without a metric to be made first."""

from collections.abc import Sequence

from .metrics import BLEU, CHRF, TER, BLEUScore, CHRFScore, TERScore
from .metrics.base import Streams

__all__ = [
    "corpus_bleu",
    "corpus_chrf",
    "corpus_ter",
    "raw_corpus_bleu",
    "sentence_bleu",
    "sentence_chrf",
    "sentence_ter",
]


def corpus_bleu(
    hypotheses: Sequence[str],
    references: Streams,
    smooth_method: str = "exp",
    smooth_value: float | None = None,
    force: bool = False,
    lowercase: bool = False,
    tokenize: str = BLEU.TOKENIZER_DEFAULT,
    use_effective_order: bool = False,
) -> BLEUScore:
    """Compute BLEU of a corpus.

    Parameters
    ----------
    hypotheses : list of N strings
        What is scored.
    references : list of R lists of N strings
        Streams of references; None in a stream is a missing one.
    smooth_method, smooth_value, force, lowercase, tokenize, use_effective_order
        As :class:`BLEU` takes them, the last as ``effective_order``.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import corpus_bleu
    >>> round(corpus_bleu(["a b c d e"], [["a b c d f"]]).score, 4)
    66.874
    """
    metric = BLEU(
        lowercase=lowercase,
        force=force,
        tokenize=tokenize,
        smooth_method=smooth_method,
        smooth_value=smooth_value,
        effective_order=use_effective_order,
    )
    return metric.corpus_score(hypotheses, references)


def raw_corpus_bleu(
    hypotheses: Sequence[str], references: Streams, smooth_value: float | None = BLEU.SMOOTH_DEFAULTS["floor"]
) -> BLEUScore:
    """Compute BLEU of tokens that spaces separate, with floor smoothing and effective order.

    Parameters
    ----------
    hypotheses, references
        As :func:`corpus_bleu` takes them.
    smooth_value : float, optional
        What floor puts in the place of no match; 0.1 for None.
    """
    return corpus_bleu(
        hypotheses,
        references,
        smooth_method="floor",
        smooth_value=smooth_value,
        force=True,
        tokenize="none",
        use_effective_order=True,
    )


def sentence_bleu(
    hypothesis: str,
    references: Sequence[str],
    smooth_method: str = "exp",
    smooth_value: float | None = None,
    lowercase: bool = False,
    tokenize: str = BLEU.TOKENIZER_DEFAULT,
    use_effective_order: bool = True,
) -> BLEUScore:
    """Compute BLEU of one string.

    Parameters
    ----------
    hypothesis : str
        What is scored.
    references : list of strings
        What it is compared with.
    smooth_method, smooth_value, lowercase, tokenize, use_effective_order
        As :class:`BLEU` takes them, the last as ``effective_order``.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import sentence_bleu
    >>> round(sentence_bleu("the cat sat on a mat", ["the cat sat on the mat"]).score, 4)
    53.7285
    """
    metric = BLEU(
        lowercase=lowercase,
        tokenize=tokenize,
        smooth_method=smooth_method,
        smooth_value=smooth_value,
        effective_order=use_effective_order,
    )
    return metric.sentence_score(hypothesis, references)


def corpus_chrf(
    hypotheses: Sequence[str],
    references: Streams,
    char_order: int = CHRF.CHAR_ORDER,
    word_order: int = CHRF.WORD_ORDER,
    beta: int = CHRF.BETA,
    remove_whitespace: bool = True,
    eps_smoothing: bool = False,
) -> CHRFScore:
    """Compute chrF of a corpus.

    Parameters
    ----------
    hypotheses, references
        As :func:`corpus_bleu` takes them.
    char_order, word_order, beta, remove_whitespace, eps_smoothing
        As :class:`CHRF` takes them, with ``whitespace=not remove_whitespace``.
    """
    return _chrf(char_order, word_order, beta, remove_whitespace, eps_smoothing).corpus_score(hypotheses, references)


def sentence_chrf(
    hypothesis: str,
    references: Sequence[str],
    char_order: int = CHRF.CHAR_ORDER,
    word_order: int = CHRF.WORD_ORDER,
    beta: int = CHRF.BETA,
    remove_whitespace: bool = True,
    eps_smoothing: bool = False,
) -> CHRFScore:
    """Compute chrF of one string.

    Parameters
    ----------
    hypothesis, references
        As :func:`sentence_bleu` takes them.
    char_order, word_order, beta, remove_whitespace, eps_smoothing
        As in :func:`corpus_chrf`.
    """
    return _chrf(char_order, word_order, beta, remove_whitespace, eps_smoothing).sentence_score(hypothesis, references)


def _chrf(char_order: int, word_order: int, beta: int, remove_whitespace: bool, eps_smoothing: bool) -> CHRF:
    return CHRF(char_order, word_order, beta, whitespace=not remove_whitespace, eps_smoothing=eps_smoothing)


def corpus_ter(
    hypotheses: Sequence[str],
    references: Streams,
    normalized: bool = False,
    no_punct: bool = False,
    asian_support: bool = False,
    case_sensitive: bool = False,
) -> TERScore:
    """Compute the translation edit rate of a corpus.

    Parameters
    ----------
    hypotheses, references
        As :func:`corpus_bleu` takes them.
    normalized, no_punct, asian_support, case_sensitive
        As :class:`TER` takes them.
    """
    return TER(normalized, no_punct, asian_support, case_sensitive).corpus_score(hypotheses, references)


def sentence_ter(
    hypothesis: str,
    references: Sequence[str],
    normalized: bool = False,
    no_punct: bool = False,
    asian_support: bool = False,
    case_sensitive: bool = False,
) -> TERScore:
    """Compute the translation edit rate of one string.

    Parameters
    ----------
    hypothesis, references
        As :func:`sentence_bleu` takes them.
    normalized, no_punct, asian_support, case_sensitive
        As :class:`TER` takes them.
    """
    return TER(normalized, no_punct, asian_support, case_sensitive).sentence_score(hypothesis, references)
