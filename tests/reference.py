"""Every numeric loss as its definition says it, in plain NumPy and plain loops; never optimised.

A batch is a list here, with one entry a sequence, so that raggedness needs no special words: padding is taken off
before an array comes here. A loss is computed in two steps: its `Terms`, then `reduce`, the one place where they are
added up. Everything is float64, whatever the library was given.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it has no stubs
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Arrays = Sequence[ArrayLike]


@dataclass(frozen=True)
class Terms:
    """The terms of a loss, one array a sequence.

    `values` are the terms as `reduction="none"` shows them (weighted, 0 where there is nothing valid), `weights` what a
    mean divides by (0 where there is nothing valid), `counts` what the mean of one sequence divides by.
    `mean_over_sequences` is CTC's habit: each sequence is divided by its own count, and the mean is over sequences.
    """

    values: list[Array]
    weights: list[Array]
    counts: list[float]
    mean_over_sequences: bool = False


def reduce(terms: Terms, reduction: str, normalizer: float | None = None) -> Any:
    """The reduced value: a list of arrays, an array of N numbers, or one number."""
    if normalizer is not None:
        assert reduction in ("mean", "sum")
        return divide(total(terms.values), normalizer)
    if reduction == "none":
        return terms.values
    sums = np.array([total([values]) for values in terms.values])
    if reduction == "sequence":
        return sums
    means = np.array([divide(value, count) for value, count in zip(sums, terms.counts, strict=True)])
    if reduction == "sequence_mean":
        return means
    if reduction == "sum":
        return total(terms.values)
    if reduction == "mean" and terms.mean_over_sequences:
        return divide(total([means]), len(means))
    if reduction == "mean":
        weight = total(terms.weights)
        # As in torch, also where something is left above the line (the smoothed part of a target whose class weighs 0).
        return divide(total(terms.values), weight) if weight else math.nan
    if reduction == "batch_mean":
        return divide(total(terms.values), len(terms.values))
    raise AssertionError(f"no such reduction: {reduction}")


def total(arrays: Sequence[ArrayLike]) -> float:
    """The sum of all numbers of all arrays."""
    return float(sum((np.sum(np.asarray(array), dtype=np.longdouble) for array in arrays), np.longdouble(0)))


def divide(numerator: float, denominator: float) -> float:
    """A quotient in which 0 / 0 is NaN rather than an exception."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))


# ---------------------------------------------------------------------------------------------------------------------
# Pointwise


Curve = Callable[..., float]


def mse_terms(predictions: Arrays, targets: Arrays, **given: Any) -> Terms:
    """Squared differences."""
    return pointwise_terms(lambda x, y: (x - y) ** 2, predictions, targets, **given)


def mae_terms(predictions: Arrays, targets: Arrays, **given: Any) -> Terms:
    """Absolute differences."""
    return pointwise_terms(lambda x, y: abs(x - y), predictions, targets, **given)


def huber_terms(predictions: Arrays, targets: Arrays, *, delta: float = 1.0, **given: Any) -> Terms:
    """A parabola and two lines."""

    def curve(x: float, y: float) -> float:
        e = abs(x - y)
        return e * e / 2 if e <= delta else delta * (e - delta / 2)

    return pointwise_terms(curve, predictions, targets, **given)


def smooth_l1_terms(predictions: Arrays, targets: Arrays, *, beta: float = 1.0, **given: Any) -> Terms:
    """A parabola and two lines of slope 1."""

    def curve(x: float, y: float) -> float:
        e = abs(x - y)
        return e * e / 2 / beta if e < beta else e - beta / 2

    return pointwise_terms(curve, predictions, targets, **given)


def log_cosh_terms(predictions: Arrays, targets: Arrays, **given: Any) -> Terms:
    """The logarithm of the hyperbolic cosine."""
    return pointwise_terms(lambda x, y: math.log(math.cosh(x - y)), predictions, targets, **given)


def msle_terms(predictions: Arrays, targets: Arrays, **given: Any) -> Terms:
    """Squared differences of logarithms."""
    return pointwise_terms(lambda x, y: (math.log1p(x) - math.log1p(y)) ** 2, predictions, targets, **given)


def mape_terms(
    predictions: Arrays,
    targets: Arrays,
    *,
    eps: float = float(np.finfo(np.float64).eps),
    factor: float = 1.0,
    **given: Any,
) -> Terms:
    """Differences over targets."""
    return pointwise_terms(lambda x, y: factor * abs(x - y) / max(abs(y), eps), predictions, targets, **given)


def smape_terms(
    predictions: Arrays, targets: Arrays, *, scale: float = 2.0, zero_division: float = 0.0, **given: Any
) -> Terms:
    """Differences over the mean of both sizes, times a half of the scale."""

    def curve(x: float, y: float) -> float:
        size = (abs(x) + abs(y)) / 2
        return scale / 2 * abs(x - y) / size if size else zero_division

    return pointwise_terms(curve, predictions, targets, **given)


