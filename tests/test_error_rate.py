"""Error rates and alignments against jiwer 4, on what `test_text` generates and on its own corners."""

import random
import sys
import unicodedata
from typing import Any

import jiwer
import numpy as np
import pytest
from seqloss_rs import AlignmentChunk, ErrorRate, ErrorRateScore
from test_text import close, generated, real

UNITS: tuple[Any, ...] = ("word", "char")
MEASURES: tuple[Any, ...] = ("wer", "mer", "wil", "wip")
# Of every kind: nothing on either side or on both, alike, nothing alike, and all operations.
CORNERS = (
    ["", "", "a", "a b", "c d", "a x c d", " ", "b a", "a b c a b c"],
    ["", "a b", "", "a b", "a b", "a b c", "a", "a b", "b c a b"],
)


def chunks_of(output: Any) -> list[list[AlignmentChunk]]:
    return [
        [AlignmentChunk(c.type, c.ref_start_idx, c.ref_end_idx, c.hyp_start_idx, c.hyp_end_idx) for c in chunks]
        for chunks in output.alignments
    ]


def process(unit: str, references: Any, hypotheses: Any, *before: Any) -> Any:
    """What jiwer says, with transforms before its own."""
    if unit == "word":
        transform = jiwer.Compose([*before, *jiwer.wer_default.transforms])
        return jiwer.process_words(references, hypotheses, transform, transform)
    transform = jiwer.Compose([*before, *jiwer.cer_default.transforms])
    # The words of this one are characters, and it tells all of the measures.
    return jiwer.process_words(references, hypotheses, transform, transform)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("source", ["corners", "generated", "real"])
def test_alignments(source: str, unit: Any) -> None:
    hypotheses, several = generated(3000, 1) if source == "generated" else real(600)
    references = [texts[0] for texts in several]
    if source == "corners":
        hypotheses, references = CORNERS
    found = ErrorRate(unit=unit).align(hypotheses, references)
    expected = chunks_of(process(unit, references, hypotheses))
    assert list(found) == expected
    assert len(found) == len(expected)
    assert found[-1] == expected[-1]
    assert found.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert not found.references.any()
    with pytest.raises(IndexError):
        found[len(found)]


@pytest.mark.parametrize("distinct", [2, 20, 3000])
def test_alignments_of_long_texts(distinct: int) -> None:
    """So long that rapidfuzz aligns them in halves, which prefers other alignments."""
    generator = np.random.default_rng(distinct)
    hypotheses, references = [], []
    for length, changes in ((2500, 2000), (5000, 30), (4000, 1000), (3000, 3000), (6000, 5000)):
        text = generator.integers(distinct, size=length)
        other = text.copy()
        other[generator.integers(length, size=changes)] = generator.integers(distinct, size=changes)
        other = np.delete(other, generator.integers(length, size=changes // 4))
        hypotheses.append(other)
        references.append(text)
    found = ErrorRate().align(hypotheses, references)
    texts, others = ([" ".join(map(str, text)) for text in side] for side in (references, hypotheses))
    assert list(found) == chunks_of(jiwer.process_words(texts, others))


def test_alignments_say_what_statistics_count() -> None:
    hypotheses, references = generated(1000, 3)
    metric = ErrorRate()
    found = metric.align(hypotheses, references)
    rows = metric.statistics(hypotheses, references)
    assert (found.statistics == rows).all()
    for pair, chunks in enumerate(found):
        counts = dict.fromkeys(("equal", "substitute", "delete", "insert"), 0)
        for chunk in chunks:
            counts[chunk.type] += max(
                chunk.reference_end - chunk.reference_start, chunk.hypothesis_end - chunk.hypothesis_start
            )
        assert list(counts.values()) == rows[pair].tolist()
    chosen = [several[index] for several, index in zip(references, found.references, strict=True)]
    assert (metric.statistics(hypotheses, chosen) == rows).all()
    # The first of the best.
    for index, (hypothesis, several) in enumerate(zip(hypotheses, references, strict=True)):
        rates = [metric.sentences([hypothesis], [reference])[0] for reference in several]
        assert found.references[index] == int(np.argmin(rates))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("unit", UNITS)
def test_measures(unit: Any, measure: Any) -> None:
    hypotheses, several = generated(1500, 1)
    hypotheses, references = hypotheses + CORNERS[0], [texts[0] for texts in several] + CORNERS[1]
    metric = ErrorRate(unit=unit, measure=measure)
    outputs = [process(unit, text, hypothesis) for text, hypothesis in zip(references, hypotheses, strict=True)]
    close(metric.sentences(hypotheses, references), [float(getattr(output, measure)) for output in outputs])
    whole = process(unit, references, hypotheses)
    found = metric.corpus(hypotheses, references)
    assert found.score == getattr(whole, measure)
    for name in MEASURES:
        assert getattr(found, name) == getattr(whole, name)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (0, 0, 0, 3), (0, 0, 2, 0), (3, 0, 0, 0), (0, 2, 0, 0)])
