# mypy: ignore-errors

"""The lidar's kernels: the hit of each shot, the strength of its echo, its detection."""

from alpamayo_sim.sensors.kernels.ground import Ground, class_of, sample_ground
from alpamayo_sim.sensors.kernels.parts import (
    NO_HIT,
    Appearance,
    Bounds,
    Observer,
    Parts,
    Tiles,
    face_normal,
    gaussian,
    hit_face,
    hit_part,
    mix,
    to_part,
    turned,
    uniform,
)
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

SKY, ROAD, OTHER = 0, 4, 22  # of Semantic
EGO_INSTANCE = wp.constant(1 << 20)
SHOT_FOOTPRINT_M = wp.constant(0.1)  # m of the ground that a shot lights up
SHOTS_PER_THREAD = wp.constant(16)  # shots of a thread of ``take``
PART_CODE = wp.constant(-1000000)  # less the part's number, in place of an instance until it is known


@wp.struct
class Beam:
    """A lidar's numbers; see ``lidar.Lidar``."""

    min_range: wp.float32
    max_range: wp.float32
    reach: wp.float32
    noise: wp.float32
    dropout: wp.float32


@wp.struct
class Echoes:
    """Echoes by observer, ring and column."""

    range: wp.array3d(dtype=wp.float32)
    intensity: wp.array3d(dtype=wp.float32)
    semantic: wp.array3d(dtype=wp.uint8)
    instance: wp.array3d(dtype=wp.int32)


@wp.func
def set_echo(echoes: Echoes, o: int, r: int, k: int, distance: float, cosine: float, label: int, owner: int):
    """Write a return; agents count from 0 in the state, the ego being 0, and in ``Agents`` from the first other."""
    row = owner
    if owner > 0:
        row = owner - 1
    elif owner == 0:
        row = EGO_INSTANCE
    echoes.range[o, r, k] = distance
    echoes.intensity[o, r, k] = cosine
    echoes.semantic[o, r, k] = wp.uint8(label)
    echoes.instance[o, r, k] = row


@wp.kernel
def aim(
    directions: wp.array(dtype=wp.vec3),
    eye: wp.vec3,
    pose: wp.array2d(dtype=wp.vec3),
    world: int,
    agent: int,
    rays: wp.array2d(dtype=wp.float32),
):
    """Write origin and direction of an observer's shots in the world, in Open3D's form."""
    i = wp.tid()
    at = pose[world, agent]
    c = wp.cos(at[2])
    s = wp.sin(at[2])
    start = turned(eye, c, s)
    d = turned(directions[i], c, s)
    rays[i, 0] = start[0] + at[0]
    rays[i, 1] = start[1] + at[1]
    rays[i, 2] = start[2]
    rays[i, 3] = d[0]
    rays[i, 4] = d[1]
    rays[i, 5] = d[2]


@wp.kernel
def take(
    o: int,
    distance: wp.array(dtype=wp.float32),
    normal: wp.array(dtype=wp.vec3),
    primitive: wp.array(dtype=wp.uint32),
    part: wp.array(dtype=wp.int32),
    rays: wp.array2d(dtype=wp.float32),
    observers: wp.array(dtype=Observer),
    appearance: Appearance,
    otherwise: int,
    echoes: Echoes,
):
    """Copy Open3D's hits of observer o; triangles without a part are of class ``otherwise``."""
    r, s = wp.tid()
    for k in range(s * SHOTS_PER_THREAD, wp.min(s * SHOTS_PER_THREAD + SHOTS_PER_THREAD, echoes.range.shape[2])):
        i = r * echoes.range.shape[2] + k
        t = distance[i]
        set_echo(echoes, o, r, k, t, 0.0, SKY, -1)
        if t < NO_HIT:
            cosine = wp.abs(wp.dot(normal[i], wp.vec3(rays[i, 3], rays[i, 4], rays[i, 5])))
            row = part[int(primitive[i])]
            if row < 0:
                set_echo(echoes, o, r, k, t, cosine, otherwise, -1)
            else:
                row += observers[o].row
                set_echo(echoes, o, r, k, t, cosine, appearance.semantic[row], appearance.owner[row])


