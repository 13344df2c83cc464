"""From a checked config to the parts of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.cache_folder import cache_folder
from searcher.config import Config, Section
from searcher.errors import ConfigError, SearcherError
from searcher.evaluator import Evaluator, Selection
from searcher.history import ObjectiveInfo
from searcher.item_selection.selection import ItemSelection
from searcher.known_scores import KnownScores
from searcher.merge.live_model import LiveModel
from searcher.merge.operators.base import OPERATORS
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.operator_section import split_settings
from searcher.racing.halving import SuccessiveHalving
from searcher.run_header import data_hashes, loader_file, package_versions, stored_config
from searcher.score_cache import ScoreCache
from searcher.score_key import make_score_keys
from searcher.spaces.base import SPACES, Space, SpaceContext
from searcher.sqlite_storage import SqliteStorage
from searcher.strategies.base import Problem, Strategy
from searcher.strategies.factory import make_strategy
from searcher.version import __version__

if TYPE_CHECKING:  # torch is imported when a pool is opened, not to look at a front
    import numpy as np
    from numpy.typing import NDArray

    from searcher.merge.engine import MergeEngine
    from searcher.merge.prefix_products import PrefixProducts
    from searcher.pool.pool import Pool


@dataclass(frozen=True)
class Parts:
    """Everything a study needs, built from one config.

    Args:
        config: The config.
        pool: Source models.
        engine: Builds candidates.
        objectives: In config order.
        infos: Their records.
        space: Genome to recipe.
        evaluator: Scores candidates.
    """

    config: Config
    pool: Pool
    engine: MergeEngine
    objectives: tuple[Objective, ...]
    infos: tuple[ObjectiveInfo, ...]
    space: Space
    evaluator: Evaluator

    def strategy(self, seed: int, budget: int | None) -> Strategy:
        """A new strategy for this space and these objectives.

        Raises:
            ConfigError: If its settings do not fit the problem.
        """
        names, directions = zip(*((info.name, info.direction) for info in self.infos), strict=True)
        work = self.pool.layout.n_parameters * float(sum(o.n_examples.get("search", 1) for o in self.infos))
        problem = Problem(self.space.names, names, budget, seed, directions, self.space.levels(), work)
        settings = {key: value for key, value in self.config.strategy.items() if key != "name"}
        try:
            return make_strategy(self.config.strategy["name"], problem, settings)
        except (ValueError, TypeError) as error:
            raise _unusable("strategy", error, self.config.where("strategy")) from error
        except ConfigError as error:
            raise ConfigError(error.what, where=self.config.where("strategy"), fix=error.fix) from error


def assemble(config: Config) -> Parts:
    """Open the pool and build engine, objectives, space and evaluator.

    Raises:
        SearcherError: If the config does not fit the pool, or the pool cannot be merged.
    """
    objectives = make_objectives(config)
    pool = make_pool(config)
    engine = make_engine(config, pool)
    space = make_space(config, pool, engine)
    infos = tuple(_info(o, section) for o, section in zip(objectives, config.objectives, strict=True))
    evaluator = Evaluator(
        engine,
        objectives,
        seed=config.seed,
        known=_known_scores(config, pool, engine, objectives),
        selection=_selection(config, objectives),
    )
    return Parts(config, pool, engine, objectives, infos, space, evaluator)


def _known_scores(
    config: Config, pool: Pool, engine: MergeEngine, objectives: Sequence[Objective]
) -> KnownScores | None:
    """The score cache with this run's keys; None if it is switched off or its folder cannot be made."""
    if not config.cache.enabled:
        return None
    try:
        cache = ScoreCache(cache_folder("scores"), int(config.cache.max_gb * 2**30))
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    keys = make_score_keys(
        pool,
        engine,
        objectives,
        config.objectives,
        seed=config.seed,
        loader=config.pool.loader,
        loader_file=loader_file(config.pool.loader, config.root),
        python_functions=config.cache.python_functions,
    )
    return KnownScores(cache, keys)


