"""The list of losses that can be scored: what each reads, and what it adds to a line and to the summary.

A new loss is one more entry of `LOSSES`. Its options need no entry: they are read from the function's signature.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .batch import Batch
from .options import Option, options_of

__all__ = ["LOSSES", "Argument", "KnownValue", "Loss", "Scored"]

# A sum for each sequence, in float64 whatever the data are: the package itself returns those of float32 rounded.
WIDE = "sequence_float64"

Options = Mapping[str, Any]
Fields = list[dict[str, Any]]


@dataclass(frozen=True)
class Argument:
    """A parameter that carries data.

    Attributes
    ----------
    name : str
        The function's name for it.
    values : str
        What it holds; `"number"` is integers or floats, `"text"` strings or token ids.
    ranks : tuple of int
        How many axes one sequence's value may have; 0 is one number for each sequence.
    steps : bool
        Whether its values lie beside the steps of the first argument, so that both may share `X_offsets`.
    shared : bool
        Whether one array belongs to all the samples; it is an option too.
    shareable : bool
        Whether one value may stand for all the samples, which then is an option.
    layout : bool
        Whether the option `layout` says which of its axes is N.
    required : bool
        Whether the call needs it.
    cut_by : str, optional
        The argument with the lengths that cut this one, where its values lie end to end in one axis (torch's way).
    """

    name: str
    values: Literal["float", "integer", "boolean", "number", "text"]
    ranks: tuple[int, ...] = (0,)
    steps: bool = False
    shared: bool = False
    shareable: bool = False
    layout: bool = False
    required: bool = False
    cut_by: str | None = None


@dataclass(frozen=True)
class Scored:
    """What scoring a batch gives.

    Attributes
    ----------
    losses : (n,) array of float64
        The loss of each sample.
    fields : list of dict
        What the loss adds to the line of each.
    tallies : dict
        What is added up over all batches for the summary: integers, arrays of them, or a LossSum.
    """

    losses: npt.NDArray[np.float64]
    fields: Fields
    tallies: dict[str, Any]


@dataclass(frozen=True)
class KnownValue:
    """A call whose value is known from the definition."""

    arguments: Mapping[str, Any]
    value: float
    source: str


@dataclass(frozen=True)
class Loss:
    """A loss on the command line.

    Attributes
    ----------
    name, function, title, help : str
        Its name as a command, the function in `seqloss_rs`, its heading, and what it computes in a line.
    data : tuple of Argument
        The parameters that carry data; the first one first.
    score : callable
        Scores a batch, with the options of the call.
    conclude : callable
        From the tallies, the sum of the finite losses and the options to what the summary says besides.
    known : KnownValue
        What `seqloss doctor` checks.
    adds : str
        What the line of a sample holds besides, for the help.
    whole : callable
        Whether the options make a sample's loss depend on the others, so that a file must be one call.
    rank : callable, optional
        How many axes the first argument has for one sequence, where that depends on which arguments are there, or on
        the options.
    """

    name: str
    function: str
    title: str
    help: str
    data: tuple[Argument, ...]
    score: Callable[[Loss, Batch, Options], Scored]
    conclude: Callable[[Mapping[str, Any], float, Options], dict[str, Any]]
    known: KnownValue
    adds: str
    whole: Callable[[Options], bool] = lambda options: False
    rank: Callable[[Collection[str], Options], int] | None = None

    @property
    def first(self) -> Argument:
        """The first argument, the one whose axis N counts the samples."""
        return self.data[0]

    def sequence_rank(self, names: Collection[str], options: Options) -> int:
        """How many axes the first argument has when it is one sequence, without the axis N."""
        return min(self.first.ranks) if self.rank is None else self.rank(names, options)

    @property
    def is_text(self) -> bool:
        """Whether it compares texts."""
        return self.first.values == "text"

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        """The parameters that carry data, by name."""
        return {argument.name: argument for argument in self.data}

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of the function by name; how samples are reduced is for the command to say."""
        of_samples = [argument.name for argument in self.data if not (argument.shared or argument.shareable)]
        return options_of(getattr(seqloss_rs, self.function), [*of_samples, "reduction", "normalizer"])

    def call(self, batch: Batch, options: Options, reduction: str) -> npt.NDArray[np.float64]:
        """Call the function, with the options over what the file itself says."""
        function = getattr(seqloss_rs, self.function)
        arguments = {**self._left_out, **batch.arguments, **batch.options, **options, "reduction": reduction}
        return np.atleast_1d(np.asarray(function(**arguments), dtype=np.float64))

    @cached_property
    def _left_out(self) -> dict[str, None]:
        """The parameters without a default that a file may leave out all the same: None says so."""
        parameters = inspect.signature(getattr(seqloss_rs, self.function)).parameters
        empty = inspect.Parameter.empty
        return {data.name: None for data in self.data if not data.required and parameters[data.name].default is empty}


def score_steps(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score losses with a term for each step."""
    return _score_terms(loss, batch, options, lambda values: values.shape[:1])


def score_elements(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score losses with a term for each number."""
    return _score_terms(loss, batch, options, lambda values: values.shape)


def _score_terms(loss: Loss, batch: Batch, options: Options, terms_of: Callable[[Any], tuple[int, ...]]) -> Scored:
    totals = loss.call(batch, options, WIDE)
    effective = {**batch.options, **options}
    ignored, omits_nan = effective.get("ignore_index"), effective.get("nan") == "omit"
    class_weights = effective.get("class_weights", batch.arguments.get("class_weights"))
    changes = ("label_smoothing", "z_loss", "focal_gamma", "poly_epsilon")
    fields: Fields = []
    valid_terms, valid_weights = 0, []
    for position in np.ndindex(totals.shape):
        sample = _sample(batch, position, totals.shape)
        values = np.asarray(sample[loss.first.name])
        length = int(sample.get("lengths", len(values)))
        valid = np.ones(terms_of(values), dtype=bool)
        valid[length:] = False
        if "mask" in sample:
            valid &= _spread(sample["mask"], valid) != 0
        if ignored is not None and np.issubdtype(np.asarray(sample["targets"]).dtype, np.integer):
            valid &= np.asarray(sample["targets"]) != ignored
        if sample.get("weights") is not None:
            valid &= _spread(sample["weights"], valid) != 0
        if omits_nan:
            for name in ("predictions", "targets", "variances"):
                if name in sample:
                    valid &= ~np.isnan(_spread(sample[name], valid))
        terms = int(np.count_nonzero(valid))
        total = float(totals[position])
        member = {"member": position[1]} if len(position) == 2 else {}
        fields.append(
            {**member, "length": length, "terms": terms, "sequence_mean": total / terms if terms else math.nan}
        )
        if math.isfinite(total):
            valid_terms += terms
            valid_weights.append(_weight(sample, valid, class_weights))
    weight = seqloss_rs.LossSum()
    weight.update(np.array(valid_weights, np.float64))
    tallies = {
        "terms": valid_terms,
        "weight": weight,
        "changes": sum(bool(effective.get(name)) for name in changes),
    }
    return Scored(totals.ravel(), fields, tallies)


def _spread(values: Any, like: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return what is given for each step, or for each number of one, with the axes of the terms."""
    array = np.asarray(values, np.float64)
    return array.reshape(array.shape + (1,) * (like.ndim - array.ndim))


def _weight(sample: Mapping[str, Any], valid: Any, class_weights: Any) -> float:
    """Return what the valid terms of a sample count for in a mean."""
    factors = np.ones(valid.shape)
    if sample.get("weights") is not None:
        factors *= _spread(sample["weights"], valid)
    if class_weights is not None and np.issubdtype(np.asarray(sample["targets"]).dtype, np.integer):
        # A target that is not valid may be no class.
        factors *= np.asarray(class_weights, np.float64)[np.where(valid, np.asarray(sample["targets"]), 0)]
    return math.fsum(factors[valid])


def _sample(batch: Batch, position: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of one sample, or of one member of a group."""
    if batch.single and len(shape) == 1:
        return {name: value for name, value in batch.arguments.items() if name in batch.axes}
    sample = {}
    for name in batch.axes:
        value = batch.arguments[name] if batch.single else batch.arguments[name][position[0]]
        # What is given once for a group (its length, its mask) holds for each of its members.
        if len(position) == 2 and np.ndim(value) > 0 and len(value) == shape[1]:
            value = value[position[1]]
        sample[name] = value
    return sample


def conclude_steps(tallies: Mapping[str, Any], total: float, options: Options) -> dict[str, Any]:
    """Add the mean over all terms, whatever sequence they belong to, each by its weight."""
    weight = tallies["weight"].value
    return {"terms": tallies["terms"], "mean_per_term": total / weight if weight else math.nan}


def conclude_cross_entropy(tallies: Mapping[str, Any], total: float, options: Options) -> dict[str, Any]:
    """Add the same, and as perplexity where nothing was added to the logarithms of probabilities."""
    summary = conclude_steps(tallies, total, options)
    mean = summary["mean_per_term"]
    if tallies["changes"]:
        return summary
    # Beyond 709 the exponential has no double; infinity is what it rounds to.
    return {**summary, "perplexity": math.exp(mean) if not mean > 709 else math.inf}


def score_ctc(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score CTC: mark what cannot be aligned, and write classes as text where the file says how."""
    effective = {**batch.options, **options}
    losses = loss.call(batch, {**options, "zero_infinity": False}, WIDE)
    frames = _frames(batch, effective.get("layout", "NTC"))
    targets = _targets(batch)
    decoded = None if batch.classes is None else _decoded(batch, effective)
    infinite = infeasible = np.isposinf(losses)
    if infinite.any() and (effective.get("label_smoothing") or "consistency_with" in batch.arguments):
        # A divergence is infinite too where a class has probability 0, whatever the paths are.
        alone = replace(batch, arguments={**batch.arguments, "consistency_with": None})
        infeasible = np.isposinf(loss.call(alone, {**options, "zero_infinity": False, "label_smoothing": 0.0}, WIDE))
    fields: Fields = []
    for sample in range(len(losses)):
        entry: dict[str, Any] = {
            "feasible": not infeasible[sample],
            "length": len(targets[sample]),
            "frames": frames[sample],
        }
        if decoded is not None and batch.classes is not None:
            entry["text"] = "".join(batch.classes[int(label)] for label in decoded[sample])
            entry["target"] = "".join(batch.classes[int(label)] for label in targets[sample])
        fields.append(entry)
    labels = sum(len(target) for target, value in zip(targets, losses, strict=True) if math.isfinite(value))
    if effective.get("zero_infinity"):
        losses = np.where(infinite, 0.0, losses)
    return Scored(losses, fields, {"infeasible": int(infeasible.sum()), "labels": labels})


def _decoded(batch: Batch, options: Options) -> list[npt.NDArray[Any]]:
    """Return the labels that the most likely class of every frame gives."""
    logits, lengths = batch.arguments["logits"], batch.arguments.get("input_lengths")
    keywords = {name: options[name] for name in ("blank", "layout") if name in options}
    if options.get("merge_repeated", True):
        found = seqloss_rs.ctc_greedy_decode(logits, lengths, **keywords)
        return [found] if batch.single else found
    paths = seqloss_rs.ctc_greedy_decode(logits, lengths, **keywords, spans=True).labels
    return [path[path != options.get("blank", 0)] for path in ([paths] if batch.single else paths)]


def _frames(batch: Batch, layout: str) -> list[int]:
    logits, lengths = batch.arguments["logits"], batch.arguments.get("input_lengths")
    if lengths is not None:
        return [int(length) for length in np.atleast_1d(lengths)]
    if batch.single:
        return [len(logits)]
    if isinstance(logits, list):
        return [len(item) for item in logits]
    return [logits.shape[0 if layout == "TNC" else 1]] * len(batch)


def _targets(batch: Batch) -> list[npt.NDArray[Any]]:
    targets, lengths = batch.arguments["targets"], batch.arguments.get("target_lengths")
    rows = [np.asarray(targets)] if batch.single else list(targets)
    if lengths is None:
        return rows
    return [row[: int(length)] for row, length in zip(rows, np.atleast_1d(lengths), strict=True)]


def conclude_ctc(tallies: Mapping[str, Any], total: float, options: Options) -> dict[str, Any]:
    """Add how many lines have no alignment, and the mean over the labels of the others."""
    labels = tallies["labels"]
    return {
        "infeasible": tallies["infeasible"],
        "labels": labels,
        "mean_per_label": total / labels if labels else math.nan,
    }


def score_bleu(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score BLEU, and add up the statistics that give the corpus score."""
    losses = loss.call(batch, options, "none")
    rows = seqloss_rs.Bleu(**{**batch.options, **options}).statistics(*_pairs(batch))
    fields: Fields = [{"length": int(row[0]), "reference_length": int(row[1])} for row in rows]
    return Scored(losses, fields, {"statistics": rows.sum(axis=0)})


def conclude_bleu(tallies: Mapping[str, Any], total: float, options: Options) -> dict[str, Any]:
    """Add BLEU of the corpus on the scale of 100."""
    return {"corpus_bleu": seqloss_rs.Bleu(**options).from_statistics(tallies["statistics"]).score}


def score_rouge(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score ROUGE."""
    losses = loss.call(batch, options, "none")
    fields: Fields = [{"length": _words(hypothesis)} for hypothesis in _pairs(batch)[0]]
    rouge = seqloss_rs.LossSum()
    rouge.update(1.0 - losses)
    return Scored(losses, fields, {"rouge": rouge})


def conclude_rouge(tallies: Mapping[str, Any], total: float, options: Options) -> dict[str, Any]:
    """Add ROUGE of the corpus: the mean over its samples."""
    return {"corpus_rouge": tallies["rouge"].mean}


def _words(hypothesis: str | Sequence[int]) -> int:
    return len(hypothesis.split()) if isinstance(hypothesis, str) else len(hypothesis)


def _pairs(batch: Batch) -> tuple[list[Any], list[Any]]:
    """Return hypotheses and references as lists of their own lengths, which is how the classes take token ids."""
    hypotheses, references = batch.arguments["hypotheses"], batch.arguments["references"]
    lengths, reference_lengths = batch.arguments.get("lengths"), batch.arguments.get("reference_lengths")
    if lengths is not None:
        hypotheses = [row[: int(length)] for row, length in zip(hypotheses, lengths, strict=True)]
    if reference_lengths is not None:
        references = [row[: int(length)] for row, length in zip(references, reference_lengths, strict=True)]
    return list(hypotheses), list(references)


LENGTHS = Argument("lengths", "integer")
MASK = Argument("mask", "boolean", (1,), steps=True)
ELEMENT_MASK = Argument("mask", "boolean", (1, 2), steps=True)
WEIGHTS = Argument("weights", "float", (1,), steps=True)
ELEMENT_WEIGHTS = Argument("weights", "float", (1, 2), steps=True)
TEXT_DATA = (
    Argument("hypotheses", "text", (0, 1), required=True),
    Argument("references", "text", (0, 1), required=True),
    LENGTHS,
    Argument("reference_lengths", "integer"),
)
POINTWISE_DATA = (
    Argument("predictions", "float", (1, 2), required=True),
    Argument("targets", "float", (1, 2), steps=True, required=True),
    LENGTHS,
    ELEMENT_MASK,
    ELEMENT_WEIGHTS,
)
TERMS_ADD = "length, terms (its valid terms), sequence_mean"
DIFFERENCES = {"predictions": np.array([[1.0, 2.0]]), "targets": np.array([[0.0, 4.0]])}


def _pointwise(
    name: str,
    title: str,
    what: str,
    value: float,
    source: str,
    known: Mapping[str, Any] = DIFFERENCES,
    more: tuple[Argument, ...] = (),
    rank: Callable[[Collection[str], Options], int] | None = None,
) -> Loss:
    """Describe a loss of single numbers, summed over a sequence."""
    return Loss(
        name=name,
        function=f"{name}_loss",
        title=title,
        help=f"{what}, summed over a sequence",
        data=(*POINTWISE_DATA[:2], *more, *POINTWISE_DATA[2:]),
        score=score_elements,
        conclude=conclude_steps,
        adds=TERMS_ADD,
        known=KnownValue(known, value, source),
        rank=rank,
    )


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss(
            name="cross_entropy",
            function="cross_entropy_loss",
            title="Cross-entropy",
            help="cross-entropy of classes at each step, summed over a sequence",
            data=(
                Argument("logits", "float", (2,), required=True),
                Argument("targets", "number", (1, 2), steps=True, required=True),
                LENGTHS,
                MASK,
                WEIGHTS,
                Argument("class_weights", "float", (1,), shared=True),
            ),
            score=score_steps,
            conclude=conclude_cross_entropy,
            adds=TERMS_ADD,
            known=KnownValue(
                {"logits": np.zeros((1, 2, 4)), "targets": np.array([[1, 2]])},
                math.log(4.0),
                "four equal classes: ln 4",
            ),
        ),
        _pointwise("mse", "Mean squared error", "squared error", 2.5, "(1 + 4) / 2"),
        _pointwise("mae", "Mean absolute error", "absolute error", 1.5, "(1 + 2) / 2"),
        _pointwise("huber", "Huber", "squared error near 0, absolute beyond", 1.0, "(1/2 + (2 - 1/2)) / 2"),
        _pointwise("smooth_l1", "Smooth L1", "Huber over its threshold", 1.0, "(1/2 + (2 - 1/2)) / 2"),
        _pointwise(
            "log_cosh",
            "Log-cosh",
            "logarithm of the hyperbolic cosine of the error",
            math.log(math.cosh(1.0) * math.cosh(2.0)) / 2,
            "(ln cosh 1 + ln cosh 2) / 2",
        ),
        _pointwise(
            "msle",
            "Mean squared logarithmic error",
            "squared difference of ln(1 + x)",
            (math.log(2.0) ** 2 + math.log(3.0 / 5.0) ** 2) / 2,
            "(ln(2/1)^2 + ln(3/5)^2) / 2",
        ),
        _pointwise(
            "mape",
            "Mean absolute percentage error",
            "absolute error over the target",
            0.5,
            "(1/1 + 0/4) / 2",
            {"predictions": np.array([[2.0, 4.0]]), "targets": np.array([[1.0, 4.0]])},
        ),
        _pointwise(
            "smape",
            "Symmetric mean absolute percentage error",
            "absolute error over the mean of both sizes",
            4 / 3,
            "(2 + 2/3) / 2",
        ),
        _pointwise(
            "quantile",
            "Quantile",
            "pinball of a quantile (the median by default) or of several",
            0.75,
            "(1/2 + 2/2) / 2",
            # Each step has a number for each of several quantiles.
            rank=lambda names, options: 1 + np.ndim(options.get("quantile", 0.5)),
        ),
        _pointwise(
            "poisson_nll",
            "Poisson",
            "minus the log-probability under a Poisson distribution",
            (math.e + math.exp(2.0) - 8.0) / 2,
            "(e + e^2 - 4 * 2) / 2",
        ),
        _pointwise(
            "gaussian_nll",
            "Gaussian",
            "minus the log-probability under a normal distribution",
            1.25,
            "(1 + 4) / 4",
            {**DIFFERENCES, "variances": np.ones((1, 2))},
            (Argument("variances", "float", (1, 2), steps=True, required=True),),
        ),
        Loss(
            name="ctc",
            function="ctc_loss",
            title="CTC",
            help="connectionist temporal classification",
            data=(
                Argument("logits", "float", (2,), layout=True, required=True),
                Argument("targets", "integer", (1,), required=True, cut_by="target_lengths"),
                Argument("input_lengths", "integer"),
                Argument("target_lengths", "integer"),
                Argument("log_priors", "float", (1,), shared=True),
                Argument("consistency_with", "float", (2,), steps=True, layout=True),
            ),
            score=score_ctc,
            conclude=conclude_ctc,
            adds="feasible, length (labels of the target), frames, and where the file has classes "
            "text (decoded greedily) and target",
            known=KnownValue(
                {"logits": np.zeros((1, 2, 2)), "targets": np.array([[1]])},
                -math.log(0.75),
                "three paths of four: -ln(3/4)",
            ),
        ),
        Loss(
            name="bleu",
            function="bleu_loss",
            title="BLEU",
            help="1 − BLEU/100 of each sentence",
            data=TEXT_DATA,
            score=score_bleu,
            conclude=conclude_bleu,
            adds="length and reference_length in tokens",
            known=KnownValue(
                {"hypotheses": ["a b c d e"], "references": ["a b c d f"]},
                1.0 - (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25,
                "matches 4/5, 3/4, 2/3, 1/2: 1 - (1/5)^(1/4)",
            ),
        ),
        Loss(
            name="rouge",
            function="rouge_loss",
            title="ROUGE",
            help="1 − ROUGE of each text",
            data=TEXT_DATA,
            score=score_rouge,
            conclude=conclude_rouge,
            adds="length in words",
            known=KnownValue(
                {"hypotheses": ["the cat"], "references": ["the cat sat"]}, 0.2, "precision 1, recall 2/3: 1 - F = 1/5"
            ),
        ),
        Loss(
            name="reinforce",
            function="reinforce_loss",
            title="REINFORCE",
            help="−advantage × log-probability of each action, summed over a sequence",
            data=(
                Argument("logits", "float", (1, 2), required=True),
                Argument("actions", "integer", (1,), steps=True),
                Argument("rewards", "float", (0, 1), steps=True, required=True),
                Argument("baseline", "float", (0, 1), steps=True, shareable=True),
                LENGTHS,
                MASK,
            ),
            score=score_steps,
            conclude=conclude_steps,
            adds=TERMS_ADD,
            known=KnownValue(
                {"logits": np.zeros((1, 1, 2)), "actions": np.array([[0]]), "rewards": np.array([3.0])},
                3.0 * math.log(2.0),
                "reward 3, two equal actions: 3 ln 2",
            ),
            whole=lambda options: isinstance(options.get("baseline"), str),
            rank=lambda names, options: 2 if "actions" in names else 1,
        ),
    )
}
