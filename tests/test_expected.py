"""Expected BLEU and ROUGE, soft ROUGE-L and EISL: against sums over every hypothesis, papers' formulas, differences."""

import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_expected as reference
import sacrebleu
import seqloss_rs
from cases import FLOATS, LAYOUTS, attempt, bytes_of, lay_out
from reference_expected import Array, Numpy, softmax, through_softmax
from rouge_score import rouge_scorer  # type: ignore[import-untyped]  # it has no stubs
from seqloss_rs import (
    Bleu,
    bleu_loss,
    eisl_loss,
    expected_bleu_loss,
    expected_rouge_loss,
    reinforce_loss,
    rouge_loss,
    soft_rouge_l_loss,
    value_and_grad,
)

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")

LOSSES: dict[str, Any] = {
    "expected_bleu": expected_bleu_loss,
    "bag_of_ngrams": partial(expected_bleu_loss, estimate="bag_of_ngrams"),
    "zhukov_kretov": partial(expected_bleu_loss, estimate="zhukov_kretov"),
    "expected_rouge": partial(expected_rouge_loss, variant="rouge2"),
    "soft_rouge_l": soft_rouge_l_loss,
    "eisl": eisl_loss,
}
every_loss = pytest.mark.parametrize("name", LOSSES)

REFERENCES: dict[str, list[list[int]]] = {
    "of one": [[0, 1, 2, 0]],
    "with repeats": [[0, 0, 1, 0, 0, 1]],
    "all the same": [[1, 1, 1]],
    "of several": [[0, 1, 0], [2, 2, 0, 1, 2], [1]],
    "with an empty one": [[], [2, 1]],
    "shorter": [[2, 0]],
    "empty": [[]],
}
every_reference = pytest.mark.parametrize("references", REFERENCES.values(), ids=REFERENCES)


def random_probs(seed: int, steps: int = 4, classes: int = 3) -> Array:
    """Probabilities of every step."""
    return softmax(np.random.default_rng(seed).normal(size=(steps, classes)) * 1.5)


def call(loss: Any, probs: Array, references: Any, **options: Any) -> tuple[Any, Array]:
    """Value and gradient with respect to probabilities."""
    value, gradient = value_and_grad(partial(loss, scores="probs", **options))(probs, references)
    return value, gradient


class Torch:
    """The operations of formulas in torch."""

    if torch is not None:
        ones = staticmethod(partial(torch.ones, dtype=torch.float64))
        zeros = staticmethod(partial(torch.zeros, dtype=torch.float64))
        minimum = staticmethod(torch.minimum)
        stack = staticmethod(torch.stack)
        log = staticmethod(torch.log)
        exp = staticmethod(torch.exp)
        relu = staticmethod(torch.relu)

    @staticmethod
    def detach(x: Any) -> Any:
        return x.detach()


every_backend = pytest.mark.parametrize(
    "xp", [Numpy, pytest.param(Torch, marks=needs_torch)], ids=["value", "gradient"]
)


def check(xp: Any, formula: Any, probs: Array, value: float, gradient: Array) -> None:
    """Compare with a formula of (operations, probs): the value in NumPy, the gradient by torch."""
    if xp is Numpy:
        assert value == pytest.approx(float(formula(xp, probs)), rel=1e-12, abs=1e-13)
        return
    tensor = torch.tensor(probs, requires_grad=True)
    result = formula(xp, tensor)
    if result.requires_grad:
        result.backward()
    expected = np.zeros_like(probs) if tensor.grad is None else tensor.grad.numpy()
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# The sum over every hypothesis


@every_reference
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("steps", "classes"), [(4, 3), (7, 2)])
def test_expected_rouge_is_the_expectation(references: list[list[int]], order: int, steps: int, classes: int) -> None:
    probs = random_probs(order, steps, classes)
    references = [[token % classes for token in each] for each in references]
    for own in references:
        matches, slopes = reference.expected_matches(probs, [own], order)
        count, other = max(steps - order + 1, 0), max(len(own) - order + 1, 0)
        measures: dict[Any, float] = {"precision": count, "recall": max(other, 1), "f": (count + other) / 2}
        for measure, over in measures.items():
            value, gradient = call(expected_rouge_loss, probs, own, variant=f"rouge{order}", measure=measure)
            assert value == pytest.approx(1 - matches / over, rel=0, abs=1e-12)
            np.testing.assert_allclose(gradient, -slopes / over, rtol=0, atol=1e-12)
    variant: Any = f"rouge{order}"
    mean = expected_rouge_loss(probs, references, variant=variant, scores="probs")
    each = [expected_rouge_loss(probs, own, variant=variant, scores="probs") for own in references]
    assert mean == pytest.approx(np.mean(each), abs=1e-14)
    best, gradient = call(expected_rouge_loss, probs, references, variant=variant, multiple_references="best")
    assert best == pytest.approx(min(each), abs=1e-14)
    own = references[int(np.argmin(each))]
    np.testing.assert_array_equal(gradient, call(expected_rouge_loss, probs, own, variant=variant)[1])


