"""A candidate's race against the front: when its examples are looked at, and which rival has beaten it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.racing.evidence import log_evidence


@dataclass(frozen=True)
class RaceSettings:
    """When a candidate is stopped.

    Args:
        error: Probability that a candidate that would have reached the front is stopped, in (0, 1).
        block: Examples between two looks, of the objective that has most; the others keep pace.
        margin: A candidate must better a rival by more than this in some objective to count as reaching the front,
            as a share of the objective's score range.
    """

    error: float = 0.05
    block: int = 32
    margin: float = 0.0


@dataclass(frozen=True, eq=False)
class Rival:
    """A member of the front, scored on all search examples.

    Args:
        number: Candidate number.
        scores: By objective name, with per-example scores where the objective has them.
    """

    number: int
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Lane:
    """An objective whose examples are scored in blocks.

    Args:
        name: The objective's name.
        sign: Factor from score to fitness.
        score_range: Lowest and highest score an example can have.
        n_examples: Number of search examples.
    """

    name: str
    sign: float
    score_range: tuple[float, float]
    n_examples: int

    @property
    def best(self) -> float:
        """The highest fitness an example can have."""
        return max(self.sign * bound for bound in self.score_range)

    @property
    def width(self) -> float:
        """Width of the score range."""
        return self.score_range[1] - self.score_range[0]


class Race:
    """One race; what it decides depends on its arguments alone.

    A rival has beaten the candidate if the candidate is not better in any objective: in each lane by a sequential
    test, elsewhere by the full score. To stop a candidate that no rival beats, one given rival must be wrongly
    accepted in an objective in which the candidate is better, whichever it is: the error need not be divided
    over objectives (an intersection-union test). It is divided over the rivals.

    Args:
        rivals: The front, at least one; each with an example score for every example of every lane.
        lanes: The objectives that race, at least one.
        signs: Factor from score to fitness of all objectives, by name.
        settings: Error rate, block and margin.
    """

    def __init__(
        self, rivals: Sequence[Rival], lanes: Sequence[Lane], signs: Mapping[str, float], settings: RaceSettings
    ) -> None:
        self.rivals, self.lanes = tuple(rivals), tuple(lanes)
        self._signs, self._settings = signs, settings
        self._threshold = math.log(len(rivals) / settings.error)
        self._fitness = {  # (n_rivals, N)
            lane.name: np.array([lane.sign * _examples(rival, lane) for rival in rivals]) for lane in lanes
        }

    def blocks(self) -> Iterator[Mapping[str, int]]:
        """How many examples of each lane are scored at each look; all of them at the last."""
        longest = max(lane.n_examples for lane in self.lanes)
        for reached in range(self._settings.block, longest + self._settings.block, self._settings.block):
            share = min(reached, longest)
            yield {lane.name: -(-lane.n_examples * share // longest) for lane in self.lanes}

    def beaten_by(self, seen: Mapping[str, NDArray[np.float64]], whole: Mapping[str, Score]) -> Rival | None:
        """The rival that surely keeps the candidate off the front, if there is one.

        Args:
            seen: The candidate's scores so far by lane, in the common order.
            whole: Its full scores in all other objectives.
        """
        leads = self._leads(seen)
        ahead = np.flatnonzero((leads >= 0) & self._not_behind(whole))  # others have no evidence, which costs more
        order = np.argsort(-leads[ahead], kind="stable")  # the clearest first: most races end there
        found = (int(i) for i in ahead[order] if self._is_beaten(int(i), seen))
        number = next(found, None)
        return None if number is None else self.rivals[number]

    def is_open(self, whole: Mapping[str, Score]) -> bool:
        """Whether any rival can still win, given the full scores in the objectives that do not race."""
        return bool(self._not_behind(whole).any())

    def _not_behind(self, whole: Mapping[str, Score]) -> NDArray[np.bool_]:
        """Rivals that no full score of the candidate exceeds, shape ``(n_rivals,)``."""
        found = np.ones(len(self.rivals), dtype=np.bool_)
        for name, score in whole.items():
            sign = self._signs[name]
            found &= np.array([sign * rival.scores[name].value >= sign * score.value for rival in self.rivals])
        return found

    def _leads(self, seen: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """By how much each rival leads where it leads least, as a share of the score range, margin included."""
        leads = [
            (self._fitness[lane.name][:, : seen[lane.name].size] - lane.sign * seen[lane.name]).mean(axis=1)
            / lane.width
            for lane in self.lanes
        ]
        least: NDArray[np.float64] = np.min(leads, axis=0) + self._settings.margin
        return least

    def _is_beaten(self, rival: int, seen: Mapping[str, NDArray[np.float64]]) -> bool:
        return all(
            log_evidence(
                self._fitness[lane.name][rival],
                lane.sign * seen[lane.name],
                lane.best,
                margin=self._settings.margin * lane.width,
            )[-1]
            >= self._threshold
            for lane in self.lanes
        )


def _examples(rival: Rival, lane: Lane) -> NDArray[np.float64]:
    examples = rival.scores[lane.name].example_scores
    assert examples is not None
    return examples
