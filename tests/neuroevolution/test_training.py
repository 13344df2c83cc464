"""Adam on flat vectors: its first step in closed form, and the authors' recipe."""

from __future__ import annotations

import numpy as np
import torch

from searcher.neuroevolution.network import Network
from searcher.neuroevolution.training import train

NETWORK = Network((3, 5, 4))


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=30)
    inputs = np.eye(4, 3)[labels] + 0.1 * rng.standard_normal((30, 3))
    return NETWORK.random(1, 0.3, rng)[0], inputs.astype(np.float32), labels


def test_first_step_is_the_rate_times_the_sign_of_the_gradient() -> None:
    vector, inputs, labels = problem()
    before = vector.copy()
    trained = train(NETWORK, vector, inputs, labels, steps=1, rate=0.01)
    leaf = torch.tensor(vector, requires_grad=True)
    logits = NETWORK.logits(leaf, torch.tensor(inputs))
    loss = -torch.log_softmax(logits, dim=1)[torch.arange(30), torch.tensor(labels)].mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    g = gradient.numpy().astype(np.float64)
    np.testing.assert_allclose(trained - vector, -0.01 * g / (np.abs(g) + 1e-8), atol=1e-6)
    np.testing.assert_array_equal(vector, before)


def test_training_lowers_the_loss_and_repeats_itself() -> None:
    vector, inputs, labels = problem()

    def loss(v: np.ndarray) -> float:
        logits = NETWORK.logits(torch.tensor(v), torch.tensor(inputs))
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(labels)))

    trained = train(NETWORK, vector, inputs, labels, steps=50, rate=0.02)
    assert loss(trained) < 0.5 * loss(vector)
    np.testing.assert_array_equal(trained, train(NETWORK, vector, inputs, labels, steps=50, rate=0.02))
