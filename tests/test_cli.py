"""The command line as a user meets it: exit codes, three-line errors, JSON, interruption; on the real pool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from searcher import cli

ROOT = Path(__file__).parents[1]
QUICKSTART = "configs/quickstart.yaml"


def searcher(*arguments: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "searcher.cli", *arguments]
    return subprocess.run(
        command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, **options
    )


def assert_three_lines(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  where: ")
    assert lines[2].startswith("  what to do: ")
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart, shortened, through the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = searcher("optimize", QUICKSTART, "--run", str(folder), "--evaluations", "40", "--set", "seed=1")
    assert done.returncode == 0, done.stderr
    assert "re-loaded and re-scored" in done.stdout
    assert "candidate 1 (low)" in done.stdout
    return folder


def test_the_run_folder_is_complete(run: Path) -> None:
    for name in ("run.db", "config.yaml", "front.json", "report.html", "log.jsonl", "export/knee/manifest.json"):
        assert (run / name).is_file(), name
    front = json.loads((run / "front.json").read_text())
    assert front["evaluations"] == 40
    assert len(front["baselines"]) == 14
    assert all(set(p["held_out"]) == {"low", "high", "noisy"} for p in front["points"])
    knee = [p for p in front["points"] if "knee" in p["tags"]]
    manifest = json.loads((run / "export" / "knee" / "manifest.json").read_text())
    assert [p["candidate"] for p in knee] == [manifest["candidate"]]


def test_front_prints_table_json_and_csv(run: Path) -> None:
    table = searcher("front", str(run))
    assert table.returncode == 0
    assert table.stdout.index("uniform average") < table.stdout.index("knee")  # baselines first
    assert json.loads(searcher("front", str(run), "--json").stdout) == json.loads((run / "front.json").read_text())
    header, *rows = searcher("front", str(run), "--csv").stdout.splitlines()
    assert header.startswith("candidate,what,low.search,")
    assert len(rows) >= 15


def test_front_filters_and_comparison(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, code: int = 0) -> str:
        assert cli.run_command(list(arguments), debug=False) == code
        found = capsys.readouterr()
        return found.err if code else found.out

    points = json.loads(said("front", str(run), "--where", "low>=0.5 and high > 0.5", "--json"))["points"]
    assert points
    assert all(p["scores"]["low"] >= 0.5 and p["scores"]["high"] > 0.5 for p in points)
    assert "2 of " in said("front", str(run), "--top", "2", "--by", "hypervolume")
    error = said("front", str(run), "--closest", "lwo=1", code=2)
    assert "Did you mean 'low'?" in error
    assert len(error.strip().splitlines()) == 3
    compared = tmp_path / "compared.html"
    done = said("compare", str(run), str(run), "--report", str(compared), "--json")
    assert [r["search"]["dominated_by_others"] for r in json.loads(done)["runs"]] == [0, 0]
    assert compared.read_text().startswith("<!DOCTYPE html>")
    assert "two or more" in said("compare", str(run), code=2)


def test_export_and_report(run: Path, tmp_path: Path) -> None:
    done = searcher("export", str(run), "--point", "best:high", "--to", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "its scores are the recorded ones" in done.stdout
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert_three_lines(searcher("export", str(run), "--point", "best:high", "--to", str(tmp_path / "out")), 2)
    done = searcher("export", str(run), "--point", "5", "--to", str(tmp_path / "recipe"), "--format", "recipe")
    assert done.returncode == 0, done.stderr
    (run / "report.html").unlink()
    done = searcher("report", str(run))
    assert done.returncode == 0
    assert (run / "report.html").is_file()


def test_resume_adds_evaluations(run: Path) -> None:
    done = searcher("resume", str(run), "--evaluations", "3", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # stdout is JSON and nothing else
    assert record["evaluations"] == json.loads((run / "front.json").read_text())["evaluations"] >= 43


def test_list_and_schema() -> None:
    listed = searcher("list")
    for name in ("cma_es", "nsga2", "layer_wise", "accuracy", "ties", "serial", "optuna:NAME"):
        assert name in listed.stdout
    assert "ties" not in searcher("list", "spaces").stdout
    assert json.loads(searcher("schema").stdout)["title"] == "searcher config"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("optimise",), 2, "No such command"),
        (("optimize",), 2, "Missing argument"),
        (("optimize", "absent.yaml"), 2, "No such file"),
        (("optimize", QUICKSTART, "--evaluations", "0"), 2, "--evaluations"),
        (("optimize", QUICKSTART, "--sett", "x=1"), 2, "--sett"),
        (("optimize", QUICKSTART, "--set", "seed"), 2, "KEY=VALUE"),
        (("optimize", QUICKSTART, "--set", "strategy=nsga"), 2, "nsga"),
        (("optimize", QUICKSTART, "--set", "strategy=cma_es"), 2, "weights"),
        (("optimize", QUICKSTART, "--set", "strategy={name: 'optuna:TPE'}"), 2, "TPESampler"),
        (("optimize", QUICKSTART, "--set", "operator=slerp"), 2, "models"),
        (("optimize", QUICKSTART, "--set", "space.range=[1, 0]"), 2, "low < high"),
        (("optimize", QUICKSTART, "--set", "objectives.0.data=absent.npz"), 2, "absent.npz"),
        (("optimize", QUICKSTART, "--set", "pool.models.0=examples/digits/absent"), 3, "absent"),
        (("optimize", QUICKSTART, "--set", "pool.base=examples"), 3, "examples"),
        (("optimize", QUICKSTART, "--set", "pool.loader=python:examples/digits/model.py:lod"), 3, "lod"),
        (("resume", "nowhere"), 2, "no run"),
        (("front", "nowhere"), 2, "no run"),
        (("front", "nowhere", "--json", "--csv"), 2, "exclude"),
        (("report", "nowhere"), 2, "no run"),
        (("export", "nowhere", "--point", "knee", "--to", "x"), 2, "no run"),
        (("list", "things"), 2, "things"),
    ],
)
def test_mistakes_are_three_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    monkeypatch.chdir(ROOT)
    extra = ["--run", str(tmp_path / "run")] if arguments[0] == "optimize" and len(arguments) > 1 else []
    found = cli.run_command([*arguments, *extra], debug=False)
    assert_three_lines(subprocess.CompletedProcess([], found, "", capsys.readouterr().err), code, word)


def test_unknown_points_are_named(run: Path, tmp_path: Path) -> None:
    for point in ("kne", "best:lo", "99999", "target"):
        done = searcher("export", str(run), "--point", point, "--to", str(tmp_path / "x"))
        assert_three_lines(done, 2, point)


def test_too_many_failures_leave_with_4(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def score(model):\n    raise OSError('no such luck')\n")
    objective = "objectives=[{name: x, type: python, function: '%s:score'}]" % (tmp_path / "broken.py")
    done = searcher("optimize", QUICKSTART, "--set", objective, "--run", str(tmp_path / "run"))
    assert_three_lines(done, 4, "no such luck")


def test_debug_shows_the_traceback() -> None:
    done = searcher("--debug", "front", "nowhere")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_ctrl_c_saves_and_leaves_with_130(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-u",
        "-m",
        "searcher.cli",
        "optimize",
        QUICKSTART,
        "--run",
        str(run),
        "--evaluations",
        "5000",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "candidate 14" not in process.stdout.readline():
        assert process.poll() is None
    second = searcher("resume", str(run))
    assert_three_lines(second, 2, f"pid {process.pid} on ")
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    assert "searcher resume" in errors
    assert json.loads((run / "front.json").read_text())["evaluations"] >= 14
    done = searcher("front", str(run))
    assert done.returncode == 0


def test_import_and_help_load_nothing_heavy() -> None:
    code = "import sys, searcher, searcher.cli; print([m for m in ('torch', 'numpy', 'pydantic', 'rich.table') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
