"""Losses of sets of answers: preferences, minimum risk, word errors of n-best lists."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_policy as trainers
from reference_policy import Array, differences, spoiled
from seqloss_rs import dpo_loss, mrt_loss, mwer_loss, value_and_grad

# ---------------------------------------------------------------------------------------------------------------------
# Sets of answers


@pytest.mark.parametrize(
    ("kind", "beta", "smoothing"), [("dpo", 0.1, 0.0), ("dpo", 2.0, 0.2), ("ipo", 0.3, 0.0), ("hinge", 0.5, 0.0)]
)
def test_preferences_of_trl(kind: Any, beta: float, smoothing: float) -> None:
    random = np.random.default_rng(20)
    log_probs, reference = random.normal(-20, 3, (2, 30, 2))
    loss = partial(dpo_loss, objective=kind, beta=beta, label_smoothing=smoothing)
    formula = partial(trainers.trl_dpo, kind=kind, beta=beta, smoothing=smoothing)
    value, gradient = value_and_grad(partial(loss, reduction="none"))(log_probs, reference)
    np.testing.assert_allclose(value, formula(trainers.Numpy, log_probs, reference), rtol=1e-12)
    slope = differences(lambda x: formula(trainers.Numpy, x, reference).sum(), log_probs)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    assert loss(log_probs, reference) == pytest.approx(float(np.mean(value)), rel=1e-14)
    assert loss(log_probs[0], None) == pytest.approx(formula(trainers.Numpy, log_probs[:1], 0 * reference[:1])[0])


def test_preferences_far_away_stay_finite() -> None:
    log_probs = np.array([[0.0, -1e5], [-1e5, 0.0], [0.0, -400.0]])
    value, gradient = value_and_grad(partial(dpo_loss, beta=1.0, reduction="none"))(log_probs, None)
    np.testing.assert_allclose(value, [0.0, 1e5, math.exp(-400)], rtol=1e-12)
    np.testing.assert_allclose(gradient[:, 0], [0.0, -1.0, -math.exp(-400)], rtol=1e-12)
    np.testing.assert_array_equal(gradient[:, 0], -gradient[:, 1])


@pytest.mark.parametrize("alpha", [5e-3, 1.0, 3.0])
def test_minimum_risk(alpha: float) -> None:
    random = np.random.default_rng(21)
    log_probs, costs = random.normal(-5, 2, (4, 6)), random.random((4, 6))
    value, gradient = value_and_grad(partial(mrt_loss, alpha=alpha, reduction="none"))(log_probs, costs)
    np.testing.assert_allclose(value, trainers.minimum_risk(trainers.Numpy, log_probs, costs, alpha), rtol=1e-12)
    slope = differences(lambda x: trainers.minimum_risk(trainers.Numpy, x, costs, alpha).sum(), log_probs, 1e-3)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    # Answers that are masked are not there; of other lists there are fewer.
    mask = random.random((4, 6)) < 0.6
    mask[3] = False
    masked = partial(mrt_loss, alpha=alpha, reduction="none", mask=mask)
    value, gradient = value_and_grad(masked)(spoiled(log_probs, mask), spoiled(costs, mask))
    rows = [[row[keep] for row, keep in zip(array, mask, strict=True)] for array in (log_probs, costs)]
    ragged = value_and_grad(partial(mrt_loss, alpha=alpha, reduction="none"))(*rows)
    np.testing.assert_array_equal(value, ragged[0])
    np.testing.assert_array_equal(gradient[mask], np.concatenate(ragged[1]))
    assert not np.any(gradient[~mask])
    assert np.asarray(value)[3] == 0


def test_mwer_counts_its_errors() -> None:
    random = np.random.default_rng(22)
    n, k, steps = 5, 4, 12
    hypotheses, references = random.integers(0, 6, (n, k, steps)), random.integers(0, 6, (n, 10))
    lengths, reference_lengths = random.integers(0, steps + 1, (n, k)), random.integers(1, 11, n)
    errors = np.array(
        [
            [
                trainers.edit_distance(hypotheses[i, j, : lengths[i, j]], references[i, : reference_lengths[i]])
                for j in range(k)
            ]
            for i in range(n)
        ]
    )
    log_probs = random.normal(-10, 2, (n, k))
    weights = np.exp(log_probs) / np.exp(log_probs).sum(1, keepdims=True)
    expected = (weights * (errors - errors.mean(1, keepdims=True))).sum(1)
    slopes = weights * (errors - (weights * errors).sum(1, keepdims=True))
    loss = partial(mwer_loss, reduction="none")
    counted = partial(loss, lengths=lengths, reference_lengths=reference_lengths)
    nested = [
        [ids[:length].tolist() for ids, length in zip(*of_one, strict=True)]
        for of_one in zip(hypotheses, lengths, strict=True)
    ]
    for value, gradient in (
        value_and_grad(counted)(log_probs, hypotheses, references),
        value_and_grad(partial(loss, errors=errors))(log_probs),
        value_and_grad(partial(loss, reference_lengths=reference_lengths))(log_probs, nested, references),
        value_and_grad(loss)(log_probs, *texts(hypotheses, lengths, references, reference_lengths)),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-12, atol=1e-13)
    value = loss(log_probs, errors=errors, subtract_mean=False)
    np.testing.assert_allclose(value, (weights * errors).sum(1), rtol=1e-12)


def texts(hypotheses: Array, lengths: Array, references: Array, reference_lengths: Array) -> tuple[Any, Any]:
    """The same as strings, the lists one after another."""

    def words(ids: Array) -> str:
        return " ".join(f"w{own}" for own in ids)

    flat = [words(ids[:length]) for ids, length in zip(hypotheses.reshape(-1, 12), lengths.ravel(), strict=True)]
    return flat, [words(ids[:length]) for ids, length in zip(references, reference_lengths, strict=True)]
