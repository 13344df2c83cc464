"""Writes the page of a comparison, self-contained and under the same policy as a report (``page.py``)."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from searcher.report.comparison_figures import commands, comparison_figures, point_texts
from searcher.report.page import page_part, page_scripts, save_page, script_hashes, script_json, template
from searcher.report.wording import clean, significant
from searcher.run_comparison import ComparedRun, Comparison, FrontMeasures


@dataclass(frozen=True)
class Line:
    """One run and split in the page's table: finished texts, and the places of the best."""

    run: str
    split: str
    cells: tuple[str, ...]
    is_best: tuple[bool, ...]


def write_comparison(comparison: Comparison, folders: Mapping[str, str], path: Path) -> Path:
    """Write the page; it is whole or not there.

    Args:
        comparison: What it shows.
        folders: Run folder as the user would type it, by the run's name.
        path: The file; its folder must exist.

    Raises:
        RunError: If the file cannot be written.
    """
    return save_page(render_comparison(comparison, folders), path)


def render_comparison(comparison: Comparison, folders: Mapping[str, str]) -> str:
    """The page as text."""
    command = {clean(name): f"searcher export {shlex.quote(clean(folder))}" for name, folder in folders.items()}
    comparison = _cleaned(comparison)
    figures = comparison_figures(comparison)
    scripts = page_scripts()
    payload = {
        "figures": {f.key: json.loads(f.figure.to_json(engine="json")) for group in figures.values() for f in group},
        "hover": point_texts(comparison),
        "commands": commands(comparison, command),
    }
    return template("comparison.html").render(
        comparison=comparison,
        columns=[
            "evaluations",
            "hypervolume",
            "points",
            "dominated by others",
            *(o.name for o in comparison.objectives),
        ],
        lines=_lines(comparison),
        figures=figures,
        payload=script_json(payload),
        style=page_part("report.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
    )


def _cleaned(comparison: Comparison) -> Comparison:
    """The same comparison with harmless texts; names of runs stay distinct because objectives' and runs' are."""
    names = {o.name: clean(o.name) for o in comparison.objectives}

    def measures(found: FrontMeasures | None) -> Any:  # noqa: ANN401 - None stays None
        return found and replace(found, best={names[name]: value for name, value in found.best.items()})

    objectives = tuple(replace(o, name=names[o.name], unit=clean(o.unit)) for o in comparison.objectives)
    runs = tuple(
        replace(run, name=clean(run.name), search=measures(run.search), held_out=measures(run.held_out))
        for run in comparison.runs
    )
    return replace(comparison, objectives=objectives, runs=runs, notes=tuple(map(clean, comparison.notes)))


def _lines(comparison: Comparison) -> list[Line]:
    """Search lines of all runs, then held-out ones."""
    groups: list[tuple[str, list[tuple[ComparedRun, FrontMeasures]]]] = [
        ("search", [(run, run.search) for run in comparison.runs]),
        ("held-out", [(run, run.held_out) for run in comparison.runs if run.held_out is not None]),
    ]
    return [line for split, rows in groups for line in _group(comparison, split, rows)]


def _group(comparison: Comparison, split: str, rows: Sequence[tuple[ComparedRun, FrontMeasures]]) -> list[Line]:
    columns = [_column([found.hypervolume for _, found in rows], 1)]
    columns += [_column([found.best[o.name] for _, found in rows], o.sign) for o in comparison.objectives]
    lines = []
    for i, (run, found) in enumerate(rows):
        volume, *best = [column[i] for column in columns]
        cells = (f"{run.evaluations:,}", volume[0], f"{found.points:,}", f"{found.dominated:,}")
        marks = (False, volume[1], False, False, *(is_best for _, is_best in best))
        lines.append(Line(run.name, split, (*cells, *(text for text, _ in best)), marks))
    return lines


def _column(values: Sequence[float], sign: float) -> list[tuple[str, bool]]:
    """Texts, and which is the best."""
    best = max((sign * value for value in values if math.isfinite(value)), default=math.nan)
    return [(significant(value, 4), sign * value == best) for value in values]
