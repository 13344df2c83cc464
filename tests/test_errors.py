"""Errors are three lines whatever goes into them."""

from __future__ import annotations

import pytest

from searcher.errors import ConfigError, ErrorBudgetExceeded, PoolError, RunError, SearcherError, UnknownNameError


@pytest.mark.parametrize(("kind", "code"), [(ConfigError, 2), (RunError, 2), (PoolError, 3), (ErrorBudgetExceeded, 4)])
def test_three_lines_and_exit_code(kind: type[SearcherError], code: int) -> None:
    error = kind("what\nhappened", where="here\nand there", fix="do\nthis")
    assert str(error).splitlines() == ["error: what happened", "  where: here and there", "  what to do: do this"]
    assert error.exit_code == code


def test_unknown_name_prints_no_quotes_of_key_error() -> None:
    assert str(UnknownNameError("space", "x", ["y"])).startswith("error: Unknown space 'x'.")
