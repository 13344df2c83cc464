"""The loop: order of things, replay, duplicates, failures, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from searcher.candidate import Candidate, Evaluation, Genome, Split
from searcher.errors import ErrorBudgetExceeded, RunError
from searcher.recipe import Recipe
from searcher.sqlite_storage import SqliteStorage
from searcher.storage import MemoryStorage
from searcher.study import Budget
from tests.toy import ToyEvaluator, baselines, content, make_space, make_study

STRATEGIES = ("random", "cma_es", "nsga2", "optuna:TPESampler")


class Killed(BaseException):
    """Stands for a process that ends."""


def test_baselines_come_first_and_the_front_is_held_out_scored_once() -> None:
    storage, evaluator = MemoryStorage(), ToyEvaluator()
    history = make_study(storage, evaluator=evaluator).run()
    assert [c.name for c in history.candidates[:4]] == [name for name, _ in baselines()]
    assert history.n_searched == 60
    held_out = [n for n, split in evaluator.scored if split == "held_out"]
    assert set(held_out) == {*range(4), *history.reported()}
    assert len(held_out) == len(set(held_out))
    make_study(storage, evaluator=evaluator).run()
    assert len(evaluator.scored) == len(set(evaluator.scored))


def test_baselines_inside_the_space_have_genomes() -> None:
    history = make_study(MemoryStorage(), n=10).run()
    assert all(c.genome is not None for c in history.baselines())
    assert not [c for c in history.candidates if c.origin == "seed"]


def test_baselines_that_the_space_changes_become_seeds() -> None:
    history = make_study(MemoryStorage(), n=20, space=make_space("linear")).run()
    assert all(c.genome is None for c in history.baselines())
    seeds = [c for c in history.candidates if c.origin == "seed"]
    assert 1 <= len(seeds) <= 4
    assert all(c.genome is not None and c.recipe.operator == "linear" for c in seeds)


def test_the_best_baselines_that_the_space_contains_become_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others may be better: without a genome they say nothing about where to begin."""
    space = make_space("linear")
    encode = space.encode

    def encode_b(recipe: Recipe) -> Genome | None:
        return encode(recipe) if recipe.coefficients.tolist() == [[0.0, 1.0]] else None

    monkeypatch.setattr(space, "encode", encode_b)
    history = make_study(MemoryStorage(), n=10, space=space).run()
    [seed] = [c for c in history.candidates if c.origin == "seed"]
    assert seed.recipe.coefficients.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_seeds_give_equal_runs(strategy: str) -> None:
    first, second = MemoryStorage(), MemoryStorage()
    make_study(first, strategy=strategy, n=40).run()
    make_study(second, strategy=strategy, n=40).run()
    assert content(first) == content(second)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=6)
