"""One model of the pool, read tensor by tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, ClassVar, Literal, Self

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.files import ModelFiles, inside, sha256
from searcher.pool.safetensors_file import FLOAT_BY_DTYPE, StoredTensor
from searcher.pool.strict_json import read_json_object
from searcher.pool.tensor_file import MappedFile, TensorFile

CHUNK = 1 << 22  # elements looked at together, to bound the memory of checks


class Source(ABC):
    """One model of the pool.

    Args:
        name: Name in recipes, unique in the pool.
        files: What the folder holds.
        origin: Where the model is from, for the record: a path, or ``organisation/name@commit``.
    """

    kind: ClassVar[Literal["full", "lora"]]
    is_delta: ClassVar[bool]

    def __init__(self, name: str, files: ModelFiles, origin: str) -> None:
        self.name = name
        self.path = files.folder
        self.origin = origin
        self._files = files
        self._hashes: dict[str, str] | None = None
        self._file_type: type[TensorFile | MappedFile] = TensorFile
        self._opened: dict[str, TensorFile | MappedFile] = {}

    @abstractmethod
    def read(self, tensor: str) -> torch.Tensor:
        """Values of one tensor on the CPU, in the layout's shape.

        A full model gives its stored type. An adapter gives its change of the base in float32, zeros where it
        changes nothing. The memory is the caller's.

        Raises:
            KeyError: If the model, or for an adapter its base, has no such tensor.
        """

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 in hexadecimal of every file of the model that is read, by name in the folder."""
        if self._hashes is None:
            files = self._files
            names = [*files.weights, *files.side, *([files.index] if files.index else [])]
            self._hashes = {name: sha256(inside(self.path, name)) for name in sorted(names)}
        return self._hashes

    @property
    def weights_files(self) -> tuple[str, ...]:
        """Names of the .safetensors files, sorted."""
        return self._files.weights

    @property
    def side_files(self) -> tuple[str, ...]:
        """Names of the files that belong to the model besides its weights."""
        return self._files.side

    @property
    def stored(self) -> Mapping[str, StoredTensor]:
        """What the file headers say, by stored name."""
        return {name: stored for name, (_, stored) in self._files.tensors.items()}

    def read_stored(self, name: str) -> torch.Tensor:
        """A tensor as it is in the file, in memory of its own.

        Raises:
            KeyError: If no file of the model has it.
            PoolError: If the file has changed since it was opened or cannot be read any more.
        """
        file, stored = self._files.tensors[name]
        try:
            if file not in self._opened:
                held = {n: t for n, (f, t) in self._files.tensors.items() if f == file}
                self._opened[file] = self._file_type(inside(self.path, file), held)
            return self._opened[file].read(stored)
        except OSError as error:
            raise PoolError(
                f"Tensor {name!r} cannot be read: {error}.", where=str(self.path / file), fix="Restore the file."
            ) from error

    def non_finite(self) -> Iterator[tuple[str, int]]:
        """Stored floating-point tensors with NaN or infinite values, and how many of them; reads every weight."""
        for name, stored in self.stored.items():
            if stored.is_float and (count := count_non_finite(self.read_stored(name))):
                yield name, count

    def reopened(self) -> Self:
        """The same model, memory-mapped for a loader.

        Its tensors take memory once they are looked at, for as long as one of them exists; writing to them changes
        neither file nor this source.
        """
        mapped = copy(self)  # through __getstate__
        mapped._file_type = MappedFile
        return mapped

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}  # another process may see other files


class FullSource(Source):
    """A model with all its weights."""

    kind = "full"
    is_delta = False

    def __init__(self, name: str, files: ModelFiles, origin: str) -> None:
        super().__init__(name, files, origin)
        self._tied: Mapping[str, str] = {}

    @override
    def read(self, tensor: str) -> torch.Tensor:
        return self.read_stored(self._tied.get(tensor, tensor))

    def tie(self, tied: Mapping[str, str]) -> None:
        """Let alias names read the tensors that store them."""
        self._tied = dict(tied)

    @property
    def config(self) -> Mapping[str, Any]:
        """Content of config.json; empty if the folder has none.

        Raises:
            PoolError: If it is malformed.
        """
        if "config.json" not in self.side_files:
            return {}
        return read_json_object(inside(self.path, "config.json"))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every stored floating-point tensor."""
        return {name: stored.shape for name, stored in self.stored.items() if stored.is_float}

    @property
    def dtypes(self) -> frozenset[str]:
        """Floating-point types in the files, in torch's spelling."""
        return frozenset(FLOAT_BY_DTYPE[stored.dtype] for stored in self.stored.values() if stored.is_float)


def count_non_finite(tensor: torch.Tensor) -> int:
    """Number of NaN and infinite values."""
    flat, count = tensor.reshape(-1), 0
    for start in range(0, flat.numel(), CHUNK):
        piece = flat[start : start + CHUNK]
        count += piece.numel() - int(torch.isfinite(piece).sum())
    return count