def test_measures_of_nothing(counts: tuple[int, int, int, int]) -> None:
    hits, substitutions, deletions, insertions = counts
    reference = ["a"] * hits + ["b"] * substitutions + ["c"] * deletions
    hypothesis = ["a"] * hits + ["d"] * substitutions + ["e"] * insertions
    whole = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    score = ErrorRateScore(whole.wer, *counts)
    assert [getattr(score, name) for name in MEASURES] == [getattr(whole, name) for name in MEASURES]


def test_of_several_references_the_best_counts() -> None:
    hypotheses, references = ["a b c"], [["a b", "x b c y", "a b c d e f g"]]
    for measure in MEASURES:
        metric = ErrorRate(measure=measure)
        single = [metric.sentences(hypotheses, [text])[0] for text in references[0]]
        best = max(single) if measure == "wip" else min(single)
        assert metric.sentences(hypotheses, references).tolist() == [best]
        assert metric.align(hypotheses, references).references.tolist() == [single.index(best)]


@pytest.mark.parametrize("unit", UNITS)
def test_lowercase_and_punctuation(unit: Any) -> None:
    generator = random.Random(5)
    hypotheses, several = generated(1500, 1)
    references = [texts[0] for texts in several]
    # Sigmas are final or not by what follows, which may be punctuation.
    parts = ["Σ", "α", "-", "'", " ", ".", "—", "“", "A", "İ", "\u0301", "。", "a"]
    made = ["".join(generator.choices(parts, k=8)) for _ in range(600)]
    hypotheses, references = hypotheses + made[:300], references + made[300:]
    punctuation: Any = jiwer.RemovePunctuation()  # type: ignore[no-untyped-call]  # it has no annotations
    for lowercase in (False, True):
        for remove_punctuation in (False, True):
            before: list[Any] = [jiwer.ToLowerCase()] * lowercase + [punctuation] * remove_punctuation
            expected = process(unit, references, hypotheses, *before)
            metric = ErrorRate(unit=unit, lowercase=lowercase, remove_punctuation=remove_punctuation)
            assert list(metric.align(hypotheses, references)) == chunks_of(expected)
            assert metric.corpus(hypotheses, references).score == expected.wer


def test_punctuation_is_that_of_unicode() -> None:
    """All characters that this Python's tables know; those that Unicode has got since are not in them."""
    known = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) not in ("Cn", "Cs") and not chr(code).isspace()
    ]
    rows = ErrorRate(unit="char", remove_punctuation=True).statistics(known, [""] * len(known))
    expected = [0 if unicodedata.category(character).startswith("P") else 1 for character in known]
    assert rows[:, 3].tolist() == expected


def test_tokens_and_ids() -> None:
    words = ErrorRate().align(["a b", "c"], ["a x b", "c"])
    tokens = ErrorRate().align([["a", "b"], ["c"]], [["a", "x", "b"], ["c"]])
    ids = ErrorRate().align(np.array([[1, 2], [3, 0]]), np.array([[1, 9, 2], [3, 0, 0]]), pad_id=0)
    assert list(words) == list(tokens) == list(ids)
    rollouts = ErrorRate().align(["a", "b", "c", "d"], ["a", "d"], rollouts=2)
    assert rollouts.references.shape == (2, 2)
    assert rollouts.statistics.shape == (2, 2, 4)
    assert [chunks[0].type for chunks in rollouts] == ["equal", "substitute", "substitute", "equal"]
    assert list(ErrorRate().align([], [])) == []


def test_hypotheses_without_tokens_are_of_the_kind_of_their_references() -> None:
    assert ErrorRate().statistics([[], []], [["a", "b"], []]).tolist() == [[0, 0, 2, 0], [0, 0, 0, 0]]
    assert ErrorRate().statistics([[]], [[["a", "b"], ["a"]]]).tolist() == [[0, 0, 2, 0]]
    assert ErrorRate().statistics([[]], [[[1, 2], [1]]]).tolist() == [[0, 0, 2, 0]]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match='measure is "cer", expected one of'):
        ErrorRate(measure="cer")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="lowercase"):
        ErrorRate(lowercase="yes")  # type: ignore[arg-type]  # that is the point
    for option in ("lowercase", "remove_punctuation"):
        metric = ErrorRate(**{option: True})  # type: ignore[arg-type]  # both are flags
        for call in (metric.statistics, metric.align):
            with pytest.raises(ValueError, match=f"{option} is True, which goes with strings"):
                call(np.array([[1]]), np.array([[1]]))
    with pytest.raises(ValueError, match="references has length 1, expected 2"):
        ErrorRate().align(["a", "b"], ["a"])
