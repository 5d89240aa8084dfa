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
BATCH = wp.constant(8)
OUTSIDE = wp.constant(-2)
UNKNOWN = wp.constant(-1)


@wp.struct
class Grid:
    """Cells of a map, each with the segments that can be nearest somewhere in it, in batches of eight.

    A cell has ``count`` batches of ``candidates``, -1 where not yet known, the last filled up with one of them; its
    middle is ``nearest`` (m) to the next of them. Segments have a ``start``, a ``step`` to their end, the ``inverse``
    of its squared length, a ``way`` (the step's direction) and a ``group``. ``batches`` are the same for the native
    loops: of each batch eight x and eight y of the starts, then of the steps, inverses, x and y of the ways, numbers.
    """

    low: wp.vec2d
    cell: wp.float64
    columns: wp.int32
    rows: wp.int32
    first: wp.array[wp.int32]
    count: wp.array[wp.int32]
    nearest: wp.array[wp.float64]
    candidates: wp.array[wp.int32]
    batches: wp.array[wp.float64]
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
):
    """Which of the listed segments can be the cheapest somewhere in a cell, and how many, filled up to whole batches.

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
                        candidates[i, kept] = segment
                    kept += 1
        j = wp.int32(after)
    while kept % BATCH != 0:
        if kept < candidates.shape[1]:
            candidates[i, kept] = nearest
        kept += 1
    counts[i] = kept
    grid.nearest[cells[i]] = wp.sqrt(least)


@wp.struct
class Lanes:
    """What the segments of a grid are parts of: lane, arc length at their start; their length and heading."""

    number: wp.array[wp.int64]
    s: wp.array[wp.float64]
    length: wp.array[wp.float64]
    heading: wp.array[wp.float64]


@wp.func_native("""
    const double* of = (const double*)wp::address(batches, 0) + 64 * (size_t)first;
    const double at_x = pose[0], at_y = pose[1], cosine = pose[2], sine = pose[3];
    double least[8], best[8];
    for (int k = 0; k < 8; ++k) least[k] = 1.0e300, best[k] = 0.0;
    for (int batch = 0; batch < count; ++batch, of += 64) {
        for (int k = 0; k < 8; ++k) {
            const double x = at_x - of[k], y = at_y - of[8 + k], along = of[16 + k], across = of[24 + k];
            double part = (x * along + y * across) * of[32 + k];
            part = part < 0.0 ? 0.0 : part;
            part = part > 1.0 ? 1.0 : part;
            const double dx = x - part * along, dy = y - part * across, number = of[56 + k];
            const double price = sqrt(dx * dx + dy * dy) + cost * (1.0 - (cosine * of[40 + k] + sine * of[48 + k]));
            const double first_of_both = number < best[k] ? number : best[k];
            const double of_equals = price == least[k] ? first_of_both : best[k];
            best[k] = price < least[k] ? number : of_equals;
            least[k] = price < least[k] ? price : least[k];
        }
    }
    double price = least[0], number = 1.0e300;
    for (int k = 1; k < 8; ++k) price = least[k] < price ? least[k] : price;
    for (int k = 0; k < 8; ++k) best[k] = least[k] == price ? best[k] : 1.0e300;
    for (int k = 0; k < 8; ++k) number = best[k] < number ? best[k] : number;
    return (int)number;
""")
def cheapest(
    batches: wp.array[wp.float64], first: wp.int32, count: wp.int32, pose: wp.vec4d, cost: wp.float64
) -> wp.int32:
    """Candidate whose distance plus ``cost`` * (1 - cosine of the turn to it) is least; of equals the first segment."""
    ...


@wp.func_native("""
    const double* of = (const double*)wp::address(batches, 0) + 64 * (size_t)first;
    double least[8];
    for (int k = 0; k < 8; ++k) least[k] = 1.0e300;
    for (int batch = 0; batch < count; ++batch, of += 64) {
        for (int k = 0; k < 8; ++k) {
            const double x = at_x - of[k], y = at_y - of[8 + k], along = of[16 + k], across = of[24 + k];
            double part = (x * along + y * across) * of[32 + k];
            part = part < 0.0 ? 0.0 : part;
            part = part > 1.0 ? 1.0 : part;
            const double dx = x - part * along, dy = y - part * across, squared = dx * dx + dy * dy;
            least[k] = squared < least[k] ? squared : least[k];
        }
    }
    for (int k = 1; k < 8; ++k) least[0] = least[k] < least[0] ? least[k] : least[0];
    return least[0];
