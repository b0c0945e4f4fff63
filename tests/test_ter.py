"""TER against sacrebleu: rows are equal, scores agree to 1e-12.

sacrebleu takes 10 ms and more for a pair of sentences, so most texts here are short, and of so few words that runs of
them are shifted.
"""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from sacrebleu.metrics import lib_ter
from sacrebleu.metrics.ter import TER
from sacrebleu.tokenizers.tokenizer_ter import TercomTokenizer
from seqloss_rs import Ter, TerScore
from test_text import FRAGMENTS, close, fragments, generated, real

NAMES = ("normalized", "no_punct", "asian_support", "case_sensitive")
PARTS = 9_311_702_400
Words = Sequence[int]

# What tercom's expressions look for, beside what others trip over.
ASIAN = [
    *(
        "你",
        "好",
        "。",
        "、",
        "．",
        "，",
        "（",
        "）",
        "！",
        "・",
        "ひ",
        "がな",
        "カ",
        "ナ",
        "ㇰ",
        "㈱",
        "㍻",
        "⺀",
        "㇀",
        "豈",
        "︰",
    ),
    *(
        "'s",
        "'s ",
        "'s.",
        "\n-",
        "-\n",
        "?",
        "!",
        "(",
        '"',
        "3.5",
        "9-",
        "'",
        "s",
        "\u3f22",
        "\u3f23",
        "\u9fff",
        "\ua000",
    ),
]


def theirs(hypothesis: Words, reference: Words) -> int:
    return lib_ter.translation_edit_rate([str(word) for word in hypothesis], [str(word) for word in reference])[0]


def check_words(hypotheses: list[list[int]], references: list[list[int]]) -> None:
    """The edits of texts of ids."""
    rows = Ter().statistics(hypotheses, references)
    for row, hypothesis, reference in zip(rows.tolist(), hypotheses, references, strict=True):
        assert row == [theirs(hypothesis, reference), len(reference), 0], (hypothesis, reference)


def shifted(generator: random.Random, text: list[int], shifts: int, changes: int, distinct: int) -> list[int]:
    """A text some runs of which were moved, and some words replaced."""
    text = list(text)
    for _ in range(shifts):
        if text:
            at = generator.randrange(len(text))
            end = at + generator.randint(1, 12)
            run = text[at:end]
            del text[at:end]
            to = generator.randint(0, len(text))
            text[to:to] = run
    for _ in range(changes):
        if text:
            text[generator.randrange(len(text))] = generator.randrange(distinct)
    return text


def test_shifts_of_few_words() -> None:
    generator = random.Random(1)
    hypotheses, references = [], []
    for index in range(3200):
        distinct = [2, 3, 4, 6, 9][index % 5]
        reference = [generator.randrange(distinct) for _ in range(generator.randint(0, 11))]
        if index % 2:
            hypothesis = [generator.randrange(distinct) for _ in range(generator.randint(0, 11))]
        else:
            hypothesis = shifted(generator, reference, generator.randint(0, 3), generator.randint(0, 2), distinct)
        hypotheses.append(hypothesis)
        references.append(reference)
    check_words(hypotheses, references)
    distances = [edit_distance(*pair) for pair in zip(hypotheses, references, strict=True)]
    with_shifts = Ter().statistics(hypotheses, references)[:, 0] < distances
    assert with_shifts.sum() > 500


def edit_distance(hypothesis: Words, reference: Words) -> int:
    row = list(range(len(reference) + 1))
    for word in hypothesis:
        diagonal, row[0] = row[0], row[0] + 1
        for column, other in enumerate(reference):
            costs = (diagonal + (word != other), row[column] + 1, row[column + 1] + 1)
            diagonal, row[column + 1] = row[column + 1], min(costs)
    return row[-1]


def test_sentences_with_shifts() -> None:
    """Longer than the beam is wide on one side, so that it matters."""
    generator = random.Random(2)
    hypotheses, references = [], []
    for index in range(60):
        distinct = [12, 40, 300][index % 3]
        reference = [generator.randrange(distinct) for _ in range(generator.randint(25, 45))]
        references.append(reference)
        hypotheses.append(shifted(generator, reference, index % 4, index % 5, distinct))
    check_words(hypotheses, references)


