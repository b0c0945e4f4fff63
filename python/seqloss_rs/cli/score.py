"""`seqloss score`: a loss for each sample of the files, and a summary."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .batch import Batch
from .compared import add_drawing_flags
from .errors import DataError, UsageError
from .loss import Loss, Scored
from .losses import LOSSES, loss_of
from .merge import State, settings_of
from .metrics import METRICS, TextLoss, text_loss
from .names import STANDARD_INPUT
from .names import shown as shown_name
from .options import add_flags, described, flag, given, shown
from .progress import Progress
from .read import read_file
from .summary import Summary, print_summary
from .systems import read_systems
from .texts import TextRun, add_text_flags
from .write import FORMATS, STANDARD_OUTPUT, open_writer

__all__ = ["add_arguments", "add_parser", "array_words", "run_loss"]

DESCRIPTION = """\
{title}: {help}.

A data file is a call of {function}: the arrays of an .npz have the names of its parameters
{arrays}
They are padded (N, T, ...), or ragged: X holds the values of all samples end to end, and X_offsets (N + 1,) where each
begins. {options}
The arrays texts (N,) and classes (C,) say how samples and classes are written; other arrays are left alone. An .npz is
read some samples at a time, whether it is compressed or not.
"""
LINES = """\
A .jsonl file has one sample on a line: an object with the same names, and lists as values. Other fields go into the
output as they are; what is one for all samples is set by a flag."""
TEXT_LINES = """\
A .jsonl file has one sample on a line: hypothesis, and reference or references (a list); strings, or lists of tokens
or of token ids. Other fields go into the output as they are. Plain text is given by --hyp FILE --ref FILE..., line by
line: several files of references are several references of each line, and several of hypotheses are several systems,
which are compared with the first. Without --hyp the hypotheses come from standard input, where columns with tabs
between them are several systems. All of it may be packed by gzip.

Metrics in one run have commas between them: {metrics}.
The loss of a sample is that of the first. An option that several metrics have is for all of them."""
EPILOG = """\
output:
  -o FILE writes a line for each sample: index (from 0, over all files), file, record (the line from 1, or the index in
  the arrays from 0), function, loss,
    {adds},
  the options that were set, and what else the line of the file had (under "input" where a name is taken). JSON has no
  infinity: then loss is null, and nonfinite is "inf", "-inf" or "nan"; in CSV it is inf or nan. FILE gets its name when
  it is complete, never before.

  The summary goes to standard output, with -o - to standard error: a table on a terminal, JSON elsewhere. sum, mean,
  median, p95 and max are over the finite losses; nonfinite counts the others. Losses are kept for the exact median and
  p95, in 8 bytes a sample; the rest of the memory does not grow with the files{whole}.

