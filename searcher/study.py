"""The loop: baselines, seeds, then ask, decode, build, evaluate, record, tell; at the end re-score the front.

A study is a function of its parts, its seed and its history. What the storage holds already is replayed: the
strategy is asked again (its answers must equal the recorded ones) and told the recorded results in their order.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Candidate, Evaluation, Genome, Origin, Proposal, Score, Split, Trial
from searcher.errors import ErrorBudgetExceeded, RunError
from searcher.history import History, ObjectiveInfo
from searcher.multi_objective.dominance import non_dominated
from searcher.racing.race import Rival
from searcher.recipe import Recipe
from searcher.storage import RunStorage
from searcher.study_parts import SupportsEvaluator, SupportsExecutor, SupportsSpace, SupportsStrategy

MAX_SEEDS = 4  # re-expressed baselines cost evaluations; the best few carry the information
WINDOW = 50  # evaluations over which failures are counted
FIRST = 5  # a run whose first evaluations all fail has a fault that no search will mend

Listener: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Called with an event name and its fields: start, evaluated, rescored, front, finished."""

RaceOne: TypeAlias = Callable[[Candidate, Sequence[Rival]], Evaluation]
"""Scores a candidate on the search examples until it surely cannot join these front members."""


@dataclass(frozen=True)
class Budget:
    """When a run ends.

    Args:
        evaluations: Candidates, baselines, failures and repeated recipes included; None for no limit.
        hours: Wall time of this and earlier sessions of the run; None for no limit.
        errors: Fraction of the last 50 evaluations that may fail.
    """

    evaluations: int | None = None
    hours: float | None = None
    errors: float = 0.2


