"""The options of cross-entropy, and the policy gradient: against their definitions, central differences and torch."""

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import seqloss_rs
from cases import Array
from seqloss_rs import cross_entropy_loss, policy_gradient_logits, token_log_probs, value_and_grad

WIDTHS = [2, 7, 40, 65, 1500]


def log_sum_exp(x: Array) -> float:
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum())) if np.isfinite(top) else float(top)


def definition(
    x: Array,
    target: Any,
    *,
    scores: str = "logits",
    class_weights: Array | None = None,
    label_smoothing: float = 0.0,
    label_smoothing_over: str = "all",
    z_loss: float = 0.0,
    softcap: float | None = None,
    temperature: float = 1.0,
    focal_gamma: float = 0.0,
    poly_epsilon: float = 0.0,
) -> float:
    """One step in float64, as its formula is written."""
    x = x.astype(np.float64)
    if softcap is not None:
        x = softcap * np.tanh(x / softcap)
    x = x / temperature
    classes = len(x)
    weight = np.ones(classes) if class_weights is None else class_weights
    normal = log_sum_exp(x) if scores == "logits" else 0.0
    ln_p = np.log(x) if scores == "probs" else x - normal
    own = np.zeros(classes)
    own[target if np.ndim(target) == 0 else 0] = 1.0
    distribution = own if np.ndim(target) == 0 else np.asarray(target, np.float64)
    sharing = {
        "all": np.ones(classes, bool),
        "others": own == 0,
        "finite": ln_p > -np.inf,
    }[label_smoothing_over]
    share = np.where(sharing, label_smoothing / max(int(sharing.sum()), 1), 0.0)
    p = np.exp(ln_p)
    with np.errstate(invalid="ignore"):
        curve = -((1 - p) ** focal_gamma) * ln_p + poly_epsilon * (1 - p) ** (focal_gamma + 1)
        value = 0.0
        for c in range(classes):
            if distribution[c] * (1 - label_smoothing) != 0:
                value += weight[c] * (1 - label_smoothing) * distribution[c] * curve[c]
            if share[c] * weight[c] != 0:
                value -= weight[c] * share[c] * ln_p[c]
    return value + (z_loss * normal**2 if z_loss else 0.0)


