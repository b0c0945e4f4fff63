"""Sums without rounding: those of reductions, and LossSum, against `math.fsum` and rational numbers."""

import copy
import json
import math
import pickle
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import seqloss_rs
from cases import FLOATS, ROW_NAMES, ROWS, Array, Case, bytes_of
from hypothesis import given, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from seqloss_rs import LossSum, value_and_grad
from seqloss_rs.cli import main

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, -5e-324, sys.float_info.max, -sys.float_info.max])
# The losses that hand over every term; the others hand over sums of blocks of 1024 elements.
TERM_BY_TERM = ("cross_entropy_loss", "ctc_loss", "reinforce_loss")


def rounded(exact: Fraction) -> float:
    """The nearest float."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def sum_of(values: Any, weights: Any = None, **keywords: Any) -> LossSum:
    """A sum with these terms."""
    result = LossSum()
    result.update(values, weights, **keywords)
    return result


def truth(values: Iterable[float], weights: Iterable[float]) -> float:
    """Σ w ℓ without limits, rounded once."""
    special, exact = [], Fraction(0)
    for value, weight in zip(values, weights, strict=True):
        if weight == 0:
            continue
        if math.isfinite(value) and math.isfinite(weight):
            exact += Fraction(value) * Fraction(weight)
        else:
            special.append(value * weight)
    return sum(special) if special else rounded(exact)


@given(st.lists(FINITE, max_size=40))
def test_a_sum_is_that_of_fsum(values: list[float]) -> None:
    try:
        expected = math.fsum(values)
    except OverflowError:
        expected = rounded(sum(map(Fraction, values), Fraction(0)))
    found = sum_of(np.array(values))
    assert found.value == expected
    assert found.count == found.weight == len(values)


@given(st.lists(st.tuples(ANY, ANY), max_size=30))
def test_products_are_not_rounded(pairs: list[tuple[float, float]]) -> None:
    values, weights = [value for value, _ in pairs], [weight for _, weight in pairs]
    found = sum_of(np.array(values), np.array(weights))
    expected, weight = truth(values, weights), truth(weights, [1.0] * len(pairs))
    np.testing.assert_equal(found.value, expected)
    np.testing.assert_equal(found.weight, weight)
    np.testing.assert_allclose(found.mean, expected / weight if weight else math.nan, rtol=4e-16)


def test_many_terms_of_all_sizes() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=300_001) * 10.0 ** generator.integers(-300, 300, 300_001)
    expected = math.fsum(values)
    assert sum_of(values).value == expected
    assert sum_of(values[::-1]).value == expected
    assert sum_of(generator.permutation(values)).value == expected
    ones = np.full(200_000, 0.1)
    assert sum_of(ones, ones).value == float(Fraction(0.1) ** 2 * 200_000)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_dtype_and_layout(dtype: str) -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(6, 5, 7, 8)).astype(FLOATS[dtype])
    weights = generator.uniform(size=values.shape).astype(FLOATS[dtype])
    mask = generator.uniform(size=values.shape) > 0.3
    layouts: dict[str, Any] = {
        "whole": np.s_[:],
        "steps backwards": np.s_[:, ::-2],
        "strided last axis": np.s_[..., ::3],
        "backwards": np.s_[::-1, ::-1, ::-1, ::-1],
        "one column": np.s_[..., :1],
        "rows": np.s_[0, 0],
        "one row": np.s_[0, 0, 0],
        "one number": np.s_[0, 0, 0, 0],
        "nothing": np.s_[:0],
        "nothing wide": np.s_[:, :0],
    }
    for name, layout in layouts.items():
        for transpose in (False, True):
            parts = [array[layout].T if transpose else array[layout] for array in (values, weights, mask)]
            plain = [np.asarray(part).astype(np.float64).ravel() for part in parts]
            found = sum_of(parts[0], parts[1], mask=parts[2])
            kept = plain[2].astype(bool)
            assert found.value == truth(plain[0][kept], plain[1][kept]), name
            assert found.weight == math.fsum(plain[1][kept]), name
            assert found.count == kept.sum(), name
            assert sum_of(parts[0]).value == math.fsum(plain[0]), name


def test_numbers_lists_and_lists_of_arrays() -> None:
    assert sum_of(0.5).value == 0.5
    assert sum_of(3, 2).value == 6
    assert sum_of([1.0, 2.5], [2, 2]).value == 7
    assert sum_of([[1, 2], [3, 4]]).count == 4
    ragged = [np.array([1.0, 2.0]), np.array([4.0])]
    mask = [np.array([True, False]), np.array([True])]
    found = sum_of(ragged, [array * 2 for array in ragged], mask=mask)
    assert (found.value, found.weight, found.count) == (34, 10, 2)
    assert sum_of([]).count == 0
    swapped = np.arange(5, dtype=">f8")
    assert sum_of(swapped).value == 10


def test_what_is_masked_is_never_looked_at() -> None:
    found = sum_of([np.nan, 1.0, np.inf], [1.0, 2.0, np.nan], mask=[False, True, False])
    assert (found.value, found.weight, found.count, found.nan_count, found.inf_count) == (2, 2, 1, 0, 0)


def test_what_is_not_finite_is_counted() -> None:
    found = sum_of([np.nan, np.inf, np.inf, -np.inf, 1.0, np.inf], [1, 1, -1, 1, 1, 0])
    assert (found.nan_count, found.inf_count, found.count) == (1, 3, 5)
    assert math.isnan(found.value)
    assert sum_of([np.inf, 1.0]).value == math.inf
    assert sum_of([-np.inf, 1.0]).mean == -math.inf
    assert math.isnan(sum_of([np.inf, -np.inf]).value)


def test_a_sum_of_nothing() -> None:
    nothing = LossSum()
    assert (nothing.value, nothing.weight, nothing.count) == (0, 0, 0)
    assert math.copysign(1, nothing.value) == 1
    assert math.isnan(nothing.mean)
    assert math.isnan(sum_of([1.0], [0.0]).mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0]), r"weights has shape \(1,\), expected \(2,\)"),
        (([1.0, 2.0], None, [True]), r"mask has shape \(1,\), expected \(2,\)"),
        (([1.0, 2.0], [np.ones(2)]), "weights is a list of arrays, expected one array, as values is"),
        (([np.ones(2), np.ones(1)], np.ones(3)), "weights is one array, expected a list of 2, as values is"),
        (([np.ones(2)], [np.ones(2)] * 2), "weights is a list of 2 arrays, expected 1, as values is"),
        (([np.ones(2), np.ones(1)], [np.ones(2), np.ones(3)]), r"weights\[1\] has shape \(3,\), expected \(1,\)"),
        (([1.0], None, [1.0]), "mask has dtype float64, expected bool"),
        ((["a"],), "values has dtype <U1, expected real numbers"),
        ((np.ma.masked_array([1.0]),), "values is a MaskedArray"),
        (([1j],), "values has dtype complex128"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_added(arguments: Any, message: str) -> None:
    found = sum_of([2.0])
    values, weights, mask = (*arguments, None, None)[:3]
    with pytest.raises((ValueError, TypeError), match=message):
        found.update(values, weights, mask=mask)
    assert found == sum_of([2.0])


class Merging(RuleBasedStateMachine):
    """Any order of updates, merges and journeys gives what one update gives, to the last byte."""

    sums = Bundle("sums")

    def __init__(self) -> None:
        super().__init__()
        self.terms: list[tuple[float, float]] = []
        self.parts: dict[int, tuple[LossSum, list[tuple[float, float]]]] = {}

    def of(self, number: int) -> tuple[LossSum, list[tuple[float, float]]]:
        """A sum, and what it should hold."""
        return self.parts[number]

    def keep(self, part: LossSum, terms: list[tuple[float, float]]) -> int:
        """Give it a number."""
        number = len(self.parts)
        self.parts[number] = (part, terms)
        return number

    @initialize(target=sums)
    def first(self) -> int:
        return self.keep(LossSum("machine"), [])

    @rule(target=sums)
    def another(self) -> int:
        return self.keep(LossSum("machine"), [])

    @rule(number=sums, terms=st.lists(st.tuples(ANY, ANY), max_size=8))
    def update(self, number: int, terms: list[tuple[float, float]]) -> None:
        part, held = self.of(number)
        part.update(np.array([value for value, _ in terms]), np.array([weight for _, weight in terms]))
        held += terms

    @rule(number=sums, terms=st.lists(ANY, max_size=8))
    def update_without_weights(self, number: int, terms: list[float]) -> None:
        part, held = self.of(number)
        part.update(np.array(terms))
        held += [(value, 1.0) for value in terms]

    @rule(number=sums, other=sums)
    def merge(self, number: int, other: int) -> None:
        part, held = self.of(number)
        part.merge(self.of(other)[0])
        held += list(self.of(other)[1])
        # Doubling again and again would take long.
        held_most = 5000
        if len(held) > held_most:
            self.parts[number] = (LossSum("machine"), [])

    @rule(target=sums, number=consumes(sums), other=sums)
    def add(self, number: int, other: int) -> int:
        return self.keep(self.of(number)[0] + self.of(other)[0], self.of(number)[1] + self.of(other)[1])

    @rule(target=sums, number=sums, way=st.sampled_from(["bytes", "pickle", "copy", "deepcopy", "sum"]))
    def send(self, number: int, way: str) -> int:
        part, held = self.of(number)
        ways: dict[str, Callable[[], LossSum]] = {
            "bytes": lambda: LossSum.from_bytes(part.to_bytes()),
            "pickle": lambda: pickle.loads(pickle.dumps(part)),
            "copy": lambda: copy.copy(part),
            "deepcopy": lambda: copy.deepcopy(part),
            "sum": lambda: sum([part], start=LossSum("machine")),
        }
        return self.keep(ways[way](), list(held))

    @invariant()
    def is_what_one_update_gives(self) -> None:
        for part, held in self.parts.values():
            whole = LossSum("machine")
            whole.update(np.array([value for value, _ in held[::-1]]), np.array([weight for _, weight in held[::-1]]))
            assert part.to_bytes() == whole.to_bytes()
            assert part == whole
            assert (part.count, part.settings) == (sum(weight != 0 for _, weight in held), "machine")


Merging.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
test_merging = Merging.TestCase


def test_sums_of_unlike_settings_do_not_merge() -> None:
    one, other = LossSum("ctc|blank:0"), LossSum({"ctc": "loss", "blank": 1})
    assert other.settings == "blank:1|ctc:loss"
    for join in (one.merge, one.__add__):
        with pytest.raises(ValueError, match=r'sums of "ctc\|blank:0" and of "blank:1\|ctc:loss" do not merge'):
            join(other)
    assert one == LossSum("ctc|blank:0")
    assert one != LossSum("ctc|blank:1")
    with pytest.raises(TypeError, match="settings is 3, expected a string or a mapping"):
        LossSum(3)  # type: ignore[arg-type]  # which is the point
    with pytest.raises(TypeError):
        one + 1
    with pytest.raises(TypeError, match="other is 'other', expected a LossSum"):
        one.merge("other")  # type: ignore[arg-type]  # which is the point


def test_unlike_mappings_are_unlike_settings() -> None:
    unlike: list[dict[str, object]] = [
        {"a": "1|b:2"},
        {"a": 1, "b": 2},
        {"a:1|b": 2},
        {"a:1": "b"},
        {"a": "1:b"},
        {"a": "1\\|b:2"},
        {"a\\": "b"},
        {"a": "\\b"},
    ]
    assert len({LossSum(settings).settings for settings in unlike}) == len(unlike)
    assert LossSum({"b": 0.1, "a": "x:y"}).settings == "a:x:y|b:0.1"


def test_a_merge_leaves_the_other_as_it_is_and_takes_itself() -> None:
    one, other = sum_of([1.0, 2.0]), sum_of([4.0])
    one.merge(other)
    assert (one.value, other.value) == (7, 4)
    one.merge(one)
    assert (one.value, one.count) == (14, 6)
    both = one + other
    assert (both.value, one.value, other.value) == (18, 14, 4)


def test_bytes_that_are_not_those_of_a_sum() -> None:
    found = LossSum("ε")
    found.update([1.5, -1e300, np.nan], [1.0, 1e300, 1.0])
    data = found.to_bytes()
    assert LossSum.from_bytes(bytearray(data)) == LossSum.from_bytes(memoryview(data)) == found
    with pytest.raises(ValueError, match="data does not begin as the bytes of a LossSum do"):
        LossSum.from_bytes(b"PK\x03\x04" + data)
    with pytest.raises(ValueError, match="data does not begin"):
        LossSum.from_bytes(b"")
    with pytest.raises(TypeError, match="data is a str, expected bytes"):
        LossSum.from_bytes("text")  # type: ignore[arg-type]  # which is the point
    for length in range(len(data)):
        with pytest.raises(ValueError, match="data "):
            LossSum.from_bytes(data[:length])
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x40
        with pytest.raises(ValueError, match="data "):
            LossSum.from_bytes(damaged)
    with pytest.raises(ValueError, match="data is damaged"):
        LossSum.from_bytes(data + b"\0")
    version = data.index(b"sum") + 3
    newer = data[:version] + struct.pack("<H", 2) + data[version + 2 :]
    with pytest.raises(ValueError, match="data has version 2 of the bytes of a LossSum, expected 1"):
        LossSum.from_bytes(newer)
    for nonsense in (3, "text", None):
        with pytest.raises(TypeError):
            LossSum.from_bytes(nonsense)  # type: ignore[arg-type]  # which is the point


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(data: bytes) -> None:
    head = LossSum().to_bytes()[:13]
    for bytes_given in (data, head + data):
        with pytest.raises(ValueError, match="data "):
            LossSum.from_bytes(bytes_given)


def test_bytes_stay_readable() -> None:
    expected = LossSum("x")
    expected.update([1.0, 2.0])
    parts = [
        b"seqloss\x1fsum",
        struct.pack("<HI", 1, 1),
        b"x",
        struct.pack("<Q", 2),
        # 3 = 3 · 2^19 · 2^(32 · 67 − 2163), and 2 the same way.
        struct.pack("<QQQHHi", 0, 0, 0, 67, 1, 3 << 19),
        struct.pack("<QQQHHi", 0, 0, 0, 67, 1, 2 << 19),
    ]
    checksum = 0xCBF29CE484222325
    for byte in b"".join(parts):
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    data = b"".join(parts) + struct.pack("<Q", checksum)
    assert expected.to_bytes() == data
    assert LossSum.from_bytes(data) == expected


def test_a_sum_shows_itself_and_has_no_hash() -> None:
    found = LossSum("mse")
    found.update([1.0, 2.0])
    assert repr(found) == "LossSum(settings='mse', count=2, value=3.0, mean=1.5)"
    assert repr(LossSum()) == "LossSum(count=0, value=0.0, mean=nan)"
    with pytest.raises(TypeError):
        hash(found)
    assert found != 3
    assert found.__eq__(3) is NotImplemented


def test_threads_share_a_sum() -> None:
    generator = np.random.default_rng(3)
    parts = [generator.normal(size=size) for size in (3, 50_000, 1, 70_000, 17, 2000, 100_000, 5)]
    shared, others = LossSum(), LossSum()
    others.update([0.25])

    def work(part: Array) -> None:
        for _ in range(5):
            shared.update(part)
            shared.merge(others)
            others.merge(LossSum())
            shared.to_bytes()

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.value == math.fsum(np.concatenate([*parts * 5, np.full(5 * len(parts), 0.25)]))


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_reductions_are_sums_of_terms_without_rounding(case: Case, variant: str) -> None:
    problem = case.problem(variant, (40, 0, 5, 33, 16), 21, 5, "float64")
    terms = np.concatenate([np.ravel(part) for part in problem("ragged", reduction="none")])
    found = {reduction: problem("ragged", reduction=reduction) for reduction in ("sum", "batch_mean")}
    if case.name in TERM_BY_TERM:
        expected = math.inf if np.isinf(terms).any() else math.fsum(terms)
        np.testing.assert_equal(found["sum"], expected)
        mean = expected if math.isinf(expected) else float(sum(map(Fraction, terms.tolist())) / 5)
        np.testing.assert_equal(found["batch_mean"], mean)
        by_sequence = [np.ravel(part) for part in problem("ragged", reduction="none")]
        sums = [math.inf if np.isinf(part).any() else math.fsum(part) for part in by_sequence]
        np.testing.assert_array_equal(problem("ragged", reduction="sequence"), sums)
    else:
        np.testing.assert_allclose(found["sum"], math.fsum(terms), rtol=1e-14)


def test_long_sequences_and_weights_are_summed_without_rounding() -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(size=(3, 20_000, 7), scale=9)
    targets, weights = generator.integers(0, 7, (3, 20_000)), generator.uniform(size=(3, 20_000)) ** 9
    terms: Array = np.asarray(seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, reduction="none"))
    total, weight = (sum(map(Fraction, numbers.ravel().tolist())) for numbers in (terms, weights))
    assert seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, reduction="sum") == float(total)
    assert seqloss_rs.cross_entropy_loss(logits, targets, weights=weights) == float(total / weight)
    assert seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, normalizer=7) == float(total / 7)
    sums = seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, reduction="sequence")
    assert np.asarray(sums).tolist() == [math.fsum(row) for row in terms]
    means = seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, reduction="sequence_mean")
    assert np.asarray(means).tolist() == [math.fsum(row) / 20_000 for row in terms]


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_the_order_of_sequences_does_not_matter(case: Case, variant: str) -> None:
    for dtype in FLOATS:
        problem = case.problem(variant, (17, 0, 5, 33, 16), 21, 5, dtype)
        for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
            moved = problem.replace(
                **{name: [arrays[index] for index in order] for name, arrays in problem.by_sequence.items()}
            )
            for reduction in ("sum", "mean", "batch_mean"):
                value, expected = moved("padded", reduction=reduction), problem("padded", reduction=reduction)
                assert bytes_of(value) == bytes_of(expected), (dtype, reduction)


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_every_loss_feeds_a_sum(case: Case, variant: str) -> None:
    for dtype in FLOATS:
        problem = case.problem(variant, (17, 0, 5, 33, 16), 21, 5, dtype)
        whole = LossSum()
        value = problem("padded", reduction=whole)
        assert bytes_of(value) == bytes_of(problem("padded", reduction="sum")) == bytes_of(whole.value)
        mean = problem("padded", reduction="batch_mean" if case.name == "ctc_loss" else "mean")
        assert bytes_of(whole.mean) == bytes_of(mean)
        if any(word in variant for word in ("batch_mean", "leave_one_out")):
            continue
        parts = LossSum()
        for index in (3, 1, 0, 4, 2):
            part = problem.replace(**{name: arrays[index : index + 1] for name, arrays in problem.by_sequence.items()})
            own = LossSum()
            (value, gradient), expected = part.value_and_grad("ragged", reduction=own), part("ragged", reduction="sum")
            assert bytes_of(value) == bytes_of(expected)
            assert bytes_of(gradient) == bytes_of(part.value_and_grad("ragged", reduction="sum")[1])
            parts += own
        assert parts.to_bytes() == whole.to_bytes()


def test_text_feeds_a_sum() -> None:
    hypotheses, references = ["the cat sat on the mat", "a dog", "x y"], ["the cat sat on a mat", "the dog", "x z"]
    for loss in (seqloss_rs.bleu_loss, seqloss_rs.rouge_loss):
        whole, parts = LossSum(), LossSum()
        terms = np.asarray(loss(hypotheses, references, reduction="none"))
        assert loss(hypotheses, references, reduction=whole) == math.fsum(terms)
        assert whole.value == math.fsum(terms)
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            loss([hypothesis], [reference], reduction=parts)
        assert parts == whole
        assert (whole.count, whole.mean) == (3, loss(hypotheses, references))


def test_the_weights_and_the_count_that_come_along() -> None:
    logits, targets = np.zeros((2, 3, 4)), np.array([[1, -100, 2], [0, 1, 3]])
    weights = np.array([[0.1, 7.0, 0.2], [0.3, 0.7, 5.0]])
    mask = np.array([[True, True, True], [True, True, False]])
    found = LossSum()
    seqloss_rs.cross_entropy_loss(logits, targets, weights=weights, mask=mask, reduction=found)
    assert found.count == 4
    assert found.weight == math.fsum([0.1, 0.2, 0.3, 0.7])
    seqloss_rs.ctc_loss(np.zeros((3, 4, 2)), [[1], [], [1, 1]], reduction=found)
    assert found.count == 7
    seqloss_rs.mse_loss(np.zeros((2, 3, 5)), np.ones((2, 3, 5)), mask=mask, reduction=found)
    assert found.count == 7 + 25


def test_a_call_that_fails_adds_nothing() -> None:
    found = LossSum()
    with pytest.raises(ValueError, match="targets"):
        seqloss_rs.cross_entropy_loss(np.zeros((2, 3)), np.array([0, 7]), reduction=found)
    with pytest.raises(ValueError, match="normalizer goes with"):
        seqloss_rs.cross_entropy_loss(np.zeros((2, 3)), np.array([0, 1]), reduction=found, normalizer=2)
    assert found == LossSum()


def test_a_gradient_goes_along_with_a_sum() -> None:
    found = LossSum()
    value, gradient = value_and_grad(seqloss_rs.mse_loss)(np.array([1.0, 2.0]), np.array([1.0, 0.0]), reduction=found)
    assert (value, found.value) == (4, 4)
    np.testing.assert_array_equal(gradient, [0, 4])


def test_float32_terms_go_in_unrounded() -> None:
    generator = np.random.default_rng(5)
    logits, targets = generator.normal(size=(1000, 9)).astype(np.float32), generator.integers(0, 9, 1000)
    found = LossSum()
    seqloss_rs.cross_entropy_loss(logits, targets, reduction=found)
    assert found.value == seqloss_rs.cross_entropy_loss(logits, targets, reduction="sum")
    assert found.value != sum_of(seqloss_rs.cross_entropy_loss(logits, targets, reduction="none")).value


def test_the_command_line_merges_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(6)
    logits, targets = generator.normal(size=(12, 5, 4)), generator.integers(0, 4, (12, 5))
    logits[3, 2, 1], targets[3, 2] = -np.inf, 1
    whole: Array = np.asarray(seqloss_rs.cross_entropy_loss(logits, targets, reduction="sequence"))
    finite = whole[np.isfinite(whole)]
    assert len(finite) == 11
    states = []
    for number, part in enumerate((slice(0, 5), slice(5, 6), slice(6, 12))):
        data, state = tmp_path / f"{number}.npz", tmp_path / f"{number}.state"
        np.savez(data, logits=logits[part], targets=targets[part])
        assert main(["score", "cross_entropy", str(data), "--state", str(state), "-q"]) == 0
        states.append(str(state))
    capsys.readouterr()
    merged = tmp_path / "merged.state"
    assert main(["merge", *states[:2], "--state", str(merged)]) == 0
    capsys.readouterr()
    assert main(["merge", states[2], str(merged)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["sum"] == math.fsum(finite)
    assert summary["mean"] == math.fsum(finite) / 11
    assert (summary["count"], summary["nonfinite"], summary["states"]) == (12, 1, 2)


def test_the_command_line_refuses_what_is_no_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, state, other = (str(tmp_path / name) for name in ("data.npz", "one", "other"))
    np.savez(data, logits=np.zeros((2, 3, 4)), targets=np.zeros((2, 3), int))
    assert main(["score", "cross_entropy", data, "--state", state, "-q"]) == 0
    assert main(["score", "cross_entropy", data, "--state", other, "-q", "--label-smoothing", "0.1"]) == 0
    capsys.readouterr()
    for status, arguments, message in [
        (1, ["merge", state, other], 'other: sums of "loss:cross_entropy" and of "label_smoothing:0.1|loss:cross_ent'),
        (1, ["merge", data], "data.npz: is not a seqloss state 1, as score --state writes it"),
        (1, ["merge", state + "?"], "one?: cannot be read: No such file or directory"),
        (2, ["merge"], "the following arguments are required: STATE"),
        (2, ["merge", state, "--state", "-"], "--state -: a state needs a file of its own"),
        (2, ["score", "cross_entropy", data, "--state", "-"], "--state -: a state needs a file of its own"),
        (2, ["score", "cross_entropy", data, "--state", data], "is one of the files that are read"),
        (2, ["score", "cross_entropy", data, "--state", "x", "-o", "x"], "--state x: a state needs a file of its own"),
    ]:
        assert main(arguments) == status
        assert message in capsys.readouterr().err


def parts_and_whole(folder: Path, capsys: pytest.CaptureFixture[str], loss: str, arrays: dict[str, Any]) -> Any:
    """The summary of three parts that are merged, and that of one run over all."""
    shared = {name: value for name, value in arrays.items() if name in ("class_weights", "quantile")}
    states = []
    for number, part in enumerate((slice(0, 5), slice(5, 6), slice(6, None), slice(None))):
        data, state = folder / f"{number}.npz", folder / f"{number}.state"
        np.savez(data, **{name: shared.get(name, value[part]) for name, value in arrays.items()})
        capsys.readouterr()
        assert main(["score", loss, str(data), "--state", str(state), "-q"]) == 0
        states.append(str(state))
    whole = json.loads(capsys.readouterr().out)
    assert main(["merge", states[2], states[0], states[1]]) == 0
    return json.loads(capsys.readouterr().out), whole


def test_merged_states_say_what_one_run_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts and sums to the last bit, what is not finite and terms included; of float32 data too."""
    generator = np.random.default_rng(9)
    logits, targets = generator.normal(size=(12, 5, 4)).astype(np.float32), generator.integers(0, 4, (12, 5))
    logits[3, 2, 1], targets[3, 2], logits[8, 0, 0] = -np.inf, 1, np.nan
    weights = generator.uniform(0, 1, (12, 5)).astype(np.float32)
    sentences = np.array(["the cat sat on the mat", "a dog", "one two three four five"] * 4)
    class_weights = np.array([1.0, 0.3, 2.0, 0.5])
    losses: dict[str, dict[str, Any]] = {
        "cross_entropy": {"logits": logits, "targets": targets, "weights": weights, "class_weights": class_weights},
        "mse": {"predictions": logits[:, :, 0], "targets": logits[:, :, 2], "weights": weights},
        "ctc": {"logits": logits, "targets": 1 + generator.integers(0, 3, (12, 2))},
        "bleu": {"hypotheses": sentences, "references": np.roll(sentences, 1)},
        "rouge": {"hypotheses": sentences, "references": np.roll(sentences, 1)},
    }
    for loss, arrays in losses.items():
        merged, whole = parts_and_whole(tmp_path, capsys, loss, arrays)
        left_out = {"median", "p95", "seconds", "files"}
        assert merged.keys() == whole.keys() - left_out | {"states"}, loss
        for name in merged.keys() - {"states", "options"}:
            assert merged[name] == whole[name], (loss, name)
        assert merged["count"] == 12
        assert (merged["nonfinite"] > 0) == (loss in ("cross_entropy", "mse", "ctc"))
    # The terms of each sample are summed in float64, though their type is float32.
    mask = np.ones((12, 5), bool)
    mask[[3, 8]] = False
    assert main(["merge", str(tmp_path / "3.state")]) == 0
    capsys.readouterr()
    merged, _ = parts_and_whole(tmp_path, capsys, "cross_entropy", {"logits": logits, "targets": targets})
    expected = seqloss_rs.cross_entropy_loss(logits, targets, mask=mask, reduction="sum")
    assert merged["sum"] == pytest.approx(expected, rel=1e-15)
    assert merged["mean_per_term"] == pytest.approx(expected / 50, rel=1e-15)


