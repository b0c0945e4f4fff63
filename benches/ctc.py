"""Measures CTC beside torch and, where JAX and optax are installed, beside optax compiled by XLA.

A cell is one state in one frame: there are N T (2 L + 1). All start from the same float32 logits, log-softmax and its
gradient included, on one thread if nothing else is said; time to compile is left out. Every answer is compared with the
recursion in the log domain in float64 before it is timed. Candidates take turns, and the fastest round of each counts;
one that takes seconds gets three rounds. ``--record`` writes the tables to ``benches/record/``.
"""

import argparse
import datetime
import gc
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import seqloss_rs
import torch
from compare import ROOT, fastest, git, processor
from numpy.typing import NDArray
from seqloss_rs import ctc_loss, value_and_grad
from torch.nn import functional

# The truth is the tests' own.
sys.path.insert(0, str(ROOT / "tests"))
from reference import ctc_truth

Array = NDArray[Any]
Candidates = dict[str, Callable[[], Any]]

OURS, OURS_IN_PLACE, TORCH, XLA = "seqloss_rs", "seqloss_rs into out=", "torch", "XLA"
LOSS, GRADIENT = "loss", "loss and gradient"

# How far the value may be off, over the truth, and the gradient as it is. In float32 the log domain loses digits with
# every frame, and at 20,000 of them torch's gradient has none left: of the others only the value is asked to be right,
# and what their gradients are off by is in the table.
MOST = {OURS: (1e-6, 5e-6), OURS_IN_PLACE: (1e-6, 5e-6), TORCH: (1e-2, np.inf), XLA: (1e-2, np.inf)}

WIDE = "avx512" in seqloss_rs.show_config()["simd"]


@dataclass(frozen=True)
class Shape:
    """N sequences of T frames, C classes and L labels, and what is aimed at: ratios for the loss, and with gradient."""

    name: str
    sequences: int
    frames: int
    length: int
    classes: int
    over_torch: tuple[float | None, float | None] = (None, None)
    over_xla: tuple[float | None, float | None] = (None, None)
    # Instead of the ratio it is enough to reach such a share of what reading, or copying, the logits takes.
    of_bandwidth: tuple[float, float] | None = None
    on_two_threads: float | None = None
    is_quick: bool = True

    @property
    def cells(self) -> int:
        return self.sequences * self.frames * (2 * self.length + 1)

    def __str__(self) -> str:
        return f"{self.name} N={self.sequences} T={self.frames} L={self.length} C={self.classes}"


