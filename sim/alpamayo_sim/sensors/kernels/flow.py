# mypy: ignore-errors
# ruff: noqa: UP018 (a variable that is changed later is made by a call)
"""Optical flow: the present pixel of the point that a pixel showed before."""

from alpamayo_sim.sensors.kernels.parts import Observer, turned
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

EGO_INSTANCE = wp.constant(1 << 20)
PINHOLE, FTHETA = 0, 1  # places in ``lenses.LENS_MODELS``
Parameters = wp.types.vector(length=12, dtype=wp.float32)  # ``lenses.MAX_PARAMETERS``


@wp.struct
class Lens:
    """A camera's projection: the number of its lens model, and what ``LensModel.parameters`` returns for it."""

    model: wp.int32
    focal: wp.vec2
    centre: wp.vec2
    rotation: wp.mat33
    parameters: Parameters


@wp.func
def project_pinhole(lens: Lens, seen: wp.vec3) -> wp.vec3:
    """Return the pixel of a direction in camera axes through a pinhole; the third number is 1 if it is visible."""
    if seen[2] <= 1.0e-6:
        return wp.vec3(0.0, 0.0, 0.0)
    u = lens.focal[0] * seen[0] / seen[2] + lens.centre[0]
    return wp.vec3(u, lens.focal[1] * seen[1] / seen[2] + lens.centre[1], 1.0)


@wp.func
def project_ftheta(lens: Lens, seen: wp.vec3) -> wp.vec3:
    """As ``project_pinhole``, through an f-theta lens."""
    k = lens.parameters
    off = wp.sqrt(seen[0] * seen[0] + seen[1] * seen[1])
    angle = wp.atan2(off, seen[2])
    if angle > k[9]:
        return wp.vec3(0.0, 0.0, 0.0)
    distance = k[0] + angle * (k[1] + angle * (k[2] + angle * (k[3] + angle * (k[4] + angle * k[5]))))
    x = distance * seen[0] / wp.max(off, 1.0e-12)
    y = distance * seen[1] / wp.max(off, 1.0e-12)
    u = k[6] * x + k[7] * y + lens.centre[0]
    return wp.vec3(u, k[8] * x + y + lens.centre[1], 1.0)


@wp.func
def project(lens: Lens, seen: wp.vec3) -> wp.vec3:
    """Return the pixel of a direction in camera axes, and 1 if the lens sees it, else 0.

    A lens model without a function here has no flow: all of its pixels are invalid.
    """
    if lens.model == PINHOLE:
        return project_pinhole(lens, seen)
    if lens.model == FTHETA:
        return project_ftheta(lens, seen)
    return wp.vec3(0.0, 0.0, 0.0)


@wp.kernel
def forward_flow(
    rays: wp.array3d(dtype=wp.vec3),
    eyes: wp.array(dtype=wp.vec3),
    lenses: wp.array(dtype=Lens),
    observers: wp.array(dtype=Observer),
    pose_before: wp.array2d(dtype=wp.vec3),
    valid_before: wp.array2d(dtype=wp.bool),
    depth: wp.array3d(dtype=wp.float32),
    instance: wp.array3d(dtype=wp.int32),
    pose: wp.array2d(dtype=wp.vec3),
    valid: wp.array2d(dtype=wp.bool),
    flow: wp.array3d(dtype=wp.vec2),
    good: wp.array3d(dtype=wp.uint8),
):
    """Write the flow (u, v in pixels) of each pixel of a view; it is 0 and not good if the point has left the image.

    The sky is infinitely far away. Points that another object hides now still count as good.
    """
    view, v, u = wp.tid()
    cameras = eyes.shape[0]
    o = view / cameras
    c = view - o * cameras
    me = observers[o]
    d = rays[c, v, u]
    far = depth[view, v, u]
    owner = instance[view, v, u]
    was = pose_before[me.world, me.agent]
    now = pose[me.world, me.agent]
    sky = wp.isinf(far)
    point = d
    if not sky:
        point = eyes[c] + far * d
    shown = bool(True)
    point = turned(point, wp.cos(was[2]), wp.sin(was[2]))
    if not sky:
        point = point + wp.vec3(was[0], was[1], 0.0)
        agent = -1
        if owner == EGO_INSTANCE:
            agent = 0
        elif owner >= 0:
            agent = owner + 1
        if agent >= 0:
            shown = valid_before[me.world, agent] and valid[me.world, agent]
            a = pose_before[me.world, agent]
            b = pose[me.world, agent]
            turn = b[2] - a[2]
            point = turned(point - wp.vec3(a[0], a[1], 0.0), wp.cos(turn), wp.sin(turn)) + wp.vec3(b[0], b[1], 0.0)
        point = point - wp.vec3(now[0], now[1], 0.0)
    point = turned(point, wp.cos(now[2]), -wp.sin(now[2]))
    if not sky:
        point = point - eyes[c]
    lens = lenses[c]
    pixel = project(lens, wp.transpose(lens.rotation) @ point)
    inside = pixel[0] >= 0.0 and pixel[0] < float(rays.shape[2]) and pixel[1] >= 0.0 and pixel[1] < float(rays.shape[1])
    if shown and inside and pixel[2] > 0.0:
        flow[view, v, u] = wp.vec2(pixel[0] - float(u) - 0.5, pixel[1] - float(v) - 0.5)
        good[view, v, u] = wp.uint8(1)
    else:
        flow[view, v, u] = wp.vec2(0.0, 0.0)
        good[view, v, u] = wp.uint8(0)
