# mypy: ignore-errors
# ruff: noqa: RUF046, SIM109, UP018 (kernels know no `in`, and a variable that a loop changes is made by a call)
"""The kernels of the cameras: what each part covers, which tiles it touches, what each pixel sees.

Everything is in the ego frame (x forward, y left, z up, m); only the ground's texture is looked up in the world.
Parts are upright boxes with sides that may lean inwards (``lean`` m per m of height), given as separate arrays.
"""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

TILE = 16  # pixels a side
FAR = 600.0  # m
NO_HIT = 1.0e9

# surfaces.Surface, repeated as constants because kernels read plain module constants
CAR_BODY, CABIN, CARGO, BUS, STRIPES, CONE = 1, 2, 3, 4, 5, 6
BUILDING, LEAVES, DEBRIS, PERSON, SIGNAL, FUR = 7, 8, 9, 10, 11, 12
SKY_CLASS, TERRAIN_CLASS = 0, 1
FRONT, REAR, LEFT, RIGHT, TOP, BOTTOM = 0, 1, 2, 3, 4, 5


@wp.struct
class Parts:
    """The parts of one world, sorted from near to far. ``place`` is x, y, cos, sin of the heading."""

    place: wp.array(dtype=wp.vec4)
    half: wp.array(dtype=wp.vec2)
    z: wp.array(dtype=wp.vec2)
    lean: wp.array(dtype=wp.vec2)
    colour: wp.array(dtype=wp.vec3)
    surface: wp.array(dtype=wp.int32)
    semantic: wp.array(dtype=wp.int32)
    owner: wp.array(dtype=wp.int32)
    state: wp.array(dtype=wp.int32)


@wp.struct
class Bounds:
    """What part p covers in camera c: azimuth centre and half width, elevation low and high (rad)."""

    origin: wp.array2d(dtype=wp.vec3)  # camera in the part's frame
    solid: wp.array2d(dtype=wp.vec4)
    shadow: wp.array2d(dtype=wp.vec4)
    near: wp.array2d(dtype=wp.float32)  # m


@wp.struct
class Tiles:
    """Which parts, and which shadows, each tile of each camera may show."""

    bounds: wp.array(dtype=wp.vec4)  # as in Bounds
    solid: wp.array2d(dtype=wp.int32)
    shadow: wp.array2d(dtype=wp.int32)
    solids: wp.array(dtype=wp.int32)
    shadows: wp.array(dtype=wp.int32)


@wp.struct
class Ground:
    """Pages of the ground's texture; see ``ground.GroundTexture``."""

    pages: wp.array(dtype=wp.uint32)
    table: wp.array(dtype=wp.int32)
    offset: wp.array(dtype=wp.int32)
    columns: wp.array(dtype=wp.int32)
    rows: wp.array(dtype=wp.int32)
    corner: wp.vec2
    texel: wp.float32
    page: wp.int32


@wp.struct
class Light:
    """Sun direction (ego frame), shares of diffuse and ambient light, colours, haze per m, headlights."""

    sun: wp.vec3
    diffuse: wp.float32
    ambient: wp.float32
    horizon: wp.vec3
    zenith: wp.vec3
    terrain: wp.vec3
    haze: wp.float32
    headlights: wp.float32
    wet: wp.float32


@wp.func
def span(a: float, centre: float) -> float:
    """Angle ``a`` relative to ``centre``, wrapped to [-pi, pi)."""
    d = a - centre + 3.14159265
    return d - wp.floor(d / 6.2831853) * 6.2831853 - 3.14159265


