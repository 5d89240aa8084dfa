# mypy: ignore-errors
# ruff: noqa: RUF046, UP018 (kernels know no `in`, and a variable that a loop changes is made by a call)
"""Parts for cameras and lidars: their positions, their bounds in a view, the tiles they touch, ray hits.

A view is one camera or lidar of one observer. Everything is in the observer's frame (x forward, y left, z up, m).
Parts are upright boxes with sides that may lean inwards (``lean`` m per m of height). A tile is a rectangle of
neighbouring rays; it lists the parts that its rays may hit.
"""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

SIGHT_RANGE_M = wp.constant(300.0)  # parts further away are not drawn
NO_HIT = wp.constant(1.0e9)
MIX_1, MIX_2 = wp.constant(wp.uint32(0x85EBCA6B)), wp.constant(wp.uint32(0xC2B2AE35))
GOLDEN = wp.constant(wp.uint32(0x9E3779B1))
FRONT, REAR, LEFT, RIGHT, TOP, BOTTOM = 0, 1, 2, 3, 4, 5


@wp.struct
class Appearance:
    """The part tables of all scenes in sequence; ``owner`` is the agent in the state, -2 - i for signal i.

    ``fixed`` is x, y, heading of signals' parts.
    """

    owner: wp.array(dtype=wp.int32)
    still: wp.array(dtype=wp.int32)  # 1 for parts that never move: props and signals
    surface: wp.array(dtype=wp.int32)
    semantic: wp.array(dtype=wp.int32)
    along: wp.array(dtype=wp.float32)
    half: wp.array(dtype=wp.vec2)
    z: wp.array(dtype=wp.vec2)
    lean: wp.array(dtype=wp.vec2)
    colour: wp.array(dtype=wp.vec3)
    fixed: wp.array(dtype=wp.vec3)
    signals: wp.array(dtype=wp.int32)  # states by signal and step


@wp.struct
class Observer:
    """An observer: world and agent, its scene's rows of the appearance and of the signals, and the key of its noise."""

    world: wp.int32
    agent: wp.int32
    row: wp.int32
    rows: wp.int32
    signal_row: wp.int32
    signal_steps: wp.int32
    ground: wp.int32
    has_levels: wp.int32  # whether heights count: a map of one level is drawn flat
    key: wp.uint32


@wp.struct
class Body:
    """A part in an observer's frame. ``place`` is x, y, cos, sin of its heading, ``drift`` its velocity (m/s)."""

    place: wp.vec4
    half: wp.vec2
    z: wp.vec2
    lean: wp.vec2
    drift: wp.vec2
    row: wp.int32


@wp.struct
class Parts:
    """The parts that each observer may see, from near to far. ``frame`` is the observer's x, y, cos, sin."""

    frame: wp.array(dtype=wp.vec4)
    count: wp.array(dtype=wp.int32)
    row: wp.array2d(dtype=wp.int32)
    distance: wp.array2d(dtype=wp.float32)
    body: wp.array2d(dtype=Body)


@wp.struct
class Bounds:
    """Bounds of part p in a view: azimuth centre and half width, least and largest elevation (rad)."""

    origin: wp.array2d(dtype=wp.vec3)  # of the view, in the part's frame
    solid: wp.array2d(dtype=wp.vec4)
    shadow: wp.array2d(dtype=wp.vec4)
    near: wp.array2d(dtype=wp.float32)  # m


@wp.struct
class Tiles:
    """The parts and the shadows that each tile of each view may show; ``window`` is as in ``Bounds``."""

    window: wp.array(dtype=wp.vec4)
    solid: wp.array2d(dtype=wp.uint16)
    shadow: wp.array2d(dtype=wp.uint16)
    solids: wp.array(dtype=wp.int32)
    shadows: wp.array(dtype=wp.int32)


@wp.func
def span(a: float, centre: float) -> float:
    """Return an angle relative to ``centre``, wrapped to [-pi, pi)."""
    d = a - centre + 3.14159265
    return d - wp.floor(d / 6.2831853) * 6.2831853 - 3.14159265


@wp.func
def turned(v: wp.vec3, c: float, s: float) -> wp.vec3:
    """Return a vector turned about z by an angle (cosine, sine)."""
    return wp.vec3(c * v[0] - s * v[1], s * v[0] + c * v[1], v[2])


