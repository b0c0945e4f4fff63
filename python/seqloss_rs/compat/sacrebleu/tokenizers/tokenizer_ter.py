"""The tokenizer of TER."""

from .... import _native
from ..._strings import check_string
from .tokenizer_base import BaseTokenizer

__all__ = ["TercomTokenizer"]


class TercomTokenizer(BaseTokenizer):
    """What tercom cuts strings with.

    Parameters
    ----------
    normalized, no_punct, asian_support, case_sensitive : bool
        As :class:`~seqloss_rs.compat.sacrebleu.TER` takes them.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.tokenizers.tokenizer_ter import TercomTokenizer
    >>> TercomTokenizer(normalized=True)("Jim's car.")
    "jim 's car ."
    """

    def __init__(
        self,
        normalized: bool = False,
        no_punct: bool = False,
        asian_support: bool = False,
        case_sensitive: bool = False,
    ) -> None:
        self._options = bool(normalized), bool(no_punct), bool(asian_support), bool(case_sensitive)

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return "tercom"

    def __call__(self, sent: str) -> str:
        """Return the tokens of a string with spaces between them."""
        check_string("sent", sent)
        return _native.tokenize_tercom(*self._options, sent)
