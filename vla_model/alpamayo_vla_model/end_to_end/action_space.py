"""Plans as 64 pairs (acceleration, curvature) of a unicycle: the action space of the Alpamayo family, batched.

Constants and formulas are those published with Alpamayo 1, 1.5 and 2 (``UnicycleAccelCurvatureActionSpace``), with
one difference: here the speed never becomes negative. The published roll-out drives backwards when it brakes past
standstill; this one stops, and drives on when the acceleration becomes positive again.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

STEPS = 64
DT = 0.1  # s
ACCELERATION_MEAN, ACCELERATION_STD = 0.02902694707164455, 0.6810426736454882  # m/s²
CURVATURE_MEAN, CURVATURE_STD = 0.0002692167976330542, 0.026148280660833106  # 1/m
ACCELERATION_LIMIT, CURVATURE_LIMIT = 9.8, 0.33  # bounds of the published space; nothing is clipped to them here

SMOOTH_POSE, RIDGE_HEADING, RIDGE_SPEED = 1e-6, 1e-8, 1e-4
SMOOTH_ACTION, RIDGE_ACTION = 1e-4, 1e-4


def normalise(actions: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
    """Turn accelerations (m/s²) and curvatures (1/m) into the unit-scale values that the expert predicts."""
    return (actions - actions.new_tensor([ACCELERATION_MEAN, CURVATURE_MEAN])) / actions.new_tensor(
        [ACCELERATION_STD, CURVATURE_STD]
    )


def denormalise(values: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
    """Turn unit-scale values into accelerations (m/s²) and curvatures (1/m)."""
    return values * values.new_tensor([ACCELERATION_STD, CURVATURE_STD]) + values.new_tensor(
        [ACCELERATION_MEAN, CURVATURE_MEAN]
    )


def actions_to_plan(actions: Float[Tensor, "... 64 2"], speed: Float[Tensor, "..."]) -> Float[Tensor, "... 64 4"]:
    """Roll (acceleration, curvature) out from the origin of the ego frame.

    With v the speed, floored at zero, and a the acceleration that remains of the commanded one at the floor::

        v' = max(v + a dt, 0);  θ' = θ + κ (v + v') dt / 2;  (x, y)' = (x, y) + dt / 2 (v u(θ) + v' u(θ'))

    which is the published roll-out (exact arc length, trapezoid position) wherever the floor does not act.

    Args:
        actions: m/s² and 1/m, de-normalised.
        speed: m/s at t0; negative values count as standstill.

    Returns:
        x, y (m), heading (rad, not wrapped) and speed (m/s) at 0.1 s to 6.4 s.
    """
    start = speed.clamp(min=0.0).unsqueeze(-1)
    free = start + torch.cumsum(actions[..., 0] * DT, dim=-1)
    # A walk held at zero from below is the free walk less its running minimum, where that is negative.
    held = free - torch.cummin(free, dim=-1).values.clamp(max=0.0)
    speeds = torch.cat([start, held], dim=-1)
    travelled = 0.5 * DT * (speeds[..., 1:] + speeds[..., :-1])
    heading = torch.cumsum(actions[..., 1] * travelled, dim=-1)
    angles = torch.cat([torch.zeros_like(start), heading], dim=-1)
    vx, vy = speeds * torch.cos(angles), speeds * torch.sin(angles)
    x = torch.cumsum(0.5 * DT * (vx[..., 1:] + vx[..., :-1]), dim=-1)
    y = torch.cumsum(0.5 * DT * (vy[..., 1:] + vy[..., :-1]), dim=-1)
    return torch.stack([x, y, heading, held], dim=-1)


def plan_to_actions(plan: Float[Tensor, "... 64 4"], speed: Float[Tensor, "..."]) -> Float[Tensor, "... 64 2"]:
    """Fit (acceleration, curvature) to a plan by the published chain of regularised least squares.

    Heading, speed, acceleration and curvature are fitted one after the other, each smoothed (third differences of
    the pose, second differences of the actions) and with a small ridge; the ridge draws the curvature to zero
    at standstill. Computed in float64, returned in the plan's type. The speed column of the plan is not used.

    Args:
        plan: x, y, heading (and speed) at 0.1 s to 6.4 s in the ego frame at t0.
        speed: m/s at t0.
    """
    shape, dtype = plan.shape[:-2], plan.dtype
    points = plan.reshape(-1, STEPS, 4).double()
    v0 = speed.expand(shape).reshape(-1).double().clamp(min=0.0)
    heading = _fit_heading(_unwrap(points[..., 2]))
    v = _fit_speed(points[..., :2], heading, v0)
    acceleration = _smooth_actions(torch.ones_like(v[..., 1:]), torch.diff(v, dim=-1) / DT)
    arc = 0.5 * (v[..., 1:] + v[..., :-1]) * DT
    curvature = _smooth_actions(arc, torch.diff(heading, dim=-1))
    return torch.stack([acceleration, curvature], dim=-1).reshape(*shape, STEPS, 2).to(dtype)


def _unwrap(angle: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    steps = torch.diff(angle, dim=-1, prepend=torch.zeros_like(angle[:, :1]))
    return torch.cumsum(torch.remainder(steps + torch.pi, 2 * torch.pi) - torch.pi, dim=-1)


@functools.cache
def _differences(size: int, order: int) -> Tensor:
    """D'D of the ``order``-th difference operator D over ``size`` values, scaled by 1 / dt^(2 order)."""
    operator = torch.eye(size, dtype=torch.float64)
    for _ in range(order):
        operator = torch.diff(operator, dim=0)
    return operator.T @ operator / DT ** (2 * order)


