# mypy: ignore-errors
"""RSS: margins over the safe distances, and the acceleration that the proper response allows."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


@wp.struct
class RssConstants:
    """The parameters of ``rss.assess`` for the ego and another agent, ready for use: brakes as 1 / (2 brake)."""

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
    response: wp.float64
    response_facing: wp.float64
    unrestricted: wp.float64
    facing_inverse: wp.float64
    stopped: wp.float64
    margin_limit: wp.float64


@wp.func_native("""
    const int count = agents.shape[2];
    const double *x = wp::address(agents, t, 0, 0), *y = x + count, *c = y + count, *s = c + count;
    const double *vx = s + count, *vy = vx + count, *valid = vy + count;
    const double *half_length = wp::address(halves, 0, 0), *half_width = half_length + count;
    double* brakes = wp::address(brake_if_lost, k, 0);
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
        least[i] = r.margin_limit;
        most[i] = r.unrestricted;
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

            const bool is_ahead = ahead > 0.0;
            const double nearing = positive(-v_ahead), part = nearing * r.facing_inverse;
            const double facing = part < 1.0 ? part : 1.0;
            const double facing_safe = stop_facing + stopping(nearing, r.rho_other, r.accel_facing, r.brake_other);
            const double leaving = positive(v_ahead), same_safe = positive(stop - leaving * leaving * r.hardest_other);
            const double behind_safe = same_safe + facing * (facing_safe - same_safe);
            const double other_stop = stopping(positive(v_ahead), r.rho_other, r.accel_other, r.brake_other);
            const double safe = positive(is_ahead ? behind_safe : other_stop - stop_hardest) + r.least;

            const double towards = left < 0.0 ? v_left : -v_left;
            const double top = positive(towards + r.rho_other * r.side_accel);
            const double travelled = towards * r.rho_other + 0.5 * r.side_accel * r.rho_other * r.rho_other;
            const double moving_safe = positive(r.side_own + travelled + top * top * r.side_brake);
            const bool moves = vx[a] * vx[a] + vy[a] * vy[a] > r.stopped * r.stopped;
            const double side_safe = moves ? moving_safe : r.still;

            const double along = valid[a] > 0.0 ? gap - safe : INFINITY, across = side_gap - side_safe;
            const double margin = along > across ? along : across;
            brakes[a] = margin > 0.0 ? (along > 0.0 ? 1.0 : 0.0) : brakes[a];
            const bool must_brake = (margin <= 0.0) & is_ahead & (brakes[a] > 0.0);
            const double response = r.response + facing * (r.response_facing - r.response);
            const double allowed = must_brake ? response : r.unrestricted;
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
    agents: wp.array3d[wp.float64],
    halves: wp.array2d[wp.float64],
    t: wp.int32,
    r: RssConstants,
    brake_if_lost: wp.array2d[wp.float64],
    k: wp.int32,
) -> wp.vec2d:
    """Compute the RSS margin of the worst agent at one time, and the largest acceleration that is allowed.

    The formulas are those of ``rss.assess``; the ego drives straight on, and a stopped agent does not move sideways.
    ``brake_if_lost`` [k, a] is 1 where the longitudinal gap would be the last to be lost (or lost at once with the
    lateral gap), 0 where it is lost already. While both gaps are lost it keeps its value.
    """
    ...


@wp.kernel
def rss_margins(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    half: wp.vec2d,
    agents: wp.array3d[wp.float64],
    halves: wp.array2d[wp.float64],
    r: RssConstants,
    brake_if_lost: wp.array2d[wp.float64],
    margins: wp.array2d[wp.float64],
    allowed_acceleration: wp.array2d[wp.float64],
):
    """Compute for each motion the RSS margin of the worst agent and the largest acceleration that is allowed.

    ``agents`` and ``halves`` are ``packed.AgentColumns``; ``brake_if_lost`` [k, a] starts at 1.
    """
    k = wp.tid()
    for t in range(ego.shape[1]):
        found = assess(ego[k, t], wp.abs(speed[k, t]), half, agents, halves, t, r, brake_if_lost, k)
        margins[k, t] = found[0]
        allowed_acceleration[k, t] = found[1]
