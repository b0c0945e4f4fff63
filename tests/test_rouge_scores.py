"""`rouge_scores` against rouge-score, and against the metric that scores one variant at a time."""

from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # it has no stubs
from seqloss_rs import Rouge, rouge_scores
from test_text import generated, real

VARIANTS: Any = (*(f"rouge{order}" for order in range(1, 10)), "rougeL", "rougeLsum")


@pytest.mark.parametrize("stem", [False, True])
def test_all_variants_in_one_pass(stem: bool) -> None:
    hypotheses, references = generated(400, 3)
    more_hypotheses, more_references = real(60)
    hypotheses, references = hypotheses + more_hypotheses, references + more_references
    found = rouge_scores(hypotheses, references, VARIANTS, stem)
    assert list(found) == list(VARIANTS)
    scorer = RougeScorer(VARIANTS, stem)
    expected = [scorer.score_multi(texts, text) for text, texts in zip(hypotheses, references, strict=True)]
    for variant, scores in found.items():
        assert scores.shape == (len(hypotheses), 3)
        assert scores.dtype == np.float64
        assert scores.tolist() == [list(map(float, each[variant])) for each in expected]


def test_defaults() -> None:
    assert list(rouge_scores(["a"], ["a"])) == ["rouge1", "rouge2", "rougeL"]
    assert rouge_scores([], [])["rougeL"].shape == (0, 3)
    assert rouge_scores(["a"], ["a"], ()) == {}


def test_layouts() -> None:
    generator = np.random.default_rng(1)
    hypotheses, references = (generator.integers(0, 5, shape) for shape in ((6, 4, 9), (6, 7)))
    lengths = generator.integers(0, 10, (6, 4))
    layout: Any = {"lengths": lengths, "pad_id": 0}
    found = rouge_scores(hypotheses, references, **layout)
    for variant, scores in found.items():
        assert scores.shape == (6, 4, 3)
        for column, measure in enumerate(("precision", "recall", "f")):
            metric = Rouge(variant=variant, measure=measure)  # type: ignore[arg-type]  # it is one of them
            assert (scores[..., column] == metric.sentences(hypotheses, references, **layout)).all()


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(TypeError, match="variants is a single string"):
        rouge_scores(["a"], ["a"], "rouge1")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match='variant is "rouge0"'):
        rouge_scores(["a"], ["a"], ["rouge1", "rouge0"])  # type: ignore[list-item]  # that is the point
    with pytest.raises(ValueError, match="stem is True, which goes with strings"):
        rouge_scores([[1]], [[1]], stem=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        rouge_scores(["a"], ["a"], width=3)  # type: ignore[call-arg]  # that is the point


def test_means_over_references_are_those_of_each_measure() -> None:
    hypotheses, references = ["the cats sat", "a b"], [["the cat", "cats sat down", ""], ["b a"]]
    found = rouge_scores(hypotheses, references, ("rouge1", "rougeL"), True, multiple_references="mean")
    each = [
        [rouge_scores([text], [own], ("rouge1", "rougeL"), True) for own in several]
        for text, several in zip(hypotheses, references, strict=True)
    ]
    for variant, rows in found.items():
        expected = [np.mean([scores[variant][0] for scores in several], axis=0) for several in each]
        np.testing.assert_allclose(rows, expected, rtol=1e-15)
    with pytest.raises(ValueError, match="multiple_references is"):
        rouge_scores(hypotheses, references, multiple_references="worst")  # type: ignore[arg-type]  # that is the point
