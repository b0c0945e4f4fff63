"""The table of cases: one row a numeric loss, with a way to make arguments of any size and what they should give.

`Problem` holds the arguments of one call as lists, one entry a sequence, and can put them into every form in which the
library takes them. The text losses have tables of their own, in test_text.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import reference
import seqloss_rs
from numpy.typing import NDArray

Array = NDArray[Any]

FLOATS: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
REDUCTIONS = ("none", "sequence", "sequence_mean", "sum", "mean", "batch_mean")
SCALAR_REDUCTIONS = ("sum", "mean", "batch_mean")

# Sizes around the 16 lanes of a kernel, and the degenerate ones.
WIDTHS = (1, 2, 15, 16, 17, 33)
LENGTHS: dict[str, tuple[int, ...]] = {
    "no sequences": (),
    "no steps": (0, 0),
    "one step": (1,),
    "three of three": (3, 3, 3),
    "ragged with an empty one": (4, 0, 1, 6),
    "fifteen": (15, 15),
    "sixteen": (16, 16),
    "seventeen and sixteen": (17, 16),
    "thirty-three": (33,),
}


@dataclass(frozen=True)
class Problem:
    """The arguments of one call.

    `by_sequence` has the arguments with one entry a sequence, `shared` all others. `lengths_of` says which keyword
    gives the lengths of which argument, when that argument is padded; `empty` has the arguments of no sequences at all,
    and `known` what has been computed from all this.
    """

    function: str
    positional: tuple[str, ...]
    by_sequence: dict[str, list[Array]]
    lengths_of: dict[str, str]
    shared: dict[str, Any] = field(default_factory=dict)
    empty: dict[str, Array] = field(default_factory=dict)
    known: dict[str, reference.Terms] = field(default_factory=dict)

    @property
    def loss(self) -> Callable[..., Any]:
        """The public function."""
        loss: Callable[..., Any] = getattr(seqloss_rs, self.function)
        return loss

    @property
    def first(self) -> list[Array]:
        """The first argument, with respect to which a gradient is."""
        return self.by_sequence[self.positional[0]]

    @property
    def lengths(self) -> list[int]:
        """The steps of each sequence."""
        return [len(array) for array in self.first]

    def replace(self, **changes: Any) -> "Problem":
        """The same with other arguments by sequence."""
        return Problem(
            self.function,
            self.positional,
            {**self.by_sequence, **changes},
            self.lengths_of,
            self.shared,
            self.empty,
        )

    def forms(self) -> list[str]:
        """The forms in which these arguments can be handed over."""
        forms = ["padded", "ragged"] if self.first else ["padded"]
        if self.first and all(len({array.shape for array in arrays}) == 1 for arrays in self.by_sequence.values()):
            forms.append("stacked")
        # Of the pointwise losses (T, D) would be read as (N, T): a sequence without the N axis is (T,).
        if len(self.first) == 1 and (self.positional[0] != "predictions" or self.first[0].ndim == 1):
            forms.append("single")
        return forms

    def arguments(self, form: str) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments: padded (with lengths), ragged (lists), stacked, or single (no N axis)."""
        named: dict[str, Any] = {}
        lengths: dict[str, Any] = {}
        for name, arrays in self.by_sequence.items():
            if form == "single":
                named[name] = arrays[0]
            elif form == "stacked" or (arrays and arrays[0].ndim == 0):
                named[name] = np.stack(arrays)
            elif form == "ragged":
                named[name] = list(arrays)
            else:
                named[name] = pad(arrays) if arrays else self.empty[name]
                if name in self.lengths_of:
                    lengths[self.lengths_of[name]] = np.array([len(array) for array in arrays], np.int64)
        given = {**named, **self.shared}
        positional = [given.pop(name) for name in self.positional]
        return positional, {**given, **lengths}

    def __call__(self, form: str, **keywords: Any) -> Any:
        """The loss of these arguments."""
        positional, named = self.arguments(form)
        return self.loss(*positional, **named, **keywords)

    def value_and_grad(self, form: str, *, grad_output: Any = None, out: Any = None, **keywords: Any) -> Any:
        """The loss and its gradient."""
        positional, named = self.arguments(form)
        return seqloss_rs.value_and_grad(self.loss, grad_output=grad_output, out=out)(*positional, **named, **keywords)