@wp.kernel
def bound_parts(camera: wp.array(dtype=wp.vec3), parts: Parts, count: int, light: Light, bounds: Bounds):
    """Fill ``bounds`` for camera c and part p."""
    c, p = wp.tid()
    if p >= count:
        return
    eye = camera[c]
    place = parts.place[p]
    half = parts.half[p]
    z = parts.z[p]
    dx = eye[0] - place[0]
    dy = eye[1] - place[1]
    ox = place[2] * dx + place[3] * dy
    oy = -place[3] * dx + place[2] * dy
    bounds.origin[c, p] = wp.vec3(ox, oy, eye[2])
    gap_x = wp.max(wp.abs(ox) - half[0], 0.0)
    gap_y = wp.max(wp.abs(oy) - half[1], 0.0)
    near = wp.sqrt(gap_x * gap_x + gap_y * gap_y)
    far = wp.length(wp.vec2(wp.abs(ox) + half[0], wp.abs(oy) + half[1]))
    bounds.near[c, p] = near
    middle = wp.atan2(-dy, -dx)
    low = float(0.0)
    high = float(0.0)
    low_shadow = float(0.0)
    high_shadow = float(0.0)
    length = z[1] / wp.max(light.sun[2], 0.05)
    shift = wp.vec2(-light.sun[0] * length, -light.sun[1] * length)
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
        b = span(wp.atan2(y + shift[1], x + shift[0]), middle)
        low_shadow = wp.min(low_shadow, b)
        high_shadow = wp.max(high_shadow, b)
    low_shadow = wp.min(low, low_shadow)
    high_shadow = wp.max(high, high_shadow)
    up = z[1] - eye[2]
    down = z[0] - eye[2]
    top = wp.atan2(up, wp.where(up > 0.0, near, far))
    bottom = wp.atan2(down, wp.where(down < 0.0, near, far))
    if near <= 0.0:
        bounds.solid[c, p] = wp.vec4(0.0, 4.0, -2.0, 2.0)
    else:
        bounds.solid[c, p] = wp.vec4(middle + 0.5 * (low + high), 0.5 * (high - low) + 1.0e-4, bottom, top)
    reach = wp.length(shift)
    around = wp.length(half) + 0.5 * reach
    mid = wp.vec2(0.5 * shift[0] - dx, 0.5 * shift[1] - dy)
    near_shadow = wp.length(mid) - around
    if near_shadow <= 0.5:
        bounds.shadow[c, p] = wp.vec4(0.0, 4.0, -2.0, wp.atan2(-eye[2], wp.length(mid) + around))
    else:
        bounds.shadow[c, p] = wp.vec4(
            middle + 0.5 * (low_shadow + high_shadow),
            0.5 * (high_shadow - low_shadow) + 1.0e-4,
            wp.atan2(-eye[2], near_shadow),
            wp.atan2(-eye[2], wp.length(mid) + around),
        )


@wp.func
def overlap(a: wp.vec4, b: wp.vec4) -> bool:
    """Whether two ranges of azimuth and elevation meet."""
    apart = wp.abs(span(a[0], b[0]))
    return apart <= a[1] + b[1] and a[2] <= b[3] and b[2] <= a[3]


@wp.kernel
def bin_parts(parts: Parts, count: int, tiles_per_camera: int, shadows: int, bounds: Bounds, tiles: Tiles):
    """List the parts and shadows of tile t, keeping the order from near to far."""
    t = wp.tid()
    c = t / tiles_per_camera
    window = tiles.bounds[t]
    n = int(0)
    m = int(0)
    for p in range(count):
        if overlap(bounds.solid[c, p], window):
            tiles.solid[t, n] = p
            n += 1
        if shadows > 0 and overlap(bounds.shadow[c, p], window):
            tiles.shadow[t, m] = p
            m += 1
    tiles.solids[t] = n
    tiles.shadows[t] = m


@wp.func
def hit_part(origin: wp.vec3, d: wp.vec3, half: wp.vec2, z: wp.vec2, lean: wp.vec2):
    """Distance (m) to a part in its frame and the side that is hit; ``NO_HIT`` where it is missed.

    From inside the part nothing is hit.
    """
    enter = float(-NO_HIT)
    leave = float(NO_HIT)
    face = int(0)
    for axis in range(3):
        if axis == 2:
            dz = d[2]
            if wp.abs(dz) < 1.0e-9:
                dz = 1.0e-9
            inv = 1.0 / dz
            a = (z[0] - origin[2]) * inv
            b = (z[1] - origin[2]) * inv
            if wp.min(a, b) > enter:
                enter = wp.min(a, b)
                face = wp.where(dz < 0.0, 4, 5)
            leave = wp.min(leave, wp.max(a, b))
        else:
            k = lean[axis]
            h = half[axis] - k * (origin[2] - z[0])
            o = origin[axis]
            v = d[axis]
            slope = k * d[2]
            # +v side: o + t v <= h - t slope; -v side: -(o + t v) <= h - t slope
            g = v + slope
            if wp.abs(g) < 1.0e-9:
                g = 1.0e-9
            t = (h - o) / g
            if g < 0.0:
                if t > enter:
                    enter = t
                    face = 2 * axis
            else:
                leave = wp.min(leave, t)
            g = slope - v
            if wp.abs(g) < 1.0e-9:
                g = 1.0e-9
            t = (h + o) / g
            if g < 0.0:
                if t > enter:
                    enter = t
                    face = 2 * axis + 1
            else:
                leave = wp.min(leave, t)
        if enter > leave:
            return NO_HIT, face
    if enter <= 0.0:
        return NO_HIT, face
    return enter, face


