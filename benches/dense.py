"""Measures the dense losses (cross-entropy, MSE, MAE) beside torch, NumPy, XLA where JAX is installed, and memory.

Every answer is compared with the definition in float64 before it is timed; a rival that is wrong is told of, and not
timed. Candidates take turns, with a plain read and a plain copy of as many bytes among them, and the fastest round of
each counts: so what is reached of the memory's speed is of that minute. Everything runs on one thread and on two; NumPy
and XLA, which are compiled for one or keep the threads of their start, are compared on one.

Three gradients are timed: a new array (as torch's eager backward makes one; compared with it), one written to an array
that is there already (as a plain copy is; compared with that), and one written over the logits, which are restored
between rounds. ``--record`` writes the tables to ``benches/record/``.
"""

import argparse
import datetime
import gc
import importlib.metadata
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import seqloss_rs
import torch
from compare import ROOT, Candidates, fastest, git, processor, repeated
from ctc import Table, Xla, times, verdict
from numpy.typing import NDArray
from seqloss_rs import cross_entropy_loss, mae_loss, mse_loss, value_and_grad
from torch.nn import functional

Array = NDArray[Any]

OURS, INTO_OUT, IN_PLACE = "seqloss_rs", "seqloss_rs into out=", "seqloss_rs in place"
TORCH, NUMPY, XLA = "torch", "NumPy", "XLA"
LOSS, GRADIENT = "loss", "loss and gradient"

# How far the value may be off, over the truth, and the gradient, over its largest number. A number of bfloat16 has 8
# bits, so that a gradient in it is off by up to 2⁻⁸ of itself.
MOST_OF_OURS = {"float32": (1e-6, 2e-6), "bfloat16": (1e-6, 2.0**-8 + 2e-6)}
MOST_OF_RIVALS = {"float32": (1e-3, 1e-3), "bfloat16": (2e-2, 2e-2)}

# From this share of the speed of memory on, float32 is bound by it, and bfloat16 has to gain by its size.
IS_BOUND = 2 / 3
THREADS = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
DTYPES = [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)]


@dataclass(frozen=True)
class Target:
    """What is aimed at, for the loss and with gradient: a ratio to torch, or a share of what a read or a copy takes."""

    over_torch: tuple[float | None, float | None] = (None, None)
    of_bandwidth: tuple[float | None, float | None] = (None, None)


@dataclass
class Problem:
    """One call, and the same call of the others; `numbers` holds all of `x`, and `y` too where it is as large."""

    name: str
    loss: Any
    x: Array
    y: Array
    numbers: Array
    truths: Callable[["Problem"], Iterator[tuple[slice, float, Array]]]
    of_torch: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    of_numpy: Callable[[Array, Array], Any]
    of_xla: Callable[[Xla, Any, Any], Any]
    target: Target

    @property
    def dtype(self) -> str:
        return self.x.dtype.name

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the tables to benches/record/")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time each, and a tenth of what is large")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each comparison takes (default: 4)")
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN",
        help="only what matches, like '50257 float32', 'MSE', 'small shapes', 'ten numbers' or 'memory'",
    )
    arguments = parser.parse_args()
    seconds = arguments.seconds / 10 if arguments.quick else arguments.seconds
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    xla = Xla.if_installed()

    def is_wanted(name: object) -> bool:
        return bool(re.search(arguments.only, str(name)))

    speed, found = speed_table(), Found()
    for name, make in problems(arguments.quick):
        for dtype in DTYPES:
            if is_wanted(f"{name} {dtype.name}"):
                measure(make(dtype), xla, seconds, speed, found)
                # Gigabytes, in the largest.
                gc.collect()
    tables = [speed, narrow_table(found)]
    if is_wanted("small shapes"):
        tables.append(small_shapes(seconds / 8))
    if is_wanted("ten numbers"):
        tables.append(ten_numbers(seconds / 8))
    if is_wanted("memory") and sys.platform == "linux":
        tables.append(memory())

    report = "\n\n".join([machine(xla, load), *(str(table) for table in tables if table.rows)]) + "\n"
    print(report)
    if arguments.record:
        path = ROOT / "benches" / "record" / f"{datetime.date.today()}-{git('rev-parse', '--short', 'HEAD')}-dense.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# benches/dense.py\n\n{report}", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")


# ---------------------------------------------------------------------------------------------------------------------
# What is computed


