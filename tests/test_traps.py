"""What has made ports of BLEU and ROUGE go wrong, each by name, against sacrebleu 2.6.0 and rouge-score 0.1.2."""

import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from sacrebleu.metrics.bleu import BLEU
from seqloss_rs import Bleu, ErrorRate, Rouge, bleu_loss, rouge_loss

WHITESPACE = "".join(filter(str.isspace, map(chr, range(sys.maxunicode + 1))))


def theirs(hypothesis: str, references: Sequence[str], **options: Any) -> Any:
    return BLEU(**options).corpus_score([hypothesis], [[text] for text in references])


def same(hypothesis: str, references: Sequence[str], **options: Any) -> Any:
    """The score of one pair as a corpus, after a comparison of all that it is made of."""
    found = Bleu(**options).corpus([hypothesis], [references])
    names = {"smoothing": "smooth_method", "smoothing_value": "smooth_value", "max_order": "max_ngram_order"}
    expected = theirs(hypothesis, references, **{names.get(name, name): value for name, value in options.items()})
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-12)
    np.testing.assert_allclose(found.precisions, expected.precisions, rtol=1e-12)
    np.testing.assert_allclose(found.brevity_penalty, expected.bp, rtol=1e-12)
    assert (found.hypothesis_length, found.reference_length) == (expected.sys_len, expected.ref_len)
    return found


# --- Tokenizers ---


def test_whitespace_at_the_end_is_cut_off_before_the_tokenizer() -> None:
    """Otherwise 13a would join a hyphen at the end to nothing, and intl would cut off a full stop after a digit."""
    same("a b c end-\n", ["a b c end-"])
    assert same("a b c end-\n", ["a b c end-"]).score == 100
    for tokenize in ("intl", "zh"):
        assert same("in the year 2019. \x1c\u3000", ["in the year 2019."], tokenize=tokenize).score == 100
    assert Bleu(tokenize=lambda text: [*text]).statistics(["ab \n"], ["a"])[0, 0] == 2


def test_whitespace_is_pythons() -> None:
    r"""With \x1c to \x1f, which Unicode's property White_Space has not, and without U+200B and U+FEFF."""
    assert {"\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u3000"} < set(WHITESPACE)
    for tokenize in ("13a", "none", "char", "intl", "zh"):
        text = "".join(f"a{space}" for space in WHITESPACE) + "b\u200bc d\ufeffe f\u180eg"
        assert same(text, [text.replace("\x1c", " ")], tokenize=tokenize).score == 100


def test_the_13a_rules_do_not_overlap() -> None:
    for text in ("a..5", "1.,2", "1...5", ".5", "5.", "5.-", "10--20", "1,000.5", "x,,,1", "9-.,-9"):
        same(text, [text.replace(".", " . ")], max_order=1)


def test_entities_are_replaced_one_after_another() -> None:
    same("&amp;lt; &amp;quot; &lt;skipped> <skipped>", ["< &quot; <skipped>"], max_order=1)


def test_zh_takes_u2001_to_u2a6d_for_chinese_and_no_supplementary_ideographs() -> None:
    for character in (
        "\u2000",
        "\u2001",
        "\u2a6d",
        "\u2a6e",
        "\U00020000",
        "\U0002a6d6",
        "\U0002f800",
        "\u9fbb",
        "\u9fbc",
    ):
        same(f"a{character}b{character}", [f"a {character} b {character}"], tokenize="zh", max_order=1)
    assert Bleu(tokenize="zh").statistics(["a→b"], ["a"])[0, 0] == 3
    assert Bleu(tokenize="zh").statistics(["a\U00020000b"], ["a"])[0, 0] == 1


def test_zh_and_intl_have_no_spaces_at_the_ends() -> None:
    """As 13a has, so that a stop there stays with a digit, and alone it stays whole."""
    for tokenize in ("zh", "intl"):
        for text in ("2019.", ".5", ".", "..", "-1", "1-", ",a", "a,"):
            same(text, [text.replace(".", " . ")], tokenize=tokenize, max_order=1)
            same(text, [text], tokenize=tokenize, max_order=1)


# --- Counting ---


def test_of_two_references_that_are_as_close_the_shorter_counts() -> None:
    for references in (["a b", "a b c d"], ["a b c d", "a b"]):
        assert same("a b c", references).reference_length == 2


def test_an_empty_reference_is_a_reference() -> None:
    assert same("a", ["", "a b c"], max_order=1).reference_length == 0
    assert same("", ["", "a"]).reference_length == 0
    # None is none.
    assert Bleu().corpus(["a"], [[None, "a b c"]]).reference_length == 3


def test_references_that_are_all_missing_are_none() -> None:
    """To sacrebleu the length of the closest one is -1 then, or it is a TypeError."""
    with pytest.raises(ValueError, match=r"references\[1\] is empty, expected at least one reference"):
        bleu_loss(["a", ""], [["a"], [None]])


