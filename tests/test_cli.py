"""The program `seqloss`: files in, lines and a summary out, and what it says of files that are no good."""

import csv
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import time
import tomllib
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import seqloss_rs
from seqloss_rs.cli import main
from seqloss_rs.cli.losses import LOSSES
from seqloss_rs.cli.options import options_of

Arrays = dict[str, Any]
Jsonable = dict[str, Any]


class Outcome(NamedTuple):
    """What a run of the program left behind."""

    status: int
    out: str
    err: str

    @property
    def summary(self) -> Jsonable:
        """Its summary."""
        return strict(self.out)


Program = Callable[..., Outcome]


def strict(text: str) -> Jsonable:
    """An object of JSON as the standard has it, without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def read_lines(path: Path) -> list[Jsonable]:
    return [strict(line) for line in path.read_text("utf-8").split("\n") if line]


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    """The program, in this process."""

    def run(*arguments: object) -> Outcome:
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run


def in_a_process(*arguments: object, stdin: bytes = b"", folder: Path | None = None) -> Outcome:
    """The program, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "seqloss_rs", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=folder,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


# ---- the same samples in every form --------------------------------------------------------------------------------

LENGTHS = [4, 2, 5]
SENTENCES = [
    "the cat sat on the mat",
    "a quick brown fox jumps",
    "nothing in common here at all",
    "one two three four five six",
]
ANSWERS = ["the cat sat on a mat", "the quick brown fox jumped", "some other words", "one two three four five six"]


class Samples(NamedTuple):
    """A loss, its arguments for each of a few sequences, and options."""

    loss: str
    sequences: list[Arrays]
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def names(self) -> list[str]:
        return list(self.sequences[0])

    def column(self, name: str) -> list[Any]:
        """An argument of all sequences, as a list of arrays or as one array of numbers."""
        values = [sequence[name] for sequence in self.sequences]
        return values if np.ndim(values[0]) else np.array(values)  # type: ignore[return-value]  # an array is as good as a list here

    def expected(self) -> npt.NDArray[np.float64]:
        """Each sequence's loss, from the package."""
        loss = LOSSES[self.loss]
        reduction = "none" if self.loss == "ctc" else "sequence"
        arguments = {name: self.column(name) for name in self.names}
        function = getattr(seqloss_rs, loss.function)
        return np.asarray(function(**arguments, **self.options, reduction=reduction), dtype=np.float64)

    def flags(self) -> list[str]:
        """The options on the command line."""
        return [word for name, value in self.options.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    def ragged(self) -> Arrays:
        """The sequences end to end, with offsets."""
        arrays: Arrays = {}
        for name in self.names:
            values = self.column(name)
            if isinstance(values, list):
                arrays[name] = np.concatenate(values)
                arrays[f"{name}_offsets"] = np.cumsum([0, *map(len, values)])
            else:
                arrays[name] = values
        return arrays

    def padded(self) -> Arrays:
        """The sequences side by side, with lengths; what is beyond them is no valid value."""
        arrays: Arrays = {}
        for name in self.names:
            values = self.column(name)
            if isinstance(values, list):
                longest = max(map(len, values))
                filler = np.nan if values[0].dtype.kind == "f" else np.array(99).astype(values[0].dtype)
                arrays[name] = np.full((len(values), longest, *values[0].shape[1:]), filler, dtype=values[0].dtype)
                for row, value in zip(arrays[name], values, strict=True):
                    row[: len(value)] = value
            else:
                arrays[name] = values
        lengths = np.array([len(value) for value in self.column(self.names[0])])
        if self.loss == "ctc":
            return {
                **arrays,
                "input_lengths": lengths,
                "target_lengths": np.array([len(y) for y in self.column("targets")]),
            }
        return {**arrays, "lengths": lengths}

    def lines(self) -> str:
        """A line of JSON for each sequence."""
        rows = [{name: np.asarray(value).tolist() for name, value in row.items()} for row in self.sequences]
        return "".join(json.dumps(row) + "\n" for row in rows)


def make_samples() -> dict[str, Samples]:
    random = np.random.default_rng(7)
    logits = [random.normal(size=(length, 4)) for length in LENGTHS]
    classes = [random.integers(0, 4, size=length) for length in LENGTHS]
    values = [random.normal(size=length) for length in LENGTHS]
    masks = [random.random(length) < 0.7 for length in LENGTHS]
    labels = [np.array([1, 2]), np.array([3]), np.array([1, 1, 2])]
    rewards = random.normal(size=len(LENGTHS)).tolist()

    def rows(**columns: Sequence[Any]) -> list[Arrays]:
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    return {
        "cross_entropy": Samples("cross_entropy", rows(logits=logits, targets=classes)),
        "cross_entropy with a mask": Samples(
            "cross_entropy", rows(logits=logits, targets=classes, mask=masks), {"label_smoothing": 0.1}
        ),
        "mse": Samples("mse", rows(predictions=values, targets=[value**2 for value in values])),
        "mse of vectors": Samples("mse", rows(predictions=logits, targets=[value / 2 for value in logits], mask=masks)),
        "mae": Samples("mae", rows(predictions=values, targets=[value**2 for value in values], mask=masks)),
        "ctc": Samples("ctc", rows(logits=logits, targets=labels)),
        "ctc with the last class as blank": Samples(
            "ctc", rows(logits=logits, targets=[label % 3 for label in labels]), {"blank": 3}
        ),
        "reinforce": Samples("reinforce", rows(logits=logits, actions=classes, rewards=rewards), {"baseline": 0.25}),
    }


SAMPLES = make_samples()
EVERY_SAMPLES = pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES.keys())
TEXT_LOSSES = pytest.mark.parametrize("name", ["bleu", "rouge"])


def check(outcome: Outcome, lines: list[Jsonable], expected: npt.NDArray[np.float64]) -> None:
    """Compare the lines and the summary with values from the package."""
    assert outcome.status == 0, outcome.err
    np.testing.assert_allclose([line["loss"] for line in lines], expected, rtol=1e-12)
    summary = outcome.summary
    assert summary["count"] == len(expected)
    assert summary["nonfinite"] == 0
    statistics: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "median": np.median, "max": np.max}
    for name, statistic in statistics.items():
        assert summary[name] == pytest.approx(statistic(expected), rel=1e-12), name
    assert summary["p95"] == pytest.approx(np.percentile(expected, 95), rel=1e-12)
    assert summary["seconds"] >= 0
    assert summary["version"] == seqloss_rs.__version__


@EVERY_SAMPLES
@pytest.mark.parametrize("form", ["padded", "ragged", "compressed", "lines"])
def test_every_form_of_the_data_gives_the_losses_of_the_package(
    samples: Samples, form: str, program: Program, tmp_path: Path
) -> None:
    data, output = tmp_path / ("data.jsonl" if form == "lines" else "data.npz"), tmp_path / "out.jsonl"
    if form == "lines":
        data.write_text(samples.lines())
    elif form == "padded":
        np.savez(data, **samples.padded())
    else:
        save = np.savez_compressed if form == "compressed" else np.savez
        save(data, **samples.ragged())
    outcome = program("score", samples.loss, data, *samples.flags(), "-o", output)
    lines = read_lines(output)
    check(outcome, lines, samples.expected())
    first = 1 if form == "lines" else 0
    function = LOSSES[samples.loss].function
    for index, line in enumerate(lines):
        assert list(line)[:5] == ["index", "file", "record", "function", "loss"]
        assert (line["index"], line["file"], line["record"]) == (index, str(data), index + first)
        assert line["function"] == function
        assert line.get("options", {}) == samples.options
    assert outcome.summary["options"] == samples.options
    assert outcome.summary["loss"] == samples.loss


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "mse of vectors"])
def test_one_sequence_needs_no_axis_for_samples(name: str, program: Program, tmp_path: Path) -> None:
    # Two axes of squared errors are sequences of numbers, as in the package: only there the axis must be said.
    samples = SAMPLES[name]
    data, output = tmp_path / "one.npz", tmp_path / "out.jsonl"
    np.savez(data, **samples.sequences[0])
    outcome = program("score", samples.loss, data, *samples.flags(), "-o", output)
    check(outcome, read_lines(output), samples.expected()[:1])


@EVERY_SAMPLES
def test_lengths_and_terms_are_those_that_count(samples: Samples, program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **samples.padded())
    summary = program("score", samples.loss, data, *samples.flags(), "-o", output).summary
    lines = read_lines(output)
    if samples.loss == "ctc":
        assert [line["frames"] for line in lines] == LENGTHS
        assert [line["length"] for line in lines] == [2, 1, 3]
        assert all(line["feasible"] for line in lines)
        assert summary["labels"] == 6
        assert summary["mean_per_label"] == pytest.approx(summary["sum"] / 6)
        return
    loss = LOSSES[samples.loss]
    arguments = {name: samples.column(name) for name in samples.names}
    means = getattr(seqloss_rs, loss.function)(**arguments, **samples.options, reduction="sequence_mean")
    np.testing.assert_allclose([line["sequence_mean"] for line in lines], means, rtol=1e-12)
    assert [line["length"] for line in lines] == LENGTHS
    terms = [line["terms"] for line in lines]
    width = 4 if "vectors" in str([key for key, value in SAMPLES.items() if value is samples]) else 1
    if "mask" in samples.names:
        assert terms == [int(mask.sum()) * width for mask in samples.column("mask")]
    else:
        assert terms == LENGTHS
    assert summary["terms"] == sum(terms)
    assert summary["mean_per_term"] == pytest.approx(summary["sum"] / sum(terms))
    assert ("perplexity" in summary) == (samples.loss == "cross_entropy" and "label_smoothing" not in samples.options)
    if "perplexity" in summary:
        assert summary["perplexity"] == pytest.approx(math.exp(summary["mean_per_term"]))


