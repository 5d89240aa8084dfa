"""What tests of readers share: small recordings in each format, replays of them, and damaged copies."""

import json
import random
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import shapely
from pyarrow import feather

from alpamayo.closed_loop import drive
from alpamayo.drivers import make_driver
from alpamayo_datasets import open_log
from alpamayo_datasets.tfrecord import frame, records
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle

STEPS = 21
DT = 0.1
TIMES = DT * np.arange(STEPS)
Array = np.ndarray


def replay_errors(scene: Scene) -> tuple[float, float]:
    """Return how far (m, rad) the replay by the log driver is from the recording, over all of its valid steps."""
    episode = drive(scenario_of_log(scene), make_driver("log"), guard=False)
    count = min(len(episode.ego_pose), scene.steps)
    assert count == scene.steps
    valid = scene.ego.valid[:count]
    pose = episode.ego_pose[:count][valid]
    off = np.linalg.norm(pose[:, :2] - scene.ego.position[:count][valid, :2], axis=1)
    turned = wrap_angle(pose[:, 2] - scene.ego.heading[:count][valid])
    return float(off.max()), float(np.abs(turned).max())


def placed(scene: Scene, track_id: str) -> Array:
    """Return the positions of a track in the file's own coordinates (float64)."""
    track = next(track for track in scene.tracks if track.id == track_id)
    return track.position.astype(np.float64) + scene.origin


def curve(start: float = 0.0, speed: float = 5.0, radius: float = 60.0) -> tuple[Array, Array, Array]:
    """Return x, y (m), headings (rad) and velocities (m/s) of a car on a bend to the left, ``start`` m along it."""
    angle = (start + speed * TIMES) / radius
    xy = radius * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1)
    return xy, angle, speed * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def bend(first: float, last: float, offset: float = 0.0, radius: float = 60.0, spacing: float = 1.0) -> Array:
    """Return x, y of a line along the same bend, ``offset`` m to its left."""
    angle = np.arange(first, last + 1e-6, spacing) / radius
    return np.stack([np.sin(angle) * (radius - offset), radius - np.cos(angle) * (radius - offset)], axis=1)


# ---------------------------------------------------------------------------------------------- damaged copies


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return some bytes with a few of them changed, cut out, doubled, swapped, or their end missing."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        i, j = sorted(rng.randrange(len(out) + 1) for _ in range(2))
        j = min(j, i + rng.choice((1, 4, 64, 100_000)))
        kind = rng.randrange(6)
        if kind <= 1 and out:
            out[min(i, len(out) - 1)] = rng.randrange(256)
        elif kind == 2:
            del out[i:j]
        elif kind == 3:
            out[i:i] = out[i:j]
        elif kind == 4:
            out[i:j] = reversed(out[i:j])
        else:
            del out[rng.choice((i, len(out) // 2, len(out) - 1)) :]
        if not out:
            break
    return bytes(out)


def damage(path: Path, rng: random.Random) -> None:
    """Damage a recording in place: one file of a folder; of a tfrecord the data, under a checksum that fits."""
    if path.is_dir():
        path = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    if path.suffix == ".tfrecord" and rng.random() < 0.8:
        path.write_bytes(b"".join(frame(damaged(data, rng)) for data in records(path)))
    elif rng.random() < 0.02:
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), rng))


def outcomes(written: Path, folder: Path, count: int, seed: int) -> Iterator[str]:
    """Open ``count`` damaged copies of a recording; yield ``read`` or the message of the error.

    Any other exception than ``InputError`` is raised, with the number of the copy.
    """
    for k in range(count):
        rng = random.Random(f"{seed}-{k}")
        copy = folder / written.name
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
        shutil.copytree(written, copy) if written.is_dir() else shutil.copy(written, copy)
        damage(copy, rng)
        try:
            open_log(f"{copy}{WITHIN.get(copy.name, '')}")
        except InputError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"copy {k} of seed {seed}: {type(error).__name__}: {error}") from error
        else:
            message = "read"
        assert "\n" not in message
        yield message


# ---------------------------------------------------------------------------------------------- Waymo tfrecords

WAYMO_ORIGIN = np.array([-7000.0, 3000.0, 30.0])


def proto(*fields: tuple[int, object]) -> bytes:
    """Return a message: float as double, np.float32 as float, int as varint, bytes and str as they are."""
    out = b""
    for number, value in fields:
        if isinstance(value, (bytes, str)):
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
        elif isinstance(value, np.float32):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += varint(number << 3) + varint(int(value))  # type: ignore[call-overload]
    return out


