"""The same bits, whatever the number of threads, the batch around a sequence, its padding, or the processor."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from cases import BY_NAME, FLOATS, ROW_NAMES, ROWS, Array, Case, bytes_of, lay_out, pad
from conftest import Run
from seqloss_rs import value_and_grad


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = seqloss_rs.get_num_threads()
    yield
    seqloss_rs.set_num_threads(before)


def large_calls(dtype: Any) -> dict[str, tuple[Any, ...]]:
    """Calls that are large enough to be shared among threads: a loss, its arguments."""
    generator = np.random.default_rng(12)

    def normal(*shape: int) -> Array:
        return generator.normal(size=shape, scale=2).astype(dtype)

    lengths = [200, 3, 157, 0, 199, 64, 120, 90]
    return {
        "cross-entropy of many rows": (
            seqloss_rs.cross_entropy_loss,
            normal(8, 200, 91),
            generator.integers(0, 91, (8, 200)),
        ),
        "cross-entropy of long rows": (
            seqloss_rs.cross_entropy_loss,
            normal(3, 50_257),
            generator.integers(0, 50_257, 3),
        ),
        "cross-entropy of one row": (
            seqloss_rs.cross_entropy_loss,
            normal(1, 200_003),
            generator.integers(0, 200_003, 1),
        ),
        # The last of the segments that threads share out is a short one.
        "cross-entropy of one row and a few": (
            seqloss_rs.cross_entropy_loss,
            15 * normal(1, 9 * 16_384 + 99),
            [9 * 16_384 + 7],
        ),
        "smoothed cross-entropy of one row": (
            functools.partial(seqloss_rs.cross_entropy_loss, label_smoothing=0.1, z_loss=1e-3, softcap=5.0),
            normal(1, 200_003),
            generator.integers(0, 200_003, 1),
        ),
        "cross-entropy, ragged": (
            seqloss_rs.cross_entropy_loss,
            [normal(length, 91) for length in lengths],
            [generator.integers(0, 91, length) for length in lengths],
        ),
        "mse of one long sequence": (seqloss_rs.mse_loss, normal(200_003), normal(200_003)),
        "mae of many sequences": (seqloss_rs.mae_loss, normal(50, 333, 17), normal(50, 333, 17)),
        "log-cosh of one long sequence": (seqloss_rs.log_cosh_loss, normal(100_003), normal(100_003)),
        "many quantiles": (
            functools.partial(seqloss_rs.quantile_loss, quantile=np.linspace(0.1, 0.9, 9)),
            normal(5, 2001, 9),
            normal(5, 2001),
        ),
        "mse without NaN": (
            functools.partial(seqloss_rs.mse_loss, nan="omit"),
            np.where(generator.random((5, 20_001)) < 0.5, np.nan, normal(5, 20_001)).astype(dtype),
            normal(5, 20_001),
        ),
        "ctc": (
            seqloss_rs.ctc_loss,
            normal(8, 200, 40),
            generator.integers(1, 40, (8, 30)),
            lengths,
            [20, 1, 30, 0, 7, 8, 9, 5],
        ),
        "ctc of one long sequence": (seqloss_rs.ctc_loss, normal(3000, 21), generator.integers(1, 21, 200)),
        "reinforce": (
            seqloss_rs.reinforce_loss,
            normal(8, 200, 91),
            generator.integers(0, 91, (8, 200)),
            generator.normal(size=(8, 200)),
        ),
    }


LARGE = list(large_calls(np.float32))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads(name: str, dtype: str) -> None:
    loss, *arguments = large_calls(FLOATS[dtype])[name]
    results = {}
    for count in (1, 2, 3, 7):
        seqloss_rs.set_num_threads(count)
        results[count] = [
            bytes_of(value_and_grad(loss)(*arguments, reduction=reduction)) for reduction in ("none", "mean")
        ]
        results[count] += [bytes_of(loss(*arguments, reduction=reduction)) for reduction in ("sum", "sequence")]
    for count in (2, 3, 7):
        assert results[count] == results[1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_reads_one_row(dtype: str) -> None:
    generator = np.random.default_rng(13)
    logits = generator.normal(size=(1, 200_003), scale=2).astype(FLOATS[dtype])
    results = []
    for count in (1, 2, 3, 7):
        seqloss_rs.set_num_threads(count)
        gradient = seqloss_rs.policy_gradient_logits(logits, [77], [0.5], entropy=0.1)
        found = seqloss_rs.token_log_probs(logits, [77])
        results.append([bytes_of(part) for part in (gradient, *dataclasses.astuple(found))])
    assert results[1:] == results[:1] * 3


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_alone_or_in_a_batch(case: Case, variant: str) -> None:
    if any(word in variant for word in ("batch_mean", "leave_one_out")):
        pytest.skip("a baseline that is computed over the batch")
    for dtype in FLOATS:
        problem = case.problem(variant, (17, 0, 5, 33, 16), 21, 5, dtype)
        _, gradients = problem.value_and_grad("ragged", reduction="none")
        terms = problem("ragged", reduction="none")
        sums = {reduction: problem("ragged", reduction=reduction) for reduction in ("sequence", "sequence_mean")}
        for index in range(5):
            alone = problem.replace(**{name: arrays[index : index + 1] for name, arrays in problem.by_sequence.items()})
            for form in alone.forms():
                value, gradient = alone.value_and_grad(form, reduction="none")
                assert np.array(gradient if form == "single" else gradient[0]).tobytes() == gradients[index].tobytes()
                own = value if form == "single" else value[0]
                assert np.asarray(own).tobytes() == np.asarray(terms[index]).tobytes()
                for reduction, expected in sums.items():
                    own = np.asarray(alone(form, reduction=reduction)).ravel()
                    assert own.tobytes() == expected[index : index + 1].tobytes()


@pytest.mark.parametrize(("case", "variant"), ROWS, ids=ROW_NAMES)
def test_ragged_or_padded(case: Case, variant: str) -> None:
    for dtype in FLOATS:
        problem = case.problem(variant, (17, 0, 5, 33, 16), 21, 5, dtype)
        positional, named = problem.arguments("padded")

        def wider(argument: Any) -> Any:
            """With more padding still."""
            if not isinstance(argument, np.ndarray) or argument.shape[:2] != (5, 33):
                return argument
            return pad([*argument, np.concatenate([argument[0]] * 2)])[:-1]

        wide = [wider(argument) for argument in positional]
        wide_named = {name: wider(argument) for name, argument in named.items()}
        for reduction in ("none", "sequence", "sequence_mean", "sum", "mean", "batch_mean"):
            value, gradient = problem.value_and_grad("ragged", reduction=reduction)
            padded_value, padded = problem.value_and_grad("padded", reduction=reduction)
            wide_value, widest = value_and_grad(problem.loss)(*wide, **wide_named, reduction=reduction)
            for other in (padded, widest):
                for own, rows, length in zip(gradient, other, problem.lengths, strict=True):
                    assert own.tobytes() == rows[:length].tobytes()
                    assert not np.any(rows[length:])
            if isinstance(value, list):
                for other in (padded_value, wide_value):
                    for own, rows, length in zip(value, other, problem.lengths, strict=True):
                        assert own.tobytes() == rows[:length].tobytes()
            else:
                assert bytes_of(value) == bytes_of(padded_value) == bytes_of(wide_value)


@pytest.mark.parametrize("name", BY_NAME)
def test_any_address(name: str) -> None:
    for dtype in FLOATS:
        problem = BY_NAME[name].problem("plain", (17, 16), 37, 5, dtype)
        positional, named = problem.arguments("padded")

        def moved(by: int) -> Callable[[Array], Array]:
            def move(array: Array) -> Array:
                buffer = np.full(array.size + by, 77, array.dtype)
                view = buffer[by:].reshape(array.shape)
                view[...] = array
                return view

            return move

        expected = bytes_of(value_and_grad(problem.loss)(*positional, **named))
        for by in range(1, 17):
            arguments = [lay_out(argument, moved(by)) for argument in positional]
            assert bytes_of(value_and_grad(problem.loss)(*arguments, **named)) == expected


@pytest.mark.parametrize("name", BY_NAME)
def test_asking_for_the_gradient_changes_no_bit_of_the_value(name: str) -> None:
    for dtype in FLOATS:
        for variant in BY_NAME[name].variants:
            problem = BY_NAME[name].problem(variant, (40, 16), 37, 5, dtype)
            for reduction in ("none", "mean", "sum"):
                value, _ = problem.value_and_grad("ragged", reduction=reduction)
                assert bytes_of(value) == bytes_of(problem("ragged", reduction=reduction))


# ---------------------------------------------------------------------------------------------------------------------
# In processes of their own, where the environment decides

RESULTS = """
    import hashlib, sys
    import numpy as np
    from cases import FLOATS, ROWS, bytes_of
    from seqloss_rs import value_and_grad
    from test_same_bits import large_calls

    arrays, digests = {}, {}
    def keep(name, result):
        for index, array in enumerate(result if isinstance(result, list) else [result]):
            arrays[f"{name} {index}"] = np.asarray(array, np.float64)
        digests[name] = hashlib.sha256(repr(bytes_of(result)).encode()).hexdigest()

    for dtype in FLOATS:
        for case, variant in ROWS:
            problem = case.problem(variant, (17, 0, 5, 33, 16), 21, 5, dtype)
            for reduction in ("none", "mean"):
                value, gradient = problem.value_and_grad("ragged", reduction=reduction)
                keep(f"{case.name} {variant} {dtype} {reduction} value", value)
                keep(f"{case.name} {variant} {dtype} {reduction} gradient", gradient)
        for name, (loss, *arguments) in large_calls(FLOATS[dtype]).items():
            value, gradient = value_and_grad(loss)(*arguments, reduction="none")
            keep(f"{name} {dtype} value", value)
            keep(f"{name} {dtype} gradient", gradient)
    if len(sys.argv) > 1:
        np.savez(sys.argv[1], **arrays)
    import json
    print(json.dumps(digests))