@wp.func
def noise(i: int, j: int, k: int) -> float:
    """A number in [0, 1) for a cell of a lattice."""
    h = wp.uint32(i) * wp.uint32(1640531535)
    h = h ^ (wp.uint32(j) * wp.uint32(1274126177))
    h = h ^ (wp.uint32(k) * wp.uint32(668265263))
    h = (h ^ (h >> wp.uint32(15))) * wp.uint32(739982445)
    h = h ^ (h >> wp.uint32(12))
    return float(h >> wp.uint32(8)) * 5.9604645e-8


@wp.func
def cell(x: float, size: float) -> int:
    """Number of the lattice cell."""
    return int(wp.floor(x / size))


@wp.func
def phase(x: float, period: float) -> float:
    """Position within a period, in [0, period)."""
    return x - wp.floor(x / period) * period


@wp.func
def vec4_of(v: wp.vec3, w: float) -> wp.vec4:
    """A vector and one more component."""
    return wp.vec4(v[0], v[1], v[2], w)


@wp.func
def matte(colour: wp.vec3) -> wp.vec4:
    """A colour that does not glow."""
    return wp.vec4(colour[0], colour[1], colour[2], 0.0)


@wp.func
def wheel(x: float, z: float, at: float, radius: float) -> float:
    """2 for the hub, 1 for the tyre of wheels at +-``at``, 0 elsewhere."""
    u = wp.abs(x) - at
    w = z - radius
    r = u * u + w * w
    if r < 0.25 * radius * radius:
        return 2.0
    if r < radius * radius:
        return 1.0
    return 0.0


@wp.func
def paint_wheels(colour: wp.vec3, x: float, z: float, at: float, radius: float) -> wp.vec3:
    """Wheels over what is there."""
    w = wheel(x, z, at, radius)
    if w > 1.5:
        return wp.vec3(0.62, 0.63, 0.65)
    if w > 0.5:
        return wp.vec3(0.09, 0.09, 0.10)
    return colour


@wp.func
def paint_car(colour: wp.vec3, face: int, p: wp.vec3, half: wp.vec2, top: float) -> wp.vec4:
    """The lower body of a car; w is how much it glows."""
    side = wp.abs(p[1]) / half[1]
    up = p[2] / top
    if up < 0.24:
        if face == LEFT or face == RIGHT:
            return matte(paint_wheels(wp.vec3(0.08, 0.08, 0.09), p[0], p[2], 0.62 * half[0], 0.34))
        return wp.vec4(0.09, 0.09, 0.10, 0.0)
    if face == FRONT:
        if side > 0.58 and up > 0.58 and up < 0.86:
            return wp.vec4(1.0, 0.97, 0.82, 0.7)
        if side < 0.52 and up > 0.3 and up < 0.72:
            return wp.vec4(0.12, 0.12, 0.14, 0.0)
    elif face == REAR:
        if side > 0.6 and up > 0.6 and up < 0.92:
            return wp.vec4(0.86, 0.05, 0.05, 0.6)
        if side < 0.3 and up > 0.45 and up < 0.66:
            return wp.vec4(0.93, 0.9, 0.72, 0.1)
        if up > 0.93:
            return matte(0.8 * colour)
    elif face == LEFT or face == RIGHT:
        if wp.abs(p[0] + 0.03 * half[0]) < 0.03 or wp.abs(p[0] - 0.5 * half[0]) < 0.03:
            colour = 0.6 * colour
        return matte(paint_wheels(colour, p[0], p[2], 0.62 * half[0], 0.34))
    elif face == TOP and side > 0.9:
        return matte(0.88 * colour)
    return matte(colour)


