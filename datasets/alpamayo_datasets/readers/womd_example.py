"""Scenes of Waymo's motion tf.Example proto: arrays of 128 agents, 20,000 road points and 16 lights a step.

Names and shapes of the features: https://waymo.com/open/data/motion/tfexample
"""

from collections.abc import Mapping

import numpy as np

from alpamayo_datasets.assemble import RawMap, RawSignal, RawTrack, assemble
from alpamayo_datasets.lanes import RawLane, unknown_sides, without_repeats
from alpamayo_datasets.protobuf_wire import floats, integers, parse, submessages, text
from alpamayo_datasets.readers.womd_json import LANE_KINDS, LICENCE, LINE_KINDS
from alpamayo_datasets.readers.womd_scenario import box_track, category_of, state_of
from alpamayo_sim.datatypes.scene import LaneKind, LineKind, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError

Array = np.ndarray

MARK = b"state/is_sdc"
TIME_STEP_S = 0.1
AGENTS = 128
LIGHTS = 16
SPANS = ("past", "current", "future")
STATE = ("x", "y", "z", "length", "width", "height", "bbox_yaw", "velocity_x", "velocity_y")
LANES = range(4)
LINES = range(6, 14)
EDGES = (15, 16)
STOP_SIGN, CROSSWALK = 17, 18


