"""No tokenizer: what stands between spaces is a token."""

from .tokenizer_base import BaseTokenizer

__all__ = ["NoneTokenizer"]


class NoneTokenizer(BaseTokenizer):
    """Leaves a string as it is."""

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return "none"

    def __call__(self, line: str) -> str:
        """Return the string."""
        return line
