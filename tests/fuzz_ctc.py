"""CTC against the truth on random cases: python tests/fuzz_ctc.py 100000 --seed 7

Case i of a seed is the same wherever it is asked for, so that one which fails can be had alone:
python tests/fuzz_ctc.py 1 --seed 7 --first 31415
"""

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference import ctc_truth
from seqloss_rs import ctc_loss, value_and_grad

Array = NDArray[Any]

# What is allowed: the value over the value, the gradient as it is, its sum over a frame, the value where it is near 0.
ALLOWED = {
    "float32": {"value": 1e-6, "gradient": 5e-6, "frame sum": 5e-7, "near zero": 1e-7},
    "float64": {"value": 1e-12, "gradient": 1e-10, "frame sum": 1e-14, "near zero": 1e-13},
}


@dataclass(frozen=True)
class Case:
    """One sequence: logits of float64, which are all of float32 too where `is_single` says so."""

    logits: Array
    target: Array
    blank: int
    is_single: bool

    def __str__(self) -> str:
        steps, classes = self.logits.shape
        return f"T={steps} C={classes} L={len(self.target)} blank={self.blank}"


def make_case(seed: int, index: int) -> Case:
    """T <= 120, L <= 40, C <= 40, logits of scale 0 to 150, with what has broken engines before."""
    generator = np.random.default_rng([seed, index])

    def maybe(probability: float) -> bool:
        return bool(generator.random() < probability)

    def choose(*values: float) -> float:
        return float(generator.choice(values))

    steps = int(generator.integers(1, 121)) if maybe(0.7) else int(generator.integers(0, 20))
    classes = int(generator.integers(2, 41)) if maybe(0.6) else int(generator.integers(2, 6))
    blank = int(choose(0, classes - 1, int(generator.integers(0, classes))))
    labels = np.array([label for label in range(classes) if label != blank])
    longest = 40 if maybe(0.05) else min(40, steps)
    length = min(longest, steps) if maybe(0.1) else int(generator.integers(0, longest + 1))
    target = generator.choice(labels[: int(choose(1, 2, 3, 40, 40, 40))], length)
    if maybe(0.2) and length > 1:
        target = np.repeat(target, 2)[:length]
    while not maybe(0.05) and len(target) + np.count_nonzero(target[1:] == target[:-1]) > steps:
        target = target[:-1]

    scale = choose(0, 0.1, 1, 3, 6, 20, 60, 150) if maybe(0.5) else generator.random() * 150
    logits = generator.normal(size=(steps, classes)) * scale
    if maybe(0.2):
        logits[:, blank] += choose(5, 30, 300)
    if maybe(0.25) and len(target) and steps >= len(target):
        # A model that knows the answer: every label for a time, with blanks between, by so much above the others.
        path = np.full(steps, blank)
        for label, frames in zip(target, np.array_split(np.arange(steps), len(target)), strict=True):
            path[frames[: int(generator.integers(1, len(frames) + 1))]] = label
        logits[np.arange(steps), path] += choose(3, 10, 30, 100, 1000)
    if maybe(0.15):
        logits[generator.random(logits.shape) < 0.05] += choose(1e4, -1e4)
    if maybe(0.3):
        logits[generator.random(logits.shape) < choose(0.01, 0.05, 0.2, 0.5)] = -np.inf
    if maybe(0.1):
        logits[generator.random(steps) < 0.1] = 0.0
    is_single = maybe(0.6)
    if is_single:
        logits = logits.astype(np.float32).astype(np.float64)
    return Case(logits, target.astype(np.int64), blank, is_single)


def faults(case: Case, worst: dict[str, float] | None = None) -> list[str]:
    """What is wrong with the library's answers; `worst` is kept up to date with the share of what is allowed."""
    found: list[str] = []
    worst = {} if worst is None else worst
    loss, slope = ctc_truth(case.logits, case.target, case.blank)
    for dtype in ("float32", "float64") if case.is_single else ("float64",):
        logits = case.logits.astype(dtype)
        value, gradient = value_and_grad(ctc_loss)(logits, case.target, blank=case.blank, reduction="sum")
        alone = ctc_loss(logits, case.target, blank=case.blank, reduction="sum")

        def fault(text: str, dtype: str = dtype) -> None:
            found.append(f"{dtype}: {text}")

        if np.float64(alone).tobytes() != np.float64(value).tobytes():
            fault(f"the value is {alone!r}, and with the gradient {value!r}")
        if not np.isfinite(loss):
            if not np.array_equal(value, loss, equal_nan=True):
                fault(f"the value is {value!r} instead of {loss!r}")
            if not np.array_equal(gradient, slope, equal_nan=True):
                fault(f"the gradient of the value {loss!r} is not as promised")
            continue
        if not value >= 0:
            fault(f"the value is {value!r} instead of {loss!r}")
            continue
        most = ALLOWED[dtype]
        # A log-probability of thousands has this much in its last digit, and a path adds one of every frame.
        finite = np.abs(case.logits[np.isfinite(case.logits)])
        digit = float(finite.max(initial=0.0)) * max(len(logits), 1) * 2.0**-52 if dtype == "float64" else 0.0
        wide = gradient.astype(np.float64)
        errors = {
            "value": abs(value - loss) / (most["value"] * loss + most["near zero"]),
            "gradient": float(np.abs(wide - slope).max(initial=0.0)) / (most["gradient"] + digit),
            "frame sum": float(np.abs(wide.sum(axis=1)).max(initial=0.0)) / most["frame sum"],
        }
        for what, share in errors.items():
            worst[f"{dtype} {what}"] = max(worst.get(f"{dtype} {what}", 0.0), share)
            if not share <= 1:
                fault(f"{what}: {share:.2g} times what is allowed, where the loss is {loss:.6g}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many cases")
    parser.add_argument("--seed", type=int, default=0, help="which cases (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case (default: 0)")
    arguments = parser.parse_args()
    worst: dict[str, float] = {}
    wrong, start = 0, time.monotonic()
    for index in range(arguments.first, arguments.first + arguments.count):
        case = make_case(arguments.seed, index)
        found = faults(case, worst)
        wrong += bool(found)
        for text in found:
            print(f"seed {arguments.seed}, case {index} ({case}): {text}", flush=True)
    print(f"{arguments.count} cases in {time.monotonic() - start:.0f} s, {wrong} wrong; the worst, of what is allowed:")
    for what in sorted(worst):
        print(f"  {what}: {worst[what]:.3g}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
