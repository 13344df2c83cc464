"""Kept scores: bit for bit or not at all, whatever happens to the files."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Score
from searcher.score_cache import ScoreCache

KEY, OTHER = "ab" * 32, "cd" * 32
FIRST = slice(0, 50)
ROOT = Path(__file__).parents[1]


def score(seed: int = 0, n: int = 50) -> Score:
    return Score.from_examples(np.random.default_rng(seed).standard_normal(n))


def same(a: Score | None, b: Score) -> bool:
    if a is None or (a.example_scores is None) != (b.example_scores is None):
        return False
    numbers = np.array([a.value, a.stderr]).tobytes() == np.array([b.value, b.stderr]).tobytes()
    if a.example_scores is None or b.example_scores is None:
        return numbers
    return numbers and a.example_scores.tobytes() == b.example_scores.tobytes()


def entry(cache: ScoreCache) -> Path:
    [path] = [p for p in cache.folder.rglob("*") if p.is_file()]
    return path


def test_what_is_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    assert cache.get(KEY, FIRST) is None
    cache.put(KEY, FIRST, score())
    assert same(cache.get(KEY, FIRST), score())
    assert same(ScoreCache(tmp_path).get(KEY, FIRST), score())  # another run
    assert cache.get(OTHER, FIRST) is None
    assert cache.get(KEY, slice(0, 49)) is None
    assert cache.get(KEY, None) is None


@given(
    value=st.floats(allow_nan=False),
    stderr=st.floats(),
    examples=st.none() | st.lists(st.floats(), max_size=20),
)
def test_every_float_survives(
    tmp_path_factory: pytest.TempPathFactory, value: float, stderr: float, examples: list[float] | None
) -> None:
    kept = Score(value, stderr, None if examples is None else np.array(examples, dtype=np.float64))
    cache = ScoreCache(tmp_path_factory.getbasetemp() / "floats")
    cache.put(KEY, None, kept)
    assert same(cache.get(KEY, None), kept)


def test_what_comes_back_belongs_to_the_caller(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(KEY, FIRST, score())
    found = cache.get(KEY, FIRST)
    assert found is not None
    assert found.example_scores is not None
    found.example_scores[:] = 0
    assert same(cache.get(KEY, FIRST), score())


def test_a_longer_stretch_serves_every_part_of_it(tmp_path: Path) -> None:
    cache, whole = ScoreCache(tmp_path), score()
    cache.put(KEY, slice(10, 60), whole)
    for inside in (slice(10, 60), slice(20, 30), slice(59, 60)):
        found = cache.covering(KEY, inside)
        assert found is not None
        assert found[0] == 10
        assert same(found[1], whole)
    for outside in (slice(9, 20), slice(50, 61), slice(0, 5)):
        assert cache.covering(KEY, outside) is None
    assert cache.covering(OTHER, slice(20, 30)) is None
    cache.put(KEY, slice(10, 40), score(1, 30))
    shorter = cache.covering(KEY, slice(20, 30))
    assert shorter is not None
    assert same(shorter[1], score(1, 30))


def test_a_choice_of_examples_is_an_entry_of_its_own(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(KEY, np.array([3, 5, 9]), score(n=3))
    assert same(cache.get(KEY, np.array([3, 5, 9])), score(n=3))
    assert cache.get(KEY, np.array([3, 5, 8])) is None
    assert cache.get(KEY, np.array([3, 5])) is None
    assert cache.covering(KEY, slice(3, 4)) is None


def test_a_score_without_examples_serves_no_part(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(KEY, FIRST, Score(0.5, 0.1))
    assert cache.covering(KEY, slice(0, 5)) is None
    assert same(cache.get(KEY, FIRST), Score(0.5, 0.1))


def test_a_damaged_long_entry_does_not_hide_a_whole_one(tmp_path: Path) -> None:
    cache, whole = ScoreCache(tmp_path), score()
    cache.put(KEY, slice(0, 10), score(n=10))
    entry(cache).write_bytes(b"torn")
    cache.put(KEY, FIRST, whole)
    found = cache.covering(KEY, slice(0, 10))
    assert found is not None
    assert same(found[1], whole)


def test_no_damage_makes_a_wrong_score(tmp_path: Path) -> None:
    cache, rng = ScoreCache(tmp_path), np.random.default_rng(1)
    cache.put(KEY, FIRST, score())
    path = entry(cache)
    content = path.read_bytes()
    for offset in rng.choice(len(content), 100, replace=False):
        damaged = bytearray(content)
        damaged[offset] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        assert cache.get(KEY, FIRST) is None
        assert cache.covering(KEY, slice(0, 5)) is None
    for length in rng.choice(len(content), 50, replace=False):
        path.write_bytes(content[:length])
        assert cache.get(KEY, FIRST) is None
    path.write_bytes(content + b"x")
    assert cache.get(KEY, FIRST) is None
    cache.put(KEY, FIRST, score())  # rewritten
    assert same(cache.get(KEY, FIRST), score())


def test_a_file_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(KEY, FIRST, score())
    path = entry(cache)
    (tmp_path / OTHER[:2]).mkdir()
    (tmp_path / OTHER[:2] / f"{OTHER}.0-50").write_bytes(path.read_bytes())
    path.rename(path.with_name(f"{KEY}.0-40"))
    assert cache.get(OTHER, FIRST) is None
    assert cache.get(KEY, slice(0, 40)) is None


def test_folders_and_odd_names_in_the_way_are_misses(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    (tmp_path / KEY[:2] / f"{KEY}.0-50").mkdir(parents=True)
    for name in (f"{KEY}.x-y", f"{KEY}.", f"{KEY}.5", f"{KEY}.9-", ".hidden"):
        (tmp_path / KEY[:2] / name).write_bytes(b"?")
    cache.put(KEY, FIRST, score())
    assert cache.get(KEY, FIRST) is None
    assert cache.covering(KEY, slice(0, 2)) is None


def test_a_folder_that_cannot_be_made_makes_misses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ScoreCache(tmp_path / "file" / "scores")
    cache.put(KEY, FIRST, score())
    assert cache.get(KEY, FIRST) is None
    assert cache.covering(KEY, slice(0, 2)) is None


def occupied(folder: Path) -> int:
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


def numbered(i: int) -> str:
    return f"{i:064x}"


def test_old_entries_go_when_the_bound_is_passed(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, max_bytes=20 * 4096)
    for i in range(60):
        cache.put(numbered(i), FIRST, score(i))
        path = tmp_path / numbered(i)[:2] / f"{numbered(i)}.0-50"
        os.utime(path, (1e9 + i, 1e9 + i))
        assert occupied(tmp_path) <= 20 * 4096
        assert same(cache.get(numbered(i), FIRST), score(i))  # which makes it the last used
        os.utime(path, (1e9 + i, 1e9 + i))
    kept = [i for i in range(60) if cache.get(numbered(i), FIRST) is not None]
    assert kept == list(range(min(kept), 60))
    assert len(kept) >= 17


def test_what_was_used_lately_stays(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, max_bytes=10 * 4096)
    for i in range(10):
        cache.put(numbered(i), FIRST, score(i))
        os.utime(tmp_path / "00" / f"{numbered(i)}.0-50", (1e9 + i, 1e9 + i))
    assert cache.get(numbered(0), FIRST) is not None  # used now
    cache.put(numbered(10), FIRST, score(10))
    assert cache.get(numbered(0), FIRST) is not None
    assert cache.get(numbered(1), FIRST) is None


def test_the_bound_counts_what_others_wrote_and_removes_their_leftovers(tmp_path: Path) -> None:
    first = ScoreCache(tmp_path, max_bytes=10 * 4096)
    for i in range(10):
        first.put(numbered(i), FIRST, score(i))
    leftover = tmp_path / "00" / ".entry.1.tmp"
    leftover.write_bytes(b"x" * 5000)
    os.utime(leftover, (1e9, 1e9))
    ScoreCache(tmp_path, max_bytes=10 * 4096).put(numbered(99), FIRST, score())
    assert not leftover.exists()
    assert occupied(tmp_path) <= 10 * 4096


def test_an_entry_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, max_bytes=4096)
    cache.put(KEY, slice(0, 5000), score(n=5000))
    assert list(tmp_path.rglob("*")) == []


WRITER = """
import sys
from pathlib import Path
import numpy as np
from searcher.candidate import Score
from searcher.score_cache import ScoreCache

