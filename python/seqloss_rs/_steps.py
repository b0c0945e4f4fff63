"""Steps of sequences as evaluation takes them: read from arrays, lists or `TokenLogProbs`, and added up exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._types import Array, Integers, Lengths, Mask, Value
from .policy import TokenLogProbs
from .sums import LossSum

MeanReduction: TypeAlias = Literal["mean", "sequence_mean"]
"""One number over all valid steps, or one for each sequence over its own."""


# ---------------------------------------------------------------------------------------------------------------------
# Steps of sequences


@dataclass(frozen=True)
class Steps:
    """Numbers of sequences, and which of them are valid."""

    rows: list[Array]
    is_valid: list[NDArray[np.bool_]]
    # The axes before that of the steps: none for one sequence (T,), whose results are single numbers.
    leading: tuple[int, ...]

    def valid(self) -> list[Array]:
        return [row[own] for row, own in zip(self.rows, self.is_valid, strict=True)]

    def sums(self, reduction: MeanReduction) -> list[LossSum]:
        """Return the sum over the valid steps of all sequences, or of each."""
        check_reduction(reduction)
        if reduction == "mean":
            return [exact_total(self.rows, self.is_valid)]
        return [exact_total([row], [own]) for row, own in zip(self.rows, self.is_valid, strict=True)]

    def value(self, results: Array, reduction: MeanReduction) -> Value:
        if reduction == "sequence_mean" and self.leading:
            return results.reshape(self.leading + results.shape[1:])
        return as_value(results, "mean")


def as_value(results: Array, reduction: MeanReduction) -> Value:
    """Give the results of all steps together, or of each sequence, the form in which they are returned."""
    if reduction == "sequence_mean":
        return results
    return float(results[0]) if results.ndim == 1 else results[0]


def read_steps(name: str, given: TokenLogProbs | Any, about: str, lengths: Lengths | None, mask: Mask | None) -> Steps:
    """Return the numbers that are asked for, and which are valid: by their ranks, within `lengths`, in `mask`."""
    is_rank = about == "rank"
    own_ranks: list[Array] | None = None
    if isinstance(given, TokenLogProbs):
        own_ranks = read_rows(f"{name}.rank", given.rank, "iu", "integers")[0]
        name, given = f"{name}.{about}", getattr(given, about)
    kinds, expected = ("iu", "integers") if is_rank else ("fiu", "real numbers")
    rows, leading = read_rows(name, given, kinds, expected)
    ranks = rows if is_rank else own_ranks
    is_valid = [np.ones(len(row), bool) for row in rows] if ranks is None else [row >= 0 for row in ranks]
    if lengths is not None:
        for own, length in zip(is_valid, read_lengths(lengths, rows, leading), strict=True):
            own[length:] = False
    steps = Steps(rows, is_valid, leading)
    if mask is None:
        return steps
    pairs = zip(is_valid, read_booleans("mask", mask, steps), strict=True)
    return Steps(rows, [own & allowed for own, allowed in pairs], leading)


def read_rows(name: str, given: Any, kinds: str, expected: str) -> tuple[list[Array], tuple[int, ...]]:
    """Return the sequences of an array or a list, and the axes of the array before the one of the steps."""
    leading: tuple[int, ...]
    if isinstance(given, (list, tuple)):
        rows = [np.asarray(_unmasked(f"{name}[{index}]", item)) for index, item in enumerate(given)]
        if rows and all(row.ndim == 0 for row in rows):
            return read_rows(name, np.asarray(given), kinds, expected)
        leading, named = (len(rows),), [f"{name}[{index}]" for index in range(len(rows))]
        for own, row in zip(named, rows, strict=True):
            if row.ndim != 1:
                message = f"{own} has shape {row.shape}, expected one axis"
                raise ValueError(message)
    else:
        array = np.asarray(_unmasked(name, given))
        if not 1 <= array.ndim <= 3:
            message = f"{name} has shape {array.shape}, expected 1 to 3 axes"
            raise ValueError(message)
        leading = array.shape[:-1]
        rows = list(array.reshape(math.prod(leading), array.shape[-1]))
        named = [name] * len(rows)
    for own, row in zip(named, rows, strict=True):
        # Types of other packages, such as bfloat16, call themselves void.
        is_float = "f" in kinds and row.dtype.kind == "V" and np.can_cast(row.dtype, np.float64)
        # What is empty has no type of its own.
        if row.size and row.dtype.kind not in kinds and not is_float:
            message = f"{own} has dtype {row.dtype}, expected {expected}"
            raise TypeError(message)
    if "f" in kinds:
        rows = [row.astype(np.float64) if row.dtype.kind in "iu" else row for row in rows]
    return rows, leading


def _unmasked(name: str, given: Any) -> Any:
    if isinstance(given, np.ma.MaskedArray):
        message = f"{name} is a MaskedArray, whose mask would be lost: pass {name}.data and mask="
        raise TypeError(message)
    return given


def read_booleans(name: str, given: Mask, steps: Steps) -> list[NDArray[np.bool_]]:
    """Return booleans of the shape of the steps."""
    rows, leading = read_rows(name, given, "b", "bool")
    shape, expected = _shape(rows, leading), _shape(steps.rows, steps.leading)
    if shape != expected:
        message = f"{name} has shape {shape}, expected {expected}"
        raise ValueError(message)
    return [row.astype(bool, copy=False) for row in rows]


def _shape(rows: Sequence[Array], leading: tuple[int, ...]) -> str:
    sizes = [len(row) for row in rows]
    if len(set(sizes)) < 2:
        return str(leading + tuple(sizes[:1]))
    shown = [f"({size},)" for size in sizes[:10]]
    return f"[{', '.join(shown)}{', …' if len(sizes) > 10 else ''}]"


def read_lengths(given: Lengths, rows: Sequence[Array], leading: tuple[int, ...]) -> list[int]:
    array = np.asarray(given)
    if array.dtype.kind not in "iu" and array.size:
        message = f"lengths has dtype {array.dtype}, expected integers"
        raise TypeError(message)
    if array.shape not in (leading, leading or (1,)):
        message = f"lengths has shape {array.shape}, expected {leading or (1,)}"
        raise ValueError(message)
    lengths: list[int] = array.reshape(-1).tolist()
    for index, (length, row) in enumerate(zip(lengths, rows, strict=True)):
        if not 0 <= length <= len(row):
            place = list(map(int, np.unravel_index(index, leading))) if leading else ""
            message = f"lengths{place} is {length}, which is not a length in 0..={len(row)}"
            raise ValueError(message)
    return lengths


def read_byte_counts(
    given: Integers | int, leading: tuple[int, ...], reduction: MeanReduction, steps: Steps | None = None
) -> list[int]:
    """Return the bytes of all, or of each sequence, from those of all, of each, or of each token (of `steps`)."""
    sizes = given if isinstance(given, (list, tuple)) else np.asarray(_unmasked("byte_counts", given))
    if isinstance(sizes, np.ndarray) and sizes.ndim == 0:
        if reduction == "sequence_mean" and leading:
            message = "byte_counts is one number, expected one for each sequence, because each has a result"
            raise ValueError(message)
        return [whole_number("byte_counts", sizes.item(), 0)]
    rows, axes = read_rows("byte_counts", sizes, "iu", "integers")
    for row in rows:
        if row.size and row.min() < 0:
            message = f"byte_counts has {row.min()}, expected numbers of 0 or more"
            raise ValueError(message)
    shape, expected = _shape(rows, axes), [str(leading or (1,))]
    if steps is not None:
        by_token = _shape(steps.rows, steps.leading)
        if shape == by_token:
            return by_reduction([int(row[own].sum()) for row, own in zip(rows, steps.is_valid, strict=True)], reduction)
        expected.append(by_token)
    if shape != expected[0]:
        message = f"byte_counts has shape {shape}, expected {' or '.join(expected)}"
        raise ValueError(message)
    return by_reduction([int(size) for row in rows for size in row], reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Exact sums


def by_reduction(values: list[int], reduction: MeanReduction) -> list[int]:
    """Return whole numbers of sequences: of all of them together, or of each."""
    check_reduction(reduction)
    return [sum(values)] if reduction == "mean" else values


def exact_total(rows: Sequence[Array], masks: Sequence[NDArray[np.bool_]]) -> LossSum:
    total = LossSum()
    for row, mask in zip(rows, masks, strict=True):
        total.update(row, mask=mask)
    return total


def mean_nats(sums: Sequence[LossSum]) -> NDArray[np.float64]:
    """Return the mean of minus each."""
    # 0 less the sum: that of nothing but certainty is 0, not −0.
    return divide([0.0 - own.value for own in sums], [own.count for own in sums])


def total_bits(sums: Sequence[LossSum]) -> NDArray[np.float64]:
    return np.array([0.0 - own.value for own in sums], np.float64) / math.log(2)


def divide(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """Return a quotient in which 0 / 0 is NaN rather than an exception."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))


def exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.exp(values)


def check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sequence_mean"):
        message = f'reduction is {shown(reduction)}, expected one of "mean", "sequence_mean"'
        raise ValueError(message)


def shown(word: object) -> str:
    return f'"{word}"' if isinstance(word, str) else repr(word)


def whole_number(name: str, given: Any, least: int | None) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        message = f"{name} is {shown(given)}, expected a whole number"
        raise TypeError(message)
    if least is not None and given < least:
        message = f"{name} is {given}, expected {least} or more"
        raise ValueError(message)
    return int(given)


def real_number(name: str, given: Any) -> float:
    """Return a finite number."""
    if isinstance(given, bool) or not isinstance(given, (int, float, np.integer, np.floating)):
        message = f"{name} is {shown(given)}, expected a number"
        raise TypeError(message)
    if not math.isfinite(given):
        message = f"{name} is {given}, expected a finite number"
        raise ValueError(message)
    return float(given)


def real_numbers(name: str, given: Any) -> NDArray[np.float64]:
    """Return numbers of any shape; None among them is NaN."""
    if isinstance(given, np.ma.MaskedArray):
        message = f"{name} is a MaskedArray, whose mask would be lost: pass {name}.filled(numpy.nan)"
        raise TypeError(message)
    try:
        array = np.asarray(given)
        # NumPy would read numbers out of text and dates.
        if array.dtype.kind not in "cmMSTU":
            return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    message = f"{name} holds something else than numbers and None, or lists of different lengths"
    raise TypeError(message)