@every_reference
def test_expected_rouge_is_the_expectation_of_the_loss(references: list[list[int]]) -> None:
    """Of the metric itself, and with the softmax inside."""
    logits = np.random.default_rng(3).normal(size=(4, 3))

    def score(hypotheses: Array) -> Any:
        arrays = [np.array(each, int) for each in references]
        options: Any = {"variant": "rouge2", "multiple_references": "mean", "reduction": "none"}
        return rouge_loss(hypotheses, [arrays] * len(hypotheses), **options)

    expected, slopes = reference.expectation(softmax(logits), score)
    value, gradient = value_and_grad(partial(expected_rouge_loss, variant="rouge2"))(logits, references)
    assert value == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(gradient, through_softmax(softmax(logits), slopes), rtol=0, atol=1e-12)


def test_expected_rouge_has_the_gradient_of_reinforce() -> None:
    """That of all hypotheses, each weighed by its probability, instead of that of a sample of them."""
    logits = np.random.default_rng(8).normal(size=(5, 3))
    references = [[0, 1, 0, 2], [1, 1]]
    hypotheses = np.indices((3,) * 5).reshape(5, -1).T
    log_probs = np.log(softmax(logits))[np.arange(5), hypotheses].sum(axis=1)

    def both(loss: Any, **options: Any) -> tuple[Array, Array]:
        """The gradient of 1 - loss over all hypotheses, and that of the expected loss."""
        scores = 1 - loss(hypotheses, [references] * len(hypotheses), reduction="none", **options)
        of_sequences = value_and_grad(partial(reinforce_loss, reduction="sequence"), grad_output=np.exp(log_probs))
        _, gradient = of_sequences(np.broadcast_to(logits, (len(hypotheses), 5, 3)), hypotheses, scores)
        options.pop("multiple_references", None)
        name = loss.__name__.replace("_loss", "")
        _, own = value_and_grad(partial(LOSSES[f"expected_{name}"], **options))(logits, references)
        return gradient.sum(axis=0), own

    for variant in ("rouge1", "rouge2"):
        sampled, exact = both(rouge_loss, variant=variant, multiple_references="mean")
        np.testing.assert_allclose(sampled, exact, rtol=0, atol=1e-14)
    # BLEU of the expected matches is not the expectation of BLEU.
    sampled, exact = both(bleu_loss, smoothing="add-k")
    assert np.abs(sampled - exact).max() > 5e-4


