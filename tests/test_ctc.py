"""What is promised of CTC alone: how exact it is, the same bits, how much memory it takes, and what it survives.

The truth is the recursion in the log domain with 64 bits of mantissa, which is itself compared with mpmath here. What
is true of every loss (reductions, layouts of memory, errors) is tested beside the others.
"""

import hashlib
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_ctc
import numpy as np
import pytest
import seqloss_rs
from cases import FLOATS, Array, bytes_of, pad
from conftest import Run
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ctc_by_mpmath, ctc_by_recursion, ctc_gradient_by_mpmath, ctc_truth
from seqloss_rs import ctc_loss, value_and_grad

ctc: Any = ctc_loss
ask: Any = value_and_grad(ctc_loss)

has_wide_truth = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="no type here is wider than float64, by which to judge it"
)


def random_logits(seed: int, steps: int, classes: int, scale: float) -> Array:
    """Logits of float64 that are all of float32 too."""
    logits = np.random.default_rng(seed).normal(size=(steps, classes)) * scale
    return logits.astype(np.float32).astype(np.float64)


def least_frames(target: Array) -> int:
    """A frame for every label, and one for the blank between equal ones."""
    return len(target) + int(np.count_nonzero(target[1:] == target[:-1]))


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = seqloss_rs.get_num_threads()
    yield
    seqloss_rs.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------------------
# The truth


@pytest.mark.parametrize(
    ("steps", "target", "blank", "scale"),
    [(1, [], 0, 1.0), (1, [2], 0, 6.0), (5, [1, 1], 3, 3.0), (6, [1, 2, 1], 0, 40.0), (7, [2, 2, 2], 1, 150.0)],
)
def test_the_truth_agrees_with_mpmath(steps: int, target: list[int], blank: int, scale: float) -> None:
    logits = random_logits(steps, steps, 4, scale)
    loss, gradient = ctc_truth(logits, target, blank)
    assert loss == pytest.approx(float(ctc_by_mpmath(logits, target, blank)), rel=1e-15, abs=1e-18)
    slope = ctc_gradient_by_mpmath(logits, target, blank)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-15)
    _, from_log_probs = ctc_truth(logits, target, blank, "log_probs")
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    # The posterior is the same whether or not the scores of a frame are normalised.
    np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True) + from_log_probs, slope, rtol=0, atol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# Exactness


@dataclass
class Sample:
    """Logits, a target, and what is true of them."""

    logits: Array
    target: Array
    loss: float
    gradient: Array


@pytest.fixture(scope="module")
def long_sequence() -> Sample:
    """T=10,000, L=500, C=32, scale 6: here the log domain of float32 loses half of the mass of a frame."""
    logits = random_logits(31, 10_000, 32, 6.0)
    target = np.random.default_rng(32).integers(1, 32, 500)
    return Sample(logits, target, *ctc_truth(logits, target))


@has_wide_truth
@pytest.mark.parametrize(
    ("dtype", "relative", "most", "most_of_sum"), [("float32", 1e-6, 5e-6, 5e-7), ("float64", 1e-12, 1e-10, 1e-14)]
)
def test_a_long_sequence(long_sequence: Sample, dtype: str, relative: float, most: float, most_of_sum: float) -> None:
    value, gradient = ask(long_sequence.logits.astype(dtype), long_sequence.target, reduction="sum")
    assert value == pytest.approx(long_sequence.loss, rel=relative)
    np.testing.assert_allclose(gradient, long_sequence.gradient, rtol=0, atol=most)
    assert np.abs(gradient.astype(np.float64).sum(axis=1)).max() <= most_of_sum
    value, gradient = ask(log_softmax(long_sequence.logits), long_sequence.target, scores="log_probs", reduction="sum")
    assert value == pytest.approx(long_sequence.loss, rel=1e-12)
    assert np.abs(gradient.sum(axis=1) + 1).max() <= 1e-10


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


# T, L and what is special about the logits: around the sizes at which frames are taken in blocks, where all paths are
# one (T = L), where the target is empty, and where states lie thousands of bits apart.
SHAPES = {
    "short": (40, 9, 1.0, ""),
    "flat": (400, 60, 0.0, ""),
    "weak": (400, 60, 0.1, ""),
    "strong": (400, 60, 20.0, ""),
    "stronger": (400, 60, 60.0, ""),
    "strongest": (400, 60, 150.0, ""),
    "a blank that wins": (400, 60, 6.0, "blank"),
    "a blank that wins, strong": (300, 40, 60.0, "blank"),
    "repeats": (400, 60, 6.0, "repeats"),
    "nothing but repeats": (400, 60, 6.0, "one label"),
    "as many labels as frames": (256, 256, 6.0, "all different"),
    "as many labels as frames but one": (257, 256, 60.0, "all different"),
    "repeats that just fit": (255, 128, 6.0, "one label"),
    "no labels": (400, 0, 6.0, ""),
    "one label": (400, 1, 20.0, ""),
    "what cannot be": (400, 60, 6.0, "infinite"),
    "what cannot be, strong": (300, 40, 150.0, "infinite"),
    "many classes": (60, 20, 3.0, "many"),
    "two classes": (300, 20, 3.0, "two"),
}


