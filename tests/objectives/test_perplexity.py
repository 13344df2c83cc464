"""Perplexity, bits per byte and loss against plain transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from searcher.errors import CandidateError, ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.perplexity import Metric, Perplexity
from tests.language.tiny_llama import live_llama
from tests.objectives.plain_language import PlainModel, encode, texts, write_jsonl

TEXTS = [*texts(9), "x", " two  spaces ", "\u00e9\u4e2d"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])


def whole(data: Path, **settings: Any) -> Perplexity:
    return Perplexity("mine", data={"search": data}, **settings)


def plain_losses(model: LiveModel, found: list[str] = TEXTS) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each text after the prefix token, nats, and its tokens."""
    plain = PlainModel(model)
    encoded = [encode(model, text) for text in found]
    return np.array([plain.loss([0], t) for t in encoded]), np.array([len(t) for t in encoded])


def expected_value(losses: np.ndarray, n_tokens: np.ndarray, metric: Metric, found: list[str] = TEXTS) -> float:
    """By the definition of each metric."""
    if metric == "bits_per_byte":
        return float(losses.sum() / math.log(2) / sum(len(t.encode()) for t in found))
    loss = float(losses.sum() / n_tokens.sum())
    return math.exp(loss) if metric == "perplexity" else loss


@pytest.mark.parametrize("metric", ["perplexity", "bits_per_byte", "loss"])
def test_values(model: LiveModel, data: Path, metric: Metric) -> None:
    objective = whole(data, metric=metric)
    score = objective.evaluate(model, None, 0)
    losses, n_tokens = plain_losses(model)
    assert score.value == pytest.approx(expected_value(losses, n_tokens, metric), rel=1e-5)
    assert objective.direction == "minimize"
    assert score.example_scores is not None
    assert objective.of_examples(score.example_scores).value == pytest.approx(score.value, rel=1e-9)
    mean = float(np.mean(score.example_scores))
    assert (math.exp(mean) if metric == "perplexity" else mean) == pytest.approx(score.value, rel=1e-9)


@pytest.mark.parametrize("metric", ["perplexity", "bits_per_byte", "loss"])
def test_standard_error_is_that_of_the_bootstrap(model: LiveModel, data: Path, metric: Metric) -> None:
    many = texts(150, seed=4)
    write_jsonl(data, [{"text": text} for text in many])
    objective = whole(data, metric=metric)
    score = objective.evaluate(model, None, 0)
    assert score.example_scores is not None
    # the losses themselves are tested above; here they are recovered from the scores to draw documents again
    n_bytes = np.array([len(text.encode()) for text in many])
    units = n_bytes if metric == "bits_per_byte" else np.array([len(encode(model, text)) for text in many])
    totals = score.example_scores * units.mean()
    drawn = np.random.default_rng(0).integers(len(many), size=(4000, len(many)))
    values = totals[drawn].sum(axis=1) / units[drawn].sum(axis=1)
    values = np.exp(values) if metric == "perplexity" else values
    assert score.stderr == pytest.approx(np.std(values), rel=0.08)


def test_each_token_of_a_long_text_is_scored_once(model: LiveModel, data: Path) -> None:
    plain, window, stride = PlainModel(model), 16, 6
    expected = 0.0
    for tokens in (encode(model, text) for text in TEXTS):
        expected += plain.loss([0], tokens[:window])
        for start in range(window, len(tokens), stride):
            end = min(start + stride, len(tokens))
            expected += plain.loss(tokens[max(0, end - window - 1) : start], tokens[start:end])
    score = whole(data, metric="loss", window=window, stride=stride).evaluate(model, None, 0)
    _, n_tokens = plain_losses(model)
    assert max(n_tokens) > 2 * window
    assert score.value == pytest.approx(expected / n_tokens.sum(), rel=1e-5)


def test_the_window_is_at_most_the_models_context(model: LiveModel, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "long.jsonl", [{"text": " ".join(texts(40, seed=2))}])
    assert len(encode(model, " ".join(texts(40, seed=2)))) > 2 * 256
    free, bound = (whole(data, window=window).evaluate(model, None, 0) for window in (None, 256))
    beyond = whole(data, window=5000).evaluate(model, None, 0)
    assert free.value == bound.value == beyond.value


def test_an_example_alone_weighs_as_its_tokens(model: LiveModel, data: Path) -> None:
    losses, n_tokens = plain_losses(model)
    objective = whole(data, metric="loss")
    part = objective.evaluate(model, slice(2, 5), 0)
    assert part.value == pytest.approx(losses[2:5].sum() / n_tokens[2:5].sum(), rel=1e-5)
    np.testing.assert_allclose(part.example_scores, losses[2:5] / n_tokens.mean(), rtol=1e-5)  # type: ignore[arg-type]
    assert math.isnan(objective.evaluate(model, slice(2, 3), 0).stderr)


def test_paragraphs_of_a_text_file(model: LiveModel, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS[:4]), encoding="utf-8")
    objective = Perplexity("mine", data=Path("a.txt"), metric="loss", split={"search": 1.0}, root=tmp_path)
    losses, n_tokens = plain_losses(model, TEXTS[:4])
    assert objective.evaluate(model, None, 0).value == pytest.approx(losses.sum() / n_tokens.sum(), rel=1e-5)
    assert objective.n_examples == 4


@pytest.mark.parametrize("settings", [{"window": 0}, {"stride": 0}, {"window": 8, "stride": 9}])
def test_windows_that_cannot_be(data: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="Expected a stride from 1 to the window"):
        whole(data, **settings)


def test_a_perplexity_beyond_all_numbers_fails_the_candidate(tmp_path: Path, data: Path) -> None:
    exploded = live_llama(tmp_path)
    with torch.no_grad():
        exploded.module.model.norm.weight.fill_(1e6)  # type: ignore[union-attr, operator]
    assert math.isfinite(whole(data, metric="loss").evaluate(exploded, None, 0).value)
    with pytest.raises(CandidateError, match="value is inf") as caught:
        whole(data).evaluate(exploded, None, 0)
    assert caught.value.error_class == "NonFiniteScore"
