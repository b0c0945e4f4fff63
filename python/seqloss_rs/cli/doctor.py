"""`seqloss doctor`: what runs here, and whether each loss gives a value that is known."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

import seqloss_rs

from .loss import KnownValue, Loss
from .losses import LOSSES
from .summary import print_table
from .write import to_json

__all__ = ["add_parser"]

# Float64 all through: what is further off than this is not rounding.
TOLERANCE = 1e-12


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="versions, processor, threads, and a check of each loss",
        description="Says what runs here (versions, SIMD level, threads and where their number comes from), and checks "
        "each loss against a value that is known from its definition. Exit status: 0 all is well, 1 a loss is off.",
    )
    parser.add_argument("--json", action=argparse.BooleanOptionalAction, help="as JSON (default: not on a terminal)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration and the checks."""
    checks = {loss.name: _check(loss, loss.known) for loss in LOSSES.values() if loss.known is not None}
    well = all(check["passed"] for check in checks.values())
    configuration = seqloss_rs.show_config()
    if not sys.stdout.isatty() if arguments.json is None else arguments.json:
        print(to_json({**configuration, "checks": checks, "passed": well}))
        return 0 if well else 1
    rows = [(name.replace("_", " "), str(value)) for name, value in configuration.items()]
    rows += [(name, "ok" if check["passed"] else _complaint(check)) for name, check in checks.items()]
    print_table(rows, sys.stdout)
    return 0 if well else 1


def _check(loss: Loss, known: KnownValue) -> dict[str, Any]:
    expected = known.value
    try:
        value = float(getattr(seqloss_rs, loss.function)(**known.arguments))
    except Exception as error:  # whatever goes wrong is what this command is asked to report
        return {"passed": False, "expected": expected, "error": f"{type(error).__name__}: {error}"}
    passed = math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return {"passed": passed, "expected": expected, "value": value, "known": known.source}


def _complaint(check: dict[str, Any]) -> str:
    return f"FAILED: expected {check['expected']!r}, got {check.get('value', check.get('error'))!r}"
