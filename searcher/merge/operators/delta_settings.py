"""Settings that several operators declare alike: their type, search range and meaning. Defaults are the operator's.

A setting whose range or meaning is one operator's own is declared there.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from searcher.merge.operators.base import Choice, Setting
from searcher.merge.operators.sparsity import Convention

PerModel: TypeAlias = float | tuple[float, ...]
"""One value for all models or one for each."""

# What is kept of a task vector.
KeepProbability: TypeAlias = Annotated[
    PerModel, Setting(0.1, 1.0, "probability that an entry of a task vector is kept", minimum=0.0, per_model=True)
]
MeanKeepProbability: TypeAlias = Annotated[
    PerModel, Setting(0.1, 1.0, "mean probability that an entry of a task vector is kept", minimum=0.0, per_model=True)
]
RankEpsilon: TypeAlias = Annotated[
    PerModel, Setting(0.0, 0.3, "what the rank adds to the probability at most", maximum=0.5, per_model=True)
]
BandFraction: TypeAlias = Annotated[
    PerModel,
    Setting(0.3, 0.99, "fraction of each task vector that is kept", minimum=0.0, maximum=1.0, per_model=True),
]
OutlierFraction: TypeAlias = Annotated[
    PerModel, Setting(0.0, 0.05, "fraction of largest entries that is removed", maximum=1.0, per_model=True)
]
ActiveAbove: TypeAlias = Annotated[
    float, Setting(0.0, 1e-3, "change of a weight above which a model is active there", maximum=1e6)
]
RescaleDropped: TypeAlias = Annotated[bool, Choice("make up for what was dropped")]
RescaleTrimmed: TypeAlias = Annotated[bool, Choice("match the L1 norm before trimming; reads the tensor")]
MaskSeed: TypeAlias = Annotated[int, Choice("seed of the random masks")]

# How task vectors are combined. A vote leaves less of a sum than an average, which takes larger scales.
SumScale: TypeAlias = Annotated[
    float, Setting(0.1, 1.5, "scale of the summed task vectors", minimum=-10.0, maximum=10.0)
]
ElectedSumScale: TypeAlias = Annotated[
    float, Setting(0.1, 1.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)
]
ElectedAverageScale: TypeAlias = Annotated[
    float, Setting(0.3, 2.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)
]
SignVote: TypeAlias = Annotated[Literal["weighted", "unweighted"], Choice("whether coefficients weigh the sign vote")]
Normalize: TypeAlias = Annotated[bool, Choice("divide by the sum of the coefficients")]
NormalizeAgreeing: TypeAlias = Annotated[bool, Choice("divide by the sum of the agreeing coefficients")]
AverageDeltas: TypeAlias = Annotated[bool, Choice("average task vectors if there is a base")]

WhoseDefinition: TypeAlias = Annotated[Convention, Choice("whose definition, see above")]
"""Where the paper and mergekit differ; the operator's text says in what."""