def problems(is_quick: bool) -> Iterator[tuple[str, Callable[[np.dtype[Any]], Problem]]]:
    """The names, and what makes each: one at a time, because the largest take gigabytes."""
    for rows, classes in ((512, 50257), (4096, 32000), (16384, 1000), (65536, 32)):
        part = rows // 8 if is_quick else rows
        name = f"cross-entropy {part} x {classes}"
        yield name, partial(cross_entropy, name, part, classes)
    size = 5_000_000 if is_quick else 50_000_000
    for kind in ("MSE", "MAE"):
        name = f"{kind} of {size // 1_000_000} M"
        yield name, partial(pointwise, name, kind, size)


def cross_entropy(name: str, rows: int, classes: int, dtype: np.dtype[Any]) -> Problem:
    random = np.random.default_rng(1)
    x = np.empty((rows, classes), dtype)
    for part in blocks(rows, classes):
        x[part] = random.standard_normal(x[part].shape, dtype=np.float32) * np.float32(3)

    def of_numpy(x: Array, y: Array) -> Any:
        shifted = x - x.max(axis=1, keepdims=True)
        chosen = shifted[np.arange(len(y)), y]
        return (np.log(np.exp(shifted, out=shifted).sum(axis=1)) - chosen).mean()

    return Problem(
        name,
        cross_entropy_loss,
        x,
        random.integers(0, classes, rows),
        x,
        cross_entropy_truths,
        functional.cross_entropy,
        of_numpy,
        lambda xla, x, y: xla.optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
        Target((10, 15), (0.85, 0.75) if classes >= 32_000 else (None, None)),
    )


def cross_entropy_truths(problem: Problem) -> Iterator[tuple[slice, float, Array]]:
    count, classes = problem.x.shape
    for part in blocks(count, classes):
        shifted = problem.x[part].astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        places = np.arange(len(shifted)), problem.y[part]
        chosen = shifted[places]
        powers = np.exp(shifted, out=shifted)
        sums = powers.sum(axis=1, keepdims=True)
        slope = np.divide(powers, sums, out=powers)
        slope[places] -= 1
        slope /= count
        yield part, math.fsum(np.log(sums[:, 0]) - chosen) / count, slope


def pointwise(name: str, kind: str, size: int, dtype: np.dtype[Any]) -> Problem:
    random = np.random.default_rng(2)
    numbers = np.empty(2 * size, dtype)
    for part in blocks(2 * size, 1):
        numbers[part] = random.standard_normal(len(numbers[part]), dtype=np.float32)
    is_square = kind == "MSE"

    def of_numpy(x: Array, y: Array) -> Any:
        difference = x - y
        return (np.square if is_square else np.abs)(difference, out=difference).mean()

    def of_xla(xla: Xla, x: Any, y: Any) -> Any:
        return (xla.jax.numpy.square if is_square else xla.jax.numpy.abs)(x - y).mean()

    def truths(problem: Problem) -> Iterator[tuple[slice, float, Array]]:
        for part in blocks(size, 1):
            difference = problem.x[part].astype(np.float64) - problem.y[part].astype(np.float64)
            value = np.square(difference).sum() if is_square else np.abs(difference).sum()
            yield part, value / size, (2 * difference if is_square else np.sign(difference)) / size

    return Problem(
        name,
        mse_loss if is_square else mae_loss,
        numbers[:size],
        numbers[size:],
        numbers,
        truths,
        functional.mse_loss if is_square else functional.l1_loss,
        of_numpy,
        of_xla,
        Target(of_bandwidth=(0.9, None)),
    )


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices of about a million numbers: what is computed in float64 is not to be there as a whole."""
    step = max(1, (1 << 20) // width)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def as_tensor(array: Array) -> torch.Tensor:
    """The same numbers as a tensor, also those of bfloat16."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def as_float64(number: Any) -> Array:
    if isinstance(number, torch.Tensor):
        return number.double().numpy()
    return np.asarray(number).astype(np.float64)


@dataclass
class Calls:
    """The candidates of one comparison, what has to be done before some of them, and how memory is read and written."""

    timed: Candidates
    before: Candidates = field(default_factory=dict)
    # Among these the fastest counts.
    memory: Candidates = field(default_factory=dict)


