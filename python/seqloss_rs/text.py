"""Text: BLEU and ROUGE as losses.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from . import _native
from ._texts import (
    Measure,
    MultipleReferences,
    References,
    RougeTokenize,
    Smoothing,
    TextReduction,
    Texts,
    Tokenize,
    Variant,
)
from ._types import Lengths, Value

__all__ = ["bleu_loss", "rouge_loss"]


def bleu_loss(
    hypotheses: Texts,
    references: References,
    *,
    max_order: int = 4,
    smoothing: Smoothing = "exp",
    smoothing_value: float | None = None,
    effective_order: bool | None = None,
    tokenize: Tokenize = "13a",
    lowercase: bool = False,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: TextReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − BLEU/100, in [0, 1]; a perfect match is exactly 0.

    Parameters
    ----------
    hypotheses : list of N strings, or of N lists of tokens; (N, T) or (N, K, T) integers, or list of N integer arrays
        What is scored: strings, tokens, or token ids of any integer type (below 2**63 - 1); with an axis K so many for
        each item of the references.
    references : list of N strings, or list of N lists of strings
        ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several. For token ids (N, R)
        integers, or a list of N arrays, or a list of N lists of arrays.
    max_order : int
        The longest n-grams, in 1..32.
    smoothing : {"exp", "none", "floor", "add-k"}
        What is done about orders without a match: they count as half a match, a quarter, and so on; nothing, so that
        the score is 0; they count as 0.1 matches; all orders above 1 get one more match and n-gram.
    smoothing_value : float, optional
        For "floor" the matches that an order without any has, in [0, 1], and for "add-k" how many matches and n-grams
        are added, at least 0. None is 0.1 and 1.
    effective_order : bool, optional
        Leave out the orders that a text is too short for. None is on for sentences, and off for ``reduction="corpus"``.
    tokenize : {"13a", "none", "char", "intl", "zh"}, or callable
        How strings are cut: as WMT's mteval-v13a does; at whitespace; into characters; at the punctuation and symbols
        of Unicode 18, as mteval-v14 does; Chinese characters apart and the rest as "13a". Or a function that takes a
        string, without whitespace at its end, and returns it with spaces between its tokens, or a list of them: with a
        model of your own that is sacrebleu's "flores200" or "ja-mecab". Tokens and token ids stay as they are.
    lowercase : bool
        Lower-case strings first; not for tokens or token ids.
    lengths : (N,) integers, optional
        How many ids of each hypothesis count; what lies beyond changes nothing.
    reference_lengths : (N,) integers, optional
        The same for references, one for each hypothesis.
    eos_id : int, optional
        A text of ids ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a text.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "corpus"}
        The mean over N; the loss of each pair (three names for one thing); their sum; the mean; or the loss of the
        corpus, which is that of the summed statistics, as papers report it.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float, or float64 (N,) for "none", "sequence" and "sequence_mean".

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it. Strings must not be mixed with token ids.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> hypotheses = ["the cat sat on the mat", "a dog"]
    >>> references = ["the cat sat on the mat", ["a dog barks", "the dog"]]
    >>> seqloss_rs.bleu_loss(hypotheses, references, reduction="none")
    array([0., 0.])
    >>> round(seqloss_rs.bleu_loss(np.array([[5, 6, 7, 8]]), np.array([[5, 6, 7, 9]])), 6)
    0.405396

    A SentencePiece model is ``tokenize=lambda text: model.encode(text, out_type=str)``; here is one that cuts in two.

    >>> def halves(text):
    ...     return [piece for word in text.split() for piece in ("▁" + word[:2], word[2:]) if piece]
    >>> seqloss_rs.bleu_loss(["walked on"], ["walking on"], max_order=1, tokenize=halves, reduction="none").round(4)
    array([0.3333])

    References
    ----------
    Papineni et al. 2002, https://doi.org/10.3115/1073083.1073135; the numbers are sacrebleu 2.6.0's.
    """
    return _native.bleu(max_order, smoothing, smoothing_value, effective_order, tokenize, lowercase).loss(
        hypotheses,
        references,
        {"lengths": lengths, "reference_lengths": reference_lengths, "eos_id": eos_id, "pad_id": pad_id},
        reduction,
        normalizer,
    )


def rouge_loss(
    hypotheses: Texts,
    references: References,
    *,
    variant: Variant = "rougeL",
    measure: Measure = "f",
    stem: bool = False,
    tokenize: RougeTokenize = "ascii",
    multiple_references: MultipleReferences = "best",
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: TextReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − ROUGE, in [0, 1]; a perfect match is exactly 0.

    Parameters
    ----------
    hypotheses : list of N strings, or of N lists of tokens; (N, T) or (N, K, T) integers, or list of N integer arrays
        What is scored: strings, tokens, or token ids of any integer type (below 2**63 - 1); with an axis K so many for
        each item of the references.
    references : list of N strings, or list of N lists of strings
        ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several. For token ids (N, R)
        integers, or a list of N arrays, or a list of N lists of arrays.
    variant : {"rouge1" to "rouge9", "rougeL", "rougeLsum"}
        What is counted: n-grams of that length; the longest common subsequence; the same line by line. Token ids have
        no lines, so "rougeLsum" is "rougeL" for them.
    measure : {"f", "precision", "recall"}
        Which of the three.
    stem : bool
        Compare the stems of words (Porter's, as NLTK has them); only with ``tokenize="ascii"``, and not for tokens or
        token ids.
    tokenize : {"ascii", "unicode"}, or callable
        How strings are cut: into runs of ASCII letters and digits in lower case, as rouge-score does; into runs of the
        letters and numbers of every script with the marks on them, in lower case, where scripts without spaces (Han,
        Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) have each letter for a token, and what is invisible (joiners,
        soft hyphens, marks of direction) is left out. Or a function that takes a string, for "rougeLsum" a line, and
        returns it with spaces between its tokens, or a list of them. Tokens and token ids stay as they are.
    multiple_references : {"best", "mean"}
        Of several references the one with the best F counts; or each measure is the mean over all of them.
    lengths : (N,) integers, optional
        How many ids of each hypothesis count; what lies beyond changes nothing.
    reference_lengths : (N,) integers, optional
        The same for references, one for each hypothesis.
    eos_id : int, optional
        A text of ids ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a text.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "corpus"}
        The mean over N; the loss of each pair (three names for one thing); their sum; the mean; or 1 − the score of the
        corpus, which is the mean over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float, or float64 (N,) for "none", "sequence" and "sequence_mean".

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it. Strings must not be mixed with token ids.

    Examples
    --------
    >>> import seqloss_rs
    >>> round(seqloss_rs.rouge_loss(["the cat"], ["the cat sat"]), 6)
    0.2
    >>> seqloss_rs.rouge_loss(["the cats"], ["the cat sat"], measure="precision", stem=True)
    0.0
    >>> seqloss_rs.rouge_loss(["Мир вам"], [["мир", "мир вам!"]], tokenize="unicode", multiple_references="mean")
    0.16666666666666674

    References
    ----------
    Lin 2004, https://aclanthology.org/W04-1013/; the numbers are rouge-score 0.1.2's.
    """
    return _native.rouge(variant, measure, stem, tokenize, multiple_references).loss(
        hypotheses,
        references,
        {"lengths": lengths, "reference_lengths": reference_lengths, "eos_id": eos_id, "pad_id": pad_id},
        reduction,
        normalizer,
    )
