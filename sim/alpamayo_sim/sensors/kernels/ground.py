# mypy: ignore-errors
# ruff: noqa: RUF046, UP018 (a variable that a loop changes is made by a call)
"""Sampling of the ground's texture; see ``ground.GroundTexture``."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

LEVELS = wp.constant(5)
PAGE, PAGE_BITS = wp.constant(128), wp.constant(7)  # ground.PAGE
TERRAIN_TEXEL = wp.constant(wp.uint32(112 | 133 << 8 | 84 << 16 | 1 << 24))  # ground.GRASS, Semantic.TERRAIN
RED_BLUE = wp.constant(wp.uint32(0x00FF00FF))


@wp.struct
class Ground:
    """Pages of one scene's ground. ``levels`` is first table row, columns and rows of each level's grid."""

    pages: wp.array(dtype=wp.uint32)
    table: wp.array(dtype=wp.int32)
    levels: wp.array(dtype=wp.vec3i)
    corner: wp.vec2
    texel: wp.float32


@wp.func
def sample_ground(grounds: wp.array(dtype=Ground), which: int, x: float, y: float, footprint: float) -> wp.uint32:
    """Return the texel (R, G, B, class from the lowest byte up) at a world point with a pixel width ``footprint`` (m).

    Bilinear in colour, with weights in 1/256, and nearest in class. Where there is no page, the next level is taken.
    """
    level = int(0)
    texel = grounds[which].texel
    while texel * 1.6 < footprint and level < LEVELS - 1:
        texel = texel * 2.0
        level += 1
    share = 1.0 / texel
    dx = x - grounds[which].corner[0]
    dy = y - grounds[which].corner[1]
    while level < LEVELS:
        u = dx * share - 0.5
        v = dy * share - 0.5
        if u >= 0.0 and v >= 0.0:
            i = int(u)
            j = int(v)
            grid = grounds[which].levels[level]
            px = i >> PAGE_BITS
            py = j >> PAGE_BITS
            if px < grid[1] and py < grid[2]:
                found = grounds[which].table[grid[0] + py * grid[1] + px]
                if found >= 0:
                    stride = PAGE + 1
                    at = (found * stride + (j & (PAGE - 1))) * stride + (i & (PAGE - 1))
                    a = grounds[which].pages[at]
                    b = grounds[which].pages[at + 1]
                    c = grounds[which].pages[at + stride]
                    d = grounds[which].pages[at + stride + 1]
                    fu = int((u - float(i)) * 256.0)
                    fv = int((v - float(j)) * 256.0)
                    wd = wp.uint32(fu * fv >> 8)
                    wb = wp.uint32(fu) - wd
                    wc = wp.uint32(fv) - wd
                    wa = wp.uint32(256) - wb - wc - wd
                    eight = wp.uint32(8)
                    byte = wp.uint32(0xFF)
                    half = wp.uint32(0x00800080)
                    rb = (a & RED_BLUE) * wa + (b & RED_BLUE) * wb + (c & RED_BLUE) * wc + (d & RED_BLUE) * wd + half
                    g = ((a >> eight) & byte) * wa + ((b >> eight) & byte) * wb
                    g = g + ((c >> eight) & byte) * wc + ((d >> eight) & byte) * wd + wp.uint32(128)
                    nearest = a
                    if fu >= 128 and fv < 128:
                        nearest = b
                    elif fu < 128 and fv >= 128:
                        nearest = c
                    elif fv >= 128:
                        nearest = d
                    kind = (nearest >> wp.uint32(24)) << wp.uint32(24)
                    return kind | ((rb >> eight) & RED_BLUE) | (((g >> eight) & byte) << eight)
        level += 1
        share = share * 0.5
    return TERRAIN_TEXEL


@wp.func
def unpack(texel: wp.uint32) -> wp.vec3:
    """Return the colour (0 to 1) of a packed texel."""
    byte = wp.uint32(255)
    return wp.vec3(
        float(int(texel & byte)) / 255.0,
        float(int((texel >> wp.uint32(8)) & byte)) / 255.0,
        float(int((texel >> wp.uint32(16)) & byte)) / 255.0,
    )


@wp.func
def class_of(texel: wp.uint32) -> int:
    """Return the ``Semantic`` of a packed texel."""
    return int(texel >> wp.uint32(24))
