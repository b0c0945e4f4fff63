"""Train a text recogniser by the errors that it makes: minimum risk on the n-best lists of its own emissions.

All that is trained is one number for each class, which is added to its score in every frame. Half of the lines are for
training. A step reads them by beam search, several ways each, and counts the errors of each way; `mwer_loss` says how
the probability of each should change for the expected number of errors to fall, and the gradient of `ctc_loss` what
that means for the scores of the frames. The other lines are read before and after, and have fewer errors in the end.
Lines that cannot be aligned with their texts, as they have too few frames, are left out of both halves.

    python examples/ocr/minimum_risk.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seqloss_rs import ErrorRate, ctc_beam_decode, ctc_loss, mwer_loss, value_and_grad

HERE = Path(__file__).parent
SEED = 0

N_BEST, BEAM_WIDTH = 6, 12
LEARNING_RATE = 0.1

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def read() -> tuple[list[Floats], list[Labels]]:
    """Scores (T, C) of the frames of every line that its text can be aligned with, and the texts."""
    with np.load(HERE / "emissions.npz", allow_pickle=False) as file:
        frames = np.split(file["logits"].astype(np.float32), file["logits_offsets"][1:-1])
        targets = np.split(file["targets"], np.cumsum(file["target_lengths"])[:-1])
    losses = np.asarray(ctc_loss(frames, targets, scores="log_probs", reduction="none"))
    possible = np.flatnonzero(np.isfinite(losses)).tolist()
    return [frames[line] for line in possible], [targets[line] for line in possible]


def error_rate(lines: list[Floats], targets: list[Labels], bias: Floats) -> float:
    """Errors over the characters of the truth, of what is read with a bias."""
    found = ctc_beam_decode([line + bias for line in lines], beam_width=BEAM_WIDTH)
    return ErrorRate().corpus([ways[0].labels for ways in found], targets).score


def risk_and_gradient(lines: list[Floats], targets: list[Labels], bias: Floats) -> tuple[float, Floats]:
    """The expected errors of a line among the ways that it is read, and their gradient with respect to the bias."""
    scores = [line + bias for line in lines]
    found = ctc_beam_decode(scores, beam_width=BEAM_WIDTH, n_best=N_BEST)
    counts = [len(ways) for ways in found]
    labels = [way.labels for ways in found for way in ways]
    # Each way is a sequence of its own, over the frames of its line.
    frames = [line for line, count in zip(scores, counts, strict=True) for _ in range(count)]
    truths = [target for target, count in zip(targets, counts, strict=True) for _ in range(count)]
    losses = np.asarray(ctc_loss(frames, labels, reduction="none"))
    loss = value_and_grad(mwer_loss)
    risk, of_log_probs = loss(np.split(-losses, np.cumsum(counts)[:-1]), labels, truths, subtract_mean=False)
    # The log-probability of a way is minus its CTC loss.
    upstream = -np.concatenate(of_log_probs)
    _, of_frames = value_and_grad(ctc_loss, grad_output=upstream)(frames, labels, reduction="none")
    return float(risk), np.asarray(sum(gradient.sum(0) for gradient in of_frames), np.float64)


def train(steps: int) -> tuple[float, float]:
    """Train for some steps, and tell of them; return the error rates of the held-out lines before and after."""
    lines, targets = read()
    order = np.random.default_rng(SEED).permutation(len(lines)).tolist()
    trained, held = order[: len(order) // 2], order[len(order) // 2 :]

    def part(places: list[int]) -> tuple[list[Floats], list[Labels]]:
        return [lines[place] for place in places], [targets[place] for place in places]

    bias = np.zeros(lines[0].shape[1], np.float32)
    before = error_rate(*part(held), bias)
    mean, square = np.zeros(len(bias)), np.zeros(len(bias))
    for step in range(1, steps + 1):
        risk, gradient = risk_and_gradient(*part(trained), bias)
        print(f"step {step:2}: {risk:.3f} errors are expected in a line", flush=True)
        # Adam
        mean += 0.1 * (gradient - mean)
        square += 0.01 * (gradient**2 - square)
        scale = np.sqrt(square / (1 - 0.99**step)) + 1e-8
        bias -= (LEARNING_RATE * mean / (1 - 0.9**step) / scale).astype(np.float32)
    return before, error_rate(*part(held), bias)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a text recogniser by the errors that it makes.")
    parser.add_argument("--steps", type=int, default=20, help="steps of training, at least 1 (default: %(default)s)")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps: expected at least 1, got {options.steps}")
    before, after = train(options.steps)
    print(f"character error rate of held-out lines: {before:.2%} before, {after:.2%} after")


if __name__ == "__main__":
    main()
