"""Threads, instruction sets, versions."""

import platform
from typing import TypedDict

import numpy as np

from . import _native

__all__ = ["get_num_threads", "set_num_threads", "show_config"]


class Config(TypedDict):
    """What :func:`show_config` returns."""

    version: str
    simd: str
    threads: int
    threads_source: str
    python: str
    numpy: str


def set_num_threads(threads: int) -> None:
    """Set how many threads a call may use, for the whole process.

    This comes before the environment variables ``SEQLOSS_NUM_THREADS``, ``RAYON_NUM_THREADS`` and ``OMP_NUM_THREADS``,
    which come (in this order) before what affinity and cgroup allow. Results have the same bits for any number of
    threads.

    Parameters
    ----------
    threads : int
        From 1 to 256. The calling thread counts.

    Raises
    ------
    ValueError
        For any other number.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.set_num_threads(2)
    >>> seqloss_rs.get_num_threads()
    2
    """
    _native.set_num_threads(threads)


def get_num_threads() -> int:
    """Return how many threads a call may use; small calls stay on the calling thread.

    A forked child for which nothing is set uses 1.

    Returns
    -------
    int

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.get_num_threads() >= 1
    True
    """
    threads: int = _native.num_threads()[0]
    return threads


def show_config() -> Config:
    """Return what a report should say of this installation.

    Returns
    -------
    dict
        ``version`` of this package, ``simd`` (the instruction set in use; ``SEQLOSS_SIMD=baseline|avx2|avx512`` forces
        it down), ``threads`` and ``threads_source`` (what set their number), the versions of ``python`` and ``numpy``.

    Examples
    --------
    >>> import seqloss_rs
    >>> sorted(seqloss_rs.show_config())
    ['numpy', 'python', 'simd', 'threads', 'threads_source', 'version']
    """
    threads, source = _native.num_threads()
    return {
        "version": _native.__version__,
        "simd": _native.simd(),
        "threads": threads,
        "threads_source": source,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
