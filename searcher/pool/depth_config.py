"""config.json of a model whose layers were chosen from models of other depths."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Lists with one entry per layer; other lists of that length mean something else.
LAYER_LISTS = frozenset(
    {"layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "attn_type_list", "block_configs"}
)
# Lists of layer numbers, which a change of depth makes wrong.
LAYER_NUMBERS = frozenset(
    {"mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "full_attention_idxs", "moe_layers"}
)

Origin: TypeAlias = tuple[Mapping[str, Any], int]
"""The config that a layer of the result comes from, and its number there."""


def set_depth(content: dict[str, Any], old: int, origins: Sequence[Origin]) -> list[str]:
    """Change the number of layers, and lists with an entry per layer, in place.

    Args:
        content: A config with ``old`` layers.
        old: Their number.
        origins: Where each layer of the result comes from.

    Returns:
        Warnings about what may be wrong now.
    """
    part = depth_part(content, old)
    if part is None:
        return [f"config.json states no number of layers that is {old}; set it to {len(origins)} yourself"]
    for key in DEPTH_KEYS:
        if part.get(key) == old:
            part[key] = len(origins)
    for key in LAYER_LISTS & part.keys():
        if isinstance(part[key], list) and len(part[key]) == old:
            part[key] = [_entry(config, key, layer, part[key]) for config, layer in origins]
    numbered = numbers_of_layers(part)
    return [f"config.json {key} holds numbers of layers, which have changed; check it" for key in numbered]


def with_depth(content: Mapping[str, Any], old: int, origins: Sequence[Origin]) -> dict[str, Any]:
    """A copy of a config with another number of layers; see :func:`set_depth`."""
    changed = copy.deepcopy(dict(content))
    set_depth(changed, old, origins)
    return changed


def depth_part(content: dict[str, Any], n_layers: int) -> dict[str, Any] | None:
    """The object, or the one in it such as ``text_config``, that states this number of layers."""
    return next((p for p in parts_of(content) if any(p.get(key) == n_layers for key in DEPTH_KEYS)), None)


def numbers_of_layers(part: Mapping[str, Any]) -> list[str]:
    """Entries of a config that name layers by number, sorted."""
    return [key for key in sorted(LAYER_NUMBERS & part.keys()) if part[key]]


def parts_of(content: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a JSON object
    """The object and the objects in it, such as ``text_config``."""
    yield content
    yield from (value for value in content.values() if isinstance(value, dict))


def _entry(config: Mapping[str, Any], key: str, layer: int, fallback: Sequence[Any]) -> Any:  # noqa: ANN401 - any JSON value
    """What a model's config says of one layer in a list with one entry per layer."""
    for part in parts_of(config):
        found = part.get(key)
        if isinstance(found, list) and layer < len(found):
            return found[layer]
    return fallback[layer] if layer < len(fallback) else fallback[-1]
