from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Candidate, Evaluation, Score
from searcher.errors import ExportError
from searcher.export import verify
from searcher.export.verify import compare, main, recorded_scores, run_verification
from searcher.recipe import Recipe
from searcher.sqlite_storage import SqliteStorage

RECIPE = Recipe("linear", ("low",), None, np.array([0, 4]), np.array([[1.0]]))
RECORDED = {"search": {"accuracy": 0.9375, "loss": float("nan")}, "held_out": {"accuracy": 0.875, "loss": 40.0}}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with one scored candidate."""
    with SqliteStorage(tmp_path / "run", write=True) as storage:
        storage.record([Candidate(0, RECIPE)])
        for split, scores in RECORDED.items():
            found = {name: Score(value, 0.1) for name, value in scores.items()}
            storage.append(Evaluation(0, split, found))  # type: ignore[arg-type]
    return tmp_path / "run"


def scores(accuracy: float = 0.875, loss: float = 40.0) -> dict[str, dict[str, float]]:
    return {"held_out": {"accuracy": accuracy, "loss": loss}}


def test_recorded_scores_come_from_the_run(run_folder: Path) -> None:
    found = recorded_scores(run_folder, 0, ["search", "held_out"])
    assert found["held_out"] == RECORDED["held_out"]
    assert found["search"]["accuracy"] == 0.9375
    assert math.isnan(found["search"]["loss"])


@pytest.mark.parametrize(("candidate", "split"), [(1, "search"), (0, "select"), (0, "elsewhere")])
def test_a_split_without_scores_is_an_error(run_folder: Path, candidate: int, split: str) -> None:
    with pytest.raises(ExportError, match=f"Candidate {candidate} .* '{split}'"):
        recorded_scores(run_folder, candidate, [split])


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e-3))
def test_scores_may_differ_by_the_tolerance_and_no_more(before: float, tolerance: float) -> None:
    slack = tolerance * max(1.0, abs(before))
    recorded, near, far = ({"search": {"x": v}} for v in (before, before + 0.9 * slack, before + 1.2 * slack + 1e-9))
    result = compare(recorded, near, tolerance)
    assert result["passed"] is True
    assert result["largest_difference"] <= tolerance
    with pytest.raises(ExportError):
        compare(recorded, far, tolerance)


def test_the_error_has_both_numbers() -> None:
    with pytest.raises(ExportError, match=r"0\.75 .* accuracy .*held_out.* 0\.875") as caught:
        compare({"held_out": {"accuracy": 0.875}}, {"held_out": {"accuracy": 0.75}}, 1e-6)
    assert "tolerance 1e-06" in caught.value.where


@pytest.mark.parametrize("after", [{}, {"held_out": {}}, {"held_out": {"accuracy": math.nan}}])
def test_a_missing_score_fails(after: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ExportError):
        compare({"held_out": {"accuracy": 0.875}}, after, 1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_was_not_finite_must_stay_so(value: float) -> None:
    recorded = {"search": {"x": value}}
    assert compare(recorded, {"search": {"x": value}}, 1e-6)["scores"]["search"]["x"]["recorded"] is None
    with pytest.raises(ExportError):
        compare(recorded, {"search": {"x": 1.0}}, 1e-6)


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Path, found: object
) -> tuple[int, dict[str, Any]]:
    def rescore(run_folder: Path, exported: Path, splits: list[str]) -> object:
        assert (run_folder, exported, splits) == (run, run / "export", ["held_out"])
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(verify, "rescore", rescore)
    code = main([str(run), "0", str(run / "export"), "--splits", "held_out"])
    (line,) = capsys.readouterr().out.splitlines()
    return code, json.loads(line)


def test_the_process_prints_one_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_folder: Path
) -> None:
    code, result = run_main(monkeypatch, capsys, run_folder, scores())
    assert code == 0
    assert result == {
        "passed": True,
        "tolerance": 1e-6,
        "largest_difference": 0.0,
        "scores": {
            "held_out": {
                "accuracy": {"recorded": 0.875, "rescored": 0.875},
                "loss": {"recorded": 40.0, "rescored": 40.0},
            }
        },
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (scores(loss=40.1), "40.1"),
        (ExportError("broken", where="here", fix="mend"), "broken"),
        (RuntimeError("user code failed"), "RuntimeError: user code failed"),
    ],
)
def test_every_failure_is_json_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_folder: Path,
    found: object,
    words: str,
) -> None:
    code, result = run_main(monkeypatch, capsys, run_folder, found)
    assert code == 2
    assert result["passed"] is False
    assert words in result["error"]["what"]


class Fake:
    """Stands for the child process: runs a line of Python in its place and notes the command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        self.command: list[str] = []
        self.environment: dict[str, str] = {}
        original = subprocess.run

        def run(command: list[str], **options: Any) -> Any:
            assert not options.get("shell")
            self.command, self.environment = command, options["env"]
            return original([sys.executable, "-c", code], **options)

        monkeypatch.setattr(subprocess, "run", run)


def test_the_check_runs_in_a_process_of_its_own_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, "print('user code says hello'); print('{\"passed\": true, \"scores\": {}}')")
    result = run_verification(Path("run; rm -rf"), 3, Path("out"), ("search", "held_out"), tolerance=1e-4)
    assert result == {"passed": True, "scores": {}}
    assert fake.command == [
        sys.executable, "-m", "searcher.export.verify", "run; rm -rf", "3", "out",
        "--tolerance", "0.0001", "--splits", "search", "held_out",
    ]  # fmt: skip
    assert Path(fake.environment["PYTHONPATH"].split(":")[0]).joinpath("searcher", "export").is_dir()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            'print(\'{"passed": false, "error": {"what": "0.5 is not 0.7", "where": "w", "fix": "f"}}\')',
            "0.5 is not 0.7",
        ),
        ("print('[]')", "code 0: it printed nothing"),
        ("print('no json')", "code 0"),
        ("import sys; sys.stderr.write('a\\nMemoryError\\n'); sys.exit(7)", "code 7: MemoryError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "code -9"),
    ],
)
def test_a_failed_check_is_an_export_error(monkeypatch: pytest.MonkeyPatch, code: str, words: str) -> None:
    Fake(monkeypatch, code)
    with pytest.raises(ExportError, match=words) as caught:
        run_verification(Path("run"), 3, Path("out"), ["search"])
    assert len(str(caught.value).splitlines()) == 3


def test_a_check_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(ExportError, match=r"within 0\.2 s"):
        run_verification(Path("run"), 3, Path("out"), ["search"], timeout=0.2)


def test_the_real_process_reports_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no run here"):
        run_verification(tmp_path, 0, tmp_path, ["search"])
