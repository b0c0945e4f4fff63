"""BLEU, ROUGE and error rates against sacrebleu, rouge-score and jiwer, and against their definitions.

Statistics are equal, scores agree to 1e-12, on the documentation of the standard library, which every machine has, and
on generated text that is made of what tokenizers trip over.
"""

import ast
import itertools
import pickle
import random
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import cache
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import reference_text as reference
import seqloss_rs
from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]  # it has no stubs
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from sacrebleu.metrics.bleu import BLEU
from seqloss_rs import Bleu, ErrorRate, Rouge, bleu_loss, rouge_loss

SMOOTHINGS: tuple[Any, ...] = ("exp", "none", "floor", "add-k")
MEASURES: tuple[tuple[Any, str], ...] = (("f", "fmeasure"), ("precision", "precision"), ("recall", "recall"))
VARIANTS: tuple[Any, ...] = (*(f"rouge{order}" for order in range(1, 10)), "rougeL", "rougeLsum")
Pairs = tuple[list[str], list[list[str]]]

# What tokenizers trip over: entities, runs of stops, hyphens, all kinds of whitespace, cases that change lengths.
FRAGMENTS = [
    *"abcAB019.,-' &<>;!?\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000éßΣσς\0/$~\\",
    *("İ", "K", "ﬁ", "你", "мир", "😀", "e\u0301", "\u200b", "\ufeff"),
    *(
        "&amp;",
        "&lt;",
        "&quot;",
        "&gt;",
        "&amp;lt;",
        "<skipped>",
        "-\n",
        "..",
        ".,",
        "1.",
        ",2",
        "9-",
        "lt;",
        "  ",
        "1.5.2",
    ),
]
WORDS = (  # noqa: SIM905 - a list of literals would take a page
    "the cat sat on a mat running runs nationally Cats dog. 3.5 it's U.S. hello, world! relational news 1,000 - -- "
    "state-of-the-art dying skies happily cement generously"
).split()


def fragments(generator: random.Random, longest: int) -> str:
    return "".join(generator.choice(FRAGMENTS) for _ in range(generator.randint(0, longest)))


def words(generator: random.Random, longest: int = 14) -> str:
    return generator.choice([" ", " ", "  ", "\n"]).join(
        generator.choice(WORDS) for _ in range(generator.randint(0, longest))
    )


def altered(generator: random.Random, text: str) -> str:
    """A text in which some words were replaced, dropped or doubled."""
    parts = text.split(" ")
    for _ in range(generator.randint(0, 6)):
        at = generator.randrange(len(parts))
        parts[at] = generator.choice([generator.choice(WORDS), "", parts[at] + " " + parts[at], parts[at].upper()])
    return " ".join(parts)


@cache
def generated(count: int, most_references: int) -> Pairs:
    generator = random.Random(20260101 + count + most_references)
    hypotheses, references = [], []
    for index in range(count):
        make: Callable[[], str] = (lambda: fragments(generator, 40)) if index % 2 else (lambda: words(generator))
        text = make()
        several = generator.randint(1, most_references)
        references.append([altered(generator, text) if generator.random() < 0.6 else make() for _ in range(several)])
        hypotheses.append(text)
    return hypotheses, references


