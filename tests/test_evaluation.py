"""Perplexity, bits, accuracy, calibration and windows against their definitions, written out."""

import itertools
import math
import pickle
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath  # type: ignore[import-untyped]  # it has no stubs
import numpy as np
import pytest
import seqloss_rs
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import token_truth
from seqloss_rs import (
    DocumentScores,
    SequenceWindows,
    bits_per_byte,
    bits_per_token,
    cross_entropy_loss,
    expected_calibration_error,
    perplexity,
    reliability_bins,
    sequence_windows,
    token_log_probs,
    top_k_accuracy,
)

Array = NDArray[Any]


@st.composite
def log_probabilities(draw: st.DrawFn) -> list[Array]:
    """Sequences of their own lengths, some of them empty, with numbers of very different sizes."""
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [-(10.0 ** random.uniform(-9, 2, size)) for size in sizes]


def exact_mean(rows: Sequence[Array]) -> Any:
    """Minus the mean of all, with 50 digits."""
    values = [Fraction(float(value)) for row in rows for value in row]
    mean = sum(values, Fraction(0)) / len(values)
    return -mpmath.mpf(mean.numerator) / mean.denominator


def padded(rows: Sequence[Array], filler: float = math.nan) -> tuple[Array, list[int]]:
    lengths = [len(row) for row in rows]
    whole = np.full((len(rows), max(lengths)), filler)
    for index, row in enumerate(rows):
        whole[index, : len(row)] = row
    return whole, lengths


def same(found: Any, truth: Any, tolerance: float = 1e-14) -> bool:
    return bool(np.allclose(np.asarray(found, float), np.asarray(truth, float), rtol=tolerance, atol=0, equal_nan=True))


# ---------------------------------------------------------------------------------------------------------------------
# What evaluation starts from

