"""The variants of CTC and its posteriors: against sums over all paths, against recursions, and in their limits.

Of each variant the definition is in reference.py: by classes, by states, and as a recursion; these are compared with
one another first. What is promised of every loss (layouts, reductions, bits) is tested here with each variant.
"""

import hashlib
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from cases import FLOATS, REDUCTIONS, Array, bytes_of, pad
from conftest import Run
from reference import (
    CtcTruth,
    CtcVariant,
    Terms,
    ctc_state_paths,
    ctc_truth,
    ctc_variant_by_classes,
    ctc_variant_by_enumeration,
    ctc_variant_by_recursion,
    reduce,
)
from seqloss_rs import LabelPosteriors, ctc_loss, ctc_posteriors, value_and_grad

ctc: Any = ctc_loss
ask: Any = value_and_grad(ctc_loss)
posteriors: Any = ctc_posteriors

Options = dict[str, Any]

# Each variant alone. What depends on the number of classes is made by `options_of`; the view of "consistency" goes
# with the logits.
ALONE: dict[str, Options] = {
    "plain": {},
    "no merging": {"merge_repeated": False},
    "temperature": {"temperature": 1.75},
    "priors": {"prior_weight": 0.75},
    "late labels": {"delay_penalty": 0.375},
    "early labels": {"delay_penalty": -0.25},
    "star before": {"star": "before", "star_penalty": 0.5},
    "star between": {"star": ["between"], "star_penalty": 1.25},
    "star after": {"star": ("after",)},
    "stars": {"star": ("before", "between", "after"), "star_penalty": 0.25},
    "entropy": {"entropy_weight": 0.5},
    "less entropy": {"entropy_weight": -0.25},
    "focal": {"focal_gamma": 2.0},
    "focal, a root": {"focal_gamma": 0.5},
    "label smoothing": {"label_smoothing": 0.25},
    "consistency": {"consistency_weight": 0.5},
}
# All that act on the recursion, and all that act on frames, at once.
TOGETHER: dict[str, Options] = {
    "the recursion": {
        "merge_repeated": False,
        "temperature": 1.25,
        "prior_weight": 0.5,
        "delay_penalty": 0.125,
        "star": ("before", "after"),
        "star_penalty": 1.0,
        "entropy_weight": 0.25,
    },
    "the frames": {"temperature": 0.75, "focal_gamma": 1.5, "label_smoothing": 0.125, "consistency_weight": 0.5},
}
ALL = ALONE | TOGETHER
NEEDS_SOFTMAX = ("temperature", "star")


def allowed(name: str, scores: str) -> bool:
    """Whether a variant goes with scores."""
    return scores == "logits" or not any(option in ALL[name] for option in NEEDS_SOFTMAX)


WITH_SCORES = [(name, scores) for name in ALL for scores in ("logits", "log_probs") if allowed(name, scores)]


def options_of(name: str, classes: int) -> Options:
    """The options of a variant, for so many classes."""
    options = dict(ALL[name])
    if "prior_weight" in options:
        options["log_priors"] = np.linspace(-2.0, -0.5, classes)
    return options


def variant_of(options: Options, view: Array | None) -> CtcVariant:
    """The same for the reference, of one sequence."""
    star = options.get("star", ())
    words = (star,) if isinstance(star, str) else tuple(star or ())
    shared = {name: option for name, option in options.items() if name not in ("star", "consistency_with")}
    return CtcVariant(star=words, consistency_with=view if needs_view(options) else None, **shared)


def needs_view(options: Options) -> bool:
    return "consistency_weight" in options


