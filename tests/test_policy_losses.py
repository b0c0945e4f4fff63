"""The losses of a ratio: against the formulas of trainers and autograd, at their limits, in every layout."""

import importlib.util
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_policy as trainers
import seqloss_rs
from reference_policy import Array, N, T, differences, problem, spoiled
from seqloss_rs import dpo_loss, grpo_loss, mrt_loss, mwer_loss, ppo_loss, value_and_grad, value_loss

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")


class Torch:
    """The operations of formulas in torch."""

    if torch is not None:
        exp = staticmethod(torch.exp)
        maximum = staticmethod(torch.maximum)
        minimum = staticmethod(torch.minimum)
        where = staticmethod(torch.where)
        sigmoid = staticmethod(torch.sigmoid)
        logsigmoid = staticmethod(torch.nn.functional.logsigmoid)

    @staticmethod
    def clamp(x: Any, low: float | None, high: float | None) -> Any:
        return torch.clamp(x, low, high)

    @staticmethod
    def detach(x: Any) -> Any:
        return x.detach()


def check(formula: Callable[..., Any], given: dict[str, Array], names: tuple[str, ...], **options: Any) -> None:
    """Compare terms, and their gradient by autograd, of a formula in (log_probs, old, advantages, mask)."""
    mask = given["mask"]
    others = {name: spoiled(given[name], mask) for name in names}
    loss = partial(ppo_loss, mask=mask, **options)
    if "reference" in others:
        loss = partial(loss, reference_log_probs=others["reference"])
    arguments = spoiled(given["log_probs"], mask), others["old"], others["advantages"]
    terms: Any
    terms, gradient = value_and_grad(partial(loss, reduction="none"))(*arguments)
    own = [given[name] for name in ("log_probs", *names)]
    expected = formula(trainers.Numpy, *own) * mask
    np.testing.assert_allclose(terms, expected, rtol=1e-12, atol=1e-14)
    assert not np.any(gradient[~mask])
    assert not np.any(terms[~mask])
    if torch is not None:
        tensors = [torch.tensor(array) for array in own]
        tensors[0].requires_grad_()
        (formula(Torch, *tensors) * torch.tensor(mask)).sum().backward()
        np.testing.assert_allclose(gradient, tensors[0].grad.numpy(), rtol=1e-11, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Trainers' formulas of a ratio

STEPS = ("old", "advantages")


def of_steps(formula: Callable[..., Any], mask: Array, **options: Any) -> Callable[..., Any]:
    def own(xp: Any, log_probs: Any, old: Any, advantages: Any) -> Any:
        return formula(xp, log_probs, old, advantages, as_numbers(xp, mask), **options)

    return own


def as_numbers(xp: Any, mask: Array) -> Any:
    numbers = mask.astype(np.float64)
    return numbers if xp is trainers.Numpy else torch.tensor(numbers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.4, 3.0, 30.0])
def test_ppo_of_verl_and_openrlhf(seed: int, spread: float) -> None:
    given = problem(seed, spread)
    own = partial(of_steps, mask=given["mask"])
    check(own(trainers.verl_ppo, low=0.2, high=0.28), given, STEPS, clip_high=0.28, dual_clip=3.0)
    check(
        own(trainers.openrlhf_ppo, low=0.1, high=0.3, dual=2.0), given, STEPS, clip_low=0.1, clip_high=0.3, dual_clip=2
    )
    check(own(trainers.verl_cispo, low=0.2, high=0.28), given, STEPS, clip_high=0.28, objective="cispo")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.4, 3.0])
def test_ppo_of_trl(seed: int, spread: float) -> None:
    given = problem(seed, spread)
    own = partial(of_steps, trainers.trl_terms, given["mask"])
    free = {"log_ratio_limit": None}
    check(own(), given, STEPS, **free)
    check(own(delta=4.0, high=0.3), given, STEPS, dual_clip=4.0, clip_high=0.3, **free)
    # TRL's epsilon_high is the largest ratio itself, and there is none below.
    check(own(kind="cispo", high=5.0), given, STEPS, objective="cispo", clip_low=1, clip_high=4, **free)
    check(own(kind="sapo"), given, STEPS, objective="sapo", **free)