def _selection(config: Config, objectives: Sequence[Objective]) -> Selection | None:
    """What lets candidates be scored on a part of the examples, if the config has one.

    Raises:
        ConfigError: If it has several, or candidates are to race as well.
    """
    on = [key for key in ("racing", "item_selection", "halving") if getattr(config, key).enabled]
    if len(on) > 1:
        raise ConfigError(
            f"Candidates can be spared examples in one way, not both by {on[0]} and by {on[1]}.",
            where=config.where(on[1], "enabled"),
            fix=f"Set `{on[0]}: {{enabled: false}}` or `{on[1]}: {{enabled: false}}`.",
        )
    if config.item_selection.enabled:
        chosen = config.item_selection
        return ItemSelection(objectives, examples=chosen.examples, method=chosen.method, seed=config.seed)
    if config.halving.enabled:
        shares = config.halving
        return SuccessiveHalving(objectives, first=shares.first, reduction=shares.reduction, by=shares.by)
    return None


def make_pool(config: Config) -> Pool:
    """Open and check the source models."""
    from searcher.pool.pool import open_pool

    entries = [_entry(m) for m in config.pool.models]
    base = None if config.pool.base is None else _entry(config.pool.base)
    return open_pool(
        base=base,
        models=entries,
        loader=config.pool.loader,
        trust_remote_code=config.pool.trust_remote_code,
        root=config.root,
    )


def _entry(model: Any) -> str | dict[str, str]:  # noqa: ANN401 - str or ModelEntry
    if isinstance(model, str):
        return model
    return {key: value for key, value in (("path", model.path), ("name", model.name)) if value is not None}


def make_engine(config: Config, pool: Pool) -> MergeEngine:
    """An engine on the config's device, in its storage dtype."""
    from searcher.merge.engine import MergeEngine

    dtype = None if config.pool.dtype == "auto" else config.pool.dtype
    return MergeEngine(pool, device=config.pool.device, dtype=dtype, memory=config.pool.memory)


def make_objectives(config: Config) -> tuple[Objective, ...]:
    """Build every objective; data files are read and checked here."""
    return tuple(_objective(config, i, section) for i, section in enumerate(config.objectives))


def _objective(config: Config, index: int, section: Section) -> Objective:
    cls: Any = OBJECTIVES.get(section["type"])
    settings = {k: v for k, v in section.items() if k not in ("name", "type", "reference", "target")}
    try:
        objective: Objective = cls(section["name"], root=config.root, **settings)
    except (ValueError, TypeError) as error:
        raise _unusable(f"objective {section['name']!r}", error, config.where("objectives", index)) from error
    return objective


def _info(objective: Objective, section: Section) -> ObjectiveInfo:
    n_examples: dict[str, int] = {
        split: len(range(*found.indices(objective.n_examples or 0))) for split, found in objective.splits.items()
    }
    reference, target = section.get("reference"), section.get("target")
    return ObjectiveInfo(objective.name, objective.direction, objective.unit, n_examples, reference, target)


def make_space(config: Config, pool: Pool, engine: MergeEngine | None = None) -> Space:
    """Build the space over the pool's layout.

    Args:
        config: The config.
        pool: The sources.
        engine: Its device and storage type are those of inner products that the space may ask for; None: it may not.

    Raises:
        ConfigError: If operator and pool do not fit (no base, number of models) or a setting is wrong.
    """
    name = config.operator["name"]
    operator = OPERATORS.get(name)
    if operator.needs_base and pool.base is None:
        raise ConfigError(
            f"Operator {name!r} needs a base model, but the pool has none.",
            where=config.where("pool"),
            fix="Add `base:` to the pool, or use the operator linear.",
        )
    low, high = operator.n_models
    if len(pool.models) < low or (high is not None and len(pool.models) > high):
        wanted = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(
            f"Operator {name!r} merges {wanted} model{'' if wanted == '1' else 's'}, but the pool has {len(pool.models)}.",
            where=config.where("pool", "models"),
            fix="Change the list of models, or use another operator.",
        )
    fixed, searched = split_settings(name, config.operator, config.where("operator"))
    base = None if pool.base is None else pool.base.name
    models = tuple(m.name for m in pool.models)
    unchanged = pool.unchanged if operator.needs_base else frozenset()  # without a base, sums of shares scale them
    products = None if engine is None else _prefix_products(pool, engine)
    magnitudes = None if engine is None else _magnitudes(pool, engine)
    context = SpaceContext(
        pool.layout, models, base, name, operator.interpolates, fixed, searched, unchanged, magnitudes, products
    )
    settings = {key: value for key, value in config.space.items() if key != "name"}
    cls: Any = SPACES.get(config.space["name"])
    try:
        space: Space = cls(context, **settings)
    except ValueError as error:
        raise _unusable("space", error, config.where("space")) from error
    if space.changes_depth:
        from searcher.pool.depth_source import OtherDepths

        OtherDepths(pool)  # refuses now what could not be built later
    return space


