"""`seqloss align`: which frames say which label of each sample's target."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import seqloss_rs

from .batch import Batch
from .loss import Loss, Options, Scored
from .losses import LOSSES
from .score import add_arguments, array_words, run_loss
from .write import STANDARD_OUTPUT

__all__ = ["ALIGNMENT", "add_parser"]

DESCRIPTION = """\
Forced alignment: the best path of each target through its frames.

A data file is a call of ctc_align: the arrays of an .npz have the names of its parameters
{arrays}
They are padded (N, T, ...), or ragged: X holds the values of all samples end to end, and X_offsets (N + 1,) where each
begins. {options}
The arrays texts (N,) and classes (C,) say how samples and classes are written; other arrays are left alone. A .jsonl
file has one sample on a line: an object with the same names, and lists as values. Other fields go into the output as
they are.
"""
EPILOG = """\
output:
  A line for each sample, on standard output where -o FILE says nothing else:
    index       from 0, over all files
    file        the data file
    record      the line of the file from 1, or the index in its arrays from 0
    function    "ctc_align"
    loss        minus the log-probability of the target over all its paths: ctc_loss without any of its variants
    feasible    whether there is a path at all
    length      the labels of the target
    frames      the frames of the sample
    text        where the file has classes: the classes that are most likely in each frame, read without the target
    target      where the file has classes or texts: the target as it is written
    score       the log-probability of the best path; null where there is none
    spans       the labels of the target in their order, each with
                label, the class; start, its first frame; end, the frame behind its last one; score, its mean
                probability over these frames; and, where the file has classes, text, how it is written
    options     those that were set
  and what else the line of the file had (under "input" where a name is taken). JSON has no infinity: then loss is null,
  and nonfinite says "inf", "-inf" or "nan".

  The summary is over loss, as that of seqloss score ctc, and goes to standard error where the lines go to standard
  output.

exit status: 0 aligned, 1 bad data, 2 bad usage
"""


def score_alignment(loss: Loss, batch: Batch, options: Options) -> Scored:
    """Score CTC, and add the best path."""
    scored = CTC.score(CTC, batch, options)
    found = seqloss_rs.ctc_align(**batch.arguments, **{**batch.options, **options})
    samples: Sequence[Any] = [found.spans] if batch.single else found.spans
    for fields, spans, score in zip(scored.fields, samples, np.atleast_1d(found.scores), strict=True):
        fields["score"] = float(score)
        fields["spans"] = [{**span._asdict(), **_text(batch, span.label)} for span in spans]
    return scored


def _text(batch: Batch, label: int) -> dict[str, str]:
    return {} if batch.classes is None else {"text": batch.classes[label]}


CTC = LOSSES["ctc"]
TAKEN = inspect.signature(seqloss_rs.ctc_align).parameters
ALIGNMENT = replace(
    CTC,
    function="ctc_align",
    data=tuple(argument for argument in CTC.data if argument.name in TAKEN),
    score=score_alignment,
)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "align",
        help="which frames say which label, for each sample of data files",
        description=DESCRIPTION.format(**array_words(ALIGNMENT)),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, ALIGNMENT)
    parser.set_defaults(run=run, output=STANDARD_OUTPUT)


def run(arguments: argparse.Namespace) -> int:
    """Align the files of the command line."""
    return run_loss(arguments, ALIGNMENT)
