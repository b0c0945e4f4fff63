"""The metrics of texts on the command line: by themselves, or several of them in one run.

`bleu,chrf,ter` stands for a loss like the others: that of its first metric. The scores of all of them are in the line
of each sample and in the summary.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

import seqloss_rs

from .batch import Batch
from .loss import LENGTHS, Argument, Fields, KnownValue, Loss, Options, Scored
from .options import Option, options_of
from .signature import signature, title_of

__all__ = ["METRICS", "TextLoss", "TextMetric", "is_metrics", "text_loss"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TextMetric:
    """A metric of texts.

    Attributes
    ----------
    name, title, help : str
        Its name as a command, its heading, and what the loss is that it gives.
    kind : str
        Its class in `seqloss_rs`.
    documented : str
        What in `seqloss_rs` says in its docstring what the options are.
    loss : callable
        From scores to losses.
    fixed : dict
        The options that the name says already.
    """

    name: str
    title: str
    help: str
    kind: str
    documented: str
    loss: Callable[[Floats], Floats]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of the class by name, but for those that are fixed."""
        taken = inspect.signature(getattr(seqloss_rs, self.kind)).parameters
        function = getattr(seqloss_rs, self.documented)
        others = [name for name in inspect.signature(function).parameters if name not in taken]
        options = options_of(function, [*others, *self.fixed])
        referred = [name for name, option in options.items() if option.help == "As in bleu_loss"]
        words = BLEU.options if referred else {}
        return {**options, **{name: replace(options[name], help=words[name].help) for name in referred}}

    @property
    def prefix(self) -> str:
        """What stands before the name of an option that other metrics have too, and mean something else by."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.kind).lower()

    def takes_other_words(self, other: TextMetric, name: str) -> bool:
        """Whether another metric has an option of this name that is not the same."""
        return name in other.options and other.options[name].words != self.options[name].words


def _of_percent(scores: Floats) -> Floats:
    return np.clip(1.0 - scores / 100.0, 0.0, 1.0)


def _of_ratio(scores: Floats) -> Floats:
    return np.clip(1.0 - scores, 0.0, 1.0)


ERROR_RATE = ("ErrorRate", "ErrorRate")
BLEU = TextMetric("bleu", "BLEU", "1 − BLEU/100 of each sentence", "Bleu", "bleu_loss", _of_percent)
CHRF = TextMetric("chrf", "chrF", "1 − chrF/100 of each sentence", "Chrf", "Chrf", _of_percent)
TER = TextMetric("ter", "TER", "TER/100 of each sentence", "Ter", "Ter", lambda scores: scores / 100.0)
ROUGE = TextMetric("rouge", "ROUGE", "1 − ROUGE of each text", "Rouge", "rouge_loss", _of_ratio)
WER = TextMetric("wer", "WER", "word error rate of each text", *ERROR_RATE, lambda scores: scores, {"measure": "wer"})
GLEU = TextMetric("gleu", "GLEU", "1 − GLEU of each sentence", "Gleu", "Gleu", _of_ratio)
NLTK_BLEU = TextMetric("nltk_bleu", "BLEU-NLTK", "1 − NLTK's BLEU of each sentence", "NltkBleu", "NltkBleu", _of_ratio)
F1 = TextMetric("f1", "F1", "1 − F1 of the words of each answer", "TokenF1", "TokenF1", _of_ratio)
EXACT = TextMetric("exact_match", "EM", "whether an answer is wrong", "ExactMatch", "ExactMatch", _of_ratio)
VARIANTS = (*(f"rouge{order}" for order in range(1, 10)), "rougeL", "rougeLsum")

METRICS: dict[str, TextMetric] = {
    metric.name: metric
    for metric in (
        BLEU,
        CHRF,
        replace(CHRF, name="chrf++", title="chrF++", help="1 − chrF++/100 of each sentence", fixed={"word_order": 2}),
        TER,
        ROUGE,
        *(replace(ROUGE, name=name, title=f"ROUGE-{name[5:]}", fixed={"variant": name}) for name in VARIANTS),
        WER,
        replace(
            WER,
            name="cer",
            title="CER",
            help="character error rate of each text",
            fixed={"measure": "wer", "unit": "char"},
        ),
        replace(WER, name="mer", title="MER", help="match error rate of each text", fixed={"measure": "mer"}),
        replace(WER, name="wil", title="WIL", help="word information lost of each text", fixed={"measure": "wil"}),
        TextMetric("wip", "WIP", "1 − word information preserved", *ERROR_RATE, _of_ratio, {"measure": "wip"}),
        GLEU,
        NLTK_BLEU,
        F1,
        EXACT,
    )
}
KNOWN = {
    "bleu": KnownValue(
        {"hypotheses": ["a b c d e"], "references": ["a b c d f"]},
        1.0 - (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25,
        "matches 4/5, 3/4, 2/3, 1/2: 1 - (1/5)^(1/4)",
    ),
    "rouge": KnownValue(
        {"hypotheses": ["the cat"], "references": ["the cat sat"]}, 0.2, "precision 1, recall 2/3: 1 - F = 1/5"
    ),
}
TEXT_DATA = (
    Argument("hypotheses", "text", (0, 1), required=True),
    Argument("references", "text", (0, 1), required=True),
    LENGTHS,
    Argument("reference_lengths", "integer"),
)


@dataclass(frozen=True)
class TextLoss(Loss):
    """The loss of one metric of texts, with the scores of some more.

    Attributes
    ----------
    metrics : tuple of TextMetric
        All of them, the one with the loss first.
    """

    metrics: tuple[TextMetric, ...] = ()

    @property
    def documented(self) -> Callable[..., Any]:
        """What says in its docstring what the arguments are."""
        return seqloss_rs.bleu_loss

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of all the metrics; what several have is for all of them."""
        owners: dict[str, list[tuple[TextMetric, str]]] = {}
        for metric in self.metrics:
            for name, key in self._keys[metric.name].items():
                owners.setdefault(key, []).append((metric, name))
        options = {}
        for key, own in owners.items():
            metric, name = own[0]
            whose = "" if len(self.metrics) == 1 else f"for {', '.join(metric.name for metric, _ in own)}: "
            options[key] = replace(metric.options[name], name=key, help=f"{whose}{metric.options[name].help}")
        return options

    @cached_property
    def _keys(self) -> dict[str, dict[str, str]]:
        """What the options of each metric are called: a kind is before the name where metrics take different words."""
        return {
            metric.name: {
                name: f"{metric.prefix}_{name}"
                if any(metric.takes_other_words(other, name) for other in self.metrics)
                else name
                for name in metric.options
            }
            for metric in self.metrics
        }

    def make(self, metric: TextMetric, options: Options) -> Any:
        """Return the metric with those of the options that are its own."""
        own = {name: options[key] for name, key in self._keys[metric.name].items() if key in options}
        return getattr(seqloss_rs, metric.kind)(**metric.fixed, **own)


