"""chrF and chrF++ against sacrebleu: rows are equal, scores agree to 1e-12.

The texts are the documentation of the standard library, which every machine has, and generated ones that are made of
what tokenizers trip over.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import reference_text as reference
import seqloss_rs
from sacrebleu.metrics.chrf import CHRF
from seqloss_rs import Chrf, ChrfScore
from test_text import Pairs, close, generated, real

NAMES = ("char_order", "word_order", "beta", "lowercase", "whitespace", "eps_smoothing")
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def check(pairs: Pairs, **options: Any) -> None:
    """Statistics, the score of each sentence and of the corpus, against sacrebleu."""
    hypotheses, references = pairs
    theirs = CHRF(**options)
    ours = Chrf(**options)
    rows = ours.statistics(hypotheses, references)
    assert rows.dtype == np.int64
    expected = [
        theirs._extract_corpus_statistics([hypothesis], [[text] for text in several])[0]
        for hypothesis, several in zip(hypotheses, references, strict=True)
    ]
    wrong = np.flatnonzero((rows != np.array(expected)).any(axis=1))
    assert not len(wrong), (hypotheses[wrong[0]], references[wrong[0]], rows[wrong[0]], expected[wrong[0]])
    close(ours.sentences(hypotheses, references), [theirs._compute_f_score(row) for row in expected])
    found = ours.corpus(hypotheses, references)
    close(found.score, theirs._aggregate_and_compute(expected).score)
    assert ours.from_statistics(rows) == ours.from_statistics(rows.sum(axis=0)) == found
    assert found == ChrfScore(found.score, ours.char_order, ours.word_order, ours.beta)


@pytest.mark.parametrize("word_order", [0, 2])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("whitespace", [False, True])
@pytest.mark.parametrize("eps_smoothing", [False, True])
def test_every_option(word_order: int, lowercase: bool, whitespace: bool, eps_smoothing: bool) -> None:
    check(
        generated(700, 3),
        word_order=word_order,
        lowercase=lowercase,
        whitespace=whitespace,
        eps_smoothing=eps_smoothing,
    )


@pytest.mark.parametrize("eps_smoothing", [False, True])
@pytest.mark.parametrize(
    ("char_order", "word_order"), [(1, 0), (2, 1), (3, 3), (4, 0), (5, 2), (7, 0), (9, 1), (12, 12), (0, 1), (0, 4)]
)
def test_every_order(char_order: int, word_order: int, eps_smoothing: bool) -> None:
    check(generated(200, 2), char_order=char_order, word_order=word_order, eps_smoothing=eps_smoothing)


@pytest.mark.parametrize("beta", [0, 1, 3, 10])
def test_beta(beta: int) -> None:
    check(generated(200, 3), beta=beta)
    check(generated(200, 3), beta=beta, word_order=1, eps_smoothing=True)


@pytest.mark.parametrize("options", [{}, {"word_order": 2}, {"whitespace": True, "lowercase": True}])
def test_on_real_text(options: dict[str, Any]) -> None:
    check(real(500), **options)


def test_the_corpus_score_is_sacrebleus_own() -> None:
    """Not only its parts: the public functions, with as many references for each, some of them missing."""
    hypotheses, references = real(150)
    several: list[list[Any]] = [texts * 2 if len(texts) == 1 else list(texts) for texts in references]
    for index in range(0, 150, 7):
        several[index][index % 2] = None
    streams = [list(stream) for stream in zip(*several, strict=True)]
    ours = Chrf(word_order=2)
    close(ours.corpus(hypotheses, several).score, CHRF(word_order=2).corpus_score(hypotheses, streams).score)
    one = CHRF().sentence_score(hypotheses[0], references[0])
    close(Chrf().sentences(hypotheses[:1], references[:1]), [one.score])


def test_long_texts() -> None:
    """So long that n-grams are numbered and not put on bits, and of few different characters or of many."""
    generator = random.Random(1)
    hypotheses, references = [], []
    for length, letters in ((390, "ab "), (900, "abcdefgh "), (3000, "abcdefghijklmnopqrstuvwxyz. é"), (5000, "ab")):
        text = "".join(generator.choice(letters) for _ in range(length))
        other = "".join(generator.choice(letters) if generator.random() < 0.2 else letter for letter in text)
        hypotheses += [text, other[: length // 10], ""]
        references += [[other[7:], text[::-1]], [text], [other]]
    for options in ({}, {"word_order": 2, "whitespace": True}):
        check((hypotheses, references), **options)


# --- Where it is easy to go wrong ---


def test_the_hypothesis_has_no_n_grams_of_an_order_that_the_reference_lacks() -> None:
    row = Chrf(char_order=3).statistics(["abc"], ["a"])
    assert row.tolist() == [[3, 1, 1, 0, 0, 0, 0, 0, 0]]
    row = Chrf(char_order=3).statistics(["a"], ["abc"])
    assert row.tolist() == [[1, 3, 1, 0, 2, 0, 0, 1, 0]]
    assert Chrf().sentences(["abc", "", ""], ["", "abc", ""]).tolist() == [0.0, 0.0, 0.0]


def test_punctuation_is_peeled_off_one_side_and_only_if_it_is_ascii() -> None:
    words = ["(hi)", "«hello»", "«hello,", ".", "..", "(a", "a)", "(", "¿que?", "'s", "“x”", "!a!", "é.", "。", "a—"]
    for mark in PUNCTUATION:
        words += [f"{mark}a", f"a{mark}", f"{mark}a{mark}", f"a{mark}a", mark, mark + mark]
    whole = " ".join(words)
    texts = [*words, whole, whole.replace(" ", "\u2003"), whole.replace(" ", "\x1c")]
    check((texts, [[whole] for _ in texts]), word_order=2)
    check((texts, [[text] for text in reversed(texts)]), word_order=3)
    two_words = Chrf(char_order=0, word_order=1).statistics(["(hi) «hello»"], ["x"])
    assert two_words[0, 0] == len(["(hi", ")", "«hello»"])


def test_n_grams_are_of_code_points_and_whitespace_is_pythons() -> None:
    texts = [
        "e\u0301",
        "é",
        "👩\u200d👩\u200d👧",
        "a\x1cb\x1db\x1ec\x1fd",
        "a\u200bb",
        "a\u3000b\x85c\xa0d",
        "\ufeffa",
        "İ",
        "ΑΣ ΑΣΑ",
    ]
    pairs = (texts * len(texts), [[text] for text in texts for _ in texts])
    for lowercase in (False, True):
        check(pairs, word_order=1, lowercase=lowercase)
        check(pairs, whitespace=True, lowercase=lowercase)


def test_of_several_references_the_best_makes_the_row_and_the_first_of_equals() -> None:
    chrf = Chrf(char_order=2)
    best = chrf.statistics(["abcd"], ["abcx"])
    assert np.array_equal(chrf.statistics(["abcd"], [["xyz", "abcx", "bcdx", "axxx"]]), best)
    # Equal scores, other rows: the first counts.
    check((["ab"] * 2, [["abab", "ba"], ["ba", "abab"]]), char_order=1)
    check((["", ""], [["", "abc"], ["abc", ""]]))


def test_a_perfect_match_is_exactly_100() -> None:
    texts = [text for text in generated(300, 1)[0] if text.split()]
    for word_order in (0, 2):
        assert (Chrf(word_order=word_order).sentences(texts, texts) == 100.0).all()


# --- Token ids ---


def row_of_ids(hypothesis: Sequence[int], text: Sequence[int], order: int) -> list[int]:
    """By the definition."""
    row = []
    for n in range(1, order + 1):
        ours, theirs = reference.ngrams(hypothesis, n), reference.ngrams(text, n)
        row += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return row


def test_ids_are_characters() -> None:
    generator = random.Random(2)
    hypotheses = [[generator.randrange(5) for _ in range(generator.randint(0, 30))] for _ in range(200)]
    references = [[generator.randrange(5) for _ in range(generator.randint(0, 30))] for _ in range(200)]
    found = Chrf().statistics(hypotheses, [np.array(text, np.int64) for text in references])
    assert found.tolist() == [row_of_ids(*pair, 6) for pair in zip(hypotheses, references, strict=True)]
    letters = [
        ["".join(map(chr, (97 + token for token in text))) for text in texts] for texts in (hypotheses, references)
    ]
    for options in ({}, {"whitespace": True}, {"eps_smoothing": True}):
        chrf = Chrf(**options)
        assert np.array_equal(chrf.sentences(hypotheses, references), chrf.sentences(*letters))


def test_rollouts_share_their_references() -> None:
    texts = generated(60, 2)
    hypotheses = np.array([[[1, 2, 3], [1, 2, 9]], [[5, 5, 5], [4, 5, 6]]])
    references = [[[1, 2, 3], [1, 2]], [[4, 5, 6]]]
    found = Chrf(char_order=2).statistics(hypotheses, references).reshape(4, -1)
    flat = [row for pair in hypotheses.tolist() for row in pair]
    each = [references[0], references[0], references[1], references[1]]
    assert np.array_equal(found, Chrf(char_order=2).statistics(flat, each))
    # The same texts in one batch or one by one.
    alone = [Chrf(word_order=2).statistics([text], [several])[0] for text, several in zip(*texts, strict=True)]
    assert np.array_equal(Chrf(word_order=2).statistics(*texts), alone)


# --- What does not fit ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"char_order": 33}, r"char_order is 33, which is not a length of n-grams in 0\.\.=32"),
        ({"word_order": -1}, "word_order is -1"),
        ({"char_order": 0}, "char_order and word_order are both 0, expected n-grams of either"),
        ({"beta": -1}, "beta is -1"),
        ({"beta": float("nan")}, "beta is NaN"),
        ({"beta": float("inf")}, "beta is inf"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chrf(**options)


@pytest.mark.parametrize("name", NAMES)
def test_options_of_a_wrong_type(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Chrf(**{name: "yes"})  # type: ignore[arg-type]  # on purpose


def test_what_needs_strings_says_so() -> None:
    with pytest.raises(ValueError, match="word_order is not 0, which goes with strings, and hypotheses are token ids"):
        Chrf(word_order=2).corpus([[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="lowercase is True, which goes with strings"):
        Chrf(lowercase=True).corpus([[1, 2]], [[1, 2]])


def test_rows_that_no_text_has() -> None:
    chrf = Chrf(char_order=1, word_order=1)
    with pytest.raises(ValueError, match=r"rows has shape \(2, 3\), expected \(N, 6\) or \(6,\)"):
        chrf.from_statistics(np.ones((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"rows\[1\] has 3 matches of words of order 1, which is more than the 2"):
        chrf.from_statistics([[1, 1, 1, 1, 1, 1], [1, 1, 1, 5, 2, 3]])
    with pytest.raises(ValueError, match=r"rows\[0, 2\] is -1"):
        chrf.from_statistics([[1, 1, -1, 1, 1, 1]])
    assert chrf.from_statistics(np.zeros((0, 6), np.int64)).score == 0.0


def test_one_thread_or_two_make_no_difference() -> None:
    texts = real(500)
    before = seqloss_rs.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            seqloss_rs.set_num_threads(threads)
            found.append(Chrf(word_order=2).statistics(*texts))
    finally:
        seqloss_rs.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
