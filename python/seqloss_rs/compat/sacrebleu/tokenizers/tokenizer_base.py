"""What a tokenizer is."""

from typing import ClassVar

from .... import _native
from ..._strings import check_string

__all__ = ["BaseTokenizer", "NativeTokenizer"]


class BaseTokenizer:
    """Something that puts spaces between the tokens of a string."""

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        raise NotImplementedError

    def __call__(self, line: str) -> str:
        """Return the tokens of a string with spaces between them."""
        raise NotImplementedError


class NativeTokenizer(BaseTokenizer):
    """A tokenizer of this library."""

    _NAME: ClassVar[str]

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return self._NAME

    def __call__(self, line: str) -> str:
        """Return the tokens of a string with spaces between them."""
        check_string("line", line)
        return _native.tokenize(self._NAME, line)