class Comparison:
    """The calls for one problem, with the arrays that they write to."""

    def __init__(self, problem: Problem, xla: Xla | None, pool: ThreadPoolExecutor) -> None:
        self.problem, self.xla, self.pool = problem, xla, pool
        # Written once, so that its pages are there before anything is timed.
        self.out, self.work = problem.x.copy(), problem.x.copy()

    def of(self, kind: str, threads: int) -> Calls:
        return self.of_loss(threads) if kind == LOSS else self.of_gradient(threads)

    def of_loss(self, threads: int) -> Calls:
        problem = self.problem
        x, y = as_tensor(problem.x), as_tensor(problem.y)

        def value() -> tuple[Any]:
            with torch.no_grad():
                return (problem.of_torch(x, y),)

        timed: Candidates = {OURS: lambda: (problem.loss(problem.x, problem.y),), TORCH: value}
        if threads == 1 and problem.dtype == "float32":
            timed[NUMPY] = lambda: (problem.of_numpy(problem.x, problem.y),)
        if threads == 1 and self.xla:
            jax, loss, given = self.xla.jax, self.xla.jax.jit(self.loss_of_xla), self.given_to_xla()
            timed[XLA] = lambda: (jax.block_until_ready(loss(*given)),)
        return Calls(timed, memory=self.reading(threads))

    def of_gradient(self, threads: int) -> Calls:
        problem = self.problem
        x, y = as_tensor(problem.x), as_tensor(problem.y)

        def gradient() -> tuple[Any, Any]:
            leaf = x.detach().requires_grad_()
            value = problem.of_torch(leaf, y)
            return value.detach(), torch.autograd.grad(value, leaf)[0]

        new = value_and_grad(problem.loss)
        into_out, in_place = (value_and_grad(problem.loss, out=out) for out in (self.out, self.work))
        timed: Candidates = {
            OURS: lambda: new(problem.x, problem.y),
            INTO_OUT: lambda: into_out(problem.x, problem.y),
            IN_PLACE: lambda: in_place(self.work, problem.y),
            TORCH: gradient,
        }
        if threads == 1 and self.xla:
            jax, both, given = self.xla.jax, self.xla.jax.jit(self.gradient_of_xla()), self.given_to_xla()
            timed[XLA] = lambda: jax.block_until_ready(both(*given))
        return Calls(timed, {IN_PLACE: lambda: np.copyto(self.work, problem.x)}, self.copying(threads))

    def loss_of_xla(self, x: Any, y: Any) -> Any:
        assert self.xla is not None
        return self.problem.of_xla(self.xla, x, y)

    def gradient_of_xla(self) -> Any:
        assert self.xla is not None
        return self.xla.jax.value_and_grad(self.loss_of_xla)

    def given_to_xla(self) -> tuple[Any, Any]:
        assert self.xla is not None
        y = self.problem.y
        return tuple(map(self.xla.jax.numpy.asarray, (self.problem.x, y.astype(np.int32) if y.dtype == int else y)))

    def reading(self, threads: int) -> Candidates:
        """Ways to read all the numbers once."""
        flat = self.problem.numbers.reshape(-1)
        integers, words, tensor = flat.view(np.int64), flat.view(np.int32), torch.from_numpy(flat.view(np.float32))
        return {
            "torch's sum": tensor.sum,
            "torch's maximum": torch.from_numpy(words).max,
            "NumPy's sum": self.split(threads, np.add.reduce, integers),
            "NumPy's maximum of words": self.split(threads, np.maximum.reduce, words),
            "NumPy's maximum": self.split(threads, np.maximum.reduce, integers),
        }

    def copying(self, threads: int) -> Candidates:
        """Ways to copy the first argument to memory that is there already."""
        x, out = (array.reshape(-1).view(np.int64) for array in (self.problem.x, self.out))
        source, destination = torch.from_numpy(x), torch.from_numpy(out)
        return {"torch's": lambda: destination.copy_(source), "NumPy's": self.split(threads, np.copyto, out, x)}

    def split(self, threads: int, call: Callable[..., Any], *arrays: Array) -> Callable[[], Any]:
        """The call on as many parts of the arrays as there are threads: NumPy itself uses one."""
        if threads == 1:
            return lambda: call(*arrays)
        parts = list(zip(*(np.array_split(array, threads) for array in arrays), strict=True))
        return lambda: list(self.pool.map(lambda part: call(*part), parts))


