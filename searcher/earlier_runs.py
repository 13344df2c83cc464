"""What earlier runs of the same problem know: told to the strategy before it proposes anything.

They are copied into the header of the new run, so that it resumes the same whatever becomes of their folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from searcher.candidate import Trial
from searcher.errors import RunError
from searcher.history import History, ObjectiveInfo
from searcher.run_header import require_header
from searcher.sqlite_storage import SqliteStorage

SAME = {
    "genes": "genes",
    "hashes": "source files",
    "data_hashes": "data files",
}
SAME_SECTIONS = ("operator", "space", "objectives")


def read_earlier_runs(folders: Sequence[Path], header: Mapping[str, Any]) -> dict[str, Any]:
    """Genomes and fitness of all fully scored candidates inside the space, as JSON data.

    Args:
        folders: Run folders.
        header: Of the new run, which must ask the same question: sources, data, objectives, operator and space.

    Raises:
        RunError: If a folder holds no run, or one of another problem.
    """
    genomes: list[list[float]] = []
    fitness: list[list[float]] = []
    for folder in folders:
        with SqliteStorage(folder) as storage:
            require_header(storage.header, folder)
            _check_same(storage.header, header, folder)
            infos = [ObjectiveInfo(**record) for record in storage.header["objectives"]]
            history = History.of(infos, storage.candidates(), storage.evaluations())
        for candidate in history.candidates:
            found = history.fitness(candidate.number)
            if candidate.genome is not None and found is not None and np.isfinite(found).all():
                genomes.append(candidate.genome.tolist())
                fitness.append(found.tolist())
    return {"genomes": genomes, "fitness": fitness}


def earlier_trials(header: Mapping[str, Any]) -> list[Trial]:
    """What the header of a run has of earlier runs; they have negative numbers, the latest -1."""
    known = header.get("earlier_runs") or {"genomes": [], "fitness": []}
    pairs = list(zip(known["genomes"], known["fitness"], strict=True))
    return [
        Trial(i - len(pairs), np.array(genome, dtype=np.float64), (), np.array(fitness, dtype=np.float64))
        for i, (genome, fitness) in enumerate(pairs)
    ]


def _check_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], folder: Path) -> None:
    differs = [title for key, title in SAME.items() if theirs[key] != ours[key]]
    differs += [key for key in SAME_SECTIONS if theirs["config"].get(key) != ours["config"].get(key)]
    if differs:
        raise RunError(
            f"An earlier run was of another problem: {', '.join(differs)} differ.",
            where=str(folder),
            fix="Leave it out of `earlier_runs`; its scores cannot be compared with those of this run.",
        )