def test_states_of_other_class_weights_do_not_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, states = [], []
    choices: list[Array] = [np.ones(4), np.ones(4), 2 * np.ones(4), np.ones(4, np.float32)]
    for number, weights in enumerate(choices):
        files.append(str(tmp_path / f"{number}.npz"))
        states.append(str(tmp_path / f"{number}.state"))
        np.savez(files[-1], logits=np.zeros((2, 3, 4)), targets=np.zeros((2, 3), int), class_weights=weights)
        assert main(["score", "cross_entropy", files[-1], "--state", states[-1], "-q"]) == 0
    assert main(["merge", *states[:2]]) == 0
    for other in states[2:]:
        assert main(["merge", states[0], other]) == 1
        assert '|loss:cross_entropy" do not merge' in capsys.readouterr().err
    assert main(["score", "cross_entropy", files[0], files[2], "--state", states[0], "-q"]) == 1
    assert "2.npz: field 'class_weights': is float64 (4,)" in capsys.readouterr().err


def test_a_state_that_was_changed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, state = str(tmp_path / "data.npz"), tmp_path / "a.state"
    np.savez(data, predictions=np.ones((2, 3)), targets=np.zeros((2, 3)))
    assert main(["score", "mse", data, "--state", str(state), "-q"]) == 0
    whole = state.read_text()
    for content, message in [
        (whole.replace('"terms": 6', '"terms": 7'), "is damaged: its checksum does not fit"),
        (whole[:-10], "is not a seqloss state 1"),
        ("[]", "is not a seqloss state 1"),
    ]:
        state.write_text(content)
        assert main(["merge", str(state)]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [["merge"], ["score", "cross_entropy"]])
