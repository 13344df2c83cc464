"""Reading ``.npz`` data, whatever is in it, and running a model over it."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typing_extensions import override

from searcher.errors import CandidateError, ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.classifier_data import read_classifier_data

DataMaker = Callable[..., Path]
LiveMaker = Callable[[nn.Module], LiveModel]


def test_examples_keep_their_labels_when_reordered(write_data: DataMaker) -> None:
    inputs = np.arange(50, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    labels = np.arange(50) % 4
    data = read_classifier_data(write_data(inputs=inputs, labels=labels), objective="a")
    np.testing.assert_array_equal(data.inputs[:, 0].astype(int) % 4, data.labels)
    assert data.n_examples == 50
    assert not np.array_equal(data.inputs, inputs)


def test_paths_resolve_against_root_and_other_keys_may_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float16), y=np.array([0, 1, 0, 1], np.uint8))
    data = read_classifier_data(Path("d.npz"), objective="a", inputs_key="x", labels_key="y", root=tmp_path)
    assert data.files == (tmp_path / "d.npz",)
    assert data.inputs.dtype == np.float32
    assert data.labels.dtype == np.int64


BAD_ARRAYS: list[tuple[str, dict[str, object]]] = [
    ("no array 'inputs'", {"inputs": None}),
    ("no array 'labels'", {"labels": None}),
    (r"found shape \(50,\)", {"inputs": np.zeros(50)}),
    (r"found shape \(0, 6\)", {"inputs": np.zeros((0, 6)), "labels": np.zeros(0, np.int64)}),
    (r"integers of shape \(50,\)", {"labels": np.zeros(49, np.int64)}),
    ("found shape .50, 1.", {"labels": np.zeros((50, 1), np.int64)}),
    ("float64", {"labels": np.zeros(50)}),
    ("<U1", {"labels": np.full(50, "a")}),
    ("complex", {"inputs": np.zeros((50, 6), np.complex64)}),
    ("NaN or infinite", {"inputs": np.full((50, 6), np.nan)}),
    ("NaN or infinite", {"inputs": np.full((50, 6), np.inf)}),
    ("negative", {"labels": np.full(50, -1)}),
    ("too large", {"labels": np.full(50, 2**63, np.uint64)}),
    ("Cannot read", {"inputs": np.array([[None] * 6] * 50)}),
]


@pytest.mark.parametrize(("problem", "arrays"), BAD_ARRAYS)
def test_bad_arrays_name_file_and_key(write_data: DataMaker, problem: str, arrays: dict[str, object]) -> None:
    path = write_data(**arrays)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_classifier_data(path, objective="low")
    assert str(caught.value).count("\n") == 2
    assert str(path) in caught.value.where
    assert "'low'" in caught.value.where


class Bomb:
    """Leaves a file behind when unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.canary,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bomb = np.empty(1, object)
    bomb[0] = Bomb(canary)
    np.savez(tmp_path / "object.npz", inputs=bomb, labels=np.zeros(1, np.int64))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb(canary)))
    for name in ("object.npz", "plain.npz"):
        with pytest.raises(ConfigError):
            read_classifier_data(tmp_path / name, objective="a")
    assert not canary.exists()


def huge_header() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 64), }"
    header = header.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def test_hostile_files(tmp_path: Path, write_data: DataMaker) -> None:
    whole = write_data().read_bytes()
    contents = {
        "empty": b"",
        "text": b"not a zip file",
        "half": whole[: len(whole) // 2],
        "flipped": whole[:200] + bytes(255 - b for b in whole[200:400]) + whole[400:],
        "zip_magic": b"PK\x03\x04" + bytes(100),
        "empty_zip": b"PK\x05\x06" + bytes(18),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            read_classifier_data(path, objective="a")
    for name, member in {"header": huge_header(), "cut": b"\x93NUM", "raw": b"12345"}.items():
        path = tmp_path / f"{name}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inputs.npy", member)
            archive.writestr("labels.npy", member)
        with pytest.raises(ConfigError):
            read_classifier_data(path, objective="a")
    np.save(tmp_path / "single.npy", np.zeros((2, 2)))
    for path in (tmp_path / "single.npy", tmp_path / "missing.npz", tmp_path):
        with pytest.raises(ConfigError):
            read_classifier_data(path, objective="a")


def test_batches_make_no_difference(write_data: DataMaker, classifier: LiveModel) -> None:
    data = read_classifier_data(write_data(), objective="a")
    whole = data.logits(classifier, None, 1024)
    assert whole.shape == (50, 4)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(data.logits(classifier, None, 7), whole, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(data.logits(classifier, slice(10, 20), 10), data.logits(classifier, None, 10)[10:20])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_inputs_take_the_dtype_of_the_model(write_data: DataMaker, make_live: LiveMaker, dtype: torch.dtype) -> None:
    data = read_classifier_data(write_data(), objective="a")
    module = nn.Linear(6, 4).to(dtype)
    expected = torch.nn.functional.linear(torch.tensor(data.inputs).to(dtype), module.weight, module.bias).float()
    np.testing.assert_array_equal(data.logits(make_live(module), None, 50), expected.detach().numpy())


def test_integer_inputs_stay_integers(write_data: DataMaker, make_live: LiveMaker) -> None:
    tokens = np.random.default_rng(0).integers(9, size=(50, 3)).astype(np.uint8)
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 4))
    data = read_classifier_data(write_data(inputs=tokens), objective="a")
    assert data.logits(make_live(module), None, 16).shape == (50, 4)


def test_a_model_that_works_in_place_cannot_spoil_the_data(write_data: DataMaker, make_live: LiveMaker) -> None:
    data = read_classifier_data(write_data(), objective="a")
    model = make_live(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)))
    before = data.inputs.copy()
    data.logits(model, None, 50)
    np.testing.assert_array_equal(data.inputs, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("example", [0, 24, 49])
def test_one_broken_logit_anywhere_fails(
    write_data: DataMaker, make_live: LiveMaker, value: float, example: int
) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.seen = 0

        @override
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(inputs), 4)
            if self.seen <= example < self.seen + len(inputs):
                logits[example - self.seen, 3] = value
            self.seen += len(inputs)
            return logits

    data = read_classifier_data(write_data(), objective="a")
    with pytest.raises(CandidateError, match="1 of ") as caught:
        data.logits(make_live(Broken()), None, 8)
    assert caught.value.error_class == "NonFiniteOutput"


def test_logits_too_large_for_float32_fail(write_data: DataMaker, make_live: LiveMaker) -> None:
    module = nn.Linear(6, 4).double()
    module.bias.data.fill_(1e300)
    data = read_classifier_data(write_data(), objective="a")
    with pytest.raises(CandidateError):
        data.logits(make_live(module), None, 50)


def test_outputs_that_do_not_fit_the_data(write_data: DataMaker, make_live: LiveMaker) -> None:
    data = read_classifier_data(write_data(), objective="a")
    with pytest.raises(ConfigError, match="gives 3 logits"):
        data.logits(make_live(nn.Linear(6, 3)), None, 50)
    with pytest.raises(ConfigError, match=r"gave \(50, 2, 3\)"):
        data.logits(make_live(nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3)))), None, 50)
    with pytest.raises(CandidateError, match="inputs of shape") as caught:
        data.logits(make_live(nn.Linear(5, 4)), None, 50)
    assert caught.value.error_class == "ForwardFailed"


def test_batch_size_must_be_positive(write_data: DataMaker) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        read_classifier_data(write_data(), objective="a", batch_size=0)