@every_reference
@pytest.mark.parametrize("more", [0.0, 1.0, 0.1])
@pytest.mark.parametrize("max_order", [1, 3, 4])
@pytest.mark.parametrize(("steps", "classes"), [(4, 3), (2, 3), (7, 2)])
def test_expected_bleu(references: list[list[int]], more: float, max_order: int, steps: int, classes: int) -> None:
    logits = np.random.default_rng(steps).normal(size=(steps, classes)) * 1.5
    probs = softmax(logits)
    references = [[token % classes for token in each] for each in references]
    found = [reference.expected_matches(probs, references, order) for order in range(1, max_order + 1)]
    score, factors = reference.bleu(steps, references, [matches for matches, _ in found], more, max_order)
    slopes: Any = -sum(factor * slopes for factor, (_, slopes) in zip(factors, found, strict=True))
    options: dict[str, Any] = {"smoothing": "add-k", "smoothing_value": more} if more else {"smoothing": "none"}
    options["max_order"] = max_order
    value, gradient = call(expected_bleu_loss, probs, references, **options)
    assert value == pytest.approx(1 - score, rel=0, abs=1e-12)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-11, atol=1e-12)
    value, gradient = value_and_grad(partial(expected_bleu_loss, **options))(logits, references)
    assert value == pytest.approx(1 - score, rel=0, abs=1e-12)
    np.testing.assert_allclose(gradient, through_softmax(probs, slopes), rtol=0, atol=1e-12)
    log_probs = np.log(probs)
    value, gradient = value_and_grad(partial(expected_bleu_loss, scores="log_probs", **options))(log_probs, references)
    assert value == pytest.approx(1 - score, rel=0, abs=1e-12)
    np.testing.assert_allclose(gradient, probs * slopes, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_ngrams_that_overlap_themselves(seed: int) -> None:
    """Up to four tokens of two, several times in a reference of nine."""
    generator = np.random.default_rng(seed)
    probs = random_probs(seed, 8, 2)
    own = generator.integers(0, 2, 9).tolist()
    for order in (2, 3, 4):
        matches, slopes = reference.expected_matches(probs, [own], order)
        value, gradient = call(expected_rouge_loss, probs, own, variant=f"rouge{order}", measure="precision")
        assert (1 - value) * (9 - order) == pytest.approx(matches, abs=1e-12)
        np.testing.assert_allclose(gradient * (order - 9), slopes, rtol=0, atol=1e-11)


@every_reference
def test_sure_tokens_give_the_metric(references: list[list[int]]) -> None:
    generator = np.random.default_rng(9)
    rouge_options: Any
    for steps in (0, 1, 2, 4, 9):
        for _ in range(5):
            tokens = generator.integers(0, 3, steps)
            probs, arrays = np.eye(3)[tokens], [np.array(each, int) for each in references]
            for smoothing, value in (("none", None), ("add-k", 1.0), ("add-k", 0.5)):
                options: dict[str, Any] = {"smoothing": smoothing, "smoothing_value": value, "max_order": 3}
                expected = bleu_loss([tokens], [arrays], **options)
                for estimate in ("exact", "bag_of_ngrams", "zhukov_kretov"):
                    found, _ = call(expected_bleu_loss, probs, arrays, estimate=estimate, **options)
                    assert found == pytest.approx(expected, abs=2e-15)
            for order in (1, 2, 3):
                for measure in ("f", "precision", "recall"):
                    rouge_options = {"variant": f"rouge{order}", "measure": measure}
                    for several in ("mean", "best"):
                        rouge_options["multiple_references"] = several
                        expected = rouge_loss([tokens], [arrays], **rouge_options)
                        found, _ = call(expected_rouge_loss, probs, arrays, **rouge_options)
                        assert found == pytest.approx(expected, abs=2e-15)
                # The count itself, exactly: the precision is a ratio of whole numbers.
                if steps >= order and len(references) == 1:
                    row = Bleu(max_order=3).statistics([tokens], [arrays])[0]
                    loss = call(expected_rouge_loss, probs, arrays, variant=f"rouge{order}", measure="precision")[0]
                    assert loss == 1 - row[1 + order] * (1 / row[4 + order])


def test_sure_tokens_give_what_sacrebleu_and_rouge_score_say() -> None:
    generator = np.random.default_rng(10)
    for steps in (1, 3, 7, 12):
        for _ in range(5):
            tokens, own = generator.integers(0, 4, steps), generator.integers(0, 4, 8)
            hypothesis, text = (" ".join(f"w{token}" for token in each) for each in (tokens, own))
            theirs = sacrebleu.sentence_bleu(hypothesis, [text], smooth_method="add-k", tokenize="none").score
            found = expected_bleu_loss(np.eye(4)[tokens], own, scores="probs")
            assert found == pytest.approx(1 - theirs / 100, abs=1e-14)
            for variant in ("rouge1", "rouge2", "rouge3"):
                score = rouge_scorer.RougeScorer([variant]).score(text, hypothesis)[variant].fmeasure
                options: Any = {"variant": variant, "scores": "probs"}
                assert expected_rouge_loss(np.eye(4)[tokens], own, **options) == pytest.approx(1 - score, abs=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Papers' formulas


@every_reference
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("estimate", ["bag_of_ngrams", "zhukov_kretov"])
@every_backend
def test_estimates_of_papers(references: list[list[int]], seed: int, estimate: str, xp: Any) -> None:
    probs = random_probs(seed, 5)
    for order in (1, 2, 3):
        formula = getattr(reference, estimate)
        own = references[-1]

        def loss(xp: Any, probs: Any, order: int = order, own: Any = own, formula: Any = formula) -> Any:
            return 1 - formula(xp, probs, [own], order) / (6 - order)

        options: dict[str, Any] = {"variant": f"rouge{order}", "measure": "precision", "estimate": estimate}
        check(xp, loss, probs, *call(expected_rouge_loss, probs, own, **options))

    def bleu(xp: Any, probs: Any) -> Any:
        total = xp.zeros(())
        for order in (1, 2, 3):
            more = min(order - 1, 1)
            total = total + xp.log((formula(xp, probs, references, order) + more) / (6 - order + more)) / 3
        closest = min((len(each) for each in references), key=lambda length: (abs(length - 5), length))
        return 1 - float(np.exp(min(0.0, 1 - closest / 5))) * xp.exp(total)

    if any(references):
        value, gradient = call(expected_bleu_loss, probs, references, estimate=estimate, max_order=3)
        check(xp, bleu, probs, value, gradient)


def test_the_bag_of_ngrams_is_never_less() -> None:
    differs = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        probs = random_probs(seed, 6, 3)
        own = generator.integers(0, 3, 5).tolist()
        for order in (1, 2, 3):
            options: dict[str, Any] = {"variant": f"rouge{order}", "measure": "precision"}
            bound = (1 - call(expected_rouge_loss, probs, own, estimate="bag_of_ngrams", **options)[0]) * (7 - order)
            exact, _ = reference.expected_matches(probs, [own], order)
            assert bound >= exact - 1e-14
            differs += bound > exact + 1e-6
    assert differs > 50


def test_zhukov_and_kretov_is_on_either_side() -> None:
    signs = set()
    for seed in range(100):
        probs = random_probs(seed, 6, 2)
        exact, _ = reference.expected_matches(probs, [[0, 0, 1]], 1)
        loss, _ = call(expected_rouge_loss, probs, [0, 0, 1], estimate="zhukov_kretov", measure="precision")
        if abs((1 - loss) * 6 - exact) > 1e-6:
            signs.add(np.sign((1 - loss) * 6 - exact))
    assert signs == {-1.0, 1.0}


@every_reference
@pytest.mark.parametrize("gamma", [0.01, 0.3, 5.0])
@every_backend
def test_soft_rouge_l(references: list[list[int]], gamma: float, xp: Any) -> None:
    probs = random_probs(7, 5)
    for own in references:

        def loss(xp: Any, probs: Any, own: list[int] = own) -> Any:
            return 1 - 2 / (5 + len(own)) * reference.soft_subsequence(xp, probs, own, gamma)

        check(xp, loss, probs, *call(soft_rouge_l_loss, probs, own, gamma=gamma))
    each = [soft_rouge_l_loss(probs, own, scores="probs", gamma=gamma) for own in references]
    mean = soft_rouge_l_loss(probs, references, scores="probs", gamma=gamma)
    best = soft_rouge_l_loss(probs, references, scores="probs", gamma=gamma, multiple_references="best")
    assert (mean, best) == pytest.approx((np.mean(each), np.min(each)), abs=1e-14)


def test_soft_rouge_l_becomes_rouge_l() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        tokens, own = generator.integers(0, 4, 12), generator.integers(0, 4, 9)
        for measure in ("f", "precision", "recall"):
            options: Any = {"measure": measure}
            hard = rouge_loss([tokens], [own], **options)
            soft = [soft_rouge_l_loss(np.eye(4)[tokens], own, scores="probs", gamma=g, **options) for g in (0.1, 1e-6)]
            assert soft[0] >= hard - 1e-12
            assert soft[1] == pytest.approx(hard, abs=1e-4)


@every_reference
@pytest.mark.parametrize("weights", [(1.0,), (0.8, 0.2), (0.0, 1.0, 2.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)])
@every_backend
def test_eisl(references: list[list[int]], weights: tuple[float, ...], xp: Any) -> None:
    probs = random_probs(8, 5)
    probs[2] = [1 - 1e-9, 1e-9, 0]
    probs[2] /= probs[2].sum()
    for temperature in (1.0, 0.3):
        options: dict[str, Any] = {"order_weights": weights, "temperature": temperature}

        def loss(xp: Any, probs: Any, temperature: float = temperature) -> Any:
            each = [reference.eisl(xp, probs, own, weights, temperature) for own in references]
            return sum(each) / len(each)

        with np.errstate(divide="ignore"):
            check(xp, loss, np.maximum(probs, 1e-300), *call(eisl_loss, probs, references, **options))


# ---------------------------------------------------------------------------------------------------------------------
# Layouts, dtypes, lengths


def problem(seed: int = 0) -> tuple[list[Array], list[list[Array]]]:
    """Logits of sequences of several lengths, and references."""
    generator = np.random.default_rng(seed)
    logits = [generator.normal(size=(steps, 7)) * 2 for steps in (6, 0, 3, 9)]
    references = [[generator.integers(0, 7, length) for length in (5, 8)] for _ in logits]
    return logits, references


@every_loss
@pytest.mark.parametrize("dtype", FLOATS)
def test_layouts(name: str, dtype: str) -> None:
    loss = LOSSES[name]
    arrays, references = problem()
    arrays = [array.astype(FLOATS[dtype]) for array in arrays]
    exact = [value_and_grad(loss)(array.astype(np.float64), own) for array, own in zip(arrays, references, strict=True)]
    atol = {"float64": 1e-15, "float32": 1e-6}.get(dtype, 4e-3)
    values, gradients = value_and_grad(partial(loss, reduction="none"))(arrays, references)
    assert values.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(values, [value for value, _ in exact], atol=min(atol, 1e-6))
    for gradient, array, (_, expected) in zip(gradients, arrays, exact, strict=True):
        assert (gradient.dtype, gradient.shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(gradient.astype(float), expected, atol=atol)
    # Padded, with NaN beyond the lengths, and into an array of the caller's.
    lengths = [len(array) for array in arrays]
    padded = np.full((4, 9, 7), np.nan, arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    out = np.full_like(padded, 7)
    for target in (out, padded.copy()):
        logits = padded if target is out else target
        value, gradient = value_and_grad(loss, out=target)(logits, references, lengths=lengths)
        assert gradient is target
        assert value == loss(arrays, references)
        for row, length, own in zip(gradient, lengths, gradients, strict=True):
            if dtype in ("float64", "float32"):
                np.testing.assert_array_equal(row[:length] * 4, own)
            assert not np.any(row[length:])
    value, gradient = value_and_grad(loss)(arrays[0], references[0])
    assert type(value) is float
    assert value == loss([arrays[0]], [references[0]])
    np.testing.assert_array_equal(gradient, value_and_grad(loss)([arrays[0]], [references[0]])[1][0])


@every_loss
def test_layouts_of_references(name: str) -> None:
    loss = LOSSES[name]
    logits = np.random.default_rng(1).normal(size=(2, 5, 6))
    rows = np.array([[1, 2, 3, 9], [4, 5, 0, 1]])
    expected = loss(logits, [np.array([1, 2, 3]), np.array([4, 5, 0, 1])], reduction="none")
    for own in (rows, rows.tolist(), rows.astype(np.uint8)):
        found = loss(logits, own, reference_lengths=[3, 4], reduction="none")
        np.testing.assert_array_equal(found, expected)
    for own, options in (
        (rows[0, :3], {}), ([1, 2, 3], {}), (rows[0], {"reference_lengths": 3}), (rows[0], {"reference_lengths": [3]}),
        ([rows[0, :3]], {}), (rows[:1], {"reference_lengths": [3]}),
    ):  # fmt: skip
        assert loss(logits[0], own, **options) == expected[0]
    several = np.array([[[1, 2, 9], [4, 5, 1]], [[3, 2, 0], [9, 9, 9]]])
    found = loss(logits, several, reference_lengths=[[2, 3], [3, 0]], reduction="none")
    np.testing.assert_array_equal(found, loss(logits, [[[1, 2], [4, 5, 1]], [[3, 2, 0], []]], reduction="none"))
    assert loss(logits[0], several[0], reference_lengths=[2, 3]) == found[0]
    labels = np.where(np.arange(4) < np.array([[3], [4]]), rows, -100)
    np.testing.assert_array_equal(loss(logits, labels, pad_id=-100, reduction="none"), expected)
    assert loss(logits[0], labels[0], pad_id=-100) == expected[0]
    assert loss(logits[0], labels[0, :3].astype(object)) == expected[0]
    np.testing.assert_array_equal(loss(logits, labels.astype(object), pad_id=-100, reduction="none"), expected)
    ended = np.array([[1, 2, 3, 5, 8, 9], [4, 5, 0, 1, 8, 8]])
    assert loss(logits, ended, eos_id=8) == loss(logits, [[1, 2, 3, 5], [4, 5, 0, 1]])
    assert loss(logits[0], [[1, 2, 8, 77], [8]], eos_id=8) == loss(logits[0], [[1, 2], []])
    both = loss(logits, [[[1, 2, 3], [4, 5]], [[0]]], reduction="none")
    assert both[0] == loss(logits[0], [[1, 2, 3], [4, 5]])
    assert loss(logits, np.array([[[1, 2], [4, 5]], [[3, 2], [0, 5]]]), reduction="none")[1] == loss(
        logits[1], [[3, 2], [0, 5]]
    )


@every_loss
def test_reductions(name: str) -> None:
    loss = LOSSES[name]
    arrays, references = problem(1)
    each = loss(arrays, references, reduction="none")
    for reduction in ("sequence", "sequence_mean"):
        np.testing.assert_array_equal(loss(arrays, references, reduction=reduction), each)
    assert loss(arrays, references, reduction="sum") == pytest.approx(each.sum())
    for reduction in ("mean", "batch_mean"):
        assert loss(arrays, references, reduction=reduction) == pytest.approx(each.mean())
    assert loss(arrays, references, normalizer=8.0) == pytest.approx(each.sum() / 8)
    upstream = np.array([2.0, 1.0, -1.0, 0.5])
    _, gradients = value_and_grad(partial(loss, reduction="none"), grad_output=upstream)(arrays, references)
    for factor, array, own, gradient in zip(upstream, arrays, references, gradients, strict=True):
        np.testing.assert_allclose(gradient, factor * value_and_grad(loss)(array, own)[1], atol=1e-15)
    total = seqloss_rs.LossSum()
    loss(arrays, references, reduction=total)
    assert total.mean == pytest.approx(each.mean())
    assert total.count == 4


@every_loss
@pytest.mark.parametrize("scores", ["logits", "log_probs", "probs"])
def test_differences(name: str, scores: str) -> None:
    logits = np.random.default_rng(5).normal(size=(6, 5))
    first = {"logits": logits, "log_probs": np.log(softmax(logits)), "probs": softmax(logits)}[scores]
    loss = partial(LOSSES[name], references=[[1, 2, 1, 2, 4], [3, 1, 3]], scores=scores)
    _, gradient = value_and_grad(loss)(first)
    step = 1e-5
    for index in np.ndindex(*first.shape):
        up, down = first.copy(), first.copy()
        up[index] += step
        down[index] -= step
        assert gradient[index] == pytest.approx((loss(up) - loss(down)) / (2 * step), abs=2e-8)


# ---------------------------------------------------------------------------------------------------------------------
# Limits


@every_loss
def test_extreme_logits(name: str) -> None:
    generator = np.random.default_rng(4)
    for dtype in ("float32", "float64"):
        for size in (1e2, 1e3, 1e4):
            logits = (generator.choice([-1.0, 1.0], size=(3, 8, 6)) * size).astype(dtype)
            for smoothing in ({}, {"smoothing": "none"}) if "bleu" in name else ({},):
                value, gradient = value_and_grad(partial(LOSSES[name], **smoothing))(logits, logits.argmax(-1) % 5)
                assert np.isfinite(value)
                assert np.isfinite(gradient).all()
        logits[:, :, 3] = -np.inf
        value, gradient = value_and_grad(LOSSES[name])(logits, [[3, 1, 3], [3], [1, 2]])
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert not gradient[:, :, 3].any()


@pytest.mark.parametrize("smoothing", ["none", "add-k"])
def test_tiny_probabilities_keep_their_digits(smoothing: Any) -> None:
    """The expectation of what is nearly impossible is not lost beside 1."""
    probs = np.full((6, 3), [1e-60, 2e-60, 1.0])
    for own in ([0, 1, 0, 0], [0, 1]):
        for order in (1, 2):
            _, slopes = reference.expected_matches(probs, [own], order)
            options: dict[str, Any] = {"variant": f"rouge{order}", "measure": "precision"}
            _, gradient = call(expected_rouge_loss, probs, own, **options)
            np.testing.assert_allclose(gradient * (order - 7), slopes, rtol=1e-12)
        found = [reference.expected_matches(probs, [own], order)[0] for order in (1, 2)]
        score, _ = reference.bleu(6, [own], found, 0.0 if smoothing == "none" else 1.0, 2)
        value = expected_bleu_loss(probs, own, scores="probs", max_order=2, smoothing=smoothing)
        assert 1 - value == pytest.approx(score, rel=1e-12, abs=1e-15)


@every_loss
def test_what_is_empty_or_too_short(name: str) -> None:
    loss = LOSSES[name]
    for logits, own in ((np.zeros((0, 3)), [1, 2]), (np.zeros((4, 3)), []), (np.zeros((0, 3)), [])):
        value, gradient = value_and_grad(loss)(logits, np.array(own, int))
        assert value == (1.0 if name != "eisl" else 20.0 if own else 0.0)
        assert gradient.shape == logits.shape
        assert not gradient.any()
    assert np.isnan(loss([], []))
    assert loss([], [], reduction="sum") == 0
    assert loss(np.zeros((0, 5, 3)), np.zeros((0, 2), int), reduction="none").shape == (0,)


def test_eisl_of_what_is_short() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3))
    bigram = eisl_loss(logits, [1, 0], order_weights=[0, 1])
    assert bigram == eisl_loss(logits, [1, 0], order_weights=[0, 0, 0, 1]) > 0
    assert eisl_loss(logits, [1], order_weights=[0.5, 0.5]) == eisl_loss(logits, [1], order_weights=[1])
    assert eisl_loss(logits, [1, 0], order_weights=[1e308, 1e308]) == eisl_loss(logits, [1, 0], order_weights=[1, 1])
    assert eisl_loss([[1.0, 0.0]] * 3, [1, 1], scores="probs") == 20
    assert eisl_loss([[1.0, 0.0]] * 3, [0, 0], scores="probs") == 0


def test_too_short_for_an_order() -> None:
    probs = np.eye(3)[[0, 1]]
    assert expected_rouge_loss(probs, [0, 1, 2], variant="rouge3", scores="probs") == 1
    assert expected_bleu_loss(probs, [0, 1], scores="probs", smoothing="none") == 0
    value, gradient = call(expected_bleu_loss, random_probs(1), [0, 1], smoothing="none")
    assert value == 1
    assert not gradient.any()


UNUSED: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "an order without matches": (expected_bleu_loss, {"smoothing": "none"}, [0, 1]),
    "a reference too short for rouge2": (expected_rouge_loss, {"variant": "rouge2"}, [1]),
    "a reference too short for rouge3": (expected_rouge_loss, {"variant": "rouge3"}, [1, 0]),
    "a sequence too short for rouge9": (expected_rouge_loss, {"variant": "rouge9"}, [1, 0] * 5),
    "an order without n-grams": (eisl_loss, {"order_weights": [0, 0, 1]}, [1, 0]),
    "the worse of two": (expected_rouge_loss, {"multiple_references": "best"}, [[0], [1, 1, 1, 1, 1]]),
    "clipped": (expected_rouge_loss, {"estimate": "bag_of_ngrams"}, [1]),
    "matches": (soft_rouge_l_loss, {}, [1, 0]),
    "probabilities below the least": (eisl_loss, {"order_weights": [1]}, [1]),
}


@pytest.mark.parametrize(("loss", "options", "references"), UNUSED.values(), ids=UNUSED)
def test_nan_shows_in_value_and_gradient_wherever_it_is_read(loss: Any, options: Any, references: Any) -> None:
    logits = np.random.default_rng(1).normal(size=(2, 4, 3))
    logits[0, 1, 1] = np.nan
    columns = sorted({*np.hstack(references)})
    for scores in ("logits", "log_probs", "probs"):
        first = {"logits": logits, "log_probs": -abs(logits), "probs": 0.5 ** (1 + abs(logits))}[scores]
        function = partial(loss, scores=scores, reduction="none", **options)
        value, gradient = value_and_grad(function)(first, [references, references])
        assert np.isnan(value).tolist() == np.isnan(function(first, [references, references])).tolist() == [True, False]
        read = gradient[..., columns] if scores != "logits" else gradient
        assert np.isnan(read[0]).all()
        assert np.isfinite(gradient[1]).all()
        assert np.isfinite(np.delete(gradient[0], columns, axis=-1)).all() or scores == "logits"


@every_loss
def test_nan_that_is_not_read_changes_nothing(name: str) -> None:
    """Where references are empty; and of probabilities in the columns of other tokens, however many there are."""
    logits = np.full((4, 3), np.nan)
    value, gradient = value_and_grad(LOSSES[name])(logits, np.zeros(0, int))
    assert value == (0 if name == "eisl" else 1)
    assert not gradient.any()
    for scores in ("probs", "log_probs"):
        first = random_probs(3, 6, 4) if scores == "probs" else np.log(random_probs(3, 6, 4))
        few, many = np.full((6, 5), 7.0), np.full((6, 5000), np.nan)
        few[:, :3] = many[:, [17, 300, 4000]] = first[:, :3]
        results = []
        for own, references in ((few, [[0, 1, 0], [2, 1]]), (many, [[17, 300, 17], [4000, 300]])):
            results.append(value_and_grad(partial(LOSSES[name], scores=scores))(own, references))
        assert results[0][0] == results[1][0]
        np.testing.assert_array_equal(results[1][1][:, [17, 300, 4000]], results[0][1][:, :3])
        assert not np.delete(results[1][1], [17, 300, 4000], axis=1).any()


@every_loss
def test_what_is_no_probability_is_named(name: str) -> None:
    probs = np.full((2, 4, 3), 0.3)
    references = [[0, 2], [2, 1]]
    for scores, wrong in (("probs", (1.3, -1e-9, np.inf, -np.inf)), ("log_probs", (0.5, np.inf))):
        loss = partial(LOSSES[name], scores=scores)
        good = probs if scores == "probs" else np.log(probs)
        kind = "a probability" if scores == "probs" else "a log-probability"
        for number in wrong:
            bad = good.copy()
            bad[1, 2, 1] = number
            for own, given, place in (
                (bad, references, "1, 2, 1"), (bad[1], references[1], "2, 1"), (list(bad), references, r"1\]\[2, 1"),
            ):  # fmt: skip
                for function in (loss, value_and_grad(loss)):
                    with pytest.raises(ValueError, match=rf"logits\[{place}\] is \S+, expected {kind}$"):
                        function(own, given)
            # Nobody asks for that token, or for that step.
            assert loss(bad, [[0, 2], [2, 0]]) == loss(good, [[0, 2], [2, 0]])
            assert loss(bad, references, lengths=[4, 2]) == loss(good, references, lengths=[4, 2])


@every_loss
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_probability_may_be_rounded_to_a_little_more_than_1(name: str, dtype: str) -> None:
    sure = np.array([[1, 0], [0, 1], [1, 0]], FLOATS[dtype])
    above = np.nextafter(sure, FLOATS[dtype].type(2)) if dtype != "bfloat16" else sure * FLOATS[dtype].type(1.0078125)
    assert above.max() > 1
    for scores, good, more in (
        ("probs", sure, np.where(sure == 1, above, sure)),
        ("log_probs", np.log(sure.astype(float) + 1e-30).astype(sure.dtype), None),
    ):
        more = np.where(good == 0, FLOATS[dtype].type(1e-7), good) if more is None else more
        loss = value_and_grad(partial(LOSSES[name], scores=scores))
        for own, expected in zip(loss(more, [0, 1, 0]), loss(good, [0, 1, 0]), strict=True):
            np.testing.assert_array_equal(own, expected)


def test_probabilities_that_sum_to_more_than_1_are_not_cut_off() -> None:
    probs = np.full((2, 4), 0.9)
    value, gradient = call(expected_rouge_loss, probs, [0, 1, 2, 3], measure="precision")
    assert value == pytest.approx(1 - 4 * (1 - 0.1**2) / 2, abs=1e-14)
    assert (gradient < 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Machine


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = seqloss_rs.get_num_threads()
    yield
    seqloss_rs.set_num_threads(before)


@every_loss
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads(name: str) -> None:
    generator = np.random.default_rng(6)
    logits = generator.normal(size=(16, 30, 50)).astype(np.float32)
    references = generator.integers(0, 50, (16, 30)) % generator.integers(2, 50, (16, 1))
    results = []
    for count in (1, 2, 3):
        seqloss_rs.set_num_threads(count)
        value, gradient = value_and_grad(partial(LOSSES[name], reduction="none"))(logits, references)
        results.append((value.tobytes(), gradient.tobytes()))
    assert results[0] == results[1] == results[2]
    alone = [LOSSES[name](one, own) for one, own in zip(logits, references, strict=True)]
    assert np.array(alone, np.float32).tobytes() == results[0][0]


@every_loss
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_in_memory_gives_the_same_bits(name: str, layout: str) -> None:
    references = np.array([[1, 2, 1, 4], [0, 4, 3, 3]])
    for dtype in FLOATS.values():
        logits = np.random.default_rng(2).normal(size=(2, 6, 5)).astype(dtype)
        expected = bytes_of(value_and_grad(LOSSES[name])(logits, references))
        own = [lay_out(argument, LAYOUTS[layout]) for argument in (logits, references)]
        if layout == "byte_swapped" and dtype.name == "bfloat16":
            continue
        assert bytes_of(value_and_grad(LOSSES[name])(*own)) == expected


@every_loss
@pytest.mark.parametrize("scores", ["logits", "log_probs", "probs"])
def test_an_out_that_overlaps_the_scores_is_right_or_refused(name: str, scores: Any) -> None:
    probs = softmax(np.random.default_rng(3).normal(size=(3, 7, 5)))
    first = {"logits": probs * 3, "log_probs": np.log(probs), "probs": probs}[scores]
    loss = partial(LOSSES[name], scores=scores)
    references = [[1, 2, 1], [4, 0, 4, 4], [2]]
    expected = bytes_of(value_and_grad(loss)(first, references))
    for start in (0, 1, 5, 35, 105):
        buffer = np.zeros(2 * first.size)
        own, out = (buffer[place : place + first.size].reshape(first.shape) for place in (0, start))
        own[...] = first
        result = attempt(lambda out=out, own=own: value_and_grad(loss, out=out)(own, references))  # type: ignore[misc]
        assert isinstance(result, ValueError) or bytes_of(result) == expected, start
        assert start not in (0, 105) or not isinstance(result, ValueError)
    out = np.zeros_like(first)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out"):
        value_and_grad(loss, out=out)(first, references)


@every_loss
def test_garbage_is_computed_or_refused(name: str) -> None:
    generator = np.random.default_rng(11)
    odd = [np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, -0.0, 1.0, 5e-324]
    refused = 0
    for _ in range(400):
        shape = generator.integers(0, 5, generator.choice([1, 2, 3, 3, 3, 4]))
        logits = generator.random(shape).astype(generator.choice(list(FLOATS)) if generator.random() < 0.5 else float)
        if logits.size and generator.random() < 0.5:
            with np.errstate(over="ignore"):
                logits.flat[generator.integers(logits.size)] = generator.choice(odd)
        references = generator.integers(-1, 5, generator.integers(0, 5, generator.integers(1, 4)))
        options: dict[str, Any] = {"scores": generator.choice(["logits", "log_probs", "probs"])}
        for keyword in ("lengths", "reference_lengths"):
            if generator.random() < 0.2:
                options[keyword] = generator.integers(-1, 6, generator.integers(0, 4))
        loss = partial(LOSSES[name], reduction="none", **options)
        result = attempt(lambda: value_and_grad(loss)(logits, references))  # noqa: B023
        if isinstance(result, Exception):
            refused += 1
            continue
        value, gradient = result
        assert bytes_of(value) == bytes_of(loss(logits, references))
        assert gradient.shape == logits.shape
        assert not np.isinf(np.asarray(value)).any()
    assert 20 < refused < 390


# ---------------------------------------------------------------------------------------------------------------------
# Errors

LOGITS = np.zeros((2, 4, 3))
WRONG: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("expected_bleu", {"references": [[0, 1], [0, 3]]}, ValueError, r"references\[1\]\[1\] is 3, which is not a class"),
    ("expected_bleu", {"references": [[[0]], [[1], [0, -1]]]}, ValueError, r"references\[1\]\[1\]\[1\] is -1, which"),
    ("expected_bleu", {"references": [[0, 1]]}, ValueError, "references has length 1, expected 2"),
    ("expected_bleu", {"references": [[[0]], []]}, ValueError, r"references\[1\] is empty"),
    ("expected_bleu", {"references": ["a", "b"]}, TypeError, "references are strings, expected token ids"),
    ("expected_bleu", {"references": [[["a"]], [["b"]]]}, TypeError, "references are lists of tokens"),
    ("expected_bleu", {"references": [[0.5], [1]]}, TypeError, "references"),
    ("expected_bleu", {"references": None}, TypeError, "^references has type NoneType, expected token ids$"),
    ("expected_bleu", {"references": 3}, TypeError, "^references has type int, expected token ids$"),
    ("expected_bleu", {"references": "abc"}, TypeError, "^references has type str, expected token ids$"),
    (
        "expected_bleu",
        {"references": np.array([["a"], ["b"]])},
        TypeError,
        "references are strings, expected token ids",
    ),
    ("expected_bleu", {"references": np.zeros((2, 2, 2, 2), int)}, ValueError, r"expected \(N, R\), or \(N, K, R\)$"),
    ("soft_rouge_l", {"references": np.ma.zeros((2, 2), int)}, TypeError, "references.data and reference_lengths=$"),
    ("eisl", {"references": [np.ma.zeros(2, int)] * 2}, TypeError, r"references\[0\].data and reference_lengths=$"),
    ("expected_rouge", {"logits": np.ma.zeros((2, 4, 3))}, TypeError, "pass logits.data and lengths=$"),
    ("eisl", {"logits": [np.ma.zeros((4, 3))] * 2}, TypeError, r"pass logits\[0\].data and lengths=$"),
    (
        "eisl",
        {"logits": np.zeros((4, 3)), "references": np.zeros((2, 2, 2), int)},
        ValueError,
        r"references has shape \(2, 2, 2\), expected \(R,\), or \(K, R\)",
    ),
    ("eisl", {"pad_id": 0.5}, TypeError, "pad_id is 0.5, expected an integer"),
    ("expected_rouge", {"references": [[0, -100], [1, 2]]}, ValueError, r"references\[0\]\[1\] is -100, which is not"),
    ("expected_bleu", {"estimate": "bon"}, ValueError, 'estimate is "bon", expected one of "exact"'),
    ("expected_bleu", {"max_order": 0}, ValueError, "max_order is 0"),
    ("expected_bleu", {"max_order": 33}, ValueError, "max_order is 33"),
    ("expected_bleu", {"smoothing": "exp"}, ValueError, 'smoothing is "exp", expected one of "add-k", "none"'),
    ("expected_bleu", {"smoothing": "none", "smoothing_value": 1.0}, ValueError, 'smoothing_value goes with "add-k"'),
    ("expected_bleu", {"smoothing_value": -1.0}, ValueError, "smoothing_value is -1"),
    ("expected_bleu", {"scores": "logprobs"}, ValueError, 'scores is "logprobs"'),
    ("expected_bleu", {"reduction": "corpus"}, ValueError, 'reduction is "corpus"'),
    ("expected_bleu", {"lengths": [4, 5]}, ValueError, r"lengths\[1\] is 5"),
    ("expected_bleu", {"reference_lengths": [4, 5]}, ValueError, r"reference_lengths\[0\] is 4"),
    ("expected_rouge", {"variant": "rougeL"}, ValueError, 'variant is "rougeL", expected one of "rouge1"'),
    ("expected_rouge", {"measure": "F"}, ValueError, 'measure is "F"'),
    ("expected_rouge", {"multiple_references": "max"}, ValueError, 'multiple_references is "max"'),
    ("soft_rouge_l", {"gamma": 0.0}, ValueError, "gamma is 0, expected a number from 1e-6 to 1e6"),
    ("eisl", {"temperature": np.nan}, ValueError, "temperature is NaN"),
    ("eisl", {"order_weights": []}, ValueError, "order_weights has 0 numbers"),
    ("eisl", {"order_weights": [0.0]}, ValueError, "order_weights has 1 numbers"),
    ("eisl", {"order_weights": [1.0, -1.0]}, ValueError, r"order_weights\[1\] is -1"),
    ("eisl", {"order_weights": "a"}, TypeError, "order_weights is a"),
]


@pytest.mark.parametrize(("name", "options", "kind", "message"), WRONG)
def test_what_does_not_fit_is_named(name: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    arguments = {"logits": LOGITS, "references": [[0, 1], [1, 2]], **options}
    with pytest.raises(kind, match=message):
        LOSSES[name](**arguments)


def test_text_losses_name_what_has_a_gradient() -> None:
    with pytest.raises(TypeError, match="expected_bleu_loss"):
        value_and_grad(bleu_loss)
    with pytest.raises(TypeError, match="expected_rouge_loss"):
        value_and_grad(rouge_loss)
