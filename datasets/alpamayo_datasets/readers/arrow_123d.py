"""123D logs: the Arrow files that ``py123d`` 0.7 writes, read by pyarrow alone.

A log is a folder with ``sync.arrow``, ``ego_state_se3.arrow``, ``box_detections_se3.arrow`` and, where the data set has
them, ``traffic_light_detections.arrow`` and ``map.arrow``; a map of a whole city lies in ``maps/DATASET`` of a folder
above. All is brought to 10 Hz.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.arrow_tables import read_columns, read_lists
from alpamayo_datasets.assemble import RawSignal, RawTrack, assemble
from alpamayo_datasets.boxes import tracks_of_boxes
from alpamayo_datasets.fields import MAX_STEPS, get, numbers
from alpamayo_datasets.motion import resampled, rotation_of, velocities, yaw_of
from alpamayo_datasets.msgpack import unpack
from alpamayo_datasets.readers.arrow_123d_map import find_map, read_map
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS, name_of

Array = np.ndarray

EGO = "ego"
TIME_STEP_S = 0.1
GAP_FRAMES = 2.4  # boxes that are more frames apart are not interpolated
SYNC, EGO_FILE, BOXES, LIGHTS = "sync", "ego_state_se3", "box_detections_se3", "traffic_light_detections"
STATUS = (SignalState.GREEN, SignalState.YELLOW, SignalState.RED, SignalState.OFF, SignalState.UNKNOWN)
_V, _T, _B, _M, _C = Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE, Category.CYCLIST
_P, _A, _N, _R, _D, _U = (
    *(Category.PEDESTRIAN, Category.ANIMAL, Category.CONE, Category.BARRIER, Category.DEBRIS, Category.UNKNOWN),
)
LABELS: dict[str, tuple[Category, ...]] = {  # by the name of the class of labels, in the order of their numbers
    "DefaultBoxDetectionLabel": (_V, _V, _B, _C, _P, _A, _R, _N, _R, _R, _D, _U),
    "AV2SensorBoxDetectionLabel": (
        *(_A, _B, _C, _C, _R, _T, _B, _N, _N, _A, _T, _T, _R, _M, _M, _P, _P, _B, _V, _B),
        *(_R, _R, _P, _R, _T, _T, _T, _P, _C, _C),
    ),
    "NuPlanBoxDetectionLabel": (_V, _C, _P, _N, _R, _R, _D),
    "NuScenesBoxDetectionLabel": (
        *(_V, _T, _B, _B, _T, _V, _V, _T, _C, _M, _P, _P, _P, _P, _P, _P, _P, _N, _R, _D),
        *(_D, _R, _A),
    ),
    "WODPerceptionBoxDetectionLabel": (_U, _V, _P, _R, _C),
    "WODMotionBoxDetectionLabel": (_U, _V, _P, _C, _U),
    "PhysicalAIAVBoxDetectionLabel": (_V, _P, _B, _T, _V, _D, _C, _P, _T, _A, _B, _B),
    "GriffinBoxDetectionLabel": (_P, _V, _T, _B, _M, _C),
    "KITTI360BoxDetectionLabel": (
        *(_C, _D, _B, _V, _T, _R, _M, _P, _R, _C, _R, _R, _R, _R, _T, _B, _D, _T, _R),
    ),
    "PandasetBoxDetectionLabel": (
        *(_A, _A, _C, _B, _V, _N, _R, _V, _T, _M, _M, _T, _C, _V, _P, _P, _C, _T, _N, _R, _D, _T, _R, _R, _T),
        *(_B, _B),
    ),
}  # fmt: skip
LICENCES = {  # of the data sets that py123d converts
    "nuplan": "CC BY-NC-SA 4.0 (nuPlan)",
    "nuscenes": "CC BY-NC-SA 4.0 (nuScenes)",
    "av2-sensor": "CC BY-NC-SA 4.0 (Argoverse 2)",
    "wod-motion": "Waymo Open Dataset licence, non-commercial",
    "wod-perception": "Waymo Open Dataset licence, non-commercial",
    "pandaset": "CC BY 4.0 (PandaSet)",
    "kitti360": "CC BY-NC-SA 3.0 (KITTI-360)",
}


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is the folder of a log."""
    return (path / f"{SYNC}.arrow").is_file() and (path / f"{EGO_FILE}.arrow").is_file()


