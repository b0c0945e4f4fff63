"""The list of losses that can be scored: what each reads, and what it adds to a line and to the summary.

A new loss is one more entry of `LOSSES`. Its options need no entry: they are read from the function's signature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .batch import Batch
from .loss import LENGTHS, Argument, Fields, KnownValue, Loss, Options, Scored
from .metrics import is_metrics, text_loss

__all__ = ["LOSSES", "loss_of"]

# A sum for each sequence, in float64 whatever the data are: the package itself returns those of float32 rounded.
WIDE = "sequence_float64"


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


MASK = Argument("mask", "boolean", (1,), steps=True)
ELEMENT_MASK = Argument("mask", "boolean", (1, 2), steps=True)
WEIGHTS = Argument("weights", "float", (1,), steps=True)
ELEMENT_WEIGHTS = Argument("weights", "float", (1, 2), steps=True)
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
        text_loss("bleu"),
        text_loss("rouge"),
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
            whole=lambda options: (
                isinstance(options.get("baseline"), str) or bool(options.get("scale")) or bool(options.get("whiten"))
            ),
            rank=lambda names, options: 2 if "actions" in names else 1,
        ),
    )
}


def loss_of(name: str) -> Loss:
    """Return a loss by its name, or the one that a list of metrics of texts stands for."""
    return LOSSES[name] if name in LOSSES or not is_metrics(name) else text_loss(name)
