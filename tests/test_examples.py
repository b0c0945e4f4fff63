"""The examples run and show what they promise, and the emissions are what their page says."""

import html
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import seqloss_rs
from conftest import clean_environment
from reference import ctc_by_recursion

EXAMPLES = Path(__file__).parents[1] / "examples"
LINES = 200

# No alignment: one line was squeezed to a fixed width, two repeat letters faster than there are frames.
WITHOUT_ALIGNMENT = {
    "Begin at the beginning, and go on till you come to the end: then stop.",
    "Ill illicit lilies",
    "aaaaaaaa",
}


def run_example(script: str, *arguments: str) -> list[str]:
    """What an example prints, by lines."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def emissions() -> dict[str, npt.NDArray[Any]]:
    with np.load(EXAMPLES / "ocr/emissions.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def logits(emissions: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float16]]:
    return np.split(emissions["logits"], emissions["logits_offsets"][1:-1])


@pytest.fixture(scope="module")
def targets(emissions: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.int32]]:
    return np.split(emissions["targets"], np.cumsum(emissions["target_lengths"])[:-1])


def test_the_arrays_have_the_shapes_of_their_page(emissions: dict[str, npt.NDArray[Any]]) -> None:
    frames, classes = emissions["logits"].shape
    assert {name: (array.shape, array.dtype.kind) for name, array in emissions.items()} == {
        "logits": ((frames, classes), "f"),
        "logits_offsets": ((LINES + 1,), "i"),
        "targets": ((emissions["target_lengths"].sum(),), "i"),
        "target_lengths": ((LINES,), "i"),
        "blank": ((), "i"),
        "scores": ((), "U"),
        "texts": ((LINES,), "U"),
        "classes": ((classes,), "U"),
    }
    assert emissions["logits"].dtype == np.float16
    page = (EXAMPLES / "ocr/README.md").read_text(encoding="utf-8")
    for name in ("logits", "logits_offsets", "targets", "target_lengths", "texts", "classes"):
        shape = ", ".join(map(str, emissions[name].shape)) + ("," if emissions[name].ndim == 1 else "")
        assert f"| `{name}` | ({shape})" in page, f"examples/ocr/README.md: the shape of {name} is ({shape})"


def test_the_offsets_cut_every_frame_into_some_line(emissions: dict[str, npt.NDArray[Any]]) -> None:
    offsets = emissions["logits_offsets"]
    assert offsets[0] == 0
    assert offsets[-1] == len(emissions["logits"])
    assert (np.diff(offsets) > 0).all()


def test_the_targets_spell_the_texts(
    emissions: dict[str, npt.NDArray[Any]], targets: list[npt.NDArray[np.int32]]
) -> None:
    classes, blank = emissions["classes"], int(emissions["blank"])
    assert classes[blank] == ""
    assert classes[-1] == "\N{REPLACEMENT CHARACTER}"
    assert len(set(classes.tolist())) == len(classes)
    assert not (emissions["targets"] == blank).any()
    texts = emissions["texts"].tolist()
    assert ["".join(classes[target]) for target in targets] == texts
    assert texts == (EXAMPLES / "ocr/lines.txt").read_text(encoding="ascii").splitlines()
    assert {len(text) for text in texts} >= {5, 80}
    assert all(5 <= len(text) <= 80 for text in texts)


def test_the_probabilities_of_a_frame_sum_to_one(emissions: dict[str, npt.NDArray[Any]]) -> None:
    log_probs = emissions["logits"].astype(np.float64)
    assert log_probs.max() <= 0
    probabilities = np.exp(log_probs)
    # Rounding x to float16 moves exp(x) by |x| exp(x) / 2048 at most, and Σ |x| exp(x) is the entropy of the frame.
    entropy = -(log_probs * probabilities).sum(axis=1)
    assert (np.abs(probabilities.sum(axis=1) - 1) <= entropy / 2048 * 1.01 + 1e-7).all()
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 3e-4


def test_the_losses_are_those_of_the_definition(
    emissions: dict[str, npt.NDArray[Any]],
    logits: list[npt.NDArray[np.float16]],
    targets: list[npt.NDArray[np.int32]],
) -> None:
    losses = np.asarray(
        seqloss_rs.ctc_loss(
            logits,
            emissions["targets"],
            target_lengths=emissions["target_lengths"],
            blank=int(emissions["blank"]),
            scores=emissions["scores"].item(),
            reduction="none",
        )
    )
    texts = emissions["texts"].tolist()
    assert {text for text, loss in zip(texts, losses, strict=True) if math.isinf(loss)} == WITHOUT_ALIGNMENT
    short = [
        text
        for text, frames in zip(texts, logits, strict=True)
        if len(frames) < len(text) + sum(a == b for a, b in itertools.pairwise(text))
    ]
    assert set(short) == WITHOUT_ALIGNMENT
    expected = [ctc_by_recursion(frames, target, 0)[0] for frames, target in zip(logits, targets, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)


def test_the_demo_names_a_report(tmp_path: Path) -> None:
    printed = run_example("ocr/demo.py", "--output", str(tmp_path))
    report = Path(printed[-1])
    assert report.parent == tmp_path
    page = report.read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    # The differences are marked inside the texts, so that a text is there only once the marks are taken off.
    words = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert all(text in words for text in WITHOUT_ALIGNMENT)
    samples = [json.loads(line) for line in (tmp_path / "ctc.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [sample["index"] for sample in samples if "index" in sample] == list(range(LINES))

    rows = [re.match(r"  (\S.*?) {2,}([\d.]+)%?  ", line) for line in printed]
    rates = {row[1]: float(row[2]) for row in rows if row}
    assert 1 < rates["character error rate"] < 10
    assert rates["character error rate"] < rates["word error rate"] < 30
    assert 70 < rates["BLEU"] < 100
    assert 0.7 < rates["ROUGE-L"] < 1
    assert rates["lines without an alignment"] == len(WITHOUT_ALIGNMENT)


def test_the_policy_learns(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    picture = tmp_path / "deeper/reward.png"
    printed = run_example("policy/train.py", "--steps", "200", "--output", str(picture))
    first, last = (float(line.rsplit(" ", 1)[1]) for line in printed[:2])
    assert first < 0.25
    assert last > 0.95
    assert printed[2] == "words of 16 learnt: 16"
    assert printed[-1] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("script", "least", "steps"),
    [("policy/train.py", 2, "1"), ("policy/methods.py", 2, "1"), ("ocr/minimum_risk.py", 1, "0"),
     ("ocr/minimum_risk.py", 1, "-3")],
)  # fmt: skip
def test_too_few_steps_are_refused(script: str, least: int, steps: str) -> None:
    if script == "policy/train.py":
        pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--steps", steps],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"--steps: expected at least {least}, got {steps}" in done.stderr


def test_policies_are_compared(tmp_path: Path) -> None:
    picture = tmp_path / "deeper/methods.svg"
    printed = run_example("policy/methods.py", "--steps", "200", "--output", str(picture))
    lines = [re.split(r" {2,}", line) for line in printed[1:-1]]
    rows = {name: [float(cell.rstrip("%")) for cell in cells] for name, *cells in lines}
    assert list(rows) == ["REINFORCE", "RLOO", "GRPO", "PPO", "expected BLEU"]
    *sampled, exact = rows.values()
    for name, (first, last, right) in rows.items():
        assert first < 0.5, name
        assert last > 0.7, name
        assert right > 60, name
    # With the right translations at hand it starts faster, and goes on where the others settle.
    for place, lead in enumerate((0.1, 0.08, 10)):
        assert exact[place] > max(row[place] for row in sampled) + lead
    assert printed[-1] == str(picture)
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*rows, "BLEU of proposals, mean of 20 steps"} <= set(texts)


def test_minimum_risk_lowers_the_error_rate_of_held_out_lines() -> None:
    printed = run_example("ocr/minimum_risk.py", "--steps", "8")
    risks = [float(line.split()[2]) for line in printed[:-1]]
    assert len(risks) == 8
    assert risks == sorted(risks, reverse=True)
    assert risks[-1] < 0.85 * risks[0]
    before, after = (float(rate) for rate in re.findall(r"([\d.]+)%", printed[-1]))
    assert after < 0.9 * before
