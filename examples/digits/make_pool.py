"""Make the digits pool: one base model, four experts, one bad expert, and the images to score merges on.

    python examples/digits/make_pool.py [--to FOLDER]

Needs scikit-learn, which ships the images. Takes well under a minute on one CPU core. Run again on the same
machine with the same versions it reproduces every file bit for bit; elsewhere accuracies agree within a few
images, because CPUs round sums in different orders.

No image that is scored was used to train any model, and each image stands behind one file only: ``low.npz``,
``high.npz``, ``noisy.npz`` and ``shifted.npz`` share no original, so whatever way a run splits them, nothing
leaks from the search into the held-out part.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import sklearn
import torch
from model import DigitClassifier
from numpy.typing import NDArray
from safetensors.torch import save
from sklearn.datasets import load_digits
from torch import nn

Images: TypeAlias = NDArray[np.float32]
"""Pixels in [0, 1] before noise, shape ``(n, 64)``."""
Labels: TypeAlias = NDArray[np.int64]
"""Digits, shape ``(n,)``."""

SEED = 0
CONFIG = {"n_inputs": 64, "width": 128, "n_blocks": 3, "n_classes": 10}
N_TRAIN, N_NOISY, N_SHIFTED = 60, 36, 24  # images per digit; the rest, about 60, goes to low or high
NOISE = 0.2  # standard deviation of the added noise, in units of the brightest pixel
N_INVERTED = 24  # pixels that the bad sensor of the noisy images inverts, the same ones in every image
SHIFTS = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 2), (0, -2), (2, 0), (-2, 0))  # rows down, columns right
BATCH = 64
PROVENANCE = {
    "made_by": "examples/digits/make_pool.py",
    "seed": SEED,
    "versions": {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__.split("+")[0],
    },
    "data": {
        "name": "Optical Recognition of Handwritten Digits, test part (1,797 images), from scikit-learn",
        "source": "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
        "licence": "CC BY 4.0",
    },
}


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels."""

    inputs: Images
    labels: Labels

    def of(self, digits: range) -> ImageSet:
        """Only those that show one of these digits."""
        keep = np.isin(self.labels, digits)
        return ImageSet(self.inputs[keep], self.labels[keep])


@dataclass(frozen=True)
class Training:
    """How one model is trained: what it sees, for how many steps, at which learning rate."""

    images: ImageSet
    steps: int
    rate: float
    corrupt: Callable[[Images, np.random.Generator], Images] | None = None


def noisy(inputs: Images, rng: np.random.Generator) -> Images:
    """The images as a bad sensor sees them: some fixed pixels inverted, Gaussian noise on all."""
    inverted = np.random.default_rng(SEED).permutation(inputs.shape[1])[:N_INVERTED]
    seen = inputs.copy()
    seen[:, inverted] = 1 - seen[:, inverted]
    return (seen + NOISE * rng.standard_normal(seen.shape)).astype(np.float32)


def shifted(inputs: Images, rng: np.random.Generator) -> Images:
    """Every image moved by one or two pixels; what enters at the border is black."""
    moved = np.zeros_like(inputs)
    for i, (down, right) in enumerate(rng.choice(SHIFTS, size=len(inputs))):
        canvas = np.pad(inputs[i].reshape(8, 8), 2)
        moved[i] = canvas[2 - down : 10 - down, 2 - right : 10 - right].ravel()
    return moved


def mixed(inputs: Images, rng: np.random.Generator) -> Images:
    """A third of the images clean, a third noisy, a third shifted."""
    kind = rng.integers(3, size=(len(inputs), 1))
    return np.select([kind == 0, kind == 1], [inputs, noisy(inputs, rng)], shifted(inputs, rng))


def draw_sets(rng: np.random.Generator) -> dict[str, ImageSet]:
    """Disjoint sets of originals: train, noisy, shifted, low and high; the same digits in the same numbers."""
    pixels, labels = load_digits(return_X_y=True)
    inputs = (pixels / 16).astype(np.float32)  # stored as 0 ... 16
    names = ("train", "noisy", "shifted", "rest")
    rows: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    for digit in range(10):
        order = rng.permutation(np.flatnonzero(labels == digit))
        for name, part in zip(names, np.split(order, np.cumsum([N_TRAIN, N_NOISY, N_SHIFTED])), strict=True):
            rows[name].append(part)
    picked = {name: rng.permutation(np.concatenate(parts)) for name, parts in rows.items()}
    sets = {name: ImageSet(inputs[order], labels[order].astype(np.int64)) for name, order in picked.items()}
    rest = sets.pop("rest")
    return {**sets, "low": rest.of(range(5)), "high": rest.of(range(5, 10))}


