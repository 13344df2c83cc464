"""M2N2 as a strategy: what it proposes, whom it keeps, in both kinds of space; the authors' experiment in small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.niches.fields import Field, crossed
from searcher.spaces.base import SpaceContext
from searcher.spaces.niche_boundary import NicheBoundary
from searcher.storage import MemoryStorage
from searcher.strategies.base import Problem, Strategy
from searcher.strategies.factory import make_strategy
from searcher.strategies.natural_niches import NaturalNiches
from tests.toy import LAYOUT, make_study

NICHE = ("split", "ratio", "first", "second")


def problem(names: tuple[str, ...] = NICHE, n_objectives: int = 1, budget: int | None = 100, seed: int = 0) -> Problem:
    return Problem(names, tuple(f"o{i}" for i in range(n_objectives)), budget, seed)


def trial(number: int, *scores: list[float], genome: NDArray[np.float64] | None = None, **more: Any) -> Trial:
    """A trial with example scores; its fitness is their means."""
    examples = tuple(np.array(s, dtype=np.float64) for s in scores)
    fitness = np.array([np.nanmean(s) for s in examples])
    return Trial(number, genome, (), fitness, None, examples, **more)


def test_children_name_two_members_and_draw_split_and_ratio() -> None:
    strategy = NaturalNiches(problem(), warm_up=0)
    strategy.tell([trial(0, [1, 0, 0, 1]), trial(1, [0, 1, 0, 0]), Trial(2, None, error="NonFiniteWeights")])
    proposals = strategy.ask(200)
    assert {p.parents for p in proposals} == {(0, 1), (1, 0)}  # the matchmaker never pairs one with itself
    genomes = np.stack([p.genome for p in proposals])
    for column in (0, 1):
        np.testing.assert_allclose(np.quantile(genomes[:, column], [0.25, 0.75]), [0.25, 0.75], atol=0.1)
    assert not genomes[:, 2:].any()


def test_switches_of_the_ablation() -> None:
    told = [trial(0, [1, 1, 0]), trial(1, [0, 1, 1])]
    whole = NaturalNiches(problem(), warm_up=0, split_point=False)
    whole.tell(told)
    assert not any(p.genome[0] for p in whole.ask(50))
    alone = NaturalNiches(problem(), warm_up=0, matchmaker=False)
    alone.tell(told)
    assert {p.parents for p in alone.ask(100)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    plain = NaturalNiches(problem(("x", "y")), warm_up=0, crossover=False, mutation=0.01)
    plain.tell([trial(i, [1, 0], genome=np.full(2, 0.25 + i / 2)) for i in range(2)])
    genomes = np.stack([p.genome for p in plain.ask(50)])
    assert (np.abs(genomes - np.round((genomes - 0.25) * 2) / 2 - 0.25) < 0.06).all()  # mutated clones
    assert "without matchmaker" in alone.describe()
    assert "without split point" in whole.describe()


def test_the_archive_follows_the_authors_rule() -> None:
    strategy = NaturalNiches(problem(), archive=2, warm_up=0)
    strategy.tell([trial(0, [1, 1, 0]), trial(1, [1, 0, 0]), trial(2, [0, 0, 1])])
    assert strategy.members == (0, 2)  # 1 solves only what 0 solves too
    strategy.tell([trial(2, [0, 0, 1]), trial(3, [0, 0, 0])])
    assert strategy.members == (0, 2)
    genetic_rule = NaturalNiches(problem(), archive=2, warm_up=0, alpha=0.0)
    genetic_rule.tell([trial(0, [1, 1, 0, 0]), trial(1, [1, 1, 0, 0]), trial(2, [0, 0, 1, 0])])
    assert genetic_rule.members == (0, 1)  # without competition the niche is lost


def test_examples_of_several_objectives_stand_side_by_side_with_weights() -> None:
    """Candidate 2 alone solves the only example of the second objective; what it is worth decides who goes."""
    told = [trial(0, [1, 1, 1], [0]), trial(1, [0, 0, 1], [0]), trial(2, [0, 0, 0], [1])]
    by_weights = {}
    for weights in (None, (1.0, 0.1)):
        strategy = NaturalNiches(problem(n_objectives=2), archive=2, warm_up=0, weights=weights)
        strategy.tell(told)
        by_weights[weights] = strategy.members
    assert by_weights == {None: (0, 2), (1.0, 0.1): (0, 1)}


def test_losses_are_raised_and_units_do_not_matter() -> None:
    scores = np.random.default_rng(0).normal(size=(12, 5))
    members = []
    for shift in (0.0, -100.0):
        strategy = NaturalNiches(problem(), archive=4, warm_up=0, subtract_worst=True)
        strategy.tell([trial(i, (row + shift).tolist()) for i, row in enumerate(scores)])
        members.append(strategy.members)
    assert members[0] == members[1]


def test_an_objective_without_examples_is_one_example() -> None:
    strategy = NaturalNiches(problem(n_objectives=2), archive=2, warm_up=0)
    values = [(-3.0, 0.1), (-2.0, 0.0), (-9.0, 0.05)]
    for i, (loss, accuracy) in enumerate(values):
        strategy.tell([Trial(i, None, (), np.array([loss, accuracy]), None, (None, np.full(4, accuracy)))])
    assert strategy.members == (0, 1)
    assert "without example scores, so one example each: o0" in strategy.describe()
    assert "without example scores" not in NaturalNiches(problem()).describe()


def test_unscored_examples_count_as_the_estimate_and_broken_trials_are_left_out() -> None:
    strategy = NaturalNiches(problem(), archive=3, warm_up=0)
    nan = np.nan
    strategy.tell([trial(0, [1, 0, 1, 0]), trial(1, [1, nan, nan, 0], is_estimate=True)])
    assert strategy._archive is not None
    np.testing.assert_array_equal(strategy._archive.scores[1], [1, 0.5, 0.5, 0])
    bad = [
        Trial(2, None, (), np.array([nan]), None, (np.zeros(4),)),
        Trial(3, None, error="X"),
        Trial(4, None, (), np.array([0.5]), None, (np.array([np.inf, 0, 0, 0]),)),
    ]
    strategy.tell(bad)
    assert strategy.members == (0, 1)
    strategy.tell([Trial(5, None, (), np.array([0.75]), None, (None,))])  # its examples were lost
    np.testing.assert_array_equal(strategy._archive.scores[2], np.full(4, 0.75))


def test_warm_up_is_random_and_takes_at_most_a_fifth_of_the_budget() -> None:
    for budget, room in ((100, 18), (40, 8), (None, 18)):
        strategy = NaturalNiches(problem(budget=budget))
        strategy.tell([trial(0, [1, 0]), trial(1, [0, 1])])
        proposals = strategy.ask(30)
        assert [bool(p.parents) for p in proposals] == [i >= room for i in range(30)]
        assert len({tuple(p.genome) for p in proposals}) == 30
    empty = NaturalNiches(problem(), warm_up=0)
    assert empty.ask(1)[0].parents == ()  # nobody to cross


def test_other_genes_are_crossed_and_mutated() -> None:
    strategy = NaturalNiches(problem((*NICHE, "density")), warm_up=0, mutation=0.0)
    known = [np.array([0.1, 0.2, 0.3, 0.4, density]) for density in (0.2, 0.6)]
    strategy.tell([trial(i, [1 - i, i], genome=g) for i, g in enumerate(known)])
    for proposal in strategy.ask(30):
        a, b = (known[i][4] for i in proposal.parents)
        ratio = proposal.genome[1]
        assert proposal.genome[4] == pytest.approx((1 - ratio) * a + ratio * b)
    outside = NaturalNiches(problem((*NICHE, "density")), warm_up=0, mutation=0.0)
    outside.tell([trial(0, [1, 0]), trial(1, [0, 1])])  # baselines without a genome are parents too
    assert np.ptp([p.genome[4] for p in outside.ask(40)]) > 0.3


def test_in_other_spaces_genomes_are_crossed_at_a_split() -> None:
    names = tuple("abcdef")
    strategy = NaturalNiches(problem(names), warm_up=0, mutation=0.0)
    strategy.tell([trial(9, [1, 1]), trial(0, [1, 0], genome=np.zeros(6)), trial(1, [0, 1], genome=np.ones(6))])
    assert strategy.members == (0, 1)  # 9 has no genome
    for proposal in strategy.ask(60):
        assert proposal.parents == ()
        t = np.unique(proposal.genome.round(12))
        assert len(t) <= 2
        assert t.size == 1 or t.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"archive": 1}, {"alpha": -1.0}, {"alpha": float("inf")}, {"warm_up": -1}, {"mutation": -0.1},
        {"weights": (1.0, 1.0)}, {"weights": (0.0,)}, {"weights": (-1.0,)}, {"crossover": False},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        NaturalNiches(problem(), **settings)
    assert f"strategy.{next(iter(settings))}" in str(caught.value)


@pytest.mark.parametrize("strategy", ["natural_niches", "genetic", "map_elites"])
def test_a_run_on_recipes_resumes_where_it_stopped(strategy: str) -> None:
    context = SpaceContext(
        LAYOUT, ("a", "b"), "base", "task_arithmetic", fixed={"lambda": 1.0, "normalize": False},
        prefix_products=lambda p: np.diag([1.0, 0.5, 2.0]) * p,
    )  # fmt: skip
    whole, broken = MemoryStorage(), MemoryStorage()
    make_study(whole, strategy=strategy, n=40, space=NicheBoundary(context)).run()
    for n in (7, 16, 17, 40):
        make_study(broken, strategy=strategy, n=n, space=NicheBoundary(context)).run()
    candidates = list(whole.candidates())
    children = [c for c in candidates if c.parents]
    assert len(children) > 20
    assert any(parent < 4 for c in children for parent in c.parents)  # baselines have children
    for child in children:
        assert child.genome is not None
        parents = [candidates[p].recipe for p in child.parents]
        assert NicheBoundary(context).decode(child.genome, parents) == child.recipe
    found, expected = ([(c.number, c.parents, c.recipe.digest) for c in s.candidates()] for s in (broken, whole))
    assert found == expected


class Digits:
    """Two half-trained networks of a hidden layer, and accuracy per example of any vector of weights."""

    def __init__(self) -> None:
        datasets = pytest.importorskip("sklearn.datasets")
        x, y = datasets.load_digits(return_X_y=True)
        self.x, self.y = x[:600] / 16.0, y[:600]
        self.seeds = [self._trained(self.y < 5, 0), self._trained(self.y >= 5, 1)]

    def logits(self, theta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        hidden = np.maximum(self.x @ theta[:2048].reshape(64, 32) + theta[2048:2080], 0.0)
        return hidden, hidden @ theta[2080:2400].reshape(32, 10) + theta[2400:]

    def scores(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.logits(theta)[1].argmax(axis=1) == self.y, dtype=np.float64)

    def _trained(self, mask: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
        """A few steps of gradient descent on some of the digits."""
        theta = np.random.default_rng(seed).normal(size=2410) * 0.2
        for _ in range(40):
            hidden, logits = self.logits(theta)
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = (p / p.sum(axis=1, keepdims=True) - np.eye(10)[self.y]) * mask[:, None] / mask.sum()
            back = (error @ theta[2080:2400].reshape(32, 10).T) * (hidden > 0)
            gradient = [(self.x.T @ back).ravel(), back.sum(axis=0), (hidden.T @ error).ravel(), error.sum(axis=0)]
            theta = theta - 0.5 * np.concatenate(gradient)
        return theta


def best_of_run(digits: Digits, strategy: Strategy, n: int) -> float:
    """Best accuracy of a search whose candidates are fields over the two seeds' weights."""
    seeds = np.stack(digits.seeds)
    fields = [Field.constant(row, 2410) for row in np.eye(2)]
    told = [Trial(i, None, (), np.array([s.mean()]), None, (s,)) for i, s in enumerate(map(digits.scores, seeds))]
    strategy.tell(told)
    best = max(float(t.fitness[0]) for t in told if t.fitness is not None)
    for number in range(2, n + 2):
        [proposal] = strategy.ask(1)
        child = _child(proposal, fields, seeds)
        theta = (np.repeat(child.rows, np.diff(child.boundaries), axis=0).T * seeds).sum(axis=0)
        scores = digits.scores(theta)
        fields.append(child)
        best = max(best, float(scores.mean()))
        strategy.tell([Trial(number, proposal.genome, proposal.parents, scores.mean(keepdims=True), None, (scores,))])
    return best