""")
def least_squared(
    batches: wp.array[wp.float64], first: wp.int32, count: wp.int32, at_x: wp.float64, at_y: wp.float64
) -> wp.float64:
    """Squared distance of a point to the nearest candidate."""
    ...


@wp.kernel
def nearest_lanes(
    grid: Grid,
    lanes: Lanes,
    poses: wp.array[wp.vec4d],
    cost: wp.float64,
    number: wp.array[wp.int64],
    match: wp.array2d[wp.float64],
):
    """Lane whose segment is the cheapest for each pose: its distance plus ``cost`` * (1 - cosine of the turn to it).

    Poses are x, y, cosine and sine of the heading. The rows of ``match`` are the arc length and offset on the lane, its
    heading there and the distance to it. The lane is -1 where the cell is not known, -2 off the grid.
    """
    i = wp.tid()
    x = poses[i][0]
    y = poses[i][1]
    cell = cell_of(grid, x, y)
    if cell < 0:
        number[i] = wp.int64(OUTSIDE)
    elif grid.count[cell] < 0:
        number[i] = wp.int64(UNKNOWN)
    else:
        best = cheapest(grid.batches, grid.first[cell], grid.count[cell], poses[i], cost)
        part = part_of(grid, best, x, y)
        dx = x - grid.start[best][0] - part * grid.step[best][0]
        dy = y - grid.start[best][1] - part * grid.step[best][1]
        away = wp.sqrt(dx * dx + dy * dy)
        way = grid.way[best]
        left = way[0] * (y - grid.start[best][1]) - way[1] * (x - grid.start[best][0])
        number[i] = lanes.number[best]
        match[0, i] = lanes.s[best] + part * lanes.length[best]
        match[1, i] = wp.where(left == ZERO, ZERO, wp.sign(left) * away)
        match[2, i] = lanes.heading[best]
        match[3, i] = away


@wp.struct
class Border:
    """What belongs to a grid of border segments: the normals of their ends, and the side that each cell is on.

    Normals are NaN where it is not known what is inside; sides are as ``cell_sides`` says, 0 where it has not yet.
    """

    normal_start: wp.array[wp.vec2d]
    normal_end: wp.array[wp.vec2d]
    sides: wp.array[wp.int8]


@wp.func
def normal_of(grid: Grid, border: Border, segment: wp.int32, part: wp.float64) -> wp.vec2d:
    """Normal of a border at the foot of a point: a segment's own, or the sum of both in a corner."""
    out = wp.vec2d(-grid.step[segment][1], grid.step[segment][0])
    if part <= ZERO:
        out = wp.vec2d(border.normal_start[segment])
    elif part >= ONE:
        out = wp.vec2d(border.normal_end[segment])
    return out


@wp.func
def border_margin(grid: Grid, border: Border, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance to the nearest border segment, positive at its left; NaN in a corner whose normal is not known."""
    least = wp.float64(1.0e300)
    sure = wp.float64(-1.0)
    side = wp.float64(0.0)
    for j in range(BATCH * grid.first[cell], BATCH * (grid.first[cell] + grid.count[cell])):
        segment = grid.candidates[j]
        part = part_of(grid, segment, x, y)
        step = grid.step[segment]
        dx = x - grid.start[segment][0] - part * step[0]
        dy = y - grid.start[segment][1] - part * step[1]
        squared = dx * dx + dy * dy
        if squared <= least:
            normal = normal_of(grid, border, segment, part)
            inside = (dx * normal[0] + dy * normal[1]) / wp.length(normal)
            if squared < least or wp.abs(inside) > sure:
                sure = wp.abs(inside)
                side = wp.float64(inside)
            least = wp.float64(squared)
    out = wp.where(side < ZERO, -wp.sqrt(least), wp.sqrt(least))
    return wp.where(wp.isnan(side), side, out)


@wp.kernel
def cell_sides(grid: Grid, border: Border, cells: wp.array[wp.int32]):
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
    for j in range(BATCH * grid.first[cell], BATCH * (grid.first[cell] + grid.count[cell])):
        segment = grid.candidates[j]
        step = grid.step[segment]
        away = middle - grid.start[segment]
        part = wp.dot(away, step) * grid.inverse[segment]
        more = h * (wp.abs(step[0]) + wp.abs(step[1])) * grid.inverse[segment]
        more += SLACK * (ONE + wp.abs(part) + more)
        for k in range(3):
            normal = wp.vec2d(-step[1], step[0])
            there = part + more >= ZERO and part - more <= ONE
            if k == 1:
                normal = wp.vec2d(border.normal_start[segment])
                there = part - more <= ZERO
            elif k == 2:
                normal = wp.vec2d(border.normal_end[segment])
                there = part + more >= ONE
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
    border.sides[cell] = side


@wp.func
def margin_at(grid: Grid, border: Border, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """``border_margin``; where a whole cell is on one side, only the distance is worked out."""
    if border.sides[cell] == wp.int8(0):
        return border_margin(grid, border, cell, x, y)
    squared = least_squared(grid.batches, grid.first[cell], grid.count[cell], x, y)
    return wp.float64(border.sides[cell]) * wp.sqrt(squared)


@wp.func
def corner_of(pose: wp.vec4d, half: wp.vec2d, corner: wp.int32) -> wp.vec2d:
    """Corner of a box: front left, front right, rear right, rear left."""
    ahead = wp.where(corner < 2, half[0], -half[0])
    left = wp.where(corner == 0 or corner == 3, half[1], -half[1])
    return wp.vec2d(pose[0] + pose[2] * ahead - pose[3] * left, pose[1] + pose[3] * ahead + pose[2] * left)


@wp.kernel
def border_margins(grid: Grid, border: Border, points: wp.array[wp.vec2d], margins: wp.array[wp.float64]):
    """Signed distance of each point to the border; NaN where its cell or the side is not known, or off the grid."""
    i = wp.tid()
    cell = cell_of(grid, points[i][0], points[i][1])
    margins[i] = wp.float64(wp.nan)
    if cell >= 0 and grid.count[cell] >= 0:
        margins[i] = margin_at(grid, border, cell, points[i][0], points[i][1])


@wp.kernel
def box_margins(
    grid: Grid,
    border: Border,
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
        elif border.sides[cell] <= wp.int8(0) or grid.nearest[cell] - off_middle(grid, at[0], at[1]) < least:
            margin = margin_at(grid, border, cell, at[0], at[1])
            known = known and not wp.isnan(margin)
            least = wp.min(least, margin)
    margins[i] = wp.where(known, least, wp.float64(wp.nan))


@wp.kernel
def first_steps_outside(
    grid: Grid,
    border: Border,
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
            elif border.sides[cell] <= wp.int8(0):
                margin = margin_at(grid, border, cell, at[0], at[1])
                if wp.isnan(margin):
                    found = wp.int32(-2)
                elif margin < floor and found == -1:
                    found = wp.int32(t)
        if found != -1:
            break
    steps[i] = found