NAMES = ("log_probs", "entropy", "max_log_probs", "argmax", "rank")


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"softcap": 2.5}, {"temperature": 1.5, "softcap": 2.0}])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_token_log_probs_are_their_definition(dtype: Any, options: dict[str, Any]) -> None:
    random = np.random.default_rng(8)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for classes in (1, 2, 7, 33, 300):
        # Quarters, so that many are equal.
        logits = (random.integers(-12, 13, (4, 6, classes)) / 4).astype(dtype)
        logits[:, 2, : classes // 2] = -np.inf
        targets = random.integers(0, classes, (4, 6))
        targets[0, 1] = -100
        lengths, mask = [6, 5, 0, 3], random.random((4, 6)) < 0.8
        valid = mask & (np.arange(6) < np.array(lengths)[:, None])
        found = token_log_probs(logits, targets, lengths=lengths, mask=mask, **options)
        pairs = zip(logits, targets, valid, strict=True)
        truths = [token_truth(rows, goals, mask=own, **options) for rows, goals, own in pairs]
        for name in NAMES:
            array, truth = getattr(found, name), np.array([getattr(own, name) for own in truths])
            if name in ("argmax", "rank"):
                assert array.dtype == np.int64
                assert array.tolist() == truth.tolist()
            else:
                assert array.dtype == (np.float64 if dtype == np.float64 else np.float32)
                np.testing.assert_allclose(array, truth, rtol=tolerance, atol=tolerance)
        ragged = token_log_probs(
            [rows[:length] for rows, length in zip(logits, lengths, strict=True)],
            [goals[:length] for goals, length in zip(targets, lengths, strict=True)],
            mask=[own[:length] for own, length in zip(mask, lengths, strict=True)],
            **options,
        )
        for name in NAMES:
            for own, row, length in zip(getattr(ragged, name), getattr(found, name), lengths, strict=True):
                assert own.tobytes() == row[:length].tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# Perplexity and bits


@given(log_probabilities())
def test_perplexity_and_bits_are_their_definitions(rows: list[Array]) -> None:
    with mpmath.workdps(50):
        by_reduction: dict[Any, list[list[Array]]] = {"mean": [rows], "sequence_mean": [[row] for row in rows]}
        for reduction, groups in by_reduction.items():
            nats = [exact_mean(group) if sum(map(len, group)) else mpmath.nan for group in groups]
            truths = [float(mpmath.exp(mean)) for mean in nats], [float(mean / mpmath.log(2)) for mean in nats]
            for loss, truth in zip((perplexity, bits_per_token), truths, strict=True):
                found = loss(rows, reduction=reduction)
                assert isinstance(found, float if reduction == "mean" else np.ndarray)
                assert same(found, truth[0] if reduction == "mean" else truth)


@given(log_probabilities(), st.randoms(use_true_random=False))
def test_order_and_form_change_nothing(rows: list[Array], random: Any) -> None:
    whole, lengths = padded(rows)
    mask = np.arange(whole.shape[1]) < np.array(lengths)[:, None]
    for loss in (perplexity, bits_per_token):
        value = loss(rows)
        values = [v for row in rows for v in row]
        random.shuffle(values)
        assert repr(loss(np.array(values, float))) == repr(value)
        assert repr(loss(whole, lengths=lengths)) == repr(value)
        assert repr(loss(whole, mask=mask)) == repr(value)
        # A mask and lengths hold both.
        assert repr(loss(whole, lengths=lengths, mask=np.ones_like(mask))) == repr(value)
        by_sequence: Any = loss(rows, reduction="sequence_mean")
        again: Any = loss(whole, mask=mask, reduction="sequence_mean")
        assert again.tobytes() == by_sequence.tobytes()
        for index, row in enumerate(rows):
            assert repr(loss(row)) == repr(loss(row, reduction="sequence_mean")) == repr(float(by_sequence[index]))


def test_perplexity_of_what_is_not_ordinary() -> None:
    assert perplexity([0.0, 0.0]) == 1
    assert math.copysign(1, bits_per_token([0.0, 0.0])) == 1
    assert perplexity([-1.0, -math.inf]) == math.inf
    assert perplexity([-1.0, -2000.0]) == math.inf
    assert bits_per_token([-1.0, -2000.0]) == pytest.approx(1000.5 / math.log(2), rel=1e-15)
    assert math.isnan(perplexity([-1.0, math.nan]))
    assert math.isnan(perplexity([math.inf, -math.inf]))
    assert perplexity([-1e308, -1e308]) == math.inf
    assert perplexity([-1.0, math.nan], mask=[True, False]) == math.e
    assert math.isnan(perplexity([]))
    assert math.isnan(perplexity(np.zeros((2, 3)), lengths=[0, 0]))
    assert np.asarray(perplexity(np.zeros((0, 3)), reduction="sequence_mean")).shape == (0,)
    assert np.asarray(perplexity([], reduction="sequence_mean")).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f8"])
def test_log_probabilities_of_all_types(dtype: Any) -> None:
    values = np.array([[-0.5, -1.25, -3.0], [-2.0, -0.75, 0.0]])
    assert perplexity(values.astype(dtype)) == perplexity(values)
    assert perplexity(values.astype(dtype)[:, ::2]) == perplexity(values[:, ::2])


def test_perplexity_is_that_of_the_cross_entropy() -> None:
    random = np.random.default_rng(1)
    logits, targets = random.standard_normal((3, 5, 7)) * 3, random.integers(0, 7, (3, 5))
    targets[1, 2] = -100
    options: dict[str, Any] = {"lengths": [5, 4, 0], "mask": random.random((3, 5)) < 0.7}
    scores = token_log_probs(logits, targets, **options)
    for reduction in ("mean", "sequence_mean"):
        loss = cross_entropy_loss(logits, targets, reduction=reduction, **options)
        assert same(perplexity(scores, reduction=reduction), np.exp(loss), 1e-12)
        assert same(bits_per_token(scores, reduction=reduction), loss / np.log(2), 1e-12)


def test_bits_per_byte_of_texts_and_of_tokens() -> None:
    rows = [np.log([0.5, 0.25]), np.log([0.125]), np.zeros(0)]
    by_token = [np.array([3, 1]), np.array([2]), np.zeros(0, int)]
    assert bits_per_byte(rows, 6) == pytest.approx(1.0, rel=1e-15)
    assert bits_per_byte(rows, [4, 2, 0]) == bits_per_byte(rows, by_token) == bits_per_byte(rows, 6)
    for sizes in ([4, 2, 0], np.array([4, 2, 0], np.uint8), by_token):
        assert same(bits_per_byte(rows, sizes, reduction="sequence_mean"), [0.75, 1.5, math.nan])
    # Of one sequence.
    assert bits_per_byte(rows[0], 4) == bits_per_byte(rows[0], [3, 1]) == bits_per_byte(rows[0], [4]) == 0.75
    assert bits_per_byte(rows[0], 4, reduction="sequence_mean") == 0.75
    # Bytes of tokens count where the token does, bytes of texts as they are.
    assert bits_per_byte(rows[0], [3, 1], mask=[False, True]) == 2
    assert bits_per_byte(rows[0], 4, mask=[False, True]) == 0.5
    whole, lengths = padded(rows)
    sizes, _ = padded(by_token, 0)
    assert bits_per_byte(whole, sizes.astype(int), lengths=lengths) == bits_per_byte(rows, 6)
    assert bits_per_byte(rows[0], 0) == math.inf


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Logits with many ties, targets, and which steps are valid."""
    sequences, steps = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    classes = draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = random.integers(-2, 3, (sequences, steps, classes)).astype(np.float64)
    return logits, random.integers(0, classes, (sequences, steps)), random.random((sequences, steps)) < 0.8


def is_among(row: Array, goal: int, k: int) -> bool:
    """Whether the goal is one of the k best: those that are larger come first, and of equal ones those before it."""
    before = sum(1 for c, x in enumerate(row) if x > row[goal] or (x == row[goal] and c < goal))
    return before < k


@given(predictions())
def test_top_k_accuracy_is_the_share_of_targets_among_the_best(case: tuple[Array, Array, Array]) -> None:
    logits, targets, valid = case
    scores = token_log_probs(logits, targets, mask=valid)
    most = logits.shape[-1] + 1
    hits = np.array(
        [
            [[is_among(row, goal, k) for k in range(1, most + 1)] for row, goal in zip(rows, goals, strict=True)]
            for rows, goals in zip(logits, targets, strict=True)
        ]
    )
    with np.errstate(invalid="ignore"):
        truth = hits[valid].sum(axis=0) / valid.sum()
        by_sequence = (hits * valid[..., None]).sum(axis=1) / valid.sum(axis=1, keepdims=True)
    everything = range(1, most + 1)
    assert same(top_k_accuracy(scores, list(everything)), truth)
    assert same(top_k_accuracy(scores, list(everything), reduction="sequence_mean"), by_sequence)
    assert same([top_k_accuracy(scores, k) for k in everything], truth)
    # The ranks alone say which steps are not valid.
    assert same(top_k_accuracy(scores.rank, [1, 2]), truth[:2])
    assert same(top_k_accuracy(scores, 2, reduction="sequence_mean"), by_sequence[:, 1])


def test_top_k_accuracy_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    logits, targets = random.standard_normal((50, 20)), random.integers(0, 20, 50)
    best = torch.from_numpy(logits).topk(20).indices.numpy()
    scores = token_log_probs(logits, targets)
    for k in (1, 3, 20):
        assert top_k_accuracy(scores, k) == (best[:, :k] == targets[:, None]).any(axis=1).mean()


def test_groups_follow_the_sequences() -> None:
    """Arrays of (N, K, T), as of K samples for each of N prompts."""
    random = np.random.default_rng(7)
    logits, targets = random.standard_normal((2, 3, 4, 5)), random.integers(0, 5, (2, 3, 4))
    lengths, mask = np.array([[4, 3, 1], [0, 4, 2]]), random.random((2, 3, 4)) < 0.8
    flat_mask = mask.reshape(6, 4) & (np.arange(4) < lengths.reshape(6, 1))
    flat = token_log_probs(logits.reshape(6, 4, 5), targets.reshape(6, 4), mask=flat_mask)
    log_probs, ranks = flat.log_probs.reshape(2, 3, 4), flat.rank.reshape(2, 3, 4)
    whole: dict[str, Any] = {"lengths": lengths, "mask": mask}
    for reduction, shape in (("mean", ()), ("sequence_mean", (2, 3))):
        options: dict[str, Any] = {"reduction": reduction}
        for found, truth in (
            (perplexity(log_probs, **whole, **options), perplexity(flat, **options)),
            (
                bits_per_byte(log_probs, lengths + 1, **whole, **options),
                bits_per_byte(flat, lengths.reshape(6) + 1, **options),
            ),
            (top_k_accuracy(ranks, 2, **whole, **options), top_k_accuracy(flat, 2, **options)),
        ):
            assert np.asarray(found).shape == shape
            assert np.asarray(found).tobytes() == np.asarray(truth).tobytes()
    shares = np.asarray(top_k_accuracy(ranks, [1, 2], reduction="sequence_mean"))
    assert shares.shape == (2, 3, 2)
    assert same(shares.reshape(6, 2), top_k_accuracy(flat, [1, 2], reduction="sequence_mean"))
    error = expected_calibration_error(flat.max_log_probs.reshape(2, 3, 4), ranks == 0, **whole)
    assert error == expected_calibration_error(flat)
    with pytest.raises(ValueError, match=r"^lengths\[1, 0\] is 5, which is not a length in 0\.\.=4$"):
        perplexity(log_probs, lengths=np.array([[4, 3, 1], [5, 4, 2]]))


def test_a_model_that_has_become_nan_is_not_accurate() -> None:
    logits = np.zeros((3, 2, 5))
    logits[1, 0] = np.nan
    logits[2, 1, 4] = np.inf
    targets = np.zeros((3, 2), int)
    for rows, goals in ((logits, targets), (list(logits), list(targets))):
        scores = token_log_probs(rows, goals)
        assert math.isnan(top_k_accuracy(scores))
        assert same(top_k_accuracy(scores, [1, 5], reduction="sequence_mean"), [[1, 1], [math.nan] * 2, [math.nan] * 2])
    valid = np.array([[True, True], [False, True], [True, False]])
    assert top_k_accuracy(token_log_probs(logits, targets), mask=valid) == 1
    assert top_k_accuracy(token_log_probs(logits, targets, mask=valid)) == 1
    assert math.isnan(top_k_accuracy(token_log_probs(np.full((2, 5), np.nan), [1, 2])))


def test_top_k_accuracy_of_nothing() -> None:
    assert math.isnan(top_k_accuracy(np.zeros(0, int)))
    assert math.isnan(top_k_accuracy([-1, -1]))
    assert np.asarray(top_k_accuracy([[0, -1], [-1, -1]], [1, 2], reduction="sequence_mean")).shape == (2, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Calibration


def equal_widths(bins: int) -> Array:
    return np.array([edge / bins for edge in range(bins + 1)])


def plain_bins(confidences: Array, correct: Array, edges: Array) -> list[tuple[int, float, float]]:
    """Count, confidence and accuracy of each bin, those of an upper edge within it."""
    found = []
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (confidences > low) & (confidences <= high)
        if place == 0:
            inside |= confidences <= low
        count = int(inside.sum())
        found.append((count, confidences[inside].mean(), correct[inside].mean()) if count else (0, math.nan, math.nan))
    return found


def plain_error(bins: list[tuple[int, float, float]]) -> float:
    whole = sum(count for count, _, _ in bins)
    return sum(count / whole * abs(right - sure) for count, sure, right in bins if count)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.sampled_from([3, 60]))
def test_calibration_is_its_definition(seed: int, bins: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 200))
    log_probs = np.log(random.integers(1, levels + 1, size) / levels)
    confidences = np.exp(log_probs)
    correct = random.random(size) < confidences
    truth = plain_bins(confidences, correct, equal_widths(bins))
    found = reliability_bins(log_probs, correct, bins=bins)
    assert found.counts.tolist() == [count for count, _, _ in truth]
    assert same(found.confidence, [sure for _, sure, _ in truth])
    assert same(found.accuracy, [right for _, _, right in truth])
    assert same(found.expected_error, plain_error(truth), 1e-12) or plain_error(truth) < 1e-15
    assert expected_calibration_error(log_probs, correct, bins=bins) == found.expected_error
    largest = max(abs(right - sure) for count, sure, right in truth if count)
    assert found.maximum_error == pytest.approx(largest, rel=1e-12, abs=1e-15)

    mass = reliability_bins(log_probs, correct, bins=bins, binning="mass")
    assert mass.counts.sum() == size
    # An edge is the least confidence that at least a share m / M does not exceed.
    for place, edge in enumerate(mass.edges[1:-1], 1):
        assert (confidences <= edge).sum() >= size * place / bins > (confidences < edge).sum()
    assert same(mass.expected_error, plain_error(plain_bins(confidences, correct, mass.edges)), 1e-12)
    order = random.permutation(size)
    for kind in ("width", "mass"):
        first, second = (
            reliability_bins(log_probs[o], correct[o], bins=bins, binning=kind) for o in (slice(None), order)
        )
        assert first.confidence.tobytes() == second.confidence.tobytes()
        assert first.expected_error == second.expected_error


def test_bins_of_equal_mass_hold_as_many_each() -> None:
    random = np.random.default_rng(3)
    log_probs = np.log(random.random(103))
    counts = reliability_bins(log_probs, np.ones(103, bool), bins=10, binning="mass").counts
    assert counts.sum() == 103
    assert set(counts.tolist()) == {10, 11}
    # Equal confidences stay together.
    counts = reliability_bins(np.log([0.9] * 10), [True] * 10, bins=5, binning="mass").counts
    assert sorted(counts.tolist()) == [0, 0, 0, 0, 10]


@given(predictions(), st.integers(1, 20))
def test_calibration_from_logits(case: tuple[Array, Array, Array], bins: int) -> None:
    logits, targets, valid = case
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    confidences = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == targets
    # Rounding may carry what lies on an edge to either side; edges are shown above.
    scale = bins * confidences[valid]
    if (np.abs(scale - scale.round()) < 1e-9).any():
        return
    truth = plain_bins(confidences[valid], correct[valid], equal_widths(bins)) if valid.any() else []
    scores = token_log_probs(logits, targets, mask=valid)
    found = expected_calibration_error(scores, bins=bins)
    assert found == pytest.approx(plain_error(truth), rel=1e-9, abs=1e-9) if valid.any() else math.isnan(found)
    again = expected_calibration_error(scores.max_log_probs, np.equal(scores.rank, 0), mask=valid, bins=bins)
    assert repr(again) == repr(found)


def test_calibration_error_is_that_of_the_authors() -> None:
    """Bins as the authors' own code has them: above the lower edge, up to the upper one."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(4)
    logits, targets = random.standard_normal((1000, 10)) * 2, random.integers(0, 10, 1000)
    softmax = torch.softmax(torch.from_numpy(logits), dim=1)
    confidences, classes = softmax.max(dim=1)
    right = classes.eq(torch.from_numpy(targets)).double()
    error = torch.zeros((), dtype=torch.float64)
    for edge in range(15):
        inside = confidences.gt(edge / 15) & confidences.le((edge + 1) / 15)
        if inside.any():
            gap = confidences[inside].mean() - right[inside].mean()
            error += inside.double().mean() * gap.abs()
    found = expected_calibration_error(token_log_probs(logits, targets))
    assert found == pytest.approx(float(error), rel=1e-12)


def test_calibration_of_what_is_not_ordinary() -> None:
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))
    assert math.isnan(reliability_bins(np.zeros(0), np.zeros(0, bool), binning="mass").maximum_error)
    assert math.isnan(expected_calibration_error([math.nan, -1.0], [True, True]))
    assert expected_calibration_error([math.nan, 0.0], [True, True], mask=[False, True]) == 0
    # A rounding error above 1, and a probability of 0.
    assert expected_calibration_error([1e-7, 1e-4, -math.inf], [True, True, False]) == 0
    assert reliability_bins([1e-4, math.nan], [True, True], bins=1).counts.tolist() == [2]


