"""The same numbers as torch, where the design says so: cross-entropy with every option, and CTC in float64."""

import functools
import itertools
import os
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import seqloss_rs
from cases import Array, bytes_of, pad
from seqloss_rs import value_and_grad

if os.environ.get("CI"):
    import torch
else:
    torch = pytest.importorskip("torch", reason="torch is not installed: what is the same as in torch is not tested")

functional = torch.nn.functional


# ---------------------------------------------------------------------------------------------------------------------
# Cross-entropy


def torch_cross_entropy(logits: Array, targets: Array, **options: Any) -> Any:
    """torch's value and its gradient, with the class axis last."""
    x = torch.tensor(logits, requires_grad=True)
    y = torch.tensor(targets)
    if options.get("weight") is not None:
        options["weight"] = torch.tensor(options["weight"], dtype=x.dtype)
    if x.ndim == 3:
        x_there = x.transpose(1, 2)
        y = y.transpose(1, 2) if y.ndim == 3 else y
    else:
        x_there = x
    value = functional.cross_entropy(x_there, y, **options)
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), slope.numpy()


COMBINATIONS = list(
    itertools.product(
        ["classes", "distributions"], [None, "positive", "with zeros"], [None, -100, 2, -1], [0.0, 0.1, 1.0]
    )
)


@pytest.mark.parametrize(
    ("kind", "weighting", "ignore_index", "label_smoothing"), COMBINATIONS, ids=lambda value: str(value)
)
def test_cross_entropy_in_every_combination(
    kind: str, weighting: str | None, ignore_index: int | None, label_smoothing: float
) -> None:
    generator = np.random.default_rng(7)
    for dtype, shape in itertools.product((np.float32, np.float64), ((2, 6, 5), (6, 5), (1, 3, 40), (3, 1, 1))):
        classes = shape[-1]
        logits = (generator.normal(size=shape) * 3).astype(dtype)
        if kind == "classes":
            targets = generator.integers(0, classes, shape[:-1])
            if ignore_index is not None:
                targets[generator.random(targets.shape) < 0.4] = ignore_index
        else:
            targets = np.exp(generator.normal(size=shape))
            targets = (targets / targets.sum(axis=-1, keepdims=True)).astype(dtype)
            if ignore_index == 2:
                continue  # torch refuses an index that could be a class, when there are no indices
        weights = None if weighting is None else generator.random(classes).astype(dtype) + dtype(0.1)
        if weights is not None and weighting == "with zeros":
            weights[::2] = 0
        torch_options: dict[str, Any] = {"weight": weights, "label_smoothing": label_smoothing}
        options: dict[str, Any] = {"class_weights": weights, "label_smoothing": label_smoothing}
        if ignore_index is not None:
            torch_options["ignore_index"] = ignore_index
            options["ignore_index"] = ignore_index
        relative, absolute = (1e-12, 1e-13) if dtype == np.float64 else (2e-5, 2e-6)
        for reduction in ("none", "mean", "sum"):
            expected, slope = torch_cross_entropy(logits, targets, reduction=reduction, **torch_options)
            value, gradient = value_and_grad(seqloss_rs.cross_entropy_loss)(
                logits, targets, reduction=reduction, **options
            )
            np.testing.assert_allclose(value, expected, rtol=relative, atol=absolute)
            if np.isfinite(expected).all():
                np.testing.assert_allclose(gradient, slope, rtol=relative, atol=absolute)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_with_everything_ignored(reduction: Any, label_smoothing: float, weighted: bool) -> None:
    logits, targets = np.ones((2, 3, 4)), np.full((2, 3), -100)
    weights = np.arange(1.0, 5.0) if weighted else None
    expected, _ = torch_cross_entropy(
        logits, targets, reduction=reduction, weight=weights, label_smoothing=label_smoothing
    )
    value = seqloss_rs.cross_entropy_loss(
        logits, targets, reduction=reduction, class_weights=weights, label_smoothing=label_smoothing
    )
    np.testing.assert_array_equal(value, expected)


def test_cross_entropy_of_no_rows() -> None:
    for reduction in ("none", "mean", "sum"):
        logits, targets = np.zeros((0, 4)), np.zeros(0, np.int64)
        expected, _ = torch_cross_entropy(logits, targets, reduction=reduction)
        np.testing.assert_array_equal(seqloss_rs.cross_entropy_loss(logits, targets, reduction=reduction), expected)


