"""Tiny real models of language: two-layer Llamas with a tokenizer of their own, on disk and live."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from searcher.merge.engine import MergeEngine
from searcher.merge.live_model import LiveModel
from searcher.pool.pool import open_pool
from searcher.recipe import Recipe

CORPUS = (
    "The quick brown fox jumps over the lazy dog. A stitch in time saves nine. ",
    "Question: What is two plus two? Answer: four. Question: What colour is the sky? Answer: blue. ",
    "Which of these is a fruit? A. stone B. apple C. river D. cloud. The answer is B. ",
    "Paris is the capital of France, and Rome is the capital of Italy; 0 1 2 3 4 5 6 7 8 9 10 12 24 36 48. ",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
END, OPEN, CLOSE = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 384


@cache
def tokenizer(vocabulary: int = VOCABULARY) -> Any:
    """A byte-level BPE trained on a few sentences; 0 is both BOS and EOS, as in SmolLM2's base."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, OPEN, CLOSE],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=CLOSE,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def llama(seed: int = 0, *, vocabulary: int = VOCABULARY, layers: int = 2, **changes: Any) -> Any:
    """A randomly initialised Llama, hidden size 32, with weights large enough for opinions."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": vocabulary, "max_position_embeddings": 256,
        "tie_word_embeddings": True, "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def tiny_llama(folder: Path, *, seed: int = 0, vocabulary: int = VOCABULARY, layers: int = 2, **changes: Any) -> Path:
    """A model folder as transformers saves it: config, weights, fast tokenizer with chat template; float32."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    llama(seed, vocabulary=vocabulary, layers=layers, **changes).save_pretrained(folder)
    tokenizer(vocabulary).save_pretrained(folder)
    return folder


def engine_of(folder: Path, *, n_models: int = 1, **changes: Any) -> MergeEngine:
    """An engine over a base and models, of seeds 0, 1, ...; CPU, float32."""
    names = ["base", *(f"model{k}" for k in range(1, n_models + 1))]
    folders = [tiny_llama(folder / name, seed=seed, **changes) for seed, name in enumerate(names)]
    pool = open_pool(base=str(folders[0]), models=[str(f) for f in folders[1:]], root=folder)
    return MergeEngine(pool, device="cpu")


def recipe(engine: MergeEngine, *coefficients: float) -> Recipe:
    """Task arithmetic over all models; no coefficients mean the base."""
    models = tuple(model.name for model in engine.pool.models)
    assert engine.pool.base is not None
    row = np.array([coefficients or [0.0] * len(models)], dtype=np.float64)
    return Recipe("task_arithmetic", models, engine.pool.base.name, np.array([0, engine.layout.n_parameters]), row)


def live_llama(tmp_path: Path, seed: int = 0, **changes: Any) -> LiveModel:
    """A live model whose weights are those of a tiny Llama of this seed, by way of pool and engine."""
    base = tiny_llama(tmp_path / f"llama{seed}", seed=seed, **changes)
    other = tiny_llama(tmp_path / f"llama{seed}_other", seed=seed + 1000, **changes)
    engine = MergeEngine(open_pool(base=str(base), models=[str(other)], root=tmp_path), device="cpu")
    return engine.build(recipe(engine))