def log_softmax(logits: Array) -> Array:
    x = np.asarray(logits, np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = seqloss_rs.get_num_threads()
    yield
    seqloss_rs.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------------------
# Small: the sum over all paths


@dataclass(frozen=True)
class Small:
    """One sequence that is small enough for all of its paths."""

    logits: Array
    target: Array
    blank: int
    view: Array


def small(generator: np.random.Generator, scores: str = "logits", normalised: bool = False) -> Small:
    """Any sequence of up to 6 frames, 4 classes and 3 labels; log-probabilities need not be normalised."""
    steps, classes = int(generator.integers(1, 7)), int(generator.integers(2, 5))
    blank = int(generator.integers(0, classes))
    target = generator.choice([c for c in range(classes) if c != blank], int(generator.integers(0, 4)))
    logits, view = generator.normal(size=(2, steps, classes)) * float(generator.choice([1.0, 3.0]))
    if scores == "log_probs":
        logits, view = (log_softmax(logits), log_softmax(view)) if normalised else (logits - 2, log_softmax(view))
    return Small(logits, target, blank, view)


def random_options(generator: np.random.Generator, classes: int, scores: str) -> Options:
    """Any options at once."""

    def is_drawn() -> bool:
        return bool(generator.random() < 0.35)

    options: Options = {}
    if is_drawn():
        options["merge_repeated"] = False
    if is_drawn() and scores == "logits":
        options["temperature"] = float(generator.uniform(0.5, 2))
    if is_drawn():
        options |= {"log_priors": generator.normal(size=classes), "prior_weight": float(generator.uniform(-1, 1))}
    if is_drawn():
        options["delay_penalty"] = float(generator.normal() * 0.3)
    if is_drawn() and scores == "logits":
        words = tuple(word for word in ("before", "between", "after") if generator.random() < 0.5)
        options |= {"star": words, "star_penalty": float(generator.uniform(0, 2))}
    if is_drawn():
        options["entropy_weight"] = float(generator.normal() * 0.5)
    if is_drawn():
        options["label_smoothing"] = float(generator.uniform(0, 0.5))
    if is_drawn():
        options["consistency_weight"] = float(generator.uniform(0, 1))
    # The focus is on what is left of a probability; it bends where that is 0.
    if is_drawn() and not {"log_priors", "delay_penalty", "star"} & set(options):
        options["focal_gamma"] = float(generator.uniform(0, 3))
    return options


def cases_of(name: str, scores: str, count: int) -> Iterator[tuple[Small, Options]]:
    """Sequences and options of a variant; any options for "any"."""
    generator = np.random.default_rng([len(name), ord(name[-1]), len(scores)])
    for _ in range(count):
        sample = small(generator, scores, normalised="focal" in name)
        classes = sample.logits.shape[1]
        options = random_options(generator, classes, scores) if name == "any" else options_of(name, classes)
        if "focal_gamma" in options and scores == "log_probs":
            sample = Small(log_softmax(sample.logits), sample.target, sample.blank, sample.view)
        yield sample, options


def with_view(options: Options, view: Any) -> Options:
    """The library's keywords."""
    return options | {"consistency_with": view} if needs_view(options) else options


def slope_of(sample: Small, variant: CtcVariant, scores: str, by: float = 1e-5) -> Array:
    """The gradient of the sum over all paths, from central differences."""
    paths = ctc_state_paths(len(sample.logits), sample.target, variant.merge_repeated)
    slope = np.zeros(sample.logits.shape)
    for place in np.ndindex(slope.shape):
        values = []
        for sign in (1, -1):
            moved = sample.logits.copy()
            moved[place] += sign * by
            values.append(ctc_variant_by_enumeration(moved, sample.target, sample.blank, scores, variant, paths)[0])
        slope[place] = (values[0] - values[1]) / (2 * by)
    return slope


def test_states_are_classes() -> None:
    """The reference's paths of states against paths of classes, in which nothing is said about states."""
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(150):
        sample = small(generator)
        options = random_options(generator, sample.logits.shape[1], "log_probs")
        variant = CtcVariant(**{key: options[key] for key in options if key in ("merge_repeated", "delay_penalty")})
        log_p = log_softmax(sample.logits)[:5]
        loss, entropy = ctc_variant_by_classes(log_p, sample.target, sample.blank, variant)
        by_states, _, its_entropy = ctc_variant_by_enumeration(log_p, sample.target, sample.blank, "log_probs", variant)
        assert by_states == pytest.approx(loss, rel=1e-12, abs=1e-12)
        if loss < math.inf:
            assert its_entropy == pytest.approx(entropy, rel=1e-12, abs=1e-12)
            found += 1
    assert found > 75


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
def test_the_recursion_is_the_sum_over_all_paths(scores: str) -> None:
    for sample, options in cases_of("any", scores, 100):
        variant = variant_of(options, sample.view)
        loss, occupancy, entropy = ctc_variant_by_enumeration(
            sample.logits, sample.target, sample.blank, scores, variant
        )
        truth = ctc_variant_by_recursion(sample.logits, sample.target, sample.blank, scores, variant)
        assert truth.loss == pytest.approx(loss, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(truth.occupancy, occupancy, rtol=0, atol=1e-12)
        if loss < math.inf:
            assert truth.entropy == pytest.approx(entropy, rel=1e-11, abs=1e-11)
            slope = slope_of(sample, variant, scores)
            np.testing.assert_allclose(truth.gradient, slope, rtol=0, atol=1e-7 * max(1.0, np.abs(slope).max()))


@pytest.mark.parametrize(
    ("name", "scores"), [*WITH_SCORES, ("any", "logits"), ("any", "log_probs")], ids=lambda word: word
)
def test_value_and_gradient_are_those_of_the_sum_over_all_paths(name: str, scores: str) -> None:
    found = 0
    for sample, options in cases_of(name, scores, 120 if name == "any" else 16):
        variant = variant_of(options, sample.view)
        keywords = with_view(options, sample.view) | {"blank": sample.blank, "scores": scores, "reduction": "sum"}
        loss = ctc_variant_by_enumeration(sample.logits, sample.target, sample.blank, scores, variant)[0]
        value, gradient = ask(sample.logits, sample.target, **keywords)
        assert value == pytest.approx(loss, rel=1e-12, abs=1e-12)
        # The loss alone is computed with less.
        assert ctc(sample.logits, sample.target, **keywords) == value
        assert gradient.shape == sample.logits.shape
        if loss == math.inf:
            assert not gradient.any()
            continue
        truth = ctc_variant_by_recursion(sample.logits, sample.target, sample.blank, scores, variant)
        np.testing.assert_allclose(gradient, truth.gradient, rtol=1e-12, atol=1e-12)
        # Near 0 a focal loss is too crooked for differences.
        if not (variant.focal_gamma and loss < 0.01):
            slope = slope_of(sample, variant, scores)
            np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-7 * max(1.0, np.abs(slope).max()))
        if scores == "logits":
            assert np.abs(gradient.sum(axis=1)).max() <= 1e-13
        found += 1
    assert found >= 5


def torch_loss(torch: Any, x: Any, sample: Small, scores: str, options: Options) -> Any:
    """The sum over all paths, written in torch, which differentiates it."""
    variant = variant_of(options, sample.view)
    labels = len(sample.target)
    log_p, view = x, torch.tensor(sample.view)
    if scores == "logits":
        log_p = torch.log_softmax(x / variant.temperature, -1)
        view = torch.log_softmax(view / variant.temperature, -1)
    counted = log_p
    if variant.log_priors is not None:
        counted = log_p - variant.prior_weight * torch.tensor(np.asarray(variant.log_priors))
    blanks = counted[:, sample.blank]
    others = math.exp(-variant.star_penalty) * (1 - log_p[:, sample.blank].exp())
    states = []
    for state in range(2 * labels + 1):
        if state % 2:
            states.append(counted[:, int(sample.target[state // 2])])
        else:
            states.append((blanks.exp() + others).log() if variant.is_star(state, labels) else blanks)
    paths = torch.tensor(ctc_state_paths(len(x), sample.target, variant.merge_repeated))
    frames = torch.arange(len(x))
    weights = torch.stack(states, 1)[frames, paths].sum(1)
    entered = paths % 2 == 1
    entered[:, 1:] &= paths[:, 1:] != paths[:, :-1]
    weights = weights - variant.delay_penalty * (entered * (frames.double() - (len(x) - 1) / 2)).sum(1)
    loss = -torch.logsumexp(weights, 0)
    entropy = -(torch.softmax(weights, 0) * torch.log_softmax(weights, 0)).sum()
    if variant.focal_gamma:
        loss = (1 - torch.exp(-loss)) ** variant.focal_gamma * loss
    uniform = torch.full_like(log_p, 1 / log_p.shape[1])
    divergence = torch.nn.functional.kl_div
    loss = (1 - variant.label_smoothing) * loss - variant.entropy_weight * entropy
    loss = loss + variant.label_smoothing * divergence(log_p, uniform, reduction="sum")
    if variant.consistency_with is not None:
        loss = loss + variant.consistency_weight * divergence(log_p, view, reduction="sum", log_target=True)
    return loss


@pytest.mark.parametrize(
    ("name", "scores"), [*WITH_SCORES, ("any", "logits"), ("any", "log_probs")], ids=lambda word: word
)
def test_gradient_is_what_torch_makes_of_the_definition(name: str, scores: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed: its gradients are not compared")
    for sample, options in cases_of(name, scores, 60 if name == "any" else 8):
        variant = variant_of(options, sample.view)
        if not len(ctc_state_paths(len(sample.logits), sample.target, variant.merge_repeated)):
            continue
        x = torch.tensor(sample.logits, requires_grad=True)
        loss = torch_loss(torch, x, sample, scores, options)
        (slope,) = torch.autograd.grad(loss, x)
        value, gradient = ask(
            sample.logits,
            sample.target,
            blank=sample.blank,
            scores=scores,
            reduction="sum",
            **with_view(options, sample.view),
        )
        assert value == pytest.approx(float(loss.detach()), rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-10, atol=1e-11)


# ---------------------------------------------------------------------------------------------------------------------
# Long: what blocks of frames, tiles of states and both ends make of it

has_wide_truth = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="no type here is wider than float64, by which to judge it"
)

# T, L, and what is special about target or logits.
LONG: dict[str, tuple[int, int, str]] = {
    "one block less a frame": (7, 3, ""),
    "one block": (8, 4, ""),
    "one block and a frame": (9, 4, ""),
    "two blocks": (16, 7, "repeats"),
    "more labels than a tile": (17, 9, ""),
    "uneven": (65, 20, "repeats"),
    "long": (200, 60, ""),
    "as many labels as frames": (64, 64, "different"),
    "as many labels as frames but one": (65, 64, "different"),
    "sharp": (130, 40, "sharp"),
    "impossible classes": (120, 30, "infinite"),
    "a blank that wins": (100, 30, "blank"),
    "a blank that loses": (60, 50, "no blank"),
    "no labels": (100, 0, ""),
    "one label": (100, 1, ""),
}
ON_THE_RECURSION = [
    name
    for name, options in ALL.items()
    if {"merge_repeated", "delay_penalty", "star", "prior_weight", "entropy_weight"} & set(options)
]


def make_long(name: str) -> tuple[Array, Array, Array]:
    """The logits, the target and another view; all of them are float32 too."""
    steps, length, special = LONG[name]
    generator = np.random.default_rng([steps, length])
    classes = 12
    scale = 30.0 if special == "sharp" else 3.0
    logits, view = generator.normal(size=(2, steps, classes)) * scale
    target = generator.integers(1, classes, length)
    if special == "repeats":
        target = np.repeat(target, 2)[:length]
    elif special == "different":
        target = np.arange(length) % (classes - 1) + 1
    elif special == "blank":
        logits[:, 0] += 30
    elif special == "no blank":
        logits[:, 0] -= 200
    elif special == "infinite":
        impossible = generator.random(logits.shape) < 0.05
        impossible[::3] = False
        logits[impossible] = -np.inf
    return logits.astype(np.float32).astype(np.float64), target, view.astype(np.float32).astype(np.float64)


@has_wide_truth
@pytest.mark.parametrize("shape", LONG)
@pytest.mark.parametrize("name", ON_THE_RECURSION)
def test_long_sequences(name: str, shape: str) -> None:
    logits, target, view = make_long(shape)
    options = options_of(name, logits.shape[1])
    truth = ctc_variant_by_recursion(logits, target, variant=variant_of(options, view))
    assert math.isfinite(truth.loss)
    largest = max(1.0, np.abs(truth.gradient).max())
    for dtype, relative, most in (("float64", 1e-12, 1e-10), ("float32", 1e-6, 5e-6)):
        value, gradient = ask(logits.astype(dtype), target, reduction="sum", **options)
        assert value == pytest.approx(truth.loss, rel=relative, abs=relative)
        np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=most * largest)
        assert ctc(logits.astype(dtype), target, reduction="sum", **options) == value
    if not any(option in options for option in NEEDS_SOFTMAX):
        truth = ctc_variant_by_recursion(logits, target, 0, "log_probs", variant_of(options, view))
        value, gradient = ask(logits, target, reduction="sum", scores="log_probs", **options)
        assert value == pytest.approx(truth.loss, rel=1e-12)
        np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=1e-10 * largest)


@has_wide_truth
def test_any_options_on_long_sequences() -> None:
    """Of any sharpness, with the blank anywhere and classes that are impossible."""
    generator = np.random.default_rng(21)
    found = 0
    for _ in range(80):
        steps, classes = int(generator.choice([15, 16, 17, 40, 63, 64, 65, 130])), int(generator.integers(3, 30))
        blank = int(generator.integers(0, classes))
        labels = [c for c in range(classes) if c != blank]
        target = np.repeat(generator.choice(labels, int(generator.integers(0, 41))), int(generator.integers(1, 3)))
        logits = generator.normal(size=(steps, classes)) * float(generator.choice([0.1, 1, 6, 20, 60, 150]))
        if generator.random() < 0.3:
            logits[generator.random(logits.shape) < 0.05] = -np.inf
        if generator.random() < 0.3:
            logits[:, blank] += float(generator.choice([30, -30, -1000]))
        view = generator.normal(size=logits.shape)
        options = random_options(generator, classes, "logits")
        with np.errstate(all="ignore"):
            truth = ctc_variant_by_recursion(logits, target, blank, "logits", variant_of(options, view))
        value, gradient = ask(logits, target, blank=blank, reduction="sum", **with_view(options, view))
        if not math.isfinite(truth.loss):
            np.testing.assert_equal(value, truth.loss)
            continue
        assert value == pytest.approx(truth.loss, rel=1e-12, abs=1e-12)
        # The entropy is the difference of numbers as large as the loss.
        most = 1e-12 * max(10.0, abs(truth.loss) * 10)
        np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=most)
        found += 1
    assert found >= 30


@pytest.mark.parametrize("penalty", [30.0, 300.0, 500.0])
def test_stars_that_cost_much(penalty: float) -> None:
    """They still are the only way where the blank is less probable than they are."""
    logits, target, _ = make_long("a blank that loses")
    logits[:, 0] -= 500
    options: Options = {"star": ("before", "between", "after"), "star_penalty": penalty}
    truth = ctc_variant_by_recursion(logits, target, variant=variant_of(options, None))
    value, gradient = ask(logits, target, reduction="sum", **options)
    assert value == pytest.approx(truth.loss, rel=1e-12)
    np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# Batches: in every form, dtype and reduction


@dataclass(frozen=True)
class Batch:
    """Sequences of their own lengths: some without frames or labels, some that cannot be aligned."""

    logits: list[Array]
    targets: list[Array]
    views: list[Array]

    def truths(self, options: Options, scores: str = "logits") -> list[CtcTruth]:
        return [
            ctc_variant_by_recursion(logits, target, 0, scores, variant_of(options, view))
            for logits, target, view in zip(self.logits, self.targets, self.views, strict=True)
        ]

    def arguments(self, form: str, options: Options) -> tuple[Any, Any, Options]:
        """The logits, the targets and the keywords of a form; what lies beyond lengths must not be read."""
        if form == "ragged":
            return self.logits, self.targets, with_view(options, self.views)
        logits, views = pad(self.logits), pad(self.views)
        lengths = np.array([len(rows) for rows in self.logits])
        for padded in (logits, views):
            for rows, length in zip(padded, lengths, strict=True):
                rows[length:] = np.nan
        target_lengths = np.array([len(target) for target in self.targets])
        keywords = options | {"input_lengths": lengths, "target_lengths": target_lengths}
        if form == "TNC":
            logits, views = np.ascontiguousarray(logits.swapaxes(0, 1)), np.ascontiguousarray(views.swapaxes(0, 1))
            return logits, np.concatenate(self.targets), with_view(keywords | {"layout": "TNC"}, views)
        targets = np.full((len(lengths), max(target_lengths)), -7)
        for row, target in zip(targets, self.targets, strict=True):
            row[: len(target)] = target
        return logits, targets, with_view(keywords, views)

    def unpadded(self, form: str, gradient: Any) -> list[Array]:
        """The gradient of each sequence; beyond it there are zeros, and no others."""
        if form == "ragged":
            return list(gradient)
        by_sequence = gradient.swapaxes(0, 1) if form == "TNC" else gradient
        for rows, logits in zip(by_sequence, self.logits, strict=True):
            assert not rows[len(logits) :].any()
            assert not np.signbit(rows[len(logits) :]).any()
        return [rows[: len(logits)] for rows, logits in zip(by_sequence, self.logits, strict=True)]


FORMS = ("NTC", "TNC", "ragged")


def make_batch(seed: int, dtype: Any = np.float64, sizes: Sequence[tuple[int, int]] | None = None) -> Batch:
    """Logits are eighths, so that they are the same numbers in every dtype."""
    generator = np.random.default_rng(seed)
    sizes = sizes or ((9, 3), (4, 2), (0, 0), (17, 5), (6, 0), (3, 3), (0, 2))

    def eighths(steps: int) -> Array:
        return (generator.integers(-24, 25, (steps, 5)) / 8).astype(dtype)

    logits = [eighths(steps) for steps, _ in sizes]
    views = [eighths(steps) for steps, _ in sizes]
    targets = [generator.integers(1, 5, length) for _, length in sizes]
    if sizes[5:6] == ((3, 3),):
        targets[5][:] = 2  # needs five frames, or three without merging
    return Batch(logits, targets, views)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ALL)
def test_batches(name: str, form: str) -> None:
    batch = make_batch(11)
    options = options_of(name, 5)
    truths = batch.truths(options)
    logits, targets, keywords = batch.arguments(form, options)
    value, gradient = ask(logits, targets, reduction="none", **keywords)
    losses = np.array([truth.loss for truth in truths])
    np.testing.assert_allclose(value, losses, rtol=1e-12, atol=1e-12)
    # The target of more labels than frames cannot be aligned, whatever the variant.
    assert losses[6] == np.inf
    for found, truth in zip(batch.unpadded(form, gradient), truths, strict=True):
        np.testing.assert_allclose(found, truth.gradient, rtol=0, atol=1e-11)
    weights = np.array([0.5, -2.0, 3.0, 1.5, 0.25, 2.0, 1.0])
    _, weighted = value_and_grad(ctc_loss, grad_output=weights)(logits, targets, reduction="none", **keywords)
    for found, truth, weight in zip(batch.unpadded(form, weighted), truths, weights, strict=True):
        np.testing.assert_allclose(found, weight * truth.gradient, rtol=0, atol=1e-11)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ALL)