class _Features(Mapping[str, Array]):
    """The features of an Example, decoded at their use."""

    def __init__(self, data: bytes, where: str) -> None:
        self._where = where
        self._values: dict[str, bytes] = {}
        for features in submessages(parse(data, where), 1, where):
            for record in submessages(parse(features, where), 1, where):
                entry = parse(record, where)
                values = submessages(entry, 2, where)
                self._values[text(entry, 1, where)] = values[-1] if values else b""

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, name: str) -> Array:
        """Return a feature's numbers as float64, exact for integers below 2**53; ``InputError`` if it is missing."""
        here = f"{self._where}: feature {name!r}"
        if name not in self._values:
            raise InputError(f"{self._where}: has no feature {name!r}")
        value = parse(self._values[name], here)
        parts = [floats(parse(part, here), 1, here) for part in submessages(value, 2, here)]
        parts += [integers(parse(part, here), 1, here).astype(np.float64) for part in submessages(value, 3, here)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def text(self, name: str) -> str:
        """Return a feature's first string, else an empty one."""
        here = f"{self._where}: feature {name!r}"
        for part in submessages(parse(self._values.get(name, b""), here), 1, here):
            return text(parse(part, here), 1, here)
        return ""

    def table(self, name: str, rows: int) -> Array:
        """Return a feature as a table of so many rows."""
        values = self[name]
        if len(values) % rows:
            raise InputError(f"{self._where}: feature {name!r} has {len(values)} values, must be a multiple of {rows}")
        return values.reshape(rows, -1)


def is_example(data: bytes) -> bool:
    """Return whether a record is a tf.Example with Waymo's features."""
    return data[:1] == b"\x0a" and MARK in data


def id_of(data: bytes, where: str) -> str:
    """Return the scenario id of a record.

    Raises:
        InputError: The record is damaged.
    """
    return _Features(data, where).text("scenario/id") or where.rpartition(" ")[2]


def scene_of(data: bytes, where: str) -> Scene:
    """Return the Scene of a record. Records of Waymo's test set end at the current step, and so does their Scene.

    Raises:
        InputError: The record is damaged, or a feature is missing or of the wrong length.
    """
    features = _Features(data, where)
    name = id_of(data, where)
    tracks, ego_id = _tracks(features, where)
    return assemble(
        where,
        name,
        Provenance("Waymo Open Motion Dataset", LICENCE, name),
        tracks,
        ego_id,
        _map(features, where),
        _signals(features, len(tracks[0].valid), where),
        TIME_STEP_S,
    )


def _over_time(features: _Features, group: str, name: str) -> Array:
    """Return a feature of agents or lights over all steps that the record has, as [row, step]."""
    spans = [span for span in SPANS if f"{group}/{span}/{name}" in features or span == "current"]
    if group == "state":
        return np.concatenate([features.table(f"{group}/{span}/{name}", AGENTS) for span in spans], axis=1)
    return np.concatenate([features[f"{group}/{span}/{name}"].reshape(-1, LIGHTS) for span in spans]).T


def _tracks(features: _Features, where: str) -> tuple[list[RawTrack], str]:
    valid = _over_time(features, "state", "valid") == 1.0
    arrays = [_over_time(features, "state", name) for name in STATE]
    if any(array.shape != valid.shape for array in arrays):
        raise InputError(f"{where}: features {', '.join(STATE)} and valid must have the same number of steps")
    values = np.stack(arrays, axis=-1)
    ids, kinds, is_sdc = (features.table(f"state/{name}", AGENTS)[:, 0] for name in ("id", "type", "is_sdc"))
    rows = np.flatnonzero(valid.any(axis=1))
    names = {int(k): f"{ids[k]:.0f}" for k in rows}
    sdc = [k for k in rows if is_sdc[k] == 1.0]
    if len(sdc) != 1:
        raise InputError(f"{where}: state/is_sdc names {len(sdc)} valid agents, must be one")
    tracks = [
        box_track(
            names[k], category_of(int(kinds[k]), f"{where}: agent {k}"), values[k], valid[k], f"{where}: agent {k}"
        )
        for k in rows
    ]
    return tracks, names[sdc[0]]


def _map(features: _Features, where: str) -> RawMap:
    raw, seen = RawMap(), set()
    xyz = features["roadgraph_samples/xyz"]
    ids, kinds, valid = (features[f"roadgraph_samples/{name}"] for name in ("id", "type", "valid"))
    if len(xyz) != 3 * len(ids) or not len(ids) == len(kinds) == len(valid):
        raise InputError(f"{where}: roadgraph_samples/xyz, id, type and valid do not fit together")
    kept = valid == 1.0
    xyz, ids, kinds = xyz.reshape(-1, 3)[kept], ids[kept], kinds[kept]
    if not np.isfinite(xyz).all():
        raise InputError(f"{where}: roadgraph_samples/xyz has valid points that are not finite")
    cuts = 1 + np.flatnonzero((np.diff(ids) != 0) | (np.diff(kinds) != 0))
    starts = [0, *cuts] if len(ids) else []
    for k, (start, line) in enumerate(zip(starts, np.split(xyz, cuts), strict=False)):
        kind = int(kinds[start])
        if kind in LANES and len(rows := without_repeats(line)) > 1:
            name = f"{ids[start]:.0f}"
            name = f"{name}-{k}" if name in seen else name
            seen.add(name)
            line = line[rows]
            raw.lanes.append(RawLane(name, line, *unknown_sides(line), kind=LANE_KINDS.get(kind, LaneKind.DRIVING)))
        elif kind in LINES:
            raw.lines.append((line, LINE_KINDS.get(kind, LineKind.UNKNOWN)))
        elif kind in EDGES:
            raw.edges.append(line)
        elif kind == STOP_SIGN:
            raw.signs.append((line[0], ()))
        elif kind == CROSSWALK:
            raw.crosswalks.append(line)
    return raw


def _signals(features: _Features, steps: int, where: str) -> list[RawSignal]:
    try:
        names = ("id", "state", "valid", "x", "y", "z")
        ids, states, valid, *place = (_over_time(features, "traffic_light_state", name) for name in names)
        places = np.stack(place, axis=-1)
        shown = (valid == 1.0) & np.isfinite(places).all(axis=-1) & (ids >= 0)
    except ValueError:
        raise InputError(f"{where}: the features traffic_light_state do not fit together") from None
    if ids.shape != (LIGHTS, steps) or states.shape != ids.shape:
        raise InputError(f"{where}: traffic_light_state has {ids.shape[1]} steps, state has {steps}")
    found = []
    for lane in np.unique(ids[shown]):
        codes = np.full(steps, SignalState.UNKNOWN, np.int8)
        rows, columns = np.nonzero(shown & (ids == lane))
        for row, step in zip(rows, columns, strict=True):
            codes[step] = state_of(int(states[row, step]), f"{where}: traffic light of lane {lane:.0f}")
        found.append(RawSignal(f"{lane:.0f}", places[rows[0], columns[0]], codes, (f"{lane:.0f}",)))
    return found
