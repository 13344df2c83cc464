"""What every registered objective must do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from searcher.candidate import SPLITS
from searcher.components import argument_help, settings_model
from searcher.errors import CandidateError
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from tests.language.tiny_llama import live_llama, tiny_llama
from tests.objectives.lm_eval_reference import write_task
from tests.objectives.plain_language import WORDS, texts, write_jsonl

USER_CODE = """
import torch

def margin(model, examples):
    inputs = torch.arange(50 * 6).reshape(50, 6) % 7 - 3.0
    with torch.no_grad():
        return model.module(inputs)[examples].max(dim=1).values
"""

# How each objective is made from the data file; a new objective adds a line.
MAKERS: dict[str, Callable[[Path], dict[str, object]]] = {
    "accuracy": lambda data: {"data": data},
    "loss": lambda data: {"data": data},
    "python": lambda data: {"function": f"{data.parent / 'user_code.py'}:margin", "n_examples": 50},
    "entropy": lambda data: {"data": "texts.jsonl"},
    "exact_match": lambda data: {"data": "texts.jsonl", "end_token": False},
    "generation": lambda data: {"data": "texts.jsonl", "prompt": "{question}", "regex": "(?s).*", "max_new_tokens": 2},
    "kl_to_base": lambda data: {"data": "texts.jsonl", "reference_model": str(data.parent / "llama7")},
    "lm_eval": lambda data: {"task": write_task(data.parent), "metric": "acc"},
    "perplexity": lambda data: {"data": "texts.jsonl", "metric": "loss"},  # a perplexity is no mean, its logarithm is
    "size": lambda data: {},
}
LANGUAGE = frozenset({"entropy", "exact_match", "generation", "kl_to_base", "lm_eval", "perplexity", "size"})
WITHOUT_EXAMPLES = frozenset({"size"})
SPLIT = {"search": 0.6, "select": 0.1, "held_out": 0.3}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(params=sorted(set(MAKERS) - WITHOUT_EXAMPLES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(name: str, write_data: Callable[..., Path]) -> Objective:
    data = write_data()
    (data.parent / "user_code.py").write_text(USER_CODE, encoding="utf-8")
    if name in LANGUAGE:
        lines = [{"text": t, "question": t, "answer": WORDS[i % 9]} for i, t in enumerate(texts(50, longest=9))]
        write_jsonl(data.parent / "texts.jsonl", lines)
    if name == "kl_to_base":
        tiny_llama(data.parent / "llama7", seed=7)
    settings = MAKERS[name](data)
    return OBJECTIVES.get(name)("mine", split=SPLIT, root=data.parent, **settings)  # type: ignore[call-arg]


@pytest.fixture
def subject(name: str, classifier: LiveModel, request: pytest.FixtureRequest) -> Iterator[LiveModel]:
    """A model that the objective can score, with weights that the test may spoil."""
    model: LiveModel = request.getfixturevalue("llama") if name in LANGUAGE else classifier
    before = model.weights.clone()
    yield model
    with torch.no_grad():
        model.weights.copy_(before)


def test_every_objective_is_tested() -> None:
    assert set(OBJECTIVES.names()) == set(MAKERS)


def test_importing_them_does_not_import_torch() -> None:
    code = (
        "import sys; from searcher.objectives.base import OBJECTIVES; OBJECTIVES.load(); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_settings_have_types_and_help(name: str) -> None:
    model = settings_model(name, OBJECTIVES.get(name), key="type")
    assert set(argument_help(OBJECTIVES.get(name))) == set(model.model_fields) - {"type"}
    properties = model.model_json_schema()["properties"]
    assert all(properties[key].get("description") for key in model.model_fields if key != "type")


def test_name_direction_and_unit(made: Objective) -> None:
    assert made.name == "mine"
    assert made.direction in ("maximize", "minimize")
    assert isinstance(made.unit, str)


def test_splits_tile_the_examples(made: Objective) -> None:
    assert made.n_examples == 50
    assert list(made.splits) == list(SPLITS)
    assert [(s.start, s.stop) for s in made.splits.values()] == [(0, 30), (30, 35), (35, 50)]


@pytest.mark.parametrize("name", sorted(WITHOUT_EXAMPLES))
def test_those_without_examples_have_no_splits(name: str, llama: LiveModel, tmp_path: Path) -> None:
    found = OBJECTIVES.get(name)("mine", root=tmp_path, **MAKERS[name](tmp_path / "data"))  # type: ignore[call-arg]
    assert found.n_examples is None
    assert found.splits == {}
    score = found.evaluate(llama, None, 0)
    assert np.isfinite(score.value)
    assert score.example_scores is None


def test_files_exist(made: Objective) -> None:
    assert made.files
    assert all(path.is_file() for path in made.files)


def test_splits_are_stretches_of_the_whole(made: Objective, subject: LiveModel) -> None:
    whole = made.evaluate(subject, None, 0)
    assert whole.example_scores is not None
    for part in made.splits.values():
        score = made.evaluate(subject, part, 0)
        assert score.example_scores is not None
        np.testing.assert_allclose(score.example_scores, whole.example_scores[part], rtol=1e-5, atol=1e-6)
        assert score.value == pytest.approx(np.mean(score.example_scores))
        assert score.stderr > 0


def test_equal_calls_give_equal_scores_and_leave_the_weights_alone(made: Objective, subject: LiveModel) -> None:
    before = [p.clone() for p in subject.module.parameters()]
    first, second = (made.evaluate(subject, made.splits["search"], 7) for _ in range(2))
    np.testing.assert_array_equal(first.example_scores, second.example_scores)
    assert (first.value, first.stderr) == (second.value, second.stderr)
    assert all(torch.equal(a, b) for a, b in zip(before, subject.module.parameters(), strict=True))


def test_the_seed_does_not_choose_the_examples(made: Objective, subject: LiveModel) -> None:
    first, second = (made.evaluate(subject, made.splits["held_out"], seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.example_scores, second.example_scores)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_model_is_never_scored(made: Objective, subject: LiveModel, value: float) -> None:
    list(subject.module.parameters())[-1].data.fill_(value)
    with pytest.raises(CandidateError):
        made.evaluate(subject, made.splits["search"], 0)