def filler_of(dtype: np.dtype[Any]) -> Any:
    """What stands where nothing may be read: NaN, a class that does not exist, or a mask that says yes."""
    if dtype.kind in "iu":
        return min(987_654, np.iinfo(dtype).max)
    return True if dtype.kind == "b" else np.nan


def pad(arrays: Sequence[Array]) -> Array:
    """One array with what must not be read beyond each length."""
    longest = max(len(array) for array in arrays)
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), filler_of(arrays[0].dtype), arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def unpad(padded: Array, lengths: Sequence[int]) -> list[Array]:
    """The valid part of each sequence."""
    return [row[:length] for row, length in zip(padded, lengths, strict=True)]


@dataclass(frozen=True)
class Case:
    """A row of the table: a loss, the ways to call it, how to make arguments, and what they should give."""

    name: str
    variants: tuple[str, ...]
    make: Callable[[str, Sequence[int], int, np.random.Generator, np.dtype[Any]], Problem]
    terms: Callable[..., reference.Terms]

    def problem(
        self, variant: str, lengths: Sequence[int], width: int, seed: int, dtype: np.dtype[Any] | str
    ) -> Problem:
        """Arguments of that size."""
        return self.make(variant, lengths, width, np.random.default_rng(seed), FLOATS.get(str(dtype), np.dtype(dtype)))

    def expected(self, problem: Problem, reduction: str, normalizer: float | None = None) -> Any:
        """The value by the definition."""
        return reference.reduce(self.reference_terms(problem), reduction, normalizer)

    def reference_terms(self, problem: Problem) -> reference.Terms:
        """The terms by the definition; slow, so computed once."""
        if "terms" not in problem.known:
            problem.known["terms"] = self.compute_terms(problem)
        return problem.known["terms"]

    def compute_terms(self, problem: Problem) -> reference.Terms:
        """The terms by the definition."""
        given = {**problem.by_sequence, **problem.shared}
        if "rewards" in given and not given["rewards"]:
            return reference.Terms([], [], [])
        given.pop("layout", None)
        positional = [given.pop(name) for name in problem.positional]
        return self.terms(*positional, **given)


def eighths(generator: np.random.Generator, shape: Any, dtype: Any = np.float64) -> Array:
    """Positive numbers that every float type holds exactly."""
    return np.asarray(generator.integers(1, 17, shape) / 8, dtype)


def mask_of(generator: np.random.Generator, shape: Any) -> Array:
    """A mask that leaves about two thirds."""
    return np.asarray(generator.random(shape) < 0.67)


def poison(problem: Problem) -> Problem:
    """The same, with what must not be read at every place that the mask leaves out."""
    changes: dict[str, list[Array]] = {}
    for name, arrays in problem.by_sequence.items():
        if name == "mask" or arrays[0].ndim == 0:
            continue
        poisoned = []
        for array, mask in zip(arrays, problem.by_sequence["mask"], strict=True):
            copy = array.copy()
            if mask.ndim <= copy.ndim:
                copy[~mask] = filler_of(copy.dtype)
            poisoned.append(copy)
        changes[name] = poisoned
    return problem.replace(**changes)


