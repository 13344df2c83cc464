from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from searcher.errors import CandidateError, ConfigError
from searcher.language.decoder import Decoder
from searcher.language.requests import Prompt
from searcher.language.runner import make_runner
from searcher.merge.live_model import LiveModel
from tests.language.tiny_llama import CLOSE, END, VOCABULARY, live_llama, tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("live"))


def prompts(n: int, max_new_tokens: int = 12, *, seed: int = 0) -> list[Prompt]:
    rng = np.random.default_rng(seed)
    texts = [tuple(rng.integers(3, VOCABULARY, rng.integers(1, 40)).tolist()) for _ in range(n)]
    return [Prompt(text, max_new_tokens) for text in texts]


def own(model: LiveModel, prompt: Prompt) -> str:
    """What transformers writes, one prompt at a time."""
    module: Any = model.module
    tokens = torch.tensor([prompt.tokens])
    found = module.generate(
        tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=prompt.max_new_tokens
    )
    return str(model.tokenizer.decode(found[0, tokens.shape[1] :], skip_special_tokens=True))


def cut(text: str, stop: tuple[str, ...]) -> str:
    return text[: min((text.find(s) for s in stop if s in text), default=len(text))]


@pytest.mark.parametrize("max_tokens", [None, 100, 1])
def test_equals_generate_of_transformers(model: LiveModel, max_tokens: int | None) -> None:
    asked = prompts(12)
    assert make_runner(max_tokens=max_tokens).generate(model, asked) == [own(model, prompt) for prompt in asked]


def test_each_has_its_own_length(model: LiveModel) -> None:
    asked = [Prompt(p.tokens, k + 1) for k, p in enumerate(prompts(8))]
    assert make_runner().generate(model, asked) == [own(model, prompt) for prompt in asked]


def test_ends_before_the_first_stop_string(model: LiveModel) -> None:
    asked, stop = prompts(8, 20), ("e", "is", "q")
    expected = [cut(own(model, prompt), stop) for prompt in asked]
    assert make_runner().generate(model, [Prompt(p.tokens, 20, stop) for p in asked]) == expected
    assert any(text != own(model, p) for text, p in zip(expected, asked, strict=True))


def test_a_stopped_answer_leaves_the_batch(model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(6, 20)
    texts = [own(model, prompt) for prompt in asked]
    given = [Prompt(p.tokens, 20, (text[0],)) for p, text in zip(asked, texts, strict=True)]
    rows: list[int] = []
    original = model.module.forward

    @wraps(original)
    def forward(*arguments: Any, **named: Any) -> Any:
        rows.append(len(named["input_ids"]))
        return original(*arguments, **named)

    monkeypatch.setattr(model.module, "forward", forward)
    assert make_runner().generate(model, given) == [""] * 6
    assert max(rows) > 1
    assert sum(rows) < 6 * 6


def test_ends_where_the_model_says_so(tmp_path: Path) -> None:
    ending = live_llama(tmp_path)
    module: Any = ending.module
    first = own(ending, Prompt((5, 6, 7), 8))
    with torch.no_grad():
        tokens = module.generate(torch.tensor([[5, 6, 7]]), do_sample=False, max_new_tokens=8)[0, 3:].tolist()
    module.generation_config.eos_token_id = [tokens[3]]
    n = tokens.index(tokens[3])
    found = make_runner().generate(ending, [Prompt((5, 6, 7), 8)])[0]
    assert found == ending.tokenizer.decode(tokens[:n], skip_special_tokens=True)
    assert first.startswith(found)


def test_special_tokens_can_be_stop_strings(model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    close = model.tokenizer.convert_tokens_to_ids(CLOSE)
    step = 0

    def highest(logits: torch.Tensor) -> torch.Tensor:
        nonlocal step
        step += 1
        return torch.full((len(logits),), close if step == 3 else 40)

    monkeypatch.setattr("searcher.language.generation._highest", highest)
    assert make_runner().generate(model, [Prompt((5,), 8, (CLOSE,))]) == [model.tokenizer.decode([40, 40])]


def test_long_prompts_lose_their_left_end(model: LiveModel) -> None:
    text = tuple(np.random.default_rng(0).integers(3, VOCABULARY, 400).tolist())
    assert make_runner().generate(model, [Prompt(text, 6)]) == [own(model, Prompt(text[-250:], 6))]


def test_settings_that_change_logits_are_obeyed(tmp_path: Path) -> None:
    wordy = live_llama(tmp_path)
    module: Any = wordy.module
    asked = prompts(4)
    before = make_runner().generate(wordy, asked)
    module.generation_config.repetition_penalty = 5.0
    assert make_runner().generate(wordy, asked) == [own(wordy, prompt) for prompt in asked] != before


def test_models_without_keys_and_values() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=VOCABULARY, state_size=4, eos_token_id=0)
    module = MambaForCausalLM(config).eval()
    model = LiveModel(module, next(module.parameters()).detach(), tokenizer=tokenizer())
    asked = prompts(3, 6)
    expected = [own(model, prompt) for prompt in asked]
    assert make_runner().generate(model, asked) == expected
    stop = expected[0][1:3]
    assert make_runner().generate(model, [Prompt(asked[0].tokens, 6, (stop,))]) == [cut(expected[0], (stop,))]


def test_no_prompts(model: LiveModel) -> None:
    assert make_runner().generate(model, []) == []


def test_broken_weights(tmp_path: Path) -> None:
    broken = live_llama(tmp_path)
    broken.weights[100] = float("nan")
    with pytest.raises(CandidateError) as failure:
        make_runner().generate(broken, prompts(2))
    assert failure.value.error_class == "NonFiniteLogits"


def test_without_a_tokenizer(model: LiveModel) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        make_runner().generate(LiveModel(model.module, model.weights), prompts(1))


def test_out_of_memory_halves_the_batch(model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(10)
    expected = [own(model, prompt) for prompt in asked]
    original = model.module.forward
    sizes: list[int] = []

    @wraps(original)
    def forward(*arguments: Any, **named: Any) -> Any:
        sizes.append(len(named["input_ids"]))
        if sizes[-1] > 3:
            raise MemoryError
        return original(*arguments, **named)

    monkeypatch.setattr(model.module, "forward", forward)
    assert make_runner().generate(model, asked) == expected
    assert max(sizes) > 3


def test_end_tokens_are_not_text(model: LiveModel) -> None:
    assert all(END not in text for text in make_runner().generate(model, prompts(5, 30)))


def test_decoder_refuses_encoder_decoders() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=16, d_ff=16, d_kv=4, num_layers=1, num_heads=2, vocab_size=64)
    with pytest.raises(ConfigError, match="encoder-decoder"):
        Decoder(T5ForConditionalGeneration(config))
