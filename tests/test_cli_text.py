"""Texts on the command line: against sacrebleu's own, rouge-score and jiwer, and what the report shows of them."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jiwer
import numpy as np
import pytest
import sacrebleu
import seqloss_rs
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from sacrebleu.significance import PairedTest
from seqloss_rs.cli import main
from seqloss_rs.cli.metrics import METRICS, text_loss
from seqloss_rs.cli.options import options_of
from seqloss_rs.cli.words import aligned, units
from test_report import HOSTILE, check_page

Jsonable = dict[str, Any]
EVERYTHING = "bleu,chrf,chrf++,ter,rouge1,rouge2,rougeL,rougeLsum,wer,cer,mer,wil,wip,gleu,nltk_bleu,f1,exact_match"


class Outcome(NamedTuple):
    """What a run of the program left behind."""

    status: int
    out: str
    err: str

    @property
    def summary(self) -> Jsonable:
        """Its summary."""
        value: Jsonable = json.loads(self.out)
        return value


Program = Callable[..., Outcome]


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    """The program, in this process."""

    def run(*arguments: object) -> Outcome:
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run


def in_a_process(module: str, *arguments: object, stdin: bytes = b"") -> Outcome:
    """A program, in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def read_lines(path: Path) -> list[Jsonable]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


WORDS = [
    *("the", "a", "cat", "dog", "sat", "on", "mat", ",", "."),
    *("Straße", "ÇA", "naïve", "3.5", "don't", "猫", "&"),
]


def make_texts() -> tuple[list[str], list[str], list[list[str]]]:
    """Hypotheses of two systems and two references of each; some are empty, or odd."""
    generator = np.random.default_rng(6)

    def changed(words: Sequence[str], rate: float) -> list[str]:
        kept = [word for word in words if generator.random() > rate / 2]
        return [str(generator.choice(WORDS)) if generator.random() < rate else word for word in kept]

    sentences = [list(map(str, generator.choice(WORDS, size=generator.integers(3, 25)))) for _ in range(60)]
    first, second = ([" ".join(changed(words, rate)) for words in sentences] for rate in (0.35, 0.2))
    references = [[" ".join(words), " ".join(changed(words, 0.2))] for words in sentences]
    first[7], second[9] = "", "  two  spaces\tand\u00a0more "
    references[11] = ["", references[11][1]]
    references[12] = ["the same &amp; no more", ""]
    first[13] = "a vertical\x0btab, a line\u2028separator and\x85more"
    return first, second, references


FIRST, SECOND, REFERENCES = make_texts()
STREAMS = list(map(list, zip(*REFERENCES, strict=True)))


class Files(NamedTuple):
    """The texts in files."""

    first: Path
    second: Path
    references: list[Path]

    def flags(self, *systems: Path) -> list[object]:
        return ["--hyp", *(systems or [self.first]), "--ref", *self.references]


def write(path: Path, texts: Sequence[str]) -> Path:
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())
    return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    # Tabs would be columns where a system comes from standard input.
    return Files(
        write(tmp_path / "first.txt", FIRST),
        write(tmp_path / "second.txt", [text.replace("\t", " ") for text in SECOND]),
        [write(tmp_path / f"reference{number}.txt", stream) for number, stream in enumerate(STREAMS)],
    )


# ---- numbers -------------------------------------------------------------------------------------------------------


def peers() -> dict[str, tuple[float, list[float]]]:
    """The score of the corpus and of each text, of the packages whose numbers they are."""
    found = {}
    for name, metric, single in (
        ("bleu", sacrebleu.BLEU(), sacrebleu.BLEU(effective_order=True)),
        ("chrf", sacrebleu.CHRF(), sacrebleu.CHRF()),
        ("chrf++", sacrebleu.CHRF(word_order=2), sacrebleu.CHRF(word_order=2)),
        ("ter", sacrebleu.TER(), sacrebleu.TER()),
    ):
        texts = [
            single.sentence_score(text, list(several)).score for text, several in zip(FIRST, REFERENCES, strict=True)
        ]
        found[name] = metric.corpus_score(FIRST, STREAMS).score, texts
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        scorer = RougeScorer([name])
        texts = [
            scorer.score_multi(several, text)[name].fmeasure for text, several in zip(FIRST, REFERENCES, strict=True)
        ]
        found[name] = float(np.mean(texts)), texts
    return found


