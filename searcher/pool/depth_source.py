"""Models of another depth: what stands for the pool's reference when layers were chosen from its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.depth import Stack, check_same_shapes, find_stack
from searcher.pool.depth_config import LAYER_LISTS, Origin, depth_part, numbers_of_layers, with_depth
from searcher.pool.layout import block_key
from searcher.pool.source import FullSource

if TYPE_CHECKING:
    import torch

    from searcher.pool.loader import Loader
    from searcher.pool.pool import Pool
    from searcher.pool.safetensors_file import StoredTensor

# Entries that make the function of a layer depend on its number.
_BY_NUMBER = frozenset({"scale_attn_by_inverse_layer_idx"})


class DepthSource(FullSource):
    """A full model with its layers in another order, left out or repeated; nothing is copied.

    Args:
        source: The model.
        stack: Its layers.
        layers: Number in the model of each layer.
        config: Content of config.json for this depth.
    """

    def __init__(self, source: FullSource, stack: Stack, layers: Sequence[int], config: Mapping[str, Any]) -> None:
        super().__init__(source.name, source._files, source.origin)
        self._config = config
        self.tie(source._tied)
        self._origins = _stored_names(source, stack, layers)

    @override
    def read_stored(self, name: str) -> torch.Tensor:
        return super().read_stored(self._origins[name])

    @property
    @override
    def stored(self) -> Mapping[str, StoredTensor]:
        found = super().stored
        return {name: replace(found[origin], name=name) for name, origin in self._origins.items()}

    @property
    @override
    def config(self) -> Mapping[str, Any]:
        return self._config


class OtherDepths:
    """Makes references of other depths for a pool.

    Args:
        pool: Its loader must be able to build another depth.

    Raises:
        PoolError: If the loader or the models cannot have another depth.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        try:
            self.stack = find_stack(pool.layout)
            check_same_shapes(self.stack)
        except ValueError as error:
            raise _refused(pool, str(error)) from error
        content, full = dict(pool.reference.config), self._full_configs[pool.reference.name]
        part = depth_part(content, len(self.stack.layers))
        if part is None:
            raise _refused(pool, f"config.json does not state {len(self.stack.layers)} as the number of layers")
        numbered = [*numbers_of_layers(part), *(key for key in sorted(_BY_NUMBER) if part.get(key))]
        if numbered:
            raise _refused(pool, f"config.json makes layers differ by their number ({', '.join(numbered)})")
        self._content = _with_layer_lists(content, full, len(self.stack.layers))

    def source(self, layers: Sequence[tuple[str, int]]) -> DepthSource:
        """The reference with these layers.

        Args:
            layers: The model whose config speaks for each layer, and its number.

        Raises:
            PoolError: If the pool has no such model.
        """
        reference = self._pool.reference
        origins: list[Origin] = [(self._full_config(name), layer) for name, layer in layers]
        config = with_depth(self._content, len(self.stack.layers), origins)
        return DepthSource(reference, self.stack, [layer for _, layer in layers], config)

    def _full_config(self, name: str) -> Mapping[str, Any]:
        """A model's config; an adapter has that of the model it changes."""
        self._pool.source(name)  # refuses unknown names
        return self._full_configs.get(name, self._full_configs[self._pool.reference.name])

    @cached_property
    def _full_configs(self) -> dict[str, Mapping[str, Any]]:
        """Configs with what config.json leaves to the architecture, such as types of layers, by model."""
        pool = self._pool
        sources = pool.models if pool.base is None else (pool.base, *pool.models)
        return {s.name: _full_config(pool, s) for s in sources if isinstance(s, FullSource)}


def _full_config(pool: Pool, source: FullSource) -> Mapping[str, Any]:
    loader: Loader | None = pool.loader
    found = None if loader is None else loader.full_config(source)
    if found is None:
        raise _refused(pool, "the pool's loader builds modules of one depth only")
    return found


def _with_layer_lists(content: dict[str, Any], full: Mapping[str, Any], n_layers: int) -> dict[str, Any]:
    """The config with lists of an entry per layer that the architecture would derive from the layers' numbers."""
    part, found = depth_part(content, n_layers), depth_part(dict(full), n_layers)
    if part is None or found is None:
        return content
    missing = {key: found[key] for key in LAYER_LISTS & found.keys() - part.keys()}
    differing = {k: v for k, v in missing.items() if isinstance(v, list) and any(item != v[0] for item in v)}
    if part is content:
        return {**content, **differing}
    return {key: {**part, **differing} if value is part else value for key, value in content.items()}


def _stored_names(source: FullSource, stack: Stack, layers: Sequence[int]) -> dict[str, str]:
    """Name in the deeper model of every stored tensor, integers and unread ones too, to its name in the model."""
    outside: list[str] = []
    inside: dict[int, list[str]] = {}
    for name in source.stored:
        key = block_key(name)
        if key is not None and key[0] == stack.prefix:
            inside.setdefault(key[1], []).append(name)
        else:
            outside.append(name)
    moved = {
        stack.name(depth, stack.local(name)): name
        for depth, layer in enumerate(layers)
        for name in inside.get(layer, ())
    }
    return {**{name: name for name in outside}, **moved}


def _refused(pool: Pool, fault: str) -> PoolError:
    return PoolError(
        f"Models of another depth cannot be built from this pool: {fault.rstrip('.')}.",
        where=f"space data_flow, model {pool.reference.name}",
        fix="Use decoder models that the transformers loader builds from equal layers, or another space.",
    )
