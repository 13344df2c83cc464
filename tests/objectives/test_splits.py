"""Splits: disjoint, covering, stratified, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.candidate import SPLITS, Split
from searcher.errors import ConfigError
from searcher.objectives.splits import SplitSettings, shuffled_order, split_examples

FRACTIONS = st.tuples(st.integers(1, 60), st.integers(0, 20), st.integers(0, 20))


def settings_of(percent: tuple[int, int, int]) -> dict[Split, float]:
    return {s: p / 100 for s, p in zip(SPLITS, percent, strict=True) if p}


@given(n=st.integers(100, 700), percent=FRACTIONS, n_classes=st.integers(0, 12), seed=st.integers(0, 99))
def test_splits_are_disjoint_slices_that_cover_what_was_asked(
    n: int, percent: tuple[int, int, int], n_classes: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(n_classes, size=n) if n_classes else None
    wanted = settings_of(percent)
    found = split_examples(n, wanted, labels=labels)
    assert len(set(found.order.tolist())) == found.order.size == found.n_examples
    assert found.order.min() >= 0
    assert found.order.max() < n
    position = 0
    for name, fraction in wanted.items():
        part = found.slices[name]
        assert part.start == position
        assert abs((part.stop - part.start) - fraction * n) <= 1
        position = part.stop
    assert position == found.n_examples


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), percent=FRACTIONS, seed=st.integers(0, 99))
def test_every_class_has_its_share_of_every_split(counts: list[int], percent: tuple[int, int, int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n = labels.size
    wanted = settings_of(percent)
    assume(min(wanted.values()) * n > 1)  # a split of no example is an error
    found = split_examples(n, wanted, labels=labels)
    for part in found.slices.values():
        chosen = labels[found.order[part]]
        for label, count in enumerate(counts):
            share = count * chosen.size / n
            assert abs(np.count_nonzero(chosen == label) - share) <= 1 + len(counts) * count / n + 1e-9


def test_everything_is_used_when_the_fractions_sum_to_one() -> None:
    found = split_examples(287, {"search": 0.6, "select": 0.1, "held_out": 0.3})
    assert sorted(found.order.tolist()) == list(range(287))
    assert found.slices == {"search": slice(0, 172), "select": slice(172, 201), "held_out": slice(201, 287)}


def test_default_is_seventy_to_thirty() -> None:
    assert split_examples(200, None).slices == {"search": slice(0, 140), "held_out": slice(140, 200)}


def test_the_search_examples_do_not_depend_on_the_other_splits() -> None:
    alone = split_examples(90, {"search": 0.5})
    both = split_examples(90, {"held_out": 0.2, "search": 0.5})
    np.testing.assert_array_equal(alone.order, both.order[both.slices["search"]])


def test_global_generators_have_no_say_and_are_left_alone() -> None:
    np.random.seed(1)  # noqa: NPY002 - the very thing that must not matter
    first = shuffled_order(40)
    state = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(shuffled_order(40), first)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002


def test_the_order_never_changes_between_releases() -> None:
    assert shuffled_order(8).tolist() == [2, 0, 5, 7, 4, 6, 3, 1]


def write_text(path: Path, indices: list[int]) -> None:
    path.write_text("\n".join(map(str, indices)), encoding="utf-8")


def write_npy(path: Path, indices: list[int]) -> None:
    np.save(path, np.array(indices))


@pytest.mark.parametrize(("suffix", "write"), [(".txt", write_text), (".npy", write_npy)])
def test_index_files_keep_their_order(tmp_path: Path, suffix: str, write: Callable[[Path, list[int]], None]) -> None:
    write(tmp_path / f"a{suffix}", [7, 2, 5])
    write(tmp_path / f"b{suffix}", [0, 9])
    found = split_examples(10, {"held_out": Path(f"b{suffix}"), "search": Path(f"a{suffix}")}, root=tmp_path)
    assert found.order.tolist() == [7, 2, 5, 0, 9]
    assert found.slices == {"search": slice(0, 3), "held_out": slice(3, 5)}
    assert set(found.files) == {tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"}


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("0 1 2", "2 3", "another split"),
        ("0 1 1", "3", "listed twice"),
        ("0 10", "3", "outside"),
        ("0 -1", "3", "outside"),
        ("", "3", "at least one index"),
        ("0 1.5", "3", "Cannot read"),
        ("zero", "3", "Cannot read"),
    ],
)
def test_bad_index_files(tmp_path: Path, first: str, second: str, problem: str) -> None:
    (tmp_path / "a.txt").write_text(first, encoding="utf-8")
    (tmp_path / "b.txt").write_text(second, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        split_examples(10, {"search": Path("a.txt"), "held_out": Path("b.txt")}, root=tmp_path)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.int64), np.array([0.0, 1.0]), np.array([None, 1]), np.array([True, False])]
)
def test_bad_index_arrays(tmp_path: Path, array: NDArray[np.generic]) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ConfigError):
        split_examples(10, {"search": tmp_path / "a.npy"})


@pytest.mark.parametrize(
    "split",
    [
        {"search": 0.8, "held_out": 0.3},
        {"search": 0.0},
        {"search": -0.1},
        {"search": 1.5},
        {"search": float("nan")},
        {"search": True},
        {"held_out": 0.5},
        {},
        {"search": 0.5, "train": 0.5},
        {"search": 0.99, "held_out": 0.001},
        {"search": 0.5, "held_out": Path("a.txt")},
        {"search": Path("missing.txt")},
    ],
)
def test_bad_splits_are_config_errors_in_three_lines(split: SplitSettings) -> None:
    with pytest.raises(ConfigError) as caught:
        split_examples(20, split, where="objective 'low', split")
    assert str(caught.value).count("\n") == 2
    assert "objective 'low', split" in caught.value.where
