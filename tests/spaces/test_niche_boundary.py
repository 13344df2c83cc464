"""Crossover on recipes equals crossover on weights; where splits fall; what is encoded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.baselines import standard_baselines
from searcher.niches.archive import NicheArchive
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.niche_boundary import NicheBoundary

Vector = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
unit = st.floats(0, 1)
MODELS = ("a", "b", "c")


def layout_of(sizes: Sequence[int]) -> Layout:
    """Tensors of these sizes; two make a block."""
    stops = np.cumsum(sizes).tolist()
    entries = [
        TensorEntry(f"t{i}", (n,), stop - n, n, i // 2, "mlp")
        for i, (n, stop) in enumerate(zip(sizes, stops, strict=True))
    ]
    return Layout(tuple(entries))


class Pool:
    """Weights of a base and three models, and the contexts of the operators on them."""

    def __init__(self, seed: int, sizes: Sequence[int] = (5, 1, 7, 3), scale: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self.layout = layout_of(sizes)
        n = self.layout.n_parameters
        self.base: Vector = rng.normal(size=n)
        self.taus: Vector = scale * rng.normal(size=(3, n)) * rng.choice([1.0, 1e-3], size=(3, 1))

    def context(self, operator: str, *, with_base: bool = True) -> SpaceContext:
        fixed = {"normalize": operator == "linear"} | ({"lambda": 1.0} if operator == "task_arithmetic" else {})
        rows = np.concatenate([self.base[None], self.taus]) if with_base else self.base + self.taus
        base = "base" if with_base else None
        return SpaceContext(
            self.layout, MODELS, base, operator, fixed=fixed, prefix_products=lambda p: rows[:, :p] @ rows[:, :p].T
        )

    def weights(self, recipe: Recipe) -> Vector:
        """The merge of a linear or task-arithmetic recipe in float64."""
        by_name = dict(zip(MODELS, self.base + self.taus, strict=True)) | {"base": self.base}
        rows = np.repeat(recipe.coefficients, np.diff(recipe.boundaries), axis=0).T
        if recipe.operator == "task_arithmetic":
            merged = sum(row * (by_name[name] - self.base) for name, row in zip(recipe.models, rows, strict=True))
            return np.asarray(self.base + recipe.settings["lambda"] * merged)
        if recipe.settings["normalize"]:
            rows = rows / rows.sum(axis=0)
        return np.asarray(sum(row * by_name[name] for name, row in zip(recipe.models, rows, strict=True)))


def crossover(a: Vector, b: Vector, splits: Vector, w: float, interpolation: str) -> Vector:
    """The authors' rule on whole vectors: one angle, t = w before the split and 1 - w behind it."""
    n_behind = (np.arange(a.size)[:, None] >= splits).sum(axis=1)
    t = np.where(n_behind % 2 == 0, w, 1.0 - w)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    omega = np.arccos(np.clip(a @ b / norms, -1, 1)) if norms > 0 else 0.0
    if interpolation == "linear" or np.sin(omega) <= 1e-6:
        return np.asarray((1 - t) * a + t * b)
    return np.asarray((np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega))


def assert_one_ulp(found: Vector, expected: Vector, terms: Sequence[Vector]) -> None:
    """Equal within one float32 unit in the last place of the largest term of each element."""
    largest = np.max(np.abs([*terms, expected]), axis=0).astype(np.float32)
    assert np.all(np.abs(found.astype(np.float32) - expected.astype(np.float32)) <= np.spacing(largest))


CASES = [
    ("task_arithmetic", True, "auto"), ("task_arithmetic", True, "weights"),
    ("linear", True, "auto"), ("linear", False, "auto"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "with_base", "of"), CASES)
