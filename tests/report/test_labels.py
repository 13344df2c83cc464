from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from searcher.report.labels import PLACES, Label, place_labels

UNIT = (0.0, 1.0)
SIZE = (450.0, 320.0)


def test_the_first_place_is_to_the_right() -> None:
    assert place_labels([Label(0.5, 0.5, "knee")], [(0.5, 0.5)], UNIT, UNIT, SIZE) == ["middle right"]


def test_a_label_at_the_right_edge_goes_left() -> None:
    assert place_labels([Label(0.99, 0.5, "a long name")], [], UNIT, UNIT, SIZE) == ["middle left"]


def test_a_label_that_fits_nowhere_is_left_out() -> None:
    assert place_labels([Label(0.5, 0.5, "x" * 500)], [], UNIT, UNIT, SIZE) == [None]
    assert place_labels([Label(5.0, 0.5, "outside")], [], UNIT, UNIT, SIZE) == [None]


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    places = place_labels([Label(0.5, 0.5, "same")] * 12, [], UNIT, UNIT, SIZE)
    shown = [place for place in places if place]
    assert len(set(shown)) == len(shown) >= 4


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_known_places_only(points: list[tuple[float, float]]) -> None:
    labels = [Label(x, y, "name") for x, y in points]
    places = place_labels(labels, points, UNIT, UNIT, SIZE)
    assert len(places) == len(labels)
    assert {place for place in places if place} <= {place for place, _, _ in PLACES}
