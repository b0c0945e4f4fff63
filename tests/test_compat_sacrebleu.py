"""``seqloss_rs.compat.sacrebleu`` beside sacrebleu itself: the same names, arguments, numbers and words."""

import inspect
import json
import logging
import pickle
import random
import sys
from importlib import import_module
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
import sacrebleu
import sacrebleu.significance
from sacrebleu.tokenizers.tokenizer_base import BaseTokenizer
from seqloss_rs.compat import sacrebleu as compat
from test_text import Pairs, fragments, generated, real

THEIRS: Any = sacrebleu
OURS: Any = compat
WRONG: Any = compat

METRICS: list[tuple[str, dict[str, Any]]] = [
    ("BLEU", {}),
    ("BLEU", {"lowercase": True, "tokenize": "none", "smooth_method": "floor"}),
    ("BLEU", {"tokenize": "char", "smooth_method": "add-k", "effective_order": True}),
    ("BLEU", {"tokenize": "intl", "smooth_method": "floor", "smooth_value": 0.02}),
    ("BLEU", {"trg_lang": "zh", "smooth_method": "add-k", "smooth_value": 2, "max_ngram_order": 3}),
    ("BLEU", {"smooth_method": "none", "smooth_value": 5, "max_ngram_order": 6}),
    ("CHRF", {}),
    ("CHRF", {"word_order": 2, "lowercase": True, "beta": 3}),
    ("CHRF", {"char_order": 3, "whitespace": True, "eps_smoothing": True}),
    ("TER", {}),
    ("TER", {"normalized": True, "case_sensitive": True}),
    ("TER", {"normalized": True, "no_punct": True, "asian_support": True}),
]
NAMES = [" ".join([name, *map(str, options.values())]) for name, options in METRICS]
NATIVE = {
    "none": "none.NoneTokenizer",
    "13a": "13a.Tokenizer13a",
    "char": "char.TokenizerChar",
    "intl": "intl.TokenizerV14International",
    "zh": "zh.TokenizerZh",
}


def both(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return getattr(THEIRS, name)(**options), getattr(OURS, name)(**options)


def streams(references: list[list[str]]) -> list[list[str | None]]:
    return [list(stream) for stream in zip_longest(*references)]


def texts(name: str) -> Pairs:
    """Some that are made of what tokenizers trip over, and some that people have written; TER of sacrebleu is slow."""
    made, written = (60, 8) if name == "TER" else (120, 60)
    parts = generated(made, 3), real(written)
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]


def same(ours: Any, theirs: Any) -> None:
    """All that a score tells is the same, in the same words, but for digits beyond 1e-12."""
    assert vars(ours).keys() == vars(theirs).keys()
    for name, expected in vars(theirs).items():
        found = getattr(ours, name)
        if isinstance(expected, str):
            assert found == expected, name
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=name)
    assert str(ours) == str(theirs)
    signature = "nrefs:1|version:2.6.0"
    for options in ({}, {"width": 4}, {"score_only": True}, {"signature": signature}):
        assert ours.format(**options) == theirs.format(**options)
    assert ours.format(width=3, signature=signature, is_json=True) == theirs.format(3, False, signature, True)


def same_signature(ours: Any, theirs: Any) -> None:
    assert str(ours) == str(theirs)
    assert ours.format(short=True) == theirs.format(short=True)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


@pytest.mark.parametrize(("name", "options"), METRICS, ids=NAMES)
def test_corpora(name: str, options: dict[str, Any]) -> None:
    hypotheses, references = texts(name)
    theirs, ours = both(name, options)
    same(ours.corpus_score(hypotheses, streams(references)), theirs.corpus_score(hypotheses, streams(references)))
    same_signature(ours.get_signature(), theirs.get_signature())
    assert "nrefs:var" in str(ours.get_signature())


@pytest.mark.parametrize(("name", "options"), METRICS, ids=NAMES)
def test_sentences(name: str, options: dict[str, Any]) -> None:
    theirs, ours = both(name, options)
    for hypothesis, references in zip(*texts(name), strict=True):
        same(ours.sentence_score(hypothesis, references), theirs.sentence_score(hypothesis, references))
    same_signature(ours.get_signature(), theirs.get_signature())