@pytest.mark.parametrize("seed", range(4))
def test_gspo_of_verl(seed: int) -> None:
    """With advantages of steps too: each step has the gradient of its own."""
    given = problem(seed)
    formula = of_steps(trainers.verl_gspo, given["mask"], low=0.05, high=0.1)
    check(formula, given, STEPS, ratio="sequence", clip_low=0.05, clip_high=0.1, log_ratio_limit=10)


@needs_torch
@pytest.mark.parametrize("reduction", ["mean_of_means", "sum", "batch_mean"])
def test_gspo_of_trl_is_the_same_for_one_advantage_per_sequence(reduction: Any) -> None:
    given = problem(5)
    mask, advantages = given["mask"].astype(float), given["advantages"][:, :1]
    log_probs = torch.tensor(given["log_probs"], requires_grad=True)
    others = [torch.tensor(array) for array in (given["old"], advantages, mask)]
    terms = trainers.trl_terms(Torch, log_probs, *others, level="sequence", low=0.1, high=0.2)
    if reduction == "batch_mean":
        expected = trainers.luspo(terms, others[2])
    else:
        sums = (terms * others[2]).sum(-1)
        expected = (sums / others[2].sum(-1).clip(1.0)).mean() if reduction == "mean_of_means" else sums.sum()
    expected.backward()
    options: Any = {"normalizer": N} if reduction == "mean_of_means" else {}
    value, gradient = value_and_grad(ppo_loss)(
        given["log_probs"], given["old"], advantages[:, 0], ratio="sequence", clip_low=0.1, mask=given["mask"],
        reduction=reduction, log_ratio_limit=None, **options,
    )  # fmt: skip
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, log_probs.grad.numpy(), rtol=1e-11, atol=1e-13)


KINDS: Any = ("k1", "abs", "k2", "k3", "k1+", "k3+")


@pytest.mark.parametrize("spread", [0.01, 0.4, 4.0, 40.0, 1000.0])
@pytest.mark.parametrize("kind", KINDS)
def test_kl_of_verl_and_openrlhf(kind: Any, spread: float) -> None:
    given = problem(1, spread)
    given["advantages"][:] = 0
    names = ("old", "advantages", "reference")

    def verl(xp: Any, log_probs: Any, old: Any, advantages: Any, reference: Any) -> Any:
        return 0.5 * trainers.verl_kl(xp, log_probs, reference, kind)

    options = {"kl_limit": 10.0} if kind.startswith("k3") else {}
    check(verl, given, names, kl=kind, kl_coefficient=0.5, **options)
    # OpenRLHF's k3 has no limit before its exp, and NaN for a gradient where that overflows.
    if kind in ("k1", "k2", "k3") and spread < 1000:

        def openrlhf(xp: Any, log_probs: Any, old: Any, advantages: Any, reference: Any) -> Any:
            return 0.5 * trainers.openrlhf_kl(xp, log_probs, reference, kind)

        check(openrlhf, given, names, kl=kind, kl_coefficient=0.5, kl_limit=10.0)


def test_k3_keeps_its_digits_near_0() -> None:
    r = np.array([1e-9, -1e-6, 1e-4, 0.0099, -0.0101])
    value: Any = ppo_loss(-r, None, np.zeros(5), reference_log_probs=r * 0, kl="k3", kl_coefficient=1, reduction="none")
    series = sum(r**n / math.factorial(n) for n in range(2, 12))
    np.testing.assert_allclose(value, series, rtol=1e-11)


