"""The places that a layer may take in a data-flow merge: groups of consecutive layers of each model, several times over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

LayerOf: TypeAlias = tuple[str, int]
"""Name of a model and number of one of its layers."""


@dataclass(frozen=True)
class Slot:
    """Consecutive layers of one model that run together or not at all.

    Args:
        source: Name of the model.
        first: Number of its first layer here.
        stop: Number after the last.
        repetition: How often the list of all layers has gone by before.
    """

    source: str
    first: int
    stop: int
    repetition: int

    @property
    def layers(self) -> tuple[LayerOf, ...]:
        """The layers."""
        return tuple((self.source, layer) for layer in range(self.first, self.stop))

    def label(self, n_repetitions: int) -> str:
        """A readable name, unique among slots."""
        last = self.stop - 1
        name = f"{self.source} {self.first}" if last == self.first else f"{self.source} {self.first}-{last}"
        return name if n_repetitions == 1 else f"{name}, pass {self.repetition + 1}"


def make_slots(sources: Sequence[str], n_layers: int, granularity: int, repeats: int) -> tuple[Slot, ...]:
    """All layers of all models in order, ``granularity`` at a time, this list ``repeats`` times over."""
    return tuple(
        Slot(source, first, min(first + granularity, n_layers), repetition)
        for repetition in range(repeats)
        for source in sources
        for first in range(0, n_layers, granularity)
    )


def running(slots: Sequence[Slot], genes: NDArray[np.float64], max_layers: int) -> list[int]:
    """Slots whose gene is above one half, in order; never none, and at most ``max_layers`` layers.

    Those with larger genes come first where not all fit, the earlier of equal ones; with none on, the largest runs.

    Args:
        slots: The slots.
        genes: Shape ``(n_slots,)``.
        max_layers: At least as many as the longest slot has.
    """
    order = np.argsort(-genes, kind="stable").tolist()
    wanted = [i for i in order if genes[i] > 0.5] or order[:1]
    kept: list[int] = []
    n_layers = 0
    for index in wanted:
        length = slots[index].stop - slots[index].first
        if n_layers + length <= max_layers:
            kept.append(index)
            n_layers += length
    return sorted(kept)


def find_slots(slots: Sequence[Slot], layers: Sequence[LayerOf]) -> list[int] | None:
    """Slots that give a sequence of layers, each as early as possible, or None if there are none."""
    found: list[int] = []
    position = 0
    for index, slot in enumerate(slots):
        end = position + slot.stop - slot.first
        if tuple(layers[position:end]) == slot.layers:
            found.append(index)
            position = end
    return found if position == len(layers) else None
