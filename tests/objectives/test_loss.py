"""Cross-entropy against torch in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from searcher.errors import CandidateError
from searcher.merge.live_model import LiveModel
from searcher.objectives.loss import Loss, cross_entropy

DataMaker = Callable[..., Path]
LiveMaker = Callable[[nn.Module], LiveModel]


def test_values_are_those_of_torch_in_float64(write_data: DataMaker, classifier: LiveModel) -> None:
    path = write_data()
    score = Loss("a", data=path).evaluate(classifier, None, 0)
    raw = np.load(path)
    logits = classifier.module.double()(torch.tensor(raw["inputs"]).double())
    expected = nn.functional.cross_entropy(logits, torch.tensor(raw["labels"]), reduction="none").numpy()
    assert score.value == pytest.approx(expected.mean(), rel=1e-6)
    assert score.stderr == pytest.approx(expected.std(ddof=1) / np.sqrt(50), rel=1e-6)
    assert score.example_scores is not None
    np.testing.assert_allclose(np.sort(score.example_scores), np.sort(expected), rtol=1e-5, atol=1e-7)


def test_closed_forms() -> None:
    assert cross_entropy(np.zeros((1, 10), np.float32), np.array([3]))[0] == pytest.approx(np.log(10), abs=1e-15)
    far = np.array([[3e38, -3e38]], np.float32)
    assert cross_entropy(far, np.array([0]))[0] == 0.0
    assert cross_entropy(far, np.array([1]))[0] == pytest.approx(6e38, rel=1e-6)


def test_direction_and_unit(write_data: DataMaker) -> None:
    objective = Loss("a", data=write_data())
    assert (objective.direction, objective.unit) == ("minimize", "nats")


def test_a_broken_model_is_not_scored(write_data: DataMaker, make_live: LiveMaker) -> None:
    module = nn.Linear(6, 4)
    module.bias.data[0] = float("-inf")
    with pytest.raises(CandidateError):
        Loss("a", data=write_data()).evaluate(make_live(module), None, 0)
