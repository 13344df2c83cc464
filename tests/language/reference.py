"""The slow and plain way: one request at a time, float32, from the module itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose

from searcher.language.requests import Continuation, Scored
from searcher.merge.live_model import LiveModel
from tests.language.tiny_llama import VOCABULARY

TOLERANCE = 1e-4  # nats


@torch.no_grad()
def one_by_one(model: LiveModel, requests: Sequence[Continuation], max_length: int = 256) -> Scored:
    """What the runner must answer."""
    total, greedy, lengths = [], [], []
    for request in requests:
        inputs = torch.tensor([request.tokens[-(max_length + 1) :][:-1]])
        rows = model.module(input_ids=inputs).logits[0].float().log_softmax(-1)[-len(request.continuation) :]
        targets = torch.tensor(request.continuation)
        total.append(float(rows.gather(1, targets[:, None]).double().sum()))
        greedy.append(bool((rows.argmax(-1) == targets).all()))
        lengths.append(len(request.continuation))
    return Scored(np.array(total), np.array(greedy, dtype=np.bool_), np.array(lengths))


def assert_same(found: Scored, expected: Scored, tolerance: float = TOLERANCE) -> None:
    """Within the tolerance, and the same greedy flags."""
    assert_allclose(found.log_probability, expected.log_probability, rtol=0, atol=tolerance)
    assert found.greedy.tolist() == expected.greedy.tolist()
    assert found.n_tokens.tolist() == expected.n_tokens.tolist()


def live(module: Any) -> LiveModel:
    """A live model of any module, without an engine."""
    return LiveModel(module.eval(), next(module.parameters()).detach())


def multiple_choice(n: int, *, n_shared: int = 60, seed: int = 0, vocabulary: int = VOCABULARY) -> list[Continuation]:
    """Questions with four answers after the same examples."""
    rng = np.random.default_rng(seed)

    def some(size: int) -> tuple[int, ...]:
        return tuple(rng.integers(3, vocabulary, size).tolist())

    shared, found = some(n_shared), []
    for _ in range(n):
        question = shared + some(int(rng.integers(5, 30)))
        found += [Continuation(question, some(int(rng.integers(1, 6)))) for _ in range(4)]
    return found
