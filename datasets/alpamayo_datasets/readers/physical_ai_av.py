"""NVIDIA's Physical AI AV clips, zipped or not: egomotion and obstacles in parquet. The data set has no map.

``labels/egomotion/CLIP.egomotion.parquet`` has the pose of the rear axle at about 100 Hz,
``labels/obstacle.offline/CLIP.obstacle.offline.parquet`` boxes in the ego's frame at the time of each box, and
``calibration/vehicle_dimensions`` the size of the car. All are brought to 10 Hz. Where a file is not there, the zipped
chunks of its folder (``labels/egomotion/egomotion.chunk_0000.zip``) are searched for it.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from alpamayo_datasets.arrow_tables import read_columns
from alpamayo_datasets.assemble import RawMap, RawTrack, assemble
from alpamayo_datasets.boxes import tracks_of_boxes
from alpamayo_datasets.containers import choose_scene
from alpamayo_datasets.fields import MAX_STEPS
from alpamayo_datasets.images import Video
from alpamayo_datasets.motion import resampled, rotation_of, velocities, yaw_of
from alpamayo_datasets.recorded_cameras import RecordedCamera, RecordedCameras
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_datasets.zip_members import UnpackedFolder, member_names, unpack
from alpamayo_sim.datatypes.lenses import FTheta
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS, name_of

Array = np.ndarray

LICENCE = "NVIDIA Autonomous Vehicle Dataset License (PhysicalAI-Autonomous-Vehicles)"
EGO = "ego"
EGOMOTION, OBSTACLES = ".egomotion.parquet", ".obstacle.offline.parquet"
CHUNKS = "*.chunk_*.zip"
TIME_STEP_S = 0.1
MAX_BOX_GAP_S = 0.35  # boxes of a track that are farther apart in time are not interpolated
USUAL_AXLE_TO_CENTRE_M = 1.45  # where the dimensions of the car are not there
TERMS = 5  # of a polynomial of the lens
INTRINSICS = (
    *("width", "height", "cx", "cy"),
    *(f"{which}_poly_{k}" for which in ("fw", "bw") for k in range(TERMS)),
)
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
BOX = (
    *("center_x", "center_y", "center_z", "orientation_w", "orientation_x", "orientation_y", "orientation_z"),
    *("size_x", "size_y", "size_z"),
)
INDEX_NAMES = ("clip_id", "__index_level_0__")  # as pandas names an index that has a name, and one that has none
CATEGORIES = {
    "automobile": Category.VEHICLE,
    "heavy_truck": Category.TRUCK,
    "bus": Category.BUS,
    "train_or_tram_car": Category.BUS,
    "trolley_bus": Category.BUS,
    "other_vehicle": Category.VEHICLE,
    "trailer": Category.TRUCK,
    "person": Category.PEDESTRIAN,
    "stroller": Category.PEDESTRIAN,
    "rider": Category.CYCLIST,
    "animal": Category.ANIMAL,
    "protruding_object": Category.DEBRIS,
}


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is a folder of clips, zipped or not."""
    folder = path / "labels" / "egomotion"
    return path.is_dir() and (any(folder.glob(f"*{EGOMOTION}")) or any(folder.glob(CHUNKS)))


def scene_ids(path: Path) -> list[str]:
    """Return the ids of the clips that have egomotion."""
    folder = path / "labels" / "egomotion"
    names = [file.name for file in folder.glob(f"*{EGOMOTION}")]
    names += [name for chunk in folder.glob(CHUNKS) for name in member_names(chunk)]
    return sorted({name.removesuffix(EGOMOTION) for name in names if name.endswith(EGOMOTION)})


def _feature(folder: Path, name: str, unpacked: UnpackedFolder) -> Path:
    """Return a file of a feature's folder, else the one that its chunks have, unpacked; else where it would be."""
    if not (folder / name).is_file():
        for chunk in sorted(folder.glob(CHUNKS)):
            unpack(chunk, lambda member: member == name, unpacked.path)
            if (unpacked.path / name).is_file():
                return unpacked.path / name
    return folder / name


def read(path: Path, scene_id: str | None = None) -> Scene:
    """Return the Scene of that clip, or of the only one.

    Raises:
        InputError: A file is missing or damaged, or there is no such clip.
    """
    clip = choose_scene(scene_ids(path), scene_id, str(path))
    unpacked = UnpackedFolder()
    times, poses = _egomotion(_feature(path / "labels" / "egomotion", f"{clip}{EGOMOTION}", unpacked))
    obstacles = _feature(path / "labels" / "obstacle.offline", f"{clip}{OBSTACLES}", unpacked)
    return _scene(path, clip, times, poses, obstacles)