def read(path: Path) -> Scene:
    """Return the Scene of a log.

    Raises:
        InputError: A file is missing or damaged.
    """
    about = _metadata(path, SYNC, f"{SYNC}.timestamp_us")
    frames = _stamps(path, SYNC)
    count = int(np.floor((frames[-1] - frames[0]) / TIME_STEP_S + 0.05)) + 1
    if count > MAX_STEPS:
        raise InputError(f"{path}: lasts {frames[-1] - frames[0]:.0f} s, longer than any scene")
    at = frames[0] + TIME_STEP_S * np.arange(count)
    ego = _ego(path, at)
    dataset = name_of(get(about, "dataset", f"{path}: {SYNC}"), f"{path}: dataset")
    file = find_map(path, get(about, "map_metadata", f"{path}: {SYNC}"))
    raw_map, starts = read_map(file, ego.position[:, :2])
    gap = GAP_FRAMES * float(np.median(np.diff(frames))) if len(frames) > 1 else TIME_STEP_S
    licence = LICENCES.get(dataset, f"that of {dataset}")
    return assemble(
        str(path),
        name_of(get(about, "log_name", f"{path}: {SYNC}"), f"{path}: log_name"),
        Provenance(f"{dataset}, by 123D", licence, path.name),
        [ego, *_tracks(path, at, gap)],
        EGO,
        raw_map,
        _signals(path, at, starts),
        TIME_STEP_S,
    )


def _metadata(folder: Path, key: str, column: str) -> Mapping[str, Any]:
    """Return the metadata in the schema of a file."""
    file = folder / f"{key}.arrow"
    _, metadata = read_lists(file, [column])
    if b"metadata" not in metadata:
        raise InputError(f"{file}: has no metadata of 123D")
    found = unpack(metadata[b"metadata"], f"{file}: metadata")
    if not isinstance(found, dict):
        raise InputError(f"{file}: metadata must be a record")
    return found


def _stamps(folder: Path, key: str) -> Float64[Array, " n"]:
    """Return the growing time stamps (s) of a file."""
    file = folder / f"{key}.arrow"
    times = 1e-6 * read_columns(file, {f"{key}.timestamp_us": "i"})[f"{key}.timestamp_us"].astype(np.float64)
    if not len(times) or np.any(np.diff(times) <= 0):
        raise InputError(f"{file}: needs time stamps that grow")
    return times


def _ego(folder: Path, at: Float64[Array, " m"]) -> RawTrack:
    """Return the ego as the centre of its box, which lies at a fixed place from the sensor that was tracked."""
    file = folder / f"{EGO_FILE}.arrow"
    times, about = _stamps(folder, EGO_FILE), _metadata(folder, EGO_FILE, f"{EGO_FILE}.timestamp_us")
    columns, _ = read_lists(file, [f"{EGO_FILE}.imu_se3"])
    poses = numbers(columns[f"{EGO_FILE}.imu_se3"], (None, 7), f"{file}: imu_se3")
    if not np.isfinite(poses).all() or not np.all(np.abs(poses[:, :3]) < LIMITS.coordinate_m):
        raise InputError(f"{file}: poses must be finite, within {LIMITS.coordinate_m:g} m")
    if times[0] > at[0] + 0.5 or times[-1] < at[-1] - 0.5:
        raise InputError(f"{file}: does not cover the log")
    names = ("length", "width", "height")
    size = numbers([get(about, name, f"{file}: metadata") for name in names], (3,), f"{file}: size")
    offset = numbers(get(about, "center_to_imu_se3", f"{file}: metadata"), (7,), f"{file}: center_to_imu_se3")
    centre = poses[:, :3] + rotation_of(poses[:, 3:]) @ offset[:3]
    centre[:, 2] -= 0.5 * size[2]
    values = resampled(times, np.column_stack([centre, yaw_of(poses[:, 3:])]), at, angle=3)
    valid = np.ones(len(at), bool)
    speed = velocities(values[:, :3], valid, TIME_STEP_S)
    return RawTrack(EGO, Category.VEHICLE, values[:, :3], values[:, 3], speed, size, valid)


