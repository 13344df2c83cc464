from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from searcher.report.data import CoefficientTable, ReportData
from searcher.report.heat_map_figures import GENE_LIMIT, GENE_POINTS, TALLEST, coefficient_figures, gene_figure

MakeReport = Callable[..., ReportData]


def test_the_map_holds_the_coefficients(make_report: MakeReport) -> None:
    data = make_report()
    table = data.coefficients[0]
    figure = coefficient_figures(data)[0].figure
    assert [list(row) for row in figure.data[0].z] == [pytest.approx(row) for row in table.coefficients]
    assert list(figure.layout.yaxis.ticktext) == list(table.segments)
    assert list(figure.layout.xaxis.ticktext) == list(table.models)


def test_all_maps_have_the_same_colours(make_report: MakeReport) -> None:
    ends = {(figure.figure.data[0].zmin, figure.figure.data[0].zmax) for figure in coefficient_figures(make_report())}
    assert len(ends) == 1


def test_negative_coefficients_centre_the_colours(make_report: MakeReport) -> None:
    table = CoefficientTable(3, "knee", ("a",), ("m", "n"), ((-0.5, 2.0),))
    heat_map = coefficient_figures(make_report(coefficients=(table,)))[0].figure.data[0]
    assert (heat_map.zmin, heat_map.zmax) == (-2.0, 2.0)


@pytest.mark.parametrize("coefficients", [((0.0,),), ((float("nan"),),)])
def test_degenerate_maps(make_report: MakeReport, coefficients: tuple[tuple[float, ...], ...]) -> None:
    table = CoefficientTable(3, "knee", ("a",), ("m",), coefficients)
    assert coefficient_figures(make_report(coefficients=(table,)))[0].figure.data[0].zmax > 0


def test_a_thousand_segments_fit(make_report: MakeReport) -> None:
    labels = ("same label",) * 1000  # equal labels are separate rows
    table = CoefficientTable(3, "knee", labels, ("m",), ((0.5,),) * 1000)
    figure = coefficient_figures(make_report(coefficients=(table,)))[0].figure
    assert len(figure.data[0].z) == 1000
    assert figure.layout.height <= TALLEST
    assert len(figure.layout.yaxis.ticktext) <= 60


def test_genes_are_sorted_by_the_first_objective(make_report: MakeReport) -> None:
    data = make_report(2)
    figure = gene_figure(data)
    assert figure is not None
    numbers = [int(label.split()[0]) for label in figure.figure.layout.yaxis.ticktext]
    score = {point.candidate: point.search.value("low") for point in data.front}
    assert [score[number] for number in numbers] == sorted(score.values(), reverse=True)


def test_genes_are_left_out_where_they_cannot_be_compared(make_report: MakeReport) -> None:
    data = make_report(2)
    points = data.front
    assert gene_figure(replace(data, front=())) is None
    assert gene_figure(replace(data, front=points[:1])) is None
    assert gene_figure(replace(data, front=(points[0], replace(points[1], genes={"other": 0.5})))) is None
    many = {f"gene {i}": 0.5 for i in range(GENE_LIMIT + 1)}
    assert gene_figure(replace(data, front=tuple(replace(point, genes=many) for point in points))) is None
    long = tuple(replace(points[0], candidate=i) for i in range(GENE_POINTS + 5))
    figure = gene_figure(replace(data, front=long))
    assert figure is not None
    assert len(figure.figure.data[0].z) == GENE_POINTS
