"""Several spaces side by side, each on some of the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from pydantic import ValidationError
from typing_extensions import override

from searcher.candidate import Genome
from searcher.components import settings_model
from searcher.errors import UnknownNameError
from searcher.pool.layout import TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES, Space, SpaceContext
from searcher.spaces.group_map import group_tensors
from searcher.spaces.groups import checked_genes
from searcher.spaces.name_patterns import check_matches
from searcher.spaces.part_of_line import PartOfLine, joined
from searcher.spaces.setting_genes import SettingGenes


@SPACES.register("product")
class Product(Space):
    """Several spaces, each on the tensors that its pattern matches; the genes stand one after the other.

    Operator settings searched per group have genes in every part, those searched per run one for all.

    Args:
        context: Pool and operator.
        spaces: The parts, each ``{match: PATTERN, name: SPACE, ...}`` with the settings of that space; ``label`` names
            it in genes instead of the pattern. A tensor belongs to the first part whose shell pattern matches its
            name; the last pattern is usually ``*``, as every tensor must belong to one.
    """

    def __init__(self, context: SpaceContext, *, spaces: tuple[dict[str, Any], ...]) -> None:
        self._context = context
        sections = [_Section(i, section) for i, section in enumerate(spaces)]
        self._labels = tuple(section.label for section in sections)
        if not sections or len(set(self._labels)) < len(sections):
            raise ValueError(f"Expected parts with labels of their own, but got {list(self._labels)}.")
        self._parts = [PartOfLine(context.layout, tensors) for tensors in _shared_out(context, sections)]
        self._spaces = [s.make(part.context(context)) for s, part in zip(sections, self._parts, strict=True)]
        self._stops = np.cumsum([len(space.names) for space in self._spaces]).tolist()
        per_run = replace(context, searched=tuple(s for s in context.searched if s.per == "run"), fixed={})
        self._settings = SettingGenes(per_run, group_tensors(context.layout, lambda _: "all"))

    @property
    @override
    def names(self) -> tuple[str, ...]:
        named = zip(self._labels, self._spaces, strict=True)
        return (*(f"{label}: {name}" for label, space in named for name in space.names), *self._settings.names)

    @override
    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        genes = checked_genes(genome, self._stops[-1] + len(self._settings.names))
        cut = np.split(genes, self._stops)
        recipes = [
            space.decode(own, [part.restrict(parent) for parent in parents])
            for space, part, own in zip(self._spaces, self._parts, cut[:-1], strict=True)
        ]
        return joined(self._parts, recipes, self._settings.decode(cut[-1]))

    @override
    def encode(self, recipe: Recipe) -> Genome | None:
        if recipe.n_parameters != self._context.layout.n_parameters or recipe.layers is not None:
            return None
        found: list[Genome] = []
        for space, part in zip(self._spaces, self._parts, strict=True):
            genome = space.encode(part.restrict(recipe))
            if genome is None:
                return None
            found.append(genome)
        return np.concatenate([*found, self._settings.encode(recipe)])

    @override
    def describe(self) -> str:
        n = len(self.names)
        lines = [f"product: {len(self._spaces)} spaces, {n} {'gene' if n == 1 else 'genes'}"]
        for label, space, part in zip(self._labels, self._spaces, self._parts, strict=True):
            own = space.describe().replace("\n", "\n    ")
            lines.append(
                f"  {label}: {len(part.layout.tensors)} tensors, {part.layout.n_parameters} parameters\n    {own}"
            )
        return "\n".join([*lines, *self._settings.describe()])


class _Section:
    """The config of one part, checked.

    Raises:
        ValueError: If a key is missing, unknown or of the wrong type.
    """

    def __init__(self, index: int, section: Mapping[str, Any]) -> None:
        rest = dict(section)
        if not {"match", "name"} <= rest.keys():
            raise ValueError(f"Expected `match` and `name` in part {index} of the spaces, but got {dict(section)}.")
        self.pattern, self.name = str(rest.pop("match")), str(rest.pop("name"))
        self.label = str(rest.pop("label", self.pattern))
        try:
            checked = settings_model(self.name, SPACES.get(self.name)).model_validate({"name": self.name, **rest})
        except UnknownNameError as error:
            raise ValueError(f"Part {self.label!r} of the spaces: {error.what} {error.fix}") from error
        except ValidationError as error:
            raise ValueError(_explained(self.label, self.name, error)) from error
        self._settings = {key: getattr(checked, key) for key in type(checked).model_fields if key != "name"}

    def make(self, context: SpaceContext) -> Space:
        """The space on a part of the line.

        Raises:
            ValueError: If it cannot be made, or its merges are of another depth.
        """
        cls: Any = SPACES.get(self.name)
        space: Space = cls(context, **self._settings)
        if space.decode(np.full(len(space.names), 0.5)).layers is not None:
            raise ValueError(f"Expected spaces that keep the order of layers, but part {self.label!r} is {self.name}.")
        return space


def _explained(label: str, name: str, error: ValidationError) -> str:
    """What is wrong with the settings of a part, in one line."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return f"Part {label!r} of the spaces, key {key!r}: {first['msg']}."
    known = ", ".join(sorted(settings_model(name, SPACES.get(name)).model_fields))
    return f"Part {label!r} of the spaces has an unknown key {key!r}; keys of {name}: {known}."


def _shared_out(context: SpaceContext, sections: Sequence[_Section]) -> list[list[TensorEntry]]:
    """The tensors of each part.

    Raises:
        ValueError: If a tensor belongs to none, or a part has none.
    """
    check_matches([section.pattern for section in sections], context.layout)
    parts: list[list[TensorEntry]] = [[] for _ in sections]
    for tensor in context.layout.tensors:
        found = (part for part, s in zip(parts, sections, strict=True) if fnmatchcase(tensor.name, s.pattern))
        part = next(found, None)
        if part is None:
            raise ValueError(
                f"Expected a part for every tensor, but {tensor.name!r} matches none: end with `match: '*'`."
            )
        part.append(tensor)
    for part, section in zip(parts, sections, strict=True):
        if not sum(tensor.size for tensor in part):
            raise ValueError(f"Expected tensors in part {section.label!r}, but earlier parts match all of its own.")
    return parts
