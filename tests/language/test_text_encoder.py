from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import ConfigError
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from tests.language.tiny_llama import END, tokenizer

ENCODER = TextEncoder(tokenizer())
TEXTS = st.text(alphabet="abce .A?\n", max_size=30)


def lm_eval_pair(given_tokenizer: Any) -> Callable[[str, str], tuple[list[int], list[int]]]:
    """What lm-eval makes of a context and a continuation, by its own code."""
    huggingface = pytest.importorskip("lm_eval.models.huggingface")

    class Tokens(huggingface.HFLM):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.tokenizer, self.backend = given_tokenizer, "causal"
            self.add_bos_token, self.custom_prefix_token_id, self.enable_thinking = None, None, None

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
            return requests

    model = Tokens()

    def pair(context: str, continuation: str) -> tuple[list[int], list[int]]:
        request = SimpleNamespace(args=(context, continuation))
        ((_, before, after),) = model.loglikelihood([request], disable_tqdm=True)
        return before, after

    return pair


@pytest.fixture(scope="module")
def theirs() -> Callable[[str, str], tuple[list[int], list[int]]]:
    return lm_eval_pair(tokenizer())


@given(context=TEXTS.filter(lambda t: not t or t.strip()), continuation=TEXTS.filter(str.strip))
def test_pairs_are_those_of_lm_eval(
    theirs: Callable[[str, str], tuple[list[int], list[int]]], context: str, continuation: str
) -> None:
    before, after = theirs(context, continuation)
    if not after:
        with pytest.raises(ConfigError, match="Nothing is left"):
            ENCODER.pair(context, continuation)
        return
    found = ENCODER.pair(context, continuation)
    assert (list(found.context), list(found.continuation)) == (before, after)


def test_with_a_tokenizer_that_adds_bos() -> None:
    import copy

    from tokenizers.processors import TemplateProcessing

    adding = copy.deepcopy(tokenizer())
    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, 0)]
    )
    encoder, pair = TextEncoder(adding), lm_eval_pair(adding)
    for context, continuation in [("Question: what? ", "four"), ("", "four"), (f"{END}Paris", " is"), ("", END + "a")]:
        found = encoder.pair(context, continuation)
        assert (list(found.context), list(found.continuation)) == pair(context, continuation)
    assert encoder.encode_prompt("Paris")[0] == 0 != encoder.encode("Paris")[0]


def test_spaces_move_to_the_continuation() -> None:
    found = ENCODER.pair("The answer is ", "four")
    assert found.context == ENCODER.encode("The answer is")
    assert found.context + found.continuation == ENCODER.encode("The answer is four")


def test_prefix_token_stands_for_an_empty_context() -> None:
    assert ENCODER.pair("", "four").context == (ENCODER.prefix_token,)
    with pytest.raises(ConfigError, match="neither a BOS nor an EOS"):
        _ = TextEncoder(SimpleNamespace(bos_token_id=None, eos_token_id=None)).prefix_token


def test_chat() -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert ENCODER.chat(messages).endswith("hi<|im_end|>\n<|im_start|>assistant\n")
    open_end = [*messages, {"role": "assistant", "content": "four"}]
    assert ENCODER.chat(open_end, add_generation_prompt=False).endswith("four")
    with pytest.raises(ConfigError, match="no chat template"):
        TextEncoder(SimpleNamespace(bos_token_id=0, eos_token_id=0, chat_template=None)).chat(messages)


def test_models_without_a_tokenizer() -> None:
    module = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="no tokenizer"):
        TextEncoder.of(LiveModel(module, torch.zeros(6)))
    assert TextEncoder.of(LiveModel(module, torch.zeros(6), tokenizer())).encode("a") == ENCODER.encode("a")
