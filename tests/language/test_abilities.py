from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from typing_extensions import override

from searcher.errors import ConfigError
from searcher.language.requests import Continuation
from searcher.language.runner import Prepared, Runner, make_runner
from searcher.merge.live_model import LiveModel
from tests.language.reference import assert_same, live, multiple_choice, one_by_one
from tests.language.tiny_llama import VOCABULARY, llama


def scored(module: Any, requests: list[Continuation]) -> tuple[Runner, Prepared, LiveModel]:
    model, runner = live(module), make_runner()
    prepared = runner.prepare(requests)
    assert_same(runner.score(model, prepared), one_by_one(model, requests))
    return runner, prepared, model


def abilities(prepared: Prepared) -> Any:
    return next(value for key, value in prepared.plans.items() if key[0] == "abilities")


def test_gpt2() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=256, initializer_range=0.3)
    _, prepared, _ = scored(GPT2LMHeadModel(config), multiple_choice(6, vocabulary=64))
    assert abilities(prepared).is_packed


def test_state_space_models_are_not_packed() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=64, state_size=4, initializer_range=0.5)
    _, prepared, _ = scored(MambaForCausalLM(config), multiple_choice(3, n_shared=20, vocabulary=64))
    assert not abilities(prepared).is_packed


def test_positions_from_the_mask_are_not_packed() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    config = BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=64, initializer_range=0.3)
    _, prepared, _ = scored(BloomForCausalLM(config), multiple_choice(6, vocabulary=64))
    assert not abilities(prepared).is_packed


def test_short_windows_are_not_packed() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=64, sliding_window=16, initializer_range=0.3,
    )  # fmt: skip
    _, prepared, _ = scored(MistralForCausalLM(config), multiple_choice(6, vocabulary=64))
    assert not abilities(prepared).is_packed


def test_heads_that_do_more_run_whole() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=64, final_logit_softcapping=2.0, initializer_range=0.3, sliding_window=4096,
    )  # fmt: skip
    _, prepared, _ = scored(Gemma2ForCausalLM(config), multiple_choice(6, vocabulary=64))
    assert not abilities(prepared).is_split


def test_any_module_that_gives_logits() -> None:
    class Bigram(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(64, 64)

        @override
        def forward(self, input_ids: torch.Tensor) -> Any:
            return type("Output", (), {"logits": self.table(input_ids)})()

    _, prepared, _ = scored(Bigram(), multiple_choice(3, vocabulary=64))
    assert not abilities(prepared).is_split


def test_encoder_decoders_are_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=16, d_ff=16, d_kv=4, num_layers=1, num_heads=2, vocab_size=64)
    runner = make_runner()
    with pytest.raises(ConfigError, match="encoder-decoder"):
        runner.score(live(T5ForConditionalGeneration(config)), runner.prepare(multiple_choice(1, vocabulary=64)))


def test_a_model_without_opinions_proves_nothing() -> None:
    """All logits equal: packed and plain would agree for any architecture."""
    blank = live(llama())
    with torch.no_grad():
        for parameter in blank.module.parameters():
            parameter.zero_()
    runner = make_runner()
    prepared = runner.prepare(multiple_choice(3))
    found = runner.score(blank, prepared)
    np.testing.assert_allclose(found.log_probability, -np.log(VOCABULARY) * found.n_tokens, rtol=1e-5)
    assert not any(key[0] == "abilities" for key in prepared.plans)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    half, requests, runner = live(llama().to(dtype)), multiple_choice(6), make_runner()
    prepared = runner.prepare(requests)
    found = runner.score(half, prepared)
    expected = one_by_one(half, requests)
    assert abilities(prepared).is_packed
    assert np.mean(np.abs(found.log_probability - expected.log_probability) / found.n_tokens) < 0.05


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_implementations(attention: str) -> None:
    module = llama()
    module.set_attn_implementation(attention)
    _, prepared, _ = scored(module, multiple_choice(6))
    assert abilities(prepared).is_packed