def test_all_metrics_in_one_run_have_the_numbers_of_their_packages(
    program: Program, files: Files, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    outcome = program("score", EVERYTHING, *files.flags(), "-o", output)
    assert outcome.status == 0, outcome.err
    lines, summary = read_lines(output), outcome.summary
    assert [line["index"] for line in lines] == list(range(len(FIRST)))
    assert [line["record"] for line in lines] == list(range(1, len(FIRST) + 1))
    assert [line["hypothesis"] for line in lines] == FIRST
    assert [line["references"] for line in lines] == REFERENCES
    for name, (corpus, texts) in peers().items():
        assert summary[f"corpus_{name}"] == pytest.approx(corpus, rel=1e-12), name
        assert summary["metrics"][name]["score"] == summary[f"corpus_{name}"]
        np.testing.assert_allclose([line[name] for line in lines], texts, rtol=1e-12, atol=1e-12, err_msg=name)
    # The loss of a text is that of the first metric.
    np.testing.assert_allclose([line["loss"] for line in lines], [1 - line["bleu"] / 100 for line in lines], atol=1e-15)
    assert summary["loss"] == EVERYTHING
    assert summary["mean"] == pytest.approx(np.mean([line["loss"] for line in lines]), rel=1e-12)


def test_error_rates_are_those_of_jiwer(program: Program, files: Files, tmp_path: Path) -> None:
    kept = [index for index in range(len(FIRST)) if index not in (11, 13)]
    hypotheses, references = [FIRST[index] for index in kept], [STREAMS[0][index] for index in kept]
    sources = ["--hyp", write(files.first, hypotheses), "--ref", write(files.references[0], references)]
    summary = program("score", "wer,cer,mer,wil,wip", *sources).summary
    words, characters = jiwer.process_words(references, hypotheses), jiwer.process_characters(references, hypotheses)
    for name in ("wer", "mer", "wil", "wip"):
        assert summary[f"corpus_{name}"] == pytest.approx(getattr(words, name), rel=1e-12), name
    assert summary["corpus_cer"] == pytest.approx(characters.cer, rel=1e-12)
    counted = {name: getattr(words, name) for name in ("hits", "substitutions", "deletions", "insertions")}
    assert summary["metrics"]["wer"].items() >= counted.items()


@pytest.mark.parametrize(
    ("name", "metric", "flags"),
    [
        ("gleu", seqloss_rs.Gleu(max_order=3, tokenize="none"), ["--max-order", "3", "--tokenize", "none"]),
        ("nltk_bleu", seqloss_rs.NltkBleu(weights=(0.75, 0.25), method=1), ["--weights", "0.75,0.25", "--method", "1"]),
        ("f1", seqloss_rs.TokenF1(), []),
        ("exact_match", seqloss_rs.ExactMatch(), []),
    ],
)
def test_other_metrics_are_those_of_their_classes(
    name: str, metric: Any, flags: list[str], program: Program, files: Files, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    run = program("score", name, *files.flags(), *flags, "-o", output, "--state", tmp_path / "state", "--confidence")
    assert run.status == 0, run.err
    scores = metric.sentences(FIRST, REFERENCES)
    assert [line[name] for line in read_lines(output)] == scores.tolist()
    assert [line["loss"] for line in read_lines(output)] == np.clip(1 - scores, 0, 1).tolist()
    corpus = metric.corpus(FIRST, REFERENCES)
    assert run.summary[f"corpus_{name}"] == pytest.approx(corpus.score, rel=1e-14)
    found = run.summary["metrics"][name]
    title, count, *settings = metric.signature(2).split("|")
    assert (found["name"], found["signature"]) == (title, "|".join([count, "bs:1000", "seed:12345", *settings]))
    merged = program("merge", tmp_path / "state").summary
    assert merged[f"corpus_{name}"] == run.summary[f"corpus_{name}"]
    assert merged["metrics"][name]["signature"] == metric.signature(2).partition("|")[2]
    assert program("report", output, "-o", tmp_path / "page.html").status == 0


def test_a_loss_grows_with_what_is_wrong(program: Program, tmp_path: Path) -> None:
    sources = ["--hyp", write(tmp_path / "h", ["a b c d", "x"]), "--ref", write(tmp_path / "r", ["a b c d", "a b c d"])]
    for name in EVERYTHING.split(","):
        output = tmp_path / "out.jsonl"
        assert program("score", name, *sources, "-o", output).status == 0
        same, other = [line["loss"] for line in read_lines(output)]
        assert same == pytest.approx(0, abs=1e-15), name
        assert 0.9 <= other <= 1.0, name


@pytest.mark.parametrize(
    ("flags", "theirs"),
    [
        ([], []),
        (["--tokenize", "char"], ["-tok", "char"]),
        (["--tokenize", "none", "--smoothing", "floor"], ["-tok", "none", "-s", "floor"]),
        (["--lowercase"], ["-lc", "--chrf-lowercase"]),
        (["--char-order", "4", "--word-order", "1"], ["--chrf-char-order", "4", "--chrf-word-order", "1"]),
        (["--beta", "3", "--whitespace"], ["--chrf-beta", "3", "--chrf-whitespace"]),
        (["--eps-smoothing", "--no-punct"], ["--chrf-eps-smoothing", "--ter-no-punct"]),
        (["--normalized", "--case-sensitive"], ["--ter-normalized", "--ter-case-sensitive"]),
        (["--normalized", "--asian-support"], ["--ter-normalized", "--ter-asian-support"]),
    ],
)
def test_options_do_what_those_of_the_command_sacrebleu_do(
    flags: list[str], theirs: list[str], program: Program, files: Files
) -> None:
    found = program("score", "bleu,chrf,ter", *files.flags(), *flags).summary
    command = [*files.references, "-i", files.first, "-m", "bleu", "chrf", "ter", "-f", "json", "-w", "12", *theirs]
    expected = json.loads(in_a_process("sacrebleu", *command).out)
    for name, theirs_of in zip(("bleu", "chrf", "ter"), expected, strict=True):
        assert found[f"corpus_{name}"] == pytest.approx(theirs_of["score"], abs=1e-10), name
        assert found["metrics"][name]["name"] == theirs_of["name"]
        # Their signature without the version is part of ours.
        ours = found["metrics"][name]["signature"].rpartition("|")
        assert ours[0] == theirs_of["signature"].rpartition("|")[0]
        assert ours[2] == f"version:seqloss_rs.{seqloss_rs.__version__}"


# ---- files ---------------------------------------------------------------------------------------------------------


def test_files_may_be_packed_and_come_through_a_pipe(program: Program, files: Files, tmp_path: Path) -> None:
    expected = program("score", "bleu,wer", *files.flags()).summary
    packed = [tmp_path / f"{path.name}.gz" for path in (files.first, *files.references)]
    for path, source in zip(packed, (files.first, *files.references), strict=True):
        path.write_bytes(gzip.compress(source.read_bytes()))
    flags = ["--hyp", packed[0], "--ref", packed[1], "--ref", packed[2]]
    same = ("count", "sum", "corpus_bleu", "corpus_wer", "metrics")
    assert [program("score", "bleu,wer", *flags).summary[name] for name in same] == [expected[name] for name in same]
    content = files.first.read_bytes()
    for stdin in (content, content.rstrip(b"\n"), gzip.compress(content)):
        for hypotheses in ([], ["--hyp", "-"], ["-i", "-"]):
            outcome = in_a_process(
                "seqloss_rs", "score", "bleu,wer", *hypotheses, "--ref", *files.references, stdin=stdin
            )
            assert [outcome.summary[name] for name in same] == [expected[name] for name in same]


def test_only_a_line_feed_ends_a_line(program: Program, files: Files, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert program("score", "chrf", *files.flags(), "-o", output).status == 0
    assert read_lines(output)[13]["hypothesis"] == FIRST[13]


def test_lines_of_json_may_be_packed(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl.gz"
    data.write_bytes(gzip.compress(b'{"predictions": [1.0], "targets": [3.0]}\n'))
    assert program("score", "mse", data).summary["sum"] == 4.0
    lines = tmp_path / "lines.jsonl"
    assert program("score", "mse", data, "-o", lines).status == 0
    (tmp_path / "lines.gz").write_bytes(gzip.compress(lines.read_bytes()))
    assert program("report", tmp_path / "lines.gz", "-o", tmp_path / "page.html").status == 0


def test_lines_can_be_scored_again(program: Program, files: Files, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert program("score", "bleu,ter", *files.flags(), "-o", first).status == 0
    summary = program("score", "bleu,ter", first, "-o", second).summary
    for line, again in zip(read_lines(first), read_lines(second), strict=True):
        for name in ("index", "loss", "bleu", "ter", "length", "hypothesis", "references"):
            assert line[name] == again[name]
    assert summary["metrics"] == program("score", "bleu,ter", *files.flags()).summary["metrics"]


def test_texts_can_be_left_out(program: Program, files: Files, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert program("score", "bleu", *files.flags(), "-o", output, "--no-texts").status == 0
    assert not {"hypothesis", "reference", "references"} & read_lines(output)[0].keys()


def test_token_ids_are_scored_by_several_metrics(program: Program, tmp_path: Path) -> None:
    hypotheses, references = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[1, 2, 3, 4], [5, 6, 7, 9]])
    np.savez(tmp_path / "ids.npz", hypotheses=hypotheses, references=references)
    summary = program("score", "bleu,ter,wer", tmp_path / "ids.npz").summary
    assert summary["corpus_bleu"] == seqloss_rs.Bleu().corpus(hypotheses, references).score
    assert (summary["corpus_ter"], summary["corpus_wer"]) == (12.5, 0.125)
    outcome = program("score", "bleu,wer", tmp_path / "ids.npz", "--lowercase")
    assert outcome.status == 2
    assert "--lowercase: lowercase is True, which goes with strings" in outcome.err


def test_tokens_and_missing_references_are_scored(program: Program, tmp_path: Path) -> None:
    rows = [
        {"hypothesis": [], "reference": []},
        {"hypothesis": ["a b", "c"], "references": [["a b"], None, ["a b", "c", "d"]]},
        {"hypothesis": ["a"], "reference": ["b", "a"]},
    ]
    output = tmp_path / "out.jsonl"
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = program("score", "rouge1,wer", tmp_path / "data.jsonl", "-o", output)
    assert run.status == 0, run.err
    hypotheses, references = [[], ["a b", "c"], ["a"]], [[[]], [["a b"], ["a b", "c", "d"]], [["b", "a"]]]
    expected = seqloss_rs.Rouge(variant="rouge1").sentences(hypotheses, references)
    assert [line["rouge1"] for line in read_lines(output)] == expected.tolist()
    (tmp_path / "text.jsonl").write_text('{"hypothesis": "a b", "references": ["a b", null]}\n')
    found = program("score", "bleu", tmp_path / "text.jsonl").summary
    assert (found["sum"], found["metrics"]["bleu"]["references"]) == (0.0, 1)
    for line, message in (
        ('{"hypothesis": "a", "references": [null]}', "expected at least one reference, got nothing but null"),
        ('{"hypothesis": "a", "reference": ["a"]}', "expected text as before it in this file, got tokens"),
        ('{"hypothesis": ["a", 1], "reference": ["a"]}', "expected a string, or an array of token ids or of tokens"),
        ('{"hypothesis": ["\\ud800"], "reference": ["a"]}', "holds half of a surrogate pair"),
    ):
        (tmp_path / "wrong.jsonl").write_text(line + "\n")
        assert message in program("score", "rouge", tmp_path / "wrong.jsonl").err


def test_several_hypotheses_for_each_item_of_an_archive(program: Program, tmp_path: Path) -> None:
    generator = np.random.default_rng(9)
    hypotheses, references = generator.integers(0, 5, (4, 3, 6)), generator.integers(0, 5, (4, 2, 7))
    lengths, reference_lengths = generator.integers(0, 7, (4, 3)), generator.integers(1, 8, (4, 2))
    output = tmp_path / "out.jsonl"
    calls: list[dict[str, Any]] = [
        {"hypotheses": hypotheses, "references": references[:, 0]},
        {"hypotheses": hypotheses, "references": references},
        {
            "hypotheses": hypotheses,
            "references": references,
            "lengths": lengths,
            "reference_lengths": reference_lengths,
        },
    ]
    for arrays in calls:
        np.savez(tmp_path / "data.npz", **arrays)
        run = program("score", "rouge1,chrf", tmp_path / "data.npz", "-o", output)
        assert run.status == 0, run.err
        expected = seqloss_rs.Rouge(variant="rouge1").sentences(**arrays)
        assert [line["rouge1"] for line in read_lines(output)] == expected.ravel().tolist()
        assert [line["record"] for line in read_lines(output)] == np.repeat(np.arange(4), 3).tolist()
        assert run.summary["metrics"]["chrf"]["references"] == (2 if arrays["references"].ndim == 3 else 1)


def test_the_environment_says_where_random_numbers_begin(
    program: Program, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*files.flags(), "--confidence", "--resamples", 20]
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    assert program("score", "wer", *flags).summary["drawn"]["seed"] == 7
    assert program("score", "wer", *flags, "--seed", 8).summary["drawn"]["seed"] == 8
    monkeypatch.setenv("SACREBLEU_SEED", "None")
    assert program("score", "wer", *flags).summary["drawn"]["seed"] is None
    monkeypatch.setenv("SACREBLEU_SEED", "x")
    assert "SACREBLEU_SEED: 'x' is not an integer from 0, or 'none'" in program("score", "wer", *flags).err


def test_nothing_to_score_has_no_scores(program: Program, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", hypotheses=np.array([], "U1"), references=np.array([], "U1"))
    for flags in ([], ["--confidence"]):
        summary = program("score", "bleu,wer", tmp_path / "data.npz", *flags).summary
        assert summary["count"] == 0
        assert "metrics" not in summary
    assert program("score", "bleu,wer", tmp_path / "data.npz", "--latex").status == 0


@pytest.mark.parametrize("name", ["hyp", "ref", "packed"])
def test_files_of_different_lengths_are_named_with_their_lines(name: str, program: Program, tmp_path: Path) -> None:
    short, long = tmp_path / "short.txt", tmp_path / ("long.txt.gz" if name == "packed" else "long.txt")
    write(short, ["a", "b"])
    content = "a\nb\n\nd\ne"
    long.write_bytes(gzip.compress(content.encode()) if name == "packed" else content.encode())
    sources = ["--hyp", short, "--ref", short, long] if name == "hyp" else ["--hyp", long, "--ref", short]
    output = tmp_path / "out.jsonl"
    outcome = program("score", "bleu,ter", *sources, "-o", output)
    assert outcome.status == 1
    assert outcome.err == f"seqloss: {short}: has 2 lines, and {long} has 5 lines: lines belong together\n"
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gzip.compress(b"a\nb\n")[:-9], "is damaged: gzip cannot unpack it (Compressed file ended"),
        (gzip.compress(b"a\nb\n" * 99)[:20] + b"\xff" * 30, "is damaged: gzip cannot unpack it (Error -3"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(gzip.compress(b"a\n")), "is not UTF-8: byte 0x8b in place 2"),
        (gzip.compress(b"BZh91AY"), "is compressed by bzip2"),
        (b"BZh91AY", "is compressed by bzip2"),
    ],
)
def test_what_cannot_be_unpacked_is_named(content: bytes, expected: str, program: Program, tmp_path: Path) -> None:
    packed = tmp_path / "h.gz"
    packed.write_bytes(content)
    outcome = program("score", "bleu", "--hyp", packed, "--ref", write(tmp_path / "r", ["a", "b"]))
    assert outcome.status == 1
    assert outcome.err.startswith(f"seqloss: {packed}: ")
    assert expected in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_archive_is_not_read_out_of_gzip(program: Program, tmp_path: Path) -> None:
    (tmp_path / "data.npz.gz").write_bytes(gzip.compress(b"PK\x03\x04"))
    assert "an .npz cannot be read from a pipe or out of gzip" in program("score", "bleu", tmp_path / "data.npz.gz").err


# ---- several systems -----------------------------------------------------------------------------------------------


def test_systems_are_scored_side_by_side(program: Program, files: Files, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    outcome = program("score", "bleu,wer", *files.flags(files.first, files.second), "-o", output)
    first, second = outcome.summary["systems"]
    assert (first["system"], second["system"]) == (str(files.first), str(files.second))
    for system, path in ((first, files.first), (second, files.second)):
        alone = program("score", "bleu,wer", *files.flags(path)).summary
        for name in ("count", "sum", "mean", "median", "corpus_bleu", "corpus_wer", "metrics"):
            assert system[name] == alone[name]
    lines = read_lines(output)
    assert [line["index"] for line in lines] == [index for index in range(len(FIRST)) for _ in range(2)]
    assert [line["system"] for line in lines[:4]] == [str(files.first), str(files.second)] * 2


def test_columns_of_standard_input_are_systems(program: Program, files: Files) -> None:
    expected = program("score", "bleu,chrf", *files.flags(files.first, files.second)).summary["systems"]
    pairs = zip(*(path.read_bytes().split(b"\n")[:-1] for path in (files.first, files.second)), strict=True)
    stdin = b"".join(b"\t".join(pair) + b"\n" for pair in pairs)
    outcome = in_a_process("seqloss_rs", "score", "bleu,chrf", "--ref", *files.references, stdin=stdin)
    systems = outcome.summary["systems"]
    assert [system["system"] for system in systems] == ["System 1", "System 2"]
    assert [system["metrics"] for system in systems] == [system["metrics"] for system in expected]
    stdin = stdin.replace(b"\t", b" ", 3).replace(b" ", b"\t", 1)
    broken = in_a_process("seqloss_rs", "score", "bleu", "--ref", *files.references, stdin=b"a\tb\nc\n" + stdin)
    assert broken.status == 1
    message = "standard input: line 2: expected 2 columns with tabs between them as in the first line, got 1"
    assert message in broken.err or "lines belong together" in broken.err


@pytest.mark.parametrize(("flag", "test"), [("--paired-bs", "bs"), ("--paired-ar", "ar")])
def test_p_values_are_those_of_sacrebleu(flag: str, test: str, program: Program, files: Files) -> None:
    flags = [*files.flags(files.first, files.second), flag, "--resamples" if test == "bs" else "--trials", "500"]
    outcome = program("score", "bleu,chrf", *flags)
    systems = [path.read_text("utf-8").split("\n")[:-1] for path in (files.first, files.second)]
    metrics: Any = {"BLEU": sacrebleu.BLEU(references=STREAMS), "chrF2": sacrebleu.CHRF(references=STREAMS)}
    scores: Any = PairedTest(list(zip("ab", systems, strict=True)), metrics, None, test_type=test, n_samples=500)()[1]
    for place, system in enumerate(outcome.summary["systems"]):
        for name, key in (("bleu", "BLEU"), ("chrf", "chrF2")):
            found, other = system["metrics"][name], scores[key][place]
            assert found["score"] == pytest.approx(other.score, rel=1e-12)
            assert found["p_value"] == (None if place == 0 else pytest.approx(other.p_value, rel=1e-12))
            if test == "bs":
                assert found["mean"] == pytest.approx(other.mean, rel=1e-5)
                assert found["half_width"] == pytest.approx(other.ci, rel=1e-4)
            else:
                assert "mean" not in found
            assert f"nrefs:2|{test}:500|seed:12345|case" in found["signature"]
    table = program("score", "bleu,chrf", *flags, "--no-json").out
    names = rf"Baseline: {files.first} .*\n{files.second} .*p = 0\.\d+"
    assert re.search(rf"^System +BLEU +chrF2$\n[- ]+\n{names}", table, re.MULTILINE)


def test_an_interval_is_that_of_sacrebleu(program: Program, files: Files) -> None:
    found = program("score", "bleu", *files.flags(), "--confidence", "--resamples", "300").summary["metrics"]["bleu"]
    expected = sacrebleu.BLEU().corpus_score(FIRST, STREAMS, n_bootstrap=300)
    assert found["mean"] == pytest.approx(expected._mean, rel=1e-5)
    assert found["half_width"] == pytest.approx(expected._ci, rel=1e-4)
    assert found["low"] <= found["score"] <= found["high"]
    line = program("score", "bleu", *files.flags(), "--confidence", "--no-json").out.splitlines()[-1]
    assert re.fullmatch(
        r"BLEU\|nrefs:2\|bs:1000\|seed:12345\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:seqloss_rs\.\S+ = "
        r"\d+\.\d\d \(μ = \d+\.\d\d ± \d\.\d\d\) [\d.]+/[\d.]+/[\d.]+/[\d.]+ \(BP = .*\)",
        line,
    )
    other = program("score", "bleu", *files.flags(), "--confidence", "--seed", "1").summary["metrics"]["bleu"]
    assert "|seed:1|" in other["signature"]
    assert other["mean"] != found["mean"]


def test_an_interval_of_means_over_references_whose_number_varies(program: Program, tmp_path: Path) -> None:
    hypotheses, references = FIRST[:6], [own[: 1 + place // 3] for place, own in enumerate(REFERENCES[:6])]
    lines = [
        json.dumps({"hypothesis": text, "references": own}) for text, own in zip(hypotheses, references, strict=True)
    ]
    files = [write(tmp_path / "one.jsonl", lines[:3]), write(tmp_path / "two.jsonl", lines[3:])]
    ran = program("score", "rouge", *files, "--multiple-references", "mean", "--confidence", "--resamples", 50)
    rouge = seqloss_rs.Rouge(multiple_references="mean")
    expected = seqloss_rs.significance.bootstrap(
        rouge, rouge.statistics(hypotheses, references), resamples=50, seed=12345
    )
    assert ran.status == 0, ran.err
    found = ran.summary["metrics"]["rouge"]
    assert (found["mean"], found["low"], found["high"]) == (expected.mean, expected.low, expected.high)


def test_lines_of_scores_are_aligned_and_as_wide_as_asked(program: Program, files: Files) -> None:
    out = program("score", "bleu,ter,rougeL,wer", *files.flags(), "--no-json", "-w", "3").out
    lines = out.split("\n\n")[1].splitlines()
    assert len({line.index(" = ") for line in lines}) == 1
    expected = sacrebleu.BLEU().corpus_score(FIRST, STREAMS)
    assert lines[0].endswith(expected.format(width=3).partition("BLEU = ")[2])
    assert re.search(r"= \d+\.\d{3} \(edits = \d+ ref_len = [\d.]+\)$", lines[1])
    assert re.search(r"= 0\.\d{5} \(P = .* R = .* F = .*\)$", lines[2])
    assert re.search(r"= 0\.\d{5} \(hits = \d+ sub = \d+ del = \d+ ins = \d+\)$", lines[3])


def test_a_table_for_latex_escapes_names(program: Program, files: Files, tmp_path: Path) -> None:
    odd = write(tmp_path / "50%_&{x}~^#$.txt", SECOND)
    out = program("score", "bleu,wer", *files.flags(files.first, odd), "--latex", "--paired-bs").out
    assert r"50\%\_\&\{x\}\textasciitilde{}\textasciicircum{}\#\$.txt" in out
    assert out.startswith("\\begin{tabular}{lrr}\n")
    assert out.endswith("\\end{tabular}\n")
    assert r"$\pm$" in out


def test_states_of_several_metrics_merge(program: Program, files: Files, tmp_path: Path) -> None:
    whole = program("score", "bleu,rougeL,wer", *files.flags(), "--lowercase").summary
    states = []
    for number, part in enumerate((slice(0, 20), slice(20, 60))):
        hypotheses = write(tmp_path / f"h{number}", FIRST[part])
        references = [write(tmp_path / f"r{number}{place}", stream[part]) for place, stream in enumerate(STREAMS)]
        states.append(tmp_path / f"{number}.state")
        flags = ["--hyp", hypotheses, "--ref", *references, "--lowercase", "--state", states[-1]]
        assert program("score", "bleu,rougeL,wer", *flags).status == 0
    merged = program("merge", *reversed(states)).summary
    for name in ("count", "sum", "mean", "corpus_bleu", "corpus_rougeL", "corpus_wer", "metrics", "options"):
        assert merged[name] == whole[name], name
    flags = [*files.flags(files.first, files.second), "--state", tmp_path / "x"]
    assert "--state holds one system, and there are 2" in program("score", "bleu", *flags).err


def test_the_number_of_references_is_in_the_signature(program: Program, files: Files, tmp_path: Path) -> None:
    one = program("score", "bleu", "--hyp", files.first, "--ref", files.references[0]).summary["metrics"]["bleu"]
    assert one["references"] == 1
    assert one["signature"].startswith("nrefs:1|")
    rows = [{"hypothesis": "a", "references": ["a", "b"]}, {"hypothesis": "a", "reference": "a"}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    varying = program("score", "chrf", tmp_path / "data.jsonl").summary["metrics"]["chrf"]
    assert varying["references"] is None
    assert varying["signature"].startswith("nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no|version:seqloss_rs.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bleu,blue", "x"], "'blue' is no metric of texts; they are bleu, chrf,"),
        (["bleu,mse", "x"], "'mse' is no metric of texts"),
        (["bleu,wer,bleu", "x"], "bleu,wer,bleu names a metric twice"),
        (["bleu,", "x"], "'' is no metric of texts"),
        (["bleu", "--hyp", "x"], "--hyp and --ref belong together"),
        (["bleu", "x", "--ref", "y"], "either data files or --hyp and --ref, not both: x"),
        (["bleu", "--hyp", "-", "--ref", "-"], "standard input can be read only once"),
        (["bleu", "--ref", "-"], "standard input can be read only once"),
        (["bleu", "--hyp", "x", "x", "--ref", "y"], "--hyp x is there twice"),
        (
            ["bleu", "--hyp", "x", "--ref", "y", "--seed", "1"],
            "--seed says nothing without --confidence, --paired-bs or",
        ),
        (
            ["bleu", "--hyp", "x", "--ref", "y", "--paired-bs", "--trials", "1"],
            "--trials says nothing without --paired-ar",
        ),
        (["bleu", "--hyp", "x", "--ref", "y", "--paired-bs", "--paired-ar"], "not allowed with argument"),
        (["bleu", "--hyp", "x", "--ref", "y", "--confidence", "--resamples", "0"], "'0' is not a number from 1"),
        (
            ["bleu", "--hyp", "x", "--ref", "y", "--confidence", "--seed", "x"],
            "'x' is not an integer from 0, or 'none'",
        ),
        (["bleu", "--hyp", "x", "--ref", "y", "--width", "99"], "'99' is not a number from 0 to 12"),
        (["bleu", "--hyp", "x", "--ref", "y", "--json", "--latex"], "either --json or --latex, not both"),
        (["wer", "--hyp", "x", "--ref", "y", "--tokenize", "char"], "--tokenize"),
        (["cer", "--hyp", "x", "--ref", "y", "--unit", "word"], "--unit"),
        (
            ["bleu,rouge", "--hyp", "x", "--ref", "y", "--tokenize", "intl"],
            "unknown argument: --tokenize; here it is --bleu-tokenize and --rouge-tokenize (see seqloss score",
        ),
        (["nosuch", "x"], "'nosuch' is no loss; they are cross_entropy, mse, "),
        (
            ["nosuch", "x"],
            "chrf, chrf++, ter, rouge, rouge1, … rouge9, rougeL, rougeLsum, wer, cer, mer, wil, wip, gleu",
        ),
    ],
)
def test_command_lines_that_cannot_be_followed(arguments: list[str], expected: str, program: Program) -> None:
    outcome = program("score", *arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert expected in outcome.err
    assert outcome.err.count("\n") == 1


def test_one_system_is_not_compared(program: Program, files: Files) -> None:
    outcome = program("score", "bleu", *files.flags(), "--paired-bs")
    assert outcome.status == 2
    assert "--paired-bs and --paired-ar compare systems, and there is only one" in outcome.err


def test_the_help_says_whose_options_they_are(program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program("score", EVERYTHING.replace("rouge1", "rouge"), "--help")
    words = " ".join(capfd.readouterr().out.split())
    assert "for bleu, chrf, chrf++, wer, cer, mer, wil, wip, gleu, nltk_bleu: " in words
    for kind in (seqloss_rs.Bleu, seqloss_rs.Chrf, seqloss_rs.Ter, seqloss_rs.Rouge, seqloss_rs.ErrorRate):
        for name in options_of(kind, ["measure"] if kind is seqloss_rs.ErrorRate else []):
            flag = name.replace("_", "-")
            assert f"--{flag}" in words or f"--{kind.__name__.lower()}-{flag}" in words, name
    assert "rougeLsum" in words


def test_options_of_one_name_with_other_words_have_flags_of_their_own() -> None:
    metrics = METRICS["rouge"], replace(METRICS["wer"], fixed={})
    loss = replace(text_loss("rouge,wer"), metrics=metrics)
    assert {"rouge_measure", "error_rate_measure", "stem", "unit"} <= loss.options.keys()
    assert "measure" not in loss.options
    options = {"rouge_measure": "recall", "error_rate_measure": "mer"}
    assert [loss.make(metric, options).measure for metric in metrics] == ["recall", "mer"]


# ---- the report ----------------------------------------------------------------------------------------------------


def test_a_report_shows_words_side_by_side_worst_first(program: Program, tmp_path: Path) -> None:
    hypotheses = ["the cat sat on a mat", "one more two", "all wrong here", "same words"]
    references = ["the cat sat on the mat", "one more", "nothing of this is right", "same words"]
    sources = ["--hyp", write(tmp_path / "h", hypotheses), "--ref", write(tmp_path / "r", references)]
    lines, report = tmp_path / "lines.jsonl", tmp_path / "report.html"
    assert program("score", "wer,chrf,bleu", *sources, "-o", lines).status == 0
    assert program("report", lines, "-o", report).status == 0
    page = check_page(report)
    page.has(
        "WER loss",
        "Loss: word error rate of each text.",
        "Distribution of the loss",
        "Worst samples",
        "reference, hypothesis",
        "substituted",
    )
    page.has("WER|case:mixed|punct:yes|unit:word", "BLEU|case:mixed|eff:no|tok:13a|smooth:exp")
    content = report.read_text("utf-8")
    assert '<div title="substituted"><mark>the</mark><mark>a</mark></div>' in content
    assert '<div title="added"><ins>two</ins></div>' in content
    assert '<div class="kept"><div>cat</div><div>cat</div></div>' in content
    assert content.count('title="left out"') == 2
    order = [content.index(word) for word in ("<mark>wrong", "<ins>two", "<div>cat", "<div>same")]
    assert order == sorted(order)
    assert program("report", lines, "-o", report, "--by", "chrf", "--worst", "1").status == 0
    check_page(report).has("chrF loss", "Loss: 1 − chrF/100 of each sentence.")
    outcome = program("report", lines, "-o", report, "--by", "ter")
    assert outcome.status == 1
    assert "line 1: field 'ter': expected a score by ter" in outcome.err


def test_hostile_texts_stay_texts(program: Program, tmp_path: Path) -> None:
    bidi = "\u202eabc\u2066 \u200fdef\u2069 \x1b[31m \x00 \ufeff"
    texts = [HOSTILE.replace("\n", " "), bidi, "</div></dd>--> <!-- ]]>", "a " * 3000, "<b>"]
    rows = [{"hypothesis": text, "references": [text[::-1], f"{text} <i>"]} for text in texts]
    rows.append({"hypothesis": "", "references": ["<i>", ""]})
    (tmp_path / "<x>.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines, report = tmp_path / "lines.jsonl", tmp_path / "report.html"
    assert program("score", "bleu,wer", tmp_path / "<x>.jsonl", "-o", lines).status == 0
    assert program("report", lines, "-o", report).status == 0
    page = check_page(report)
    page.has("<script>alert(1)</script>", "\\u202e", "\\x1b[31m", "\\u2066", "</div></dd>-->")
    assert not set(report.read_text("utf-8")) & set(bidi) - set(" abcdef[31m")
    halves = {"loss": 2, "hypothesis": "\ud83d a", "references": ["a \ude00", "\ud83d"]}
    functions = [HOSTILE, "bleu,bleu", "bleu,wer", ""]
    lines.write_text(
        "".join(
            json.dumps({"loss": 1, "function": name, "bleu": [HOSTILE], "system": HOSTILE, "hypothesis": 3}) + "\n"
            for name in functions
        )
        + json.dumps(halves)
    )
    assert program("report", lines, "-o", report).status == 0
    check_page(report)


def test_the_closest_reference_is_shown_beside_the_words() -> None:
    place, content = aligned(list("abc"), [list("xyz"), list("abdc"), []])
    assert place == 1
    assert content.count('class="kept"') == 3
    assert '<div title="left out"><del>d</del></div>' in content
    place, content = aligned([], [["a"], []])
    assert (place, content) == (1, '<div class="words"></div>')


def test_what_differs_is_shown_of_a_long_pair() -> None:
    words = [f"w{number}" for number in range(500)]
    _, content = aligned([*words[:300], "x", *words[301:]], [words])
    assert "<mark>w300</mark><mark>x</mark>" in content
    assert "… 292 the same …" in content
    assert "… 191 the same<" in content
    assert content.count('class="kept"') == 16
    _, content = aligned(words, [words])
    assert content.count('class="kept"') == 200
    assert "… 300 the same<" in content
    _, content = aligned(words, [words[::-1]])
    assert content.count('class="kept"') + content.count("title=") == 200
    assert " more<" in content


def test_letters_of_scripts_without_spaces_are_aligned() -> None:
    assert units("今天天气 好ok ภาษา ที่ のです。") == [*"今天天气好", "ok", *"ภาษา", "ที่", *"のです", "。"]
    assert units("a b", by_letters=True) == ["a", " ", "b"]
    _, content = aligned(units("今天天气很好"), [units("今天天气真好")])
    assert content.count('class="kept"') == 5
    assert "<mark>真</mark><mark>很</mark>" in content
    _, content = aligned(units("a b", by_letters=True), [units("a c", by_letters=True)])
    assert '<div class="kept"><div>␣</div><div>␣</div></div>' in content


def test_a_report_aligns_what_is_compared(program: Program, tmp_path: Path) -> None:
    _, content = aligned(["a\x01b", "\ud800"], [["a\\x01b", "\ud800"]])
    assert '<div title="substituted"><mark>a\\x01b</mark><mark>a\\x01b</mark></div>' in content
    assert content.count('class="kept"') == 1
    row: Jsonable = {"hypothesis": ["a", "dog"], "reference": ["a", "cat"]}
    (tmp_path / "data.jsonl").write_text(json.dumps(row))
    lines, report = tmp_path / "lines.jsonl", tmp_path / "report.html"
    assert program("score", "wer", tmp_path / "data.jsonl", "-o", lines).status == 0
    assert program("report", lines, "-o", report).status == 0
    assert "<mark>cat</mark><mark>dog</mark>" in report.read_text("utf-8")
    row = {"hypothesis": "the cat", "reference": "the cut"}
    (tmp_path / "data.jsonl").write_text(json.dumps(row))
    assert program("score", "cer", tmp_path / "data.jsonl", "-o", lines).status == 0
    assert program("report", lines, "-o", report).status == 0
    check_page(report).has("CER loss", "Loss: character error rate of each text.")
    assert "<mark>u</mark><mark>a</mark>" in report.read_text("utf-8")
