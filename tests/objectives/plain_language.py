"""What the language objectives must find, computed one text at a time by transformers in float64."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.live_model import LiveModel
from tests.language.tiny_llama import CORPUS

WORDS = " ".join(CORPUS).split()


class PlainModel:
    """A copy of a live model's module in float64."""

    def __init__(self, model: LiveModel) -> None:
        self._module = copy.deepcopy(model.module).double()

    def log_probabilities(self, context: Sequence[int], continuation: Sequence[int]) -> NDArray[np.float64]:
        """Of every word of the vocabulary at each token of the continuation, shape ``(n_tokens, vocabulary)``."""
        with torch.no_grad():
            logits = self._module(torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1]
        found: NDArray[np.float64] = logits.log_softmax(dim=-1).numpy()
        return found

    def loss(self, context: Sequence[int], continuation: Sequence[int]) -> float:
        """Negative log-probability of a continuation, nats."""
        rows = self.log_probabilities(context, continuation)
        return float(-rows[np.arange(len(continuation)), list(continuation)].sum())

    def is_greedy(self, context: Sequence[int], continuation: Sequence[int]) -> bool:
        """Whether each token of it is the most likely one."""
        return bool((self.log_probabilities(context, continuation).argmax(axis=1) == list(continuation)).all())

    def written(self, prompt: Sequence[int], n: int, end: int) -> list[int]:
        """The tokens that greedy decoding appends, the end token left out."""
        tokens = list(prompt)
        for _ in range(n):
            rows = self.log_probabilities(tokens, [0])
            tokens.append(int(rows[0].argmax()))
            if tokens[-1] == end:
                return tokens[len(prompt) : -1]
        return tokens[len(prompt) :]


def encode(model: LiveModel, text: str) -> list[int]:
    """Tokens of a text, no special ones."""
    return list(model.tokenizer.encode(text, add_special_tokens=False))


def texts(n: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Texts of 1 to ``longest`` words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(n)]


def write_jsonl(path: Path, records: Iterable[Mapping[str, object]]) -> Path:
    """One object per line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def questions(model: LiveModel, n: int) -> list[dict[str, str]]:
    """Questions, about half of them with the token that the model would answer with."""
    plain = PlainModel(model)
    found: list[dict[str, str]] = []
    for number, text in enumerate(texts(20 * n, seed=1, longest=12)):
        prompt = encode(model, f"Question: {text}\nAnswer:")
        answers = np.argsort(-plain.log_probabilities(prompt, [0])[0])
        answer = model.tokenizer.decode([int(answers[number % 2])])
        whole = encode(model, f"Question: {text}\nAnswer:{answer}")
        if answer.isascii() and answer.startswith(" ") and answer.strip() and len(whole) == len(prompt) + 1:
            found.append({"question": text, "answer": answer[1:]})
    assert len(found) >= n
    return found[:n]