@wp.func
def paint_cabin(colour: wp.vec3, face: int, p: wp.vec3, half: wp.vec2, z: wp.vec2) -> wp.vec4:
    """Roof and windows of a car or truck."""
    up = (p[2] - z[0]) / (z[1] - z[0])
    if face == TOP or up > 0.9:
        return matte(colour)
    if face == FRONT:
        return wp.vec4(0.42, 0.52, 0.60, 0.0)
    if face == REAR:
        return wp.vec4(0.16, 0.19, 0.22, 0.0)
    if wp.abs(p[0]) < 0.06 or wp.abs(p[0]) > 0.9 * half[0]:
        return matte(0.55 * colour)
    return wp.vec4(0.22, 0.27, 0.32, 0.0)


@wp.func
def paint_cargo(colour: wp.vec3, face: int, p: wp.vec3, half: wp.vec2, top: float) -> wp.vec4:
    """The box of a truck, its chassis and wheels."""
    if p[2] < 0.95 and face != TOP:
        if face == REAR:
            if wp.abs(p[1]) > 0.6 * half[1] and p[2] > 0.6:
                return wp.vec4(0.86, 0.05, 0.05, 0.6)
            return wp.vec4(0.14, 0.14, 0.15, 0.0)
        return matte(paint_wheels(wp.vec3(0.13, 0.13, 0.14), p[0], p[2], 0.6 * half[0], 0.48))
    if face == REAR and wp.abs(p[1]) < 0.04:
        return matte(0.4 * colour)
    if (face == LEFT or face == RIGHT) and phase(p[0], 1.2) < 0.05:
        return matte(0.8 * colour)
    return matte(colour)


@wp.func
def paint_bus(colour: wp.vec3, face: int, p: wp.vec3, half: wp.vec2, top: float) -> wp.vec4:
    """A bus: a band of windows, wheels, lights."""
    up = p[2] / top
    side = wp.abs(p[1]) / half[1]
    if face == TOP:
        return matte(0.5 * colour + wp.vec3(0.45, 0.45, 0.45))
    if face == FRONT:
        if up > 0.42 and up < 0.86 and side < 0.92:
            return wp.vec4(0.40, 0.50, 0.58, 0.0)
        if side > 0.62 and up > 0.16 and up < 0.27:
            return wp.vec4(1.0, 0.97, 0.82, 0.7)
    elif face == REAR:
        if side > 0.7 and up > 0.16 and up < 0.34:
            return wp.vec4(0.86, 0.05, 0.05, 0.6)
        if up > 0.55 and up < 0.82 and side < 0.8:
            return wp.vec4(0.15, 0.18, 0.2, 0.0)
    else:
        if up > 0.46 and up < 0.82 and phase(p[0], 1.5) > 0.15:
            return wp.vec4(0.20, 0.25, 0.30, 0.0)
        return matte(paint_wheels(colour, p[0], p[2], 0.6 * half[0], 0.48))
    return matte(colour)


@wp.func
def paint_building(colour: wp.vec3, face: int, p: wp.vec3, z: wp.vec2, owner: int, night: float) -> wp.vec4:
    """A wall with windows, some of them lit at night."""
    if face == TOP:
        return wp.vec4(0.42, 0.42, 0.44, 0.0)
    u = p[0]
    if face == FRONT or face == REAR:
        u = p[1]
    if p[2] > z[1] - 0.5:
        return matte(0.75 * colour)
    x = phase(u + 100.0, 3.0)
    y = phase(p[2], 3.2)
    if x > 0.8 and x < 2.2 and y > 0.9 and y < 2.5:
        lit = noise(cell(u + 100.0, 3.0), cell(p[2], 3.2) + face * 97, owner)
        if night > 0.0 and lit > 0.55:
            return wp.vec4(0.95, 0.82, 0.5, 0.8)
        g = 0.22 + 0.16 * lit
        return wp.vec4(g, g + 0.06, g + 0.12, 0.0)
    if p[2] < 0.6:
        return matte(0.7 * colour)
    return matte(colour)


