"""A few steps of gradient descent, for networks that know something before they are merged."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.neuroevolution.network import Network, Weights


def train(
    network: Network,
    vector: Weights,
    inputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    steps: int = 10,
    rate: float = 0.003,
) -> Weights:
    """A network after full-batch Adam steps on the cross entropy; the M2N2 authors' experts by default.

    Args:
        network: Its shape.
        vector: Its parameters, shape ``(n,)``; not changed.
        inputs: Shape ``(n_examples, n_inputs)``.
        labels: Shape ``(n_examples,)``.
        steps: Number of steps.
        rate: Learning rate.
    """
    parameters = torch.tensor(np.asarray(vector, dtype=np.float32), requires_grad=True)
    examples = torch.tensor(np.asarray(inputs, dtype=np.float32))
    classes = torch.tensor(np.asarray(labels, dtype=np.int64))
    optimizer = torch.optim.Adam([parameters], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network.logits(parameters, examples), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    trained: Weights = parameters.detach().numpy()
    return trained