# ---------------------------------------------------------------------------------------------------------------------
# Windows


Window = tuple[list[int], list[int]]


def rolling_windows(tokens: list[int], prefix: int, longest: int, context: int) -> Iterator[Window]:
    """lm-evaluation-harness: what a model reads, and what it has to predict at the end of that.

    The first window predicts all that it can. Each other one predicts as many of the tokens that follow as leave
    `context` inputs up to the first of them, and reads as far back from its end as a model can.
    """
    read = [prefix, *tokens]
    done = 0
    while done < len(tokens):
        room = longest if done == 0 else longest - context + 1
        end = min(done + room, len(tokens))
        yield read[max(0, end - longest) : end], tokens[done:end]
        done = end


def strided_windows(tokens: list[int], longest: int, stride: int) -> Iterator[Window]:
    """The recipe of Hugging Face: windows begin at multiples of the stride; the tokens that no window had are new.

    Of the tokens of a window the model reads all but the last, because that of a step is the target of the one before.
    """
    before = 0
    for start in range(0, len(tokens), stride):
        end = min(start + longest, len(tokens))
        labels = [token if place >= before else None for place, token in enumerate(tokens[start:end], start)]
        targets = [token for token in labels[1:] if token is not None]
        if targets:
            yield tokens[start : end - 1], targets
        before = end
        if end == len(tokens):
            return