def is_metrics(names: str) -> bool:
    """Whether this is a list of different metrics with commas between them."""
    listed = names.split(",")
    return all(name in METRICS for name in listed) and len(set(listed)) == len(listed)


def text_loss(names: str) -> TextLoss:
    """Return the loss of metrics with commas between their names."""
    metrics = tuple(METRICS[name] for name in names.split(","))
    first = metrics[0]
    more = f", with {', '.join(metric.title for metric in metrics[1:])}" if len(metrics) > 1 else ""
    lengths = "length and reference_length in tokens" if BLEU in metrics else "length in words"
    loss = TextLoss(
        name=names,
        function=first.documented if (first,) == metrics and first.name in KNOWN else names,
        title=", ".join(metric.title for metric in metrics),
        help=f"{first.help}{more}",
        data=TEXT_DATA,
        score=score_texts,
        conclude=lambda tallies, total, options: conclude_texts(loss, tallies, options),
        adds=f"{', '.join(metric.name for metric in metrics)} (the scores), {lengths}",
        known=KNOWN.get(names),
        metrics=metrics,
    )
    return loss


def score_texts(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score all the metrics, and add up the statistics that give the scores of the corpus."""
    assert isinstance(loss, TextLoss)
    effective = {**batch.options, **options}
    hypotheses, references = _pairs(batch)
    counts = [len(several) if isinstance(several, list) else 1 for several in references]
    # The sum and the sum of squares tell whether all the texts have equally many references, however runs are merged.
    tallies: dict[str, Any] = {
        "pairs": len(counts),
        "references": sum(counts),
        "references squared": sum(count * count for count in counts),
    }
    all_rows, scores = {}, {}
    for metric in loss.metrics:
        counting = loss.make(metric, effective)
        rows = all_rows[metric.name] = counting.statistics(hypotheses, references)
        # Of these it is faster to count a second time than to score row by row, and a sentence has a BLEU of its own.
        is_counted_again = metric.kind in ("Bleu", "ErrorRate", "Gleu", "NltkBleu", *ANSWERS)
        pairs = [] if is_counted_again else [counting.from_statistics(row) for row in rows]
        scores[metric.name] = (
            counting.sentences(hypotheses, references)
            if is_counted_again
            else np.array([pair.score for pair in pairs], dtype=np.float64)
        )
        if metric.kind == "Rouge":
            for part in ROUGE_PARTS:
                tallies[f"{metric.name} {part}"] = seqloss_rs.LossSum()
                tallies[f"{metric.name} {part}"].update(np.array([getattr(pair, part) for pair in pairs]))
        elif metric.kind in ANSWERS:
            tallies[f"{metric.name} score"] = seqloss_rs.LossSum()
            tallies[f"{metric.name} score"].update(scores[metric.name])
        else:
            tallies[f"{metric.name} statistics"] = rows.sum(axis=0)
    names = list(scores)
    fields: Fields = [
        dict(zip(names, row, strict=True)) for row in zip(*(values.tolist() for values in scores.values()), strict=True)
    ]
    for position, (entry, hypothesis) in enumerate(zip(fields, hypotheses, strict=True)):
        entry["length"] = _words(hypothesis)
        if BLEU.name in all_rows:
            entry["length"], entry["reference_length"] = all_rows[BLEU.name][position, :2].tolist()
    first = loss.metrics[0]
    return Scored(first.loss(scores[first.name]), fields, tallies, all_rows)


ROUGE_PARTS = ("precision", "recall", "f")
ANSWERS = ("TokenF1", "ExactMatch")


def conclude_texts(loss: TextLoss, tallies: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Add the score of the corpus by each metric, its parts, and what it takes to compute it again."""
    found: dict[str, Any] = {}
    references = _reference_count(tallies)
    for metric in loss.metrics:
        counting = loss.make(metric, options)
        if metric.kind == "Rouge":
            parts = {part: tallies[f"{metric.name} {part}"].mean for part in ROUGE_PARTS}
            parts = {"score": parts[counting.measure], **parts}
        elif metric.kind in ANSWERS:
            answers = tallies[f"{metric.name} score"]
            parts = {"score": answers.mean, "count": answers.count}
        else:
            parts = asdict(counting.from_statistics(tallies[f"{metric.name} statistics"]))
        found[metric.name] = {
            "name": title_of(counting),
            **parts,
            "references": references,
            "signature": signature(counting, references),
        }
    return {**{f"corpus_{name}": parts["score"] for name, parts in found.items()}, "metrics": found}


def _reference_count(tallies: Mapping[str, Any]) -> int | None:
    """Return how many references each text has, if all have equally many."""
    pairs, references = tallies["pairs"], tallies["references"]
    is_same = pairs and pairs * tallies["references squared"] == references * references
    return references // pairs if is_same else None


def _words(hypothesis: str | bytes | Sequence[int]) -> int:
    return len(hypothesis.split()) if isinstance(hypothesis, (str, bytes)) else len(hypothesis)


def _pairs(batch: Batch) -> tuple[list[Any], list[Any]]:
    """Return hypotheses and references as lists of their own lengths, which is how the classes take token ids.

    Of several hypotheses for each item every one is a sample, with the references of its item.
    """
    texts = batch.arguments["hypotheses"]
    hypotheses = _cut(texts, batch.arguments.get("lengths"))
    references = _cut(batch.arguments["references"], batch.arguments.get("reference_lengths"))
    if isinstance(texts, np.ndarray) and texts.ndim == 3:
        references = [own for own, rollouts in zip(references, hypotheses, strict=True) for _ in rollouts]
        hypotheses = [rollout for rollouts in hypotheses for rollout in rollouts]
    return hypotheses, references


def _cut(texts: Any, lengths: Any) -> list[Any]:
    """Return the texts of an array, or the sets of them of one with three axes, without what lies beyond their ends."""
    if isinstance(texts, np.ndarray) and texts.ndim == 3:
        return [_cut(own, None if lengths is None else lengths[item]) for item, own in enumerate(texts)]
    if lengths is None:
        return list(texts)
    return [row[: int(length)] for row, length in zip(texts, lengths, strict=True)]