def test_cross_entropy_leaves_out_what_is_to_be_ignored(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    logits, targets = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([[0, 1, 2], [3, -1, -1]])
    np.savez(data, logits=logits, targets=targets, class_weights=np.array([1.0, 2.0, 1.0, 0.5]))
    program("score", "cross_entropy", data, "--ignore-index", -1, "-o", output)
    lines = read_lines(output)
    assert [line["terms"] for line in lines] == [3, 1]
    expected = seqloss_rs.cross_entropy_loss(
        logits, targets, ignore_index=-1, class_weights=np.array([1.0, 2.0, 1.0, 0.5]), reduction="sequence"
    )
    np.testing.assert_allclose([line["loss"] for line in lines], expected, rtol=1e-12)


def test_perplexity_is_that_of_the_weighted_mean(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    generator = np.random.default_rng(3)
    arrays: dict[str, Any] = {
        "logits": generator.normal(size=(4, 3, 5)),
        "targets": generator.integers(0, 5, (4, 3)),
        "weights": generator.random((4, 3)),
        "class_weights": np.arange(1.0, 6.0),
        "lengths": np.array([3, 1, 2, 3]),
    }
    np.savez(data, **arrays)
    summary = program("score", "cross_entropy", data, "-o", output).summary
    mean = seqloss_rs.cross_entropy_loss(**arrays)
    assert summary["mean_per_term"] == pytest.approx(mean, rel=1e-12)
    assert summary["perplexity"] == pytest.approx(math.exp(mean), rel=1e-12)
    # A smoothed loss is no logarithm of a probability.
    smoothed = program("score", "cross_entropy", data, "--label-smoothing", 0.1, "-o", output).summary
    assert "perplexity" not in smoothed
    assert smoothed["mean_per_term"] > 0


def test_a_flag_of_numbers_weights_the_classes(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["cross_entropy"]
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    data.write_text(samples.lines())
    weights = [1.0, 2.0, 0.25, 3.0]
    outcome = program("score", "cross_entropy", data, "--class-weights", "1,2,0.25,3", "-o", output)
    expected = samples._replace(options={"class_weights": np.array(weights)}).expected()
    check(outcome, read_lines(output), expected)
    assert outcome.summary["options"] == {"class_weights": weights}


# ---- texts ---------------------------------------------------------------------------------------------------------


@TEXT_LOSSES
@pytest.mark.parametrize("form", ["jsonl", "text", "npz", "bytes"])
def test_texts_are_scored_from_every_form(name: str, form: str, program: Program, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    sources: list[object] = [tmp_path / f"data.{form}"]
    if form == "jsonl":
        rows = [{"hypothesis": h, "reference": r} for h, r in zip(SENTENCES, ANSWERS, strict=True)]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "text":
        (tmp_path / "h.txt").write_text("\n".join(SENTENCES) + "\n")
        (tmp_path / "r.txt").write_bytes("\r\n".join(ANSWERS).encode())
        sources = ["--hyp", tmp_path / "h.txt", "--ref", tmp_path / "r.txt"]
    else:
        sources = [tmp_path / "data.npz"]
        kind = "U" if form == "npz" else "S"
        np.savez(tmp_path / "data.npz", hypotheses=np.array(SENTENCES, kind), references=np.array(ANSWERS, kind))
    outcome = program("score", name, *sources, "-o", output)
    function = getattr(seqloss_rs, LOSSES[name].function)
    lines = read_lines(output)
    check(outcome, lines, function(SENTENCES, ANSWERS, reduction="none"))
    corpus = 1 - function(SENTENCES, ANSWERS, reduction="corpus")
    assert outcome.summary[f"corpus_{name}"] == pytest.approx(corpus * (100 if name == "bleu" else 1), rel=1e-12)
    assert [line["hypothesis"] for line in lines] == SENTENCES
    assert [line["reference"] for line in lines] == ANSWERS
    assert [line["length"] for line in lines] == [len(sentence.split()) for sentence in SENTENCES]
    if name == "bleu":
        assert [line["reference_length"] for line in lines] == [len(answer.split()) for answer in ANSWERS]


@TEXT_LOSSES
def test_several_references_and_options(name: str, program: Program, tmp_path: Path) -> None:
    several = [[answer, sentence.upper()] for sentence, answer in zip(SENTENCES, ANSWERS, strict=True)]
    options = {"tokenize": "char", "lowercase": True} if name == "bleu" else {"variant": "rouge2", "stem": True}
    flags = ["--tokenize", "char", "--lowercase"] if name == "bleu" else ["--variant", "rouge2", "--stem"]
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    rows = [{"hypothesis": h, "references": r} for h, r in zip(SENTENCES, several, strict=True)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number, column in enumerate(zip(*several, strict=True)):
        (tmp_path / f"r{number}.txt").write_text("\n".join(column))
    (tmp_path / "h.txt").write_text("\n".join(SENTENCES))
    expected = getattr(seqloss_rs, LOSSES[name].function)(SENTENCES, several, **options, reduction="none")
    files = ["--hyp", tmp_path / "h.txt", "--ref", tmp_path / "r0.txt", tmp_path / "r1.txt"]
    for sources in ([data], files):
        outcome = program("score", name, *sources, *flags, "-o", output)
        lines = read_lines(output)
        check(outcome, lines, expected)
        assert outcome.summary["options"] == options
        assert [line["references"] for line in lines] == several


@TEXT_LOSSES
def test_token_ids_are_scored_as_lists_padded_and_ragged(name: str, program: Program, tmp_path: Path) -> None:
    hypotheses = [np.array([1, 2, 3, 4, 5]), np.array([7, 8]), np.array([1, 2, 3, 4])]
    references = [np.array([1, 2, 3, 4, 6]), np.array([7, 9, 8]), np.array([1, 2, 3, 4])]
    expected = getattr(seqloss_rs, LOSSES[name].function)(hypotheses, references, reduction="none")
    output = tmp_path / "out.jsonl"

    rows = [{"hypothesis": h.tolist(), "reference": r.tolist()} for h, r in zip(hypotheses, references, strict=True)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ragged: Arrays = {
        "hypotheses": np.concatenate(hypotheses),
        "hypotheses_offsets": np.cumsum([0, 5, 2, 4]),
        "references": np.concatenate(references),
        "references_offsets": np.cumsum([0, 5, 3, 4]),
    }
    np.savez(tmp_path / "ragged.npz", **ragged)
    padded: Arrays = {
        "hypotheses": np.array([[1, 2, 3, 4, 5], [7, 8, 0, 0, 0], [1, 2, 3, 4, 0]]),
        "references": np.array([[1, 2, 3, 4, 6], [7, 9, 8, 0, 0], [1, 2, 3, 4, 0]]),
        "lengths": np.array([5, 2, 4]),
        "reference_lengths": np.array([5, 3, 4]),
    }
    np.savez(tmp_path / "padded.npz", **padded)
    for data in ("data.jsonl", "ragged.npz", "padded.npz"):
        outcome = program("score", name, tmp_path / data, "-o", output)
        lines = read_lines(output)
        check(outcome, lines, expected)
        assert [line["length"] for line in lines] == [5, 2, 4]


def test_what_a_line_holds_besides_is_kept_and_never_overwritten(program: Program, tmp_path: Path) -> None:
    data, first, second = tmp_path / "data.jsonl", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    row = {"id": "é\u2028x", "hypothesis": "a b c", "reference": "a b d", "nested": {"deep": [1, None]}, "loss": "mine"}
    data.write_text(json.dumps({**row, "odd": math.nan}) + "\n")
    assert program("score", "rouge", data, "-o", first).status == 0
    (line,) = read_lines(first)
    assert {name: line[name] for name in row if name != "loss"} == {name: row[name] for name in row if name != "loss"}
    assert line["input"] == {"loss": "mine"}
    assert line["odd"] is None
    # The output of one loss is the input of another.
    assert program("score", "bleu", first, "-o", second).status == 0
    (again,) = read_lines(second)
    assert again["input"]["loss"] == line["loss"]
    assert again["input"]["input"] == {"loss": "mine"}
    assert again["id"] == row["id"]


def test_half_a_surrogate_pair_in_a_kept_field_stays_an_escape(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    data.write_text('{"hypothesis": "a", "reference": "a", "note": "\\ud83d"}\n')
    assert program("score", "rouge", data, "-o", output).status == 0
    assert read_lines(output)[0]["note"] == "\ud83d"


# ---- CTC -----------------------------------------------------------------------------------------------------------


def emissions(path: list[int], classes: int = 4) -> npt.NDArray[np.float32]:
    """Logits whose most likely path is this one."""
    return np.float32(5.0) * np.eye(classes, dtype=np.float32)[path]


PATHS = [[1, 0, 2, 2, 0, 2], [3, 3, 1], [0, 1]]
LABELS = [[1, 2, 2], [3, 1], [1, 1]]


def ctc_arrays() -> Arrays:
    return {
        "logits": np.concatenate([emissions(path) for path in PATHS]).astype(np.float16),
        "logits_offsets": np.cumsum([0, *map(len, PATHS)]),
        "targets": np.concatenate(LABELS).astype(np.int32),
        "target_lengths": np.array([len(labels) for labels in LABELS]),
        "texts": np.array(["abb", "ca", "aa"]),
        "classes": np.array(["", "a", "b", "c"]),
    }


def test_ctc_says_what_cannot_be_aligned_and_what_was_read(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **ctc_arrays())
    outcome = program("score", "ctc", data, "-o", output)
    lines = read_lines(output)
    assert [line["text"] for line in lines] == ["abb", "ca", "a"]
    assert [line["target"] for line in lines] == ["abb", "ca", "aa"]
    assert [line["feasible"] for line in lines] == [True, True, False]
    assert [line["frames"] for line in lines] == [6, 3, 2]
    assert (lines[2]["loss"], lines[2]["nonfinite"]) == (None, "inf")
    assert "nonfinite" not in lines[0]
    values = np.asarray(
        seqloss_rs.ctc_loss(
            [emissions(path) for path in PATHS], [np.array(labels) for labels in LABELS], reduction="none"
        )
    )
    np.testing.assert_allclose([line["loss"] for line in lines[:2]], values[:2], rtol=1e-5)
    summary = outcome.summary
    assert (summary["count"], summary["nonfinite"], summary["infeasible"]) == (3, 1, 1)
    assert summary["sum"] == pytest.approx(float(values[:2].sum()), rel=1e-5)
    assert summary["labels"] == 5

    assert program("score", "ctc", data, "--zero-infinity", "-o", output).summary["infeasible"] == 1
    line = read_lines(output)[2]
    assert (line["loss"], line["feasible"]) == (0.0, False)


def test_align_says_which_frames_say_which_label(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **ctc_arrays())
    outcome = program("align", data, "-o", output)
    lines = read_lines(output)
    found = seqloss_rs.ctc_align(
        [emissions(path).astype(np.float16) for path in PATHS], [np.array(labels) for labels in LABELS]
    )
    for line, labels, spans, score in zip(lines, LABELS[:2], found.spans[:2], found.scores[:2], strict=False):
        assert line["score"] == score
        assert [(span["label"], span["start"], span["end"], span["score"]) for span in line["spans"]] == spans
        assert [span["label"] for span in line["spans"]] == labels
        assert "".join(span["text"] for span in line["spans"]) == line["target"]
        assert line["loss"] <= -line["score"]
    assert [(span["start"], span["end"]) for span in lines[0]["spans"]] == [(0, 1), (2, 4), (5, 6)]
    assert (lines[2]["feasible"], lines[2]["score"], lines[2]["spans"]) == (False, None, [])
    assert program("score", "ctc", data, "-o", tmp_path / "scored.jsonl").status == 0
    for line, scored in zip(lines, read_lines(tmp_path / "scored.jsonl"), strict=True):
        assert {name: value for name, value in line.items() if name not in ("score", "spans")} == {
            **scored,
            "function": "ctc_align",
        }
    assert outcome.summary["infeasible"] == 1

    # Lines are what it is for: they go to standard output, and the summary out of their way.
    outcome = program("align", data, "--json")
    assert [strict(line) for line in outcome.out.splitlines()] == lines
    assert strict(outcome.err)["count"] == 3


@pytest.mark.parametrize("form", ["lines", "padded", "ragged", "TNC"])
def test_align_reads_every_form(form: str, program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["ctc with the last class as blank"]
    data, output = tmp_path / ("data.jsonl" if form == "lines" else "data.npz"), tmp_path / "out.jsonl"
    flags = samples.flags()
    if form == "lines":
        data.write_text(samples.lines())
    elif form == "TNC":
        arrays = samples.padded()
        np.savez(data, **{**arrays, "logits": np.swapaxes(arrays["logits"], 0, 1)})
        flags += ["--layout", "TNC"]
    else:
        np.savez(data, **(samples.padded() if form == "padded" else samples.ragged()))
    assert program("align", data, *flags, "-o", output).status == 0
    found = seqloss_rs.ctc_align(samples.column("logits"), samples.column("targets"), blank=3)
    lines = read_lines(output)
    assert [line["score"] for line in lines] == pytest.approx(list(found.scores), rel=1e-12)
    spans = [[(span["label"], span["start"], span["end"]) for span in line["spans"]] for line in lines]
    assert spans == [[span[:3] for span in spans] for spans in found.spans]


def test_align_of_one_sequence_and_of_what_is_no_good(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, logits=emissions(PATHS[0]), targets=np.array(LABELS[0]))
    outcome = program("align", data)
    assert outcome.status == 0
    assert [span["label"] for span in strict(outcome.out)["spans"]] == LABELS[0]
    np.savez(data, logits=emissions(PATHS[0])[None], targets=np.array([[1, 9]]))
    outcome = program("align", data)
    assert outcome.status == 1
    assert outcome.err.endswith("data.npz: record 0: targets[0, 1] is 9, which is not a class in 0..4\n")


def test_align_offers_what_it_takes_and_no_variant_of_the_loss(
    program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program("align", "--help")
    words = capfd.readouterr().out
    assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", words.partition("options of ctc_align:")[2])) == {
        "--blank",
        "--scores",
        "--layout",
    }
    assert "log_priors" not in words
    for flags in (["--temperature", "2"], ["--zero-infinity"], ["--star", "before"]):
        outcome = program("align", "x.npz", *flags)
        assert outcome.status == 2
        assert flags[0] in outcome.err
    # In a data file the options of the loss alone are other arrays, which are left alone.
    samples = SAMPLES["ctc"]
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **samples.ragged(), temperature=np.array(2.0), star=np.array("before"), log_priors=np.zeros(9))
    check(program("align", data, "-o", output), read_lines(output), samples.expected())


def test_a_page_of_alignments_has_the_pictures_of_ctc(program: Program, tmp_path: Path) -> None:
    data, lines, page = tmp_path / "data.npz", tmp_path / "lines.jsonl", tmp_path / "page.html"
    np.savez(data, **ctc_arrays())
    assert program("align", data, "-o", lines).status == 0
    assert program("report", lines, "-o", page).status == 0
    content = page.read_text()
    assert "CTC loss" in content
    assert content.count('<figure class="emission">') == len(PATHS)


# ---- variants of CTC: name, words on the command line, what they mean in a call ------------------------------------

LOG_PRIORS = np.array([-0.5, -1.5, -2.25, -1.0])
VARIANTS: dict[str, tuple[list[object], Arrays]] = {
    "zero_infinity": (["--zero-infinity"], {"zero_infinity": True}),
    "no zero_infinity": (["--no-zero-infinity"], {"zero_infinity": False}),
    "merge_repeated": (["--merge-repeated"], {"merge_repeated": True}),
    "no merge_repeated": (["--no-merge-repeated"], {"merge_repeated": False}),
    "temperature": (["--temperature", 2.5], {"temperature": 2.5}),
    "log_priors": (["--log-priors", "-0.5,-1.5,-2.25,-1"], {"log_priors": LOG_PRIORS}),
    "prior_weight": (
        ["--log-priors=-0.5,-1.5,-2.25,-1", "--prior-weight", "0.25"],
        {"log_priors": LOG_PRIORS, "prior_weight": 0.25},
    ),
    "delay_penalty": (["--delay-penalty", "-1e-1"], {"delay_penalty": -0.1}),
    "star": (["--star", "between"], {"star": ["between"]}),
    "several stars": (["--star", "before", "--star", "after"], {"star": ["before", "after"]}),
    "star_penalty": (["--star", "after", "--star-penalty", 2], {"star": ["after"], "star_penalty": 2.0}),
    "entropy_weight": (["--entropy-weight", 0.125], {"entropy_weight": 0.125}),
    "focal_gamma": (["--focal-gamma", 1.5], {"focal_gamma": 1.5}),
    "label_smoothing": (["--label-smoothing", 0.1], {"label_smoothing": 0.1}),
    "many": (
        ["--star", "before", "--no-merge-repeated", "--temperature", 0.5, "--focal-gamma", 1, "--label-smoothing", 0.5],
        {"star": ["before"], "merge_repeated": False, "temperature": 0.5, "focal_gamma": 1.0, "label_smoothing": 0.5},
    ),
}
EVERY_VARIANT = pytest.mark.parametrize("name", VARIANTS)


def variant_samples(options: Arrays) -> Samples:
    """Sequences that every variant but the one of `merge_repeated` changes; the last has no path but by that one."""
    random = np.random.default_rng(11)
    rows = [
        {"logits": random.normal(size=(frames, 4)), "targets": np.array(labels)}
        for frames, labels in ((5, [1, 2]), (4, [3, 3]), (7, [2, 1, 1]), (2, [1, 1]))
    ]
    return Samples("ctc", rows, options)


def check_variant(outcome: Outcome, lines: list[Jsonable], samples: Samples) -> None:
    """Compare losses, which may be infinite, with those of the package."""
    assert outcome.status == 0, outcome.err
    losses = [math.inf if line["loss"] is None else line["loss"] for line in lines]
    np.testing.assert_allclose(losses, samples.expected(), rtol=1e-12)
    last = samples.options.get("merge_repeated") is False
    assert [line["feasible"] for line in lines] == [True, True, True, last]


def test_every_option_of_ctc_is_among_the_variants() -> None:
    names = {name for _, options in VARIANTS.values() for name in options}
    assert names | {"blank", "scores", "layout", "consistency_weight"} == set(LOSSES["ctc"].options)


@EVERY_VARIANT
def test_a_variant_of_ctc_is_set_by_flags(name: str, program: Program, tmp_path: Path) -> None:
    flags, options = VARIANTS[name]
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    samples = variant_samples(options)
    data.write_text(samples.lines())
    outcome = program("score", "ctc", data, *flags, "-o", output)
    lines = read_lines(output)
    check_variant(outcome, lines, samples)
    written = {key: np.asarray(value).tolist() for key, value in options.items()}
    assert outcome.summary["options"] == lines[0]["options"] == written


@EVERY_VARIANT
@pytest.mark.parametrize("form", ["padded", "ragged"])
def test_a_variant_of_ctc_is_set_by_arrays(name: str, form: str, program: Program, tmp_path: Path) -> None:
    options = VARIANTS[name][1]
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    samples = variant_samples(options)
    arrays = samples.padded() if form == "padded" else samples.ragged()
    arrays |= {key: np.asarray(value) for key, value in options.items()}
    np.savez(data, **arrays)
    outcome = program("score", "ctc", data, "-o", output)
    check_variant(outcome, read_lines(output), samples)
    # Numbers for each class are data, and need not be said again of every sample.
    assert outcome.summary["options"] == {key: value for key, value in options.items() if key != "log_priors"}


def test_a_flag_holds_over_an_array_of_the_file(program: Program, tmp_path: Path) -> None:
    samples = variant_samples({"log_priors": LOG_PRIORS, "star": ["before"]})
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **samples.ragged(), log_priors=np.zeros(4), star=np.array(["between", "after"]))
    flags = ["--log-priors", "-0.5,-1.5,-2.25,-1", "--star", "before"]
    check_variant(program("score", "ctc", data, *flags, "-o", output), read_lines(output), samples)


@pytest.mark.parametrize("form", ["padded", "ragged", "ragged with offsets", "TNC", "lines", "one"])
def test_another_view_is_read_beside_the_logits(form: str, program: Program, tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    samples = variant_samples({"consistency_weight": 0.75})
    samples = samples._replace(
        sequences=[{**row, "consistency_with": random.normal(size=row["logits"].shape)} for row in samples.sequences]
    )
    data, output = tmp_path / ("data.jsonl" if form == "lines" else "data.npz"), tmp_path / "out.jsonl"
    flags: list[object] = ["--consistency-weight", 0.75]
    if form == "lines":
        data.write_text(samples.lines())
    elif form == "one":
        samples = samples._replace(sequences=samples.sequences[:1])
        np.savez(data, **samples.sequences[0])
    elif form == "ragged with offsets":
        np.savez(data, **samples.ragged())
    elif form == "ragged":
        arrays = samples.ragged()
        del arrays["consistency_with_offsets"]
        np.savez(data, **arrays)
    else:
        arrays = samples.padded()
        if form == "TNC":
            arrays |= {name: np.swapaxes(arrays[name], 0, 1) for name in ("logits", "consistency_with")}
            flags += ["--layout", "TNC"]
        np.savez(data, **arrays)
    outcome = program("score", "ctc", data, *flags, "-o", output)
    assert outcome.status == 0, outcome.err
    losses = [math.inf if line["loss"] is None else line["loss"] for line in read_lines(output)]
    np.testing.assert_allclose(losses, samples.expected(), rtol=1e-12)
    # Without the view the loss is another, so that it was not left alone.
    assert program("score", "ctc", data, *flags, "--ignore", "consistency_with", "-o", output).status == 0
    assert read_lines(output)[0]["loss"] < losses[0]


@pytest.mark.parametrize("ragged", [False, True])
def test_another_view_stays_beside_the_logits_from_batch_to_batch(
    ragged: bool, program: Program, tmp_path: Path
) -> None:
    random = np.random.default_rng(13)
    count = 2500
    logits, view = random.normal(size=(2, count, 3, 4))
    targets = random.integers(1, 4, size=(count, 1))
    expected = seqloss_rs.ctc_loss(logits, targets, consistency_with=view, reduction="none")
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    if ragged:
        flat: Arrays = {"logits": logits.reshape(-1, 4), "consistency_with": view.reshape(-1, 4)}
        np.savez(data, **flat, targets=targets, logits_offsets=3 * np.arange(count + 1))
    else:
        np.savez(data, logits=logits, consistency_with=view, targets=targets)
    check(program("score", "ctc", data, "-o", output), read_lines(output), np.asarray(expected))


def test_a_divergence_that_is_infinite_is_no_missing_path(program: Program, tmp_path: Path) -> None:
    logits = np.zeros((2, 3, 3))
    logits[0, 1, 2] = -np.inf
    targets, view = np.array([[1, 0], [1, 1]]), np.zeros((2, 3, 3))
    arrays: Arrays = {"logits": logits, "targets": targets, "target_lengths": np.array([1, 2])}
    arrays["input_lengths"] = np.array([3, 2])
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    cases: list[tuple[Arrays, list[str]]] = [({}, ["--label-smoothing", "0.1"]), ({"consistency_with": view}, [])]
    for more, flags in cases:
        np.savez(data, **arrays, **more)
        outcome = program("score", "ctc", data, *flags, "-o", output)
        assert [(line["nonfinite"], line["feasible"]) for line in read_lines(output)] == [("inf", True), ("inf", False)]
        assert (outcome.summary["infeasible"], outcome.summary["nonfinite"]) == (1, 2)
        program("score", "ctc", data, *flags, "--zero-infinity", "-o", output)
        options = {"label_smoothing": 0.1} if flags else more
        expected = seqloss_rs.ctc_loss(**arrays, **options, zero_infinity=True, reduction="none")
        assert [line["loss"] for line in read_lines(output)] == np.asarray(expected).tolist()


def test_labels_that_last_one_frame_are_read_so(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **ctc_arrays())
    assert program("score", "ctc", data, "--no-merge-repeated", "-o", output).status == 0
    assert [line["text"] for line in read_lines(output)] == ["abbb", "cca", "a"]
    np.savez(data, logits=emissions(PATHS[0]), targets=np.array(LABELS[0]), classes=np.array(["", "a", "b", "c"]))
    assert program("score", "ctc", data, "--no-merge-repeated", "-o", output).status == 0
    assert [line["text"] for line in read_lines(output)] == ["abbb"]


def test_emissions_are_found_again_with_the_variants_that_scored_them(program: Program, tmp_path: Path) -> None:
    data, lines, page = tmp_path / "data.npz", tmp_path / "lines.jsonl", tmp_path / "page.html"
    flags = ["--star", "before", "--star", "between", "--log-priors", "-1,-2,-0.5,-0.25", "--temperature", "4"]
    pictures = []
    for options in (flags, []):
        np.savez(data, **ctc_arrays())
        assert program("score", "ctc", data, *options, "-o", lines).status == 0
        assert program("report", lines, "-o", page).status == 0
        pictures.append(re.findall(r"<svg.*Emissions of sample 1:.*?</svg>", page.read_text(), re.DOTALL))
        assert page.read_text().count('<figure class="emission">') == len(PATHS)
    # The shades are the probabilities at the temperature of the loss.
    assert pictures[0] != pictures[1]


def test_ctc_reads_arrays_with_time_first(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["ctc"]
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    arrays = samples.padded()
    np.savez(data, **{**arrays, "logits": np.swapaxes(arrays["logits"], 0, 1)})
    check(program("score", "ctc", data, "--layout", "TNC", "-o", output), read_lines(output), samples.expected())


def test_an_option_in_the_file_holds_unless_a_flag_says_otherwise(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["ctc with the last class as blank"]
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **samples.ragged(), blank=np.array(3), scores=np.array("logits"))
    outcome = program("score", "ctc", data, "-o", output)
    check(outcome, read_lines(output), samples.expected())
    assert outcome.summary["options"] == {"blank": 3, "scores": "logits"}
    np.savez(data, **samples.ragged(), blank=np.array(0))
    check(program("score", "ctc", data, "--blank", 3, "-o", output), read_lines(output), samples.expected())


def test_log_probabilities_of_actions_need_no_actions(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["reinforce"]
    rows = [{"logits": [-0.5, -1.0], "rewards": 2.0}, {"logits": [-0.25], "rewards": -1.0}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(
        tmp_path / "data.npz",
        logits=np.array([-0.5, -1.0, -0.25]),
        logits_offsets=np.array([0, 2, 3]),
        rewards=np.array([2.0, -1.0]),
    )
    np.savez(tmp_path / "one.npz", logits=np.array([-0.5, -1.0]), rewards=np.array(2.0))
    for name, expected in (("data.jsonl", [3.0, -0.25]), ("data.npz", [3.0, -0.25]), ("one.npz", [3.0])):
        output = tmp_path / "out.jsonl"
        outcome = program("score", samples.loss, tmp_path / name, "--scores", "log_probs", "-o", output)
        check(outcome, read_lines(output), np.array(expected))


@pytest.mark.parametrize("loss", ["mse", "mae", "cross_entropy", "ctc"])
def test_a_sequence_of_no_steps_has_no_loss(loss: str, program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    samples = SAMPLES[loss]
    nothing: Arrays = {name: [] for name in samples.names}
    data.write_text(json.dumps(nothing) + "\n" + samples.lines() + json.dumps(nothing) + "\n")
    outcome = program("score", loss, data, "-o", output)
    assert outcome.status == 0, outcome.err
    losses = [line["loss"] for line in read_lines(output)]
    np.testing.assert_allclose(losses, [0, *samples.expected(), 0], rtol=1e-12)


def test_arrays_in_fortran_order_are_read(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["cross_entropy"]
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    arrays: Arrays = {name: np.asfortranarray(array) for name, array in samples.padded().items()}
    np.savez(data, **arrays)
    check(program("score", "cross_entropy", data, "-o", output), read_lines(output), samples.expected())


def test_a_group_has_a_line_for_each_member(program: Program, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    logits, actions = random.normal(size=(2, 3, 4, 5)), random.integers(0, 5, size=(2, 3, 4))
    rewards = random.normal(size=(2, 3))
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, logits=logits, actions=actions, rewards=rewards)
    outcome = program("score", "reinforce", data, "--baseline", "leave_one_out", "-o", output)
    expected = seqloss_rs.reinforce_loss(logits, actions, rewards, baseline="leave_one_out", reduction="sequence")
    lines = read_lines(output)
    check(outcome, lines, np.asarray(expected, dtype=np.float64).ravel())
    assert [(line["record"], line["member"]) for line in lines] == [(n, k) for n in range(2) for k in range(3)]
    assert [line["length"] for line in lines] == [4] * 6


def test_a_baseline_of_the_batch_is_that_of_the_whole_file(program: Program, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    count = 3000
    arrays: Arrays = {
        "logits": random.normal(size=(count, 2, 3)),
        "actions": random.integers(0, 3, size=(count, 2)),
        "rewards": random.normal(size=count),
    }
    data, output = tmp_path / "data.npz", tmp_path / "out.jsonl"
    np.savez(data, **arrays)
    expected = seqloss_rs.reinforce_loss(**arrays, baseline="batch_mean", reduction="sequence")
    outcome = program("score", "reinforce", data, "--baseline", "batch_mean", "-o", output)
    check(outcome, read_lines(output), np.asarray(expected, dtype=np.float64))


# ---- in and out ----------------------------------------------------------------------------------------------------


def test_csv_says_what_the_lines_say(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, **ctc_arrays())
    program("score", "ctc", data, "-o", tmp_path / "out.jsonl")
    program("score", "ctc", data, "-o", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = read_lines(tmp_path / "out.jsonl")
    assert [row["text"] for row in rows] == [line["text"] for line in lines]
    assert [float(row["loss"]) for row in rows] == [
        math.inf if line["loss"] is None else line["loss"] for line in lines
    ]
    assert [row["feasible"] for row in rows] == ["true", "true", "false"]


def test_csv_has_a_column_for_every_field_of_any_line(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.csv"
    rows = [
        {"hypothesis": 'a "b",\nc', "reference": "a"},
        {"hypothesis": "x", "references": ["x", "y"], "note": None, "n": 3},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    program("score", "rouge", data, "--output", output)
    with output.open(encoding="utf-8", newline="") as stream:
        first, second = list(csv.DictReader(stream))
    assert first["hypothesis"] == 'a "b",\nc'
    assert json.loads(second["references"]) == ["x", "y"]
    assert (first["n"], second["n"], second["note"]) == ("", "3", "")


def test_standard_input_and_output(tmp_path: Path) -> None:
    samples = SAMPLES["mse"]
    outcome = in_a_process("score", "mse", "-", "-o", "-", stdin=samples.lines().encode())
    assert outcome.status == 0
    lines = [strict(line) for line in outcome.out.splitlines()]
    np.testing.assert_allclose([line["loss"] for line in lines], samples.expected(), rtol=1e-12)
    assert [line["file"] for line in lines] == ["-"] * 3
    assert strict(outcome.err)["count"] == 3

    (tmp_path / "r.txt").write_text("\n".join(ANSWERS))
    outcome = in_a_process(
        "score", "bleu", "--ref", tmp_path / "r.txt", "--hyp", "-", stdin="\n".join(SENTENCES).encode()
    )
    expected = seqloss_rs.bleu_loss(SENTENCES, ANSWERS, reduction="none")
    assert strict(outcome.out)["sum"] == pytest.approx(float(np.sum(expected)))


def test_an_output_may_be_a_pipe_or_a_link(tmp_path: Path) -> None:
    data, output, link = tmp_path / "data.jsonl", tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    data.write_text(GOOD)
    outcome = in_a_process("score", "mse", data, "-o", "/dev/stdout")
    assert (outcome.status, len(outcome.out.splitlines())) == (0, 2)
    output.write_text("before")
    link.symlink_to(output)
    assert in_a_process("score", "mse", data, "-o", link).status == 0
    assert link.is_symlink()
    assert len(read_lines(output)) == 1


def test_the_index_goes_on_over_files_and_empty_lines_do_not_count(program: Program, tmp_path: Path) -> None:
    samples = SAMPLES["mae"]
    lines = samples.lines().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("\ufeff" + lines[0] + "\n  \n" + lines[1], encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines[2].strip())
    output = tmp_path / "out.jsonl"
    # Files may stand on both sides of a flag.
    outcome = program("score", "mae", tmp_path / "a.jsonl", "-o", output, tmp_path / "b.jsonl")
    written = read_lines(output)
    check(outcome, written, samples.expected())
    assert [(line["index"], Path(line["file"]).name, line["record"]) for line in written] == [
        (0, "a.jsonl", 1),
        (1, "a.jsonl", 4),
        (2, "b.jsonl", 1),
    ]
    assert outcome.summary["files"] == 2


def test_without_an_output_there_is_a_summary_alone(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(SAMPLES["mse"].lines())
    outcome = program("score", "mse", data)
    assert outcome.summary["count"] == 3
    assert outcome.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]
    table = program("score", "mse", data, "--no-json").out
    assert table.splitlines()[0].split() == ["loss", "mse"]
    assert table.splitlines()[1].split() == ["count", "3"]


def test_an_archive_of_no_samples_is_scored(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, predictions=np.zeros((0, 3)), targets=np.zeros((0, 3)))
    summary = program("score", "mse", data).summary
    assert (summary["count"], summary["sum"], summary["mean"]) == (0, 0.0, None)


def test_a_loss_that_is_no_number_is_counted_apart(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    data.write_text('{"predictions": [NaN], "targets": [1]}\n{"predictions": [3], "targets": [1]}\n')
    summary = program("score", "mse", data, "-o", output).summary
    assert (summary["count"], summary["nonfinite"], summary["sum"], summary["terms"]) == (2, 1, 4.0, 1)
    lines = read_lines(output)
    assert (lines[0]["loss"], lines[0]["nonfinite"], lines[0]["sequence_mean"]) == (None, "nan", None)


def test_an_output_that_was_there_is_replaced_whole_or_not_at_all(program: Program, tmp_path: Path) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    output.write_text("before")
    data.write_text(SAMPLES["mse"].lines() + "{")
    assert program("score", "mse", data, "-o", output).status == 1
    assert output.read_text() == "before"
    data.write_text(SAMPLES["mse"].lines())
    assert program("score", "mse", data, "-o", output).status == 0
    assert len(read_lines(output)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "out.jsonl"]


# ---- what is no good -----------------------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    whole = path.with_name("whole.npz")
    np.savez(whole, predictions=np.zeros((9, 9)), targets=np.zeros((9, 9)))
    path.write_bytes(whole.read_bytes()[:-40])
    whole.unlink()


def damaged(path: Path) -> None:
    np.savez(path, predictions=np.full((9, 90), 7.0), targets=np.zeros((9, 90)))
    content = bytearray(path.read_bytes())
    content[700] ^= 255
    path.write_bytes(content)


def lying(path: Path) -> None:
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999, 9), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("predictions.npy", header)
        archive.writestr("targets.npy", header)


def written(content: str | bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def saved(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


GOOD = json.dumps({"predictions": [1.0, 2.0], "targets": [1.0, 2.0]}) + "\n"
PAIR = json.dumps({"hypothesis": "a", "reference": "b"}) + "\n"
ONES, HALVES = np.ones((3, 4)), np.full((6, 4), 0.5)

BROKEN: dict[str, tuple[str, str, Callable[[Path], None], str]] = {
    # name: loss, file, how it is made, what is said
    "missing": ("mse", "none.npz", lambda path: None, "No such file or directory"),
    "directory": ("mse", "folder.npz", lambda path: path.mkdir(), "Is a directory"),
    "empty": ("mse", "data.jsonl", written(""), "is empty"),
    "empty lines": ("mse", "data.jsonl", written("\n  \n"), "nothing but empty lines"),
    "gzip": ("mse", "data.jsonl.gz", written(b"\x1f\x8b\x08\x00rest"), "is damaged: gzip cannot unpack it"),
    "npy": ("mse", "data.npz", written(b"\x93NUMPY\x01\x00"), "one array"),
    "no archive": ("mse", "data.npz", written("hello"), "is not an .npz"),
    "truncated archive": ("mse", "data.npz", truncated, "is not a whole .npz"),
    "damaged archive": ("mse", "data.npz", damaged, "field '(predictions|targets)': is damaged"),
    "lying header": ("mse", "data.npz", lying, "field 'predictions': its header promises"),
    "no arrays": ("mse", "data.npz", written(b"PK\x05\x06" + bytes(18)), "holds no arrays"),
    "missing array": ("mse", "data.npz", saved(predictions=ONES), "has no 'targets', only 'predictions'"),
    "misspelt array": (
        "mse",
        "data.npz",
        saved(predictions=ONES, target=ONES),
        "field 'target': .* is 'targets' meant",
    ),
    "misspelt option": (
        "mse",
        "data.npz",
        saved(predictions=ONES, targets=ONES, length=np.array([1, 2, 3])),
        "field 'length': is no argument of mse_loss: is 'lengths' meant",
    ),
    "objects": (
        "mse",
        "data.npz",
        saved(predictions=np.array([None, None]), targets=np.zeros(2)),
        "field 'predictions': holds Python objects",
    ),
    "strings": ("mse", "data.npz", saved(predictions=np.array([["a", "b"]]), targets=np.ones((1, 2))), "predictions"),
    "option of some numbers": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), blank=np.array([0, 0])),
        r"field 'blank': expected one value .* shape \(2,\)",
    ),
    "count of samples": (
        "mse",
        "data.npz",
        saved(predictions=ONES, targets=np.ones((2, 4))),
        r"field 'targets': expected 3 samples, got shape \(2, 4\)",
    ),
    "offsets that fall": (
        "mse",
        "data.npz",
        saved(predictions=HALVES, predictions_offsets=np.array([0, 4, 2, 6]), targets=HALVES),
        "field 'predictions_offsets': falls from 4 to 2 at index 2",
    ),
    "offsets that do not begin": (
        "mse",
        "data.npz",
        saved(predictions=HALVES, predictions_offsets=np.array([1, 6]), targets=HALVES),
        "expected to begin at 0, got 1",
    ),
    "offsets that do not end": (
        "mse",
        "data.npz",
        saved(predictions=HALVES, predictions_offsets=np.array([0, 5]), targets=HALVES),
        "ends at 5, and 'predictions' has 6 values",
    ),
    "offsets of floats": (
        "mse",
        "data.npz",
        saved(predictions=HALVES, predictions_offsets=np.array([0.0, 6.0]), targets=HALVES),
        r"expected N \+ 1 integers, got float64",
    ),
    "labels end to end without lengths": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.array([1, 2, 3])),
        "field 'targets': .* need 'target_lengths' or 'targets_offsets'",
    ),
    "labels end to end that do not fit": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.array([1, 2, 3]), target_lengths=np.array([1, 1])),
        "field 'target_lengths': ends at 2, and 'targets' has 3 values",
    ),
    "a word that is none": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), star=np.array(["before", "middle"])),
        "data.npz: field 'star': star is .*middle",
    ),
    "words in two axes": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), star=np.array([["before"]])),
        r"field 'star': expected one value .* or several in one axis, got shape \(1, 1\)",
    ),
    "an option out of range": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), temperature=np.array(-1.0)),
        "data.npz: field 'temperature': temperature is -1",
    ),
    "priors of other classes": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), log_priors=np.zeros(5)),
        r"data.npz: field 'log_priors': log_priors has shape \(5,\)",
    ),
    "a prior that is no number": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), log_priors=np.array([np.nan, 0, 0, 0])),
        r"data.npz: field 'log_priors': log_priors\[0\] is NaN",
    ),
    "priors in a line": (
        "ctc",
        "data.jsonl",
        written('{"logits": [[1, 2]], "targets": [1], "log_priors": [-1, -1]}'),
        "line 1: field 'log_priors': is one for all lines: give --log-priors",
    ),
    "words in a line": (
        "ctc",
        "data.jsonl",
        written('{"logits": [[1, 2]], "targets": [1], "star": ["before"]}'),
        "line 1: field 'star': is one for all lines: give --star",
    ),
    "a view of fewer samples": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), consistency_with=np.zeros((1, 3, 4))),
        r"field 'consistency_with': expected 2 samples, got shape \(1, 3, 4\)",
    ),
    "a view of other classes": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), consistency_with=np.zeros((2, 3, 5))),
        r"data.npz: record 0: consistency_with has shape \(1, 3, 5\)",
    ),
    "a padded view of ragged logits": (
        "ctc",
        "data.npz",
        saved(
            logits=np.zeros((5, 4)),
            logits_offsets=np.array([0, 2, 5]),
            targets=np.ones((2, 1), int),
            consistency_with=np.zeros((2, 3, 4)),
        ),
        r"field 'consistency_with': expected 5 values end to end as 'logits' has them, got shape \(2, 3, 4\)",
    ),
    "a view of other frames in a line": (
        "ctc",
        "data.jsonl",
        written(
            '{"logits": [[1, 2]], "targets": [1], "consistency_with": [[1, 2]]}\n'
            '{"logits": [[1, 2]], "targets": [1], "consistency_with": [[1, 2], [1, 2]]}\n'
        ),
        r"line 2: consistency_with has shape \(2, 2\)",
    ),
    "a misspelt view": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.ones((2, 1), int), consistency_wit=np.zeros((2, 3, 4))),
        "field 'consistency_wit': is no argument of ctc_loss: is 'consistency_with' meant",
    ),
    "number of classes": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((1, 3, 4)), targets=np.array([[1]]), classes=np.array(["", "a"])),
        "field 'classes': expected a text for each of 4 classes",
    ),
    "label out of range": (
        "ctc",
        "data.npz",
        saved(logits=np.zeros((3, 3, 4)), targets=np.array([[1], [2], [9]])),
        r"record 2: targets\[2, 0\].* 9",
    ),
    "class out of range": (
        "cross_entropy",
        "data.npz",
        saved(logits=np.zeros((2, 3, 4)), targets=np.array([[1, 1, 1], [1, 4, 1]])),
        r"record 1: targets\[1, 1\].* 4",
    ),
    "not JSON": ("mse", "data.jsonl", written(GOOD + '{"predictions": [1,'), "line 2: is not JSON: .* column"),
    "an array of JSON": ("mse", "data.jsonl", written("[1, 2]\n"), "line 1: expected an object .* got an array"),
    "deep nesting": ("mse", "data.jsonl", written('{"predictions": ' + "[" * 99_999), "line 1: is nested too deeply"),
    "not UTF-8": ("mse", "data.jsonl", written(GOOD.encode() + b'{"a": "\xff"}'), "line 2: is not UTF-8: byte 0xff"),
    "missing field": ("mse", "data.jsonl", written(GOOD + '{"predictions": [1]}'), "line 2: has no 'targets'"),
    "misspelt field": (
        "mse",
        "data.jsonl",
        written('{"predictions": [1], "targets": [1], "masks": [true]}'),
        "line 1: field 'masks': is no argument of mse_loss: is 'mask' meant",
    ),
    "null": (
        "mse",
        "data.jsonl",
        written('{"predictions": [1, null], "targets": [1, 2]}'),
        "field 'predictions': .* null",
    ),
    "a string": (
        "mse",
        "data.jsonl",
        written('{"predictions": "x", "targets": [1]}'),
        "field 'predictions': .* string 'x'",
    ),
    "lists of lengths": (
        "mse",
        "data.jsonl",
        written('{"predictions": [[1], [1, 2]], "targets": [[1], [1]]}'),
        "field 'predictions': .* different lengths",
    ),
    "axes": ("ctc", "data.jsonl", written('{"logits": [1, 2], "targets": [1]}'), "field 'logits': expected 2 axes"),
    "floats as labels": (
        "ctc",
        "data.jsonl",
        written('{"logits": [[1, 2], [3, 4]], "targets": [1.5]}'),
        "field 'targets': expected a list of integers, got the number 1.5",
    ),
    "another form": (
        "cross_entropy",
        "data.jsonl",
        written('{"logits": [[1, 2]], "targets": [1]}\n{"logits": [[1, 2, 3]], "targets": [1]}\n'),
        "line 2: field 'logits': expected the form of the lines before",
    ),
    "a list and a number": (
        "reinforce",
        "data.jsonl",
        written(
            '{"logits": [[1, 2]], "actions": [1], "rewards": []}\n{"logits": [[1, 2]], "actions": [1], "rewards": 2}\n'
        ),
        "line 1: field 'rewards': expected a number as in the other lines, got an empty list",
    ),
    "a field that comes late": (
        "mse",
        "data.jsonl",
        written(GOOD + '{"predictions": [1], "targets": [1], "mask": [true]}\n'),
        "line 2: field 'mask': is there, and the lines before lack it",
    ),
    "an option in a line": (
        "ctc",
        "data.jsonl",
        written('{"logits": [[1, 2]], "targets": [1], "blank": 0}'),
        "field 'blank': .* give --blank",
    ),
    "two shapes": (
        "mse",
        "data.jsonl",
        written(GOOD + '{"predictions": [1, 2, 3], "targets": [1, 2]}'),
        "line 2: .*(predictions|targets)",
    ),
    "a label in a line": (
        "ctc",
        "data.jsonl",
        written('\n{"logits": [[1, 2]], "targets": [1]}\n{"logits": [[1, 2]], "targets": [7]}'),
        r"line 3: targets\[0\].* 7",
    ),
    "no hypothesis": (
        "bleu",
        "data.jsonl",
        written('{"hypotheses": "a", "reference": "b"}'),
        "no 'hypothesis'.*'hypotheses' meant",
    ),
    "no reference": (
        "bleu",
        "data.jsonl",
        written('{"hypothesis": "a"}'),
        "expected either 'reference' or 'references'",
    ),
    "both references": (
        "rouge",
        "data.jsonl",
        written('{"hypothesis": "a", "reference": "b", "references": ["b"]}'),
        "either 'reference' or 'references', got both",
    ),
    "references that are one": (
        "rouge",
        "data.jsonl",
        written('{"hypothesis": "a", "references": "b"}'),
        "field 'references': expected an array of references, got the string 'b'",
    ),
    "a number as text": (
        "rouge",
        "data.jsonl",
        written('{"hypothesis": 3, "reference": "b"}'),
        "field 'hypothesis': .* number 3",
    ),
    "text and ids": (
        "bleu",
        "data.jsonl",
        written(PAIR + '{"hypothesis": [1], "reference": [1]}'),
        "line 2: field 'hypothesis': expected text as before it in this file, got token ids",
    ),
    "half a surrogate pair": (
        "bleu",
        "data.jsonl",
        written('{"hypothesis": "\\ud83d", "reference": "b"}'),
        "surrogate",
    ),
    "ids out of range": (
        "bleu",
        "data.jsonl",
        written('{"hypothesis": [99999999999999999999], "reference": [1]}'),
        "expected token ids of 64 bits",
    ),
    "no strings": (
        "bleu",
        "data.npz",
        saved(hypotheses=np.array([1.5]), references=np.array(["a"])),
        "field 'hypotheses': expected strings, got float64",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_place_in_one_line(name: str, program: Program, tmp_path: Path) -> None:
    loss, file, make, expected = BROKEN[name]
    data, output = tmp_path / file, tmp_path / "out.jsonl"
    make(data)
    outcome = program("score", loss, data, "-o", output)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"seqloss: {data}: ")
    assert "Traceback" not in outcome.err
    assert re.search(expected, outcome.err), outcome.err
    assert {path.name for path in tmp_path.iterdir()} <= {file}