def test_the_beam_cuts_long_texts() -> None:
    """Words that belong together but lie more than the beam apart; all ratios of lengths, with those of wide beams."""
    generator = random.Random(3)
    hypotheses, references = [], []
    uneven = [(1, 60), (2, 130), (3, 151), (4, 210), (1, 51), (2, 100), (2, 101), (1, 50), (130, 4), (90, 1)]
    shapes = [*itertools.product(uneven, (3, 500)), *itertools.product([(30, 60), (60, 30), (70, 70)], (500,))]
    for (hypothesis, reference), distinct in shapes:
        references.append([generator.randrange(distinct) for _ in range(reference)])
        hypotheses.append([generator.randrange(distinct) for _ in range(hypothesis)])
    for length, moved in ((60, 26), (70, 45)):
        text = list(range(length))
        other = list(range(1000, 1000 + moved))
        references += [text, text, other + text]
        hypotheses += [text[moved:] + text[:moved], other + text[: length - moved], text]
    # All words of the hypothesis stand at the end of a reference fifty times as long, where the beam does not reach.
    references.append(list(range(310)))
    hypotheses.append([304, 305, 306, 307, 308, 309])
    check_words(hypotheses, references)
    assert any(
        row[0] > edit_distance(*pair)
        for row, pair in zip(
            Ter().statistics(hypotheses, references), zip(hypotheses, references, strict=True), strict=True
        )
    )


def test_at_a_thousand_candidates_it_stops_and_does_not_use_the_best() -> None:
    generator = random.Random(4)
    hypotheses, references = [], []
    for _ in range(3):
        text = [generator.randrange(2) for _ in range(44)]
        references.append(text)
        hypotheses.append([*text[:6], *text[16:40], *text[6:16], *text[40:]])
    check_words(hypotheses, references)
    # One shift would do, but there are too many to try.
    edits = Ter().statistics(hypotheses, references)[:, 0].tolist()
    assert edits == [edit_distance(*pair) for pair in zip(hypotheses, references, strict=True)]
    assert min(edits) > 1


def test_texts_of_thousands_of_words() -> None:
    generator = random.Random(5)
    text = [generator.randrange(2000) for _ in range(400)]
    check_words([text], [shifted(generator, text, 1, 2, 2000)])
    # Far too long for sacrebleu: a swap and a replaced word are two edits, wherever they are.
    long = list(range(100_000))
    long[70_000:70_006] = [*long[70_003:70_006], *long[70_000:70_003]]
    long[99_000] = -1
    assert Ter().statistics([long], [list(range(100_000))]).tolist() == [[2, 100_000, 0]]


# --- Strings ---


def expected_rows(hypotheses: list[str], references: list[list[str]], **options: Any) -> tuple[TER, list[list[float]]]:
    metric = TER(**options)
    rows = [
        metric._extract_corpus_statistics([hypothesis], [[text] for text in several])[0]
        for hypothesis, several in zip(hypotheses, references, strict=True)
    ]
    return metric, rows


def check(hypotheses: list[str], references: list[list[str]], **options: Any) -> None:
    """Statistics, the score of each sentence and of the corpus."""
    metric, expected = expected_rows(hypotheses, references, **options)
    ours = Ter(**options)
    rows = ours.statistics(hypotheses, references)
    assert rows.dtype == np.int64
    lengths = rows[:, 1] + rows[:, 2] / PARTS
    for row, length, other, text, several in zip(rows, lengths, expected, hypotheses, references, strict=True):
        assert row[0] == other[0], (text, several)
        assert length == pytest.approx(other[1], rel=1e-15), (text, several)
    close(ours.sentences(hypotheses, references), [metric._compute_score_from_stats(row).score for row in expected])
    corpus = metric._aggregate_and_compute(expected)
    found = ours.corpus(hypotheses, references)
    close(found.score, corpus.score)
    assert found.edits == corpus.num_edits
    close(found.reference_length, corpus.ref_length)
    assert ours.from_statistics(rows) == ours.from_statistics(rows.sum(axis=0)) == found


