"""Keys of scores: equal only if nothing that decides a score differs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from searcher import score_key
from searcher.assembly import make_engine, make_objectives, make_pool
from searcher.candidate import Score
from searcher.config import Config, make_config
from searcher.known_scores import KnownScores
from searcher.merge.engine import MergeEngine
from searcher.objectives.base import Objective
from searcher.recipe import Recipe
from searcher.run_header import loader_file
from searcher.score_cache import ScoreCache
from searcher.score_key import ScoreKeys, device_description, identity_of, make_score_keys
from searcher.yaml_file import YamlDocument
from tests.short_run import ROOT

DIGITS = ROOT / "examples" / "digits"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the digits pool that a test may change."""
    shutil.copytree(DIGITS, tmp_path / "digits", ignore=shutil.ignore_patterns("__pycache__", "shuffled", "noisy*"))
    return tmp_path


def config(root: Path, pool: Mapping[str, Any] | None = None, **objective: Any) -> Config:
    scored = {"name": "low", "type": "accuracy", "data": "digits/low.npz", **objective}
    models: dict[str, Any] = {
        "base": "digits/base",
        "models": ["digits/low", "digits/high"],
        "loader": "python:digits/model.py:load",
        **(pool or {}),
    }
    return make_config(YamlDocument({"pool": models, "objectives": [scored]}), root)


def keys(
    root: Path, pool: Mapping[str, Any] | None = None, *, seed: int = 0, functions: bool = False, **objective: Any
) -> ScoreKeys:
    made = config(root, pool, **objective)
    opened = make_pool(made)
    return make_score_keys(
        opened,
        make_engine(made, opened),
        make_objectives(made),
        made.objectives,
        seed=seed,
        loader=made.pool.loader,
        loader_file=loader_file(made.pool.loader, root),
        python_functions=functions,
    )


def recipe(coefficient: float = 0.5, models: tuple[str, ...] = ("low",), base: str | None = "base") -> Recipe:
    row = np.full((1, len(models)), coefficient)
    return Recipe("task_arithmetic", models, base, np.array([0, 100]), row, {"lambda": 1.0})


def key(root: Path, pool: Mapping[str, Any] | None = None, **arguments: Any) -> str:
    found = keys(root, pool, **arguments).key(recipe(), "low")
    assert found is not None
    return found


def test_equal_runs_have_equal_keys_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "digits", tmp_path / "elsewhere" / "digits")
    assert key(folder) == key(folder) == key(tmp_path / "elsewhere")


def test_what_does_not_touch_the_score_does_not_touch_the_key(folder: Path) -> None:
    found = keys(folder, name="other", target=0.9, reference=0.1).key(recipe(), "other")
    assert found == key(folder)
    assert found == key(folder, {"models": ["digits/low"]})  # a model that the recipe does not name
    assert found == key(folder, {"memory": "stream"})


@pytest.mark.parametrize(
    "change",
    [
        {"pool": {"dtype": "bfloat16"}},
        {"seed": 1},
        {"batch_size": 7},
        {"type": "loss"},
        {"split": {"search": 0.5, "held_out": 0.5}},
        {"split": {"search": 0.7, "held_out": 0.2}},
        {"data": "digits/high.npz"},
        {"pool": {"base": {"path": "digits/high", "name": "base"}}},
        {"pool": {"models": [{"path": "digits/high", "name": "low"}]}},
    ],
    ids=str,
)
def test_whatever_decides_a_score_changes_the_key(folder: Path, change: dict[str, Any]) -> None:
    assert key(folder, **change) != key(folder)


def test_recipes_have_keys_of_their_own(folder: Path) -> None:
    made = keys(folder)
    recipes = [
        recipe(),
        recipe(0.5 + 1e-9),
        recipe(models=("high",)),
        recipe(models=("low", "high")),
        recipe(base=None),
        Recipe("ties", ("low",), "base", np.array([0, 100]), np.array([[0.5]]), {"lambda": 1.0}),
        Recipe("task_arithmetic", ("low",), "base", np.array([0, 100]), np.array([[0.5]]), {"lambda": 0.5}),
        Recipe("task_arithmetic", ("low",), "base", np.array([0, 99, 100]), np.array([[0.5], [0.25]]), {"lambda": 1.0}),
    ]
    assert len({made.key(r, "low") for r in recipes}) == len(recipes)


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("file", ["low/config.json", "base/config.json", "model.py", "low.npz"])
def test_a_changed_file_changes_the_key(folder: Path, file: str) -> None:
    path, before = folder / "digits" / file, key(folder)
    if path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = dict(archive)
        arrays["labels"] = np.roll(arrays["labels"], 1)
        np.savez_compressed(path, **arrays)
    else:
        changed(path)
    assert key(folder) != before


