"""Tokenizers against sacrebleu's and against their definitions, on every character and on generated text."""

import pickle
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex  # type: ignore[import-untyped]  # it has no stubs
import seqloss_rs
import unicode_classes
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from seqloss_rs import Bleu, Chrf, ErrorRate, Rouge, Ter, bleu_loss, rouge_loss
from test_text import check_bleu, fragments, generated, real

ROOT = Path(__file__).parents[1]
CUT_BY_CHARACTERS: tuple[Any, ...] = ("intl", "zh")


@cache
def table() -> list[str]:
    """The class of every code point, as the native part has it."""
    text = (ROOT / "src/text/unicode.rs").read_text(encoding="utf-8")
    runs = [int(number) for number in text[text.index("[\n") + 1 : text.index("];")].replace(",", " ").split()]
    ends = [*(run // 8 for run in runs[1:]), sys.maxunicode + 1]
    classes: list[str] = []
    for run, end in zip(runs, ends, strict=True):
        classes += [unicode_classes.CLASSES[run % 8]] * (end - run // 8)
    return classes


@cache
def characters() -> list[str]:
    """All that there are and that `regex`, of whatever version, takes for the same as the table does."""
    theirs = unicode_classes.classes()
    return [chr(code) for code, name in enumerate(table()) if not 0xD800 <= code < 0xE000 and theirs[code] == name]


def test_the_table_is_what_regex_has() -> None:
    """Other versions of it may know more characters, or fewer."""
    theirs = unicode_classes.classes()
    found = table()
    assert len(found) == len(theirs) == sys.maxunicode + 1
    differing = [code for code in range(len(found)) if found[code] != theirs[code]]
    text = (ROOT / "src/text/unicode.rs").read_text(encoding="utf-8")
    if f"by Unicode {unicode_classes.unicode_version()}." in text:
        assert not differing
        assert text.split("\n", 4)[4] == unicode_classes.source().split("\n", 4)[4]
    assert all("Other" in (found[code], theirs[code]) for code in differing)
    # Python's own tables are older; what was assigned then has the same category but for a few that were corrected.
    known = [code for code in range(len(found)) if unicodedata.category(chr(code)) != "Cn"]
    short = {"Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M", "Letter": "L", "Alone": "L", "Other": "CZ"}
    corrected = [c for c in known if unicodedata.category(chr(c))[0] not in short.get(found[c], "C")]
    assert len(corrected) < 10, [f"U+{code:04X}" for code in corrected]


def same(tokenize: Any, texts: Sequence[str]) -> None:
    """Each text has sacrebleu's tokens: as many, and as many are among those of the tokens with spaces between."""
    tokenizer = BLEU(tokenize=tokenize).tokenizer
    cut = [tokenizer(text.rstrip()) for text in texts]
    again = [tokenizer(tokens).split() for tokens in cut]
    matches = [(Counter(tokens.split()) & Counter(others)).total() for tokens, others in zip(cut, again, strict=True)]
    expected = np.transpose([[len(tokens.split()) for tokens in cut], [len(tokens) for tokens in again], matches])
    found = Bleu(max_order=1, tokenize=tokenize).statistics(texts, cut)
    wrong = np.flatnonzero((found[:, :3] != expected).any(axis=1))
    assert not len(wrong), (texts[wrong[0]], cut[wrong[0]], found[wrong[0]])


@pytest.mark.parametrize("tokenize", CUT_BY_CHARACTERS)
def test_every_character_is_cut_as_sacrebleu_does(tokenize: Any) -> None:
    """Each of them beside letters, digits and stops; what is no letter in more places, alone, and at both ends."""
    contexts = [f"a{c}1{c}.{c}2" for c in characters()]
    same(tokenize, [" ".join(contexts[at : at + 100]) for at in range(0, len(contexts), 100)])
    some = [c for c in characters() if table()[ord(c)] in ("Number", "Punctuation", "Symbol")]
    same(tokenize, [*some, *(f"{c}1{c}" for c in some), *(f"{c}.{c} {c}b1{c} .{c}{c},{c}3 {c}" for c in some)])


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", CUT_BY_CHARACTERS)
def test_bleu(tokenize: Any, lowercase: bool) -> None:
    check_bleu(generated(3000, 4), tokenize=tokenize, lowercase=lowercase)
    check_bleu(real(500), tokenize=tokenize, lowercase=lowercase)


@pytest.mark.parametrize("tokenize", CUT_BY_CHARACTERS)
def test_generated_text(tokenize: Any) -> None:
    """Runs of numbers, stops and symbols of all scripts, and what tokenizers trip over."""
    generator = random.Random(7)
    kinds: dict[str, list[str]] = {}
    for character in characters():
        kinds.setdefault(table()[ord(character)], []).append(character)
    kinds["Other"] = [*" \t\n\x1c\x85\u2028\u3000\0"]
    kinds["Stop"] = [*".,.,-"]
    kinds["Digit"] = [*"0123456789"]
    texts = []
    for _ in range(20_000):
        weighed = generator.choices(list(kinds), k=3)
        length = generator.randint(0, 12)
        texts.append("".join(generator.choice(kinds[generator.choice(weighed)]) for _ in range(length)))
    same(tokenize, texts + [fragments(generator, 20) for _ in range(5000)])


# --- Words of every script ---


def words_of_every_script(text: str) -> list[str]:
    """By their definition, with `regex`."""
    visible = regex.sub(r"(?!\u200b)\p{Cf}", "", text.lower())
    alone = unicode_classes.LETTER_ALONE
    found: list[str] = regex.findall(rf"{alone}\p{{M}}*|(?:(?!{alone})[\p{{L}}\p{{N}}]\p{{M}}*)+", visible)
    return found


class EveryScript:
    """What rouge-score takes for a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words_of_every_script(text)


def test_words_of_every_script() -> None:
    """Each character in a context, and generated text, against rouge-score with the definition as its tokenizer."""
    generator = random.Random(8)
    known = [c for c in characters() if unicodedata.category(c) != "Cn"]
    contexts = [f"a{c}b 1{c} {c}{c}c \u0301{c}你{c}\u0301" for c in known]
    texts = [" ".join(contexts[at : at + 100]) for at in range(0, len(contexts), 100)]
    kinds: dict[str, list[str]] = {}
    for character in known:
        kinds.setdefault(table()[ord(character)], []).append(character)
    for _ in range(20_000):
        weighed = generator.choices(list(kinds), k=3)
        length = generator.randint(0, 12)
        texts.append("".join(generator.choice(kinds[generator.choice(weighed)]) for _ in range(length)))
    cut = [words_of_every_script(text) for text in texts]
    others = [" ".join(dict.fromkeys(words)) for words in cut]
    found = Rouge(variant="rouge1", tokenize="unicode").statistics(texts, others)
    again = [words_of_every_script(text) for text in others]
    expected = [
        [(Counter(words) & Counter(other)).total(), len(words), len(other)]
        for words, other in zip(cut, again, strict=True)
    ]
    wrong = np.flatnonzero((found != expected).any(axis=1))
    assert not len(wrong), (texts[wrong[0]], cut[wrong[0]], found[wrong[0]])


# --- Tokenizers of the caller's ---

OWN: list[tuple[Callable[[str], Any], Callable[[str], list[str]]]] = [
    (str.split, str.split),
    (lambda text: " ".join(text), lambda text: " ".join(text).split()),
    (lambda text: tuple(text[i : i + 2] for i in range(0, len(text), 2)), lambda text: regex.findall("(?s)..?", text)),
    (words_of_every_script, words_of_every_script),
]


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("own", OWN)
def test_own_tokenizers_of_bleu(own: Any, lowercase: bool) -> None:
    """The same as its tokens, which come cut."""
    hypotheses, references = generated(400, 3)
    tokenize, definition = own

    def cut(text: str) -> Any:
        return definition((text.lower() if lowercase else text).rstrip())

    metric = Bleu(tokenize=tokenize, lowercase=lowercase)
    tokens = [cut(text) for text in hypotheses]
    several = [[cut(text) for text in texts] for texts in references]
    expected = Bleu(tokenize="none").statistics(tokens, several)
    assert np.array_equal(metric.statistics(hypotheses, references), expected)
    rewards = bleu_loss(hypotheses, references, tokenize=tokenize, lowercase=lowercase, reduction="none")
    np.testing.assert_allclose(rewards, 1 - metric.sentences(hypotheses, references) / 100, rtol=0, atol=1e-15)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char"])
def test_own_tokenizers_may_be_sacrebleus(tokenize: Any) -> None:
    hypotheses, references = generated(400, 3)
    own = BLEU(tokenize=tokenize).tokenizer
    expected = Bleu(tokenize=tokenize).statistics(hypotheses, references)
    assert np.array_equal(Bleu(tokenize=own).statistics(hypotheses, references), expected)


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_own_tokenizers_of_rouge(variant: Any) -> None:
    """As rouge-score with the same one: line by line for rougeLsum, the whole text otherwise."""
    hypotheses, references = generated(600, 2)
    scorer = RougeScorer([variant], tokenizer=EveryScript())
    expected = [
        scorer.score_multi(texts, text)[variant].fmeasure for text, texts in zip(hypotheses, references, strict=True)
    ]
    for tokenize in (words_of_every_script, "unicode"):
        found = Rouge(variant=variant, tokenize=tokenize).sentences(hypotheses, references)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_own_units_of_error_rates() -> None:
    hypotheses, references = generated(300, 2)
    found = ErrorRate(unit=list).statistics(hypotheses, references)
    cut = ErrorRate().statistics(
        [[*text] for text in hypotheses], [[[*text] for text in texts] for texts in references]
    )
    assert np.array_equal(found, cut)


@pytest.mark.parametrize("variant", ["rouge2", "rougeLsum"])
def test_own_tokenizers_wherever_texts_are_read(variant: Any) -> None:
    """Prepared references, pickled too, arrays of strings, prefixes, matrices, several hypotheses for one reference."""
    hypotheses, references = generated(60, 2)
    rouge = Rouge(variant=variant, tokenize=words_of_every_script)
    expected = Rouge(variant=variant, tokenize="unicode").sentences(hypotheses, references)
    prepared = rouge.prepare([[*texts] for texts in references])
    assert np.array_equal(prepared.sentences(hypotheses), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(prepared)).sentences(hypotheses), expected)
    array = np.array(hypotheses, dtype=object).reshape(30, 2)
    several = [texts[:1] for texts in references[::2]]
    assert np.array_equal(
        rouge.sentences(array, several), Rouge(variant=variant, tokenize="unicode").sentences(array, several)
    )
    singles = [texts[0] for texts in references]
    matrix = Rouge(variant=variant, tokenize="unicode").pairwise(hypotheses[:9], singles)
    assert np.array_equal(rouge.pairwise(hypotheses[:9], singles), matrix)
    if variant == "rouge2":
        for mine, theirs in zip(
            rouge.sentences(hypotheses, references, prefix=True),
            Rouge(variant=variant, tokenize="unicode").sentences(hypotheses, references, prefix=True),
            strict=True,
        ):
            assert np.array_equal(mine, theirs)
        with pytest.raises(ValueError, match='multiple_references is "mean", and prefixes'):
            Rouge(multiple_references="mean").sentences(["a"], [["a", "b"]], prefix=True)


def test_what_comes_cut_is_not_cut_again() -> None:
    def refuse(text: str) -> str:
        raise AssertionError(text)

    for metric in (Bleu(tokenize=refuse), Rouge(tokenize=refuse), ErrorRate(unit=refuse)):
        assert metric.corpus([["a b", "c"]], [["a b", "c"]]) is not None
        assert metric.corpus(np.array([[1, 2]]), np.array([[1, 2]])) is not None


def fails(text: str) -> str:
    raise KeyError(text)


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: Bleu(tokenize="flores200"),  # type: ignore[arg-type]  # that is the point
        ValueError,
        'tokenize is "flores200", which needs a model; expected a callable',
    ),
    (lambda: Bleu(tokenize="ja-mecab"), ValueError, 'tokenize is "ja-mecab", which needs a model'),  # type: ignore[arg-type]  # that is the point
    (lambda: Bleu(tokenize=3), TypeError, "tokenize has type int, expected a string or a callable"),  # type: ignore[arg-type]  # that is the point
    (lambda: Rouge(tokenize="13a"), ValueError, 'tokenize is "13a", expected one of "ascii", "unicode"'),  # type: ignore[arg-type]  # that is the point
    (lambda: Rouge(tokenize="unicode", stem=True), ValueError, "stem is True, which goes with tokenize="),
    (lambda: Rouge(tokenize=str.split, stem=True), ValueError, "stem is True, which goes with tokenize="),
    (
        lambda: Rouge(multiple_references="max"),  # type: ignore[arg-type]  # that is the point
        ValueError,
        'multiple_references is "max", expected one of "best", "mean"',
    ),
    (lambda: bleu_loss(["a"], ["b"], tokenize=fails), KeyError, "a"),
    (
        lambda: bleu_loss(["a"], ["b"], tokenize=len),  # type: ignore[arg-type]  # that is the point
        TypeError,
        r"tokenize\(hypotheses\[0\]\) has type int, expected a string or a list of strings",
    ),
    (
        lambda: rouge_loss(["a"], [["b", "c"]], tokenize=lambda text: [1] if text == "c" else [text]),  # type: ignore[list-item]  # that is the point
        TypeError,
        r"tokenize\(references\[0\]\[1\]\)\[0\] has type int, expected a string",
    ),
    (
        lambda: ErrorRate(unit=lambda _: "\ud800").corpus(["a"], ["a"]),
        ValueError,
        r"unit\(hypotheses\[0\]\) holds a lone",
    ),
    (
        lambda: bleu_loss(["a", 3], ["b", "c"], tokenize=str.split),
        TypeError,
        r"hypotheses\[1\] has type int",
    ),
    (
        lambda: bleu_loss([["a"]], [["a"]], tokenize=str.split, lowercase=True),
        ValueError,
        "lowercase is True, which goes with strings",
    ),
    (
        lambda: Bleu(smoothing_value=0.5),
        ValueError,
        'smoothing_value goes with "floor" and "add-k", and smoothing is "exp"',
    ),
    (
        lambda: Bleu(smoothing="floor", smoothing_value=1.5),
        ValueError,
        r"smoothing_value is 1.5, expected a number of m",
    ),
    (
        lambda: Bleu(smoothing="add-k", smoothing_value=-1),
        ValueError,
        "smoothing_value is -1, expected a finite number",
    ),
    (lambda: Bleu(smoothing="floor", smoothing_value=float("nan")), ValueError, "smoothing_value is NaN"),
    (lambda: Bleu().signature(0), ValueError, "references is 0, expected a count of at least 1, or None"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_what_does_not_fit_is_named(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# --- Several references ---


@pytest.mark.parametrize("variant", ["rouge1", "rougeL", "rougeLsum"])
def test_the_mean_over_references(variant: Any) -> None:
    """Each measure of each reference by rouge-score, and their mean."""
    hypotheses, references = generated(500, 4)
    scorer = RougeScorer([variant])
    each = [
        np.mean([scorer.score(other, text)[variant] for other in texts], axis=0)
        for text, texts in zip(hypotheses, references, strict=True)
    ]
    measures: tuple[Any, ...] = ("precision", "recall", "f")
    for column, measure in enumerate(measures):
        rouge = Rouge(variant=variant, measure=measure, multiple_references="mean")
        expected = np.array(each)[:, column]
        found = rouge.sentences(hypotheses, references)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
        losses = rouge_loss(
            hypotheses, references, variant=variant, measure=measure, multiple_references="mean", reduction="none"
        )
        np.testing.assert_allclose(losses, 1 - expected, rtol=1e-12, atol=1e-15)
        corpus = rouge.corpus(hypotheses, references)
        np.testing.assert_allclose(
            [corpus.score, corpus.precision, corpus.recall, corpus.f],
            [expected.mean(), *np.mean(each, axis=0)],
            rtol=1e-12,
        )
        rows = rouge.statistics(hypotheses, references)
        assert rows.shape == (500, 12)
        assert ((rows == -1).sum(axis=1) == [3 * (4 - len(texts)) for texts in references]).all()
        assert rouge.from_statistics(rows) == corpus
        assert rouge.from_statistics(rows[3]).score == found[3]
        sure = seqloss_rs.significance.bootstrap(rouge, rows, resamples=10)
        np.testing.assert_allclose(sure.score, expected.mean(), rtol=1e-12)
    one = Rouge(variant=variant, multiple_references="mean")
    best = Rouge(variant=variant)
    singles = [texts[0] for texts in references]
    assert np.array_equal(one.statistics(hypotheses, singles), best.statistics(hypotheses, singles))
    with pytest.raises(ValueError, match=r"rows has shape \(1, 4\), expected"):
        one.from_statistics([[1, 1, 1, 1]])
    for wrong in ([[-1, -1, -1]], [[1, 1, 1, -1, -1, 2]]):
        with pytest.raises(ValueError, match=r"is -1, which is not a count"):
            one.from_statistics(wrong)


# --- Signatures ---


def test_signatures_are_sacrebleus_but_for_the_version() -> None:
    ours = f"seqloss_rs.{seqloss_rs.__version__}"
    text, several = ["the cat sat"], [["the cat"], ["a cat"]]
    metrics: list[tuple[Any, Any]] = [
        (Bleu(), BLEU()),
        (Bleu(smoothing="floor", lowercase=True, tokenize="intl"), BLEU(True, tokenize="intl", smooth_method="floor")),
        (
            Bleu(smoothing="add-k", smoothing_value=2, effective_order=True, tokenize="zh"),
            BLEU(tokenize="zh", smooth_method="add-k", smooth_value=2, effective_order=True),
        ),
        (Chrf(), CHRF()),
        (
            Chrf(char_order=4, word_order=2, beta=3, lowercase=True, whitespace=True, eps_smoothing=True),
            CHRF(4, 2, 3, lowercase=True, whitespace=True, eps_smoothing=True),
        ),
        (Ter(), TER()),
        (Ter(normalized=True, no_punct=True, asian_support=True, case_sensitive=True), TER(True, True, True, True)),
    ]
    for mine, theirs in metrics:
        score = theirs.corpus_score(text, several)
        for short in (False, True):
            signature = theirs.get_signature().format(short=short)
            assert signature.endswith("2.6.0")
            assert mine.signature(2, short=short) == f"{score.name}|{signature.removesuffix('2.6.0')}{ours}"
    assert "|nrefs:var|" in Bleu().signature()
    assert "|eff:yes|" in Bleu().signature(1, sentences=True)
    assert "|eff:no|" in Bleu(effective_order=False).signature(1, sentences=True)
    assert "|order:2|" in Bleu(max_order=2).signature(1)
    assert "|smooth:floor[0.001]|" in Bleu(smoothing="floor", smoothing_value=0.001).signature(1)
    assert "|tok:own.words_of_every_script|" in Bleu(tokenize=words_of_every_script).signature(1)
    assert Rouge(stem=True).signature(2) == (
        f"ROUGE-L|nrefs:2|multiple:best|measure:f|tok:ascii|stem:yes|version:{ours}"
    )
    assert Rouge(variant="rouge2", tokenize="unicode", multiple_references="mean").signature(short=True) == (
        f"ROUGE-2|#:var|mr:mean|m:f|tok:unicode|st:no|v:{ours}"
    )
    assert ErrorRate().signature(1) == f"WER|nrefs:1|case:mixed|punct:yes|unit:word|version:{ours}"
    assert ErrorRate(unit="char").signature(1) == f"CER|nrefs:1|case:mixed|punct:yes|unit:char|version:{ours}"
    assert ErrorRate(unit=str.split).signature(1) == f"WER|nrefs:1|case:mixed|punct:yes|unit:own.split|version:{ours}"