@cache
def documentation() -> tuple[str, ...]:
    """Docstrings of the standard library, whole and in pieces of some forty words."""
    texts: list[str] = []
    for path in sorted(Path(ast.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) < 3000:
                    texts.append(text)
                    parts = text.split()
                    texts += [" ".join(parts[at : at + 40]) for at in range(0, len(parts), 40)]
    return tuple(texts)


@cache
def real(count: int) -> Pairs:
    generator = random.Random(count)
    texts = documentation()
    assert len(texts) > 3000
    references = [
        [texts[generator.randrange(len(texts))] for _ in range(generator.choice([1, 1, 2]))] for _ in range(count)
    ]
    hypotheses = [
        altered(generator, generator.choice(several)) if generator.random() < 0.9 else generator.choice(texts)
        for several in references
    ]
    return hypotheses, references


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


# --- BLEU ---


def check_bleu(pairs: Pairs, **options: Any) -> None:
    """Statistics, the score of each sentence and of the corpus, and both losses, against sacrebleu."""
    hypotheses, references = pairs
    theirs = BLEU(
        lowercase=options.get("lowercase", False),
        tokenize=options.get("tokenize", "13a"),
        smooth_method=options.get("smoothing", "exp"),
        max_ngram_order=options.get("max_order", 4),
        effective_order=options.get("effective_order", True),
    )
    ours = Bleu(**options)
    rows = ours.statistics(hypotheses, references)
    assert rows.dtype == np.int64
    expected = [
        theirs._extract_corpus_statistics([hypothesis], [[text] for text in several])[0]
        for hypothesis, several in zip(hypotheses, references, strict=True)
    ]
    wrong = np.flatnonzero((rows != np.array(expected)).any(axis=1))
    assert not len(wrong), (hypotheses[wrong[0]], references[wrong[0]], rows[wrong[0]], expected[wrong[0]])
    scores = [theirs._compute_score_from_stats(list(row)).score for row in expected]
    close(ours.sentences(hypotheses, references), scores)
    close(bleu_loss(hypotheses, references, reduction="none", **options), 1 - np.array(scores) / 100)

    theirs.effective_order = options.get("effective_order", False)
    corpus = theirs._compute_score_from_stats([int(column) for column in np.sum(expected, axis=0)])
    found = ours.corpus(hypotheses, references)
    close(found.score, corpus.score)
    close(found.precisions, corpus.precisions)
    close(found.brevity_penalty, corpus.bp)
    assert (found.hypothesis_length, found.reference_length) == (corpus.sys_len, corpus.ref_len)
    if options.get("smoothing") != "add-k":  # sacrebleu shows what it added
        assert (list(found.counts), list(found.totals)) == (corpus.counts, corpus.totals)
    assert ours.from_statistics(rows) == ours.from_statistics(rows.sum(axis=0)) == found
    close(bleu_loss(hypotheses, references, reduction="corpus", **options), 1 - corpus.score / 100)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "none", "char"])
def test_bleu_tokenizers_and_case(tokenize: str, lowercase: bool) -> None:
    check_bleu(generated(3000, 4), tokenize=tokenize, lowercase=lowercase)


@pytest.mark.parametrize("effective_order", [False, True])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_bleu_smoothings(smoothing: str, effective_order: bool) -> None:
    check_bleu(generated(1500, 2), smoothing=smoothing, effective_order=effective_order)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("max_order", [1, 2, 3, 5, 9, 12])
def test_bleu_orders(max_order: int, smoothing: str) -> None:
    check_bleu(generated(400, 3), max_order=max_order, smoothing=smoothing)


@pytest.mark.parametrize(
    "options", [{}, {"lowercase": True}, {"tokenize": "char"}, {"max_order": 2, "smoothing": "add-k"}]
)
def test_bleu_on_real_text(options: dict[str, Any]) -> None:
    check_bleu(real(2000 if options.get("tokenize") != "char" else 500), **options)


def test_bleu_corpus_score_is_sacrebleus_own() -> None:
    """Not only its parts: the public function, with as many references for each."""
    hypotheses, references = real(400)
    several = [texts * 2 if len(texts) == 1 else texts for texts in references]
    streams = [list(stream) for stream in zip(*several, strict=True)]
    close(Bleu().corpus(hypotheses, several).score, BLEU().corpus_score(hypotheses, streams).score)


