"""Make a module's parameters views of one buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searcher.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from searcher.pool.layout import Layout, TensorEntry


def bind_module(module: torch.nn.Module, layout: Layout, weights: torch.Tensor) -> None:
    """Point every parameter, and every floating buffer that the layout holds, into ``weights``.

    Tied parameters share one view. Buffers that no source file stores (rotary tables, masks) and integer
    buffers stay as they are and only move to the device. The module ends in evaluation mode without gradients.

    Args:
        module: The reference model.
        layout: The parameter line.
        weights: The output buffer, shape ``(P,)``.

    Raises:
        PoolError: If the layout lacks a parameter or holds it with another shape.
    """
    finder = _Finder(module, layout)
    module.eval()
    module.requires_grad_(requires_grad=False)
    for names, parameter in _distinct(module.named_parameters(remove_duplicate=False)):
        entry = finder.find(names)
        if entry is None:
            raise PoolError(
                f"The model has a parameter {names[0]!r} that no source file stores.",
                where=f"parameter {names[0]}",
                fix="Check that the loader builds the same architecture as the saved weights.",
            )
        parameter.data = _view(weights, entry, parameter, names[0])
    for name, buffer in module.named_buffers(remove_duplicate=False):
        entry = finder.find([name])
        if entry is not None and buffer.is_floating_point():
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner)._buffers[leaf] = _view(weights, entry, buffer, name)
    module.to(weights.device)  # what is bound is there already and is not copied


class _Finder:
    """From a module's names to layout entries; a checkpoint may leave out the prefix of the base model."""

    def __init__(self, module: torch.nn.Module, layout: Layout) -> None:
        stored = {entry.name: entry for entry in layout.tensors}
        self._by_name = stored | {alias: stored[name] for alias, name in layout.tied.items()}
        prefix = getattr(module, "base_model_prefix", "")
        self._prefix = f"{prefix}." if isinstance(prefix, str) and prefix else ""

    def find(self, names: Iterable[str]) -> TensorEntry | None:
        """The entry of the first name that the layout knows."""
        candidates = [*names]
        if self._prefix:
            candidates += [name.removeprefix(self._prefix) for name in names]
            candidates += [self._prefix + name for name in names]
        return next((self._by_name[name] for name in candidates if name in self._by_name), None)


def _distinct(
    named: Iterable[tuple[str, torch.nn.Parameter]],
) -> Iterable[tuple[list[str], torch.nn.Parameter]]:
    """Each parameter once with all its names."""
    found: dict[int, tuple[list[str], torch.nn.Parameter]] = {}
    for name, parameter in named:
        found.setdefault(id(parameter), ([], parameter))[0].append(name)
    return found.values()


def _view(weights: torch.Tensor, entry: TensorEntry, like: torch.Tensor, name: str) -> torch.Tensor:
    if tuple(like.shape) != entry.shape:
        raise PoolError(
            f"The model's {name!r} has shape {tuple(like.shape)} but the files store {entry.shape}.",
            where=f"tensor {entry.name}",
            fix="Check that config.json and the weights of the reference model belong together.",
        )
    return weights[entry.offset : entry.stop].view(entry.shape)
