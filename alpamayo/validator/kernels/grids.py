# mypy: ignore-errors
"""The nearest segments of a map: borders and lanes, from a grid of candidates."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TINY = wp.constant(wp.float64(1.0e-12))
WIDEST = wp.constant(wp.float64(1.4142135623731))  # of a square
SLACK = wp.constant(wp.float64(1.0e-9))  # m
OUTSIDE = wp.constant(-2)
UNKNOWN = wp.constant(-1)


@wp.struct
class Grid:
    """Cells of a map: ``count`` of the segments that can be nearest somewhere in a cell, -1 where not yet known.

    Those of a cell are in the order of their distance to its middle, ``away``. Segments have a ``start``, a ``step``
    to their end, the inverse of its squared length, a ``way`` (the step's direction) and a ``group``.
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
    way: wp.array[wp.vec2d]
    group: wp.array[wp.int32]


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
def off_middle(grid: Grid, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point from the middle of its cell."""
    column = (x - grid.low[0]) / grid.cell
    row = (y - grid.low[1]) / grid.cell
    dx = column - wp.floor(column) - HALF
    dy = row - wp.floor(row) - HALF
    return grid.cell * wp.sqrt(dx * dx + dy * dy)


@wp.func
def part_of(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Which part of a segment is nearest to a point."""
    step = grid.step[segment]
    start = grid.start[segment]
    part = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) * grid.inverse[segment]
    return wp.clamp(part, ZERO, ONE)


@wp.func
def squared_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Squared distance of a point to a segment."""
    part = part_of(grid, segment, x, y)
    dx = x - grid.start[segment][0] - part * grid.step[segment][0]
    dy = y - grid.start[segment][1] - part * grid.step[segment][1]
    return dx * dx + dy * dy


@wp.func
def distance_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point to a segment."""
    return wp.sqrt(squared_to(grid, segment, x, y))


@wp.func
def cell_middle(grid: Grid, cell: wp.int32) -> wp.vec2d:
    """Middle of a cell."""
    column = wp.float64(cell // grid.rows)
    row = wp.float64(cell % grid.rows)
    return wp.vec2d(grid.low[0] + (column + HALF) * grid.cell, grid.low[1] + (row + HALF) * grid.cell)


@wp.func
def corner_distances(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.vec4d:
    """Distances of the corners of the cell around a middle to a segment."""
    h = HALF * grid.cell
    return wp.vec4d(
        distance_to(grid, segment, x - h, y - h),
        distance_to(grid, segment, x + h, y - h),
        distance_to(grid, segment, x - h, y + h),
        distance_to(grid, segment, x + h, y + h),
    )


@wp.func
def further_everywhere(grid: Grid, segment: wp.int32, middle: wp.vec2d, corners: wp.vec4d, by: wp.float64) -> wp.bool:
    """Whether a segment is further than another by more than ``by`` in the whole cell around a middle.

    The distance to a segment is convex: over the cell it is nowhere under its tangent in the middle, and the
    other's, ``corners`` at the cell's corners, less that tangent is largest in a corner.
    """
    away = middle - grid.start[segment] - part_of(grid, segment, middle[0], middle[1]) * grid.step[segment]
    d = wp.length(away)
    scale = wp.where(d > ZERO, HALF * grid.cell / wp.max(d, TINY), ZERO)
    ux = scale * away[0]
    uy = scale * away[1]
    out = d - ux - uy > corners[0] + by and d + ux - uy > corners[1] + by
    return out and d - ux + uy > corners[2] + by and d + ux + uy > corners[3] + by


@wp.func
def dearer_everywhere(
    grid: Grid, segment: wp.int32, than: wp.int32, middle: wp.vec2d, corners: wp.vec4d, turn_cost: wp.float64
) -> wp.bool:
    """``further_everywhere`` by more than what the turn between both segments can cost."""
    by = turn_cost * wp.length(grid.way[segment] - grid.way[than]) + SLACK
    return further_everywhere(grid, segment, middle, corners, by)


@wp.kernel
def cell_candidates(
    grid: Grid,
    cells: wp.array[wp.int32],
    list_first: wp.array[wp.int32],
    list_count: wp.array[wp.int32],
    listed: wp.array[wp.int32],
    turn_cost: wp.float64,
    counts: wp.array[wp.int32],
    candidates: wp.array2d[wp.int32],
    away: wp.array2d[wp.float64],
):
    """Which of the listed segments can be the cheapest somewhere in a cell, how many, and how far from its middle.

    Left out is one that is further in the whole cell, by more than what the turn between both can cost, than the
    nearest of all to its middle or the nearest of its group. A list has each group on end. A row of ``candidates`` is
    whole if it has room for ``counts`` of them.
    """
    i = wp.tid()
    middle = cell_middle(grid, cells[i])
    x = middle[0]
    y = middle[1]
    begin = list_first[i]
    end = begin + list_count[i]
    nearest = wp.int32(listed[begin])
    least = squared_to(grid, nearest, x, y)
    for j in range(begin, end):
        d = squared_to(grid, listed[j], x, y)
        if d < least:
            least = wp.float64(d)
            nearest = wp.int32(listed[j])
    corners = corner_distances(grid, nearest, x, y)
    # whoever is further than this from the middle is dearer everywhere
    reach = wp.sqrt(least) + WIDEST * grid.cell + wp.float64(2.0) * turn_cost + SLACK
    reach = reach * reach
    kept = wp.int32(0)
    j = wp.int32(begin)
    while j < end:
        best = wp.int32(listed[j])
        least_of_group = squared_to(grid, best, x, y)
        after = wp.int32(j)
        for m in range(j, end):
            if grid.group[listed[m]] != grid.group[best]:
                break
            d = squared_to(grid, listed[m], x, y)
            if d < least_of_group:
                least_of_group = wp.float64(d)
                best = wp.int32(listed[m])
            after = m + 1
        if least_of_group <= reach:
            corners_of_group = corner_distances(grid, best, x, y)
            for m in range(j, after):
                segment = listed[m]
                d = squared_to(grid, segment, x, y)
                dear = d > reach or dearer_everywhere(grid, segment, nearest, middle, corners, turn_cost)
                if not dear and not dearer_everywhere(grid, segment, best, middle, corners_of_group, turn_cost):
                    if kept < candidates.shape[1]:
                        d = wp.sqrt(d)
                        place = wp.int32(kept)
                        while place > 0 and away[i, wp.max(place - 1, 0)] > d:
                            away[i, place] = away[i, place - 1]
                            candidates[i, place] = candidates[i, place - 1]
                            place -= 1
                        away[i, place] = d
                        candidates[i, place] = segment
                    kept += 1
        j = wp.int32(after)
    counts[i] = kept


@wp.struct
class Lanes:
    """What the segments of a grid are parts of: lane, arc length at their start; their length and heading."""

    number: wp.array[wp.int64]
    s: wp.array[wp.float64]
    length: wp.array[wp.float64]
    heading: wp.array[wp.float64]


@wp.kernel
def nearest_lanes(
    grid: Grid,
    lanes: Lanes,
    poses: wp.array[wp.vec4d],
    cost: wp.float64,
    number: wp.array[wp.int64],
    s: wp.array[wp.float64],
    offset: wp.array[wp.float64],
    heading: wp.array[wp.float64],
    distance: wp.array[wp.float64],
):
    """Lane whose segment is the cheapest for each pose: its distance plus ``cost`` * (1 - cosine of the turn to it).

    Poses are x, y, cosine and sine of the heading. The lane is -1 where the cell is not known, -2 off the grid.
    """
    i = wp.tid()
    x = poses[i][0]
    y = poses[i][1]
    towards = wp.vec2d(poses[i][2], poses[i][3])
    cell = cell_of(grid, x, y)
    if cell < 0:
        number[i] = wp.int64(OUTSIDE)
    elif grid.count[cell] < 0:
        number[i] = wp.int64(UNKNOWN)
    else:
        best = wp.int32(-1)
        least = wp.float64(1.0e300)
        squared = wp.float64(0.0)
        part = wp.float64(0.0)
        middle = off_middle(grid, x, y) + TINY
        for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
            if grid.away[j] - middle > least:
                break
            segment = grid.candidates[j]
            along = part_of(grid, segment, x, y)
            dx = x - grid.start[segment][0] - along * grid.step[segment][0]
            dy = y - grid.start[segment][1] - along * grid.step[segment][1]
            price = wp.sqrt(dx * dx + dy * dy) + cost * (ONE - wp.dot(towards, grid.way[segment]))
            if price < least or (price == least and segment < best):
                least = wp.float64(price)
                best = wp.int32(segment)
                part = wp.float64(along)
                squared = dx * dx + dy * dy
        way = grid.way[best]
        away = wp.sqrt(squared)
        left = way[0] * (y - grid.start[best][1]) - way[1] * (x - grid.start[best][0])
        number[i] = lanes.number[best]
        s[i] = lanes.s[best] + part * lanes.length[best]
        offset[i] = wp.where(left == ZERO, ZERO, wp.sign(left) * away)
        heading[i] = lanes.heading[best]
        distance[i] = away


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
    middle = off_middle(grid, x, y) + TINY
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


@wp.func
def border_distance(grid: Grid, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance to the nearest border segment."""
    least = wp.float64(1.0e300)
    middle = off_middle(grid, x, y) + TINY
    for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
        nearest = wp.max(grid.away[j] - middle, ZERO)
        if nearest * nearest > least:
            break
        segment = grid.candidates[j]
        part = part_of(grid, segment, x, y)
        dx = x - grid.start[segment][0] - part * grid.step[segment][0]
        dy = y - grid.start[segment][1] - part * grid.step[segment][1]
        least = wp.min(least, dx * dx + dy * dy)
    return wp.sqrt(least)


@wp.kernel
def cell_sides(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    cells: wp.array[wp.int32],
    sides: wp.array[wp.int8],
):
    """On which side of the border the whole of a cell is: 1 inside, -1 outside, 0 both or not known.

    A cell is on one side where it is so of each candidate: of its line where any foot can be on it, and of the
    normals of those of its ends that can be a foot.
    """
    i = wp.tid()
    cell = cells[i]
    middle = cell_middle(grid, cell)
    h = HALF * grid.cell
    inside = wp.bool(True)
    outside = wp.bool(True)
    for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
        segment = grid.candidates[j]
        step = grid.step[segment]
        away = middle - grid.start[segment]
        part = wp.dot(away, step) * grid.inverse[segment]
        more = h * (wp.abs(step[0]) + wp.abs(step[1])) * grid.inverse[segment]
        for k in range(3):
            normal = wp.vec2d(-step[1], step[0])
            there = part + more >= -TINY and part - more <= ONE + TINY
            if k == 1:
                normal = wp.vec2d(normal_start[segment])
                there = part - more <= TINY
            elif k == 2:
                normal = wp.vec2d(normal_end[segment])
                there = part + more >= ONE - TINY
                away = away - step
            if there:
                left = wp.dot(away, normal)
                room = h * (wp.abs(normal[0]) + wp.abs(normal[1])) + SLACK * wp.length(normal)
                inside = inside and left > room
                outside = outside and left < -room
    side = wp.int8(0)
    if inside:
        side = wp.int8(1)
    elif outside:
        side = wp.int8(-1)
    sides[cell] = side


@wp.func
def margin_at(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    sides: wp.array[wp.int8],
    cell: wp.int32,
    x: wp.float64,
    y: wp.float64,
) -> wp.float64:
    """``border_margin``; where a whole cell is on one side, only the distance is worked out."""
    if sides[cell] == wp.int8(0):
        return border_margin(grid, normal_start, normal_end, cell, x, y)
    return wp.float64(sides[cell]) * border_distance(grid, cell, x, y)


@wp.func
def corner_of(pose: wp.vec4d, half: wp.vec2d, corner: wp.int32) -> wp.vec2d:
    """Corner of a box: front left, front right, rear right, rear left."""
    ahead = wp.where(corner < 2, half[0], -half[0])
    left = wp.where(corner == 0 or corner == 3, half[1], -half[1])
    return wp.vec2d(pose[0] + pose[2] * ahead - pose[3] * left, pose[1] + pose[3] * ahead + pose[2] * left)


@wp.kernel
def border_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    sides: wp.array[wp.int8],
    points: wp.array[wp.vec2d],
    margins: wp.array[wp.float64],
):
    """Signed distance of each point to the border; NaN where its cell or the side is not known, or off the grid."""
    i = wp.tid()
    cell = cell_of(grid, points[i][0], points[i][1])
    margins[i] = wp.float64(wp.nan)
    if cell >= 0 and grid.count[cell] >= 0:
        margins[i] = margin_at(grid, normal_start, normal_end, sides, cell, points[i][0], points[i][1])


@wp.kernel
def box_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    sides: wp.array[wp.int8],
    poses: wp.array[wp.vec4d],
    half: wp.vec2d,
    furthest: wp.float64,
    margins: wp.array[wp.float64],
):
    """Least signed distance of a box's corners to the border, at most ``furthest``; NaN as ``border_margins``.

    A corner in a cell that is inside as a whole is not looked at where the cell is known to be further than the
    corners before.
    """
    i = wp.tid()
    least = wp.float64(furthest)
    known = wp.bool(True)
    for corner in range(4):
        at = corner_of(poses[i], half, corner)
        cell = cell_of(grid, at[0], at[1])
        if cell < 0 or grid.count[cell] < 0:
            known = wp.bool(False)
        elif sides[cell] <= wp.int8(0) or grid.away[grid.first[cell]] - off_middle(grid, at[0], at[1]) < least:
            margin = margin_at(grid, normal_start, normal_end, sides, cell, at[0], at[1])
            known = known and not wp.isnan(margin)
            least = wp.min(least, margin)
    margins[i] = wp.where(known, least, wp.float64(wp.nan))


@wp.kernel
def first_steps_outside(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    sides: wp.array[wp.int8],
    poses: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    floor: wp.float64,
    steps: wp.array[wp.int32],
):
    """First step at which a corner's margin is under ``floor``, which is not positive; -1 never, -2 not known."""
    i = wp.tid()
    found = wp.int32(-1)
    for t in range(poses.shape[1]):
        for corner in range(4):
            at = corner_of(poses[i, t], half, corner)
            cell = cell_of(grid, at[0], at[1])
            if cell < 0 or grid.count[cell] < 0:
                found = wp.int32(-2)
            elif sides[cell] <= wp.int8(0):
                margin = margin_at(grid, normal_start, normal_end, sides, cell, at[0], at[1])
                if wp.isnan(margin):
                    found = wp.int32(-2)
                elif margin < floor and found == -1:
                    found = wp.int32(t)
        if found != -1:
            break
    steps[i] = found
