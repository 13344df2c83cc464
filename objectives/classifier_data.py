"""Labelled examples in an ``.npz`` file and the logits that a classifier gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Split
from searcher.errors import CandidateError, ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.splits import SplitSettings, split_examples

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ClassifierData:
    """Examples in their fixed order.

    Args:
        objective: Name of the objective, for messages.
        path: The ``.npz`` file.
        inputs: Shape ``(n_examples, ...)``; floating point, or integers such as token ids.
        labels: Class of each example, int64, shape ``(n_examples,)``.
        splits: The slice of each split.
        files: Everything that was read.
    """

    objective: str
    path: Path
    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    splits: Mapping[Split, slice]
    files: tuple[Path, ...]

    @property
    def n_examples(self) -> int:
        """Number of examples over all splits."""
        return int(self.labels.size)

    def logits(self, model: LiveModel, examples: slice | None, batch_size: int) -> NDArray[np.float32]:
        """The model's logits of these examples (None: all), float32, shape ``(n, n_classes)``, all finite.

        Floating-point inputs are given in the model's dtype on its device, as copies, so that a model that works
        in place cannot spoil the data for the next candidate. Integer inputs are given as int64.

        Raises:
            CandidateError: ``NonFiniteOutput`` if any logit is NaN or infinite, ``ForwardFailed`` if the model raises.
            ConfigError: If the outputs do not fit the labels, which no other candidate could mend.
        """
        import torch

        with torch.no_grad():
            batches = [
                self._checked(b)
                for b in self._forward(model.module, slice(None) if examples is None else examples, batch_size)
            ]
        logits: NDArray[np.float32] = np.concatenate(batches)
        if self.labels.max() >= logits.shape[1]:
            raise ConfigError(
                f"Labels go up to {self.labels.max()}, but the model gives {logits.shape[1]} logits.",
                where=f"objective {self.objective!r}, {self.path}",
                fix="Check that the data belongs to this model; labels count from 0.",
            )
        return logits

    def _forward(self, module: torch.nn.Module, examples: slice, batch_size: int) -> Iterator[tuple[object, int]]:
        """Outputs and number of examples, batch by batch."""
        import torch

        weight = next(module.parameters())
        inputs = self.inputs[examples]
        for start in range(0, len(inputs), batch_size):
            batch = torch.tensor(inputs[start : start + batch_size])
            batch = batch.to(weight.device, weight.dtype if batch.is_floating_point() else torch.int64)
            try:
                output = module(batch)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                message = f"the model failed on inputs of shape {tuple(batch.shape)}: {error}"
                raise CandidateError("ForwardFailed", f"Objective {self.objective!r}: {message}") from error
            yield getattr(output, "logits", output), len(batch)

    def _checked(self, batch: tuple[object, int]) -> NDArray[np.float32]:
        """One batch of logits on the host, after the gate that keeps broken models from being scored."""
        import torch

        output, n = batch
        if not isinstance(output, torch.Tensor) or output.ndim != 2 or output.shape[0] != n:
            got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ConfigError(
                f"Expected logits of shape ({n}, n_classes) for {n} examples, but the model gave {got}.",
                where=f"objective {self.objective!r}",
                fix="Use a model whose output is a tensor of logits or has it as `.logits`.",
            )
        logits: NDArray[np.float32] = output.float().cpu().numpy()
        n_broken = int(np.count_nonzero(~np.isfinite(logits)))
        if n_broken:
            message = f"Objective {self.objective!r}: {n_broken} of {logits.size} logits are NaN or infinite."
            raise CandidateError("NonFiniteOutput", message)
        return logits


def read_classifier_data(
    path: Path,
    *,
    objective: str,
    inputs_key: str = "inputs",
    labels_key: str = "labels",
    split: SplitSettings | None = None,
    batch_size: int = 1,
    root: Path = Path(),
) -> ClassifierData:
    """Read and check an ``.npz`` file and put its examples into their order, stratified by label.

    Nothing is unpickled.

    Args:
        path: The file; a relative path resolves against ``root``.
        objective: Name of the objective, for messages.
        inputs_key: Array of inputs, shape ``(n, ...)``.
        labels_key: Array of classes, integers from 0, shape ``(n,)``.
        split: See :func:`searcher.objectives.splits.split_examples`.
        batch_size: Only checked here: at least 1.
        root: Folder that relative paths resolve against.

    Raises:
        ConfigError: If the file, an array or a setting is not as described.
    """
    where = f"objective {objective!r}"
    if batch_size < 1:
        raise ConfigError(f"Expected a batch_size of at least 1, but got {batch_size}.", where=where, fix="Raise it.")
    file = root / path
    arrays = _read_arrays(file, (inputs_key, labels_key), f"{where}, {file}")
    inputs = _checked_inputs(arrays[inputs_key], f"{where}, {file}, array {inputs_key!r}")
    labels = _checked_labels(arrays[labels_key], len(inputs), f"{where}, {file}, array {labels_key!r}")
    parts = split_examples(len(labels), split, labels=labels, root=root, where=f"{where}, split")
    return ClassifierData(objective, file, inputs[parts.order], labels[parts.order], parts.slices, (file, *parts.files))


def _read_arrays(file: Path, keys: tuple[str, ...], where: str) -> dict[str, NDArray[Any]]:
    """The named arrays of an ``.npz`` file."""
    fix = "Write the file with numpy.savez_compressed(path, inputs=..., labels=...); object arrays are not read."
    if not file.is_file():
        raise ConfigError("The data file does not exist.", where=where, fix="Correct the path of `data`.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise TypeError("it is a single array")
            present = list(archive.files)
            found = {key: archive[key] for key in keys if key in present}
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged files
        raise ConfigError(f"Cannot read the data as an .npz file: {error}", where=where, fix=fix) from error
    for key in keys:
        if not isinstance(found.get(key, np.empty(0)), np.ndarray):  # numpy hands out other zip members as bytes
            raise ConfigError(f"The member {key!r} of the data file is not an array.", where=where, fix=fix)
        if key not in found:
            raise ConfigError(
                f"The data file has no array {key!r}; it has {', '.join(map(repr, present)) or 'none'}.",
                where=where,
                fix="Name its arrays with `inputs_key` and `labels_key`.",
            )
    return found


def _checked_inputs(inputs: NDArray[Any], where: str) -> NDArray[Any]:
    if inputs.ndim < 2 or inputs.shape[0] == 0 or inputs.dtype.kind not in "fiu":
        raise ConfigError(
            f"Expected numbers of shape (n, ...) with n of at least 1, but found {_described(inputs)}.",
            where=where,
            fix="Store one row of numbers per example.",
        )
    if inputs.dtype.kind in "iu":
        return inputs.astype(np.int64)
    if not np.all(np.isfinite(inputs)):
        raise ConfigError("Some inputs are NaN or infinite.", where=where, fix="Mend or remove those examples.")
    return inputs.astype(np.float32) if inputs.dtype == np.float16 else inputs


def _checked_labels(labels: NDArray[Any], n: int, where: str) -> NDArray[np.int64]:
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ConfigError(
            f"Expected integers of shape ({n},), one class per input, but found {_described(labels)}.",
            where=where,
            fix="Store one integer class per example.",
        )
    if labels.min() < 0 or int(labels.max()) > np.iinfo(np.int64).max:
        raise ConfigError("Some labels are negative or too large.", where=where, fix="Count classes from 0.")
    return labels.astype(np.int64)


def _described(array: NDArray[Any]) -> str:
    return f"shape {array.shape}, {array.dtype}"
