"""`seqloss align`: which frames say which label of each sample's target."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import seqloss_rs

from .batch import Batch
from .losses import LOSSES, Loss, Options, Scored, score_ctc
from .score import add_arguments, run_loss
from .write import STANDARD_OUTPUT

__all__ = ["add_parser"]

DESCRIPTION = """\
Forced alignment: the best path of each target through its frames.

A data file is a call of ctc_align: the arrays of an .npz have the names of its parameters
  {arrays}
padded (N, T, ...), or ragged: X holds the values of all samples end to end, and X_offsets (N + 1,) where each begins.
An array without axes sets an option. The arrays texts (N,) and classes (C,) say how samples and classes are written;
other arrays are left alone. A .jsonl file has one sample on a line: an object with the same names, and lists as values.
"""
EPILOG = """\
output:
  A line for each sample, on standard output where -o FILE says nothing else: what seqloss score ctc writes, and
    score, the log-probability of the best path (null where there is none), and
    spans, for each label of the target: label, start, end (the first frame, and the one behind the last), score (the
    mean probability over these frames), and where the file has classes text.

  The summary is that of seqloss score ctc, and goes to standard error where the lines go to standard output.

exit status: 0 aligned, 1 bad data, 2 bad usage
"""


def score_alignment(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score CTC, and add the best path."""
    scored = score_ctc(loss, batch, options)
    effective = {**batch.options, **options}
    found = seqloss_rs.ctc_align(
        **batch.arguments, **{name: effective[name] for name in ("blank", "scores", "layout") if name in effective}
    )
    samples: Sequence[Any] = [found.spans] if batch.single else found.spans
    for fields, spans, score in zip(scored.fields, samples, np.atleast_1d(found.scores), strict=True):
        fields["score"] = float(score)
        fields["spans"] = [{**span._asdict(), **_text(batch, span.label)} for span in spans]
    return scored


def _text(batch: Batch, label: int) -> dict[str, str]:
    return {} if batch.classes is None else {"text": batch.classes[label]}


ALIGNMENT = replace(LOSSES["ctc"], score=score_alignment)


def add_parser(commands: Any) -> None:
    """Add the command."""
    arrays = ", ".join(f"{data.name}" if data.required else f"[{data.name}]" for data in ALIGNMENT.data)
    parser = commands.add_parser(
        "align",
        help="which frames say which label, for each sample of data files",
        description=DESCRIPTION.format(arrays=arrays),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, ALIGNMENT)
    parser.set_defaults(run=run, output=STANDARD_OUTPUT)


def run(arguments: argparse.Namespace) -> int:
    """Align the files of the command line."""
    return run_loss(arguments, ALIGNMENT)