def varint(value: int) -> bytes:
    """Return an integer as a varint."""
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def womd_scenario(number: int = 0, steps: int = STEPS) -> bytes:
    """Return a Scenario: an ego on a bend, a car that leaves, a pedestrian; two lanes, their edges, a signal."""

    def state(x: float, y: float, z: float, size: tuple[float, float, float], heading: float, v: Array) -> bytes:
        floats = [np.float32(value) for value in (*size, heading, *v)]
        return proto((2, float(x)), (3, float(y)), (4, float(z)), *zip(range(5, 11), floats, strict=True), (11, 1))

    def track(name: int, kind: int, start: float, speed: float, size: tuple[float, float, float], seen: int) -> bytes:
        xy, heading, v = curve(start, speed)
        ox, oy, oz = WAYMO_ORIGIN
        states = [
            state(xy[k, 0] + ox, xy[k, 1] + oy, oz + size[2] / 2, size, heading[k], v[k])
            if k < seen
            else proto((11, 0))
            for k in range(steps)
        ]
        return proto((1, name), (2, kind), *((3, row) for row in states))

    def points(number: int, xy: Array, rise: float = 0.0) -> list[tuple[int, object]]:
        xyz = np.column_stack([xy, np.zeros(len(xy))]) + WAYMO_ORIGIN + [0.0, 0.0, rise]
        return [(number, proto((1, x), (2, y), (3, z))) for x, y, z in xyz.tolist()]

    def border(first: int, last: int, feature: int) -> bytes:
        return proto((1, first), (2, last), (3, feature), (4, 1))

    def lane(first: float, last: float, exits: list[int], interpolating: int = 0) -> bytes:
        line = bend(first, last)
        sides = [(13, border(0, len(line) - 1, 4)), (14, border(0, len(line) - 1, 3))]
        neighbour = [(11, proto((1, 77)))]
        exit_lanes = [(10, b"".join(varint(i) for i in exits))] if exits else []
        return proto((1, 25.0), (2, 2), (3, interpolating), *points(8, line), *exit_lanes, *neighbour, *sides)

    features = [
        (1, 3, lane(-20.0, 30.0, [2])),
        (2, 3, lane(30.0, 90.0, [], 1)),
        (3, 5, proto((1, 1), *points(2, bend(-20.0, 90.0, -2.0)))),
        (4, 4, proto((1, 6), *points(2, bend(-20.0, 90.0, 1.5)))),
        (5, 8, proto(*points(1, np.array([[28.0, 0.0], [32.0, 0.0], [32.0, 20.0], [28.0, 20.0]])))),
        (6, 7, proto((1, 1), *points(2, bend(29.0, 29.0, -3.0)))),
        (8, 9, proto(*points(1, bend(5.0, 8.0)))),
    ]
    stop = points(3, bend(30.0, 30.0))
    shown = [proto((1, 2), (2, 4 if k < 10 else 6), *stop) for k in range(steps)]
    return proto(
        *((1, DT * k) for k in range(steps)),
        (2, track(8, 1, 20.0, 4.0, (4.0, 1.8, 1.6), 18)),
        (2, track(7, 1, 0.0, 5.0, (4.5, 1.9, 1.8), steps)),
        (2, track(9, 2, 35.0, 1.0, (0.8, 0.8, 1.7), steps)),
        (5, f"scenario-{number}"),
        (6, 1),
        *((7, proto((1, row))) for row in shown),
        *((8, proto((1, name), (kind, data))) for name, kind, data in features),
        (10, 10),
    )


def womd_example(number: int = 0) -> bytes:
    """Return the same scene as a tf.Example with 10 past steps, the current one and 80 to come."""
    spans = {"past": slice(0, 10), "current": slice(10, 11), "future": slice(11, 91)}
    features: dict[str, object] = {"scenario/id": f"example-{number}".encode()}
    values = {name: np.full((128, 91), -1.0) for name in ("x", "y", "z", "length", "width", "height", "bbox_yaw")}
    values |= {"velocity_x": np.full((128, 91), -1.0), "velocity_y": np.full((128, 91), -1.0)}
    valid = np.zeros((128, 91), np.int64)
    for row, (start, speed, seen) in enumerate([(20.0, 4.0, 18), (0.0, 5.0, STEPS)]):
        xy, heading, v = curve(start, speed)
        valid[row, :seen] = 1
        columns = (*(xy + WAYMO_ORIGIN[:2]).T, WAYMO_ORIGIN[2] + 0.9, 4.5, 1.9, 1.8, heading, *v.T)
        for name, column in zip(values, columns, strict=True):
            values[name][row, :seen] = np.broadcast_to(column, STEPS)[:seen]
    for span, part in spans.items():
        features |= {f"state/{span}/{name}": table[:, part] for name, table in values.items()}
        features[f"state/{span}/valid"] = valid[:, part]
        lights = {"id": 2, "state": 4, "valid": 1, "x": 0.0, "y": 0.0, "z": 0.0}
        stop = bend(30.0, 30.0)[0] + WAYMO_ORIGIN[:2]
        for name, value in (lights | {"x": stop[0], "y": stop[1], "z": WAYMO_ORIGIN[2]}).items():
            table = np.full((part.stop - part.start, 16), -1, np.int64 if isinstance(value, int) else np.float64)
            table[:, 3] = value
            features[f"traffic_light_state/{span}/{name}"] = table
    agents = np.arange(128)
    features |= {"state/id": np.where(agents < 2, agents + 7.0, -1.0), "state/type": np.where(agents < 2, 1.0, -1.0)}
    features["state/is_sdc"] = (agents == 1).astype(np.int64)
    parts = [(1, 2, bend(-20.0, 30.0, spacing=0.5)), (2, 2, bend(30.0, 90.0, spacing=0.5))]
    parts += [(3, 15, bend(-20.0, 90.0, -2.0)), (4, 11, bend(-20.0, 90.0, 1.5)), (6, 17, bend(29.0, 29.0, -3.0))]
    xy = np.concatenate([line for _, _, line in parts])
    features["roadgraph_samples/xyz"] = np.column_stack([xy, np.zeros(len(xy))]) + WAYMO_ORIGIN
    features["roadgraph_samples/id"] = np.concatenate([np.full(len(line), i) for i, _, line in parts])
    features["roadgraph_samples/type"] = np.concatenate([np.full(len(line), kind) for _, kind, line in parts])
    features["roadgraph_samples/valid"] = np.ones(len(xy), np.int64)
    entries = [proto((1, proto((1, name), (2, _feature(value))))) for name, value in features.items()]
    return proto((1, b"".join(entries)))


