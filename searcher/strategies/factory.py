"""A strategy from its name and settings, registered or Optuna's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from searcher.errors import ConfigError, UnknownNameError, nearest
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.optuna_sampler import PREFIX, resolve


def make_strategy(name: str, problem: Problem, settings: Mapping[str, object]) -> Strategy:
    """Build a strategy.

    Args:
        name: A registered name, or ``optuna:X`` for a sampler class X of Optuna.
        problem: What it may know of the search.
        settings: Keyword arguments of its constructor.

    Raises:
        UnknownNameError: If there is no such strategy; the message names the nearest.
        ConfigError: If a setting is unknown or its value is refused.
    """
    if name.startswith(PREFIX):
        return resolve(name)(problem, settings)
    table = STRATEGIES.load()
    if name not in table:
        raise UnknownNameError("strategy", name, [*table, f"{PREFIX}SAMPLER"], where="strategy.name")
    strategy: Any = table[name]
    _check_names(name, strategy, settings)
    made: Strategy = strategy(problem, **settings)
    return made


def _check_names(name: str, strategy: type[Strategy], settings: Mapping[str, object]) -> None:
    parameters = inspect.signature(strategy).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for setting in settings:
        if setting not in known:
            hint = nearest(setting, known)
            raise ConfigError(
                f"Unknown setting {setting!r} of strategy {name!r}." + (f" Did you mean {hint!r}?" if hint else ""),
                where=f"strategy.{setting}",
                fix=f"Use one of: {', '.join(known)}." if known else "This strategy has no settings; remove it.",
            )
