"""Alignment and decoding against enumeration of all paths, and against plain recursions of their definitions."""

import inspect
import itertools
import math
import signal
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import seqloss_rs
from conftest import Run, clean_environment
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from seqloss_rs import (
    Alignment,
    Span,
    ctc_align,
    ctc_beam_decode,
    ctc_feasible,
    ctc_greedy_decode,
    ctc_loss,
)

Array = NDArray[Any]

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def log_softmax(logits: Array) -> Array:
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    normalised: Array = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return normalised


def collapsed(path: Sequence[int], blank: int = 0) -> list[int]:
    """The labels that a path of classes says."""
    return [int(label) for label, _ in itertools.groupby(path) if label != blank]


def runs(path: Sequence[int], probabilities: Array, blank: int = 0) -> list[tuple[int, int, int, float]]:
    """The spans of a path of classes."""
    found, start = [], 0
    for label, group in itertools.groupby(path):
        end = start + len(list(group))
        if label != blank:
            found.append((int(label), start, end, float(np.mean(probabilities[start:end]))))
        start = end
    return found


def plain_align(scores: Array, labels: Sequence[int] | Array, blank: int = 0) -> tuple[float, list[int]]:
    """The best path, state by state: the nearest of equal predecessors wins, and the last label over the last blank."""
    states = [blank]
    for label in labels:
        states += [int(label), blank]
    best = [0.0] + [-math.inf] * (len(states) - 1)
    moves: list[list[int]] = []
    for row in scores:
        new, came = [], []
        for s, state in enumerate(states):
            back, value = 0, best[s]
            if s >= 1 and best[s - 1] > value:
                back, value = 1, best[s - 1]
            if s >= 3 and s % 2 == 1 and states[s - 2] != state and best[s - 2] > value:
                back, value = 2, best[s - 2]
            new.append(value + float(row[state]))
            came.append(back)
        best = new
        moves.append(came)
    s = len(states) - 1
    if s > 0 and not best[s] > best[s - 1]:
        s -= 1
    end, path = best[s], []
    for came in reversed(moves):
        path.append(states[s])
        s -= came[s]
    return end, path[::-1]


def only(found: Alignment) -> tuple[Any, list[Span], Any]:
    """What a single sequence has."""
    return found.labels, found.spans, found.scores


@st.composite
def alignments(draw: st.DrawFn) -> tuple[Array, list[int], int]:
    """Scores with ties and zeros, a target that may or may not fit, and a blank."""
    frames, classes = draw(st.integers(0, 30)), draw(st.integers(2, 6))
    blank = draw(st.integers(0, classes - 1))
    others = [c for c in range(classes) if c != blank]
    labels = draw(st.lists(st.sampled_from(others), max_size=frames + 1))
    seed, zeros = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.02, 0.3]))
    random = np.random.default_rng(seed)
    scores = -random.integers(0, 4, (frames, classes)).astype(float)
    scores[random.random(scores.shape) < zeros] = -np.inf
    return scores, labels, blank


@given(alignments())
def test_align_is_the_plain_recursion(case: tuple[Array, list[int], int]) -> None:
    scores, labels, blank = case
    truth, path = plain_align(scores, labels, blank)
    found, spans, score = only(ctc_align(scores, np.array(labels, int), blank=blank, scores="log_probs"))
    assert score == truth
    assert found.dtype == np.int64
    if truth == -math.inf:
        assert found.shape == (0,)
        assert spans == []
    else:
        assert found.tolist() == path
        expected = runs(path, np.exp(scores[range(len(path)), path]), blank)
        assert [span[:3] for span in spans] == [span[:3] for span in expected]
        assert [span.score for span in spans] == pytest.approx([span[3] for span in expected], rel=1e-14)
        assert [span.label for span in spans] == labels