SPECIAL = [-np.inf, np.inf, np.nan, 1e4, -1e4, 3e38]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("special", SPECIAL, ids=str)
def test_cross_entropy_of_special_values(special: float, dtype: Any) -> None:
    generator = np.random.default_rng(1)
    for count in (1, 2, 5):
        logits = generator.normal(size=(8, 5)).astype(dtype)
        logits[:, :count] = special
        targets = np.arange(8) % 5
        expected, slope = torch_cross_entropy(logits, targets, reduction="none")
        value, gradient = value_and_grad(seqloss_rs.cross_entropy_loss)(logits, targets, reduction="none")
        np.testing.assert_allclose(value, expected, rtol=2e-6)
        np.testing.assert_allclose(gradient, slope, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_with_weights_and_a_mask_is_torch_on_what_is_left(reduction: Any) -> None:
    generator = np.random.default_rng(5)
    logits, targets = generator.normal(size=(4, 9, 6)), generator.integers(0, 6, (4, 9))
    mask, weights = generator.random((4, 9)) < 0.6, generator.random((4, 9))
    terms, _ = torch_cross_entropy(logits[mask], targets[mask], reduction="none")
    if reduction == "mean":
        expected: Any = (terms * weights[mask]).sum() / weights[mask].sum()
    elif reduction == "sum":
        expected = (terms * weights[mask]).sum()
    else:
        expected = np.zeros((4, 9))
        expected[mask] = terms * weights[mask]
    value = seqloss_rs.cross_entropy_loss(logits, targets, mask=mask, weights=weights, reduction=reduction)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# CTC


def torch_ctc(logits: Array, targets: Any, input_lengths: Any, target_lengths: Any, **options: Any) -> Any:
    """torch's loss of (N, T, C) logits through log_softmax, and its gradient with respect to them."""
    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    log_probs = functional.log_softmax(x, dim=-1).transpose(0, 1)
    value = functional.ctc_loss(
        log_probs,
        torch.tensor(targets, dtype=torch.int64),
        torch.tensor(input_lengths, dtype=torch.int64),
        torch.tensor(target_lengths, dtype=torch.int64),
        **options,
    )
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), slope.numpy()


def ctc_batch(seed: int, blank: int, infeasible: bool = False) -> tuple[Array, list[Array], Array]:
    """Logits, targets with repeats and empty ones among them, and lengths, 0 among them."""
    generator = np.random.default_rng(seed)
    count, steps = int(generator.integers(1, 6)), int(generator.integers(1, 40))
    classes = int(generator.integers(3, 12))
    logits = generator.normal(size=(count, steps, classes)) * generator.choice([1, 4])
    labels = np.array([label for label in range(classes) if label != blank % classes])
    input_lengths = generator.integers(0, steps + 1, count)
    targets = []
    for length in input_lengths:
        target = labels[generator.integers(0, min(len(labels), 3), int(generator.integers(0, length + 1)))]
        while not infeasible and len(target) + np.sum(target[1:] == target[:-1]) > length:
            target = target[:-1]
        targets.append(target.astype(np.int64))
    return logits, targets, input_lengths


@pytest.mark.parametrize("seed", range(40))
def test_ctc(seed: int) -> None:
    blank = [0, 1, -1][seed % 3]
    logits, targets, input_lengths = ctc_batch(seed, blank)
    blank %= logits.shape[-1]
    target_lengths = [len(target) for target in targets]
    padded = pad([*targets, np.zeros(1, np.int64)])[:-1]
    padded[padded > logits.shape[-1]] = 0  # torch reads padding
    for reduction in ("none", "mean", "sum"):
        expected, slope = torch_ctc(logits, padded, input_lengths, target_lengths, blank=blank, reduction=reduction)
        layouts: list[tuple[Any, Any]] = [("NTC", logits), ("TNC", logits.swapaxes(0, 1))]
        for layout, given in layouts:
            for labels in (padded, np.concatenate(targets), targets):
                lengths = None if labels is targets else target_lengths
                value, gradient = value_and_grad(seqloss_rs.ctc_loss)(
                    given, labels, input_lengths, lengths, blank=blank, layout=layout, reduction=reduction
                )
                gradient = gradient if layout == "NTC" else gradient.swapaxes(0, 1)
                np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
                np.testing.assert_allclose(gradient, slope, atol=1e-10, rtol=0)


