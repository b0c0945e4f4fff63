"""Types: a user's program under mypy --strict, and the stubs of the native module against it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import seqloss_rs

PROGRAM = """
    import functools

    import numpy as np
    from numpy.typing import NDArray

    import seqloss_rs
    from seqloss_rs import value_and_grad

    logits = np.zeros((2, 3, 4), np.float32)
    targets = np.zeros((2, 3), np.int64)

    # A number comes out of the reductions to one number, without a cast.
    loss: float = seqloss_rs.cross_entropy_loss(logits, targets)
    loss = seqloss_rs.cross_entropy_loss(logits, targets, reduction="sum", lengths=[3, 1], label_smoothing=0.1)
    loss = seqloss_rs.mse_loss(logits, logits, weights=[[1.0] * 3] * 2)
    loss = seqloss_rs.mae_loss([1.0, 2.0], [0.0, 0.0], reduction="batch_mean")
    loss = seqloss_rs.ctc_loss(logits, [[1], [2, 3]], layout="NTC", zero_infinity=True)
    loss = seqloss_rs.reinforce_loss(logits, targets, [1.0, 2.0], baseline="batch_mean", normalizer=7)
    loss = seqloss_rs.bleu_loss(["a b"], [["a b", "a c"]], reduction="corpus")
    loss = seqloss_rs.rouge_loss(["a b"], ["a b"], variant="rouge2", stem=True)
    loss = seqloss_rs.expected_bleu_loss(logits, [[1, 2], [3]], estimate="bag_of_ngrams", smoothing="none")
    loss = seqloss_rs.soft_rouge_l_loss(logits[0], [1, 2], gamma=0.5, multiple_references="best")
    ragged = [logits[0], logits[1, :2]]
    loss = seqloss_rs.cross_entropy_loss(ragged, [targets[0], targets[1, :2]])

    value, gradient = value_and_grad(seqloss_rs.cross_entropy_loss)(logits, targets, reduction="sum")
    value, gradient = value_and_grad(seqloss_rs.ctc_loss, grad_output=2.0)(logits, [[1], [2]])
    value, gradient = value_and_grad(functools.partial(seqloss_rs.mse_loss, reduction="sum"))(logits, logits)

    count: int = seqloss_rs.get_num_threads()
    seqloss_rs.set_num_threads(count)
    labels: list[NDArray[np.int64]] = seqloss_rs.ctc_greedy_decode(logits)

    def caught() -> None:
        try:
            seqloss_rs.show_config()
        except seqloss_rs.InternalError as error:
            print(error)
"""

WRONG = {
    'seqloss_rs.cross_entropy_loss(logits, targets, reduction="avg")': "reduction",
    'seqloss_rs.cross_entropy_loss(logits, targets, scores="logit")': "scores",
    "seqloss_rs.cross_entropy_loss(logits, targets, None)": "positional",
    'seqloss_rs.ctc_loss(logits, targets, layout="CTN")': "layout",
    "seqloss_rs.mse_loss(logits)": "targets",
    'seqloss_rs.expected_rouge_loss(logits, [[1], [2]], variant="rougeL")': "variant",
    "seqloss_rs.set_num_threads('2')": "set_num_threads",
    "seqloss_rs.no_such_loss": "no_such_loss",
}


def mypy(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy", reason="mypy is not installed")
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_users_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = mypy("mypy", "--strict", str(program), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    # What the types accept also runs.
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_wrong_is_seen_without_running_it(tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    head = "import numpy as np\nimport seqloss_rs\nlogits, targets = np.zeros((2, 3, 4)), np.zeros((2, 3), np.int64)\n"
    program.write_text(head + "\n".join(WRONG) + "\n")
    done = mypy("mypy", "--strict", str(program), cwd=tmp_path)
    lines = head.count("\n")
    for index, (source, word) in enumerate(WRONG.items()):
        told = [line for line in done.stdout.splitlines() if line.startswith(f"wrong.py:{lines + index + 1}: ")]
        assert any("error" in line for line in told), f"{source} was accepted\n{done.stdout}"
        assert any(word in line for line in told), told


def test_the_stubs_are_true(tmp_path: Path) -> None:
    allowlist = str(Path(__file__).parent / "stubtest-allowlist.txt")
    done = mypy("mypy.stubtest", "seqloss_rs", "--ignore-missing-stub", "--allowlist", allowlist, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = mypy("mypy.stubtest", "seqloss_rs._native", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(seqloss_rs.__file__).parent / "py.typed").exists()
