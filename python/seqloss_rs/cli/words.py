"""A hypothesis and its reference word by word, as HTML: what was kept, substituted, left out and added."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

import seqloss_rs

__all__ = ["STYLE", "aligned", "escape"]

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


def escape(text: object) -> str:
    """Write text as HTML. Control characters have no place in a page, and are shown as what they are called."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in str(text))
    return html.escape(shown)


def aligned(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[int, str]:
    """Return which reference is the closest, and each of its words above the word that takes its place.

    Parameters
    ----------
    hypothesis : sequence of str
        Its words.
    references : sequence of sequences of str
        The words of each, one at least.
    """
    # Escaped first: what is aligned has to be valid text, and half of a surrogate pair is none.
    said, meant = [escape(word) for word in hypothesis], [[escape(word) for word in words] for words in references]
    alignment = seqloss_rs.ErrorRate().align([said], [meant])
    place = int(alignment.references[0])
    cells = [
        _cell(*pair)
        for chunk in alignment[0]
        for pair in itertools.zip_longest(
            said[chunk.hypothesis_start : chunk.hypothesis_end],
            meant[place][chunk.reference_start : chunk.reference_end],
        )
    ]
    more = f"<div>… {len(cells) - MOST_WORDS} more</div>" if len(cells) > MOST_WORDS else ""
    return place, f'<div class="words">{"".join(cells[:MOST_WORDS])}{more}</div>'


def _cell(said: str | None, meant: str | None) -> str:
    """Return a word of the hypothesis below the one of the reference that it stands for, where both are there."""
    if meant is None:
        return f'<div title="added"><ins>{said}</ins></div>'
    if said is None:
        return f'<div title="left out"><del>{meant}</del></div>'
    if said == meant:
        return f'<div class="kept"><div>{meant}</div><div>{said}</div></div>'
    return f'<div title="substituted"><mark>{meant}</mark><mark>{said}</mark></div>'
