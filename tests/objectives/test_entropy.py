"""Entropy against plain transformers and closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from searcher.merge.live_model import LiveModel
from searcher.objectives.entropy import Entropy, entropy_sum
from tests.language.tiny_llama import live_llama
from tests.objectives.plain_language import PlainModel, encode, texts, write_jsonl

TEXTS = texts(8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("model"))


def test_mean_over_all_tokens(model: LiveModel, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    plain = PlainModel(model)
    rows = np.concatenate([plain.log_probabilities([0], encode(model, text)) for text in TEXTS])
    expected = -(np.exp(rows) * rows).sum(axis=1).mean()
    score = Entropy("mine", data={"search": data}).evaluate(model, None, 0)
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.value == pytest.approx(np.mean(score.example_scores))  # type: ignore[arg-type]
    assert score.stderr > 0


def test_direction(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    assert Entropy("mine", data=data).direction == "minimize"
    assert Entropy("mine", data=data, direction="maximize").direction == "maximize"


def test_closed_forms() -> None:
    assert entropy_sum(torch.zeros(300, 50)) == pytest.approx(300 * math.log(50), rel=1e-6)
    sure = torch.full((3, 50), -3e38)
    sure[:, 7] = 3e38
    assert entropy_sum(sure) == 0.0