def test_the_help_tells_of_states(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "--state" in capsys.readouterr().out


@pytest.mark.parametrize("spread", [0, 60])
def test_a_mean_is_the_quotient_rounded_once(spread: int) -> None:
    """Of terms that are counted, or weighed by numbers of sizes that no float64 holds the sum of."""
    generator = np.random.default_rng(spread)
    for case in range(1500):
        size = int(generator.integers(1, 40))
        values = np.ldexp(generator.standard_normal(size), generator.integers(-30, 30, size) + case // 20)
        weights = np.ldexp(generator.uniform(0.1, 2, size), generator.integers(-spread, spread + 1, size))
        weights *= -1.0 if case % 7 == 0 else 1.0
        for given_weights in (None, weights):
            factors = np.ones(size) if given_weights is None else given_weights
            exact = sum(Fraction(a) * Fraction(b) for a, b in zip(values.tolist(), factors.tolist(), strict=True))
            total = sum_of(values, given_weights)
            assert total.mean == float(exact / sum(map(Fraction, factors.tolist())))
    # Halfway between two: 1 + 2^-53 over 1, and its like with an odd neighbour below; and the largest number.
    assert sum_of([1.0, 2.0**-53], [1.0, 1.0]).mean == 0.5
    assert sum_of([3.0, 3 * 2.0**-53, 0.0]).mean == 1.0
    assert sum_of([3 + 3 * 2.0**-51, 3 * 2.0**-53, 0.0]).mean == 1 + 2.0**-51
    assert sum_of([sys.float_info.max, 0.0]).mean == sys.float_info.max / 2
    assert sum_of([sys.float_info.max], [1.0]).mean == sys.float_info.max


def test_the_mean_of_a_loss_is_the_quotient_rounded_once() -> None:
    generator = np.random.default_rng(8)
    for size in range(1, 60):
        errors = generator.integers(-1000, 1000, size) / 64
        expected = sum(Fraction(error) ** 2 for error in errors.tolist()) / size
        assert seqloss_rs.mse_loss(errors, np.zeros(size)) == float(expected)