OPTIONS = [dict(zip(NAMES, values, strict=True)) for values in itertools.product((False, True), repeat=4)]


def tokens(text: str, options: dict[str, bool]) -> str:
    return str(TercomTokenizer(**options)(text.rstrip()))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(name for name in NAMES if options[name]))
def test_the_tokenizer(options: dict[str, bool]) -> None:
    """As many tokens as sacrebleu finds; the same ones where cutting them again leaves them as they are."""
    generator = random.Random(6)
    made = ["".join(generator.choice(ASIAN + FRAGMENTS) for _ in range(generator.randint(0, 12))) for _ in range(3000)]
    texts = [*made, *(fragments(generator, 15) for _ in range(1000))]
    cut = [tokens(text, options) for text in texts]
    rows = Ter(**options).statistics(cut, texts)
    again = [tokens(text, options) for text in cut]
    assert rows[:, 1].tolist() == [len(text.split()) for text in again]
    # A hypothesis is cut once: without a reference each of its words is an edit.
    assert Ter(**options).statistics(texts, [""] * len(texts))[:, 0].tolist() == [len(text.split()) for text in cut]
    stable = np.array([text == text_again for text, text_again in zip(cut, again, strict=True)])
    assert stable.sum() > 2000
    wrong = np.flatnonzero(stable & (rows[:, 0] > 0))
    assert not len(wrong), (texts[wrong[0]], cut[wrong[0]])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(name for name in NAMES if options[name]))
def test_every_option(options: dict[str, bool]) -> None:
    generator = random.Random(7)
    hypotheses, references = [], []
    for _ in range(120):
        parts = [generator.choice([*ASIAN, "a", "B", "the", "Cat", "x."]) for _ in range(generator.randint(0, 9))]
        hypotheses.append(generator.choice(["", " "]).join(parts))
        generator.shuffle(parts)
        references.append([generator.choice(["", " "]).join(parts[: generator.randint(0, 9)])])
    check(hypotheses, references, **options)


def test_generated_text() -> None:
    hypotheses, references = generated(160, 3)
    check(hypotheses, references)
    check(hypotheses, references, normalized=True)


def test_real_text() -> None:
    hypotheses, references = real(40)
    hypotheses = [" ".join(text.split()[:30]) for text in hypotheses]
    references = [[" ".join(text.split()[:30]) for text in several] for several in references]
    check(hypotheses, references)
    streams = [[several[0] for several in references], [several[-1] for several in references]]
    ours = Ter().corpus(hypotheses, [list(pair) for pair in zip(*streams, strict=True)])
    close(ours.score, TER().corpus_score(hypotheses, streams).score)


# --- Where it is easy to go wrong ---


def test_empty_texts() -> None:
    hypotheses, references = ["", "a b", "", "a"], [["a b"], [""], [""], ["", "a b c"]]
    check(hypotheses, references)
    assert Ter().sentences(hypotheses[:3], references[:3]).tolist() == [100.0, 100.0, 0.0]
    assert Ter().corpus([], []) == TerScore(0.0, 0, 0.0)


def test_references_are_cut_twice() -> None:
    """As sacrebleu does, first to count them and then to keep their words."""
    assert tokens("it's.", {"normalized": True}) == "it's ."
    assert Ter(normalized=True).statistics(["it's."], ["it's."]).tolist() == [[2, 3, 0]]
    check(["it's.", "&amp;amp;lt;", "'s"], [["it's."], ["&amp;amp;lt;"], ["a's."]], normalized=True)


def test_the_range_that_was_meant_to_end_at_32ff_ends_at_3f22() -> None:
    for code in (
        0x31FF,
        0x3200,
        0x32FF,
        0x33FF,
        0x3400,
        0x3F22,
        0x3F23,
        0x4DBF,
        0x4DC0,
        0x4DFF,
        0x4E00,
        0x9FFF,
        0xA000,
    ):
        check([f"a{chr(code)}b"], [["a"]], normalized=True, asian_support=True)