def _fit_heading(observed: Float[Tensor, "b 64"]) -> Float[Tensor, "b 65"]:
    """Smooth headings after a known heading of 0 at t0."""
    rough = SMOOTH_POSE * _differences(STEPS + 1, 3)[1:, 1:]
    system = rough + (1.0 + RIDGE_HEADING) * torch.eye(STEPS, dtype=torch.float64)
    fitted = torch.linalg.solve(system, observed.unsqueeze(-1)).squeeze(-1)
    return torch.cat([torch.zeros_like(fitted[:, :1]), fitted], dim=-1)


def _fit_speed(
    xy: Float[Tensor, "b 64 2"], heading: Float[Tensor, "b 65"], v0: Float[Tensor, " b"]
) -> Float[Tensor, "b 65"]:
    """Speeds with v_t u_t + v_{t+1} u_{t+1} = 2 Δp_t / dt in the least-squares sense, v_0 given."""
    batch = len(xy)
    u = torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)
    target = 2.0 / DT * torch.diff(torch.cat([torch.zeros_like(xy[:, :1]), xy], dim=1), dim=1)
    normal = torch.zeros(batch, STEPS + 1, STEPS + 1, dtype=torch.float64)
    index = torch.arange(STEPS)
    normal[:, index, index] += 1.0
    normal[:, index + 1, index + 1] += 1.0
    cross = (u[:, :-1] * u[:, 1:]).sum(-1)
    normal[:, index, index + 1] = cross
    normal[:, index + 1, index] = cross
    right = torch.zeros(batch, STEPS + 1, dtype=torch.float64)
    right[:, :-1] += (u[:, :-1] * target).sum(-1)
    right[:, 1:] += (u[:, 1:] * target).sum(-1)
    normal = normal + SMOOTH_POSE * _differences(STEPS + 1, 3) + RIDGE_SPEED * torch.eye(STEPS + 1)
    known = normal[:, 1:, 0] * v0[:, None]
    fitted = torch.linalg.solve(normal[:, 1:, 1:], (right[:, 1:] - known).unsqueeze(-1)).squeeze(-1)
    return torch.cat([v0[:, None], fitted], dim=-1)


def _smooth_actions(gain: Float[Tensor, "b 64"], target: Float[Tensor, "b 64"]) -> Float[Tensor, "b 64"]:
    """Minimise |gain * x - target|² with second differences and a ridge."""
    system = torch.diag_embed(gain**2) + SMOOTH_ACTION * _differences(STEPS, 2)
    system = system + RIDGE_ACTION * torch.eye(STEPS, dtype=torch.float64)
    return torch.linalg.solve(system, (gain * target).unsqueeze(-1)).squeeze(-1)