@given(
    seed=seeds,
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    n_splits=st.integers(1, 3),
    interpolation=st.sampled_from(["spherical", "linear"]),
)
def test_recipes_cross_as_weights_do(
    operator: str, with_base: bool, of: Any, seed: int, sizes: list[int], n_splits: int, interpolation: Any
) -> None:
    """Five generations: every child's weights are those of the crossover of its parents' weights."""
    pool, rng = Pool(seed, sizes), np.random.default_rng(seed)
    n = pool.layout.n_parameters
    space = NicheBoundary(
        pool.context(operator, with_base=with_base), splits=n_splits, interpolation=interpolation, of=of
    )
    origin = pool.base if operator == "task_arithmetic" and of == "auto" else np.zeros(n)
    known = [recipe for _, recipe in standard_baselines(MODELS, "base" if with_base else None, n)][:5]
    for _ in range(5):
        first, second = (known[i] for i in rng.integers(len(known), size=2))
        genome = rng.random(len(space.names))
        child = space.decode(genome, (first, second))
        a, b = pool.weights(first) - origin, pool.weights(second) - origin
        splits = np.floor(genome[:n_splits] * n)
        expected = origin + crossover(a, b, splits, genome[n_splits], interpolation)
        assert_one_ulp(pool.weights(child), expected, (origin, a, b, pool.base, *pool.taus))
        assert child == child.canonical()
        known.append(child)


@given(seeds, unit, unit)
def test_the_split_at_an_end_and_an_even_mixture(seed: int, ratio: float, split: float) -> None:
    pool = Pool(seed)
    space = NicheBoundary(pool.context("task_arithmetic"))
    a, b = (Recipe("task_arithmetic", MODELS, "base", np.array([0, 16]), np.eye(3)[[k]], {"lambda": 1.0, "normalize": False}) for k in (0, 1))  # fmt: skip

    def child(split: float, ratio: float) -> Recipe:
        return space.decode(np.array([split, ratio, 0.0, 0.0]), (a, b))

    assert child(0.0, 0.0) == b  # the first position lies behind the split: 1 - w = 1
    assert child(0.0, 1.0) == a
    assert child(0.0, ratio).n_segments == 1
    np.testing.assert_allclose(child(0.0, ratio).coefficients, child(0.99, 1.0 - ratio).coefficients[:1], atol=2e-12)
    assert child(split, 0.5) == child(0.0, 0.5)
    swapped = space.decode(np.array([split, 1.0 - ratio, 0.0, 0.0]), (b, a))
    np.testing.assert_allclose(
        pool.weights(swapped), pool.weights(child(split, ratio)), atol=1e-9
    )  # who comes first does not matter


@given(seeds, unit, unit, st.integers(1, 4))
def test_clones_have_clones(seed: int, ratio: float, split: float, n_splits: int) -> None:
    pool = Pool(seed)
    space = NicheBoundary(pool.context("task_arithmetic"), splits=n_splits)
    rng = np.random.default_rng(seed)
    parent = space.decode(rng.random(len(space.names)))
    genome = np.concatenate([np.full(n_splits, split), [ratio, 0.0, 0.0]])
    for parents in ((parent, parent), (parent,)):
        child = space.decode(genome, parents)
        assert child.n_segments <= parent.n_segments
        np.testing.assert_allclose(pool.weights(child), pool.weights(parent), rtol=1e-6, atol=1e-9)


def test_splits_fall_anywhere_or_at_starts_in_proportion_to_size() -> None:
    pool = Pool(0, (10, 30, 40, 20))

    def borders(genes: list[float], **settings: Any) -> list[int]:
        space = NicheBoundary(pool.context("task_arithmetic"), splits=len(genes), **settings)
        found = space.decode(np.array([*genes, 0.25, 0.3, 0.5]))
        inside: list[int] = found.boundaries.tolist()[1:-1]
        return inside

    assert borders([0.255]) == [25]
    assert borders([0.255], snap="tensor") == [10]
    assert borders([0.255], snap="block") == []  # the first block starts at 0
    assert borders([0.45], snap="block") == [40]
    assert borders([1.0]) == [99]
    assert borders([0.7, 0.2]) == [20, 70]
    assert borders([0.5, 0.5]) == []  # two at one place swap back
    rng = np.random.default_rng(0)
    space = NicheBoundary(pool.context("task_arithmetic"), snap="tensor")
    starts = [int(space.decode(np.array([g, 0.25, 0.3, 0.5])).boundaries[1:][0]) for g in rng.random(2000)]
    shares = [np.mean([s == start for s in starts]) for start in (100, 10, 40, 80)]  # 100: the split at 0 has no border
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.4, 0.2], atol=0.03)