def test_texts_of_different_lengths_are_told_apart(program: Program, tmp_path: Path) -> None:
    (tmp_path / "h.txt").write_text("a\nb\nc\n")
    (tmp_path / "r.txt").write_text("a\nb\n")
    outcome = program("score", "bleu", "--hyp", tmp_path / "h.txt", "--ref", tmp_path / "r.txt")
    assert outcome.status == 1
    assert f"{tmp_path / 'r.txt'}: has 2 lines, and {tmp_path / 'h.txt'} has 3 lines: lines" in outcome.err


def test_a_name_with_line_breaks_and_terminal_codes_stays_on_one_line(program: Program, tmp_path: Path) -> None:
    outcome = program("score", "bleu", tmp_path / "a\nb\x1b[31m.jsonl")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert "\x1b" not in outcome.err


def test_other_arrays_are_never_looked_at(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(
        data, predictions=ONES, targets=ONES, remarks=np.array([{"any": "thing"}]), odd=np.array([(1, 2.0)], "i4,f8")
    )
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("broken.npy", b"no array")
        archive.writestr("README", b"no array")
    assert program("score", "mse", data).summary["count"] == 3


def test_an_ignored_array_is_no_argument(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, predictions=ONES, targets=ONES, lengths=np.array([9, 9, 9]), masks=ONES)
    assert program("score", "mse", data, "--ignore", "lengths").status == 1
    assert program("score", "mse", data, "--ignore", "lengths", "--ignore", "masks").status == 0


def test_an_archive_in_a_pipe_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", predictions=ONES, targets=ONES)
    outcome = in_a_process("score", "mse", "-", stdin=(tmp_path / "data.npz").read_bytes())
    assert outcome.status == 1
    assert (
        outcome.err
        == "seqloss: standard input: an .npz cannot be read from a pipe or out of gzip; give the file's name\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        (["scor"], "invalid choice: 'scor'"),
        (["score"], "LOSS"),
        (["score", "perplexity"], "'perplexity' is no loss; they are cross_entropy, mse,"),
        (["score", "mse"], "no data"),
        (["score", "mse", "x", "--reduction", "sum"], "--reduction"),
        (["score", "ctc", "x", "--blank", "one"], "--blank: 'one' is not an integer"),
        (["score", "ctc", "x", "--layout", "CTN"], "--layout: 'CTN' is not 'NTC' or 'TNC'"),
        (["score", "ctc", "x", "--star", "middle"], "--star: 'middle' is not 'before', 'between' or 'after'"),
        (["score", "ctc", "x", "--star"], "--star: expected one argument"),
        (["score", "ctc", "x", "--temperature", "hot"], "--temperature: 'hot' is not a number"),
        (["score", "ctc", "x", "--log-priors", "-1,x"], "--log-priors: '-1,x' is not a list of numbers"),
        (["score", "ctc", "x", "--merge-repeated", "-1"], "--no-merge-repeated: ignored explicit argument '-1'"),
        (["score", "ctc", "x", "--consistency-with", "y"], "--consistency-with"),
        (["score", "bleu", "x", "--token", "char"], "--token"),
        (["score", "bleu", "x", "--effective-order", "perhaps"], "'perhaps' is not 'true' or 'false'"),
        (["score", "cross_entropy", "x", "--class-weights", "1;2"], "'1;2' is not a list of numbers"),
        (["score", "reinforce", "x", "--baseline", "mean"], "'mean' is not a number"),
        (["score", "mse", "x", "--hyp", "y", "--ref", "z"], "--hyp"),
        (["score", "bleu", "--hyp", "y"], "--hyp and --ref belong together"),
        (["score", "bleu", "x", "--hyp", "y", "--ref", "z"], "either data files or --hyp and --ref"),
        (["score", "bleu", "-", "-"], "standard input can be read only once"),
        (["score", "mse", "x", "--format", "xml"], "invalid choice: 'xml'"),
        (["report", "x"], "-o/--output"),
        (["report", "x", "-o", "y", "--worst", "-3"], "not a number from 0 to 1000"),
        (["doctor", "more"], "unknown argument: more"),
    ],
)
def test_bad_usage_is_said_in_one_line(arguments: list[str], expected: str, program: Program) -> None:
    outcome = program(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert expected in outcome.err


def test_an_option_that_the_loss_refuses_is_bad_usage(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(SAMPLES["ctc"].lines())
    outcome = program("score", "ctc", data, "--blank", "9")
    assert outcome.status == 2
    assert outcome.err.startswith("seqloss: --blank: ")
    assert "9" in outcome.err
    for flags in (["--log-priors", "0,0"], ["--star-penalty", "-1"], ["--label-smoothing", "1"]):
        outcome = program("score", "ctc", data, *flags)
        assert outcome.status == 2
        assert outcome.err.startswith(f"seqloss: {flags[0]}: {flags[0][2:].replace('-', '_')} ")
    outcome = program("score", "ctc", data, "--scores", "probs")
    assert outcome.status == 2
    assert "log_probs" in outcome.err


def test_an_output_that_cannot_be_written_is_named(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(GOOD)
    for output, expected in ((tmp_path, "is a directory"), (tmp_path / "none" / "out", "No such file or directory")):
        outcome = program("score", "mse", data, "-o", output)
        assert outcome.status == 1
        assert outcome.err.startswith(f"seqloss: {output}: cannot be written: ")
        assert expected in outcome.err
    outcome = program("score", "mse", data, "-o", data)
    assert outcome.status == 2
    assert data.read_text() == GOOD


def test_an_error_of_the_program_is_no_traceback(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(GOOD)

    def fail(*arguments: object, **keywords: object) -> None:
        raise LookupError("of\nno kind")

    monkeypatch.setattr(seqloss_rs, "mse_loss", fail)
    outcome = program("score", "mse", data)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert "LookupError" in outcome.err


def test_memory_that_runs_out_is_said(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(GOOD)

    def fail(*arguments: object, **keywords: object) -> None:
        raise MemoryError

    monkeypatch.setattr(seqloss_rs, "mse_loss", fail)
    assert program("score", "mse", data) == Outcome(1, "", "seqloss: out of memory\n")


def test_ctrl_c_ends_the_program_quietly(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "seqloss_rs", "score", "mse", "-", "-o", output],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(GOOD.encode())
    process.stdin.flush()
    deadline = time.monotonic() + 30
    # The temporary file shows that the program waits for more lines.
    while not list(tmp_path.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_the_program_quietly(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(GOOD * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "seqloss_rs", "score", "mse", data, "-o", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


# ---- memory, terminals, the rest -----------------------------------------------------------------------------------


def peak(program: Program, *arguments: object) -> int:
    """The most that the program allocates, in bytes, once it has run before."""
    tracemalloc.start()
    try:
        outcome = program(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_lines_are_streamed(suffix: str, program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    line = json.dumps({"hypothesis": "a b c", "reference": "a b d", "note": "x" * 2000}) + "\n"
    data.write_text(line * 20_000)
    assert data.stat().st_size > 40e6
    program("score", "rouge", data, "-o", tmp_path / "warm")
    assert peak(program, "score", "rouge", data, "-o", tmp_path / f"out.{suffix}") < 12e6


def test_texts_are_streamed(program: Program, tmp_path: Path) -> None:
    (tmp_path / "h.txt").write_text((" ".join(["a b c d"] * 100) + "\n") * 20_000)
    files = ["--hyp", tmp_path / "h.txt", "--ref", tmp_path / "h.txt"]
    assert peak(program, "score", "rouge", "--variant", "rouge1", *files, "-o", os.devnull) < 12e6


@pytest.mark.parametrize("ragged", [False, True])
def test_arrays_are_streamed(ragged: bool, program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    count, steps, classes = 2000, 64, 128
    logits, targets = np.zeros((count, steps, classes), np.float32), np.zeros((count, steps), np.int64)
    if ragged:
        offsets = np.arange(count + 1) * steps
        np.savez_compressed(
            data,
            logits=logits.reshape(-1, classes),
            logits_offsets=offsets,
            targets=targets.ravel(),
            targets_offsets=offsets,
        )
    else:
        np.savez(data, logits=logits, targets=targets)
    size = logits.nbytes
    del logits
    assert size > 64e6
    assert peak(program, "score", "cross_entropy", data) < 40e6


def on_a_terminal(*arguments: object, descriptors: Sequence[int]) -> tuple[int, str]:
    """The program with some of its descriptors on a terminal, and what it wrote there."""
    controller, terminal = pty.openpty()
    streams = {1: subprocess.DEVNULL, 2: subprocess.DEVNULL, **dict.fromkeys(descriptors, terminal)}
    process = subprocess.Popen(
        [sys.executable, "-m", "seqloss_rs", *map(str, arguments)],
        stdout=streams[1],
        stderr=streams[2],
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(terminal)
    content = b""
    while True:
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        content += chunk
    os.close(controller)
    return process.wait(timeout=30), content.decode()


def test_a_terminal_gets_a_table_and_a_bar(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"predictions": [0.5] * 1000, "targets": [1] * 1000}) + "\n")
    status, content = on_a_terminal("score", "mse", data, descriptors=[1])
    assert status == 0
    assert re.search(r"mean\W+250\b", re.sub(r"\x1b\[[0-9;]*m", "", content))
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(content)
    assert strict(on_a_terminal("score", "mse", data, "--json", descriptors=[1])[1])["mean"] == 250

    data.write_text(data.read_text() * 4000)
    status, content = on_a_terminal("score", "mse", data, descriptors=[2])
    assert status == 0
    assert re.search(r"█+░+ +\d+% .* samples", content)
    assert content.endswith("\r\x1b[K")
    assert on_a_terminal("score", "mse", data, "--quiet", descriptors=[2]) == (0, "")


def test_the_doctor_finds_all_well(program: Program) -> None:
    outcome = program("doctor")
    assert outcome.status == 0
    report = outcome.summary
    assert {"version", "simd", "threads", "threads_source", "python", "numpy"} <= report.keys()
    assert report["passed"]
    assert report["checks"].keys() == LOSSES.keys()
    for name, checked in report["checks"].items():
        assert checked["value"] == pytest.approx(checked["expected"], rel=1e-12), name
    table = program("doctor", "--no-json").out
    assert re.search(r"^ctc +ok$", table, re.MULTILINE)
    assert re.search(r"^threads source +\w+", table, re.MULTILINE)


def test_the_doctor_finds_a_loss_that_is_off(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqloss_rs, "mae_loss", lambda **arguments: 1.25)
    outcome = program("doctor")
    assert outcome.status == 1
    assert not outcome.summary["checks"]["mae"]["passed"]
    assert outcome.summary["checks"]["mse"]["passed"]
    assert "mae" in program("doctor", "--no-json").out


def test_help_says_what_there_is(program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    for name, loss in LOSSES.items():
        with pytest.raises(SystemExit) as exit_status:
            program("score", name, "--help")
        assert exit_status.value.code == 0
        words = capfd.readouterr().out
        for option in loss.options:
            assert f"--{option.replace('_', '-')}" in words
        for argument in loss.data:
            assert re.search(rf"^  \[?{argument.name}\]? +\S", words, re.MULTILINE), argument.name
        for word in ("exit status", "p95", "texts"):
            assert word in words
        if name == "ctc":
            assert re.search(r"\[log_priors\] +Logarithms of the priors of the classes; one array for all", words)
            assert "[consistency_with]  Another view of the same sequences" in words
            assert "star may be several words" in words
            assert not re.search(r"\[\d\]_|`", words)


def test_an_option_of_a_type_that_no_flag_is_known_for_is_refused() -> None:
    def function(*, order: dict[str, int] | None = None) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"order is .*, which no flag is known for"):
        options_of(function, [])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_letters_gets_what_it_can_show(encoding: str, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"hypothesis": "a", "reference": "é"}\n', encoding="utf-8")

    def run(*arguments: object) -> str:
        command = [sys.executable, "-m", "seqloss_rs", *map(str, arguments)]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
        assert done.stderr == b""
        return done.stdout.decode(encoding)

    assert "BLEU" in run("score", "bleu", "--help")
    assert strict(run("doctor"))["passed"]
    assert strict(run("score", "bleu", data))["count"] == 1


def test_every_loss_of_the_package_can_be_scored() -> None:
    functions = {name for name in seqloss_rs.__all__ if name.endswith("_loss")}
    # What these compare are two policies in training, and not a prediction with what is right.
    of_policies = {"ppo_loss", "grpo_loss", "value_loss", "dpo_loss", "mrt_loss", "mwer_loss"}
    # And these take the distributions of a model in training, and the ids of its tokens.
    of_expectations = {"expected_bleu_loss", "expected_rouge_loss", "soft_rouge_l_loss", "eisl_loss"}
    assert {loss.function for loss in LOSSES.values()} == functions - of_policies - of_expectations


def test_the_package_imports_nothing_of_the_program() -> None:
    source = (
        "import sys, seqloss_rs; print([n for n in sys.modules if n.startswith('seqloss_rs.cli') or n == 'argparse'])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_program_is_installed_by_its_name() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"seqloss": "seqloss_rs.cli:main"}
    assert in_a_process("--version") == Outcome(0, f"seqloss {seqloss_rs.__version__}\n", "")


@pytest.mark.parametrize("form", ["flag", "array", "lines"])
def test_several_quantiles_are_scored_at_once(form: str, program: Program, tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    predictions, targets = generator.normal(size=(3, 5, 3)), generator.normal(size=(3, 5))
    targets[1, 2] = np.nan
    quantile, lengths = [0.1, 0.5, 0.9], np.array([5, 4, 2])
    arrays: Arrays = {"predictions": predictions, "targets": targets, "lengths": lengths}
    data, output = tmp_path / ("data.jsonl" if form == "lines" else "data.npz"), tmp_path / "out.jsonl"
    if form == "lines":
        rows = [{name: value[index].tolist() for name, value in arrays.items()} for index in range(3)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        more: Arrays = {"quantile": np.array(quantile)} if form == "array" else {}
        np.savez(data, **arrays, **more)
    flags = [] if form == "array" else ["--quantile", "0.1,0.5,0.9"]
    outcome = program("score", "quantile", data, *flags, "--nan", "omit", "-o", output)
    expected: Any = seqloss_rs.quantile_loss(**arrays, quantile=quantile, nan="omit", reduction="sequence")
    check(outcome, read_lines(output), expected)
    assert [line["terms"] for line in read_lines(output)] == [15, 9, 6]
    assert outcome.summary["options"] == {"quantile": quantile, "nan": "omit"}
    mean = seqloss_rs.quantile_loss(**arrays, quantile=quantile, nan="omit")
    assert outcome.summary["mean_per_term"] == pytest.approx(mean, rel=1e-12)
    if form != "lines":
        np.savez(data, predictions=predictions[0], targets=targets[0])
        one = program("score", "quantile", data, "--quantile", "0.1,0.5,0.9").summary
        assert one["sum"] == pytest.approx(expected[0], rel=1e-12)
    assert (
        "--quantile: '0.1;0.5' is not a number, or several such as"
        in program("score", "quantile", data, "--quantile", "0.1;0.5").err
    )