cache, rng = ScoreCache(Path(sys.argv[1]), max_bytes=40 * 4096), np.random.default_rng(int(sys.argv[2]))
for i in rng.integers(60, size=400):
    key, kept = f"{i:064x}", Score(i / 60, 0.25, np.full(8, i / 7.0))
    found = cache.get(key, slice(0, 8))
    if found is None:
        cache.put(key, slice(0, 8), kept)
    else:
        assert (found.value, found.stderr) == (kept.value, kept.stderr)
        assert found.example_scores.tobytes() == kept.example_scores.tobytes()
"""


def test_processes_that_write_and_remove_at_once_never_see_a_wrong_score(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, str(seed)], cwd=ROOT, stderr=subprocess.PIPE) for seed in range(4)]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr.decode()
    assert not [p for p in tmp_path.rglob("*.tmp")]
    assert occupied(tmp_path) <= 52 * 4096  # each of the four may write a twentieth between two looks
    assert any(
        same(ScoreCache(tmp_path).get(numbered(i), slice(0, 8)), Score(i / 60, 0.25, np.full(8, i / 7.0)))
        for i in range(60)
    )


def test_nan_is_not_turned_into_a_number(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(KEY, FIRST, Score(0.5, math.nan, np.array([math.nan, 1.0])))
    found = cache.get(KEY, FIRST)
    assert found is not None
    assert math.isnan(found.stderr)
    np.testing.assert_array_equal(found.example_scores, [math.nan, 1.0])
