"""Score what a real text recogniser said of 200 lines: CTC, error rates, BLEU, ROUGE, and a report.

    python examples/ocr/demo.py

reads `emissions.npz` beside this file (`README.md` says what it is) and writes into `build/demo/`. `make demo` runs it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
import seqloss_rs
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EMISSIONS = HERE / "emissions.npz"
WORST = 6  # lines that are printed


class Lines(NamedTuple):
    """The file, as the arguments of `ctc_loss` and what is needed to decode."""

    logits: list[NDArray[np.float16]]  # a view of (T, C) for each line
    targets: NDArray[np.int32]
    target_lengths: NDArray[np.int32]
    blank: int
    scores: Literal["logits", "log_probs"]
    texts: list[str]
    classes: list[str]


def read(path: Path) -> Lines:
    """The lines of a file of emissions."""
    with np.load(path) as file:
        arrays: dict[str, NDArray[Any]] = dict(file)
    return Lines(
        logits=np.split(arrays["logits"], arrays["logits_offsets"][1:-1]),
        targets=arrays["targets"],
        target_lengths=arrays["target_lengths"],
        blank=int(arrays["blank"]),
        scores=arrays["scores"].item(),
        texts=arrays["texts"].tolist(),
        classes=arrays["classes"].tolist(),
    )


def decode(lines: Lines) -> list[str]:
    """The likeliest text of each line, by its best path."""
    paths = seqloss_rs.ctc_greedy_decode(lines.logits, blank=lines.blank)
    return ["".join(lines.classes[label] for label in path) for path in paths]


def show_table(rows: list[tuple[str, str, str]]) -> None:
    """Three columns: what, how much, and a remark."""
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, value, remark in rows:
        print(f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {remark}")


def write_report(folder: Path) -> Path:
    """The loss of every line as JSON lines, and the page made from them, by the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    scored, report = folder / "ctc.jsonl", folder / "report.html"
    commands: list[list[str | Path]] = [["score", "ctc", EMISSIONS, "-o", scored], ["report", scored, "-o", report]]
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "seqloss_rs", *(from_root(word) for word in command)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return report


def from_root(word: str | Path) -> str:
    """A word of a command; a path inside the checkout in the short form that the report then shows."""
    return str(word.relative_to(ROOT) if isinstance(word, Path) and word.is_relative_to(ROOT) else word)


def main() -> None:
    """Score, decode, compare, report."""
    parser = argparse.ArgumentParser(
        description="Score real emissions by CTC and what is read from them by text metrics."
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/demo", help="the folder of the report")
    options = parser.parse_args()

    lines = read(EMISSIONS)
    start = perf_counter()
    losses = np.asarray(
        seqloss_rs.ctc_loss(
            lines.logits,
            lines.targets,
            target_lengths=lines.target_lengths,
            blank=lines.blank,
            scores=lines.scores,
            reduction="none",
        )
    )
    seconds = perf_counter() - start
    texts = decode(lines)
    truth = lines.texts
    feasible = np.isfinite(losses)
    characters = seqloss_rs.ErrorRate(unit="char").corpus(texts, truth)
    words = seqloss_rs.ErrorRate(unit="word").corpus(texts, truth)
    bleu = 1 - seqloss_rs.bleu_loss(texts, truth, reduction="corpus")
    rouge = 1 - seqloss_rs.rouge_loss(texts, truth, variant="rougeL", reduction="corpus")
    exact = sum(text == expected for text, expected in zip(texts, truth, strict=True))

    frames = sum(map(len, lines.logits))
    print(f"{len(truth)} lines, {frames} frames, {len(lines.classes)} classes; their CTC took {seconds * 1e3:.1f} ms\n")
    show_table(
        [
            ("CTC loss, median", f"{np.median(losses[feasible]):.3f}", "nats a line"),
            (
                "CTC loss, mean",
                f"{losses[feasible].mean():.3f}",
                f"over the {feasible.sum()} lines that can be aligned",
            ),
            (
                "lines without an alignment",
                f"{(~feasible).sum()}",
                "fewer frames than their text needs: the loss is inf",
            ),
            ("lines read without a fault", f"{exact}", f"of {len(truth)}"),
            ("character error rate", f"{characters.score:.1%}", _edits(characters)),
            ("word error rate", f"{words.score:.1%}", _edits(words)),
            ("BLEU", f"{100 * bleu:.1f}", "of the corpus"),
            ("ROUGE-L", f"{rouge:.3f}", "mean F"),
        ]
    )
    print(f"\nThe {WORST} worst lines, and what was read:\n")
    for line in np.argsort(-losses, kind="stable")[:WORST]:
        print(f"  {losses[line]:>5.1f}  {truth[line]}\n         {texts[line]}")
    print("\nThe report:")
    print(write_report(options.output.resolve()))


def _edits(rate: Any) -> str:
    return f"{rate.substitutions} substituted, {rate.deletions} deleted, {rate.insertions} inserted"


if __name__ == "__main__":
    main()