def make_pointwise(
    function: str, options: dict[str, dict[str, Any]] | None = None, positive: str = ""
) -> Callable[..., Problem]:
    """Arguments of a pointwise loss: width 0 has no last axis.

    `options` has the keywords that go with a variant, `positive` the variants whose numbers have no sign.
    """

    def make(
        variant: str, lengths: Sequence[int], width: int, generator: np.random.Generator, dtype: np.dtype[Any]
    ) -> Problem:
        tail = (width,) if width else ()
        shapes = [(length, *tail) for length in lengths]
        shared = dict((options or {}).get(variant, {}))
        several = "several" in variant
        target_tail = () if several else tail

        def numbers(shape: tuple[int, ...]) -> Array:
            drawn = generator.normal(size=shape)
            return (np.abs(drawn) + 0.1 if variant in positive.split(", ") else drawn).astype(dtype)

        arguments = {
            "predictions": [numbers(shape) for shape in shapes],
            "targets": [numbers((length, *target_tail)) for length in lengths],
        }
        positional = ["predictions", "targets"]
        if several:
            shared["quantile"] = np.linspace(0.125, 0.875, width)
        if function == "gaussian_nll_loss":
            arguments["variances"] = [eighths(generator, shape, dtype) for shape in shapes]
            positional.append("variances")
        if "omit" in variant:
            shared["nan"] = "omit"
            for name in positional:
                for array in arguments[name]:
                    array[generator.random(array.shape) < 0.2] = np.nan
        if "mask" in variant or "everything" in variant:
            arguments["mask"] = [mask_of(generator, shape) for shape in shapes]
        if "weights" in variant or "everything" in variant:
            arguments["weights"] = [eighths(generator, shape) for shape in shapes]
        if "without D" in variant:
            arguments["mask"] = [mask_of(generator, shape[:1]) for shape in shapes]
            arguments["weights"] = [eighths(generator, shape[:1]) for shape in shapes]
        nothing = np.zeros((0, 3, *tail), dtype)
        empty = dict.fromkeys(("predictions", "variances", "weights"), nothing)
        empty |= {"mask": np.zeros(nothing.shape, bool), "targets": np.zeros((0, 3, *target_tail), dtype)}
        if "without D" in variant:
            empty |= {"mask": np.zeros((0, 3), bool), "weights": np.zeros((0, 3))}
        problem = Problem(function, tuple(positional), arguments, {"predictions": "lengths"}, shared, empty)
        return poison(problem) if "mask" in arguments and lengths else problem

    return make


def row_scores(generator: np.random.Generator, shape: Any, scores: str, dtype: np.dtype[Any]) -> Array:
    """Scores of the kind that a loss takes them to be."""
    x = generator.normal(size=shape) * 2
    if scores == "logits":
        return np.asarray(x, dtype)
    shifted = np.exp(x)
    p = shifted / shifted.sum(axis=-1, keepdims=True)
    return np.asarray(p if scores == "probs" else np.log(p), dtype)


def make_cross_entropy(
    variant: str, lengths: Sequence[int], classes: int, generator: np.random.Generator, dtype: np.dtype[Any]
) -> Problem:
    """Arguments of cross-entropy; the words in the variant say what is in them."""
    everything = variant.startswith("everything")
    shared: dict[str, Any] = {}
    for scores in ("log_probs", "probs"):
        if variant.split()[0] == scores:
            shared["scores"] = scores
    given: dict[str, list[Array]] = {
        "logits": [row_scores(generator, (n, classes), shared.get("scores", "logits"), dtype) for n in lengths]
    }
    if "distributions" in variant:
        given["targets"] = [row_scores(generator, (n, classes), "probs", dtype) for n in lengths]
    else:
        integer = str(generator.choice(["int8", "int16", "int32", "int64"]))
        given["targets"] = [generator.integers(0, classes, n).astype(integer) for n in lengths]
        if "ignored" in variant or everything:
            ignored = int(generator.choice([-1, -100, 0]))
            shared["ignore_index"] = ignored
            for targets in given["targets"]:
                targets[generator.random(len(targets)) < 0.3] = ignored
    if "mask" in variant or everything:
        given["mask"] = [mask_of(generator, n) for n in lengths]
    if "weighted" in variant or everything:
        given["weights"] = [eighths(generator, n) for n in lengths]
    if "class weights" in variant or everything:
        shared["class_weights"] = eighths(generator, classes)
    if "smoothed" in variant or everything:
        shared["label_smoothing"] = 0.125
    empty = {
        "logits": np.zeros((0, 3, classes), dtype),
        "targets": np.zeros((0, 3, classes), dtype) if "distributions" in variant else np.zeros((0, 3), np.int64),
        "mask": np.zeros((0, 3), bool),
        "weights": np.zeros((0, 3)),
    }
    problem = Problem("cross_entropy_loss", ("logits", "targets"), given, {"logits": "lengths"}, shared, empty)
    return poison(problem) if "mask" in given and lengths else problem