def _child(proposal: Proposal, fields: list[Field], seeds: NDArray[np.float64]) -> Field:
    a, b = (fields[p] for p in proposal.parents)
    split = np.array([int(proposal.genome[0] * 2410)])
    return crossed(a, b, split, float(proposal.genome[1]), "spherical", lambda p: seeds[:, :p] @ seeds[:, :p].T)


def test_from_half_trained_experts_the_split_point_carries_the_gain() -> None:
    """Better than every whole-vector mixture; without the split no better than the best of them."""
    digits = Digits()
    line = [
        digits.scores(crossed_whole).mean()
        for w in np.linspace(0, 1, 201)
        for crossed_whole in [_whole(digits.seeds[0], digits.seeds[1], w)]
    ]
    with_split = best_of_run(digits, make_strategy("natural_niches", problem(budget=None), {"warm_up": 0}), 300)
    without = best_of_run(
        digits, make_strategy("natural_niches", problem(budget=None), {"warm_up": 0, "split_point": False}), 300
    )
    assert with_split > max(line) + 0.02
    assert without <= max(line) + 0.005


def _whole(a: NDArray[np.float64], b: NDArray[np.float64], w: float) -> NDArray[np.float64]:
    omega = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.asarray((np.sin((1 - w) * omega) * a + np.sin(w * omega) * b) / np.sin(omega))
