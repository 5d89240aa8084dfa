"""OpenDRIVE road networks without traffic: an ego drives along the longest way through them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawTrack, assemble
from alpamayo_datasets.lanes import RawLane
from alpamayo_datasets.opendrive import raw_map, read_network, scene_signals
from alpamayo_sim.datatypes.scene import Category, LaneKind, Provenance, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings, wrap_angle

Array = np.ndarray

LICENCE = "as the file says"
STEP_S, DURATION_S = 0.1, 20.0
SPEED_MPS = 12.0  # of the ego, where the limit allows it
START_M, END_M = 60.0, 30.0  # of the way before the ego's start and after its end, where the way is long enough
LEAST_WAY_M = 60.0
WAY_M = 600.0  # beyond which a way is not followed
EGO_SIZE_M = (4.9, 1.95, 1.65)


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file is an OpenDRIVE XML."""
    return b"<OpenDRIVE" in head or path.suffix == ".xodr"


def read(path: Path) -> Scene:
    """Return the roads of a file as a Scene of 20 s with an ego that keeps its speed and its lanes.

    Raises:
        InputError: The file cannot be read, or has no way of 60 m for a car.
    """
    network = read_network(path)
    roads = raw_map(network)
    way, limit = longest_way(roads, str(path))
    speed = min(SPEED_MPS, limit)
    steps = round(DURATION_S / STEP_S) + 1
    provenance = Provenance("OpenDRIVE", LICENCE, path.stem)
    signals = scene_signals(network, steps)
    ego = _ego(way, speed, steps)
    return assemble(str(path), path.stem, provenance, [ego], ego.id, roads, signals, STEP_S)


def longest_way(roads: RawMap, where: str) -> tuple[Float64[Array, "n 3"], float]:
    """Return the longest way along lanes and their straightest successors, and the least limit (m/s) on it.

    Raises:
        InputError: There is none of 60 m.
    """
    lanes = {lane.id: lane for lane in roads.lanes if lane.kind is LaneKind.DRIVING}
    followed = {name for lane in lanes.values() for name in lane.successors or ()}
    starts = [lane for name, lane in lanes.items() if name not in followed] or list(lanes.values())[:1]
    ways = [_way(lane, lanes) for lane in starts]
    lines = [np.concatenate([lane.centreline for lane in way]) for way in ways]
    lengths = [float(arc_length(line)[-1]) for line in lines]
    if not lengths or max(lengths) < LEAST_WAY_M:
        raise InputError(f"{where}: has no way of {LEAST_WAY_M:g} m for a car")
    best = int(np.argmax(np.minimum(lengths, WAY_M)))
    return lines[best], min((lane.speed_limit or np.inf) for lane in ways[best])


def _way(lane: RawLane, lanes: dict[str, RawLane]) -> list[RawLane]:
    way, length = [lane], 0.0
    while length < WAY_M:
        length += float(arc_length(way[-1].centreline)[-1])
        after = [lanes[name] for name in way[-1].successors or () if name in lanes]
        after = [option for option in after if option not in way]
        if not after:
            break
        end = polyline_headings(way[-1].centreline[:, :2])[-1]
        way.append(min(after, key=lambda option: abs(float(wrap_angle(_chord(option) - end)))))
    return way


def _chord(lane: RawLane) -> Float64[Array, ""]:
    chord = lane.centreline[-1] - lane.centreline[0]
    return np.arctan2(chord[1], chord[0])


def _ego(way: Float64[Array, "n 3"], speed: float, steps: int) -> RawTrack:
    along = arc_length(way)
    room = max(float(along[-1]) - START_M - END_M, 0.0)
    first = START_M if room > 0.5 * speed * DURATION_S else 0.0
    s = np.minimum(first + speed * STEP_S * np.arange(steps), along[-1])
    valid = s < along[-1]
    heading = np.interp(s, along, np.unwrap(polyline_headings(way[:, :2])))
    velocity = speed * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return RawTrack("ego", Category.VEHICLE, interpolate(way, s), heading, velocity, np.array(EGO_SIZE_M), valid)