@wp.func
def paint_signal(face: int, p: wp.vec3, half: wp.vec2, z: wp.vec2, state: int) -> wp.vec4:
    """Three lamps, red on top; ``state`` is a SignalState."""
    if face != FRONT:
        return wp.vec4(0.10, 0.11, 0.10, 0.0)
    up = (p[2] - z[0]) / (z[1] - z[0])
    lamp = 2 - int(wp.min(up * 3.0, 2.0))
    third = (z[1] - z[0]) / 3.0
    w = p[2] - (z[0] + (2.5 - float(lamp)) * third)
    if p[1] * p[1] + w * w > 0.2 * third * third:
        return wp.vec4(0.07, 0.08, 0.07, 0.0)
    if lamp == 0:
        if state == 1:
            return wp.vec4(1.0, 0.10, 0.06, 1.0)
        return wp.vec4(0.25, 0.06, 0.05, 0.0)
    if lamp == 1:
        if state == 2:
            return wp.vec4(1.0, 0.74, 0.08, 1.0)
        return wp.vec4(0.25, 0.19, 0.05, 0.0)
    if state == 3:
        return wp.vec4(0.10, 1.0, 0.42, 1.0)
    return wp.vec4(0.05, 0.2, 0.1, 0.0)


@wp.func
def paint_stripes(face: int, p: wp.vec3) -> wp.vec4:
    """A barrier: slanted red and white."""
    if face == TOP:
        return wp.vec4(0.85, 0.84, 0.8, 0.0)
    u = p[0]
    if face == FRONT or face == REAR:
        u = p[1]
    if phase(u + p[2] + 50.0, 0.9) < 0.45:
        return wp.vec4(0.82, 0.12, 0.10, 0.0)
    return wp.vec4(0.95, 0.94, 0.91, 0.0)


@wp.func
def paint(
    surface: int,
    colour: wp.vec3,
    face: int,
    p: wp.vec3,
    half: wp.vec2,
    z: wp.vec2,
    owner: int,
    state: int,
    night: float,
) -> wp.vec4:
    """Colour at point ``p`` of a part (in its frame), and how much it glows by itself."""
    if surface == CAR_BODY:
        return paint_car(colour, face, p, half, z[1])
    if surface == CABIN:
        return paint_cabin(colour, face, p, half, z)
    if surface == CARGO:
        return paint_cargo(colour, face, p, half, z[1])
    if surface == BUS:
        return paint_bus(colour, face, p, half, z[1])
    if surface == STRIPES:
        return paint_stripes(face, p)
    if surface == CONE:
        up = (p[2] - z[0]) / (z[1] - z[0])
        if up > 0.42 and up < 0.68:
            return wp.vec4(0.97, 0.96, 0.94, 0.15)
        return vec4_of(colour, 0.05)
    if surface == BUILDING:
        return paint_building(colour, face, p, z, owner, night)
    if surface == LEAVES:
        g = 0.7 + 0.6 * noise(cell(p[0], 0.4), cell(p[1], 0.4), cell(p[2], 0.4))
        return matte(g * colour)
    if surface == DEBRIS:
        g = 0.65 + 0.6 * noise(cell(p[0], 0.17), cell(p[1], 0.17), cell(p[2], 0.17))
        return matte(g * colour)
    if surface == PERSON:
        if p[2] < 0.46 * z[1] and z[0] < 0.05:
            if wp.abs(p[1]) < 0.12 * half[1]:
                return wp.vec4(0.06, 0.06, 0.08, 0.0)
            return wp.vec4(0.17, 0.20, 0.32, 0.0)
        if wp.abs(p[1]) > 0.78 * half[1] and (face == FRONT or face == REAR):
            return matte(0.75 * colour)
        return matte(colour)
    if surface == SIGNAL:
        return paint_signal(face, p, half, z, state)
    if surface == FUR:
        if p[2] < 0.5 * z[1]:
            if wp.abs(p[0]) < 0.6 * half[0]:
                return wp.vec4(0.08, 0.07, 0.06, 0.0)
            return matte(0.7 * colour)
        return matte(colour)
    return matte(colour)


@wp.func
def unpack(texel: wp.uint32) -> wp.vec3:
    """RGB in [0, 255] of a packed texel."""
    byte = wp.uint32(255)
    return wp.vec3(
        float(texel & byte),
        float((texel >> wp.uint32(8)) & byte),
        float((texel >> wp.uint32(16)) & byte),
    )


