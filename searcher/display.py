"""What a running search shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from searcher.candidate import Evaluation
from searcher.front_file import stopped_early
from searcher.front_filters import filter_text
from searcher.history import History

if TYPE_CHECKING:
    from searcher.finished_run import Run

QUIET_SECONDS = 5.0  # plain lines: one at least this often


class Progress:
    """A study listener that shows progress; use as a context manager.

    Args:
        stream: Where to; stdout, or stderr when stdout carries JSON.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live: Live | None = None
        self._budget: int | None = None
        self._started = self._last_line = time.monotonic()
        self._n_before = 0
        self._is_silent = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event of the study; a stream that is closed or full silences the display, not the run."""
        if self._is_silent:
            return
        try:
            self._take(event, fields)
        except (OSError, ValueError, SystemExit):  # rich answers a broken pipe with SystemExit
            self._is_silent = True

    def _take(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "start":
            self._started = time.monotonic()  # loading is over; the time left follows from evaluations alone
            self._budget, self._n_before = fields["budget"], fields["evaluations"]
            if self._n_before:
                self._say(f"resuming: {self._n_before} evaluations are recorded")
            elif self._budget is not None:
                n_baselines = fields.get("baselines", 0)
                n_left = max(self._budget - n_baselines, 0)
                self._say(f"{n_baselines} baselines first, then {n_left} evaluations for the search")
        elif event == "loading":
            self._say("reading and checking the source models")
        elif event == "rescoring":
            self._say(f"scoring {fields['candidates']} candidates on the {fields['split']} examples")
        elif event == "cache":
            n = fields["hits"] + fields["misses"]
            self._say(
                f"{fields['hits']} of {n} scores ({fields['rate']:.0%}) were known from earlier runs (key `cache`)"
            )
        elif event == "described":
            for what in ("space", "strategy"):
                self._say(f"{what}: " + fields[what].replace("\n", "\n  "))
        elif event == "warning":
            self._say(f"warning: {fields['message']}")
        elif event in ("evaluated", "rescored"):
            self._show(fields["history"], fields["evaluation"], fields.get("front_changed", False))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _show(self, history: History, evaluation: Evaluation, front_changed: bool) -> None:
        if self._live is not None:
            self._live.update(self._table(history, evaluation))
            return
        now = time.monotonic()
        is_baseline = history.candidates[evaluation.candidate].origin == "baseline"
        is_due = front_changed or is_baseline or now - self._last_line > QUIET_SECONDS
        if evaluation.split == "search" and is_due:
            self._last_line = now
            self._console.print(self._line(history, evaluation), markup=False, soft_wrap=True)

    def _line(self, history: History, evaluation: Evaluation) -> str:
        candidate = history.candidates[evaluation.candidate]
        scores = " ".join(f"{name}={score.value:.4g}" for name, score in evaluation.scores.items())
        what = f" ({candidate.name})" if candidate.name else ""
        scores = f"stopped early, about {scores}" if evaluation.stopped else scores
        outcome = f"failed: {evaluation.error}" if evaluation.error else scores
        return (
            f"[{history.n_searched}/{self._budget or '?'}] candidate {evaluation.candidate}{what}: {outcome} | "
            f"hypervolume {history.hypervolume:.4g}, {len(history.front)} on the front, {self._eta(history)}"
        )

    def _table(self, history: History, evaluation: Evaluation) -> Table:
        title = f"{history.n_searched}/{self._budget or '?'} evaluations, {self._eta(history)}"
        if evaluation.split != "search":
            title = f"re-scoring candidate {evaluation.candidate} on the {evaluation.split} examples"
        table = Table(title=title, title_justify="left", min_width=60)
        for column in ("objective", "best", "by candidate", "best baseline", "last"):
            table.add_column(column, justify="left" if column == "objective" else "right")
        for i, objective in enumerate(history.objectives):
            score = evaluation.scores.get(objective.name)
            last = evaluation.error or "" if score is None else f"{score.value:.4g}"
            table.add_row(escape(objective.name), *_best(history, i), escape(last))
        n_failed = sum(e.error is not None for e in history.evaluations.values())
        caption = f"hypervolume {history.hypervolume:.5g}, {len(history.front)} on the front, {n_failed} failed"
        table.caption = caption + (f", {_stopped(history)}" if history.n_stopped else "")
        return table

    def _eta(self, history: History) -> str:
        elapsed = time.monotonic() - self._started
        n_done = history.n_searched - self._n_before
        if self._budget is None or n_done < 1:
            return f"{elapsed:.0f} s"
        left = elapsed / n_done * max(self._budget - history.n_searched, 0)
        return f"{_duration(elapsed)} elapsed, {_duration(left)} left"


def _stopped(history: History) -> str:
    """How many candidates were stopped early and what that saved."""
    return stopped_early(history.n_stopped, history.examples_scored, history.examples_saved)


def _best(history: History, i: int) -> tuple[str, str, str]:
    """Best score of an objective, its candidate, and the best baseline's score."""
    sign = history.objectives[i].sign
    scored = {n: float(f[i]) for n in history.front if (f := history.fitness(n)) is not None}
    known = [float(f[i]) for c in history.baselines() if (f := history.fitness(c.number)) is not None]
    if not scored:
        return "-", "-", "-"
    number = max(scored, key=lambda n: (scored[n], -n))
    return f"{sign * scored[number]:.4g}", str(number), f"{sign * max(known):.4g}" if known else "-"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def front_table(
    record: Mapping[str, Any], *, tagged_only: bool = False, with_stderr: bool = True, with_search: bool = True
) -> Table:
    """The front as a table, baselines first; ``search/held-out`` scores where both are known.

    Args:
        record: The content of front.json.
        tagged_only: Leave out points that are neither the knee nor the best at anything.
        with_stderr: Show the standard errors of held-out scores.
        with_search: Show the search scores beside the held-out scores.
    """
    names = [o["name"] for o in record["objectives"]]
    has_held_out = any("held_out" in row for row in [*record["baselines"], *record["points"]])
    scores = ("search/held-out" if with_search else "held-out, or (search)") if has_held_out else "search"
    error = " ± standard error" if with_stderr and has_held_out else ""
    title = f"Pareto front after {record['evaluations']} evaluations ({scores}{error})"
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0), box=SIMPLE_HEAD, caption_justify="left")
    table.add_column("no.", justify="right", no_wrap=True, min_width=3)
    table.add_column("what", overflow="fold", min_width=12)
    rows = [_cells(row, names, with_stderr, with_search) for row in [*record["baselines"], *record["points"]]]
    for i, name in enumerate(names):
        width = max([cell_len(name), *(len(cells[i]) for cells in rows)])
        table.add_column(escape(name), justify="right", no_wrap=True, min_width=width)
    for row in record["baselines"]:
        cells = _cells(row, names, with_stderr, with_search)
        what = f"{row['name']}: {row['error']}" if "error" in row else row["name"]
        table.add_row(str(row["candidate"]), escape(what), *cells, style="dim")
    table.add_section()
    points = [row for row in record["points"] if row["tags"] or not tagged_only]
    for row in points:
        what = "\n".join(row["tags"]) or row["origin"]
        table.add_row(str(row["candidate"]), escape(what), *_cells(row, names, with_stderr, with_search))
    notes = [filter_text(record["filter"], len(points))] if "filter" in record else []
    if len(points) < len(record["points"]):
        n_more = len(record["points"]) - len(points)
        notes.append(f"and {n_more} more points: `searcher front RUN` or the report show them")
    if record.get("stopped_early"):
        counts = (record[key] for key in ("stopped_early", "example_evaluations", "example_evaluations_saved"))
        notes.append(stopped_early(*counts))
    table.caption = escape("\n".join(notes)) or None
    return table