# ---------------------------------------------------------------------------------------------------------------------
# Limits


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("objective", ["clip", "cispo", "sapo"])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_extreme_ratios_have_finite_gradients(ratio: Any, objective: Any, dtype: str) -> None:
    log_probs = np.array([[-1000.0, 0.0, -1.0, 0.0]] * 4, dtype)
    old = np.array([[0.0, -1000.0, -1.0, -1000.0]] * 2 + [[-1000.0] * 4] * 2, dtype)
    advantages = np.array([1.0, -1.0, 1.0, -1.0])
    for kind in KINDS:
        value, gradient = value_and_grad(ppo_loss)(
            log_probs, old, advantages, ratio=ratio, objective=objective, reference_log_probs=old, kl=kind,
            kl_coefficient=0.125, reduction="sum", normalizer=1e6,
        )  # fmt: skip
        assert math.isfinite(value)
        assert np.all(np.isfinite(gradient))
        assert gradient.dtype == dtype


def test_far_from_the_reference_are_values_and_slopes_of_verl() -> None:
    r, nothing = np.array([30.0, -30.0]), np.zeros(2)
    expected: dict[Any, tuple[list[float], list[float]]] = {
        "k1": ([-30, 30], [1, 1]),
        "abs": ([30, 30], [-1, 1]),
        "k2": ([450, 450], [-30, 30]),
        "k3": ([10, 10], [0, 0]),
        "k1+": ([-30, 30], [-30, 30]),
        "k3+": ([10, 10], [-30, 30]),
    }
    for kind, (values, slopes) in expected.items():
        limit = 10.0 if kind.startswith("k3") else None
        loss = partial(ppo_loss, kl=kind, kl_coefficient=1.0, kl_limit=limit, reduction="none")
        value, gradient = value_and_grad(partial(loss, reference_log_probs=r))(nothing, None, nothing)
        np.testing.assert_array_equal(value, values)
        np.testing.assert_array_equal(gradient, slopes)


def test_what_is_held_at_a_limit_has_the_gradient_0() -> None:
    log_probs, far = np.array([-1.0, -1.0]), np.array([-1000.0, 1000.0])
    kind: Any
    held: Any
    for kind, held in (("k3", {}), ("k1", {"kl_limit": 10}), ("abs", {"kl_limit": 10}), ("k2", {"kl_limit": 10})):
        loss = partial(ppo_loss, reference_log_probs=far, kl=kind, kl_coefficient=1.0, reduction="none", **held)
        value, gradient = value_and_grad(loss)(log_probs, None, np.zeros(2))
        np.testing.assert_array_equal(gradient, [0, 0])
        assert np.all(np.isfinite(value))
    for advantage in (1.0, -1.0):
        terms, gradient = value_and_grad(partial(ppo_loss, reduction="none"))(log_probs, far, np.full(2, advantage))
        np.testing.assert_array_equal(gradient, [0, 0])
        assert np.all(np.isfinite(terms))


def test_an_impossible_action_is_held_and_nan_stays() -> None:
    terms, gradient = value_and_grad(partial(ppo_loss, reduction="none"))(
        np.array([-np.inf, -1.0, np.nan]), np.array([-1.0, -np.inf, -1.0]), np.array([1.0, -1.0, 1.0])
    )
    np.testing.assert_allclose(terms, [-math.exp(-20), math.exp(20), np.nan])
    np.testing.assert_array_equal(gradient, [0, 0, np.nan])


def test_a_limit_that_is_none_or_infinite_is_none() -> None:
    given = problem(9, 3.0)
    call = value_and_grad(partial(ppo_loss, given["log_probs"], given["old"], given["advantages"]))
    with_kl = partial(call, reference_log_probs=given["reference"], kl="k3", kl_coefficient=0.1)
    for loss, names in ((call, ("clip_low", "clip_high", "dual_clip", "log_ratio_limit")),
                        (with_kl, ("kl_limit", "kl_log_ratio_limit"))):  # fmt: skip
        for name in names:
            one, other = loss(**{name: None}), loss(**{name: math.inf})
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])
    critic: Any = partial(value_loss, given["log_probs"], given["advantages"], old_values=given["old"])
    assert critic(clip=None) == critic(clip=math.inf) == value_loss(given["log_probs"], given["advantages"])


