"""Scores and standard errors from the values of documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searcher.candidate import Score
from searcher.errors import CandidateError
from searcher.objectives.lm_eval_scores import Aggregation, DocumentScores, aggregation_name, unit_of

metrics: Any = pytest.importorskip("lm_eval.api.metrics")
rng = np.random.default_rng(0)


def resampled(aggregation: Aggregation, draw: Callable[[int], list[Any]]) -> float:
    """Standard deviation of the value over fresh samples: what a standard error estimates."""
    return float(np.std([aggregation(draw(200)) for _ in range(150)]))


def weighted(n: int) -> list[tuple[float, int]]:
    weights = rng.integers(5, 40, size=n)
    return [(-float(w * rng.normal(2.0, 0.5)), int(w)) for w in weights]


def labels(n: int) -> list[tuple[int, int]]:
    gold = rng.integers(0, 2, size=n)
    return [(int(g), int(g if rng.random() < 0.8 else 1 - g)) for g in gold]


def test_a_mean_is_the_mean_of_the_documents() -> None:
    score = DocumentScores(metrics.mean).score([1.0, 0, True, 0.0])
    expected = Score.from_examples(np.array([1.0, 0.0, 1.0, 0.0]))
    assert (score.value, score.stderr) == (expected.value, expected.stderr)


def test_documents_without_a_value_are_left_out() -> None:
    score = DocumentScores(metrics.mean).score([1.0, None, 0.0])
    assert score.value == 0.5
    np.testing.assert_array_equal(score.example_scores, [1.0, math.nan, 0.0])
    assert math.isnan(DocumentScores(metrics.mean).score([None, None]).value)


def test_nan_is_an_error_where_lm_eval_would_let_it_spread() -> None:
    with pytest.raises(CandidateError):
        DocumentScores(metrics.mean).score([1.0, math.nan])
    assert DocumentScores(metrics.nanmean).score([1.0, math.nan]).value == 1.0


@pytest.mark.parametrize("name", ["weighted_perplexity", "bits_per_byte"])
def test_shares_of_a_perplexity(name: str) -> None:
    aggregation, values = getattr(metrics, name), weighted(200)
    score = DocumentScores(aggregation, float(np.mean([w for _, w in values]))).score(values)
    assert score.value == pytest.approx(aggregation(values))
    assert score.example_scores is not None
    expected = score.value if name == "bits_per_byte" else math.log(score.value)
    assert np.mean(score.example_scores) == pytest.approx(expected)
    assert score.stderr == pytest.approx(resampled(aggregation, weighted), rel=0.3)


def test_a_share_does_not_depend_on_the_other_documents() -> None:
    values = weighted(10)
    rule = DocumentScores(metrics.weighted_perplexity, 20.0)
    whole, part = rule.score(values).example_scores, rule.score(values[3:6]).example_scores
    assert whole is not None
    np.testing.assert_array_equal(whole[3:6], part)


def test_the_perplexity_of_log_likelihoods() -> None:
    def draw(n: int) -> list[float]:
        return list(rng.normal(-3.0, 1.0, size=n))

    values = draw(200)
    score = DocumentScores(metrics.perplexity).score(values)
    assert score.value == pytest.approx(metrics.perplexity(values))
    assert score.example_scores is not None
    np.testing.assert_allclose(score.example_scores, -np.array(values))
    assert score.stderr == pytest.approx(resampled(metrics.perplexity, draw), rel=0.3)


def test_a_perplexity_beyond_numbers_fails_the_candidate() -> None:
    with pytest.raises(CandidateError, match="too large"):
        DocumentScores(metrics.perplexity).score([-1000.0, -900.0])


@pytest.mark.parametrize("name", ["f1_score", "matthews_corrcoef"])
def test_metrics_of_labels_are_left_one_group_out(name: str) -> None:
    aggregation, values = getattr(metrics, name), labels(200)
    score = DocumentScores(aggregation).score(values)
    assert score.value == pytest.approx(aggregation(values))
    np.testing.assert_array_equal(score.example_scores, [float(g == p) for g, p in values])
    assert score.stderr == pytest.approx(resampled(aggregation, labels), rel=0.5)


def test_metrics_of_texts_score_each_text_alone() -> None:
    values = [
        ("the quick brown fox jumps", "the quick brown fox jumps"),
        ("a lazy dog lies here", "nothing of the kind"),
    ]
    score = DocumentScores(metrics.bleu).score(values)
    assert score.example_scores is not None
    assert score.example_scores[0] == pytest.approx(100.0)
    assert score.example_scores[1] < 10.0


def test_the_brier_score_is_the_mean_of_squared_errors() -> None:
    values = [(0, np.array([0.7, 0.2, 0.1])), (2, np.array([0.3, 0.3, 0.4])), (1, np.array([0.1, 0.8, 0.1]))]
    score = DocumentScores(metrics.brier_score).score(values)
    assert score.example_scores is not None
    assert score.value == pytest.approx(np.mean(score.example_scores))
    assert score.stderr == pytest.approx(np.std(score.example_scores, ddof=1) / math.sqrt(3))


def test_an_aggregation_of_the_task_itself() -> None:
    def best(values: Any) -> float:
        return float(max(values))

    score = DocumentScores(best).score([1.0, 3.0, 2.0])
    assert score.value == 3.0
    np.testing.assert_array_equal(score.example_scores, [1.0, 3.0, 2.0])
    assert aggregation_name(best) == ""


def test_one_document_has_no_standard_error() -> None:
    for rule, values in (
        (DocumentScores(metrics.perplexity), [-1.0]),
        (DocumentScores(metrics.weighted_perplexity, 3.0), [(-1.0, 3)]),
        (DocumentScores(metrics.bleu), [("some words in a row", "some words in a row")]),
    ):
        assert math.isnan(rule.score(values).stderr)


def test_units() -> None:
    found = [unit_of(m) for m in ("acc_norm", "word_perplexity", "bits_per_byte", "pass@1", "something")]
    assert found == ["fraction", "perplexity per word", "bits/byte", "fraction", ""]