def _tracks(folder: Path, at: Float64[Array, " m"], gap: float) -> list[RawTrack]:
    file = folder / f"{BOXES}.arrow"
    if not file.is_file():
        return []
    names = [f"{BOXES}.{name}" for name in ("bounding_box_se3", "track_token", "label")]
    columns, _ = read_lists(file, names)
    times = _stamps(folder, BOXES)
    frames = [columns[name] for name in names]
    if any(frame is None for column in frames for frame in column):
        raise InputError(f"{file}: has frames without values")
    boxes, tokens, labels = ([item for frame in column for item in frame] for column in frames)
    lengths = [[len(frame) for frame in column] for column in frames]
    if lengths[0] != lengths[1] or lengths[0] != lengths[2]:
        raise InputError(f"{file}: boxes, tokens and labels of a frame differ in number")
    table = numbers(boxes, (None, 10), f"{file}: bounding_box_se3") if boxes else np.zeros((0, 10))
    ground = table[:, 2] - 0.5 * table[:, 9]
    values = np.column_stack([table[:, :2], ground, yaw_of(table[:, 3:7]), table[:, 7:]])
    ids = [name_of(token, f"{file}: track_token") for token in tokens]
    kinds = _categories(folder, labels, str(file))
    return tracks_of_boxes(str(file), ids, np.repeat(times, lengths[0]), values, kinds, at, gap)


def _categories(folder: Path, labels: list[Any], where: str) -> list[Category]:
    about = _metadata(folder, BOXES, f"{BOXES}.timestamp_us")
    kind = str(get(about, "box_detection_label_class", where)).rpartition(".")[2]
    if kind not in LABELS:
        raise InputError(f"{where}: labels of the class {kind!r} are not known; must be of {', '.join(LABELS)}")
    known = dict(enumerate(LABELS[kind]))
    return [meaning_of(label, known, Category.UNKNOWN, "label", where) for label in labels]


def _signals(folder: Path, at: Float64[Array, " m"], starts: dict[str, Array]) -> list[RawSignal]:
    """Return a light for each lane that one is known for; between two frames the earlier one holds."""
    file = folder / f"{LIGHTS}.arrow"
    if not file.is_file():
        return []
    names = [f"{LIGHTS}.{name}" for name in ("lane_id", "status")]
    columns, _ = read_lists(file, names)
    times = _stamps(folder, LIGHTS)
    states: dict[str, Array] = {}
    for k, (lanes, shown) in enumerate(zip(*(columns[name] for name in names), strict=True)):
        if lanes is None or shown is None or len(lanes) != len(shown):
            raise InputError(f"{file}: frame {k}: lanes and states differ in number")
        for lane, status in zip(lanes, shown, strict=True):
            row = states.setdefault(str(lane), np.full(len(times), SignalState.UNKNOWN, np.int8))
            row[k] = meaning_of(status, dict(enumerate(STATUS)), SignalState.UNKNOWN, "status", str(file))
    newest = np.clip(np.searchsorted(times, at + 0.5 * TIME_STEP_S, side="right") - 1, 0, len(times) - 1)
    return [
        RawSignal(f"light-{lane}", starts[lane], row[newest], (lane,)) for lane, row in states.items() if lane in starts
    ]