@pytest.mark.parametrize("seed", range(100, 120))
def test_ctc_from_log_probs_is_the_same_loss(seed: int) -> None:
    logits, targets, input_lengths = ctc_batch(seed, 0)
    log_probs = functional.log_softmax(torch.tensor(logits), dim=-1).numpy()
    from_logits, slope = value_and_grad(seqloss_rs.ctc_loss)(logits, targets, input_lengths, reduction="sum")
    value, posterior = value_and_grad(seqloss_rs.ctc_loss)(
        log_probs, targets, input_lengths, scores="log_probs", reduction="sum"
    )
    assert value == pytest.approx(from_logits, rel=1e-12, abs=1e-13)
    # Behind log_softmax the posterior becomes torch's gradient: p Σγ − γ.
    inside = np.arange(logits.shape[1])[None, :, None] < input_lengths[:, None, None]
    np.testing.assert_allclose(np.where(inside, np.exp(log_probs), 0) + posterior, slope, atol=1e-10)


@pytest.mark.parametrize("seed", range(200, 220))
def test_ctc_with_what_cannot_be(seed: int) -> None:
    logits, targets, input_lengths = ctc_batch(seed, 0, infeasible=True)
    target_lengths = [len(target) for target in targets]
    concatenated = np.concatenate(targets)
    for reduction in ("none", "mean", "sum"):
        for zero_infinity in (False, True):
            options: dict[str, Any] = {"reduction": reduction, "zero_infinity": zero_infinity}
            expected, slope = torch_ctc(logits, concatenated, input_lengths, target_lengths, **options)
            value, gradient = value_and_grad(seqloss_rs.ctc_loss)(
                logits, concatenated, input_lengths, target_lengths, **options
            )
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
            if zero_infinity:
                np.testing.assert_allclose(gradient, slope, atol=1e-10)
            assert np.isfinite(gradient).all()


def test_ctc_of_one_sequence_has_no_batch_axis() -> None:
    logits, target = np.random.default_rng(3).normal(size=(7, 5)), np.array([1, 2, 2])
    log_probs = functional.log_softmax(torch.tensor(logits), dim=-1)
    for reduction in ("none", "mean", "sum"):
        expected = functional.ctc_loss(
            log_probs, torch.tensor(target), torch.tensor(7), torch.tensor(3), reduction=reduction
        )
        value = seqloss_rs.ctc_loss(logits, target, reduction=reduction)
        assert np.shape(value) == ()
        assert value == pytest.approx(expected.item(), rel=1e-12)
        value = seqloss_rs.ctc_loss(logits, target, 7, 3, reduction=reduction)
        assert value == pytest.approx(expected.item(), rel=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Losses of single numbers


POINTWISE: list[tuple[str, dict[str, Any]]] = [
    ("mse_loss", {}),
    ("l1_loss", {}),
    ("huber_loss", {}),
    ("huber_loss", {"delta": 0.3}),
    ("smooth_l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("poisson_nll_loss", {}),
    ("poisson_nll_loss", {"full": True}),
    ("poisson_nll_loss", {"log_input": False}),
    ("poisson_nll_loss", {"log_input": False, "full": True, "eps": 0.1}),
]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("name", "options"), POINTWISE, ids=lambda value: str(value))
def test_pointwise(name: str, options: dict[str, Any], reduction: Any) -> None:
    generator = np.random.default_rng(2)
    here = seqloss_rs.mae_loss if name == "l1_loss" else getattr(seqloss_rs, name)
    there = functools.partial(getattr(functional, name), **options)
    for shape in ((5,), (3, 7), (2, 3, 17)):
        x, y = generator.normal(size=shape), generator.normal(size=shape) * 2
        if name == "poisson_nll_loss":
            x, y = np.abs(x), np.abs(y)
        y.flat[0] = x.flat[0]
        tensor = torch.tensor(x, requires_grad=True)
        expected = there(tensor, torch.tensor(y), reduction=reduction)
        (slope,) = torch.autograd.grad(expected.sum(), tensor)
        value, gradient = value_and_grad(here)(x, y, reduction=reduction, **options)
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("full", [False, True])
def test_gaussian(full: bool, reduction: Any) -> None:
    generator = np.random.default_rng(2)
    for shape in ((5,), (3, 7), (2, 3, 17)):
        x, y = generator.normal(size=(2, *shape))
        variances = np.abs(generator.normal(size=shape))
        variances.flat[:2] = 0, 1e-9
        tensors = [torch.tensor(array, requires_grad=True) for array in (x, y, variances)]
        one, two, three = tensors
        expected = functional.gaussian_nll_loss(one, two, three, full=full, eps=1e-3, reduction=reduction)
        slopes = torch.autograd.grad(expected.sum(), tensors)
        for argnums in (0, 2):
            ask = value_and_grad(seqloss_rs.gaussian_nll_loss, argnums=argnums)
            value, gradient = ask(x, y, variances, full=full, eps=1e-3, reduction=reduction)
            np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13, atol=1e-14)
            np.testing.assert_allclose(gradient, slopes[argnums].numpy(), rtol=1e-12, atol=1e-14)