def test_every_character_is_cut_as_sacrebleu_does() -> None:
    """Each code point between two letters and beside digits; what Unicode has added since does not count."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    # Beyond the first plane there is neither whitespace nor punctuation that counts; every 31st stands for the others.
    some = characters[:0xF800] + characters[0xF800::31]
    texts = [f"a{character}b 1{character}.{character}2 {character}" for character in some]
    for tokenize in ("13a", "none", "char"):
        cut = BLEU(tokenize=tokenize).tokenizer
        lengths = [len(cut(text.rstrip()).split()) for text in texts]
        found = Bleu(max_order=1, tokenize=tokenize).statistics(texts, texts)
        assert np.array_equal(found[:, 0], lengths)
        assert np.array_equal(found[:, 2], lengths)
    known = [character for character in characters if unicodedata.category(character) != "Cn"]
    contexts = [
        f"{a}Σ{b}" for a in ("", "a", " ", "’", "aʼ", ".", "a.", "1", "\u0345") for b in ("", "a", " ", "'a", ".b")
    ]
    before = [f"x{text}" for text in (*known, *contexts)]
    after = [text.lower() for text in before]
    unigrams = Bleu(max_order=1, tokenize="char", lowercase=True).statistics(before, after)
    assert (unigrams[:, [1, 2, 3]] == unigrams[:, :1]).all()


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_perfect_match_has_no_loss_at_all(smoothing: Any) -> None:
    texts = [text for text in documentation()[:500] if text.strip()]
    assert not np.any(bleu_loss(texts, texts, smoothing=smoothing, reduction="none"))
    assert bleu_loss(texts, texts, smoothing=smoothing, reduction="corpus") == 0.0
    assert (Bleu(smoothing=smoothing).sentences(texts, texts) == 100.0).all()
    letters = [text for text in texts if text.isascii() and any(map(str.isalnum, text))]
    for variant in ("rouge1", "rougeL", "rougeLsum"):
        assert not np.any(rouge_loss(letters, letters, variant=variant, reduction="none"))


# --- ROUGE ---


@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize("source", ["generated", "real"])
def test_rouge(source: str, stem: bool) -> None:
    hypotheses, references = generated(1200, 3) if source == "generated" else real(300)
    scorer = RougeScorer(list(VARIANTS), use_stemmer=stem)
    expected = [scorer.score_multi(several, text) for several, text in zip(references, hypotheses, strict=True)]
    for variant in VARIANTS:
        for measure, name in MEASURES:
            values = np.array([float(getattr(scores[variant], name)) for scores in expected])
            ours = Rouge(variant=variant, measure=measure, stem=stem)
            close(ours.sentences(hypotheses, references), values)
            found = ours.corpus(hypotheses, references)
            close(found.score, values.mean())
            close(getattr(found, measure), values.mean())
            assert found == ours.from_statistics(ours.statistics(hypotheses, references))
            options: dict[str, Any] = {"variant": variant, "measure": measure, "stem": stem}
            close(rouge_loss(hypotheses, references, reduction="none", **options), 1 - values)
            close(rouge_loss(hypotheses, references, reduction="corpus", **options), 1 - values.mean())


def test_rouge_knows_every_character() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    texts = [f"a{character}b" for character in characters]
    kept = [
        "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower()).split()
        for text in texts
    ]
    found = Rouge(variant="rouge1").statistics(texts, [" ".join(tokens) for tokens in kept])
    lengths = [len(tokens) for tokens in kept]
    assert (found == np.array([lengths] * 3).T).all()


def dictionary() -> list[str]:
    path = Path("/usr/share/dict/american-english")
    if not path.exists():
        pytest.skip("Debian's wamerican is not installed")
    return path.read_text(encoding="utf-8").splitlines()


def test_the_stemmer_on_a_dictionary() -> None:
    same_classes([word for word in map(str.lower, dictionary()) if word.isascii() and word.isalnum()])


def test_the_stemmer_on_made_up_words() -> None:
    generator = random.Random(5)
    suffixes = (  # noqa: SIM905 - as above
        "ational tional enci anci izer bli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti "
        "iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent "
        "ion ou ism ate iti ous ive ize e ll s es ies sses ed ing eed ied y ying ly at bl iz yy"
    ).split()
    made = []
    for _ in range(30_000):
        root = "".join(generator.choice("aeiouybcdlmnst2wxz") for _ in range(generator.randint(1, 6)))
        made.append(root + "".join(generator.choice(suffixes) for _ in range(generator.randint(0, 3))))
    same_classes(made)


def same_classes(candidates: list[str]) -> None:
    """Words match one another exactly where NLTK gives them the same stem."""
    stemmer = PorterStemmer()
    stems = {word: stemmer.stem(word) if len(word) > 3 else word for word in candidates}
    # All words that begin alike are compared with one another.
    groups: dict[str, list[str]] = {}
    for word in sorted(stems):
        groups.setdefault(word[:3], []).append(word)
    pairs = [pair for group in groups.values() for pair in itertools.islice(itertools.combinations(group, 2), 3000)]
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    found = Rouge(variant="rouge1", stem=True).statistics(left, right)[:, 0]
    expected = [stems[first] == stems[second] for first, second in pairs]
    assert sum(expected) > 500
    wrong = np.flatnonzero(found != np.array(expected))
    assert not len(wrong), pairs[wrong[0]]


# --- Error rates ---


@pytest.mark.parametrize("unit", ["word", "char"])
@pytest.mark.parametrize("source", ["generated", "real"])
def test_error_rates(source: str, unit: Any) -> None:
    hypotheses, several = generated(3000, 1) if source == "generated" else real(600)
    references = [texts[0] for texts in several]
    process: Any = jiwer.process_words if unit == "word" else jiwer.process_characters
    rate = "wer" if unit == "word" else "cer"
    outputs = [process(text, hypothesis) for text, hypothesis in zip(references, hypotheses, strict=True)]
    ours = ErrorRate(unit=unit)
    rows = ours.statistics(hypotheses, references)
    expected = np.array([[o.hits, o.substitutions, o.deletions, o.insertions] for o in outputs])
    wrong = np.flatnonzero((rows != expected).any(axis=1))
    assert not len(wrong), (hypotheses[wrong[0]], references[wrong[0]], rows[wrong[0]], expected[wrong[0]])
    close(ours.sentences(hypotheses, references), [float(getattr(output, rate)) for output in outputs])
    whole = process(references, hypotheses)
    found = ours.corpus(hypotheses, references)
    close(found.score, getattr(whole, rate))
    counted = (found.hits, found.substitutions, found.deletions, found.insertions)
    assert counted == (whole.hits, whole.substitutions, whole.deletions, whole.insertions)
    assert ours.from_statistics(rows) == ours.from_statistics(rows.sum(axis=0)) == found


@pytest.mark.parametrize("distinct", [2, 20, 3000])
def test_error_rates_of_long_texts(distinct: int) -> None:
    """So long that rapidfuzz aligns them in halves, which prefers other alignments."""
    generator = np.random.default_rng(distinct)
    hypotheses, references = [], []
    for length, changes in ((2500, 2000), (5000, 30), (4000, 1000), (3000, 3000)):
        text = generator.integers(distinct, size=length)
        other = text.copy()
        other[generator.integers(length, size=changes)] = generator.integers(distinct, size=changes)
        other = np.delete(other, generator.integers(length, size=changes // 4))
        hypotheses.append(other)
        references.append(text)
    rows = ErrorRate().statistics(hypotheses, references)
    for row, hypothesis, text in zip(rows, hypotheses, references, strict=True):
        output = jiwer.process_words(" ".join(map(str, text)), " ".join(map(str, hypothesis)))
        assert row.tolist() == [output.hits, output.substitutions, output.deletions, output.insertions]


def test_of_several_references_the_one_with_the_lowest_rate_counts() -> None:
    assert ErrorRate().statistics(["a b c"], [["x y z", "a b c d", "a b"]]).tolist() == [[3, 0, 1, 0]]


# --- Token ids ---


def id_samples(count: int, most_references: int) -> tuple[list[list[int]], list[list[list[int]]]]:
    generator = random.Random(count)
    hypotheses, references = [], []
    for index in range(count):
        distinct = [2, 6, 100][index % 3]
        scale = [1, -(2**40), 2**62 // 100][index % 3]
        longest = 300 if index % 25 == 0 else 25

        def text(distinct: int = distinct, scale: int = scale, longest: int = longest) -> list[int]:
            return [scale * generator.randrange(distinct) for _ in range(generator.randint(0, longest))]

        hypothesis = text()
        several = [
            text() if generator.random() < 0.5 else hypothesis[generator.randint(0, 3) :] + text()[:4]
            for _ in range(generator.randint(1, most_references))
        ]
        hypotheses.append(hypothesis)
        references.append(several)
    return hypotheses, references


def test_ids_against_the_definitions() -> None:
    hypotheses, references = id_samples(500, 3)
    for max_order in (1, 4, 6):
        rows = Bleu(max_order=max_order).statistics(hypotheses, references).tolist()
        assert rows == [reference.bleu_row(*pair, max_order) for pair in zip(hypotheses, references, strict=True)]
        for smoothing, effective in itertools.product(SMOOTHINGS, (False, True)):
            metric = Bleu(max_order=max_order, smoothing=smoothing, effective_order=effective)
            scores = [100 * reference.bleu_score(row, smoothing, effective) for row in rows]
            close(metric.sentences(hypotheses, references), scores)
    for variant in ("rouge1", "rouge2", "rouge9", "rougeL", "rougeLsum"):
        found = Rouge(variant=variant).statistics(hypotheses, references).tolist()
        assert found == [reference.rouge_row(*pair, variant) for pair in zip(hypotheses, references, strict=True)]
    first = [several[0] for several in references]
    rows = ErrorRate().statistics(hypotheses, [np.array(text, np.int64) for text in first])
    for (hits, *errors), hypothesis, text in zip(rows.tolist(), hypotheses, first, strict=True):
        assert sum(errors) == reference.edit_distance(text, hypothesis)
        assert hits + errors[0] + errors[1] == len(text)
        assert hits + errors[0] + errors[2] == len(hypothesis)


def test_ids_are_strings_that_are_cut_already() -> None:
    hypotheses, references = id_samples(200, 2)
    as_words = [" ".join(f"w{token}" for token in text) for text in hypotheses]
    several = [[" ".join(f"w{token}" for token in text) for text in texts] for texts in references]
    for metric in (Bleu(tokenize="none"), ErrorRate()):
        assert np.array_equal(metric.statistics(hypotheses, references), metric.statistics(as_words, several))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", ">i2", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i8"]
)
def test_ids_in_every_form(dtype: str) -> None:
    generator = np.random.default_rng(3)
    hypotheses = generator.integers(0, 4, (6, 9)).astype(dtype)
    references = generator.integers(0, 4, (6, 7)).astype(dtype)
    lengths, reference_lengths = np.array([9, 0, 3, 5, 1, 8], np.int32), [7, 3, 0, 2, 1, 6]
    ours = [row[:length] for row, length in zip(hypotheses, lengths, strict=True)]
    theirs = [row[:length] for row, length in zip(references, reference_lengths, strict=True)]
    expected = [reference.bleu_row(list(a), [list(b)], 4) for a, b in zip(ours, theirs, strict=True)]
    metric = Bleu()
    padded = metric.statistics(hypotheses, references, lengths=lengths, reference_lengths=reference_lengths)
    assert padded.tolist() == expected
    # What lies beyond a length is never looked at.
    beyond = hypotheses.copy()
    beyond[np.arange(9) >= lengths[:, None]] = 77
    assert np.array_equal(
        padded, metric.statistics(beyond, references, lengths=lengths, reference_lengths=reference_lengths)
    )
    strided = np.asfortranarray(np.repeat(hypotheses, 2, axis=1))[:, ::2]
    assert np.array_equal(
        padded, metric.statistics(strided, references, lengths=lengths, reference_lengths=reference_lengths)
    )
    for forms in (
        (ours, theirs),
        (tuple(ours), [[text] for text in theirs]),
        ([text.tolist() for text in ours], [text.tolist() for text in theirs]),
        ([text.tolist() for text in ours], [[text.tolist()] for text in theirs]),
    ):
        assert metric.statistics(*forms).tolist() == expected


def test_ids_of_any_size_are_kept_apart() -> None:
    extremes = [-(2**63), -(2**63) + 1, -(2**32), -1, 0, 1, 2**32, 2**63 - 2]
    assert Bleu(max_order=1).statistics([extremes], [extremes[::-1]]).tolist() == [[8, 8, 8, 8]]
    for first, second in itertools.combinations(extremes, 2):
        assert Bleu(max_order=1).statistics([[first]], [[second]])[0, 2] == 0


# --- The faces ---


@pytest.mark.parametrize("loss", [bleu_loss, rouge_loss])
def test_reductions(loss: Callable[..., Any]) -> None:
    hypotheses, references = real(60)
    each = loss(hypotheses, references, reduction="none")
    assert each.dtype == np.float64
    assert each.shape == (60,)
    assert ((each >= 0) & (each <= 1)).all()
    for same in ("sequence", "sequence_mean"):
        assert np.array_equal(loss(hypotheses, references, reduction=same), each)
    for reduction, expected in (("mean", each.mean()), ("batch_mean", each.mean()), ("sum", each.sum())):
        found = loss(hypotheses, references, reduction=reduction)
        assert isinstance(found, float)
        close(found, expected)
    for reduction in ("mean", "sum"):
        close(loss(hypotheses, references, reduction=reduction, normalizer=7), each.sum() / 7)
    assert isinstance(loss(hypotheses, references, reduction="corpus"), float)


@pytest.mark.parametrize("loss", [bleu_loss, rouge_loss])
def test_empty_batches(loss: Callable[..., Any]) -> None:
    nothings: tuple[Any, ...] = ([], (), np.zeros((0, 3), np.int64))
    for nothing in nothings:
        assert loss(nothing, nothing, reduction="none").shape == (0,)
        assert loss(nothing, nothing, reduction="sum") == 0
        assert np.isnan(loss(nothing, nothing))
    assert Bleu(max_order=3).statistics([], []).shape == (0, 8)
    assert Bleu().corpus([], []).score == 0.0
    assert np.isnan(Rouge().corpus([], []).score)
    assert ErrorRate().corpus([], []).score == 0.0


def test_empty_texts() -> None:
    assert np.all(bleu_loss(["", "", "a", " \n"], ["", "a", "", [" ", "a"]], reduction="none") == 1)
    assert np.all(rouge_loss(["", "", "a", "!?"], ["", "a", "", ["\n\n", "a"]], reduction="none") == 1)
    assert ErrorRate().sentences(["", "", "a b", " "], ["", "a", "", " "]).tolist() == [0.0, 1.0, 2.0, 0.0]
    empty: NDArray[np.int64] = np.zeros(0, np.int64)
    assert Bleu(max_order=1).statistics([[], empty], [[1], []]).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


def test_strings_in_every_list() -> None:
    expected = bleu_loss(["a b c d", "x"], [["a b c d"], ["y", "x"]], reduction="none")
    for hypotheses in (("a b c d", "x"), np.array(["a b c d", "x"]), np.array(["a b c d", "x"], object)):
        assert np.array_equal(bleu_loss(hypotheses, ("a b c d", ("y", "x")), reduction="none"), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_bytes_with_any_number_of_threads(threads: int) -> None:
    hypotheses, references = real(500)
    metrics: tuple[Bleu | Rouge | ErrorRate, ...] = (
        Bleu(),
        Rouge(stem=True),
        Rouge(variant="rougeLsum"),
        ErrorRate(unit="char"),
    )
    expected = [(m.statistics(hypotheses, references), m.sentences(hypotheses, references)) for m in metrics]
    before = seqloss_rs.get_num_threads()
    try:
        seqloss_rs.set_num_threads(threads)
        for metric, (rows, scores) in zip(metrics, expected, strict=True):
            assert metric.statistics(hypotheses, references).tobytes() == rows.tobytes()
            assert metric.sentences(hypotheses, references).tobytes() == scores.tobytes()
            alone = [metric.sentences([h], [r])[0] for h, r in zip(hypotheses[:50], references[:50], strict=True)]
            assert np.array(alone).tobytes() == scores[:50].tobytes()
    finally:
        seqloss_rs.set_num_threads(before)


def test_classes_are_values() -> None:
    for metric, same, other in (
        (Bleu(max_order=2), Bleu(max_order=2), Bleu()),
        (Rouge(stem=True), Rouge(stem=True), Rouge()),
        (ErrorRate(unit="char"), ErrorRate(unit="char"), ErrorRate()),
    ):
        assert metric == same != other
        assert hash(metric) == hash(same)
        copy = pickle.loads(pickle.dumps(metric))
        assert copy == metric
        score = metric.corpus(["a b c"], ["a b d"])
        assert pickle.loads(pickle.dumps(score)) == score == copy.corpus(["a b c"], ["a b d"])
        with pytest.raises(FrozenInstanceError):
            score.score = 1.0  # type: ignore[misc]  # that is the point
    assert repr(Bleu(max_order=2)) == (
        "Bleu(max_order=2, smoothing='exp', smoothing_value=None, effective_order=None, tokenize='13a', "
        "lowercase=False)"
    )
    assert repr(ErrorRate(unit="char")).startswith("ErrorRate(unit='char', measure='wer'")


IDS = np.zeros((2, 3), np.int64)
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: bleu_loss("a", ["a"]),
        TypeError,
        r"hypotheses is a single string, .*: \[hypotheses\]",
    ),
    (lambda: bleu_loss(["a"], "a"), TypeError, "references is a single string"),
    (
        lambda: bleu_loss(["a"], ["a", "b"]),
        ValueError,
        "references has length 2, expected 1, one item for each hyp",
    ),
    (lambda: bleu_loss(["a", "b"], [["a", "b"]]), ValueError, r"pass list\(zip\(\*references\)\)$"),
    (
        lambda: bleu_loss(["a", "b"], ["a", []]),
        ValueError,
        r"references\[1\] is empty, expected at least one",
    ),
    (lambda: bleu_loss(["a", 3], ["a", "b"]), TypeError, r"hypotheses\[1\] has type int, expected a string"),
    (lambda: bleu_loss([None, "a"], ["a", "b"]), TypeError, r"hypotheses\[0\] has type NoneType, expected a string or"),
    (lambda: bleu_loss([3], ["a"]), TypeError, r"hypotheses\[0\] has type int, expected a string or token ids"),
    (lambda: bleu_loss([b"a"], ["a"]), TypeError, r"hypotheses\[0\] has type bytes, expected a string or token ids"),
    (lambda: bleu_loss([{"a": 1}], ["a"]), TypeError, r"hypotheses\[0\] has type dict, expected a string or token ids"),
    (lambda: bleu_loss([[1]], [[None]]), ValueError, r"references\[0\] is empty, expected at least one"),
    (lambda: bleu_loss(["a"], [None]), TypeError, r"references\[0\] has type NoneType"),
    (lambda: bleu_loss(["a"], [["a", 3]]), TypeError, r"references\[0\]\[1\] has type int"),
    (lambda: bleu_loss(["a\ud800"], ["a"]), ValueError, r"hypotheses\[0\] holds a lone surrogate"),
    (lambda: bleu_loss(["a"], [["a", "\udfff"]]), ValueError, r"references\[0\]\[1\] holds a lone surrogate"),
    (lambda: bleu_loss(["a", "b"], IDS), TypeError, "references is an array"),
    (lambda: bleu_loss(IDS, ["a", "b"]), TypeError, r"references\[0\] is a string, but hypotheses"),
    (lambda: bleu_loss(b"a", ["a"]), TypeError, "hypotheses has type bytes"),
    (lambda: bleu_loss(None, ["a"]), TypeError, "hypotheses has type NoneType"),  # type: ignore[arg-type]  # that is the point
    (lambda: bleu_loss(IDS[0], IDS[0]), ValueError, r"hypotheses has shape \(3,\), expected \(N, T\)"),
    (
        lambda: bleu_loss(IDS[None, None], IDS),
        ValueError,
        r"hypotheses has shape \(1, 1, 2, 3\), expected \(N, T\), or",
    ),
    (lambda: bleu_loss(IDS.astype(float), IDS), TypeError, "hypotheses has dtype float64, expected integers"),
    (lambda: bleu_loss(IDS.astype(bool), IDS), TypeError, "hypotheses has dtype bool, expected integers"),
    (lambda: bleu_loss(IDS, IDS[:1]), ValueError, "references has length 1, expected 2"),
    (lambda: bleu_loss(IDS, [[[1], [2]], []]), ValueError, r"references\[1\] is empty"),
    (
        lambda: bleu_loss([np.array([2**63], np.uint64)], [[1]]),
        ValueError,
        r"hypotheses\[0\] holds an id of 2\*\*63",
    ),
    (lambda: bleu_loss(IDS, IDS, lengths=[1, 4]), ValueError, r"lengths\[1\] is 4, which is not a length in 0..=3"),
    (lambda: bleu_loss(IDS, IDS, reference_lengths=[-1, 1]), ValueError, r"reference_lengths\[0\] is -1"),
    (lambda: bleu_loss(IDS, IDS, lengths=[1]), ValueError, r"lengths has shape \(1,\), expected \(2,\)"),
    (lambda: bleu_loss(IDS, [[[1]], [[2]]], reference_lengths=[1, 1]), ValueError, "reference_lengths goes with one"),
    (lambda: bleu_loss(["a"], ["a"], lengths=[1]), TypeError, "lengths goes with token ids"),
    (lambda: bleu_loss(IDS, IDS, lowercase=True), ValueError, "lowercase is True, which goes with strings"),
    (lambda: rouge_loss(IDS, IDS, stem=True), ValueError, "stem is True, which goes with strings"),
    (lambda: bleu_loss(["a"], ["a"], max_order=0), ValueError, "max_order is 0, which is not"),
    (lambda: Bleu(max_order=33), ValueError, "max_order is 33, which is not"),
    (lambda: Bleu(smoothing="add"), ValueError, 'smoothing is "add", expected one of "none", "floor", "add-k", "exp"'),  # type: ignore[arg-type]  # that is the point
    (lambda: Bleu(tokenize="14a"), ValueError, 'tokenize is "14a", expected one of'),  # type: ignore[arg-type]  # that is the point
    (lambda: Rouge(variant="rouge0"), ValueError, 'variant is "rouge0", expected one of'),  # type: ignore[arg-type]  # that is the point
    (lambda: Rouge(measure="F"), ValueError, 'measure is "F", expected one of'),  # type: ignore[arg-type]  # that is the point
    (lambda: ErrorRate(unit="token"), ValueError, 'unit is "token", expected one of'),  # type: ignore[arg-type]  # that is the point
    (lambda: bleu_loss(["a"], ["a"], reduction="avg"), ValueError, 'reduction is "avg", expected one of'),  # type: ignore[arg-type]  # that is the point
    (lambda: rouge_loss(["a"], ["a"], reduction="none", normalizer=2), ValueError, "normalizer goes with"),
    (lambda: Bleu().from_statistics([1, 2, 3]), ValueError, r"rows has shape \(3,\), expected \(N, 10\) or \(10,\)"),
    (lambda: Bleu().from_statistics([[1] * 9 + [-1]]), ValueError, r"rows\[0, 9\] is -1, which is not a count"),
    (lambda: Bleu(max_order=1).from_statistics([5, 5, 6, 5]), ValueError, r"rows\[0\] has 6 matches of order 1"),
    (lambda: Rouge().from_statistics([[3, 2, 4]]), ValueError, r"rows\[0\] has 3 hits"),
    (lambda: ErrorRate().from_statistics([[2**62] * 4] * 2), ValueError, r"rows\[:, 0\] has a sum that does not fit"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_what_does_not_fit_is_named(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