def check(problem: Problem, calls: Calls) -> dict[str, tuple[float, float]]:
    """The errors of each: of the value, and of the gradient; stops where ours is wrong, and leaves out who else is."""
    answers = {}
    for name, call in calls.timed.items():
        calls.before.get(name, lambda: None)()
        answers[name] = call()
    total, largest, slopes = [], 0.0, dict.fromkeys(answers, 0.0)
    for part, value, slope in problem.truths(problem):
        total.append(value)
        largest = max(largest, float(np.abs(slope).max()))
        for name, answer in answers.items():
            if len(answer) > 1:
                slopes[name] = max(slopes[name], float(np.abs(as_float64(answer[1][part]) - slope).max()))
    truth, errors = math.fsum(total), {}
    for name, answer in answers.items():
        errors[name] = (abs(float(answer[0]) / truth - 1), slopes[name] / largest)
        is_ours = name in (OURS, INTO_OUT, IN_PLACE)
        most = (MOST_OF_OURS if is_ours else MOST_OF_RIVALS)[problem.dtype]
        if not all(error <= limit for error, limit in zip(errors[name], most, strict=True)):
            if is_ours:
                sys.exit(f"{problem}: the answer of {name} is off by {errors[name]}, so it is not timed")
            del calls.timed[name]
    return errors


# ---------------------------------------------------------------------------------------------------------------------
# What is told


@dataclass
class Measured:
    """What bfloat16 is compared with float32 by: seconds, and the share of what a read or a copy takes."""

    seconds: float
    share: float


Found = dict[tuple[str, str, int, str], Measured]


def speed_table() -> Table:
    head = [
        "",
        "type",
        "threads",
        "what",
        "ms",
        "× torch",
        "× NumPy",
        "× XLA",
        "ms with out=",
        "× torch",
        "ms in place",
        "of a read or a copy",
        "target",
        "reached",
        "errors: ours, torch",
    ]
    return Table("Cross-entropy, MSE and MAE", head)


def measure(problem: Problem, xla: Xla | None, seconds: float, table: Table, found: Found) -> None:
    values = []
    with ThreadPoolExecutor(max(THREADS)) as pool:
        comparison = Comparison(problem, xla, pool)
        for threads in THREADS:
            on_threads(threads)
            values.append(problem.loss(problem.x, problem.y))
            for place, kind in enumerate((LOSS, GRADIENT)):
                calls = comparison.of(kind, threads)
                errors = check(problem, calls)
                taken = fastest(calls.timed | calls.memory, seconds, calls.before)
                # The memory of the rest is needed for the next.
                tell(problem, threads, place, kind, taken, calls, errors, table, found)
                del calls
                gc.collect()
    if len(set(values)) > 1:
        sys.exit(f"{problem}: {values[0]} on one thread, {values[1]} on two")


def tell(
    problem: Problem,
    threads: int,
    place: int,
    kind: str,
    taken: dict[str, float],
    calls: Calls,
    errors: dict[str, tuple[float, float]],
    table: Table,
    found: Found,
) -> None:
    memory = min(taken[name] for name in calls.memory)
    # A copy reads and writes the first argument; where there is a second one, it is read as well.
    copied = 2 * problem.x.nbytes
    moved = problem.numbers.nbytes + (problem.x.nbytes if kind == GRADIENT else 0)
    speed = (copied if kind == GRADIENT else moved) / memory
    like = taken.get(INTO_OUT, taken[OURS])
    share = moved / like / speed
    found[problem.name, problem.dtype, threads, kind] = Measured(like, share)

    def over(name: str, ours: str) -> str:
        if ours not in taken or name not in errors:
            return "–"
        return times(taken[name] / taken[ours]) if name in taken else f"off by {max(errors[name]):.0e}"

    reached, targets = [], []
    ratio, part = problem.target.over_torch[place], problem.target.of_bandwidth[place]
    if ratio is not None:
        targets.append(f"≥ {ratio:g} × torch")
        if TORCH in taken:
            reached.append(taken[TORCH] / taken[OURS] >= ratio)
    if part is not None:
        targets.append(f"≥ {part:.0%} of a {('read', 'copy')[place]}")
        reached.append(share >= part)
    table.add(
        problem.name,
        problem.dtype,
        str(threads),
        kind,
        f"{taken[OURS] * 1e3:.3f}",
        over(TORCH, OURS),
        over(NUMPY, OURS),
        over(XLA, OURS),
        f"{taken[INTO_OUT] * 1e3:.3f}" if INTO_OUT in taken else "",
        over(TORCH, INTO_OUT) if INTO_OUT in taken else "",
        f"{taken[IN_PLACE] * 1e3:.3f}" if IN_PLACE in taken else "",
        f"{share:.0%} of {speed / 1e9:.1f} GB/s",
        " or ".join(targets),
        verdict(any(reached) if reached else None),
        ", ".join(f"{errors[name][place]:.0e}" for name in (OURS, TORCH)),
    )


