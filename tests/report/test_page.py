from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typing_extensions import override

from searcher.errors import RunError
from searcher.report import BaselineRow, FrontRow, ReportData, Scores, write_report
from searcher.report.page import render_report

MakeReport = Callable[..., ReportData]
VOID = {"meta", "br", "img", "input", "hr", "link"}
EVIL = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">'
LINK = '<a href="https://evil.example/x">a</a>\x1b[31mred\x1b[0m\x1b]0;title\x07\u202e'


class Page(HTMLParser):
    """Elements, texts and balance of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside == "style":
            self.styles[-1] += data
        else:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]

    @property
    def payload(self) -> dict[str, dict[str, dict[str, object]]]:
        loaded: dict[str, dict[str, dict[str, object]]] = json.loads(self.scripts[0])
        return loaded

    @property
    def sentence(self) -> str:
        words = self.text.split("36 genes, 200 evaluations", 1)[1].split("Evaluations")[0]
        return " ".join(words.split())


def empty(data: ReportData) -> ReportData:
    return replace(
        data,
        baselines=(),
        candidates=(),
        front=(),
        hypervolume=(),
        coefficients=(),
        failures=(),
        exports=(),
        packages={},
        hashes={},
        reference_point={},
        hypervolume_baselines=float("nan"),
    )


@pytest.fixture(scope="module")
def page(make_report: MakeReport) -> Page:
    return Page(render_report(make_report()))


def test_writes_one_whole_file(make_report: MakeReport, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert write_report(make_report(), path) == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")


def test_equal_data_give_equal_bytes_in_another_process(make_report: MakeReport) -> None:
    code = (
        "import importlib.util, sys, hashlib\n"
        "spec = importlib.util.spec_from_file_location('made', sys.argv[1])\n"
        "made = importlib.util.module_from_spec(spec); sys.modules['made'] = made; spec.loader.exec_module(made)\n"
        "from searcher.report.page import render_report\n"
        "print(hashlib.sha256(render_report(made._make()).encode()).hexdigest())\n"
    )
    conftest = str(Path(__file__).with_name("conftest.py"))
    root = Path(__file__).resolve().parents[2]
    other = subprocess.run(
        [sys.executable, "-c", code, conftest], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert other == sha256(render_report(make_report()).encode()).hexdigest()


def test_loads_nothing(page: Page) -> None:
    assert page.values("src") == []
    assert page.values("srcset") == []
    assert page.values("action") == []
    assert not {"link", "base", "iframe", "object", "embed", "form", "img"} & {tag for tag, _ in page.elements}
    assert not any(re.search(r"@import|url\(|https?:", style) for style in page.styles)
    assert all(href == "" or href.startswith("#") for href in page.values("href"))


def test_security_policy_allows_its_two_scripts_and_no_connection(page: Page) -> None:
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    hashes = {f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in page.scripts[1:]}
    assert set(directives["script-src"].split()) == hashes
    assert "connect-src" not in directives


def test_never_offers_to_upload_figures(page: Page) -> None:
    assert "showSendToCloud: false" in page.scripts[2]
    assert 'plotlyServerURL: ""' in page.scripts[2]


def test_links_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert {href[1:] for href in page.values("href") if href} <= set(ids)


def test_every_figure_has_its_element(page: Page) -> None:
    canvases = {a["id"] for _, a in page.elements if a.get("class") == "canvas"}
    assert canvases == set(page.payload["figures"])
    assert {"front-0-1", "front-0-2", "front-1-2", "coordinates", "hypervolume", "coefficients-0"} <= canvases


def test_every_drawn_candidate_has_a_hover_label(page: Page) -> None:
    drawn = {
        str(number)
        for figure in page.payload["figures"].values()
        for trace in figure["data"]  # type: ignore[attr-defined]
        for number in trace.get("customdata", [])
    }
    assert drawn <= set(page.payload["hover"])


def test_sections_come_in_order(page: Page) -> None:
    sections = [a["id"] for tag, a in page.elements if tag == "section" and "id" in a]
    assert sections == ["summary", "fronts", "progress", "coefficients", "failures", "searched"]
    assert page.sentence.startswith("Not distinguishable from the baselines: the front's hypervolume is 0.884 against")


def test_export_commands_quote_the_run_folder(make_report: MakeReport) -> None:
    page = Page(render_report(make_report(run="runs/a b'; rm -rf /")))
    commands = [command for command in page.values("data-command") if command]
    assert commands[0] == "searcher export 'runs/a b'\"'\"'; rm -rf /' --point 0 --to export/point-0"
    assert str(page.payload["command"]) == "searcher export 'runs/a b'\"'\"'; rm -rf /' --point "


def test_tables_are_accessible(page: Page) -> None:
    regions = [a for _, a in page.elements if a.get("role") == "region"]
    assert regions
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    assert all("scope" in a for tag, a in page.elements if tag == "th")
    assert ("html", {"lang": "en"}) in page.elements


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 5])
def test_any_number_of_objectives(make_report: MakeReport, n_objectives: int) -> None:
    figures = Page(render_report(make_report(n_objectives))).payload["figures"]
    fronts = [key for key in figures if key.startswith("front-")]
    assert len(fronts) == n_objectives * (n_objectives - 1) // 2
    assert ("coordinates" in figures) == (n_objectives >= 3)
    assert ("best-so-far" in figures) == (n_objectives == 1)
    assert ("hypervolume" in figures) == (n_objectives > 1)


@pytest.mark.parametrize("n_objectives", [1, 2, 5])
def test_nothing_scored(make_report: MakeReport, n_objectives: int) -> None:
    page = Page(render_report(empty(make_report(n_objectives))))
    assert page.sentence == "No verdict: no candidate was scored."
    assert "No point is on the front" in page.text
    assert "No baseline was evaluated." in page.text


def test_no_front_but_baselines(make_report: MakeReport) -> None:
    page = Page(render_report(make_report(front=(), coefficients=(), exports=())))
    assert "No, the search did not beat the baselines" in page.sentence
    assert "No point is on the front" in page.text


def test_unscored_and_infinite_values_are_dashes(make_report: MakeReport) -> None:
    nan, inf = float("nan"), float("inf")
    data = make_report(2)
    scores = Scores({"low": nan, "high": inf}, {"low": nan})
    page = Page(
        render_report(
            replace(
                data,
                front=(FrontRow(3, (), scores, scores, scores), *data.front),
                baselines=(BaselineRow("broken", 0, None, None, "NonFiniteWeights"), *data.baselines[1:]),
                hypervolume=(nan, *data.hypervolume),
                elapsed=nan,
            )
        )
    )
    assert "NaN" not in page.scripts[0]
    assert "Infinity" not in page.scripts[0]
    assert not re.search(r"\b(nan|inf)\b", page.text)
    assert "NonFiniteWeights" in page.text


def test_ten_thousand_candidates_are_thinned_and_it_says_so(make_report: MakeReport, tmp_path: Path) -> None:
    data = make_report(3, 10_000)
    path = write_report(data, tmp_path / "report.html")
    page = Page(path.read_text(encoding="utf-8"))
    faint = page.payload["figures"]["front-0-1"]["data"][0]  # type: ignore[index]
    assert len(faint["x"]) == 3000
    assert "only 3,000 are drawn" in page.text
    assert path.stat().st_size < 7_500_000


def test_an_ordinary_report_is_not_larger_than_plotly_and_a_little(make_report: MakeReport) -> None:
    from plotly.offline import get_plotlyjs

    text = render_report(make_report())
    assert len(text) - len(get_plotlyjs()) < 400_000
    assert "are drawn" not in Page(text).text


@pytest.mark.parametrize("payload", [EVIL, LINK, "{{ 7 * 7 }}{% raw %}", "]]><!--", "\ud800\x00 %{x} $x^2$"])
def test_hostile_texts_stay_texts(make_report: MakeReport, payload: str) -> None:
    plain = Page(render_report(make_report(3, 40)))
    page = Page(render_report(hostile(make_report(3, 40), payload)))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    handlers = {name for _, attributes in page.elements for name in attributes if name.startswith("on")}
    assert handlers == set()
    assert not re.search("[<>&]", page.scripts[0])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.scripts[0] + page.text)
    labels = [text for figure in page.payload["figures"].values() for text in strings(figure)]
    labels += [str(text) for text in page.payload["hover"].values()]
    assert {tag for text in labels for tag in re.findall("<[^>]*>?", text)} <= {
        "<b>",
        "</b>",
        "<i>",
        "</i>",
        "<br>",
        "<extra>",
        "</extra>",
    }


def test_secrets_do_not_appear(make_report: MakeReport) -> None:
    known = "correct-horse-battery"
    keys = (
        "sk-abcdefghijklmnop1234",
        "hf_abcdefghijklmnop1234",
        "ghp_abcdefghijklmnop1234",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOi12345.eyJzdWIiOi12345.c2ln",
        known,
    )
    text = " ".join((*keys, "Bearer abcdef123456", "https://user:password1@host/x"))
    page = render_report(replace(hostile(make_report(2, 40), " " + text), config=text, secrets=(known, "")))
    assert not [key for key in (*keys, "abcdef123456", "user:password1") if key in page]
    assert "[redacted]" in page


def hostile(data: ReportData, text: str) -> ReportData:
    """The data with the payload in every text that a user, a model or a library can choose."""
    names = {objective.name: f"{objective.name}{text}" for objective in data.objectives}

    def scores(found: Scores | None) -> Scores | None:
        return found and Scores(
            {names[k]: v for k, v in found.values.items()}, {names[k]: v for k, v in found.stderr.items()}
        )

    return replace(
        data,
        run=text,
        name=text,
        date=text,
        strategy=f"nsga2 {text}",
        space=text,
        operator=text,
        budget=text,
        config=text,
        packages={text + name: text for name in data.packages},
        hashes={text + name: text for name in data.hashes},
        objectives=tuple(replace(o, name=names[o.name], unit=text) for o in data.objectives),
        baselines=tuple(
            replace(row, name=row.name + text, search=scores(row.search), held_out=scores(row.held_out))
            for row in data.baselines
        ),
        candidates=tuple(
            replace(row, scores={names[k]: v for k, v in row.scores.items()}, summary=text, error=row.error and text)
            for row in data.candidates
        ),
        front=tuple(
            FrontRow(
                p.candidate,
                tuple(tag + text for tag in p.tags),
                scores(p.search) or p.search,
                None,
                scores(p.held_out),
                {text: [text], **p.recipe},
                {text + gene: value for gene, value in p.genes.items()},
            )
            for p in data.front
        ),
        reference_point={names[k]: v for k, v in data.reference_point.items()},
        coefficients=tuple(
            replace(
                t, title=text, models=tuple(m + text for m in t.models), segments=tuple(s + text for s in t.segments)
            )
            for t in data.coefficients
        ),
        failures=tuple(replace(row, error=text, example=text) for row in data.failures),
        exports=tuple(replace(row, folder=text, format=text) for row in data.exports),
    )


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for entry in value.values() for text in strings(entry)]
    return [text for entry in value for text in strings(entry)] if isinstance(value, list) else []


def test_a_missing_folder_is_a_clear_error(make_report: MakeReport, tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        write_report(make_report(1), tmp_path / "missing" / "report.html")
    assert len(str(raised.value).splitlines()) == 3


def test_a_full_disk_leaves_the_old_report(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_report(make_report(1), path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_data_are_plain(make_report: MakeReport) -> None:
    with pytest.raises(ValueError, match="each with its own name"):
        make_report(objectives=())
    with pytest.raises(ValueError, match="rows of 4 coefficients"):
        replace(make_report().coefficients[0], coefficients=((0.0, 1.0),))
    assert "secret-value" not in repr(make_report(1, secrets=("secret-value",)))
