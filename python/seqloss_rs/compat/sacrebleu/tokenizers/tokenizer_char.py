"""The tokenizer that takes characters for tokens."""

from .tokenizer_base import BaseTokenizer

__all__ = ["TokenizerChar"]


class TokenizerChar(BaseTokenizer):
    """Puts a space between all characters."""

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return "char"

    def __call__(self, line: str) -> str:
        """Return the characters of a string with spaces between them."""
        return " ".join(line)
