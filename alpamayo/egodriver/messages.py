"""The messages of AlpaSim's egodriver contract as plain arrays: poses, routes, cameras and images, all bounded.

The contract's rig frame has its origin on the ground below the rear axle, x forward, y left; ours is at the centre of
the box. Cameras are declared by the pose of their optical frame (x right, y down, z along the axis) in the rig. Times
are whole microseconds. AlpaSim's ``egodriver.proto``, ``common.proto`` and ``sensorsim.proto``
say what the messages mean.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from PIL import Image
from scipy.spatial.transform import Rotation

from alpamayo_datasets.motion import rotation_of, yaw_of
from alpamayo_datasets.readers.physical_ai_av import USUAL_AXLE_TO_CENTRE_M
from alpamayo_sim.datatypes.lenses import MAX_TERMS, FTheta
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.geometry import rotate

try:
    from carla_driver_interface import contract as contract
    from carla_driver_interface import protocol as protocol
except ImportError as error:
    raise InputError(
        "drivers on other machines need carla-driver-interface; install it with: pip install 'alpamayo[serve]'"
    ) from error

Array = np.ndarray

SECOND_US = 1_000_000
STEP_US = 100_000  # of a history and of a plan
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
IMAGE_SIZE = "alpamayo-image-size"  # in the metadata of get_version of our servers: WIDTHxHEIGHT of the driver's images
GENERATED_1 = "-carla-driver-interface-1."  # in the version of servers that declare camera bodies, not optical frames


@dataclass(frozen=True)
class Limits:
    """Largest messages that are taken from the other side. They are checked before anything is made of them."""

    message_bytes: int = protocol.MAX_MESSAGE_BYTES
    image_bytes: int = 16 << 20
    image_pixels: int = 1 << 24
    cameras: int = 16
    poses: int = 4096
    plans: int = 64
    waypoints: int = 4096
    coordinate_m: float = 1e6
    name_characters: int = 200
    last_us: int = 1 << 62  # later time stamps are none


LIMITS = Limits()
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", LIMITS.message_bytes),
    ("grpc.max_receive_message_length", LIMITS.message_bytes),
)


def time_of(stamp_us: int, what: str) -> int:
    """Return a time stamp (µs).

    Raises:
        InputError: it is no time.
    """
    if stamp_us > LIMITS.last_us:
        raise InputError(f"{what}: the time stamp {stamp_us} is beyond any clock, must be microseconds")
    return int(stamp_us)


def poses_of(trajectory: Any, what: str) -> tuple[Int64[Array, " n"], Float64[Array, "n 3"]]:
    """Return times (µs) and x, y (m), yaw (rad) of the centre of the box, from poses of the rig.

    Raises:
        InputError: too many poses, values that are no numbers, or times that do not grow.
    """
    count = len(trajectory.poses)
    if count > LIMITS.poses:
        raise InputError(f"{what} has {count} poses, at most {LIMITS.poses} are allowed")
    stamps, values = [], []
    for entry in trajectory.poses:
        pose = entry.pose
        vec, quat = pose.vec, pose.quat
        stamps.append(entry.timestamp_us)
        values.append((vec.x, vec.y, quat.w, quat.x, quat.y, quat.z))
    time_of(max(stamps, default=0), what)
    times, rows = np.array(stamps, np.int64), np.array(values, np.float64).reshape(count, 6)
    if not np.all(np.abs(rows[:, :2]) < LIMITS.coordinate_m) or not np.all(np.isfinite(rows)):
        raise InputError(f"{what} has values that are not finite, or positions beyond {LIMITS.coordinate_m:g} m")
    if np.any(np.diff(times) <= 0):
        raise InputError(f"{what}: the time stamps must grow from pose to pose")
    length = np.linalg.norm(rows[:, 2:], axis=1, keepdims=True)
    poses = np.column_stack([rows[:, :2], yaw_of(rows[:, 2:] / np.where(length > 0.0, length, 1.0))])
    return times, _shifted(poses, USUAL_AXLE_TO_CENTRE_M)


def trajectory_of(times: Int64[Array, " n"], poses: Float[Array, "n 3"]) -> Any:
    """Return the message of poses x, y (m), yaw (rad) of the centre of the box at times (µs)."""
    rows = _shifted(np.asarray(poses, np.float64), -USUAL_AXLE_TO_CENTRE_M)
    half = 0.5 * rows[:, 2]
    table = np.tile(ONE_POSE, (len(rows), 1))  # the bytes of the message: setting its fields one by one is slow
    for mark, column in zip(MARKS[:-1], (*rows.T[:2], np.cos(half), np.sin(half)), strict=True):
        table[:, _place(mark)] = column.astype("<f4")[:, None].view(np.uint8)
    table[:, _place(MARKS[-1])] = times.astype("<u8")[:, None].view(np.uint8)
    return protocol.Trajectory.FromString(table.tobytes())


def waypoints_of(route: Any) -> Float64[Array, "n 2"]:
    """Return the finite waypoints x, y (m) of a route in the frame of the box; a runtime may send some that are NaN.

    Raises:
        InputError: too many waypoints.
    """
    if len(route.waypoints) > LIMITS.waypoints:
        raise InputError(f"the route has {len(route.waypoints)} waypoints, at most {LIMITS.waypoints} are allowed")
    points = np.array([(point.x, point.y) for point in route.waypoints], np.float64).reshape(-1, 2)
    points = points[np.all(np.abs(points) < LIMITS.coordinate_m, axis=1)]
    return points - np.array([USUAL_AXLE_TO_CENTRE_M, 0.0])


def route_of(stamp_us: int, points: Float[Array, "n 2"]) -> Any:
    """Return the message of a route: waypoints x, y (m) in the frame of the box."""
    route = protocol.Route(timestamp_us=stamp_us)
    for x, y in points.tolist():
        route.waypoints.add(x=x + USUAL_AXLE_TO_CENTRE_M, y=y, z=0.0)
    return route


def dynamics_of(state: Any) -> tuple[float, float, float]:
    """Return speed (m/s), acceleration (m/s²) and yaw rate (rad/s) of a state.

    Raises:
        InputError: a value is not finite.
    """
    speed = float(np.hypot(state.linear_velocity.x, state.linear_velocity.y))
    found = speed, state.linear_acceleration.x, state.angular_velocity.z
    if not np.all(np.isfinite(found)):
        raise InputError("a dynamic state has values that are not finite")
    return found


def cameras_of(declared: Sequence[Any], revision: int) -> tuple[Camera, ...]:
    """Return declared cameras in the frame of the box.

    Args:
        declared: the messages.
        revision: of the contract that the other side speaks: 1 declares camera bodies, 2 optical frames.

    Raises:
        InputError: too many cameras, one twice, or a lens that is not known.
    """
    if len(declared) > LIMITS.cameras:
        raise InputError(f"{len(declared)} cameras are declared, at most {LIMITS.cameras} are allowed")
    now = contract.cameras_to_revision(declared, revision, contract.CONTRACT_REVISION)
    cameras = tuple(_camera_of(message) for message in now)
    if len({camera.name for camera in cameras}) < len(cameras):
        raise InputError("a camera is declared twice")
    return cameras


def camera_messages(cameras: Sequence[Camera], revision: int) -> list[Any]:
    """Return the declarations of cameras in a revision of the contract."""
    return contract.cameras_to_revision(map(_camera_message, cameras), contract.CONTRACT_REVISION, revision)


def image_bytes(rgb: UInt8[Array, "height width 3"], jpeg_quality: int = 0) -> bytes:
    """Return an image as PNG without compression, which is quick and loses nothing, or as JPEG of a quality."""
    if jpeg_quality:
        bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1].tobytes()
    height, width = rgb.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, which is none
    rows[:, 1:] = rgb.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 0)), (b"IEND", b""))
    return PNG_HEAD + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def image_of(data: bytes, camera: Camera) -> UInt8[Array, "height width 3"]:
    """Decode an image of a camera.

    Raises:
        InputError: it is no PNG or JPEG, or not of the size that the camera was declared with.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            size = picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        size = (0, 0)
    if size != (camera.width, camera.height):
        what = f"is {size[0]} by {size[1]} pixels" if size[0] else "is no PNG or JPEG"
        raise InputError(f"an image of {camera.name!r} {what}, must be {camera.width} by {camera.height} pixels")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if found is None or found.shape[:2] != (camera.height, camera.width):
        raise InputError(f"an image of {camera.name!r} cannot be decoded")
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)