exit status: 0 scored, 1 bad data, 2 bad usage
"""


def add_parser(commands: Any, argv: Sequence[str]) -> None:
    """Add the command and, below it, one for each loss, and for the metrics that the arguments list."""
    parser = commands.add_parser(
        "score",
        help="a loss for each sample of data files, and a summary",
        description="Scores the samples of data files.",
    )
    losses = parser.add_subparsers(dest="loss", metavar="LOSS", required=True)
    for loss in LOSSES.values():
        _add_loss(losses, loss)
    for name in dict.fromkeys([*SHOWN_METRICS, *_metrics(argv)]):
        if name not in LOSSES:
            _add_loss(losses, text_loss(name))


METRIC_NAMES = ", ".join(METRICS).replace("rouge2, rouge3, rouge4, rouge5, rouge6, rouge7, rouge8, rouge9", "… rouge9")
SHOWN_METRICS = ("chrf", "ter", "wer", "cer", "gleu", "nltk_bleu", "f1", "exact_match")


def _metrics(argv: Sequence[str]) -> list[str]:
    """Return the list of metrics of a command line, if it has one."""
    if len(argv) < 2 or argv[0] != "score":
        return []
    names = argv[1].split(",")
    if len(names) == 1 and not names[0].startswith("-") and names[0] not in LOSSES and names[0] not in METRICS:
        raise UsageError(
            f"{names[0]!r} is no loss; they are {', '.join(LOSSES)}, and of texts, one or more with commas between "
            f"them, {METRIC_NAMES}"
        )
    unknown = [name for name in names if name not in METRICS]
    if len(names) > 1 and unknown:
        raise UsageError(f"{unknown[0]!r} is no metric of texts; they are {', '.join(METRICS)}")
    if len(set(names)) < len(names):
        raise UsageError(f"{argv[1]} names a metric twice")
    return [] if unknown else [argv[1]]


def _add_loss(losses: Any, loss: Loss) -> None:
    function = loss.documented.__name__
    description = DESCRIPTION.format(title=loss.title, help=loss.help, function=function, **array_words(loss))
    lines = TEXT_LINES.format(metrics=METRIC_NAMES) if loss.is_text else LINES
    whole = (
        ";\n  a baseline of the batch makes a file one batch, which is read whole" if "baseline" in loss.options else ""
    )
    parser = losses.add_parser(
        loss.name,
        help=loss.help.replace("%", "%%"),
        description=description + lines,
        epilog=EPILOG.format(adds=loss.adds, whole=whole),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, loss)
    parser.set_defaults(run=run)


def array_words(loss: Loss) -> dict[str, str]:
    """Return what a help says of the arrays that carry data, and of those that set options."""
    descriptions = described(loss.documented)
    width = max(len(data.name) for data in loss.data) + 6
    rows = []
    for data in loss.data:
        name = data.name if data.required else f"[{data.name}]"
        sentence = re.split(r"(?<=\.) ", descriptions.get(data.name, ""))[0].rstrip(".")
        remark = "; one array for all samples" if data.shared else ""
        rows.append(textwrap.fill(f"{f'  {name}':<{width}}{sentence}{remark}", 118, subsequent_indent=" " * width))
    words = " and ".join(name for name, option in loss.options.items() if option.several and option.words)
    numbers = " and ".join(name for name, option in loss.options.items() if option.several and not option.words)
    several = "".join(
        f"; {names} may be several {what}" for names, what in ((words, "words"), (numbers, "numbers")) if names
    )
    return {
        "arrays": "\n".join(rows),
        "options": f"An array without axes sets an option{several}.",
    }


def add_arguments(parser: argparse.ArgumentParser, loss: Loss) -> None:
    """Add what the command line of a loss has: files in, an output, and its options."""
    parser.add_argument("files", nargs="*", metavar="FILE", help=".npz or .jsonl; - is lines of JSON on standard input")
    if isinstance(loss, TextLoss):
        add_text_flags(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write a line for each sample; - is standard output")
    parser.add_argument("--state", metavar="FILE", help="write exact sums and counts, for seqloss merge")
    parser.add_argument("--format", choices=FORMATS, help="of the output (default: csv for names in .csv, else jsonl)")
    parser.add_argument(
        "--json", action=argparse.BooleanOptionalAction, help="the summary as JSON (default: not on a terminal)"
    )
    parser.add_argument("--ignore", metavar="NAME", action="append", default=[], help="leave out an array or a field")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    if isinstance(loss, TextLoss):
        add_drawing_flags(parser)
    add_flags(parser, loss.function, loss.options)


def run(arguments: argparse.Namespace) -> int:
    """Score the files of the command line."""
    return run_loss(arguments, loss_of(arguments.loss))


def run_loss(arguments: argparse.Namespace, loss: Loss) -> int:
    """Score the files by this loss."""
    options = given(arguments)
    text = TextRun(arguments, loss) if isinstance(loss, TextLoss) else None
    sources = _sources(arguments, loss, options)
    form = arguments.format or ("csv" if (arguments.output or "").endswith(".csv") else "jsonl")
    summaries: dict[str, Summary] = {}
    progress = Progress(sys.stderr, len(sources), not arguments.quiet)
    effective = dict(options)
    settings: dict[str, Any] | None = None
    count = 0
    start = time.perf_counter()
    try:
        with open_writer(arguments.output, form) as writer:
            for number, groups in enumerate(sources):
                for group in groups:
                    scored = [_score(loss, batch, options) for batch in group]
                    effective = {**group[0].options, **options}
                    if text is not None:
                        text.check(group)
                    if arguments.state is not None:
                        settings = _same_settings(settings, settings_of(loss.name, group[0], options), group[0])
                    lines = [
                        _lines(loss, batch, own, shown(effective), count)
                        for batch, own in zip(group, scored, strict=True)
                    ]
                    for fields in itertools.chain.from_iterable(zip(*lines, strict=True)):
                        writer.write(fields if text is None else text.line(fields))
                    for batch, own in zip(group, scored, strict=True):
                        keeps_rows = text is not None and text.drawing is not None
                        summaries.setdefault(batch.system, Summary(keeps_rows)).add(own)
                    count += len(scored[0].losses)
                    progress.update(number, group[0].done, count)
    finally:
        progress.clear()
    seconds = time.perf_counter() - start
    summaries = summaries or {"": Summary()}
    if arguments.state is not None:
        State.of(summaries[""], settings or settings_of(loss.name, None, options)).write(arguments.state)
    results = {name: summary.result(loss, effective, len(sources), seconds) for name, summary in summaries.items()}
    stream = sys.stderr if arguments.output == STANDARD_OUTPUT else sys.stdout
    as_json = not stream.isatty() if arguments.json is None else arguments.json
    if text is None:
        print_summary(results[""], stream, as_json)
    else:
        text.finish(summaries, results, effective, stream, as_json)
    return 0


def _same_settings(settings: dict[str, Any] | None, own: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """Return what a batch was scored with, which a state can say of all or of none."""
    for name in sorted(own.keys() | (settings or own).keys()):
        if settings is not None and settings.get(name) != own.get(name):
            message = f"is {own.get(name)} here and {settings.get(name)} before; --state needs one for all files"
            raise DataError(message, file=shown_name(batch.file), field=name)
    return own


def _sources(arguments: argparse.Namespace, loss: Loss, options: dict[str, Any]) -> list[Iterator[list[Batch]]]:
    """Return the files of the command line, each as its batches, which are one for each system."""
    hypotheses, references = getattr(arguments, "hyp", None) or [], getattr(arguments, "ref", None) or []
    if hypotheses and not references:
        raise UsageError("--hyp and --ref belong together")
    if references and arguments.files:
        raise UsageError(f"either data files or --hyp and --ref, not both: {arguments.files[0]}")
    if references and not hypotheses:
        hypotheses = [STANDARD_INPUT]
    inputs = arguments.files or [*hypotheses, *references]
    if not inputs:
        raise UsageError(
            "no data: give files, or - for standard input" + (", or --hyp and --ref" if loss.is_text else "")
        )
    if inputs.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be read only once")
    twice = next((path for place, path in enumerate(hypotheses) if path in hypotheses[:place]), None)
    if twice is not None:
        raise UsageError(f"--hyp {twice} is there twice, and systems are told apart by their names")
    _refuse_overwriting("-o", arguments.output, inputs)
    if arguments.state is not None:
        if arguments.state == STANDARD_OUTPUT or arguments.state == arguments.output:
            raise UsageError(f"--state {arguments.state}: a state needs a file of its own")
        _refuse_overwriting("--state", arguments.state, inputs)
    if references:
        return [read_systems(hypotheses, references)]
    return [([batch] for batch in read_file(path, loss, options, arguments.ignore)) for path in inputs]


def _refuse_overwriting(name: str, output: str | None, inputs: list[str]) -> None:
    for path in inputs:
        if output is not None and os.path.isfile(output) and os.path.isfile(path) and os.path.samefile(output, path):
            raise UsageError(f"{name} {output} is one of the files that are read")


def _score(loss: Loss, batch: Batch, options: dict[str, Any]) -> Scored:
    try:
        return loss.score(loss, batch, options)
    except (ValueError, TypeError) as error:
        raise _located(loss, batch, options, error) from error


def _located(loss: Loss, batch: Batch, options: dict[str, Any], error: Exception) -> DataError | UsageError:
    """Say of a record, or of a flag or an array that is one for all records, what the function says of an argument.

    The function sees a batch, and its indices are not those of the file: so the samples are tried one by one, and the
    first that is refused alone is the one.
    """
    if len(batch) > 1 and not loss.whole({**batch.options, **options}):
        for index in range(len(batch)):
            sample = batch.sample(index)
            try:
                loss.score(loss, sample, options)
            except (ValueError, TypeError) as cause:
                batch, error = sample, cause
                break
    message = str(error)
    match = re.match(r"\w+", message)
    named = "" if match is None else match[0]
    if named in options:
        return UsageError(f"{flag(named)}: {message}")
    if named in batch.options or (named in batch.arguments and named not in batch.axes):
        return DataError(message, file=shown_name(batch.file), field=named)
    if len(batch) > 1:
        place = f"{batch.record_noun}s {batch.records[0]} to {batch.records[-1]}"
    else:
        place = batch.place(0)
        message = _reindexed(batch, message)
    return DataError(message, file=shown_name(batch.file), record=place)


def _reindexed(batch: Batch, message: str) -> str:
    """Return the message about a batch of one with the sample's index in its file; in a line it has none."""
    match = None if batch.single else re.match(r"(\w+)\[0(\]\[|, ?|\])(.*)", message, re.DOTALL)
    if match is None:
        return message
    name, after, rest = match.groups()
    if batch.record_noun == "record":
        return f"{name}[{batch.records[0]}{after}{rest}"
    return f"{name}{rest}" if after == "]" else f"{name}[{rest}"


def _lines(loss: Loss, batch: Batch, scored: Scored, options: dict[str, Any], first: int) -> Iterator[dict[str, Any]]:
    """Yield what is written of the samples of a batch; those of a group have one record in the file."""
    members = len(scored.losses) // len(batch) if len(batch) else 1
    for position, value in enumerate(scored.losses):
        sample = position // members
        fields: dict[str, Any] = {
            "index": first + position,
            "file": batch.file,
            "record": batch.records[sample],
            "function": loss.function,
            "loss": float(value),
            **({"system": batch.system} if batch.system else {}),
            **scored.fields[position],
        }
        if batch.texts is not None:
            fields["target"] = batch.texts[sample]
        if options:
            fields["options"] = options
        kept = batch.kept[sample] if batch.kept else {}
        taken = {name: item for name, item in kept.items() if name in fields or name == "input"}
        fields.update((name, item) for name, item in kept.items() if name not in taken)
        yield {**fields, "input": taken} if taken else fields
