# mypy: ignore-errors
"""Warp loops over a grid of candidate segments: nearest lanes and margins to the border."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
MIN_POSITIVE = wp.constant(wp.float64(1.0e-12))
DIAGONAL = wp.constant(wp.float64(1.4142135623731))  # of a unit square
EPSILON = wp.constant(wp.float64(1.0e-9))  # m
BATCH_SIZE = wp.constant(8)
OUTSIDE = wp.constant(-2)
UNKNOWN = wp.constant(-1)


@wp.struct
class Grid:
    """Cells of a map, each with the segments that can be nearest somewhere in it, in batches of eight.

    A cell has ``count`` batches of ``candidates`` (-1 where not known yet); repeats of one candidate fill up the last
    batch. ``nearest`` (m) is the distance of the cell's middle to the nearest of them. Segments have a ``start``, a
    ``step`` to their end, the ``inverse`` of its squared length, its ``direction`` (unit vector) and a ``group``.
    ``batches`` repeat that for the native loops. Each holds eight values of: x and y of the starts, x and y of the
    steps, inverses, x and y of the directions, numbers of the segments.
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
    direction: wp.array[wp.vec2d]
    group: wp.array[wp.int32]


@wp.func
def cell_of(grid: Grid, x: wp.float64, y: wp.float64) -> wp.int32:
    """Return the number of the cell of a point; -2 is off the grid."""
    column = wp.floor((x - grid.low[0]) / grid.cell)
    row = wp.floor((y - grid.low[1]) / grid.cell)
    cell = wp.int32(-2)
    # compare as floats: a far point would overflow an integer
    if column >= ZERO and row >= ZERO and column < wp.float64(grid.columns) and row < wp.float64(grid.rows):
        cell = wp.int32(column) * grid.rows + wp.int32(row)
    return cell


@wp.func
def off_middle(grid: Grid, x: wp.float64, y: wp.float64) -> wp.float64:
    """Return the distance of a point from the middle of its cell."""
    column = (x - grid.low[0]) / grid.cell
    row = (y - grid.low[1]) / grid.cell
    dx = column - wp.floor(column) - HALF
    dy = row - wp.floor(row) - HALF
    return grid.cell * wp.sqrt(dx * dx + dy * dy)


