from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard, ModelCardData

from searcher.export.model_card import common_licence, model_card
from searcher.export.point import ExportPoint
from searcher.pool.layout import build_layout
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_shapes, point_of, recipe_by

LAYOUT = build_layout(llama_shapes(4, tied=False), {})
RECIPE = recipe_by(
    LAYOUT,
    "ties",
    lambda e: (0.25, 0.5) if e.kind == "mlp" else (0.75, 1.0),
    settings={"lambda": 0.9, "density": lambda e: 0.5 if e.kind == "mlp" else 0.625},
)
HUB = {"low": "organisation/low-7b@0123456789abcdef0123456789abcdef01234567"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model card must not touch the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def card(point: ExportPoint | None = None, **changes: Any) -> str:
    given: dict[str, Any] = {"hub_ids": HUB, "licences": {"base": None, "low": "mit", "high": "mit"}, "kind": "hf"}
    return model_card(point or point_of(RECIPE), LAYOUT, **{**given, **changes})


def front(text: str) -> dict[str, Any]:
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    found: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    return found


def test_front_matter_names_hub_models_and_held_out_scores_only() -> None:
    data = front(card())
    assert data["base_model"] == ["organisation/low-7b"]
    assert data["base_model_relation"] == "merge"
    assert data["tags"] == ["merge", "searcher"]
    assert data["library_name"] == "transformers"
    assert "license" not in data
    (index,) = data["model-index"]
    values = {r["metrics"][0]["type"]: r["metrics"][0]["value"] for r in index["results"]}
    assert values == {"accuracy": 0.875, "loss": 0.625}
    assert {r["dataset"]["type"] for r in index["results"]} == {"held-out"}


@pytest.mark.parametrize(
    "scores", [{}, {"search": {"accuracy": (0.9, 0.1)}}, {"held_out": {"loss": (float("nan"), 0)}}]
)
def test_without_held_out_scores_there_is_no_model_index(scores: dict[str, Any]) -> None:
    assert "model-index" not in front(card(point_of(RECIPE, scores=scores)))


def test_without_hub_models_there_is_no_base_model() -> None:
    data = front(card(hub_ids={}))
    assert "base_model" not in data
    assert "base_model_relation" not in data


@pytest.mark.parametrize(("kind", "library"), [("lora", "peft"), ("python", None), ("recipe", None)])
def test_the_library_is_that_of_the_content(kind: str, library: str | None) -> None:
    data = front(card(kind=kind))
    assert data.get("library_name") == library
    assert data["base_model_relation"] == ("adapter" if kind == "lora" else "merge")


def test_the_licence_is_stated_only_if_all_sources_agree() -> None:
    assert common_licence({"a": "mit", "b": "mit"}) == "mit"
    assert common_licence({"a": "mit", "b": None}) is None
    assert common_licence({"a": "mit", "b": "apache-2.0"}) is None
    assert common_licence({}) is None
    assert front(card(licences={"low": "mit", "high": "mit", "base": "mit"}))["license"] == "mit"
    assert "**Unknown.**" in card()
    assert "`base`: unknown" in card()


def test_the_body_has_scores_with_errors_recipe_hashes_seed_and_versions() -> None:
    text = card()
    for expected in (
        "| accuracy | higher | fraction | 0.9375 ± 0.0125 | 0.8750 ± 0.0250 |",
        "| loss | lower | nats | 0.5000 | 0.6250 ± 0.0312 |",
        "Contamination notice",
        "Operator `ties` with `lambda` = 0.9.",
        "| segment | covers | `low` | `high` | density |",
        "| 0 | embedding, block 0: norm | 0.75 | 1 | 0.625 |",
        "seed 7",
        "- torch 2.13.0",
        "| base/model.safetensors | `" + "ab" * 32 + "` |",
        f"- `low`: `{HUB['low']}`",
        "- `base`: a local folder",
        RECIPE.digest,
        "| low | 0.25 |",
        "It was chosen as: knee.",
    ):
        assert expected in text


def test_every_segment_has_a_row_up_to_a_limit() -> None:
    borders = np.arange(0, LAYOUT.n_parameters + 1, 4)
    rows = np.arange(borders.size - 1, dtype=np.float64)[:, None]
    text = card(point_of(Recipe("task_arithmetic", ("low",), "base", borders, rows)))
    assert "| 399 |" in text
    assert "| 400 |" not in text
    assert f"first 400 of {borders.size - 1} segments" in text


def test_no_path_and_no_secret_reaches_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary-key-of-the-environment")
    paths = ["/srv/canary/models/low", "C:\\canary\\high", "~/canary/base"]
    secrets = ["hf_canaryCANARYcanary", "sk-canary-0123456789", "canary-key-of-the-environment"]
    recipe = Recipe(
        "task_arithmetic",
        (paths[0], paths[1]),
        paths[2],
        RECIPE.boundaries[[0, -1]],
        np.array([[0.5, 0.5]]),
        {"note": "/canary/setting"},
    )
    point = point_of(
        recipe,
        run="/srv/canary/runs/quickstart",
        tags=("knee", "best:/srv/canary/x", secrets[2]),
        versions={"torch": "2.13 @ file:///srv/canary/torch.whl", secrets[0]: secrets[1]},
        source_hashes={f"{paths[0]}/model.safetensors": "00"},
        genome={"low[/canary/gene]": 0.5},
        objectives={"accuracy /canary/data.npz": ("maximize", "/canary/unit")},
        scores={"held_out": {"accuracy /canary/data.npz": (0.5, 0.1)}},
        loader="python:/srv/canary/nets.py:load",
    )
    for kind in ("hf", "python", "lora", "mergekit", "recipe"):
        text = card(point, hub_ids={}, licences={paths[0]: "/canary/licence"}, kind=kind)
        assert "canary" not in text.lower()
        assert "| model.safetensors |" in text or "low/model.safetensors" in text


def test_names_cannot_inject_markup_or_break_a_table() -> None:
    name = "<script>alert(1)</script>|`x`\x1b[31m\n---\nlicense: mit"
    text = card(
        point_of(RECIPE, tags=(name,), objectives={name: ("maximize", name)}, scores={"held_out": {name: (0.5, 0.1)}})
    )
    body = text.split("---\n", 2)[2]
    assert "<script" not in body
    assert "\x1b" not in text
    assert front(text).get("license") is None
