# mypy: ignore-errors
# ruff: noqa: RUF046, UP018 (kernels know no `in`, and a variable that a loop changes is made by a call)
"""The cameras' kernels: what each pixel sees and how it is lit, and where that is one step later.

Everything is in the observer's frame (x forward, y left, z up, m); only the ground's texture, the sky and a mesh are
looked up in the world's.
"""

from alpamayo_sim.sensors.kernels.ground import Ground, class_of, sample_ground, unpack
from alpamayo_sim.sensors.kernels.paint import noise, paint
from alpamayo_sim.sensors.kernels.parts import (
    NO_HIT,
    Appearance,
    Bounds,
    Observer,
    Parts,
    Tiles,
    face_normal,
    from_part,
    gaussian,
    hit_face,
    hit_part,
    mix,
    overlap,
    to_part,
    turned,
    uniform,
)
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

TILE = 16  # pixels a side
FAR_PLANE_M = wp.constant(600.0)  # m
SKY_CLASS, TERRAIN_CLASS, OTHER_CLASS = 0, 1, 22
EGO_INSTANCE = wp.constant(1 << 20)
SKY_CODE, GROUND_CODE, SHADED_CODE = wp.constant(-1), wp.constant(-2), wp.constant(-3)
MESH_CODE = wp.constant(-10)  # less the triangle's number


@wp.struct
class Light:
    """Sun direction (world), shares of diffuse and ambient light, colours, haze per m, headlights, rain."""

    sun: wp.vec3
    diffuse: wp.float32
    ambient: wp.float32
    horizon: wp.vec3
    zenith: wp.vec3
    terrain: wp.vec3
    haze: wp.float32
    headlights: wp.float32
    wet: wp.float32
    rain: wp.float32


@wp.struct
class Imaging:
    """How the cameras image, see ``rig.Imaging``; ``gain`` multiplies displayed colour."""

    readout: wp.float32
    gain: wp.float32
    noise: wp.float32
    dirt: wp.float32


@wp.struct
class Mesh:
    """A static scene in the world's axes instead of the drawn one; ``id`` 0 is none."""

    id: wp.uint64
    colours: wp.array(dtype=wp.vec3)  # by triangle


@wp.struct
class Pictures:
    """The images of all views."""

    rgb: wp.array3d(dtype=wp.vec3ub)
    depth: wp.array3d(dtype=wp.float32)
    semantic: wp.array3d(dtype=wp.uint8)
    instance: wp.array3d(dtype=wp.int32)


@wp.func
def lag_of(v: int, rows: int, readout: float) -> float:
    """Return the time (s) of row v of a rolling shutter, relative to the frame's time."""
    return ((float(v) + 0.5) / float(rows) - 0.5) * readout


@wp.func
def moved_eye(eye: wp.vec3, cos: float, sin: float, velocity: wp.vec2, lag: float) -> wp.vec3:
    """Return a camera's position after ``lag`` (s), when its observer has turned by an angle (cosine, sine)."""
    return turned(eye, cos, sin) + wp.vec3(wp.length(velocity) * lag, 0.0, 0.0)


@wp.func
def mesh_slant(mesh: wp.uint64, triangle: int, d: wp.vec3) -> float:
    """Return the cosine between a direction (world) and a triangle's normal, on either side."""
    return wp.abs(wp.dot(wp.mesh_eval_face_normal(mesh, triangle), d))


@wp.func
def sky(d: wp.vec3, light: Light) -> wp.vec3:
    """Return the sky's colour: a gradient, the sun's glow, and hills; ``d`` is a direction in the world."""
    up = wp.clamp(d[2], 0.0, 1.0)
    k = 1.0 - (1.0 - up) * (1.0 - up) * (1.0 - up)
    colour = light.horizon * (1.0 - k) + light.zenith * k
    facing = wp.dot(d, light.sun)
    if facing > 0.9 and light.diffuse > 0.0:
        glow = (facing - 0.9) * 10.0
        colour = colour + wp.vec3(0.9, 0.8, 0.6) * (0.35 * glow * glow * light.diffuse)
        if facing > 0.9992:
            colour = wp.vec3(1.0, 0.98, 0.9)
    if up < 0.07:
        azimuth = wp.atan2(d[1], d[0])
        hill = (
            0.028 + 0.014 * wp.sin(3.0 * azimuth + 0.6) + 0.009 * wp.sin(7.0 * azimuth) + 0.004 * wp.sin(23.0 * azimuth)
        )
        if up < hill:
            colour = 0.55 * light.horizon + 0.45 * wp.vec3(
                light.terrain[0] * 0.7, light.terrain[1] * 0.85, light.terrain[2]
            )
    if up < 0.25:
        fog = wp.exp(-FAR_PLANE_M * light.haze * (1.0 - 4.0 * up))
        colour = colour * fog + light.horizon * (1.0 - fog)
    return colour