def make_ctc(
    variant: str, lengths: Sequence[int], classes: int, generator: np.random.Generator, dtype: np.dtype[Any]
) -> Problem:
    """Arguments of CTC: targets of about half of what is possible, with repeats; with one class, empty ones."""
    shared: dict[str, Any] = {}
    if "log_probs" in variant:
        shared["scores"] = "log_probs"
    if "last blank" in variant:
        shared["blank"] = classes - 1
    if "zero infinity" in variant:
        shared["zero_infinity"] = True
    blank = shared.get("blank", 0)
    labels = np.array([label for label in range(classes) if label != blank], np.int64)
    targets = []
    for length in lengths:
        count = 0 if "empty" in variant or not len(labels) else int(generator.integers(0, length // 2 + 1))
        target = labels[generator.integers(0, len(labels), count)] if count else np.zeros(0, np.int64)
        if "repeats" in variant and count > 1:
            target[1] = target[0]
        if "infeasible" in variant and len(labels):
            target = np.full(length + 1, labels[0])
        targets.append(target)
    if "infeasible" in variant and len(targets) > 1:
        targets[0] = targets[0][:1] if lengths[0] else targets[0][:0]
    given = {
        "logits": [
            row_scores(generator, (n, classes), shared.get("scores", "logits"), dtype).astype(dtype) for n in lengths
        ],
        "targets": targets,
    }
    if "unnormalised" in variant:
        given["logits"] = [(array + array.dtype.type(0.5)).astype(dtype) for array in given["logits"]]
    empty = {"logits": np.zeros((0, 3, classes), dtype), "targets": np.zeros((0, 2), np.int64)}
    lengths_of = {"logits": "input_lengths", "targets": "target_lengths"}
    return Problem("ctc_loss", ("logits", "targets"), given, lengths_of, shared, empty)


def make_reinforce(
    variant: str, lengths: Sequence[int], classes: int, generator: np.random.Generator, dtype: np.dtype[Any]
) -> Problem:
    """Arguments of REINFORCE, without a group axis."""
    shared: dict[str, Any] = {}
    given: dict[str, list[Array]] = {}
    if "of the actions" in variant:
        shared |= {"scores": "log_probs", "actions": None}
        given["logits"] = [-np.abs(generator.normal(size=n)).astype(dtype) for n in lengths]
    else:
        if "log_probs" in variant:
            shared["scores"] = "log_probs"
        given["logits"] = [row_scores(generator, (n, classes), shared.get("scores", "logits"), dtype) for n in lengths]
        given["actions"] = [generator.integers(0, classes, n) for n in lengths]
    per_step = ("per step" in variant or "discounted" in variant) and "one reward" not in variant
    given["rewards"] = [eighths(generator, n if per_step else ()) for n in lengths]
    if "discounted" in variant:
        shared["discount"] = 0.5
    for baseline in ("batch_mean", "leave_one_out"):
        if baseline in variant:
            shared["baseline"] = baseline
    if "a number" in variant:
        shared["baseline"] = 0.75
    if "an array" in variant:
        given["baseline"] = [eighths(generator, n if "an array per step" in variant else ()) for n in lengths]
    if "mask" in variant:
        given["mask"] = [mask_of(generator, n) for n in lengths]
    empty: dict[str, Array] = {
        "logits": np.zeros((0, 3) if "of the actions" in variant else (0, 3, classes), dtype),
        "actions": np.zeros((0, 3), np.int64),
        "rewards": np.zeros((0, 3) if per_step else 0),
        "baseline": np.zeros((0, 3) if "an array per step" in variant else 0),
        "mask": np.zeros((0, 3), bool),
    }
    positional = ("logits", "actions", "rewards")
    problem = Problem("reinforce_loss", positional, given, {"logits": "lengths"}, shared, empty)
    return poison(problem) if "mask" in given and lengths else problem


CASES = (
    Case(
        "cross_entropy_loss",
        (
            "plain",
            "mask",
            "weighted",
            "ignored",
            "class weights",
            "smoothed",
            "smoothed class weights",
            "everything",
            "log_probs",
            "log_probs everything",
            "probs",
            "probs smoothed mask",
            "distributions",
            "distributions smoothed class weights weighted mask",
            "log_probs distributions",
            "probs distributions",
        ),
        make_cross_entropy,
        reference.cross_entropy_terms,
    ),
    Case(
        "mse_loss",
        ("plain", "mask", "weights", "everything", "mask and weights without D", "omit", "omit mask and weights"),
        make_pointwise("mse_loss"),
        reference.mse_terms,
    ),
    Case(
        "mae_loss",
        ("plain", "mask", "weights", "everything", "mask and weights without D"),
        make_pointwise("mae_loss"),
        reference.mae_terms,
    ),
    Case(
        "huber_loss",
        ("plain", "everything", "narrow"),
        make_pointwise("huber_loss", {"narrow": {"delta": 0.3}}),
        reference.huber_terms,
    ),
    Case(
        "smooth_l1_loss",
        ("plain", "everything", "narrow"),
        make_pointwise("smooth_l1_loss", {"narrow": {"beta": 0.3}}),
        reference.smooth_l1_terms,
    ),
    Case("log_cosh_loss", ("plain", "everything"), make_pointwise("log_cosh_loss"), reference.log_cosh_terms),
    Case(
        "msle_loss",
        ("plain", "everything"),
        make_pointwise("msle_loss", positive="plain, everything"),
        reference.msle_terms,
    ),
    Case(
        "mape_loss",
        ("plain", "everything", "percent"),
        make_pointwise("mape_loss", {"percent": {"factor": 100.0, "eps": 0.2}}, positive="plain, everything"),
        reference.mape_terms,
    ),
    Case(
        "smape_loss",
        ("plain", "everything", "percent"),
        make_pointwise("smape_loss", {"percent": {"scale": 200.0}}),
        reference.smape_terms,
    ),
    Case(
        "quantile_loss",
        ("plain", "everything", "high", "several", "several everything", "several omit without D"),
        make_pointwise("quantile_loss", {"high": {"quantile": 0.9, "factor": 2.0}}),
        reference.quantile_terms,
    ),
    Case(
        "poisson_nll_loss",
        ("plain", "everything", "full", "rate", "rate full"),
        make_pointwise(
            "poisson_nll_loss",
            {
                "full": {"full": True},
                "rate": {"log_input": False},
                "rate full": {"log_input": False, "full": True, "eps": 0.5},
            },
            positive="full, rate, rate full",
        ),
        reference.poisson_nll_terms,
    ),
    Case(
        "gaussian_nll_loss",
        ("plain", "everything", "full", "omit mask"),
        make_pointwise("gaussian_nll_loss", {"full": {"full": True, "eps": 0.5}}),
        reference.gaussian_nll_terms,
    ),
    Case(
        "ctc_loss",
        (
            "plain",
            "repeats",
            "empty",
            "infeasible",
            "infeasible zero infinity",
            "last blank",
            "log_probs",
            "log_probs unnormalised last blank",
        ),
        make_ctc,
        reference.ctc_terms,
    ),
    Case(
        "reinforce_loss",
        (
            "plain",
            "per step",
            "discounted",
            "mask",
            "discounted mask",
            "a number",
            "an array",
            "an array per step",
            "rewards per step an array mask",
            "discounted an array per step",
            "one reward an array per step mask",
            "batch_mean",
            "leave_one_out",
            "batch_mean per step mask",
            "leave_one_out discounted mask",
            "log_probs",
            "log_probs of the actions",
            "log_probs of the actions mask batch_mean",
        ),
        make_reinforce,
        reference.reinforce_terms,
    ),
)
BY_NAME = {case.name: case for case in CASES}
POINTWISE = tuple(case.name for case in CASES if case.make.__qualname__.startswith("make_pointwise"))
ROWS = [(case, variant) for case in CASES for variant in case.variants]
ROW_NAMES = [f"{case.name}-{variant}" for case, variant in ROWS]
TEXT_LOSSES = ("bleu_loss", "rouge_loss")


# ---------------------------------------------------------------------------------------------------------------------
# The same numbers, lying differently in memory


def fortran(array: Array) -> Array:
    """The last axis strided."""
    return np.asfortranarray(array)


def backwards(array: Array) -> Array:
    """Every stride negative."""
    if array.ndim == 0:
        return array
    every = (slice(None, None, -1),) * array.ndim
    return array[every].copy()[every]


def stepped(array: Array) -> Array:
    """Every second number of every axis of a larger array of NaN."""
    if array.ndim == 0:
        return array
    larger = np.full(tuple(2 * n + 1 for n in array.shape), 77, array.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def rows_apart(array: Array) -> Array:
    """Rows that are whole, with a gap between them."""
    if array.ndim == 0:
        return array
    larger = np.full((*array.shape[:-1], array.shape[-1] + 3), 77, array.dtype)
    view = larger[..., : array.shape[-1]]
    view[...] = array
    return view


def byte_swapped(array: Array) -> Array:
    """The other byte order, where the dtype has one."""
    return array.astype(array.dtype.newbyteorder(">"))


def misaligned(array: Array) -> Array:
    """One byte off every boundary."""
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    view = np.frombuffer(buffer.data, array.dtype, array.size, 1) if array.size else np.zeros(0, array.dtype)
    view = view.reshape(array.shape)
    view[...] = array
    return view


def read_only(array: Array) -> Array:
    """Not to be written."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    layout.__name__: layout for layout in (fortran, backwards, stepped, rows_apart, byte_swapped, misaligned, read_only)
}


def lay_out(argument: Any, layout: Callable[[Array], Array]) -> Any:
    """An argument with its arrays laid out so; what is no array stays."""
    if isinstance(argument, list):
        return [lay_out(entry, layout) for entry in argument]
    return layout(argument) if isinstance(argument, np.ndarray) else argument


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def attempt(call: Callable[[], Any]) -> Any:
    """The result of a call, or the error with which the library refuses its arguments."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        return error


def bytes_of(result: Any) -> Any:
    """What has to be equal for a result to have the same bits, shape and type."""
    if isinstance(result, (list, tuple)):
        return [bytes_of(entry) for entry in result]
    array = np.asarray(result)
    return type(result).__name__, array.dtype.str, array.shape, array.tobytes()


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of arrays that come out."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def tolerance(dtype: np.dtype[Any]) -> float:
    """How far a term may be off, over 1 + |term|."""
    return 1e-12 if dtype == np.float64 else 2e-6


def assert_value(case: Case, problem: Problem, form: str, reduction: str, value: Any, normalizer: Any = None) -> None:
    """The value is the definition's, and has the type and shape that the design promises."""
    dtype = problem.first[0].dtype if problem.first else problem.empty[problem.positional[0]].dtype
    terms = case.reference_terms(problem)
    expected = reference.reduce(terms, reduction, normalizer)
    # Every reduction is linear in the terms: reduced, the allowance for each term is the allowance for the result.
    allowances = [
        np.where(np.isfinite(value), np.abs(value), 0) + np.abs(weight) + (weight != 0)
        for value, weight in zip(terms.values, terms.weights, strict=True)
    ]
    allowed = reference.reduce(
        reference.Terms(allowances, terms.weights, terms.counts, terms.mean_over_sequences), reduction, normalizer
    )
    label = f"{problem.function} {form} {reduction}"
    if reduction in SCALAR_REDUCTIONS:
        assert type(value) is float, f"{label}: {type(value)}"
        assert_close(value, expected, allowed, tolerance(dtype), label)
        return
    if reduction == "none" and terms.values and terms.values[0].ndim:
        if form == "ragged":
            assert isinstance(value, list), f"{label}: {type(value)}"
        elif form == "single":
            value = [value]
        else:
            assert isinstance(value, np.ndarray), f"{label}: {type(value)}"
            assert value.shape[0] == len(expected), label
            for row, length in zip(value, problem.lengths, strict=True):
                assert not np.any(row[length:]), f"{label}: a padded term is not 0"
            value = unpad(value, problem.lengths)
        for entry, wanted, most in zip(value, expected, allowed, strict=True):
            assert entry.dtype == result_dtype(dtype), f"{label}: {entry.dtype}"
            assert entry.shape == wanted.shape, f"{label}: {entry.shape} instead of {wanted.shape}"
            assert_close(entry, wanted, most, tolerance(dtype), label)
        return
    if form == "single":
        assert np.shape(value) == (), f"{label}: {np.shape(value)}"
        assert_close(value, expected[0], allowed[0], tolerance(dtype), label)
        return
    if not problem.first and reduction == "none":
        assert value.size == 0, label
        assert value.shape[0] == 0, label
        return
    assert isinstance(value, np.ndarray), f"{label}: {type(value)}"
    assert value.dtype == result_dtype(dtype), f"{label}: {value.dtype}"
    assert value.shape == (len(expected),), f"{label}: {value.shape}"
    assert_close(value, np.array(expected), np.array(allowed), tolerance(dtype), label)


def assert_close(value: Any, expected: Any, allowed: Any, relative: float, label: str) -> None:
    """Equal, NaN for NaN and infinity for infinity, up to the allowance."""
    value, expected = np.asarray(value, np.float64), np.asarray(expected, np.float64)
    same = (value == expected) | (np.isnan(value) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        near = np.abs(value - expected) <= relative * np.nan_to_num(np.asarray(allowed))
    assert np.all(same | near), f"{label}: {value} instead of {expected}"
