"""The tokenizers of SentencePiece, which need its package and a model."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from .tokenizer_base import BaseTokenizer

__all__ = ["Flores101Tokenizer", "Flores200Tokenizer", "TokenizerSPM", "spBLEU1KTokenizer"]


class TokenizerSPM(BaseTokenizer):
    """The tokenizer of FLORES-101.

    The model lies where sacrebleu puts it: in ``models`` of the folder that the environment's ``SACREBLEU`` names, by
    default ``~/.sacrebleu``. It is not downloaded.

    Raises
    ------
    ImportError
        Where the package sentencepiece is not installed.
    FileNotFoundError
        Where the model is not there.
    """

    _NAME: ClassVar[str] = "flores101"
    _MODEL: ClassVar[str] = "sacrebleu_tokenizer_spm.model"

    def __init__(self) -> None:
        try:
            sentencepiece = import_module("sentencepiece")
        except ImportError as error:
            message = f"tokenize is {self._NAME!r}, which needs the package sentencepiece"
            raise ImportError(message) from error
        model = Path(os.environ.get("SACREBLEU", Path.home() / ".sacrebleu")) / "models" / self._MODEL
        if not model.exists():
            message = f"tokenize is {self._NAME!r}, whose model is not at {model}, where sacrebleu downloads it to"
            raise FileNotFoundError(message)
        self.sp: Any = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return self._NAME

    def __call__(self, line: str) -> str:
        """Return the pieces of a string with spaces between them."""
        return " ".join(self.sp.EncodeAsPieces(line))


class Flores101Tokenizer(TokenizerSPM):
    """The tokenizer of FLORES-101."""


class Flores200Tokenizer(TokenizerSPM):
    """The tokenizer of FLORES-200."""

    _NAME = "flores200"
    _MODEL = "flores200sacrebleuspm"


class spBLEU1KTokenizer(TokenizerSPM):
    """The tokenizer of spBLEU-1K."""

    _NAME = "spBLEU-1K"
    _MODEL = "spbleu-1k_tokenizer_spm.model"