@wp.func
def headlight(p: wp.vec3, strength: float) -> float:
    """Return the light of the ego's low beams at a point of the ego frame."""
    x = p[0] - 2.0
    if x <= 0.0 or strength <= 0.0:
        return 0.0
    spread = wp.abs(p[1]) / (1.6 + 0.32 * x)
    wide = wp.clamp(1.3 - spread * spread, 0.0, 1.0)
    high = wp.clamp(1.4 - (p[2] - 0.5) / (0.6 + 0.05 * x), 0.15, 1.0)
    return strength * wide * high / (1.0 + (x / 26.0) * (x / 26.0))


@wp.func
def to_byte(x: float) -> wp.uint8:
    """[0, 1] to [0, 255]."""
    return wp.uint8(int(wp.clamp(x, 0.0, 1.0) * 255.0 + 0.5))


@wp.func
def smooth_noise(x: float, y: float, key: int) -> float:
    """Return value noise in [0, 1) with cells of size 1."""
    i = int(wp.floor(x))
    j = int(wp.floor(y))
    u = x - float(i)
    v = y - float(j)
    u = u * u * (3.0 - 2.0 * u)
    v = v * v * (3.0 - 2.0 * v)
    low = noise(i, j, key) * (1.0 - u) + noise(i + 1, j, key) * u
    high = noise(i, j + 1, key) * (1.0 - u) + noise(i + 1, j + 1, key) * u
    return low * (1.0 - v) + high * v


@wp.func
def streaks(x: float, y: float, key: wp.uint32, rain: float) -> float:
    """Return how much rain streaks cover an image point (in image heights) at a step: three layers of drops.

    Each cell of a layer holds a streak with a probability that grows with the rain (mm/h); near layers have few and
    long, far layers many and short ones.
    """
    covered = float(0.0)
    for layer in range(3):
        columns = 18.0 + 22.0 * float(layer)
        rows = 3.0 + 2.0 * float(layer)
        u = (x + 0.06 * y) * columns
        shift = uniform(mix(key, wp.uint32(int(wp.floor(u)) + 4096 * layer + 7)))
        v = y * rows + 5.0 * shift
        h = mix(mix(key, wp.uint32(int(wp.floor(u)) + 65536 * (layer + 1))), wp.uint32(int(wp.floor(v))))
        if uniform(h) < wp.min(0.012 * rain, 0.5):
            across = wp.abs(u - wp.floor(u) - 0.5) * 2.0
            along = v - wp.floor(v)
            width = 0.16 + 0.1 * float(layer)
            if across < width:
                covered = wp.max(covered, (1.0 - across / width) * along * (1.0 - along) * 4.0)
    return covered


@wp.func
def develop(
    colour: wp.vec3, u: float, v: float, camera: int, static_key: wp.uint32, key: wp.uint32, light: Light, how: Imaging
) -> wp.vec3:
    """Return a colour after drops, dirt, exposure and noise; u and v are in image heights."""
    if light.rain > 0.0:
        bright = 0.35 * light.horizon + 0.65 * colour + wp.vec3(0.06, 0.06, 0.07)
        share = 0.55 * streaks(u, v, mix(key, wp.uint32(camera + 77)), light.rain)
        colour = colour * (1.0 - share) + bright * share
    if how.dirt > 0.0:
        plot = int(static_key >> wp.uint32(8)) + 131 * camera
        blot = 0.65 * smooth_noise(7.0 * u, 7.0 * v, plot) + 0.35 * smooth_noise(23.0 * u, 23.0 * v, plot + 1)
        share = 0.7 * wp.clamp((blot - 1.0 + 0.85 * how.dirt + 0.1) * 3.5, 0.0, 1.0)
        colour = colour * (1.0 - share) + (0.8 * light.ambient + 0.03) * share * wp.vec3(0.62, 0.56, 0.47)
    colour = colour * how.gain
    return colour


