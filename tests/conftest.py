"""What the tests share: programs run in a process of their own, with a deadline."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60, database=None)
hypothesis.settings.load_profile("repeatable")

# What decides about threads and instruction sets: a test's process starts without it.
SETTINGS = ("SEQLOSS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "SEQLOSS_SIMD")

Run = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what decides about threads, and with these changes."""
    return {**{name: value for name, value in os.environ.items() if name not in SETTINGS}, **changes}


@pytest.fixture(scope="session")
def run_python() -> Run:
    """Run a program, with the tests' own modules importable; fail if it takes longer than the deadline."""

    def run(
        source: str,
        *arguments: str,
        deadline: float = 60,
        check: bool = True,
        python: tuple[str, ...] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        here = str(Path(__file__).parent)
        done = subprocess.run(
            [sys.executable, *python, "-c", textwrap.dedent(source), *arguments],
            env=clean_environment(PYTHONPATH=here, PYTHONDONTWRITEBYTECODE="1", **environment),
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