def test_reductions(name: str, reduction: str) -> None:
    batch = make_batch(12)
    options = options_of(name, 5)
    truths = batch.truths(options)
    losses = [0.0 if truth.loss == math.inf else truth.loss for truth in truths]
    counts = [float(max(1, len(target))) for target in batch.targets]
    terms = Terms([np.array(loss) for loss in losses], [np.ones(()) for _ in losses], counts, mean_over_sequences=True)
    expected = reduce(terms, reduction)
    logits, targets, keywords = batch.arguments("NTC", options | {"zero_infinity": True})
    value, gradient = ask(logits, targets, reduction=reduction, **keywords)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    shares = {"mean": [1 / count / len(counts) for count in counts], "sequence_mean": [1 / count for count in counts]}
    factors = shares.get(reduction, [1 / len(counts) if reduction == "batch_mean" else 1.0] * len(counts))
    for found, truth, factor in zip(batch.unpadded("NTC", gradient), truths, factors, strict=True):
        np.testing.assert_allclose(found, factor * truth.gradient, rtol=0, atol=1e-11)
    if reduction in ("mean", "sum"):
        value, gradient = ask(logits, targets, reduction=reduction, normalizer=7.0, **keywords)
        assert value == pytest.approx(sum(losses) / 7, rel=1e-12)
        for found, truth in zip(batch.unpadded("NTC", gradient), truths, strict=True):
            np.testing.assert_allclose(found, truth.gradient / 7, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ALL)