def _feature(value: object) -> bytes:
    if isinstance(value, bytes):
        return proto((1, proto((1, value))))
    array = np.asarray(value).ravel()
    if array.dtype.kind == "f":
        return proto((2, proto((1, array.astype("<f4").tobytes()))))
    return proto((3, proto((1, b"".join(varint(int(item)) for item in array)))))


def write_womd_scenario(folder: Path) -> Path:
    """Write a tfrecord with one Scenario."""
    path = folder / "scenario.tfrecord"
    path.write_bytes(frame(womd_scenario()))
    return path


def write_womd_example(folder: Path) -> Path:
    """Write a tfrecord with one tf.Example."""
    path = folder / "example.tfrecord"
    path.write_bytes(frame(womd_example()))
    return path


# ---------------------------------------------------------------------------------------------- Argoverse 2

AV2_ORIGIN = np.array([5100.0, 2400.0, 60.0])


def av2_map() -> dict[str, object]:
    """Return a map: two lanes that follow each other, a lane the other way, an area and a crossing."""

    def line(xy: Array) -> list[dict[str, float]]:
        return [dict(zip("xyz", row, strict=True)) for row in np.column_stack([xy, np.zeros(len(xy))]) + AV2_ORIGIN]

    def lane(name: int, first: float, last: float, after: list[int], left: int | None) -> dict[str, object]:
        return {
            "id": name,
            "is_intersection": name == 2,
            "lane_type": "VEHICLE",
            "left_lane_boundary": [dict(p) for p in line(bend(first, last, 1.75, spacing=5.0))],
            "right_lane_boundary": line(bend(first, last, -1.75, spacing=5.0)),
            "left_lane_mark_type": "DOUBLE_SOLID_YELLOW",
            "right_lane_mark_type": "NONE",
            "successors": after,
            "predecessors": [],
            "left_neighbor_id": left,
            "right_neighbor_id": None,
        }

    def crossing(s: float) -> Array:
        return np.concatenate([bend(s, s, 5.0), bend(s, s, -2.0)])

    oncoming = lane(3, -20.0, 30.0, [], 1)
    oncoming["left_lane_boundary"] = line(bend(-20.0, 30.0, 1.75, spacing=5.0)[::-1])
    oncoming["right_lane_boundary"] = line(bend(-20.0, 30.0, 5.25, spacing=5.0)[::-1])
    area = np.concatenate([bend(-20.0, 90.0, -2.0), bend(-20.0, 90.0, 5.5)[::-1]])
    return {
        "lane_segments": {"1": lane(1, -20.0, 30.0, [2], 3), "2": lane(2, 30.0, 90.0, [], None), "3": oncoming},
        "drivable_areas": {"4": {"id": 4, "area_boundary": line(area)}},
        "pedestrian_crossings": {
            "5": {"id": 5, "edge1": line(crossing(40.0)), "edge2": line(crossing(44.0))},
        },
    }


