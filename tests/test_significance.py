"""Intervals and paired tests against sacrebleu, and against their definitions in NumPy and Python's integers."""

import json
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result
from seqloss_rs import Bleu, ErrorRate, Rouge, significance
from seqloss_rs.significance import bootstrap, compare, paired_bootstrap, paired_randomization

WRONG: Any = significance

WORDS = (  # noqa: SIM905 - a list of literals would take a page
    "the a cat dog sat ran on under mat tree and then it was very happy there today again quickly"
).split()
Rows = NDArray[np.int64]
METRICS = [
    Bleu(),
    Bleu(max_order=2, smoothing="floor"),
    Rouge(),
    Rouge(variant="rouge2", measure="recall"),
    ErrorRate(),
]
NAMES = ["BLEU", "BLEU-2", "rougeL", "rouge2", "WER"]


def texts(count: int, *noises: float, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """References, and the hypotheses of systems that replace this share of their words."""
    draw = random.Random(seed)
    references = [draw.choices(WORDS, k=draw.randint(1, 25)) for _ in range(count)]

    def spoil(words: list[str], noise: float) -> str:
        return " ".join(draw.choice(WORDS) if draw.random() < noise else word for word in words)

    return [" ".join(words) for words in references], [
        [spoil(words, noise) for words in references] for noise in noises
    ]


def rows_of(metric: Any, count: int, *noises: float, seed: int = 0) -> list[Rows]:
    references, systems = texts(count, *noises, seed=seed)
    return [metric.statistics(hypotheses, references) for hypotheses in systems]


def score(metric: Any, rows: Any) -> float:
    return float(metric.from_statistics(rows).score)


# ---------------------------------------------------------------------------------------------------------------------
# Against sacrebleu


@pytest.mark.parametrize("count", [1, 2, 39, 250])
@pytest.mark.parametrize("resamples", [2, 40, 333])
def test_intervals_are_those_of_sacrebleu(count: int, resamples: int) -> None:
    references, [hypotheses] = texts(count, 0.3)
    expected = BLEU().corpus_score(hypotheses, [references], n_bootstrap=resamples)
    bleu = Bleu()
    found = bootstrap(bleu, bleu.statistics(hypotheses, references), resamples=resamples)
    assert found.score == pytest.approx(expected.score, rel=1e-12)
    assert found.mean == pytest.approx(expected._mean, rel=1e-6)
    assert found.half_width == pytest.approx(expected._ci, abs=1e-6 * found.score)


@pytest.mark.parametrize("seed", [12345, 7])
@pytest.mark.parametrize("count", [5, 33, 200])
@pytest.mark.parametrize("order", [4, 2])
@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_p_values_are_those_of_sacrebleu(
    test: Any, order: int, count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", str(seed))
    references, systems = texts(count, 0.30, 0.31, 0.33, 0.5, seed=count)
    named = {f"system {place}": system for place, system in enumerate([*systems, systems[0]])}
    theirs: dict[str, Any] = {"bootstrap": {"test_type": "bs"}, "randomization": {"test_type": "ar"}}[test]
    metrics: Any = {"BLEU": BLEU(max_ngram_order=order)}
    _, scores = PairedTest(list(named.items()), metrics, [references], n_samples=500, n_ar_confidence=200, **theirs)()
    options: Any = {"bootstrap": {"resamples": 500}, "randomization": {"trials": 500, "resamples": 200}}[test]
    found = compare(named, references, metrics={"BLEU": Bleu(max_order=order)}, test=test, seed=seed, **options)
    for row, expected in zip(found.rows.values(), scores["BLEU"], strict=True):
        own = row["BLEU"]
        assert isinstance(expected, Result)
        assert own.score == pytest.approx(expected.score, rel=1e-12)
        assert own.p_value == expected.p_value
        assert own.mean == pytest.approx(expected.mean, rel=1e-6)
        assert own.half_width == pytest.approx(expected.ci, abs=1e-6 * own.score)
    assert len({row["BLEU"].p_value for row in found.rows.values()}) > 2


@pytest.mark.parametrize("count", [1, 2, 7, 256, 65536, 100_003])
def test_indices_and_coins_are_those_of_numpy(count: int) -> None:
    """`choice` and booleans are what sacrebleu draws; the module draws the same faster, in blocks."""
    expected = np.random.default_rng(5).choice(count, size=(5, count), replace=True)
    generator = np.random.default_rng(5)
    blocks = [generator.integers(0, count, size=(size, count), dtype=np.uint32) for size in (2, 1, 2)]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    shape = (70, min(count, 999))
    coins = np.random.default_rng(5).integers(2, size=shape, dtype=bool)
    generator = np.random.default_rng(5)
    words = [generator.integers(0, 1 << 32, size=math.ceil(n * shape[1] / 32), dtype=np.uint32) for n in (32, 32, 6)]
    bits = np.unpackbits(np.concatenate(words).astype("<u4").view(np.uint8), bitorder="little").astype(bool)
    np.testing.assert_array_equal(bits[: coins.size].reshape(shape), coins)


# ---------------------------------------------------------------------------------------------------------------------
# Against definitions


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
@pytest.mark.parametrize("count", [1, 6, 120])
def test_resamples_are_scored_as_corpora(metric: Any, count: int) -> None:
    [rows] = rows_of(metric, count, 0.3)
    found = bootstrap(metric, rows, resamples=50, seed=3)
    indices = np.random.default_rng(3).choice(count, size=(50, count), replace=True)
    assert found.score == score(metric, rows)
    assert found.scores.tolist() == [score(metric, rows[own]) for own in indices]
    assert found.mean == math.fsum(found.scores) / 50
    assert found.scores.dtype == np.float64


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
@pytest.mark.parametrize("count", [1, 6, 75])
def test_trials_swap_segments(metric: Any, count: int) -> None:
    first, second, third = rows_of(metric, count, 0.2, 0.25, 0.6)
    found = paired_randomization(metric, first, second, third, trials=75, resamples=0, seed=8)
    coins = np.random.default_rng(8).integers(2, size=(75, count), dtype=bool)
    assert found[0].p_value is None
    for paired, other in zip(found[1:], (second, third), strict=True):
        difference = abs(score(metric, first) - score(metric, other))
        exceed = 0
        for coin in coins[:, :, None]:
            pseudo = np.where(coin, first, other), np.where(coin, other, first)
            exceed += abs(score(metric, pseudo[0]) - score(metric, pseudo[1])) > difference
        assert paired == significance.PairedScore(score(metric, other), (exceed + 1) / 76, None, None, None)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_the_paired_bootstrap(metric: Any) -> None:
    rows = rows_of(metric, 90, 0.3, 0.32, 0.4)
    found = paired_bootstrap(metric, *rows, resamples=200, seed=4)
    single = [bootstrap(metric, own, resamples=200, seed=4) for own in rows]
    for place, (paired, own) in enumerate(zip(found, single, strict=True)):
        assert (paired.score, paired.mean, paired.low, paired.high) == (own.score, own.mean, own.low, own.high)
        assert paired.half_width == own.half_width == (own.high - own.low) / 2
        if place:
            differences = np.abs(own.scores - single[0].scores)
            exceed = differences - math.fsum(differences) / 200 > abs(own.score - single[0].score)
            assert paired.p_value == (exceed.sum() + 1) / 201


@pytest.mark.parametrize(
    ("resamples", "confidence", "outside"),
    [(1, 0.95, 0), (39, 0.95, 0), (40, 0.95, 1), (1000, 0.95, 25), (100, 0.9, 5), (1000, 0.999, 0), (10, 0.5, 2)],
)
def test_the_interval_leaves_out_as_many_at_either_end(resamples: int, confidence: float, outside: int) -> None:
    [rows] = rows_of(Bleu(), 30, 0.3)
    found = bootstrap(Bleu(), rows, resamples=resamples, confidence=confidence)
    ordered = sorted(found.scores)
    assert (found.low, found.high) == (ordered[outside], ordered[-1 - outside])


def test_sums_are_exact() -> None:
    """Counts that floats cannot hold."""
    draw = np.random.default_rng(1)
    rows = draw.integers(1 << 57, 1 << 58, size=(12, 4))
    found = bootstrap(ErrorRate(), rows, resamples=30, seed=2)
    for own, value in zip(np.random.default_rng(2).choice(12, size=(30, 12)), found.scores, strict=True):
        hits, substitutions, deletions, insertions = map(float, (sum(map(int, rows[own, k])) for k in range(4)))
        assert value == (substitutions + deletions + insertions) / (hits + substitutions + deletions)


def test_means_are_rounded_once() -> None:
    draw = np.random.default_rng(1)
    rows = np.sort(draw.integers(0, 10 ** draw.integers(1, 18, size=(40, 1)), size=(40, 3)), axis=1)
    rouge = Rouge(measure="recall")
    found = bootstrap(rouge, rows, resamples=30, seed=2)
    scores = [Fraction(value) for value in rows[:, 0] / np.maximum(rows[:, 2], 1)]
    for own, value in zip(np.random.default_rng(2).choice(40, size=(30, 40)), found.scores, strict=True):
        assert value == float(sum(scores[index] for index in own)) / 40


# ---------------------------------------------------------------------------------------------------------------------
# Seeds, threads, blocks


def test_seeds() -> None:
    [rows] = rows_of(Bleu(), 20, 0.3)

    def draw(seed: Any) -> Any:
        return bootstrap(Bleu(), rows, resamples=20, seed=seed).scores.tolist()

    assert draw(0) == draw(0) == draw(np.random.default_rng(0)) == draw(np.int64(0)) != draw(1)
    assert draw(None) != draw(None)
    generator = np.random.default_rng(0)
    assert draw(generator) == draw(0) != draw(generator)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = rows_of(Bleu(), 77, 0.3, 0.35)

    def run() -> Any:
        pair = paired_bootstrap(Bleu(), first, second, resamples=50)
        return pair, paired_randomization(Bleu(), first, second, trials=100, resamples=50)

    whole = run()
    monkeypatch.setattr(significance, "INDICES", 100)
    assert run() == whole


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_the_same_bits_for_any_number_of_threads(metric: Any) -> None:
    first, second = rows_of(metric, 3000, 0.3, 0.31)
    found = []
    threads = seqloss_rs.get_num_threads()
    try:
        for number in (1, 2, 5):
            seqloss_rs.set_num_threads(number)
            scores = bootstrap(metric, first, resamples=100).scores.tobytes()
            found.append((scores, paired_randomization(metric, first, second, trials=200, resamples=20)))
    finally:
        seqloss_rs.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


# ---------------------------------------------------------------------------------------------------------------------
# The table


def test_a_table_of_systems_and_metrics() -> None:
    references, [small, large] = texts(60, 0.5, 0.1)
    metrics: dict[str, Any] = {"BLEU": Bleu(), "rougeL": Rouge(), "WER": ErrorRate()}
    table = compare({"small": small, "large": large}, references, metrics=metrics, resamples=100, seed=0)
    for name, metric in metrics.items():
        rows = [metric.statistics(hypotheses, references) for hypotheses in (small, large)]
        paired = paired_bootstrap(metric, *rows, resamples=100, seed=0)
        assert (table.rows["small"][name], table.rows["large"][name]) == paired
    data = json.loads(json.dumps(table.to_dict()))
    assert [row["system"] for row in data.pop("systems")] == ["small", "large"]
    assert data == {"test": "bootstrap", "trials": None, "resamples": 100, "seed": 0, "confidence": 0.95}
    head, rule, first, second, empty, about = str(table).split("\n")
    assert [cell.strip() for cell in head.split("  ") if cell] == ["system", *(f"{m} (μ ± 95% CI)" for m in metrics)]
    assert set(rule) == {"-", " "}
    assert empty == ""
    assert first.startswith("Baseline: small  ")
    assert second.count("*") == second.count("(p = 0.0099)*") == 3
    assert (
        len(
            {line.index(f"{table.rows[name]['WER'].score:.4f}") for line, name in ((first, "small"), (second, "large"))}
        )
        == 1
    )
    assert about.endswith("seed 0; * differs from the baseline at p < 0.05")


def test_a_table_without_intervals() -> None:
    references, [first, second] = texts(20, 0.3, 0.3)
    systems = {"a": first, "b": second}
    table = compare(systems, references, test="randomization", resamples=0, seed=np.random.default_rng(3))
    rows = [Bleu().statistics(hypotheses, references) for hypotheses in systems.values()]
    assert tuple(row["BLEU"] for row in table.rows.values()) == paired_randomization(Bleu(), *rows, resamples=0, seed=3)
    assert (table.trials, table.seed) == (10_000, None)
    assert "±" not in str(table)
    assert str(table).endswith(
        "Paired approximate randomization, 10000 trials, no seed; * differs from the baseline at p < 0.05"
    )


def test_token_ids_and_one_system() -> None:
    ids = [np.array([1, 2, 3, 4, 5]), np.array([4, 5, 6, 7])]
    for test in ("bootstrap", "randomization"):
        table = compare({"only": ids}, ids, test=test, resamples=10)
        assert table.rows["only"]["BLEU"] == significance.PairedScore(100.0, None, 100.0, 100.0, 100.0)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: bootstrap(Bleu(), r[:, :8]), ValueError, r"rows has shape \(4, 8\), expected \(N, 10\) with N"),
        (lambda r: bootstrap(Bleu(), r[:0]), ValueError, r"rows has shape \(0, 10\), expected .* at least 1"),
        (lambda r: bootstrap(Bleu(), r[0]), ValueError, r"rows has shape \(10,\), expected"),
        (lambda r: bootstrap(Bleu(), r * 1.0), TypeError, "rows has dtype float64, expected integers"),
        (lambda r: bootstrap(Bleu(), -r), ValueError, r"rows\[0, 0\] is -\d+, which is not a count"),
        (lambda r: bootstrap(Bleu(), r + (1 << 62)), ValueError, "rows hold .* do not fit into a 64-bit integer"),
        (lambda r: bootstrap(Bleu(), r, resamples=0), ValueError, "resamples is 0, expected 1 or more"),
        (lambda r: WRONG.bootstrap(Bleu(), r, resamples=1.5), TypeError, "resamples is 1.5, expected a whole number"),
        (lambda r: bootstrap(Bleu(), r, seed=-1), ValueError, "seed is -1, expected 0 or more"),
        (lambda r: WRONG.bootstrap(Bleu(), r, seed="x"), TypeError, 'seed is "x", expected a whole number'),
        (lambda r: bootstrap(Bleu(), r, confidence=95), ValueError, "confidence is 95, which is not between 0"),
        (lambda r: WRONG.bootstrap(Bleu(), r, confidence="x"), TypeError, 'confidence is "x", expected a number'),
        (lambda r: bootstrap(Bleu(), r, confidence=math.nan), ValueError, "confidence is nan, which is not"),
        (lambda r: paired_bootstrap(Bleu(), r, r, r[1:]), ValueError, r"system_rows\[1\] has 3 rows, but base.* 4"),
        (lambda r: paired_bootstrap(Bleu(), r, r[:, 1:]), ValueError, r"system_rows\[0\] has shape \(4, 9\)"),
        (lambda r: paired_randomization(Bleu(), r[:0], r), ValueError, r"baseline_rows has shape \(0, 10\)"),
        (lambda r: paired_randomization(Bleu(), r, r, trials=0), ValueError, "trials is 0, expected 1 or more"),
        (lambda r: paired_randomization(Bleu(), r, r, resamples=-1), ValueError, "resamples is -1, expected 0"),
        (lambda r: paired_randomization(Bleu(), r, r[:, ::-1]), ValueError, r"system_rows\[0\]\[0\] has \d+ matches"),
        (lambda r: compare({}, ["a"]), ValueError, "systems is empty, expected at least one"),
        (lambda r: compare({"x": ["a"]}, ["a"], metrics={}), ValueError, "metrics is empty, expected at least one"),
        (lambda r: WRONG.compare([("x", ["a"])], ["a"]), TypeError, "systems is a list, expected a dict by names"),
        (lambda r: WRONG.compare({"x": ["a"]}, ["a"], test="t"), ValueError, 'test is "t", expected one of '),
        (lambda r: compare({"x": ["a"]}, ["a"], trials=5), ValueError, 'trials is 5, but test is "bootstrap"'),
        (lambda r: compare({"x": ["a"], "y": ["a", "b"]}, ["a"]), ValueError, r"systems\['y'\]: "),
        (lambda r: compare({"x": []}, []), ValueError, r"systems\['x'\] has shape \(0, 10\), expected"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    [rows] = rows_of(Bleu(), 4, 0.3)
    with pytest.raises(error, match=message):
        call(rows)