def print_front(record: Mapping[str, Any], stream: TextIO, *, tagged_only: bool = False) -> None:
    """Print the front so that every number is whole: what a narrow terminal has no room for is left out."""
    console, wide = Console(file=stream, highlight=False), Console(width=1000)
    layouts: tuple[dict[str, bool], ...] = ({}, {"with_stderr": False}, {"with_stderr": False, "with_search": False})
    for layout in layouts:
        table = front_table(record, tagged_only=tagged_only, **layout)
        if Measurement.get(wide, wide.options, table).minimum <= console.width:
            break
    else:
        needed = Measurement.get(wide, wide.options, table).maximum
        console = Console(file=stream, highlight=False, width=needed)
    console.print(table)


def _cells(row: Mapping[str, Any], names: list[str], with_stderr: bool, with_search: bool) -> list[str]:
    if "error" in row:
        return ["-"] * len(names)
    return [_cell(row, name, with_stderr, with_search) for name in names]


def _cell(row: Mapping[str, Any], name: str, with_stderr: bool, with_search: bool) -> str:
    """``search/held-out``; without the search part a score that has no held-out one stands in parentheses."""
    search = _number(row["scores"].get(name), None)
    if "held_out" not in row:
        return search
    value = row["held_out"].get(name)
    held_out = _number(value, row["held_out_stderr"].get(name) if with_stderr else None)
    if with_search:
        return f"{search}/{held_out}"
    return held_out if value is not None else f"({search})"


def _number(value: float | None, stderr: float | None) -> str:
    if value is None:
        return "-"
    return _short(value, 3) if stderr is None else f"{_short(value, 3)}±{_short(stderr, 2)}"


def _short(value: float, decimals: int) -> str:
    """Few characters: fixed decimals for ordinary numbers, significant digits for large and tiny ones."""
    ordinary = value == 0 or 0.01 <= abs(value) < 10
    return f"{value:.{decimals}f}" if ordinary else f"{value:.{decimals}g}"


def show_result(run: Run, stream: TextIO) -> None:
    """What a finished search says: the verdict, the front, where things are."""
    from searcher.report.verdict import judge

    console = Console(file=stream, highlight=False)
    record = run.record()
    print_front(record, stream, tagged_only=True)
    verdict = judge(run.report_data())
    console.print(f"{verdict.headline}: {verdict.reason}", markup=False, soft_wrap=not console.is_terminal)
    for export in run.exports():
        state = "re-loaded and re-scored" if export.verified else "not a model, so not re-scored"
        console.print(f"exported: {run.shown(run.folder / export.folder)} ({state})", markup=False, soft_wrap=True)
    console.print(f"report: {run.shown(run.folder / 'report.html')}", markup=False, soft_wrap=True)
