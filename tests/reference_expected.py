"""What expected losses should be: sums over every hypothesis, and the formulas of papers, in NumPy and in torch."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ids = Sequence[int]


def ngrams(tokens: Ids, order: int) -> Counter[tuple[int, ...]]:
    """How often each n-gram occurs."""
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def clips(references: Sequence[Ids], order: int) -> Counter[tuple[int, ...]]:
    """The most that one reference has of each n-gram."""
    most: Counter[tuple[int, ...]] = Counter()
    for reference in references:
        most |= ngrams(reference, order)
    return most


def softmax(logits: Array) -> Array:
    """Probabilities of the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs: Array = powers / powers.sum(axis=-1, keepdims=True)
    return probs


def through_softmax(probs: Array, slopes: Array) -> Array:
    """Slopes with respect to logits from those with respect to probabilities."""
    result: Array = probs * (slopes - (probs * slopes).sum(axis=-1, keepdims=True))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Every hypothesis


def expectation(probs: Array, score: Callable[[Array], Array]) -> tuple[float, Array]:
    """The expectation of a function of hypotheses, and its slopes, by the sum over all of them, which are rows.

    There is one more token than `probs` has, of probability 0: a slope is what a token is worth more than
    that one, which no reference has.
    """
    steps, classes = probs.shape
    probs = np.hstack([probs, np.zeros((steps, 1))])
    hypotheses = np.indices((classes + 1,) * steps).reshape(steps, -1).T
    factors = np.pad(probs[np.arange(steps), hypotheses], ((0, 0), (1, 1)), constant_values=1.0)
    # Products of all factors but one, without a division.
    before = np.cumprod(factors, axis=1)[:, :-2]
    behind = np.cumprod(factors[:, ::-1], axis=1)[:, -3::-1]
    worth = score(hypotheses)
    slopes = [
        np.bincount(tokens, worth * others, classes + 1)
        for tokens, others in zip(hypotheses.T, (before * behind).T, strict=True)
    ]
    return float(worth @ factors.prod(axis=1)), np.array([row[:-1] - row[-1] for row in slopes])


def clipped_matches(hypotheses: Array, references: Sequence[Ids], order: int) -> Array:
    """Clipped matches of each of the hypotheses, which are rows."""
    total = np.zeros(len(hypotheses))
    if order <= hypotheses.shape[1]:
        windows = np.lib.stride_tricks.sliding_window_view(hypotheses, order, axis=1)
        for ngram, clip in clips(references, order).items():
            total += np.minimum((windows == ngram).all(axis=2).sum(axis=1), clip)
    return total


def expected_matches(probs: Array, references: Sequence[Ids], order: int) -> tuple[float, Array]:
    """Expected clipped matches and their slopes."""
    return expectation(probs, lambda hypotheses: clipped_matches(hypotheses, references, order))


def bleu(
    steps: int, references: Sequence[Ids], matches: Sequence[float], more: float, max_order: int
) -> tuple[float, list[float]]:
    """BLEU of expected matches, and its slopes with respect to them."""
    closest = min((len(reference) for reference in references), key=lambda length: (abs(length - steps), length))
    pairs = []
    for index, found in enumerate(matches[:max_order]):
        added = more if index else 0.0
        total = max(steps - index, 0) + added
        if total == 0:
            break
        pairs.append((found + added, total))
    if not steps or any(found == 0 for found, _ in pairs):
        return 0.0, [0.0] * max_order
    penalty = 1.0 if steps >= closest else np.exp(1 - closest / steps)
    score = penalty * np.exp(sum(np.log(found / total) for found, total in pairs) / len(pairs))
    return score, [score / len(pairs) / found for found, _ in pairs] + [0.0] * (max_order - len(pairs))


# ---------------------------------------------------------------------------------------------------------------------
# Papers' formulas, with the operations of NumPy or torch


def windows(xp: Any, probs: Any, ngram: tuple[int, ...]) -> Any:
    """The probability of an n-gram at every window."""
    count = len(probs) - len(ngram) + 1
    product = xp.ones(count)
    for place, token in enumerate(ngram):
        product = product * probs[place : place + count, token]
    return product


def bag_of_ngrams(xp: Any, probs: Any, references: Sequence[Ids], order: int) -> Any:
    """Shao et al., 2020: Σ_g min(S_g, c_g)."""
    total = xp.zeros(())
    if order <= len(probs):
        for ngram, clip in clips(references, order).items():
            total = total + xp.minimum(windows(xp, probs, ngram).sum(), clip * xp.ones(()))
    return total


def zhukov_kretov(xp: Any, probs: Any, references: Sequence[Ids], order: int) -> Any:
    """Zhukov and Kretov, 2017: Σ_g Σ_i M min(1, c_g / (1 + S_g − M))."""
    total = xp.zeros(())
    if order <= len(probs):
        for ngram, clip in clips(references, order).items():
            product = windows(xp, probs, ngram)
            others = 1 + product.sum() - product
            total = total + (product * xp.minimum(xp.ones(len(product)), clip / others)).sum()
    return total


def soft_subsequence(xp: Any, probs: Any, reference: Ids, gamma: float) -> Any:
    """The smooth longest common subsequence, less what it is without a match."""

    def run(matches: Any) -> Any:
        before = [xp.zeros(())] * (len(reference) + 1)
        for step in range(len(probs)):
            row = [xp.zeros(())]
            for place in range(len(reference)):
                ways = xp.stack([before[place + 1], row[place], before[place] + matches[step][place]])
                most = xp.detach(ways).max()
                row.append(most + gamma * xp.log(xp.exp((ways - most) / gamma).sum()))
            before = row
        return before[-1]

    own = [[probs[step, token] for token in reference] for step in range(len(probs))]
    return run(own) - run([[xp.zeros(())] * len(reference)] * len(probs))


def eisl(xp: Any, probs: Any, reference: Ids, weights: Sequence[float], temperature: float = 1.0) -> Any:
    """Liu et al., 2022, without noise: a convolution of log-probabilities with diagonals."""
    steps, places = len(probs), len(reference)
    longest = min(steps, places)
    fitting = {order: weight for order, weight in enumerate(weights, 1) if order <= longest and weight}
    total = xp.zeros(())
    if not longest:
        return total + (20 if places else 0)
    for order, weight in (fitting or {longest: 1.0}).items():
        logs = xp.relu(xp.log(probs[:, list(reference)]) + 20) - 20
        counts = steps - order + 1, places - order + 1
        mean = sum(logs[k : k + counts[0], k : k + counts[1]] for k in range(order)) / order
        powers = xp.exp(mean / temperature)
        shares = powers / powers.sum(0)
        total = total - weight / sum(fitting.values() or [1.0]) * (shares * mean).sum(0).mean()
    return total


class Numpy:
    """The operations of formulas in NumPy."""

    ones = staticmethod(np.ones)
    zeros = staticmethod(np.zeros)
    minimum = staticmethod(np.minimum)
    stack = staticmethod(np.stack)
    log = staticmethod(np.log)
    exp = staticmethod(np.exp)

    @staticmethod
    def relu(x: Any) -> Any:
        return np.maximum(x, 0.0)

    @staticmethod
    def detach(x: Any) -> Any:
        return x