def quantile_terms(
    predictions: Arrays, targets: Arrays, *, quantile: Any = 0.5, factor: float = 1.0, **given: Any
) -> Terms:
    """The pinball, of one quantile, or of one for each number of the last axis, which targets lack."""

    def curve(x: float, y: float, q: float) -> float:
        return factor * max(q * (y - x), (q - 1) * (y - x))

    return pointwise_terms(curve, predictions, targets, third=[quantile] * len(predictions), **given)


def poisson_nll_terms(
    predictions: Arrays,
    targets: Arrays,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    **given: Any,
) -> Terms:
    """Minus the logarithm of a Poisson probability, without or with an approximation of the factorial."""

    def curve(x: float, y: float) -> float:
        value = math.exp(x) - y * x if log_input else x - y * math.log(x + eps)
        return value + (y * math.log(y) - y + math.log(2 * math.pi * y) / 2 if full and y > 1 else 0)

    return pointwise_terms(curve, predictions, targets, **given)


def gaussian_nll_terms(
    predictions: Arrays, targets: Arrays, variances: Arrays, *, full: bool = False, eps: float = 1e-6, **given: Any
) -> Terms:
    """Minus the logarithm of a normal density, without or with its constant."""

    def curve(x: float, y: float, variance: float) -> float:
        v = max(variance, eps)
        return (math.log(v) + (x - y) ** 2 / v + (math.log(2 * math.pi) if full else 0)) / 2

    return pointwise_terms(curve, predictions, targets, third=variances, **given)


def pointwise_terms(
    curve: Curve,
    predictions: Arrays,
    targets: Arrays,
    mask: Arrays | None = None,
    weights: Arrays | None = None,
    nan: str = "propagate",
    third: Arrays | None = None,
) -> Terms:
    """A curve of each pair (or triple); what lacks the last axis holds for all of it."""
    values, divisors, counts = [], [], []
    for index, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        x = np.asarray(prediction, np.float64)
        inputs = [x, spread(np.asarray(target, np.float64), x.shape)]
        if third is not None:
            inputs.append(np.broadcast_to(np.asarray(third[index], np.float64), x.shape))
        valid, weight = np.ones(x.shape, bool), np.ones(x.shape)
        if mask is not None:
            valid = spread(np.asarray(mask[index], bool), x.shape)
        if nan == "omit":
            valid = valid & ~np.any([np.isnan(numbers) for numbers in inputs], axis=0)
        if weights is not None:
            weight = spread(np.asarray(weights[index], np.float64), x.shape)
        value, divisor = np.zeros(x.shape), np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            if valid[place]:
                numbers = [float(numbers[place]) for numbers in inputs]
                value[place] = weight[place] * (math.nan if np.isnan(numbers).any() else curve(*numbers))
                divisor[place] = weight[place]
        values.append(value)
        divisors.append(divisor)
        counts.append(float(valid.sum()))
    return Terms(values, divisors, counts)


def valid_pairs(
    predictions: Arrays, targets: Arrays, mask: Arrays, weights: Arrays
) -> Iterator[tuple[int, float, float, float]]:
    """Sequence, prediction, target and weight of every pair that is neither masked nor has a NaN in it."""
    for index, rows in enumerate(zip(predictions, targets, mask, weights, strict=True)):
        for x, y, valid, weight in zip(*(np.asarray(row).tolist() for row in rows), strict=True):
            if valid and not math.isnan(x) and not math.isnan(y):
                yield index, x, y, weight


def scales(past: Arrays, seasonality: int, curve: Curve) -> Array:
    """The mean of the curve of all differences of two numbers that are a season apart."""
    means = []
    for row in past:
        series = np.asarray(row).tolist()
        differences = [series[s] - series[s - seasonality] for s in range(seasonality, len(series))]
        terms = [curve(difference) for difference in differences if not math.isnan(difference)]
        means.append(sum(terms) / len(terms))
    return np.array(means)


def scaled_errors(series: dict[str, Arrays], past: Arrays, seasonality: int, curve: Curve) -> Array:
    """The weighted mean of the curve of the errors of each series, over its scale."""
    sums = np.zeros(len(past))
    weights = np.zeros(len(past))
    for index, x, y, weight in valid_pairs(**series):
        sums[index] += weight * curve(x - y)
        weights[index] += weight
    return np.asarray(sums / weights / scales(past, seasonality, curve))


def spread(array: Array, shape: tuple[int, ...]) -> Array:
    """(T,) or (T, D) as (T, D)."""
    if array.ndim < len(shape):
        array = array[..., None]
    return np.broadcast_to(array, shape)


# ---------------------------------------------------------------------------------------------------------------------
# Cross-entropy


