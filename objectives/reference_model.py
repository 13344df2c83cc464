"""A model that candidates are compared with, loaded beside the live one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from searcher.errors import ConfigError, PoolError
from searcher.merge.live_model import LiveModel

if TYPE_CHECKING:
    import torch


class ReferenceModel:
    """A full model in a folder or on the hub; its weights are read when asked for.

    Args:
        model: Folder or hub id; a relative folder resolves against ``root``.
        root: Folder that relative paths resolve against.
        where: Names the setting in messages.

    Raises:
        ConfigError: If there is no such model, or it is an adapter.
    """

    def __init__(self, model: str, *, root: Path, where: str) -> None:
        from searcher.pool.files import find_files  # brings torch
        from searcher.pool.model_path import locate

        self._root, self._where = root, where
        try:
            [place] = locate([], [model], root)
            found = find_files(place.path)
        except PoolError as error:
            raise self._unusable(error) from error
        if found.kind == "lora":
            raise ConfigError(
                f"{model} is an adapter.", where=where, fix="Name the full model that adapters were trained on."
            )
        self._path = place.path
        index = () if found.index is None else (found.index,)
        self.files = tuple(found.folder / name for name in (*found.weights, *found.side, *index))

    def load(self, like: LiveModel) -> torch.nn.Module:
        """The model, in evaluation mode, in the type and on the device of the live model.

        Raises:
            ConfigError: If it cannot be loaded.
        """
        from searcher.pool.pool import open_pool

        weight = next(like.module.parameters())
        try:
            pool = open_pool(base=None, models=[str(self._path.resolve())], root=self._root)
            pool = replace(pool, dtype=str(weight.dtype).removeprefix("torch."))  # later casts would touch buffers too
            module, _ = pool.load_module()
        except PoolError as error:
            raise self._unusable(error) from error
        return module.to(weight.device)

    def _unusable(self, error: PoolError) -> ConfigError:
        return ConfigError(error.what, where=f"{self._where}: {error.where}", fix=error.fix)
