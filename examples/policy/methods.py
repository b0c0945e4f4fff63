"""Compare REINFORCE, RLOO, GRPO, PPO and expected BLEU: ways to learn a translation by its BLEU score.

English comes as nouns and adjectives in any order. In the other language an adjective that stands before a noun comes
after it, so that what a word becomes depends on its neighbours: the policy is two tables of logits, for each word with
the one behind it, and for each word with the one before it. In each step it proposes K translations of each of N
sentences, and the reward of one is its BLEU. All methods get the same sentences and the same optimiser; four of them
never see a right translation, but only the rewards of as many proposals:

* REINFORCE: the reward less a moving average of all rewards before;
* RLOO: the reward less the mean of the other proposals for the same sentence;
* GRPO: the reward less the mean of those proposals, over their deviation;
* PPO: RLOO's advantages, whitened, and several updates with clipped ratios for the same proposals.

The fifth is another kind of thing, to see how far they could get:

* expected BLEU: no proposals, but the gradient of the BLEU of the expected matches. That takes the right translation
  itself, and says of each word in each place what it would be worth, where a reward says of eight words together how
  good they were. So it starts faster, and goes on where the others settle, whose proposals have become too much alike
  to teach anything new. It goes where there are references, and the others wherever there are rewards.

    python examples/policy/methods.py

prints the mean reward of the first and the last steps of each, and draws the learning curves into
`build/policy/methods.svg`.
Everything but losses and rewards is plain NumPy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from seqloss_rs import (
    Bleu,
    MovingAverage,
    expected_bleu_loss,
    group_advantages,
    grpo_loss,
    policy_gradient_logits,
    ppo_loss,
    reinforce_loss,
    rewards,
    token_log_probs,
    value_and_grad,
    whiten,
)

ROOT = Path(__file__).resolve().parents[2]
SEED = 3

TRANSLATION = {
    "cat": "chat",
    "dog": "chien",
    "tree": "arbre",
    "child": "enfant",
    "bird": "oiseau",
    "bed": "lit",
    "black": "noir",
    "red": "rouge",
    "round": "rond",
    "green": "vert",
    "heavy": "lourd",
    "dry": "sec",
}
ENGLISH, FRENCH = list(TRANSLATION), list(TRANSLATION.values())
WORDS, NOUNS = len(ENGLISH), 6

SENTENCES = 24  # N, in each step
PROPOSALS = 8  # K, for each sentence
LENGTH = 8  # T, words in a sentence
LEARNING_RATE = 0.15
UPDATES_OF_PPO = 3
WINDOW = 20  # steps that a mean is taken over

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Longer n-grams would keep every first reward at 0.
BLEU = Bleu(max_order=2, smoothing="add-k")


def translate(sentences: Integers) -> Integers:
    """What is right: word by word, and an adjective before a noun changes places with it."""
    right = sentences.copy()
    behind, before = sentences[:, 1:], sentences[:, :-1]
    # A noun ends what it takes part in, so that no two pairs overlap.
    places = np.nonzero((before >= NOUNS) & (behind < NOUNS))
    right[places], right[places[0], places[1] + 1] = behind[places], before[places]
    return right


class Policy:
    """Logits of the other language's words for each word and its neighbours, and how they learn (Adam)."""

    def __init__(self) -> None:
        # One more neighbour: none.
        self.tables = np.zeros((2, WORDS, WORDS + 1, WORDS))
        self.mean, self.square = np.zeros_like(self.tables), np.zeros_like(self.tables)
        self.updates = 0

    def places(self, sentences: Integers) -> list[tuple[Integers, Integers]]:
        """Which entries of either table the words of sentences look at."""
        around = np.pad(sentences, ((0, 0), (1, 1)), constant_values=WORDS)
        return [(sentences, around[:, 2:]), (sentences, around[:, :-2])]

    def logits(self, sentences: Integers) -> Floats:
        """(N, T, C) for (N, T) words."""
        places = self.places(sentences)
        return np.asarray(sum(table[place] for table, place in zip(self.tables, places, strict=True)))

    def learn(self, sentences: Integers, gradient: Floats) -> None:
        """Take a step against a gradient (N, T, C)."""
        slopes = np.zeros_like(self.tables)
        for table, place in zip(slopes, self.places(sentences), strict=True):
            np.add.at(table, place, gradient)
        self.updates += 1
        self.mean += 0.1 * (slopes - self.mean)
        self.square += 0.01 * (slopes**2 - self.square)
        step = self.mean / (1 - 0.9**self.updates)
        self.tables -= LEARNING_RATE * step / (np.sqrt(self.square / (1 - 0.99**self.updates)) + 1e-8)


# What a method does with proposals (N, K, T) for sentences and their rewards (N, K).
Method = Callable[[Policy, Integers, Integers, Floats], None]


def for_each_proposal(logits: Floats) -> Floats:
    """(N, K, T, C) of (N, T, C), without copies."""
    return np.broadcast_to(logits[:, None], (len(logits), PROPOSALS, *logits.shape[1:]))


def reinforce() -> Method:
    average = MovingAverage(decay=0.9)

    def update(policy: Policy, sentences: Integers, proposals: Integers, scores: Floats) -> None:
        loss = value_and_grad(reinforce_loss)
        logits = for_each_proposal(policy.logits(sentences))
        _, gradient = loss(logits, proposals, scores, baseline=average.value)
        average.update(scores)
        policy.learn(sentences, gradient.sum(1))

    return update


