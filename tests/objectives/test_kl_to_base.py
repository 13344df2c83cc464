"""Divergence from a reference model against plain transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.errors import ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.kl_to_base import KlToBase, divergence_sum
from tests.language.tiny_llama import live_llama, tiny_llama
from tests.objectives.plain_language import PlainModel, encode, texts, write_jsonl

TEXTS = texts(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``llama0`` and ``llama1``, which the live models below are."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def base(folder: Path) -> LiveModel:
    return live_llama(folder, 0)


@pytest.fixture(scope="module")
def candidate(folder: Path) -> LiveModel:
    return live_llama(folder, 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])


def made(data: Path, folder: Path, **settings: Any) -> KlToBase:
    return KlToBase("mine", data={"search": data}, reference_model="llama0", root=folder, **settings)


def rows(model: LiveModel) -> NDArray[np.float64]:
    plain = PlainModel(model)
    return np.concatenate([plain.log_probabilities([0], encode(model, text)) for text in TEXTS])


@pytest.mark.parametrize("reverse", [False, True])
def test_values(base: LiveModel, candidate: LiveModel, data: Path, folder: Path, reverse: bool) -> None:
    p, q = (rows(candidate), rows(base)) if reverse else (rows(base), rows(candidate))
    expected = (np.exp(p) * (p - q)).sum(axis=1).mean()
    score = made(data, folder, reverse=reverse).evaluate(candidate, None, 0)
    assert score.value == pytest.approx(expected, rel=2e-4)
    assert score.value == pytest.approx(np.mean(score.example_scores))  # type: ignore[arg-type]
    assert score.stderr > 0


def test_the_base_has_not_moved(base: LiveModel, candidate: LiveModel, data: Path, folder: Path) -> None:
    objective = made(data, folder)
    assert abs(objective.evaluate(base, None, 0).value) < 1e-6
    assert objective.evaluate(candidate, None, 0).value > 0.1


def test_a_small_step_is_measured(base: LiveModel, data: Path, folder: Path, tmp_path: Path) -> None:
    moved = live_llama(tmp_path, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in moved.module.parameters():
            parameter.mul_(1 + 0.01 * torch.randn(parameter.shape, generator=generator))
    p, q = rows(base), rows(moved)
    expected = (np.exp(p) * (p - q)).sum(axis=1).mean()
    assert 1e-5 < expected < 0.01
    assert made(data, folder).evaluate(moved, None, 0).value == pytest.approx(expected, rel=0.02)


def test_the_reference_runs_once(
    base: LiveModel, candidate: LiveModel, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = made(data, folder)
    first = objective.evaluate(candidate, None, 0).value
    monkeypatch.setattr(objective._reference, "load", None)
    objective.evaluate(replace(base, tokenizer=candidate.tokenizer), None, 0)  # one engine has one tokenizer
    assert objective.evaluate(candidate, None, 0).value == first


def test_the_references_files_count(data: Path, folder: Path, base: LiveModel) -> None:
    names = {path.name for path in made(data, folder).files}
    assert {"texts.jsonl", "model.safetensors", "config.json", "tokenizer.json"} <= names


def test_more_memory_than_allowed_is_refused(candidate: LiveModel, tmp_path: Path, folder: Path) -> None:
    data = write_jsonl(tmp_path / "long.jsonl", [{"text": text} for text in texts(200)])
    with pytest.raises(ConfigError, match=r"need \d MiB, more than memory_mib: 1") as caught:
        made(data, folder, memory_mib=1).evaluate(candidate, None, 0)
    assert f"at most {(1 << 20) // (2 * 384):,} tokens" in caught.value.fix


def test_another_vocabulary_is_refused(candidate: LiveModel, data: Path, folder: Path, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "wide", vocabulary=400)
    objective = KlToBase("mine", data={"search": data}, reference_model="wide", root=tmp_path)
    with pytest.raises(ConfigError, match="vocabulary of 400, the candidate one of 384"):
        objective.evaluate(candidate, None, 0)


def test_a_missing_reference_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        KlToBase("mine", data=data, reference_model="./nowhere", root=tmp_path)
    assert caught.value.where.startswith("objective 'mine', reference_model")


def test_float16_log_probabilities_are_exact_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(600, 5000, generator=generator)
    moved = logits + 0.05 * torch.randn(logits.shape, generator=generator)
    p, q = logits.double().log_softmax(-1), moved.double().log_softmax(-1)
    for first, second, reverse in ((p, q, False), (q, p, True)):
        expected = float((first.exp() * (first - second)).sum())
        assert divergence_sum(p.half(), moved, reverse=reverse) == pytest.approx(expected, rel=1e-3)
    assert 0 <= divergence_sum(p.half(), logits) / 600 < 1e-6