@wp.func
def part_of(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Return the fraction along a segment that is nearest to a point."""
    step = grid.step[segment]
    start = grid.start[segment]
    part = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) * grid.inverse[segment]
    return wp.clamp(part, ZERO, ONE)


@wp.func
def squared_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Return the squared distance of a point to a segment."""
    part = part_of(grid, segment, x, y)
    dx = x - grid.start[segment][0] - part * grid.step[segment][0]
    dy = y - grid.start[segment][1] - part * grid.step[segment][1]
    return dx * dx + dy * dy


@wp.func
def distance_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Return the distance of a point to a segment."""
    return wp.sqrt(squared_to(grid, segment, x, y))


@wp.func
def cell_middle(grid: Grid, cell: wp.int32) -> wp.vec2d:
    """Return the middle of a cell."""
    column = wp.float64(cell // grid.rows)
    row = wp.float64(cell % grid.rows)
    return wp.vec2d(grid.low[0] + (column + HALF) * grid.cell, grid.low[1] + (row + HALF) * grid.cell)


@wp.func
def corner_distances(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.vec4d:
    """Return the distances of a segment to the corners of the cell with this middle."""
    h = HALF * grid.cell
    return wp.vec4d(
        distance_to(grid, segment, x - h, y - h),
        distance_to(grid, segment, x + h, y - h),
        distance_to(grid, segment, x - h, y + h),
        distance_to(grid, segment, x + h, y + h),
    )


@wp.func
def farther_everywhere(grid: Grid, segment: wp.int32, middle: wp.vec2d, corners: wp.vec4d, by: wp.float64) -> wp.bool:
    """Return whether a segment is farther than another one by more than ``by`` in the whole cell.

    The other segment has the distances ``corners`` to the cell's corners. The distance to a segment is convex. So it
    is nowhere below its tangent in the middle of the cell, and the other distance minus that tangent is largest in a
    corner.
    """
    away = middle - grid.start[segment] - part_of(grid, segment, middle[0], middle[1]) * grid.step[segment]
    d = wp.length(away)
    scale = wp.where(d > ZERO, HALF * grid.cell / wp.max(d, MIN_POSITIVE), ZERO)
    ux = scale * away[0]
    uy = scale * away[1]
    out = d - ux - uy > corners[0] + by and d + ux - uy > corners[1] + by
    return out and d - ux + uy > corners[2] + by and d + ux + uy > corners[3] + by


@wp.func
def costlier_everywhere(
    grid: Grid, segment: wp.int32, than: wp.int32, middle: wp.vec2d, corners: wp.vec4d, turn_cost: wp.float64
) -> wp.bool:
    """Return whether a segment is farther by more than the turn between both segments can cost."""
    by = turn_cost * wp.length(grid.direction[segment] - grid.direction[than]) + EPSILON
    return farther_everywhere(grid, segment, middle, corners, by)


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
    """Find the listed segments that can be the cheapest somewhere in a cell, filled up to whole batches.

    A segment is left out if another one is cheaper in the whole cell: the nearest of all to the cell's middle, or
    the nearest of its group. In a list the segments of a group follow one another. A row of ``candidates`` is complete
    if it has room for ``counts`` of them.
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
    # segments beyond this radius cannot be the cheapest anywhere in the cell
    reach = wp.sqrt(least) + DIAGONAL * grid.cell + wp.float64(2.0) * turn_cost + EPSILON
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
                excluded = d > reach or costlier_everywhere(grid, segment, nearest, middle, corners, turn_cost)
                if not excluded and not costlier_everywhere(grid, segment, best, middle, corners_of_group, turn_cost):
                    if kept < candidates.shape[1]:
                        candidates[i, kept] = segment
                    kept += 1
        j = wp.int32(after)
    while kept % BATCH_SIZE != 0:
        if kept < candidates.shape[1]:
            candidates[i, kept] = nearest
        kept += 1
    counts[i] = kept
    grid.nearest[cells[i]] = wp.sqrt(least)


@wp.struct
class Lanes:
    """The segments' lanes: number of the lane, arc length at the segment's start, its length and heading."""

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
    """Return the segment of least distance plus ``cost`` * (1 - cosine of the turn to it); ties go to the first."""
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
    """Return the squared distance of a point to the nearest candidate."""
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
    """Find the lane of the cheapest segment of each pose: its distance plus ``cost`` * (1 - cosine of the turn to it).

    Poses are x, y, cosine and sine of the heading. The rows of ``match`` are the arc length and offset on the lane, its
    heading there and the distance to it. The lane is -1 where the cell is not known yet, -2 off the grid.
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
        direction = grid.direction[best]
        left = direction[0] * (y - grid.start[best][1]) - direction[1] * (x - grid.start[best][0])
        number[i] = lanes.number[best]
        match[0, i] = lanes.s[best] + part * lanes.length[best]
        match[1, i] = wp.where(left == ZERO, ZERO, wp.sign(left) * away)
        match[2, i] = lanes.heading[best]
        match[3, i] = away


@wp.struct
class Border:
    """The normals at the ends of border segments, and the side of the border that each cell is on.

    Normals are NaN where they do not tell the inside. ``cell_sides`` sets the sides; before that they are 0.
    """

    normal_start: wp.array[wp.vec2d]
    normal_end: wp.array[wp.vec2d]
    sides: wp.array[wp.int8]


@wp.func
def normal_of(grid: Grid, border: Border, segment: wp.int32, part: wp.float64) -> wp.vec2d:
    """Return the normal of a border at the foot of a point: the segment's own, or the sum of both in a vertex."""
    out = wp.vec2d(-grid.step[segment][1], grid.step[segment][0])
    if part <= ZERO:
        out = wp.vec2d(border.normal_start[segment])
    elif part >= ONE:
        out = wp.vec2d(border.normal_end[segment])
    return out


@wp.func
def border_margin(grid: Grid, border: Border, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Return the distance to the nearest border segment, positive at its left; NaN in a vertex without a normal."""
    least = wp.float64(1.0e300)
    sure = wp.float64(-1.0)
    side = wp.float64(0.0)
    for j in range(BATCH_SIZE * grid.first[cell], BATCH_SIZE * (grid.first[cell] + grid.count[cell])):
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
    """Set the side of the border that a whole cell is on: 1 inside, -1 outside, 0 both or not certain.

    A cell is on one side if this is true for each candidate: for its line where a foot can be on it, and for the
    normal of each end that can be a foot.
    """
    i = wp.tid()
    cell = cells[i]
    middle = cell_middle(grid, cell)
    h = HALF * grid.cell
    inside = wp.bool(True)
    outside = wp.bool(True)
    for j in range(BATCH_SIZE * grid.first[cell], BATCH_SIZE * (grid.first[cell] + grid.count[cell])):
        segment = grid.candidates[j]
        step = grid.step[segment]
        away = middle - grid.start[segment]
        part = wp.dot(away, step) * grid.inverse[segment]
        more = h * (wp.abs(step[0]) + wp.abs(step[1])) * grid.inverse[segment]
        more += EPSILON * (ONE + wp.abs(part) + more)
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
                room = h * (wp.abs(normal[0]) + wp.abs(normal[1])) + EPSILON * wp.length(normal)
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
    """Return the margin as ``border_margin``; where a whole cell is on one side, only the distance is computed."""
    if border.sides[cell] == wp.int8(0):
        return border_margin(grid, border, cell, x, y)
    squared = least_squared(grid.batches, grid.first[cell], grid.count[cell], x, y)
    return wp.float64(border.sides[cell]) * wp.sqrt(squared)


@wp.func
def corner_of(pose: wp.vec4d, half: wp.vec2d, corner: wp.int32) -> wp.vec2d:
    """Return a corner of a box: front left, front right, rear right, rear left."""
    ahead = wp.where(corner < 2, half[0], -half[0])
    left = wp.where(corner == 0 or corner == 3, half[1], -half[1])
    return wp.vec2d(pose[0] + pose[2] * ahead - pose[3] * left, pose[1] + pose[3] * ahead + pose[2] * left)


@wp.kernel
def box_margins(
    grid: Grid,
    border: Border,
    poses: wp.array[wp.vec4d],
    half: wp.vec2d,
    max_margin: wp.float64,
    margins: wp.array[wp.float64],
):
    """Compute the least signed distance of a box's corners to the border, at most ``max_margin``.

    It is NaN where a corner's cell or side is not known, or off the grid. A corner in a cell that is wholly inside is
    skipped where the cell is farther from the border than the corners before.
    """
    i = wp.tid()
    least = wp.float64(max_margin)
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
    off_road_tolerance: wp.float64,
    steps: wp.array[wp.int32],
):
    """Find the first step with a corner more than ``off_road_tolerance`` off the road; -1 never, -2 not known."""
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
                elif margin < -off_road_tolerance and found == -1:
                    found = wp.int32(t)
        if found != -1:
            break
    steps[i] = found
