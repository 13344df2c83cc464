"""Whole runs over layers of two tiny Llamas: search, stop and resume, report, every export, and the way back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher import session
from searcher.config import Config, load_config
from searcher.errors import ExportError, PoolError
from searcher.finished_run import open_run
from searcher.mergekit.merge_file import MergeOptions, merge_file
from searcher.session import start
from searcher.sqlite_storage import SqliteStorage
from tests.language.tiny_llama import CORPUS, tiny_llama
from tests.toy import content

N = 14
CONFIG = """\
pool: {{models: [a, b], device: cpu}}
operator: linear
space: {{name: data_flow, repeats: 2, scale: [0.8, 1.25]}}
strategy: nsga2
objectives:
  - {{name: ppl, type: perplexity, data: texts.jsonl}}
  - {{name: parameters, type: size}}
budget: {{evaluations: {n}}}
output: {{export: []}}
seed: 3
{more}
"""


def config(root: Path, more: str = "", n: int = N) -> Config:
    path = root / "config.yaml"
    path.write_text(CONFIG.format(n=n, more=more))
    return load_config(path, [])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("flow")
    for seed, name in enumerate("ab"):
        tiny_llama(folder / name, seed=seed)
    texts = [{"text": CORPUS[i % 4] * (1 + i // 4)} for i in range(12)]
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where relative paths of a config start
        yield folder


@pytest.fixture(scope="module")
def finished(root: Path) -> Path:
    session.start(config(root, "cache: {enabled: false}"), root / "run")
    return root / "run"


def test_models_of_other_depths_are_found(finished: Path) -> None:
    run = open_run(finished)
    seeds = [c for c in run.history.candidates if c.origin == "seed"]
    assert seeds  # the best source, though the uniform average is better and outside the space
    for seed in seeds:
        source = next(c for c in run.history.baselines() if c.name == (seed.recipe.layers or (("", 0),))[0][0])
        scores = [run.history.evaluations[c.number, "search"].scores for c in (seed, source)]
        assert scores[0]["ppl"].value == scores[1]["ppl"].value
    found = [c for c in run.history.candidates if c.origin == "strategy"]
    assert len(found) == N - 3 - len(seeds)
    assert all(c.recipe.layers for c in found)
    assert len({len(c.recipe.layers or ()) for c in found}) > 1
    assert all(evaluation.error is None for evaluation in run.history.evaluations.values())
    smallest = min(run.history.evaluations[c.number, "search"].scores["parameters"].value for c in found)
    assert smallest < run.history.evaluations[0, "search"].scores["parameters"].value


def test_a_stopped_run_goes_on_as_if_it_had_not_been(root: Path, finished: Path) -> None:
    folder = root / "stopped"
    events: list[str] = []

    def stop(event: str, fields: Any) -> None:
        events.append(event)
        if events.count("evaluated") == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(config(root, "cache: {enabled: false}"), folder, [stop])
    session.resume(folder)
    with SqliteStorage(folder) as resumed, SqliteStorage(finished) as whole:
        assert repr(content(resumed)) == repr(content(whole))


def test_scores_are_known_again(root: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path))
    hits: list[int] = []

    def listen(event: str, fields: Any) -> None:
        if event == "cache":
            hits.append(fields["hits"])

    for name in ("first", "second"):
        session.start(config(root), root / name, [listen])
    with SqliteStorage(root / "second") as second, SqliteStorage(finished) as whole:
        assert repr(content(second)) == repr(content(whole))
    assert hits[-1] >= N  # at least one score of each candidate


def test_racing_and_chosen_examples_work(root: Path) -> None:
    for name, more in (("raced", "racing: {enabled: true, block: 2}"), ("chosen", "item_selection: {enabled: true}")):
        session.start(config(root, more), root / name)
        run = open_run(root / name)
        assert all(evaluation.error is None for evaluation in run.history.evaluations.values())


def test_the_report_shows_layers(finished: Path) -> None:
    run = open_run(finished)
    text = run.write_report().read_text(encoding="utf-8")
    assert "data_flow: 8 groups of 1 layer run or not, scaled by 0.8 to 1.25" in text
    assert re.search(r"\d layers: [ab] [01]", text)
    tables = [t for t in run.report_data().coefficients if run.history.candidates[t.candidate].recipe.layers]
    assert tables
    assert all("; layers " in table.title for table in tables)
    assert all(len(set(table.models)) == 2 and "block 0" in " ".join(table.segments) for table in tables)


def flow_point(finished: Path) -> Any:
    return next(p for p in open_run(finished).front if p.candidate.recipe.layers)


@torch.no_grad()
def test_an_export_is_an_ordinary_model_with_the_same_scores(finished: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    point = flow_point(finished)
    folder = point.export(tmp_path / "out")  # re-scored in a fresh process
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["verification"]["passed"]
    assert manifest["verification"]["largest_difference"] == 0.0
    n_layers = len(point.candidate.recipe.layers)
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == n_layers
    module, tokens = AutoModelForCausalLM.from_pretrained(folder), torch.arange(1, 30)[None]
    assert torch.equal(module(tokens).logits, point.build().module(tokens).logits)
    assert f"Layers by depth: {point.candidate.recipe.layers[0][0]}" in (folder / "README.md").read_text()


def test_recipe_and_mergekit_exports_lead_back_to_the_same_weights(root: Path, finished: Path, tmp_path: Path) -> None:
    point = flow_point(finished)
    expected = digest(point.export(tmp_path / "hf"))
    point.export(tmp_path / "recipe", format="recipe")
    sources = {name: str(root / name) for name in "ab"}
    summary = merge_file(
        tmp_path / "recipe" / "recipe.json", tmp_path / "again", options=MergeOptions(sources=sources, device="cpu")
    )
    assert digest(summary.folder) == expected
    assert summary.n_bytes == 4 * point.candidate.recipe.n_parameters
    point.export(tmp_path / "mergekit", format="mergekit")
    assert digest(merge_file(tmp_path / "mergekit" / "mergekit.yaml", tmp_path / "by_slices").folder) == expected
    with pytest.raises(ExportError, match="cannot change which layers run"):
        point.export(tmp_path / "lora", format="lora")


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_recipe_for_other_layers_is_refused(root: Path, finished: Path, tmp_path: Path) -> None:
    folder = flow_point(finished).export(tmp_path / "recipe", format="recipe")
    path = folder / "recipe.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"layers": record["layers"] * 2}))
    options = MergeOptions(sources={name: str(root / name) for name in "ab"}, device="cpu")
    with pytest.raises(PoolError, match="The recipe is for"):
        merge_file(path, tmp_path / "out", options=options)


def test_a_loader_of_the_user_is_refused_before_anything_is_scored(root: Path) -> None:
    (root / "load.py").write_text(
        "from transformers import LlamaForCausalLM\n\ndef load(folder):\n    return LlamaForCausalLM.from_pretrained(folder)\n"
    )
    path = root / "python.yaml"
    path.write_text(CONFIG.format(n=N, more="").replace("device: cpu", "device: cpu, loader: 'python:load.py:load'"))
    given = load_config(path, [])
    with pytest.raises(PoolError, match="builds modules of one depth only"):
        session.start(given, root / "refused")