def name_of(text: str, what: str) -> str:
    """Return a name that the other side gave.

    Raises:
        InputError: it is empty, too long, or cannot be shown.
    """
    if not 0 < len(text) <= LIMITS.name_characters or not text.isprintable():
        raise InputError(f"{what} must be printable text of 1 to {LIMITS.name_characters} characters")
    return text


def revision_of(metadata: Any, version: str) -> int:
    """Return the revision of the contract that a server speaks, from what it answers to ``get_version``.

    A server of carla-driver-interface 1 declares none and speaks 1. AlpaSim's own drivers declare none and speak 2.

    Raises:
        InputError: a revision that is not known here.
    """
    default = contract.LEGACY_REVISION if GENERATED_1 in version else contract.CONTRACT_REVISION
    try:
        return int(contract.read_revision(metadata, default))
    except contract.ContractError as error:
        raise InputError(str(error)) from error


def _marked_pose() -> UInt8[Array, " n"]:
    """Return the bytes of a trajectory of one pose whose fields hold ``MARKS``: all trajectories are made like it."""
    message = protocol.Trajectory()
    entry = message.poses.add()
    pose = entry.pose
    pose.vec.x, pose.vec.y, pose.quat.w, pose.quat.z, entry.timestamp_us = MARKS
    return np.frombuffer(message.SerializeToString(), np.uint8)


