"""The archive's invariants: what competition pays, who attracts whom, who goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.niches.archive import NicheArchive

Scores = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
alphas = st.sampled_from([0.0, 0.5, 1.0, 2.0])


def random_scores(seed: int, n: int, n_examples: int, *, binary: bool = True) -> Scores:
    rng = np.random.default_rng(seed)
    values = rng.random((n, n_examples))
    return (values < rng.random((n, 1))).astype(np.float64) if binary else values


def archive_of(scores: Scores, **settings: object) -> NicheArchive:
    archive = NicheArchive(len(scores), scores.shape[1], **settings)  # type: ignore[arg-type]
    for member, row in enumerate(scores):
        assert archive.add(member, row) is None
    return archive


def authors_fitness(scores: Scores, alpha: float) -> Scores:
    """Shared fitness written out from the paper, with the code's rule for examples that nobody solves."""
    crowding = scores.sum(axis=0)
    crowding[crowding == 0] = 1.0
    fitness: Scores = (scores / crowding**alpha).sum(axis=1)
    return fitness


@given(seeds, st.integers(1, 8), st.integers(1, 30), alphas, st.booleans())
def test_shared_fitness_is_the_papers(seed: int, n: int, n_examples: int, alpha: float, binary: bool) -> None:
    scores = random_scores(seed, n, n_examples, binary=binary)
    archive = archive_of(scores, alpha=alpha)
    np.testing.assert_allclose(archive.fitness(), authors_fitness(scores, alpha), rtol=1e-12)
    graded = archive_of(scores, alpha=alpha, graded=True)
    crowding, best = scores.sum(axis=0), scores.max(axis=0)
    expected = (scores * best / np.where(crowding > 0, crowding, 1.0) ** alpha).sum(axis=1)
    np.testing.assert_allclose(graded.fitness(), expected, rtol=1e-12)
    np.testing.assert_allclose(archive.totals(), scores.mean(axis=1))


@given(seeds, st.integers(1, 8), st.integers(1, 30))
def test_without_competition_fitness_is_the_sum_and_with_it_every_solved_example_pays_once(
    seed: int, n: int, n_examples: int
) -> None:
    scores = random_scores(seed, n, n_examples)
    np.testing.assert_array_equal(archive_of(scores, alpha=0.0).fitness(), scores.sum(axis=1))
    solved = np.count_nonzero(scores.any(axis=0))
    assert archive_of(scores).fitness().sum() == pytest.approx(solved)


@given(seeds, st.integers(1, 8), st.integers(1, 30), alphas, st.booleans())
def test_nobody_is_attracted_by_itself_a_clone_or_less(
    seed: int, n: int, n_examples: int, alpha: float, binary: bool
) -> None:
    scores = random_scores(seed, n, n_examples, binary=binary)
    less = scores[0] * random_scores(seed + 1, 1, n_examples)[0]
    archive = archive_of(np.concatenate([scores, scores[:1], less[None]]), alpha=alpha)
    attraction = archive.attraction(0)
    assert attraction[0] == attraction[n] == attraction[n + 1] == 0.0
    assert (attraction >= 0.0).all()