@pytest.mark.parametrize("seed", range(40))
def test_align_finds_the_best_of_all_paths(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames, classes = int(random.integers(1, 7)), int(random.integers(2, 4))
    logits = random.normal(size=(frames, classes)) * 2
    y = log_softmax(logits)
    best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
    for path in itertools.product(range(classes), repeat=frames):
        score = sum(y[t, c] for t, c in enumerate(path))
        labels = tuple(collapsed(path))
        best[labels] = max(best.get(labels, (-math.inf, path)), (score, path))
    for labels, (truth, path) in best.items():
        found, spans, score = only(ctc_align(logits, np.array(labels, int)))
        assert tuple(found) == path
        assert score == pytest.approx(truth, rel=1e-12, abs=1e-12)
        expected = runs(path, np.exp(y[range(frames), path]))
        assert [tuple(span) for span in spans] == [pytest.approx(span, rel=1e-12) for span in expected]


def test_a_long_alignment_from_logits() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(700, 40)).astype(np.float32) * 5
    for labels in (random.integers(1, 40, 200), random.integers(1, 3, 340), random.integers(1, 40, 600)):
        truth, path = plain_align(logits.astype(np.float64), labels)
        found, spans, score = only(ctc_align(logits, labels))
        assert found.tolist() == path
        assert score == pytest.approx(log_softmax(logits)[range(700), path].sum(), rel=1e-7)
        assert [span.label for span in spans] == labels.tolist()
        assert truth == pytest.approx(logits.astype(np.float64)[range(700), path].sum())


def test_ties_go_to_the_nearest_state() -> None:
    zeros = np.zeros((4, 3))
    # The last label wins over the last blank; backwards, staying wins over coming from the blank before.
    assert only(ctc_align(zeros, [1]))[0].tolist() == [1, 1, 1, 1]
    assert only(ctc_align(zeros, [1, 2]))[0].tolist() == plain_align(zeros, [1, 2])[1] == [1, 2, 2, 2]
    assert only(ctc_align(zeros, [1, 1]))[0].tolist() == [1, 0, 1, 1]


def test_what_has_no_frames_or_no_labels() -> None:
    labels, spans, score = only(ctc_align(np.zeros((0, 3)), np.zeros(0, int)))
    assert labels.shape == (0,)
    assert (spans, score) == ([], 0.0)
    labels, spans, score = only(ctc_align(np.log([[0.25, 0.75], [0.5, 0.5]]), np.zeros(0, int)))
    assert labels.tolist() == [0, 0]
    assert spans == []
    assert score == pytest.approx(math.log(0.125))
    assert ctc_align(np.zeros((0, 3)), [1]).scores == -math.inf
    none = ctc_align(np.zeros((0, 4, 3)), np.zeros((0, 2), int))
    assert (none.labels, none.spans) == ([], [])
    assert none.scores.shape == (0,)
    assert none.scores.dtype == np.float64


def test_a_batch_with_everything_in_it() -> None:
    logits = np.zeros((5, 3, 3))
    logits[1, 1] = np.nan
    logits[2, :, 2] = -np.inf
    logits[3, 2] = np.nan
    targets = [[1, 2], [1, 2], [1, 2], [1, 2], [1, 1]]
    found = ctc_align(logits, targets, input_lengths=[3, 3, 3, 2, 2])
    assert found.scores.tolist() == [
        pytest.approx(3 * math.log(1 / 3)),
        pytest.approx(math.nan, nan_ok=True),
        -math.inf,
        pytest.approx(2 * math.log(1 / 3)),
        -math.inf,
    ]
    assert [labels.tolist() for labels in found.labels] == [[1, 2, 2], [], [], [1, 2], []]
    assert [len(spans) for spans in found.spans] == [2, 0, 0, 2, 0]


def test_nan_and_infinities_of_log_probabilities() -> None:
    frames = np.zeros((3, 4))
    frames[1, 3] = np.nan
    assert ctc_align(frames, [1, 2], scores="log_probs").scores == 0  # a class that nobody asks for
    assert math.isnan(ctc_align(frames, [1, 3], scores="log_probs").scores)
    assert math.isnan(ctc_align(frames, [1, 2]).scores)
    frames[1, 3] = np.inf
    assert math.isnan(ctc_align(frames, [3], scores="log_probs").scores)
    assert math.isnan(ctc_align(np.full((2, 3), -np.inf), [1]).scores)


def test_log_probabilities_are_taken_as_they_are() -> None:
    found = ctc_align(np.full((3, 2), 2.0), [1], scores="log_probs")
    assert found.scores == 6
    assert found.spans[0].score == pytest.approx(math.e**2, rel=1e-14)