def test_a_coefficient_of_0_leaves_the_penalty_out() -> None:
    given = problem(10)
    arguments = given["log_probs"], given["old"], given["advantages"]
    own = value_and_grad(ppo_loss)(*arguments, reference_log_probs=given["old"] - np.inf, kl="k1", kl_coefficient=0)
    plain = value_and_grad(ppo_loss)(*arguments)
    assert own[0] == plain[0]
    np.testing.assert_array_equal(own[1], plain[1])


# ---------------------------------------------------------------------------------------------------------------------
# Reductions


def test_aggregations_of_trainers() -> None:
    given = problem(2)
    mask = given["mask"].astype(float)
    there, tokens = np.any(given["mask"], 1), 1234.0
    terms = trainers.trl_terms(trainers.Numpy, given["log_probs"], given["old"], given["advantages"], mask)
    loss = partial(ppo_loss, given["log_probs"], given["old"], given["advantages"], mask=given["mask"])

    def same(value: Any, kind: str) -> None:
        expected = trainers.aggregate(kind, terms, mask, tokens=tokens, longest=T)
        assert value == pytest.approx(
            expected, rel=1e-7 if kind.startswith(("token", "seq-mean-token-mean")) else 1e-13
        )

    same(loss(reduction="mean_of_means", normalizer=N), "grpo")
    same(loss(reduction="mean"), "bnpo")
    same(loss(reduction="mean", normalizer=tokens), "dapo")
    same(loss(reduction="sum", normalizer=N * T), "dr_grpo")
    same(loss(), "token-mean")
    same(loss(reduction="sum", normalizer=there.sum()), "seq-mean-token-sum")
    same(loss(reduction="mean_of_means"), "seq-mean-token-mean")


@pytest.mark.parametrize("normalizer", [None, 2.5])
def test_the_gradient_of_a_mean_of_means(normalizer: float | None) -> None:
    given = problem(3)
    loss = partial(ppo_loss, mask=given["mask"], objective="sapo")
    arguments = given["log_probs"], given["old"], given["advantages"]
    per_step = value_and_grad(loss)(*arguments, reduction="sum")[1]
    counts = given["mask"].sum(1, keepdims=True)
    value, gradient = value_and_grad(loss)(*arguments, reduction="mean_of_means", normalizer=normalizer)
    means: Any = loss(*arguments, reduction="sequence_mean")
    divisor = normalizer or np.sum(counts > 0)
    assert value == pytest.approx(np.nansum(means) / divisor, rel=1e-14)
    np.testing.assert_allclose(gradient, per_step / np.maximum(counts, 1) / divisor, rtol=1e-14)


def test_nothing_valid() -> None:
    given = problem(4)
    arguments = given["log_probs"] * np.nan, given["old"], given["advantages"]
    expected_values: Any = {"mean": np.nan, "mean_of_means": np.nan, "sum": 0.0, "batch_mean": 0.0}
    for reduction, expected in expected_values.items():
        loss: Any = partial(ppo_loss, mask=np.zeros((N, T), bool), reduction=reduction)
        value, gradient = value_and_grad(loss)(*arguments)
        np.testing.assert_equal(value, expected)
        np.testing.assert_array_equal(gradient, np.zeros((N, T)))
    sums: Any = ppo_loss(*arguments, lengths=[0] * N, reduction="sequence")
    np.testing.assert_array_equal(sums, np.zeros(N))
    means: Any = ppo_loss(*arguments, lengths=[0] * N, reduction="sequence_mean")
    assert np.all(np.isnan(means))


