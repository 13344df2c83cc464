"""config.yaml to typed settings; errors name file, line, key and what is allowed.

The sections ``operator``, ``space``, ``strategy``, ``executor`` and each objective belong to registered
components, and their keys are the arguments of the component's constructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from searcher.components import STRICT, settings_model
from searcher.config_errors import explain
from searcher.config_sections import (
    BudgetSection,
    CacheSection,
    HalvingSection,
    ItemSelectionSection,
    LogSection,
    OutputSection,
    RacingSection,
)
from searcher.errors import ConfigError, nearest
from searcher.executor.base import EXECUTORS
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.function_reference import reference_of
from searcher.operator_section import operator_model
from searcher.registry import Registry
from searcher.spaces.base import SPACES
from searcher.strategies.base import STRATEGIES
from searcher.yaml_file import YamlDocument, parse_value, read_yaml

Section = dict[str, Any]
OPTUNA = "optuna:"
NAMED = ("operator", "space", "strategy", "executor")  # sections that a component's name alone may stand for


class ModelEntry(BaseModel):
    """A model of the pool with a name of its own."""

    model_config = STRICT
    path: Annotated[str, Field(min_length=1, description="Folder, or hub id (org/name or org/name@revision).")]
    name: Annotated[str | None, Field(min_length=1, description="Name in the run; the folder's by default.")] = None


class PoolSection(BaseModel):
    """The source models."""

    model_config = STRICT
    base: Annotated[
        str | ModelEntry | None, Field(description="The common base; may be omitted for linear and slerp.")
    ] = None
    models: Annotated[
        list[str | ModelEntry], Field(min_length=1, description="Folders, hub ids or LoRA adapter folders.")
    ]
    loader: Annotated[
        str,
        Field(
            pattern=r"^(transformers|python:.+:\w+)$",
            description="`transformers`, or `python:module:function` (or path/to/file.py:function) that returns a "
            "torch module for a folder.",
        ),
    ] = "transformers"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Field(description="Storage type of sources and result; arithmetic is float32. `auto`: as in the files."),
    ] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="Where models live.")] = "auto"
    memory: Annotated[
        Literal["auto", "resident", "host", "stream"],
        Field(
            description="Where sources live: on the device, in the host's memory, or in their files. `auto`: the first "
            "of these that fits."
        ),
    ] = "auto"
    trust_remote_code: Annotated[Literal[False], Field(description="Code from model folders is never run.")] = False


class Config(BaseModel):
    """A whole config file."""

    model_config = ConfigDict(**{**STRICT, "frozen": True})
    run: Annotated[str, Field(min_length=1, description="Run folder; {date} and {seed} may be used.")] = "runs/{date}"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    pool: PoolSection
    operator: Annotated[Section, Field(description="Merge operator and its settings.")] = {"name": "task_arithmetic"}
    space: Annotated[Section, Field(description="What the genes mean.")] = {"name": "model_wise"}
    objectives: Annotated[list[Section], Field(min_length=1, description="What to optimise.")]
    strategy: Annotated[Section, Field(description="How to search.")] = {"name": "auto"}
    budget: BudgetSection = BudgetSection(evaluations=100)
    executor: Annotated[Section, Field(description="Where evaluations run.")] = {"name": "serial"}
    baselines: Annotated[Literal["standard", "none"], Field(description="Merges evaluated first.")] = "standard"
    earlier_runs: Annotated[
        list[str], Field(description="Run folders of the same problem, whose scores the strategy is told first.")
    ] = []
    racing: RacingSection = RacingSection()
    cache: CacheSection = CacheSection()
    item_selection: ItemSelectionSection = ItemSelectionSection()
    halving: HalvingSection = HalvingSection()
    output: OutputSection = OutputSection()
    log: LogSection = LogSection()
    _document: YamlDocument = PrivateAttr(default_factory=lambda: YamlDocument({}))
    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator(*NAMED, mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        """``strategy: auto`` stands for ``strategy: {name: auto}``."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("budget")
    @classmethod
    def _ends(cls, budget: BudgetSection) -> BudgetSection:
        if budget.evaluations is None and budget.hours is None:
            raise ValueError("give evaluations, hours or both; a run must end")
        return budget

    @property
    def root(self) -> Path:
        """Folder that relative paths of the config resolve against."""
        return self._root

    def where(self, *path: str | int) -> str:
        """File, line and key for a message."""
        return self._document.where(path)

    def resolved(self) -> dict[str, Any]:
        """Every setting with its default filled in, as JSON data; functions become references to them."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, fallback=_reference)
        return data


def _reference(value: Any) -> str:  # noqa: ANN401 - whatever a Python caller put into a config
    if not callable(value):
        raise ConfigError(
            f"A setting holds a {type(value).__name__}, which cannot be recorded.",
            where="config",
            fix="Use numbers, texts, lists and mappings, or a module-level function.",
        )
    return reference_of(value)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file, apply ``KEY=VALUE`` overrides (dotted keys), check everything that needs no models.

    Raises:
        ConfigError: With file, line and key of the first problem.
    """
    document = read_yaml(path)
    apply_overrides(document, overrides)
    return make_config(document)


