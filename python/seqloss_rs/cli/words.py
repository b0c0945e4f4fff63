"""A hypothesis and its reference word by word, as HTML: what was kept, substituted, left out and added."""

from __future__ import annotations

import difflib
import html
from collections.abc import Sequence

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
    place, steps = _steps(hypothesis, references)
    cells = [_cell(*step) for step in steps[:MOST_WORDS]]
    more = f"<div>… {len(steps) - MOST_WORDS} more</div>" if len(steps) > MOST_WORDS else ""
    return place, f'<div class="words">{"".join(cells)}{more}</div>'


def _cell(said: str | None, meant: str | None) -> str:
    if meant is None:
        return f'<div title="added"><ins>{escape(said)}</ins></div>'
    if said is None:
        return f'<div title="left out"><del>{escape(meant)}</del></div>'
    if said == meant:
        return f'<div class="kept"><div>{escape(meant)}</div><div>{escape(said)}</div></div>'
    return f'<div title="substituted"><mark>{escape(meant)}</mark><mark>{escape(said)}</mark></div>'


Step = tuple[str | None, str | None]


def _steps(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[int, list[Step]]:
    """Return the words of the hypothesis beside those of the closest reference; None where there is no such word."""
    all_steps = [_against(hypothesis, reference) for reference in references]
    rates = [
        sum(said != meant for said, meant in steps) / max(len(reference), 1)
        for steps, reference in zip(all_steps, references, strict=True)
    ]
    place = rates.index(min(rates))
    return place, all_steps[place]


def _against(hypothesis: Sequence[str], reference: Sequence[str]) -> list[Step]:
    steps: list[Step] = []
    for kind, start, end, first, last in difflib.SequenceMatcher(None, reference, hypothesis, False).get_opcodes():
        meant: list[str | None] = list(reference[start:end])
        said: list[str | None] = list(hypothesis[first:last])
        longest = max(len(meant), len(said)) if kind == "replace" else 0
        for words in (meant, said):
            words += [None] * ((longest or max(len(meant), len(said))) - len(words))
        steps += zip(said, meant, strict=True)
    return steps