def as_windows(windows: SequenceWindows, batch_size: int = 3) -> list[list[Window]]:
    """What each window of each document reads, and what counts in it."""
    found: list[list[Window]] = [[] for _ in windows.tokens]
    for batch in windows.batches(batch_size):
        for row, (document, length) in enumerate(zip(batch.documents, batch.lengths, strict=True)):
            counted = batch.targets[row][batch.mask[row]]
            found[document].append((batch.inputs[row, :length].tolist(), counted.tolist()))
    return found


@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.integers(1, 12).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window))),
)
def test_windows_are_those_of_the_harness(sizes: list[int], lengths: tuple[int, int]) -> None:
    window, context = lengths
    documents = [[100 * index + place for place in range(size)] for index, size in enumerate(sizes)]
    found = as_windows(sequence_windows(documents, window, context=context, begin_token=7))
    assert found == [list(rolling_windows(tokens, 7, window, context)) for tokens in documents]


def test_windows_of_an_example_of_the_harness() -> None:
    """34 tokens, of which a model reads 10: the numbers of its own tests, disjoint and with context."""
    (found,) = as_windows(sequence_windows(np.arange(34), 10, begin_token=100))
    assert found == [
        ([100, *range(9)], list(range(10))),
        (list(range(9, 19)), list(range(10, 20))),
        (list(range(19, 29)), list(range(20, 30))),
        (list(range(23, 33)), list(range(30, 34))),
    ]
    (found,) = as_windows(sequence_windows(np.arange(34), 10, context=5, begin_token=100))
    assert [read[0] for read, _ in found] == [100, 5, 11, 17, 23]
    assert [new for _, new in found] == [
        list(range(10)), [*range(10, 16)], [*range(16, 22)], [*range(22, 28)], [*range(28, 34)],
    ]  # fmt: skip


