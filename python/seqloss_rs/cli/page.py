"""The page of a report.

It needs nothing from outside and runs nothing. Whatever comes from the files (texts, classes, the files' own names) is
untrusted and is escaped.
"""

from __future__ import annotations

import difflib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import seqloss_rs

from . import svg, words
from .align import ALIGNMENT
from .emissions import Emission, Line, find_data, read_emissions
from .errors import CommandError
from .loss import Loss
from .losses import LOSSES
from .metrics import METRICS, TextLoss, TextMetric, is_metrics, text_loss
from .names import shown
from .summary import exact_sum
from .words import aligned, escape, units

__all__ = ["Line", "Scores", "page"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What the page says of the lines; 16 bytes a sample, and the worst of them."""

    path: str
    losses: Floats
    lengths: Floats
    worst: list[Line]
    functions: set[str]
    by: str | None = None

    @property
    def loss(self) -> Loss | None:
        """The loss that gave the lines, when they all say the same."""
        if len(self.functions) != 1:
            return None
        (function,) = self.functions
        if is_metrics(function):
            return text_loss(function)
        return next((loss for loss in (*LOSSES.values(), ALIGNMENT) if loss.function == function), None)

    @property
    def metric(self) -> TextMetric | None:
        """The metric of texts that the loss is of, if it is of one."""
        if isinstance(self.loss, TextLoss):
            return self.loss.metrics[0] if self.by is None else METRICS[self.by]
        return None

    @property
    def metrics(self) -> list[str]:
        """The metrics whose scores the lines hold."""
        return [metric.name for metric in self.loss.metrics] if isinstance(self.loss, TextLoss) else []


STYLE = """
:root {
  color-scheme: light dark;
  --sans: system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --paper: #ffffff; --card: #f5f6f8; --ink: #1b2330; --muted: #5a6474; --line: #dfe3e9;
  --cool: #2463a8; --warm: #b3420b; --wash: #fbe3d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #13161b; --card: #1b2027; --ink: #e7eaef; --muted: #9da7b5; --line: #303844;
    --cool: #6fb1f3; --warm: #ffa263; --wash: #4a2c18;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 var(--sans); }
main { max-width: 74rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .8rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.muted, figcaption { color: var(--muted); font-size: .9rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1.6rem 0 0; }
.facts div { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; }
.facts dt { color: var(--muted); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr)); gap: 2rem; }
figure { margin: 0; }
.pair h2 { margin-bottom: 1rem; }
figure.emission { margin: 0 0 2rem; padding: 1.1rem 1.2rem .8rem; border-radius: .6rem; }
figure.emission { background: var(--card); --paper: var(--card); }
figure.emission figcaption { margin-bottom: .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .45rem .7rem .45rem 0; vertical-align: top; text-align: left; }
th, td { border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 600; border-bottom-width: 2px; }
tbody th { font-weight: 400; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number, td.number { padding-right: 1.2rem; }
.place { overflow-wrap: anywhere; min-width: 7rem; }
.texts { width: 60%; min-width: 18rem; }
.said { display: grid; grid-template-columns: 5.6rem 1fr; gap: 0 .8rem; margin: 0; }
figcaption .said { margin-top: .4rem; color: var(--ink); }
.said dt { color: var(--muted); font-size: .85rem; }
.said dd { margin: 0; font-family: var(--mono); font-size: .88rem; overflow-wrap: anywhere; white-space: pre-wrap; }
mark { background: var(--wash); color: var(--warm); border-radius: .2rem; }
mark { text-decoration: underline; text-underline-offset: .2em; }
.note { border-left: 4px solid var(--warm); border-radius: 0 .4rem .4rem 0; padding: .5rem .9rem; }
.note { background: var(--card); max-width: none; }
footer { margin-top: 3rem; color: var(--muted); font-size: .85rem; }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(scores: Scores, worst: int, emissions: int, data: Sequence[str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    scores : Scores
        What it shows.
    worst, emissions : int
        How many samples are in the table, and how many have a picture.
    data : sequence of str
        Where the data files are now, if not where the lines say.
    """
    title = scores.loss.title if scores.loss is not None else None
    title = title if scores.metric is None else scores.metric.title
    heading = "Losses" if title is None else f"{title} loss"
    parts = [
        f"<h1>{escape(heading)}</h1>",
        f'<p class="muted">{escape(shown(scores.path))}</p>',
        _metrics(scores),
        _facts(scores),
        _pictures(scores),
        _table(scores.worst[:worst], scores),
        _emissions(scores, emissions, data),
        f"<footer>seqloss {escape(seqloss_rs.__version__)}</footer>",
    ]
    title = escape(f"{heading}: {shown(scores.path)}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{STYLE}{svg.STYLE}{words.STYLE}</style>
</head>
<body>
<main>
{"".join(part + chr(10) for part in parts if part)}</main>
</body>
</html>
"""


def _metrics(scores: Scores) -> str:
    """Say what the loss of texts is, and what their scores were computed with."""
    if scores.metric is None or not isinstance(scores.loss, TextLoss):
        return ""
    signatures = []
    options = scores.worst[0].get("options", {}) if scores.worst else {}
    for metric in scores.loss.metrics:
        try:
            name, _, *settings = scores.loss.make(metric, options).signature().split("|")
        except (TypeError, ValueError):
            # Somebody has changed the lines.
            continue
        # How many references there are, and which version has scored, the lines do not say.
        signatures.append("|".join([name, *settings[:-1]]))
    items = "".join(f"<div>{escape(signature)}</div>" for signature in signatures)
    return f'<p>Loss: {escape(scores.metric.help)}.</p><div class="muted">{items}</div>'


def _facts(scores: Scores) -> str:
    finite = scores.losses[np.isfinite(scores.losses)]
    facts = [("samples", f"{len(scores.losses):,}")]
    if finite.size:
        facts += [
            ("mean", svg.short(exact_sum(finite) / finite.size)),
            ("median", svg.short(float(np.median(finite)))),
            ("95th percentile", svg.short(float(np.percentile(finite, 95)))),
            ("maximum", svg.short(float(finite.max()))),
        ]
    for name, count in _odd(scores.losses):
        facts.append((name, f"{count:,}"))
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{items}</dl>'


def _odd(losses: Floats) -> list[tuple[str, int]]:
    """Count the losses that are not finite, by kind."""
    counts = [("infinite", int(np.isinf(losses).sum())), ("not a number", int(np.isnan(losses).sum()))]
    return [(name, count) for name, count in counts if count]


# Beyond this a difference of two numbers may be no number.
LARGEST = 1e300


def _pictures(scores: Scores) -> str:
    finite = np.abs(scores.losses) < LARGEST
    if not finite.any():
        return '<p class="note">No loss is finite, so there is nothing to draw.</p>'
    losses = scores.losses[finite]
    marks = [("median", float(np.median(losses))), ("p95", float(np.percentile(losses, 95)))]
    left_out = "".join(f" {count:,} losses that are {name} are not drawn." for name, count in _odd(scores.losses))
    name = "loss"
    first = (
        "<section><h2>Distribution of the loss</h2><figure>"
        + svg.histogram(losses, marks, name, "Distribution of the loss")
        + f"<figcaption>Samples by their loss.{escape(left_out)}</figcaption></figure></section>"
    )
    both = finite & (np.abs(scores.lengths) < LARGEST)
    if not both.any():
        return first
    lengths, losses, places = scores.lengths[both], scores.losses[both], np.flatnonzero(both).tolist()
    notes = [
        f"sample {place}: loss {svg.short(loss)}, length {svg.short(length)}"
        for place, loss, length in zip(places[: svg.MOST_POINTS], losses.tolist(), lengths.tolist(), strict=False)
    ]
    crowded = len(losses) > svg.MOST_POINTS
    caption = "The stronger a cell, the more samples are in it." if crowded else "Each point is a sample."
    second = (
        "<section><h2>Loss against length</h2><figure>"
        + svg.scatter(lengths, losses, notes, "length", name, "Loss against length")
        + f"<figcaption>{caption}</figcaption></figure></section>"
    )
    return f'<div class="pair">{first}{second}</div>'


# ---- worst samples -------------------------------------------------------------------------------------------------


def _table(worst: Sequence[Line], scores: Scores) -> str:
    if not worst:
        return ""
    metrics = scores.metrics
    by_letters = scores.metric is not None and scores.metric.fixed.get("unit") == "char"
    has_length = any("length" in line for line in worst)
    has_text = any(_pair(line) is not None for line in worst)
    names = [("sample", "number"), ("loss", "number")]
    names += [(METRICS[metric].title, "number") for metric in metrics]
    names += [("length", "number")] * has_length + [("file, record", "place")] + [("texts", "texts")] * has_text
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in names)
    rows = []
    for line in worst:
        cells = [("number", escape(_written(line["loss"])))]
        cells += [("number", escape(_number(line.get(metric, "")))) for metric in metrics]
        if has_length:
            cells.append(("number", escape(line.get("length", ""))))
        place = shown(str(line.get("system", line.get("file", ""))))
        cells.append(("place", f"{escape(_shortened(place))}, {escape(line.get('record', ''))}"))
        if has_text:
            cells.append(("texts", _said(line, by_letters)))
        name = f'<th scope="row" class="number">{escape(line.get("index", ""))}</th>'
        rows.append("<tr>" + name + "".join(f'<td class="{kind}">{content}</td>' for kind, content in cells) + "</tr>")
    remark = REMARKS["target" if any("target" in line for line in worst) else "reference"] if has_text else ""
    return (
        "<section><h2>Worst samples</h2>"
        f'<p class="muted" id="worst">The {len(rows)} samples with the largest loss.{remark}</p>'
        '<div class="scroll"><table aria-describedby="worst">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


REMARKS = {
    "target": " Where a text departs from the other, it is marked.",
    "reference": " Words of the reference stand above those of the hypothesis: substituted, left out, added.",
}


def _number(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def _written(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) and abs(loss) < 1e6 else svg.short(loss)


LONGEST = 600
# Of longer texts the beginning is aligned.
LONGEST_COMPARED = 10_000


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _pair(line: Line) -> tuple[str | None, list[str]] | None:
    """Return what was said and what should have been: from CTC, or the texts that were compared."""
    text = line.get("text", line.get("hypothesis"))
    targets = line.get("target", line.get("reference", line.get("references")))
    if text is None and targets is None:
        return None
    is_one = "target" not in line and "reference" in line
    several = [targets]
    if isinstance(targets, list) and not is_one and not all(isinstance(item, int) for item in targets):
        several = targets
    return (None if text is None else _plain(text)), [_plain(target) for target in several if target is not None][:4]


def _plain(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, (int, str)) for item in value):
        value = " ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:LONGEST_COMPARED]


def _said(line: Line, by_letters: bool = False) -> str:
    pair = _pair(line)
    if pair is None:
        return ""
    text, targets = pair
    if text is not None and targets and "text" not in line and "target" not in line:
        place, content = aligned(units(text, by_letters), [units(target, by_letters) for target in targets])
        others = [escape(_shortened(target)) for number, target in enumerate(targets) if number != place]
        rows = [("reference, hypothesis", content), *(("reference", other) for other in others)]
    else:
        text, targets = None if text is None else _shortened(text), [_shortened(target) for target in targets]
        rows = [("target" if "target" in line else "reference", escape(target)) for target in targets]
        if text is not None:
            name = "decoded" if "text" in line else "hypothesis"
            rows.append((name, escape(text)))
            if targets:
                rows[0], rows[-1] = (rows[0][0], _differing(targets[0], text)), (name, _differing(text, targets[0]))
    items = "".join(f"<dt>{name}</dt><dd>{content}</dd>" for name, content in rows)
    return f'<dl class="said">{items}</dl>'


def _differing(text: str, other: str) -> str:
    """Return the text, with what the other one lacks marked."""
    parts = []
    matcher = difflib.SequenceMatcher(None, text, other, autojunk=False)
    for kind, start, stop, _, _ in matcher.get_opcodes():
        piece = escape(text[start:stop])
        parts.append(piece if kind == "equal" or not piece else f"<mark>{piece}</mark>")
    return "".join(parts)


# ---- emissions -----------------------------------------------------------------------------------------------------


def _emissions(scores: Scores, count: int, data: Sequence[str]) -> str:
    worst = scores.worst[:count]
    if scores.loss is None or scores.loss.name != "ctc" or not worst:
        return ""
    found: dict[int, Emission] = {}
    notes = []
    by_file: dict[str, dict[int, Line]] = defaultdict(dict)
    for position, line in enumerate(worst):
        by_file[str(line.get("file", ""))][position] = line
    for file, wanted in by_file.items():
        try:
            found.update(read_emissions(find_data(file, scores.path, data), scores.loss, wanted))
        except CommandError as error:
            reason = f"The emissions of {shown(file)} are not shown: {error}."
            notes.append(f'<p class="note">{escape(reason)}</p>')
    figures = [_figure(line, found[position]) for position, line in enumerate(worst) if position in found]
    legend = (
        '<p class="muted">Rows are the classes of the target in their order, then (set apart) others that win a frame, '
        "and the blank. Shades are probabilities; a dot marks the most likely class of each frame: the best path.</p>"
    )
    content = "".join([*notes, legend, *figures] if figures else notes)
    return f"<section><h2>Emissions of the worst lines</h2>{content}</section>"


MOST_FRAMES = 400
MOST_ROWS = 60


def _figure(line: Line, emission: Emission) -> str:
    probabilities = emission.probabilities[:MOST_FRAMES]
    if not probabilities.size:
        return ""
    best = probabilities.argmax(axis=-1).tolist()
    known = [label for label in dict.fromkeys(emission.targets) if 0 <= label < probabilities.shape[1]]
    others = [label for label in dict.fromkeys(best) if label not in set(known) and label != emission.blank]
    rows = [*known, *others][: MOST_ROWS - 1]
    strangers = [label not in set(known) for label in rows]
    if 0 <= emission.blank < probabilities.shape[1]:
        rows, strangers = [*rows, emission.blank], [*strangers, False]
    place = {label: row for row, label in enumerate(rows)}
    names = [_class_name(label, emission) for label in rows]
    title = f"Emissions of sample {line.get('index', '')}"
    picture = svg.heat_map(probabilities[:, rows].T, [place.get(label, -1) for label in best], names, strangers, title)
    cut = []
    if len(emission.probabilities) > MOST_FRAMES:
        cut.append(f"the first {MOST_FRAMES} of {len(emission.probabilities)} frames")
    if len(known) + len(others) > MOST_ROWS - 1:
        cut.append(f"the first {MOST_ROWS - 1} of {len(known) + len(others)} classes")
    remark = f" Shown: {' and '.join(cut)}." if cut else ""
    heading = (
        f"Sample {line.get('index', '')}, loss {_written(line['loss'])}, "
        f"record {line.get('record', '')} of {_shortened(shown(str(line.get('file', ''))))}.{remark}"
    )
    return f'<figure class="emission"><figcaption>{escape(heading)}{_said(line)}</figcaption>{picture}</figure>'


def _class_name(label: int, emission: Emission) -> str:
    if label == emission.blank:
        return "blank"
    if emission.classes is None:
        return str(label)
    text = emission.classes[label]
    if not text:
        return str(label)
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text.replace(" ", "␣"))
    return text if len(text) <= 12 else text[:11] + "…"
