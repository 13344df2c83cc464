"""The README.md of an export: what was merged, how, and what it scored, without anything private.

Hub ids, hashes, numbers and names stand in a card; local paths and secrets never do: every text passes through
:func:`searcher.export.redaction.redact`. Only held-out scores go into the machine-readable ``model-index``, as
those of the search split chose the merge and are too good.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from searcher.export.point import ExportPoint
from searcher.export.redaction import public_name, redact
from searcher.export.segments import segment_labels
from searcher.pool.layout import Layout
from searcher.recipe import layers_text

MAX_ROWS = 400  # segments listed; recipe.json has all of them

_TITLES = {"search": "search", "select": "select", "held_out": "held-out"}
_NOTICE = """\
The search scored every candidate on the *search* examples of every objective and chose this merge by them: those
scores are optimistic. *Select* examples, where there are any, were used to choose among the leading
merges. *Held-out* examples were scored once, for the report, and chose nothing; only they say what to expect.
Whether the source models were trained on any of these examples is not known here; if they were, all scores are
contaminated."""


def model_card(
    point: ExportPoint,
    layout: Layout,
    *,
    hub_ids: Mapping[str, str],
    licences: Mapping[str, str | None],
    kind: Literal["hf", "python", "lora", "mergekit", "recipe"],
) -> str:
    """The card as Markdown with YAML front matter; works without a network.

    Args:
        point: The exported point.
        layout: The pool's parameter line.
        hub_ids: Source name to ``organisation/name@commit`` for sources that came from the hub; no others.
        licences: Source name to its licence as its own card states it, or None.
        kind: What the folder holds: a transformers model, a model of another loader, an adapter, a configuration.
    """
    licence = common_licence(licences)
    front = _front_matter(point, hub_ids=hub_ids, licence=licence, kind=kind)
    parts = [
        f"# {_title(point)}",
        _introduction(point, kind),
        "## Scores\n\n" + _scores(point),
        "### Contamination notice\n\n" + _NOTICE,
        "## Recipe\n\n" + _recipe(point, layout),
        "## Sources\n\n" + _sources(point, hub_ids),
        "## Licence\n\n" + _licence(licence, licences),
        "## Reproduction\n\n" + _reproduction(point),
    ]
    return f"---\n{front.rstrip()}\n---\n\n" + redact("\n\n".join(parts)) + "\n"


def common_licence(licences: Mapping[str, str | None]) -> str | None:
    """The licence that all sources state, or None if they differ or one states none or none that is a name."""
    found = set(licences.values())
    licence = found.pop() if len(found) == 1 else None
    return licence if licence is not None and re.fullmatch(r"[\w.+-]+", licence) else None


def _front_matter(point: ExportPoint, *, hub_ids: Mapping[str, str], licence: str | None, kind: str) -> str:
    """The metadata block, through the hub's own data class."""
    from huggingface_hub import EvalResult, ModelCardData

    names = [*point.recipe.models, *([point.recipe.base] if point.recipe.base else [])]
    base_models = sorted({hub_ids[name].partition("@")[0] for name in names if name in hub_ids})
    results = [
        EvalResult(
            task_type="other",
            task_name=redact(name),
            dataset_type="held-out",
            dataset_name=f"{redact(name)}, held-out examples",
            dataset_config=redact(name),
            metric_type=redact(name),
            metric_name=f"{redact(name)} ({redact(point.objectives[name][1])})",
            metric_value=value,
        )
        for name, (value, _) in point.scores.get("held_out", {}).items()
        if math.isfinite(value)
    ]
    data = ModelCardData(
        base_model=base_models or None,
        base_model_relation="adapter" if kind == "lora" else "merge" if base_models else None,
        tags=["merge", "searcher"],
        library_name={"hf": "transformers", "lora": "peft"}.get(kind),
        license=licence,
        model_name=_title(point) if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _title(point: ExportPoint) -> str:
    return f"{redact(public_name(point.run))}, candidate {point.candidate}"


def _introduction(point: ExportPoint, kind: str) -> str:
    what = {
        "hf": "This model is a merge",
        "python": "This model is a merge",
        "lora": "This PEFT adapter is an exact combination of adapters",
        "mergekit": "This folder holds the mergekit configuration of a merge",
        "recipe": "This folder holds the recipe of a merge",
    }[kind]
    tags = f" It was chosen as: {', '.join(_cell(tag) for tag in point.tags)}." if point.tags else ""
    models = ", ".join(_code(name) for name in point.recipe.models)
    base = f" on the base {_code(point.recipe.base)}" if point.recipe.base else ""
    loader = (
        " It is loaded by the Python function that the search's pool named as its loader." if kind == "python" else ""
    )
    return f"{what} of {models}{base}, found by a search with `searcher`.{tags}{loader}"


def _scores(point: ExportPoint) -> str:
    """One row per objective, one column per split, each with its standard error."""
    splits = [split for split in _TITLES if point.scores.get(split)]
    if not splits:
        return "This point has no recorded scores."
    head = ["objective", "better", "unit", *[f"{_TITLES[split]} (± standard error)" for split in splits]]
    rows = [
        [_cell(name), "higher" if direction == "maximize" else "lower", _cell(unit)]
        + [_score(point.scores[split].get(name)) for split in splits]
        for name, (direction, unit) in point.objectives.items()
    ]
    return _table(head, rows)


def _score(score: tuple[float, float] | None) -> str:
    if score is None or math.isnan(score[0]):
        return "not scored"
    value, stderr = score
    return f"{value:.4f}" if math.isnan(stderr) else f"{value:.4f} ± {stderr:.4f}"


def _recipe(point: ExportPoint, layout: Layout) -> str:
    """Operator, settings and coefficients of each segment."""
    recipe = point.recipe.canonical()
    varying = [name for name, value in recipe.settings.items() if hasattr(value, "shape")]
    fixed = [f"`{name}` = {_cell(str(value))}" for name, value in recipe.settings.items() if name not in varying]
    head = ["segment", "covers", *[_code(name) for name in recipe.models], *varying]
    rows = []
    for segment, label in enumerate(segment_labels(recipe, layout)[:MAX_ROWS]):
        settings = recipe.settings_at(segment)
        cells = [f"{c:.6g}" for c in recipe.coefficients[segment]] + [_setting(settings[name]) for name in varying]
        rows.append([str(segment), _cell(label), *cells])
    lines = [f"Operator `{recipe.operator}`" + (f" with {', '.join(fixed)}." if fixed else ".")]
    if recipe.layers is not None:
        lines.append(f"Layers by depth: {_cell(layers_text(recipe.layers))}.")
    lines.append("Coefficient of each source in each segment of the parameters:")
    if recipe.n_segments > MAX_ROWS:
        lines.append(f"The first {MAX_ROWS} of {recipe.n_segments} segments; `recipe.json` has all.")
    return "\n\n".join([*lines, _table(head, rows)])


def _setting(value: object) -> str:
    return ", ".join(f"{x:.6g}" for x in value) if isinstance(value, tuple) else f"{value:.6g}"


def _sources(point: ExportPoint, hub_ids: Mapping[str, str]) -> str:
    """Where each source is from, and the hash of each file."""
    names = [*([point.recipe.base] if point.recipe.base else []), *point.recipe.models]
    lines = [
        f"- {_code(n)}: {'`' + hub_ids[n] + '`' if n in hub_ids else 'a local folder'}" for n in dict.fromkeys(names)
    ]
    rows = [[_cell(_file_name(name)), f"`{digest}`"] for name, digest in sorted(point.source_hashes.items())]
    return "\n".join(lines) + ("\n\n" + _table(["file", "SHA-256"], rows) if rows else "")


def _file_name(name: str) -> str:
    """``source/file`` with a source name that may be published."""
    source, _, file = name.rpartition("/")
    return f"{public_name(source)}/{file}" if source else file


def _licence(licence: str | None, licences: Mapping[str, str | None]) -> str:
    if licence is not None:
        return f"All sources state the licence `{_cell(licence)}`."
    stated = ", ".join(f"{_code(name)}: {_cell(found or 'unknown')}" for name, found in licences.items())
    return (
        "**Unknown.** The sources state different licences or none "
        f"({stated or 'nothing is known of them'}). Check the licence of every source before publishing or using this."
    )


def _reproduction(point: ExportPoint) -> str:
    """Seed, genome and versions."""
    lines = [
        f"- run: {_code(public_name(point.run))}, candidate {point.candidate}, seed {point.seed}",
        f"- recipe digest: `{point.recipe.digest}`",
        *[f"- {_cell(name)} {_cell(version)}" for name, version in sorted(point.versions.items())],
    ]
    if point.genome is not None:
        rows = [[_cell(name), f"{value:.6g}"] for name, value in list(point.genome.items())[:MAX_ROWS]]
        lines.append("\n" + _table(["gene", "value"], rows))
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(name: str) -> str:
    return f"`{_cell(public_name(name))}`"


def _cell(text: str) -> str:
    """Text that cannot break a table or inject HTML or control characters."""
    plain = "".join(c if c.isprintable() else " " for c in redact(text))
    return plain.replace("|", "/").replace("`", "'").replace("<", "&lt;").replace(">", "&gt;")
