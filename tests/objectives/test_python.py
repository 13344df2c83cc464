"""Python functions as objectives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.errors import CandidateError, ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.python import PythonObjective, objective

Indices = NDArray[np.int64]


@objective(n_examples=20, direction="minimize", unit="points")
def by_example(model: LiveModel, examples: Indices, seed: int, factor: float = 1.0) -> NDArray[np.float64]:
    return examples.astype(np.float64) * factor


def norm(model: LiveModel) -> float:
    return float(model.weights.square().sum())


def test_a_function_of_the_live_model(classifier: LiveModel) -> None:
    made = PythonObjective("norm", function=norm)
    assert (made.direction, made.unit, made.n_examples, made.splits) == ("maximize", "", None, {})
    assert made.evaluate(classifier, None, 0).value == float(classifier.weights.square().sum())
    assert made.files == (Path(__file__),)


def test_the_declaration_of_the_decorator_and_settings_that_win_over_it() -> None:
    made = PythonObjective("a", function=by_example)
    assert (made.direction, made.unit, made.n_examples) == ("minimize", "points", 20)
    assert made.splits == {"search": slice(0, 14), "held_out": slice(14, 20)}
    made = PythonObjective("a", function=by_example, direction="maximize", unit="m", n_examples=10)
    assert (made.direction, made.unit, made.n_examples) == ("maximize", "m", 10)


def test_examples_and_arguments_reach_the_function(classifier: LiveModel) -> None:
    made = PythonObjective("a", function=by_example, arguments={"factor": 2.0}, split={"search": 0.5, "held_out": 0.5})
    parts = [made.evaluate(classifier, made.splits[s], 0).example_scores for s in ("search", "held_out")]
    assert all(p is not None for p in parts)
    assert sorted(np.concatenate(parts)) == [2.0 * i for i in range(20)]  # type: ignore[arg-type]
    whole = made.evaluate(classifier, None, 0)
    assert whole.example_scores is not None
    np.testing.assert_array_equal(whole.example_scores, np.concatenate(parts))  # type: ignore[arg-type]


def test_a_function_cannot_move_the_examples(classifier: LiveModel) -> None:
    def greedy(model: LiveModel, examples: Indices) -> Indices:
        scores = examples.copy()
        examples[:] = 0
        return scores

    made = PythonObjective("a", function=greedy, n_examples=10)
    first, second = (made.evaluate(classifier, None, 0).example_scores for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


def test_the_seed_goes_to_functions_that_ask_for_it(classifier: LiveModel) -> None:
    def seeded(model: LiveModel, *, seed: int) -> float:
        return float(seed)

    assert PythonObjective("a", function=seeded).evaluate(classifier, None, 41).value == 41.0


def test_reseeding_the_global_generators_is_harmless(classifier: LiveModel) -> None:
    def reseeds(model: LiveModel, examples: Indices) -> NDArray[np.float64]:
        np.random.seed(1234)  # noqa: NPY002
        torch.manual_seed(1234)
        return examples.astype(np.float64)

    def quiet(model: LiveModel, examples: Indices) -> NDArray[np.float64]:
        return examples.astype(np.float64)

    state = np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    found = []
    try:
        for function in (reseeds, quiet):
            made = PythonObjective("a", function=function, n_examples=30)
            found.append([made.evaluate(classifier, part, 0).example_scores for part in made.splits.values()])
            found.append([made.evaluate(classifier, part, 0).example_scores for part in made.splits.values()])
    finally:
        np.random.set_state(state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def raising(error: BaseException) -> Callable[[LiveModel], float]:
    def function(model: LiveModel) -> float:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (ValueError("bad"), "ObjectiveError:ValueError"),
        (KeyError("bad"), "ObjectiveError:KeyError"),
        (SystemExit(3), "ObjectiveError:SystemExit"),
        (ConfigError("bad", where="here", fix="so"), "ObjectiveError:ConfigError"),
        (CandidateError("MyOwn", "bad"), "MyOwn"),
    ],
)
def test_exceptions_fail_the_candidate(classifier: LiveModel, error: BaseException, error_class: str) -> None:
    made = PythonObjective("frail", function=raising(error))
    with pytest.raises(CandidateError) as caught:
        made.evaluate(classifier, None, 0)
    assert caught.value.error_class == error_class


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("cuda"), KeyboardInterrupt()])
def test_memory_and_ctrl_c_are_left_to_the_program(classifier: LiveModel, error: BaseException) -> None:
    made = PythonObjective("a", function=raising(error))
    with pytest.raises(type(error)):
        made.evaluate(classifier, None, 0)


def test_what_comes_back_is_checked(classifier: LiveModel) -> None:
    def short(model: LiveModel, examples: Indices) -> list[float]:
        return [1.0]

    made = PythonObjective("short", function=short, n_examples=10)
    with pytest.raises(CandidateError, match="'short' returned 1 per-example scores for 7 examples"):
        made.evaluate(classifier, made.splits["search"], 0)


def test_a_score_passes_through(classifier: LiveModel) -> None:
    def scored(model: LiveModel) -> Score:
        return Score(0.5, 0.25)

    score = PythonObjective("a", function=scored).evaluate(classifier, None, 0)
    assert (score.value, score.stderr) == (0.5, 0.25)


def needs_examples(model: LiveModel, examples: Indices) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"function": norm, "n_examples": 5}, "no parameter `examples`"),
        ({"function": norm, "split": {"search": 0.5}}, "needs n_examples"),
        ({"function": norm, "arguments": {"x": 1}}, "unexpected keyword argument 'x'"),
        ({"function": by_example, "arguments": {"seed": 1}}, "supplied by the program"),
        ({"function": needs_examples}, "missing a required argument"),
        ({"function": needs_examples, "n_examples": 0}, "at least 1"),
        ({"function": needs_examples, "n_examples": 5, "split": {"search": 2.0}}, "fraction"),
        ({"function": "absent.py:f"}, "does not exist"),
    ],
)
def test_wrong_settings_are_found_at_once(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        PythonObjective("a", **settings)  # type: ignore[arg-type]
    assert "objective 'a'" in caught.value.where


def test_built_ins_without_a_signature_are_called_plainly(classifier: LiveModel) -> None:
    made = PythonObjective("a", function=type("Odd", (), {"__signature__": 3, "__call__": lambda self, model: 2.0})())
    assert made.evaluate(classifier, None, 0).value == 2.0