LONG_TARGETS = Shape("long targets", 8, 1500, 400, 32, over_torch=(60, 45) if WIDE else (35, 30), over_xla=(15, 15))
MANY_CLASSES = Shape(
    "many classes", 16, 1000, 150, 5000, (10, 20), of_bandwidth=(0.85, 0.75), on_two_threads=1.8, is_quick=False
)
SHAPES = [
    LONG_TARGETS,
    Shape("warp-ctc", 1, 150, 40, 28),
    Shape("warp-ctc", 16, 150, 40, 28, (25, 25), on_two_threads=1.8),
    Shape("warp-ctc", 64, 150, 40, 28, (25, 25), on_two_threads=1.8),
    Shape("warp-ctc", 128, 150, 40, 28, (25, 25), on_two_threads=1.8, is_quick=False),
    Shape("warp-ctc", 1, 150, 20, 5000, (10, 10)),
    Shape("warp-ctc", 16, 150, 20, 5000, (10, 10), on_two_threads=1.8),
    Shape("warp-ctc", 64, 150, 20, 5000, (10, 10), on_two_threads=1.8, is_quick=False),
    Shape("warp-ctc", 128, 150, 20, 5000, (10, 10), on_two_threads=1.8, is_quick=False),
    MANY_CLASSES,
    # Nothing is said of how many sequences gtn measured at once.
    Shape("gtn", 16, 1000, 100, 28, (25, 25), on_two_threads=1.8),
    Shape("text recognition", 256, 64, 12, 96, (25, 25), on_two_threads=1.8),
    Shape("one long", 1, 20_000, 2_000, 32, (50, 40), on_two_threads=1.6, is_quick=False),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the tables to benches/record/")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time each, and without what is large")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each comparison takes (default: 4)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only the shapes whose names match, like 'C=28$'")
    arguments = parser.parse_args()
    seconds = arguments.seconds / 10 if arguments.quick else arguments.seconds
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    seqloss_rs.set_num_threads(1)
    torch.set_num_threads(1)
    xla = Xla.if_installed()

    def is_wanted(shape: Shape) -> bool:
        return bool(re.search(arguments.only, str(shape))) and (shape.is_quick or not arguments.quick)

    speed, shares, threads = speed_table(), shares_table(), threads_table()
    for shape in filter(is_wanted, SHAPES):
        problem = Problem.of(shape)
        measure_speed(problem, xla, seconds, speed, shares)
        if shape.on_two_threads is not None and (os.cpu_count() or 1) > 1:
            measure_threads(problem, seconds, threads)
        # Gigabytes, in the largest.
        del problem
        gc.collect()
    tables = [speed, shares, threads]
    if is_wanted(LONG_TARGETS):
        tables.append(sharp_logits(LONG_TARGETS, seconds))
        tables.append(alignment(LONG_TARGETS, seconds))
    tables.append(half_precision(list(filter(is_wanted, (LONG_TARGETS, MANY_CLASSES))), seconds))
    if not arguments.quick and not arguments.only and sys.platform == "linux":
        tables.append(memory())

    report = "\n\n".join([machine(xla, load), *(str(table) for table in tables if table.rows)]) + "\n"
    print(report)
    if arguments.record:
        path = ROOT / "benches" / "record" / f"{datetime.date.today()}-{git('rev-parse', '--short', 'HEAD')}-ctc.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# benches/ctc.py\n\n{report}", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")


# ---------------------------------------------------------------------------------------------------------------------
# What is computed


@dataclass
class Problem:
    """One call, and what is true of it."""

    shape: Shape
    logits: Array
    targets: Array
    losses: Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, shape: Shape, scale: float = 3.0) -> "Problem":
        random = np.random.default_rng(7)
        logits = random.standard_normal((shape.sequences, shape.frames, shape.classes), dtype=np.float32)
        logits *= np.float32(scale)
        return cls(shape, logits, random.integers(1, shape.classes, (shape.sequences, shape.length)))

    def truths(self) -> Iterator[tuple[float, Array]]:
        """Loss and gradient of each sequence: one at a time, because all of them in float64 are large."""
        for rows, target in zip(self.logits, self.targets, strict=True):
            yield ctc_truth(rows, target, number=np.float64)

    def ours(self) -> dict[str, Candidates]:
        out = np.zeros_like(self.logits)
        gradient, in_place = value_and_grad(ctc_loss), value_and_grad(ctc_loss, out=out)
        return {
            LOSS: {OURS: lambda: (ctc_loss(self.logits, self.targets, reduction="sum"),)},
            GRADIENT: {
                OURS: lambda: gradient(self.logits, self.targets, reduction="sum"),
                OURS_IN_PLACE: lambda: in_place(self.logits, self.targets, reduction="sum"),
            },
        }

    def torch(self) -> dict[str, Candidates]:
        """torch's own layout has time first: the same numbers lie there for it."""
        x = torch.from_numpy(np.ascontiguousarray(self.logits.transpose(1, 0, 2)))
        labels, shape = torch.from_numpy(self.targets), self.shape
        frames, lengths = (torch.full((shape.sequences,), size) for size in (shape.frames, shape.length))

        def loss(logits: torch.Tensor) -> torch.Tensor:
            return functional.ctc_loss(logits.log_softmax(-1), labels, frames, lengths, reduction="sum")

        def value() -> tuple[Any]:
            with torch.no_grad():
                return (loss(x),)

        def gradient() -> tuple[Any, Any]:
            leaf = x.detach().requires_grad_()
            value = loss(leaf)
            return value.detach(), torch.autograd.grad(value, leaf)[0].transpose(0, 1)

        return {LOSS: {TORCH: value}, GRADIENT: {TORCH: gradient}}