def as_scores(logits: Array, scores: str) -> Array:
    log_p = logits - np.array([[log_sum_exp(row)] for row in logits])
    kinds: dict[str, Array] = {"logits": logits, "log_probs": log_p, "probs": np.exp(log_p)}
    return kinds[scores]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.2, "label_smoothing_over": "others"},
    {"label_smoothing": 0.3, "label_smoothing_over": "finite"},
    {"label_smoothing": 1.0},
    {"z_loss": 0.01},
    {"softcap": 5.0},
    {"temperature": 0.7},
    {"temperature": 3.0, "softcap": 2.0},
    {"focal_gamma": 2.0},
    {"focal_gamma": 0.5},
    {"focal_gamma": 3.5, "poly_epsilon": 1.5},
    {"poly_epsilon": -0.5},
    {"label_smoothing": 0.1, "label_smoothing_over": "others", "focal_gamma": 1.0, "z_loss": 0.02, "softcap": 8.0},
    {"label_smoothing": 0.1, "label_smoothing_over": "finite", "poly_epsilon": 1.0, "temperature": 1.5},
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scores", ["logits", "log_probs", "probs"])
@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_their_definition(options: dict[str, Any], scores: str, weighted: bool) -> None:
    if scores != "logits" and {"z_loss", "softcap", "temperature"} & set(options):
        pytest.skip("of logits only")
    generator = np.random.default_rng(7)
    for classes in WIDTHS:
        steps = 11
        x = as_scores(generator.normal(size=(steps, classes)) * 2, scores)
        targets = generator.integers(0, classes, steps)
        given = {**options, "scores": scores}
        if weighted:
            given["class_weights"] = generator.uniform(0.2, 2, classes)
        truth = np.array([definition(row, y, **given) for row, y in zip(x, targets, strict=True)])
        found, gradient = value_and_grad(cross_entropy_loss)(x, targets, reduction="none", **given)
        np.testing.assert_allclose(found, truth, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(cross_entropy_loss(x, targets, reduction="none", **given), found)
        for step in (0, steps - 1):
            for c in {0, classes - 1, int(targets[step]), int(generator.integers(classes))}:
                h = 1e-5 * (1.0 if scores != "probs" else x[step, c])
                up, down = x[step].copy(), x[step].copy()
                up[c] += h
                down[c] -= h
                slope = definition(up, targets[step], **given) - definition(down, targets[step], **given)
                assert gradient[step, c] == pytest.approx(slope / (2 * h), rel=2e-6, abs=2e-8)
        if scores == "logits" and not weighted:
            narrow = cross_entropy_loss(x.astype(np.float32), targets, reduction="none", **given)
            np.testing.assert_allclose(narrow, truth, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("options", [o for o in OPTIONS if not {"focal_gamma", "poly_epsilon"} & set(o)])
def test_distributions(options: dict[str, Any]) -> None:
    generator = np.random.default_rng(8)
    for classes in WIDTHS:
        x = generator.normal(size=(5, classes)) * 2
        targets = generator.dirichlet(np.ones(classes), 5)
        targets[0] *= 0.5  # need not add up to 1
        if options.get("label_smoothing_over") == "others":
            with pytest.raises(ValueError, match="goes with targets that are classes"):
                cross_entropy_loss(x, targets, **options)
            continue
        truth = [definition(row, y, **options) for row, y in zip(x, targets, strict=True)]
        found, gradient = value_and_grad(cross_entropy_loss)(x, targets, reduction="none", **options)
        np.testing.assert_allclose(found, truth, rtol=1e-11)
        for c in {0, classes - 1}:
            up, down = x[0].copy(), x[0].copy()
            up[c] += 1e-5
            down[c] -= 1e-5
            slope = (definition(up, targets[0], **options) - definition(down, targets[0], **options)) / 2e-5
            assert gradient[0, c] == pytest.approx(slope, rel=2e-6, abs=2e-8)


def test_a_masked_vocabulary() -> None:
    generator = np.random.default_rng(9)
    for classes in (8, 3000):
        x = generator.normal(size=(4, classes))
        x[:, ::3] = -np.inf
        targets = np.array([1, 2, 4, 5])
        plain = cross_entropy_loss(x, targets, label_smoothing=0.1, reduction="none")
        assert np.isposinf(plain).all()  # as in torch
        finite, gradient = value_and_grad(cross_entropy_loss)(
            x, targets, label_smoothing=0.1, label_smoothing_over="finite", reduction="none"
        )
        kept = x[:, np.isfinite(x[0])]
        places = {old: new for new, old in enumerate(np.flatnonzero(np.isfinite(x[0])))}
        others, expected = value_and_grad(cross_entropy_loss)(
            kept, np.array([places[y] for y in targets]), label_smoothing=0.1, reduction="none"
        )
        np.testing.assert_allclose(finite, others, rtol=1e-12)
        np.testing.assert_allclose(gradient[:, np.isfinite(x[0])], expected, atol=1e-14)
        assert (gradient[:, ~np.isfinite(x[0])] == 0).all()
        # Without smoothing, an impossible class is nothing to the others, and infinite as a target.
        assert np.isfinite(cross_entropy_loss(x, targets, reduction="none")).all()
        assert np.isposinf(cross_entropy_loss(x, np.zeros(4, int), reduction="none")).all()


@pytest.mark.parametrize("classes", [5, 200, 4000])
def test_a_sure_target_keeps_its_digits(classes: int) -> None:
    """p − 1 is taken before anything is rounded, in every width."""
    for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
        x = np.full((1, classes), -10.0)
        x[0, 3] = 6.0
        targets = [3]
        truth = math.log1p((classes - 1) * math.exp(-16))
        rest = (classes - 1) * math.exp(-16) / (1 + (classes - 1) * math.exp(-16))
        value, gradient = value_and_grad(cross_entropy_loss)(x.astype(dtype), targets, reduction="sum")
        assert value == pytest.approx(truth, rel=1e-6)
        # What float16 has between its numbers there is 6e-8.
        relative, absolute = (1e-2, 6e-8) if gradient.dtype.itemsize == 2 else (1e-6, 0)
        assert float(gradient[0, 3]) == pytest.approx(-rest, rel=relative, abs=absolute)


@pytest.mark.parametrize("classes", [1, 3, 100, 2000, 40_000])
def test_edges(classes: int) -> None:
    x = np.zeros((2, classes), np.float32)
    np.testing.assert_allclose(cross_entropy_loss(x, [0, 0], reduction="none"), math.log(classes), rtol=1e-6)
    x[0] = -np.inf
    assert np.isnan(cross_entropy_loss(x, [0, 0], reduction="none")).tolist() == [True, False]
    for value in (np.nan, np.inf):
        for place in {0, classes // 2, classes - 1}:
            x = np.zeros((2, classes), np.float32)
            x[1, place] = value
            found, gradient = value_and_grad(cross_entropy_loss)(x, [0, 0], reduction="none")
            assert np.isnan(found).tolist() == [False, True]
            assert np.isnan(gradient[1]).any()
            assert np.isfinite(gradient[0]).all()
            for scores, options in itertools.product(("logits", "log_probs", "probs"), OPTIONS):
                if scores == "logits" or not {"z_loss", "softcap", "temperature"} & set(options):
                    x = np.full((1, classes), 0.5)
                    x[0, 0] = np.nan
                    assert np.isnan(cross_entropy_loss(x, [0], scores=scores, **options))
    # Nothing valid: the mean is NaN, the sum 0.
    assert np.isnan(cross_entropy_loss(np.zeros((2, classes)), [-100, -100]))
    assert cross_entropy_loss(np.zeros((2, classes)), [-100, -100], reduction="sum") == 0


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("classes", [5, 128, 129, 1000, 1024, 5000, 20_003])
def test_narrow_logits_have_the_bits_of_the_same_numbers(classes: int, dtype: Any) -> None:
    """Numbers of 16 bits are float32 numbers: the loss is theirs, and the gradient theirs rounded once."""
    generator = np.random.default_rng(classes)
    narrow = generator.normal(size=(2, 5, classes), scale=6).astype(dtype)
    narrow[0, 1, ::3] = -np.inf
    wide = narrow.astype(np.float32)
    targets = generator.integers(0, classes, (2, 5))
    narrow[0, 1, targets[0, 1]] = wide[0, 1, targets[0, 1]] = 0
    targets[1, 2] = -100
    for options in OPTIONS:
        expected, slopes = value_and_grad(cross_entropy_loss)(wide, targets, reduction="none", **options)
        found, gradient = value_and_grad(cross_entropy_loss)(narrow, targets, reduction="none", **options)
        assert gradient.dtype == dtype
        assert np.asarray(found).tobytes() == np.asarray(expected).tobytes(), options
        assert gradient.tobytes() == slopes.astype(dtype).tobytes(), options
        alone = cross_entropy_loss(narrow, targets, reduction="none", **options)
        assert np.asarray(alone).tobytes() == np.asarray(expected).tobytes(), options
        for numbers, truth in ((narrow.copy(), gradient), (wide.copy(), slopes)):
            value, in_place = value_and_grad(cross_entropy_loss, out=numbers)(
                numbers, targets, reduction="none", **options
            )
            assert in_place is numbers
            assert np.asarray(value).tobytes() == np.asarray(expected).tobytes(), options
            assert in_place.tobytes() == truth.tobytes(), options


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_blocks_and_segments_are_no_seams(dtype: Any) -> None:
    """Rows of many blocks whose maximum comes first, last, or rises all along."""
    for classes in (1023, 1024, 1025, 20_000, 33_000):
        rising = np.linspace(-300, 300, classes)
        x = np.stack(
            [rising, rising[::-1], np.sin(np.arange(classes)), np.where(np.arange(classes) < 2048, -np.inf, 0)]
        )
        x = x.astype(dtype)
        targets = [classes - 1, 5, classes // 2, classes - 1]
        if not np.isfinite(x[3].astype(float)).any():
            x, targets = x[:3], targets[:3]
        wide = x.astype(np.float64)
        value, gradient = value_and_grad(cross_entropy_loss)(x, targets, reduction="none")
        truth = [definition(row, y) for row, y in zip(wide, targets, strict=True)]
        np.testing.assert_allclose(value, truth, rtol=1e-6, atol=1e-6)
        for row, slopes, y in zip(wide, gradient.astype(np.float64), targets, strict=True):
            p = np.exp(row - log_sum_exp(row))
            p[y] -= 1
            np.testing.assert_allclose(slopes, p, atol=1e-2 if np.dtype(dtype).itemsize == 2 else 3e-7)


def test_what_does_not_fit_is_named() -> None:
    x, y = np.zeros((2, 3)), [0, 1]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"temperature": 0.0}, "temperature is 0, expected a positive number"),
        ({"softcap": -1.0}, "softcap is -1, expected a positive number"),
        ({"z_loss": -1.0}, "z_loss is -1"),
        ({"focal_gamma": math.nan}, "focal_gamma is NaN"),
        ({"poly_epsilon": math.inf}, "poly_epsilon is inf"),
        ({"label_smoothing_over": "torch"}, 'label_smoothing_over is "torch", expected one of "all"'),
        ({"z_loss": 1.0, "scores": "log_probs"}, 'z_loss goes with scores="logits"'),
        ({"softcap": 1.0, "scores": "probs"}, 'softcap goes with scores="logits"'),
        ({"temperature": 2.0, "scores": "probs"}, 'temperature goes with scores="logits"'),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            cross_entropy_loss(x, y, **options)
    curves: list[dict[str, Any]] = [{"focal_gamma": 1.0}, {"poly_epsilon": 1.0}]
    for options in curves:
        with pytest.raises(ValueError, match=f"{next(iter(options))} goes with targets that are classes"):
            cross_entropy_loss(x, np.ones((2, 3)), **options)


def test_what_is_masked_is_not_read() -> None:
    generator = np.random.default_rng(10)
    for classes in (6, 3000):
        x = generator.normal(size=(3, 5, classes)).astype(np.float32)
        targets = generator.integers(0, classes, (3, 5))
        mask = generator.random((3, 5)) < 0.6
        expected = value_and_grad(cross_entropy_loss)(x, targets, mask=mask)
        dirty, wrong = x.copy(), targets.copy()
        dirty[~mask] = np.nan
        wrong[~mask] = classes + 7
        found = value_and_grad(cross_entropy_loss)(dirty, wrong, mask=mask)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
        assert (found[1][~mask] == 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# The policy gradient


@pytest.mark.parametrize("transform", [{}, {"temperature": 0.5}, {"softcap": 3.0, "temperature": 1.4}])
@pytest.mark.parametrize("classes", [2, 9, 70, 1400])
def test_policy_gradient_is_that_of_its_sum(classes: int, transform: dict[str, Any]) -> None:
    generator = np.random.default_rng(classes)
    x = generator.normal(size=(2, 4, classes)) * 1.5
    ids = generator.integers(0, classes, (2, 4))
    coefficients, entropy = generator.normal(size=(2, 2, 4))

    def total(x: Array, entropy: Array) -> float:
        found = token_log_probs(x, ids, **transform)
        return float((coefficients * found.log_probs).sum() + (entropy * found.entropy).sum())

    for weights in (entropy, np.zeros_like(entropy)):
        gradient = policy_gradient_logits(x, ids, coefficients, entropy=weights, **transform)
        for n, t in itertools.product(range(2), range(4)):
            for c in {0, classes - 1, int(ids[n, t])}:
                up, down = x.copy(), x.copy()
                up[n, t, c] += 1e-5
                down[n, t, c] -= 1e-5
                slope = (total(up, weights) - total(down, weights)) / 2e-5
                assert gradient[n, t, c] == pytest.approx(slope, rel=1e-6, abs=1e-9)
    same = policy_gradient_logits(x, ids, coefficients, entropy=0.25, **transform)
    filled = policy_gradient_logits(x, ids, coefficients, entropy=np.full((2, 4), 0.25), **transform)
    np.testing.assert_array_equal(same, filled)


def test_rows_without_any_probability() -> None:
    found = token_log_probs(np.full((1, 5), -np.inf), [2])
    assert np.isnan([found.log_probs, found.entropy, found.max_log_probs]).all()


def test_policy_gradient_forms() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(2, 3, 4, 6)).astype(np.float32)
    ids = generator.integers(0, 6, (2, 3, 4))
    coefficients = generator.normal(size=(2, 3, 4))
    expected = policy_gradient_logits(x, ids, coefficients, entropy=0.1)
    assert expected.dtype == np.float32
    flat = policy_gradient_logits(x.reshape(6, 4, 6), ids.reshape(6, 4), coefficients.reshape(6, 4), entropy=0.1)
    np.testing.assert_array_equal(flat.reshape(expected.shape), expected)
    ragged = policy_gradient_logits(
        [x[0, 0], x[0, 1, :2]], [ids[0, 0], ids[0, 1, :2]], [coefficients[0, 0], coefficients[0, 1, :2]], entropy=0.1
    )
    np.testing.assert_array_equal(ragged[0], expected[0, 0])
    np.testing.assert_array_equal(ragged[1], expected[0, 1, :2])
    over = x.copy()
    assert policy_gradient_logits(over, ids, coefficients, entropy=0.1, out=over) is over
    np.testing.assert_array_equal(over, expected)
    dirty, wrong = x.copy(), ids.copy()
    mask = generator.random(ids.shape) < 0.5
    dirty[~mask], wrong[~mask] = np.nan, 99
    masked = policy_gradient_logits(dirty, wrong, coefficients, entropy=0.1, mask=mask)
    np.testing.assert_array_equal(masked, np.where(mask[..., None], expected, 0))
    # −A ln π is REINFORCE.
    other = value_and_grad(seqloss_rs.reinforce_loss)(x, ids, coefficients, reduction="sum")[1]
    np.testing.assert_allclose(policy_gradient_logits(x, ids, -coefficients), other, atol=1e-6)
    with pytest.raises(ValueError, match=r"ids\[0, 0, 0\] is 9, which is not a class in 0..6|ids\[0, 0\] is 9"):
        policy_gradient_logits(x, np.full_like(ids, 9), coefficients)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_entropy_coefficient_beside_impossible_classes(dtype: Any) -> None:
    for least in (-np.inf, np.finfo(dtype).min):
        logits = np.array([[0.0, 1.0, least, -2.0, least]], dtype)
        for entropy in (0.5, 2.0, -1000.0):
            whole = seqloss_rs.policy_gradient_logits(logits, [1], [0.7], entropy=entropy)
            part = seqloss_rs.policy_gradient_logits(logits[:, [0, 1, 3]], [1], [0.7], entropy=entropy)
            np.testing.assert_array_equal(whole[:, [2, 4]], 0.0)
            np.testing.assert_allclose(whole[:, [0, 1, 3]], part, rtol=1e-5)
    alone = np.array([[0.0, -np.inf]], dtype)
    np.testing.assert_array_equal(seqloss_rs.policy_gradient_logits(alone, [0], [1.0], entropy=2.0), 0.0)


def test_logits_that_are_nan_rank_no_class_first() -> None:
    logits = np.zeros((3, 10), np.float32)
    logits[0], logits[1, 4] = np.nan, np.nan
    found = seqloss_rs.token_log_probs(logits, [1, 2, 3])
    assert found.rank.tolist() == [10, 10, 3]
    assert np.isnan(found.log_probs[:2]).all()
    assert found != seqloss_rs.token_log_probs(logits, [1, 2, 3])


def test_targets_that_are_distributions_cannot_be_ignored_by_class() -> None:
    targets = np.full((2, 4), 0.25)
    with pytest.raises(ValueError, match="ignore_index is 0, which goes with targets that are classes"):
        cross_entropy_loss(np.zeros((2, 4)), targets, ignore_index=0)
    assert cross_entropy_loss(np.zeros((2, 4)), targets) == pytest.approx(np.log(4))


# ---------------------------------------------------------------------------------------------------------------------
# What is empty, tiny or huge


@pytest.mark.parametrize("empty", [[], ()])
def test_an_empty_list_is_an_empty_batch(empty: Any) -> None:
    functions: tuple[Any, ...] = (cross_entropy_loss, seqloss_rs.reinforce_loss)
    for function in functions:
        arguments = (empty, empty) if function is cross_entropy_loss else (empty, empty, empty)
        assert math.isnan(function(*arguments))
        assert function(*arguments, reduction="sum") == 0.0
        assert function(*arguments, reduction="none") == []
        assert function(*arguments, reduction="sequence").shape == (0,)
        value, gradient = value_and_grad(function)(*arguments, lengths=[], mask=[], reduction="sum")
        assert (value, gradient) == (0.0, [])
    assert math.isnan(cross_entropy_loss(empty, empty, weights=empty))
    with pytest.raises(ValueError, match=r"targets has shape \(1,\), expected a list of 0 arrays"):
        cross_entropy_loss(empty, [1])
    with pytest.raises(ValueError, match=r"logits has shape \(0,\), expected 2 to 3 axes"):
        cross_entropy_loss(np.zeros(0), empty)


@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [("float32", 1e-40, "float32"), ("float16", 1e39, "float32"), ("float64", 1e-310, "float64")],
)
def test_a_temperature_is_a_normal_number(dtype: str, value: float, kind: str) -> None:
    logits = np.eye(3)[:2].astype(dtype)
    functions: tuple[Any, ...] = (cross_entropy_loss, token_log_probs)
    for name in ("temperature", "softcap"):
        for function in functions:
            with pytest.raises(ValueError, match=rf"{name} is 1e-?\d+, expected a normal number of {kind}"):
                function(logits, [0, 1], **{name: value})
    # What is too small for float32 is a number of float64.
    assert cross_entropy_loss(np.eye(3)[:2], [0, 1], temperature=1e-40) == 0.0


def test_a_target_beyond_all_integers_is_no_negative_one() -> None:
    with pytest.raises(ValueError, match=r"targets\[1\] is 9223372036854775807 or more, which is not a class in 0..3"):
        cross_entropy_loss(np.zeros((2, 3)), np.array([0, 2**63 + 5], np.uint64))
