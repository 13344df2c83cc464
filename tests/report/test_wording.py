from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.report.wording import (
    clean,
    clean_line,
    count,
    decimals_for,
    duration,
    export_command,
    number,
    plotly_text,
    significant,
    with_error,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07rest", "rest"),
        ("\x9b31mred", "red"),
        ("a\x00b\x08c\x7f", "abc"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("bad \ud800 name", "bad \ufffd name"),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Größe 日本 🙂", "Größe 日本 🙂"),
        ("task-arithmetic-scale-0.5 and sk-learn-digits", "task-arithmetic-scale-0.5 and sk-learn-digits"),
        ("key sk-proj-abcdefghijklmnop1234 end", "key [redacted] end"),
        ("Authorization: Bearer abcdefgh1234==", "Authorization: Bearer [redacted]"),
        ("https://user:pass@host/x", "https://[redacted]@host/x"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_clean_removes_known_secrets_but_not_short_ones() -> None:
    assert clean("a correct-horse b x", ["correct-horse", "x", ""]) == "a [redacted] b x"


@given(st.text())
def test_cleaning_twice_changes_nothing_and_leaves_no_control(text: str) -> None:
    once = clean_line(text)
    assert clean_line(once) == once
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in once)
    once.encode()


@given(st.text())
def test_plotly_text_holds_no_tags(text: str) -> None:
    assert "<" not in plotly_text(text)
    assert ">" not in plotly_text(text)


def test_plotly_text_is_shortened() -> None:
    assert plotly_text("x" * 100, 10) == "xxxxxxxxx…"
    assert plotly_text("<a & b>") == "&lt;a &amp; b&gt;"


@pytest.mark.parametrize(
    ("values", "errors", "decimals"),
    [
        ([0.9, 0.8], [0.011, 0.02], 3),
        ([120.0, 80.0], [12.0, 10.0], 0),
        ([0.5, 0.7], [NAN, NAN], 3),
        ([1e-9, 2e-9], [1e-10], 6),
        ([3.0], [0.0], 2),
        ([0.0, 0.0], [], 2),
        ([], [], 2),
        ([NAN], [NAN], 2),
    ],
)
def test_decimals(values: list[float], errors: list[float], decimals: int) -> None:
    assert decimals_for(values, errors) == decimals


def test_numbers() -> None:
    assert number(-0.5, 2) == "\u22120.50"
    assert number(-0.001, 2) == "0.00"
    assert number(NAN, 2) == "–"  # noqa: RUF001
    assert number(1e12, 2) == "1.000e+12"
    assert with_error(0.9421, 0.0113, 3) == "0.942 ± 0.011"
    assert with_error(0.9421, NAN, 3) == "0.942"
    assert with_error(NAN, 0.1, 3) == "–"  # noqa: RUF001
    assert significant(0.88412) == "0.884"
    assert significant(-12.3456) == "\u221212.3"
    assert significant(NAN) == "–"  # noqa: RUF001
    assert significant(1.5e-9) == "1.50e-09"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (41.3, "41 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 05 min"), (NAN, "–"), (-1.0, "–")],  # noqa: RUF001
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert [count(n, "point") for n in (0, 1, 3000)] == ["0 points", "1 point", "3,000 points"]


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_a_shell_reads_the_run_folder_back(run: str) -> None:
    words = shlex.split(export_command(run, 7))
    assert words == ["searcher", "export", run, "--point", "7", "--to", "export/point-7"]