def _place(mark: float) -> slice:
    """Return where the bytes of a mark are."""
    value = np.array(mark, "<u8" if isinstance(mark, int) else "<f4").tobytes()
    start = ONE_POSE.tobytes().index(value)
    return slice(start, start + len(value))


MARKS = (1.25, 2.5, 3.75, 4.5, 0x0102030405060708)
ONE_POSE = _marked_pose()


def size_metadata(size: tuple[int, int]) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tell the height and width (pixels) of a driver's images."""
    return ((IMAGE_SIZE, f"{size[1]}x{size[0]}"),)


def size_of(metadata: Any) -> tuple[int, int] | None:
    """Return width and height (pixels) that a server tells of its driver's images; None from others than ours."""
    text = next((value for key, value in metadata or () if key == IMAGE_SIZE and isinstance(value, str)), "")
    width, cross, height = text[:16].partition("x")
    return (int(width), int(height)) if cross and width.isdecimal() and height.isdecimal() else None


def _shifted(poses: Float64[Array, "n 3"], ahead_m: float) -> Float64[Array, "n 3"]:
    """Return poses moved ahead along their headings."""
    out = poses.copy()
    out[:, :2] += rotate(np.array([ahead_m, 0.0]), poses[:, 2])
    return out


def _camera_message(camera: Camera) -> Any:
    message = protocol.AvailableCamera(logical_id=camera.name)
    x, y, z = camera.position.astype(np.float64).tolist()
    turn = Rotation.from_matrix(camera.rotation.astype(np.float64)).as_quat().tolist()
    pose = message.rig_to_camera
    pose.vec.x, pose.vec.y, pose.vec.z = x + USUAL_AXLE_TO_CENTRE_M, y, z
    pose.quat.x, pose.quat.y, pose.quat.z, pose.quat.w = turn
    spec = message.intrinsics
    spec.logical_id, spec.resolution_h, spec.resolution_w = camera.name, camera.height, camera.width
    spec.shutter_type = protocol.ShutterType.GLOBAL
    lens = spec.opencv_pinhole_param if camera.lens is None else spec.ftheta_param
    lens.principal_point_x, lens.principal_point_y = camera.centre
    if camera.lens is None:
        lens.focal_length_x, lens.focal_length_y = camera.focal
    else:
        _describe_ftheta(camera.lens, lens)
    return message


