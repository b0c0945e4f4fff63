"""A hypothesis and its reference word by word, as HTML: what was kept, substituted, left out and added."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

import seqloss_rs

from .names import shortened

__all__ = ["STYLE", "aligned", "escape", "units"]

STYLE = """
.words { display: flex; flex-wrap: wrap; gap: .35rem .55rem; font-family: var(--mono); font-size: .88rem; }
.words > div { display: grid; grid-template-rows: auto auto; }
.words > div > * { unicode-bidi: isolate; overflow-wrap: anywhere; min-height: 1.5em; }
.words del, .words mark, .words ins { border-radius: .2rem; padding: 0 .15rem; }
.words del { grid-row: 1; color: var(--warm); background: var(--wash); }
.words ins { grid-row: 2; color: var(--cool); text-decoration: underline; }
.words mark { text-decoration: none; }
.words mark + mark { text-decoration: underline; text-underline-offset: .2em; }
.words .kept { color: var(--muted); }
"""
MOST_WORDS = 200
# How many words are shown on each side of one that differs, where there are too many.
AROUND = 8
LONGEST = 120
# A letter of Thai, Lao, Burmese, Khmer, Chinese or Japanese with the marks on it, or a run of others.
LETTERS = (
    r"\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e80-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u1000-\u102a\u1780-\u17b3"
    r"\u3005-\u3007\u3041-\u3096\u309d-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
MARKS = r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
SPACELESS = re.compile(f"[{LETTERS}][{MARKS}]*|[^{LETTERS}]+")


def escape(text: object) -> str:
    """Write text as HTML. Control characters have no place in a page, and are shown as what they are called."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in str(text))
    return html.escape(shown)


def units(text: str, by_letters: bool = False) -> list[str]:
    """Cut a text into words, and letters where a script has no spaces; or into letters throughout."""
    if by_letters:
        return list(text)
    return [unit for word in text.split() for unit in SPACELESS.findall(word)]


def aligned(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[int, str]:
    """Return which reference is the closest, and each of its words above the word that takes its place.

    Of many words those around what differs are shown.

    Parameters
    ----------
    hypothesis : sequence of str
        Its words.
    references : sequence of sequences of str
        The words of each, one at least.
    """
    # As numbers: half of a surrogate pair may be among the words, and control characters are shown as other words.
    numbers: dict[str, int] = {}
    said, *meant = (
        np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
        for words in (hypothesis, *references)
    )
    alignment = seqloss_rs.ErrorRate().align([said], [meant])
    place = int(alignment.references[0])
    pairs = [
        pair
        for chunk in alignment[0]
        for pair in itertools.zip_longest(
            hypothesis[chunk.hypothesis_start : chunk.hypothesis_end],
            references[place][chunk.reference_start : chunk.reference_end],
        )
    ]
    return place, f'<div class="words">{"".join(_cells(pairs))}</div>'


def _cells(pairs: Sequence[tuple[str | None, str | None]]) -> Iterator[str]:
    """Yield the cells, or of many those around what differs and how many there are between."""
    shown = range(len(pairs))
    if len(pairs) > MOST_WORDS:
        near = np.zeros(len(pairs), dtype=bool)
        for place in (place for place, (said, meant) in enumerate(pairs) if said != meant):
            near[max(place - AROUND, 0) : place + AROUND + 1] = True
        shown = np.flatnonzero(near)[:MOST_WORDS].tolist() or range(MOST_WORDS)
    last = -1
    for place in shown:
        if place > last + 1:
            yield f"<div>… {place - last - 1} the same …</div>"
        yield _cell(*pairs[place])
        last = place
    if last + 1 < len(pairs):
        is_same = all(said == meant for said, meant in pairs[last + 1 :])
        yield f"<div>… {len(pairs) - last - 1} {'the same' if is_same else 'more'}</div>"


def _cell(said: str | None, meant: str | None) -> str:
    """Return a word of the hypothesis below the one of the reference that it stands for, where both are there."""
    is_same = said == meant
    said, meant = (
        None if word is None else escape(shortened(word.replace(" ", "␣"), LONGEST)) for word in (said, meant)
    )
    if meant is None:
        return f'<div title="added"><ins>{said}</ins></div>'
    if said is None:
        return f'<div title="left out"><del>{meant}</del></div>'
    if is_same:
        return f'<div class="kept"><div>{meant}</div><div>{said}</div></div>'
    return f'<div title="substituted"><mark>{meant}</mark><mark>{said}</mark></div>'
