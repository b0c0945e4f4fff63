"""The emissions of single lines, read from their data files again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .batch import Batch
from .errors import DataError
from .loss import Loss
from .names import STANDARD_INPUT
from .read import read_file

__all__ = ["Emission", "Line", "find_data", "read_emissions"]

Line = dict[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Emission:
    """The probabilities of a line's classes in its frames."""

    probabilities: Floats
    targets: list[int]
    blank: int
    classes: Sequence[str] | None


def read_emissions(path: str, loss: Loss, wanted: Mapping[int, Line]) -> dict[int, Emission]:
    """Return the emissions of some lines of a data file.

    Parameters
    ----------
    path : str
        The data file.
    loss : Loss
        The one that scored it.
    wanted : dict of int to dict
        Lines of the output that come from this file, by any key.

    Returns
    -------
    dict of int to Emission
        With the same keys.

    Raises
    ------
    DataError
        Where the file cannot be read, or lacks one of the lines.
    """
    by_record: dict[int, list[int]] = defaultdict(list)
    for position, line in wanted.items():
        if isinstance(line.get("record"), int):
            by_record[line["record"]].append(position)
    options = _options(next(iter(wanted.values())), loss)
    emissions: dict[int, Emission] = {}
    for batch in read_file(path, loss, options):
        for index, record in enumerate(batch.records):
            for position in by_record.get(record, ()):
                _check_unchanged(loss, batch, index, options, wanted[position])
                sample = batch.sample(index)
                effective = {**sample.options, **options}
                emissions[position] = _emission(sample.arguments, sample.single, effective, sample.classes)
        if len(emissions) == len(wanted):
            break
    missing = [str(line.get("record")) for position, line in wanted.items() if position not in emissions]
    if missing:
        raise DataError(f"there is no record {', '.join(missing)}", file=path)
    return emissions


def _check_unchanged(loss: Loss, batch: Batch, index: int, options: Mapping[str, Any], line: Line) -> None:
    """Refuses to draw other emissions than those that were scored."""
    try:
        value = float(loss.score(loss, batch.sample(index), options).losses[0])
    except (ValueError, TypeError) as error:
        raise DataError(f"does not fit: {error}", file=batch.file, record=batch.place(index)) from None
    if not np.isclose(value, line["loss"], rtol=1e-4, atol=1e-6, equal_nan=True):
        raise DataError(
            f"its loss is {value:.6g}, and {line['loss']:.6g} in the lines: the data is not what was scored",
            file=batch.file,
            record=batch.place(index),
        )


def find_data(file: str, beside: str, data: Sequence[str]) -> str:
    """Find where a data file is now.

    Parameters
    ----------
    file : str
        What the lines call it.
    beside : str
        The file with the lines.
    data : sequence of str
        Where data files are said to be; the one of the same name is meant, or the only one.

    Raises
    ------
    DataError
        If there is no such file.
    """
    name = os.path.basename(file)
    said = [path for path in data if os.path.basename(path) == name] or list(data)[: len(data) == 1]
    if not said and file == STANDARD_INPUT:
        raise DataError("they came from standard input; --data says which file has them")
    for path in said or [file, os.path.join(os.path.dirname(beside), name)]:
        # The name comes out of a file, so that nothing but a plain file is opened for it.
        if "\0" not in path and os.path.isfile(path):
            return path
    raise DataError("there is no such file; --data says where it is")


def _options(line: Line, loss: Loss) -> dict[str, Any]:
    """Return the options that the line was scored with, as far as they are of the right kind.

    What has no default may be of several kinds, and is for the function to judge.
    """
    options = line.get("options")
    if not isinstance(options, dict):
        return {}
    defaults = {name: option.default for name, option in loss.options.items()}
    return {
        name: value
        for name, value in options.items()
        if name in defaults and (defaults[name] is None or type(value) is type(defaults[name]))
    }


def _emission(arguments: Mapping[str, Any], single: bool, options: Mapping[str, Any], classes: Any) -> Emission:
    logits, targets = arguments["logits"], arguments["targets"]
    if not single:
        logits = logits[:, 0] if options.get("layout") == "TNC" and not isinstance(logits, list) else logits[0]
        targets = targets[0]
    frames, labels = arguments.get("input_lengths"), arguments.get("target_lengths")
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits if frames is None else logits[: int(np.ravel(frames)[0])]
    targets = np.asarray(targets) if labels is None else np.asarray(targets)[: int(np.ravel(labels)[0])]
    if options.get("scores", "logits") == "logits" and logits.size:
        logits = logits / options.get("temperature", 1.0)
        logits = logits - logits.max(axis=-1, keepdims=True)
        logits = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return Emission(np.exp(np.minimum(logits, 0.0)), targets.tolist(), int(options.get("blank", 0)), classes)
