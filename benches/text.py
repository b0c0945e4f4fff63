"""Measures the metrics of text beside sacrebleu, rouge-score, jiwer and their native rivals, on one thread unless said.

The texts are 10,000 pairs of about 32 words: running prose of the documentation of Python's standard library, and the
same with a quarter of the words dropped, exchanged or moved. Every answer is compared with that of the library that is
measured beside before anything is timed. Candidates take turns, and the fastest round of each counts. ``--record``
writes the tables to ``benches/record/``. rouge-score-rs, bleuscore and fastchrf are measured where they are installed.
"""

import os

# The rivals' pools read it when they are first used; this library is told its threads by name.
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import ast
import datetime
import functools
import importlib
import importlib.metadata
import logging
import platform
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import sacrebleu
import seqloss_rs
from compare import ROOT, Candidates, fastest, git, processor
from ctc import Table, times, verdict
from rouge_score import rouge_scorer  # type: ignore[import-untyped]  # it has no types
from sacrebleu.tokenizers import tokenizer_13a, tokenizer_re
from seqloss_rs import Bleu, Chrf, ErrorRate, Rouge, Ter, significance

PAIRS = 10_000
# A rival that takes tenths of a second for a thousand pairs gets a thousand of them; what counts is pairs a second.
FEWER = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the tables to benches/record/")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each comparison takes (default: 4)")
    parser.add_argument("--only", choices=["pairs", "threads", "ids", "matrices", "significance"])
    arguments = parser.parse_args()
    logging.disable()  # sacrebleu warns of tokenized text, and takes time for it
    load = os.getloadavg()[0]
    parts: dict[str, Callable[[float], Table]] = {
        "pairs": pairs,
        "threads": threads,
        "ids": ids,
        "matrices": matrices,
        "significance": resampling,
    }
    chosen = [arguments.only] if arguments.only else list(parts)
    tables = [parts[name](arguments.seconds) for name in chosen]
    report = "\n\n".join([machine(load), *map(str, tables)]) + "\n"
    print(report)
    if arguments.record:
        path = ROOT / "benches" / "record" / f"{datetime.date.today()}-{git('rev-parse', '--short', 'HEAD')}-text.md"
        path.write_text(f"# benches/text.py\n\n{report}", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")


# What is measured.


def pairs(seconds: float) -> Table:
    """Scores of pairs of strings."""
    seqloss_rs.set_num_threads(1)
    table = Table(
        "Pairs of strings, one thread", ["metric", "pairs/s", "beside", "pairs/s", "ratio", "target", "reached"]
    )
    hypotheses, references = sentences()
    for name, ours, theirs in comparisons(hypotheses, references):
        tell(table, name, ours, theirs, seconds)
    targets = ["\n".join(references[at : at + 4]) for at in range(0, PAIRS, 4)]
    summaries = ["\n".join(hypotheses[at : at + 4]) for at in range(0, PAIRS, 4)]
    theirs = rouge_rivals(["rougeLsum"], False, summaries, targets, 100, 8)
    tell(
        table,
        "ROUGE-Lsum of 4 sentences, a line each",
        ours_of(Rouge(variant="rougeLsum"), summaries, targets),
        theirs,
        seconds,
        PAIRS // 4,
    )
    return table


Rivals = list[tuple[str, float, int, Callable[[], Any]]]
"""Name, the ratio that is asked for, how many pairs, and what is called; it returns scores of pairs, or one of all."""


def comparisons(hypotheses: list[str], references: list[str]) -> Iterator[tuple[str, Callable[[int], Any], Rivals]]:
    few = slice(0, FEWER)
    h, r = hypotheses[few], references[few]

    def sentence(metric: Any) -> Callable[[], Any]:
        return lambda: [metric.sentence_score(text, [of]).score for text, of in zip(h, r, strict=True)]

    def fresh(metric: Callable[[], Any]) -> Callable[[], Any]:
        """The corpus score; sacrebleu keeps the tokens of lines that it has seen, which is taken back."""

        def score() -> Any:
            forget_tokens()
            return metric().corpus_score(h, [r]).score

        return score

    bleu = sacrebleu.metrics.bleu.BLEU
    yield (
        "BLEU of sentences",
        ours_of(Bleu(), hypotheses, references),
        [
            ("sacrebleu", 100, FEWER, forgetting(sentence(bleu(effective_order=True)))),
            *bleuscore_of([([text], [[of]]) for text, of in zip(h, r, strict=True)], False),
        ],
    )
    yield (
        "BLEU of a corpus",
        ours_of(Bleu(), hypotheses, references, corpus=True),
        [("sacrebleu", 100, FEWER, fresh(bleu)), *bleuscore_of([(h, [[of] for of in r])], True)],
    )
    chrf, ter = sacrebleu.metrics.chrf.CHRF, sacrebleu.metrics.ter.TER
    yield "chrF", ours_of(Chrf(), hypotheses, references), [("sacrebleu", 50, FEWER, sentence(chrf()))]
    yield (
        "chrF++",
        ours_of(Chrf(word_order=2), hypotheses, references),
        [("sacrebleu", 50, FEWER, sentence(chrf(word_order=2)))],
    )
    yield (
        "TER",
        ours_of(Ter(), hypotheses, references),
        [
            (
                "sacrebleu",
                50,
                100,
                lambda: [ter().sentence_score(a, [b]).score for a, b in zip(h[:100], r[:100], strict=True)],
            )
        ],
    )
    variants: list[Any] = ["rouge1", "rouge2", "rougeL"]
    for stem in (False, True):
        name = "ROUGE-1, 2 and L" + (", stemmed" if stem else "")
        yield (
            name,
            rouge_of(variants, stem, hypotheses, references),
            rouge_rivals(variants, stem, hypotheses, references, FEWER, 10 if stem else 5),
        )
    for variant in variants:
        yield (
            variant,
            ours_of(Rouge(variant=variant), hypotheses, references),
            rouge_rivals([variant], False, hypotheses, references, FEWER, 5),
        )
    yield (
        "word error rate",
        ours_of(ErrorRate(), hypotheses, references, corpus=True),
        [("jiwer", 50, FEWER, lambda: jiwer.process_words(r, h).wer)],
    )


def ours_of(metric: Any, hypotheses: list[str], references: list[str], corpus: bool = False) -> Callable[[int], Any]:
    if corpus:
        return lambda count: metric.corpus(hypotheses[:count], references[:count]).score
    return lambda count: metric.sentences(hypotheses[:count], references[:count])


def rouge_of(variants: list[Any], stem: bool, hypotheses: list[str], references: list[str]) -> Callable[[int], Any]:
    def scores(count: int) -> Any:
        found = seqloss_rs.rouge_scores(hypotheses[:count], references[:count], variants=variants, stem=stem)
        return list(found.values())

    return scores


def bleuscore_of(calls: list[tuple[list[str], list[list[str]]]], is_corpus: bool) -> Rivals:
    """bleuscore has no smoothing that others have, so only its corpus can be compared; its speed is told for both."""
    module = installed("bleuscore")
    if module is None:
        return []

    def score() -> Any:
        results = [module.compute(references=of, predictions=texts)["bleu"] for texts, of in calls]
        return 100 * results[0] if is_corpus else None

    return [("bleuscore", 20, FEWER, score)]


def rouge_rivals(
    variants: list[str], stem: bool, hypotheses: list[str], references: list[str], fewer: int, factor: float
) -> Rivals:
    h, r = hypotheses[:fewer], references[:fewer]
    scorer = rouge_scorer.RougeScorer(variants, use_stemmer=stem)

    def columns(scores: list[Any]) -> Any:
        rows = [[list(score[variant]) for score in scores] for variant in variants]
        return rows if len(variants) > 1 else [row[2] for row in rows[0]]

    rivals: Rivals = [
        (
            "rouge-score",
            300,
            fewer,
            lambda: columns([scorer.score(of, text) for text, of in zip(h, r, strict=True)]),
        )
    ]
    if (module := installed("rouge_score_rs")) is not None:
        # Its own numbers are the same; what it returns is not taken apart while it is timed.
        native = module.RougeScorer(variants, use_stemmer=stem)
        checked = columns(native.score_batch(r, h))
        rivals.append(("rouge-score-rs", factor, len(hypotheses), lambda: native.score_batch(references, hypotheses)))
        np.testing.assert_allclose(checked, columns([scorer.score(of, text) for text, of in zip(h, r, strict=True)]))
    return rivals


def tell(
    table: Table, name: str, ours: Callable[[int], Any], theirs: Rivals, seconds: float, size: int = PAIRS
) -> None:
    for rival, target, count, call in theirs:
        answer = call()
        # rouge-score-rs hands over objects, which have been compared already.
        if answer is not None and not (isinstance(answer, list) and isinstance(answer[0], dict)):
            np.testing.assert_allclose(np.asarray(ours(count), float), np.asarray(answer, float), rtol=1e-9, atol=1e-9)
        candidates: Candidates = {"seqloss_rs": functools.partial(ours, size), rival: call}
        taken = fastest(candidates, seconds)
        speeds = size / taken["seqloss_rs"], count / taken[rival]
        ratio = speeds[0] / speeds[1]
        cells = f"{speeds[0]:,.0f}", rival, f"{speeds[1]:,.0f}", times(ratio), f"≥ {target:g} ×"
        table.add(name, *cells, verdict(ratio >= target))


def threads(seconds: float) -> Table:
    """Two threads beside one."""
    table = Table("Two threads", ["metric", "pairs/s", "of one thread", "target", "reached"])
    hypotheses, references = sentences()
    metrics: list[tuple[str, Any]] = [
        ("BLEU", Bleu()),
        ("chrF", Chrf()),
        ("TER", Ter()),
        ("ROUGE-L", Rouge()),
        ("word error rate", ErrorRate()),
    ]
    for name, metric in metrics:

        def on(count: int, metric: Any = metric) -> Callable[[], Any]:
            def run() -> Any:
                seqloss_rs.set_num_threads(count)
                return metric.statistics(hypotheses, references)

            return run

        np.testing.assert_array_equal(on(1)(), on(2)())
        taken = fastest({"one": on(1), "two": on(2)}, seconds)
        ratio = taken["one"] / taken["two"]
        table.add(name, f"{PAIRS / taken['two']:,.0f}", times(ratio), "≥ 1.8 ×", verdict(ratio >= 1.8))
    return table


def ids(seconds: float) -> Table:
    """Rewards of rollouts on token ids."""
    seqloss_rs.set_num_threads(2)
    table = Table("Rewards on ids, N=256 K=8 T=256, two threads", ["metric", "sequences/s", "target", "reached"])
    rng = np.random.default_rng(6)
    references = np.minimum(rng.zipf(1.2, (256, 256)), 32_000)
    rollouts = np.repeat(references[:, None], 8, axis=1)
    changed = rng.random(rollouts.shape) < 0.3
    rollouts = np.where(changed, np.minimum(rng.zipf(1.2, rollouts.shape), 32_000), rollouts)
    metrics: list[tuple[str, Any, float | None]] = [
        ("BLEU", Bleu(), 300_000),
        ("ROUGE-L", Rouge(), None),
        ("edit distance", ErrorRate(), None),
    ]
    for name, metric, target in metrics:
        strings = [[" ".join(map(str, row)) for row in group] for group in rollouts[:4]]
        plain = Bleu(tokenize="none") if isinstance(metric, Bleu) else metric
        for group, texts, reference in zip(rollouts[:4], strings, references[:4], strict=True):
            of = " ".join(map(str, reference))
            np.testing.assert_array_equal(
                metric.sentences(group[None], reference[None])[0], plain.sentences(texts, [of] * len(texts))
            )
        prepared = metric.prepare(references)
        taken = fastest({"ours": functools.partial(prepared.sentences, rollouts)}, seconds)["ours"]
        speed = rollouts.shape[0] * rollouts.shape[1] / taken
        is_met = None if target is None else speed >= target
        table.add(name, f"{speed:,.0f}", "" if target is None else f"≥ {target:,.0f}", verdict(is_met))
    return table


def matrices(seconds: float) -> Table:
    """Every hypothesis against every reference."""
    seqloss_rs.set_num_threads(2)
    table = Table(
        "Matrices of 1024 x 1024 sentences, two threads", ["metric", "seconds", "beside", "target", "reached"]
    )
    hypotheses, references = (texts[:1024] for texts in sentences())
    metrics: list[tuple[str, Any]] = [
        ("chrF", Chrf()),
        ("BLEU", Bleu()),
        ("ROUGE-L", Rouge()),
        ("edit distance", ErrorRate()),
    ]
    for name, metric in metrics:
        some = metric.pairwise(hypotheses[:20], references[:30])
        one = np.array([metric.sentences([text] * 30, references[:30]) for text in hypotheses[:20]])
        np.testing.assert_array_equal(some, one)
        taken = fastest({"ours": functools.partial(metric.pairwise, hypotheses, references)}, seconds)["ours"]
        told = ""
        fastchrf = installed("fastchrf") if name == "chrF" else None
        if fastchrf is not None:
            np.testing.assert_allclose(
                np.array(fastchrf.pairwise_chrf([hypotheses[:20]], [references[:30]])[0]), some, rtol=1e-5
            )
            rival = functools.partial(fastchrf.pairwise_chrf, [hypotheses[:128]], [references[:128]])
            # On one thread, and of 1/64 of the matrix: as much on two is half of 64 times that.
            theirs = fastest({"fastchrf": rival}, seconds)["fastchrf"] * 32
            told = f"fastchrf {theirs:.1f} s, {times(theirs / taken)}"
        target = "≤ 2 s" if name == "chrF" else ""
        table.add(name, f"{taken:.2f}", told, target, verdict(taken <= 2 if name == "chrF" else None))
    return table


def resampling(seconds: float) -> Table:
    """Bootstrap of a corpus."""
    seqloss_rs.set_num_threads(1)
    table = Table(
        "1,000 bootstrap resamples of 3,000 segments, BLEU", ["threads", "ms", "sacrebleu", "target", "reached"]
    )
    hypotheses, references = (texts[:3000] for texts in sentences())
    metric, rival = Bleu(), sacrebleu.metrics.bleu.BLEU()
    rows = metric.statistics(hypotheses, references)
    theirs = rival.corpus_score(hypotheses, [references], n_bootstrap=1000)
    ours = significance.bootstrap(metric, rows, resamples=1000, seed=12345)
    np.testing.assert_allclose([ours.mean, ours.half_width], [theirs._mean, theirs._ci], rtol=1e-5)
    for count in (1, 2):
        seqloss_rs.set_num_threads(count)
        taken = fastest(
            {
                "ours": functools.partial(significance.bootstrap, metric, rows, resamples=1000, seed=12345),
                "sacrebleu": functools.partial(rival.corpus_score, hypotheses, [references], n_bootstrap=1000),
            },
            seconds,
        )
        milliseconds = taken["ours"] * 1e3
        table.add(
            str(count),
            f"{milliseconds:.1f}",
            f"{taken['sacrebleu'] * 1e3:,.0f} ms, scoring included",
            "≤ 100 ms",
            verdict(milliseconds <= 100),
        )
    return table


# What is measured with.


@functools.cache
def sentences() -> tuple[list[str], list[str]]:
    """Hypotheses and references."""
    rng = random.Random(12)
    words: list[str] = []
    folder = Path(ast.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                words += (ast.get_docstring(node) or "").split()
        if len(words) > 40 * PAIRS:
            break
    references: list[str] = []
    at = 0
    while len(references) < PAIRS:
        length = rng.randrange(22, 43)
        references.append(" ".join(words[at : at + length]))
        at = (at + length) % (len(words) - 43)
    return [edited(reference.split(), words, rng) for reference in references], references


def edited(words: list[str], others: list[str], rng: random.Random) -> str:
    result: list[str] = []
    for word in words:
        chance = rng.random()
        if chance < 0.08:
            continue
        if chance < 0.16:
            result.append(rng.choice(others))
        elif chance < 0.25:
            result.insert(max(len(result) - rng.randrange(6), 0), word)
        else:
            result.append(word)
    return " ".join(result)


def forgetting(score: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        forget_tokens()
        return score()

    return run


def forget_tokens() -> None:
    """Empties the caches in which sacrebleu keeps the tokens of lines, which no user scores twice."""
    for tokenizer in (tokenizer_13a.Tokenizer13a, tokenizer_re.TokenizerRegexp):
        cached: Any = vars(tokenizer)["__call__"]
        cached.cache_clear()


@functools.cache
def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def machine(load: float) -> str:
    config = seqloss_rs.show_config()
    names = ["sacrebleu", "rouge-score", "jiwer"]
    names += [name for name in ("rouge-score-rs", "bleuscore", "fastchrf") if installed(name.replace("-", "_"))]
    is_changed = bool(git("status", "--porcelain", "--untracked-files=no", "--", "src", "python", "Cargo.toml"))
    return "\n".join(
        [
            f"* machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
            f"{load:.1f} processes were running at the start",
            f"* instruction set in use: {config['simd']}",
            f"* seqloss_rs {config['version']} at {git('rev-parse', '--short', 'HEAD')}"
            + (" with changes that are not committed" if is_changed else ""),
            f"* Python {config['python']}, NumPy {config['numpy']}, "
            + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names),
        ]
    )


if __name__ == "__main__":
    main()