def make(name: str) -> tuple[Array, Array]:
    """The logits and the target of a shape."""
    steps, length, scale, special = SHAPES[name]
    generator = np.random.default_rng(len(name))
    classes = {"many": 3000, "two": 2}.get(special, 20)
    logits = random_logits(len(name), steps, classes, scale)
    target = generator.integers(1, classes, length)
    if special == "blank":
        logits[:, 0] += 30
    elif special == "repeats":
        target = np.repeat(target, 3)[:length]
    elif special == "one label":
        target = np.full(length, 7)
    elif special == "all different":
        target = np.arange(length) % (classes - 1) + 1
    elif special == "infinite":
        # A twentieth is impossible, but never the blank and the next label at once: the target is still possible.
        impossible = generator.random(logits.shape) < 0.05
        impossible[:, 0] &= generator.random(steps) < 0.5
        impossible[::3] = False
        logits[impossible] = -np.inf
    assert least_frames(target) <= steps
    return logits, target


@has_wide_truth
@pytest.mark.parametrize("name", SHAPES)
def test_exactness(name: str) -> None:
    logits, target = make(name)
    loss, slope = ctc_truth(logits, target)
    assert math.isfinite(loss)
    for dtype, relative, most, most_of_sum in (("float32", 1e-6, 5e-6, 5e-7), ("float64", 1e-12, 1e-10, 1e-14)):
        value, gradient = ask(logits.astype(dtype), target, reduction="sum")
        assert value == pytest.approx(loss, rel=relative)
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=most)
        assert np.abs(gradient.astype(np.float64).sum(axis=1)).max() <= most_of_sum
        assert not np.any(gradient[np.isneginf(logits)])
    value, gradient = ask(logits, target, scores="log_probs", reduction="sum")
    unnormalised, posterior = ctc_truth(logits, target, 0, "log_probs")
    assert value == pytest.approx(unnormalised, rel=1e-12)
    np.testing.assert_allclose(gradient, posterior, rtol=0, atol=1e-10)


@pytest.mark.parametrize("steps", [*range(1, 41), 63, 64, 65, 127, 128, 129])
def test_any_number_of_frames_and_labels(steps: int) -> None:
    """Every T to 40 with every L that fits, so that no edge of a block or of the band is left out."""
    for length in range(steps + 1) if steps <= 40 else (0, 1, 7, 8, 9, steps // 2, steps):
        logits = random_logits(steps * 1000 + length, steps, 6, 3.0)
        target = np.random.default_rng(length).integers(1, 6, length)
        while least_frames(target) > steps:
            target = target[:-1]
        loss, slope = ctc_truth(logits, target, number=np.float64)
        for dtype, relative, most in (("float32", 1e-6, 5e-6), ("float64", 1e-12, 1e-12)):
            value, gradient = ask(logits.astype(dtype), target, reduction="sum")
            assert value == pytest.approx(loss, rel=relative)
            np.testing.assert_allclose(gradient, slope, rtol=0, atol=most)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-7), ("float64", 1e-13)])