@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.integers(2, 12).flatmap(lambda longest: st.tuples(st.just(longest), st.integers(1, longest - 1))),
)
def test_windows_are_those_of_the_recipe(sizes: list[int], lengths: tuple[int, int]) -> None:
    longest, stride = lengths
    documents = [[100 * index + place for place in range(size)] for index, size in enumerate(sizes)]
    windows = sequence_windows(documents, longest - 1, context=longest - stride, last="short")
    assert as_windows(windows) == [list(strided_windows(tokens, longest, stride)) for tokens in documents]


@pytest.mark.parametrize("begin_token", [None, 9])
@pytest.mark.parametrize("last", ["full", "short"])
@given(
    sizes=st.lists(st.integers(0, 40), max_size=5),
    lengths=st.integers(1, 12).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window))),
    batch_size=st.integers(1, 7),
)
def test_each_token_counts_once_and_has_context(
    begin_token: int | None, last: Any, sizes: list[int], lengths: tuple[int, int], batch_size: int
) -> None:
    window, context = lengths
    random = np.random.default_rng(sum(sizes))
    documents = [random.integers(0, 50, size).astype(np.uint16) for size in sizes]
    windows = sequence_windows(documents, window, context=context, begin_token=begin_token, last=last, pad_token=77)
    counted = [np.zeros(size, int) for size in sizes]
    rows = 0
    for batch in windows.batches(batch_size):
        rows += len(batch.lengths)
        assert batch.inputs.shape == batch.targets.shape == batch.mask.shape
        assert batch.inputs.shape[0] <= batch_size
        assert batch.inputs.shape[1] == batch.lengths.max() <= window
        assert ((batch.targets >= 0) == batch.mask).all()
        assert (batch.targets[~batch.mask] == -100).all()
        for row, document in enumerate(batch.documents):
            text, first = documents[document], int(batch.offsets[row])
            length = int(batch.lengths[row])
            assert (batch.inputs[row, length:] == 77).all()
            is_first = first == (begin_token is None)
            for step in np.flatnonzero(batch.mask[row]):
                assert step < length
                assert batch.targets[row, step] == text[first + step]
                counted[document][first + step] += 1
                # A step has read all inputs up to itself.
                assert is_first or step + 1 >= context
            for place, token in enumerate(batch.inputs[row, :length], first - 1):
                assert token == (begin_token if place < 0 else text[place])
    assert rows == len(windows)
    skipped = int(begin_token is None)
    for times, count in zip(counted, windows.token_counts, strict=True):
        assert (times[skipped:] == 1).all()
        assert (times[:skipped] == 0).all()
        assert count == max(0, len(times) - skipped)