def test_dtypes(name: str, dtype: str) -> None:
    batch = make_batch(13, FLOATS[dtype])
    options = options_of(name, 5)
    truths = batch.truths(options)
    logits, targets, keywords = batch.arguments("ragged", options)
    value, gradient = ask(logits, targets, reduction="none", **keywords)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, [truth.loss for truth in truths], rtol=2e-6, atol=2e-6)
    # Half of the last place of a gradient, beside what float32 loses.
    half = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}[dtype]
    for found, truth in zip(gradient, truths, strict=True):
        assert found.dtype == FLOATS[dtype]
        np.testing.assert_allclose(found.astype(np.float64), truth.gradient, rtol=1.01 * half, atol=5e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_view_and_priors_of_another_dtype(dtype: str) -> None:
    batch = make_batch(14)
    expected = ask(batch.logits, batch.targets, consistency_with=batch.views, log_priors=np.arange(5.0))
    views = [view.astype(FLOATS[dtype]) for view in batch.views]
    priors = np.arange(5).astype(FLOATS[dtype])
    assert bytes_of(ask(batch.logits, batch.targets, consistency_with=views, log_priors=priors)) == bytes_of(expected)
    strided = [np.repeat(np.repeat(view, 2, axis=1), 2, axis=0)[::2, ::2] for view in views]
    found = ask(batch.logits, batch.targets, consistency_with=strided, log_priors=np.repeat(priors, 3)[::3])
    assert bytes_of(found) == bytes_of(expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ALL)
def test_in_place(name: str, dtype: str) -> None:
    batch = make_batch(15, FLOATS[dtype])
    options = options_of(name, 5)
    for form in FORMS:
        logits, targets, keywords = batch.arguments(form, options)
        expected = ask(logits, targets, reduction="none", **keywords)
        value, gradient = value_and_grad(ctc_loss, out=logits)(logits, targets, reduction="none", **keywords)
        assert gradient is logits
        assert bytes_of((value, gradient)) == bytes_of(expected)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
@pytest.mark.parametrize("dtype", FLOATS)
def test_view_in_the_memory_of_out(dtype: str, temperature: float) -> None:
    """The view is read in every frame, also after the gradient of another frame or sequence was written."""
    generator = np.random.default_rng(16)
    memory = (generator.integers(-24, 25, (5, 40, 6)) / 8).astype(FLOATS[dtype])
    targets = generator.integers(1, 6, (4, 7))
    options: Options = {"consistency_weight": 0.75, "temperature": temperature, "reduction": "none"}

    def check(logits: Any, view: Any, out: Any) -> None:
        def copy(arrays: Any) -> Any:
            return [array.copy() for array in arrays] if isinstance(arrays, list) else arrays.copy()

        expected = ask(copy(logits), targets, consistency_with=copy(view), **options)
        found = value_and_grad(ctc_loss, out=out)(logits, targets, consistency_with=view, **options)
        assert bytes_of(found) == bytes_of(expected)

    def fresh() -> Array:
        return memory.copy()

    x = fresh()[:4]
    check(x, x, x)  # a view of itself
    x = fresh()[:4]
    check(x, x[::-1], x)  # the other half of the batch, as CR-CTC has it
    x = fresh()
    check(x[1:], x[:-1], x[1:])  # the sequence before
    x = fresh()
    check(x[:4], x[1:], x[:4])  # the sequence behind
    x = fresh()[:4]
    check(x, x[:, ::-1], x)  # other frames of the same sequence
    x = fresh()[:4]
    check(memory[:4], x, x)  # the gradient over the view alone
    x = fresh()
    check(memory[:4], x[:4], x[1:])
    x = fresh()
    check(list(x[1:]), list(x[:-1]), list(x[1:]))


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be, and what is not a number


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
@pytest.mark.parametrize("name", ALL)
def test_targets_that_cannot_be_aligned(name: str, scores: str) -> None:
    if not allowed(name, scores):
        scores = "logits"
    options = options_of(name, 4)
    generator = np.random.default_rng(17)
    frames = log_softmax(generator.normal(size=(3, 6, 4)))
    # Too long; and a first frame of which the target has no use.
    frames[1, 0] = [-np.inf, -np.inf, -np.inf, 0]
    targets = [np.array([1] * 7), np.array([1, 2]), np.array([1, 2])]
    batch = Batch(list(frames), targets, list(log_softmax(generator.normal(size=(3, 6, 4)))))
    truths = batch.truths(options, scores)
    losses = np.array([truth.loss for truth in truths])
    assert losses[0] == np.inf
    assert (losses[1] == np.inf) == ("before" not in variant_of(options, None).star)
    assert math.isfinite(losses[2])
    for zero_infinity in (False, True):
        value, gradient = ask(
            batch.logits,
            targets,
            scores=scores,
            zero_infinity=zero_infinity,
            reduction="none",
            **with_view(options, batch.views),
        )
        shown = np.where(losses == np.inf, 0.0 if zero_infinity else np.inf, losses)
        np.testing.assert_allclose(value, shown, rtol=1e-12, atol=1e-12)
        for found, truth in zip(gradient, truths, strict=True):
            np.testing.assert_allclose(found, truth.gradient, rtol=0, atol=1e-11)
            if truth.loss == math.inf:
                assert not found.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ALL)
def test_what_is_not_a_number(name: str, value: float) -> None:
    options = options_of(name, 5)
    batch = make_batch(18, sizes=((9, 3), (12, 4), (40, 10)))
    expected = ask(batch.logits, batch.targets, reduction="none", **with_view(options, batch.views))
    for frame in (0, 5, 11):
        logits = [rows.copy() for rows in batch.logits]
        logits[1][frame, 3] = value
        for zero_infinity in (False, True):
            found, gradient = ask(
                logits,
                batch.targets,
                reduction="none",
                zero_infinity=zero_infinity,
                **with_view(options, batch.views),
            )
            assert np.isnan(found[1])
            assert np.isnan(gradient[1]).all()
            for other in (0, 2):
                assert bytes_of((found[other], gradient[other])) == bytes_of((expected[0][other], expected[1][other]))
    if needs_view(options):
        views = [rows.copy() for rows in batch.views]
        views[1][7, 2] = value
        found, gradient = ask(batch.logits, batch.targets, reduction="none", **with_view(options, views))
        assert np.isnan(found[1])
        assert np.isnan(gradient[1]).all()
        assert bytes_of((found[0], gradient[0])) == bytes_of((expected[0][0], expected[1][0]))


