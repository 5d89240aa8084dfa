# mypy: ignore-errors
# ruff: noqa: RUF046, UP018 (kernels know no `in`, and a variable that a loop changes is made by a call)
"""The lidar's kernels: what each shot hits, how strong the echo is, whether it is seen."""

from alpamayo_sim.sensors.part_kernel import (
    NO_HIT,
    Bounds,
    Looks,
    Observer,
    Parts,
    Tiles,
    face_normal,
    gaussian,
    hit_part,
    mix,
    to_part,
    uniform,
)
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

SKY, ROAD, OTHER = 0, 4, 22  # of Semantic
EGO_INSTANCE = wp.constant(1 << 20)


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
    """What comes back, by observer, ring and column."""

    range: wp.array3d(dtype=wp.float32)
    intensity: wp.array3d(dtype=wp.float32)
    semantic: wp.array3d(dtype=wp.uint8)
    instance: wp.array3d(dtype=wp.int32)


@wp.func
def to_world(v: wp.vec3, pose: wp.vec3, shift: float) -> wp.vec3:
    """A direction (``shift`` 0) or a point (1) of the observer's frame in the world's."""
    c = wp.cos(pose[2])
    s = wp.sin(pose[2])
    return wp.vec3(c * v[0] - s * v[1] + shift * pose[0], s * v[0] + c * v[1] + shift * pose[1], v[2])


@wp.kernel
def cast(
    rays: wp.array3d(dtype=wp.vec3),
    eyes: wp.array(dtype=wp.vec3),
    tile_rows: int,
    tile_columns: int,
    columns: int,
    tiles_per_sensor: int,
    observers: wp.array(dtype=Observer),
    pose: wp.array2d(dtype=wp.vec3),
    ground: int,
    mesh: wp.uint64,
    looks: Looks,
    parts: Parts,
    bounds: Bounds,
    tiles: Tiles,
    limit: float,
    echoes: Echoes,
):
    """What shot (r, k) of observer o hits within ``limit`` (m); an infinite range where that is nothing.

    ``echoes.intensity`` is the cosine of incidence for now. ``ground`` 1 is a level ground; ``mesh``, if not 0, is
    a static scene in the world's axes.
    """
    o, r, k = wp.tid()
    d = rays[0, r, k]
    eye = eyes[0]
    best = float(limit)
    cosine = float(0.0)
    label = int(SKY)
    owner = int(-1)
    if ground > 0 and d[2] < 0.0:
        t = -eye[2] / d[2]
        if t < best:
            best = t
            cosine = -d[2]
            label = ROAD
    if mesh != wp.uint64(0):
        me = observers[o]
        at = pose[me.world, me.agent]
        forward = to_world(d, at, 0.0)
        found = wp.mesh_query_ray(mesh, to_world(eye, at, 1.0), forward, best)
        if found.result:
            best = found.t
            cosine = wp.abs(wp.dot(found.normal, forward))
            label = OTHER
            owner = -1
    tile = o * tiles_per_sensor + (r / tile_rows) * columns + k / tile_columns
    for i in range(tiles.solids[tile]):
        p = int(tiles.solid[tile, i])
        if bounds.near[o, p] < best:
            local = to_part(d, parts.place[o, p])
            t, side = hit_part(bounds.origin[o, p], local, parts.half[o, p], parts.z[o, p], parts.lean[o, p])
            if t < best:
                best = t
                cosine = -wp.dot(face_normal(side, parts.lean[o, p]), local)
                label = looks.semantic[parts.row[o, p]]
                owner = looks.owner[parts.row[o, p]]
    echoes.range[o, r, k] = wp.where(best < limit, best, wp.inf)
    echoes.intensity[o, r, k] = cosine
    echoes.semantic[o, r, k] = wp.uint8(label)
    if owner == 0:
        owner = EGO_INSTANCE + 1
    echoes.instance[o, r, k] = wp.where(owner > 0, owner - 1, owner)


@wp.kernel
def echo(
    beam: Beam,
    reflectivity: wp.array(dtype=wp.float32),
    extinction: wp.array(dtype=wp.float32),
    rain: wp.array(dtype=wp.float32),
    observers: wp.array(dtype=Observer),
    step: wp.array(dtype=wp.int32),
    echoes: Echoes,
):
    """Strength, loss and noise of each return, in place."""
    o, r, k = wp.tid()
    t = echoes.range[o, r, k]
    label = int(echoes.semantic[o, r, k])
    strength = reflectivity[label] * echoes.intensity[o, r, k]
    me = observers[o]
    key = mix(mix(me.key, wp.uint32(step[me.world])), wp.uint32(r * echoes.range.shape[2] + k))
    attenuation = wp.exp(-2.0 * extinction[o] * t)
    seen = strength * attenuation * beam.reach * beam.reach >= 0.1 * t * t
    if t >= NO_HIT or t < beam.min_range or not seen or uniform(key) < beam.dropout:
        echoes.range[o, r, k] = wp.inf
        echoes.intensity[o, r, k] = 0.0
        echoes.semantic[o, r, k] = wp.uint8(SKY)
        echoes.instance[o, r, k] = -1
        return
    dry = 1.0 - wp.exp(-rain[o])
    spread = wp.sqrt(beam.noise * beam.noise + 4.0e-4 * t * t * dry * dry * dry * dry)
    echoes.range[o, r, k] = wp.max(t + spread * gaussian(mix(key, wp.uint32(1))), 0.0)
    echoes.intensity[o, r, k] = strength * attenuation