def write_av2_forecasting(folder: Path) -> Path:
    """Write a motion-forecasting scenario."""
    path = folder / "11f"
    path.mkdir()
    (path / "log_map_archive_11f.json").write_text(json.dumps(av2_map()))
    rows: dict[str, list[object]] = {name: [] for name in ("track_id", "object_type", "timestep")}
    numbers = []
    for name, kind, start, speed, seen in [("AV", "vehicle", 0.0, 5.0, STEPS), ("31", "cyclist", 20.0, 4.0, 18)]:
        xy, heading, velocity = curve(start, speed)
        for k in range(seen):
            for key, value in zip(rows, (name, kind, k), strict=True):
                rows[key].append(value)
            numbers.append([*(xy[k] + AV2_ORIGIN[:2]), heading[k], *velocity[k]])
    names = ("position_x", "position_y", "heading", "velocity_x", "velocity_y")
    table = pa.table({**rows, **dict(zip(names, np.array(numbers).T, strict=True))})
    pyarrow.parquet.write_table(table, path / "scenario_11f.parquet")
    return path


def write_av2_sensor(folder: Path) -> Path:
    """Write a sensor log: boxes in the frame of the ego, whose origin is its rear axle; a sweep is missing."""
    path = folder / "22a"
    (path / "map").mkdir(parents=True)
    (path / "map" / "log_map_archive_22a____PIT_city_1.json").write_text(json.dumps(av2_map()))
    stamps = 315_000_000_000_000_000 + (TIMES * 1e9).astype(np.int64)
    seen = np.arange(STEPS) != 7
    xy, heading, _ = curve()
    rear = xy - 1.35 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    poses = _poses(stamps[seen], np.column_stack([rear, np.full(STEPS, 0.31)])[seen] + AV2_ORIGIN, heading[seen])
    feather.write_feather(pa.table(poses), path / "city_SE3_egovehicle.feather")
    other, other_heading, _ = curve(20.0, 4.0)
    c, s = np.cos(heading), np.sin(heading)
    ahead = other - rear
    local = np.column_stack(
        [c * ahead[:, 0] + s * ahead[:, 1], -s * ahead[:, 0] + c * ahead[:, 1], np.full(STEPS, 0.59)]
    )
    boxes = _poses(stamps[seen], local[seen], (other_heading - heading)[seen])
    boxes |= {"track_uuid": ["31"] * (STEPS - 1), "category": ["BUS"] * (STEPS - 1)}
    boxes |= {
        f"{side}_m": np.full(STEPS - 1, size) for side, size in (("length", 10.0), ("width", 2.5), ("height", 1.8))
    }
    feather.write_feather(pa.table(boxes), path / "annotations.feather")
    return path


def _poses(stamps: Array, place: Array, yaw: Array) -> dict[str, object]:
    zero = np.zeros(len(yaw))
    turn = zip(("qw", "qx", "qy", "qz"), (np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)), strict=True)
    return {"timestamp_ns": stamps, **dict(turn), **dict(zip(("tx_m", "ty_m", "tz_m"), place.T, strict=True))}


# ---------------------------------------------------------------------------------------------- CommonRoad


def commonroad(version: str = "2020a", problems: tuple[str, ...] = ("9",), goal: str = "") -> str:
    """Return a scenario: two lanes of one way, a stop sign, a light, a car, a parked car; time steps of 0.2 s."""

    def spot(x: float, y: float) -> str:
        return f"<point><x>{x:.6f}</x><y>{y:.6f}</y></point>"

    def bound(tag: str, y: float, x0: float, x1: float, paint: str) -> str:
        places = "".join(spot(x, y) for x in np.linspace(x0, x1, 6))
        return f"<{tag}>{places}<lineMarking>{paint}</lineMarking></{tag}>"

    def lanelet(name: int, x0: float, x1: float, y: float, more: str) -> str:
        sides = bound("leftBound", y + 1.75, x0, x1, "dashed") + bound("rightBound", y - 1.75, x0, x1, "solid")
        return f'<lanelet id="{name}">{sides}{more}</lanelet>'

    def state(tag: str, step: int, x: float, y: float, speed: float) -> str:
        return (
            f"<{tag}><position>{spot(x, y)}</position><orientation><exact>0.0</exact></orientation>"
            f"<time><exact>{step}</exact></time><velocity><exact>{speed}</exact></velocity></{tag}>"
        )

    shape = "<shape><rectangle><length>4.6</length><width>1.8</width></rectangle></shape>"
    moving = "".join(state("state", k, 20.0 + 1.2 * k, 0.0, 6.0) for k in range(1, 11))
    old = version == "2018b"
    limit = "<speedLimit>13.89</speedLimit>" if old else '<trafficSignRef ref="50"/>'
    stop = '<stopLine><lineMarking>solid</lineMarking></stopLine><trafficSignRef ref="51"/><trafficLightRef ref="52"/>'
    parts = [
        lanelet(1, 0.0, 50.0, 0.0, f'<successor ref="2"/><adjacentLeft ref="3" drivingDir="same"/>{limit}'),
        lanelet(2, 50.0, 120.0, 0.0, '<predecessor ref="1"/>' + ("" if old else stop) + '<successor ref="4"/>'),
        lanelet(3, 0.0, 50.0, 3.5, '<adjacentRight ref="1" drivingDir="same"/>'),
        lanelet(4, 120.0, 160.0, 0.0, '<predecessor ref="2"/>'),
    ]
    if not old:
        parts += [
            _sign(50, "274", "<additionalValue>13.89</additionalValue>"),
            _sign(51, "206"),
            _light(spot(120.0, 4.0)),
        ]
    kinds = ("obstacle", "obstacle") if old else ("dynamicObstacle", "staticObstacle")
    roles = ("<role>dynamic</role>", "<role>static</role>") if old else ("", "")
    parts += [
        f'<{kinds[0]} id="60">{roles[0]}<type>car</type>{shape}{state("initialState", 0, 20.0, 0.0, 6.0)}'
        f"<trajectory>{moving}</trajectory></{kinds[0]}>",
        f'<{kinds[1]} id="61">{roles[1]}<type>parkedVehicle</type>{shape}{state("initialState", 0, 30.0, 3.5, 0.0)}'
        f"</{kinds[1]}>",
    ]
    end = "<time><intervalStart>10</intervalStart><intervalEnd>20</intervalEnd></time>"
    for name in problems:
        parts.append(
            f'<planningProblem id="{name}">{state("initialState", 0, 5.0, 0.25, 8.0)}'
            f"<goalState>{goal}{end}</goalState></planningProblem>"
        )
    head = f'<commonRoad timeStepSize="0.2" commonRoadVersion="{version}" benchmarkID="ZAM_Small-1" source="a test">'
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{head}{''.join(parts)}</commonRoad>"