def narrow_table(found: Found) -> Table:
    """Of the times without a new gradient: making the memory for one has a price of its own."""
    head = ["", "threads", "what", "rows per second over float32's", "float32 of a read or a copy", "target", "reached"]
    table = Table("bfloat16 beside float32", head)
    for (name, dtype, threads, kind), narrow in found.items():
        wide = found.get((name, "float32", threads, kind))
        if dtype == "float32" or wide is None:
            continue
        gain, is_bound = wide.seconds / narrow.seconds, wide.share >= IS_BOUND
        target = "≥ 1.6 ×" if is_bound else ""
        table.add(
            name,
            str(threads),
            kind,
            times(gain),
            f"{wide.share:.0%}",
            target,
            verdict(gain >= 1.6 if is_bound else None),
        )
    return table


def small_shapes(seconds: float) -> Table:
    head = ["", *(f"{kind}, {t} thread{'s'[: t - 1]}" for t in THREADS for kind in (LOSS, GRADIENT)), "never slower"]
    table = Table("Small shapes of cross-entropy, float32: µs, and × torch", head)
    for rows in (8, 32, 128, 512):
        for classes in (10, 32, 128, 512, 1000):
            name = f"{rows} x {classes}"
            problem = cross_entropy(name, rows, classes, np.dtype(np.float32))
            cells, ratios = [], []
            with ThreadPoolExecutor(max(THREADS)) as pool:
                comparison = Comparison(problem, None, pool)
                for threads in THREADS:
                    on_threads(threads)
                    for kind in (LOSS, GRADIENT):
                        calls = comparison.of(kind, threads)
                        check(problem, calls)
                        # The threads of one library go on waiting for work when the other's turn has come.
                        often = max(1, round(0.03 / fastest({OURS: calls.timed[OURS]}, 0.01)[OURS]))
                        pair = {who: repeated(calls.timed[who], often) for who in (OURS, TORCH)}
                        taken = fastest(pair, seconds)
                        ratios.append(taken[TORCH] / taken[OURS])
                        cells.append(f"{taken[OURS] / often * 1e6:.2f}, {times(ratios[-1])}")
            table.add(name, *cells, verdict(min(ratios) >= 1))
    return table


def ten_numbers(seconds: float) -> Table:
    """What a call costs that computes next to nothing."""
    on_threads(1)
    random = np.random.default_rng(4)
    x, y = (random.standard_normal(10, dtype=np.float32) for _ in range(2))
    logits, classes = x.reshape(2, 5), np.array([3, 1])
    wide_logits, wide_x, wide_y = logits.astype(np.float64), x.astype(np.float64), y.astype(np.float64)
    chosen = wide_logits[[0, 1], classes] - np.log(np.exp(wide_logits).sum(axis=1))
    table = Table("A call on ten numbers, float32", ["", "µs", "target", "reached", "with gradient, µs", "torch, µs"])
    rivals: dict[Any, Any] = {
        cross_entropy_loss: functional.cross_entropy,
        mse_loss: functional.mse_loss,
        mae_loss: functional.l1_loss,
    }
    cases: list[tuple[Any, tuple[Array, Array], float]] = [
        (cross_entropy_loss, (logits, classes), -chosen.mean()),
        (mse_loss, (x, y), np.square(wide_x - wide_y).mean()),
        (mae_loss, (x, y), np.abs(wide_x - wide_y).mean()),
    ]
    for loss, given, truth in cases:
        if not abs(loss(*given) / truth - 1) <= MOST_OF_OURS["float32"][0]:
            sys.exit(f"{loss.__name__}: {loss(*given)} is not {truth}, so it is not timed")
        candidates: Candidates = {
            OURS: partial(loss, *given),
            GRADIENT: partial(value_and_grad(loss), *given),
            TORCH: partial(rivals[loss], *map(torch.from_numpy, given)),
        }
        often = 1000
        with torch.no_grad():
            taken = fastest({name: repeated(call, often) for name, call in candidates.items()}, seconds)
        micro = {name: one / often * 1e6 for name, one in taken.items()}
        table.add(
            loss.__name__,
            f"{micro[OURS]:.2f}",
            "≤ 3 µs",
            verdict(micro[OURS] <= 3),
            f"{micro[GRADIENT]:.2f}",
            f"{micro[TORCH]:.2f}",
        )
    return table


