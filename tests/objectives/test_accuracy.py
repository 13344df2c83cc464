"""Accuracy against a float64 recomputation, and the trap of labels that are all 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from searcher.candidate import beta_stderr
from searcher.errors import CandidateError
from searcher.merge.live_model import LiveModel
from searcher.objectives.accuracy import Accuracy, correct

DataMaker = Callable[..., Path]
LiveMaker = Callable[[nn.Module], LiveModel]


def float64_logits(model: LiveModel, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    first, second = (p.detach().double().numpy() for n, p in model.module.named_parameters() if n.endswith("weight"))
    one, two = (p.detach().double().numpy() for n, p in model.module.named_parameters() if n.endswith("bias"))
    logits: NDArray[np.float64] = np.maximum(inputs.astype(np.float64) @ first.T + one, 0) @ second.T + two
    return logits


def test_exact_values(write_data: DataMaker, classifier: LiveModel) -> None:
    path = write_data()
    objective = Accuracy("a", data=path, split={"search": 0.6, "select": 0.1, "held_out": 0.3})
    raw = np.load(path)
    right = float64_logits(classifier, raw["inputs"]).argmax(axis=1) == raw["labels"]
    everything = objective.evaluate(classifier, None, 0)
    assert everything.value == right.mean()
    assert everything.example_scores is not None
    assert sorted(everything.example_scores) == sorted(right.astype(float))
    for part in objective.splits.values():
        score = objective.evaluate(classifier, part, 0)
        expected = everything.example_scores[part]
        np.testing.assert_array_equal(score.example_scores, expected)
        assert score.value == expected.mean()
        assert score.stderr == beta_stderr(int(expected.sum()), expected.size)


def test_perfection_does_not_claim_certainty() -> None:
    assert beta_stderr(120, 120) == pytest.approx(np.sqrt(121 / (122**2 * 123)))
    assert beta_stderr(0, 1) > 0.2
    assert beta_stderr(500, 1000) == pytest.approx(np.sqrt(0.25 / 1000), rel=0.01)


def test_a_model_of_nan_does_not_win_when_every_label_is_0(write_data: DataMaker, make_live: LiveMaker) -> None:
    objective = Accuracy("a", data=write_data(labels=np.zeros(50, np.int64)))
    module = nn.Linear(6, 4)
    module.weight.data[2, 3] = float("nan")
    with pytest.raises(CandidateError) as caught:
        objective.evaluate(make_live(module), None, 0)
    assert caught.value.error_class == "NonFiniteOutput"


def test_a_model_of_zeros_does_not_win_when_every_label_is_0(write_data: DataMaker, make_live: LiveMaker) -> None:
    objective = Accuracy("a", data=write_data(labels=np.zeros(50, np.int64)))
    module = nn.Linear(6, 4)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    assert objective.evaluate(make_live(module), None, 0).value == 0.0


def test_ties_below_the_top_do_not_matter() -> None:
    logits = np.array([[1, 2, 1], [2, 1, 2], [0, 0, 5]], np.float32)
    assert correct(logits, np.array([1, 0, 2])).tolist() == [1.0, 0.0, 1.0]
    assert correct(logits, np.array([0, 1, 1])).tolist() == [0.0, 0.0, 0.0]
