"""BLEU, ROUGE and error rates as their definitions say them, in plain Python by counting; never optimised.

Texts are lists of tokens here (of anything that can be compared and hashed); cutting strings is the established
packages' part, which `test_text.py` compares with directly.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction

Tokens = Sequence[Hashable]


def ngrams(tokens: Tokens, order: int) -> Counter[tuple[Hashable, ...]]:
    """Every n-gram and how often it occurs."""
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


def bleu_row(hypothesis: Tokens, references: Sequence[Tokens], max_order: int) -> list[int]:
    """Hypothesis length, closest reference length (the shorter of two), matches, totals."""
    closest = min((abs(len(reference) - len(hypothesis)), len(reference)) for reference in references)[1]
    matches, totals = [], []
    for order in range(1, max_order + 1):
        counts = ngrams(hypothesis, order)
        most: Counter[tuple[Hashable, ...]] = Counter()
        for reference in references:
            most |= ngrams(reference, order)
        matches.append((counts & most).total())
        totals.append(counts.total())
    return [len(hypothesis), closest, *matches, *totals]


def bleu_score(row: Sequence[int], smoothing: str, effective_order: bool) -> float:
    """The formula, in [0, 1], with exact precisions."""
    max_order = (len(row) - 2) // 2
    hypothesis, reference = row[:2]
    matches, totals = row[2 : 2 + max_order], row[2 + max_order :]
    if not any(matches):
        return 0.0
    precisions: list[Fraction] = []
    missing = 0
    for order, (match, total) in enumerate(zip(matches, totals, strict=True), start=1):
        more = 1 if smoothing == "add-k" and order > 1 else 0
        if total + more == 0:
            break
        precision = Fraction(match + more, total + more)
        if precision == 0 and smoothing == "exp":
            missing += 1
            precision = Fraction(1, 2**missing * total)
        elif precision == 0 and smoothing == "floor":
            precision = Fraction(1, 10 * total)
        precisions.append(precision)
    orders = len(precisions) if effective_order else max_order
    if len(precisions) < orders or 0 in precisions:
        return 0.0
    penalty = 1.0 if hypothesis >= reference else math.exp(1 - Fraction(reference, hypothesis))
    return penalty * math.exp(math.fsum(math.log(precision) for precision in precisions) / orders)


def subsequence_length(first: Tokens, second: Tokens) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for token in first:
        above = row
        row = [0]
        for j, other in enumerate(second):
            row.append(above[j] + 1 if token == other else max(above[j + 1], row[j]))
    return row[-1]


def f_measure(row: Sequence[int]) -> float:
    """F of hits, hypothesis count, reference count."""
    hits, hypothesis, reference = row
    precision, recall = hits / max(hypothesis, 1), hits / max(reference, 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def rouge_row(hypothesis: Tokens, references: Sequence[Tokens], variant: str) -> list[int]:
    """Hits, hypothesis count, reference count of the reference with the best F; a text is one line."""
    rows = []
    for reference in references:
        if variant in ("rougeL", "rougeLsum"):
            rows.append([subsequence_length(reference, hypothesis), len(hypothesis), len(reference)])
        else:
            ours, theirs = (ngrams(tokens, int(variant.removeprefix("rouge"))) for tokens in (hypothesis, reference))
            rows.append([(ours & theirs).total(), ours.total(), theirs.total()])
    return max(rows, key=f_measure)


def edit_distance(reference: Tokens, hypothesis: Tokens) -> int:
    """The least number of substitutions, deletions and insertions."""
    row = list(range(len(hypothesis) + 1))
    for i, token in enumerate(reference, start=1):
        above = row
        row = [i]
        for j, other in enumerate(hypothesis):
            row.append(min(above[j] + (token != other), above[j + 1] + 1, row[j] + 1))
    return row[-1]