@dataclass
class Xla:
    """optax's loss, compiled; on one thread."""

    jax: Any
    optax: Any

    @classmethod
    def if_installed(cls) -> "Xla | None":
        if not all(importlib.util.find_spec(name) for name in ("jax", "optax")):
            return None
        # XLA makes as many threads as it may use cores at its start, and has no other setting that holds everywhere.
        everything = os.sched_getaffinity(0) if sys.platform == "linux" else set()
        if everything:
            os.sched_setaffinity(0, {min(everything)})
        jax = importlib.import_module("jax")
        jax.config.update("jax_platforms", "cpu")
        jax.numpy.zeros(3).block_until_ready()
        if everything:
            os.sched_setaffinity(0, everything)
        return cls(jax, importlib.import_module("optax"))

    def candidates(self, problem: Problem) -> dict[str, Candidates]:
        jax = self.jax
        x, labels = jax.numpy.asarray(problem.logits), jax.numpy.asarray(problem.targets.astype(np.int32))
        no_frames_padded, no_labels_padded = jax.numpy.zeros(x.shape[:2]), jax.numpy.zeros(labels.shape)

        def loss(logits: Any) -> Any:
            # Its usual logarithm of 0, -1e5, is not far enough below the losses of long sequences.
            losses = self.optax.ctc_loss(logits, no_frames_padded, labels, no_labels_padded, log_epsilon=-1e9)
            return losses.sum()

        value, gradient = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
        return {
            LOSS: {XLA: lambda: (jax.block_until_ready(value(x)),)},
            GRADIENT: {XLA: lambda: jax.block_until_ready(gradient(x))},
        }


def check(problem: Problem, candidates: Candidates) -> dict[str, tuple[float, float]]:
    """The error of each: of the value over the truth, and of the gradient; stops where one is wrong."""
    answers = {name: [np.asarray(part) for part in call()] for name, call in candidates.items()}
    total, slopes = 0.0, dict.fromkeys(answers, 0.0)
    for index, (loss, slope) in enumerate(problem.truths()):
        total += loss
        for name, answer in answers.items():
            if len(answer) > 1:
                slopes[name] = max(slopes[name], float(np.abs(answer[1][index] - slope).max()))
    errors = {}
    for name, answer in answers.items():
        errors[name] = (abs(float(answer[0]) / total - 1), slopes[name])
        if not all(error <= most for error, most in zip(errors[name], MOST[name], strict=True)):
            sys.exit(f"{problem.shape}: the answer of {name} is off by {errors[name]}, so it is not timed")
    return errors


# ---------------------------------------------------------------------------------------------------------------------
# What is told


@dataclass
class Table:
    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: str) -> None:
        """One row, also printed at once: the whole takes minutes."""
        self.rows.append(cells)
        print("; ".join(f"{name} {cell}" for name, cell in zip(self.head, cells, strict=True) if cell), flush=True)

    def __str__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines]
        text.insert(1, f"| {' | '.join('-' * width for width in widths)} |")
        return "\n".join([f"## {self.title}", "", *text, *(["", self.note] if self.note else [])])


def verdict(is_reached: bool | None) -> str:
    return {None: "", True: "yes", False: "**no**"}[is_reached]


def times(ratio: float) -> str:
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.1f} ×"


def speed_table() -> Table:
    head = [
        "shape",
        "what",
        "ms",
        "ns per cell",
        "with out=",
        "× torch",
        "× XLA",
        "of bandwidth",
        "target",
        "reached",
        "errors",
    ]
    return Table("One core", head)


def shares_table() -> Table:
    head = [
        "",
        "softmax",
        "recursion",
        "gradient",
        "softmax, ns per logit",
        "recursion, ns per cell",
        "gradient, ns per cell",
    ]
    return Table("Where the time goes (the softmax: the loss of empty targets; the gradient: what it adds)", head)