# ---------------------------------------------------------------------------------------------------------------------
# Layouts, dtypes, borders


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_lists_lengths_and_padding_agree(dtype: str) -> None:
    random = np.random.default_rng(6)
    lengths = [4, 0, 7]
    rows = [(-random.exponential(size=(3, n))).astype(dtype) for n in lengths]
    padded = np.full((3, 3, 7), np.nan, dtype)
    for index, row in enumerate(rows):
        padded[:, index, : len(row[0])] = row
    advantages = random.normal(size=3)
    for ratio in ("token", "sequence"):
        loss: Any = partial(ppo_loss, ratio=ratio, reduction="sequence")
        ragged = [[row[k] for row in rows] for k in range(3)]
        own, slopes = value_and_grad(partial(loss, reference_log_probs=ragged[2], kl="k3", kl_coefficient=1))(
            ragged[0], ragged[1], advantages
        )
        other, padded_slopes = value_and_grad(
            partial(loss, reference_log_probs=padded[2], kl="k3", kl_coefficient=1, lengths=lengths)
        )(padded[0], padded[1], advantages)
        np.testing.assert_array_equal(own, other)
        assert own.dtype == ("float64" if dtype == "float64" else "float32")
        for index, slope in enumerate(slopes):
            np.testing.assert_array_equal(slope, padded_slopes[index, : lengths[index]])
            assert slope.dtype == dtype
        assert not np.any(padded_slopes[1])


def test_the_gradient_is_written_over_the_log_probs() -> None:
    given = problem(7)
    arguments = given["log_probs"].copy(), given["old"], given["advantages"]
    expected = value_and_grad(ppo_loss)(*arguments)
    value, gradient = value_and_grad(ppo_loss, out=arguments[0])(*arguments)
    assert gradient is arguments[0]
    assert value == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_grad_output() -> None:
    given = problem(8)
    arguments = given["log_probs"], given["old"], given["advantages"]
    weights = np.random.default_rng(8).normal(size=(N, T))
    whole = value_and_grad(partial(ppo_loss, reduction="sum"))(*arguments)[1]
    terms = value_and_grad(partial(ppo_loss, reduction="none"), grad_output=weights)(*arguments)[1]
    np.testing.assert_array_equal(terms, whole * weights)
    sequences = value_and_grad(partial(ppo_loss, reduction="sequence"), grad_output=weights[:, 0])(*arguments)[1]
    np.testing.assert_array_equal(sequences, whole * weights[:, :1])


def test_many_sequences_on_any_number_of_threads() -> None:
    random = np.random.default_rng(9)
    log_probs, old = (-random.exponential(size=(300, 700)).astype(np.float32) for _ in range(2))
    advantages = random.normal(size=300)
    before, results = seqloss_rs.get_num_threads(), []
    for threads in (1, 3):
        seqloss_rs.set_num_threads(threads)
        results.append(value_and_grad(ppo_loss)(log_probs, old, advantages, objective="sapo"))
    seqloss_rs.set_num_threads(before)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_a_policy_of_logits_end_to_end() -> None:
    """Token log-probabilities, the loss and the policy gradient together are the derivative with respect to logits."""
    random = np.random.default_rng(10)
    logits, ids = random.normal(size=(3, 5, 4)), random.integers(0, 4, (3, 5))
    old = seqloss_rs.token_log_probs(logits + random.normal(scale=0.2, size=logits.shape), ids).log_probs
    advantages = random.normal(size=3)

    def loss(x: Array) -> Any:
        return ppo_loss(seqloss_rs.token_log_probs(x, ids).log_probs, old, advantages, objective="sapo")

    log_probs = seqloss_rs.token_log_probs(logits, ids).log_probs
    coefficients = value_and_grad(ppo_loss)(log_probs, old, advantages, objective="sapo")[1]
    gradient = seqloss_rs.policy_gradient_logits(logits, ids, coefficients)
    np.testing.assert_allclose(gradient, differences(loss, logits), rtol=1e-7, atol=1e-10)


