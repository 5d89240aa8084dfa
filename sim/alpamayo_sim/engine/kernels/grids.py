# mypy: ignore-errors
"""Grids over a map whose cells list nearby items; a list is made when an ego first comes to its cell.

A cell's number is 0 before its list is made, then 1 + the length of the list, or one of the constants below. A
search without a list (``LIST_TOO_LONG``) visits all items, with the same result.

Two threads that make the same list at once write the same values. Loops over many rows are ``while`` loops, because
Warp's ``range`` costs more than their work.
"""

from alpamayo_sim.engine.kernels.layout import (
    LANE_REACH,
    MARGIN_RANGE,
    NEARBY,
    BorderRow,
    CentreRow,
    Grid,
    ScenarioBuffers,
    ScenarioSlot,
)
from alpamayo_sim.engine.kernels.levels import on_level
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

LIST_TOO_LONG = wp.constant(-1)  # the list cannot hold all nearby items
FAR_INSIDE = wp.constant(-2)  # no border within MARGIN_RANGE of the cell
FAR_OUTSIDE = wp.constant(-3)

MARGIN_RANGE_M = wp.constant(MARGIN_RANGE)
LANE_REACH_M = wp.constant(LANE_REACH)
OBSERVATION_RANGE_M = wp.constant(100.0)  # agents and map pieces further away are not observed
DISTANCE_BINS = wp.constant(64)  # of distances up to that
MAX_NEARBY = wp.constant(NEARBY)
Histogram = wp.types.vector(length=64, dtype=wp.int32)
HALF_DIAGONAL = wp.constant(0.7072)  # of a cell of size 1
HEADING_COST_M = wp.constant(2.0)  # m; as in ``map.lane_tree``
ROUNDING_M = wp.constant(1.0e-3)


@wp.func
def within(grid: Grid, point: wp.vec2) -> wp.vec2:
    """Return the nearest point of the grid."""
    x = wp.clamp(point[0] - grid.corner[0], 0.0, grid.size * wp.float32(grid.nx))
    y = wp.clamp(point[1] - grid.corner[1], 0.0, grid.size * wp.float32(grid.ny))
    return grid.corner + wp.vec2(x, y)


@wp.func
def cell_of(grid: Grid, point: wp.vec2) -> wp.int32:
    """Return the cell of a point; for a point outside the grid, the nearest cell."""
    x = wp.clamp(wp.int32(wp.floor((point[0] - grid.corner[0]) / grid.size)), 0, grid.nx - 1)
    y = wp.clamp(wp.int32(wp.floor((point[1] - grid.corner[1]) / grid.size)), 0, grid.ny - 1)
    return y * grid.nx + x


@wp.func
def middle_of(grid: Grid, cell: wp.int32) -> wp.vec2:
    """Return the middle of a cell."""
    x = wp.float32(cell % grid.nx) + 0.5
    y = wp.float32(cell / grid.nx) + 0.5
    return grid.corner + grid.size * wp.vec2(x, y)


@wp.func
def from_border(row: BorderRow, point: wp.vec2) -> wp.vec3:
    """Return the vector (m) from the nearest point of a border segment to a point, and that point's share (0 to 1)."""
    away = point - row.start
    t = wp.clamp(wp.dot(away, row.step) * row.per_length, 0.0, 1.0)
    return wp.vec3(away[0] - t * row.step[0], away[1] - t * row.step[1], t)


@wp.func
def side_of(row: BorderRow, gap: wp.vec3) -> wp.float32:
    """Return the side of the border that a point is on, by the normal at the nearest point: positive inside."""
    normal = wp.vec2(-row.step[1], row.step[0])
    if gap[2] <= 0.0:
        normal = row.normal_start
    if gap[2] >= 1.0:
        normal = row.normal_end
    return gap[0] * normal[0] + gap[1] * normal[1]


@wp.func
def nearest_border(buffers: ScenarioBuffers, slot: ScenarioSlot, point: wp.vec2, elevation: wp.float32) -> wp.int32:
    """Return the border segment nearest to a point on the level of a ground; -1 if there is none."""
    nearest = wp.float32(1.0e12)
    found = wp.int32(-1)
    i = wp.int32(0)
    while i < slot.borders:
        row = buffers.borders[slot.border_row + i]
        gap = from_border(row, point)
        squared = gap[0] * gap[0] + gap[1] * gap[1]
        if squared < nearest and on_level(slot, elevation, row.elevation[0], row.elevation[1]):
            nearest = squared
            found = i
        i += 1
    return found


