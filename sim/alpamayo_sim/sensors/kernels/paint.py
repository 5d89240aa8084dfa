# mypy: ignore-errors
# ruff: noqa: SIM109 (kernels know no `in`, and a variable that a loop changes is made by a call)
"""Paint of the sides of parts: procedural textures.

A point ``p`` is in the part's frame (m, z from the ground). Functions return a colour (0 to 1) and, as the fourth
number, its glow.
"""

from alpamayo_sim.sensors.kernels.parts import FRONT, LEFT, REAR, RIGHT, TOP
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

# surfaces.Surface, repeated as constants because kernels read plain module constants
CAR_BODY, CABIN, CARGO, BUS, STRIPES, CONE = 1, 2, 3, 4, 5, 6
BUILDING, LEAVES, DEBRIS, PERSON, SIGNAL, FUR = 7, 8, 9, 10, 11, 12


@wp.func
def noise(i: int, j: int, k: int) -> float:
    """Return a number in [0, 1) for a cell of a lattice."""
    h = wp.uint32(i) * wp.uint32(1640531535)
    h = h ^ (wp.uint32(j) * wp.uint32(1274126177))
    h = h ^ (wp.uint32(k) * wp.uint32(668265263))
    h = (h ^ (h >> wp.uint32(15))) * wp.uint32(739982445)
    h = h ^ (h >> wp.uint32(12))
    return float(h >> wp.uint32(8)) * 5.9604645e-8


@wp.func
def cell(x: float, size: float) -> int:
    """Return the number of a lattice cell."""
    return int(wp.floor(x / size))


@wp.func
def phase(x: float, period: float) -> float:
    """Return the position within a period, in [0, period)."""
    return x - wp.floor(x / period) * period


@wp.func
def vec4_of(v: wp.vec3, w: float) -> wp.vec4:
    """Return a vector and one more component."""
    return wp.vec4(v[0], v[1], v[2], w)


@wp.func
def matte(colour: wp.vec3) -> wp.vec4:
    """Return a colour that does not glow."""
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
    """Return a colour, or the wheels in front of it."""
    w = wheel(x, z, at, radius)
    if w > 1.5:
        return wp.vec3(0.62, 0.63, 0.65)
    if w > 0.5:
        return wp.vec3(0.09, 0.09, 0.10)
    return colour


@wp.func
def paint_car(colour: wp.vec3, face: int, p: wp.vec3, half: wp.vec2, top: float) -> wp.vec4:
    """Return the paint of a car's lower body; the fourth number is its glow."""
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
    """Return the paint of roof and windows of a car or truck."""
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
    """Return the paint of a truck's cargo box, chassis and wheels."""
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
    """Return the paint of a bus: a band of windows, wheels, lights."""
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
    """Return the paint of a wall with windows, some of them lit at night."""
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
    """Return the paint of three lamps, red on top; ``state`` is a ``SignalState``."""
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
    """Return the paint of a barrier: slanted stripes, red and white."""
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
    """Return the colour at point ``p`` of a part (in its frame), and its glow."""
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
