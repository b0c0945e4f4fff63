"""Alignments and counts of errors as text.

See https://jitsi.github.io/jiwer/reference/alignment/.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from .process import AlignmentChunk, CharacterOutput, WordOutput

__all__ = ["collect_error_counts", "visualize_alignment", "visualize_error_counts"]

MARKS = {"equal": " ", "substitute": "S", "delete": "D", "insert": "I"}
HEADS = ("REF: ", "HYP: ", "     ")


def visualize_alignment(
    output: WordOutput | CharacterOutput,
    show_measures: bool = True,
    skip_correct: bool = True,
    line_width: int | None = None,
) -> str:
    """Write references and hypotheses under one another, with a mark where they differ.

    Parameters
    ----------
    output : WordOutput or CharacterOutput
        What to show.
    show_measures : bool
        Show counts and measures too.
    skip_correct : bool
        Leave out the sentences without errors.
    line_width : int, optional
        Break lines before they become longer.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> print(jiwer.visualize_alignment(jiwer.process_words("the cat sat", "a cat down"), show_measures=False))
    === SENTENCE 1 ===
    <BLANKLINE>
    REF: the cat  sat
    HYP:   a cat down
           S        S
    <BLANKLINE>
    """
    is_words = not isinstance(output, CharacterOutput)
    text = ""
    sentences = zip(output.references, output.hypotheses, output.alignments, strict=True)
    for number, (reference, hypothesis, chunks) in enumerate(sentences, 1):
        if skip_correct and len(chunks) <= 1 and all(chunk.type == "equal" for chunk in chunks):
            continue
        columns = _columns(reference, hypothesis, chunks)
        text += f"=== SENTENCE {number} ===\n\n{_rows(columns, ' ' if is_words else '', line_width)}\n"
    if not show_measures:
        return text[:-1]
    names = ("mer", "wil", "wip", "wer") if is_words else ("cer",)
    measures = "\n".join(f"{name}={100 * getattr(output, name):.2f}%" for name in names)
    return (
        f"{text}=== SUMMARY ===\nnumber of sentences: {len(output.alignments)}\n"
        f"substitutions={output.substitutions} deletions={output.deletions} insertions={output.insertions} "
        f"hits={output.hits}\n\n{measures}\n"
    )


def _columns(
    reference: list[str], hypothesis: list[str], chunks: list[AlignmentChunk]
) -> Iterator[tuple[str, str, str]]:
    """Yield a token of the reference, one of the hypothesis, and the mark below them; stars stand for no token."""
    for chunk in chunks:
        if chunk.type not in MARKS:
            raise ValueError(f'type of a chunk is "{chunk.type}", expected one of {", ".join(MARKS)}')
        above = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        below = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            above = ["*"] * len(below)
        elif chunk.type == "delete":
            below = ["*"] * len(above)
        for token, other in zip(above, below, strict=False):
            width = max(len(token), len(other), 1)
            # A star is a star, also one that is a token.
            if token == "*":
                token = width * "*"
            elif other == "*":
                other = width * "*"
            yield token.rjust(width), other.rjust(width), MARKS[chunk.type].rjust(width)


def _rows(columns: Iterator[tuple[str, str, str]], separator: str, line_width: int | None) -> str:
    """Write columns beside one another, and go to new lines where they get too long."""
    blocks: list[list[str]] = [list(HEADS)]
    for column in columns:
        if line_width is not None and len(blocks[-1][0]) + len(column[0]) > line_width:
            blocks.append(list(HEADS))
        blocks[-1] = [row + token + separator for row, token in zip(blocks[-1], column, strict=True)]
    # What ends in a separator has one too many.
    end = -len(separator) or None
    return "\n".join("".join(f"{row[:end]}\n" for row in rows) for rows in blocks)


def collect_error_counts(
    output: WordOutput | CharacterOutput,
) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
    """Count what was substituted (by what), inserted and deleted, words that were so in a row as one.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> substitutions, insertions, deletions = jiwer.collect_error_counts(jiwer.process_words("the cat", "a cat sat"))
    >>> dict(substitutions), dict(insertions), dict(deletions)
    ({('the', 'a'): 1}, {'sat': 1}, {})
    """
    separator = " " if isinstance(output, WordOutput) else ""
    substitutions: dict[tuple[str, str], int] = defaultdict(int)
    insertions: dict[str, int] = defaultdict(int)
    deletions: dict[str, int] = defaultdict(int)
    for reference, hypothesis, chunks in zip(output.references, output.hypotheses, output.alignments, strict=True):
        for chunk in chunks:
            of_reference = separator.join(reference[chunk.ref_start_idx : chunk.ref_end_idx])
            of_hypothesis = separator.join(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx])
            if chunk.type == "substitute":
                substitutions[of_reference, of_hypothesis] += 1
            elif chunk.type == "insert":
                insertions[of_hypothesis] += 1
            elif chunk.type == "delete":
                deletions[of_reference] += 1
    return substitutions, insertions, deletions


def visualize_error_counts(
    output: WordOutput | CharacterOutput,
    show_substitutions: bool = True,
    show_insertions: bool = True,
    show_deletions: bool = True,
    top_k: int | None = None,
) -> str:
    """Write how often what was substituted, inserted and deleted, the most frequent first.

    Parameters
    ----------
    output : WordOutput or CharacterOutput
        What to show.
    show_substitutions, show_insertions, show_deletions : bool
        Which kinds of errors.
    top_k : int, optional
        How many of each.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> print(jiwer.visualize_error_counts(jiwer.process_words("the cat", "a cat sat"), show_deletions=False))
    === SUBSTITUTIONS ===
    the --> a   = 1x
    <BLANKLINE>
    === INSERTIONS ===
    sat = 1x
    """
    counts: list[Mapping[Any, int]] = list(collect_error_counts(output))
    names = ("SUBSTITUTIONS", "INSERTIONS", "DELETIONS")
    shown = (show_substitutions, show_insertions, show_deletions)
    kinds = [kind for kind in zip(names, counts, shown, strict=True) if kind[2]]
    sections = [f"=== {name} ===\n{_counted(of_kind, top_k)}" for name, of_kind, _ in kinds]
    return "\n".join(sections).removesuffix("\n")


def _counted(counts: Mapping[Any, int], top_k: int | None) -> str:
    if not counts:
        return "none"
    most = sorted(counts.items(), key=lambda item: -item[1])[:top_k]
    phrases = [phrase if isinstance(phrase, tuple) else (phrase,) for phrase, _ in most]
    width = max(len(part) for phrase in phrases for part in phrase)
    lines = (" --> ".join(part.ljust(width) for part in phrase) for phrase in phrases)
    return "".join(f"{line} = {count}x\n" for line, (_, count) in zip(lines, most, strict=True))
