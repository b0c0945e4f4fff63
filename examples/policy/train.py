"""Train a tiny translator by nothing but its BLEU score.

The policy is a table: for each of 16 English words, the logits of the German words that may stand for it. It sees
sentences of eight words and never a dictionary. It proposes K translations of each sentence; the reward of one is its
BLEU against the reference; and `reinforce_loss` says how the logits should move, with the mean reward of the other
K - 1 proposals of the same sentence as the baseline. Everything but the losses is plain NumPy.

    python examples/policy/train.py

prints the mean reward of the first and of the last steps, and draws all of them into `build/policy/reward.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray
from seqloss_rs import Bleu, reinforce_loss, rewards, value_and_grad

ROOT = Path(__file__).resolve().parents[2]
SEED = 7

TRANSLATION = {
    "the": "der",
    "a": "ein",
    "dog": "Hund",
    "cat": "Katze",
    "house": "Haus",
    "tree": "Baum",
    "child": "Kind",
    "bird": "Vogel",
    "sees": "sieht",
    "hears": "hört",
    "likes": "mag",
    "finds": "findet",
    "old": "alt",
    "small": "klein",
    "red": "rot",
    "green": "grün",
}
ENGLISH = list(TRANSLATION)
WORDS = len(ENGLISH)

SENTENCES = 16  # N, in each step
PROPOSALS = 8  # K, for each sentence
LENGTH = 8  # T, words in a sentence
LEARNING_RATE = 8.0
WINDOW = 20  # steps that a printed mean is taken over

# Two words in a row are as much as a beginner gets right: longer n-grams would keep every first reward at 0.
BLEU = Bleu(max_order=2, smoothing="add-k")


def sample(logits: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """One class for each row of logits, drawn from its softmax (by Gumbel's trick)."""
    return np.asarray((logits + random.gumbel(size=logits.shape)).argmax(axis=-1))


def train(steps: int, seed: int = SEED) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Train for some steps.

    Returns the mean reward of each step, the (WORDS, WORDS) logits that were learnt, and the number of the German word
    that stands for each English one.
    """
    random = np.random.default_rng(seed)
    dictionary = random.permutation(WORDS)  # the German words are numbered in an order of their own
    table = np.zeros((WORDS, WORDS))
    loss_and_gradient = value_and_grad(reinforce_loss)
    mean_rewards = []
    for _ in range(steps):
        sentences = random.integers(WORDS, size=(SENTENCES, LENGTH))
        logits = np.repeat(table[sentences][:, np.newaxis], PROPOSALS, axis=1)  # (N, K, T, C)
        proposals = sample(logits, random)
        scores = rewards.bleu(proposals, dictionary[sentences], metric=BLEU)
        _, gradient = loss_and_gradient(
            logits,
            proposals,
            scores,
            baseline="leave_one_out",
            reduction="sum",
            normalizer=SENTENCES * PROPOSALS,
        )
        np.add.at(table, sentences, -LEARNING_RATE * gradient.sum(axis=1))
        mean_rewards.append(scores.mean())
    return np.array(mean_rewards), table, dictionary


def draw(mean_rewards: NDArray[np.float64], path: Path) -> None:
    """The mean reward of every step."""
    steps = np.arange(1, len(mean_rewards) + 1)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(steps, mean_rewards, color="tab:blue", linewidth=1.5)
    axes.set(xlabel="step", ylabel="mean reward (BLEU of orders 1 and 2)", ylim=(0, 1), xlim=(1, len(steps)))
    axes.set_title("A translator taught by BLEU alone (reinforce_loss, leave-one-out baseline)", loc="left", pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def translate(sentence: str, table: NDArray[np.float64], dictionary: NDArray[np.int64]) -> str:
    """The likeliest German words for the English ones."""
    german = {int(number): word for number, word in zip(dictionary, TRANSLATION.values(), strict=True)}
    return " ".join(german[int(table[ENGLISH.index(word)].argmax())] for word in sentence.split())


def main() -> None:
    """Train, print what came of it, and draw it."""
    parser = argparse.ArgumentParser(description="Train a tiny translator by BLEU rewards.")
    parser.add_argument("--steps", type=int, default=300, help="steps of training, at least 2 (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/policy/reward.png", help="the picture")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error(f"--steps: expected at least 2, got {options.steps}")

    mpl.use("agg")  # a file, no window
    mean_rewards, table, dictionary = train(options.steps)
    window = min(WINDOW, options.steps // 2)
    english = "the old dog sees a small red bird"
    print(f"mean reward of the first {window} steps: {mean_rewards[:window].mean():.3f}")
    print(f"mean reward of the last {window} steps:  {mean_rewards[-window:].mean():.3f}")
    print(f"words of {WORDS} learnt: {(table.argmax(axis=1) == dictionary).sum()}")
    print(f"{english!r} -> {translate(english, table, dictionary)!r}")
    draw(mean_rewards, options.output)
    print(options.output)


if __name__ == "__main__":
    main()
