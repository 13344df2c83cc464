"""What a running search shows: plain lines, a live table, tables of 80 columns; names are never markup."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from typing_extensions import override

from searcher import display
from searcher.candidate import Evaluation
from searcher.display import Progress, front_table, print_front
from searcher.front_file import front_record
from searcher.history import History, ObjectiveInfo
from searcher.storage import MemoryStorage
from tests.records import ACCURACY, COST, GAIN, Row, candidate, evaluation, make_history
from tests.toy import ToyEvaluator, make_study

MARKUP = "[bold red]x[/] [link=file:///etc/passwd]y[/link] [/]"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def shown(table: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def plain(text: str) -> str:
    """Without escape sequences."""
    return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\]8;[^\x1b]*\x1b\\)", "", text)


def unwrapped(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def watch(stream: io.StringIO, **options: Any) -> list[str]:
    """A toy study with its progress on a stream."""
    with Progress(stream) as progress:
        make_study(MemoryStorage(), n=30, listeners=[progress], **options).run()
    return stream.getvalue().splitlines()


def test_lines_name_every_baseline_and_what_changes_the_front() -> None:
    announced, *lines = watch(io.StringIO())
    assert announced == "4 baselines first, then 26 evaluations for the search"
    assert [line.split(": ")[0] for line in lines[:4]] == [
        "[1/30] candidate 0 (base)",
        "[2/30] candidate 1 (a)",
        "[3/30] candidate 2 (b)",
        "[4/30] candidate 3 (uniform average)",
    ]
    assert re.fullmatch(r"\[1/30\] candidate 0 \(base\): near=0\.09 high=0 \| hypervolume .*", lines[0])
    assert all("\x1b" not in line for line in lines)
    assert [line for line in lines if "examples" in line][-1].endswith("candidates on the held_out examples")
    assert len(lines) < 30


def test_the_space_and_the_strategy_are_described_before_anything_is_spent() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress("described", {"space": "chunk_wise: 2 chunks\nblock 0: 2", "strategy": "random search"})
    assert stream.getvalue() == "space: chunk_wise: 2 chunks\n  block 0: 2\nstrategy: random search\n"


def test_failures_are_named() -> None:
    lines = watch(io.StringIO(), evaluator=ToyEvaluator(lambda c: c.number == 1))
    assert "candidate 1 (a): failed: NonFiniteWeights |" in lines[2]


def test_a_resumed_run_says_how_much_is_there() -> None:
    storage, stream = MemoryStorage(), io.StringIO()
    make_study(storage, n=20).run()
    with Progress(stream) as progress:
        make_study(storage, n=25, listeners=[progress]).run()
    assert stream.getvalue().startswith("resuming: 20 evaluations are recorded\n")


def test_a_line_is_due_at_least_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history([GAIN], [[1.0], [0.5]])
    stream = io.StringIO()
    progress = Progress(stream)
    event = {"evaluation": evaluation(1, [GAIN], [0.5]), "history": history, "front_changed": False}
    progress("evaluated", event)
    assert stream.getvalue() == ""
    monkeypatch.setattr(display, "QUIET_SECONDS", -1.0)
    progress("evaluated", event)
    assert stream.getvalue().startswith("[2/?] candidate 1: gain=0.5 | ")


def test_lines_show_names_literally() -> None:
    info = replace(GAIN, name=MARKUP)
    history = make_history([info], [[1.0]])
    history.candidates[0] = replace(history.candidates[0], name=MARKUP)
    stream = io.StringIO()
    Progress(stream)("evaluated", {"evaluation": evaluation(0, [info], [1.0]), "history": history})
    assert f"({MARKUP}): {MARKUP}=1 " in stream.getvalue()


def test_a_terminal_gets_a_table_that_goes_away() -> None:
    stream = Terminal()
    watch(stream)
    text = plain(stream.getvalue())
    assert re.search(r"re-scoring candidate \d+ on the held_out examples", text)  # the last state is always drawn
    assert "best baseline" in text
    assert "0 failed" in text
    assert "candidate 0 (base)" not in text  # no plain lines beside it
    assert stream.getvalue().rstrip().endswith(("\x1b[2K", "\x1b[?25h"))  # erased, cursor shown again


def test_a_terminal_gets_its_cursor_back_after_an_error() -> None:
    stream = Terminal()

    def fail(_: History) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt(stream, fail)
    assert stream.getvalue().count("\x1b[?25h") >= stream.getvalue().count("\x1b[?25l") > 0


def interrupt(stream: io.StringIO, fail: Callable[[History], None]) -> None:
    with Progress(stream) as progress:
        history = make_history([GAIN], [[1.0]])
        progress("evaluated", {"evaluation": evaluation(0, [GAIN], [1.0]), "history": history})
        fail(history)


def test_the_live_table_is_headed_by_what_is_done() -> None:
    history = make_history([GAIN], [[1.0], [2.0]])
    assert "2/? evaluations, " in live_table(history, evaluation(1, [GAIN], [2.0]))
    progress = Progress(io.StringIO())
    progress("start", {"budget": 30, "evaluations": 0})
    assert "2/30 evaluations, 0 s elapsed, " in shown(progress._table(history, evaluation(1, [GAIN], [2.0])))
    text = live_table(history, evaluation(1, [GAIN], [2.0], "held_out"))
    assert "re-scoring candidate 1 on the held_out examples" in text


def live_table(history: History, last: Evaluation) -> str:
    return shown(Progress(io.StringIO())._table(history, last))


def test_the_live_table_compares_with_the_baselines() -> None:
    history = make_history([GAIN, COST], [(1.0, 40.0), (2.0, 60.0), (3.0, 30.0)], n_baselines=2)
    lines = live_table(history, evaluation(2, [GAIN, COST], (3.0, 30.0))).splitlines()
    [gain] = [line.split() for line in lines if " gain " in line]
    [cost] = [line.split() for line in lines if " cost " in line]
    numbers = [cell for cell in gain if re.fullmatch(r"[\d.]+", cell)]
    assert numbers == ["3", "2", "2", "3"]  # best, by candidate, best baseline, last
    assert [cell for cell in cost if re.fullmatch(r"[\d.]+", cell)] == ["30", "2", "40", "30"]


def test_the_live_table_before_the_first_score_and_after_a_failure() -> None:
    history = make_history([GAIN], [None])
    text = live_table(history, evaluation(0, [GAIN], None))
    assert "NonFiniteWeights" in text
    assert "1 failed" in text


def test_the_live_table_shows_names_literally() -> None:
    info = replace(GAIN, name="[red]x[/]")
    assert "[red]x[/]" in live_table(make_history([info], [[1.0]]), evaluation(0, [info], [1.0]))


def finished(objectives: list[ObjectiveInfo], **options: Any) -> dict[str, Any]:
    """The record of a run with failures, untagged points and held-out scores."""
    m = len(objectives)
    rows: list[Row] = [(0.123456,) * m, None, (0.98765,) + (0.01234,) * (m - 1), (0.01234,) * (m - 1) + (0.98765,)]
    rows += [(0.5 + 0.01 * i, *(0.6 - 0.02 * i,) * (m - 1)) for i in range(5)]
    held_out: dict[int, Row] = {i: tuple(0.9 * v for v in row) for i, row in enumerate(rows) if row is not None}
    return front_record(make_history(objectives, rows, n_baselines=2, held_out=held_out, **options))


def accuracies(*names: str) -> list[ObjectiveInfo]:
    return [replace(ACCURACY, name=name) for name in names]


@pytest.mark.parametrize("names", [("low", "high"), ("low", "high", "noisy")])
def test_numbers_are_whole_in_80_columns(names: tuple[str, ...]) -> None:
    record = finished(accuracies(*names))
    text = shown(front_table(record))
    assert max(map(len, text.splitlines())) <= 80
    cells = re.findall(r"\d\.\d{3}/\d\.\d{3}±0\.\d+", text)
    n_scored = sum("error" not in row for row in [*record["baselines"], *record["points"]])
    assert len(cells) == n_scored * len(names)
    assert "0.988/0.889±0.12" in text


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize("n_objectives", [1, 3, 4, 5])
def test_a_narrow_terminal_loses_columns_but_no_digits(
    monkeypatch: pytest.MonkeyPatch, width: int, n_objectives: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    record = finished(accuracies(*(f"objective {i}" for i in range(n_objectives))))
    print_front(record, stream)
    text = stream.getvalue()
    assert "…" not in text
    scored = [row for row in [*record["baselines"], *record["points"]] if "error" not in row]
    for row in scored:
        for value in (row.get("held_out") or row["scores"]).values():
            assert f"{value:.3f}" in text


def test_the_front_table_begins_with_the_baselines() -> None:
    text = shown(front_table(finished(accuracies("low", "high"))))
    assert "Pareto front after 9 evaluations (search/held-out ± standard error)" in unwrapped(text)
    assert text.index("baseline 0") < text.index("baseline 1") < text.index("best:low")
    [failed] = [line for line in text.splitlines() if "baseline 1" in line]
    assert failed.split() == ["1", "baseline", "1:", "NonFiniteWeights", "-", "-"]


def test_untagged_points_can_be_left_out() -> None:
    record = finished(accuracies("low", "high"))
    n_untagged = sum(not p["tags"] for p in record["points"])
    assert n_untagged > 0
    assert f"and {n_untagged} more points" in shown(front_table(record, tagged_only=True))
    whole = shown(front_table(record))
    assert "more points" not in whole
    assert whole.count("strategy") == n_untagged


def test_without_held_out_scores_the_table_says_so() -> None:
    text = shown(front_table(front_record(make_history([GAIN], [[1.5], [2.5]]))))
    assert "after 2 evaluations (search)" in unwrapped(text)
    assert "2.500" in text
    assert "±" not in text


def test_missing_scores_are_dashes() -> None:
    record = front_record(make_history([GAIN, COST], [(1.0, 2.0)], held_out={0: (0.5, float("nan"))}))
    assert "2.000/-" in shown(front_table(record))


@pytest.mark.parametrize("value", [0.0, 1234567.0, -0.5, 1e-7, 123.456, -98765.4])
def test_large_and_tiny_numbers_stay_readable(value: float) -> None:
    text = shown(front_table(front_record(make_history([GAIN], [[value]]))))
    [row] = [line for line in text.splitlines() if "baseline 0" in line or "knee" in line][-1:]
    assert float(row.split()[-1]) == pytest.approx(value, rel=5e-3)


def test_names_in_the_front_table_are_shown_literally() -> None:
    record = finished(accuracies("[red]low[/]", "high"))
    record["baselines"][0]["name"] = MARKUP
    record["points"][0]["tags"] = ["best:[red]low[/]"]
    text = shown(front_table(record), width=200)
    assert MARKUP in text
    assert "[red]low[/]" in text
    assert "best:[red]low[/]" in text


def test_candidate_numbers_are_those_of_the_run() -> None:
    assert candidate(3, 0).number == 3
    text = shown(front_table(front_record(make_history([GAIN], [[1.0], [2.0], [3.0]]))))
    assert re.search(r"^ *2 +knee +3\.000 *\n +best:gain *$", text, flags=re.MULTILINE)
