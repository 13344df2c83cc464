"""The proof of an export: a fresh process loads it as an ordinary model, scores it and compares.

``python -m searcher.export.verify RUN CANDIDATE EXPORT --splits search held_out`` prints one line of JSON:
``{"passed": true, "tolerance": ..., "largest_difference": ..., "scores": {split: {objective: {"recorded": ...,
"rescored": ...}}}}``, or ``{"passed": false, "error": {"what": ..., "where": ..., "fix": ...}}`` with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from searcher.errors import ExportError, SearcherError

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""Split to objective to mean score."""

TOLERANCE = 1e-6
"""Largest difference, relative to the recorded score where that is above 1; equal devices give equal scores."""


def run_verification(
    run_folder: Path,
    candidate: int,
    exported: Path,
    splits: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Check an exported folder in a process of its own.

    Args:
        run_folder: The run with the recorded scores.
        candidate: Number of the exported candidate.
        exported: The folder.
        splits: Which splits to score again, such as ``("held_out",)``.
        tolerance: Largest difference allowed, relative to the recorded score where that is above 1.
        timeout: Seconds after which the process is killed; None waits.

    Returns:
        What the process found: ``passed``, ``tolerance``, ``largest_difference`` and both scores.

    Raises:
        ExportError: If a score differs by more than the tolerance, or the process fails.
    """
    command = [sys.executable, "-m", "searcher.export.verify", str(run_folder), str(candidate), str(exported)]
    command += ["--tolerance", repr(tolerance), "--splits", *splits]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, env=_environment(), check=False)
    except subprocess.TimeoutExpired as error:
        raise _failed(f"it did not end within {timeout:g} s", exported) from error
    result = _last_line(done.stdout)
    if result is None:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise _failed(f"its process ended with code {done.returncode}: {last[0]}", exported)
    if not result.get("passed"):
        fault = result.get("error") or {}
        raise ExportError(
            str(fault.get("what", "The export could not be verified.")),
            where=str(fault.get("where", exported)),
            fix=str(fault.get("fix", "Export the point again.")),
        )
    return result


def rescore(run_folder: Path, exported: Path, splits: Sequence[str]) -> Scores:
    """Scores of an exported folder, loaded as an ordinary model by the run's loader and scored by its objectives."""
    from searcher.assembly import rescore_folder

    found: dict[str, dict[str, float]] = rescore_folder(run_folder, exported, splits)
    return found


def recorded_scores(run_folder: Path, candidate: int, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """What the run recorded for a candidate.

    Raises:
        ExportError: If a split of it has not been scored.
        RunError: If there is no run.
    """
    from searcher.sqlite_storage import SqliteStorage

    with SqliteStorage(run_folder) as storage:
        found = {
            evaluation.split: {name: score.value for name, score in evaluation.scores.items()}
            for evaluation in storage.evaluations()
            if evaluation.candidate == candidate and evaluation.error is None
        }
    missing = [split for split in splits if not found.get(split)]  # type: ignore[call-overload]
    if missing:
        raise ExportError(
            f"Candidate {candidate} has no recorded scores on split {missing[0]!r}.",
            where=f"run {run_folder.name}, candidate {candidate}",
            fix="Verify a split that has been scored; held-out scores exist for points of the front.",
        )
    return {split: found[split] for split in splits}  # type: ignore[index]


def compare(recorded: Scores, rescored: Scores, tolerance: float) -> dict[str, Any]:
    """Both scores side by side.

    A score that was not a number must still be none. Differences are relative to the recorded score where that is
    above 1 in magnitude, so that perplexities and fractions share one tolerance.

    Raises:
        ExportError: If a score is missing or differs by more than the tolerance; both numbers are in the message.
    """
    largest = 0.0
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    for split, by_objective in recorded.items():
        for name, before in by_objective.items():
            after = rescored.get(split, {}).get(name, math.nan)
            difference = _difference(before, after)
            if not difference <= tolerance:
                raise ExportError(
                    f"The exported model scores {after!r} on {name} ({split}), but the run recorded {before!r}.",
                    where=f"objective {name}, split {split}, tolerance {tolerance:g}",
                    fix="Do not use this export. Check that files, packages and device are those of the run.",
                )
            largest = max(largest, difference)
            scores.setdefault(split, {})[name] = {"recorded": _number(before), "rescored": _number(after)}
    return {"passed": True, "tolerance": tolerance, "largest_difference": largest, "scores": scores}


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one export and print the result as one line of JSON; returns the exit code, 0 or 2."""
    parser = argparse.ArgumentParser(prog="python -m searcher.export.verify", description=__doc__)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("candidate", type=int)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    given = parser.parse_args(arguments)
    result: dict[str, Any]
    try:
        before = recorded_scores(given.run_folder, given.candidate, given.splits)
        result = compare(before, rescore(given.run_folder, given.exported, given.splits), given.tolerance)
    except SearcherError as error:
        result = {"passed": False, "error": {"what": error.what, "where": error.where, "fix": error.fix}}
    except Exception as error:  # noqa: BLE001 - user code may raise anything; the parent shows it
        what = f"The exported folder could not be scored: {type(error).__name__}: {error}."
        fix = "Load the folder yourself to see what is wrong with it, then export the point again."
        result = {"passed": False, "error": {"what": what, "where": str(given.exported), "fix": fix}}
    print(json.dumps(result, allow_nan=False), flush=True)
    return 0 if result["passed"] else 2


def _difference(before: float, after: float) -> float:
    if math.isnan(before) and math.isnan(after):
        return 0.0
    if before == after:  # also infinities
        return 0.0
    return abs(after - before) / max(1.0, abs(before))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _environment() -> dict[str, str]:
    """This process's environment, in which the same searcher is found whatever the working directory."""
    root = str(Path(__file__).resolve().parents[2])
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, given] if given else [root])}


def _last_line(output: bytes) -> dict[str, Any] | None:
    """The JSON object on the last line of a process's output, which may also hold what user code printed."""
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        result = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def _failed(why: str, exported: Path) -> ExportError:
    return ExportError(
        f"The export could not be verified: {why}.",
        where=str(exported),
        fix="Export the point again; with --debug the process's own messages are shown.",
    )


if __name__ == "__main__":
    sys.exit(main())