# --- Scores ---


@pytest.mark.parametrize("smoothing", ["none", "floor", "add-k", "exp"])
def test_without_any_match_the_score_is_0_before_smoothing(smoothing: Any) -> None:
    found = same("a b c d e", ["v w x y z u"], smoothing=smoothing)
    assert found.score == 0
    assert set(found.precisions) == {0.0}
    assert 0 < found.brevity_penalty < 1


@pytest.mark.parametrize("value", [None, 0, 0.5, 1, 2, 3.25, 1000])
def test_add_k_leaves_out_unigrams_and_shows_what_it_added(value: float | None) -> None:
    k = 1 if value is None else value
    hypothesis, references = "a b c d e f", ["a b x d e f g"]
    found = same(hypothesis, references, smoothing="add-k", smoothing_value=value)
    expected = theirs(hypothesis, references, smooth_method="add-k", smooth_value=value)
    assert found.precisions[0] == pytest.approx(100 * found.counts[0] / found.totals[0])
    more = [0, k, k, k]
    assert [count + added for count, added in zip(found.counts, more, strict=True)] == expected.counts
    assert [total + added for total, added in zip(found.totals, more, strict=True)] == expected.totals
    # It has n-grams of every order then, whatever the length.
    if k:
        assert same("a", ["a"], smoothing="add-k", smoothing_value=value).score == 100
        # Where nothing matches it adds nothing.
        assert theirs("a", ["b"], smooth_method="add-k", smooth_value=value).totals == [1, 0, 0, 0]


@pytest.mark.parametrize("value", [None, 0, 1e-6, 0.1, 0.5, 1])
def test_floor_has_a_value(value: float | None) -> None:
    for text in ("a b c d e f", "a x c y e f", "a x"):
        same(text, ["a b x d e f g"], smoothing="floor", smoothing_value=value)


@pytest.mark.parametrize("smoothing", ["none", "floor", "exp"])
def test_the_first_order_without_ngrams_ends_the_sum(smoothing: Any) -> None:
    assert same("a b c", ["a b c"], smoothing=smoothing).score == 0
    for effective_order in (False, True):
        same("a b c", ["a b c"], smoothing=smoothing, effective_order=effective_order)
        same("a c", ["a b c"], smoothing=smoothing, effective_order=effective_order)
    assert Bleu(smoothing=smoothing).sentences(["a b c"], ["a b c"]) == 100


def test_exp_doubles_with_every_order_without_a_match() -> None:
    found = same("a x b y c z", ["a b c"], smoothing="exp")
    np.testing.assert_allclose(found.precisions, [50, 100 / (2 * 5), 100 / (4 * 4), 100 / (8 * 3)], rtol=1e-15)


def test_a_perfect_match_is_exactly_1() -> None:
    """In sacrebleu it is 100.00000000000004."""
    text = "the cat sat on the mat"
    assert theirs(text, [text]).score > 100
    for smoothing in ("none", "floor", "add-k", "exp"):
        assert Bleu(smoothing=smoothing).corpus([text], [text]).score == 100
        assert bleu_loss([text], [text], smoothing=smoothing) == 0


def test_sums_are_those_of_no_version_of_python() -> None:
    """`sum()` compensates since 3.12 and does not before; the scores here agree with both to 1e-14."""
    generator = np.random.default_rng(0)
    metric = Bleu()
    for _ in range(500):
        totals = generator.integers(10, 1000) - np.arange(4)
        matches = np.sort(generator.integers(1, totals + 1))[::-1]
        row = [totals[0], generator.integers(5, 1100), *matches, *totals]
        logarithms = [math.log(100 * match / total) for match, total in zip(matches, totals, strict=True)]
        penalty = 1.0 if row[0] >= row[1] else math.exp(1 - row[1] / row[0])
        *_, plain = itertools.accumulate(logarithms)
        found = metric.from_statistics(row).score
        for total in (plain, math.fsum(logarithms)):
            assert found == pytest.approx(penalty * math.exp(total / 4), rel=1e-14)


# --- Bad and large input ---


def test_lone_surrogates_are_named() -> None:
    for metric in (Bleu(), Rouge(), ErrorRate(), Bleu(tokenize=str.split)):
        with pytest.raises(ValueError, match=r"hypotheses\[1\] holds a lone surrogate"):
            metric.corpus(["a", "b\ud83d"], ["a", "b"])
        with pytest.raises(ValueError, match=r"references\[0\]\[1\] holds a lone surrogate"):
            metric.corpus(["a"], [["a", "\udc00"]])
    # What is no pair of them to UTF-16 is a character.
    assert Bleu(tokenize="char").statistics(["😀"], ["😀"])[0, 2] == 1