def _see(full: bool) -> wp.Kernel:
    """Return the visibility kernel; only the ``full`` kernel has a mesh and a rolling shutter."""

    @wp.kernel(enable_backward=False, module="unique")
    def see(
        rays: wp.array3d(dtype=wp.vec3),
        eyes: wp.array(dtype=wp.vec3),
        windows: wp.array3d(dtype=wp.vec4),
        run: int,
        tile_columns: int,
        tiles_per_camera: int,
        observers: wp.array(dtype=Observer),
        velocity: wp.array2d(dtype=wp.vec2),
        turn_rate: wp.array(dtype=wp.float32),
        lights: wp.array(dtype=Light),
        mesh: Mesh,
        how: Imaging,
        parts: Parts,
        bounds: Bounds,
        tiles: Tiles,
        depth: wp.array3d(dtype=wp.float32),
        what: wp.array3d(dtype=wp.int32),
    ):
        """Write the range of the s-th ``run`` of pixels in row v of a view, and its content: a part, or a code.

        A part is tried on all pixels of a run in turn, so that it is read once; runs do not cross tiles.
        """
        view, v, s = wp.tid()
        cameras = eyes.shape[0]
        o = view / cameras
        c = view - o * cameras
        eye = eyes[c]
        frame = parts.frame[o]
        first = s * run
        last = wp.min(first + run, rays.shape[2])
        lag = float(0.0)
        turn_cos = float(1.0)
        turn_sin = float(0.0)
        if wp.static(full):
            lag = lag_of(v, rays.shape[1], how.readout)
            turn_cos = wp.cos(turn_rate[o] * lag)
            turn_sin = wp.sin(turn_rate[o] * lag)
            eye = moved_eye(eye, turn_cos, turn_sin, velocity[observers[o].world, observers[o].agent], lag)
        for u in range(first, last):
            d = rays[c, v, u]
            best = float(FAR_PLANE_M)
            code = int(SKY_CODE)
            if wp.static(full):
                d = turned(d, turn_cos, turn_sin)
                if mesh.id != wp.uint64(0):
                    forward = turned(d, frame[2], frame[3])
                    start = turned(eye, frame[2], frame[3]) + wp.vec3(frame[0], frame[1], 0.0)
                    found = wp.mesh_query_ray(mesh.id, start, forward, best)
                    if found.result:
                        best = found.t
                        code = MESH_CODE - found.face
            if d[2] < -1.0e-6 and mesh.id == wp.uint64(0):
                t = -eye[2] / d[2]
                if t < FAR_PLANE_M:
                    best = t
                    code = GROUND_CODE
            depth[view, v, u] = best
            what[view, v, u] = code
        tile = view * tiles_per_camera + (v / TILE) * tile_columns + first / TILE
        window = windows[c, v, first / TILE]
        for k in range(tiles.solids[tile]):
            p = int(tiles.solid[tile, k])
            if not overlap(bounds.solid[view, p], window):
                continue
            body = parts.body[o, p]
            near = bounds.near[view, p]
            away = eye - wp.vec3(body.place[0] + body.drift[0] * lag, body.place[1] + body.drift[1] * lag, 0.0)
            origin = to_part(away, body.place)
            for u in range(first, last):
                best = depth[view, v, u]
                if near < best:
                    d = rays[c, v, u]
                    if wp.static(full):
                        d = turned(d, turn_cos, turn_sin)
                    t = hit_part(origin, to_part(d, body.place), body)
                    if t < best:
                        depth[view, v, u] = t
                        what[view, v, u] = p
        sun = turned(lights[o].sun, frame[2], -frame[3])
        for k in range(tiles.shadows[tile]):
            p = int(tiles.shadow[tile, k])
            if not overlap(bounds.shadow[view, p], window):
                continue
            body = parts.body[o, p]
            away = eye - wp.vec3(body.place[0] + body.drift[0] * lag, body.place[1] + body.drift[1] * lag, 0.0)
            origin = to_part(away, body.place)
            up = to_part(sun, body.place)
            for u in range(first, last):
                if what[view, v, u] == GROUND_CODE:
                    d = rays[c, v, u]
                    if wp.static(full):
                        d = turned(d, turn_cos, turn_sin)
                    start = origin + depth[view, v, u] * to_part(d, body.place)
                    if hit_part(wp.vec3(start[0], start[1], -0.01), up, body) < NO_HIT:
                        what[view, v, u] = SHADED_CODE

    return see