def test_forms_of_documents() -> None:
    whole = np.arange(12).reshape(2, 6)
    for given_documents, lengths in (
        (whole, [6, 3]),
        (whole.tolist(), [6, 3]),
        ([whole[0], whole[1, :3]], None),
        ((whole[0].astype(np.int8), whole[1, :3].astype(">u4")), None),
    ):
        windows = sequence_windows(given_documents, 4, lengths=lengths)
        assert as_windows(windows) == [
            [([0, 1, 2, 3], [1, 2, 3, 4]), ([1, 2, 3, 4], [5])],
            [([6, 7], [7, 8])],
        ]
    assert as_windows(sequence_windows(np.arange(5), 9)) == [[([0, 1, 2, 3], [1, 2, 3, 4])]]
    assert as_windows(sequence_windows([3, 4], 9)) == [[([3], [4])]]
    assert list(sequence_windows([], 9).batches(2)) == []
    assert len(sequence_windows([[], [5]], 9)) == 0
    assert as_windows(sequence_windows([[], [5]], 9, begin_token=2)) == [[], [([2], [5])]]


def test_documents_are_not_copied(tmp_path: Any) -> None:
    """A memory-mapped file of many tokens: only what a batch reads becomes memory."""
    path = tmp_path / "tokens.npy"
    np.save(path, np.arange(100_000, dtype=np.uint32))
    tokens = np.load(path, mmap_mode="r")
    windows = sequence_windows([tokens], 512, context=256)
    assert np.shares_memory(windows.tokens[0], tokens)
    assert sum(batch.mask.sum() for batch in windows.batches(16)) == 99_999


# ---------------------------------------------------------------------------------------------------------------------
# Documents


def bigram_model(classes: int) -> Any:
    """A model that looks at nothing but the last token: windows change nothing about what it says."""
    table = np.random.default_rng(5).standard_normal((classes, classes)) * 2
    return lambda inputs: table[inputs]


@pytest.mark.parametrize("begin_token", [None, 0])
@pytest.mark.parametrize(("window", "context"), [(1, 1), (7, 1), (7, 3), (7, 7), (64, 32), (500, 1)])
def test_documents_in_windows_are_documents_as_a_whole(begin_token: int | None, window: int, context: int) -> None:
    random = np.random.default_rng(6)
    documents = [random.integers(1, 6, size) for size in (100, 1, 0, 33)]
    model = bigram_model(6)
    truth = []
    for text in documents:
        read = text if begin_token is None else np.concatenate([[begin_token], text])
        truth.append(token_truth(model(read[:-1]), read[1:]).log_probs if len(read) > 1 else np.zeros(0))
    bits_of: set[bytes] = set()
    for batch_size in (1, 4, 1000):
        scores = DocumentScores()
        for batch in sequence_windows(documents, window, context=context, begin_token=begin_token).batches(batch_size):
            found = token_log_probs(model(batch.inputs), batch.targets, lengths=batch.lengths)
            scores.update(found, batch.documents)
        assert scores.token_counts.tolist() == [len(row) for row in truth]
        assert same(scores.log_probs, [math.fsum(row) for row in truth], 1e-12)
        assert same(scores.perplexity(), perplexity(truth), 1e-12)
        by_document: dict[str, Any] = {"reduction": "sequence_mean"}
        assert same(scores.perplexity(**by_document), perplexity(truth, **by_document), 1e-12)
        assert same(scores.bits_per_token(**by_document), bits_per_token(truth, **by_document), 1e-12)
        sizes = [len(text) * 3 for text in documents]
        assert same(scores.bits_per_byte(sizes), bits_per_byte(truth, sizes), 1e-12)
        assert same(scores.bits_per_byte(sizes, **by_document), bits_per_byte(truth, sizes, **by_document), 1e-12)
        bits_of.add(scores.log_probs.tobytes() + np.float64(scores.perplexity()).tobytes())
    assert len(bits_of) == 1


