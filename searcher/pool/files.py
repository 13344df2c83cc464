"""Which files a model folder has, and which of them may be opened.

Nothing outside the folder is ever opened: names in an index must be plain file names, and a link must stay in
the folder. The one exception is the hub cache, whose snapshots are links to ``../../blobs``: there the whole
``models--*`` folder counts.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Literal

from searcher.errors import PoolError
from searcher.pool.safetensors_file import StoredTensor, read_header
from searcher.pool.strict_json import read_json_object

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MAX_INDEX_BYTES = 16 << 20  # the largest in use list 100,000 tensors in some 10 MB

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
SIDE_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab"})
MAX_SIDE_BYTES = 256 << 20
# Left by training or by other formats; they say nothing about the weights, or would be wrong beside merged ones.
NOT_SIDE_FILES = frozenset(
    {"trainer_state.json", "training.json", "training_args.json", "all_results.json", "train_results.json"}
    | {"eval_results.json", "requirements.txt", "LICENSE.txt", "NOTICE.txt", "MANIFEST.json", "manifest.json"}
    | {"recipe.json", ADAPTER_CONFIG}
)


@dataclass(frozen=True)
class ModelFiles:
    """What a folder holds of one model; headers have been read, weights have not.

    Args:
        folder: The folder.
        kind: Full weights or an adapter.
        tensors: File name of every tensor's weights and what its header says, by tensor name.
        index: Name of the shard index, or None.
        side: Names of the other files that belong to the model: config, tokenizer, generation settings.
    """

    folder: Path
    kind: Literal["full", "lora"]
    tensors: Mapping[str, tuple[str, StoredTensor]]
    index: str | None
    side: tuple[str, ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the .safetensors files, sorted."""
        return tuple(sorted({file for file, _ in self.tensors.values()}))


def find_files(path: Path) -> ModelFiles:
    """Files of the model in a folder, or of one .safetensors file in its folder.

    Raises:
        PoolError: If there are no safetensors weights, if it is unclear which are meant, if a file is missing or
            malformed, or if a name leads out of the folder.
    """
    try:
        return _find(path)
    except OSError as error:
        raise PoolError(
            f"The model cannot be opened: {error.strerror or error}.",
            where=str(path),
            fix="Check path and permissions.",
        ) from error


def _find(path: Path) -> ModelFiles:
    """The rules of :func:`find_files`."""
    if path.is_file():
        folder = path.parent
        return ModelFiles(folder, "full", _one_file(folder, path.name), None, _side_files(folder))
    if not path.is_dir():
        raise PoolError("There is no such model folder.", where=str(path), fix="Correct the path in the config.")
    if (path / ADAPTER_CONFIG).exists() or (path / ADAPTER_FILE).exists():
        return _adapter_files(path)
    if (path / SINGLE_FILE).exists() or (path / SINGLE_FILE).is_symlink():
        return ModelFiles(path, "full", _one_file(path, SINGLE_FILE), None, _side_files(path))
    if (path / INDEX_FILE).exists():
        return ModelFiles(path, "full", _sharded(path), INDEX_FILE, _side_files(path))
    return ModelFiles(path, "full", _one_file(path, _only_weights_file(path)), None, _side_files(path))


def inside(folder: Path, name: str) -> Path:
    """Path of a regular file of the folder.

    Raises:
        PoolError: If the name is not a plain file name, the file is missing, or it is a link that leaves the folder.
    """
    _check_plain(folder, name)
    path = folder / name
    try:
        target = path.resolve(strict=True)
        is_regular = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        raise PoolError(
            f"The file {name!r} is missing.", where=str(folder), fix="Download or save the model folder again."
        ) from error
    if not target.is_relative_to(_root(folder)):
        raise PoolError(
            f"The file {name!r} is a link that leaves the model folder, to {target}.",
            where=str(folder),
            fix="Replace the link by a copy of the file, if you trust it.",
        )
    if not is_regular:
        raise PoolError(f"{name!r} is not a regular file.", where=str(folder), fix="Replace it by the real file.")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        PoolError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PoolError(f"The file cannot be read: {error}.", where=str(path), fix="Check the disk.") from error


def _root(folder: Path) -> Path:
    """The real folder that files may come from."""
    real = folder.resolve()
    cache = real.parent.parent
    if real.parent.name == "snapshots" and cache.name.startswith("models--"):
        return cache
    return real


def _check_plain(folder: Path, name: object) -> None:
    """Refuse names of an index that are no plain file names."""
    if not _is_plain(name):
        raise PoolError(
            f"{str(name)[:120]!r} is not a plain file name; only files of the model folder itself are opened.",
            where=str(folder),
            fix="Do not use this checkpoint unless you know why its index names such a file.",
        )


