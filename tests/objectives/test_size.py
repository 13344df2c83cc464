"""Parameters, bytes and the changed fraction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from searcher.errors import ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.size import Metric, Size
from tests.language.tiny_llama import live_llama, tiny_llama


@pytest.fixture
def model(tmp_path: Path) -> LiveModel:
    return live_llama(tmp_path)


def value(model: LiveModel, metric: Metric, tmp_path: Path, reference: str | None = None) -> float:
    score = Size("mine", metric=metric, reference_model=reference, root=tmp_path).evaluate(model, None, 0)
    assert score.stderr == 0.0
    assert score.example_scores is None
    return score.value


def test_tied_weights_count_once(model: LiveModel, tmp_path: Path) -> None:
    n = model.weights.numel()
    assert value(model, "parameters", tmp_path) == n
    assert value(model, "bytes", tmp_path) == 4 * n


def test_the_changed_fraction_is_exact(model: LiveModel, tmp_path: Path) -> None:
    assert value(model, "changed_fraction", tmp_path, "llama0") == 0.0
    with torch.no_grad():
        model.weights[100:107] += 1
    assert value(model, "changed_fraction", tmp_path, "llama0") == 7 / model.weights.numel()


def test_what_the_reference_lacks_has_changed(model: LiveModel, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "short", layers=1)
    layer = sum(p.numel() for p in model.module.model.layers[1].parameters())  # type: ignore[union-attr, index]
    same = {name: p for name, p in model.module.named_parameters() if "layers.1." not in name}
    fraction = value(model, "changed_fraction", tmp_path, "short")
    assert fraction >= layer / model.weights.numel()
    assert fraction <= (layer + sum(p.numel() for p in same.values())) / model.weights.numel() <= 1


@pytest.mark.parametrize(("metric", "reference"), [("changed_fraction", None), ("bytes", "llama0")])
def test_a_reference_belongs_to_the_changed_fraction(tmp_path: Path, metric: Metric, reference: str | None) -> None:
    with pytest.raises(ConfigError, match=f"metric {metric} needs"):
        Size("mine", metric=metric, reference_model=reference, root=tmp_path)


def test_it_has_no_examples(tmp_path: Path) -> None:
    made = Size("mine", direction="maximize")
    assert (made.n_examples, made.splits, made.files, made.unit) == (None, {}, (), "parameters")
    assert made.direction == "maximize"
