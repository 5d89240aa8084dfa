# mypy: ignore-errors
"""RSS: safe distances, and who has to answer when they are gone."""

from alpamayo.validator.packed import BLOCK
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
STEPS_A_BLOCK = wp.constant(BLOCK)
HALF_A_BLOCK = wp.constant(wp.float64(0.5 * BLOCK))


@wp.struct
class Rules:
    """What ``rss.assess`` takes for granted of the ego and of an other, ready for use: brakes as 1 / (2 brake)."""

    rho_ego: wp.float64
    rho_other: wp.float64
    accel_ego: wp.float64
    accel_other: wp.float64
    accel_facing: wp.float64
    brake_ego: wp.float64
    brake_ego_correct: wp.float64
    brake_other: wp.float64
    hardest_ego: wp.float64
    hardest_other: wp.float64
    least: wp.float64
    side_accel: wp.float64
    side_brake: wp.float64
    side_own: wp.float64
    still: wp.float64
    ask: wp.float64
    ask_facing: wp.float64
    free: wp.float64


@wp.func
def stopping(v: wp.float64, rho: wp.float64, a: wp.float64, brake: wp.float64) -> wp.float64:
    """``rss.stopping_distance`` of one who is not going backwards."""
    top = v + rho * a
    return v * rho + HALF * a * rho * rho + top * top * brake


@wp.func
def safe_along(v_ego: wp.float64, v_other: wp.float64, ego_behind: wp.bool, r: Rules) -> wp.float64:
    """Safe longitudinal distance of ``rss.assess``."""
    safe = wp.float64(0.0)
    if ego_behind and v_other < ZERO:
        safe = stopping(v_ego, r.rho_ego, r.accel_facing, r.brake_ego_correct)
        safe = safe + stopping(-v_other, r.rho_other, r.accel_facing, r.brake_other)
    elif ego_behind:
        safe = stopping(v_ego, r.rho_ego, r.accel_ego, r.brake_ego) - v_other * v_other * r.hardest_other
    else:
        safe = stopping(wp.max(v_other, ZERO), r.rho_other, r.accel_other, r.brake_other)
        safe = safe - v_ego * v_ego * r.hardest_ego
    return wp.max(safe, ZERO) + r.least


@wp.func
def safe_across(towards: wp.float64, r: Rules) -> wp.float64:
    """Safe lateral distance of ``rss.assess`` to an other who comes nearer at that speed; the ego goes straight."""
    top = towards + r.rho_other * r.side_accel
    way = towards * r.rho_other + HALF * r.side_accel * r.rho_other * r.rho_other
    return wp.max(r.side_own + way + wp.where(top > ZERO, top * top * r.side_brake, ZERO), ZERO)


@wp.func
def most_along(top: wp.float64, low: wp.float64, high: wp.float64, r: Rules) -> wp.float64:
    """Upper bound of ``safe_along`` for an ego of at most ``top`` and an other between ``low`` and ``high``."""
    out = stopping(top, r.rho_ego, wp.max(r.accel_ego, r.accel_facing), wp.max(r.brake_ego, r.brake_ego_correct))
    if low < ZERO:
        out = out + stopping(-low, r.rho_other, r.accel_facing, r.brake_other)
    return wp.max(out, stopping(wp.max(high, ZERO), r.rho_other, r.accel_other, r.brake_other)) + r.least


@wp.func
def across(
    p: wp.vec4d, half: wp.vec2d, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d, stands: wp.float64, r: Rules
) -> wp.float64:
    """Lateral gap over the safe one; someone who stands does not move sideways."""
    left = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(left) - half[1] - half_q[0] * s - half_q[1] * c
    safe = wp.float64(r.still)
    if v[0] * v[0] + v[1] * v[1] > stands * stands:
        right = p[3] * v[0] - p[2] * v[1]
        safe = safe_across(wp.where(left < ZERO, -right, right), r)
    return gap - safe


@wp.func
def along(
    p: wp.vec4d, half: wp.vec2d, v_ego: wp.float64, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d, r: Rules
) -> wp.float64:
    """Longitudinal gap over the safe one."""
    ahead = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(ahead) - half[0] - half_q[0] * c - half_q[1] * s
    return gap - safe_along(wp.abs(v_ego), p[2] * v[0] + p[3] * v[1], ahead > ZERO, r)


@wp.func
def is_before(p: wp.vec4d, q: wp.vec4d) -> wp.bool:
    """Whether a place is before the ego, along its heading."""
    return p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1]) > ZERO


@wp.func
def is_within(p: wp.vec4d, q: wp.vec4d, far: wp.float64, wide: wp.float64) -> wp.bool:
    """Whether a place is nearer than that along and across the ego's heading."""
    dx = q[0] - p[0]
    dy = q[1] - p[1]
    return wp.abs(p[2] * dx + p[3] * dy) < far and wp.abs(p[2] * dy - p[3] * dx) < wide


@wp.func
def goes_against(p: wp.vec4d, v: wp.vec2d) -> wp.bool:
    """Whether a velocity is against the ego's heading."""
    return p[2] * v[0] + p[3] * v[1] < ZERO