@pytest.mark.parametrize(("name", "options"), METRICS, ids=NAMES)
def test_references_are_given_once(name: str, options: dict[str, Any]) -> None:
    hypotheses, references = texts(name)
    given = streams(references)
    theirs, ours = both(name, {**options, "references": given})
    same_signature(ours.get_signature(), theirs.get_signature())
    ours = pickle.loads(pickle.dumps(ours))
    same(ours.corpus_score(hypotheses, None), theirs.corpus_score(hypotheses, None))
    same(ours.corpus_score(hypotheses[::-1], None), theirs.corpus_score(hypotheses[::-1], None))


def test_a_perfect_match_is_exactly_100() -> None:
    text = ["the cat sat on the mat"]
    assert compat.corpus_bleu(text, [text]).score == 100.0
    assert sacrebleu.corpus_bleu(text, [text]).score == pytest.approx(100, rel=1e-15)


FUNCTIONS: list[tuple[str, dict[str, Any]]] = [
    ("bleu", {}),
    ("bleu", {"smooth_method": "floor", "smooth_value": 0.3, "tokenize": "none", "lowercase": True}),
    ("bleu", {"use_effective_order": False}),
    ("chrf", {}),
    ("chrf", {"char_order": 4, "word_order": 1, "beta": 1, "remove_whitespace": False, "eps_smoothing": True}),
    ("ter", {}),
    ("ter", {"normalized": True, "no_punct": True, "asian_support": True, "case_sensitive": True}),
]


@pytest.mark.parametrize(("name", "options"), FUNCTIONS)
def test_functions(name: str, options: dict[str, Any]) -> None:
    hypotheses, references = generated(40, 2)
    for module in ("", "compat"):
        theirs, ours = ((getattr(package, module) if module else package) for package in (THEIRS, OURS))
        corpus, sentence = f"corpus_{name}", f"sentence_{name}"
        arguments = hypotheses, streams(references)
        same(getattr(ours, corpus)(*arguments, **options), getattr(theirs, corpus)(*arguments, **options))
        for pair in zip(hypotheses, references, strict=True):
            same(getattr(ours, sentence)(*pair, **options), getattr(theirs, sentence)(*pair, **options))


@pytest.mark.parametrize("smooth_value", [0.1, 0.0, 0.75, None])
def test_raw_bleu(smooth_value: float | None) -> None:
    hypotheses, references = generated(40, 2)
    arguments = hypotheses, streams(references), smooth_value
    same(OURS.raw_corpus_bleu(*arguments), THEIRS.raw_corpus_bleu(*arguments))


@pytest.mark.parametrize("smooth_method", ["none", "floor", "add-k", "exp"])
@pytest.mark.parametrize("effective_order", [False, True])
def test_bleu_of_counts(smooth_method: str, effective_order: bool) -> None:
    for correct, total, lengths in [
        ([9, 7, 5, 3], [10, 8, 6, 4], (11, 11)),
        ([2, 1, 0, 0], [3, 2, 1, 0], (3, 5)),
        ([0, 0, 0, 0], [10, 11, 12, 0], (14, 10)),
        ([0, 0, 0, 0], [0, 0, 0, 0], (0, 1)),
    ]:
        options: Any = {"smooth_method": smooth_method, "effective_order": effective_order}
        ours = compat.BLEU.compute_bleu(correct, total, *lengths, **options)
        same(ours, sacrebleu.BLEU.compute_bleu(list(correct), list(total), *lengths, **options))
        sums = OURS.BLEU.compute_bleu(*np.array([correct, total], np.float32), *lengths, **options)
        assert sums.score == ours.score


def test_arguments_are_those_of_sacrebleu() -> None:
    functions = [f"{level}_{name}" for level in ("corpus", "sentence") for name in ("bleu", "chrf", "ter")]
    pairs = [
        *((getattr(OURS, name), getattr(THEIRS, name)) for name in ("raw_corpus_bleu", *functions)),
        (compat.extract_char_ngrams, sacrebleu.extract_char_ngrams),
        (compat.extract_word_ngrams, sacrebleu.extract_word_ngrams),
        (compat.BLEU.compute_bleu, sacrebleu.BLEU.compute_bleu),
        (compat.significance.PairedTest, sacrebleu.significance.PairedTest),
        (compat.significance.Result, sacrebleu.significance.Result),
        (compat.significance.estimate_ci, sacrebleu.significance.estimate_ci),
        (compat.metrics.base.Score.format, sacrebleu.metrics.base.Score.format),
    ]
    for name in ("BLEU", "CHRF", "TER"):
        ours, theirs = getattr(OURS.metrics, name), getattr(THEIRS.metrics, name)
        pairs += [
            (ours, theirs),
            (ours.corpus_score, theirs.corpus_score),
            (ours.sentence_score, theirs.sentence_score),
        ]
        pairs.append((getattr(OURS.metrics, f"{name}Score"), getattr(THEIRS.metrics, f"{name}Score")))
    for ours, theirs in pairs:
        found, expected = (
            [(argument.name, argument.default) for argument in inspect.signature(function).parameters.values()]
            for function in (ours, theirs)
        )
        assert found == expected, theirs
    assert compat.BLEU.SMOOTH_DEFAULTS == sacrebleu.BLEU.SMOOTH_DEFAULTS
    assert list(compat.BLEU.TOKENIZERS) == list(sacrebleu.BLEU.TOKENIZERS)
    assert compat.metrics.METRICS.keys() == sacrebleu.metrics.METRICS.keys()
    assert compat.__version__ == sacrebleu.__version__


