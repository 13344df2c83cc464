"""Requests in tokens, and the answers put back where lm-eval expects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from searcher.errors import CandidateError, ConfigError
from searcher.language.requests import Continuation, Prompt, Scored
from searcher.language.runner import Prepared, Runner
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.lm_eval_requests import TaskRequests, context_length, tokenized
from tests.language.tiny_llama import tokenizer

instance: Any = pytest.importorskip("lm_eval.api.instance")
MODEL = LiveModel(nn.Linear(1, 1), torch.zeros(2))


class Echo(Runner):
    """Gives the number of tokens as log-probability and the number of the prompt as text."""

    def __init__(self, value: float | None = None) -> None:
        super().__init__()
        self.value = value
        self.asked: list[int] = []

    @override
    def score(self, model: LiveModel, prepared: Prepared, chosen: NDArray[np.int64] | None = None) -> Scored:
        assert chosen is not None
        self.asked += chosen.tolist()
        n = np.array([len(prepared.requests[i].tokens) for i in chosen])
        values = -n.astype(np.float64) if self.value is None else np.full(n.size, self.value)
        return Scored(values, n % 2 == 0, n)

    @override
    def visit(
        self,
        model: LiveModel,
        prepared: Prepared,
        take: Callable[[int, torch.Tensor], None],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        raise AssertionError

    @override
    def generate(self, model: LiveModel, prompts: Sequence[Prompt]) -> list[str]:
        return [f"{len(p.tokens)} {p.max_new_tokens}" for p in prompts]


def asks(kind: str, *arguments: Any, repeats: int = 1, idx: int = 0) -> Any:
    return instance.Instance(kind, {"a": 1}, arguments, idx, ("task", 0, repeats))


def made(*documents: list[Any], runner: Runner | None = None, max_length: int = 64) -> TaskRequests:
    encoder = TextEncoder(tokenizer())
    return tokenized(documents, encoder, runner or Echo(), max_length=max_length, where="here")


def test_answers_go_to_their_documents() -> None:
    runner = Echo()
    documents = [
        [asks("loglikelihood", "ab" * k, " c"), asks("loglikelihood", "ab" * k, " cd", idx=1)] for k in (3, 1, 2)
    ]
    requests = made(*documents, runner=runner)
    found = requests.answer(runner, MODEL, np.array([2, 0]))
    assert sorted(runner.asked) == [0, 1, 4, 5]
    lengths = [[-i.resps[0][0] for i in document] for document in found]
    assert lengths == [
        [len(requests.prepared.requests[n].tokens) for n in (4, 5)],
        [len(requests.prepared.requests[n].tokens) for n in (0, 1)],
    ]


def test_originals_stay_without_answers_and_repeats_are_equal() -> None:
    requests = made([asks("generate_until", "ab", {"until": ["x"], "max_gen_toks": 5}, repeats=3)])
    for _ in range(2):
        ((found,),) = requests.answer(Echo(), MODEL, np.array([0]))
        assert len(found.resps) == 3
        assert len(set(found.resps)) == 1
        assert found.filtered_resps == {}
    original = requests.documents[0][0].instance
    assert original.resps == []
    assert original.doc is not found.doc


def test_a_document_may_ask_in_several_ways() -> None:
    document = [asks("generate_until", "ab", {"max_gen_toks": 5}), asks("loglikelihood", "ab", " c")]
    requests = made(document)
    ((text, likely),) = requests.answer(Echo(), MODEL, np.array([0]))
    assert isinstance(text.resps[0], str)
    assert isinstance(likely.resps[0], tuple)


def test_windows_cover_a_long_text_once() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 20
    requests = made([asks("loglikelihood_rolling", text)], max_length=16)
    windows = requests.prepared.requests
    tokens = tuple(tokenizer().encode(text))
    assert sum((w.continuation for w in windows), ()) == tokens
    assert all(len(w.tokens) <= 17 for w in windows)
    assert windows[0].context == (0,)
    assert all(len(w.context) >= 1 for w in windows)
    ((found,),) = requests.answer(Echo(), MODEL, np.array([0]))
    assert found.resps == [-float(sum(len(w.tokens) for w in windows))]


def test_an_empty_text_has_probability_one() -> None:
    ((found,),) = made([asks("loglikelihood_rolling", "")]).answer(Echo(), MODEL, np.array([0]))
    assert found.resps == [0.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_log_probabilities_that_are_no_numbers_fail_the_candidate(value: float) -> None:
    requests = made([asks("loglikelihood", "ab", " c")])
    with pytest.raises(CandidateError) as caught:
        requests.answer(Echo(value), MODEL, np.array([0]))
    assert caught.value.error_class == "NonFiniteLogits"


def prompt(settings: dict[str, Any], text: str = "the quick brown fox", max_length: int = 300) -> Prompt:
    return made([asks("generate_until", text, settings)], max_length=max_length).prompts[0]


@pytest.mark.parametrize("key", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_the_length_has_many_names(key: str) -> None:
    assert prompt({key: 7}).max_new_tokens == 7


def test_the_defaults_are_those_of_lm_eval() -> None:
    assert prompt({}).max_new_tokens == 256
    assert prompt({"max_tokens": 9, "max_gen_toks": 7}).max_new_tokens == 7


@pytest.mark.parametrize("until", ["Question", ["Question"], ["Question", "", "Question"]])
def test_stop_strings_end_with_the_end_of_text(until: str | list[str]) -> None:
    assert prompt({"until": until}).stop == ("Question", "<|endoftext|>")


def test_long_prompts_lose_their_beginning() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 9
    assert prompt({"max_gen_toks": 20}, text, max_length=30).tokens == tuple(tokenizer().encode(text)[-10:])


def test_more_tokens_than_the_context_are_refused() -> None:
    with pytest.raises(ConfigError, match="context is 256 tokens"):
        prompt({}, max_length=256)


@pytest.mark.parametrize(
    "settings", [{"do_sample": True}, {"temperature": 0.7}, {"num_beams": 4}, {"repetition_penalty": 1.2}]
)
def test_other_than_greedy_decoding_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="greedy"):
        prompt(settings)


def test_settings_without_effect_are_fine() -> None:
    assert prompt({"do_sample": False, "temperature": 0.0, "top_p": 0.9, "top_k": None}).max_new_tokens == 256


def test_the_context_length_is_where_lm_eval_looks() -> None:
    class Config:
        text_config = None
        n_positions = None
        max_position_embeddings = 77

    module = nn.Linear(1, 1)
    module.config = Config()  # type: ignore[assignment]
    assert context_length(LiveModel(module, torch.zeros(2))) == 77
    assert context_length(MODEL) == 2048
    assert context_length(LiveModel(nn.Linear(1, 1), torch.zeros(2), tokenizer())) == 2048


def test_pairs_are_encoded_as_one_text() -> None:
    requests = made([asks("loglikelihood", "the quick ", "brown"), asks("loglikelihood", "", "brown", idx=1)])
    whole = tuple(tokenizer().encode("the quick brown"))
    assert requests.prepared.requests[0].tokens == whole
    assert isinstance(requests.prepared.requests[1], Continuation)
    assert requests.prepared.requests[1].context == (0,)
