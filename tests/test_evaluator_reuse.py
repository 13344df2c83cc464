"""Known scores and chosen examples in the evaluator: less work, the same decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.candidate import Candidate, Evaluation, Origin, Score
from searcher.evaluator import Evaluator
from searcher.item_selection.selection import ItemSelection
from searcher.known_scores import KnownScores
from searcher.merge.live_model import LiveModel
from searcher.racing.race import RaceSettings, Rival
from searcher.recipe import Recipe
from searcher.score_cache import ScoreCache
from searcher.score_key import ScoreKeys

N = 200
SEARCH = slice(0, N)


class Engine:
    """Writes the recipe's coefficient into a model of one weight."""

    def __init__(self) -> None:
        self.n_built = 0

    def build(self, recipe: Recipe) -> LiveModel:
        self.n_built += 1
        return LiveModel(torch.nn.Identity(), torch.tensor([recipe.coefficients[0, 0]]))


class Objective:
    """Example i is right if the weight is above a threshold of its own."""

    name, direction, n_examples, score_range, takes_indices = "x", "maximize", N, (0.0, 1.0), True
    splits = {"search": SEARCH}  # noqa: RUF012
    files = ()

    def __init__(self) -> None:
        self.n_scored = 0
        self._thresholds = np.random.default_rng(0).random(N)

    def evaluate(self, model: LiveModel, examples: Any, seed: int) -> Score:
        values = (float(model.weights[0]) > self._thresholds[examples]).astype(float)
        self.n_scored += values.size
        return self.of_examples(values)

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return Score.from_examples(example_scores)


def candidate(number: int, weight: float, origin: Origin = "strategy") -> Candidate:
    recipe = Recipe("linear", ("a",), None, np.array([0, 1]), np.array([[weight]]))
    return Candidate(number, recipe, None, (), origin)


def made(folder: Path | None, selection: ItemSelection | None = None) -> tuple[Evaluator, Engine, Objective]:
    engine, objective = Engine(), Objective()
    keys = ScoreKeys({}, {"a": "1"}, "a", {"x": {}})
    known = None if folder is None else KnownScores(ScoreCache(folder), keys)
    return Evaluator(engine, [objective], seed=0, known=known, selection=selection), engine, objective  # type: ignore[list-item]


def content(found: Evaluation) -> object:
    score = found.scores["x"]
    return score.value, score.stderr, np.asarray(score.example_scores).tobytes(), found.stopped, found.error


def test_what_is_known_is_neither_built_nor_scored(tmp_path: Path) -> None:
    first = made(tmp_path)[0].evaluate(candidate(3, 0.7))
    evaluator, engine, objective = made(tmp_path)
    assert content(evaluator.evaluate(candidate(5, 0.7))) == content(first)
    assert (engine.n_built, objective.n_scored) == (0, 0)
    evaluator.evaluate(candidate(6, 0.6))
    assert (engine.n_built, objective.n_scored) == (1, N)


def test_a_race_decides_the_same_whatever_is_known(tmp_path: Path) -> None:
    rival = Rival(0, made(None)[0].evaluate(candidate(0, 0.9)).scores)
    settings = RaceSettings(block=16)
    for weight in (0.1, 0.5, 0.95):
        alone = made(None)[0].race(candidate(1, weight), [rival], settings)
        cold = made(tmp_path)[0].race(candidate(1, weight), [rival], settings)
        evaluator, engine, objective = made(tmp_path)
        warm = evaluator.race(candidate(1, weight), [rival], settings)
        assert content(alone) == content(cold) == content(warm)
        assert (engine.n_built, objective.n_scored) == (0, 0)
        evaluator.evaluate(candidate(1, weight))  # and a full score makes the same race
        assert content(evaluator.race(candidate(1, weight), [rival], settings)) == content(alone)


def test_chosen_examples_are_scored_and_decide_the_same_whatever_is_known(tmp_path: Path) -> None:
    def run(folder: Path | None) -> tuple[list[object], int]:
        selection = ItemSelection([Objective()], examples=40, method="anchors", seed=0)  # type: ignore[list-item]
        evaluator, _, objective = made(folder, selection)
        for i, weight in enumerate((0.2, 0.4, 0.5, 0.6, 0.8)):
            evaluator.evaluate(candidate(i, weight, "baseline"))
        objective.n_scored = 0
        return [content(evaluator.evaluate(candidate(9, w))) for w in (0.3, 0.95, 0.7)], objective.n_scored

    (alone, n), (cold, _), (warm, n_warm) = run(None), run(tmp_path), run(tmp_path)
    assert alone == cold == warm
    assert (n, n_warm) == (40 + (40 + N) + 40, 0)


def test_a_broken_candidate_is_not_kept(tmp_path: Path) -> None:
    for _ in range(2):
        evaluator, engine, _ = made(tmp_path)
        engine.build = lambda recipe: LiveModel(torch.nn.Identity(), torch.tensor([float("nan")]))  # type: ignore[method-assign]
        assert evaluator.evaluate(candidate(0, 0.5)).error == "NonFiniteWeights"
    assert not list(tmp_path.rglob("*.0-200"))
