"""One objective's side effects do not reach the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from searcher.errors import ConfigError
from searcher.isolation import isolated
from searcher.merge.live_model import LiveModel


def live() -> LiveModel:
    """A linear layer whose parameters are views of one buffer, as the engine makes it."""
    weights = torch.arange(6.0)
    module = torch.nn.Linear(2, 2).requires_grad_(False)
    module.weight.data, module.bias.data = weights[:4].view(2, 2), weights[4:]
    return LiveModel(module, weights)


CHANGES: dict[str, Callable[[LiveModel], object]] = {
    "buffer": lambda model: model.weights.zero_(),
    "parameter": lambda model: next(model.module.parameters()).mul_(2),
    "cast": lambda model: model.module.double().float(),
    "replaced": lambda model: setattr(model.module, "weight", torch.nn.Parameter(torch.ones(2, 2))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_objective_that_changes_the_model_stops_the_run(change: Callable[[LiveModel], object]) -> None:
    model = live()

    def run() -> None:
        with isolated(model, "greedy"):
            change(model)

    with pytest.raises(ConfigError, match="'greedy' changed the live model"):
        run()


def test_reading_and_training_mode_are_harmless() -> None:
    model = live()
    model.module.train()
    with isolated(model, "reader"):
        assert not model.module.training
        model.module(torch.ones(1, 2))
        model.module.train()
    with isolated(model, "next"):
        assert not model.module.training


def test_the_working_directory_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    with isolated(live(), "wanderer"):
        os.chdir(gone)
        gone.rmdir()
    assert Path.cwd() == tmp_path


def test_a_change_before_an_error_is_noticed_too() -> None:
    model = live()

    def run() -> None:
        with isolated(model, "greedy"):
            model.module.double()
            raise ValueError("too late")

    with pytest.raises(ConfigError, match="changed the live model"):
        run()


def test_statistics_of_training_mode_are_weights_too() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).requires_grad_(False)
    model = LiveModel(module, torch.zeros(0))

    def run() -> None:
        with isolated(model, "trainer"):
            module.train()
            module(torch.randn(8, 2))

    with pytest.raises(ConfigError, match="changed the live model"):
        run()
    module[1].train()
    with isolated(model, "next"):
        assert not module[1].training


def test_an_error_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), isolated(live(), "broken"):
        _ = 1 / 0
