"""Measures the losses of policies beside the same formulas in torch, NumPy and jiwer, and beside a copy of the logits.

The policy gradient is that of 64 x 256 steps over 32,000 tokens, eight sequences at a time, so that it fits into the
memory of small machines. Every answer is compared with the definition in float64 before it is timed. Candidates take
turns, and the fastest round of each counts. ``--record`` writes the tables to ``benches/record/``.
"""

import argparse
import datetime
import gc
import importlib.metadata
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jiwer
import ml_dtypes
import numpy as np
import seqloss_rs
import torch
from compare import ROOT, Candidates, fastest, git, processor
from ctc import Table, times, verdict
from dense import DTYPES, THREADS, as_float64, as_tensor, blocks, on_threads
from numpy.typing import NDArray
from seqloss_rs import (
    expected_bleu_loss,
    group_advantages,
    mwer_loss,
    policy_gradient_logits,
    ppo_loss,
    reinforce_loss,
    value_and_grad,
)

Array = NDArray[Any]

OURS, INTO_OUT, WITH_ENTROPY, TORCH = "seqloss_rs", "seqloss_rs into out=", "seqloss_rs with entropy", "torch"
SEQUENCES, STEPS, TOKENS = 64, 256, 32_000
AT_ONCE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the tables to benches/record/")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time each, and a quarter of the logits")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each comparison takes (default: 4)")
    parts: dict[str, Callable[[float, bool], Table]] = {
        "gradient": gradients,
        "groups": groups,
        "ratio": ratios,
        "mwer": word_errors,
        "expected": expected,
    }
    parser.add_argument("--only", choices=list(parts))
    arguments = parser.parse_args()
    seconds = arguments.seconds / 10 if arguments.quick else arguments.seconds
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    chosen = [arguments.only] if arguments.only else list(parts)
    tables = [parts[name](seconds, arguments.quick) for name in chosen]
    report = "\n\n".join([machine(load), *map(str, tables)]) + "\n"
    print(report)
    if arguments.record:
        path = ROOT / "benches" / "record" / f"{datetime.date.today()}-{git('rev-parse', '--short', 'HEAD')}-policy.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# benches/policy.py\n\n{report}", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")


# ---------------------------------------------------------------------------------------------------------------------
# The gradient over the logits


def gradients(seconds: float, is_quick: bool) -> Table:
    """REINFORCE with its gradient, from logits."""
    head = ["type", "threads", "ms", "× torch", "ms with out=", "of a copy", "ms with entropy", "target", "reached"]
    table = Table(
        f"Policy gradient of {SEQUENCES} x {STEPS} steps over {TOKENS} tokens", [*head, "errors: ours, torch"]
    )
    at_once = AT_ONCE // 4 if is_quick else AT_ONCE
    random = np.random.default_rng(1)
    for dtype in DTYPES:
        logits = np.empty((at_once, STEPS, TOKENS), dtype)
        flat = logits.reshape(-1, TOKENS)
        for part in blocks(len(flat), TOKENS):
            flat[part] = random.standard_normal(flat[part].shape, dtype=np.float32) * np.float32(3)
        actions, rewards = random.integers(0, TOKENS, (at_once, STEPS)), random.standard_normal(at_once)
        out = logits.copy()
        of_torch = gradient_of_torch(logits, actions, rewards)
        new, into_out = value_and_grad(reinforce_loss), value_and_grad(reinforce_loss, out=out)
        timed: Candidates = {
            OURS: partial(new, logits, actions, rewards),
            INTO_OUT: partial(into_out, logits, actions, rewards),
            WITH_ENTROPY: partial(into_out, logits, actions, rewards, entropy=0.01),
            TORCH: of_torch,
        }
        errors = {name: error_of_gradient(timed[name](), logits, actions, rewards) for name in (OURS, TORCH)}
        if not errors[OURS] < (2.0**-8 if dtype == ml_dtypes.bfloat16 else 0) + 2e-6:
            sys.exit(f"the gradient in {dtype.name} is off by {errors[OURS]}, so it is not timed")
        coefficients = np.repeat(-rewards[:, None] / actions.size, STEPS, 1)
        same = policy_gradient_logits(logits, actions, coefficients)
        np.testing.assert_allclose(as_float64(same[:1, :4]), as_float64(new(logits, actions, rewards)[1][:1, :4]))
        del same
        for threads in THREADS:
            on_threads(threads)
            with ThreadPoolExecutor(threads) as pool:
                taken = fastest(timed | copies(logits, out, threads, pool), seconds)
            whole = SEQUENCES / at_once * 1e3
            copy = min(taken[name] for name in taken if name.startswith("copy"))
            ratio, share = taken[TORCH] / taken[OURS], copy / taken[INTO_OUT]
            table.add(
                dtype.name,
                str(threads),
                f"{taken[OURS] * whole:.0f}",
                times(ratio),
                f"{taken[INTO_OUT] * whole:.0f}",
                f"{share:.0%} of {2 * logits.nbytes / copy / 1e9:.1f} GB/s",
                f"{taken[WITH_ENTROPY] * whole:.0f}",
                f"≥ 10 × torch{', ≥ 80% of a copy' if threads == 2 else ''}",
                verdict(ratio >= 10 and (threads != 2 or share >= 0.8)),
                ", ".join(f"{errors[name]:.0e}" for name in (OURS, TORCH)),
            )
        del logits, flat, out, timed, of_torch, new, into_out
        gc.collect()
    return table


