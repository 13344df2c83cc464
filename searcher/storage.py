"""The record of a run: candidates, evaluations, and the order of asks and tells.

``SqliteStorage`` (``searcher/sqlite_storage.py``) keeps it in a run folder; ``MemoryStorage`` forgets it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from searcher.candidate import Candidate, Evaluation, Split
from searcher.errors import RunError


@dataclass(frozen=True)
class Event:
    """One step of the conversation with the strategy.

    Args:
        kind: ``ask`` or ``tell``.
        candidate: First candidate asked, or the candidate told.
        requested: Size of the request (asks only).
        count: Number of candidates it concerns.
    """

    kind: Literal["ask", "tell"]
    candidate: int
    requested: int = 1
    count: int = 1


class RunStorage(ABC):
    """Where a run is recorded. One writer; evaluations are durable when ``append`` returns."""

    header: dict[str, Any]

    @abstractmethod
    def record(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        """Note new candidates; ``requested > 0`` says that a strategy was asked for that many.

        They become durable with the next ``append``.
        """

    @abstractmethod
    def append(self, evaluation: Evaluation, *, told: bool = False) -> None:
        """Record an evaluation, durable on return; ``told`` says that the strategy learns of it now.

        Raises:
            RunError: If it cannot be written (disk full) or this candidate already has one for this split.
        """

    @abstractmethod
    def candidates(self) -> Iterator[Candidate]:
        """All candidates by number."""

    @abstractmethod
    def evaluations(self) -> Iterator[Evaluation]:
        """All evaluations in recorded order; example scores may be left out (see ``examples``)."""

    @abstractmethod
    def events(self) -> Iterator[Event]:
        """Asks and tells in recorded order."""

    @abstractmethod
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Per-example scores by objective name; empty if there are none."""


class MemoryStorage(RunStorage):
    """A run that is forgotten with the process; for tests and benchmarks."""

    def __init__(self, header: Mapping[str, Any] | None = None) -> None:
        self.header = dict(header or {})
        self._candidates: list[Candidate] = []
        self._evaluations: dict[tuple[int, Split], Evaluation] = {}
        self._events: list[Event] = []

    @override
    def record(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        self._candidates += candidates
        if requested:
            self._events.append(Event("ask", candidates[0].number, requested, len(candidates)))

    @override
    def append(self, evaluation: Evaluation, *, told: bool = False) -> None:
        key = (evaluation.candidate, evaluation.split)
        if key in self._evaluations:
            raise recorded_twice(evaluation)
        self._evaluations[key] = evaluation
        if told:
            self._events.append(Event("tell", evaluation.candidate))

    @override
    def candidates(self) -> Iterator[Candidate]:
        return iter(list(self._candidates))

    @override
    def evaluations(self) -> Iterator[Evaluation]:
        return iter(list(self._evaluations.values()))

    @override
    def events(self) -> Iterator[Event]:
        return iter(list(self._events))

    @override
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        evaluation = self._evaluations.get((candidate, split))
        scores = {} if evaluation is None else evaluation.scores
        return {name: s.example_scores for name, s in scores.items() if s.example_scores is not None}


def recorded_twice(evaluation: Evaluation) -> RunError:
    """The error for a second evaluation of the same candidate and split."""
    return RunError(
        f"Candidate {evaluation.candidate} already has a {evaluation.split} evaluation.",
        where="run.db, table evaluations",
        fix="This is a defect of searcher; please report it with the run's log.jsonl.",
    )