def test_changed_weights_change_the_key_of_recipes_that_use_them(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    [path] = (folder / "digits" / "low").glob("*.safetensors")
    before = keys(folder)
    weights = load_file(path)
    next(iter(weights.values())).view(-1)[0] += 1e-6
    save_file(weights, path)
    after = keys(folder)
    assert after.key(recipe(), "low") != before.key(recipe(), "low")
    assert after.key(recipe(models=("high",)), "low") == before.key(recipe(models=("high",)), "low")


def test_a_loader_is_all_that_it_imports_from_beside_it(folder: Path) -> None:
    loader = folder / "digits" / "model.py"
    loader.write_text(f"{loader.read_text()}\n\ndef unused():\n    import beside\n")
    without = key(folder)
    (folder / "digits" / "beside.py").write_text("WIDTH = 1\n")
    first = key(folder)
    (folder / "digits" / "beside.py").write_text("WIDTH = 2\n")
    assert len({without, first, key(folder)}) == 3


def test_changed_code_and_packages_change_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(folder)
    with monkeypatch.context() as patch:
        patch.setattr(score_key, "code_digest", lambda: "edited")
        edited = key(folder)
    monkeypatch.setattr(score_key, "installed_versions", lambda _: {"torch": "0"})
    assert len({before, edited, key(folder)}) == 3


def test_the_code_digest_covers_operators_and_objectives() -> None:
    root = Path(score_key.__file__).parent
    for name in ("objectives/accuracy.py", "merge/operators/ties.py", "pool/lora.py", "evaluator.py"):
        assert (root / name).is_file()
    assert {n.partition(".")[0] for n in score_key._CODE} >= {"merge", "pool", "objectives", "language"}
    assert len(score_key.code_digest()) == 64


def test_the_device_is_described() -> None:
    assert device_description("cpu") == ["cpu", torch.backends.cpu.get_cpu_capability()]


FUNCTION = "def one(model):\n    return 1.0\n"


def test_python_functions_are_kept_only_on_request_and_by_the_content_of_their_files(folder: Path) -> None:
    file = folder / "mine.py"
    file.write_text(FUNCTION)
    section: dict[str, Any] = {"type": "python", "function": "mine.py:one"}

    def found(*, functions: bool = True, **changes: Any) -> str | None:
        made = make_config(
            YamlDocument({**config(folder)._document.data, "objectives": [{"name": "low", **section, **changes}]}),
            folder,
        )
        [objective] = make_objectives(made)
        identity = identity_of(objective, made.objectives[0], functions)
        return None if identity is None else score_key.digest_of(identity)

    assert found(functions=False) is None
    first = found()
    assert first is not None
    assert found() == first
    assert found(direction="minimize") != first
    file.write_text(FUNCTION + "\n\ndef later():\n    import other\n")
    (folder / "other.py").write_text("X = 1\n")
    second = found()
    (folder / "other.py").write_text("X = 2\n")
    assert len({first, second, found()}) == 3


def one(model: object) -> float:
    return 1.0


@pytest.mark.parametrize("function", [one, lambda model: 1.0, len])
def test_a_function_given_as_an_object_is_never_kept(folder: Path, function: object) -> None:
    document = {
        **config(folder)._document.data,
        "objectives": [{"name": "low", "type": "python", "function": function}],
    }
    made = make_config(YamlDocument(document), folder)
    [objective] = make_objectives(made)
    assert identity_of(objective, made.objectives[0], python_functions=True) is None


def test_an_objective_may_say_what_else_it_depends_on(folder: Path) -> None:
    made = config(folder)
    [objective] = make_objectives(made)
    plain = identity_of(objective, made.objectives[0])
    objective.identity = {"dataset": "abc"}  # type: ignore[attr-defined]
    assert identity_of(objective, made.objectives[0]) not in (None, plain)
    for unknown in (None, object(), {"x": object()}):
        objective.identity = unknown  # type: ignore[attr-defined]
        assert identity_of(objective, made.objectives[0]) is None


def test_a_setting_without_a_plain_form_is_never_kept(folder: Path) -> None:
    made = config(folder)
    [objective] = make_objectives(made)
    assert identity_of(objective, {**made.objectives[0], "extra": object()}) is None


def test_a_source_that_is_not_known_makes_no_key(folder: Path) -> None:
    assert keys(folder).key(recipe(models=("absent",)), "low") is None


def test_two_models_never_share_a_score(folder: Path, tmp_path: Path) -> None:
    """Regression for lm-eval's cache, whose key is the request alone: every model got the first one's answers."""
    made = config(folder, type="loss")
    pool = make_pool(made)
    engine, [objective] = make_engine(made, pool), make_objectives(made)
    known = KnownScores(ScoreCache(tmp_path / "scores"), keys(folder, type="loss"))
    examples = objective.splits["search"]
    n = engine.layout.n_parameters
    found = []
    for coefficient in (0.0, 0.3, 1.0, 0.0, 0.3, 1.0):
        merge = Recipe("task_arithmetic", ("high",), "base", np.array([0, n]), np.array([[coefficient]]))
        compute = partial(_evaluate, engine, objective, merge, examples)
        found.append(known.score(merge, objective, examples, compute))
    assert len({s.value for s in found[:3]}) == 3
    for first, second in zip(found[:3], found[3:], strict=True):
        assert (first.value, first.stderr) == (second.value, second.stderr)
        np.testing.assert_array_equal(first.example_scores, second.example_scores)
    assert (known.counts.hits, known.counts.misses, known.counts.rate) == (3, 3, 0.5)


def _evaluate(engine: MergeEngine, objective: Objective, merge: Recipe, examples: slice) -> Score:
    return objective.evaluate(engine.build(merge), examples, 0)
