"""Arrays as they should not be: the bits that a clean copy gives, or one sentence that names the argument."""

import contextlib
import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
import seqloss_rs
from cases import BY_NAME, CASES, POINTWISE, Array, attempt, bytes_of
from conftest import Run
from numpy.lib.stride_tricks import as_strided
from seqloss_rs import value_and_grad

LOSSES: dict[str, Callable[..., Any]] = {case.name: getattr(seqloss_rs, case.name) for case in CASES}


def names_an_argument(loss: Callable[..., Any], error: BaseException) -> bool:
    """Whether the message is one sentence with the name of a parameter in it."""
    names = "|".join(inspect.signature(loss).parameters)
    message = str(error)
    return re.search(rf"\b({names})\b", message) is not None and "\n" not in message


# ---------------------------------------------------------------------------------------------------------------------
# The zoo

VALUES = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)


class Labelled(np.ndarray[Any, np.dtype[Any]]):
    """A subclass of ndarray that adds nothing."""


def struct_field(values: Array) -> Array:
    """A field of packed records: strides that are no multiple of the item."""
    records = np.zeros(values.shape, [("tag", "S1"), ("value", values.dtype)])
    records["value"] = values
    return records["value"]


def misaligned(values: Array) -> Array:
    view = np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


def read_only(values: Array) -> Array:
    copy = values.copy()
    copy.flags.writeable = False
    return copy


def stepped(values: Array) -> Array:
    return np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]


def memory_mapped(values: Array, folder: Path) -> Array:
    mapped = np.memmap(folder / "values", values.dtype, "w+", shape=values.shape)
    mapped[...] = values
    return mapped


def matrix(values: Array) -> Any:
    # NumPy warns of the class itself, which people still hand over.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(values)


ZOO: dict[str, Callable[[Path], Any]] = {
    "fortran": lambda _: np.asfortranarray(VALUES),
    "negative strides": lambda _: VALUES[::-1, ::-1],
    "stepped": lambda _: stepped(VALUES),
    "broadcast": lambda _: np.broadcast_to(VALUES[0], VALUES.shape),
    "struct field": lambda _: struct_field(VALUES),
    "misaligned": lambda _: misaligned(VALUES),
    "byte-swapped": lambda _: VALUES.astype(">f4"),
    "read-only": lambda _: read_only(VALUES),
    "no rows": lambda _: VALUES[:0],
    "no columns, reversed": lambda _: VALUES[:, :0][::-1],
    "0-d": lambda _: np.array(1.5, np.float32),
    "40-d": lambda _: np.zeros((1,) * 40, np.float32),
    "float16": lambda _: VALUES.astype(np.float16),
    "long double": lambda _: VALUES.astype(np.longdouble),
    "object": lambda _: VALUES.astype(object),
    "masked": lambda _: np.ma.masked_array(VALUES, VALUES > 1),
    "matrix": lambda _: matrix(VALUES),
    "memory-mapped": lambda folder: memory_mapped(VALUES, folder),
    "subclass": lambda _: VALUES.copy().view(Labelled),
    "complex": lambda _: VALUES.astype(np.complex64),
    "bool": lambda _: VALUES > 0,
    "int8": lambda _: VALUES.astype(np.int8),
    "uint64": lambda _: np.abs(VALUES).astype(np.uint64),
    "strings": lambda _: VALUES.astype(str),
    "bytes": lambda _: VALUES.astype("S8"),
    "dates": lambda _: np.zeros(VALUES.shape, "datetime64[s]"),
    "void": lambda _: np.zeros(VALUES.shape, "V4"),
    "records": lambda _: np.zeros(VALUES.shape, [("a", "f4"), ("b", "i4")]),
    "empty object": lambda _: np.array([], object),
    "None": lambda _: None,
    "a set": lambda _: {1.0, 2.0},
    "a generator": lambda _: (value for value in [1.0]),
    "a word": lambda _: "logits",
    "a dictionary": lambda _: {"logits": 1.0},
    "jagged": lambda _: [[1.0, 2.0], [3.0]],
}

MUST_WORK = (
    "fortran",
    "negative strides",
    "stepped",
    "broadcast",
    "struct field",
    "misaligned",
    "byte-swapped",
    "read-only",
    "no rows",
    "float16",
    "memory-mapped",
    "subclass",
)
MUST_FAIL = (
    "0-d",
    "40-d",
    "masked",
    "complex",
    "strings",
    "bytes",
    "dates",
    "void",
    "records",
    "None",
    "a set",
    "a generator",
    "a word",
    "a dictionary",
)