@wp.func
def sample_ground(ground: Ground, light: Light, x: float, y: float, footprint: float) -> wp.vec4:
    """Colour (0 to 1) and class of the ground at a world point; ``footprint`` (m) is the width of a pixel there."""
    level = int(0)
    texel = ground.texel
    while texel * 1.6 < footprint and level < 4:
        texel = texel * 2.0
        level += 1
    while level < 5:
        u = (x - ground.corner[0]) / texel - 0.5
        v = (y - ground.corner[1]) / texel - 0.5
        i = int(wp.floor(u))
        j = int(wp.floor(v))
        if i >= 0 and j >= 0:
            px = i / ground.page
            py = j / ground.page
            if px < ground.columns[level] and py < ground.rows[level]:
                page = ground.table[ground.offset[level] + py * ground.columns[level] + px]
                if page >= 0:
                    stride = ground.page + 1
                    at = (page * stride + (j - py * ground.page)) * stride + (i - px * ground.page)
                    a = ground.pages[at]
                    b = ground.pages[at + 1]
                    c = ground.pages[at + stride]
                    d = ground.pages[at + stride + 1]
                    fu = u - float(i)
                    fv = v - float(j)
                    low = unpack(a) * (1.0 - fu) + unpack(b) * fu
                    high = unpack(c) * (1.0 - fu) + unpack(d) * fu
                    rgb = (low * (1.0 - fv) + high * fv) / 255.0
                    nearest = wp.where(fv < 0.5, wp.where(fu < 0.5, a, b), wp.where(fu < 0.5, c, d))
                    return wp.vec4(rgb[0], rgb[1], rgb[2], float(nearest >> wp.uint32(24)))
        level += 1
        texel = texel * 2.0
    return vec4_of(light.terrain, float(TERRAIN_CLASS))


@wp.func
def sky(d: wp.vec3, azimuth: float, light: Light) -> wp.vec3:
    """A gradient, the sun's glow, and hills on the horizon."""
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
        hill = (
            0.028 + 0.014 * wp.sin(3.0 * azimuth + 0.6) + 0.009 * wp.sin(7.0 * azimuth) + 0.004 * wp.sin(23.0 * azimuth)
        )
        if up < hill:
            colour = 0.55 * light.horizon + 0.45 * wp.vec3(
                light.terrain[0] * 0.7, light.terrain[1] * 0.85, light.terrain[2]
            )
    return colour


@wp.func
def to_byte(x: float) -> wp.uint8:
    """[0, 1] to [0, 255]."""
    return wp.uint8(wp.clamp(x, 0.0, 1.0) * 255.0 + 0.5)


@wp.func
def headlight(p: wp.vec3, strength: float) -> float:
    """Light of the ego's low beams at a point of the ego frame."""
    x = p[0] - 2.0
    if x <= 0.0 or strength <= 0.0:
        return 0.0
    spread = wp.abs(p[1]) / (1.6 + 0.32 * x)
    wide = wp.clamp(1.3 - spread * spread, 0.0, 1.0)
    high = wp.clamp(1.4 - (p[2] - 0.5) / (0.6 + 0.05 * x), 0.15, 1.0)
    return strength * wide * high / (1.0 + (x / 26.0) * (x / 26.0))