def test_kana_stay_together() -> None:
    for text in ("ひらがな", "カタカナ", "ㇰㇱ", "あア", "あ", "aあ", " ひ"):
        check([text], [["x"]], normalized=True, asian_support=True)
        check([text], [["x"]], normalized=True, asian_support=True, no_punct=True)


def test_every_character_is_cut_as_sacrebleu_does() -> None:
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    texts = [f"a{character}b {character}.{character} 1{character}2" for character in characters]
    for options in ({"normalized": True, "asian_support": True}, {"no_punct": True, "asian_support": True}, {}):
        metric = TercomTokenizer(case_sensitive=True, **options)
        lengths = [len(metric(text.rstrip()).split()) for text in texts]
        found = Ter(case_sensitive=True, **options).statistics(["", *texts], ["", *texts])
        assert found[1:, 1].tolist() == lengths
        assert not found[:, 0].any()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 11, 22, 23, 29, 64, 100])
def test_the_mean_length_of_many_references_adds_up(count: int) -> None:
    generator = random.Random(count)
    several = [
        [" ".join("ab"[generator.randrange(2)] for _ in range(generator.randint(1, 9))) for _ in range(count)]
        for _ in range(5)
    ]
    hypotheses = ["a b a b", "b", "", "a a a", "b b a a b b"]
    rows = Ter().statistics(hypotheses, several)
    _, expected = expected_rows(hypotheses, several)
    assert rows[:, 0].tolist() == [row[0] for row in expected]
    exact = PARTS % count == 0
    np.testing.assert_allclose(
        rows[:, 1] + rows[:, 2] / PARTS, [row[1] for row in expected], rtol=1e-15 if exact else 1e-10
    )
    words = [sum(len(text.split()) for text in texts) for texts in several]
    if exact:
        assert (rows[:, 1] * PARTS + rows[:, 2]).tolist() == [total * PARTS // count for total in words]
    found = Ter().from_statistics(rows.sum(axis=0)).reference_length
    assert found == pytest.approx(sum(words) / count, rel=1e-15 if exact else 1e-11)


def test_missing_references() -> None:
    hypotheses, references = ["a b", "c d"], [["a b c", None], ["c", "c d e f"]]
    found = Ter().corpus(hypotheses, references)
    expected = TER().corpus_score(hypotheses, [["a b c", "c"], [None, "c d e f"]])  # type: ignore[list-item]  # it may
    close(found.score, expected.score)
    assert found.reference_length == 3 + 2.5


# --- Token ids, and what does not fit ---


def test_ids_are_words() -> None:
    generator = random.Random(8)
    texts = [[generator.randrange(-3, 5) for _ in range(generator.randint(0, 9))] for _ in range(100)]
    others = [[generator.randrange(-3, 5) for _ in range(generator.randint(0, 9))] for _ in range(100)]
    as_words = [[" ".join(f"w{token}" for token in text) for text in side] for side in (texts, others)]
    for options in ({}, {"asian_support": True}, {"case_sensitive": True}):
        assert np.array_equal(Ter(**options).statistics(texts, others), Ter().statistics(*as_words))


def test_what_needs_strings_says_so() -> None:
    for name in ("normalized", "no_punct"):
        with pytest.raises(ValueError, match=f"{name} is True, which goes with strings, and hypotheses are token ids"):
            Ter(**{name: True}).corpus([[1, 2]], [[1, 2]])


@pytest.mark.parametrize("name", NAMES)
def test_options_of_a_wrong_type(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Ter(**{name: "yes"})  # type: ignore[arg-type]  # on purpose


def test_rows_of_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"rows has shape \(2, 2\), expected \(N, 3\) or \(3,\)"):
        Ter().from_statistics(np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"rows\[0, 0\] is -1"):
        Ter().from_statistics([-1, 1, 0])


def test_one_thread_or_two_make_no_difference() -> None:
    texts = real(500)
    before = seqloss_rs.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            seqloss_rs.set_num_threads(threads)
            found.append(Ter(normalized=True).statistics(*texts))
    finally:
        seqloss_rs.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
