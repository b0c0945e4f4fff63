"""Writes the table of character classes in the native part: `python tests/unicode_classes.py > src/text/unicode.rs`.

The classes come from the `regex` package, which sacrebleu's tokenizer "intl" asks too.
"""

import sys
from importlib.metadata import distribution
from re import findall

import regex  # type: ignore[import-untyped]  # it has no stubs

CLASSES = ("Other", "Number", "Punctuation", "Symbol", "Mark", "Letter", "Format", "Alone")
"""In the order of the enum in src/text/classes.rs."""

SCRIPTS_WITHOUT_SPACES = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
# Where such a script is written with spaces, they say so.
ZERO_WIDTH_SPACE = "\u200b"

LETTER_ALONE = r"(?=\p{L})[" + "".join(rf"\p{{scx={script}}}" for script in SCRIPTS_WITHOUT_SPACES) + "]"
PATTERNS = (
    ("Other", ZERO_WIDTH_SPACE),
    ("Alone", LETTER_ALONE),
    ("Number", r"\p{N}"),
    ("Punctuation", r"\p{P}"),
    ("Symbol", r"\p{S}"),
    ("Mark", r"\p{M}"),
    ("Letter", r"\p{L}"),
    ("Format", r"\p{Cf}"),
)


def classes() -> list[str]:
    """The class of every code point."""
    named = regex.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in PATTERNS))
    matches = (named.match(chr(code)) for code in range(sys.maxunicode + 1))
    return [(match.lastgroup or "Other") if match else "Other" for match in matches]


def runs(of: list[str]) -> list[int]:
    """Where a run of one class begins, and which: 8 * code point + class."""
    return [8 * code + CLASSES.index(name) for code, name in enumerate(of) if code == 0 or of[code - 1] != name]


def unicode_version() -> str:
    """The version of Unicode that `regex` has."""
    (version,) = findall(r"supports Unicode ([0-9.]+[0-9])", distribution("regex").read_text("METADATA") or "")
    return str(version)


def source() -> str:
    """The file."""
    lines, line = [], "   "
    for number in runs(classes()):
        word = f" {number},"
        if len(line) + len(word) > 120:
            lines.append(line)
            line = "   "
        line += word
    table = "\n".join([*lines, line])
    return f"""\
//! The class of every character, by Unicode {unicode_version()}.
//!
//! Written by `tests/unicode_classes.py` from the `regex` package, {regex.__version__}.

/// Where a run of characters of one class begins, and which class: 8 · code point + class.
#[rustfmt::skip]
#[expect(clippy::unreadable_literal, reason = "nobody reads them")]
pub const RUNS: &[u32] = &[
{table}
];
"""


if __name__ == "__main__":
    sys.stdout.write(source())
