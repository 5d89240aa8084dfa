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


@wp.kernel
def cast(
    rays: wp.array3d(dtype=wp.vec3),
    eyes: wp.array(dtype=wp.vec3),
    tile_rows: int,
    tile_columns: int,
    columns: int,
    tiles_per_sensor: int,
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
        at = parts.frame[o]
        forward = turned(d, at[2], at[3])
        start = turned(eye, at[2], at[3]) + wp.vec3(at[0], at[1], 0.0)
        found = wp.mesh_query_ray(mesh, start, forward, best)
        if found.result:
            best = found.t
            cosine = wp.abs(wp.dot(found.normal, forward))
            label = OTHER
            owner = -1
    hit = int(-1)
    tile = o * tiles_per_sensor + (r / tile_rows) * columns + k / tile_columns
    for i in range(tiles.solids[tile]):
        p = int(tiles.solid[tile, i])
        if bounds.near[o, p] < best:
            body = parts.body[o, p]
            t = hit_part(bounds.origin[o, p], to_part(d, body.place), body)
            if t < best:
                best = t
                hit = p
    if hit >= 0:
        body = parts.body[o, hit]
        local = to_part(d, body.place)
        side = hit_face(bounds.origin[o, hit] + best * local, local, body)
        cosine = -wp.dot(face_normal(side, body.lean), local)
        label = looks.semantic[body.row]
        owner = looks.owner[body.row]
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