def _scene(path: Path, clip: str, times: Float64[Array, " n"], poses: Float64[Array, "n 4"], obstacles: Path) -> Scene:
    count = int(np.floor((times[-1] - times[0]) / TIME_STEP_S + 1e-6)) + 1
    if not 1 <= count <= MAX_STEPS:
        raise InputError(f"{path}: clip {clip!r} lasts {times[-1] - times[0]:.0f} s, longer than any scene")
    at = times[0] + TIME_STEP_S * np.arange(count)
    size, axle = _dimensions(path, clip)
    ego = _ego(resampled(times, poses, at, angle=3), size, axle)
    others = _tracks(obstacles, times, poses, at)
    provenance = _provenance(path / "clip_index.parquet", clip)
    return assemble(f"{path}: clip {clip!r}", clip, provenance, [ego, *others], EGO, RawMap(), [], TIME_STEP_S)


def cameras(path: Path, scene_id: str | None = None) -> RecordedCameras:
    """Return the cameras of a clip that have a video, time stamps and a calibration.

    Raises:
        InputError: A file is damaged, there is no such clip, or it has no camera.
    """
    clip = choose_scene(scene_ids(path), scene_id, str(path))
    unpacked = UnpackedFolder()
    times, _ = _egomotion(_feature(path / "labels" / "egomotion", f"{clip}{EGOMOTION}", unpacked))
    _, axle = _dimensions(path, clip)
    found = []
    for feature in sorted(each for each in (path / "camera").glob("*") if each.is_dir()):
        name = feature.name
        lens = _calibration(path, "camera_intrinsics", clip, name, INTRINSICS)
        place = _calibration(path, "sensor_extrinsics", clip, name, POSE)
        if lens is None or place is None:
            continue
        files = (f"{clip}.{name}.mp4", f"{clip}.{name}.timestamps.parquet")
        video, stamps = (_feature(feature, each, unpacked) for each in files)
        if video.is_file() and stamps.is_file():
            taken = 1e-6 * read_columns(stamps, {"timestamp": "i"})["timestamp"].astype(np.float64)
            if np.any(np.diff(taken) <= 0):
                raise InputError(f"{stamps}: time stamps must grow")
            image = partial(_frame, Video(video), unpacked)
            found.append(RecordedCamera(_camera(name, lens, place, axle), taken - times[0], image))
    if not found:
        raise InputError(f"{path}: clip {clip!r} has no camera with a video, time stamps and a calibration")
    return RecordedCameras(found)


def _frame(video: Video, unpacked: UnpackedFolder, frame: int) -> UInt8[Array, "height width 3"]:
    """Return a frame of a video whose folder, where it was unpacked, is kept with this function."""
    return video.image(frame)


def _provenance(file: Path, clip: str) -> Provenance:
    """Return source and licence of a clip; the index of clips that this project has written tells them."""
    try:
        index = read_columns(file, dict.fromkeys(("clip_id", "source", "licence"), "s"))
    except InputError:
        return Provenance("Physical AI AV", LICENCE, clip)
    rows = np.flatnonzero(index["clip_id"] == clip)
    if not len(rows):
        raise InputError(f"{file}: has no clip {clip!r}")
    source, licence = (name_of(index[name][rows[0]], f"{file}: {name}") for name in ("source", "licence"))
    return Provenance(source, licence, clip)


def _calibration(root: Path, kind: str, clip: str, sensor: str, names: tuple[str, ...]) -> dict[str, float] | None:
    """Return the values of a sensor of a clip; None where no file has them."""
    for file in sorted((root / "calibration" / kind).glob("*.parquet")):
        for index in (("clip_id", "sensor_name"), ("__index_level_0__", "__index_level_1__")):
            try:
                keys = read_columns(file, dict.fromkeys(index, "s"))
            except InputError:
                continue
            rows = np.flatnonzero((keys[index[0]] == clip) & (keys[index[1]] == sensor))
            if len(rows):
                columns = read_columns(file, dict.fromkeys(names, "f"))
                return {name: float(columns[name][rows[0]]) for name in names}
    return None