def _is_plain(name: object) -> bool:
    """Whether a name has no folder, drive, stream or control character, under POSIX and Windows rules."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= 255
        and name.isprintable()
        and not any(character in name for character in "/\\:")
        and name == name.strip()
        and name.strip(".") != ""
        and PureWindowsPath(name).name == name
    )


def _one_file(folder: Path, name: str) -> dict[str, tuple[str, StoredTensor]]:
    """Tensors of one weights file."""
    _check_extension(folder, name)
    return {tensor: (name, stored) for tensor, stored in read_header(inside(folder, name)).items()}


def _sharded(folder: Path) -> dict[str, tuple[str, StoredTensor]]:
    """Tensors of all shards, after checking that index and shards say the same."""
    index = read_json_object(inside(folder, INDEX_FILE), limit=MAX_INDEX_BYTES)
    file_by_tensor = index.get("weight_map")
    if not isinstance(file_by_tensor, dict) or not file_by_tensor:
        raise _bad_index(folder, "it has no weight_map")
    for file in file_by_tensor.values():  # all names are checked before any file is opened
        _check_plain(folder, file)
        _check_extension(folder, file)
    tensors: dict[str, tuple[str, StoredTensor]] = {}
    for file in sorted(set(file_by_tensor.values())):
        for name, stored in read_header(inside(folder, file)).items():
            if name in tensors:
                raise _bad_index(folder, f"tensor {name!r} stands in two shards, {tensors[name][0]} and {file}")
            if file_by_tensor.get(name) != file:
                raise _bad_index(folder, f"tensor {name!r} of shard {file} is not listed under that shard")
            tensors[name] = (file, stored)
    absent = sorted(set(file_by_tensor) - set(tensors))
    if absent:
        raise _bad_index(folder, f"tensor {absent[0]!r} is listed but absent from {file_by_tensor[absent[0]]}")
    return tensors


def _adapter_files(folder: Path) -> ModelFiles:
    """Files of a PEFT adapter folder."""
    if (folder / SINGLE_FILE).exists() or (folder / INDEX_FILE).exists():
        raise PoolError(
            "The folder holds both full weights and an adapter.",
            where=str(folder),
            fix=f"Move {ADAPTER_CONFIG} and {ADAPTER_FILE} to a folder of their own, or the full weights.",
        )
    if not (folder / ADAPTER_FILE).exists():
        _refuse_pickles(folder)
    inside(folder, ADAPTER_CONFIG)
    return ModelFiles(folder, "lora", _one_file(folder, ADAPTER_FILE), None, (ADAPTER_CONFIG,))


def _only_weights_file(folder: Path) -> str:
    """Name of the single weights file of a folder that follows no naming rule."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".safetensors")
    if not names:
        _refuse_pickles(folder)
        raise PoolError(
            "The folder has no .safetensors file.", where=str(folder), fix="Give a folder that holds model weights."
        )
    if len(names) > 1:
        raise PoolError(
            f"The folder has {len(names)} .safetensors files and no {INDEX_FILE} ({', '.join(names[:4])} ...).",
            where=str(folder),
            fix="Restore the index if these are shards, or give the path of the one file that is meant.",
        )
    return names[0]


def _refuse_pickles(folder: Path) -> None:
    """Say how to convert if the folder has only pickled weights; they are never opened."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in PICKLE_SUFFIXES)
    if names:
        raise PoolError(
            f"The weights are pickled ({', '.join(names[:3])}); only safetensors are read, because a pickle runs code.",
            where=str(folder),
            fix="If you trust the file, convert it once with transformers: "
            "AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), or with safetensors.torch.save_file.",
        )


def _check_extension(folder: Path, name: str) -> None:
    if not name.endswith(".safetensors"):
        raise PoolError(
            f"{name!r} is not a .safetensors file; no other weights are read.",
            where=str(folder),
            fix="Convert the weights to safetensors, for instance with transformers' save_pretrained.",
        )


def _side_files(folder: Path) -> tuple[str, ...]:
    """Config, tokenizer and generation files of the folder, sorted."""
    names: list[str] = []
    for entry in sorted(folder.iterdir()):
        name = entry.name
        is_side = entry.suffix in SIDE_SUFFIXES and name not in NOT_SIDE_FILES and not name.endswith(".index.json")
        is_side = is_side and _is_plain(name) and not name.startswith(".") and not entry.is_dir()
        if is_side and inside(folder, name).stat().st_size <= MAX_SIDE_BYTES:
            names.append(name)
    return tuple(names)


def _bad_index(folder: Path, fault: str) -> PoolError:
    return PoolError(
        f"The shard index does not fit the shards: {fault}.",
        where=str(folder / INDEX_FILE),
        fix="Download or save the model folder again.",
    )