@pytest.mark.parametrize("margin", [12, 20, 25, 28, 29, 30, 33, 40, 80, 800])
@pytest.mark.parametrize("steps", [1, 7, 8, 9, 40, 200])
def test_a_sure_alignment(steps: int, margin: int, dtype: str, most: float) -> None:
    """Truths from 1e-2 over 1e-12 to 1e-300; the loss is as near to them as is promised, and never below 0."""
    generator = np.random.default_rng(steps)
    target = generator.integers(1, 5, steps // 3)
    path = np.zeros(steps, int)
    for label, first in zip(target, range(0, steps, 3), strict=False):
        path[first : first + 2] = label
    logits = random_logits(steps, steps, 5, 0.5)
    logits[np.arange(steps), path] += margin
    logits = logits.astype(dtype)
    truth = float(ctc_by_mpmath(logits, target, 0))
    value = ctc(logits, target, reduction="none")
    assert value.dtype == dtype
    assert float(value) >= 0
    assert not np.signbit(value)
    with_gradient, gradient = ask(logits, target, reduction="sum")
    for loss in (float(value), with_gradient):
        assert abs(loss - truth) <= most * max(1.0, 10 * truth)
    assert np.abs(gradient).max() <= truth + most


@pytest.mark.parametrize("margin", [600.0, 700.0, 710.0, 740.0, 760.0, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("steps", [2, 3, 8, 9, 17])
def test_what_is_impossible_beside_what_is_hardly_possible(steps: int, margin: float) -> None:
    """A state of probability 0 must not push out one that no float can hold, wherever it stands."""
    target = np.array([1, 2])
    for frame in range(steps):
        for impossible in range(3):
            for unlikely in ({0, 1, 2} - {impossible}, {1}, {2}, {0}):
                logits = random_logits(frame, steps, 4, 1.0)
                logits[frame, list(unlikely)] -= margin
                logits[frame, impossible] = -np.inf
                # What float64 is given is what float32 can hold.
                rows = logits.astype(np.float32)
                loss, slope = ctc_truth(rows, target)
                for dtype, relative, most in (("float32", 1e-6, 5e-6), ("float64", 1e-12, 1e-10)):
                    value, gradient = ask(rows.astype(dtype), target, reduction="sum")
                    assert value == pytest.approx(loss, rel=relative)
                    np.testing.assert_allclose(gradient, slope, rtol=0, atol=most)


# What random cases have found. Other cases are meant when make_case changes; they are found again by what stands above.
FOUND = [(2, 340), (2, 770), (2, 12828), (2, 15889), (4, 235)]


@has_wide_truth
@pytest.mark.parametrize(("seed", "index"), FOUND)
def test_what_random_cases_have_found(seed: int, index: int) -> None:
    assert fuzz_ctc.faults(fuzz_ctc.make_case(seed, index)) == []


def in_segments(count: int, frames: int, length: int, apart: float, kinds: int = 4) -> Sample:
    """A sequence of any length of which the truth is known from short ones.

    Even segments may say the first half of the classes, odd ones the second, and what they may not say is less probable
    by exp(-apart). The target goes from half to half with them, so that it can be cut in one way only: the loss is the
    sum of the losses of the segments, and the gradient is theirs, one after the other.
    """
    halves = (np.arange(1, 13), np.arange(13, 25))
    parts = []
    for kind in range(kinds):
        rows = random_logits(kind, frames, 25, 3.0)
        rows[:, halves[1 - kind % 2]] -= apart
        rows = rows.astype(np.float32).astype(np.float64)
        target = np.random.default_rng(kind).choice(halves[kind % 2], length)
        parts.append(Sample(rows, target, *ctc_truth(rows, target)))
    chain = [parts[segment % kinds] for segment in range(count)]
    return Sample(
        np.concatenate([part.logits for part in chain]),
        np.concatenate([part.target for part in chain]),
        math.fsum(part.loss for part in chain),
        np.concatenate([part.gradient for part in chain]),
    )


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("apart", [60.0, 200.0, np.inf])
@pytest.mark.parametrize(("segments", "frames", "length"), [(2, 5, 2), (7, 37, 9), (40, 64, 16), (30, 333, 20)])
def test_segments_that_do_not_share_their_labels(segments: int, frames: int, length: int, apart: float) -> None:
    sample = in_segments(segments, frames, length, apart)
    for dtype, relative, most in (("float32", 1e-6, 5e-6), ("float64", 1e-12, 1e-10)):
        for count in (1, 2):
            seqloss_rs.set_num_threads(count)
            value, gradient = ask(sample.logits.astype(dtype), sample.target, reduction="sum")
            assert value == pytest.approx(sample.loss, rel=relative)
            np.testing.assert_allclose(gradient, sample.gradient, rtol=0, atol=most)


# ---------------------------------------------------------------------------------------------------------------------
# The same bits


# T and L: around whole blocks of frames and of labels, and long enough for checkpoints and for two ends at once.
SIZES = [
    *((steps, steps // 3) for steps in range(1, 41)),
    *((steps, 31 + steps % 3) for steps in (127, 128, 129, 255, 256, 257)),
    (520, 160),
    (1023, 129),
    (1500, 64),
    (2048, 17),
    (2999, 299),
    (3000, 300),
    (3000, 1),
    (3000, 0),
]


def long_batch(dtype: np.dtype[Any], scale: float) -> tuple[list[Array], list[Array]]:
    """A sequence of each size."""
    generator = np.random.default_rng(41)
    logits = [(generator.normal(size=(steps, 12)) * scale).astype(dtype) for steps, _ in SIZES]
    targets = [generator.integers(1, 12, length) for _, length in SIZES]
    return logits, targets


# Logits that a short period of common exponents can bear, and logits that it cannot.
SCALES = (3.0, 60.0)


@pytest.fixture(scope="module", params=[(name, scale) for name in ("float32", "float64") for scale in SCALES], ids=str)
def batch(request: pytest.FixtureRequest) -> tuple[list[Array], list[Array], Array, list[Array]]:
    """A long batch, its losses and its gradients, on one thread."""
    name, scale = request.param
    logits, targets = long_batch(FLOATS[name], scale)
    before = seqloss_rs.get_num_threads()
    seqloss_rs.set_num_threads(1)
    value, gradient = ask(logits, targets, reduction="none")
    seqloss_rs.set_num_threads(before)
    return logits, targets, value, gradient


Batch = tuple[list[Array], list[Array], Array, list[Array]]


@pytest.mark.usefixtures("threads")
def test_long_sequences_on_any_number_of_threads(batch: Batch) -> None:
    logits, targets, value, gradient = batch
    for count in (1, 2, 3):
        seqloss_rs.set_num_threads(count)
        assert bytes_of(ask(logits, targets, reduction="none")) == bytes_of((value, gradient))
        assert bytes_of(ctc(logits, targets, reduction="none")) == bytes_of(value)


@pytest.mark.usefixtures("threads")
def test_long_sequences_alone_or_in_a_batch(batch: Batch) -> None:
    logits, targets, value, gradient = batch
    for count in (1, 2):
        seqloss_rs.set_num_threads(count)
        for rows, target, loss, slope in zip(logits, targets, value, gradient, strict=True):
            own_value, own_gradient = ask(rows, target, reduction="none")
            assert own_value.tobytes() == loss.tobytes()
            assert own_gradient.tobytes() == slope.tobytes()
            assert ctc(rows, target, reduction="none").tobytes() == loss.tobytes()


def test_long_sequences_padded_and_time_major(batch: Batch) -> None:
    logits, targets, value, gradient = batch
    # What is padded here would take 50 arrays of 3,000 frames: some of each size are enough.
    chosen = [*range(0, 40, 3), *range(40, len(SIZES))]
    lengths = [len(logits[index]) for index in chosen]
    padded, labels = pad([logits[index] for index in chosen]), pad([targets[index] for index in chosen])
    label_lengths = [len(targets[index]) for index in chosen]
    by_time = np.ascontiguousarray(padded.transpose(1, 0, 2))
    for array, layout in ((padded, "NTC"), (by_time, "TNC"), (padded.transpose(1, 0, 2), "TNC")):
        losses, slopes = ask(array, labels, lengths, label_lengths, layout=layout, reduction="none")
        assert losses.tobytes() == value[chosen].tobytes()
        assert slopes.shape == array.shape
        for place, (index, length) in enumerate(zip(chosen, lengths, strict=True)):
            slope = slopes[place] if layout == "NTC" else slopes[:, place]
            assert slope[:length].tobytes() == gradient[index].tobytes()
            assert not slope[length:].any()


def test_long_sequences_in_place(batch: Batch) -> None:
    logits, targets, value, gradient = batch
    for out in ([np.full_like(rows, np.nan) for rows in logits], [rows.copy() for rows in logits]):
        # The second is the logits themselves, which are overwritten.
        rows = out if np.isfinite(out[0]).all() else logits
        losses, slopes = value_and_grad(ctc, out=out)(rows, targets, reduction="none")
        assert losses.tobytes() == value.tobytes()
        for own, slope in zip(out, gradient, strict=True):
            assert own.tobytes() == slope.tobytes()
        assert bytes_of(slopes) == bytes_of(gradient)


def test_a_factor_is_multiplied_with_the_gradient(batch: Batch) -> None:
    """The factor of a sequence comes last, so that a power of two changes no bit of what is multiplied."""
    logits, targets, value, gradient = batch
    factors = np.asarray(2.0 ** (np.arange(len(logits)) % 7 - 3))
    losses, slopes = value_and_grad(ctc, grad_output=factors)(logits, targets, reduction="none")
    assert losses.tobytes() == value.tobytes()
    for own, slope, factor in zip(slopes, gradient, factors, strict=True):
        # In what is subnormal, digits are lost.
        normal = np.abs(slope) > np.finfo(slope.dtype).tiny * 64
        np.testing.assert_array_equal(own[normal], slope[normal] * slope.dtype.type(factor))


def digests() -> dict[str, str]:
    """What the long batches give, for comparison between processes."""
    result = {}
    for name, dtype in FLOATS.items():
        for scale in SCALES:
            value, gradient = ask(*long_batch(dtype, scale), reduction="none")
            for (steps, length), loss, slope in zip(SIZES, value, gradient, strict=True):
                digest = hashlib.sha256(loss.tobytes() + slope.tobytes()).hexdigest()
                result[f"{name}, scale {scale:g}, T={steps} L={length}"] = digest
    return result


DIGESTS = """
    import json
    import test_ctc
    print(json.dumps(test_ctc.digests()))
"""


@pytest.mark.parametrize(("level", "feature"), [("avx2", "fma"), ("avx512", "avx512f")])
def test_long_sequences_on_any_instruction_set(level: str, feature: str, run_python: Run) -> None:
    information = Path("/proc/cpuinfo")
    if not information.exists() or f" {feature}" not in information.read_text():
        pytest.skip(f"this processor has no {level}")
    done = run_python(DIGESTS, SEQLOSS_SIMD=level, SEQLOSS_NUM_THREADS="1")
    other, expected = json.loads(done.stdout), digests()
    assert [name for name in expected if other[name] != expected[name]] == []


# ---------------------------------------------------------------------------------------------------------------------
# float16 and bfloat16


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("scale", [0.5, 6.0, 60.0])
def test_half_precision_is_widened_exactly_and_rounded_once(name: str, scale: float) -> None:
    logits, targets = long_batch(FLOATS[name], scale)
    logits[20][3, 4:7] = -np.inf
    logits[21][2] = np.nan
    targets[22] = np.full(60, 3)
    wide = [rows.astype(np.float32) for rows in logits]
    losses = ctc(wide, targets, reduction="none")
    assert ctc(logits, targets, reduction="none").tobytes() == losses.tobytes()
    for options in ({"reduction": "none"}, {"reduction": "mean", "zero_infinity": True}):
        value, gradient = ask(logits, targets, **options)
        expected, slopes = ask(wide, targets, **options)
        assert bytes_of(value) == bytes_of(expected)
        for own, slope in zip(gradient, slopes, strict=True):
            assert own.dtype == FLOATS[name]
            np.testing.assert_array_equal(own.astype(np.float32), slope.astype(FLOATS[name]).astype(np.float32))


# ---------------------------------------------------------------------------------------------------------------------
# Memory

# The most that getrusage tells begins with what the process had that started this one: Linux's own count does not.
PEAK = """
    import re, resource, sys
    from pathlib import Path
    import numpy as np
    import test_ctc
    from seqloss_rs import ctc_loss, value_and_grad

    def kilobytes(what):
        return int(re.search(what + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

    segments, frames, length, with_gradient, limit = (int(argument) for argument in sys.argv[1:])
    sample = test_ctc.in_segments(segments, frames, length, 60.0)
    logits, out = sample.logits.astype(np.float32), np.ones(sample.logits.shape, np.float32)
    value_and_grad(ctc_loss, out=out[:100])(logits[:100], sample.target[:3])
    before = kilobytes("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    if with_gradient:
        value, _ = value_and_grad(ctc_loss, out=out)(logits, sample.target, reduction="sum")
    else:
        value = ctc_loss(logits, sample.target, reduction="sum")
    print((kilobytes("VmHWM") - before) << 10)
    assert abs(value / sample.loss - 1) <= 1e-6, (value, sample.loss)
    if with_gradient:
        assert np.abs(out - sample.gradient).max() <= 5e-6
"""


def peak(run_python: Run, segments: int, frames: int, length: int, with_gradient: bool, threads: int = 1) -> int:
    """By how many bytes a call makes the process grow, which is stopped at 4 GB; its answer is right."""
    arguments = (str(number) for number in (segments, frames, length, int(with_gradient), 4 << 30))
    done = run_python(PEAK, *arguments, SEQLOSS_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS="1")
    return int(done.stdout)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how much memory it has is asked of Linux")


@linux
def test_the_loss_alone_takes_a_few_rows(run_python: Run) -> None:
    assert peak(run_python, 40, 500, 50, with_gradient=False) < 8 << 20


@linux
@pytest.mark.parametrize(("segments", "threads"), [(100, 1), (200, 2)])
def test_the_gradient_of_a_very_long_sequence_takes_less_than_a_gigabyte(
    segments: int, threads: int, run_python: Run
) -> None:
    """T=100,000 and L=5,000 on two threads; half of it, because it takes a while, on one."""
    assert peak(run_python, segments, 500, 25, with_gradient=True, threads=threads) < 1_000_000_000


# ---------------------------------------------------------------------------------------------------------------------
# What has crashed torch, or given it NaN, as it was reported


def refused(pattern: str, *arguments: Any, **options: Any) -> None:
    """Both the loss and its gradient refuse these, before they write anything."""
    with pytest.raises(ValueError, match=pattern):
        ctc(*arguments, **options)
    out = np.full_like(arguments[0], 77)
    with pytest.raises(ValueError, match=pattern):
        value_and_grad(ctc_loss, out=out)(*arguments, **options)
    assert np.all(out == 77)


@pytest.mark.parametrize("bad", [20, 21, 32_767, 2**40, 2**63 - 1, -1, -2, -512, -(2**63)])
def test_pytorch_193794_targets_that_are_no_classes(bad: int) -> None:
    """The heap was corrupted by the gradient."""
    generator = np.random.default_rng(1)
    log_probs = generator.random((50, 16, 20), np.float32)
    targets = generator.integers(1, 20, (16, 30))
    targets[11, 29] = bad
    options = {"layout": "TNC", "scores": "log_probs"}
    refused(rf"targets\[11, 29\] is {bad}( or more)?, which is not a class in 0\.\.20", log_probs, targets, **options)
    # Beyond the length of a target nothing is read.
    lengths = np.full(16, 29)
    assert np.isfinite(ask(log_probs, targets, None, lengths, **options)[1]).all()
    concatenated = targets.ravel()
    refused(
        rf"targets.* is {bad}( or more)?, which is not a class",
        log_probs,
        concatenated,
        None,
        np.full(16, 30),
        **options,
    )


def test_pytorch_51732_large_negative_lengths() -> None:
    """A segmentation fault."""
    log_probs, targets = np.ones((1, 2, 1), np.float32), np.ones((2, 1), np.int64)
    lengths = np.array([-5570080269274466818, -1])
    options = {"layout": "TNC", "scores": "log_probs"}
    refused(r"^input_lengths\[0\] is -5570080269274466818\b", log_probs, targets, lengths, [1, 1], **options)
    refused(r"^targets\[0, 0\] is 1\b", log_probs, targets, [1, 1], [1, 1], **options)
    with_class = np.ones((1, 2, 2), np.float32)
    for bad in (-1, -(2**63), 2, 2**63 - 1):
        refused(rf"^target_lengths\[1\] is {bad}\b", with_class, targets, [1, 1], np.array([1, bad]), **options)
        refused(rf"^input_lengths\[1\] is {bad}\b", with_class, targets, np.array([1, bad]), [1, 1], **options)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("least", [(-2, -4, -4), (-512, -32, -2)], ids=["78151", "92843"])
def test_pytorch_78151_and_92843_everything_at_random(least: tuple[int, int, int], seed: int) -> None:
    """Labels and lengths of which hardly one is right: the gradient of the first and the loss of the second crashed."""
    generator = np.random.default_rng(seed)
    sequences, classes = (16, 20) if seed % 2 else (3, 15)
    log_probs = generator.random((50, sequences, classes), np.float32)
    targets = generator.integers(least[0], [2, 32_768][seed % 2], (sequences, 30))
    input_lengths = generator.integers(least[1], 33, sequences)
    target_lengths = generator.integers(least[2], 32, sequences)
    input_lengths[0], target_lengths[1] = -1, 31
    options = {"layout": "TNC", "scores": "log_probs", "blank": seed % 3}
    refused(r"^(targets|input_lengths|target_lengths)\[", log_probs, targets, input_lengths, target_lengths, **options)


@pytest.mark.parametrize(
    ("lengths", "total"), [([2, 2, 2], 5), ([2, 2, 2], 7), ([0, 0, 0], 1), ([2**62, 2**62, 2**63 - 1], 3), ([1], 1)]
)
def test_pytorch_16646_targets_in_one_row_and_lengths_that_do_not_add_up(lengths: list[int], total: int) -> None:
    """Freed memory was written to."""
    refused("target_lengths", np.zeros((3, 8, 4)), np.ones(total, np.int64), None, np.array(lengths))


@pytest.mark.parametrize("targets", [np.zeros(0, np.int64), np.zeros((3, 0), np.int64), np.full((3, 4), -9)], ids=str)
def test_pytorch_18215_empty_targets(targets: Array) -> None:
    """The gradient was wrong. Only blanks are left: p − 1 at the blank, p elsewhere."""
    logits = random_logits(3, 150, 15, 2.0).reshape(3, 50, 15)
    value, gradient = ask(logits, targets, [50, 50, 0], [0, 0, 0], reduction="none")
    log_p = log_softmax(logits)
    np.testing.assert_allclose(value, [*-log_p[:2, :, 0].sum(axis=1), 0.0], rtol=1e-13)
    expected = np.exp(log_p)
    expected[..., 0] -= 1
    expected[2] = 0
    np.testing.assert_allclose(gradient, expected, atol=1e-14)


def test_pytorch_18215_an_empty_target_among_others() -> None:
    logits = random_logits(4, 60, 5, 2.0).reshape(3, 20, 5)
    targets = [np.array([1, 2, 2]), np.zeros(0, np.int64), np.array([4])]
    value, gradient = ask(logits, pad(targets), None, [3, 0, 1], reduction="none")
    for index, target in enumerate(targets):
        loss, slope = ctc_truth(logits[index], target)
        assert value[index] == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(gradient[index], slope, atol=1e-13)


def test_pytorch_14401_long_sequences_of_a_large_batch_without_one_target_of_full_width() -> None:
    """NaN after some epochs: about 1,000 frames, padded targets of which none fills its row."""
    logits = random_logits(5, 4 * 1000, 30, 4.0).reshape(4, 1000, 30).astype(np.float32)
    targets = np.full((4, 400), -1)
    lengths = [399, 250, 100, 1]
    for row, length in zip(targets, lengths, strict=True):
        row[:length] = np.arange(length) % 29 + 1
    value, gradient = ask(logits, targets, [1000, 1000, 999, 1000], lengths, reduction="none")
    for index in range(4):
        steps = 999 if index == 2 else 1000
        loss, slope = ctc_truth(logits[index, :steps], targets[index, : lengths[index]], number=np.float64)
        assert value[index] == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(gradient[index, :steps], slope, atol=5e-6)
    assert not gradient[2, 999].any()


def test_pytorch_14335_and_21244_what_is_impossible_gives_no_nan() -> None:
    """Probabilities of 0 at labels and elsewhere, a target that does not fit, and zero_infinity."""
    logits = random_logits(6, 4 * 12, 6, 3.0).reshape(4, 12, 6)
    logits[0, ::2, 5] = -np.inf  # a class that is not in the target
    logits[1, 4:8, 2] = -np.inf  # a label, in some frames
    logits[2, :, 2] = -np.inf  # a label, in every frame
    targets = [[1, 2], [1, 2], [1, 2], [3] * 7]
    for scores in ("logits", "log_probs"):
        for zero_infinity in (False, True):
            value, gradient = ask(logits, targets, scores=scores, zero_infinity=zero_infinity, reduction="none")
            for index in range(4):
                loss, slope = ctc_truth(logits[index], targets[index], 0, scores)
                assert math.isinf(loss) == (index >= 2)
                assert value[index] == pytest.approx(0.0 if zero_infinity and index >= 2 else loss, rel=1e-12)
                np.testing.assert_allclose(gradient[index], slope, atol=1e-13)
                assert not gradient[index][np.isneginf(logits[index])].any()
            assert not gradient[2:].any()


# ---------------------------------------------------------------------------------------------------------------------
# Anything

NUMBERS = st.one_of(
    st.floats(-5, 5, width=32),
    st.floats(-150, 150, width=32),
    st.sampled_from([0.0, -0.0, 1e4, -1e4, -math.inf, 1e-45, -1e-30]),
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Array], list[Array], int]:
    """Logits of float32 that may be anything, targets that may be impossible, and the blank."""
    classes = draw(st.integers(1, 6))
    blank = draw(st.integers(0, classes - 1))
    labels = [label for label in range(classes) if label != blank]
    has_nan = draw(st.integers(0, 4)) == 0
    logits, targets = [], []
    for _ in range(draw(st.integers(1, 4))):
        steps = draw(st.integers(0, 20))
        # A few numbers for all places: equal ones and impossible ones are met more often than among all floats.
        few = draw(st.lists(NUMBERS, min_size=1, max_size=9)) + ([math.nan] if has_nan else [])
        seed = draw(st.integers(0, 2**32 - 1))
        rows = np.random.default_rng(seed).choice(np.array(few), (steps, classes)).astype(np.float32)
        if has_nan and draw(st.booleans()):
            rows = np.nan_to_num(rows, nan=1.0, neginf=-np.inf)
        logits.append(rows)
        length = draw(st.integers(0, 8)) if labels else 0
        targets.append(np.array(draw(st.lists(st.sampled_from(labels or [0]), min_size=length, max_size=length)), int))
    return logits, targets, blank


@given(batches())
@settings(max_examples=400)
def test_anything(drawn: tuple[list[Array], list[Array], int]) -> None:
    logits, targets, blank = drawn
    truths = [ctc_truth(rows, target, blank) for rows, target in zip(logits, targets, strict=True)]
    lengths, label_lengths = [len(rows) for rows in logits], [len(target) for target in targets]
    for dtype, relative, most in (("float32", 1e-5, 1e-5), ("float64", 1e-11, 1e-11)):
        rows = [row.astype(dtype) for row in logits]
        value, gradient = ask(rows, targets, blank=blank, reduction="none")
        padded, slopes = ask(pad(rows), pad(targets), lengths, label_lengths, blank=blank, reduction="none")
        assert padded.tobytes() == value.tobytes()
        for index, (loss, slope) in enumerate(truths):
            own = gradient[index]
            assert slopes[index, : lengths[index]].tobytes() == own.tobytes()
            assert not slopes[index, lengths[index] :].any()
            if not math.isfinite(loss):
                # NaN in a valid frame, or frames in which nothing is possible, give NaN; what does not fit, infinity.
                np.testing.assert_array_equal(value[index], loss)
                np.testing.assert_array_equal(own, slope)
                continue
            assert value[index] >= 0
            assert abs(value[index] - loss) <= relative * max(loss, 1e-2)
            # A logit of 10,000 has 2e-12 in its last digit, and there is one a frame.
            digit = 1e4 * 20 * 2.0**-52 if np.abs(rows[index][np.isfinite(rows[index])]).max(initial=0) > 150 else 0
            np.testing.assert_allclose(own, slope, rtol=0, atol=most + digit)


@has_wide_truth
@pytest.mark.parametrize("part", range(4))
def test_random_cases(part: int) -> None:
    """A part of what fuzz_ctc.py tries."""
    wrong = {}
    for index in range(part * 300, (part + 1) * 300):
        case = fuzz_ctc.make_case(4, index)
        if found := fuzz_ctc.faults(case):
            wrong[f"--seed 4 --first {index} ({case})"] = found
    assert not wrong


def test_random_cases_can_be_tried_by_hand(run_python: Run) -> None:
    done = run_python(
        """
        import sys, fuzz_ctc
        sys.argv = ["fuzz_ctc.py", "20", "--seed", "1", "--first", "100"]
        fuzz_ctc.main()
        """
    )
    assert done.stdout.startswith("20 cases in")
    assert "0 wrong" in done.stdout


def test_random_cases_are_what_they_are_meant_to_be() -> None:
    """What cannot be, what is impossible, what is sure and what is NaN are all among them."""
    cases = [fuzz_ctc.make_case(4, index) for index in range(600)]
    losses = np.array([ctc_truth(case.logits, case.target, case.blank)[0] for case in cases])
    does_fit = np.array([least_frames(case.target) <= len(case.logits) for case in cases])
    repeats: Sequence[bool] = [least_frames(case.target) > len(case.target) for case in cases]
    kinds: dict[str, Callable[[], Any]] = {
        "does not fit": lambda: ~does_fit,
        "fits and is impossible": lambda: does_fit & (losses == np.inf),
        "is NaN": lambda: np.isnan(losses),
        "is sure": lambda: losses < 1e-3,
        "is large": lambda: np.isfinite(losses) & (losses > 1e4),
        "has repeats": lambda: np.array(repeats),
        "has no labels": lambda: np.array([len(case.target) == 0 for case in cases]),
        "has no frames": lambda: np.array([len(case.logits) == 0 for case in cases]),
    }
    for kind, which in kinds.items():
        assert np.count_nonzero(which()) >= 6, kind
    assert np.mean(np.isfinite(losses)) > 0.6


# ---------------------------------------------------------------------------------------------------------------------
# Scores that are no probabilities, and memory that is not there


@pytest.mark.parametrize("top", [1.0, 100.0, 709.5, 710.0, 900.0, 3549.0, 1e4])
def test_log_probs_far_above_0(top: float) -> None:
    """Scores are taken as they are, also where exp of them is no float64."""
    generator = np.random.default_rng(int(top))
    for frames, length in itertools.product((2, 9, 40), (1, 4)):
        scores = generator.normal(size=(frames, 5)) * min(top, 20) + top
        target = generator.integers(1, 5, length)
        if length + (np.diff(target) == 0).sum() > frames:
            continue
        value, gradient = ask(scores, target, scores="log_probs", reduction="sum")
        truth, posterior = ctc_by_recursion(scores, target, 0)
        assert value == pytest.approx(truth, rel=1e-12)
        np.testing.assert_allclose(gradient, -posterior, atol=1e-9, rtol=0)
        dense = seqloss_rs.ctc_posteriors(scores, target, scores="log_probs")
        np.testing.assert_allclose(dense, posterior, atol=1e-9, rtol=0)
        labels = seqloss_rs.ctc_posteriors(scores, target, scores="log_probs", per="label")
        np.testing.assert_array_equal(labels.confidence, 1.0)


@pytest.mark.parametrize("boost", [20.0, 50.0, 200.0])
def test_stars_where_the_blank_is_nearly_sure(boost: float) -> None:
    """What other classes have of a star is not the difference of two numbers near 1."""
    logits = np.zeros((6, 4))
    logits[:, 0] = 60
    logits[2] = [0, 9, 0, 0]
    priors = np.array([boost, 0, 0, 0])
    log_probs = (logits - np.logaddexp.reduce(logits, axis=1)[:, None]).astype(np.longdouble)
    others = np.logaddexp.reduce(log_probs[:, 1:], axis=1)
    star = np.logaddexp(log_probs[:, 0] - boost, others)
    # The one label stands in frames i to j, and stars in all others.
    paths = [
        star[:i].sum() + log_probs[i : j + 1, 1].sum() + star[j + 1 :].sum() for i in range(6) for j in range(i, 6)
    ]
    truth = -float(np.logaddexp.reduce(paths))
    value, gradient = ask(logits, [1], star=["before", "after"], log_priors=priors, reduction="sum")
    assert value == pytest.approx(truth, rel=1e-12)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-13)


def test_a_view_that_agrees_costs_nothing() -> None:
    logits = np.random.default_rng(5).normal(size=(30, 7)).astype(np.float32) * 8
    logits[:, 0] += 60
    plain = ctc(logits, [], reduction="sum")
    assert ctc(logits, [], consistency_with=logits.copy(), consistency_weight=1e6, reduction="sum") >= plain


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of address space is asked for")
def test_little_memory_is_an_error_and_no_abort(run_python: Run) -> None:
    """Whatever does not fit, in steps so small that every allocation is the one that fails at some time."""
    done = run_python(
        """
        import os
        import resource
        import numpy as np
        import seqloss_rs

        seqloss_rs.set_num_threads(1)
        gradient = seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)
        long, wide = np.zeros((400_000, 2), np.float16), np.zeros((100_010, 3), np.float16)
        target, many = np.array([1]), np.tile([1, 2], 50_000)
        out = np.empty_like(wide)
        calls = [
            lambda: seqloss_rs.ctc_loss(long, target),
            lambda: seqloss_rs.ctc_loss(wide, many),
            lambda: seqloss_rs.ctc_loss(wide, many, delay_penalty=0.01, star="before"),
            lambda: seqloss_rs.value_and_grad(seqloss_rs.ctc_loss, out=out)(wide, many),
            lambda: gradient(wide[:3000], many[:1500], entropy_weight=0.1),
            lambda: seqloss_rs.ctc_posteriors(wide, many, per="label"),
        ]
        seqloss_rs.ctc_loss(long[:9], target)
        found = set()
        for call in calls:
            for megabytes in (0, 1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 60, 90):
                child = os.fork()
                if child == 0:
                    with open("/proc/self/statm") as pages:
                        used = int(pages.read().split()[0]) * resource.getpagesize()
                    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)
                    try:
                        call()
                    except MemoryError:
                        os._exit(1)
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                found.add(code)
                if code < 0:
                    print(calls.index(call), megabytes)
        print(sorted(found))
        """,
        deadline=120,
    )
    assert done.stdout.strip() == "[0, 1]"