GIVEN: tuple[Any, ...] = (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl": "k3"}, "kl and reference_log_probs go together, and one of them is None"),
        ({"reference_log_probs": GIVEN[0]}, "kl and reference_log_probs go together, and one of them is None"),
        ({"kl_coefficient": 0.1}, "kl_coefficient is 0.1, which goes with a kl"),
        ({"kl_limit": 10}, "kl_limit is 10, which goes with a kl"),
        ({"kl": "k3", "reference_log_probs": GIVEN[0]}, 'kl is "k3", which goes with a kl_coefficient'),
        ({"kl_coefficient": math.inf}, "kl_coefficient is inf, expected a finite number"),
        ({"log_ratio_limit": -1}, "log_ratio_limit is -1, expected a positive number"),
        ({"temperature_positive": math.inf}, "temperature_positive is inf, expected a finite number"),
        ({"clip_low": math.nan}, "clip_low is NaN, expected a number that is at least 0"),
        ({"kl": "k4", "reference_log_probs": GIVEN[0]}, 'kl is "k4", expected one of "k1", "abs", "k2"'),
        ({"dual_clip": 0.5}, "dual_clip is 0.5, expected a number above 1"),
        ({"dual_clip": 2.0, "objective": "sapo"}, 'dual_clip goes with objective="clip"'),
        ({"objective": "clop"}, 'objective is "clop", expected one of "clip", "cispo", "sapo"'),
        ({"ratio": "word"}, 'ratio is "word", expected one of "token", "sequence"'),
        ({"clip_low": -0.1}, "clip_low is -0.1, expected a number that is at least 0"),
        ({"log_ratio_limit": 0}, "log_ratio_limit is 0, expected a positive number"),
        ({"temperature_positive": -1}, "temperature_positive is -1, expected a positive number"),
        ({"reduction": "means"}, 'reduction is "means", expected one of "none"'),
        ({"reduction": "batch_mean", "normalizer": 3}, "normalizer goes with"),
        ({"lengths": [4, 1]}, "lengths[0] is 4, which is not a length in 0..=3"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        ppo_loss(*GIVEN, **options)


def test_shapes_that_do_not_fit_are_named() -> None:
    log_probs, old, advantages = GIVEN
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: ppo_loss(log_probs, old[:1], advantages), "old_log_probs has shape (1, 3), expected (2, 3)"),
        (lambda: ppo_loss(log_probs, old, np.zeros(3)), "advantages has shape (3,), expected (2,) or (2, 3)"),
        (
            lambda: ppo_loss(list(log_probs), old, np.zeros(3)),
            "old_log_probs has shape (2, 3), expected a list of 2 arrays",
        ),
        (
            lambda: ppo_loss(list(log_probs), list(old), np.zeros(3)),
            "advantages has shape (3,), expected (2,) or a list of 2 arrays",
        ),
        (lambda: grpo_loss(log_probs, old, np.zeros(3)), "rewards has shape (3,), expected (N, K) with N * K = 2"),
        (
            lambda: grpo_loss(log_probs, old, np.zeros((2, 2))),
            "rewards has shape (2, 2), expected (N, K) with N * K = 2",
        ),
        (lambda: grpo_loss(log_probs[None], old[None], np.zeros(2)), "rewards has shape (2,), expected (1, 2)"),
        (lambda: value_loss(log_probs, old[0]), "returns has shape (3,), expected (2, 3)"),
        (lambda: dpo_loss(log_probs, None), "log_probs has shape (2, 3), expected a last axis of 2"),
        (lambda: mrt_loss(log_probs, advantages), "costs has shape (2,), expected (2, 3)"),
        (lambda: mwer_loss(log_probs), "hypotheses and references are expected, or errors in their place"),
        (lambda: seqloss_rs.gae(log_probs, advantages), "values has shape (2,), expected (2, 3)"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            call()
    ppo: Any = value_and_grad(ppo_loss)
    with pytest.raises(TypeError, match='needs the argument "advantages"'):
        ppo(log_probs, old)
    with pytest.raises(TypeError, match="unexpected keyword argument 'clip'"):
        ppo(log_probs, old, advantages, clip=3)
    value, gradient = ppo(log_probs, advantages=advantages, old_log_probs=old)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))