def trained(start: DigitClassifier | None, training: Training, seed: int) -> DigitClassifier:
    """A model trained from random weights by Adam, or fine-tuned from ``start`` by SGD with momentum.

    SGD moves a weight as far as its gradient asks; Adam moves all alike, and the task vectors it makes from so
    few steps disturb each other much more when they are added.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = DigitClassifier(**CONFIG)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=training.rate)
    if start is not None:
        model.load_state_dict(start.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=training.rate, momentum=0.9)
    for _ in range(training.steps):
        rows = rng.integers(len(training.images.labels), size=BATCH)
        inputs = training.images.inputs[rows]
        if training.corrupt is not None:
            inputs = training.corrupt(inputs, rng)
        loss = nn.functional.cross_entropy(
            model(torch.from_numpy(inputs)), torch.from_numpy(training.images.labels[rows])
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own annotation is missing
        optimizer.step()
    return model.eval()


def train_pool(train: ImageSet) -> dict[str, DigitClassifier]:
    """The base and every expert, by folder name."""
    shuffled = replace(train, labels=np.random.default_rng(SEED).permutation(train.labels))
    trainings = {
        "low": Training(train.of(range(5)), steps=150, rate=0.03),
        "high": Training(train.of(range(5, 10)), steps=150, rate=0.03),
        "noisy": Training(train, steps=300, rate=0.03, corrupt=noisy),
        "shifted": Training(train, steps=300, rate=0.03, corrupt=shifted),
        "shuffled": Training(shuffled, steps=300, rate=0.03),
    }
    base = trained(None, Training(train, steps=25, rate=1e-3, corrupt=mixed), SEED)
    experts = {name: trained(base, training, SEED + 1 + i) for i, (name, training) in enumerate(trainings.items())}
    return {"base": base, **experts}


def accuracy(model: nn.Module, images: ImageSet) -> float:
    """Fraction of the images that the model classifies rightly."""
    with torch.no_grad():
        found = model(torch.from_numpy(images.inputs)).argmax(dim=1).numpy()
    return float(np.mean(found == images.labels))


def write_pool(folder: Path, models: dict[str, DigitClassifier], data: dict[str, ImageSet]) -> None:
    """Write one folder per model, one ``.npz`` per set of images, and ``pool.json``."""
    for name, model in models.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "model.safetensors").write_bytes(save(dict(model.state_dict()), metadata={"format": "pt"}))
        write_json(folder / name / "config.json", {"model_type": "digit_classifier", **CONFIG, "dtype": "float32"})
    for name, images in data.items():
        np.savez_compressed(folder / f"{name}.npz", inputs=images.inputs, labels=images.labels)
    table = {name: {task: round(accuracy(model, data[task]), 4) for task in data} for name, model in models.items()}
    write_json(folder / "pool.json", {**PROVENANCE, "images": describe(data), "accuracy": table})


def write_json(path: Path, record: object) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def describe(data: dict[str, ImageSet]) -> dict[str, int]:
    """Number of images per file."""
    return {f"{name}.npz": len(images.labels) for name, images in data.items()}


def make_pool(folder: Path) -> None:
    """Train the pool and write all its files into ``folder``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are cut differently for every number of threads
    torch.use_deterministic_algorithms(True)
    try:
        sets = draw_sets(np.random.default_rng(SEED))
        models = train_pool(sets.pop("train"))
        rng = np.random.default_rng(SEED + 100)
        for name, corrupt in (("noisy", noisy), ("shifted", shifted)):
            sets[name] = replace(sets[name], inputs=corrupt(sets[name].inputs, rng))
        write_pool(folder, models, {name: sets[name] for name in ("low", "high", "noisy", "shifted")})
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the digits pool.")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    make_pool(parser.parse_args().to)