def gradient_of_torch(logits: Array, actions: Array, rewards: Array) -> Callable[[], tuple[Any, Any]]:
    x, chosen = as_tensor(logits), torch.from_numpy(actions)[..., None]
    advantages = torch.from_numpy(rewards.astype(np.float32))[:, None]

    def call() -> tuple[Any, Any]:
        leaf = x.detach().requires_grad_()
        log_probs = torch.log_softmax(leaf, -1).gather(-1, chosen)[..., 0]
        value = -(advantages * log_probs).mean()
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return call


def error_of_gradient(answer: tuple[Any, Any], logits: Array, actions: Array, rewards: Array) -> float:
    """The largest error of a gradient, over its largest number."""
    found, x = answer[1].reshape(-1, TOKENS), logits.reshape(-1, TOKENS)
    chosen, weights = actions.reshape(-1), np.repeat(rewards, STEPS) / actions.size
    error = largest = 0.0
    for part in blocks(len(x), TOKENS):
        slope = x[part].astype(np.float64)
        slope = np.exp(slope - slope.max(1, keepdims=True))
        slope /= slope.sum(1, keepdims=True)
        slope[np.arange(len(slope)), chosen[part]] -= 1
        slope *= weights[part, None]
        error = max(error, float(np.abs(as_float64(found[part]) - slope).max()))
        largest = max(largest, float(np.abs(slope).max()))
    return error / largest


def copies(source: Array, destination: Array, threads: int, pool: ThreadPoolExecutor) -> Candidates:
    """Ways to copy the logits to memory that is there already."""
    x, out = (array.reshape(-1).view(np.int64) for array in (source, destination))
    parts = list(zip(np.array_split(out, threads), np.array_split(x, threads), strict=True))
    one, other = torch.from_numpy(x), torch.from_numpy(out)
    return {
        "copy of torch": lambda: other.copy_(one),
        "copy of NumPy": lambda: list(pool.map(lambda part: np.copyto(*part), parts)),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Numbers of steps and of groups


def groups(seconds: float, _: bool) -> Table:
    """Advantages of 65,536 rollouts, as trainers compute them."""
    head = ["groups", "advantages", "ms", "target", "reached", "× NumPy", "× torch", "× verl's loop"]
    table = Table("Statistics of groups, 65,536 rollouts, float32, one thread", head)
    on_threads(1)
    random = np.random.default_rng(2)
    for count, size in ((8192, 8), (1024, 64)):
        rewards = random.standard_normal((count, size), dtype=np.float32)
        tensor, index = torch.from_numpy(rewards), np.repeat(np.arange(count), size)
        by_name: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
            "GRPO": ({}, grpo_of_arrays),
            "RLOO": ({"baseline": "leave_one_out", "scale": None}, rloo_of_arrays),
        }
        for name, (options, formula) in by_name.items():
            timed: Candidates = {
                OURS: partial(group_advantages, rewards, **options),
                "NumPy": partial(formula, rewards),
                TORCH: partial(formula, tensor),
            }
            if name == "GRPO":
                timed["verl's loop"] = partial(grpo_of_verl, tensor.reshape(-1), index)
            truth = formula(rewards.astype(np.float64))
            for who, call in timed.items():
                # Those who compute in float32 lose some digits where rewards are nearly equal.
                most = 1e-6 if who == OURS else 1e-3
                np.testing.assert_allclose(np.reshape(call(), truth.shape), truth, rtol=most, atol=most, err_msg=who)
            taken = fastest(timed, seconds)
            table.add(
                f"{count} x {size}",
                name,
                f"{taken[OURS] * 1e3:.3f}",
                "≤ 2 ms",
                verdict(taken[OURS] <= 2e-3),
                *(times(taken[who] / taken[OURS]) if who in taken else "" for who in ("NumPy", TORCH, "verl's loop")),
            )
    return table