def measure_speed(problem: Problem, xla: Xla | None, seconds: float, table: Table, shares: Table) -> None:
    shape, ours = problem.shape, problem.ours()
    by_kind: dict[str, float] = {}
    rivals = [problem.torch(), *([xla.candidates(problem)] if xla else [])]
    bandwidth = read_and_copy(problem.logits, seconds / 4) if shape.classes >= 1000 else None
    for place, kind in enumerate((LOSS, GRADIENT)):
        candidates = dict(ours[kind])
        for rival in rivals:
            candidates |= rival[kind]
        errors = check(problem, candidates)
        found = fastest(candidates, seconds)
        by_kind[kind] = found[OURS]
        # Where the gradient is written to memory that is there already, as a copy is.
        in_place = found.get(OURS_IN_PLACE, found[OURS])
        share = None if bandwidth is None else bandwidth[place] / in_place
        # A copy reads and writes.
        traffic = problem.logits.nbytes * (1, 2)[place]
        over = {name: found[name] / found[OURS] for name in (TORCH, XLA) if name in found}
        targets, reached = [], []
        for name, target in ((TORCH, shape.over_torch[place]), (XLA, shape.over_xla[place])):
            if target is not None:
                targets.append(f"≥ {target:g} × {name}")
                if name in over:
                    reached.append(over[name] >= target)
        is_reached = all(reached) if reached else None
        if shape.of_bandwidth is not None and share is not None:
            targets.append(f"or ≥ {shape.of_bandwidth[place]:.0%} of {('reading', 'copying')[place]}")
            is_reached = is_reached or share >= shape.of_bandwidth[place]
        table.add(
            str(shape),
            kind,
            f"{found[OURS] * 1e3:.3f}",
            f"{found[OURS] / shape.cells * 1e9:.3f}",
            f"{in_place / shape.cells * 1e9:.3f}" if kind == GRADIENT else "",
            times(over[TORCH]),
            times(over[XLA]) if XLA in over else "–",
            "" if share is None or bandwidth is None else f"{share:.0%} of {traffic / bandwidth[place] / 1e9:.1f} GB/s",
            " ".join(targets),
            verdict(is_reached),
            " / ".join(f"{errors[name][place]:.0e}" for name in (OURS, TORCH, XLA) if name in errors),
        )
    nothing = problem.targets[:, :0]
    softmax = fastest({OURS: lambda: ctc_loss(problem.logits, nothing, reduction="sum")}, seconds / 4)[OURS]
    whole = by_kind[GRADIENT]
    # What is measured apart may come out as more than the whole by a hair.
    recursion, gradient = max(by_kind[LOSS] - softmax, 0.0), max(whole - by_kind[LOSS], 0.0)
    shares.add(
        str(shape),
        *(f"{part / whole:.0%}" for part in (softmax, recursion, gradient)),
        f"{softmax / problem.logits.size * 1e9:.3f}",
        *(f"{part / shape.cells * 1e9:.3f}" for part in (recursion, gradient)),
    )


def read_and_copy(logits: Array, seconds: float) -> tuple[float, float]:
    """How long it takes to read these numbers once on one thread, and to copy them to memory that is there already."""
    flat = torch.from_numpy(logits).view(-1)
    copy = torch.zeros_like(flat)
    reading: Candidates = {
        "sum": flat.sum,
        "maximum": flat.max,
        "NumPy's maximum": logits.max,
        "product": lambda: flat.dot(flat),
    }
    copying: Candidates = {"torch": lambda: copy.copy_(flat), "NumPy": lambda: np.copyto(copy.numpy(), flat.numpy())}
    return min(fastest(reading, seconds).values()), min(fastest(copying, seconds).values())


def threads_table() -> Table:
    return Table(
        "Two threads", ["shape", "what", "two over one", "target", "reached", "× torch on two", "torch, two over one"]
    )


