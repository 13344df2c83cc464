"""What ``recipe.json`` says of a point: enough to make it again, nothing of the machine it was found on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from searcher.recipe import Recipe
from tests.export.tiny_models import point_of

RECIPE = Recipe(
    "ties", ("low", "high"), "base", np.array([0, 4, 9]), np.array([[0.1, 0.2], [0.3, -0.4]]),
    {"density": np.array([0.5, 0.25]), "normalize": True},
)  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    """The record as it comes back from a file."""
    found: dict[str, Any] = json.loads(json.dumps(point_of(RECIPE, **changes).to_json(), allow_nan=False))
    return found


def test_the_recipe_is_read_back_beside_where_it_comes_from() -> None:
    found = record()
    assert Recipe.from_json(found) == RECIPE
    assert found["candidate"] == 37
    assert found["tags"] == ["knee"]
    assert found["genome"] == {"low": 0.25, "high": 0.5}
    assert (found["run"], found["seed"]) == ("quickstart", 7)


def test_scores_are_left_to_the_model_card() -> None:
    assert set(record()) - set(RECIPE.to_json()) == {"candidate", "tags", "genome", "run", "seed", "source_hashes"}


def test_a_point_outside_the_space_has_no_genome() -> None:
    assert record(genome=None)["genome"] is None
    assert record(genome={})["genome"] == {}


@pytest.mark.parametrize("run", ["/data/someone/runs/quickstart", "C:\\runs\\quickstart", "/srv/quickstart/"])
def test_a_path_of_the_run_is_cut_to_its_name(run: str) -> None:
    assert record(run=run)["run"] == "quickstart"


def test_equal_points_are_equal_texts_whatever_the_order_of_the_hashes() -> None:
    hashes = {"high/model.safetensors": "0" * 64, "base/model.safetensors": "1" * 64}
    texts = {
        json.dumps(point_of(RECIPE, source_hashes=given).to_json())
        for given in (hashes, dict(reversed(hashes.items())))
    }
    assert len(texts) == 1
    assert list(record(source_hashes=hashes)["source_hashes"]) == ["base/model.safetensors", "high/model.safetensors"]