def _sign(name: int, kind: str, more: str = "") -> str:
    element = f"<trafficSignElement><trafficSignID>{kind}</trafficSignID>{more}</trafficSignElement>"
    return f'<trafficSign id="{name}">{element}</trafficSign>'


def _light(place: str) -> str:
    colours = (("red", 3), ("redYellow", 1), ("green", 4), ("yellow", 2))
    cycle = "".join(f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for c, n in colours)
    cycle = f"<cycle>{cycle}<timeOffset>2</timeOffset></cycle>"
    return f'<trafficLight id="52">{cycle}<position>{place}</position></trafficLight>'


def write_commonroad(folder: Path) -> Path:
    """Write a scenario of version 2020a."""
    path = folder / "scenario.xml"
    path.write_text(commonroad())
    return path


# ---------------------------------------------------------------------------------------------- nuScenes

NUSCENES_ORIGIN = np.array([400.0, 1100.0])
NUSCENES_CITY = "singapore-onenorth"


def write_nuscenes(folder: Path) -> Path:
    """Write a data set of two scenes: thirteen tables, the map expansion of a city, CAN bus of the first scene."""
    root = folder / "nuscenes"
    for part in ("v1.0-mini", "maps/expansion", "can_bus"):
        (root / part).mkdir(parents=True)
    (root / "maps" / "mask.png").write_bytes(b"")
    tables: dict[str, list[dict[str, object]]] = {
        "attribute": [{"token": "a", "name": "vehicle.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "category": [
            {"token": "c-car", "name": "vehicle.car", "description": ""},
            {"token": "c-walk", "name": "human.pedestrian.adult", "description": ""},
            {"token": "c-cone", "name": "movable_object.trafficcone", "description": ""},
        ],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [
            {
                "token": "calibrated",
                "sensor_token": "lidar",
                "translation": [0.9, 0.0, 1.8],
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "camera_intrinsic": [],
            }
        ],
        "log": [
            {"token": "log", "logfile": "l", "vehicle": "v", "date_captured": "2018-01-01", "location": NUSCENES_CITY}
        ],
        "map": [{"token": "map", "log_tokens": ["log"], "category": "semantic_prior", "filename": "maps/mask.png"}],
        **{name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")},
    }
    for name in ("scene-0061", "scene-0103"):
        _nuscenes_scene(tables, name)
    for table, rows in tables.items():
        (root / "v1.0-mini" / f"{table}.json").write_text(json.dumps(rows))
    (root / "maps" / "expansion" / f"{NUSCENES_CITY}.json").write_text(json.dumps(nuscenes_map()))
    vel = [{"utime": 1_500_000_000_000_000 + 20_000 * k, "vel": [5.0, 0.0, 0.0]} for k in range(101)]
    (root / "can_bus" / "scene-0061_pose.json").write_text(json.dumps(vel))
    return root


def _nuscenes_scene(tables: dict[str, list[dict[str, object]]], name: str) -> None:
    """Add a scene of five keyframes at 2 Hz with sweeps at 20 Hz between them."""
    start = 1_500_000_000_000_000

    def chained(kind: str, k: int, count: int) -> dict[str, object]:
        token = [f"{name}-{kind}-{i}" if 0 <= i < count else "" for i in (k - 1, k, k + 1)]
        return dict(zip(("prev", "token", "next"), token, strict=True))

    keyframes, sweeps = 5, 41
    tables["scene"].append(
        {
            "token": name,
            "name": name,
            "description": "",
            "log_token": "log",
            "nbr_samples": keyframes,
            "first_sample_token": f"{name}-sample-0",
            "last_sample_token": f"{name}-sample-{keyframes - 1}",
        }
    )
    for k in range(sweeps):
        seconds = 0.05 * k
        xy, yaw, _ = _on_bend(5.0 * seconds)
        rear = xy - 1.35 * np.array([np.cos(yaw), np.sin(yaw)]) + NUSCENES_ORIGIN
        stamp = start + 50_000 * k
        pose = {"translation": [*rear, 0.0], "rotation": [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]}
        tables["ego_pose"].append({"token": f"{name}-pose-{k}", "timestamp": stamp, **pose})
        tables["sample_data"].append(
            {
                **chained("data", k, sweeps),
                "sample_token": f"{name}-sample-{min(k // 10, keyframes - 1)}",
                "ego_pose_token": f"{name}-pose-{k}",
                "calibrated_sensor_token": "calibrated",
                "timestamp": stamp,
                "fileformat": "pcd",
                "is_key_frame": k % 10 == 0,
                "height": 0,
                "width": 0,
                "filename": f"sweeps/LIDAR_TOP/{k}.pcd.bin",
            }
        )
    for k in range(keyframes):
        tables["sample"].append(
            {**chained("sample", k, keyframes), "timestamp": start + 500_000 * k, "scene_token": name}
        )
    for who, speed, seen, size in (
        ("car", 4.0, (0, 1, 2, 3, 4), [1.9, 4.6, 1.7]),
        ("walk", 1.0, (0, 1, 4), [0.7, 0.7, 1.8]),
        ("cone", 0.0, (1, 2), [0.4, 0.4, 1.0]),
    ):
        first, last = f"{name}-{who}-{seen[0]}", f"{name}-{who}-{seen[-1]}"
        tables["instance"].append(
            {
                "token": f"{name}-{who}",
                "category_token": f"c-{who}",
                "nbr_annotations": len(seen),
                "first_annotation_token": first,
                "last_annotation_token": last,
            }
        )
        for i, k in enumerate(seen):
            xy = np.array([15.0 + speed * 0.5 * k, 2.0])
            tables["sample_annotation"].append(
                {
                    "token": f"{name}-{who}-{k}",
                    "sample_token": f"{name}-sample-{k}",
                    "instance_token": f"{name}-{who}",
                    "visibility_token": "4",
                    "attribute_tokens": [],
                    "translation": [*(xy + NUSCENES_ORIGIN), 0.8],
                    "size": size,
                    "rotation": [1.0, 0.0, 0.0, 0.0],
                    "prev": f"{name}-{who}-{seen[i - 1]}" if i else "",
                    "next": f"{name}-{who}-{seen[i + 1]}" if i + 1 < len(seen) else "",
                    "num_lidar_pts": 9,
                    "num_radar_pts": 0,
                }
            )


def _on_bend(s: float, radius: float = 60.0) -> tuple[Array, float, Array]:
    angle = s / radius
    xy = radius * np.array([np.sin(angle), 1.0 - np.cos(angle)])
    return xy, angle, np.array([np.cos(angle), np.sin(angle)])


def nuscenes_map() -> dict[str, object]:
    """Return a map expansion: a straight lane, a connector, ground with a hole, a crossing, a stop sign, dividers."""
    layers: dict[str, object] = {
        name: []
        for name in (
            *("polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane", "ped_crossing"),
            *(
                "walkway",
                "stop_line",
                "carpark_area",
                "road_divider",
                "lane_divider",
                "traffic_light",
                "lane_connector",
            ),
        )
    }
    nodes: list[dict[str, object]] = layers["node"]  # type: ignore[assignment]
    ox, oy = NUSCENES_ORIGIN

    def add(xy: list[tuple[float, float]]) -> list[str]:
        tokens = [f"n{len(nodes) + k}" for k in range(len(xy))]
        nodes.extend({"token": t, "x": ox + x, "y": oy + y} for t, (x, y) in zip(tokens, xy, strict=True))
        return tokens

    def polygon(name: str, xy: list[tuple[float, float]], hole: list[tuple[float, float]] | None = None) -> str:
        holes = [{"node_tokens": add(hole)}] if hole else []
        layers["polygon"].append({"token": name, "exterior_node_tokens": add(xy), "holes": holes})  # type: ignore[attr-defined]
        return name

    def rectangle(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    def arc(x0: float, x1: float) -> list[dict[str, object]]:
        ends = {"start_pose": [ox + x0, oy, 0.0], "end_pose": [ox + x1, oy, 0.0]}
        third = (x1 - x0) / 3.0
        return [{**ends, "shape": "LSL", "radius": 999.0, "segment_length": [0.0, 3 * third, 0.0]}]

    layers |= {
        "version": "1.3",
        "canvas_edge": [1600.0, 2000.0],
        "drivable_area": [
            {"token": "d", "polygon_tokens": [polygon("p-d", rectangle(-30, 90, -4, 20), rectangle(40, 44, 10, 14))]}
        ],
        "lane": [
            {
                "token": "lane-1",
                "polygon_token": polygon("p-1", rectangle(-30, 30, -1.75, 1.75)),
                "lane_type": "CAR",
                "from_edge_line_token": "",
                "to_edge_line_token": "",
                "left_lane_divider_segments": [],
                "right_lane_divider_segments": [],
            }
        ],
        "lane_connector": [{"token": "lane-2", "polygon_token": polygon("p-2", rectangle(30, 90, -1.75, 1.75))}],
        "ped_crossing": [
            {"token": "x", "polygon_token": polygon("p-x", rectangle(31, 34, -4, 8)), "road_segment_token": ""}
        ],
        "stop_line": [
            {
                "token": "s",
                "polygon_token": polygon("p-s", rectangle(29, 30, -2, 2)),
                "stop_line_type": "STOP_SIGN",
                "ped_crossing_tokens": [],
                "traffic_light_tokens": [],
                "road_block_token": "",
            }
        ],
        "line": [{"token": "l", "node_tokens": add([(-30, 1.75), (30, 1.75)])}],
        "road_divider": [{"token": "r", "line_token": "l", "road_segment_token": None}],
        "arcline_path_3": {"lane-1": arc(-30.0, 30.0), "lane-2": arc(30.0, 90.0)},
        "connectivity": {
            "lane-1": {"incoming": [], "outgoing": ["lane-2"]},
            "lane-2": {"incoming": ["lane-1"], "outgoing": []},
        },
    }
    return layers


# ---------------------------------------------------------------------------------------------- nuPlan

NUPLAN_ORIGIN = np.array([664_000.0, 3_999_000.0, 600.0])  # in UTM zone 11, Las Vegas


def write_nuplan(folder: Path) -> Path:
    """Write a folder with ``small.db``, a log of two scenes at 20 Hz, and its map."""
    path = folder / "nuplan"
    maps = path / "maps" / "us-nv-las-vegas-strip" / "9.15"
    maps.mkdir(parents=True)
    nuplan_map(maps / "map.gpkg")
    log = sqlite3.connect(path / "small.db")
    log.executescript("""
        CREATE TABLE log (token BLOB PRIMARY KEY, vehicle_name TEXT, location TEXT, map_version TEXT);
        CREATE TABLE scene (token BLOB PRIMARY KEY, log_token BLOB, name TEXT);
        CREATE TABLE lidar_pc (token BLOB PRIMARY KEY, ego_pose_token BLOB, scene_token BLOB, timestamp INTEGER);
        CREATE TABLE ego_pose (token BLOB PRIMARY KEY, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT, qw FLOAT, qx FLOAT,
            qy FLOAT, qz FLOAT, vx FLOAT, vy FLOAT, vz FLOAT);
        CREATE TABLE category (token BLOB PRIMARY KEY, name TEXT);
        CREATE TABLE track (token BLOB PRIMARY KEY, category_token BLOB, width FLOAT, length FLOAT, height FLOAT);
        CREATE TABLE lidar_box (token BLOB PRIMARY KEY, lidar_pc_token BLOB, track_token BLOB, x FLOAT, y FLOAT,
            z FLOAT, width FLOAT, length FLOAT, height FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, yaw FLOAT,
            confidence FLOAT);
        CREATE TABLE traffic_light_status (token BLOB PRIMARY KEY, lidar_pc_token BLOB, lane_connector_id INTEGER,
            status TEXT);
    """)
    log.execute("INSERT INTO log VALUES (?, 'pacifica', 'us-nv-las-vegas-strip', 'nuplan-maps-v1.0')", (b"log",))
    log.executemany("INSERT INTO category VALUES (?, ?)", [(b"c1", "bicycle"), (b"c2", "traffic_cone")])
    log.executemany("INSERT INTO track VALUES (?, ?, 0.7, 1.8, 1.6)", [(b"\x01\xaa", b"c1"), (b"\x02\xbb", b"c2")])
    for number in range(2):
        log.execute("INSERT INTO scene VALUES (?, ?, ?)", (b"scene%d" % number, b"log", f"scene-00{number}"))
        for k in range(2 * STEPS - 1):
            s = 0.25 * k
            xy, yaw, way = _on_bend(s)
            x, y = xy - 1.461 * way + NUPLAN_ORIGIN[:2]
            token, stamp = b"%d-%d" % (number, k), 1_620_000_000_000_000 + 50_000 * k + 100_000_000 * number
            turn = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
            pose = (token, stamp, x, y, NUPLAN_ORIGIN[2], *turn, 5.0, 0.0, 0.0)
            log.execute(f"INSERT INTO ego_pose VALUES ({','.join('?' * 12)})", pose)
            log.execute("INSERT INTO lidar_pc VALUES (?, ?, ?, ?)", (token, token, b"scene%d" % number, stamp))
            status = "red" if k < STEPS else "green"
            log.execute("INSERT INTO traffic_light_status VALUES (?, ?, 20, ?)", (token, token, status))
            (bx, by), turned, moving = _on_bend(20.0 + 0.2 * k)
            boxes = [(b"\x01\xaa", bx, by, *(4.0 * moving), turned, 1.6), (b"\x02\xbb", 12.0, -3.0, 0.0, 0.0, 0.0, 1.0)]
            for track, px, py, vx, vy, heading, high in boxes[: 1 if k >= 30 else 2]:
                place = (px + NUPLAN_ORIGIN[0], py + NUPLAN_ORIGIN[1], NUPLAN_ORIGIN[2] + high / 2)
                row = (token + track, token, track, *place, 0.7, 1.8, high, vx, vy, 0.0, heading, 1.0)
                log.execute(f"INSERT INTO lidar_box VALUES ({','.join('?' * 14)})", row)
    log.commit()
    log.close()
    return path


def nuplan_map(path: Path) -> None:
    """Write a map: a lane, a connector, a block of ground, a crosswalk, all in metres of UTM zone 11."""
    city = sqlite3.connect(path)
    layers = {
        "baseline_paths": "lane_fid INTEGER, lane_connector_fid INTEGER",
        "lanes_polygons": "speed_limit_mps FLOAT",
        "lane_connectors": "exit_lane_fid INTEGER, entry_lane_fid INTEGER, speed_limit_mps FLOAT",
        "lane_groups_polygons": "intersection_fid INTEGER",
        "crosswalks": "intersection_fid INTEGER",
        "boundaries": "boundary_type_fid INTEGER",
    }
    city.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    city.execute("INSERT INTO meta VALUES ('projectedCoordSystem', 'epsg:32611')")
    city.execute("CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, srs_id INTEGER)")
    for name, columns in layers.items():
        city.execute(f"CREATE TABLE {name} (fid INTEGER PRIMARY KEY, geom BLOB, {columns})")
        city.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 32611)", (name,))

    def blob(xy: Array, ring: bool = False) -> bytes:
        shape = shapely.Polygon(xy + NUPLAN_ORIGIN[:2]) if ring else shapely.LineString(xy + NUPLAN_ORIGIN[:2])
        return b"GP\x00\x01" + struct.pack("<i", 32611) + shapely.to_wkb(shape)

    def strip(first: float, last: float, right: float, left: float) -> bytes:
        return blob(np.concatenate([bend(first, last, right), bend(first, last, left)[::-1]]), ring=True)

    city.execute("INSERT INTO baseline_paths VALUES (1, ?, 10, NULL)", (blob(bend(-20.0, 30.0)),))
    city.execute("INSERT INTO baseline_paths VALUES (2, ?, NULL, 20)", (blob(bend(30.0, 60.0)),))
    city.execute("INSERT INTO baseline_paths VALUES (3, ?, 11, NULL)", (blob(bend(60.0, 90.0)),))
    city.execute("INSERT INTO lanes_polygons VALUES (10, ?, 11.5)", (strip(-20.0, 30.0, -1.75, 1.75),))
    city.execute("INSERT INTO lanes_polygons VALUES (11, ?, NULL)", (strip(60.0, 90.0, -1.75, 1.75),))
    city.execute("INSERT INTO lane_connectors VALUES (20, ?, 10, 11, 8.0)", (blob(bend(30.0, 60.0)),))
    city.execute("INSERT INTO lane_groups_polygons VALUES (30, ?, NULL)", (strip(-20.0, 90.0, -4.0, 4.0),))
    city.execute("INSERT INTO crosswalks VALUES (40, ?, NULL)", (strip(31.0, 34.0, -4.0, 4.0),))
    city.execute("INSERT INTO boundaries VALUES (50, ?, 2)", (blob(bend(-20.0, 90.0, 1.75)),))
    city.commit()
    city.close()


WITHIN = {"nuscenes": "#scene-0061", "nuplan": "/small.db#scene-001"}  # what of a folder is opened
SMALL_RECORDINGS: dict[str, Callable[[Path], Path]] = {
    "womd-scenario": write_womd_scenario,
    "womd-example": write_womd_example,
    "av2-forecasting": write_av2_forecasting,
    "av2-sensor": write_av2_sensor,
    "commonroad": write_commonroad,
    "nuscenes": write_nuscenes,
    "nuplan": write_nuplan,
}
