"""`searcher compare`: the fronts of several runs as a table, as JSON, or as a page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from searcher.run_comparison import ComparedRun, Comparison, FrontMeasures, RunFront, compare_runs

if TYPE_CHECKING:
    from searcher.finished_run import Run


def compare_command(
    folders: Sequence[Path], stream: TextIO, *, as_json: bool = False, report: Path | None = None
) -> None:
    """Print the comparison; with ``report`` write the page as well.

    Raises:
        SearcherError: If a run cannot be read or the runs have different objectives.
    """
    from searcher.finished_run import open_run

    runs = [open_run(folder) for folder in folders]
    fronts = _fronts(runs)
    comparison = compare_runs(fronts)
    if report is not None:
        from searcher.report.comparison_page import write_comparison

        typed = {front.name: run.shown(run.folder) for front, run in zip(fronts, runs, strict=True)}
        write_comparison(comparison, typed, report)
    if as_json:
        stream.write(json.dumps(comparison.to_json(), allow_nan=False) + "\n")
        return
    tables, wide = comparison_tables(comparison), Console(width=1000)
    needed = max(Measurement.get(wide, wide.options, table).maximum for table in tables)
    console = Console(file=stream, highlight=False)
    if needed > console.width:  # whole numbers rather than whole lines
        console = Console(file=stream, highlight=False, width=needed)
    for table in tables:
        console.print(table)
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}", markup=False, soft_wrap=True)


def _fronts(runs: Sequence[Run]) -> list[RunFront]:
    """The runs under names that tell them apart: those of their folders, or paths as the user would type them."""
    shown = [run.folder.name for run in runs]
    shown = shown if len(set(shown)) == len(shown) else [run.shown(run.folder) for run in runs]
    names = [name if shown.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(shown)]
    return [RunFront(name, run.history, run.header) for name, run in zip(names, runs, strict=True)]


def comparison_tables(comparison: Comparison) -> list[Table]:
    """One table per split: run, evaluations, hypervolume, points, best scores, points dominated by other runs."""
    tables = [_table(comparison, "search scores (these guided the searches)", [(r, r.search) for r in comparison.runs])]
    held_out = [(run, run.held_out) for run in comparison.runs if run.held_out is not None]
    if held_out:
        tables.append(_table(comparison, "held-out scores of the same points", held_out))
    reference = ", ".join(
        f"{o.name} {r:.4g}" for o, r in zip(comparison.objectives, comparison.reference_point, strict=True)
    )
    tables[-1].caption = escape(f"hypervolume over the reference point {reference}; best: of the point best in search")
    return tables


def _table(comparison: Comparison, title: str, rows: Sequence[tuple[ComparedRun, FrontMeasures]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    table.add_column("run", overflow="fold", min_width=10)
    for column in ("evaluations", "hypervolume", "points", "dominated"):
        table.add_column(column, justify="right", no_wrap=True)
    for objective in comparison.objectives:
        table.add_column(escape(f"best {objective.name}"), justify="right", no_wrap=True)
    for run, found in rows:
        best = ["-" if math.isnan(value) else f"{value:.4g}" for value in found.best.values()]
        counts = (str(run.evaluations), f"{found.hypervolume:.5g}", str(found.points), str(found.dominated))
        table.add_row(escape(run.name), *counts, *best)
    return table
