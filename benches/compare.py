"""Measures this library beside torch, sacrebleu and rouge-score, on one thread and in float32.

Every answer is checked before it is timed: those of numbers against torch in float64, those of text against the library
that is measured beside. Candidates take turns, so that a busy moment of the machine meets all of them, and the fastest
round of each counts. ``--record`` writes the table to ``benches/record/``.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
import seqloss_rs
import torch
from rouge_score import rouge_scorer  # type: ignore[import-untyped]  # it has no types
from seqloss_rs import value_and_grad
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
# What float32 may differ from float64, over the largest number of the answer; torch's CTC loses more than the others.
TOLERANCE = {"seqloss_rs": 1e-5, "torch": 1e-2}

Candidates = dict[str, Callable[[], Any]]


@dataclass
class Row:
    """One line of the table; ``figure`` is what the target is about."""

    name: str
    figure: str
    target: str = ""
    is_met: bool | None = None
    ours: str = ""
    theirs: str = ""
    error: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the table to benches/record/")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each comparison takes (default: 5)")
    parser.add_argument("--wheel", type=Path, help="the wheel to weigh (default: the newest in dist/)")
    arguments = parser.parse_args()
    seqloss_rs.set_num_threads(1)
    torch.set_num_threads(1)

    rows: list[Row] = []
    for measure in (cross_entropy, ctc, pointwise, small_calls, text):
        rows += measure(arguments.seconds)
    rows += [import_time(), *wheel_size(arguments.wheel)]

    report = f"{machine()}\n\n{table(rows)}\n"
    print(report)
    if arguments.record:
        path = ROOT / "benches" / "record" / f"{datetime.date.today()}-{git('rev-parse', '--short', 'HEAD')}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# benches/compare.py\n\n{report}", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")


# What is measured.


def cross_entropy(seconds: float) -> list[Row]:
    random = np.random.default_rng(1)
    x = random.standard_normal((512, 50257), dtype=np.float32) * 3
    y = random.integers(0, 50257, 512)
    labels = torch.from_numpy(y)

    def rival(logits: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels)

    def ours(loss: Any) -> Any:
        return loss(x, y)

    return loss_rows("cross-entropy 512 x 50257", seqloss_rs.cross_entropy_loss, ours, rival, x, seconds, (3, 3))


def ctc(seconds: float) -> list[Row]:
    random = np.random.default_rng(2)
    frames, sequences, length, classes = 150, 64, 40, 28
    # torch gets its own layout, time first; the same numbers lie there for both.
    x = random.standard_normal((frames, sequences, classes), dtype=np.float32) * 2
    y = random.integers(1, classes, (sequences, length))
    labels = torch.from_numpy(y)
    input_lengths, target_lengths = torch.full((sequences,), frames), torch.full((sequences,), length)

    def rival(logits: torch.Tensor) -> torch.Tensor:
        return functional.ctc_loss(logits.log_softmax(-1), labels, input_lengths, target_lengths)

    def ours(loss: Any) -> Any:
        return loss(x, y, layout="TNC")

    def rival_by_batch(logits: torch.Tensor) -> torch.Tensor:
        return rival(logits.transpose(0, 1))

    def ours_by_batch(loss: Any) -> Any:
        return loss(by_batch, y)

    by_batch = np.ascontiguousarray(x.transpose(1, 0, 2))
    name, loss, targets = "CTC T=150 N=64 L=40 C=28", seqloss_rs.ctc_loss, (None, 5)
    return [
        *loss_rows(f"{name}, time-major", loss, ours, rival, x, seconds, targets),
        *loss_rows(f"{name}, batch-major", loss, ours_by_batch, rival_by_batch, by_batch, seconds, targets),
    ]


def pointwise(seconds: float) -> list[Row]:
    random = np.random.default_rng(3)
    x, y = (random.standard_normal(10_000_000, dtype=np.float32) for _ in range(2))
    rows = []
    for name, loss, rival in (
        ("MSE", seqloss_rs.mse_loss, functional.mse_loss),
        ("MAE", seqloss_rs.mae_loss, functional.l1_loss),
    ):

        def against(predictions: torch.Tensor, rival: Any = rival) -> Any:
            return rival(predictions, torch.from_numpy(y).to(predictions.dtype))

        def ours(loss: Any) -> Any:
            return loss(x, y)

        rows += loss_rows(f"{name} of 10 M numbers", loss, ours, against, x, seconds, (None, None))
    return rows


def loss_rows(
    name: str,
    loss: Any,
    ours: Callable[[Any], Any],
    rival: Callable[[torch.Tensor], torch.Tensor],
    x: np.ndarray[Any, Any],
    seconds: float,
    targets: tuple[float | None, float | None],
) -> list[Row]:
    """The loss alone, and with its gradient, beside torch."""
    gradient = value_and_grad(loss)
    narrow = torch.from_numpy(x)

    def rival_with_gradient(x: torch.Tensor = narrow) -> tuple[Any, Any]:
        x = x.detach().requires_grad_()
        value = rival(x)
        return value.detach(), torch.autograd.grad(value, x)[0]

    def rival_alone() -> tuple[Any]:
        with torch.no_grad():
            return (rival(narrow),)

    truth = [np.asarray(part) for part in rival_with_gradient(narrow.double())]
    rows = []
    for what, target, candidates in (
        ("value", targets[0], {"seqloss_rs": lambda: (ours(loss),), "torch": rival_alone}),
        ("value and gradient", targets[1], {"seqloss_rs": lambda: ours(gradient), "torch": rival_with_gradient}),
    ):
        errors = check(f"{name}, {what}", candidates, truth)
        rows.append(beside(f"{name}, {what}", fastest(candidates, seconds), target))
        rows[-1].error = " / ".join(f"{error:.0e}" for error in errors.values())
    return rows


def small_calls(seconds: float) -> list[Row]:
    random = np.random.default_rng(4)
    x, y = (random.standard_normal(10, dtype=np.float32) for _ in range(2))
    logits, classes, rewards = x.reshape(2, 5), np.array([3, 1]), np.array([0.5, -1.0], dtype=np.float32)
    frames, target = x.reshape(5, 2), np.array([1, 1])
    tensor, one = torch.from_numpy(x.astype(np.float64)), torch.tensor
    log_p = tensor.view(2, 5).log_softmax(-1)
    chosen = log_p[[0, 1], [3, 1]]
    truth_of_ctc = functional.ctc_loss(tensor.view(5, 1, 2).log_softmax(-1), one([[1, 1]]), one([5]), one([2]))
    rows = []
    for name, call, truth in (
        ("mse_loss", lambda: seqloss_rs.mse_loss(x, y), functional.mse_loss(tensor, torch.from_numpy(y).double())),
        ("mae_loss", lambda: seqloss_rs.mae_loss(x, y), functional.l1_loss(tensor, torch.from_numpy(y).double())),
        ("cross_entropy_loss", lambda: seqloss_rs.cross_entropy_loss(logits, classes), -chosen.mean()),
        ("ctc_loss", lambda: seqloss_rs.ctc_loss(frames, target), truth_of_ctc),
        (
            "reinforce_loss",
            lambda: seqloss_rs.reinforce_loss(logits, classes, rewards),
            -(chosen * torch.from_numpy(rewards).double()).mean(),
        ),
    ):
        name = f"{name} of 10 numbers"
        check(name, {"seqloss_rs": as_parts(call)}, [truth.numpy()])
        time = fastest({"seqloss_rs": repeated(call, 200)}, seconds / 5)["seqloss_rs"] / 200
        rows.append(Row(name, f"{time * 1e6:.2f} µs", "≤ 5 µs", time <= 5e-6))
    return rows


def as_parts(call: Callable[[], Any]) -> Callable[[], tuple[Any]]:
    return lambda: (call(),)


def repeated(call: Callable[[], Any], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def text(seconds: float) -> list[Row]:
    random = np.random.default_rng(5)
    words = ["".join(random.choice(list("etaoinshrdlu"), random.integers(2, 9))) for _ in range(5000)]
    hypotheses, references = [], []
    for _ in range(1000):
        sentence = np.minimum(random.zipf(1.3, random.integers(10, 40)), len(words)) - 1
        edited = np.where(random.random(len(sentence)) < 0.25, random.integers(0, len(words), len(sentence)), sentence)
        references.append(" ".join(words[word] for word in sentence) + ".")
        hypotheses.append(" ".join(words[word] for word in edited) + ".")
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    pairs = list(zip(hypotheses, references, strict=True))

    def sentences_of_sacrebleu() -> tuple[Any]:
        return (np.array([1 - sacrebleu.sentence_bleu(h, [r]).score / 100 for h, r in pairs]),)

    def corpus_of_sacrebleu() -> tuple[Any]:
        return (1 - sacrebleu.corpus_bleu(hypotheses, [references]).score / 100,)

    def sentences_of_rouge_score() -> tuple[Any]:
        return (np.array([1 - scorer.score(r, h)["rougeL"].fmeasure for h, r in pairs]),)

    def bleu(reduction: Any) -> Callable[[], tuple[Any]]:
        return lambda: (seqloss_rs.bleu_loss(hypotheses, references, reduction=reduction),)

    def rouge() -> tuple[Any]:
        return (seqloss_rs.rouge_loss(hypotheses, references, reduction="none"),)

    rows = []
    for name, other, ours, theirs in (
        ("BLEU of sentences", "sacrebleu", bleu("none"), sentences_of_sacrebleu),
        # sacrebleu keeps the tokens of lines that it has seen, so all of its rounds but the first are spared that work.
        ("BLEU of a corpus", "sacrebleu", bleu("corpus"), corpus_of_sacrebleu),
        ("ROUGE-L of sentences", "rouge-score", rouge, sentences_of_rouge_score),
    ):
        errors = check(name, {"seqloss_rs": ours}, [np.asarray(part) for part in theirs()])
        times = fastest({"seqloss_rs": ours, other: theirs}, seconds)
        speeds = {name: f"{len(pairs) / time:,.0f} pairs/s" for name, time in times.items()}
        row = Row(name, f"{times[other] / times['seqloss_rs']:.1f} ×", ours=speeds["seqloss_rs"])
        row.theirs, row.error = f"{speeds[other]} ({other})", f"{errors['seqloss_rs']:.0e}"
        rows.append(row)
    return rows


def import_time() -> Row:
    """What `import seqloss_rs` takes where NumPy has been imported already; of bytecode, as pip leaves it behind."""
    program = "import time, numpy; start = time.perf_counter(); import seqloss_rs; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        variables["PYTHONPYCACHEPREFIX"] = folder

        def once() -> float:
            return float(subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout)

        time = min(once() for _ in range(20))
    return Row("import seqloss_rs over import numpy", f"{time * 1e3:.1f} ms", "≤ 30 ms", time <= 30e-3)


def wheel_size(path: Path | None) -> list[Row]:
    if path is None:
        path = max((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime, default=None)
    if path is None:
        return []
    size = path.stat().st_size
    return [Row(f"size of {path.name}", f"{size / 1e6:.2f} MB", "≤ 2 MB", size <= 2_000_000)]


# How it is measured.


def check(name: str, candidates: Candidates, truth: Sequence[np.ndarray[Any, Any]]) -> dict[str, float]:
    """The largest error of each candidate, over the largest number of the answer; stops where one is wrong."""
    errors = {}
    for candidate, call in candidates.items():
        parts = [np.asarray(part, dtype=np.float64) for part in call()]
        # The value may come without the gradient.
        pairs = list(zip(parts, truth[: len(parts)], strict=True))
        errors[candidate] = max(float(abs(part - true).max() / abs(true).max()) for part, true in pairs)
        if not errors[candidate] <= TOLERANCE[candidate]:
            sys.exit(f"{name}: the answer of {candidate} is off by {errors[candidate]:.1e}, so it is not timed")
    return errors


def fastest(candidates: Candidates, seconds: float, before: Candidates | None = None) -> dict[str, float]:
    """The time of the fastest round of each, in seconds; they take turns, and each has its share of the time.

    What `before` has under the name of a candidate is done before each of its rounds, and not timed.
    """
    times = dict.fromkeys(candidates, float("inf"))
    used = dict.fromkeys(candidates, 0.0)
    rounds = 0
    while left := [name for name in candidates if rounds < 3 or used[name] < seconds / len(candidates)]:
        for name in left:
            if before and name in before:
                before[name]()
            start = time.perf_counter()
            candidates[name]()
            taken = time.perf_counter() - start
            times[name] = min(times[name], taken)
            used[name] += taken
        rounds += 1
    return times


def beside(name: str, times: dict[str, float], target: float | None) -> Row:
    ratio = times["torch"] / times["seqloss_rs"]
    row = Row(name, f"{ratio:.2f} ×")
    if target is not None:
        row.target, row.is_met = f"≥ {target:g} ×", ratio >= target
    row.ours, row.theirs = f"{times['seqloss_rs'] * 1e3:.3f} ms", f"{times['torch'] * 1e3:.3f} ms (torch)"
    return row


# What is told.


def table(rows: list[Row]) -> str:
    lines = [["", "result", "target", "met", "seqloss_rs", "beside", "error of either"]]
    verdicts = {None: "", True: "yes", False: "**no**"}
    for row in rows:
        lines.append([row.name, row.figure, row.target, verdicts[row.is_met], row.ours, row.theirs, row.error])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def machine() -> str:
    config = seqloss_rs.show_config()
    versions = {name: importlib.metadata.version(name) for name in ("torch", "sacrebleu", "rouge-score")}
    # What is built from is what counts; records of earlier runs are not.
    is_changed = bool(git("status", "--porcelain", "--untracked-files=no", "--", "src", "python", "Cargo.toml"))
    return "\n".join(
        [
            f"* machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
            f"* instruction set in use: {config['simd']}; threads: 1 for every candidate; float32",
            f"* seqloss_rs {config['version']} at {git('rev-parse', '--short', 'HEAD')}"
            + (" with changes that are not committed" if is_changed else ""),
            f"* Python {config['python']}, NumPy {config['numpy']}, "
            + ", ".join(f"{name} {version}" for name, version in versions.items()),
        ]
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