@wp.kernel
def responsibilities(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    velocity: wp.array2d[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    fastest: wp.array[wp.float64],
    changes: wp.array2d[wp.float64],
    r: Rules,
    stands: wp.float64,
    furthest: wp.float64,
    dt: wp.float64,
    turns: wp.array2d[wp.float64],
    margins: wp.array2d[wp.float64],
    asked: wp.array2d[wp.float64],
):
    """RSS of each motion: least of the larger margins to anybody, and the most that may be accelerated.

    ``fastest`` [a] bounds the speed at which the other's place changes, ``changes`` [a, blocks] how far its velocity
    is from that in the middle of a block; ``turns`` [k, blocks] is room for the same of the ego's direction. A step
    matters where both margins are under ``furthest``. Of steps that do not, only the last before one that does is
    looked at: not both gaps are lost then, so which was lost first is known.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    top = wp.float64(0.0)
    moves = wp.float64(0.0)
    for t in range(steps):
        margins[k, t] = furthest
        asked[k, t] = r.free
        top = wp.max(top, wp.abs(speed[k, t]))
        if t > 0:
            dx = ego[k, t][0] - ego[k, t - 1][0]
            dy = ego[k, t][1] - ego[k, t - 1][1]
            moves = wp.max(moves, dx * dx + dy * dy)
    moves = wp.sqrt(moves) / dt
    blocks = (steps + STEPS_A_BLOCK - 1) // STEPS_A_BLOCK
    for block in range(blocks):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        middle = wp.min(begin + STEPS_A_BLOCK // 2, end - 1)
        turns[k, block] = ZERO
        for t in range(begin, end):
            dc = ego[k, t][2] - ego[k, middle][2]
            ds = ego[k, t][3] - ego[k, middle][3]
            turns[k, block] = wp.max(turns[k, block], wp.sqrt(dc * dc + ds * ds))
    for a in range(others.shape[0]):
        size = wp.length(halves[a])
        lost_along = wp.int32(-1)
        lost_across = wp.int32(-1)
        known = wp.int32(-1)
        for block in range(blocks):
            begin = block * STEPS_A_BLOCK
            end = wp.min(begin + STEPS_A_BLOCK, steps)
            matters = wp.bool(True)
            far = wp.float64(1.0e300)
            wide = wp.float64(1.0e300)
            middle = wp.min(begin + STEPS_A_BLOCK // 2, end - 1)
            if valid[a, middle] != wp.uint8(0):
                p = wp.vec4d(ego[k, middle])
                x = others[a, middle][0] - p[0]
                y = others[a, middle][1] - p[1]
                ahead = wp.abs(p[2] * x + p[3] * y)
                left = wp.abs(p[2] * y - p[3] * x)
                slack = (moves + fastest[a]) * HALF_A_BLOCK * dt + wp.sqrt(x * x + y * y) * turns[k, block]
                v = wp.vec2d(velocity[a, middle])
                vary = changes[a, block] + wp.length(v) * turns[k, block]
                along_v = p[2] * v[0] + p[3] * v[1]
                across_v = wp.abs(p[2] * v[1] - p[3] * v[0])
                far = most_along(top, along_v - vary, along_v + vary, r) + size + half[0] + furthest
                wide = wp.max(safe_across(across_v + vary, r), r.still) + size + half[1] + furthest
                matters = ahead < far + slack and left < wide + slack
            if matters:
                for t in range(begin, end):
                    if valid[a, t] != wp.uint8(0) and is_within(ego[k, t], others[a, t], far, wide):
                        side = across(ego[k, t], half, others[a, t], halves[a], velocity[a, t], stands, r)
                        if side < furthest:
                            if known != t - 1:
                                lost_along = wp.int32(-1)
                                lost_across = wp.int32(-1)
                                if t > 0 and valid[a, t - 1] != wp.uint8(0):
                                    before = along(
                                        ego[k, t - 1],
                                        half,
                                        speed[k, t - 1],
                                        others[a, t - 1],
                                        halves[a],
                                        velocity[a, t - 1],
                                        r,
                                    )
                                    if before <= ZERO:
                                        lost_along = t - 1
                                    before = across(
                                        ego[k, t - 1],
                                        half,
                                        others[a, t - 1],
                                        halves[a],
                                        velocity[a, t - 1],
                                        stands,
                                        r,
                                    )
                                    if before <= ZERO:
                                        lost_across = t - 1
                            ahead_margin = along(
                                ego[k, t], half, speed[k, t], others[a, t], halves[a], velocity[a, t], r
                            )
                            lost_along = wp.where(ahead_margin > ZERO, -1, wp.where(lost_along < 0, t, lost_along))
                            lost_across = wp.where(side > ZERO, -1, wp.where(lost_across < 0, t, lost_across))
                            margins[k, t] = wp.min(margins[k, t], wp.max(ahead_margin, side))
                            known = t
                            last = lost_along >= 0 and lost_across >= 0 and lost_along >= lost_across
                            if last and is_before(ego[k, t], others[a, t]):
                                facing = goes_against(ego[k, t], velocity[a, t])
                                asked[k, t] = wp.min(asked[k, t], wp.where(facing, r.ask_facing, r.ask))
