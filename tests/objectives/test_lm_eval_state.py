"""lm-eval's use of the global generators, kept to itself."""

from __future__ import annotations

import logging
import random
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from searcher.objectives.lm_eval_state import GeneratorState, harness, harness_generators, quiet


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002


def test_the_program_continues_where_it_was() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    present = GeneratorState.present()
    expected = draws()
    present.install()
    with harness_generators():
        draws()
        random.seed(99)
    assert draws() == expected


def test_it_is_restored_after_errors() -> None:
    before = random.getstate()
    with suppress(ZeroDivisionError), harness_generators():
        random.seed(1)
        _ = 1 / 0
    assert random.getstate() == before


def test_inside_the_numbers_are_those_of_simple_evaluate() -> None:
    with harness_generators():
        found = draws()
    state = GeneratorState.present()
    random.seed(0)
    np.random.seed(1234)  # noqa: NPY002
    torch.manual_seed(1234)
    expected = draws()
    state.install()
    assert found == expected


def test_remarks_and_bars_are_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("lm_eval")
    level = logger.level
    with suppress(ValueError), quiet():
        print("progress", file=sys.stderr)
        assert not logging.getLogger("lm_eval.api.task").isEnabledFor(logging.WARNING)
        raise ValueError
    print("after", file=sys.stderr)
    assert capsys.readouterr().err == "after\n"
    assert logger.level == level


def test_templates_are_compiled_once_and_lm_eval_is_left_as_it_was() -> None:
    utils: Any = pytest.importorskip("lm_eval.utils")
    for _ in range(2):
        with harness():
            assert utils.apply_template("{{a}} and {{b|regex_replace('x', 'y')}}", {"a": 1, "b": "x"}) == "1 and y"
            first = utils.env.from_string("{{a}}")
            assert utils.env.from_string("{{a}}") is first
        assert "from_string" not in vars(utils.env)
        assert utils.env.from_string("{{a}}") is not first