def test_n_grams() -> None:
    for hypothesis in generated(40, 1)[0]:
        for n in range(1, 5):
            for include_whitespace in (False, True):
                found = compat.extract_char_ngrams(hypothesis, n, include_whitespace)
                assert found == sacrebleu.extract_char_ngrams(hypothesis, n, include_whitespace)
            tokens = hypothesis.split()
            assert compat.extract_word_ngrams(tokens, n) == sacrebleu.extract_word_ngrams(tokens, n)
            for include_whitespace in (False, True):
                found_all, expected_all = (
                    package.metrics.helpers.extract_all_char_ngrams(hypothesis, n, include_whitespace)
                    for package in (OURS, THEIRS)
                )
                assert found_all == expected_all
            words = [package.metrics.helpers.extract_all_word_ngrams(hypothesis, n, 4) for package in (OURS, THEIRS)]
            assert words[0] == words[1]


# ---------------------------------------------------------------------------------------------------------------------
# Resamples


@pytest.mark.parametrize(("name", "options"), METRICS, ids=NAMES)
def test_intervals(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "77")
    hypotheses, references = texts(name)
    theirs, ours = both(name, options)
    found, expected = (m.corpus_score(hypotheses, streams(references), n_bootstrap=150) for m in (ours, theirs))
    # sacrebleu adds in float32.
    np.testing.assert_allclose([found._mean, found._ci], [expected._mean, expected._ci], rtol=1e-5)
    assert str(found) == str(expected)
    same_signature(ours.get_signature(), theirs.get_signature())
    signature = str(ours.get_signature())
    assert "bs:150|seed:77" in signature
    assert json.loads(found.format(signature=signature, is_json=True)) == json.loads(
        expected.format(signature=signature, is_json=True)
    )


def test_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    hypotheses, references = real(60)
    monkeypatch.setenv("SACREBLEU_SEED", "None")
    metric = compat.CHRF()
    metric.corpus_score(hypotheses, streams(references), n_bootstrap=20)
    assert "seed:none" in str(metric.get_signature())
    monkeypatch.setenv("SACREBLEU_SEED", "twelve")
    with pytest.raises(ValueError, match="SACREBLEU_SEED is 'twelve'"):
        metric.corpus_score(hypotheses, streams(references), n_bootstrap=20)


def systems(count: int) -> tuple[list[tuple[str, list[str]]], list[list[str | None]]]:
    hypotheses, references = real(count)
    generator = random.Random(3)

    def worse(text: str) -> str:
        words = text.split()
        return " ".join(word for word in words if generator.random() < 0.98)

    return [("first", hypotheses), ("second", [*map(worse, hypotheses)]), ("third", hypotheses[::-1])], streams(
        references
    )


@pytest.mark.parametrize(
    "options",
    [
        {"test_type": "bs"},
        {"test_type": "bs", "n_samples": 120},
        {"test_type": "ar", "n_samples": 200},
        {"test_type": "ar", "n_samples": 100, "n_ar_confidence": 50},
        {"test_type": "ar", "n_samples": 100, "n_ar_confidence": 0},
    ],
)
def test_paired(options: dict[str, Any]) -> None:
    named, references = systems(50)
    results = []
    for package in (OURS, THEIRS):
        metrics = {"BLEU": package.BLEU(references=references), "other": package.CHRF(references=references)}
        results.append(package.significance.PairedTest(named, metrics, None, **options)())
    (signatures, scores), (their_signatures, their_scores) = results
    assert list(scores) == list(their_scores) == ["System", "BLEU", "chrF2"]
    assert scores["System"] == their_scores["System"]
    for name in ("BLEU", "chrF2"):
        same_signature(signatures[name], their_signatures[name])
        for found, expected in zip(scores[name], their_scores[name], strict=True):
            assert found.p_value == expected.p_value
            assert (found.mean is None) == (expected.mean is None)
            np.testing.assert_allclose(found.score, expected.score, rtol=1e-12)
            if found.mean is not None:
                np.testing.assert_allclose([found.mean, found.ci], [expected.mean, expected.ci], rtol=1e-5)
    assert repr(compat.significance.Result(1.5, 0.25)) == repr(sacrebleu.significance.Result(1.5, 0.25))


