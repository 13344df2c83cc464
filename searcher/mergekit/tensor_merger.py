"""Merges the tensors of a plan one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from searcher.errors import CandidateError, ConfigError, ExportError, PoolError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.placement import is_finite
from searcher.mergekit.configuration import Configuration
from searcher.mergekit.output_tensor import OutputTensor
from searcher.mergekit.resolve import Instructions, resolve
from searcher.pool.safetensors_file import BYTES_BY_DTYPE, STORED_BY_DTYPE
from searcher.pool.weights_writer import PlannedTensor

if TYPE_CHECKING:
    from searcher.mergekit.vocabulary import Vocabulary


class TensorMerger:
    """What every output tensor will be, and its values on demand.

    Args:
        configuration: The configuration.
        outputs: The tensors.
        seed: Seed of random masks.
        device: Where to compute.
        vocabulary: The result's tokens, if tokenizers are aligned.

    Raises:
        ConfigError: If a parameter is missing or wrong for a tensor.
    """

    def __init__(
        self,
        configuration: Configuration,
        outputs: Sequence[OutputTensor],
        *,
        seed: int,
        device: str,
        vocabulary: Vocabulary | None,
    ) -> None:
        self._configuration, self._device, self._vocabulary = configuration, torch.device(device), vocabulary
        wanted = configuration.out_dtype or configuration.dtype
        self._dtype: torch.dtype | None = None if wanted is None else getattr(torch, wanted)
        self._instructions: Mapping[str, Instructions] = {
            output.name: resolve(configuration, output, seed=seed) for output in outputs if output.is_float
        }
        # Wide types come first, so that all values are aligned in the file.
        self._outputs = sorted(outputs, key=lambda output: -BYTES_BY_DTYPE[self._stored(output)])

    @property
    def planned(self) -> list[PlannedTensor]:
        """Name, type and shape of every tensor, in the order of :meth:`tensors`."""
        return [PlannedTensor(o.name, self._stored(o), self._shape(o)) for o in self._outputs]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor, merged, on the CPU; memory holds one tensor of each source and the result.

        Raises:
            ConfigError: If the method is undefined for the parameters of a tensor.
            PoolError: If a file cannot be read, or tensors that are no weights differ.
            ExportError: If a result is not finite.
        """
        for output in self._outputs:
            yield output.name, self._merged(output)

    @torch.no_grad()
    def _merged(self, output: OutputTensor) -> torch.Tensor:
        values = [part.model.read(part.tensor) for part in output.parts]
        if not output.is_float:
            return _equal(output, values)
        if self._vocabulary is not None and output.is_vocabulary:
            values = self._vocabulary.aligned(output, values)
        merged = self._by_operator(output, [value.to(self._device) for value in values]).cpu()
        if merged.numel() and not is_finite(merged):
            raise ExportError(
                "The merged weights are not finite.",
                where=f"tensor {output.name}",
                fix="Check the sources for NaN; if values overflow, set out_dtype to bfloat16 or float32.",
            )
        return merged

    def _by_operator(self, output: OutputTensor, values: list[torch.Tensor]) -> torch.Tensor:
        how, dtype = self._instructions[output.name], self._dtype_of(output)
        if how.operator is None:
            return values[how.base or 0].to(dtype)
        try:
            return merge_tensor(
                how.operator,
                how.coefficients,
                [values[k] for k in how.models],
                base=None if how.base is None else values[how.base],
                name=output.name,
                names=_names(output, how.models),
                dtype=dtype,
            )
        except CandidateError as error:
            raise ConfigError(
                f"The merge is undefined for a tensor: {error}.",
                where=f"{self._configuration.document.where(output.slice.key)}, tensor {output.name}",
                fix="Change the weights that hold for this tensor; weights that are divided by must not sum to zero.",
            ) from error

    def _dtype_of(self, output: OutputTensor) -> torch.dtype:
        """Type of merged weights."""
        return output.dtype if self._dtype is None else self._dtype

    def _stored(self, output: OutputTensor) -> str:
        """Type in the file, in the format's own spelling."""
        if not output.is_float:
            return output.parts[0].stored.dtype
        return STORED_BY_DTYPE[str(self._dtype_of(output)).removeprefix("torch.")]

    def _shape(self, output: OutputTensor) -> tuple[int, ...]:
        shape = output.parts[0].stored.shape
        is_aligned = self._vocabulary is not None and output.is_float and output.is_vocabulary
        return (self._vocabulary.n_rows, *shape[1:]) if is_aligned and self._vocabulary is not None else shape


def _names(output: OutputTensor, models: Sequence[int]) -> list[str]:
    """Names of the models; those that stand in a slice twice get numbers, so that their masks differ."""
    names: list[str] = []
    for k in models:
        name, number = output.parts[k].model.name, 2
        while name in names:
            name, number = f"{output.parts[k].model.name}#{number}", number + 1
        names.append(name)
    return names


def _equal(output: OutputTensor, values: Sequence[torch.Tensor]) -> torch.Tensor:
    """A tensor that is not of floating-point numbers, which all sources must agree on."""
    if any(value.dtype != values[0].dtype or not torch.equal(value, values[0]) for value in values[1:]):
        raise PoolError(
            f"Tensor {output.name!r} holds no floating-point numbers and differs between the sources.",
            where=", ".join(part.model.reference.text for part in output.parts),
            fix="Such tensors cannot be averaged; give sources that agree.",
        )
    return values[0]
