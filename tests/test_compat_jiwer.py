"""`seqloss_rs.compat.jiwer` beside jiwer 4: the same calls, the same results."""

import inspect
import random
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import jiwer
import pytest
import seqloss_rs.compat.jiwer as ours
from test_text import generated, real

TEXTS = [
    "You're  PRETTY, aren't you?",
    " can't\tlet's won't ",
    "<unk> [laugh] it'd they'll I've I'm",
    "",
    " ",
    "a\u2003b—c¿",
]
TRANSFORMS: tuple[Callable[[Any], Any], ...] = (
    lambda package: package.ExpandCommonEnglishContractions(),
    lambda package: package.RemoveEmptyStrings(),
    lambda package: package.ReduceToListOfListOfWords(),
    lambda package: package.ReduceToListOfListOfWords(word_delimiter="'"),
    lambda package: package.ReduceToListOfListOfChars(),
    lambda package: package.ReduceToSingleSentence(),
    lambda package: package.ReduceToSingleSentence(word_delimiter="-"),
    lambda package: package.RemoveKaldiNonWords(),
    lambda package: package.RemoveMultipleSpaces(),
    lambda package: package.RemovePunctuation(),
    lambda package: package.RemoveSpecificWords(["you", "it", "a"]),
    lambda package: package.RemoveWhiteSpace(),
    lambda package: package.RemoveWhiteSpace(replace_by_space=True),
    lambda package: package.Strip(),
    lambda package: package.SubstituteRegexes({r"\b(\w+)'re\b": r"\1 ARE", "t": "T"}),
    lambda package: package.SubstituteWords({"can't": "cannot", "I": "we", "b—c": "x"}),
    lambda package: package.ToLowerCase(),
    lambda package: package.ToUpperCase(),
    lambda package: package.wer_default,
    lambda package: package.wer_contiguous,
    lambda package: package.wer_standardize,
    lambda package: package.wer_standardize_contiguous,
    lambda package: package.cer_default,
    lambda package: package.cer_contiguous,
    lambda package: package.Compose([package.ToLowerCase(), package.RemovePunctuation(), package.wer_default]),
)


def outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What comes back, or the type of the error."""
    try:
        return call(*arguments, **options)
    except Exception as error:
        return type(error)


def test_names_and_signatures() -> None:
    modules = {"alignment", "measures", "process", "transformations", "transforms", "name"}
    names = {name for name in vars(jiwer) if not name.startswith("_")} - modules
    assert names - {"cli"} == set(ours.__all__)
    for name in ours.__all__:
        theirs, own = getattr(jiwer, name), getattr(ours, name)
        if inspect.isfunction(theirs) or inspect.isclass(theirs):
            expected, found = (list(inspect.signature(each).parameters.values()) for each in (theirs, own))
            assert [parameter.name for parameter in found] == [parameter.name for parameter in expected], name
            for one, other in zip(found, expected, strict=True):
                same = one.default == other.default or isinstance(one.default, ours.Compose)
                assert same, f"{name}: {one} is not {other}"


@pytest.mark.parametrize("make", TRANSFORMS)
def test_transforms(make: Callable[[Any], Any]) -> None:
    hypotheses, references = generated(300, 1)
    theirs, own = make(jiwer), make(ours)
    for texts in (TEXTS, hypotheses, [several[0] for several in references], [], ["", ""]):
        assert own(texts) == theirs(texts)
        for text in texts:
            assert own(text) == theirs(text)
    assert outcome(own, None) is outcome(theirs, None) is ValueError


def same_output(found: Any, expected: Any) -> None:
    assert [field.name for field in fields(found)] == [field.name for field in fields(expected)]
    assert asdict(found) == asdict(expected)
    for shown in (True, False):
        for skipped in (True, False):
            for width in (None, 0, 20, 80):
                options: dict[str, Any] = {"show_measures": shown, "skip_correct": skipped, "line_width": width}
                assert ours.visualize_alignment(found, **options) == jiwer.visualize_alignment(expected, **options)
    assert ours.collect_error_counts(found) == jiwer.collect_error_counts(expected)
    for options in (
        {},
        {"show_substitutions": False},
        {"show_insertions": False, "top_k": 2},
        {"show_deletions": False},
    ):
        assert ours.visualize_error_counts(found, **options) == jiwer.visualize_error_counts(expected, **options)


@pytest.mark.parametrize("function", ["process_words", "process_characters"])
def test_outputs(function: str) -> None:
    theirs, own = getattr(jiwer, function), getattr(ours, function)
    hypotheses, references = generated(200, 1)
    texts = [several[0] for several in references]
    for reference, hypothesis in (
        (texts, hypotheses),
        ("short one here", "shoe order one"),
        (["short one here", "quite a bit of longer sentence"], ["shoe order one", "quite bit of an even longest one"]),
        ("* a ** b", "a * b c"),
        ("", ""),
        ("", "a b"),
        ("a b", ""),
        (["", "a"], ["a", ""]),
        ([], []),
        ("a", []),
    ):
        same_output(own(reference, hypothesis), theirs(reference, hypothesis))


@pytest.mark.parametrize("function", ["wer", "mer", "wil", "wip", "cer"])
def test_measures(function: str) -> None:
    theirs, own = getattr(jiwer, function), getattr(ours, function)
    hypotheses, several = generated(1000, 1)
    long_hypotheses, long_several = real(60)
    cases: list[tuple[Any, Any]] = [
        *((texts[0], hypothesis) for texts, hypothesis in zip(several, hypotheses, strict=True)),
        ([texts[0] for texts in long_several], long_hypotheses),
        *(("", ""), ("", "a b"), ("a b", ""), ([], []), ([], "a"), ("a", []), (["a", ""], ["", "b"])),
    ]
    for reference, hypothesis in cases:
        assert own(reference, hypothesis) == theirs(reference, hypothesis), (reference, hypothesis)
    texts = [texts[0] for texts in several[:50]]
    for make in TRANSFORMS:
        found, expected = (
            outcome(getattr(package, function), texts, hypotheses[:50], make(package), make(package))
            for package in (ours, jiwer)
        )
        assert found == expected


def test_a_default_that_was_changed_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ours.wer("A b", "a b") == 0.5
    monkeypatch.setattr(ours.wer_default, "transforms", [ours.ToLowerCase(), *ours.wer_default.transforms])
    assert ours.wer("A b", "a b") == 0.0


def test_tokens_of_any_kind() -> None:
    generator = random.Random(3)
    tokens = ["", " ", "a b", "\n", "é", "\0", "a"]
    for _ in range(300):
        count = generator.randrange(3)
        references, hypotheses = (
            [generator.choices(tokens, k=generator.randrange(6)) for _ in range(count)] for _ in range(2)
        )
        found, expected = (
            package.process_words("", "", lambda _, made=references: made, lambda _, made=hypotheses: made)
            for package in (ours, jiwer)
        )
        assert asdict(found) == asdict(expected)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "options"),
    [
        (["a", "b"], "a", {}),
        (None, "a", {}),
        ("a", None, {}),
        ("a", "a", {"reference_transform": lambda texts: texts}),
        ("a", "a", {"hypothesis_transform": lambda texts: [["a", 1]]}),
        ("a", "a", {"hypothesis_transform": lambda texts: "a"}),
        ([1], ["a"], {}),
    ],
)
def test_errors(reference: Any, hypothesis: Any, options: Any) -> None:
    for function in ("wer", "process_words"):
        found, expected = (
            outcome(getattr(package, function), reference, hypothesis, **options) for package in (ours, jiwer)
        )
        assert issubclass(expected, Exception)
        assert found is expected


def test_what_is_no_character_is_named_as_here() -> None:
    for function in ("wer", "cer", "process_words"):
        for texts, name in (
            ((["a", "b\ud83d"], ["a", "b"]), "reference"),
            ((["a", "b"], ["a", "b\ud83d"]), "hypothesis"),
        ):
            with pytest.raises(ValueError, match=rf"^{name}\[1\].* holds a lone surrogate"):
                getattr(ours, function)(*texts)


def test_chunks_are_checked() -> None:
    assert ours.AlignmentChunk("replace", 0, 1, 0, 1).type == "substitute"
    for wrong in (("swap", 0, 1, 0, 1), ("equal", 1, 0, 0, 1), ("equal", 0, 1, 1, 0)):
        assert outcome(jiwer.AlignmentChunk, *wrong) is ValueError
        with pytest.raises(ValueError, match=r"type is|is larger"):
            ours.AlignmentChunk(*wrong)