def others(name: str, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Arguments that go with a first argument of that shape."""
    steps = shape[:-1]
    if name in POINTWISE:
        return (np.zeros(shape, np.float32),) * (2 if name == "gaussian_nll_loss" else 1)
    if name == "ctc_loss":
        return (np.zeros(0, np.int64),)
    labels = np.zeros(steps, np.int64)
    return (labels,) if name == "cross_entropy_loss" else (labels, 2.0)


def clean(array: Any) -> Any:
    """A copy with nothing unusual about it."""
    dtype = np.dtype(np.float64) if array.dtype in (np.longdouble, object) else array.dtype.newbyteorder("=")
    return np.array(array, dtype=dtype, order="C", subok=False)


@pytest.mark.parametrize("member", ZOO)
@pytest.mark.parametrize("name", LOSSES)
def test_as_the_first_argument(name: str, member: str, tmp_path: Path) -> None:
    hostile = ZOO[member](tmp_path)
    loss = LOSSES[name]
    rest = others(name, np.shape(hostile) if isinstance(hostile, np.ndarray) else (4, 6))
    for reduction in ("none", "mean"):
        result = attempt(functools.partial(value_and_grad(loss), hostile, *rest, reduction=reduction))
        if isinstance(result, Exception):
            assert member not in MUST_WORK, result
            assert names_an_argument(loss, result), result
            if member == "masked":
                assert "mask=" in str(result)
        else:
            assert member not in MUST_FAIL
            assert isinstance(hostile, np.ndarray)
            expected = value_and_grad(loss)(clean(hostile), *rest, reduction=reduction)
            assert bytes_of(result) == bytes_of(expected)
            assert type(result[1]) is np.ndarray


FLOAT_ARGUMENTS = [
    ("mse_loss", "targets"),
    ("mae_loss", "targets"),
    ("mse_loss", "weights"),
    ("mae_loss", "weights"),
    ("quantile_loss", "targets"),
    ("poisson_nll_loss", "weights"),
    ("cross_entropy_loss", "targets"),
    ("cross_entropy_loss", "weights"),
    ("cross_entropy_loss", "class_weights"),
    ("reinforce_loss", "rewards"),
    ("reinforce_loss", "baseline"),
]


@pytest.mark.parametrize("member", ZOO)
@pytest.mark.parametrize(("name", "argument"), FLOAT_ARGUMENTS)
def test_as_another_float_argument(name: str, argument: str, member: str, tmp_path: Path) -> None:
    hostile = ZOO[member](tmp_path)
    if member == "None" and argument in ("weights", "class_weights", "baseline"):
        pytest.skip("None is what stands there when nothing is given")
    if argument == "baseline" and member == "0-d":
        pytest.skip("a baseline may be a number")
    if argument == "class_weights" and isinstance(hostile, np.ndarray) and hostile.ndim == 2 and len(hostile):
        hostile = hostile[0]
    loss = LOSSES[name]
    shape = np.shape(hostile) if isinstance(hostile, np.ndarray) else (4, 6)
    generator = np.random.default_rng(0)

    def call(value: Any) -> Any:
        if name in POINTWISE:
            first = generator.normal(size=shape)
            keywords = {} if argument == "targets" else {"weights": value}
            return value_and_grad(loss)(first, value if argument == "targets" else first * 2, **keywords)
        if argument == "targets":
            return value_and_grad(loss)(generator.normal(size=shape), value)
        if argument == "class_weights":
            classes = shape[0] if len(shape) == 1 else 6
            return value_and_grad(loss)(np.ones((2, classes)), np.zeros(2, int), class_weights=value)
        logits = generator.normal(size=(*shape, 3))
        labels = np.zeros(shape, int)
        if argument == "weights":
            return value_and_grad(loss)(logits, labels, weights=value)
        if argument == "rewards":
            return value_and_grad(loss)(logits, labels, value)
        return value_and_grad(loss)(logits, labels, np.ones(shape), baseline=value)

    result = attempt(lambda: call(hostile))
    if isinstance(result, Exception):
        assert member not in MUST_WORK or np.size(hostile) == 0 or name == "cross_entropy_loss", result
        assert names_an_argument(loss, result), result
        if member == "masked":
            assert "mask=" in str(result)
    else:
        assert member not in MUST_FAIL
        generator = np.random.default_rng(0)
        assert bytes_of(result) == bytes_of(call(clean(np.asarray(hostile))))


LABELS = np.array([[1, 2, 0, 2], [2, 2, 1, 0]], np.int32)
INTEGER_ZOO: dict[str, Callable[[], Any]] = {
    "fortran": lambda: np.asfortranarray(LABELS),
    "negative strides": lambda: LABELS[::-1, ::-1],
    "stepped": lambda: stepped(LABELS),
    "struct field": lambda: struct_field(LABELS),
    "misaligned": lambda: misaligned(LABELS),
    "byte-swapped": lambda: LABELS.astype(">i4"),
    "byte-swapped int64": lambda: LABELS.astype(">i8"),
    "read-only": lambda: read_only(LABELS),
    "uint64": lambda: LABELS.astype(np.uint64),
    "subclass": lambda: LABELS.copy().view(Labelled),
    "lists": lambda: LABELS.tolist(),
}
BAD_INTEGERS: dict[str, Callable[[], Any]] = {
    "float": lambda: LABELS.astype(np.float64)[0],
    "bool": lambda: LABELS > 1,
    "object": lambda: LABELS.astype(object),
    "masked": lambda: np.ma.masked_array(LABELS, LABELS > 1),
    "complex": lambda: LABELS.astype(complex),
    "strings": lambda: LABELS.astype(str),
    "dates": lambda: LABELS.astype("datetime64[s]"),
    "differences of dates": lambda: LABELS.astype("timedelta64[s]"),
    "huge": lambda: LABELS.astype(np.uint64) + np.uint64(2**63),
    "huge Python numbers": lambda: [[2**70] * 4] * 2,
    "0-d": lambda: np.array(1),
    "a word": lambda: "targets",
}


def with_labels(name: str, labels: Any) -> Any:
    logits = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)
    if name == "cross_entropy_loss":
        return value_and_grad(seqloss_rs.cross_entropy_loss)(logits, labels)
    if name == "reinforce_loss":
        return value_and_grad(seqloss_rs.reinforce_loss)(logits, labels, np.array([1.0, 2.0]))
    return value_and_grad(seqloss_rs.ctc_loss)(np.tile(logits, (1, 4, 1))[..., [0, 1, 2, 0]], labels, blank=3)


@pytest.mark.parametrize("member", INTEGER_ZOO)
@pytest.mark.parametrize("name", ["cross_entropy_loss", "reinforce_loss", "ctc_loss"])
def test_as_labels(name: str, member: str) -> None:
    hostile = INTEGER_ZOO[member]()
    expected = with_labels(name, np.array(hostile, np.int64, order="C"))
    assert bytes_of(with_labels(name, hostile)) == bytes_of(expected)


@pytest.mark.parametrize("member", BAD_INTEGERS)
@pytest.mark.parametrize("name", ["cross_entropy_loss", "reinforce_loss", "ctc_loss"])
def test_as_labels_that_are_none(name: str, member: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        with_labels(name, BAD_INTEGERS[member]())
    argument = "actions" if name == "reinforce_loss" else "targets"
    assert argument in str(caught.value)
    if member == "masked":
        assert "mask=" in str(caught.value) or name == "ctc_loss"


@pytest.mark.parametrize("member", ["struct field", "misaligned", "byte-swapped", "stepped", "negative strides"])
def test_as_lengths(member: str) -> None:
    # The zoo is of two axes; lengths are one of its rows.
    lengths = INTEGER_ZOO[member]()[1]
    predictions = np.random.default_rng(1).normal(size=(4, 3))
    for name in ("mse_loss", "mae_loss", "huber_loss"):
        hostile = LOSSES[name](predictions, predictions * 2, lengths=lengths, reduction="sequence")
        expected = LOSSES[name](predictions, predictions * 2, lengths=list(map(int, lengths)), reduction="sequence")
        assert bytes_of(hostile) == bytes_of(expected)


@pytest.mark.parametrize("name", ["cross_entropy_loss", "mse_loss", "mae_loss", "reinforce_loss"])
def test_as_masks(name: str) -> None:
    problem = BY_NAME[name].problem("mask", (4, 4), 6, 1, "float32")
    positional, named = problem.arguments("stacked")
    mask = named.pop("mask")
    expected = bytes_of(LOSSES[name](*positional, mask=mask, **named))
    for hostile in (
        np.asfortranarray(mask),
        np.ascontiguousarray(mask[::-1])[::-1],
        np.repeat(mask, 2, axis=1)[:, ::2],
        struct_field(mask),
        read_only(mask),
        mask.copy().view(Labelled),
        mask.tolist(),
    ):
        assert bytes_of(LOSSES[name](*positional, mask=hostile, **named)) == expected
    of_other_types = [mask.astype(dtype) for dtype in (int, float, complex, str)]
    for wrong in (*of_other_types, np.ma.masked_array(mask, mask), "mask", 3.5):
        with pytest.raises((TypeError, ValueError), match="mask"):
            LOSSES[name](*positional, mask=wrong, **named)


# ---------------------------------------------------------------------------------------------------------------------
# Any array and any view of it


@hypothesis.given(
    st.data(),
    arrays_of.arrays(
        st.sampled_from([np.dtype(name) for name in ("<f2", "<f4", "<f8", ">f4", ">f8")]),
        arrays_of.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5),
        elements=st.floats(-4, 4, width=16),
    ),
)
def test_any_view(data: st.DataObject, array: Array) -> None:
    view = array[data.draw(arrays_of.basic_indices(array.shape, min_dims=1, allow_ellipsis=True))]
    for name, loss in LOSSES.items():
        if (view.ndim < 2 and name not in POINTWISE) or view.shape[-1] == 0:
            continue
        rest = others(name, view.shape)
        if name == "ctc_loss" and view.ndim == 3:
            rest = (np.zeros((view.shape[0], 0), np.int64),)
        if name == "reinforce_loss" and view.ndim == 3:
            rest = (rest[0], np.ones(view.shape[0]))
        for reduction in ("none", "mean"):
            result = value_and_grad(loss)(view, *rest, reduction=reduction)
            assert bytes_of(result) == bytes_of(value_and_grad(loss)(clean(view), *rest, reduction=reduction))


# ---------------------------------------------------------------------------------------------------------------------
# Wrong shapes, ranges and words

LOGITS, TARGETS = np.zeros((4, 9, 32)), np.zeros((4, 9), np.int64)
REWARDS = np.ones(4)
NUMBER: Any = 0.0


def one(index: tuple[int, ...], value: int) -> Array:
    """Targets with one wrong label."""
    targets = TARGETS.copy()
    targets[index] = value
    return targets


def at(array: Array, index: Any, value: Any) -> Array:
    copy = array.copy()
    copy[index] = value
    return copy


# Any: what is handed over here is of the wrong type on purpose.
CE: Any = seqloss_rs.cross_entropy_loss
MSE: Any = seqloss_rs.mse_loss
MAE: Any = seqloss_rs.mae_loss
CTC: Any = seqloss_rs.ctc_loss
RL: Any = seqloss_rs.reinforce_loss
CTC_TARGETS = np.ones((4, 2), np.int64)

WRONG: list[tuple[Callable[[], Any], str]] = [
    # Labels
    (lambda: CE(LOGITS, one((3, 7), 32)), r"^targets\[3, 7\] is 32, which is not a class in 0\.\.32"),
    (lambda: CE(LOGITS, one((3, 7), -1)), r"^targets\[3, 7\] is -1, which is not a class in 0\.\.32"),
    (lambda: CE(LOGITS[0], one((0, 7), 99)[0]), r"^targets\[7\] is 99, which is not a class in 0\.\.32"),
    (
        lambda: CE(list(LOGITS), list(one((3, 7), 32))),
        r"^targets\[3(, |\]\[)7\] is 32, which is not a class in 0\.\.32",
    ),
    (lambda: CE(LOGITS, one((3, 7), -100), ignore_index=5), r"^targets\[3, 7\] is -100"),
    (lambda: RL(LOGITS, one((2, 0), 32), REWARDS), r"^actions\[2, 0\] is 32, which is not a class in 0\.\.32"),
    (lambda: RL(LOGITS, one((2, 0), -100), REWARDS), r"^actions\[2, 0\] is -100, which is not a class in 0\.\.32"),
    (lambda: CTC(LOGITS, at(CTC_TARGETS, (3, 1), 32)), r"^targets\[3, 1\] is 32, which is not a class in 0\.\.32"),
    (lambda: CTC(LOGITS, at(CTC_TARGETS, (3, 1), -1)), r"^targets\[3, 1\] is -1, which is not a class in 0\.\.32"),
    (lambda: CTC(LOGITS, at(CTC_TARGETS, (1, 0), 0)), r"^targets\[1, 0\] is 0, .*blank"),
    (lambda: CTC(LOGITS, at(CTC_TARGETS, (1, 0), 5), blank=5), r"^targets\[1, 0\] is 5, .*blank"),
    (lambda: CTC(LOGITS, [[1], [1, 40], [1], [1]]), r"^targets\[1(, |\]\[)1\] is 40, which is not a class in 0\.\.32"),
    (
        lambda: CTC(LOGITS, np.array([1, 1, 1, 40, 1]), target_lengths=[1, 1, 2, 1]),
        r"^targets\[(3|2, 1)\] is 40, which is not a class in 0\.\.32",
    ),
    (lambda: CTC(LOGITS[0], [1, 40]), r"^targets\[1\] is 40, which is not a class in 0\.\.32"),
    # Lengths
    (lambda: CE(LOGITS, TARGETS, lengths=[9, 10, 1, 1]), r"^lengths\[1\] is 10\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[9, -1, 1, 1]), r"^lengths\[1\] is -1\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[9, 1, 1]), r"^lengths\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[[9, 1, 1, 1]]), r"^lengths\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[9.0, 1.0, 1.0, 1.0]), r"^lengths\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[True, False, True, True]), r"^lengths\b"),
    (lambda: CE(LOGITS, TARGETS, lengths=[2**63, 1, 1, 1]), r"^lengths\b"),
    (lambda: MSE(LOGITS, LOGITS, lengths=[9, 10, 1, 1]), r"^lengths\[1\] is 10\b"),
    (lambda: MAE(LOGITS, LOGITS, lengths=[9, 1, 1]), r"^lengths\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, lengths=[9, 10, 1, 1]), r"^lengths\[1\] is 10\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, [9, 10, 1, 1]), r"^input_lengths\[1\] is 10\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, [9, -1, 1, 1]), r"^input_lengths\[1\] is -1\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, [9, 9, 9]), r"^input_lengths\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, None, [2, 3, 1, 1]), r"^target_lengths\[1\] is 3\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, None, [2, -1, 1, 1]), r"^target_lengths\[1\] is -1\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, None, [2, 1, 1]), r"^target_lengths\b"),
    (lambda: CTC(LOGITS, np.ones(5, int), None, [1, 1, 1, 1]), r"\btarget_lengths\b"),
    (lambda: CTC(LOGITS, np.ones(3, int), None, [1, 1, 1, 1]), r"\btarget_lengths\b"),
    (lambda: CTC(LOGITS, np.ones(4, int)), r"\btarget(s|_lengths)\b"),
    (lambda: CTC(LOGITS, np.ones(0, int), None, [1, -1, 0, 0]), r"\btarget_lengths\b"),
    (lambda: CTC(LOGITS, np.ones(2, int), None, [2**63 - 1, 2**63 - 1, 2, 2]), r"\btarget_lengths\b"),
    # Blank
    (lambda: CTC(LOGITS, CTC_TARGETS, blank=32), r"^blank is 32\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, blank=-1), r"^blank is -1\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, blank=2**70), r"\bblank\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, blank=0.5), r"\bblank\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, blank=None), r"\bblank\b"),
    # Shapes
    (lambda: CE(LOGITS, TARGETS[:, :8]), r"^targets\b"),
    (lambda: CE(LOGITS, TARGETS[0]), r"^targets\b"),
    (lambda: CE(LOGITS, np.zeros((4, 9, 31))), r"^targets\b"),
    (lambda: CE(LOGITS[0, 0], TARGETS[0, 0]), r"^logits\b"),
    (lambda: CE(LOGITS[None, None], TARGETS[None, None]), r"^logits\b"),
    (lambda: CE(LOGITS[..., :0], TARGETS), r"\b(logits|targets)\b"),
    (lambda: CE(LOGITS, TARGETS, mask=np.ones((4, 8), bool)), r"^mask\b"),
    (lambda: CE(LOGITS, TARGETS, mask=np.ones((4, 9, 32), bool)), r"^mask\b"),
    (lambda: CE(LOGITS, TARGETS, weights=np.ones((4, 8))), r"^weights\b"),
    (lambda: CE(LOGITS, TARGETS, weights=np.ones(4)), r"^weights\b"),
    (lambda: CE(LOGITS, TARGETS, class_weights=np.ones(31)), r"^class_weights\b"),
    (lambda: CE(LOGITS, TARGETS, class_weights=np.ones((32, 1))), r"^class_weights\b"),
    (lambda: CE(LOGITS, TARGETS, class_weights=1.0), r"^class_weights\b"),
    (lambda: MSE(LOGITS, LOGITS[:, :8]), r"^targets\b"),
    (lambda: MSE(LOGITS, LOGITS[0]), r"^targets\b"),
    (lambda: MSE(LOGITS, NUMBER), r"^targets\b"),
    (lambda: MSE(LOGITS[:1], LOGITS), r"^targets\b"),
    (lambda: MSE(NUMBER, NUMBER), r"^predictions\b"),
    (lambda: MAE(LOGITS[None], LOGITS[None]), r"^predictions\b"),
    (lambda: MAE(LOGITS, LOGITS, mask=np.ones((4, 1, 1), bool)), r"^mask\b"),
    (lambda: MAE(LOGITS, LOGITS, weights=np.ones((9, 32))), r"^weights\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS[:3]), r"^targets\b"),
    (lambda: CTC(LOGITS, [[1]] * 3), r"^targets\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS[None]), r"^targets\b"),
    (lambda: CTC(LOGITS[0, 0], [1]), r"^logits\b"),
    (lambda: CTC(LOGITS[None], CTC_TARGETS), r"^logits\b"),
    (lambda: CTC(LOGITS[..., :0], np.zeros((4, 0), int)), r"\b(logits|blank)\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, layout="TNC"), r"\btargets\b"),
    (lambda: RL(LOGITS, TARGETS[:, :8], REWARDS), r"^actions\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS[:3]), r"^rewards\b"),
    (lambda: RL(LOGITS, TARGETS, np.ones((4, 8))), r"^rewards\b"),
    (lambda: RL(LOGITS, TARGETS, np.ones((4, 9, 32))), r"^rewards\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, baseline=np.ones(3)), r"^baseline\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, mask=np.ones((9, 4), bool)), r"^mask\b"),
    (lambda: RL(LOGITS[0, 0], TARGETS[0, 0], 1.0), r"\b(logits|actions)\b"),
    (lambda: RL(LOGITS, None, REWARDS), r"\bactions\b"),
    (lambda: RL(np.zeros((4, 9)), TARGETS, REWARDS, scores="log_probs"), r"\b(logits|actions)\b"),
    # Words and numbers
    (lambda: CE(LOGITS, TARGETS, scores="logit"), r"\bscores\b"),
    (lambda: CE(LOGITS, TARGETS, scores=None), r"\bscores\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, scores="probs"), r"\bscores\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, scores="probs"), r"\bscores\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, layout="CTN"), r"\blayout\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, layout=3), r"\blayout\b"),
    (lambda: CTC(LOGITS, CTC_TARGETS, zero_infinity="yes"), r"\bzero_infinity\b"),
    (lambda: CE(LOGITS, TARGETS, label_smoothing=-0.1), r"\blabel_smoothing\b"),
    (lambda: CE(LOGITS, TARGETS, label_smoothing=1.1), r"\blabel_smoothing\b"),
    (lambda: CE(LOGITS, TARGETS, label_smoothing=np.nan), r"\blabel_smoothing\b"),
    (lambda: CE(LOGITS, TARGETS, label_smoothing="much"), r"\blabel_smoothing\b"),
    (lambda: CE(LOGITS, TARGETS, label_smoothing=None), r"\blabel_smoothing\b"),
    (lambda: CE(LOGITS, TARGETS, ignore_index=1.5), r"\bignore_index\b"),
    (lambda: CE(LOGITS, TARGETS, ignore_index="pad"), r"\bignore_index\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, baseline="mean"), r"\bbaseline\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, baseline=object()), r"\bbaseline\b"),
    (lambda: RL(LOGITS, TARGETS, np.ones((4, 9)), discount="half"), r"\bdiscount\b"),
    (lambda: RL(LOGITS, TARGETS, REWARDS, discount=0.5), r"\bdiscount\b"),
    (lambda: RL(LOGITS, TARGETS, np.ones((4, 9)), discount=np.nan), r"\bdiscount\b"),
    # Lists
    (lambda: CE([LOGITS[0], LOGITS[0, :, :31]], [TARGETS[0]] * 2), r"^logits\b"),
    (lambda: CE([LOGITS[0], LOGITS], [TARGETS[0]] * 2), r"^logits\b"),
    (lambda: CE([LOGITS[0]] * 2, [TARGETS[0]]), r"^targets\b"),
    (lambda: CE([LOGITS[0]] * 2, [TARGETS[0], TARGETS[0, :8]]), r"^targets\b"),
    (lambda: CE([LOGITS[0], LOGITS[0].astype(np.float32)], [TARGETS[0]] * 2), r"^logits\b"),
    (lambda: CE([LOGITS[0], None], [TARGETS[0]] * 2), r"^logits\b"),
    (lambda: CE([LOGITS[0], np.ma.masked_array(LOGITS[0])], [TARGETS[0]] * 2), r"^logits\b.*mask="),
    (lambda: MSE([LOGITS[0], LOGITS[0].astype(np.float16)], [LOGITS[0]] * 2), r"^predictions\b"),
    (lambda: MSE([LOGITS[0]] * 2, [LOGITS[0], LOGITS[0].astype(np.float16)]), r"^targets\b"),
    (lambda: MAE([np.ones(3), np.ones((3, 1))], [np.ones(3), np.ones((3, 1))]), r"^predictions\b"),
    (lambda: MAE([np.ones(3), np.ones(4)], [np.ones(3), np.ones(3)]), r"^targets\b"),
    (lambda: MAE([np.ones(3), np.ones(4)], [np.ones(3), np.ones(4)], mask=[np.ones(3, bool)]), r"^mask\b"),
    (lambda: CTC([LOGITS[0], LOGITS[0].astype(np.float32)], [[1], [1]]), r"^logits\b"),
    (lambda: RL([LOGITS[0], LOGITS[0].astype(np.float32)], [TARGETS[0]] * 2, [1.0, 1.0]), r"^logits\b"),
    (lambda: RL([LOGITS[0]] * 2, [TARGETS[0]] * 3, [1.0, 1.0]), r"^actions\b"),
]


@pytest.mark.parametrize("index", range(len(WRONG)))
def test_what_is_wrong_is_named(index: int) -> None:
    call, pattern = WRONG[index]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert "\n" not in message


def test_nothing_is_computed_before_everything_is_checked() -> None:
    out = np.full(LOGITS.shape, 77.0)
    for wrong in (one((3, 8), 32), one((0, 0), -1)):
        with pytest.raises(ValueError, match="targets"):
            value_and_grad(CE, out=out)(LOGITS, wrong)
        assert np.all(out == 77)
    with pytest.raises(ValueError, match="targets"):
        value_and_grad(CTC, out=out)(LOGITS, at(CTC_TARGETS, (3, 1), 32))
    with pytest.raises(ValueError, match="input_lengths"):
        value_and_grad(CTC, out=out)(LOGITS, CTC_TARGETS, [1, 1, 1, 10])
    with pytest.raises(ValueError, match="actions"):
        value_and_grad(RL, out=out)(LOGITS, one((3, 8), 32), REWARDS)
    assert np.all(out == 77)


def test_what_lies_beyond_a_length_is_never_read() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 6, 4))
    targets = np.array([[1, 2, 999, -5], [3, -1, 0, 2**40]])
    value, gradient = value_and_grad(CTC)(logits, targets, [4, 3], [2, 1])
    logits[0, 4:], logits[1, 3:] = np.nan, np.inf
    assert bytes_of(value_and_grad(CTC)(logits, targets, [4, 3], [2, 1])) == bytes_of((value, gradient))
    labels = np.array([[1, 2, 3, 0, 99, -1], [0, 1, 2, -7, 50, 4]])
    for reduction in ("none", "mean", "sequence"):
        assert np.isfinite(CE(logits, labels, lengths=[4, 3], reduction=reduction)).all()


# ---------------------------------------------------------------------------------------------------------------------
# NaN and infinity


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_nan_in_a_valid_place_is_a_nan_and_touches_nothing_else(case: Any) -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        problem = case.problem("plain", (20, 7), 37, 3, dtype)
        clean_terms = problem("ragged", reduction="none")
        for place in ((0, 0), (6, 0), (3, 17), (6, 36), (2, 16)):
            first = [array.copy() for array in problem.first]
            first[1][place] = np.nan
            broken = problem.replace(**{problem.positional[0]: first})
            terms, gradient = broken.value_and_grad("ragged", reduction="none")
            if case.name == "ctc_loss":
                assert np.isnan(terms[1])
                assert terms[0] == clean_terms[0]
            else:
                step = place if case.name in POINTWISE else place[0]
                assert np.isnan(terms[1][step])
                assert np.isnan(terms[1]).sum() == 1
                assert terms[0].tobytes() == clean_terms[0].tobytes()
            assert np.isnan(np.asarray(gradient[1][place], np.float64))
            assert not np.isnan(np.asarray(gradient[0], np.float64)).any()
            for reduction in ("mean", "sum", "batch_mean"):
                assert np.isnan(broken("ragged", reduction=reduction))
            sums = broken("ragged", reduction="sequence")
            assert np.isnan(sums[1])
            assert not np.isnan(sums[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinity_in_pointwise_losses(dtype: str) -> None:
    x = np.array([np.inf, -np.inf, np.inf, 1.0], dtype)
    y = np.array([1.0, 1.0, np.inf, np.inf], dtype)
    for loss in (MSE, MAE):
        np.testing.assert_array_equal(loss(x, y, reduction="none"), [np.inf, np.inf, np.nan, np.inf])
    _, slope = value_and_grad(MAE)(x, y, reduction="sum")
    np.testing.assert_array_equal(slope, [1, -1, np.nan, -1])
    _, slope = value_and_grad(MSE)(x, y, reduction="sum")
    np.testing.assert_array_equal(slope, [np.inf, -np.inf, np.nan, -np.inf])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_minus_infinity_is_probability_zero(dtype: str) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 6, 20)).astype(dtype)
    logits[:, :, 10:] = -np.inf
    targets = np.array([[1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]])
    value, gradient = value_and_grad(CE)(logits, targets)
    assert value == pytest.approx(CE(logits[..., :10].copy(), targets), rel=1e-6)
    assert not np.any(gradient[..., 10:])
    value, gradient = value_and_grad(CTC)(logits, targets[:, :2], reduction="sum")
    assert value == pytest.approx(CTC(logits[..., :10].copy(), targets[:, :2], reduction="sum"), rel=1e-6)
    assert not np.any(gradient[..., 10:])
    # A target that cannot be.
    assert CE(logits, targets + 10, reduction="sum") == np.inf
    value, gradient = value_and_grad(CTC)(logits, targets[:, :2] + 10, reduction="none")
    assert value.tolist() == [np.inf, np.inf]
    assert not np.any(gradient)
    log_probs = np.log(np.full((3, 2), 0.5))
    log_probs[:, 1] = -np.inf
    value, gradient = value_and_grad(CTC)(log_probs, [1], scores="log_probs", reduction="sum")
    assert value == np.inf
    assert not np.any(gradient)
    value, gradient = value_and_grad(CTC)(log_probs, [], scores="log_probs", reduction="sum")
    assert value == pytest.approx(3 * np.log(2))
    np.testing.assert_allclose(gradient, [[-1, 0]] * 3)


# ---------------------------------------------------------------------------------------------------------------------
# The inputs of torch's crash reports


def test_invalid_labels_that_corrupt_the_heap_elsewhere() -> None:
    # pytorch#193794, #174602, #191568: target ids far out of range, forward and backward.
    logits = np.random.default_rng(0).normal(size=(2, 50, 20)).astype(np.float32)
    for label in (20, 21, 1000, 2**31 - 1, 2**31, 2**62, -1, -2, -(2**31), -(2**63)):
        targets = np.full((2, 10), 1)
        targets[1, 9] = label
        for layout, given in (("NTC", logits), ("TNC", logits.swapaxes(0, 1))):
            with pytest.raises(ValueError, match=rf"targets\[1, 9\] is {label}, which is not a class in 0\.\.20"):
                value_and_grad(CTC)(given, targets, layout=layout)


def test_negative_lengths_that_crash_elsewhere() -> None:
    # pytorch#51732: a negative length was a segmentation fault.
    logits = np.zeros((2, 5, 3), np.float32)
    for length in (-1, -5, -(2**31), -(2**63)):
        with pytest.raises(ValueError, match=rf"input_lengths\[1\] is {length}\b"):
            value_and_grad(CTC)(logits, [[1], [1]], [5, length])
        with pytest.raises(ValueError, match=rf"target_lengths\[0\] is {length}\b"):
            value_and_grad(CTC)(logits, np.array([[1], [1]]), [5, 5], [length, 1])
        with pytest.raises(ValueError, match=rf"target_lengths\[0\] is {length}\b"):
            value_and_grad(CTC)(logits, np.array([1]), [5, 5], [length, 1])
    for length in (6, 2**31, 2**62):
        with pytest.raises(ValueError, match=rf"input_lengths\[0\] is {length}\b"):
            value_and_grad(CTC)(logits, [[1], [1]], [length, 5])


def test_empty_targets_and_empty_inputs() -> None:
    # pytorch#18215: the gradient of an empty target; #78151: a backward pass over nothing.
    logits = np.random.default_rng(0).normal(size=(2, 4, 3))
    value, gradient = value_and_grad(CTC)(logits, np.zeros((2, 0), np.int64), reduction="none")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(value, -log_p[..., 0].sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(gradient, np.exp(log_p) - [1.0, 0.0, 0.0], atol=1e-14)
    nothing: list[Any] = [np.zeros((2, 0), np.int64), [[], []], [np.zeros(0, np.int64)] * 2]
    for targets in nothing:
        value, gradient = value_and_grad(CTC)(logits[:, :0], targets, reduction="none")
        assert value.tolist() == [0, 0]
        assert gradient.shape == (2, 0, 3)
    value, gradient = value_and_grad(CTC)(logits, [[], [1]], [0, 0], reduction="none")
    assert value.tolist() == [0, np.inf]
    assert not gradient.any()


def test_no_nan_from_finite_logits() -> None:
    # pytorch#14401, #14335, optax#1771: NaN after some epochs, and a loss below 0.
    generator = np.random.default_rng(0)
    for scale in (0.0, 1.0, 30.0, 1e3, 1e6, 3e37):
        for dtype in (np.float32, np.float64):
            logits = (generator.normal(size=(8, 30, 6)) * scale).astype(dtype)
            targets = generator.integers(1, 6, (8, 10))
            lengths = generator.integers(0, 11, 8)
            value, gradient = value_and_grad(CTC)(logits, targets, None, lengths, reduction="none")
            assert not np.isnan(value).any()
            assert np.all(value >= 0)
            assert np.isfinite(gradient).all()
            assert np.abs(gradient).max() <= 1 + 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# Arrays that describe more than there is


def test_arrays_that_describe_petabytes(run_python: Run) -> None:
    """The process must live; what cannot be is a MemoryError or a ValueError."""
    done = run_python(
        """
        import resource
        import numpy as np
        from numpy.lib.stride_tricks import as_strided
        import seqloss_rs
        from seqloss_rs import value_and_grad

        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        one, label = np.zeros(1, np.float32), np.ones(1, np.int64)
        def huge(*shape, of=one):
            return as_strided(of, shape, (0,) * len(shape))
        def refused(call):
            try:
                call()
            except (MemoryError, ValueError) as error:
                print(type(error).__name__)
            else:
                raise AssertionError("this cannot have been computed")
        for shape in ((2**31, 2**20), (2**20, 2**31), (2**45, 8), (2**50,)):
            for loss in (seqloss_rs.mse_loss, seqloss_rs.mae_loss):
                refused(lambda: loss(huge(*shape), huge(*shape), reduction="none"))
                refused(lambda: value_and_grad(loss)(huge(*shape), huge(*shape)))
        for shape in ((2**31, 2**20), (2**20, 2**31, 8), (2**45, 8), (2, 2**40, 8)):
            labels = huge(*shape[:-1], of=label)
            refused(lambda: seqloss_rs.cross_entropy_loss(huge(*shape), labels, reduction="none"))
            refused(lambda: value_and_grad(seqloss_rs.cross_entropy_loss)(huge(*shape), labels))
            refused(lambda: value_and_grad(seqloss_rs.reinforce_loss)(huge(*shape), labels, huge(*shape[:-2])))
        for shape in ((2**45, 8), (2, 2**40, 8), (2**40, 2, 8), (2**31, 2**20)):
            targets = huge(*shape[:-2], 1, of=label)
            refused(lambda: value_and_grad(seqloss_rs.ctc_loss)(huge(*shape), targets))
        refused(lambda: seqloss_rs.ctc_loss(np.zeros((2, 9, 3)), huge(2, 2**45, of=label)))
        refused(lambda: seqloss_rs.ctc_loss(np.zeros((9, 3)), huge(2**45, of=label)))
        # And everything works afterwards.
        assert seqloss_rs.mse_loss(np.ones(3), np.zeros(3)) == 1.0
        print(seqloss_rs.ctc_loss(np.zeros((4, 3)), [1]))
        """,
        deadline=60,
    )
    assert done.stderr == ""


def test_a_view_that_costs_nothing_is_not_copied(run_python: Run) -> None:
    """A broadcast view with more numbers than there is memory is read where it lies."""
    run_python(
        """
        import resource
        import numpy as np
        import seqloss_rs

        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        row = np.ones(2**20, np.float32)
        rows = np.broadcast_to(row, (1024, 2**20))
        assert seqloss_rs.mse_loss(rows, np.broadcast_to(row * 3, rows.shape)) == 4.0
        """,
        deadline=60,
    )


def test_more_axes_than_there_may_be() -> None:
    deep = as_strided(np.zeros(1, np.float32), (1,) * 64, (0,) * 64)
    for name, loss in LOSSES.items():
        with pytest.raises(ValueError, match=r"logits|predictions"):
            loss(deep, *others(name, deep.shape))


def anything(generator: np.random.Generator) -> Any:
    """Something that somebody might pass, most of it wrong."""

    def array() -> Any:
        shape = tuple(generator.integers(0, 4, int(generator.integers(0, 5))))
        if generator.random() < 0.6:
            return generator.normal(size=shape).astype(generator.choice(["f2", "f4", "f8"]))
        return generator.integers(0, 3, shape)

    kind = generator.random()
    if kind < 0.55:
        return array()
    if kind < 0.75:
        return [array() for _ in range(int(generator.integers(0, 4)))]
    odd: list[Any] = [None, 0, -1, 0.5, [], [[]], [[1], [2]], [1, 2], "x", (1, 2), [None], True, np.float32(2)]
    return odd[int(generator.integers(len(odd)))]


@pytest.mark.parametrize("name", LOSSES)
def test_whatever_is_passed_gives_a_result_or_an_error_of_the_caller(name: str) -> None:
    """A panic would be an InternalError, which is neither of the two."""
    generator = np.random.default_rng(12)
    loss = getattr(seqloss_rs, name)
    options = [option for option in inspect.signature(loss).parameters if option not in ("logits", "predictions")]
    answered = 0
    for _ in range(4000):
        first = anything(generator)
        arguments = {option: anything(generator) for option in options if generator.random() < 0.12}
        arguments["reduction"] = generator.choice(["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean"])
        for option in ("targets", "actions", "rewards", "variances"):
            if option in options:
                arguments.setdefault(option, anything(generator))
        if isinstance(first, np.ndarray) and first.ndim and generator.random() < 0.5:
            shape = first.shape if name in POINTWISE else first.shape[:-1]
            arguments["actions" if "actions" in options else "targets"] = generator.integers(0, 3, shape)
        call = loss
        if generator.random() < 0.5:
            out = first if generator.random() < 0.3 else None
            call = value_and_grad(loss, None if generator.random() < 0.5 else 1.0, out)
        with contextlib.suppress(ValueError, TypeError):
            call(first, **arguments)
            answered += 1
    assert answered > 0