@wp.func
def nearest_listed_border(
    buffers: ScenarioBuffers, slot: ScenarioSlot, first: wp.int32, count: wp.int32, point: wp.vec2
) -> wp.int32:
    """Return the border segment of a list that is nearest to a point."""
    nearest = wp.float32(1.0e12)
    found = wp.int32(0)
    i = wp.int32(first)
    while i < first + count:
        segment = buffers.lists[i]
        gap = from_border(buffers.borders[slot.border_row + segment], point)
        squared = gap[0] * gap[0] + gap[1] * gap[1]
        if squared < nearest:
            nearest = squared
            found = segment
        i += 1
    return found


@wp.func
def list_border(buffers: ScenarioBuffers, slot: ScenarioSlot, cell: wp.int32):
    """Make a cell's list of border segments.

    One that is the nearest to a point of the cell, and within ``MARGIN_RANGE_M`` of it, is no further from the middle
    than the nearest one by the cell's diagonal, and within range plus half of it. On a map with levels the
    nearest one depends on the level, so that all are searched.
    """
    grid = slot.border_grid
    if slot.has_levels != 0:
        buffers.cells[grid.cell_row + cell] = LIST_TOO_LONG
        return
    middle = middle_of(grid, cell)
    half = HALF_DIAGONAL * grid.size
    nearest = buffers.borders[slot.border_row + nearest_border(buffers, slot, middle, 0.0)]
    gap = from_border(nearest, middle)
    distance = wp.length(wp.vec2(gap[0], gap[1]))
    if distance > MARGIN_RANGE_M + half:
        buffers.cells[grid.cell_row + cell] = wp.where(side_of(nearest, gap) < 0.0, FAR_OUTSIDE, FAR_INSIDE)
        return
    reach = wp.min(MARGIN_RANGE_M + half, distance + 2.0 * half) + ROUNDING_M
    first = grid.list_row + cell * grid.capacity
    count = wp.int32(0)
    i = wp.int32(0)
    while i < slot.borders:
        gap = from_border(buffers.borders[slot.border_row + i], middle)
        if gap[0] * gap[0] + gap[1] * gap[1] <= reach * reach:
            if count < grid.capacity:
                buffers.lists[first + count] = i
            count += 1
        i += 1
    buffers.cells[grid.cell_row + cell] = wp.where(count > grid.capacity, LIST_TOO_LONG, 1 + count)


@wp.func
def drivable_margin(buffers: ScenarioBuffers, slot: ScenarioSlot, point: wp.vec2, elevation: wp.float32) -> wp.float32:
    """Return the signed distance (m) to the border of the drivable area, clamped to +-4 m; +4 m without an area.

    Only the border on the level of a ground at ``elevation`` (m) counts.

    Outside the grid, which reaches 4 m beyond the border, the margin is that of the nearest point of the grid.
    """
    if slot.borders == 0:
        return MARGIN_RANGE_M
    grid = slot.border_grid
    cell = cell_of(grid, point)
    listed = buffers.cells[grid.cell_row + cell]
    if listed <= FAR_INSIDE:
        return wp.where(listed == FAR_INSIDE, MARGIN_RANGE_M, -MARGIN_RANGE_M)
    place = within(grid, point)
    segment = wp.int32(0)
    if listed > 0:
        segment = nearest_listed_border(buffers, slot, grid.list_row + cell * grid.capacity, listed - 1, place)
    else:
        segment = nearest_border(buffers, slot, place, elevation)
    if segment < 0:
        return MARGIN_RANGE_M
    row = buffers.borders[slot.border_row + segment]
    gap = from_border(row, place)
    distance = wp.min(wp.sqrt(gap[0] * gap[0] + gap[1] * gap[1]), MARGIN_RANGE_M)
    return wp.where(side_of(row, gap) < 0.0, -distance, distance)


