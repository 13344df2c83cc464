"""From a YAML file to a checked configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from searcher.errors import ConfigError, nearest
from searcher.mergekit.configuration import Configuration, Input, OutputSlice
from searcher.mergekit.keys import Keys
from searcher.mergekit.methods import METHODS, Method
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.setting import scalar
from searcher.mergekit.settings_reader import SettingsReader
from searcher.mergekit.tokenizer_reader import read_tokenizer
from searcher.yaml_file import KeyPath, YamlDocument, read_yaml

DTYPES = ("float32", "bfloat16", "float16", "float64")
MAX_LAYERS = 10_000
TOP_KEYS = (
    "merge_method", "models", "slices", "base_model", "parameters", "dtype", "out_dtype", "tokenizer_source",
    "tokenizer", "chat_template",
)  # fmt: skip
NOT_READ = {
    "modules": "Merge models with several modules (vision, audio) with mergekit-yaml, or list them under `models`.",
    "experts": "Mixtures of experts are made by mergekit-moe.",
    "gate_mode": "Mixtures of experts are made by mergekit-moe.",
    "genome": "This is a configuration of mergekit-evolve; `searcher optimize` searches.",
}


def read_configuration(path: Path) -> Configuration:
    """Read and check a mergekit configuration.

    Raises:
        ConfigError: If the file is no YAML mapping, or a key is unknown, missing, not supported or has a wrong value.
    """
    document = _document(path)
    return _Reader(document, path.read_bytes().decode()).configuration()


def _document(path: Path) -> YamlDocument:
    """The file's content."""
    try:
        return read_yaml(path)
    except ConfigError as error:
        if "another document" in error.what:
            fix = "Give one merge per file; a merge that uses another's result reads its folder."
            raise ConfigError("The file holds several documents.", where=error.where, fix=fix) from error
        if error.what.startswith("Expected a mapping"):
            fix = "Write merge_method and models or slices; docs/merge.md has examples."
            raise ConfigError(error.what, where=error.where, fix=fix) from error
        raise


class _Reader:
    """Reads one document."""

    def __init__(self, document: YamlDocument, text: str) -> None:
        self._document, self._text, self._data = document, text, document.data
        self._keys = Keys(document)
        for key in NOT_READ.keys() & self._data.keys():
            self._keys.fail((key,), f"Key {key!r} is not supported.", NOT_READ[key])
        self._keys.check(self._data, (), TOP_KEYS)
        self._method = self._read_method()
        self._settings = SettingsReader(self._keys, self._method)

    def configuration(self) -> Configuration:
        """The whole."""
        base = self._keys.optional_model(self._data, (), "base_model")
        has_slices = self._has_slices()
        slices = tuple(self._slices(base)) if has_slices else (self._all_layers(base),)
        self._check_depth(slices)
        return Configuration(
            self._document,
            self._text,
            self._method,
            slices,
            has_slices,
            base,
            self._settings.read(self._data, ()),
            self._dtype("dtype"),
            self._dtype("out_dtype"),
            read_tokenizer(self._keys),
            self._keys.text("chat_template"),
            tuple(dict.fromkeys(self._settings.warnings)),
        )

    def _read_method(self) -> Method:
        name = self._keys.required(self._data, (), "merge_method")
        if isinstance(name, str) and name in METHODS:
            return METHODS[name]
        hint = nearest(str(name), METHODS)
        what = f"There is no merge method {str(name)[:60]!r}." + (f" Did you mean {hint!r}?" if hint else "")
        self._keys.fail(("merge_method",), what, f"Use one of: {', '.join(sorted(METHODS))}.")

    def _has_slices(self) -> bool:
        """Whether slices are listed, and not models."""
        given = [key for key in ("models", "slices") if self._data.get(key)]
        if len(given) == 1:
            return given == ["slices"]
        what = (
            "Both models and slices are given." if given else "Neither models nor slices are given, or they are empty."
        )
        fix = "List whole models under `models`, or stretches of layers under `slices`."
        self._keys.fail(("slices",) if given else (), what, fix)

    def _all_layers(self, base: ModelReference | None) -> OutputSlice:
        """``models`` as one slice; a base that is not listed joins at the end."""
        inputs = []
        for number, entry in enumerate(self._keys.items(self._data, (), "models")):
            path: KeyPath = ("models", number)
            self._keys.check(entry, path, ("model", "parameters"))
            inputs.append(Input(self._keys.model(entry, path), path, None, self._settings.read(entry, path)))
        if base is not None and all(one.model != base for one in inputs):
            inputs.append(Input(base, ("base_model",)))
        return OutputSlice(tuple(inputs), ("models",), base)

    def _slices(self, base: ModelReference | None) -> Iterator[OutputSlice]:
        for number, entry in enumerate(self._keys.items(self._data, (), "slices")):
            path: KeyPath = ("slices", number)
            self._keys.check(entry, path, ("sources", "base_model", "parameters", "residual_weight"))
            if entry.get("residual_weight") is not None:
                self._settings.warnings.append(f"{self._document.where((*path, 'residual_weight'))}: has no effect")
            sources = enumerate(self._keys.items(entry, path, "sources"))
            inputs = tuple(self._source(source, (*path, "sources", n)) for n, source in sources)
            lengths = {one.layers[1] - one.layers[0] for one in inputs if one.layers is not None}
            if len(lengths) > 1:
                what = f"The sources of a slice have different numbers of layers: {sorted(lengths)}."
                self._keys.fail((*path, "sources"), what, "Give all sources of a slice equally long layer ranges.")
            own = self._keys.optional_model(entry, path, "base_model")
            yield OutputSlice(inputs, path, own or base, self._settings.read(entry, path))

    def _check_depth(self, slices: tuple[OutputSlice, ...]) -> None:
        ranges = [one.inputs[0].layers or (0, 0) for one in slices]
        depth = sum(stop - first for first, stop in ranges)
        if depth > MAX_LAYERS:
            what = f"The slices have {depth} layers together; at most {MAX_LAYERS} are merged."
            self._keys.fail(("slices",), what, "Give fewer or shorter slices.")

    def _source(self, entry: Mapping[str, Any], path: KeyPath) -> Input:
        self._keys.check(entry, path, ("model", "layer_range", "parameters"))
        layers = self._layer_range(self._keys.required(entry, path, "layer_range"), (*path, "layer_range"))
        return Input(self._keys.model(entry, path), path, layers, self._settings.read(entry, path))

    def _layer_range(self, value: object, path: KeyPath) -> tuple[int, int]:
        fix = "Write layer_range: [FIRST, STOP], two whole numbers; STOP is the layer after the last one taken."
        if not isinstance(value, list) or len(value) != 2:
            self._keys.fail(path, "A layer range is a list of two numbers.", fix)
        try:
            first, stop = (int(scalar(number, "int")) for number in value)
        except ValueError as error:
            self._keys.fail(path, f"The layer range cannot be read: {error}.", fix)
        if not 0 <= first < stop <= MAX_LAYERS:
            self._keys.fail(path, f"The layer range [{first}, {stop}] is empty, negative or too long.", fix)
        return first, stop

    def _dtype(self, key: str) -> str | None:
        text = self._keys.text(key)
        name = None if text is None else text.removeprefix("torch.")
        if name is not None and name not in DTYPES:
            hint = nearest(name, DTYPES)
            what = f"{name[:60]!r} is no type for weights." + (f" Did you mean {hint!r}?" if hint else "")
            self._keys.fail((key,), what, f"Use one of: {', '.join(DTYPES)}.")
        return name