def log_probabilities(row: ArrayLike, scores: str) -> Array:
    """The log-probabilities that one row of scores stands for."""
    x = np.asarray(row, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scores == "log_probs":
            return x
        if scores == "probs":
            return np.asarray(np.log(x))
        largest = np.max(x)
        shifted: Array = x - largest
        return np.asarray(shifted - np.log(np.sum(np.exp(shifted))))


def cross_entropy_terms(
    logits: Arrays,
    targets: Arrays,
    *,
    scores: str = "logits",
    mask: Arrays | None = None,
    weights: Arrays | None = None,
    class_weights: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Terms:
    """−Σ_c w_c y'_c log p_c for each step, where y' is the target smoothed by torch's rule, y (1 − ε) + ε / C."""
    values, divisors, counts = [], [], []
    for index, (sequence, goals) in enumerate(zip(logits, targets, strict=True)):
        rows, goals = np.asarray(sequence, np.float64), np.asarray(goals)
        steps, classes = rows.shape
        by_class = np.ones(classes) if class_weights is None else np.asarray(class_weights, np.float64)
        value, divisor, count = np.zeros(steps), np.zeros(steps), 0
        for step in range(steps):
            if mask is not None and not np.asarray(mask[index])[step]:
                continue
            weight = 1.0 if weights is None else float(np.asarray(weights[index])[step])
            if goals.ndim == 1:
                goal = int(goals[step])
                if goal == ignore_index:
                    continue
                distribution = np.zeros(classes)
                distribution[goal] = 1.0
                divisor[step] = weight * by_class[goal]
            else:
                distribution = goals[step].astype(np.float64)
                divisor[step] = weight
            count += 1
            smoothed = distribution * (1 - label_smoothing) + label_smoothing / classes
            log_p = log_probabilities(rows[step], scores)
            parts = [
                by_class[c] * smoothed[c] * log_p[c] if smoothed[c] != 0 or np.isnan(log_p[c]) else 0.0
                for c in range(classes)
            ]
            value[step] = weight * -math.fsum(parts) if np.all(np.isfinite(parts)) else weight * -sum(parts)
        values.append(value)
        divisors.append(divisor)
        counts.append(float(count))
    return Terms(values, divisors, counts)


@dataclass(frozen=True)
class TokenTruth:
    """What a step says of its target: 0 where the step is not valid, and -1 for places."""

    log_probs: Array
    entropy: Array
    argmax: Array
    rank: Array
    max_log_probs: Array


def token_truth(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    softcap: float | None = None,
) -> TokenTruth:
    """Log-probability and rank of each target of one sequence, with entropy and argmax of the distribution (nats).

    A class comes before another if its logit is larger, or equal and its index lower. Probabilities are the softmax of
    x / temperature, or of cap tanh(x / cap) / temperature.
    """
    rows, goals = np.asarray(logits).astype(np.float64), np.asarray(targets)
    steps = len(rows)
    valid = goals != ignore_index
    if mask is not None:
        valid &= np.asarray(mask, bool)
    truth = TokenTruth(np.zeros(steps), np.zeros(steps), np.full(steps, -1), np.full(steps, -1), np.zeros(steps))
    for step in np.flatnonzero(valid):
        row, goal = rows[step], int(goals[step])
        if softcap is not None:
            row = softcap * np.tanh(row / softcap)
        row = row / temperature
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        log_p = log_probabilities(row, "logits")
        truth.log_probs[step] = log_p[goal]
        truth.entropy[step] = -math.fsum(math.exp(value) * value for value in log_p if value > -math.inf)
        truth.argmax[step], truth.rank[step] = order[0], order.index(goal)
        truth.max_log_probs[step] = log_p[order[0]]
    return truth


# ---------------------------------------------------------------------------------------------------------------------
# Connectionist temporal classification


def collapse(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """What a path says: repeats merged, then blanks dropped."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def ctc_by_enumeration(log_p: ArrayLike, target: ArrayLike, blank: int) -> tuple[float, Array]:
    """The loss of one sequence, and the posterior (T, C), from the sum over all Cᵀ paths.

    An impossible target has the loss infinity and a posterior of zeros.
    """
    rows = np.asarray(log_p, np.float64)
    steps, classes = rows.shape
    wanted = tuple(int(label) for label in np.asarray(target).ravel())
    probability, occupancy = [], np.zeros((steps, classes))
    for path in itertools.product(range(classes), repeat=steps):
        if collapse(path, blank) == wanted:
            weight = math.exp(math.fsum(rows[step, label] for step, label in enumerate(path)))
            probability.append(weight)
            for step, label in enumerate(path):
                occupancy[step, label] += weight
    everything = math.fsum(probability)
    if everything == 0:
        return math.inf, np.zeros((steps, classes))
    return -math.log(everything), occupancy / everything


def ctc_by_recursion(log_p: ArrayLike, target: ArrayLike, blank: int) -> tuple[float, Array]:
    """The same by Graves's forward and backward variables in the log domain, for sizes that cannot be enumerated."""
    rows = np.asarray(log_p, np.float64)
    steps, classes = rows.shape
    labels = [int(label) for label in np.asarray(target).ravel()]
    states = [blank]
    for label in labels:
        states += [label, blank]
    if steps == 0:
        return (0.0 if not labels else math.inf), np.zeros((steps, classes))
    may_skip = np.array([s >= 2 and states[s] != blank and states[s] != states[s - 2] for s in range(len(states))])
    emitted = rows[:, states]

    def arrive(before: Array, skip: Array) -> Array:
        """The log-sum over the state itself, the one before it, and the one before that where a skip is allowed."""
        one = np.concatenate([[-np.inf], before[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], before])[: len(before)], -np.inf)
        return np.asarray(np.logaddexp(np.logaddexp(before, one), two))

    forward = np.full((steps, len(states)), -np.inf)
    forward[0, :2] = emitted[0, :2]
    for step in range(1, steps):
        forward[step] = emitted[step] + arrive(forward[step - 1], may_skip)
    backward = np.full((steps, len(states)), -np.inf)
    backward[-1, -2:] = 0.0
    # Read from the end, state s may skip over s + 1 exactly when s + 2 may be reached by a skip.
    skip_from_end = np.concatenate([may_skip[2:], [False, False]])[: len(states)][::-1]
    for step in range(steps - 2, -1, -1):
        later = (emitted[step + 1] + backward[step + 1])[::-1]
        backward[step] = arrive(later, skip_from_end)[::-1]
    log_z = np.logaddexp.reduce(forward[-1, -2:])
    if log_z == -np.inf:
        return math.inf, np.zeros((steps, classes))
    posterior = np.zeros((steps, classes))
    occupancy = np.exp(forward + backward - log_z)
    for s, state in enumerate(states):
        posterior[:, state] += occupancy[:, s]
    return -float(log_z), posterior


def ctc_truth(
    logits: ArrayLike, target: ArrayLike, blank: int = 0, scores: str = "logits", number: Any = np.longdouble
) -> tuple[float, Array]:
    """The loss of one sequence and its gradient (T, C): the recursion in the log domain, all states of a frame at once.

    `number` is the type in which it is computed. The default has 64 bits of mantissa on x86-64, so that a float64 can
    be judged by it; float64 itself is faster, and right to 1e-9 at 10,000 frames.
    """
    rows = np.asarray(np.asarray(logits).astype(np.float64), number)
    steps = len(rows)
    labels = np.asarray(target, np.int64).ravel()
    if steps < len(labels) + np.count_nonzero(labels[1:] == labels[:-1]):
        return math.inf, np.zeros(rows.shape)
    if steps == 0:
        return 0.0, np.zeros(rows.shape)
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    with np.errstate(invalid="ignore", divide="ignore"):
        log_p = rows
        if scores == "logits":
            log_p = rows - rows.max(axis=-1, keepdims=True)
            log_p = log_p - np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
        if np.isnan(log_p).any():
            return math.nan, np.full(rows.shape, math.nan)
        emitted = log_p[:, states]
        skip = np.full(len(states), -np.inf, number)
        skip[3::2] = np.where(labels[1:] != labels[:-1], 0, -np.inf)
        lowest = np.finfo(number).min

        def arrive(own: Array, one: Array, two: Array) -> Array:
            """The log-sum of three; of nothing but -inf it is -inf."""
            most = np.maximum(np.maximum(np.maximum(own, one), two), lowest)
            return np.asarray(most + np.log(np.exp(own - most) + np.exp(one - most) + np.exp(two - most)))

        # Two states that are never reached stand before the first state, and after the last.
        count = len(states)
        forward = np.full((steps, count + 2), -np.inf, number)
        forward[0, 2:4] = emitted[0, :2]
        for t in range(1, steps):
            first, last = max(0, count - 2 * (steps - t)), min(count, 2 * (t + 1))
            before = forward[t - 1]
            own, one = before[first + 2 : last + 2], before[first + 1 : last + 1]
            two = before[first:last] + skip[first:last]
            forward[t, first + 2 : last + 2] = emitted[t, first:last] + arrive(own, one, two)
        log_z = np.logaddexp.reduce(forward[-1, 2:][-2:])
        if log_z == -np.inf:
            return math.inf, np.zeros(rows.shape)
        # From s to s + 2 when s + 2 may be reached by a skip.
        skip = np.concatenate([skip[2:], [-np.inf, -np.inf]])[:count]
        order = np.argsort(states, kind="stable")
        used, starts = np.unique(states[order], return_index=True)
        gradient = np.exp(log_p) if scores == "logits" else np.zeros(rows.shape, number)
        after = np.full(count + 2, -np.inf, number)
        after[max(count - 2, 0) : count] = 0
        for t in range(steps - 1, -1, -1):
            if t < steps - 1:
                first, last = max(0, count - 2 * (steps - t)), min(count, 2 * (t + 1))
                later = np.full(count + 2, -np.inf, number)
                later[:count] = emitted[t + 1] + after[:count]
                own, one = later[first:last], later[first + 1 : last + 1]
                two = later[first + 2 : last + 2] + skip[first:last]
                after = np.full(count + 2, -np.inf, number)
                after[first:last] = arrive(own, one, two)
            occupancy = np.exp(forward[t, 2:] + after[:count] - log_z)
            gradient[t, used] -= np.add.reduceat(occupancy[order], starts)
    # Rounding must not leave a loss below 0.
    return max(0.0, -float(log_z)) if scores == "logits" else -float(log_z), gradient.astype(np.float64)


def ctc_gradient_by_mpmath(logits: ArrayLike, target: ArrayLike, blank: int) -> Array:
    """The slope of `ctc_by_mpmath`, from differences so small that nothing is left of what they neglect."""
    with mpmath.workdps(80):
        rows = np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(logits, np.float64))
        slope, by = np.zeros(rows.shape), mpmath.mpf(10) ** -25
        for place in np.ndindex(*rows.shape):
            above, below = rows.copy(), rows.copy()
            above[place] += by
            below[place] -= by
            difference = ctc_by_mpmath(above, target, blank, 80) - ctc_by_mpmath(below, target, blank, 80)
            slope[place] = float(difference / (2 * by))
    return slope


def ctc_by_mpmath(logits: ArrayLike, target: ArrayLike, blank: int, digits: int = 60) -> Any:
    """The loss of one sequence of logits with so many digits that a loss of 1e-20 is still exact.

    Logits may be numbers of mpmath already.
    """
    rows = np.asarray(logits)
    if rows.dtype != object:
        rows = rows.astype(np.float64)
    labels = [int(label) for label in np.asarray(target).ravel()]
    states = [blank]
    for label in labels:
        states += [label, blank]
    with mpmath.workdps(digits):
        forward = [mpmath.mpf(0)] * len(states)
        for step, row in enumerate(rows):
            powers = [mpmath.exp(mpmath.mpf(x)) for x in row]
            everything = mpmath.fsum(powers)
            p = [power / everything for power in powers]
            before, forward = forward, []
            for s, state in enumerate(states):
                if step == 0:
                    reached = mpmath.mpf(1 if s < 2 else 0)
                else:
                    reached = before[s] + (before[s - 1] if s >= 1 else 0)
                    if s >= 2 and state not in (blank, states[s - 2]):
                        reached += before[s - 2]
                forward.append(reached * p[state])
        return -mpmath.log(mpmath.fsum(forward[-2:]))


@dataclass(frozen=True)
class CtcVariant:
    """What may be changed about CTC, in the library's words, for one sequence: another view is an array (T, C)."""

    merge_repeated: bool = True
    temperature: float = 1.0
    log_priors: ArrayLike | None = None
    prior_weight: float = 1.0
    delay_penalty: float = 0.0
    star: Sequence[str] = ()
    star_penalty: float = 0.0
    entropy_weight: float = 0.0
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    consistency_with: ArrayLike | None = None
    consistency_weight: float = 0.2

    def log_probabilities(self, logits: ArrayLike, scores: str, number: Any = np.float64) -> Array:
        """ln p of every class in every frame: of the softmax of logits over the temperature, or as they are."""
        rows = np.asarray(logits).astype(np.float64).astype(number)
        if scores == "log_probs" or not rows.size:
            return rows
        rows = rows / self.temperature
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted = rows - rows.max(axis=-1, keepdims=True)
            return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def boosted(self, log_p: Array) -> Array:
        """ln p less the weighted log priors: what a frame of a path counts."""
        if self.log_priors is None:
            return log_p
        return np.asarray(log_p - self.prior_weight * np.asarray(self.log_priors, np.float64))

    def is_star(self, state: int, labels: int) -> bool:
        """Whether any class may be emitted in a state: blanks have even numbers, labels odd ones."""
        kinds = {"before": state == 0, "after": state == 2 * labels, "between": 0 < state < 2 * labels}
        return state % 2 == 0 and any(kinds[word] for word in self.star)

    def emissions(self, log_p: Array, target: ArrayLike, blank: int) -> Array:
        """ln of what a frame counts in each state, (T, S)."""
        labels = np.asarray(target, np.int64).ravel()
        boosted = self.boosted(log_p)
        emitted = np.empty((len(log_p), 2 * len(labels) + 1), log_p.dtype)
        for state in range(emitted.shape[1]):
            emitted[:, state] = boosted[:, labels[state // 2] if state % 2 else blank]
            if self.is_star(state, len(labels)):
                with np.errstate(divide="ignore"):
                    others = np.log(-np.expm1(log_p[:, blank])) - self.star_penalty
                emitted[:, state] = np.logaddexp(emitted[:, state], others)
        return emitted

    def loss(self, likelihood_loss: Any, entropy: Any, log_p: Array, log_view: Array | None) -> float:
        """(1 − ε) focal(ℓ) − β H + ε Σ KL(u ‖ p) + α Σ KL(p′ ‖ p)."""
        if likelihood_loss == math.inf:
            return math.inf
        value = (1 - self.label_smoothing) * self.focal(likelihood_loss)[0] - self.entropy_weight * entropy
        if self.label_smoothing:
            value += self.label_smoothing * (-log_p.mean(axis=1) - math.log(log_p.shape[1])).sum()
        if log_view is not None:
            occurs = log_view > -np.inf
            parts = np.exp(log_view[occurs]) * (log_view[occurs] - log_p[occurs])
            value += self.consistency_weight * parts.sum()
        return float(value)

    def focal(self, likelihood_loss: Any) -> tuple[Any, Any]:
        """(1 − e⁻ˡ)^γ ℓ and its slope; both are 0 where e⁻ˡ is above 1, and thus no probability."""
        gamma = self.focal_gamma
        if gamma == 0:
            return likelihood_loss, 1.0
        rest = -np.expm1(-likelihood_loss)
        if rest <= 0:
            return 0.0, 0.0
        slope = rest**gamma + gamma * rest ** (gamma - 1) * np.exp(-likelihood_loss) * likelihood_loss
        return rest**gamma * likelihood_loss, slope


@dataclass(frozen=True)
class CtcTruth:
    """A loss, its gradient (T, C), the posterior of every state (T, S) and the entropy of the posterior of paths."""

    loss: float
    gradient: Array
    occupancy: Array
    entropy: float


def ctc_state_paths(steps: int, target: ArrayLike, merge_repeated: bool = True) -> Array:
    """All paths through the states of a target (blanks even, labels odd), one in each row of (P, T)."""
    labels = [int(label) for label in np.asarray(target).ravel()]
    last = 2 * len(labels)

    def following(state: int) -> list[int]:
        found = []
        if merge_repeated or state % 2 == 0:
            found.append(state)
        if state + 1 <= last:
            found.append(state + 1)
        is_label = state % 2 == 1 and state + 2 <= last
        if is_label and not (merge_repeated and labels[state // 2] == labels[state // 2 + 1]):
            found.append(state + 2)
        return found

    paths: list[tuple[int, ...]] = [()]
    for _ in range(steps):
        paths = [(*path, state) for path in paths for state in following(path[-1] if path else 0)]
    done = [path for path in paths if (path[-1] if path else 0) >= last - 1]
    return np.array(done, np.int64).reshape(len(done), steps)


def ctc_path_weights(emitted: Array, paths: Array, variant: CtcVariant) -> Array:
    """ln of what each path counts: its emissions, and λ for each frame by which a label is entered late."""
    steps = len(emitted)
    weights = np.asarray(emitted[np.arange(steps), paths].sum(axis=1))
    before = np.concatenate([np.zeros((len(paths), 1), np.int64), paths], axis=1)[:, :steps]
    is_entered = (paths % 2 == 1) & (paths != before)
    lateness = np.arange(steps) - (steps - 1) / 2
    return np.asarray(weights - variant.delay_penalty * (is_entered * lateness).sum(axis=1))


def ctc_variant_by_enumeration(
    logits: ArrayLike,
    target: ArrayLike,
    blank: int = 0,
    scores: str = "logits",
    variant: CtcVariant | None = None,
    paths: Array | None = None,
) -> tuple[float, Array, float]:
    """The loss of one sequence, the posterior of every state and the entropy, from all paths (made here, or given)."""
    variant = variant or CtcVariant()
    log_p = variant.log_probabilities(logits, scores)
    if paths is None:
        paths = ctc_state_paths(len(log_p), target, variant.merge_repeated)
    emitted = variant.emissions(log_p, target, blank)
    weights = ctc_path_weights(emitted, paths, variant)
    occupancy = np.zeros(emitted.shape)
    possible = weights > -np.inf
    weights, paths = weights[possible], paths[possible]
    if not len(weights):
        return math.inf, occupancy, math.nan
    log_z = float(np.logaddexp.reduce(weights))
    posterior = np.exp(weights - log_z)
    np.add.at(occupancy, (np.arange(len(emitted)), paths), posterior[:, None])
    entropy = -float((posterior * (weights - log_z)).sum())
    view = variant.consistency_with
    log_view = None if view is None else variant.log_probabilities(view, scores)
    return variant.loss(-log_z, entropy, log_p, log_view), occupancy, entropy


def ctc_variant_by_classes(log_p: ArrayLike, target: ArrayLike, blank: int, variant: CtcVariant) -> tuple[float, float]:
    """−ln of the sum over all paths of classes that say the target, and their entropy: states are not mentioned.

    Without stars, which have a meaning only at a place in the target.
    """
    assert not variant.star
    rows = np.asarray(log_p, np.float64)
    boosted = variant.boosted(rows)
    steps, classes = rows.shape
    wanted = [int(label) for label in np.asarray(target).ravel()]
    weights = []
    for path in itertools.product(range(classes), repeat=steps):
        starts = [
            t
            for t, label in enumerate(path)
            if label != blank and not (variant.merge_repeated and t > 0 and path[t - 1] == label)
        ]
        if [path[t] for t in starts] == wanted:
            lateness = sum(t - (steps - 1) / 2 for t in starts)
            weights.append(sum(boosted[range(steps), path]) - variant.delay_penalty * lateness)
    log_z = float(np.logaddexp.reduce(weights)) if weights else -math.inf
    if log_z == -math.inf:
        return math.inf, math.nan
    logs = np.array([weight for weight in weights if weight > -math.inf]) - log_z
    return -log_z, -float((np.exp(logs) * logs).sum())


def ctc_variant_by_recursion(
    logits: ArrayLike,
    target: ArrayLike,
    blank: int = 0,
    scores: str = "logits",
    variant: CtcVariant | None = None,
    number: Any = np.longdouble,
) -> CtcTruth:
    """The same by recursions in the log domain, with the gradient; beside each log-sum goes the mean of what is summed.

    An impossible target has the loss infinity and a gradient of zeros, NaN anywhere makes both NaN. `number` is the
    type in which it is computed: an entropy is the small difference of large numbers.
    """
    variant = variant or CtcVariant()
    labels = np.asarray(target, np.int64).ravel()
    log_p = variant.log_probabilities(logits, scores, number)
    steps, count = len(log_p), 2 * len(labels) + 1
    view = variant.consistency_with
    log_view = None if view is None else variant.log_probabilities(view, scores, number)
    nothing = np.zeros((steps, count))
    needed = len(labels) + (np.count_nonzero(labels[1:] == labels[:-1]) if variant.merge_repeated else 0)
    if steps < needed:
        return CtcTruth(math.inf, np.zeros(log_p.shape), nothing, math.nan)
    if steps == 0:
        return CtcTruth(0.0, np.zeros(log_p.shape), nothing, 0.0)
    if np.isnan(log_p).any() or (log_view is not None and np.isnan(log_view).any()):
        return CtcTruth(math.nan, np.full(log_p.shape, math.nan), np.full(nothing.shape, math.nan), math.nan)
    emitted = variant.emissions(log_p, labels, blank)

    # ln of what it counts to stay in a state, to come from the one before, and from two before.
    is_label = np.arange(count) % 2 == 1
    arcs = np.full((3, count), -np.inf, number)
    arcs[0, ~is_label | variant.merge_repeated] = 0
    arcs[1, 1:] = 0
    arcs[2, 3::2] = np.where((labels[1:] != labels[:-1]) | (not variant.merge_repeated), 0, -np.inf)

    def arcs_of(step: int) -> Array:
        late = -number(variant.delay_penalty) * (step - (steps - 1) / 2)
        return arcs + np.where(is_label, np.array([[0], [late], [late]]), 0.0)

    def shifted(row: Array, by: int, fill: float) -> Array:
        """The row with what stood `by` places before (or behind, if that is negative)."""
        result = np.full(len(row), fill, number)
        result[max(by, 0) : len(row) + min(by, 0)] = row[max(-by, 0) : len(row) - max(by, 0)]
        return result

    def mixed(sums: Array, means: Array) -> tuple[Array, Array]:
        """The log-sum of three rows, and the mean of their means."""
        total = np.logaddexp.reduce(sums, axis=0)
        shares = np.exp(sums - np.where(total > -np.inf, total, 0.0))
        return total, np.where(shares > 0, shares * means, 0.0).sum(axis=0)

    with np.errstate(invalid="ignore"):
        forward, mean_before = np.full((steps, count), -np.inf, number), np.zeros((steps, count), number)
        row, mean = np.where(np.arange(count) == 0, 0.0, -np.inf), np.zeros(count)
        for t in range(steps):
            arc = arcs_of(t)
            came = np.array([shifted(row, by, -np.inf) for by in range(3)]) + arc
            means = np.array([shifted(mean, by, 0.0) for by in range(3)]) + arc
            total, mean = mixed(came, means)
            row, mean = total + emitted[t], mean + emitted[t]
            forward[t], mean_before[t] = row, mean
        backward, mean_after = np.full((steps, count), -np.inf, number), np.zeros((steps, count), number)
        backward[-1, -2:] = 0.0
        for t in range(steps - 2, -1, -1):
            arc = arcs_of(t + 1)
            goes = arc + emitted[t + 1] + backward[t + 1]
            means = arc + emitted[t + 1] + mean_after[t + 1]
            goes = np.array([shifted(goes[by], -by, -np.inf) for by in range(3)])
            means = np.array([shifted(means[by], -by, 0.0) for by in range(3)])
            backward[t], mean_after[t] = mixed(goes, means)
        log_z = np.logaddexp.reduce(forward[-1, -2:])
        if log_z == -np.inf:
            return CtcTruth(math.inf, np.zeros(log_p.shape), nothing, math.nan)
        occupancy = np.exp(forward + backward - log_z)
        # The mean of ln w over the paths through each state; over all paths in each frame.
        means = np.where(occupancy > 0, mean_before + mean_after, 0.0)
        mean_weight = (occupancy[0] * means[0]).sum()
    entropy = log_z - mean_weight
    loss = variant.loss(-log_z, entropy, log_p, log_view)
    if not math.isfinite(loss):
        return CtcTruth(loss, np.zeros(log_p.shape), occupancy.astype(np.float64), float(entropy))

    weight = (1 - variant.label_smoothing) * variant.focal(-log_z)[1]
    by_state = -weight * occupancy + variant.entropy_weight * occupancy * (means - mean_weight)
    by_class = np.zeros(log_p.shape, number)
    for state in range(count):
        if variant.is_star(state, len(labels)):
            # The probability q of the blank counts b q, and all others w (1 − q): the slope by ln q is b q − w q.
            blanks, others = variant.boosted(log_p)[:, blank], log_p[:, blank] - variant.star_penalty
            slope = np.exp(blanks - emitted[:, state]) - np.exp(others - emitted[:, state])
            by_class[:, blank] += by_state[:, state] * slope
        else:
            by_class[:, labels[state // 2] if state % 2 else blank] += by_state[:, state]
    by_class -= variant.label_smoothing / log_p.shape[1]
    if log_view is not None:
        by_class -= variant.consistency_weight * np.exp(log_view)
    if scores == "logits":
        by_class = (by_class - np.exp(log_p) * by_class.sum(axis=1, keepdims=True)) / variant.temperature
    return CtcTruth(loss, by_class.astype(np.float64), occupancy.astype(np.float64), float(entropy))


def ctc_terms(
    logits: Arrays,
    targets: Arrays,
    *,
    blank: int = 0,
    scores: str = "logits",
    zero_infinity: bool = False,
    most_paths: int = 5000,
) -> Terms:
    """−log of the probability of all paths that collapse to the target; enumerated up to `most_paths` paths."""
    values, counts = [], []
    for sequence, target in zip(logits, targets, strict=True):
        rows = np.asarray(sequence, np.float64)
        log_p = np.array([log_probabilities(row, scores) for row in rows]).reshape(rows.shape)
        steps, classes = rows.shape
        way = ctc_by_enumeration if classes**steps <= most_paths else ctc_by_recursion
        value = way(log_p, target, blank)[0]
        values.append(np.array(0.0 if zero_infinity and value == math.inf else value))
        counts.append(float(max(np.asarray(target).size, 1)))
    return Terms(values, [np.ones(()) for _ in values], counts, mean_over_sequences=True)


# ---------------------------------------------------------------------------------------------------------------------
# REINFORCE


def rewards_to_go(rewards: ArrayLike, valid: Array, discount: float) -> Array:
    """G_t = r_t + γ G_{t+1}, where t + 1 is the next valid step: what is not valid is no step at all."""
    reward = np.asarray(rewards, np.float64)
    result, following = np.zeros(reward.shape), 0.0
    for step in reversed(np.flatnonzero(valid)):
        following = reward[step] + discount * following
        result[step] = following
    return result


def advantages(
    rewards: Arrays,
    valid: Sequence[Array],
    baseline: Any = None,
    discount: float | None = None,
    group: int | None = None,
) -> list[Array]:
    """What each step of each sequence is worth, one array (T,) a sequence.

    A reward is one number for the sequence or one a step. `group` consecutive sequences are compared with one another
    by "leave_one_out" (all of them, if there is no group); alone, there is nothing to compare with, and the advantage
    is 0. Rewards that differ from step to step are compared step by step, among the sequences for which that step is
    valid.
    """
    count = len(rewards)
    whole = all(np.ndim(reward) == 0 for reward in rewards) and discount is None
    worth = []
    for reward, steps in zip(rewards, valid, strict=True):
        per_step = np.where(steps, np.asarray(reward, np.float64), 0.0)
        worth.append(per_step if discount is None else rewards_to_go(per_step, steps, discount))
    result = []
    for index in range(count):
        steps = valid[index]
        advantage = np.zeros(len(steps))
        first = 0 if group is None else index // group * group
        peers = range(count) if baseline == "batch_mean" or group is None else range(first, first + group)
        for step in range(len(steps)):
            if not steps[step]:
                continue
            if isinstance(baseline, str):
                if whole:
                    compared = {peer: float(np.asarray(rewards[peer])) for peer in peers}
                else:
                    compared = {p: worth[p][step] for p in peers if step < len(valid[p]) and valid[p][step]}
                if baseline == "leave_one_out":
                    others = [value for peer, value in compared.items() if peer != index]
                    below = total([others]) / len(others) if others else worth[index][step]
                else:
                    below = total([list(compared.values())]) / len(compared)
            elif baseline is None:
                below = 0.0
            elif not isinstance(baseline, list) and np.ndim(baseline) == 0:
                below = float(baseline)
            else:
                own = np.asarray(baseline[index], np.float64)
                below = float(own[step]) if own.ndim else float(own)
            advantage[step] = worth[index][step] - below
        result.append(advantage)
    return result


def reinforce_terms(
    logits: Arrays,
    actions: Arrays | None,
    rewards: Arrays,
    *,
    baseline: Any = None,
    discount: float | None = None,
    scores: str = "logits",
    mask: Arrays | None = None,
    group: int | None = None,
) -> Terms:
    """−(advantage) log π(action) for each step. Without actions, the first argument is log π(action) itself."""
    rows = [np.asarray(sequence, np.float64) for sequence in logits]
    valid = [
        np.ones(len(sequence), bool) if mask is None else np.asarray(mask[index], bool)
        for index, sequence in enumerate(rows)
    ]
    worth = advantages(rewards, valid, baseline, discount, group)
    values = []
    for index, sequence in enumerate(rows):
        value = np.zeros(len(sequence))
        for step in np.flatnonzero(valid[index]):
            if actions is None:
                log_p = sequence[step]
            else:
                log_p = log_probabilities(sequence[step], scores)[int(np.asarray(actions[index])[step])]
            value[step] = -worth[index][step] * log_p
        values.append(value)
    return Terms(values, [steps.astype(np.float64) for steps in valid], [float(steps.sum()) for steps in valid])