def test_a_negative_variance_is_refused_here_as_there() -> None:
    with pytest.raises(ValueError, match="negative"):
        functional.gaussian_nll_loss(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"variances\[1\] is -1"):
        seqloss_rs.gaussian_nll_loss(np.zeros(2), np.zeros(2), np.array([1.0, -1.0]))


# ---------------------------------------------------------------------------------------------------------------------
# Tensors as arguments


def test_tensors_are_arguments() -> None:
    generator = np.random.default_rng(2)
    for dtype in (torch.float16, torch.float32, torch.float64):
        logits = torch.tensor(generator.normal(size=(3, 6, 5))).to(dtype)
        targets = torch.tensor(generator.integers(1, 5, (3, 6)))
        for loss, arguments in (
            (seqloss_rs.cross_entropy_loss, (logits, targets)),
            (seqloss_rs.ctc_loss, (logits, targets[:, :2], torch.tensor([6, 5, 4]), torch.tensor([2, 1, 0]))),
            (seqloss_rs.mse_loss, (logits, logits * 2)),
            (seqloss_rs.mae_loss, (logits.transpose(0, 2), (logits * 2).transpose(0, 2))),
            (seqloss_rs.reinforce_loss, (logits, targets, torch.tensor([1.0, 2.0, 3.0]))),
            (seqloss_rs.mse_loss, (list(logits.unbind()), list((logits + 1).unbind()))),
        ):
            arrays = [
                [entry.numpy() for entry in argument] if isinstance(argument, list) else argument.numpy()
                for argument in arguments
            ]
            assert bytes_of(value_and_grad(loss)(*arguments)) == bytes_of(value_and_grad(loss)(*arrays))


def test_a_tensor_as_out() -> None:
    logits = np.random.default_rng(2).normal(size=(3, 6, 5))
    _, gradient = value_and_grad(seqloss_rs.mse_loss)(logits, logits * 2)
    out: Any = torch.zeros(3, 6, 5, dtype=torch.float64)
    with pytest.raises(TypeError, match="out"):
        value_and_grad(seqloss_rs.mse_loss, out=out)(logits, logits * 2)
    value_and_grad(seqloss_rs.mse_loss, out=out.numpy())(logits, logits * 2)
    assert out.numpy().tobytes() == gradient.tobytes()


def test_tensors_of_bfloat16_are_arguments() -> None:
    """torch does not hand them over to NumPy; their bits are read."""
    logits = torch.tensor(np.random.default_rng(3).normal(size=(3, 6, 5))).to(torch.bfloat16)
    wide = logits.float().numpy()
    loss = value_and_grad(seqloss_rs.mse_loss)
    for given in (logits, logits.transpose(0, 2)):
        array = given.float().numpy().astype(ml_dtypes.bfloat16)
        assert bytes_of(loss(given, given * 2)) == bytes_of(loss(array, array * 2))
    assert loss(list(logits), list(wide))[1][0].dtype == ml_dtypes.bfloat16
    with pytest.raises(TypeError, match="requires grad"):
        loss(logits.requires_grad_(), wide)


def test_without_ml_dtypes_a_tensor_of_bfloat16_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"BFloat16 \(install ml_dtypes, or pass \.float\(\)\)"):
        seqloss_rs.mse_loss(torch.zeros(3, dtype=torch.bfloat16), np.zeros(3))