"""


@pytest.fixture(scope="module")
def on_this_processor(run_python: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Digests of many results at the level that the processor allows, and the numbers themselves."""
    file = tmp_path_factory.mktemp("bits") / "results.npz"
    done = run_python(RESULTS, str(file), deadline=120)
    return json.loads(done.stdout), file


def has(feature: str) -> bool:
    """Whether this processor has it, as Linux tells."""
    information = Path("/proc/cpuinfo")
    return information.exists() and f" {feature}" in information.read_text()


@pytest.mark.parametrize("level", ["avx2", "avx512"])
def test_any_instruction_set_with_fused_multiply_add(
    level: str, run_python: Run, on_this_processor: tuple[dict[str, str], Path]
) -> None:
    if not has({"avx2": "fma", "avx512": "avx512f"}[level]):
        pytest.skip(f"this processor has no {level}")
    done = run_python(RESULTS, SEQLOSS_SIMD=level, SEQLOSS_NUM_THREADS="1", deadline=120)
    digests = json.loads(done.stdout)
    expected = on_this_processor[0]
    assert [name for name in expected if digests[name] != expected[name]] == []


def test_without_fused_multiply_add_the_same_up_to_rounding(
    run_python: Run, on_this_processor: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "results.npz"
    run_python(RESULTS, str(file), SEQLOSS_SIMD="baseline", deadline=240)
    with np.load(file) as baseline, np.load(on_this_processor[1]) as expected:
        assert baseline.files == expected.files
        for name in baseline.files:
            narrow = "float16" in name or "bfloat16" in name
            relative = 1e-12 if "float64" in name else 2**-6 if narrow and "gradient" in name else 5e-6
            np.testing.assert_allclose(
                baseline[name], expected[name], rtol=relative, atol=max(relative / 5, 1e-13), err_msg=name
            )


def test_a_level_that_does_not_exist_is_said(run_python: Run) -> None:
    done = run_python(
        "import numpy, seqloss_rs; print(seqloss_rs.mse_loss([1.0], [0.0]))",
        SEQLOSS_SIMD="sse9",
        check=False,
    )
    assert "SEQLOSS_SIMD" in done.stderr
    assert "sse9" in done.stderr
