"""What all objectives on texts do the same way, each of them tried."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from searcher.config import make_config
from searcher.errors import CandidateError, ConfigError, UnknownNameError
from searcher.isolation import isolated
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.yaml_file import YamlDocument
from tests.language.tiny_llama import live_llama
from tests.objectives.plain_language import texts, write_jsonl

SETTINGS: dict[str, dict[str, Any]] = {
    "exact_match": {"question_key": "text", "end_token": False},
    "perplexity": {"metric": "loss"},
    "generation": {"prompt": "{text}", "regex": r"\w", "max_new_tokens": 3},
    "kl_to_base": {"reference_model": "llama0"},
    "entropy": {},
}
N = 12
LOGIT_OBJECTIVES = sorted(set(SETTINGS) - {"generation", "exact_match"})  # whose scores change with any weight


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder ``llama0`` and the data."""
    folder = tmp_path_factory.mktemp("run")
    write_jsonl(folder / "data.jsonl", [{"text": text, "answer": "four"} for text in texts(N, longest=8)])
    return folder


@pytest.fixture(scope="module")
def shared_model(folder: Path) -> LiveModel:
    return live_llama(folder)


@pytest.fixture
def model(shared_model: LiveModel) -> Iterator[LiveModel]:
    """With weights that the test may spoil."""
    before = shared_model.weights.clone()
    yield shared_model
    with torch.no_grad():
        shared_model.weights.copy_(before)


Maker = Callable[..., Objective]


@pytest.fixture(params=sorted(SETTINGS))
def make(request: pytest.FixtureRequest, folder: Path) -> Maker:
    def made(**settings: Any) -> Objective:
        cls: Any = OBJECTIVES.get(request.param)
        chosen = {"data": Path("data.jsonl"), "root": folder, **SETTINGS[request.param], **settings}
        objective: Objective = cls("mine", **chosen)
        return objective

    return made


def test_splits_are_stretches_of_the_whole(make: Maker, model: LiveModel) -> None:
    objective = make(split={"search": 0.5, "select": 0.25, "held_out": 0.25})
    assert objective.n_examples == N
    assert [(s.start, s.stop) for s in objective.splits.values()] == [(0, 6), (6, 9), (9, 12)]
    whole = objective.evaluate(model, None, 0).example_scores
    assert whole is not None
    for part in objective.splits.values():
        score = objective.evaluate(model, part, 0)
        assert score.example_scores is not None
        np.testing.assert_allclose(score.example_scores, whole[part], rtol=1e-5, atol=1e-6)
        assert score.value == pytest.approx(np.mean(score.example_scores), rel=1e-9)


def test_texts_become_tokens_once(make: Maker, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = make()
    first = objective.evaluate(model, None, 0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a text was looked at again")

    for method in ("encode", "__call__", "apply_chat_template"):
        monkeypatch.setattr(type(model.tokenizer), method, refuse)
    second = objective.evaluate(model, None, 1)
    np.testing.assert_array_equal(first.example_scores, second.example_scores)
    assert (first.value, first.stderr) == (second.value, second.stderr)


def test_another_tokenizer_is_noticed(make: Maker, model: LiveModel) -> None:
    objective = make()
    first = objective.evaluate(model, None, 0).example_scores
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.bos_token = "<|im_end|>"
    other = objective.evaluate(replace(model, tokenizer=tokenizer), None, 0).example_scores
    np.testing.assert_array_equal(objective.evaluate(model, None, 0).example_scores, first)
    assert other is not None


def test_the_model_is_left_alone(make: Maker, model: LiveModel) -> None:
    before = model.weights.clone()
    with isolated(model, "mine"):
        make().evaluate(model, None, 0)
    assert torch.equal(before, model.weights)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_broken_model_is_never_scored(make: Maker, model: LiveModel, broken: float) -> None:
    model.module.model.norm.weight.data.fill_(broken)  # type: ignore[union-attr, operator]
    with pytest.raises(CandidateError) as caught:
        make().evaluate(model, None, 0)
    assert caught.value.error_class == "NonFiniteLogits"


@pytest.mark.parametrize("name", LOGIT_OBJECTIVES)
def test_new_weights_give_new_scores(name: str, folder: Path, model: LiveModel) -> None:
    cls: Any = OBJECTIVES.get(name)
    objective = cls("mine", data=folder / "data.jsonl", root=folder, **SETTINGS[name])
    before = objective.evaluate(model, None, 0).example_scores
    with torch.no_grad():
        model.weights.mul_(1.1)
    assert np.all(objective.evaluate(model, None, 0).example_scores != before)


def test_a_model_without_tokenizer_is_refused(make: Maker, model: LiveModel) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        make().evaluate(replace(model, tokenizer=None), None, 0)


def test_an_unknown_runner_is_refused(make: Maker, model: LiveModel) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'huggingface'"):
        make(runner="huggingfaces")


def test_the_batch_size_does_not_change_the_score(make: Maker, model: LiveModel) -> None:
    wide, narrow = (make(max_tokens=n).evaluate(model, None, 0).example_scores for n in (None, 40))
    assert wide is not None
    assert narrow is not None
    np.testing.assert_allclose(wide, narrow, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.parametrize("data", ["data.jsonl", {"search": "data.jsonl", "held_out": "other.jsonl"}])
def test_settings_come_from_a_config(name: str, data: object, folder: Path, shared_model: LiveModel) -> None:
    write_jsonl(folder / "other.jsonl", [{"text": "x", "answer": "y"}])
    section = {"name": "mine", "type": name, "data": data, "limit": {"search": 4}, **SETTINGS[name], "target": 0.5}
    raw = {
        "pool": {"models": ["llama0", "llama0_other"]},
        "operator": {"name": "linear"},
        "space": {"name": "model_wise"},
        "objectives": [section],
        "strategy": {"name": "random"},
        "budget": {"evaluations": 1},
        "run": "run",
    }
    from searcher.assembly import make_objectives

    [objective] = make_objectives(make_config(YamlDocument(raw, {}, "config.yaml"), folder))
    assert objective.splits["search"] == slice(0, 4)
    assert all(path.is_file() for path in objective.files)
