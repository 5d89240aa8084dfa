# mypy: ignore-errors
"""The nearest segments of a map: borders and lanes, from a grid of candidates."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TINY = wp.constant(wp.float64(1.0e-12))
OUTSIDE = -2
UNKNOWN = -1


@wp.struct
class Grid:
    """Cells of a map: ``count`` of the segments that can be nearest somewhere in a cell, -1 where not yet known.

    Those of a cell are in the order of their distance to its middle, ``away``.
    """

    low: wp.vec2d
    cell: wp.float64
    columns: wp.int32
    rows: wp.int32
    first: wp.array[wp.int32]
    count: wp.array[wp.int32]
    candidates: wp.array[wp.int32]
    away: wp.array[wp.float64]
    start: wp.array[wp.vec2d]
    step: wp.array[wp.vec2d]
    inverse: wp.array[wp.float64]


@wp.func
def cell_of(grid: Grid, x: wp.float64, y: wp.float64) -> wp.int32:
    """Number of the cell of a point, -2 outside of the grid."""
    column = wp.floor((x - grid.low[0]) / grid.cell)
    row = wp.floor((y - grid.low[1]) / grid.cell)
    cell = wp.int32(-2)
    # a far place is told from a near one before anything becomes an integer
    if column >= ZERO and row >= ZERO and column < wp.float64(grid.columns) and row < wp.float64(grid.rows):
        cell = wp.int32(column) * grid.rows + wp.int32(row)
    return cell


@wp.func
def off_middle(grid: Grid, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point from the middle of its cell."""
    column = wp.float64(cell // grid.rows)
    row = wp.float64(cell % grid.rows)
    dx = x - grid.low[0] - (column + HALF) * grid.cell
    dy = y - grid.low[1] - (row + HALF) * grid.cell
    return wp.sqrt(dx * dx + dy * dy)


@wp.func
def part_of(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Which part of a segment is nearest to a point."""
    step = grid.step[segment]
    start = grid.start[segment]
    part = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) * grid.inverse[segment]
    return wp.clamp(part, ZERO, ONE)


@wp.func
def distance_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point to a segment."""
    part = part_of(grid, segment, x, y)
    dx = x - grid.start[segment][0] - part * grid.step[segment][0]
    dy = y - grid.start[segment][1] - part * grid.step[segment][1]
    return wp.sqrt(dx * dx + dy * dy)


@wp.kernel
def cell_candidates(
    grid: Grid,
    ways: wp.array[wp.vec2d],
    group: wp.array[wp.int32],
    cells: wp.array[wp.int32],
    list_first: wp.array[wp.int32],
    list_count: wp.array[wp.int32],
    listed: wp.array[wp.int32],
    slack: wp.float64,
    turn_cost: wp.float64,
    first: wp.array[wp.int32],
    counts: wp.array[wp.int32],
    candidates: wp.array[wp.int32],
    away: wp.array[wp.float64],
):
    """Which of the listed segments can be the cheapest somewhere in a cell; with ``first`` not negative, written there.

    Left out is one that is further from the cell's middle, by more than ``slack`` and what the turn between both
    can cost, than the nearest of all or the nearest of its group. A cell's list has each group on end.
    """
    i = wp.tid()
    x = grid.low[0] + (wp.float64(cells[i] // grid.rows) + HALF) * grid.cell
    y = grid.low[1] + (wp.float64(cells[i] % grid.rows) + HALF) * grid.cell
    begin = list_first[i]
    end = begin + list_count[i]
    nearest = wp.int32(listed[begin])
    least = distance_to(grid, nearest, x, y)
    for j in range(begin, end):
        d = distance_to(grid, listed[j], x, y)
        if d < least:
            least = wp.float64(d)
            nearest = wp.int32(listed[j])
    kept = wp.int32(0)
    j = wp.int32(begin)
    while j < end:
        best = wp.int32(listed[j])
        least_of_group = distance_to(grid, best, x, y)
        after = wp.int32(j)
        for m in range(j, end):
            if group[listed[m]] != group[best]:
                break
            d = distance_to(grid, listed[m], x, y)
            if d < least_of_group:
                least_of_group = wp.float64(d)
                best = wp.int32(listed[m])
            after = m + 1
        for m in range(j, after):
            segment = listed[m]
            d = distance_to(grid, segment, x, y)
            cheap = d - least <= slack + turn_cost * wp.length(ways[segment] - ways[nearest])
            cheap = cheap and d - least_of_group <= slack + turn_cost * wp.length(ways[segment] - ways[best])
            if cheap:
                if first[i] >= 0:
                    place = wp.int32(first[i] + kept)
                    while place > first[i] and away[wp.max(place - 1, 0)] > d:
                        away[place] = away[place - 1]
                        candidates[place] = candidates[place - 1]
                        place -= 1
                    away[place] = d
                    candidates[place] = segment
                kept += 1
        j = wp.int32(after)
    counts[i] = kept


@wp.kernel
def nearest_segments(
    grid: Grid,
    ways: wp.array[wp.vec2d],
    points: wp.array[wp.vec2d],
    headings: wp.array[wp.vec2d],
    cost: wp.float64,
    best: wp.array[wp.int32],
    parts: wp.array[wp.float64],
    offsets: wp.array[wp.float64],
    distances: wp.array[wp.float64],
):
    """Cheapest segment of each point: its distance plus ``cost`` times (1 - cosine of the turn to it); -1, -2 none.

    ``ways`` are the segments' directions, ``headings`` the points' as cosine and sine.
    """
    i = wp.tid()
    x = points[i][0]
    y = points[i][1]
    cell = cell_of(grid, x, y)
    if cell < 0:
        best[i] = cell
    elif grid.count[cell] < 0:
        best[i] = UNKNOWN
    else:
        least = wp.float64(1.0e300)
        middle = off_middle(grid, cell, x, y) + TINY
        for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
            if grid.away[j] - middle > least:
                break
            segment = grid.candidates[j]
            part = part_of(grid, segment, x, y)
            dx = x - grid.start[segment][0] - part * grid.step[segment][0]
            dy = y - grid.start[segment][1] - part * grid.step[segment][1]
            price = wp.sqrt(dx * dx + dy * dy)
            price = price + cost * (ONE - wp.dot(headings[i], ways[segment]))
            if price < least or (price == least and segment < best[i]):
                least = wp.float64(price)
                best[i] = segment
                parts[i] = part
                left = ways[segment][0] * (y - grid.start[segment][1]) - ways[segment][1] * (x - grid.start[segment][0])
                distances[i] = wp.sqrt(dx * dx + dy * dy)
                offsets[i] = wp.sign(left) * distances[i]
                if left == ZERO:
                    offsets[i] = ZERO


@wp.func
def normal_of(
    grid: Grid, normal_start: wp.array[wp.vec2d], normal_end: wp.array[wp.vec2d], segment: wp.int32, part: wp.float64
) -> wp.vec2d:
    """Normal of a border at the foot of a point: a segment's own, or the sum of both in a corner."""
    out = wp.vec2d(-grid.step[segment][1], grid.step[segment][0])
    if part <= ZERO:
        out = wp.vec2d(normal_start[segment])
    elif part >= ONE:
        out = wp.vec2d(normal_end[segment])
    return out


@wp.func
def border_margin(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    cell: wp.int32,
    x: wp.float64,
    y: wp.float64,
) -> wp.float64:
    """Distance to the nearest border segment, positive at its left; NaN in a corner whose normal is not known."""
    least = wp.float64(1.0e300)
    sure = wp.float64(-1.0)
    side = wp.float64(0.0)
    middle = off_middle(grid, cell, x, y) + TINY
    for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
        nearest = wp.max(grid.away[j] - middle, ZERO)
        if nearest * nearest > least:
            break
        segment = grid.candidates[j]
        part = part_of(grid, segment, x, y)
        step = grid.step[segment]
        dx = x - grid.start[segment][0] - part * step[0]
        dy = y - grid.start[segment][1] - part * step[1]
        squared = dx * dx + dy * dy
        if squared <= least:
            normal = normal_of(grid, normal_start, normal_end, segment, part)
            inside = (dx * normal[0] + dy * normal[1]) / wp.length(normal)
            if squared < least or wp.abs(inside) > sure:
                sure = wp.abs(inside)
                side = wp.float64(inside)
            least = wp.float64(squared)
    out = wp.where(side < ZERO, -wp.sqrt(least), wp.sqrt(least))
    return wp.where(wp.isnan(side), side, out)


@wp.kernel
def border_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    points: wp.array[wp.vec2d],
    margins: wp.array[wp.float64],
):
    """Signed distance of each point to the border; NaN where its cell or the side is not known, or off the grid."""
    i = wp.tid()
    cell = cell_of(grid, points[i][0], points[i][1])
    margins[i] = wp.float64(wp.nan)
    if cell >= 0 and grid.count[cell] >= 0:
        margins[i] = border_margin(grid, normal_start, normal_end, cell, points[i][0], points[i][1])


@wp.kernel
def box_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    poses: wp.array[wp.vec4d],
    half: wp.vec2d,
    furthest: wp.float64,
    margins: wp.array[wp.float64],
):
    """Least signed distance of a box's corners to the border, at most ``furthest``; NaN as ``border_margins``."""
    i = wp.tid()
    p = poses[i]
    least = wp.float64(furthest)
    known = wp.bool(True)
    for corner in range(4):
        ahead = wp.where(corner < 2, half[0], -half[0])
        left = wp.where(corner == 0 or corner == 3, half[1], -half[1])
        x = p[0] + p[2] * ahead - p[3] * left
        y = p[1] + p[3] * ahead + p[2] * left
        cell = cell_of(grid, x, y)
        if cell < 0 or grid.count[cell] < 0:
            known = wp.bool(False)
        else:
            margin = border_margin(grid, normal_start, normal_end, cell, x, y)
            known = known and not wp.isnan(margin)
            least = wp.min(least, margin)
    margins[i] = wp.where(known, least, wp.float64(wp.nan))
