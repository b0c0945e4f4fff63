"""One number for all sentences.

See https://jitsi.github.io/jiwer/reference/measures/.
"""

from .process import Transform, score
from .transformations import cer_default, wer_default

__all__ = ["cer", "mer", "wer", "wil", "wip"]


def wer(
    reference: str | list[str] | None = None,
    hypothesis: str | list[str] | None = None,
    reference_transform: Transform = wer_default,
    hypothesis_transform: Transform = wer_default,
) -> float:
    """Return the word error rate: errors over the words of the references.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences.
    reference_transform, hypothesis_transform : callable
        As in :func:`process_words`.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.wer("the cat sat", "a cat sat down")
    0.6666666666666666
    """
    return score(reference, hypothesis, reference_transform, hypothesis_transform).wer


def mer(
    reference: str | list[str] | None = None,
    hypothesis: str | list[str] | None = None,
    reference_transform: Transform = wer_default,
    hypothesis_transform: Transform = wer_default,
) -> float:
    """Return the match error rate: errors over errors and hits.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences.
    reference_transform, hypothesis_transform : callable
        As in :func:`process_words`.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.mer("the cat sat", "a cat sat down")
    0.5
    """
    return score(reference, hypothesis, reference_transform, hypothesis_transform).mer


def wip(
    reference: str | list[str] | None = None,
    hypothesis: str | list[str] | None = None,
    reference_transform: Transform = wer_default,
    hypothesis_transform: Transform = wer_default,
) -> float:
    """Return the word information preserved: hits over references times hits over hypotheses.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences.
    reference_transform, hypothesis_transform : callable
        As in :func:`process_words`.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.wip("the cat sat", "a cat sat down")
    0.3333333333333333
    """
    return score(reference, hypothesis, reference_transform, hypothesis_transform).wip


def wil(
    reference: str | list[str] | None = None,
    hypothesis: str | list[str] | None = None,
    reference_transform: Transform = wer_default,
    hypothesis_transform: Transform = wer_default,
) -> float:
    """Return the word information lost: 1 − what is preserved.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences.
    reference_transform, hypothesis_transform : callable
        As in :func:`process_words`.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.wil("the cat sat", "a cat sat down")
    0.6666666666666667
    """
    return score(reference, hypothesis, reference_transform, hypothesis_transform).wil


def cer(
    reference: str | list[str] | None = None,
    hypothesis: str | list[str] | None = None,
    reference_transform: Transform = cer_default,
    hypothesis_transform: Transform = cer_default,
) -> float:
    """Return the character error rate: errors over the characters of the references.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences.
    reference_transform, hypothesis_transform : callable
        As in :func:`process_characters`.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.cer("the cat sat", "a cat sat down")
    0.7272727272727273
    """
    return score(reference, hypothesis, reference_transform, hypothesis_transform).wer
