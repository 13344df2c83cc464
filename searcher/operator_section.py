"""The config section of an operator: every numeric setting is a number or a gene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model, model_validator

from searcher.components import STRICT, summary
from searcher.errors import ConfigError
from searcher.merge.operators.base import OPERATORS, Setting
from searcher.spaces.base import SearchedSetting


class SearchRange(BaseModel):
    """A setting that is searched instead of fixed."""

    model_config = STRICT
    search: Annotated[
        tuple[float, float] | Literal[True], Field(description="[low, high], or true for the usual range.")
    ]
    per: Annotated[Literal["run", "group"], Field(description="One gene, or one per group of the space.")] = "run"

    @model_validator(mode="after")
    def _ordered(self) -> SearchRange:
        if self.search is not True and self.search[0] >= self.search[1]:
            raise ValueError(f"expected [low, high] with low < high, but got {list(self.search)}")
        return self


def setting_of(annotation: object) -> Setting | None:
    """The :class:`Setting` attached to an annotated field, if any."""
    if get_origin(annotation) is Annotated:
        return next((a for a in get_args(annotation)[1:] if isinstance(a, Setting)), None)
    return None


def operator_model(name: str) -> type[BaseModel]:
    """A pydantic model of an operator's section."""
    operator = OPERATORS.get(name)
    hints = get_type_hints(operator, include_extras=True)
    made: dict[str, Any] = {"name": (Literal[name], Field(description=summary(operator)))}
    for item in fields(operator):
        annotation, setting = hints[item.name], setting_of(hints[item.name])
        if setting is None:
            made[item.name.rstrip("_")] = (annotation, item.default)
            continue
        low = setting.low if setting.minimum is None else setting.minimum
        high = setting.high if setting.maximum is None else setting.maximum
        number: Any = Annotated[float, Field(ge=low, le=high)]
        made[item.name.rstrip("_")] = (number | SearchRange, Field(default=item.default, description=setting.help))
    return create_model("".join(p.capitalize() for p in name.split("_")), __config__=STRICT, **made)


def split_settings(
    name: str, section: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], tuple[SearchedSetting, ...]]:
    """Fixed settings and searched ones of a checked section.

    Raises:
        ConfigError: If a searched range leaves the setting's legal range.
    """
    operator = OPERATORS.get(name)
    hints = {k.rstrip("_"): v for k, v in get_type_hints(operator, include_extras=True).items()}
    fixed: dict[str, Any] = {}
    searched: list[SearchedSetting] = []
    for key, value in section.items():
        if key == "name":
            continue
        if not isinstance(value, Mapping):
            fixed[key] = value
            continue
        setting = setting_of(hints[key])
        assert setting is not None  # only annotated settings accept a range
        low, high = (setting.low, setting.high) if value["search"] is True else value["search"]
        legal = (
            setting.low if setting.minimum is None else setting.minimum,
            setting.high if setting.maximum is None else setting.maximum,
        )
        if low < legal[0] or high > legal[1]:
            raise ConfigError(
                f"Setting {key!r} of {name} cannot be searched in [{low:g}, {high:g}].",
                where=where,
                fix=f"Choose a range inside [{legal[0]:g}, {legal[1]:g}].",
            )
        searched.append(SearchedSetting(key, float(low), float(high), value["per"]))
    return fixed, tuple(searched)
