"""Scoring a candidate block by block on the objectives that race."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import EarlyStop, Score, Split
from searcher.errors import CandidateError, ConfigError
from searcher.racing.estimate import paired_estimate
from searcher.racing.race import Lane, Race, RaceSettings, Rival


class Raceable(Protocol):
    """What a race needs of an objective beyond scoring; see :class:`searcher.objectives.base.Objective`."""

    name: str
    direction: str
    score_range: tuple[float, float] | None

    @property
    def n_examples(self) -> int | None:
        """Number of examples."""

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        """Joins per-example scores."""


def find_race(
    objectives: Sequence[Any], rivals: Sequence[Rival], settings: RaceSettings
) -> tuple[Race | None, dict[str, Raceable]]:
    """The race of a candidate, and the objectives that race by name; None if none does or there is no rival.

    An objective races if the range of its example scores is known. A rival takes part if its example scores are
    complete and explain its score exactly, so that scores joined from blocks mean the same.
    """
    lanes = {o.name: o for o in objectives if getattr(o, "score_range", None) is not None and "search" in o.splits}
    fit = [rival for rival in rivals if all(_explains(o, rival) for o in lanes.values())]
    if not lanes or not fit:
        return None, {}
    signs = {o.name: 1.0 if getattr(o, "direction", "maximize") == "maximize" else -1.0 for o in objectives}
    return Race(fit, [_lane(o) for o in lanes.values()], signs, settings), lanes


def _lane(objective: Raceable) -> Lane:
    assert objective.score_range is not None
    sign = 1.0 if objective.direction == "maximize" else -1.0
    return Lane(objective.name, sign, objective.score_range, _length(objective))


def _length(objective: Raceable) -> int:
    return len(_positions(objective))


def _positions(objective: Raceable) -> range:
    """Where the search examples lie."""
    return range(*objective.splits["search"].indices(objective.n_examples or 0))


def _explains(objective: Raceable, rival: Rival) -> bool:
    score = rival.scores.get(objective.name)
    examples = None if score is None else score.example_scores
    if score is None or examples is None or examples.shape != (_length(objective),) or np.isnan(examples).any():
        return False
    _check_range(objective, examples)
    joined = objective.of_examples(examples)
    return bool(np.array_equal([joined.value, joined.stderr], [score.value, score.stderr], equal_nan=True))


class RacedScores:
    """One candidate's scores while it races.

    Args:
        race: Its rivals and rules.
        lanes: The objectives that race, by name.
        score: Scores an objective on a slice of its examples.
    """

    def __init__(self, race: Race, lanes: Mapping[str, Raceable], score: Callable[[Any, slice], Score]) -> None:
        self._race, self._lanes, self._score = race, lanes, score
        self.whole: dict[str, Score] = {}
        self._seen: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in lanes}

    @property
    def names(self) -> frozenset[str]:
        """The objectives that race."""
        return frozenset(self._lanes)

    def run(self) -> tuple[dict[str, Score], EarlyStop | None]:
        """Score block by block; full scores, or estimates and how the candidate was stopped."""
        blocks = list(self._race.blocks())
        for reached in blocks[:-1]:
            if not self._race.is_open(self.whole) or not self._advance(reached):
                break
            if (rival := self._race.beaten_by(self._seen, self.whole)) is not None:
                return self._estimates(rival), self._stop(rival)
        self._advance(blocks[-1])
        joined = {name: self._lanes[name].of_examples(seen) for name, seen in self._seen.items()}
        return {**self.whole, **joined}, None

    def _advance(self, reached: Mapping[str, int]) -> bool:
        """Score up to these counts; False if an example has no score, which no test can judge."""
        for name, stop in reached.items():
            objective, start = self._lanes[name], self._seen[name].size
            if stop > start:
                first = _positions(objective).start
                score = self._score(objective, slice(first + start, first + stop))
                self._seen[name] = np.concatenate([self._seen[name], _block(objective, score, stop - start)])
        return not any(np.isnan(seen).any() for seen in self._seen.values())

    def _estimates(self, rival: Rival) -> dict[str, Score]:
        found = dict(self.whole)
        for name, seen in self._seen.items():
            known = rival.scores[name].example_scores
            bounds = self._lanes[name].score_range
            assert known is not None
            assert bounds is not None
            examples = np.full(known.size, np.nan)
            examples[: seen.size] = seen
            found[name] = Score(*paired_estimate(known, seen, bounds), examples)
        return found

    def _stop(self, rival: Rival) -> EarlyStop:
        scored = {name: seen.size for name, seen in self._seen.items()}
        return EarlyStop("race", scored, rival.number)


def _block(objective: Raceable, score: Score, n: int) -> NDArray[np.float64]:
    examples = score.example_scores
    if examples is None or examples.shape != (n,):
        raise ConfigError(
            f"Objective {objective.name!r} gave no score for each of {n} examples.",
            where=f"objective {objective.name!r}",
            fix="Let it return per-example scores for any slice, or set its score_range to None so that it does not race.",
        )
    if np.isinf(examples).any():
        raise CandidateError("NonFiniteScore", f"Objective {objective.name!r} gave an example an infinite score.")
    _check_range(objective, examples)
    return np.asarray(examples, dtype=np.float64)


def _check_range(objective: Raceable, examples: NDArray[np.float64]) -> None:
    assert objective.score_range is not None
    low, high = objective.score_range
    outside = examples[(examples < low) | (examples > high)]
    if outside.size:
        raise ConfigError(
            f"Objective {objective.name!r} scored an example {outside[0]:g}, outside its range {low:g} ... {high:g}.",
            where=f"objective {objective.name!r}, score_range",
            fix="Correct the range that the objective declares; racing relies on it.",
        )
