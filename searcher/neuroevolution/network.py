"""Small fully connected networks as flat vectors, and how many examples they classify correctly.

A network is one float32 vector: for every layer its matrix (inputs x units, row by row) and then its biases, the
order of the M2N2 authors' experiment. Hidden layers are rectified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Weights = NDArray[np.float32]
"""One network, shape ``(n,)``, or a population of them, shape ``(P, n)``."""

CACHED = 2**20
"""Numbers that the widest activations of one batched product may have; beyond, networks are scored one by one."""


@dataclass(frozen=True)
class Network:
    """Shape of a fully connected network.

    Args:
        sizes: Number of inputs, of units of each hidden layer and of classes; two numbers or more.

    Raises:
        ValueError: If there are fewer than two sizes or one is below 1.

    Example:
        >>> Network((64, 256, 10)).n_parameters
        19210
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"Expected sizes of two layers or more, each at least 1, but got {self.sizes}.")

    @property
    def n_parameters(self) -> int:
        """Length of the vector."""
        return sum((inputs + 1) * units for inputs, units in self._pairs())

    def layers(self, vectors: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Matrix ``(..., inputs, units)`` and biases ``(..., units)`` of each layer, as views of ``(..., n)``."""
        found, start, ahead = [], 0, vectors.shape[:-1]
        for inputs, units in self._pairs():
            middle = start + inputs * units
            matrix = vectors[..., start:middle].view(*ahead, inputs, units)
            found.append((matrix, vectors[..., middle : middle + units]))
            start = middle + units
        return found

    def logits(self, vectors: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(..., n_examples, n_classes)``; can be differentiated.

        Args:
            vectors: Shape ``(n,)`` or ``(P, n)``.
            inputs: Shape ``(n_examples, n_inputs)``.
        """
        *hidden, (matrix, biases) = self.layers(vectors)
        for weights, shift in hidden:
            inputs = torch.relu(inputs @ weights + shift[..., None, :])
        return inputs @ matrix + biases[..., None, :]

    def random(self, n: int, sigma: float, rng: np.random.Generator) -> Weights:
        """Networks with independent N(0, sigma^2) parameters, shape ``(n, n_parameters)``."""
        return np.float32(sigma) * rng.standard_normal((n, self.n_parameters), dtype=np.float32)

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self.sizes[:-1], self.sizes[1:], strict=True)


class Scorer:
    """Scores networks on labelled examples.

    Products are written to buffers that are made once, and the last one is computed transposed: a product with ten
    columns is three times slower than one with ten rows. Torch's number of threads counts. Not for use by two threads
    at a time.

    Args:
        network: Its shape.
        inputs: Shape ``(n_examples, n_inputs)``; taken as float32.
        labels: Class of each example, integers from 0, shape ``(n_examples,)``.

    Raises:
        ValueError: If shapes or labels do not fit the network.
    """

    def __init__(self, network: Network, inputs: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
        n, n_classes = len(labels), network.sizes[-1]
        if n == 0 or inputs.shape != (n, network.sizes[0]):
            raise ValueError(f"Expected inputs of shape ({n}, {network.sizes[0]}), n > 0, but got {inputs.shape}.")
        if labels.min() < 0 or labels.max() >= n_classes:
            raise ValueError(f"Expected labels from 0 to {n_classes - 1}, but got {labels.min()} to {labels.max()}.")
        self.network, self.n_examples = network, n
        self._inputs = torch.tensor(np.asarray(inputs, dtype=np.float32))
        self._labels = np.array(labels)
        self._hidden = [torch.empty(n, units) for units in network.sizes[1:-1]]
        self._logits = torch.empty(n_classes, n)
        self._batch = max(1, CACHED // (n * max(network.sizes[1:])))

    def correct(self, vectors: Weights) -> NDArray[np.bool_]:
        """Which examples are classified correctly; of equal logits the first counts.

        Args:
            vectors: Shape ``(n,)`` or ``(P, n)``.

        Returns:
            Shape ``(n_examples,)`` or ``(P, n_examples)``.
        """
        with torch.inference_mode():
            if vectors.ndim == 1:
                return self._one(torch.from_numpy(vectors))
            return np.concatenate(list(self._many(torch.from_numpy(vectors))))

    def accuracy(self, vector: Weights) -> float:
        """Share of examples that one network classifies correctly."""
        return float(np.count_nonzero(self.correct(vector)) / self.n_examples)

    def _one(self, vector: torch.Tensor) -> NDArray[np.bool_]:
        *hidden, (matrix, biases) = self.network.layers(vector)
        values = self._inputs
        for (weights, shift), buffer in zip(hidden, self._hidden, strict=True):
            values = torch.addmm(shift, values, weights, out=buffer).relu_()
        torch.mm(matrix.t(), values.t(), out=self._logits).add_(biases[:, None])
        classes = self._logits.numpy().argmax(axis=0)
        correct: NDArray[np.bool_] = classes == self._labels
        return correct

    def _many(self, vectors: torch.Tensor) -> Iterator[NDArray[np.bool_]]:
        """A whole population, by batched products while their results stay in the cache."""
        for start in range(0, len(vectors), self._batch):
            batch = vectors[start : start + self._batch]
            if len(batch) == 1:
                yield self._one(batch[0])[None]
            else:
                classes = self.network.logits(batch, self._inputs).numpy().argmax(axis=-1)
                yield classes == self._labels