@wp.func
def from_lane(row: CentreRow, point: wp.vec2) -> wp.vec2:
    """Return the signed distance (m, left positive) of a point from a lane segment, and the foot (m) on it."""
    away = point - row.start
    t = wp.clamp(wp.dot(away, row.along), 0.0, row.length)
    gap = away - t * row.along
    left = row.along[0] * away[1] - row.along[1] * away[0]
    distance = wp.length(gap)
    return wp.vec2(wp.where(left < 0.0, -distance, distance), t)


@wp.func
def list_lanes(buffers: ScenarioBuffers, slot: ScenarioSlot, cell: wp.int32):
    """Make a cell's list of the lane segments that come within ``LANE_REACH_M`` of it."""
    grid = slot.centre_grid
    middle = middle_of(grid, cell)
    reach = LANE_REACH_M + HALF_DIAGONAL * grid.size + ROUNDING_M
    first = grid.list_row + cell * grid.capacity
    count = wp.int32(0)
    i = wp.int32(0)
    while i < slot.centres:
        away = from_lane(buffers.centres[slot.centre_row + i], middle)
        if wp.abs(away[0]) <= reach:
            if count < grid.capacity:
                buffers.lists[first + count] = i
            count += 1
        i += 1
    buffers.cells[grid.cell_row + cell] = wp.where(count > grid.capacity, LIST_TOO_LONG, 1 + count)


@wp.func
def lane_at(
    buffers: ScenarioBuffers, slot: ScenarioSlot, point: wp.vec2, direction: wp.vec2, elevation: wp.float32
) -> wp.int32:
    """Return the lane segment nearest to a point, -1 if none is within ``LANE_REACH_M``.

    The opposite direction costs 4 m. Lanes on other levels than a ground at ``elevation`` (m) do not count.
    """
    if slot.centres == 0:
        return -1
    grid = slot.centre_grid
    cell = cell_of(grid, point)
    listed = buffers.cells[grid.cell_row + cell]
    first = grid.list_row + cell * grid.capacity
    count = wp.where(listed == LIST_TOO_LONG, slot.centres, listed - 1)
    least = wp.float32(1.0e6)
    found = wp.int32(-1)
    i = wp.int32(0)
    while i < count:
        segment = i
        if listed != LIST_TOO_LONG:
            segment = buffers.lists[first + i]
        row = buffers.centres[slot.centre_row + segment]
        distance = wp.abs(from_lane(row, point)[0])
        cost = distance + HEADING_COST_M * (1.0 - wp.dot(row.along, direction))
        low = wp.min(row.elevation[0], row.elevation[1])
        high = wp.max(row.elevation[0], row.elevation[1])
        if distance <= LANE_REACH_M and cost < least and on_level(slot, elevation, low, high):
            least = cost
            found = segment
        i += 1
    return found


@wp.func
def bin_of(distance: wp.float32) -> wp.int32:
    """Return the bin of a distance (m) below ``OBSERVATION_RANGE_M``."""
    return wp.min(wp.int32(distance * wp.float32(DISTANCE_BINS) / OBSERVATION_RANGE_M), DISTANCE_BINS - 1)


@wp.func
def list_pieces(buffers: ScenarioBuffers, slot: ScenarioSlot, cell: wp.int32):
    """Make a cell's list: the pieces nearest to its middle by a counting sort of their distances."""
    middle = middle_of(slot.piece_grid, cell)
    counts = Histogram()
    k = wp.int32(0)
    while k < slot.pieces:
        piece = buffers.pieces[slot.piece_row + k]
        distance = wp.length(wp.vec2(piece[0], piece[1]) - middle)
        if distance < OBSERVATION_RANGE_M:
            counts[bin_of(distance)] += 1
        k += 1
    starts = Histogram()
    total = wp.int32(0)
    for b in range(DISTANCE_BINS):
        starts[b] = total
        total += counts[b]
    first = slot.piece_grid.list_row + cell * MAX_NEARBY
    k = wp.int32(0)
    while k < slot.pieces:
        piece = buffers.pieces[slot.piece_row + k]
        distance = wp.length(wp.vec2(piece[0], piece[1]) - middle)
        if distance < OBSERVATION_RANGE_M:
            b = bin_of(distance)
            place = starts[b]
            starts[b] = place + 1
            if place < MAX_NEARBY:
                buffers.lists[first + place] = k
        k += 1
    buffers.cells[slot.piece_grid.cell_row + cell] = 1 + wp.min(total, MAX_NEARBY)
