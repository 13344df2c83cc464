"""How large a candidate is, or how much of it differs from the base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.errors import ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.objectives.reference_model import ReferenceModel

if TYPE_CHECKING:
    import torch

Metric = Literal["parameters", "bytes", "changed_fraction"]


@OBJECTIVES.register("size")
class Size(Objective):
    """Number of parameters or bytes of the model, or the fraction of its weights that differ from the base.

    Shared parameters count once. The value is exact: its standard error is 0. All merges of one pool have the same
    shape today, so that parameters and bytes tell candidates apart only where the space changes the architecture.
    changed_fraction compares the merged weights, in their storage type, with those of the reference under the same
    name; a weight that the reference does not have counts as changed. It keeps a copy of the reference in memory.

    Args:
        metric: parameters, bytes or changed_fraction.
        reference_model: Folder or hub id of the model that changed_fraction compares with, usually the pool's base.
        direction: minimize or maximize.
    """

    def __init__(
        self,
        name: str,
        *,
        metric: Metric = "parameters",
        reference_model: str | None = None,
        direction: Literal["maximize", "minimize"] = "minimize",
        root: Path = Path(),
    ) -> None:
        self.name, self.direction = name, direction
        self.unit = {"changed_fraction": "fraction"}.get(metric, metric)
        self._metric = metric
        if (metric == "changed_fraction") != (reference_model is not None):
            what = "needs one" if reference_model is None else "needs none"
            raise ConfigError(
                f"The metric {metric} {what}.",
                where=f"objective {name!r}, reference_model",
                fix="Name the base as reference_model for changed_fraction, and only for it.",
            )
        where = f"objective {name!r}, reference_model"
        self._reference = None if reference_model is None else ReferenceModel(reference_model, root=root, where=where)
        self._reference_weights: Mapping[str, torch.Tensor] | None = None

    @property
    @override
    def n_examples(self) -> None:
        return None

    @property
    @override
    def splits(self) -> Mapping[Split, slice]:
        return {}

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return () if self._reference is None else self._reference.files

    @override
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        parameters = dict(model.module.named_parameters())  # shared ones once
        count = sum(p.numel() for p in parameters.values())
        if self._metric == "bytes":
            return Score(float(sum(p.numel() * p.element_size() for p in parameters.values())), 0.0)
        if self._reference is None:
            return Score(float(count), 0.0)
        if self._reference_weights is None:
            self._reference_weights = dict(self._reference.load(model).named_parameters())
        changed = sum(_n_changed(p, self._reference_weights.get(name)) for name, p in parameters.items())
        return Score(changed / count, 0.0)


def _n_changed(weights: torch.Tensor, reference: torch.Tensor | None) -> int:
    if reference is None or reference.shape != weights.shape:
        return weights.numel()
    return int((weights != reference).sum())
