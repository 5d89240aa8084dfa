"""A road network in the words of OpenDRIVE: roads, lane sections, lanes, links and junctions, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.opendrive.reference_line import ReferenceLine

Array = np.ndarray
Step = tuple[str, int, int]
"""A lane: its road, the number of its lane section, and its id."""


@dataclass(frozen=True, eq=False)
class Cubics:
    """A function of the arc length by pieces: a cubic polynomial from each start (m) on."""

    starts: Float64[Array, " n"]
    coefficients: Float64[Array, "n 4"]

    def __call__(self, s: Float64[Array, " m"]) -> Float64[Array, " m"]:
        """Return the values at arc lengths (m); 0 without pieces."""
        if not len(self.starts):
            return np.zeros(len(s))
        which = np.clip(np.searchsorted(self.starts, s, side="right") - 1, 0, len(self.starts) - 1)
        u = s - self.starts[which]
        a, b, c, d = self.coefficients[which].T
        return np.asarray(a + u * (b + u * (c + u * d)))


@dataclass(frozen=True, eq=False)
class LaneRecord:
    """A lane of a section.

    Attributes:
        id: positive to the left of the reference line, negative to the right; its size grows outwards.
        kind: its type in the file.
        width: its width (m) from the section's start on, or the offset of its outer border if ``is_border``.
        before: the id of the lane that it continues towards smaller arc lengths, if the file names one.
        after: the same towards greater ones.
        marks: the start (m from the section's), type and colour of the marking on its outer border.
        speeds: the start (m from the section's) and the limit (m/s).
    """

    id: int
    kind: str
    width: Cubics
    is_border: bool = False
    before: int | None = None
    after: int | None = None
    marks: tuple[tuple[float, str, str], ...] = ()
    speeds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Section:
    """The lanes of a road between two arc lengths (m)."""

    start: float
    end: float
    lanes: Mapping[int, LaneRecord]

    def border(self, lane: int, s: Float64[Array, " n"]) -> Float64[Array, " n"]:
        """Return how far (m, left positive) the outer border of a lane is from the middle line at arc lengths (m)."""
        u, sign, at = s - self.start, 1.0 if lane > 0 else -1.0, np.zeros(len(s))
        for k in range(1, abs(lane) + 1):
            record = self.lanes.get(int(sign) * k)
            if record is None:
                continue
            at = record.width(u) if record.is_border else at + sign * np.maximum(record.width(u), 0.0)
        return at


@dataclass(frozen=True)
class Link:
    """What a road continues in: a road at one of its ends, or a junction."""

    kind: str
    id: str
    at_end: bool = False


@dataclass(frozen=True)
class Connection:
    """A connecting road of a junction: from which road it leads on, and which lanes into which."""

    incoming: str
    connecting: str
    at_end: bool
    lanes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class RoadSignal:
    """A signal beside a road: arc length and offset (m), type, and the lanes that it is valid for (None: all)."""

    id: str
    s: float
    t: float
    kind: str
    dynamic: bool
    orientation: str
    validity: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class Road:
    """A road.

    Attributes:
        id: its id.
        length: its length (m).
        junction: the junction that it connects lanes in, if any.
        left_hand: whether traffic keeps to the left.
        line: its reference line.
        elevation: its height (m).
        offset: the offset (m) of the middle of its lanes from the reference line.
        sections: its lane sections.
        before: what it continues at its start.
        after: what continues it at its end.
        speeds: the start (m) and the limit (m/s) for the whole road.
        signals: its signals.
        crosswalks: outlines (m) in the world.
    """

    id: str
    length: float
    junction: str | None
    left_hand: bool
    line: ReferenceLine
    elevation: Cubics
    offset: Cubics
    sections: tuple[Section, ...]
    before: Link | None = None
    after: Link | None = None
    speeds: tuple[tuple[float, float], ...] = ()
    signals: tuple[RoadSignal, ...] = ()
    crosswalks: tuple[Float64[Array, "_ 3"], ...] = ()

    def section_at(self, s: float) -> int:
        """Return the number of the lane section at an arc length (m)."""
        starts = [section.start for section in self.sections]
        return max(int(np.searchsorted(starts, s, side="right")) - 1, 0)

    def lane_t(self, lane: int, s: Float64[Array, " n"], section: int | None = None) -> Float64[Array, " n"]:
        """Return the offset (m) of a lane's centre from the reference line; lane 0 is the middle of the road."""
        if section is None:
            which = np.clip(np.searchsorted([each.start for each in self.sections], s, side="right") - 1, 0, None)
            return np.concatenate(
                [self.lane_t(lane, s[k : k + 1], int(which[k])) for k in range(len(s))] or [np.zeros(0)]
            )
        if lane == 0:
            return self.offset(s)
        here, inner = self.sections[section], lane - (1 if lane > 0 else -1)
        return self.offset(s) + 0.5 * (here.border(lane, s) + here.border(inner, s))

    def points(self, s: Float64[Array, " n"], t: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        """Return world coordinates (m) at arc lengths and offsets (m)."""
        x, y, heading = self.line.pose(s).T
        return np.stack([x - t * np.sin(heading), y + t * np.cos(heading), self.elevation(s)], axis=-1)

    def runs_along(self, lane: int) -> bool:
        """Return whether traffic in a lane drives towards greater arc lengths."""
        return (lane < 0) is not self.left_hand


@dataclass(frozen=True, eq=False)
class Network:
    """The roads and junctions of a file, and what of it is not supported: names with their lines."""

    where: str
    roads: Mapping[str, Road]
    junctions: Mapping[str, tuple[Connection, ...]]
    unsupported: tuple[str, ...] = field(default=())

    def following(self, step: Step) -> list[Step]:
        """Return the lanes that a lane leads into, in driving direction."""
        return [after for after, _ in self.continued(step, self.roads[step[0]].runs_along(step[2]))]

    def continued(self, step: Step, along: bool) -> list[tuple[Step, bool]]:
        """Return the lanes that go on from a lane, and whether one then drives towards greater arc lengths there.

        ``along`` tells whether one leaves the lane at its end with the greater arc length.
        """
        road, k, lane = self.roads[step[0]], step[1], step[2]
        record = road.sections[k].lanes[lane]
        linked, beside = (record.after, k + 1) if along else (record.before, k - 1)
        to = lane if linked is None else linked
        if 0 <= beside < len(road.sections):
            return self._known([((road.id, beside, to), along)])
        link = road.after if along else road.before
        if link is None:
            return []
        if link.kind == "road":
            return self._known([self._end(link.id, link.at_end, to)])
        return self._known(
            [
                self._end(connection.connecting, connection.at_end, entered)
                for connection in self.junctions.get(link.id, ())
                if connection.incoming == road.id
                for begin, entered in connection.lanes
                if begin == lane
            ]
        )

    def _end(self, road: str, at_end: bool, lane: int) -> tuple[Step, bool]:
        sections = len(self.roads[road].sections) if road in self.roads else 0
        return (road, sections - 1 if at_end else 0, lane), not at_end

    def _known(self, found: list[tuple[Step, bool]]) -> list[tuple[Step, bool]]:
        return [
            (step, along)
            for step, along in found
            if step[0] in self.roads and step[2] in self.roads[step[0]].sections[step[1]].lanes
        ]
