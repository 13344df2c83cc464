"""Keep the largest magnitudes of each task vector, or a band of magnitudes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from searcher.merge.facts import TensorFacts
from searcher.merge.operators.sparsity import Convention, Sparsified, norm_matched
from searcher.merge.plan import Keep, KeepAll, KeepMagnitude

if TYPE_CHECKING:
    from searcher.merge.facts import CutRow


@dataclass(frozen=True)
class Band:
    """Numbers of entries of one task vector.

    Args:
        n_above: Largest magnitudes that are removed.
        n_kept: Magnitudes after these that stay; the rest is removed too.
    """

    n_above: int
    n_kept: int


def largest(
    facts: TensorFacts, densities: tuple[float, ...], convention: Convention, *, rescale: bool = False
) -> Sparsified:
    """Per model and tensor, the ``density * size`` entries of largest magnitude stay.

    Args:
        facts: The tensor.
        densities: Kept fraction per model.
        convention: ``paper`` keeps the nearest whole number, at least one; ``mergekit`` rounds down, keeps at least
            one unless the density is 0, and reads the tensor.
        rescale: Match the L1 norm; reads the tensor.
    """
    of_density = {density: Band(0, n_kept(density, facts.size, convention)) for density in set(densities)}
    bands = [of_density[density] for density in densities]
    return _banded(facts, bands, convention, rescale=rescale)


def band(
    facts: TensorFacts,
    densities: tuple[float, ...],
    gammas: tuple[float, ...],
    convention: Convention,
    *,
    rescale: bool = False,
) -> Sparsified:
    """Per model and tensor, the ``gamma * size`` largest magnitudes go, and of the others all but the next largest.

    ``density * size`` entries stay; where so many are not left, fewer outliers go.

    Args:
        facts: The tensor.
        densities: Kept fraction per model.
        gammas: Fraction of outliers per model.
        convention: ``paper`` takes the nearest whole numbers and keeps at least one entry; ``mergekit`` rounds both
            down and reads the tensor.
        rescale: Match the L1 norm; reads the tensor.
    """
    size, bands = facts.size, []
    for density, gamma in zip(densities, gammas, strict=True):
        if convention == "mergekit":
            n_left, n_above = int(density * size), int(gamma * size)
        else:
            n_left, n_above = n_kept(density, size), round(gamma * size)
        bands.append(Band(min(n_above, size - n_left), n_left))
    return _banded(facts, bands, convention, rescale=rescale)


def n_kept(density: float, size: int, convention: Convention = "paper") -> int:
    """Number of entries that :func:`largest` keeps of ``size``."""
    if convention == "mergekit":
        return max(1, int(density * size)) if density > 0.0 else 0
    return min(size, max(1, round(density * size)))


def _banded(facts: TensorFacts, bands: list[Band], convention: Convention, *, rescale: bool) -> Sparsified:
    row_of = _exact_row if convention == "mergekit" else TensorFacts.cut_row

    def keep(used: tuple[int, ...]) -> Keep:
        if all(bands[k].n_kept >= facts.size for k in used):
            return KeepAll()
        low = row_of(facts, used, tuple(bands[k].n_above + bands[k].n_kept for k in used))
        if not any(bands[k].n_above for k in used):
            return KeepMagnitude(*low)
        return KeepMagnitude(*low, *row_of(facts, used, tuple(bands[k].n_above for k in used)))

    sparse = Sparsified(keep, lambda k: float(bands[k].n_kept > 0))
    return norm_matched(sparse, facts) if rescale else sparse


def _exact_row(facts: TensorFacts, models: tuple[int, ...], kept: tuple[int, ...]) -> CutRow:
    """As ``TensorFacts.cut_row``, exact in tensors of any size; reads the tensor."""
    cuts = [facts.exact_cut(k, n) for k, n in zip(models, kept, strict=True)]
    return np.array([[c.low for c in cuts]], np.float32), np.array([[c.last_tie for c in cuts]], np.uint32)