@wp.kernel
def sort_parts(
    observers: wp.array(dtype=Observer),
    appearance: Appearance,
    pose: wp.array2d(dtype=wp.vec3),
    valid: wp.array2d(dtype=wp.bool),
    moving_only: bool,
    capacity: int,
    parts: Parts,
):
    """List the parts that are present and in range of observer o, at most ``capacity``, the nearest first."""
    o = wp.tid()
    me = observers[o]
    eye = pose[me.world, me.agent]
    parts.frame[o] = wp.vec4(eye[0], eye[1], wp.cos(eye[2]), wp.sin(eye[2]))
    n = int(0)
    for k in range(me.rows):
        row = me.row + k
        owner = appearance.owner[row]
        there = owner != me.agent
        at = appearance.fixed[row]
        if owner >= 0 and there:
            there = valid[me.world, owner]
            at = pose[me.world, owner]
        if moving_only and appearance.still[row] > 0:
            there = False
        if there:
            x = at[0] + wp.cos(at[2]) * appearance.along[row] - eye[0]
            y = at[1] + wp.sin(at[2]) * appearance.along[row] - eye[1]
            distance = wp.sqrt(x * x + y * y) - wp.length(appearance.half[row])
            if distance < SIGHT_RANGE_M and (n < capacity or distance < parts.distance[o, capacity - 1]):
                at_place = int(wp.min(n, capacity - 1))
                while at_place > 0 and parts.distance[o, wp.max(at_place - 1, 0)] > distance:
                    parts.distance[o, at_place] = parts.distance[o, at_place - 1]
                    parts.row[o, at_place] = parts.row[o, at_place - 1]
                    at_place -= 1
                parts.distance[o, at_place] = distance
                parts.row[o, at_place] = row
                n = wp.min(n + 1, capacity)
    parts.count[o] = n


@wp.kernel
def place_parts(
    observers: wp.array(dtype=Observer),
    appearance: Appearance,
    pose: wp.array2d(dtype=wp.vec3),
    velocity: wp.array2d(dtype=wp.vec2),
    elevation: wp.array2d(dtype=wp.float32),
    parts: Parts,
):
    """Copy what observer o needs of part p, in its own frame."""
    o, p = wp.tid()
    if p >= parts.count[o]:
        return
    me = observers[o]
    eye = pose[me.world, me.agent]
    row = parts.row[o, p]
    owner = appearance.owner[row]
    at = appearance.fixed[row]
    speed = wp.vec2(0.0, 0.0)
    if owner >= 0:
        at = pose[me.world, owner]
        speed = velocity[me.world, owner]
    c = parts.frame[o][2]
    s = parts.frame[o][3]
    x = at[0] + wp.cos(at[2]) * appearance.along[row] - eye[0]
    y = at[1] + wp.sin(at[2]) * appearance.along[row] - eye[1]
    turn = at[2] - eye[2]
    body = Body()
    body.place = wp.vec4(c * x + s * y, c * y - s * x, wp.cos(turn), wp.sin(turn))
    body.drift = wp.vec2(c * speed[0] + s * speed[1], c * speed[1] - s * speed[0])
    body.half = appearance.half[row]
    body.z = appearance.z[row]
    if owner >= 0 and me.has_levels != 0:
        above = elevation[me.world, owner] - elevation[me.world, me.agent]
        body.z = body.z + wp.vec2(above, above)
    body.lean = appearance.lean[row]
    body.row = row
    parts.body[o, p] = body


