"""The committed digits pool: what it claims is what it holds, and the script makes it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from searcher.merge.live_model import LiveModel
from searcher.objectives.accuracy import Accuracy

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MODELS = ("base", "low", "high", "noisy", "shifted", "shuffled")
TASKS = {"low": range(5), "high": range(5, 10), "noisy": range(10), "shifted": range(10)}
ALL_SEARCH = {"search": 1.0}


def imported(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"digits_{name}", DIGITS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load(folder: Path) -> nn.Module:
    model: nn.Module = imported("model").load(folder)
    return model


def accuracy(model: nn.Module, task: str) -> float:
    live = LiveModel(model, torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    objective = Accuracy(task, data=Path(f"{task}.npz"), split=ALL_SEARCH, root=DIGITS)  # type: ignore[arg-type]
    return objective.evaluate(live, None, 0).value


def table(folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((folder / "pool.json").read_text(encoding="utf-8"))["accuracy"]
    return found


@pytest.mark.parametrize("name", MODELS)
def test_models_reach_the_accuracy_recorded(name: str) -> None:
    model = load(DIGITS / name)
    for task, recorded in table(DIGITS)[name].items():
        assert accuracy(model, task) == pytest.approx(recorded, abs=0.011)  # a few images, on other CPUs


def test_the_table_covers_every_model_and_every_file() -> None:
    assert {name: set(row) for name, row in table(DIGITS).items()} == {name: set(TASKS) for name in MODELS}


def test_experts_know_their_task_and_forgot_the_others() -> None:
    found = table(DIGITS)
    worst = {name: min(row[task] for task in ("low", "high", "noisy")) for name, row in found.items()}
    for expert in TASKS:
        assert found[expert][expert] > 0.85
        assert worst[expert] < worst["base"] < 0.6
    assert max(found["shuffled"].values()) < 0.3


def test_the_uniform_average_is_better_than_any_model_on_its_worst_task() -> None:
    states = [load(DIGITS / name).state_dict() for name in TASKS]
    model = load(DIGITS / "base")
    model.load_state_dict({key: torch.stack([s[key] for s in states]).mean(dim=0) for key in states[0]})
    worst = min(accuracy(model, task) for task in ("low", "high", "noisy"))
    assert worst > max(min(row[t] for t in ("low", "high", "noisy")) for row in table(DIGITS).values()) + 0.04


@pytest.mark.parametrize("task", TASKS)
def test_data_has_the_promised_form(task: str) -> None:
    data = np.load(DIGITS / f"{task}.npz", allow_pickle=False)
    assert data["inputs"].dtype == np.float32
    assert data["inputs"].shape == (len(data["labels"]), 64)
    assert data["labels"].dtype == np.int64
    assert set(data["labels"]) == set(TASKS[task])
    recorded = json.loads((DIGITS / "pool.json").read_text(encoding="utf-8"))["images"]
    assert recorded[f"{task}.npz"] == len(data["labels"])


def test_no_image_stands_in_two_files_or_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DIGITS))  # the script imports its neighbour, model.py
    make_pool = imported("make_pool")
    sets = make_pool.draw_sets(np.random.default_rng(make_pool.SEED))
    assert set(sets) == {"train", *TASKS}
    rows = np.concatenate([images.inputs for images in sets.values()])
    assert rows.shape == (1797, 64)
    assert len(np.unique(rows, axis=0)) == 1797
    for task in ("low", "high"):  # the other two are corrupted copies
        np.testing.assert_array_equal(np.load(DIGITS / f"{task}.npz")["inputs"], sets[task].inputs)


def test_everything_is_small() -> None:
    kept = [path for path in DIGITS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in kept) < 2_000_000


def test_the_loader_is_strict(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(DIGITS / "base" / "model.safetensors")
    (tmp_path / "config.json").write_bytes((DIGITS / "base" / "config.json").read_bytes())
    del tensors["head.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"head\.bias"):
        load(tmp_path)


@pytest.mark.slow
def test_the_script_makes_these_files(tmp_path: Path) -> None:
    script = DIGITS / "make_pool.py"
    for folder in ("one", "two"):
        subprocess.run([sys.executable, str(script), "--to", str(tmp_path / folder)], check=True)
    made = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(made) == 17
    for path in made:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    committed = table(DIGITS)
    for name, row in table(tmp_path / "one").items():
        for task, value in row.items():
            assert value == pytest.approx(committed[name][task], abs=0.05)
    for task in TASKS:  # the images do not depend on the machine
        ours, new = (np.load(folder / f"{task}.npz") for folder in (DIGITS, tmp_path / "one"))
        np.testing.assert_allclose(new["inputs"], ours["inputs"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(new["labels"], ours["labels"])