def _describe_ftheta(lens: FTheta, message: Any) -> None:
    message.reference_poly = message.ANGLE_TO_PIXELDIST
    message.angle_to_pixeldist_poly.extend(lens.forward)
    message.pixeldist_to_angle_poly.extend(lens.backward or _inverse(lens))
    message.max_angle = lens.max_angle
    cde = message.linear_cde
    cde.linear_c, cde.linear_d, cde.linear_e = lens.linear


def _inverse(lens: FTheta) -> list[float]:
    """Return the polynomial that gives the angle (rad) for a distance (pixels)."""
    angles = np.linspace(0.0, lens.max_angle, 256)
    distance = lens.distance(angles)
    scale = float(distance[-1])  # keeps the fit well conditioned
    terms = np.polynomial.polynomial.polyfit(distance / scale, angles, MAX_TERMS - 1)
    return [float(term / scale**k) for k, term in enumerate(terms)]


def _camera_of(message: Any) -> Camera:
    name = name_of(message.logical_id, "the logical id of a camera")
    spec, pose = message.intrinsics, message.rig_to_camera
    if not 0 < spec.resolution_h * spec.resolution_w <= LIMITS.image_pixels:
        raise InputError(f"camera {name!r}: {spec.resolution_w} by {spec.resolution_h} pixels are none, or too many")
    kind = spec.WhichOneof("camera_param")
    quat = pose.quat
    row = np.array([[pose.vec.z, pose.vec.x, pose.vec.y, quat.w, quat.x, quat.y, quat.z]])
    lens = {"opencv_pinhole_param": _pinhole_of, "ftheta_param": _ftheta_of}.get(kind)
    if lens is None or not np.all(np.isfinite(row)):
        raise InputError(f"camera {name!r}: needs a finite pose and a pinhole or f-theta lens; it has {kind or 'none'}")
    param = getattr(spec, kind)
    focal, model = lens(param, name)
    centre = param.principal_point_x, param.principal_point_y
    if not np.all(np.isfinite([*centre, *focal])):
        raise InputError(f"camera {name!r}: its intrinsics are not finite")
    place = np.array([row[0, 1] - USUAL_AXLE_TO_CENTRE_M, row[0, 2], row[0, 0]], np.float32)
    turn = rotation_of(row[:, 3:])[0].astype(np.float32)
    return Camera(name, int(spec.resolution_w), int(spec.resolution_h), focal, centre, place, turn, model)


def _pinhole_of(param: Any, name: str) -> tuple[tuple[float, float], None]:
    if any((*param.radial_coeffs, *param.tangential_coeffs, *param.thin_prism_coeffs)):
        raise InputError(f"camera {name!r}: a pinhole with distortion is not known; declare it rectified or as f-theta")
    return (param.focal_length_x, param.focal_length_y), None


def _ftheta_of(param: Any, name: str) -> tuple[tuple[float, float], FTheta]:
    forward, backward = (
        tuple(np.trim_zeros(np.array(terms[:64]), "b").tolist())
        for terms in (param.angle_to_pixeldist_poly, param.pixeldist_to_angle_poly)
    )
    cde = param.linear_cde
    linear = (cde.linear_c, cde.linear_d, cde.linear_e) if cde.linear_c else (1.0, 0.0, 0.0)
    if not np.all(np.isfinite((*forward, *backward, *linear, param.max_angle))):
        raise InputError(f"camera {name!r}: its lens has values that are not finite")
    if len(forward) < 2:
        raise InputError(f"camera {name!r}: its f-theta lens lacks angle_to_pixeldist_poly {shown(forward)}")
    return (forward[1], forward[1]), FTheta(forward, min(param.max_angle or np.pi, np.pi), backward, linear)