@wp.kernel
def shade_pixels(
    rays: wp.array3d(dtype=wp.vec3),
    camera: wp.array(dtype=wp.vec3),
    pixel_angle: wp.array(dtype=wp.float32),
    tile_columns: int,
    tiles_per_camera: int,
    parts: Parts,
    bounds: Bounds,
    tiles: Tiles,
    ground: Ground,
    light: Light,
    ego: wp.vec4,
    rgb: wp.array4d(dtype=wp.uint8),
    depth: wp.array3d(dtype=wp.float32),
    semantic: wp.array3d(dtype=wp.uint8),
    instance: wp.array3d(dtype=wp.int32),
):
    """What pixel (v, u) of camera c sees. ``ego`` is x, y, cos, sin of the heading in the world."""
    c, v, u = wp.tid()
    d = rays[c, v, u]
    eye = camera[c]
    tile = c * tiles_per_camera + (v / TILE) * tile_columns + u / TILE
    best = float(FAR)
    if d[2] < -1.0e-6:
        best = wp.min(-eye[2] / d[2], FAR)
    reached = best < FAR
    hit = int(-1)
    face = int(0)
    for k in range(tiles.solids[tile]):
        p = tiles.solid[tile, k]
        if bounds.near[c, p] < best:
            place = parts.place[p]
            local = wp.vec3(place[2] * d[0] + place[3] * d[1], place[2] * d[1] - place[3] * d[0], d[2])
            t, side = hit_part(bounds.origin[c, p], local, parts.half[p], parts.z[p], parts.lean[p])
            if t < best:
                best = t
                hit = p
                face = side
    colour = wp.vec3(0.0, 0.0, 0.0)
    normal = wp.vec3(0.0, 0.0, 1.0)
    label = int(SKY_CLASS)
    owner = int(-1)
    glow = float(0.0)
    sunny = float(1.0)
    point = eye + best * d
    if hit >= 0:
        place = parts.place[hit]
        local = wp.vec3(place[2] * d[0] + place[3] * d[1], place[2] * d[1] - place[3] * d[0], d[2])
        at = bounds.origin[c, hit] + best * local
        lean = parts.lean[hit]
        lx = float(0.0)
        ly = float(0.0)
        lz = float(1.0)
        if face == FRONT or face == REAR:
            lx = wp.where(face == FRONT, 1.0, -1.0)
            lz = lean[0]
        elif face == LEFT or face == RIGHT:
            ly = wp.where(face == LEFT, 1.0, -1.0)
            lz = lean[1]
        elif face == BOTTOM:
            lz = -1.0
        normal = wp.normalize(wp.vec3(place[2] * lx - place[3] * ly, place[3] * lx + place[2] * ly, lz))
        painted = paint(
            parts.surface[hit],
            parts.colour[hit],
            face,
            at,
            parts.half[hit],
            parts.z[hit],
            parts.owner[hit],
            parts.state[hit],
            light.headlights,
        )
        colour = wp.vec3(painted[0], painted[1], painted[2])
        glow = painted[3]
        label = parts.semantic[hit]
        owner = parts.owner[hit]
    elif reached:
        wx = ego[0] + ego[2] * point[0] - ego[3] * point[1]
        wy = ego[1] + ego[3] * point[0] + ego[2] * point[1]
        footprint = best * pixel_angle[c] / wp.sqrt(wp.max(-d[2], 0.02))
        found = sample_ground(ground, light, wx, wy, footprint)
        colour = wp.vec3(found[0], found[1], found[2]) * (1.0 - 0.3 * light.wet)
        label = int(found[3])
        for k in range(tiles.shadows[tile]):
            if sunny > 0.5:
                p = tiles.shadow[tile, k]
                place = parts.place[p]
                sun = light.sun
                local = wp.vec3(place[2] * sun[0] + place[3] * sun[1], place[2] * sun[1] - place[3] * sun[0], sun[2])
                dx = point[0] - place[0]
                dy = point[1] - place[1]
                start = wp.vec3(place[2] * dx + place[3] * dy, place[2] * dy - place[3] * dx, -0.01)
                t, side = hit_part(start, local, parts.half[p], parts.z[p], parts.lean[p])
                if t < NO_HIT:
                    sunny = 0.0
    if hit < 0 and not reached:
        azimuth = wp.atan2(ego[3] * d[0] + ego[2] * d[1], ego[2] * d[0] - ego[3] * d[1])
        colour = sky(d, azimuth, light)
        depth[c, v, u] = wp.inf
        fog = wp.exp(-FAR * light.haze * wp.max(1.0 - 4.0 * wp.max(d[2], 0.0), 0.0))
        colour = colour * fog + light.horizon * (1.0 - fog)
    else:
        lit = light.ambient * (0.8 + 0.2 * normal[2]) + light.diffuse * sunny * wp.max(wp.dot(normal, light.sun), 0.0)
        lit = lit + headlight(point, light.headlights) * wp.max(-wp.dot(normal, d), 0.25)
        colour = colour * (lit * (1.0 - glow) + glow)
        haze = wp.exp(-best * light.haze)
        colour = colour * haze + light.horizon * (1.0 - haze)
        depth[c, v, u] = best
    rgb[c, v, u, 0] = to_byte(colour[0])
    rgb[c, v, u, 1] = to_byte(colour[1])
    rgb[c, v, u, 2] = to_byte(colour[2])
    semantic[c, v, u] = wp.uint8(label)
    instance[c, v, u] = owner