@wp.kernel
def bound_parts(
    eyes: wp.array(dtype=wp.vec3),
    observers: wp.array(dtype=Observer),
    velocity: wp.array2d(dtype=wp.vec2),
    turn_rate: wp.array(dtype=wp.float32),
    suns: wp.array(dtype=wp.vec3),
    readout: float,
    parts: Parts,
    bounds: Bounds,
):
    """Fill ``bounds`` for sensor c of observer o and part p, with room for all motion during ``readout`` (s).

    ``suns`` are in the world's axes; one that is not up casts no shadow.
    """
    o, c, p = wp.tid()
    if p >= parts.count[o]:
        return
    me = observers[o]
    frame = parts.frame[o]
    eye = eyes[c]
    view = o * eyes.shape[0] + c
    body = parts.body[o, p]
    place = body.place
    z = body.z
    turn = 0.5 * readout * wp.abs(turn_rate[o])
    slack = 0.5 * readout * (wp.length(velocity[me.world, me.agent]) + wp.length(body.drift))
    slack += turn * wp.length(wp.vec2(eye[0], eye[1]))
    half = body.half + wp.vec2(slack, slack)
    dx = eye[0] - place[0]
    dy = eye[1] - place[1]
    ox = place[2] * dx + place[3] * dy
    oy = -place[3] * dx + place[2] * dy
    bounds.origin[view, p] = wp.vec3(ox, oy, eye[2])
    gap_x = wp.max(wp.abs(ox) - half[0], 0.0)
    gap_y = wp.max(wp.abs(oy) - half[1], 0.0)
    near = wp.sqrt(gap_x * gap_x + gap_y * gap_y)
    far = wp.length(wp.vec2(wp.abs(ox) + half[0], wp.abs(oy) + half[1]))
    bounds.near[view, p] = near
    middle = wp.atan2(-dy, -dx)
    low = float(0.0)
    high = float(0.0)
    low_shadow = float(0.0)
    high_shadow = float(0.0)
    sun = turned(suns[o], frame[2], -frame[3])
    length = wp.max(z[1], 0.0) / wp.max(sun[2], 0.05)
    shift = wp.vec2(-sun[0] * length, -sun[1] * length)
    for k in range(4):
        sx = half[0]
        sy = half[1]
        if k == 1 or k == 2:
            sx = -sx
        if k >= 2:
            sy = -sy
        x = place[2] * sx - place[3] * sy - dx
        y = place[3] * sx + place[2] * sy - dy
        a = span(wp.atan2(y, x), middle)
        low = wp.min(low, a)
        high = wp.max(high, a)
        if sun[2] > 0.0:
            b = span(wp.atan2(y + shift[1], x + shift[0]), middle)
            low_shadow = wp.min(low_shadow, b)
            high_shadow = wp.max(high_shadow, b)
    low_shadow = wp.min(low, low_shadow)
    high_shadow = wp.max(high, high_shadow)
    up = z[1] - eye[2]
    down = z[0] - eye[2]
    top = wp.atan2(up, wp.where(up > 0.0, near, far))
    bottom = wp.atan2(down, wp.where(down < 0.0, near, far))
    wider = turn + 1.0e-4
    if near <= 0.0:
        bounds.solid[view, p] = wp.vec4(0.0, 4.0, -2.0, 2.0)
    else:
        bounds.solid[view, p] = wp.vec4(middle + 0.5 * (low + high), 0.5 * (high - low) + wider, bottom, top)
    if sun[2] <= 0.0:
        bounds.shadow[view, p] = wp.vec4(0.0, -9.0, 2.0, -2.0)  # meets nothing
        return
    reach = wp.length(shift)
    around = wp.length(half) + 0.5 * reach
    mid = wp.vec2(0.5 * shift[0] - dx, 0.5 * shift[1] - dy)
    near_shadow = wp.length(mid) - around
    furthest = wp.atan2(-eye[2], wp.length(mid) + around)
    if near_shadow <= 0.5:
        bounds.shadow[view, p] = wp.vec4(0.0, 4.0, -2.0, furthest)
    else:
        bounds.shadow[view, p] = wp.vec4(
            middle + 0.5 * (low_shadow + high_shadow),
            0.5 * (high_shadow - low_shadow) + wider,
            wp.atan2(-eye[2], near_shadow),
            furthest,
        )


@wp.func
def overlap(a: wp.vec4, b: wp.vec4) -> bool:
    """Return whether two ranges of azimuth and elevation overlap."""
    apart = wp.abs(span(a[0], b[0]))
    return apart <= a[1] + b[1] and a[2] <= b[3] and b[2] <= a[3]


@wp.kernel
def bin_parts(parts: Parts, sensors: int, tiles_per_sensor: int, bounds: Bounds, tiles: Tiles):
    """List the parts and shadows of tile t of observer o, keeping the order from near to far."""
    o, t = wp.tid()
    view = o * sensors + t / tiles_per_sensor
    row = o * sensors * tiles_per_sensor + t
    window = tiles.window[t]
    n = int(0)
    m = int(0)
    for p in range(parts.count[o]):
        if overlap(bounds.solid[view, p], window):
            tiles.solid[row, n] = wp.uint16(p)
            n += 1
        if overlap(bounds.shadow[view, p], window):
            tiles.shadow[row, m] = wp.uint16(p)
            m += 1
    tiles.solids[row] = n
    tiles.shadows[row] = m


@wp.func
def crossing(distance: float, approach: float) -> float:
    """Return the range at which a ray meets a plane; the distance to the plane falls by ``-approach`` per metre."""
    return distance / wp.where(wp.abs(approach) < 1.0e-9, 1.0e-9, approach)