@pytest.mark.parametrize(("operator", "with_base"), [("task_arithmetic", True), ("linear", False), ("linear", True)])
@pytest.mark.parametrize("interpolation", ["spherical", "linear"])
def test_baselines_are_in_the_space(operator: str, with_base: bool, interpolation: Any) -> None:
    pool = Pool(1)
    space = NicheBoundary(pool.context(operator, with_base=with_base), interpolation=interpolation)
    n_found = 0
    for name, recipe in standard_baselines(MODELS, "base" if with_base else None, pool.layout.n_parameters):
        known = recipe
        if operator == "linear" and recipe.operator != "linear":
            continue
        known = replace(recipe, settings=space.decode(np.zeros(4)).settings)
        genome = space.encode(known)
        assert genome is not None, name
        assert space.decode(genome) == known
        n_found += 1
    assert n_found == {"task_arithmetic": 13, "linear": 0 if with_base else 4}[operator]


@given(seeds, st.integers(1, 3), st.sampled_from(["spherical", "linear"]), st.sampled_from(["none", "tensor", "block"]))
def test_what_was_decoded_is_encoded(seed: int, n_splits: int, interpolation: Any, snap: Any) -> None:
    pool, rng = Pool(seed, (50, 20, 3, 40, 11)), np.random.default_rng(seed)
    context = replace(pool.context("task_arithmetic"), searched=(SearchedSetting("lines_beta", 0.0, 2.0),))
    space = NicheBoundary(context, splits=n_splits, interpolation=interpolation, snap=snap)
    assert space.names[-4:] == ("ratio", "first", "second", "lines_beta")
    recipe = space.decode(rng.random(len(space.names)))
    genome = space.encode(recipe)
    assert genome is not None
    again = space.decode(genome)
    assert again.settings == pytest.approx(recipe.settings)
    np.testing.assert_array_equal(again.boundaries, recipe.boundaries)
    np.testing.assert_allclose(again.coefficients, recipe.coefficients, atol=1e-9)


def test_a_pair_average_is_linear_not_spherical() -> None:
    pool = Pool(2, scale=0.1)
    for interpolation, is_inside in (("linear", True), ("spherical", False)):
        space = NicheBoundary(pool.context("task_arithmetic"), interpolation=interpolation)  # type: ignore[arg-type]
        average = replace(space.decode(np.zeros(4)), coefficients=np.array([[0.5, 0.0, 0.5]]))
        assert (space.encode(average) is not None) is is_inside


def test_many_generations_stay_small() -> None:
    pool, rng = Pool(3, (1000, 500)), np.random.default_rng(0)
    space = NicheBoundary(pool.context("task_arithmetic"), max_segments=24)
    archive = [space.decode(np.array([0.0, 0.0, 0.3 + 0.2 * k, 0.3 + 0.2 * k])) for k in range(3)]
    for _ in range(200):
        first, second = rng.integers(len(archive), size=2)
        child = space.decode(rng.random(4), (archive[first], archive[second]))
        assert child.n_segments <= 24
        archive = [*archive[-19:], child]


def test_parents_outside_the_operator() -> None:
    """The base of a slerp of two lies between neither; a recipe of other models cannot be a parent."""
    layout = layout_of((4, 4))
    slerp = NicheBoundary(SpaceContext(layout, ("a", "b"), "base", "slerp", interpolates=True))
    baselines = dict(standard_baselines(("a", "b"), "base", 8))
    child = slerp.decode(np.array([0.0, 1.0, 0.0, 0.0]), (baselines["base"], baselines["a"]))
    assert child.coefficients.tolist() == [[0.5, 0.5]]
    child = slerp.decode(np.array([0.5, 0.25, 0.0, 0.0]), (baselines["a"], baselines["b"]))
    assert child.coefficients.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    with pytest.raises(ValueError, match="parent"):
        slerp.decode(np.zeros(4), (Recipe("slerp", ("z",), "base", np.array([0, 8]), np.ones((1, 1))),))
    with pytest.raises(ValueError, match="parameters"):
        slerp.decode(np.zeros(4), (Recipe("slerp", ("a",), "base", np.array([0, 9]), np.ones((1, 1))),))