@pytest.mark.parametrize("tokenize", ["13a", "none", "char", "intl", "zh"])
def test_a_million_characters(tokenize: Any) -> None:
    pieces = ["a1.", "，", " b-2", "…x", "\u0301", "\u3000"]
    text = "".join(np.random.default_rng(1).choice(pieces, 600_000))
    assert len(text) > 10**6
    cut = BLEU(tokenize=tokenize).tokenizer(text.rstrip()).split()
    row = Bleu(max_order=1, tokenize=tokenize).statistics([text], [text])[0]
    assert row.tolist() == [len(cut)] * 4
    assert bleu_loss([text], [text], tokenize=tokenize) == 0


@pytest.mark.parametrize("tokenize", ["ascii", "unicode"])
def test_a_million_characters_of_rouge(tokenize: Any) -> None:
    text = "abc, деф 你 " * 100_000
    assert rouge_loss([text], [text], variant="rouge2", tokenize=tokenize) == 0
    assert rouge_loss(["a" * 10**6], ["a" * 10**6], variant="rouge1", tokenize=tokenize) == 0


def test_no_references_and_unequal_lengths_are_named() -> None:
    for loss in (bleu_loss, rouge_loss):
        with pytest.raises(ValueError, match="references has length 0, expected 1, one item for each hypothesis"):
            loss(["a"], [])
        with pytest.raises(ValueError, match=r"references\[0\] is empty, expected at least one reference"):
            loss(["a"], [[]])
        with pytest.raises(ValueError, match="references has length 2, expected 3"):
            loss(["a", "b", "c"], ["a", "b"])
        with pytest.raises(ValueError, match=r"pass list\(zip\(\*references\)\)"):
            loss(["a", "b", "c"], [["a", "b", "c"], ["d", "e", "f"]])


@pytest.mark.parametrize("wrong", [None, 3, 1.5, b"a", ["a"], {"text": "a"}])
def test_what_is_no_string_is_named_by_its_index(wrong: Any) -> None:
    kind = type(wrong).__name__
    with pytest.raises(TypeError, match=rf"hypotheses\[2\] has type {kind}, expected a string"):
        bleu_loss(["a", "b", wrong], ["a", "b", "c"])
    if not isinstance(wrong, list):
        with pytest.raises(
            TypeError, match=rf"references\[1\] has type {kind}, expected a string or a list of strings"
        ):
            bleu_loss(["a", "b"], ["a", wrong])
        if wrong is not None:
            with pytest.raises(TypeError, match=rf"references\[1\]\[1\] has type {kind}, expected a string"):
                bleu_loss(["a", "b"], ["a", ["b", wrong]])


def test_pairs_of_nothing() -> None:
    found = same("", [""])
    assert (found.score, found.brevity_penalty) == (0, 1)
    assert same("", ["a b"]).brevity_penalty == 0
    assert same("a b", [""]).score == 0
    assert seqloss_rs.Bleu().statistics([], []).shape == (0, 10)
    assert Rouge(multiple_references="mean").statistics([], []).shape == (0, 3)


# --- ROUGE ---


def same_rouge(target: str, prediction: str, variant: Any, *, stem: bool = False) -> Any:
    """Precision, recall and F of one pair, after a comparison with those of the original."""
    found = seqloss_rs.rouge_scores([prediction], [target], variants=[variant], stem=stem)[variant][0]
    expected = RougeScorer([variant], use_stemmer=stem).score(target, prediction)[variant]
    np.testing.assert_array_equal(found, [expected.precision, expected.recall, expected.fmeasure])
    return expected


def test_rouge_stems_words_of_more_than_three_letters() -> None:
    assert same_rouge("his gas cats", "hi ga cat", "rouge1", stem=True).fmeasure == 1 / 3


def test_rouge_takes_the_target_first() -> None:
    expected = same_rouge("a b c d", "a b", "rouge1")
    assert (expected.precision, expected.recall) == (1.0, 0.5)


def test_f_is_rounded_as_twice_precision_times_recall() -> None:
    """2 p r / (p + r) rounds otherwise than 2 / (1 / p + 1 / r), or than the quotient of the counts."""
    for shared, of_target, of_prediction in itertools.product(range(1, 9), range(9, 24), range(9, 24)):
        words = [f"s{word}" for word in range(shared)]
        target = " ".join(words + [f"t{word}" for word in range(of_target - shared)])
        prediction = " ".join(words + [f"p{word}" for word in range(of_prediction - shared)])
        same_rouge(target, prediction, "rouge1")


def test_lsum_passes_over_empty_lines_only() -> None:
    """A line of spaces or of signs is a sentence without words, and one that is empty is none."""
    for target, prediction in itertools.product(
        ["a b\n\nc d", "a b\n \nc d", "\n\na b c d\n", "...\na b", ""], repeat=2
    ):
        same_rouge(target, prediction, "rougeLsum")