def _camera(name: str, lens: dict[str, float], place: dict[str, float], axle: float) -> Camera:
    forward = tuple(lens[f"fw_poly_{k}"] for k in range(TERMS))
    backward = tuple(lens[f"bw_poly_{k}"] for k in range(TERMS))
    reach = float(np.polynomial.polynomial.polyval(0.5 * np.hypot(lens["width"], lens["height"]), backward))
    rotation = rotation_of(np.array([[place[part] for part in ("qw", "qx", "qy", "qz")]]))[0]
    position = np.array([place["x"] - axle, place["y"], place["z"]])
    return Camera(
        name,
        int(lens["width"]),
        int(lens["height"]),
        (forward[1], forward[1]),
        (lens["cx"] + 0.5, lens["cy"] + 0.5),
        position.astype(np.float32),
        rotation.astype(np.float32),
        FTheta(forward, min(reach, np.pi), backward),
    )


def _egomotion(file: Path) -> tuple[Float64[Array, " n"], Float64[Array, "n 4"]]:
    """Return time stamps (s) and x, y, z (m), yaw (rad) of the rear axle."""
    columns = read_columns(file, {"timestamp": "i", **dict.fromkeys(POSE, "f")})
    times, first = np.unique(1e-6 * columns["timestamp"].astype(np.float64), return_index=True)
    table = np.column_stack([columns[name][first] for name in POSE])
    if len(times) < 2 or not np.isfinite(table).all() or not np.all(np.abs(table[:, :3]) < LIMITS.coordinate_m):
        raise InputError(f"{file}: needs two poses at least, and values within {LIMITS.coordinate_m:g} m")
    return times, np.column_stack([table[:, :3], yaw_of(table[:, 3:])])


def _dimensions(root: Path, clip: str) -> tuple[Float64[Array, "3"], float]:
    """Return length, width and height (m) of the car, and the distance from its rear axle to its centre."""
    for file in sorted((root / "calibration" / "vehicle_dimensions").glob("*.parquet")):
        for index in INDEX_NAMES:
            try:
                ids = read_columns(file, {index: "s"})[index]
            except InputError:
                continue
            rows = np.flatnonzero(ids == clip)
            if len(rows):
                names = ("length", "width", "height", "rear_axle_to_bbox_center")
                found = read_columns(file, dict.fromkeys(names, "f"))
                return np.array([found[name][rows[0]] for name in names[:3]]), float(found[names[3]][rows[0]])
    return usual_size(Category.VEHICLE), USUAL_AXLE_TO_CENTRE_M


def _ego(pose: Float64[Array, "n 4"], size: Float64[Array, "3"], axle: float) -> RawTrack:
    heading = pose[:, 3]
    position = pose[:, :3] + axle * np.stack([np.cos(heading), np.sin(heading), 0.0 * heading], axis=1)
    valid = np.ones(len(pose), bool)
    return RawTrack(EGO, Category.VEHICLE, position, heading, velocities(position, valid, TIME_STEP_S), size, valid)


def _tracks(
    file: Path, times: Float64[Array, " n"], poses: Float64[Array, "n 4"], at: Float64[Array, " m"]
) -> list[RawTrack]:
    """Return the obstacles in the world, each box placed by the ego's pose at its own time; none without the file."""
    if not file.is_file():
        return []
    kinds = {"timestamp_us": "i", "label_class": "s", **dict.fromkeys(BOX, "f")}
    columns = read_columns(file, kinds)
    stamp = 1e-6 * columns["timestamp_us"].astype(np.float64)
    box = np.column_stack([columns[name] for name in BOX])
    ego = resampled(times, poses, stamp, angle=3)
    c, s = np.cos(ego[:, 3]), np.sin(ego[:, 3])
    x, y = ego[:, 0] + c * box[:, 0] - s * box[:, 1], ego[:, 1] + s * box[:, 0] + c * box[:, 1]
    ground = ego[:, 2] + box[:, 2] - 0.5 * box[:, 9]
    forward = rotation_of(box[:, 3:7])[:, :, 0]
    world = np.column_stack([x, y, ground, np.arctan2(forward[:, 1], forward[:, 0]) + ego[:, 3], box[:, 7:]])
    labels = (str(label).lower() for label in columns["label_class"])
    kinds_of = [meaning_of(label, CATEGORIES, Category.UNKNOWN, "label_class", str(file)) for label in labels]
    return tracks_of_boxes(str(file), _ids(file).tolist(), stamp, world, kinds_of, at, MAX_BOX_GAP_S)


def _ids(file: Path) -> Array:
    """Return the ids of the boxes' tracks, which are text or numbers."""
    try:
        return read_columns(file, {"track_id": "s"})["track_id"].astype(str)
    except InputError:
        return read_columns(file, {"track_id": "i"})["track_id"].astype(str)
