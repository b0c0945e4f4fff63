"""Sums that merge: the same bits in any order, split, thread or machine count."""

from collections.abc import Mapping
from typing import Any, Self

from . import _native
from ._types import Floats, Mask

__all__ = ["LossSum"]


class LossSum(_native.LossSum):
    """Σ w ℓ and Σ w of any number of terms, exactly.

    Numbers are added as integers, so nothing is rounded until a result is read: it is the same to the last bit in
    whatever order, in however many parts and on however many threads or machines terms were added, and it is what
    ``math.fsum`` gives for them. Threads may share one.

    It takes terms in two ways. :meth:`update` takes them as an array. And it goes where a loss takes its ``reduction``:
    the loss then returns its ``reduction="sum"``, and its terms and their weights are in here too: what is valid, in
    float64 (where ``reduction="none"`` rounds them to the width of the logits). Nothing is added if the call fails. The
    losses of single elements (:func:`mse_loss` and its kin) bring sums of blocks of 1024 elements, each rounded to
    float64.

    Parameters
    ----------
    settings : str or mapping
        What is added up, such as ``"cross_entropy|label_smoothing:0.1"``; a mapping becomes ``"key:value|key:value"``,
        sorted by key, with these marks escaped in keys and values. Sums of unlike settings do not merge.

    Attributes
    ----------
    value : float
        Σ w ℓ, correctly rounded: the float64 nearest to the exact sum (the even one of two), inf beyond all floats. NaN
        where a term is, or where there are infinities of both signs.
    weight : float
        Σ w, correctly rounded.
    mean : float
        Σ w ℓ / Σ w, correctly rounded, as the ``"mean"`` of losses is (that of CTC apart, which is over target lengths
        too); NaN where the weight is 0.
    count : int
        How many terms there are: valid steps, elements, or sequences (CTC, BLEU, ROUGE).
    nan_count, inf_count : int
        How many of the terms w ℓ are NaN, and how many are infinite.
    settings : str
        What is added up.

    Raises
    ------
    TypeError
        Where `settings` is neither a string nor a mapping.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.random.default_rng(0).normal(size=(64, 12, 5)).astype("float32")
    >>> targets, mask = logits.argmin(axis=-1), logits[..., 0] > -1
    >>> parts = [seqloss_rs.LossSum("cross_entropy") for _ in range(4)]
    >>> for i in range(64):
    ...     _ = seqloss_rs.cross_entropy_loss(logits[i], targets[i], mask=mask[i], reduction=parts[i % 4])
    >>> total = sum(reversed(parts))
    >>> total.value == seqloss_rs.cross_entropy_loss(logits, targets, mask=mask, reduction="sum")
    True
    >>> total.mean == seqloss_rs.cross_entropy_loss(logits, targets, mask=mask)
    True

    Terms that come from elsewhere:

    >>> terms = seqloss_rs.cross_entropy_loss(logits.astype("float64"), targets, reduction="none")
    >>> other = seqloss_rs.LossSum()
    >>> other.update(terms, mask=mask)
    >>> other.value == seqloss_rs.cross_entropy_loss(logits.astype("float64"), targets, mask=mask, reduction="sum")
    True

    On its way from one machine to another:

    >>> received = seqloss_rs.LossSum.from_bytes(total.to_bytes())
    >>> received == total, received.count == int(mask.sum())
    (True, True)

    References
    ----------
    Neal, "Fast exact summation using small and large superaccumulators", 2015, https://arxiv.org/abs/1505.05571
    """

    __slots__ = ()

    def __new__(cls, settings: str | Mapping[str, object] = "") -> Self:
        """Return the sum of nothing."""
        return super().__new__(cls, _signature(settings))

    def update(
        self, values: Floats | float, weights: Floats | float | None = None, *, mask: Mask | None = None
    ) -> None:
        """Add terms: Σ w ℓ, the products without rounding.

        Parameters
        ----------
        values : floats of any shape, list of such arrays, or number
            ℓ, in float16, bfloat16, float32 or float64.
        weights : floats of the shape of `values`, optional
            w; 1 if None. What has the weight 0 is no term, as if `mask` left it out.
        mask : booleans of the shape of `values`, optional
            Which terms are valid; the others are never looked at, and count nothing.

        Raises
        ------
        ValueError, TypeError
            Where an argument does not fit; nothing has been added then.
        """
        super().update(values, weights, mask=mask)

    def merge(self, other: _native.LossSum) -> None:
        """Add all that another sum holds, which stays as it is.

        Raises
        ------
        ValueError
            Where the settings differ; the message names both.
        TypeError
            Where `other` is something else.
        """
        if not isinstance(other, _native.LossSum):
            raise TypeError(f"other is {other!r}, expected a LossSum")
        super().merge(other)

    def to_bytes(self) -> bytes:
        """Return everything as bytes: versioned, with a checksum, and the same for equal sums on every machine."""
        return super().to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read what :meth:`to_bytes` returned.

        Raises
        ------
        ValueError
            Where the bytes are something else, incomplete, damaged, or of a later version.
        TypeError
            Where `data` is not bytes.
        """
        try:
            given = bytes(memoryview(data))
        except TypeError:
            raise TypeError(f"data is a {type(data).__name__}, expected bytes") from None
        return super().__new__(cls, "", given)

    @property
    def nan_count(self) -> int:
        """How many of the terms are NaN."""
        return self.special[0]

    @property
    def inf_count(self) -> int:
        """How many of the terms are infinite."""
        return self.special[1] + self.special[2]

    def __add__(self, other: object) -> Self:
        """Return a new sum of both."""
        if not isinstance(other, _native.LossSum):
            return NotImplemented
        both = type(self)(self.settings)
        both.merge(self)
        both.merge(other)
        return both

    def __radd__(self, other: object) -> Self:
        """Return a copy for 0, where ``sum`` begins."""
        if isinstance(other, int) and other == 0:
            return type(self).from_bytes(self.to_bytes())
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        """Return whether everything is equal, settings and counts included."""
        return self.equals(other) if isinstance(other, _native.LossSum) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # A sum changes.

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_bytes, (self.to_bytes(),))

    def __repr__(self) -> str:
        settings = f"settings={self.settings!r}, " if self.settings else ""
        return f"LossSum({settings}count={self.count}, value={self.value!r}, mean={self.mean!r})"


def _signature(settings: object) -> str:
    """Write settings as one string."""
    if isinstance(settings, str):
        return settings
    if isinstance(settings, Mapping):
        return "|".join(f"{_plain(key, ':')}:{_plain(settings[key])}" for key in sorted(settings, key=str))
    raise TypeError(f"settings is {settings!r}, expected a string or a mapping")


def _plain(part: object, others: str = "") -> str:
    """Write a key or a value so that it holds no mark that parts them."""
    return "".join(f"\\{letter}" if letter in "\\|" + others else letter for letter in str(part))