def test_a_unique_solver_offers_the_whole_example() -> None:
    scores = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(archive_of(scores).attraction(0), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(archive_of(scores).attraction(1), [0.5, 0.0, 0.5])
    weighted = archive_of(scores, weights=np.array([1.0, 3.0, 2.0]))
    np.testing.assert_array_equal(weighted.attraction(0), [0.0, 3.0, 0.0])
    np.testing.assert_allclose(weighted.fitness(), [1 / 3 + 1, 1 / 3 + 3, 1 / 3 + 1])


@given(seeds, st.integers(1, 6), st.integers(1, 20), alphas, st.booleans(), st.booleans())
def test_who_goes_has_the_least_shared_fitness_the_newcomers_scores_counting(
    seed: int, n: int, n_examples: int, alpha: float, binary: bool, graded: bool
) -> None:
    scores = random_scores(seed, n + 15, n_examples, binary=binary)
    archive = archive_of(scores[:n], alpha=alpha, graded=graded)
    members = list(range(n))
    for newcomer in range(n, n + 15):
        rows = scores[[*members, newcomer]]
        fitness = archive_of(rows, alpha=alpha, graded=graded).fitness()
        removed = archive.add(newcomer, scores[newcomer])
        slot = [*members, newcomer].index(removed)  # type: ignore[arg-type]
        assert fitness[slot] <= fitness.min() * (1 + 1e-12)
        if slot < n:
            members[slot] = newcomer
        assert archive.members == tuple(members)
        np.testing.assert_array_equal(archive.scores, scores[members])
        np.testing.assert_allclose(
            archive.fitness(), archive_of(scores[members], alpha=alpha, graded=graded).fitness(), rtol=1e-12
        )


@given(seeds, st.integers(2, 8), st.integers(1, 30))
def test_a_duplicate_never_raises_the_fitness_of_its_original(seed: int, n: int, n_examples: int) -> None:
    scores = random_scores(seed, n, n_examples, binary=False)
    before = archive_of(scores).fitness()
    after = archive_of(np.concatenate([scores, scores[:1]])).fitness()
    assert after[0] <= before[0]


@given(seeds, st.integers(1, 8), st.integers(1, 30))
def test_replacement_never_lowers_the_fitness_of_the_niches(seed: int, n: int, n_examples: int) -> None:
    """With alpha 1, what all are paid is the number of solved examples; who goes is paid least of the P + 1."""
    scores = random_scores(seed, n + 10, n_examples)
    archive = archive_of(scores[:n])
    for newcomer in range(n, n + 10):
        with_all = authors_fitness(np.concatenate([archive.scores, scores[newcomer : newcomer + 1]]), 1.0)
        archive.add(newcomer, scores[newcomer])
        assert archive.fitness().sum() >= with_all.sum() - with_all.min() - 1e-9


@given(seeds, st.integers(1, 6), st.integers(1, 20))
def test_the_authors_rows_of_zeros_and_room_are_equivalent(seed: int, capacity: int, n_examples: int) -> None:
    """Their archive begins with P zero rows; the multiset of rows with a score is the same as here."""
    scores = random_scores(seed, 12, n_examples)
    archive, theirs = NicheArchive(capacity, n_examples), np.zeros((capacity, n_examples))
    for member, row in enumerate(scores):
        archive.add(member, row)
        extended = np.concatenate([theirs, row[None]])
        fitness = authors_fitness(extended, 1.0)
        near = np.flatnonzero(fitness <= fitness.min() + 1e-9)
        assume(len({tuple(extended[i]) for i in near}) == 1)  # ties of unequal rows hang on a rounding
        if (worst := int(np.argmin(fitness))) < capacity:
            theirs[worst] = row
        ours = archive.scores[archive.scores.any(axis=1)]
        assert sorted(map(tuple, ours)) == sorted(tuple(r) for r in theirs if r.any())


def test_the_first_of_equals_goes() -> None:
    archive = archive_of(np.ones((3, 4)))
    assert archive.add(3, np.ones(4)) == 0
    assert archive.members == (3, 1, 2)
    assert archive.add(4, np.zeros(4)) == 4  # worse than all


def test_whole_sums_do_not_drift_and_fractions_are_summed_anew() -> None:
    scores = random_scores(7, 500, 37)
    archive = archive_of(scores[:5])
    for member in range(5, 500):
        archive.add(member, scores[member] if member < 400 else scores[member] / 3)
        expected = authors_fitness(np.array(archive.scores), 1.0)
        np.testing.assert_allclose(archive.fitness(), expected, rtol=1e-13)


def test_subtracting_the_worst_lets_a_flat_objective_discriminate() -> None:
    scores = np.array([[0.9, 0.0], [0.91, 1.0], [0.9, 0.0]])
    np.testing.assert_allclose(archive_of(scores, subtract_worst=True).fitness(), [0.0, 2.0, 0.0])
    only_first = archive_of(scores * [1.0, 0.25] + [0.0, 0.5], alpha=0.0, rescale=np.array([True, False]))
    np.testing.assert_allclose(only_first.fitness(), [0.5, 1.75, 0.5])
    assert archive_of(np.ones((2, 1)), rescale=np.array([True])).fitness().tolist() == [0.0, 0.0]
    assert archive_of(scores[:1], subtract_worst=True).fitness() == [0.0]


def test_raised_scores_are_as_if_added_so() -> None:
    scores = random_scores(3, 5, 4, binary=False)
    archive, by = archive_of(scores), np.array([0.0, 1.5, 0.0, 2.0])
    archive.raise_scores(by)
    np.testing.assert_allclose(archive.fitness(), archive_of(scores + by).fitness())
    np.testing.assert_allclose(archive.attraction(2), archive_of(scores + by).attraction(2))
    with pytest.raises(ValueError, match="not negative"):
        archive.raise_scores(-by)


def test_parents_are_drawn_in_proportion() -> None:
    scores = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    archive, rng = archive_of(scores), np.random.default_rng(0)
    pairs = [archive.pick_parents(rng) for _ in range(3000)]
    assert set(pairs) == {(0, 1), (1, 0)}  # the third is never drawn, and nobody with itself
    assert np.mean([a == 0 for a, _ in pairs]) == pytest.approx(2 / 3, abs=0.03)
    alike = [archive.pick_parents(rng, matchmaker=False) for _ in range(3000)]
    assert np.mean([pair == (0, 0) for pair in alike]) == pytest.approx(4 / 9, abs=0.03)


def test_draws_where_nothing_decides() -> None:
    rng = np.random.default_rng(0)
    clones = archive_of(np.ones((3, 2)))
    pairs = {clones.pick_parents(rng) for _ in range(300)}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}
    nothing = archive_of(np.zeros((3, 2)))
    assert {nothing.pick_parents(rng) for _ in range(300)} == pairs
    alone = archive_of(np.zeros((1, 2)))
    assert alone.pick_parents(rng) == alone.pick_parents(rng, matchmaker=False) == (0, 0)
    with pytest.raises(ValueError, match="empty"):
        NicheArchive(2, 2).pick_parents(rng)


def test_wrong_arguments_are_refused() -> None:
    for capacity, n_examples, alpha in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, -1.0), (1, 1, float("nan"))):
        with pytest.raises(ValueError, match="Expected"):
            NicheArchive(capacity, n_examples, alpha=alpha)
    with pytest.raises(ValueError, match="weights"):
        NicheArchive(2, 3, weights=np.ones(2))
    archive = NicheArchive(2, 3)
    for scores in (np.ones(2), np.array([1.0, np.nan, 0.0]), np.array([1.0, -1.0, 0.0]), np.array([np.inf, 0, 0])):
        with pytest.raises(ValueError, match="scores"):
            archive.add(0, scores)
    assert len(archive) == 0
    with pytest.raises(ValueError, match="read-only"):
        archive.scores[...] = 1.0


def test_the_callers_scores_are_copied() -> None:
    row = np.ones(3)
    archive = NicheArchive(2, 3)
    archive.add(0, row)
    row[:] = 0.0
    assert archive.fitness().tolist() == [3.0]