@pytest.mark.parametrize("name", ALL)
def test_impossible_classes(name: str) -> None:
    options = options_of(name, 5)
    generator = np.random.default_rng(19)
    logits, view = generator.normal(size=(2, 20, 5))
    impossible = generator.random(logits.shape) < 0.2
    impossible[:, 0] &= generator.random(20) < 0.3
    logits[impossible] = -np.inf
    # Only what is impossible in both views adds nothing.
    for views in (view, np.where(impossible, -np.inf, view), np.where(generator.random((20, 5)) < 0.2, -np.inf, view)):
        views[:, 0] = np.where(np.isinf(views).all(axis=1), 0.0, views[:, 0])
        truth = ctc_variant_by_recursion(logits, [1, 2, 2, 4], variant=variant_of(options, views))
        value, gradient = ask(logits, [1, 2, 2, 4], reduction="sum", **with_view(options, views))
        assert value == pytest.approx(truth.loss, rel=1e-12)
        np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=1e-11)
        assert not gradient[impossible].any()
        if "label_smoothing" in options:
            assert value == math.inf  # KL(u ‖ p) where p is 0
            assert ctc(logits, [1, 2, 2, 4], reduction="sum", zero_infinity=True, **with_view(options, views)) == 0
    if needs_view(options):
        assert not math.isinf(ctc(view, [1, 2, 2, 4], **with_view(options, logits)))


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
@pytest.mark.parametrize("name", ALL)
def test_no_frames_and_no_labels(name: str, scores: str) -> None:
    if not allowed(name, scores):
        scores = "logits"
    options = options_of(name, 3) | {"scores": scores}
    empty = np.zeros((0, 3))
    value, gradient = ask(empty, np.zeros(0, int), reduction="sum", **with_view(options, empty))
    assert value == 0.0
    assert gradient.shape == (0, 3)
    value, gradient = ask(empty, [1], reduction="sum", **with_view(options, empty))
    assert value == np.inf
    assert gradient.shape == (0, 3)
    logits, view = log_softmax(np.random.default_rng(20).normal(size=(2, 11, 3)))
    truth = ctc_variant_by_recursion(logits, [], 0, scores, variant_of(options_of(name, 3), view))
    value, gradient = ask(logits, np.zeros(0, int), reduction="sum", **with_view(options, view))
    assert value == pytest.approx(truth.loss, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(gradient, truth.gradient, rtol=0, atol=1e-12)
    batch = np.zeros((0, 4, 3))
    value, gradient = ask(batch, np.zeros((0, 2), int), reduction="none", **with_view(options, batch))
    assert value.shape == (0,)
    assert gradient.shape == (0, 4, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of address space is asked for")
def test_memory_that_entropy_does_not_get(run_python: Run) -> None:
    """With the gradient the entropy keeps all of its states: 1 GB here. The loss alone needs two rows."""
    done = run_python(
        """
        import resource
        import numpy as np
        import seqloss_rs

        logits, target = np.zeros((20_000, 8), np.float32), np.arange(1000) % 7 + 1
        seqloss_rs.set_num_threads(1)
        seqloss_rs.ctc_loss(logits[:100], target[:10], entropy_weight=0.5)
        with open("/proc/self/statm") as pages:
            used = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
        try:
            seqloss_rs.value_and_grad(seqloss_rs.ctc_loss)(logits, target, entropy_weight=0.5)
        except MemoryError:
            print("refused")
        print(seqloss_rs.ctc_loss(logits, target, entropy_weight=0.5) > 0)
        """,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["refused", "True"])


# ---------------------------------------------------------------------------------------------------------------------
# Limits: where a variant is something simpler


def medium(seed: int, steps: int = 50, length: int = 12, classes: int = 8) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(steps, classes)) * 3, generator.integers(1, classes, length)


NEUTRAL: dict[str, Options] = {
    "merge_repeated": {"merge_repeated": True},
    "temperature": {"temperature": 1},
    "no priors": {"log_priors": None, "prior_weight": 3.0},
    "priors that weigh nothing": {"log_priors": np.linspace(-5, 5, 8), "prior_weight": 0.0},
    "delay_penalty": {"delay_penalty": 0.0},
    "star": {"star": None, "star_penalty": 2.0},
    "no stars": {"star": (), "star_penalty": 2.0},
    "entropy_weight": {"entropy_weight": 0.0},
    "focal_gamma": {"focal_gamma": 0.0},
    "label_smoothing": {"label_smoothing": 0.0},
    "no view": {"consistency_with": None, "consistency_weight": 0.7},
    "a view that weighs nothing": {"consistency_with": np.ones((50, 8)), "consistency_weight": 0.0},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_options_change_no_bit(name: str, dtype: str) -> None:
    logits, target = medium(30)
    logits = logits.astype(dtype)
    assert bytes_of(ask(logits, target, **NEUTRAL[name])) == bytes_of(ask(logits, target))
    expected = ask(logits, target, scores="log_probs")
    assert bytes_of(ask(logits, target, scores="log_probs", **NEUTRAL[name])) == bytes_of(expected)


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
def test_the_truth_of_plain_ctc_is_that_of_its_own_tests(scores: str) -> None:
    logits, target = medium(31)
    loss, gradient = ctc_truth(logits, target, 0, scores)
    truth = ctc_variant_by_recursion(logits, target, 0, scores)
    assert truth.loss == pytest.approx(loss, rel=1e-15)
    np.testing.assert_allclose(truth.gradient, gradient, rtol=0, atol=1e-14)


def test_without_merging_all_targets_have_probability_1() -> None:
    logits = np.random.default_rng(32).normal(size=(4, 3))
    for merge_repeated in (False, True):
        options: Options = {"merge_repeated": merge_repeated, "temperature": 0.5, "reduction": "sum"}
        total = 0.0
        for length in range(5):
            losses = [ctc(logits, np.array(y, int), **options) for y in itertools.product([1, 2], repeat=length)]
            total += sum(math.exp(-loss) for loss in losses)
        assert total == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize(("steps", "length"), [(1, 1), (9, 3), (30, 0), (40, 17), (25, 25)])
def test_number_of_paths(steps: int, length: int) -> None:
    """Where all classes are equally probable, a loss counts paths; and the entropy is the logarithm of their number."""
    classes = 5
    logits, target = np.zeros((steps, classes)), np.arange(length) % 4 + 1
    every = steps * math.log(classes)
    for merge_repeated, count in ((True, math.comb(steps + length, 2 * length)), (False, math.comb(steps, length))):
        options: Options = {"merge_repeated": merge_repeated, "reduction": "sum"}
        value, gradient = ask(logits, target, **options)
        assert value == pytest.approx(every - math.log(count), rel=1e-13)
        found, slope = ask(logits, target, entropy_weight=0.5, **options)
        assert found == pytest.approx(value - 0.5 * math.log(count), rel=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-12)
    # Without merging, repeats are labels as any others.
    again = ctc(logits, np.ones(length, int), merge_repeated=False, reduction="sum")
    assert again == pytest.approx(every - math.log(math.comb(steps, length)), rel=1e-13)


def test_where_one_path_is_left() -> None:
    """With a label for every frame nothing is merged, there is no entropy, and no gradient of it."""
    logits, target = medium(33, 20, 20)
    target = np.arange(20) % 7 + 1
    log_p = log_softmax(logits)
    options: Options = {"reduction": "sum"}
    plain, gradient = ask(logits, target, **options)
    assert plain == pytest.approx(-log_p[np.arange(20), target].sum(), rel=1e-13)
    for variant in ({"merge_repeated": False}, {"entropy_weight": 3.0}, {"star": "between"}, {"delay_penalty": 5.0}):
        value, slope = ask(logits, target, **options, **variant)
        assert value == pytest.approx(plain, rel=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
def test_temperature_and_priors_are_changes_of_scores(scores: str) -> None:
    logits, target = medium(34)
    if scores == "logits":
        for temperature in (0.5, 2.0, 4.0):  # exact divisions
            value, gradient = ask(logits / temperature, target)
            expected = bytes_of((value, gradient / temperature))
            assert bytes_of(ask(logits, target, temperature=temperature)) == expected
        value, gradient = ask(logits / 1.7, target)
        found, slope = ask(logits, target, temperature=1.7)
        assert found == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(slope, gradient / 1.7, rtol=0, atol=1e-13)
    else:
        priors = np.linspace(-3, 0, 8)
        value, gradient = ask(logits - 0.25 * priors, target, scores=scores)
        found, slope = ask(logits, target, scores=scores, log_priors=priors, prior_weight=0.25)
        assert found == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-13)
    # What is the same for all classes counts once in every frame.
    value, gradient = ask(logits, target, scores=scores, reduction="sum")
    for prior in (-0.75, 1.0, -250.0, 250.0):
        options: Options = {"log_priors": np.full(8, prior), "prior_weight": 2.0, "reduction": "sum"}
        found, slope = ask(logits, target, scores=scores, **options)
        assert found == pytest.approx(value + 2 * prior * len(logits), rel=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-11)


def test_delay_penalty_and_time() -> None:
    logits, target = medium(35)
    options: Options = {"merge_repeated": False, "reduction": "sum"}
    # Labels of one frame begin where they end: backwards, early is late.
    value, gradient = ask(logits, target, delay_penalty=0.3, **options)
    found, slope = ask(logits[::-1], target[::-1], delay_penalty=-0.3, **options)
    assert found == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slope[::-1], gradient, rtol=0, atol=1e-11)
    # The slope of the loss by the penalty is the expected delay.
    labels = posteriors(logits, target, per="label", merge_repeated=False)
    above, below = (ctc(logits, target, delay_penalty=by, **options) for by in (1e-4, -1e-4))
    delay = (labels.expected_time - (len(logits) - 1) / 2).sum()
    assert (above - below) / 2e-4 == pytest.approx(delay, abs=1e-4)
    # One label in one of four frames.
    lateness = np.exp(-0.4 * (np.arange(4) - 1.5))
    value = ctc(np.zeros((4, 3)), [1], delay_penalty=0.4, **options)
    assert value == pytest.approx(4 * math.log(3) - math.log(lateness.sum()), rel=1e-13)
    # A penalty beyond all measure leaves the earliest path.
    value, gradient = ask(logits, target, delay_penalty=1e4, **options)
    earliest = log_softmax(logits)[:12][np.arange(12), target].sum() + log_softmax(logits)[12:, 0].sum()
    lateness = (np.arange(12) - (len(logits) - 1) / 2).sum()
    assert value == pytest.approx(1e4 * lateness - earliest, rel=1e-12)


def test_stars() -> None:
    logits, target = medium(36)
    options: Options = {"reduction": "sum"}
    everywhere = ("before", "between", "after")
    # That cost more than anything is worth, they are not used.
    value, gradient = ask(logits, target, **options)
    found, slope = ask(logits, target, star=everywhere, star_penalty=100.0, **options)
    assert found == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-14)
    # The order of words, and saying one twice, mean nothing.
    expected = bytes_of(ask(logits, target, star=everywhere, **options))
    assert bytes_of(ask(logits, target, star=[*everywhere[::-1], "before"], **options)) == expected
    # One that costs nothing says anything, with probability 1.
    for star in ("before", "after"):
        found, slope = ask(logits, np.zeros(0, int), star=star, **options)
        assert abs(found) <= 1e-12
        assert np.abs(slope).max() <= 1e-14
    assert ctc(logits, np.zeros(0, int), star="between", **options) == ctc(logits, np.zeros(0, int), **options)
    # One label, of which only a run of frames is fixed: T − d + 1 runs of d frames.
    runs = sum((10 - d + 1) * 4.0**-d for d in range(1, 11))
    assert ctc(np.zeros((10, 4)), [2], star=("before", "after"), **options) == pytest.approx(-math.log(runs), rel=1e-13)
    # What a target leaves out at its ends costs nothing when it can be put there.
    sure = np.eye(8)[[0, 3, 3, 0, 1, 2, 0, 5]] * 100.0
    assert ctc(sure, [1, 2], **options) > 100
    assert ctc(sure, [1, 2], star=("before", "after"), **options) < 1e-12
    assert ctc(sure, [3, 5], star="between", **options) < 1e-12


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
def test_what_is_made_of_plain_ctc(scores: str) -> None:
    """Formulas of the plain loss and its gradient."""
    logits, target = medium(37)
    view, _ = medium(38)
    if scores == "log_probs":
        logits, view = log_softmax(logits), log_softmax(view)
    options: Options = {"scores": scores, "reduction": "sum"}
    plain, gradient = ask(logits, target, **options)
    log_p, log_view = log_softmax(logits), log_softmax(view)
    softmax = np.exp(log_p) if scores == "logits" else 0.0

    for smoothing in (0.1, 0.9):
        value, slope = ask(logits, target, label_smoothing=smoothing, **options)
        divergence = (-log_p.mean(axis=1) - math.log(8)).sum()
        assert value == pytest.approx((1 - smoothing) * plain + smoothing * divergence, rel=1e-13)
        expected = (1 - smoothing) * gradient + smoothing * (softmax - 1 / 8)
        np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-13)

    value, slope = ask(logits, target, consistency_with=view, consistency_weight=0.3, **options)
    divergence = (np.exp(log_view) * (log_view - log_p)).sum()
    assert value == pytest.approx(plain + 0.3 * divergence, rel=1e-13)
    np.testing.assert_allclose(slope, gradient + 0.3 * (softmax - np.exp(log_view)), rtol=0, atol=1e-13)

    value, slope = ask(logits, target, consistency_with=logits, **options)
    assert value == pytest.approx(plain, rel=1e-13)
    np.testing.assert_allclose(slope, gradient + 0.2 * (softmax - np.exp(log_p)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("sureness", [0.0, 1.0, 3.0, 6.0, 40.0])
def test_focal(gamma: float, sureness: float) -> None:
    target = np.array([1, 2, 2, 4])
    logits = np.random.default_rng(39).normal(size=(9, 5))
    logits[np.arange(9), [1, 1, 0, 2, 0, 2, 0, 4, 4]] += sureness
    plain, gradient = ask(logits, target, reduction="sum")
    value, slope = ask(logits, target, focal_gamma=gamma, reduction="sum")
    rest = -math.expm1(-plain)
    assert value == pytest.approx(rest**gamma * plain, rel=1e-9, abs=1e-15)
    factor = rest**gamma + gamma * rest ** (gamma - 1) * math.exp(-plain) * plain if rest else 0.0
    np.testing.assert_allclose(slope, factor * gradient, rtol=1e-9, atol=1e-13)
    # Beyond a probability of 1 there is nothing to be focused on.
    value, slope = ask(logits, target, focal_gamma=gamma, log_priors=np.full(5, 30.0) * -1, reduction="sum")
    assert (
        value
        == ctc_variant_by_recursion(
            logits, target, variant=CtcVariant(focal_gamma=gamma, log_priors=np.full(5, -30.0))
        ).loss
    )


def test_consistency_is_cr_ctc() -> None:
    """½ (ℓ(z₁) + ℓ(z₂)) + ½ α Σ (KL(sg(z₂) ‖ z₁) + KL(sg(z₁) ‖ z₂)), as the paper has it, and its gradient."""
    torch: Any = pytest.importorskip("torch", reason="torch is not installed: CR-CTC is not compared with its formula")
    functional = torch.nn.functional
    generator = np.random.default_rng(40)
    one, other = generator.normal(size=(2, 3, 30, 6)) * 2
    targets, lengths = generator.integers(1, 6, (3, 8)), np.array([30, 21, 25])
    for array in (one, other):
        for rows, length in zip(array, lengths, strict=True):
            rows[length:] = 0
    z_one, z_other = (torch.tensor(array, requires_grad=True) for array in (one, other))
    log_one, log_other = torch.log_softmax(z_one, -1), torch.log_softmax(z_other, -1)
    sizes = [torch.tensor(lengths), torch.tensor([8, 8, 8])]
    likelihood = sum(
        functional.ctc_loss(log_p.transpose(0, 1), torch.tensor(targets), *sizes, reduction="sum")
        for log_p in (log_one, log_other)
    )
    valid = torch.tensor(np.arange(30) < lengths[:, None])[:, :, None]
    consistency = sum(
        (functional.kl_div(log_p, view.detach(), reduction="none", log_target=True) * valid).sum()
        for log_p, view in ((log_one, log_other), (log_other, log_one))
    )
    loss = likelihood / 2 + 0.35 * consistency / 2
    slopes = torch.autograd.grad(loss, (z_one, z_other))

    views, swapped = np.concatenate([one, other]), np.concatenate([other, one])
    half: Any = value_and_grad(ctc_loss, grad_output=0.5)
    options: Options = {"input_lengths": np.tile(lengths, 2), "consistency_weight": 0.35, "reduction": "sum"}
    value, gradient = half(views, np.tile(targets, (2, 1)), consistency_with=swapped, **options)
    assert value / 2 == pytest.approx(float(loss.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, np.concatenate([slope.numpy() for slope in slopes]), rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# The same bits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_the_same_bits(name: str, dtype: str, threads: None) -> None:
    """Of any number of threads, in any company, padded and in any layout."""
    sizes = ((150, 30), (9, 3), (64, 20), (0, 0), (65, 25), (33, 8), (120, 9))
    batch = make_batch(41, dtype, sizes)
    options = options_of(name, 5) | {"reduction": "none"}
    seqloss_rs.set_num_threads(1)
    value, gradient = ask(batch.logits, batch.targets, **with_view(options, batch.views))
    posterior = posteriors_of(batch.logits, batch.targets, options)
    for count in (1, 2):
        seqloss_rs.set_num_threads(count)
        for form in FORMS:
            logits, targets, keywords = batch.arguments(form, options)
            found, slope = ask(logits, targets, **keywords)
            assert bytes_of(found) == bytes_of(value)
            assert bytes_of([rows.copy() for rows in batch.unpadded(form, slope)]) == bytes_of(gradient)
            assert bytes_of(ctc(logits, targets, **keywords)) == bytes_of(value)
        assert bytes_of(posteriors_of(batch.logits, batch.targets, options)) == bytes_of(posterior)
        for index in range(len(sizes)):
            view = with_view(options, batch.views[index])
            found, slope = ask(batch.logits[index], batch.targets[index], **view)
            assert bytes_of((np.asarray(found), slope)) == bytes_of((np.asarray(value[index]), gradient[index]))


def digests() -> dict[str, str]:
    """The bits of all that there is of every variant."""
    found = {}
    for name, dtype in itertools.product(ALL, ("float32", "float64")):
        batch = make_batch(42, dtype, ((150, 30), (33, 8)))
        options = options_of(name, 5) | {"reduction": "none"}
        results = ask(batch.logits, batch.targets, **with_view(options, batch.views))
        labels = posteriors_of(batch.logits, batch.targets, options, per="label")
        arrays = [results[0], *results[1], *posteriors_of(batch.logits, batch.targets, options)]
        arrays += [array for each in fields(labels) for array in each]
        found[f"{name}, {dtype}"] = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return found


@pytest.mark.parametrize(("level", "feature"), [("avx2", "fma"), ("avx512", "avx512f")])
def test_any_instruction_set(level: str, feature: str, run_python: Run) -> None:
    information = Path("/proc/cpuinfo")
    if not information.exists() or f" {feature}" not in information.read_text():
        pytest.skip(f"this processor has no {level}")
    program = "import json, test_ctc_variants; print(json.dumps(test_ctc_variants.digests()))"
    done = run_python(program, SEQLOSS_SIMD=level, SEQLOSS_NUM_THREADS="1")
    other, expected = json.loads(done.stdout), digests()
    assert [name for name in expected if other[name] != expected[name]] == []


# What the posteriors take of the loss's options.
OF_PATHS = (
    "merge_repeated",
    "temperature",
    "log_priors",
    "prior_weight",
    "delay_penalty",
    "star",
    "star_penalty",
)


def posteriors_of(logits: Any, targets: Any, options: Options, **others: Any) -> Any:
    return posteriors(logits, targets, **{key: options[key] for key in OF_PATHS if key in options}, **others)


# ---------------------------------------------------------------------------------------------------------------------
# Posteriors

PATHS = {name: options for name, options in ALONE.items() if not options or set(options) <= set(OF_PATHS)} | {
    "any path": {
        "merge_repeated": False,
        "temperature": 1.25,
        "prior_weight": 0.5,
        "delay_penalty": 0.125,
        "star": ("before", "between"),
        "star_penalty": 1.0,
    }
}
WITHOUT_STARS = [name for name in PATHS if "star" not in PATHS[name]]


def options_of_paths(name: str, classes: int) -> Options:
    options = dict(PATHS[name])
    if "prior_weight" in options:
        options["log_priors"] = np.linspace(-2.0, -0.5, classes)
    return options


def by_class(occupancy: Array, target: Array, blank: int, classes: int, variant: CtcVariant) -> Array:
    """The posterior of each class, made of those of states; stars belong to none."""
    found = np.zeros((len(occupancy), classes))
    for state in range(occupancy.shape[1]):
        if not variant.is_star(state, len(target)):
            found[:, target[state // 2] if state % 2 else blank] += occupancy[:, state]
    return found


def of_labels(occupancy: Array, target: Array, log_p: Array) -> list[Array]:
    """Occupancy, expected time and confidence of each label."""
    of_label = occupancy[:, 1::2]
    lasting = of_label.sum(axis=0)
    time = (np.arange(len(occupancy))[:, None] * of_label).sum(axis=0) / lasting
    confidence = (np.exp(log_p[:, target]) * of_label).sum(axis=0) / lasting
    return [lasting, time, confidence]


def fields(found: LabelPosteriors) -> list[Any]:
    return [found.occupancy, found.expected_time, found.confidence]


@pytest.mark.parametrize("scores", ["logits", "log_probs"])
@pytest.mark.parametrize("name", PATHS)
def test_posteriors_are_those_of_all_paths(name: str, scores: str) -> None:
    if not allowed_paths(name, scores):
        scores = "logits"
    generator = np.random.default_rng([50, len(name)])
    found = 0
    for _ in range(25):
        sample = small(generator, scores, normalised=True)
        options = options_of_paths(name, sample.logits.shape[1])
        variant = variant_of(options, None)
        loss, occupancy, _ = ctc_variant_by_enumeration(sample.logits, sample.target, sample.blank, scores, variant)
        keywords = options | {"blank": sample.blank, "scores": scores}
        dense = posteriors(sample.logits, sample.target, **keywords)
        labels = posteriors(sample.logits, sample.target, per="label", **keywords)
        assert dense.dtype == np.float64
        assert isinstance(labels, LabelPosteriors)
        if loss == math.inf:
            assert dense.shape == sample.logits.shape
            assert not dense.any()
            assert_impossible(labels, len(sample.target))
            continue
        if not variant.star:
            expected = by_class(occupancy, sample.target, sample.blank, sample.logits.shape[1], variant)
            np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-13)
            np.testing.assert_allclose(dense.sum(axis=1), 1.0, rtol=0, atol=1e-14)
            assert dense.min() >= 0
        log_p = variant.log_probabilities(sample.logits, scores)
        for found_of, expected_of in zip(fields(labels), of_labels(occupancy, sample.target, log_p), strict=True):
            assert found_of.dtype == np.float64
            np.testing.assert_allclose(found_of, expected_of, rtol=1e-12, atol=1e-12)
        found += 1
    assert found >= 5


def allowed_paths(name: str, scores: str) -> bool:
    return scores == "logits" or not any(option in PATHS[name] for option in NEEDS_SOFTMAX)


def assert_impossible(labels: LabelPosteriors, length: int) -> None:
    """A target that cannot be aligned: its labels last no frame, and are nowhere."""
    np.testing.assert_array_equal(labels.occupancy, np.zeros(length))
    np.testing.assert_array_equal(labels.expected_time, np.full(length, np.nan))
    np.testing.assert_array_equal(labels.confidence, np.zeros(length))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", WITHOUT_STARS)
def test_posteriors_are_the_softmax_less_the_gradient(name: str, dtype: str) -> None:
    batch = make_batch(51, FLOATS[dtype])
    options = options_of_paths(name, 5)
    temperature = options.get("temperature", 1.0)
    # Half of the last place of both, beside what float32 loses.
    most = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 1e-5, "float64": 1e-12}[dtype]
    for form in FORMS:
        logits, targets, keywords = batch.arguments(form, options)
        losses, gradient = ask(logits, targets, reduction="none", **keywords)
        found = posteriors(logits, targets, **keywords)
        slopes = batch.unpadded(form, gradient)
        for x, slope, posterior, loss in zip(batch.logits, slopes, batch.unpadded(form, found), losses, strict=True):
            assert posterior.dtype == FLOATS[dtype]
            assert posterior.shape == x.shape
            if loss == np.inf:
                assert not posterior.any()
            elif len(x):
                softmax = np.exp(log_softmax(x.astype(np.float64) / temperature))
                expected = softmax - temperature * slope.astype(np.float64)
                np.testing.assert_allclose(posterior.astype(np.float64), expected, rtol=0, atol=2 * most)


@has_wide_truth
@pytest.mark.parametrize("shape", LONG)
@pytest.mark.parametrize("name", PATHS)
def test_posteriors_of_long_sequences(name: str, shape: str) -> None:
    logits, target, _ = make_long(shape)
    options = options_of_paths(name, logits.shape[1])
    variant = variant_of(options, None)
    truth = ctc_variant_by_recursion(logits, target, variant=variant)
    expected = by_class(truth.occupancy, target, 0, logits.shape[1], variant)
    labels = of_labels(truth.occupancy, target, variant.log_probabilities(logits, "logits"))
    for dtype, most in (("float64", 1e-11), ("float32", 1e-5)):
        if not variant.star:
            found = posteriors(logits.astype(dtype), target, **options)
            np.testing.assert_allclose(found, expected, rtol=0, atol=most)
            np.testing.assert_allclose(found.astype(np.float64).sum(axis=1), 1.0, rtol=0, atol=1e-6)
        of_label = posteriors(logits.astype(dtype), target, per="label", **options)
        for found_of, expected_of in zip(fields(of_label), labels, strict=True):
            np.testing.assert_allclose(found_of, expected_of, rtol=100 * most, atol=100 * most)
        if len(target):
            assert of_label.confidence.max() <= 1
            if not options.get("merge_repeated", True):
                # A label that does not last has one frame.
                np.testing.assert_allclose(of_label.occupancy, 1.0, rtol=0, atol=100 * most)


def test_posteriors_beside_stars() -> None:
    """What stars stand for belongs to no class; a frame sums to what they leave."""
    generator = np.random.default_rng(56)
    samples = [small(generator) for _ in range(25)]
    samples += [Small(logits, target, 0, view) for logits, target, view in map(make_long, LONG)]
    for name, sample in itertools.product([name for name in PATHS if "star" in PATHS[name]], samples):
        classes = sample.logits.shape[1]
        options = options_of_paths(name, classes)
        variant = variant_of(options, None)
        truth = ctc_variant_by_recursion(sample.logits, sample.target, sample.blank, "logits", variant)
        expected = by_class(truth.occupancy, sample.target, sample.blank, classes, variant)
        found = posteriors(sample.logits, sample.target, blank=sample.blank, **options)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
        assert found.min() >= 0


@pytest.mark.parametrize("form", FORMS)
def test_posteriors_of_batches(form: str) -> None:
    """Like the logits in form; for labels, a list of an array for each sequence."""
    batch = make_batch(52)
    options: Options = {"delay_penalty": 0.25, "log_priors": np.linspace(-2, 0, 5), "prior_weight": 0.5}
    logits, targets, keywords = batch.arguments(form, options)
    variant = variant_of(options, None)
    dense = posteriors(logits, targets, **keywords)
    assert type(dense) is type(logits)
    if not isinstance(logits, list):
        assert dense.shape == logits.shape
    labels = posteriors(logits, targets, per="label", **keywords)
    assert [len(each) for each in fields(labels)] == [7, 7, 7]
    for index, (found, truth) in enumerate(zip(batch.unpadded(form, dense), batch.truths(options), strict=True)):
        target, x = batch.targets[index], batch.logits[index]
        expected = by_class(truth.occupancy, target, 0, 5, variant)
        of_label = LabelPosteriors(*(each[index] for each in fields(labels)))
        if truth.loss == math.inf:
            assert not found.any()
            assert_impossible(of_label, len(target))
            continue
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        if len(x):
            expected_labels = of_labels(truth.occupancy, target, log_softmax(x))
            for found_of, expected_of in zip(fields(of_label), expected_labels, strict=True):
                np.testing.assert_allclose(found_of, expected_of, rtol=1e-12, atol=1e-12)
        alone = posteriors(x, target, per="label", **options)
        assert bytes_of(fields(alone)) == bytes_of(fields(of_label))


def test_posteriors_of_what_is_not_a_number_and_of_what_cannot_be() -> None:
    generator = np.random.default_rng(53)
    logits = generator.normal(size=(4, 9, 4))
    logits[1, 4, 3] = np.nan
    logits[2, 2] = [-np.inf, -np.inf, -np.inf, 0]  # a class that the target does not have
    impossible = generator.random((9, 4)) < 0.2
    impossible[:, 0] = False
    logits[3, impossible] = -np.inf
    targets = np.array([[1, 2], [1, 2], [1, 2], [1, 2]])
    dense = posteriors(logits, targets)
    labels = posteriors(logits, targets, per="label")
    expected = np.exp(log_softmax(logits)) - ask(logits, targets, reduction="sum")[1]
    assert np.isnan(dense[1]).all()
    for each in fields(labels):
        assert np.isnan(each[1]).all()
    assert not dense[2].any()
    assert_impossible(LabelPosteriors(*(each[2] for each in fields(labels))), 2)
    for index in (0, 3):
        np.testing.assert_allclose(dense[index], expected[index], rtol=0, atol=1e-14)
    assert not dense[3][impossible].any()
    _, occupancy, _ = ctc_variant_by_enumeration(logits[3], [1, 2])
    expected_labels = of_labels(occupancy, targets[3], log_softmax(logits[3]))
    for found, expected_of in zip(fields(labels), expected_labels, strict=True):
        np.testing.assert_allclose(found[3], expected_of, rtol=1e-12)


def test_posteriors_without_labels_and_frames() -> None:
    logits = np.random.default_rng(54).normal(size=(5, 3))
    nothing = np.zeros(0, int)
    np.testing.assert_array_equal(posteriors(logits, nothing, blank=2), np.tile([0.0, 0.0, 1.0], (5, 1)))
    for frames in (logits, logits[:0]):
        for each in fields(posteriors(frames, nothing, per="label")):
            assert each.shape == (0,)
    assert posteriors(logits[:0], [1]).shape == (0, 3)
    assert_impossible(posteriors(logits[:0], [1], per="label"), 1)
    assert posteriors(np.zeros((0, 5, 3)), np.zeros((0, 2), int)).shape == (0, 5, 3)
    assert fields(posteriors(np.zeros((0, 5, 3)), np.zeros((0, 2), int), per="label")) == [[], [], []]


def test_posteriors_leave_the_logits_alone() -> None:
    logits, target = medium(55)
    before = logits.tobytes()
    for per in ("class", "label"):
        posteriors(logits, target, per=per)
    assert logits.tobytes() == before
    logits.flags.writeable = False
    assert posteriors(logits, target).flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# Errors

WRONG: list[tuple[Options, type[Exception], str]] = [
    ({"temperature": 0}, ValueError, "temperature is 0, expected a number from 0.000001 to 1000000"),
    ({"temperature": -1.5}, ValueError, "temperature is -1.5, expected a number from 0.000001 to 1000000"),
    ({"temperature": math.nan}, ValueError, "temperature is NaN, expected a number from 0.000001 to 1000000"),
    ({"temperature": math.inf}, ValueError, "temperature is inf, expected"),
    ({"temperature": "x"}, TypeError, "temperature is 'x', expected a number"),
    ({"temperature": 2.0, "scores": "log_probs"}, ValueError, 'temperature goes with scores="logits"'),
    ({"log_priors": [0.0, 0.0]}, ValueError, "log_priors has shape (2,), expected (3,)"),
    ({"log_priors": np.zeros((1, 3))}, ValueError, "log_priors has shape (1, 3), expected"),
    ({"log_priors": [0.0, math.inf, 0.0]}, ValueError, "log_priors[1] is inf, expected a finite number"),
    ({"log_priors": [0.0, 0.0, -math.inf]}, ValueError, "log_priors[2] is -inf, expected a finite number"),
    ({"log_priors": [math.nan, 0.0, 0.0]}, ValueError, "log_priors[0] is NaN, expected a finite number"),
    ({"log_priors": "x"}, TypeError, "log_priors has dtype"),
    ({"log_priors": np.zeros(3), "prior_weight": "x"}, TypeError, "prior_weight is 'x', expected a number"),
    ({"delay_penalty": math.inf}, ValueError, "delay_penalty is inf, expected a number from -1000000 to 1000000"),
    ({"delay_penalty": None}, TypeError, "delay_penalty is None, expected a number"),
    ({"star": "x"}, ValueError, 'star is "x", expected one of "before", "between", "after"'),
    ({"star": ["before", "behind"]}, ValueError, 'star is "behind", expected one of "before", "between", "after"'),
    ({"star": 3}, TypeError, "star is"),
    ({"star": "after", "scores": "log_probs"}, ValueError, 'star goes with scores="logits"'),
    ({"star_penalty": -1}, ValueError, "star_penalty is -1, expected a number from 0 to 500"),
    ({"star_penalty": math.nan}, ValueError, "star_penalty is NaN, expected a number from 0 to 500"),
    ({"entropy_weight": math.nan}, ValueError, "entropy_weight is NaN, expected a number from -1000000 to 1000000"),
    ({"focal_gamma": -1}, ValueError, "focal_gamma is -1, expected a number from 0 to 1000"),
    ({"focal_gamma": math.inf}, ValueError, "focal_gamma is inf, expected a number from 0 to 1000"),
    ({"label_smoothing": 1}, ValueError, "label_smoothing is 1, expected a number in [0, 1)"),
    ({"label_smoothing": -0.1}, ValueError, "label_smoothing is -0.1, expected a number in [0, 1)"),
    ({"label_smoothing": math.nan}, ValueError, "label_smoothing is NaN, expected a number in [0, 1)"),
    ({"merge_repeated": 1}, TypeError, "merge_repeated is 1, expected True or False"),
    ({"consistency_with": np.zeros((2, 5, 4))}, ValueError, "consistency_with has shape (2, 5, 4), expected (2, 5, 3)"),
    ({"consistency_with": np.zeros((2, 4, 3))}, ValueError, "consistency_with has shape (2, 4, 3), expected (2, 5, 3)"),
    ({"consistency_with": np.zeros((5, 3))}, ValueError, "consistency_with has shape (5, 3), expected (2, 5, 3)"),
    ({"consistency_with": [np.zeros((5, 3))]}, ValueError, "consistency_with"),
    ({"consistency_with": "x"}, TypeError, "consistency_with has dtype"),
    (
        {"consistency_with": np.zeros((2, 5, 3)), "consistency_weight": -0.5},
        ValueError,
        "consistency_weight is -0.5, expected a number from 0 to 1000000",
    ),
    ({"consistency_weight": "x"}, TypeError, "consistency_weight is 'x', expected a number"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_errors(options: Options, error: type[Exception], message: str) -> None:
    logits = np.zeros((2, 5, 3))
    for function in (ctc, ask):
        with pytest.raises(error) as raised:
            function(logits, [[1, 2], [2, 1]], **options)
        assert str(raised.value).startswith(message)
    if set(options) <= {*OF_PATHS, "scores"}:
        for per in ("class", "label"):
            with pytest.raises(error) as raised:
                posteriors(logits, [[1, 2], [2, 1]], per=per, **options)
            assert str(raised.value).startswith(message)


def test_errors_of_views() -> None:
    ragged = [np.zeros((5, 3)), np.zeros((4, 3))]
    targets = [[1], [2]]
    for view, error, message in (
        (np.zeros((2, 5, 3)), ValueError, "consistency_with has shape (2, 5, 3), expected a list"),
        (ragged[:1], ValueError, "consistency_with"),
        ([ragged[0], ragged[0]], ValueError, "consistency_with[1] has shape (5, 3), expected (4, 3)"),
        ([ragged[0], ragged[1].astype(np.float32)], (TypeError, ValueError), "consistency_with[1]"),
        ([ragged[0], np.ma.masked_array(ragged[1])], TypeError, "consistency_with[1]"),
    ):
        with pytest.raises(error) as raised:
            ctc(ragged, targets, consistency_with=view)
        assert str(raised.value).startswith(message)
    # Time-major logits have a time-major view.
    logits = np.zeros((5, 2, 3))
    assert math.isfinite(ctc(logits, targets, layout="TNC", consistency_with=logits))
    with pytest.raises(ValueError, match="consistency_with has shape"):
        ctc(logits, targets, layout="TNC", consistency_with=np.zeros((2, 5, 3)))


def test_errors_of_posteriors() -> None:
    for per in ("x", "Label", None, 3):
        with pytest.raises((TypeError, ValueError)) as raised:
            posteriors(np.zeros((5, 3)), [1], per=per)
        assert str(raised.value) == f'per is {per!r}, expected one of "class", "label"'
    for per in ("class", "label"):
        with pytest.raises(ValueError, match=r"targets\[0\] is 3, which is not a class in 0\.\.3"):
            posteriors(np.zeros((5, 3)), [3], per=per)
        with pytest.raises(ValueError, match=r"layout is \"NCT\""):
            posteriors(np.zeros((5, 3)), [1], per=per, layout="NCT")
