"""The settings of the evolution strategies: their checks, and the choice of a covariance."""

from __future__ import annotations

from typing import cast, get_args

from searcher.errors import ConfigError
from searcher.strategies.pycma import Variant

MANY_GENES = 30  # from here on D (I + V V^T) D with few columns in V was the best, by a factor of 2 to 4
FEW_PER_GENE = 20  # evaluations per gene below which a full covariance is hardly learned


def choose_variant(setting: object, dim: int, budget: int | None) -> tuple[Variant, str]:
    """The covariance to learn, and why.

    ``auto`` takes ``vkd`` from 30 genes on, below that ``separable`` with a budget of less than 20 evaluations per gene:
    the learning rate of a full covariance is about 2 / dim^2 per generation, that of a diagonal about dim / 3 times as
    large (Ros and Hansen 2008). The measurements are in docs/evolution.md.

    Raises:
        ConfigError: If there is no such variant.
    """
    if setting == "auto":
        if dim >= MANY_GENES:
            return "vkd", f" ({MANY_GENES} genes or more)"
        if budget is not None and budget < FEW_PER_GENE * dim:
            return "separable", f" (less than {FEW_PER_GENE} evaluations per gene)"
        return "full", ""
    if setting not in get_args(Variant):
        raise ConfigError(
            f"Unknown variant {setting!r}.", where="strategy.variant", fix="Use auto, full, separable or vkd."
        )
    return cast(Variant, setting), ""


def check_evolution(population: int | None, sigma0: float, restarts: int) -> None:
    """Refuse a population, step or number of restarts that cannot work.

    Raises:
        ConfigError: Naming the setting.
    """
    if population is not None and population < 4:
        raise ConfigError(
            f"Expected a population of at least 4, but got {population}.",
            where="strategy.population",
            fix="Leave it out for the usual 4 + 3 ln(dim), or give 4 or more.",
        )
    if not 0.0 < sigma0 <= 1.0:
        raise ConfigError(
            f"Expected sigma0 above 0 and at most 1, but got {sigma0}.",
            where="strategy.sigma0",
            fix="Genes lie in [0, 1]; 0.15 to 0.3 is usual.",
        )
    if restarts < 0:
        raise ConfigError(
            f"Expected 0 or more restarts, but got {restarts}.",
            where="strategy.restarts",
            fix="Give 0 to never restart.",
        )
