"""Configs: what is accepted, and that every mistake is named with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searcher.config import Config, config_schema, load_config
from searcher.errors import ConfigError
from searcher.operator_section import split_settings

GOOD = """\
run: runs/x
seed: 3
pool:
  base: base
  models: [a, {path: b, name: bee}]
operator: {name: ties, density: {search: [0.1, 1.0]}}
space: {name: layer_wise, range: [0.0, 1.5], by: [block]}
objectives:
  - {name: low, type: accuracy, data: low.npz, split: {search: 0.6, held_out: 0.4}}
  - {name: nats, type: loss, data: low.npz, target: 0.1}
strategy: {name: cma_es, population: 16, sigma0: 0.2, weights: [1, 1]}
budget: {evaluations: 20, hours: 2}
"""

# (what to replace, with what, words of the first line, line number, words of the third line)
MISTAKES: dict[str, tuple[str, str, str, int, str]] = {
    "unknown top key": ("seed: 3", "sead: 3", "Unknown key 'sead'", 2, "Did you mean 'seed'?"),
    "unknown nested key": ("sigma0", "sigma", "Unknown key 'sigma'", 11, "Did you mean 'sigma0'?"),
    "unknown pool key": ("  base: base", "  bass: base", "Unknown key 'bass'", 4, "Did you mean 'base'?"),
    "unknown strategy": ("cma_es", "cma_se", "Unknown strategy 'cma_se'", 11, "cma_es"),
    "unknown space": ("layer_wise", "layerwise", "Unknown space 'layerwise'", 7, "layer_wise"),
    "unknown operator": ("ties", "tie", "Unknown operator 'tie'", 6, "ties"),
    "unknown objective": ("type: loss", "type: los", "Unknown objective 'los'", 10, "loss"),
    "missing pool": ("pool:\n  base: base\n  models: [a, {path: b, name: bee}]\n", "", "'pool' is missing", 0, "Add"),
    "missing models": ("  models: [a, {path: b, name: bee}]\n", "", "'models' is missing", 3, "Add"),
    "no models": ("[a, {path: b, name: bee}]", "[]", "'models'", 5, ""),
    "missing objective type": (" type: loss,", "", "'type' is missing", 10, "accuracy"),
    "missing objective data": (", data: low.npz, target: 0.1", "", "'data' is missing", 10, "Add"),
    "no objectives": ("type: loss, data: low.npz", "type: loss, data: low.npz, objectives: []", "Unknown key", 10, ""),
    "same names": ("name: nats", "name: low", "Two objectives are called 'low'", 10, "name of its own"),
    "wrong type": ("seed: 3", "seed: many", "'seed' has a wrong value", 2, "Change"),
    "negative seed": ("seed: 3", "seed: -1", "'seed' has a wrong value", 2, "Change"),
    "nan": ("sigma0: 0.2", "sigma0: .nan", "'sigma0' has a wrong value", 11, "Change"),
    "infinity": ("hours: 2", "hours: .inf", "'hours' has a wrong value", 12, "Change"),
    "zero budget": ("evaluations: 20", "evaluations: 0", "'evaluations' has a wrong value", 12, "Change"),
    "endless": ("{evaluations: 20, hours: 2}", "{errors: 0.1}", "a run must end", 12, ""),
    "density out of range": ("search: [0.1, 1.0]", "search: [0.1, 2.0]", "'density'", 6, "[0, 1]"),
    "density reversed": ("search: [0.1, 1.0]", "search: [0.9, 0.1]", "low < high", 6, ""),
    "density fixed out of range": ("{search: [0.1, 1.0]}", "3", "'density' has a wrong value", 6, "Change"),
    "remote code": ("  base: base", "  trust_remote_code: true\n  base: base", "not allowed", 4, "False"),
    "loader": ("  base: base", "  loader: pickle\n  base: base", "'loader'", 4, "python:"),
    "space filter misspelt": ("by: [block]", "filters: [{mach: '*', group: x}]", "Unknown key 'mach'", 7, "'match'"),
    "space by": ("by: [block]", "by: [blocks]", "'by'", 7, ""),
    "racing without error": ("seed: 3", "racing: {enabled: true, error: 0}", "'error' has a wrong value", 2, "Change"),
    "racing without block": ("seed: 3", "racing: {enabled: true, block: 0}", "'block' has a wrong value", 2, "Change"),
    "racing with a wide margin": ("seed: 3", "racing: {margin: 1}", "'margin' has a wrong value", 2, "Change"),
    "racing misspelt": ("seed: 3", "racing: {enable: true}", "Unknown key 'enable'", 2, "enabled"),
    "list for mapping": ("budget: {evaluations: 20, hours: 2}", "budget: [20]", "'budget'", 12, ""),
}


def read(path: Path) -> None:
    """All checks that need no models."""
    config = load_config(path)
    split_settings("ties", config.operator, config.where("operator"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_a_good_config_is_read_with_all_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.operator["density"] == {"search": (0.1, 1.0), "per": "run"}
    free = {"filters": (), "fixed": (), "simplex": False, "total": 1.0}
    assert config.space == {"name": "layer_wise", "range": (0.0, 1.5), "by": ("block",), "granularity": 1, **free}
    assert config.objectives[1]["target"] == 0.1
    assert config.strategy["population"] == 16
    assert config.executor == {"name": "serial"}
    assert config.pool.trust_remote_code is False


def test_the_resolved_config_is_a_config_and_stays_the_same(tmp_path: Path) -> None:
    from io import StringIO

    from ruamel.yaml import YAML

    resolved = load_config(write(tmp_path, GOOD)).resolved()
    text = StringIO()
    YAML(typ="safe", pure=True).dump(resolved, text)
    assert load_config(write(tmp_path, text.getvalue())).resolved() == resolved


@pytest.mark.parametrize(("old", "new", "what", "line", "fix"), MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_is_named(tmp_path: Path, old: str, new: str, what: str, line: int, fix: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert what in lines[0]
    assert str(path) in lines[1]
    assert not line or f"line {line}," in lines[1]
    assert fix in lines[2]
    assert caught.value.exit_code == 2


def test_overrides_reach_everything(tmp_path: Path) -> None:
    sets = ["seed=7", "strategy.population=8", "objectives.0.name=left", "space=model_wise", "budget.errors=0.5"]
    config = load_config(write(tmp_path, GOOD), sets)
    assert (config.seed, config.strategy["population"], config.space["name"]) == (7, 8, "model_wise")
    assert config.objectives[0]["name"] == "left"
    assert config.budget.errors == 0.5


def test_overrides_reach_into_a_section_that_is_only_a_name(tmp_path: Path) -> None:
    text = GOOD.replace("{name: cma_es, population: 16, sigma0: 0.2, weights: [1, 1]}", "random")
    sets = ["strategy.name=nsga2", "strategy.population=8"]
    assert load_config(write(tmp_path, text), sets).strategy["population"] == 8
    with pytest.raises(ConfigError, match="Unknown key 'populaton'"):
        load_config(write(tmp_path, text), ["strategy.name=nsga2", "strategy.populaton=8"])


@pytest.mark.parametrize("override", ["seed", "=1", "seed.deep.deeper=1", "objectives.9.name=x", "objectives.x=1"])
def test_overrides_that_reach_nothing_are_errors(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, GOOD), [override])


def test_secrets_in_a_wrong_place_are_not_printed(tmp_path: Path) -> None:
    canary = "sk-canary-123"
    for old, new in (("seed: 3", f"seed: {canary}"), ("hours: 2", f"hours: {canary}")):
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, GOOD.replace(old, new)))
        assert canary not in str(caught.value)


def test_the_schema_knows_every_component() -> None:
    from searcher.catalog import catalog

    schema: Any = config_schema()
    text = str(schema)
    for rows in catalog().values():
        for name, _ in rows:
            assert name.removesuffix("NAME") in text
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False


def test_the_shipped_configs_are_valid() -> None:
    root = Path(__file__).parents[1]
    found = sorted((root / "configs").glob("*.yaml"))
    assert found
    for path in found:
        first, *_ = path.read_text().splitlines()
        assert first == f"# searcher optimize configs/{path.name}"  # each opens with the command that runs it
        load_config(path)
