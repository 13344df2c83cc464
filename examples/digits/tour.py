"""A tour from Python: a custom objective, a search, a point as a live model, an export.

python examples/digits/tour.py

Run from the repository's root; takes about half a minute on two cores.
"""

# %% An objective is a decorated function of a live model
from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

import searcher
from searcher.merge.live_model import LiveModel

HERE = Path(__file__).parent


@searcher.objective(direction="maximize", unit="nats")
def certainty(model: LiveModel) -> float:
    """How sure the model is of its answers: minus the entropy of its predictions on shifted images."""
    with np.load(HERE / "shifted.npz") as data:
        logits = model.module(torch.from_numpy(data["inputs"]))
    return -float(torch.distributions.Categorical(logits=logits).entropy().mean())


def main() -> None:
    """Search, look, build, export."""
    folder = Path(tempfile.mkdtemp())

    # %% A config is a file or a dict with the same keys
    run = searcher.optimize(
        {
            "run": str(folder / "run"),
            "pool": {
                "base": str(HERE / "base"),
                "models": [str(HERE / name) for name in ("low", "high", "noisy")],
                "loader": f"python:{HERE / 'model.py'}:load",
            },
            "space": {"name": "model_wise"},
            "objectives": [
                {"name": "low", "type": "accuracy", "data": str(HERE / "low.npz")},
                {"name": "certainty", "type": "python", "function": f"{__file__}:certainty"},
            ],
            "strategy": "auto",
            "budget": {"evaluations": 60},
        }
    )

    # %% The front
    for point in run.front:
        print(point, *point.tags)
    print("held out:", [point.scores("held_out") for point in run.front])

    # %% A point as a live model, and as a folder
    knee = run.point("knee")
    model = knee.build()
    print("parameters:", model.weights.numel(), "first weights:", model.weights[:3].tolist())
    print("exported to", knee.export(folder / "knee"))
    print("report:", run.write_report())


if __name__ == "__main__":
    main()