def apply_overrides(document: YamlDocument, overrides: Sequence[str]) -> None:
    """Change a document in place by ``KEY=VALUE`` texts.

    Raises:
        ConfigError: If a text has no ``=`` or its key cannot be reached.
    """
    for override in overrides:
        _override(document, override)


def make_config(document: YamlDocument, root: Path | None = None) -> Config:
    """Check a document; relative paths resolve against ``root``, by default the working directory.

    Raises:
        ConfigError: With file, line and key of the first problem.
    """
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        raise explain(error, document, Config) from None
    checked: dict[str, Any] = {
        "operator": _operator(config.operator, document),
        "space": _component(SPACES, config.space, ("space",), document),
        "strategy": _strategy(config.strategy, document),
        "executor": _component(EXECUTORS, config.executor, ("executor",), document),
        "objectives": [_objective(o, ("objectives", i), document) for i, o in enumerate(config.objectives)],
    }
    _check_names(checked["objectives"], document)
    _check_exports(config.output.export, checked["objectives"], document)
    config = config.model_copy(update=checked)
    config._document = document
    config._root = (root or Path.cwd()).resolve()
    return config


def _component(
    registry: Registry[Any],
    section: Section,
    path: tuple[str | int, ...],
    document: YamlDocument,
    *,
    key: str = "name",
    common: type[BaseModel] | None = None,
) -> Section:
    """A section with the defaults of its component filled in."""
    if key not in section:
        raise ConfigError(
            f"Key {key!r} is missing in {'.'.join(map(str, path))}.",
            where=document.where(path),
            fix=f"Add `{key}:`, one of {', '.join(registry.names())}.",
        )
    name = section[key]
    if name not in registry.load():
        try:
            registry.get(str(name))
        except ConfigError as error:
            raise ConfigError(error.what, where=document.where((*path, key)), fix=error.fix) from None
    model = settings_model(name, registry.get(name), key=key)
    own = {k: v for k, v in section.items() if common is None or k not in common.model_fields}
    shared = {k: v for k, v in section.items() if common is not None and k in common.model_fields}
    try:
        # by attribute, not by model_dump: settings may be objects when the config comes from Python
        values = {k: getattr(m, k) for m in _validated(common, shared, model, own) for k in type(m).model_fields}
    except ValidationError as error:
        raise explain(error, document, model, path) from None
    return {k: v for k, v in values.items() if v is not None}


def _validated(
    common: type[BaseModel] | None, shared: Section, model: type[BaseModel], own: Section
) -> Sequence[BaseModel]:
    return [*([common.model_validate(shared)] if common else []), model.model_validate(own)]


