"""Where to write names in a scatter plot so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CHARACTER = 6.6  # mean width at 12 px, pixels
LINE = 14.0  # height of a line at 12 px, pixels
GAP = 7.0  # from the middle of a marker, pixels

# plotly's names of the places, with the offset of the text box's centre in box halves and gaps
PLACES: Final = (
    ("middle right", 1, 0),
    ("middle left", -1, 0),
    ("top center", 0, 1),
    ("bottom center", 0, -1),
    ("top right", 1, 1),
    ("top left", -1, 1),
    ("bottom right", 1, -1),
    ("bottom left", -1, -1),
)


@dataclass(frozen=True)
class Label:
    """A name at a point, in data coordinates."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    low: float
    high: float

    def overlaps(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high


def place_labels(
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float]],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    size: tuple[float, float],
) -> list[str | None]:
    """Choose a place for each label, earlier ones first; greedy.

    Args:
        labels: What to write, the most important first.
        marks: Markers that must stay visible, in data coordinates.
        x_limits: Limits of the x axis.
        y_limits: Limits of the y axis.
        size: Width and height of the plotting area, pixels.

    Returns:
        For each label one of the place names, or None if it fits nowhere.
    """

    def pixel(x: float, y: float) -> tuple[float, float]:
        return (
            (x - x_limits[0]) / (x_limits[1] - x_limits[0]) * size[0],
            (y - y_limits[0]) / (y_limits[1] - y_limits[0]) * size[1],
        )

    taken = [_Box(x - 4, x + 4, y - 4, y + 4) for x, y in (pixel(*mark) for mark in marks)]
    places: list[str | None] = []
    for label in labels:
        options = _boxes(*pixel(label.x, label.y), CHARACTER * len(label.text))
        free = (
            (place, box)
            for place, box in options
            if 0 <= box.left and box.right <= size[0] and 0 <= box.low and box.high <= size[1]
            if not any(box.overlaps(other) for other in taken)
        )
        place, box = next(free, (None, None))
        places.append(place)
        if box is not None:
            taken.append(box)
    return places


def _boxes(x: float, y: float, width: float) -> list[tuple[str, _Box]]:
    """The text boxes around a marker, by place."""
    boxes = []
    for place, right, up in PLACES:
        middle_x = x + right * (width / 2 + GAP)
        middle_y = y + up * (LINE / 2 + GAP)
        boxes.append(
            (place, _Box(middle_x - width / 2, middle_x + width / 2, middle_y - LINE / 2, middle_y + LINE / 2))
        )
    return boxes