def _shade(full: bool) -> wp.Kernel:
    """Return the shading kernel; only the ``full`` kernel has a mesh, rain, rolling shutter and image effects."""

    @wp.kernel(enable_backward=False, module="unique")
    def shade(
        rays: wp.array3d(dtype=wp.vec3),
        eyes: wp.array(dtype=wp.vec3),
        pixel_angle: wp.array(dtype=wp.float32),
        run: int,
        observers: wp.array(dtype=Observer),
        velocity: wp.array2d(dtype=wp.vec2),
        step: wp.array(dtype=wp.int32),
        turn_rate: wp.array(dtype=wp.float32),
        lights: wp.array(dtype=Light),
        grounds: wp.array(dtype=Ground),
        mesh: Mesh,
        how: Imaging,
        appearance: Appearance,
        parts: Parts,
        pictures: Pictures,
    ):
        """Write colour, class and owner of the s-th ``run`` of row v of a view from the content in ``instance``."""
        view, v, s = wp.tid()
        cameras = eyes.shape[0]
        o = view / cameras
        c = view - o * cameras
        eye = eyes[c]
        frame = parts.frame[o]
        lag = float(0.0)
        turn_cos = float(1.0)
        turn_sin = float(0.0)
        if wp.static(full):
            lag = lag_of(v, rays.shape[1], how.readout)
            turn_cos = wp.cos(turn_rate[o] * lag)
            turn_sin = wp.sin(turn_rate[o] * lag)
            eye = moved_eye(eye, turn_cos, turn_sin, velocity[observers[o].world, observers[o].agent], lag)
        light = lights[o]
        sun = turned(light.sun, frame[2], -frame[3])
        first = s * run
        for u in range(first, wp.min(first + run, rays.shape[2])):
            d = rays[c, v, u]
            if wp.static(full):
                d = turned(d, turn_cos, turn_sin)
            hit = pictures.instance[view, v, u]
            best = pictures.depth[view, v, u]
            label = int(SKY_CLASS)
            owner = int(-1)
            colour = wp.vec3(0.0, 0.0, 0.0)
            if hit == SKY_CODE:
                colour = sky(turned(d, frame[2], frame[3]), light)
                pictures.depth[view, v, u] = wp.inf
            else:
                diffuse = light.diffuse
                point = eye + best * d
                normal = wp.vec3(0.0, 0.0, 1.0)
                glow = float(0.0)
                if hit >= 0:
                    body = parts.body[o, hit]
                    local = to_part(d, body.place)
                    drift = wp.vec3(body.drift[0] * lag, body.drift[1] * lag, 0.0)
                    spot = to_part(point - wp.vec3(body.place[0], body.place[1], 0.0) - drift, body.place)
                    face = hit_face(spot, local, body)
                    normal = from_part(face_normal(face, body.lean), body.place)
                    owner = appearance.owner[body.row]
                    state = int(0)
                    if owner < -1:
                        me = observers[o]
                        now = wp.min(step[me.world], me.signal_steps - 1)
                        state = appearance.signals[me.signal_row + (-2 - owner) * me.signal_steps + now]
                    tint = wp.where(owner > 0, owner - 1, owner)
                    night = light.headlights
                    painted = paint(
                        appearance.surface[body.row],
                        appearance.colour[body.row],
                        face,
                        spot,
                        body.half,
                        body.z,
                        tint,
                        state,
                        night,
                    )
                    colour = wp.vec3(painted[0], painted[1], painted[2])
                    glow = painted[3]
                    label = appearance.semantic[body.row]
                elif hit <= MESH_CODE:
                    colour = mesh.colours[MESH_CODE - hit]
                    label = OTHER_CLASS
                else:
                    wx = frame[0] + frame[2] * point[0] - frame[3] * point[1]
                    wy = frame[1] + frame[3] * point[0] + frame[2] * point[1]
                    footprint = best * pixel_angle[c] / wp.sqrt(wp.max(-d[2], 0.02))
                    texel = sample_ground(grounds, observers[o].ground, wx, wy, footprint)
                    colour = unpack(texel) * (1.0 - 0.3 * light.wet)
                    label = class_of(texel)
                    if hit == SHADED_CODE:
                        diffuse = 0.0
                lit = light.ambient * (0.8 + 0.2 * normal[2]) + diffuse * wp.max(wp.dot(normal, sun), 0.0)
                if hit <= MESH_CODE:
                    lit = light.ambient + 0.7 * diffuse * mesh_slant(
                        mesh.id, MESH_CODE - hit, turned(d, frame[2], frame[3])
                    )
                if light.headlights > 0.0:
                    lit = lit + headlight(point, light.headlights) * wp.max(-wp.dot(normal, d), 0.25)
                haze = wp.exp(-best * light.haze)
                colour = colour * ((lit * (1.0 - glow) + glow) * haze) + light.horizon * (1.0 - haze)
            if wp.static(full):
                me = observers[o]
                height = float(rays.shape[1])
                key = mix(me.key, wp.uint32(step[me.world]))
                colour = develop(colour, float(u) / height, float(v) / height, c, me.key, key, light, how)
                if how.noise > 0.0:
                    pixel = mix(key, wp.uint32((c * rays.shape[1] + v) * rays.shape[2] + u))
                    level = how.noise * wp.sqrt(0.1 + wp.max((colour[0] + colour[1] + colour[2]) / 3.0, 0.0))
                    colour = colour + level * wp.vec3(
                        gaussian(pixel), gaussian(mix(pixel, wp.uint32(1))), gaussian(mix(pixel, wp.uint32(2)))
                    )
            pictures.rgb[view, v, u] = wp.vec3ub(to_byte(colour[0]), to_byte(colour[1]), to_byte(colour[2]))
            pictures.semantic[view, v, u] = wp.uint8(label)
            if owner == 0:
                owner = EGO_INSTANCE + 1
            pictures.instance[view, v, u] = wp.where(owner > 0, owner - 1, owner)

    return shade


see_plain, see_full = _see(False), _see(True)
shade_plain, shade_full = _shade(False), _shade(True)