def grpo_of_arrays(rewards: Any) -> Any:
    """The formula on whole arrays, of NumPy or torch."""
    if isinstance(rewards, torch.Tensor):
        return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    return (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 1e-4)


def rloo_of_arrays(rewards: Any) -> Any:
    size = rewards.shape[1]
    return rewards * (size / (size - 1)) - rewards.sum(1)[:, None] / (size - 1)


def grpo_of_verl(rewards: torch.Tensor, index: Array) -> Any:
    """The loops of verl's ``compute_grpo_outcome_advantage``, with the epsilon of above."""
    scores = rewards.clone()
    members: dict[Any, list[torch.Tensor]] = defaultdict(list)
    means, deviations = {}, {}
    for place in range(len(scores)):
        members[index[place]].append(scores[place])
    for group, own in members.items():
        stacked = torch.stack(own)
        means[group], deviations[group] = stacked.mean(), stacked.std()
    for place in range(len(scores)):
        scores[place] = (scores[place] - means[index[place]]) / (deviations[index[place]] + 1e-4)
    return scores


def ratios(seconds: float, _: bool) -> Table:
    """PPO with its gradient on log-probabilities."""
    head = ["", "threads", "ms", "× torch", "target", "reached", "error: ours, torch"]
    table = Table("PPO with its gradient, 512 x 1024 steps, float32", head)
    random = np.random.default_rng(3)
    log_probs = -random.exponential(size=(512, 1024)).astype(np.float32)
    old, reference = ((log_probs + 0.1 * random.standard_normal(log_probs.shape)).astype(np.float32) for _ in range(2))
    advantages = random.standard_normal(log_probs.shape, dtype=np.float32)
    loss = value_and_grad(ppo_loss)
    for name, options in (("clip", {}), ("clip and k3", {"kl": "k3", "kl_coefficient": 0.1})):
        given: dict[str, Any] = {**options, **({"reference_log_probs": reference} if options else {})}

        def of_torch(dtype: torch.dtype = torch.float32, has_kl: bool = bool(options)) -> tuple[float, Any]:
            own = (torch.from_numpy(array).to(dtype) for array in (log_probs, old, advantages, reference))
            leaf, before, worth, anchor = own
            leaf.requires_grad_()
            ratio = (leaf - before).clamp(-20, 20).exp()
            terms = torch.max(-worth * ratio, -worth * ratio.clamp(0.8, 1.2))
            if has_kl:
                distance = (anchor - leaf).clamp(-20, 20)
                terms = terms + 0.1 * (distance.exp() - distance - 1)
            value = terms.mean()
            return float(value.detach()), torch.autograd.grad(value, leaf)[0]

        timed: Candidates = {OURS: partial(loss, log_probs, old, advantages, **given), TORCH: of_torch}
        truth = as_float64(of_torch(torch.float64)[1])
        errors = {
            who: float(np.abs(as_float64(call()[1]) - truth).max() / np.abs(truth).max()) for who, call in timed.items()
        }
        if not errors[OURS] < 1e-6:
            sys.exit(f"PPO with {name} is off by {errors[OURS]}, so it is not timed")
        for threads in THREADS:
            on_threads(threads)
            taken = fastest(timed, seconds)
            ratio = taken[TORCH] / taken[OURS]
            table.add(
                name,
                str(threads),
                f"{taken[OURS] * 1e3:.2f}",
                times(ratio),
                "≥ 1 × torch" if threads == 1 else "",
                verdict(ratio >= 1 if threads == 1 else None),
                ", ".join(f"{errors[who]:.0e}" for who in (OURS, TORCH)),
            )
    return table


# ---------------------------------------------------------------------------------------------------------------------
# Minimum word error rate