def test_a_certain_path_is_never_above_0() -> None:
    logits = np.zeros((1000, 3), np.float32)
    logits[:, 1] = 40
    assert ctc_align(logits, [1]).scores == 0
    assert ctc_greedy_decode(logits, spans=True).scores == 0


def batch(dtype: Any = np.float32) -> tuple[list[Array], list[Array]]:
    random = np.random.default_rng(11)
    lengths = [40, 3, 0, 700, 129, 64]
    logits = [(random.normal(size=(t, 9)) * 3).astype(dtype) for t in lengths]
    return logits, [random.integers(1, 9, t // 3) for t in lengths]


def padded(arrays: Sequence[Array], fill: float) -> tuple[Array, Array]:
    lengths = np.array([len(array) for array in arrays])
    whole = np.full((len(arrays), max(lengths) + 2, *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole, lengths


def flat(found: Any) -> list[Any]:
    """Everything in a result, in order, floats as bytes."""
    if isinstance(found, np.ndarray):
        return [found.dtype.str, found.shape, found.tobytes()]
    if isinstance(found, float):
        return [found.hex()]
    if isinstance(found, (list, tuple)):
        return [flat(item) for item in found]
    if hasattr(found, "__dataclass_fields__"):
        return [flat(getattr(found, name)) for name in found.__dataclass_fields__]
    return [found]


def of_batch(logits: Any, targets: Any, **options: Any) -> list[Any]:
    with_targets = dict(options)
    target_lengths = with_targets.pop("target_lengths", None)
    return [
        flat(ctc_align(logits, targets, target_lengths=target_lengths, **with_targets)),
        flat(ctc_feasible(logits, targets, target_lengths=target_lengths, **with_targets)),
        flat(ctc_greedy_decode(logits, spans=True, **with_targets)),
        flat(ctc_greedy_decode(logits, **with_targets)),
        flat(ctc_beam_decode(logits, beam_width=5, n_best=3, **with_targets)),
    ]


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = seqloss_rs.get_num_threads()
    yield
    seqloss_rs.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_however_it_lies(dtype: Any) -> None:
    logits, targets = batch(dtype)
    seqloss_rs.set_num_threads(1)
    truth = of_batch(logits, targets)
    seqloss_rs.set_num_threads(2)
    assert of_batch(logits, targets) == truth
    whole, input_lengths = padded(logits, np.nan)
    labels, target_lengths = padded(targets, 99)
    lengths = {"input_lengths": input_lengths, "target_lengths": target_lengths}
    assert of_batch(whole, labels, **lengths) == truth
    assert of_batch(np.ascontiguousarray(whole.swapaxes(0, 1)), labels, layout="TNC", **lengths) == truth
    assert of_batch(np.asfortranarray(whole), labels, **lengths) == truth
    assert of_batch(np.repeat(whole, 2, axis=1)[:, ::2], labels, **lengths) == truth
    concatenated = {"input_lengths": input_lengths, "target_lengths": target_lengths}
    assert of_batch(whole, np.concatenate(targets), **concatenated) == truth
    # Narrow numbers are those numbers.
    wide = np.float64 if dtype is np.float64 else np.float32
    assert of_batch([array.astype(wide) for array in logits], targets) == truth
    # One alone is what it is among others.
    for n, (one, label) in enumerate(zip(logits, targets, strict=True)):
        found = ctc_align(one, label)
        among = ctc_align(logits, targets)
        assert flat(found.labels) == flat(among.labels[n])
        assert flat(found.spans) == flat(among.spans[n])
        assert flat(found.scores) == flat(float(among.scores[n]))


def test_the_portable_vectors_find_the_same_paths(run_python: Run) -> None:
    program = """
        import numpy as np, seqloss_rs, sys
        random = np.random.default_rng(2)
        logits, labels = random.normal(size=(2, 150, 20)).astype(np.float32), random.integers(1, 20, (2, 40))
        found = seqloss_rs.ctc_align(logits, labels)
        print([labels.tolist() for labels in found.labels], [span[:3] for span in found.spans[1]])
        print([hypothesis.labels.tolist() for hypothesis in seqloss_rs.ctc_beam_decode(logits, n_best=2)[0]])
    """
    assert run_python(program, SEQLOSS_SIMD="baseline").stdout == run_python(program).stdout


# Feasibility


@given(alignments())
def test_feasible_is_a_finite_loss(case: tuple[Array, list[int], int]) -> None:
    scores, labels, blank = case
    targets = np.array(labels, int)
    for kind in ("log_probs", "logits"):
        if kind == "logits" and np.isneginf(scores).all(-1).any():
            continue  # a frame without any probability is NaN
        options: dict[str, Any] = {"blank": blank, "scores": kind}
        mask, needed = ctc_feasible(scores, targets, **options)
        assert type(mask) is bool
        assert mask == math.isfinite(ctc_loss(scores, targets, reduction="sum", **options))
        assert mask == (ctc_align(scores, targets, **options).scores > -math.inf)
        assert needed == len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


def test_feasible_of_long_targets() -> None:
    """Beyond 64 labels, what moves from one word of bits to the next."""
    random = np.random.default_rng(5)
    for case in range(60):
        count = int(random.integers(60, 200))
        labels = random.integers(1, 4, count)
        frames = count + int(np.sum(labels[1:] == labels[:-1])) + int(random.integers(0, 40))
        scores = np.zeros((frames, 4))
        scores[random.random(scores.shape) < (0.0, 0.002, 0.02)[case % 3]] = -np.inf
        mask, _ = ctc_feasible(scores, labels, scores="log_probs")
        assert mask == (plain_align(scores, labels.tolist())[0] > -math.inf)
        assert mask == math.isfinite(ctc_loss(scores, labels, scores="log_probs", reduction="sum"))


def test_feasible_arrays_and_nan() -> None:
    logits = np.zeros((3, 3, 3), np.float32)
    logits[1, 2, 0] = np.nan
    mask, needed = ctc_feasible(logits, [[1, 2], [1, 2], [1, 1]], target_lengths=[0, 2, 2])
    assert mask.dtype == np.bool_
    assert needed.dtype == np.int64
    assert mask.tolist() == [True, False, True]
    assert needed.tolist() == [0, 2, 3]
    assert ctc_feasible(logits, [[1, 2], [1, 2], [1, 1]], input_lengths=[2, 2, 2]).mask.tolist() == [True, True, False]
    empty = ctc_feasible(np.zeros((0, 3, 3)), np.zeros((0, 1), int))
    assert empty.mask.shape == empty.frames_needed.shape == (0,)


# Greedy


@given(alignments(), st.sampled_from(["logits", "log_probs"]))
def test_greedy_spans(case: tuple[Array, list[int], int], kind: Any) -> None:
    scores, _, blank = case
    labels, spans, score = only(ctc_greedy_decode(scores, blank=blank, scores=kind, spans=True))
    path = [int(row.argmax()) for row in scores]
    assert labels.tolist() == path
    dead = np.isneginf(scores).all(-1).any()
    with np.errstate(invalid="ignore"):
        y = scores if kind == "log_probs" or not len(scores) else log_softmax(scores)
    chosen = y[range(len(path)), path]
    if dead and kind == "logits":
        assert math.isnan(score)
    else:
        assert score == pytest.approx(chosen.sum(), rel=1e-12, abs=1e-12)
        expected = runs(path, np.exp(chosen), blank)
        assert [tuple(span) for span in spans] == [pytest.approx(span, rel=1e-12) for span in expected]
    plain: Any = ctc_greedy_decode(scores, blank=blank, scores=kind)
    assert plain.tolist() == collapsed(path, blank) == [span.label for span in spans]


# Beam search


def enumerated(y: Array, blank: int = 0) -> dict[tuple[int, ...], float]:
    """The log-probability of every label sequence, summed over all paths."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        sums[tuple(collapsed(path, blank))] += math.exp(sum(y[t, c] for t, c in enumerate(path)))
    return {labels: math.log(value) for labels, value in sums.items() if value > 0}


def table_of(found: Any) -> list[tuple[tuple[int, ...], float]]:
    return [(tuple(hypothesis.labels.tolist()), hypothesis.score) for hypothesis in found]


@pytest.mark.parametrize("seed", range(30))
def test_a_wide_beam_is_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames, classes = int(random.integers(0, 6)), int(random.integers(2, 5))
    blank = int(random.integers(classes))
    logits = random.normal(size=(frames, classes)) * 2
    if seed % 3 == 0:
        # Never a whole row, which would have no softmax.
        logits[:, 1:][random.random((frames, classes - 1)) < 0.3] = -np.inf
    y = log_softmax(logits)
    truth = enumerated(y, blank)
    kinds: list[Any] = ["logits", "log_probs"]
    for scores, numbers in zip(kinds, [logits, y], strict=True):
        found = table_of(ctc_beam_decode(numbers, blank=blank, scores=scores, beam_width=400, n_best=400))
        assert dict(found) == pytest.approx(truth, rel=1e-12, abs=1e-12)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    # And the losses of all label sequences say the same.
    best, score = table_of(ctc_beam_decode(logits, blank=blank, beam_width=400))[0]
    assert score == pytest.approx(-ctc_loss(logits, np.array(best, int), blank=blank, reduction="sum"), abs=1e-12)


def with_tokens(truth: dict[tuple[int, ...], float], token: Callable[[tuple[int, ...], int], float]) -> Any:
    return {
        labels: score + sum(token(labels[:i], label) for i, label in enumerate(labels))
        for labels, score in truth.items()
    }


@pytest.mark.parametrize("seed", range(10))
def test_token_scores(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    frames, classes, blank = 5, 4, seed % 4
    logits = random.normal(size=(frames, classes))
    truth = enumerated(log_softmax(logits), blank)
    options: dict[str, Any] = {"blank": blank, "beam_width": 1000, "n_best": 1000}
    one = random.normal(size=classes)
    two = random.normal(size=(classes, classes)).astype(np.float32)

    def expected(token: Callable[[tuple[int, ...], int], float]) -> Any:
        return pytest.approx(with_tokens(truth, token), rel=1e-12, abs=1e-12)

    found = dict(table_of(ctc_beam_decode(logits, token_scores=one, **options)))
    assert found == expected(lambda _, label: one[label])
    found = dict(table_of(ctc_beam_decode(logits, token_scores=two, **options)))
    assert found == expected(lambda prefix, label: float(two[prefix[-1] if prefix else blank, label]))

    def row(prefix: tuple[int, ...]) -> Array:
        generator = np.random.default_rng([seed, *prefix])
        answer: Array = generator.normal(size=classes)
        return answer

    asked: list[tuple[int, ...]] = []

    def asking(prefix: tuple[int, ...]) -> Array:
        asked.append(prefix)
        return row(prefix)

    found = dict(table_of(ctc_beam_decode(logits, token_scores=asking, **options)))
    assert found == expected(lambda prefix, label: row(prefix)[label])
    assert len(asked) == len(set(asked))
    assert all(isinstance(label, int) for prefix in asked for label in prefix)
    # What may not be appended never is.
    one[(blank + 1) % classes] = -np.inf
    found = dict(table_of(ctc_beam_decode(logits, token_scores=one, **options)))
    assert set(found) == {labels for labels in truth if (blank + 1) % classes not in labels}


@pytest.mark.parametrize("kind", ["row", "table", "function"])
def test_the_same_token_scores_in_three_ways(kind: str) -> None:
    """A narrow beam over many classes, of which a row alone lets some be passed over."""
    random = np.random.default_rng(8)
    logits, row = random.normal(size=(2, 30, 50)), random.normal(size=50)
    token_scores: Any = {"row": row, "table": np.tile(row, (50, 1)), "function": lambda _: row}[kind]
    found = ctc_beam_decode(logits, beam_width=6, n_best=6, token_scores=token_scores)
    truth = ctc_beam_decode(logits, beam_width=6, n_best=6, token_scores=row)
    for sequence, other in zip(found, truth, strict=True):
        assert [labels for labels, _ in table_of(sequence)] == [labels for labels, _ in table_of(other)]
        scores = [score for _, score in table_of(other)]
        assert [score for _, score in table_of(sequence)] == pytest.approx(scores, rel=1e-12)


def test_a_narrow_beam_never_says_too_much() -> None:
    random = np.random.default_rng(4)
    logits = random.normal(size=(60, 12)) * 2
    for width in (1, 2, 4, 16, 64):
        best = ctc_beam_decode(logits, beam_width=width)[0]
        assert best.score <= -ctc_loss(logits, best.labels, reduction="sum") + 1e-9


def test_a_prefix_that_comes_back_is_itself() -> None:
    """Many prefixes fall out of a narrow beam and return: none may stand in it twice."""
    random = np.random.default_rng(6)
    for _ in range(40):
        logits = random.normal(size=(50, 3)) * 0.5
        found = table_of(ctc_beam_decode(logits, beam_width=7, n_best=7))
        assert len({labels for labels, _ in found}) == len(found)


def test_equal_scores_keep_the_order_that_is_promised() -> None:
    found = table_of(ctc_beam_decode(np.zeros((1, 4)), beam_width=4, n_best=4))
    assert [labels for labels, _ in found] == [(), (1,), (2,), (3,)]
    found = table_of(ctc_beam_decode(np.zeros((1, 4)), beam_width=2, n_best=2))
    assert [labels for labels, _ in found] == [(), (1,)]


def test_what_a_beam_finds_of_nothing() -> None:
    (nothing,) = ctc_beam_decode(np.zeros((0, 3)))
    assert nothing.labels.tolist() == []
    assert nothing.labels.dtype == np.int64
    assert nothing.score == 0
    assert ctc_beam_decode(np.zeros((0, 4, 3))) == []
    # No label sequence has a probability above 0.
    assert ctc_beam_decode(np.full((2, 3), -np.inf), scores="log_probs") == []
    frames = np.zeros((2, 3, 3))
    frames[0, 1, 2] = np.nan
    (broken,), (whole,) = ctc_beam_decode(frames)
    assert broken.labels.tolist() == []
    assert math.isnan(broken.score)
    assert whole.score < 0
    only_blank = ctc_beam_decode(np.zeros((3, 1)), n_best=4)
    assert [hypothesis.score for hypothesis in only_blank] == [0]


def test_what_a_function_of_prefixes_raises_is_passed_on() -> None:
    logits = np.zeros((2, 50, 30))

    class Told(Exception):
        pass

    def raising(prefix: tuple[int, ...]) -> Array:
        if len(prefix) == 2:
            raise Told(prefix)
        return np.zeros(30)

    with pytest.raises(Told):
        ctc_beam_decode(logits, token_scores=raising)

    def stopping(_: tuple[int, ...]) -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ctc_beam_decode(logits, token_scores=stopping)
    with pytest.raises(ValueError, match=r"^token_scores\(\(\)\) has shape \(29,\), expected \(30,\)$"):
        ctc_beam_decode(logits, token_scores=lambda _: np.zeros(29))
    with pytest.raises(ValueError, match=r"^token_scores\(\(\)\)\[3\] is NaN, expected a number or -inf$"):
        ctc_beam_decode(logits, token_scores=lambda _: np.where(np.arange(30) == 3, np.nan, 0))
    with pytest.raises(TypeError, match=r"^token_scores\(\(\)\) has dtype"):
        ctc_beam_decode(logits, token_scores=lambda _: "a")
    # A list will do, and so will a call of the library within.
    found = ctc_beam_decode(
        logits[0], token_scores=lambda _: list(ctc_beam_decode(np.zeros((1, 30)))[0].labels) or [0.0] * 30
    )
    assert len(found) == 1


# Arguments


def wrong_arguments() -> dict[str, dict[str, Any]]:
    fine: dict[str, Any] = {"logits": np.zeros((2, 4, 3)), "targets": [[1, 2], [2, 1]]}
    changes: dict[str, dict[str, Any]] = {
        "a blank that is no class": {"blank": 3},
        "a blank that is no integer": {"blank": 0.5},
        "a layout": {"layout": "CTN"},
        "scores": {"scores": "probs"},
        "scores that are no word": {"scores": 1},
        "a length": {"input_lengths": [4, 5]},
        "lengths": {"input_lengths": [4]},
        "lengths that are floats": {"input_lengths": [4.0, 3.0]},
        "text": {"logits": "abc"},
        "complex numbers": {"logits": np.zeros((2, 4, 3), complex)},
        "one axis": {"logits": np.zeros(3)},
        "masked": {"logits": np.ma.zeros((2, 4, 3))},
        "four axes": {"logits": np.zeros((1, 2, 4, 3))},
        "ragged widths": {"logits": [np.zeros((4, 3)), np.zeros((4, 2))]},
        "two dtypes": {"logits": [np.zeros((4, 3)), np.zeros((4, 3), np.float32)]},
        "a label that is the blank": {"targets": [[1, 0], [2, 1]]},
        "a label that is no class": {"targets": [[1, 2], [2, 3]]},
        "a negative label": {"targets": [[1, 2], [-1, 1]]},
        "labels that are floats": {"targets": [[1.0, 2.0], [1.0, 2.0]]},
        "another number of targets": {"targets": [[1, 2]]},
        "a target's length": {"target_lengths": [2, 3]},
        "no target lengths": {"targets": [1, 2, 1]},
    }
    return {name: {**fine, **changed} for name, changed in changes.items()}


@pytest.mark.parametrize("name", wrong_arguments())
def test_wrong_arguments_are_told_as_the_loss_tells_them(name: str) -> None:
    arguments = wrong_arguments()[name]
    with pytest.raises((ValueError, TypeError)) as truth:
        ctc_loss(**arguments)
    functions: list[Callable[..., Any]] = [ctc_align, ctc_feasible, ctc_greedy_decode, ctc_beam_decode]
    for function in functions:
        wanted = inspect.signature(function).parameters
        # Without targets there is nothing wrong about them.
        if "targets" not in wanted and "target" in str(truth.value):
            continue
        with pytest.raises((ValueError, TypeError)) as told:
            function(**{key: value for key, value in arguments.items() if key in wanted})
        assert str(told.value) == str(truth.value)
        assert told.type is truth.type


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beam_width": 0}, ValueError, "beam_width is 0, which is not at least 1"),
        ({"beam_width": -3}, ValueError, "beam_width is -3, which is not at least 1"),
        ({"beam_width": 2.5}, TypeError, "beam_width is 2.5, expected an integer"),
        ({"n_best": 17}, ValueError, "n_best is 17, which is not in 1..=16 (beam_width)"),
        ({"n_best": 0}, ValueError, "n_best is 0, which is not in 1..=16 (beam_width)"),
        ({"token_scores": np.zeros(4)}, ValueError, "token_scores has shape (4,), expected (3,) or (3, 3)"),
        ({"token_scores": np.zeros((3, 2))}, ValueError, "token_scores has shape (3, 2), expected (3,) or (3, 3)"),
        ({"token_scores": [0, np.inf, 0]}, ValueError, "token_scores[1] is inf, expected a number or -inf"),
        (
            {"token_scores": [[0] * 3, [0, 0, np.nan], [0] * 3]},
            ValueError,
            "token_scores[1, 2] is NaN, expected a number or -inf",
        ),
        (
            {"token_scores": [np.zeros(3)] * 2},
            TypeError,
            "token_scores is a list of arrays, expected one array",
        ),
        ({"token_scores": "abc"}, TypeError, "token_scores has dtype <U3, expected real numbers"),
    ],
)
def test_wrong_arguments_of_the_beam(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as told:
        ctc_beam_decode(np.zeros((4, 3)), **arguments)
    assert str(told.value).startswith(message)


def test_wrong_arguments_of_greedy() -> None:
    with pytest.raises(TypeError, match=r"^spans is 'yes', expected True or False$"):
        ctc_greedy_decode(np.zeros((4, 3)), spans="yes")  # type: ignore[call-overload]  # on purpose


def test_results_say_what_they_are() -> None:
    found = ctc_align(np.zeros((1, 2, 3)), [[1]])
    assert isinstance(found, Alignment)
    assert type(found.spans[0][0]) is Span
    label, start, end, score = found.spans[0][0]
    assert (label, start, end) == (1, 0, 2)
    assert type(score) is float
    with pytest.raises(AttributeError):
        found.scores = 1  # type: ignore[misc]  # on purpose: it is frozen


# Long calls, and arrays that change


LONG = {
    "align": "seqloss_rs.ctc_align(logits, labels)",
    "feasible": "seqloss_rs.ctc_feasible(logits, labels)",
    "greedy": "seqloss_rs.ctc_greedy_decode(logits, spans=True)",
    "beam": "seqloss_rs.ctc_beam_decode(logits, beam_width=64)",
    "beam with a function": "seqloss_rs.ctc_beam_decode(logits, token_scores=lambda prefix: np.zeros(64))",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a signal is sent to a process")
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c(name: str, threads: str) -> None:
    source = textwrap.dedent(
        f"""
        import time
        import numpy as np, seqloss_rs
        logits = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (2, 60_000, 64))
        labels = np.tile(np.arange(2000) % 63 + 1, (2, 1))
        print("ready", flush=True)
        try:
            while True:
                {LONG[name]}
        except KeyboardInterrupt:
            print(time.monotonic(), flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", source],
        env=clean_environment(SEQLOSS_NUM_THREADS=threads),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate(timeout=10)[1]
            time.sleep(0.3)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, ""), errors
    # The promise is 0.2 s; the machine that tests may be busy.
    assert float(output) - sent < 1


def test_numbers_that_change_during_a_call_break_nothing(run_python: Run) -> None:
    program = """
        import threading
        import numpy as np, seqloss_rs
        logits = np.zeros((4, 400, 20), np.float32)
        labels = np.tile(np.arange(60) % 19 + 1, (4, 1))
        done = threading.Event()

        def write():
            random = np.random.default_rng(0)
            values = np.array([0, 1, -np.inf, np.inf, np.nan, -5, 1e30], np.float32)
            while not done.is_set():
                logits.ravel()[random.integers(0, logits.size, 50)] = random.choice(values, 50)
                logits[random.integers(4)] = 0

        writer = threading.Thread(target=write)
        writer.start()
        for scores in ("logits", "log_probs") * 60:
            found = seqloss_rs.ctc_align(logits, labels, scores=scores)
            assert all(labels.max(initial=0) < 20 for labels in found.labels)
            seqloss_rs.ctc_feasible(logits, labels, scores=scores)
            seqloss_rs.ctc_greedy_decode(logits, scores=scores, spans=True)
            seqloss_rs.ctc_beam_decode(logits, scores=scores, beam_width=4)
        done.set()
        writer.join()
        print("whole")
    """
    assert run_python(program).stdout == "whole\n"


# Calls, and how many MB more they need than there are before.
HUNGRY = {
    "align": ("ctc_align", "logits=frames(60_010), targets=labels(60_000)", 32),
    "align with slack": ("ctc_align", "logits=frames(3_000), targets=labels(1_400)", 10),
    "align two": ("ctc_align", "logits=[frames(20_000)] * 2, targets=[labels(19_980)] * 2", 40),
    "feasible": ("ctc_feasible", "logits=frames(20_010), targets=labels(20_000)", 4),
    "greedy": ("ctc_greedy_decode", "logits=frames(300_000)", 12),
    "greedy with spans": ("ctc_greedy_decode", "logits=frames(60_000), spans=True", 32),
    "beam": ("ctc_beam_decode", "logits=np.zeros((60, 300), np.float16), beam_width=1000, n_best=1000", 8),
    "beam of long prefixes": ("ctc_beam_decode", "logits=frames(20_000), beam_width=2", 8),
}


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of address space is asked for")
@pytest.mark.parametrize("name", HUNGRY)
def test_too_little_memory_is_an_error_wherever_it_runs_out(name: str, run_python: Run) -> None:
    """Children with ever more memory end in one of two ways, none of them by a signal, and the last one succeeds."""
    function, arguments, most = HUNGRY[name]
    program = """
        import os, resource, sys
        from pathlib import Path
        import numpy as np, seqloss_rs

        def frames(count):
            return np.tile(np.array([[0, 3, 0], [0, 0, 3]], np.float16), (count // 2, 1))

        def labels(count):
            return np.tile([1, 2], count // 2)

        function, most = getattr(seqloss_rs, sys.argv[1]), int(sys.argv[3])
        arguments = eval(f"dict({sys.argv[2]})")
        # Whatever a first call makes for good is there.
        seqloss_rs.ctc_align(frames(4), [1])
        endings = []
        for step in range(33):
            child = os.fork()
            if not child:
                used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                limit = used + (most << 20) * step // 32
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                try:
                    function(**arguments)
                except MemoryError:
                    os._exit(1)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    os._exit(2)
                os._exit(0)
            endings.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(*endings)
    """
    done = run_python(program, function, arguments, str(most), SEQLOSS_NUM_THREADS="1")
    endings = [int(ending) for ending in done.stdout.split()]
    assert set(endings) <= {0, 1}, (endings, done.stderr)
    assert (endings[0], endings[-1]) == (1, 0), endings