def _prefix_products(pool: Pool, engine: MergeEngine) -> PrefixProducts:
    from searcher.merge.prefix_products import PrefixProducts

    return PrefixProducts(pool, engine.device, engine.dtype)


def _magnitudes(pool: Pool, engine: MergeEngine) -> Callable[[], Mapping[str, NDArray[np.float64]]]:
    from searcher.merge.mean_magnitudes import mean_magnitudes

    return partial(mean_magnitudes, pool, engine.device, engine.dtype)


def _unusable(what: str, error: Exception, where: str) -> SearcherError:
    if isinstance(error, SearcherError):
        return error
    return ConfigError(f"The {what} cannot be made: {error}", where=where, fix="Change the setting as described.")


def make_header(parts: Parts, strategy: Strategy) -> dict[str, Any]:
    """What a run records before its first evaluation: enough to repeat it and to notice that something changed."""
    config = parts.config
    layout = [[t.name, t.offset, t.size, t.block, t.kind] for t in parts.pool.layout.tensors]
    return {
        "searcher": __version__,
        "config": config.resolved(),
        "root": str(config.root),
        "seed": config.seed,
        "budget": config.budget.model_dump(),
        "first_budget": config.budget.evaluations,
        "versions": package_versions(),
        "hashes": dict(parts.pool.hashes),
        "data_hashes": data_hashes(parts.objectives, config.pool.loader, config.root),
        "objectives": [info.to_json() for info in parts.infos],
        "genes": list(parts.space.names),
        "space": parts.space.describe(),
        "strategy": strategy.describe(),
        "layout": layout,
        "warnings": [
            *parts.pool.warnings,
            *(warning for o in parts.objectives for warning in o.warnings),
            *_racing_warnings(parts),
        ],
    }


def _racing_warnings(parts: Parts) -> list[str]:
    if not parts.config.racing.enabled or any(o.score_range is not None for o in parts.objectives):
        return []
    return [
        "racing is on, but no objective has a known range of example scores: no candidate will race (docs/racing.md)"
    ]


def rescore_folder(run_folder: Path, folder: Path, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score a model folder on the objectives of a run; see :func:`score_folder`.

    Raises:
        SearcherError: If there is no run, or the folder cannot be loaded.
    """
    with SqliteStorage(run_folder) as storage:
        config = stored_config(storage.header, run_folder)
    return score_folder(config, folder, splits)


def score_folder(config: Config, folder: Path, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """Load a model folder as any user would, by the pool's loader, and score it on all objectives.

    Args:
        config: The run's config.
        folder: The model folder, for example an export.
        splits: Names of splits.

    Returns:
        Score by split and objective name.
    """
    from searcher.pool.pool import open_pool

    pool = open_pool(base=None, models=[str(folder.resolve())], loader=config.pool.loader, root=config.root)
    model = _as_is(make_engine(config, pool), pool)
    found: dict[str, dict[str, float]] = {}
    for split in splits:
        scored = [o for o in make_objectives(config) if split in o.splits or (split == "search" and not o.splits)]
        slices: list[tuple[Objective, slice | None]] = [(o, o.splits.get(split)) for o in scored]  # type: ignore[call-overload]
        found[split] = {o.name: o.evaluate(model, examples, config.seed).value for o, examples in slices}
    return found


def _as_is(engine: MergeEngine, pool: Pool) -> LiveModel:
    """The only model of a pool, unmerged."""
    from searcher.baselines import standard_baselines

    [name] = [m.name for m in pool.models]
    recipes = dict(standard_baselines([name], None, pool.layout.n_parameters))
    return engine.build(recipes[name])