@given(stops=st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_a_run_stopped_anywhere_resumes_to_the_same_content(strategy: str, stops: list[int]) -> None:
    whole = MemoryStorage()
    make_study(whole, strategy=strategy, n=40).run()

    storage = MemoryStorage()
    for stop in stops:
        remaining = [stop]

        def kill(event: str, fields: Mapping[str, Any], left: list[int] = remaining) -> None:
            left[0] -= event in ("evaluated", "rescored")
            if left[0] <= 0:
                raise Killed

        with suppress(Killed):  # the last stops may lie beyond the end
            make_study(storage, strategy=strategy, n=40, listeners=[kill]).run()
    make_study(storage, strategy=strategy, n=40).run()
    assert content(storage) == content(whole)


def test_a_longer_budget_continues_the_same_run() -> None:
    long, extended = MemoryStorage(), MemoryStorage()
    make_study(long, n=50).run()
    make_study(extended, n=30).run()
    make_study(extended, n=50).run()
    assert content(extended)[:50] == content(long)[:50]


def test_a_changed_strategy_is_noticed_on_resume() -> None:
    storage = MemoryStorage()
    make_study(storage, strategy="random", n=20).run()
    with pytest.raises(RunError, match="another candidate 4"):
        make_study(storage, strategy="random", n=30, seed=1).run()


def test_identical_recipes_are_scored_once() -> None:
    space, evaluator = make_space(), ToyEvaluator()
    fixed = space.decode(np.full(len(space.names), 0.25))
    space.decode = lambda genome, parents=(): fixed  # type: ignore[method-assign]
    storage = MemoryStorage()
    history = make_study(storage, n=30, evaluator=evaluator, space=space, strategy="random").run()
    assert history.n_searched == 30
    assert len([s for s in evaluator.scored if s[1] == "search"]) == 5  # four baselines and the one point
    copies = [e for e in storage.evaluations() if e.copied_from is not None and e.split == "search"]
    assert {e.copied_from for e in copies} == {4}
    assert len(copies) == 25


def test_failures_are_recorded_and_never_on_the_front() -> None:
    def fails(candidate: Candidate) -> bool:
        return candidate.number % 7 == 5

    storage = MemoryStorage()
    history = make_study(storage, evaluator=ToyEvaluator(fails)).run()
    failed = [e for e in storage.evaluations() if e.error]
    assert {e.error for e in failed} == {"NonFiniteWeights"}
    assert all(not e.scores for e in failed)
    assert not {e.candidate for e in failed} & set(history.front)


def test_too_many_failures_stop_the_run() -> None:
    with pytest.raises(ErrorBudgetExceeded, match="mostly NonFiniteWeights: 3 are NaN"):
        make_study(MemoryStorage(), evaluator=ToyEvaluator(lambda c: c.number % 2 == 1), n=200).run()


def test_a_run_that_only_fails_stops_at_once() -> None:
    evaluator = ToyEvaluator(lambda _: True)
    with pytest.raises(ErrorBudgetExceeded):
        make_study(MemoryStorage(), evaluator=evaluator).run()
    assert len(evaluator.scored) == 5


def test_failures_of_earlier_sessions_count() -> None:
    storage = MemoryStorage()
    for _ in range(3):  # resuming gives no further failures for free
        with pytest.raises(ErrorBudgetExceeded):
            make_study(storage, evaluator=ToyEvaluator(lambda c: c.number > 3), n=200).run()
    assert sum(e.error is not None for e in storage.evaluations()) == 13


def test_a_run_of_nothing_but_failures_does_not_end_well() -> None:
    evaluator = ToyEvaluator(lambda _: True)
    with pytest.raises(ErrorBudgetExceeded):
        make_study(MemoryStorage(), evaluator=evaluator, n=20, budget=Budget(20, None, 1.0)).run()
    assert len(evaluator.scored) == 20


def test_a_failed_last_baseline_does_not_close_the_front() -> None:
    history = make_study(MemoryStorage(), evaluator=ToyEvaluator(lambda c: c.number >= 3), n=4).run()
    assert history.front
    assert history.hypervolume > 0


def test_an_error_budget_of_one_never_stops_a_run_with_some_success() -> None:
    evaluator = ToyEvaluator(lambda c: c.number > 0)
    history = make_study(MemoryStorage(), evaluator=evaluator, budget=Budget(60, None, 1.0)).run()
    assert history.n_searched == 60


@pytest.mark.parametrize("n", [1, 3, 4, 5])
def test_small_budgets_are_kept(n: int) -> None:
    history = make_study(MemoryStorage(), n=n).run()
    assert history.n_searched == n
    assert history.front


def test_a_spent_time_budget_ends_the_search() -> None:
    history = make_study(MemoryStorage(), budget=Budget(None, 1e-9)).run()
    assert history.n_searched == 4  # the baselines


def test_an_evaluator_that_reseeds_global_generators_changes_nothing() -> None:
    class Reseeding(ToyEvaluator):
        @override
        def evaluate(self, candidate: Candidate, split: Split = "search") -> Evaluation:
            np.random.seed(1234)  # noqa: NPY002 - this is the fault under test
            return super().evaluate(candidate, split)

    for strategy in STRATEGIES:
        plain, reseeded = MemoryStorage(), MemoryStorage()
        make_study(plain, strategy=strategy, n=30).run()
        make_study(reseeded, strategy=strategy, n=30, evaluator=Reseeding()).run()
        assert content(plain) == content(reseeded)


def test_sqlite_and_memory_record_the_same(tmp_path: Path) -> None:
    memory = MemoryStorage()
    make_study(memory, n=30).run()
    with SqliteStorage(tmp_path, write=True) as storage:
        storage.write_header({})
        make_study(storage, n=30).run()
        assert content(storage) == content(memory)