def word_errors(seconds: float, _: bool) -> Table:
    """MWER of n-best lists, the errors counted on the way."""
    head = ["", "threads", "ms", "× jiwer and NumPy", "target", "reached"]
    table = Table("MWER with its gradient, 64 lists of 16 hypotheses of 100 words", head)
    random = np.random.default_rng(4)
    references = random.integers(0, 1000, (64, 100))
    hypotheses = np.repeat(references[:, None], 16, 1)
    is_wrong = random.random(hypotheses.shape) < 0.2
    hypotheses[is_wrong] = random.integers(0, 1000, is_wrong.sum())
    log_probs = random.standard_normal((64, 16))
    # The rival gets words, and no time is counted for writing them.
    written = [[" ".join(map(str, one)) for one in several] for several in hypotheses]
    right = [" ".join(map(str, one)) for one in references]

    def of_jiwer() -> tuple[float, Array]:
        errors = np.empty((64, 16))
        for place, (several, one) in enumerate(zip(written, right, strict=True)):
            for answer, text in enumerate(several):
                found = jiwer.process_words(one, text)
                errors[place, answer] = found.substitutions + found.deletions + found.insertions
        powers = np.exp(log_probs - log_probs.max(1, keepdims=True))
        shares = powers / powers.sum(1, keepdims=True)
        risk = (shares * errors).sum(1, keepdims=True)
        return float((risk[:, 0] - errors.mean(1)).mean()), shares * (errors - risk) / 64

    loss = value_and_grad(mwer_loss)
    timed: Candidates = {OURS: lambda: loss(log_probs, hypotheses, references), "jiwer and NumPy": of_jiwer}
    own, other = (call() for call in timed.values())
    np.testing.assert_allclose(own[0], other[0], rtol=1e-12)
    np.testing.assert_allclose(own[1], other[1], rtol=1e-10, atol=1e-14)
    for threads in THREADS:
        on_threads(threads)
        taken = fastest(timed, seconds)
        ratio = taken["jiwer and NumPy"] / taken[OURS]
        table.add("ids", str(threads), f"{taken[OURS] * 1e3:.2f}", times(ratio), "≥ 20 ×", verdict(ratio >= 20))
    return table


def expected(seconds: float, _: bool) -> Table:
    """Expected BLEU with its gradient; there is nobody else who computes it."""
    head = ["", "type", "threads", "ms", "sentences/ms, thread", "target", "reached", "error along the gradient"]
    table = Table("Expected BLEU with its gradient, 64 sentences of 50 words against 50, orders 1 to 4", head)
    table.note = (
        "A sentence takes 14 operations for each n-gram of its reference at each place where it may stand, "
        "14 (50² + 49² + 48² + 47²) ≈ 132,000, and its softmax: 10 sentences/ms are 1.3 of them a nanosecond."
    )
    random, loss = np.random.default_rng(5), value_and_grad(expected_bleu_loss)
    for tokens in (100, 1000):
        references = random.integers(0, tokens, (64, 50))
        exact = random.standard_normal((64, 50, tokens))
        # The derivative along the gradient's own direction, by central differences.
        slope = loss(exact, references)[1]
        direction, step = slope / np.sqrt(np.square(slope).sum()), 1e-4
        values = [expected_bleu_loss(exact + sign * step * direction, references) for sign in (1, -1)]
        along = (values[0] - values[1]) / (2 * step)
        for dtype in (np.float32, np.float64):
            logits = exact.astype(dtype)
            error = abs(float((loss(logits, references)[1] * direction).sum()) / along - 1)
            if not error < 1e-4:
                sys.exit(f"the gradient of expected BLEU is off by {error}, so it is not timed")
            for threads in THREADS:
                on_threads(threads)
                taken = fastest({OURS: partial(loss, logits, references)}, seconds)[OURS]
                speed = len(logits) / (taken * 1e3) / threads
                table.add(
                    f"{tokens} tokens",
                    np.dtype(dtype).name,
                    str(threads),
                    f"{taken * 1e3:.2f}",
                    f"{speed:.1f}",
                    "≥ 10" if tokens == 100 else "",
                    verdict(speed >= 10 if tokens == 100 else None),
                    f"{error:.0e}",
                )
    return table


def machine(load: float) -> str:
    config = seqloss_rs.show_config()
    is_changed = bool(git("status", "--porcelain", "--untracked-files=all", "--", "src", "python", "Cargo.toml"))
    rivals = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "jiwer"))
    return "\n".join(
        [
            f"* machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
            f"{load:.1f} processes were running at the start",
            f"* instruction set in use: {config['simd']}; logits of scale 3, rewards of scale 1",
            f"* seqloss_rs {config['version']} at {git('rev-parse', '--short', 'HEAD')}"
            + (" with changes that are not committed" if is_changed else ""),
            f"* Python {config['python']}, NumPy {config['numpy']}, {rivals}",
            "* the ratios behind `ms` compare new gradients on both sides; `of a copy` is that of a gradient that is "
            "written to memory which is there already",
        ]
    )


if __name__ == "__main__":
    main()