@wp.func
def hit_part(origin: wp.vec3, d: wp.vec3, body: Body) -> float:
    """Return the distance (m) along unit ``d`` (part's frame) to a part; ``NO_HIT`` for a miss or a start inside.

    A point is inside of the plane of a side where o + t v <= h - t slope; a ray enters through the sides that it
    comes nearer to and leaves through the others. Without branches: it is the innermost loop of all.
    """
    rise = origin[2] - body.z[0]
    hx = body.half[0] - body.lean[0] * rise
    hy = body.half[1] - body.lean[1] * rise
    slope_x = body.lean[0] * d[2]
    slope_y = body.lean[1] * d[2]
    front = slope_x + d[0]
    rear = slope_x - d[0]
    left = slope_y + d[1]
    right = slope_y - d[1]
    a = crossing(hx - origin[0], front)
    b = crossing(hx + origin[0], rear)
    c = crossing(hy - origin[1], left)
    e = crossing(hy + origin[1], right)
    f = crossing(body.z[0] - origin[2], d[2])
    g = crossing(body.z[1] - origin[2], d[2])
    enter = wp.max(wp.where(front < 0.0, a, -NO_HIT), wp.where(rear < 0.0, b, -NO_HIT))
    enter = wp.max(enter, wp.max(wp.where(left < 0.0, c, -NO_HIT), wp.where(right < 0.0, e, -NO_HIT)))
    enter = wp.max(enter, wp.min(f, g))
    leave = wp.min(wp.where(front < 0.0, NO_HIT, a), wp.where(rear < 0.0, NO_HIT, b))
    leave = wp.min(leave, wp.min(wp.where(left < 0.0, NO_HIT, c), wp.where(right < 0.0, NO_HIT, e)))
    leave = wp.min(leave, wp.max(f, g))
    return wp.where(enter > leave or enter <= 0.0, NO_HIT, enter)


@wp.func
def hit_face(at: wp.vec3, d: wp.vec3, body: Body) -> int:
    """Return the side through which a ray along ``d`` enters a part at point ``at`` (part's frame)."""
    rise = at[2] - body.z[0]
    gap_x = body.half[0] - body.lean[0] * rise - wp.abs(at[0])
    gap_y = body.half[1] - body.lean[1] * rise - wp.abs(at[1])
    gap_z = wp.min(wp.abs(at[2] - body.z[0]), wp.abs(at[2] - body.z[1]))
    if gap_z < wp.min(gap_x, gap_y):
        return wp.where(d[2] < 0.0, 4, 5)
    if gap_x < gap_y:
        return wp.where(at[0] > 0.0, 0, 1)
    return wp.where(at[1] > 0.0, 2, 3)


@wp.func
def face_normal(face: int, lean: wp.vec2) -> wp.vec3:
    """Return the outward unit normal of a part's side, in its frame."""
    if face == FRONT:
        return wp.normalize(wp.vec3(1.0, 0.0, lean[0]))
    if face == REAR:
        return wp.normalize(wp.vec3(-1.0, 0.0, lean[0]))
    if face == LEFT:
        return wp.normalize(wp.vec3(0.0, 1.0, lean[1]))
    if face == RIGHT:
        return wp.normalize(wp.vec3(0.0, -1.0, lean[1]))
    return wp.vec3(0.0, 0.0, wp.where(face == BOTTOM, -1.0, 1.0))


@wp.func
def from_part(v: wp.vec3, place: wp.vec4) -> wp.vec3:
    """Return a direction of a part's frame in the observer's frame."""
    return wp.vec3(place[2] * v[0] - place[3] * v[1], place[3] * v[0] + place[2] * v[1], v[2])


@wp.func
def to_part(v: wp.vec3, place: wp.vec4) -> wp.vec3:
    """Return a direction of the observer's frame in a part's frame."""
    return wp.vec3(place[2] * v[0] + place[3] * v[1], place[2] * v[1] - place[3] * v[0], v[2])


@wp.func
def mix(h: wp.uint32, value: wp.uint32) -> wp.uint32:
    """Return a hash of a hash and one more number (the finaliser of MurmurHash3)."""
    x = h ^ (value * GOLDEN)
    x = (x ^ (x >> wp.uint32(16))) * MIX_1
    x = (x ^ (x >> wp.uint32(13))) * MIX_2
    return x ^ (x >> wp.uint32(16))


@wp.func
def uniform(h: wp.uint32) -> float:
    """Return a hash as a number in (0, 1)."""
    return (float(h >> wp.uint32(8)) + 0.5) * 5.9604645e-8


@wp.func
def gaussian(h: wp.uint32) -> float:
    """Return a standard normal number of a hash (Box and Muller 1958)."""
    radius = wp.sqrt(-2.0 * wp.log(uniform(h)))
    return radius * wp.cos(6.2831853 * uniform(mix(h, wp.uint32(0x51ED270B))))
