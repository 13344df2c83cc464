"""A classification problem that small networks can learn."""

from __future__ import annotations

import numpy as np

from searcher.neuroevolution.network import Network, Scorer


def blobs(network: Network, n: int) -> Scorer:
    """Noisy points around one centre per class."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % network.sizes[-1]
    centres = rng.standard_normal((network.sizes[-1], network.sizes[0])) * 2
    inputs = centres[labels] + rng.standard_normal((n, network.sizes[0])) * 0.5
    return Scorer(network, inputs, labels)