class ObjectiveCommon(BaseModel):
    """Keys that every objective has."""

    model_config = STRICT
    name: Annotated[str, Field(min_length=1, description="Name in the run.")]
    reference: Annotated[float | None, Field(description="Bound of the hypervolume; from the baselines if absent.")] = (
        None
    )
    target: Annotated[float | None, Field(description="Value wished for; the nearest point gets the tag target.")] = (
        None
    )


def _objective(section: Section, path: tuple[str | int, ...], document: YamlDocument) -> Section:
    return _component(OBJECTIVES, section, path, document, key="type", common=ObjectiveCommon)


def _check_names(objectives: Sequence[Section], document: YamlDocument) -> None:
    seen: set[str] = set()
    for i, objective in enumerate(objectives):
        if objective["name"] in seen:
            raise ConfigError(
                f"Two objectives are called {objective['name']!r}.",
                where=document.where(("objectives", i, "name")),
                fix="Give each objective a name of its own.",
            )
        seen.add(objective["name"])


def _check_exports(points: Sequence[str | int], objectives: Sequence[Section], document: YamlDocument) -> None:
    """A misspelt point would otherwise be noticed only after the whole search."""
    known = ["knee", "balanced", *(f"best:{o['name']}" for o in objectives)]
    known += ["target"] if any("target" in o for o in objectives) else []
    for i, point in enumerate(points):
        text = str(point)
        if text not in known and not (text.isascii() and text.isdecimal()):
            hint = nearest(text, known)
            raise ConfigError(
                f"There is no point {text!r} to export." + (f" Did you mean {hint!r}?" if hint else ""),
                where=document.where(("output", "export", i)),
                fix=f"Use a candidate number or one of: {', '.join(known)}.",
            )


def _strategy(section: Section, document: YamlDocument) -> Section:
    """Optuna samplers take their own keyword arguments, which are checked when the sampler is made."""
    if str(section.get("name", "")).startswith(OPTUNA):
        return dict(section)
    return _component(STRATEGIES, section, ("strategy",), document)


def _operator(section: Section, document: YamlDocument) -> Section:
    """Settings are numbers or ``{search: [low, high]}``."""
    from searcher.merge.operators.base import OPERATORS

    path = ("operator",)
    if section.get("name") not in OPERATORS.load():
        return _component(OPERATORS, section, path, document)  # raises with the right hint
    model = operator_model(section["name"])
    try:
        values: Section = model.model_validate(section).model_dump(exclude_none=True)
    except ValidationError as error:
        raise explain(error, document, model, path) from None
    return values


def _override(document: YamlDocument, text: str) -> None:
    """Apply one ``KEY=VALUE``; the key is dotted, list items by number."""
    key, separator, value = text.partition("=")
    source = f"--set {text}"
    if not separator or not key or "\n" in text:
        raise ConfigError(f"Expected KEY=VALUE, but got {text!r}.", where="--set", fix="For example --set seed=1.")
    node: Any = document.data
    parts: list[Any] = [int(p) if p.isascii() and p.isdecimal() else p for p in key.split(".")]
    if len(parts) > 1 and parts[0] in NAMED and isinstance(node.get(parts[0]), str):
        node[parts[0]] = {"name": node[parts[0]]}  # `strategy: auto` stands for `strategy: {name: auto}`
    try:
        for part in parts[:-1]:
            node = node[part] if isinstance(node, list) else node.setdefault(part, {})
        node[parts[-1]] = parse_value(value, source)
    except (TypeError, IndexError, AttributeError):
        raise ConfigError(
            f"There is no key {key!r} to set.", where=source, fix="Write the keys as in the config, joined by dots."
        ) from None


def config_schema() -> Mapping[str, Any]:
    """JSON schema of the config file, for editors."""
    from searcher.config_schema import build_schema

    return build_schema(Config, ObjectiveCommon)
