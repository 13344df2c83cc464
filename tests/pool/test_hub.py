"""Hub models, offline: the cache is used, and what it lacks is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from searcher.errors import PoolError
from searcher.pool.hub import fetch_snapshot, is_hub_id
from searcher.pool.pool import open_pool

if TYPE_CHECKING:
    from tests.pool.conftest import TinyPool

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_llama_pool: TinyPool) -> Path:
    """A cache that holds ``org/tiny`` in the hub's own form: a snapshot of links to blobs."""
    import huggingface_hub.constants

    folder = tmp_path / "hub"
    repository = folder / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    for part in (repository / "refs", repository / "blobs", snapshot):
        part.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(tiny_llama_pool.base.iterdir())):
        (repository / "blobs" / f"blob{number}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/blob{number}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_cached_model_is_found_with_its_commit(revision: str, cache: Path) -> None:
    folder, origin = fetch_snapshot(f"org/tiny{revision}")
    assert folder == cache / "models--org--tiny" / "snapshots" / COMMIT
    assert origin == f"org/tiny@{COMMIT}"


@pytest.mark.parametrize("hub_id", ["org/other", "org/tiny@v2", "org/bad--name"])
def test_model_outside_the_cache_is_an_error_while_offline(hub_id: str, cache: Path) -> None:
    with pytest.raises(PoolError) as caught:
        fetch_snapshot(hub_id)
    assert caught.value.where == f"model {hub_id}"
    assert str(caught.value).count("\n") == 2


def test_pool_of_a_hub_model_and_a_folder(cache: Path, tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="org/tiny@main", models=["first"], root=tiny_llama_pool.root)
    assert pool.base is not None
    assert pool.base.name == "tiny"
    assert pool.origins == {"tiny": f"org/tiny@{COMMIT}", "first": "first"}
    assert "tiny/model.safetensors" in pool.hashes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", True),
        ("org/name@main", True),
        ("org/na.me-1_b@refs/pr/1", True),
        ("name", False),
        ("./name", False),
        ("../name", False),
        ("/org/name", False),
        ("org/../name", False),
        ("a/b/c", False),
        ("org/name@", False),
        ("org/name name", False),
    ],
)
def test_form_of_hub_ids(text: str, expected: bool) -> None:
    assert is_hub_id(text) is expected