def measure_threads(problem: Problem, seconds: float, table: Table) -> None:
    def on(count: int, call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            seqloss_rs.set_num_threads(count)
            torch.set_num_threads(count)
            return call()

        return run

    ours, rival, target = problem.ours(), problem.torch(), problem.shape.on_two_threads
    for kind in (LOSS, GRADIENT):
        calls = {OURS: ours[kind].get(OURS_IN_PLACE, ours[kind][OURS]), TORCH: rival[kind][TORCH]}
        # One thread's answer has been compared with the truth; that of two has the same bits.
        one, two = (on(count, calls[OURS])()[0] for count in (1, 2))
        if one != two:
            sys.exit(f"{problem.shape}: {one} on one thread, {two} on two")
        found = fastest({f"{name} {n}": on(n, call) for name, call in calls.items() for n in (1, 2)}, seconds)
        gain = found[f"{OURS} 1"] / found[f"{OURS} 2"]
        table.add(
            str(problem.shape),
            kind,
            times(gain),
            "" if target is None else f"≥ {target:g} ×",
            verdict(None if target is None else gain >= target),
            times(found[f"{TORCH} 2"] / found[f"{OURS} 2"]),
            times(found[f"{TORCH} 1"] / found[f"{TORCH} 2"]),
        )
    seqloss_rs.set_num_threads(1)
    torch.set_num_threads(1)


def sharp_logits(shape: Shape, seconds: float) -> Table:
    table = Table(
        f"Sharp logits: {shape}", ["scale", "what", "ns per cell", "over scale 3", "target", "reached", "error"]
    )
    scales = (3.0, 20.0, 60.0)
    problems = {scale: Problem.of(shape, scale) for scale in scales}
    ours = {scale: problem.ours() for scale, problem in problems.items()}
    for place, kind in enumerate((LOSS, GRADIENT)):
        errors = {scale: check(problems[scale], {OURS: ours[scale][kind][OURS]})[OURS] for scale in scales}
        found = fastest({str(scale): ours[scale][kind][OURS] for scale in scales}, seconds)
        for scale in scales:
            ratio = found[str(scale)] / found[str(scales[0])]
            is_first = scale == scales[0]
            table.add(
                f"{scale:g}",
                kind,
                f"{found[str(scale)] / shape.cells * 1e9:.3f}",
                "" if is_first else times(ratio),
                "" if is_first else "≤ 3 ×",
                verdict(None if is_first else ratio <= 3),
                f"{errors[scale][place]:.0e}",
            )
    return table


def alignment(shape: Shape, seconds: float) -> Table:
    """The best path from logits, with its spans as Python objects; torchaudio, if installed, from log-probabilities."""
    table = Table(f"Viterbi alignment: {shape}", ["candidate", "ns per cell", "target", "reached"])
    problem = Problem.of(shape)
    candidates: Candidates = {OURS: lambda: seqloss_rs.ctc_align(problem.logits, problem.targets)}
    found = seqloss_rs.ctc_align(problem.logits, problem.targets)
    log_probs = functional.log_softmax(torch.from_numpy(problem.logits).double(), -1).numpy()
    for frames, labels, score in zip(log_probs, found.labels, found.scores, strict=True):
        # The score is that of the path; that no path is better is shown in tests/test_decoding.py.
        assert abs(np.take_along_axis(frames, labels[:, None], 1).sum() - score) <= 1e-9 * abs(score)
    if importlib.util.find_spec("torchaudio"):
        align = importlib.import_module("torchaudio.functional").forced_align
        given = torch.from_numpy(log_probs).float()
        labels = torch.from_numpy(problem.targets)
        candidates["torchaudio"] = lambda: [align(given[i : i + 1], labels[i : i + 1]) for i in range(shape.sequences)]
    for name, duration in fastest(candidates, seconds).items():
        cost = duration / shape.cells * 1e9
        is_ours = name == OURS
        table.add(name, f"{cost:.3f}", "≤ 0.5 ns" if is_ours else "", verdict(cost <= 0.5 if is_ours else None))
    return table


def half_precision(shapes: list[Shape], seconds: float) -> Table:
    """Not beside torch, whose CTC takes neither type on the CPU."""
    table = Table("float16 and bfloat16", ["shape", "what", "type", "ns per cell", "time over that of float32"])
    gradient = value_and_grad(ctc_loss)
    calls: dict[str, Callable[..., Any]] = {LOSS: ctc_loss, GRADIENT: gradient}

    def on(logits: Array, targets: Array, kind: str) -> Callable[[], Any]:
        return lambda: calls[kind](logits, targets, reduction="sum")

    for shape in shapes:
        problem = Problem.of(shape)
        logits = {"float32": problem.logits}
        for dtype in (np.float16, ml_dtypes.bfloat16):
            logits[np.dtype(dtype).name] = problem.logits.astype(dtype)
            narrow = logits[np.dtype(dtype).name]
            for own, target in zip(narrow, problem.targets, strict=True):
                value, slope = gradient(own, target, reduction="sum")
                true_value, true_slope = gradient(own.astype(np.float32), target, reduction="sum")
                if value != true_value or slope.tobytes() != true_slope.astype(dtype).tobytes():
                    sys.exit(f"{shape}: the answer for {np.dtype(dtype).name} is not that for float32, rounded")
        for kind in calls:
            found = fastest({name: on(rows, problem.targets, kind) for name, rows in logits.items()}, seconds)
            for name, taken in found.items():
                per_cell, ratio = taken / shape.cells * 1e9, taken / found["float32"]
                table.add(str(shape), kind, name, f"{per_cell:.3f}", "" if name == "float32" else f"{ratio:.2f}")
    return table


MOST_MEMORY = 4 << 30

# The most that getrusage tells begins with what the process had that started this one: Linux's own count does not.
MEMORY = """
import re, resource, sys, time
from pathlib import Path
import numpy as np
from seqloss_rs import ctc_loss, value_and_grad

def kilobytes(what):
    return int(re.search(what + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

frames, length, limit = map(int, sys.argv[1:])
logits = np.random.default_rng(0).standard_normal((frames, 32), dtype=np.float32) * 3
target, out = np.arange(length) % 31 + 1, np.zeros_like(logits)
out += 1
gradient = value_and_grad(ctc_loss, out=out)
value_and_grad(ctc_loss)(logits[:100], target[:3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before, start = kilobytes("VmRSS"), time.perf_counter()
try:
    gradient(logits, target)
except MemoryError:
    sys.exit("more")
seconds = time.perf_counter() - start
print((kilobytes("VmHWM") - before) * 1024, seconds)
"""


def memory() -> Table:
    """By how much a process of its own grows in one call, logits and gradient left out."""
    table = Table(
        "Memory of one call with gradient, on one thread", ["shape", "grows by", "target", "reached", "seconds"]
    )
    for frames, length, most in ((1500, 400, None), (20_000, 2_000, None), (100_000, 5_000, 1e9)):
        command = [sys.executable, "-c", MEMORY, str(frames), str(length), str(MOST_MEMORY)]
        environment = {**os.environ, "SEQLOSS_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        name, target = f"N=1 T={frames} L={length} C=32", "" if most is None else f"≤ {most / 1e9:g} GB"
        if done.returncode and done.stderr.strip() == "more":
            table.add(
                name, f"more than {MOST_MEMORY / 1e9:.1f} GB", target, verdict(None if most is None else False), ""
            )
            continue
        done.check_returncode()
        size, seconds = map(float, done.stdout.split())
        is_reached = None if most is None else size <= most
        table.add(name, f"{size / 1e6:.1f} MB", target, verdict(is_reached), f"{seconds:.2f}")
    return table


def machine(xla: Xla | None, load: float) -> str:
    config = seqloss_rs.show_config()
    versions = {name: importlib.metadata.version(name) for name in ("torch", *(("jax", "optax") if xla else ()))}
    is_changed = bool(git("status", "--porcelain", "--untracked-files=all", "--", "src", "python", "Cargo.toml"))
    return "\n".join(
        [
            f"* machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
            f"{load:.1f} processes were running at the start",
            f"* instruction set in use: {config['simd']}, and the targets are those for it; float32; logits of scale 3",
            f"* seqloss_rs {config['version']} at {git('rev-parse', '--short', 'HEAD')}"
            + (" with changes that are not committed" if is_changed else ""),
            f"* Python {config['python']}, NumPy {config['numpy']}, "
            + ", ".join(f"{name} {version}" for name, version in versions.items()),
        ]
    )


if __name__ == "__main__":
    main()