def rloo() -> Method:
    def update(policy: Policy, sentences: Integers, proposals: Integers, scores: Floats) -> None:
        loss = value_and_grad(reinforce_loss)
        _, gradient = loss(for_each_proposal(policy.logits(sentences)), proposals, scores, baseline="leave_one_out")
        policy.learn(sentences, gradient.sum(1))

    return update


def grpo() -> Method:
    def update(policy: Policy, sentences: Integers, proposals: Integers, scores: Floats) -> None:
        logits = for_each_proposal(policy.logits(sentences))
        log_probs = token_log_probs(logits, proposals).log_probs
        _, coefficients = value_and_grad(grpo_loss)(log_probs, None, scores)
        policy.learn(sentences, policy_gradient_logits(logits, proposals, coefficients).sum(1))

    return update


def ppo() -> Method:
    def update(policy: Policy, sentences: Integers, proposals: Integers, scores: Floats) -> None:
        advantages = whiten(group_advantages(scores, baseline="leave_one_out", scale=None))
        old = token_log_probs(for_each_proposal(policy.logits(sentences)), proposals).log_probs
        for _ in range(UPDATES_OF_PPO):
            logits = for_each_proposal(policy.logits(sentences))
            log_probs = token_log_probs(logits, proposals).log_probs
            _, coefficients = value_and_grad(ppo_loss)(log_probs, old, advantages)
            policy.learn(sentences, policy_gradient_logits(logits, proposals, coefficients).sum(1))

    return update


def expected_bleu() -> Method:
    def update(policy: Policy, sentences: Integers, proposals: Integers, scores: Floats) -> None:
        loss = value_and_grad(expected_bleu_loss)
        _, gradient = loss(policy.logits(sentences), translate(sentences), max_order=BLEU.max_order)
        policy.learn(sentences, gradient)

    return update


METHODS: dict[str, Callable[[], Method]] = {
    "REINFORCE": reinforce,
    "RLOO": rloo,
    "GRPO": grpo,
    "PPO": ppo,
    "expected BLEU": expected_bleu,
}


def train(method: Method, steps: int, seed: int = SEED) -> tuple[Floats, float]:
    """Train for some steps; return the mean reward of each, and the part of words that the policy has right."""
    random = np.random.default_rng(seed)
    policy, mean_rewards = Policy(), []
    for _ in range(steps):
        sentences = random.integers(WORDS, size=(SENTENCES, LENGTH))
        logits = for_each_proposal(policy.logits(sentences))
        # By Gumbel's trick, one word for each row of logits.
        proposals = (logits + random.gumbel(size=logits.shape)).argmax(-1)
        scores = rewards.bleu(proposals, translate(sentences), metric=BLEU)
        method(policy, sentences, proposals, scores)
        mean_rewards.append(scores.mean())
    sentences = random.integers(WORDS, size=(500, LENGTH))
    return np.array(mean_rewards), float((policy.logits(sentences).argmax(-1) == translate(sentences)).mean())


# ---------------------------------------------------------------------------------------------------------------------
# The picture

COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 56, 48, 120, 48


def smoothed(curve: Floats) -> Floats:
    """The mean of each step and up to WINDOW - 1 before it."""
    sums = np.cumsum(np.pad(curve, (1, 0)))
    ends = np.arange(1, len(curve) + 1)
    starts = np.maximum(ends - WINDOW, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def draw(curves: dict[str, Floats]) -> str:
    """The learning curves as SVG."""
    steps = max(map(len, curves.values()))

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / steps

    def y(reward: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - reward)

    parts = [
        f'<text x="{LEFT}" y="24" font-size="16">Five ways to learn a translation by its BLEU</text>',
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"BLEU of proposals, mean of {WINDOW} steps</text>",
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>',
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in (0, steps // 2, steps):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick}</text>')
    # Names stand at the ends of their curves, and no closer than a line to one another.
    low = HEIGHT - BOTTOM + 16.0
    for colour, (name, curve) in sorted(
        zip(COLOURS, curves.items(), strict=False), key=lambda one: one[1][1][-WINDOW:].mean()
    ):
        points = smoothed(curve)
        path = "L".join(f"{x(step):.1f} {y(point):.1f}" for step, point in enumerate(points, 1))
        low = min(low - 16, y(points[-1]) + 4)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{low:.1f}" fill="{colour}">{name}</text>')
    style = 'font-family="sans-serif" font-size="13" fill="#333"'
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    white = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{white}\n' + "\n".join(parts) + "\n</svg>\n"


def main() -> None:
    """Train each, print what came of it, and draw it."""
    parser = argparse.ArgumentParser(description="Compare policy gradients on a small translation task.")
    parser.add_argument("--steps", type=int, default=300, help="steps of training, at least 2 (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/policy/methods.svg", help="the picture")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error(f"--steps: expected at least 2, got {options.steps}")

    window, curves = min(WINDOW, options.steps), {}
    print(f"{'mean reward':13} first {window} steps  last {window} steps  words right")
    for name, method in METHODS.items():
        curves[name], right = train(method(), options.steps)
        first, last = curves[name][:window].mean(), curves[name][-window:].mean()
        print(f"{name:13} {first:14.3f}  {last:13.3f}  {right:11.1%}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(draw(curves), encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
