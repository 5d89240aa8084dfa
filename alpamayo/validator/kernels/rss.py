# mypy: ignore-errors
"""RSS: safe distances, and who has to answer when they are gone."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


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
    stands: wp.float64
    furthest: wp.float64


@wp.func_native("""
    const int count = others.shape[2];
    const double *x = wp::address(others, t, 0, 0), *y = x + count, *c = y + count, *s = c + count;
    const double *vx = s + count, *vy = vx + count, *there = vy + count;
    const double *half_length = wp::address(halves, 0, 0), *half_width = half_length + count;
    double* would = wp::address(would_ask, k, 0);
    const auto positive = [](double value) { return value > 0.0 ? value : 0.0; };
    const auto stopping = [](double v, double rho, double accel, double brake) {
        const double top = v + rho * accel;
        return v * rho + 0.5 * accel * rho * rho + top * top * brake;
    };
    const double ego_x = ego[0], ego_y = ego[1], ego_c = ego[2], ego_s = ego[3];
    const double stop = stopping(speed, r.rho_ego, r.accel_ego, r.brake_ego);
    const double stop_facing = stopping(speed, r.rho_ego, r.accel_facing, r.brake_ego_correct);
    const double stop_hardest = speed * speed * r.hardest_ego;
    double least[8], most[8];
    for (int i = 0; i < 8; ++i) {
        least[i] = r.furthest;
        most[i] = r.free;
    }
    for (int first = 0; first < count; first += 8) {
        #pragma clang loop vectorize(assume_safety) vectorize_width(8) interleave_count(1)
        for (int i = 0; i < 8; ++i) {
            const int a = first + i;
            const double dx = x[a] - ego_x, dy = y[a] - ego_y;
            const double ahead = ego_c * dx + ego_s * dy, left = ego_c * dy - ego_s * dx;
            const double v_ahead = ego_c * vx[a] + ego_s * vy[a], v_left = ego_c * vy[a] - ego_s * vx[a];
            const double turn_c = fabs(ego_c * c[a] + ego_s * s[a]), turn_s = fabs(ego_c * s[a] - ego_s * c[a]);
            const double gap = fabs(ahead) - half[0] - half_length[a] * turn_c - half_width[a] * turn_s;
            const double side_gap = fabs(left) - half[1] - half_length[a] * turn_s - half_width[a] * turn_c;

            const bool facing = v_ahead < 0.0, before = ahead > 0.0;
            const double facing_safe = stop_facing + stopping(-v_ahead, r.rho_other, r.accel_facing, r.brake_other);
            const double behind_safe = facing ? facing_safe : stop - v_ahead * v_ahead * r.hardest_other;
            const double other_stop = stopping(positive(v_ahead), r.rho_other, r.accel_other, r.brake_other);
            const double safe = positive(before ? behind_safe : other_stop - stop_hardest) + r.least;

            const double towards = left < 0.0 ? v_left : -v_left;
            const double top = positive(towards + r.rho_other * r.side_accel);
            const double way = towards * r.rho_other + 0.5 * r.side_accel * r.rho_other * r.rho_other;
            const double moving_safe = positive(r.side_own + way + top * top * r.side_brake);
            const bool moves = vx[a] * vx[a] + vy[a] * vy[a] > r.stands * r.stands;
            const double side_safe = moves ? moving_safe : r.still;

            const double along = there[a] > 0.0 ? gap - safe : INFINITY, across = side_gap - side_safe;
            const double margin = along > across ? along : across;
            would[a] = margin > 0.0 ? (along > 0.0 ? 1.0 : 0.0) : would[a];
            const bool asks = (margin <= 0.0) & before & (would[a] > 0.0);
            const double allowed = asks ? (facing ? r.ask_facing : r.ask) : r.free;
            least[i] = margin < least[i] ? margin : least[i];
            most[i] = allowed < most[i] ? allowed : most[i];
        }
    }
    for (int i = 1; i < 8; ++i) {
        least[0] = least[i] < least[0] ? least[i] : least[0];
        most[0] = most[i] < most[0] ? most[i] : most[0];
    }
    return wp::vec_t<2, double>(least[0], most[0]);
""")
def assess(
    ego: wp.vec4d,
    speed: wp.float64,
    half: wp.vec2d,
    others: wp.array3d[wp.float64],
    halves: wp.array2d[wp.float64],
    t: wp.int32,
    r: Rules,
    would_ask: wp.array2d[wp.float64],
    k: wp.int32,
) -> wp.vec2d:
    """Least of the larger margins to anybody at a time, and the most that may be accelerated.

    The formulas are those of ``rss.assess``; the ego goes straight, and someone who stands does not move sideways.
    ``would_ask`` [k, a] is 1 where the longitudinal gap, if both were lost next, would be the last to go (or one of
    two), 0 where it is lost already; while both are lost it stays.
    """
    ...


@wp.kernel
def responsibilities(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    half: wp.vec2d,
    others: wp.array3d[wp.float64],
    halves: wp.array2d[wp.float64],
    r: Rules,
    would_ask: wp.array2d[wp.float64],
    margins: wp.array2d[wp.float64],
    asked: wp.array2d[wp.float64],
):
    """RSS of each motion: least of the larger margins to anybody, and the most that may be accelerated.

    ``others`` and ``halves`` are ``packed.Columns``; ``would_ask`` [k, a] starts at 1.
    """
    k = wp.tid()
    for t in range(ego.shape[1]):
        found = assess(ego[k, t], wp.abs(speed[k, t]), half, others, halves, t, r, would_ask, k)
        margins[k, t] = found[0]
        asked[k, t] = found[1]
