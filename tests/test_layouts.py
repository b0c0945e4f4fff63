"""Every way in which texts can lie in lists and arrays."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import seqloss_rs


@pytest.mark.parametrize(
    "metric", [seqloss_rs.Bleu(max_order=2), seqloss_rs.Rouge(variant="rouge2"), seqloss_rs.ErrorRate()]
)
def test_every_way_in_gives_the_same(metric: Any) -> None:
    rng = np.random.default_rng(4)
    shapes = (5, 3, 9), (5, 2, 7)
    ids, references = (rng.integers(0, 6, shape) for shape in shapes)
    lengths, reference_lengths = (rng.integers(0, shape[2] + 1, shape[:2]) for shape in shapes)
    hypotheses = [[row[:length] for row, length in zip(*each, strict=True)] for each in zip(ids, lengths, strict=True)]
    several = [
        [row[:length] for row, length in zip(*each, strict=True)]
        for each in zip(references, reference_lengths, strict=True)
    ]
    # One pair after another, by words.
    words = [[" ".join(map(str, row)) for row in group] for group in hypotheses]
    texts = [[" ".join(map(str, row)) for row in group] for group in several]
    plain = dataclasses.replace(metric, tokenize="none") if isinstance(metric, seqloss_rs.Bleu) else metric
    expected = np.array(
        [[plain.statistics([text], [of])[0] for text in group] for group, of in zip(words, texts, strict=True)]
    )
    scores = np.array(
        [[plain.sentences([text], [of])[0] for text in group] for group, of in zip(words, texts, strict=True)]
    )
    padded = metric.statistics(ids, references, lengths=lengths, reference_lengths=reference_lengths)
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(
        metric.sentences(ids, references, lengths=lengths, reference_lengths=reference_lengths), scores
    )
    flat = [row for group in hypotheses for row in group]
    np.testing.assert_array_equal(metric.statistics(flat, several, rollouts=3), expected)
    values, offsets = np.concatenate(flat), np.concatenate([[0], np.cumsum([len(row) for row in flat])])
    np.testing.assert_array_equal(metric.statistics(values, several, offsets=offsets, rollouts=3), expected)
    first = [group[0] for group in several]
    one = metric.statistics(flat, first, rollouts=3)
    values, bounds = np.concatenate(first), np.concatenate([[0], np.cumsum([len(row) for row in first])])
    np.testing.assert_array_equal(
        metric.statistics(np.concatenate(flat), values, offsets=offsets, reference_offsets=bounds, rollouts=3), one
    )
    ended, filled = ids.copy(), ids.copy()
    for array, fill in ((ended, 7), (filled, 8)):
        for place in np.ndindex(lengths.shape):
            array[place][lengths[place] :] = fill
    for place in np.ndindex(lengths.shape):
        ended[place][lengths[place] + 1 :] = 3
    np.testing.assert_array_equal(metric.statistics(ended, several, eos_id=7), expected)
    np.testing.assert_array_equal(metric.statistics(filled, several, pad_id=8), expected)
    tokens = [[text.split() for text in group] for group in texts]
    np.testing.assert_array_equal(
        metric.statistics([text.split() for group in words for text in group], tokens, rollouts=3), expected
    )
    np.testing.assert_array_equal(plain.statistics(np.array(words), np.array(texts)), expected)
    missing = [[*group, None] for group in texts]
    np.testing.assert_array_equal(plain.statistics(np.array(words, object), missing), expected)


@pytest.mark.parametrize(
    ("arguments", "layout", "error", "message"),
    [
        ((["a"], ["b"]), {"eos_id": 1}, TypeError, r"eos_id goes with token ids, and hypotheses are strings"),
        (([["a"]], [["b"]]), {"lengths": [1]}, TypeError, r"lengths goes with token ids, and hypotheses are lists of"),
        ((["a"], ["b"]), {"length": 1}, TypeError, r"unexpected keyword argument 'length'"),
        ((["a"], [[None]]), {}, ValueError, r"references\[0\] is empty"),
        (([["a", 1]], [["b"]]), {}, TypeError, r"hypotheses\[0\]\[1\] has type int, expected a string"),
        (([["a"]], ["b"]), {}, TypeError, r"references\[0\] has type str, expected a list of tokens"),
        ((["a", "b", "c"], ["b"]), {"rollouts": 2}, ValueError, r"hypotheses has length 3, expected a multiple of 2"),
        ((["a", "b"], ["b", "c"]), {"rollouts": 2}, ValueError, r"references has length 2, expected 1, one item for"),
        ((["a"], ["b"]), {"rollouts": 0}, ValueError, r"rollouts is 0, "),
        (
            (np.ones((2, 2, 3), int), np.ones((2, 3), int)),
            {"rollouts": 3},
            ValueError,
            r"rollouts is 3, but hypotheses",
        ),
        ((np.ones(4, int), np.ones((2, 3), int)), {"offsets": [0, 5, 4]}, ValueError, r"offsets\[1\] is 5, "),
        (
            (np.ones((2, 2), int), [[1], [2]]),
            {"offsets": [0, 2]},
            ValueError,
            r"hypotheses has shape \(2, 2\), expected",
        ),
        (([[1], [2]], [[1], [2]]), {"offsets": [0, 2]}, TypeError, r"offsets goes with one flat array"),
        ((np.ones((2, 2, 3), int), [[1], [2]]), {"lengths": [1, 2]}, ValueError, r"lengths has shape \(2,\), expected"),
        ((np.ones((2, 0, 3), int), [[1], [2]]), {}, ValueError, r"hypotheses has no item for each set of references"),
        ((np.ones((1, 1, 2), int), [[1]]), {"lengths": [[3]]}, ValueError, r"lengths\[0, 0\] is 3, "),
    ],
)
def test_layouts_that_do_not_fit_are_named(
    arguments: tuple[Any, Any], layout: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        seqloss_rs.Bleu().statistics(*arguments, **layout)