@given(log_probabilities(), st.randoms(use_true_random=False))
def test_sums_of_documents_are_exact_in_any_order(rows: list[Array], random: Any) -> None:
    pieces = [(index, row[place : place + 3]) for index, row in enumerate(rows) for place in range(0, len(row), 3)]
    whole = DocumentScores()
    whole.update(rows, range(len(rows)))
    # The last documents may have no piece.
    parts = [DocumentScores() for _ in range(3)]
    parts[0].update([np.zeros(0)], [len(rows) - 1])
    random.shuffle(pieces)
    for place, (document, values) in enumerate(pieces):
        parts[place % 3].update(values, document)
    random.shuffle(parts)
    merged = pickle.loads(pickle.dumps(parts[0])) + parts[1]
    merged.merge(parts[2])
    truth = [float(sum(map(Fraction, row.tolist()), Fraction(0))) for row in rows]
    assert merged.log_probs.tolist() == whole.log_probs.tolist() == truth
    assert merged.token_counts.tolist() == whole.token_counts.tolist() == [len(row) for row in rows]
    assert repr(merged.perplexity()) == repr(whole.perplexity()) == repr(perplexity(rows))


def test_documents_with_what_is_not_finite() -> None:
    scores = DocumentScores()
    scores.update([[-1.0], [-math.inf], [math.nan]], [0, 1, 2])
    scores.update([[-1.0], [-1.0], [-1.0]], [0, 1, 2])
    assert same(scores.perplexity(reduction="sequence_mean"), [math.e, math.inf, math.nan])
    assert math.isnan(DocumentScores().perplexity())
    assert np.asarray(DocumentScores().bits_per_byte([], reduction="sequence_mean")).shape == (0,)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit

ROWS = np.full((2, 3), -1.0)
# A type checker would refuse most of these calls.
untyped: Any = seqloss_rs


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.perplexity(ROWS, reduction="sum"),
            ValueError,
            'reduction is "sum", expected one of "mean", "sequence_mean"',
        ),
        (
            lambda: untyped.perplexity(ROWS[None, None]),
            ValueError,
            "log_probs has shape (1, 1, 2, 3), expected 1 to 3 axes",
        ),
        (lambda: untyped.perplexity([ROWS[0], ROWS]), ValueError, "log_probs[1] has shape (2, 3), expected one axis"),
        (
            lambda: untyped.perplexity(ROWS.astype(complex)),
            TypeError,
            "log_probs has dtype complex128, expected real numbers",
        ),
        (lambda: untyped.perplexity(["a"]), TypeError, "log_probs has dtype <U1, expected real numbers"),
        (
            lambda: untyped.perplexity(np.ma.array(ROWS)),
            TypeError,
            "log_probs is a MaskedArray, whose mask would be lost: pass log_probs.data and mask=",
        ),
        (
            lambda: untyped.perplexity(ROWS, lengths=[1, 4]),
            ValueError,
            "lengths[1] is 4, which is not a length in 0..=3",
        ),
        (lambda: untyped.perplexity(ROWS[0], lengths=4), ValueError, "lengths is 4, which is not a length in 0..=3"),
        (lambda: untyped.perplexity(ROWS, lengths=[1]), ValueError, "lengths has shape (1,), expected (2,)"),
        (
            lambda: untyped.perplexity(ROWS, lengths=[1.0, 2.0]),
            TypeError,
            "lengths has dtype float64, expected integers",
        ),
        (lambda: untyped.perplexity(ROWS, mask=ROWS), TypeError, "mask has dtype float64, expected bool"),
        (
            lambda: untyped.perplexity(ROWS, mask=np.ones((2, 2), bool)),
            ValueError,
            "mask has shape (2, 2), expected (2, 3)",
        ),
        (
            lambda: untyped.perplexity([ROWS[0], ROWS[0, :2]], mask=np.ones((2, 3), bool)),
            ValueError,
            "mask has shape (2, 3), expected [(3,), (2,)]",
        ),
        (lambda: untyped.perplexity(ROWS, mask=np.ones(6, bool)), ValueError, "mask has shape (6,), expected (2, 3)"),
        (
            lambda: untyped.bits_per_byte(ROWS, 5, reduction="sequence_mean"),
            ValueError,
            "byte_counts is one number, expected one for each sequence, because each has a result",
        ),
        (
            lambda: untyped.bits_per_byte(ROWS, [1, 2, 3]),
            ValueError,
            "byte_counts has shape (3,), expected (2,) or (2, 3)",
        ),
        (lambda: untyped.bits_per_byte(ROWS, [1, -2]), ValueError, "byte_counts has -2, expected numbers of 0 or more"),
        (lambda: untyped.bits_per_byte(ROWS, -2), ValueError, "byte_counts is -2, expected 0 or more"),
        (lambda: untyped.bits_per_byte(ROWS, 2.5), TypeError, "byte_counts is 2.5, expected a whole number"),
        (
            lambda: untyped.bits_per_byte(ROWS, [1.0, 2.0]),
            TypeError,
            "byte_counts has dtype float64, expected integers",
        ),
        (lambda: untyped.top_k_accuracy(ROWS), TypeError, "ranks has dtype float64, expected integers"),
        (
            lambda: untyped.top_k_accuracy([0], 0),
            ValueError,
            "k is 0, expected a whole number of 1 or more, or a sequence of them",
        ),
        (
            lambda: untyped.top_k_accuracy([0], [1, 2.5]),
            ValueError,
            "k is [1, 2.5], expected a whole number of 1 or more, or a sequence of them",
        ),
        (
            lambda: untyped.reliability_bins(ROWS),
            TypeError,
            "correct is missing, expected booleans of the shape of max_log_probs",
        ),
        (
            lambda: untyped.reliability_bins(untyped.token_log_probs(np.zeros((2, 3)), [0, 1]), [True, True]),
            TypeError,
            "correct goes with an array of log-probabilities; a TokenLogProbs has ranks, which tell it",
        ),
        (lambda: untyped.reliability_bins(ROWS, [True, False]), ValueError, "correct has shape (2,), expected (2, 3)"),
        (
            lambda: untyped.reliability_bins([0.5], [True]),
            ValueError,
            "max_log_probs has 0.5, which is not the logarithm of a probability",
        ),
        (lambda: untyped.reliability_bins(ROWS[0], [True] * 3, bins=0), ValueError, "bins is 0, expected 1 or more"),
        (
            lambda: untyped.reliability_bins(ROWS[0], [True] * 3, binning="x"),
            ValueError,
            'binning is "x", expected one of "width", "mass"',
        ),
        (lambda: untyped.sequence_windows([[1, 2]], 0), ValueError, "window is 0, expected 1 or more"),
        (lambda: untyped.sequence_windows([[1, 2]], 4.0), TypeError, "window is 4.0, expected a whole number"),
        (
            lambda: untyped.sequence_windows([[1, 2]], 4, context=5),
            ValueError,
            "context is 5, expected 1 to 4, which is window",
        ),
        (lambda: untyped.sequence_windows([[1, 2]], 4, context=0), ValueError, "context is 0, expected 1 or more"),
        (
            lambda: untyped.sequence_windows([[1, 2]], 4, begin_token=-1),
            ValueError,
            "begin_token is -1, expected 0 or more",
        ),
        (
            lambda: untyped.sequence_windows([[1, 2]], 4, ignore_index=0),
            ValueError,
            "ignore_index is 0, expected a number below 0: others are tokens",
        ),
        (
            lambda: untyped.sequence_windows([[1, 2]], 4, last="x"),
            ValueError,
            'last is "x", expected one of "full", "short"',
        ),
        (
            lambda: untyped.sequence_windows([[1, 2], [1.5]], 4),
            TypeError,
            "documents[1] has dtype float64, expected integers",
        ),
        (
            lambda: untyped.sequence_windows([[1, 2]], 4, lengths=[3]),
            ValueError,
            "lengths[0] is 3, which is not a length in 0..=2",
        ),
        (lambda: untyped.sequence_windows([[1, 2]], 4).batches(0), ValueError, "batch_size is 0, expected 1 or more"),
        (
            lambda: list(untyped.sequence_windows([[1, 2], [3, 4, -5]], 4).batches(9)),
            ValueError,
            "documents[1][2] is -5, which is not a token (0 or more)",
        ),
        (lambda: untyped.DocumentScores().update(ROWS, [0]), ValueError, "documents has shape (1,), expected (2,)"),
        (
            lambda: untyped.DocumentScores().update(ROWS, [0, -1]),
            ValueError,
            "documents has -1, expected numbers from 0",
        ),
        (
            lambda: untyped.DocumentScores().update(ROWS, [0, 1.5]),
            TypeError,
            "documents has dtype float64, expected integers",
        ),
        (lambda: untyped.DocumentScores().merge(3), TypeError, "other is 3, expected DocumentScores"),
        (lambda: untyped.DocumentScores().bits_per_byte([1]), ValueError, "byte_counts has shape (1,), expected (0,)"),
    ],
)
def test_what_does_not_fit_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_the_names_are_exported() -> None:
    for module in (seqloss_rs.evaluation, seqloss_rs.windows):
        for name in module.__all__:
            assert name in seqloss_rs.__all__
            assert getattr(seqloss_rs, name) is getattr(module, name)


def test_tokens_that_no_int64_holds_are_refused() -> None:
    documents = [np.array([1, 2], np.uint64), np.array([3, 4, 2**63], np.uint64)]
    batches = sequence_windows(documents, 4).batches(1)
    assert next(batches).targets.tolist() == [[2]]
    with pytest.raises(ValueError, match=r"documents\[1\]\[2\] is 9223372036854775808, which is not a token"):
        next(batches)