# Threads are there before the call that is watched, started by one whose rows are as short as can be.
MEMORY = """
import re, sys
from pathlib import Path
import ml_dtypes, numpy as np, seqloss_rs
from seqloss_rs import value_and_grad

def kilobytes(what):
    return int(re.search(what + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

name, rows, width, dtype, with_gradient = sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:]
loss, random = getattr(seqloss_rs, name), np.random.default_rng(0)

def numbers(rows, width):
    result = np.empty((rows, width), dtype)
    flat = result.reshape(-1)
    for start in range(0, flat.size, 10_000):
        part = flat[start : start + 10_000]
        part[:] = random.standard_normal(part.size, dtype=np.float32)
    return result

def call(rows, width):
    x = numbers(rows, width)
    y = random.integers(0, width, rows) if name == "cross_entropy_loss" else numbers(rows, width)
    if with_gradient == "True":
        return lambda gradient=value_and_grad(loss, out=numbers(rows, width)): gradient(x, y)
    return lambda: loss(x, y)

call(200_000, 2)()
watched = call(rows, width)
before = kilobytes("VmRSS")
watched()
print((kilobytes("VmHWM") - before) * 1024)
"""

# What a process grows by that calls anything at all: pages of stacks and of code.
UNAVOIDABLE = 500_000


def memory() -> Table:
    """By how much the most memory of a process of its own grows in one call; arrays of before the call left out."""
    head = ["", "type", "threads", "what", "arrays", "grows by", "target", "reached"]
    table = Table("Memory of one call, the gradient into out=", head)
    for name, loss, rows, width in (
        ("cross-entropy", "cross_entropy_loss", 512, 50257),
        ("cross-entropy", "cross_entropy_loss", 64, 1_000_000),
        ("MSE", "mse_loss", 64, 1_000_000),
        ("MAE", "mae_loss", 64, 1_000_000),
    ):
        for dtype in DTYPES:
            for threads in THREADS:
                for with_gradient in (False, True):
                    command = [sys.executable, "-c", MEMORY, loss, str(rows), str(width), dtype.name]
                    environment = {
                        **os.environ,
                        "SEQLOSS_NUM_THREADS": str(threads),
                        "OPENBLAS_NUM_THREADS": "1",
                        # What is freed goes back to the system, so that it is seen when it is taken again.
                        "MALLOC_TRIM_THRESHOLD_": "0",
                    }
                    done = subprocess.run(
                        [*command, str(with_gradient)], env=environment, capture_output=True, text=True, check=True
                    )
                    grown = float(done.stdout)
                    # A row of float32 for each thread: narrow numbers are widened.
                    most = threads * width * 4 + UNAVOIDABLE
                    table.add(
                        f"{name} {rows} x {width}",
                        dtype.name,
                        str(threads),
                        GRADIENT if with_gradient else LOSS,
                        f"{rows * width * dtype.itemsize / 1e6:.0f} MB each",
                        f"{grown / 1e6:.2f} MB",
                        f"≤ {most / 1e6:.2f} MB",
                        verdict(grown <= most),
                    )
    return table


def on_threads(count: int) -> None:
    seqloss_rs.set_num_threads(count)
    torch.set_num_threads(count)


def machine(xla: Xla | None, load: float) -> str:
    config = seqloss_rs.show_config()
    versions = {name: importlib.metadata.version(name) for name in ("torch", *(("jax", "optax") if xla else ()))}
    is_changed = bool(git("status", "--porcelain", "--untracked-files=all", "--", "src", "python", "Cargo.toml"))
    return "\n".join(
        [
            f"* machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
            f"{load:.1f} processes were running at the start",
            f"* instruction set in use: {config['simd']}; logits of scale 3, other numbers of scale 1",
            f"* seqloss_rs {config['version']} at {git('rev-parse', '--short', 'HEAD')}"
            + (" with changes that are not committed" if is_changed else ""),
            f"* Python {config['python']}, NumPy {config['numpy']}, "
            + ", ".join(f"{name} {version}" for name, version in versions.items()),
            "* the ratios behind `ms` compare new gradients on both sides; the one behind `ms with out=` compares "
            "torch's new one with one that is written to memory which is there already, as that of a plain copy is",
        ]
    )


if __name__ == "__main__":
    main()