class Study:
    """Runs a search and resumes whatever the storage holds.

    Args:
        space: Genomes to recipes.
        strategy: Proposes genomes.
        objectives: Names and directions, in the order of the fitness vector.
        evaluator: Scores candidates.
        executor: Where evaluations run.
        storage: The record.
        baselines: Named recipes that are evaluated first.
        budget: When to stop.
        listeners: Told of every step; they cannot change the run.
        wants_examples: Whether the strategy uses per-example scores.
        hours_before: Wall time of earlier sessions of the run.
        race: Scores the strategy's candidates against the front; None scores everything in full.
        earlier: Trials of other runs of the same problem, told to the strategy before anything of this run.
    """

    def __init__(
        self,
        *,
        space: SupportsSpace,
        strategy: SupportsStrategy,
        objectives: Sequence[ObjectiveInfo],
        evaluator: SupportsEvaluator,
        executor: SupportsExecutor,
        storage: RunStorage,
        baselines: Sequence[tuple[str, Recipe]],
        budget: Budget,
        listeners: Sequence[Listener] = (),
        wants_examples: bool = False,
        hours_before: float = 0.0,
        race: RaceOne | None = None,
        earlier: Sequence[Trial] = (),
    ) -> None:
        self.history = History.of(objectives, storage.candidates(), storage.evaluations())
        self._space, self._strategy, self._evaluator = space, strategy, evaluator
        self._executor, self._storage, self._budget = executor, storage, budget
        self._baseline_recipes, self._listeners, self._wants_examples = (
            tuple(baselines),
            tuple(listeners),
            wants_examples,
        )
        recorded = [e.error is not None for e in self.history.evaluations.values() if e.split == "search"]
        self._recent: deque[bool] = deque(recorded, maxlen=WINDOW)
        self._hours_before, self._earlier = hours_before, tuple(earlier)
        self._race, self._rivals = race, dict[int, Rival]()
        self._started = time.monotonic()

    def run(self) -> History:
        """Search until the budget is spent, then re-score the front; safe to call again.

        Raises:
            ErrorBudgetExceeded: If too many evaluations fail.
            RunError: If the record does not replay.
            KeyboardInterrupt: If interrupted; everything recorded is safe.
        """
        n_baselines = len(self._baseline_recipes)
        self._emit("start", evaluations=self.history.n_searched, budget=self._budget.evaluations, baselines=n_baselines)
        self._evaluate_baselines()
        self._evaluate_seeds()
        self._strategy.tell(
            [
                *self._earlier,
                *(
                    self._trial(c.number)
                    for c in self.history.candidates
                    if c.origin != "strategy" and self._is_scored(c.number)
                ),
            ]
        )
        self._replay()
        self._search()
        if self.history.n_searched and not self.history.front:
            raise self._too_many_failures()
        self._rescore()
        self._emit("finished", evaluations=self.history.n_searched, hypervolume=self.history.hypervolume)
        return self.history

    def _evaluate_baselines(self) -> None:
        """Record and score the baselines (as many as the budget allows)."""
        if not self.history.candidates:
            allowed = self._baseline_recipes[: self._budget.evaluations]
            self._admit([self._baseline(i, name, recipe) for i, (name, recipe) in enumerate(allowed)])
        self._evaluate([c for c in self.history.baselines() if not self._is_scored(c.number)])

    def _baseline(self, number: int, name: str, recipe: Recipe) -> Candidate:
        """A baseline; it has a genome only if the space expresses exactly this merge."""
        genome = self._space.encode(recipe)
        if genome is not None and self._space.decode(genome).digest != recipe.digest:
            genome = None
        return Candidate(number, recipe, genome, (), "baseline", name)

    def _evaluate_seeds(self) -> None:
        """Score the best baselines re-expressed in the space, where the space's operator makes them another merge."""
        if all(c.origin == "baseline" for c in self.history.candidates):
            room = (self._budget.evaluations or MAX_SEEDS + self.history.n_searched) - self.history.n_searched
            genomes = self._seed_genomes()[: max(room, 0)]
            first = len(self.history.candidates)
            self._admit([self._candidate(first + i, Proposal(g), "seed") for i, g in enumerate(genomes)])
        self._evaluate([c for c in self.history.candidates if c.origin == "seed" and not self._is_scored(c.number)])

    def _seed_genomes(self) -> list[Genome]:
        """Genomes of the non-dominated ones among the baselines that the space can express only as another merge."""
        scored = [(c, f) for c in self.history.baselines() if (f := self.history.fitness(c.number)) is not None]
        if any(c.genome is not None for c, _ in scored):
            return []
        encoded = [(genome, f) for c, f in scored if (genome := self._space.encode(c.recipe)) is not None]
        if not encoded:
            return []
        best = non_dominated(np.array([f for _, f in encoded]))
        return [genome for (genome, _), kept in zip(encoded, best, strict=True) if kept][:MAX_SEEDS]

    def _replay(self) -> None:
        """Bring the strategy to the state it had when the record ends."""
        for event in self._storage.events():
            if event.kind == "tell":
                self._strategy.tell([self._trial(event.candidate)])
                continue
            proposals = self._strategy.ask(event.requested)
            recorded = self.history.candidates[event.candidate : event.candidate + event.count]
            if len(proposals) != len(recorded) or not all(
                _same(p, c) for p, c in zip(proposals, recorded, strict=True)
            ):
                raise _replay_differs(event.candidate)

    def _search(self) -> None:
        """Ask, evaluate, tell until the budget is spent; candidates asked before an interruption come first."""
        self._evaluate([c for c in self.history.candidates if c.origin == "strategy" and not self._is_scored(c.number)])
        while (room := self._room()) > 0:
            requested = min(self._executor.capacity, room)
            proposals = self._strategy.ask(requested)
            first = len(self.history.candidates)
            candidates = [self._candidate(first + i, p, "strategy") for i, p in enumerate(proposals)]
            self._admit(candidates, requested)
            self._evaluate(candidates)

    def _room(self) -> int:
        """Candidates that may still be evaluated."""
        hours = self._hours_before + (time.monotonic() - self._started) / 3600
        if self._budget.hours is not None and hours >= self._budget.hours:
            return 0
        if self._budget.evaluations is None:
            return self._executor.capacity
        return self._budget.evaluations - self.history.n_searched

    def _candidate(self, number: int, proposal: Proposal, origin: Origin) -> Candidate:
        parents = [self.history.candidates[p].recipe for p in proposal.parents]
        genome: NDArray[np.float64] = np.array(proposal.genome, dtype=np.float64)
        return Candidate(number, self._space.decode(genome, parents), genome, tuple(proposal.parents), origin)

    def _admit(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        for candidate in candidates:
            self.history.add_candidate(candidate)
        if candidates:
            self._storage.record(candidates, requested)

    def _evaluate(self, candidates: Sequence[Candidate]) -> None:
        """Score candidates on the search examples, record each, and tell the strategy of its own."""
        for evaluation in self._executor.map(self._score_once, candidates):
            is_told = self.history.candidates[evaluation.candidate].origin == "strategy"
            self._storage.append(evaluation, told=is_told)
            changed = self.history.add_evaluation(evaluation)
            if is_told:
                self._strategy.tell([self._trial(evaluation.candidate)])
            self._emit("evaluated", evaluation=evaluation, front_changed=changed, history=self.history)
            self._count_failure(evaluation)

    def _score_once(self, candidate: Candidate) -> Evaluation:
        """Scores of a candidate; those of an identical recipe are copied. Only the strategy's candidates race."""
        earlier = self.history.earlier(candidate.recipe.digest)
        if earlier is not None:
            return _copy(self.history.evaluations[earlier, "search"], candidate.number)
        if self._race is None or candidate.origin != "strategy":
            return self._evaluator.evaluate(candidate, "search")
        front = self.history.front
        self._rivals = {n: self._rivals.get(n) or self._rival(n) for n in front}  # kept in memory for the front only
        return self._race(candidate, list(self._rivals.values()))

    def _rival(self, number: int) -> Rival:
        """A front member with its example scores, read back from the storage."""
        examples = self._storage.examples(self._source_of(number), "search")
        scores = self.history.evaluations[number, "search"].scores
        return Rival(number, {n: Score(s.value, s.stderr, examples.get(n)) for n, s in scores.items()})

    def _rescore(self) -> None:
        """Score the leading candidates on the select examples, then what is reported on the held-out ones, once."""
        if "select" in self._evaluator.splits:
            self._score_split(self.history.front, "select")
        if "held_out" in self._evaluator.splits:
            baselines = [c.number for c in self.history.baselines() if self.history.fitness(c.number) is not None]
            self._score_split([*baselines, *self.history.reported()], "held_out")
        self._emit("front", history=self.history)

    def _score_split(self, numbers: Sequence[int], split: Split) -> None:
        by_digest = {self.history.candidates[n].recipe.digest: n for n, s in self.history.evaluations if s == split}
        todo = [n for n in dict.fromkeys(numbers) if (n, split) not in self.history.evaluations and self._is_scored(n)]
        if todo:
            self._emit("rescoring", split=split, candidates=len(todo))
        for number in todo:
            candidate = self.history.candidates[number]
            earlier = by_digest.setdefault(candidate.recipe.digest, number)
            if earlier == number:
                evaluation = self._evaluator.evaluate(candidate, split)
            else:
                evaluation = _copy(self.history.evaluations[earlier, split], number)
            self._storage.append(evaluation)
            self.history.add_evaluation(evaluation)
            self._emit("rescored", evaluation=evaluation, history=self.history)

    def _is_scored(self, number: int) -> bool:
        return (number, "search") in self.history.evaluations

    def _trial(self, number: int) -> Trial:
        """What the strategy is told; per-example scores are read back only if it wants them."""
        examples = self._storage.examples(self._source_of(number), "search") if self._wants_examples else None
        return self.history.trial(number, examples)

    def _source_of(self, number: int) -> int:
        copied = self.history.evaluations[number, "search"].copied_from
        return number if copied is None else copied

    def _count_failure(self, evaluation: Evaluation) -> None:
        """Stop when failures exceed the error budget; a budget of 1 lets everything fail but the whole run."""
        self._recent.append(evaluation.error is not None)
        n_failed = sum(self._recent)
        is_hopeless = n_failed == len(self._recent) >= FIRST and not self.history.front and self._budget.errors < 1
        if evaluation.error is not None and (n_failed > self._budget.errors * WINDOW or is_hopeless):
            raise self._too_many_failures()

    def _too_many_failures(self) -> ErrorBudgetExceeded:
        n_failed = sum(self._recent)
        failed = [e for e in self.history.evaluations.values() if e.error is not None and e.split == "search"][
            -n_failed:
        ]
        (kind, _), *_ = Counter(e.error for e in failed).most_common(1)
        example = next(e for e in reversed(failed) if e.error == kind)
        return ErrorBudgetExceeded(
            f"{n_failed} of the last {len(self._recent)} evaluations failed, mostly {kind}: {example.message}",
            where=f"candidate {example.candidate} of the run (all failures are in log.jsonl)",
            fix="Mend the cause and start again in a new folder with --run DIR; if failures are to be expected, run "
            "`searcher optimize` again with a larger `budget: {errors: ...}`.",
        )

    def _emit(self, event: str, **fields: object) -> None:
        for listener in self._listeners:
            listener(event, fields)


def _copy(evaluation: Evaluation, number: int) -> Evaluation:
    source = evaluation.candidate if evaluation.copied_from is None else evaluation.copied_from
    return replace(evaluation, candidate=number, seconds=0.0, copied_from=source)


def _same(proposal: Proposal, candidate: Candidate) -> bool:
    return (
        candidate.genome is not None
        and np.array_equal(proposal.genome, candidate.genome)
        and tuple(proposal.parents) == candidate.parents
    )


def _replay_differs(number: int) -> RunError:
    return RunError(
        f"Replaying the run, the strategy proposes another candidate {number} than the one recorded.",
        where=f"candidate {number} in run.db",
        fix="Install the package versions listed in the run's config.yaml, or start a new run.",
    )