@wp.func
def echo(
    beam: Beam,
    reflectivity: float,
    extinction: float,
    rain: float,
    key: wp.uint32,
    echoes: Echoes,
    o: int,
    r: int,
    k: int,
):
    """Apply strength, loss and noise to a return, in place; see ``sensors.lidar``."""
    t = echoes.range[o, r, k]
    strength = reflectivity * echoes.intensity[o, r, k]
    if extinction > 0.0:
        strength = strength * wp.exp(-2.0 * extinction * t)
    seen = strength * beam.reach * beam.reach >= 0.1 * t * t
    if t > beam.max_range or t < beam.min_range or not seen or uniform(key) < beam.dropout:
        set_echo(echoes, o, r, k, wp.inf, 0.0, SKY, -1)
        return
    spread = beam.noise
    if rain > 0.0:
        wet = (1.0 - wp.exp(-rain)) * (1.0 - wp.exp(-rain))
        spread = wp.sqrt(beam.noise * beam.noise + 4.0e-4 * t * t * wet * wet)
    if spread > 0.0:
        echoes.range[o, r, k] = wp.max(t + spread * gaussian(mix(key, wp.uint32(1))), 0.0)
    echoes.intensity[o, r, k] = strength


@wp.kernel
def scan(
    rays: wp.array3d(dtype=wp.vec3),
    eyes: wp.array(dtype=wp.vec3),
    run: int,
    tile_rows: int,
    tile_columns: int,
    columns: int,
    tiles_per_sensor: int,
    observers: wp.array(dtype=Observer),
    step: wp.array(dtype=wp.int32),
    ground: int,
    mesh: wp.uint64,
    go_on: bool,
    markings: bool,
    grounds: wp.array(dtype=Ground),
    appearance: Appearance,
    parts: Parts,
    bounds: Bounds,
    tiles: Tiles,
    beam: Beam,
    reflectivity: wp.array(dtype=wp.float32),
    extinction: wp.array(dtype=wp.float32),
    rain: wp.array(dtype=wp.float32),
    echoes: Echoes,
):
    """Write the echoes of the s-th ``run`` of columns of ring r of observer o; without an echo the range is infinite.

    ``ground`` 1 is a level ground; ``mesh``, if not 0, is a static scene in the world's axes; ``go_on`` starts from
    what ``take`` has found instead. ``markings`` looks the class of the ground up. A part is tried on all shots of a
    run in turn; runs do not cross tiles.
    """
    o, r, s = wp.tid()
    eye = eyes[0]
    frame = parts.frame[o]
    me = observers[o]
    first = s * run
    last = wp.min(first + run, rays.shape[2])
    if not go_on:
        for k in range(first, last):
            d = rays[0, r, k]
            set_echo(echoes, o, r, k, wp.inf, 0.0, SKY, -1)
            if ground > 0 and d[2] < 0.0:
                set_echo(echoes, o, r, k, -eye[2] / d[2], -d[2], ROAD, -1)
            if mesh != wp.uint64(0):
                forward = turned(d, frame[2], frame[3])
                start = turned(eye, frame[2], frame[3]) + wp.vec3(frame[0], frame[1], 0.0)
                found = wp.mesh_query_ray(mesh, start, forward, beam.max_range)
                if found.result:
                    set_echo(echoes, o, r, k, found.t, wp.abs(wp.dot(found.normal, forward)), OTHER, -1)
    tile = o * tiles_per_sensor + (r / tile_rows) * columns + first / tile_columns
    for i in range(tiles.solids[tile]):
        p = int(tiles.solid[tile, i])
        body = parts.body[o, p]
        near = bounds.near[o, p]
        origin = bounds.origin[o, p]
        for k in range(first, last):
            best = echoes.range[o, r, k]
            if near < best:
                t = hit_part(origin, to_part(rays[0, r, k], body.place), body)
                if t < wp.min(best, NO_HIT):
                    echoes.range[o, r, k] = t
                    echoes.instance[o, r, k] = PART_CODE - p
    key = mix(me.key, wp.uint32(step[me.world]))
    for k in range(first, last):
        p = PART_CODE - echoes.instance[o, r, k]
        if p >= 0:
            body = parts.body[o, p]
            t = echoes.range[o, r, k]
            local = to_part(rays[0, r, k], body.place)
            side = hit_face(bounds.origin[o, p] + t * local, local, body)
            cosine = -wp.dot(face_normal(side, body.lean), local)
            set_echo(echoes, o, r, k, t, cosine, appearance.semantic[body.row], appearance.owner[body.row])
        elif markings and int(echoes.semantic[o, r, k]) == ROAD:
            spot = turned(eye + echoes.range[o, r, k] * rays[0, r, k], frame[2], frame[3])
            texel = sample_ground(grounds, me.ground, spot[0] + frame[0], spot[1] + frame[1], SHOT_FOOTPRINT_M)
            echoes.semantic[o, r, k] = wp.uint8(class_of(texel))
        rho = reflectivity[int(echoes.semantic[o, r, k])]
        shot = mix(key, wp.uint32(r * rays.shape[2] + k))
        echo(beam, rho, extinction[o], rain[o], shot, echoes, o, r, k)
