"""Contract tests: a fake with vLLM's interface, whose model is a Llama of transformers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from searcher.errors import ConfigError
from searcher.language.requests import Continuation, Prompt
from searcher.language.runner import make_runner
from searcher.merge.engine import MergeEngine
from tests.language.tiny_llama import engine_of, recipe

REQUESTS = [Continuation((5, 6, 7), (8, 9)), Continuation((5, 6, 7), (10,)), Continuation((1,), (2, 3, 4))]


@dataclass
class FakeLogprob:
    logprob: float
    rank: int


class FakeSamplingParams:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings


class FakeLLM:
    """Computes with its own copy of the weights; its prefix cache keeps old answers until it is reset."""

    def __init__(self, model: str, **settings: Any) -> None:
        from transformers import AutoModelForCausalLM

        self.module = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.settings = settings
        self.calls: list[str] = []
        self.cache: dict[tuple[int, ...], torch.Tensor] = {}
        self.ignores_weights = False
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.zero_()  # load_format dummy

    def apply_model(self, function: Any) -> list[Any]:
        self.calls.append("apply_model")
        return [function(SimpleNamespace(load_weights=self._load))]

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset_prefix_cache")
        self.cache.clear()
        return True

    def generate(self, texts: list[dict[str, list[int]]], settings: Any, use_tqdm: bool = True) -> list[Any]:
        self.calls.append("generate")
        each = settings if isinstance(settings, list) else [settings] * len(texts)
        return [self._one(tuple(t["prompt_token_ids"]), s.settings) for t, s in zip(texts, each, strict=True)]

    def _load(self, weights: Any) -> None:
        with torch.no_grad():
            for name, tensor in weights:
                if not self.ignores_weights:
                    self.module.get_parameter(name).copy_(tensor)

    @torch.no_grad()
    def _one(self, tokens: tuple[int, ...], settings: dict[str, Any]) -> Any:
        if settings.get("prompt_logprobs") is None:
            return SimpleNamespace(outputs=[SimpleNamespace(text=f"{len(tokens)} {settings['max_tokens']}")])
        if tokens not in self.cache:
            self.cache[tokens] = self.module(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
        rows = self.cache[tokens]
        found: list[Any] = [None]
        for row, token in zip(rows, tokens[1:], strict=False):
            found.append({token: FakeLogprob(float(row[token]), int((row > row[token]).sum()) + 1)})
        return SimpleNamespace(prompt_logprobs=found)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeLLM]:
    made: list[FakeLLM] = []
    fake = ModuleType("vllm")

    def make(**settings: Any) -> FakeLLM:
        made.append(FakeLLM(**settings))
        return made[-1]

    monkeypatch.setattr(fake, "LLM", make, raising=False)
    monkeypatch.setattr(fake, "SamplingParams", FakeSamplingParams, raising=False)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    return made


@pytest.fixture
def merges(tmp_path: Path) -> MergeEngine:
    return engine_of(tmp_path)


def test_scores_follow_the_weights_and_agree_with_the_model_itself(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    runner, own = make_runner("vllm"), make_runner()
    prepared, reference = runner.prepare(REQUESTS), own.prepare(REQUESTS)
    for scale in (0.0, 0.7, 0.0):  # A, B, A
        model = merges.build(recipe(merges, scale))
        found, expected = runner.score(model, prepared), own.score(model, reference)
        np.testing.assert_allclose(found.log_probability, expected.log_probability, atol=1e-4)
        assert found.greedy.tolist() == expected.greedy.tolist()
        assert found.n_tokens.tolist() == [2, 1, 3]
    assert len(engines) == 1
    calls = engines[0].calls
    assert calls.count("apply_model") == calls.count("reset_prefix_cache") == 3
    assert all(calls[k + 1] == "reset_prefix_cache" for k, call in enumerate(calls) if call == "apply_model")


def test_weights_are_handed_over_once_per_candidate(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    runner = make_runner("vllm")
    prepared = runner.prepare(REQUESTS)
    model = merges.build(recipe(merges, 0.5))
    runner.score(model, prepared)
    runner.score(model, prepared, np.array([2, 0, 2]))
    runner.generate(model, [Prompt((1, 2), 3)])
    assert engines[0].calls.count("apply_model") == 1


def test_chosen_requests_come_in_their_order(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    runner = make_runner("vllm")
    prepared = runner.prepare(REQUESTS)
    model = merges.build(recipe(merges, 0.5))
    everything, some = runner.score(model, prepared), runner.score(model, prepared, np.array([2, 0, 2]))
    assert some.log_probability.tolist() == everything.log_probability[[2, 0, 2]].tolist()


def test_an_engine_that_keeps_old_weights_is_found_out(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    runner = make_runner("vllm")
    prepared = runner.prepare(REQUESTS)
    runner.score(merges.build(recipe(merges, 0.0)), prepared)
    engines[0].ignores_weights = True
    with pytest.raises(ConfigError, match="does not have the candidate's weights"):
        runner.score(merges.build(recipe(merges, 1.0)), prepared)


def test_settings_of_the_engine(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    make_runner("vllm", max_tokens=4096).generate(merges.build(recipe(merges)), [Prompt((1, 2), 3, ("x",))])
    settings = engines[0].settings
    assert settings["load_format"] == "dummy"
    assert settings["max_num_batched_tokens"] == 4096
    assert settings["trust_remote_code"] is False


def test_whole_distributions_are_refused(merges: MergeEngine, engines: list[FakeLLM]) -> None:
    runner = make_runner("vllm")
    with pytest.raises(ConfigError, match="huggingface"):
        runner.visit(merges.build(recipe(merges)), runner.prepare(REQUESTS), lambda number, logits: None)


def test_without_the_package(merges: MergeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    runner = make_runner("vllm")
    with pytest.raises(ConfigError, match="not installed"):
        runner.score(merges.build(recipe(merges)), runner.prepare(REQUESTS))