def test_a_searched_lambda_is_the_childs_own() -> None:
    pool = Pool(4)
    context = replace(
        pool.context("task_arithmetic"), fixed={"normalize": False}, searched=(SearchedSetting("lambda", 0.5, 1.5),)
    )
    space = NicheBoundary(context, interpolation="linear")
    parent = space.decode(np.array([0.0, 1.0, 0.3, 0.3, 1.0]))
    assert parent.settings["lambda"] == 1.5
    child = space.decode(np.array([0.0, 1.0, 0.3, 0.3, 0.0]), (parent, parent))
    assert child.settings["lambda"] == 0.5
    np.testing.assert_array_equal(child.coefficients, parent.coefficients)
    fixed = NicheBoundary(replace(pool.context("task_arithmetic"), fixed={"lambda": 0.5, "normalize": False}))
    one = dict(standard_baselines(MODELS, "base", 16))["b"]
    again = fixed.decode(np.zeros(4), (one, one))
    assert again.coefficients.tolist() == [[0.0, 2.0, 0.0]]  # the same weights at lambda 0.5


def test_of_weights_names_the_base_only_where_its_share_is_not_one() -> None:
    pool = Pool(5)
    space = NicheBoundary(pool.context("task_arithmetic"), of="weights")
    ends = [space.decode(np.array([0.0, 0.0, g, g])) for g in (0.3, 0.5)]
    assert {end.operator for end in ends} == {"task_arithmetic"}
    child = space.decode(np.array([0.5, 0.3, 0.0, 0.0]), ends)
    assert (child.operator, child.models, child.settings["normalize"]) == ("linear", MODELS, False)
    with_base = space.decode(np.array([0.5, 0.3, 0.1, 0.3]))
    assert with_base.models == ("base", *MODELS)
    grandchild = space.decode(np.array([0.5, 0.3, 0.0, 0.0]), (with_base, ends[0]))
    assert grandchild.models == ("base", *MODELS)


@pytest.mark.parametrize(
    "settings",
    [
        {"splits": 0}, {"snap": "layer"}, {"interpolation": "cubic"}, {"max_segments": 1}, {"of": "gradients"},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        NicheBoundary(Pool(0).context("task_arithmetic"), **settings)


def test_operators_that_cannot_be_interpolated_so_are_refused() -> None:
    pool = Pool(0)
    for operator, of in (("ties", "weights"), ("linear", "task_vectors")):
        with pytest.raises(ValueError, match="of: "):
            NicheBoundary(pool.context(operator), of=of)  # type: ignore[arg-type]
    slerp = replace(pool.context("slerp"), interpolates=True, models=("a", "b"))
    with pytest.raises(ValueError, match="itself"):
        NicheBoundary(slerp, of="weights")


def test_description_says_where_and_what() -> None:
    pool = Pool(0)
    text = NicheBoundary(pool.context("task_arithmetic"), splits=2, snap="block").describe()
    assert "2 split points at starts of blocks on 16 parameters" in text
    assert "spherical" in text
    assert "base, a, b, c, all" in text
    without = replace(pool.context("task_arithmetic"), prefix_products=None)
    assert "linear interpolation" in NicheBoundary(without).describe()  # no inner products, no angle


def test_an_archive_of_a_thousand_merges_of_seven_billion_parameters_takes_few_megabytes() -> None:
    """Members are recipes: their number of segments counts, not that of weights."""
    layout = layout_of([131_072_000, *[109_051_904] * 62, 131_072_000])
    assert layout.n_parameters > 7e9 * 0.99
    gram = np.eye(4) + 0.05  # per parameter; inner products grow evenly along the line
    context = SpaceContext(
        layout, MODELS, "base", "task_arithmetic", fixed={"lambda": 1.0}, prefix_products=lambda p: gram * float(p)
    )
    rng = np.random.default_rng(0)
    tracemalloc.start()
    space = NicheBoundary(context)
    members = [space.decode(rng.random(len(space.names))) for _ in range(10)]
    while len(members) < 1000:
        first, second = rng.integers(len(members), size=2)
        members.append(space.decode(rng.random(len(space.names)), (members[first], members[second])))
    archive = NicheArchive(1000, 500)
    for number in range(1000):
        archive.add(number, (rng.random(500) < 0.5).astype(np.float64))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(recipe.n_segments for recipe in members) > 10
    assert used < 100 * 2**20
