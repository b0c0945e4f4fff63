"""The version of sacrebleu whose numbers these are; signatures say it."""

__version__ = version = "2.6.0"
