"""``searcher merge``: a file that describes a merge becomes a model folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from searcher.errors import ExportError
from searcher.export.atomic_folder import atomic_folder, check_destination
from searcher.export.manifest import write_manifest
from searcher.merge.placement import device_of
from searcher.mergekit.chat_template import chat_template
from searcher.mergekit.configuration import Configuration
from searcher.mergekit.merge_model import MergeModel, open_models
from searcher.mergekit.model_config import merged_config
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_plan import plan_outputs
from searcher.mergekit.reader import read_configuration
from searcher.mergekit.side_files import TOKENIZER_FILES, public, write_card, write_configs, write_tokenizer
from searcher.mergekit.tensor_merger import TensorMerger
from searcher.mergekit.tokenizers import build_tokenizer
from searcher.pool.safetensors_file import FLOAT_BY_DTYPE
from searcher.pool.weights_writer import PlannedTensor, write_weights
from searcher.version import __version__

SPARE_BYTES = 16 << 20  # side files, card and manifest beside the weights


@dataclass(frozen=True)
class MergeOptions:
    """How to carry out a merge.

    Args:
        device: ``auto`` (cuda if present, else cpu) or a torch device.
        overwrite: Replace an earlier merge or export at the destination.
        seed: Seed of random masks (``dare_*``, ``della*``).
        sources: For a recipe: name of a source to its folder or hub id.
        loader: For a recipe: ``transformers``, or ``python:...`` as ``pool.loader`` of a config.
        max_shard_bytes: Largest shard, in bytes.
        root: Folder that relative paths in the file start from; the current one if None.
    """

    device: str = "auto"
    overwrite: bool = False
    seed: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    loader: str = "transformers"
    max_shard_bytes: int = 2 << 30
    root: Path | None = None


@dataclass(frozen=True)
class MergeSummary:
    """What was written.

    Args:
        folder: Where.
        n_tensors: Number of tensors.
        n_bytes: Size of the weights.
        seconds: Time taken.
        warnings: What was read and has no effect, and what to check.
    """

    folder: Path
    n_tensors: int
    n_bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "folder": str(self.folder), "tensors": self.n_tensors, "bytes": self.n_bytes,
            "seconds": round(self.seconds, 3), "warnings": list(self.warnings),
        }  # fmt: skip


def merge_file(path: Path, to: Path, *, options: MergeOptions | None = None) -> MergeSummary:
    """Merge what a mergekit configuration (YAML) or a recipe of ours (JSON) describes.

    The folder is whole or absent: an ordinary model folder with config, tokenizer, model card, a copy of the
    configuration and a manifest. Nothing is downloaded unless the file names models of the hub.

    Args:
        path: A mergekit configuration, or ``recipe.json`` as ``searcher export --format recipe`` writes it.
        to: Folder to write; must be new or empty, or an earlier export or merge if ``options.overwrite``.
        options: How to carry it out.

    Raises:
        ConfigError: If the file cannot be used.
        PoolError: If the models cannot be merged.
        ExportError: If the folder cannot be written.
    """
    options = options or MergeOptions()
    if path.suffix.lower() == ".json":
        from searcher.mergekit.recipe_file import merge_recipe

        return merge_recipe(path, to, options)
    started = time.monotonic()
    check_destination(to, overwrite=options.overwrite)
    job = _Job(read_configuration(path), options)
    planned = job.merger.planned
    _check_space(to, planned)
    with atomic_folder(to, overwrite=options.overwrite) as folder:
        write_weights(folder, job.merger.tensors(), planned, max_shard_bytes=options.max_shard_bytes)
        job.write_side_files(folder, name=to.name)
        write_manifest(folder, job.facts())
    n_bytes = sum(tensor.n_bytes for tensor in planned)
    return MergeSummary(to, len(planned), n_bytes, time.monotonic() - started, job.warnings)


class _Job:
    """One configuration with its models opened and its tensors planned.

    Raises:
        ConfigError: If the configuration does not fit the models.
        PoolError: If the models do not fit together.
    """

    def __init__(self, configuration: Configuration, options: MergeOptions) -> None:
        self._configuration, self._options = configuration, options
        root = Path.cwd() if options.root is None else options.root
        where = configuration.document.where
        self._models = open_models({m: where(key) for m, key in configuration.models().items()}, root)
        self._donor = self._models[next(iter(self._models))]
        outputs, left_out = plan_outputs(configuration, self._models)
        self._tokens = self._build_tokenizer(root)
        vocabulary = None if self._tokens is None else self._tokens[1]
        device = device_of(options.device, where="--device")
        self.merger = TensorMerger(configuration, outputs, seed=options.seed, device=device, vocabulary=vocabulary)
        dtype, n_rows = _common_dtype(self.merger.planned), None if vocabulary is None else vocabulary.n_rows
        self._config, warned = merged_config(configuration, self._models, outputs, dtype=dtype, n_rows=n_rows)
        self._template = self._chat_template()
        names = [f"tensor {name} is computed at load time and not in all sources; it was left out" for name in left_out]
        if self._template is not None and TOKENIZER_FILES.isdisjoint(self._donor.source.side_files):
            warned.append(f"chat_template: {self._donor.reference.text} has no tokenizer files; it was left out")
        self.warnings = (*configuration.warnings, *names[:3], *warned)

    def write_side_files(self, folder: Path, *, name: str) -> None:
        """Write everything but weights and manifest."""
        write_configs(folder, self._donor, self._config, self._tokens)
        write_tokenizer(folder, self._donor, None if self._tokens is None else self._tokens[0], self._template)
        write_card(folder, name, self._configuration, self._models)

    def facts(self) -> dict[str, Any]:
        """What the manifest says of where the merge is from."""
        return {
            "format": "merge",
            "method": self._configuration.method.name,
            "config_sha256": hashlib.sha256(self._configuration.text.encode()).hexdigest(),
            "seed": self._options.seed,
            "sources": [public(model) for model in self._models.values()],
            "versions": {"searcher": __version__, "torch": version("torch")},
        }

    def _chat_template(self) -> str | None:
        wanted = self._configuration.chat_template
        where = self._configuration.document.where(("chat_template",))
        return None if wanted is None else chat_template(wanted, self._models.values(), where=where)

    def _build_tokenizer(self, root: Path) -> tuple[Any, Any] | None:
        """The new tokenizer and its tokens, if one is asked for."""
        request = self._configuration.tokenizer
        if request is None:
            return None
        model: MergeModel | None = None
        if isinstance(request.source, ModelReference):
            where = self._configuration.document.where(request.key)
            model = self._models.get(request.source) or MergeModel(request.source, "tokenizer", where=where, root=root)
        return build_tokenizer(self._configuration, request, self._models, self._donor, model)


def _common_dtype(planned: list[PlannedTensor]) -> str | None:
    """The type that all weights have, in torch's spelling, or None if they have several."""
    found = {FLOAT_BY_DTYPE[tensor.dtype] for tensor in planned if tensor.dtype in FLOAT_BY_DTYPE}
    return found.pop() if len(found) == 1 else None


def _check_space(to: Path, planned: list[PlannedTensor]) -> None:
    """Refuse before the first tensor what cannot fit on the disk."""
    needed = SPARE_BYTES + sum(tensor.n_bytes for tensor in planned)
    existing = next(parent for parent in [to.absolute(), *to.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        what = f"The merge needs {needed:,} bytes, but only {free:,} are free."
        fix = "Free disk space or choose another disk with --to; nothing has been written."
        raise ExportError(what, where=str(to), fix=fix)
