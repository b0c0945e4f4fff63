"""ROUGE's own way to cut texts."""

import re
from typing import Any

from ... import _native
from .._strings import check_string

__all__ = ["tokenize"]

VALID = re.compile(r"^[a-z0-9]+$")


def tokenize(text: str, stemmer: Any) -> list[str]:
    """Cut a text into runs of ASCII letters and digits in lower case.

    Parameters
    ----------
    text : str
        The text.
    stemmer : object or None
        What has a method ``stem``, for tokens of more than three characters.

    Examples
    --------
    >>> from seqloss_rs.compat.rouge_score import tokenize
    >>> tokenize.tokenize("The cat's café", None)
    ['the', 'cat', 's', 'caf']
    """
    check_string("text", text)
    tokens: list[str] = _native.rouge_tokens(text, False)
    if not stemmer:
        return tokens
    stems = [stemmer.stem(token) if len(token) > 3 else token for token in tokens]
    return [stem for stem in stems if VALID.match(stem)]