def test_intervals_of_scores() -> None:
    numbers = np.random.default_rng(5).random(333)
    np.testing.assert_allclose(
        compat.significance.estimate_ci(numbers), sacrebleu.significance.estimate_ci(numbers), rtol=1e-12
    )
    found = []
    for package in (OURS, THEIRS):
        score = package.metrics.base.Score("X", 0.5)
        score.estimate_ci([package.metrics.base.Score("X", float(number)) for number in numbers])
        found.append([score._mean, score._ci])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers


@pytest.mark.parametrize("name", [*NATIVE, "re"])
def test_tokenizers(name: str) -> None:
    path, kind = {**NATIVE, "re": "re.TokenizerRegexp"}[name].split(".")
    ours, theirs = (
        getattr(import_module(f"{package}.tokenizers.tokenizer_{path}"), kind)()
        for package in ("seqloss_rs.compat.sacrebleu", "sacrebleu")
    )
    assert ours.signature() == theirs.signature() == name
    generator = random.Random(11)
    lines = [fragments(generator, 30) for _ in range(2000)]
    for line in [*lines, *real(100)[0], "", " ", "in 2019.\n", "well-\n", "你好,世界 1.5"]:
        assert ours(line).split() == theirs(line).split(), line


def test_switches_are_true_or_false_as_python_has_it() -> None:
    hypotheses, references = ["The  cat sat.", "A dog"], [["the cat sat .", "A  dog ."]]
    for name, switches in (
        ("BLEU", ("lowercase", "effective_order")),
        ("CHRF", ("lowercase", "whitespace", "eps_smoothing")),
        ("TER", ("normalized", "no_punct", "asian_support", "case_sensitive")),
    ):
        for switch in switches:
            theirs, ours = both(name, {switch: 1})
            same(ours.corpus_score(hypotheses, references), theirs.corpus_score(hypotheses, references))
            same_signature(ours.get_signature(), theirs.get_signature())


def test_counts_of_more_orders_than_are_scored() -> None:
    for method in ("none", "add-k"):
        found, expected = (
            package.BLEU.compute_bleu([5, 3, 2, 1], [6, 5, 4, 3], 6, 7, smooth_method=method, max_ngram_order=2)
            for package in (OURS, THEIRS)
        )
        same(found, expected)


@pytest.mark.parametrize("bits", range(16))
def test_the_tokenizer_of_ter(bits: int) -> None:
    options = [bool(bits >> bit & 1) for bit in range(4)]
    ours, theirs = (
        import_module(f"{package}.tokenizers.tokenizer_ter").TercomTokenizer(*options)
        for package in ("seqloss_rs.compat.sacrebleu", "sacrebleu")
    )
    assert ours.signature() == theirs.signature()
    generator = random.Random(bits)
    for line in [*(fragments(generator, 30).rstrip() for _ in range(500)), *real(30)[0], "", "ひらがな。 It's"]:
        assert ours(line) == theirs(line), line


class Halves(BaseTokenizer):
    """Cuts words of four letters and more in two."""

    def signature(self) -> str:
        return "halves"

    def __call__(self, line: str) -> str:
        return " ".join(f"{word[:3]} {word[3:]}" for word in line.split())


def test_a_tokenizer_from_outside() -> None:
    hypotheses, references = real(60)
    theirs, ours = both("BLEU", {"lowercase": True})
    for metric in (theirs, ours):
        metric.tokenizer = Halves()
        metric.tokenizer_signature = "halves"
    same(ours.corpus_score(hypotheses, streams(references)), theirs.corpus_score(hypotheses, streams(references)))
    same_signature(ours.get_signature(), theirs.get_signature())


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ja-mecab", "MeCab"),
        ("ko-mecab", "mecab_ko"),
        *((name, "sentencepiece") for name in ("spm", "flores101", "flores200", "spBLEU-1K")),
    ],
)
def test_packages_that_are_not_there(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"tokenize is '{name if name != 'spm' else 'flores101'}', which needs the"):
        compat.BLEU(tokenize=name)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit


def test_input_that_looks_cut_already(caplog: pytest.LogCaptureFixture) -> None:
    texts = ["the cat sat on the mat ."] * 100
    with caplog.at_level(logging.WARNING, logger="sacrebleu"):
        compat.corpus_bleu(texts[1:], [texts[1:]])
        compat.corpus_bleu(texts, [texts], force=True)
        compat.corpus_chrf(texts, [texts])
        assert not caplog.records
        compat.corpus_bleu(texts, [texts])
        compat.BLEU().sentence_score(texts[0], texts[:1])
        compat.BLEU(trg_lang="ja", tokenize="char")
    assert [message.split(" ")[0] for message in caplog.messages] == ["100", "effective_order=True", "The"]


A, B = ["a b c d"], ["a b c d", "e f"]
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: WRONG.corpus_bleu(B, [A]), ValueError, "hypotheses has 2 segments, but the references have 1"),
    (lambda: WRONG.corpus_bleu(B, [B, A]), ValueError, "references[1] has 1 segments, but references[0] has 2"),
    (lambda: WRONG.corpus_bleu("a b", ["a b"]), TypeError, "hypotheses is a str, expected a list of strings"),
    (lambda: WRONG.corpus_bleu(A, "a b"), TypeError, "references is a str, expected a list of lists of strings"),
    (lambda: WRONG.corpus_bleu(A, A), TypeError, "references[0] is a str, expected a list of strings"),
    (lambda: WRONG.corpus_bleu([], [[]]), ValueError, "hypotheses is empty, expected at least one segment"),
    (lambda: WRONG.corpus_bleu(A, []), ValueError, "references is empty, expected at least one stream"),
    (lambda: WRONG.corpus_bleu([None], [A]), TypeError, "hypotheses[0] is a NoneType, expected a string"),
    (lambda: WRONG.corpus_bleu(B, [["a", 5]]), TypeError, "references[0][1] is a int, expected a string"),
    (lambda: WRONG.corpus_bleu(["a", "b", "c"], [["a", None, "c"]]), ValueError, "segment 1 has no reference"),
    (lambda: WRONG.CHRF(references=[["a", None]]), ValueError, "segment 1 has no reference: it is None in every"),
    (lambda: WRONG.BLEU(smooth_method="floor", smooth_value=-1), ValueError, "smooth_value is -1"),
    (lambda: WRONG.BLEU(smooth_method="floor", smooth_value=2), ValueError, "smooth_value is 2, expected a number of"),
    (lambda: WRONG.tokenizers.TOKENIZERS["13a"]()("a\ud83d."), ValueError, "line holds a lone surrogate"),
    (lambda: WRONG.tokenizers.TOKENIZERS["13a"]()(None), TypeError, "line has type NoneType, expected a string"),
    (lambda: WRONG.corpus_bleu(B, [B, ["a", "\ud83d"]]), ValueError, "a reference of segment 1 holds a lone surrogate"),
    (lambda: WRONG.BLEU(max_ngram_order=0), ValueError, "max_ngram_order is 0, "),
    (lambda: WRONG.corpus_ter(A, None), RuntimeError, "references is None, but the metric was made without"),
    (lambda: WRONG.sentence_chrf(A, A), TypeError, "hypothesis is a list, expected a string"),
    (lambda: WRONG.sentence_chrf("a", "a"), TypeError, "references is a str, expected a list of strings"),
    (lambda: WRONG.BLEU(tokenize="14a"), ValueError, "tokenize is '14a', expected one of none, zh, 13a"),
    (lambda: WRONG.BLEU(smooth_method="x"), ValueError, "smooth_method is 'x', expected one of none, floor"),
    (lambda: WRONG.BLEU().get_signature(), ValueError, "the number of references is not known yet"),
    (lambda: WRONG.BLEU.compute_bleu([5], [4], 4, 4, max_ngram_order=1), ValueError, "5 matches of order 1"),
    (
        lambda: WRONG.significance.PairedTest([("a", A)], {"x": WRONG.CHRF()}, [A], test_type="t"),
        ValueError,
        "test_type is 't', expected one of ar, bs",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_what_does_not_fit_is_named(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)


def test_tuples_are_lists() -> None:
    found = compat.corpus_bleu(("a b c d", "b"), (("a b c d", "b"),))
    same(found, compat.corpus_bleu(["a b c d", "b"], [["a b c d", "b"]]))
