"""The action space against the closed form, its own inverse, and the published roll-out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alpamayo_vla_model.end_to_end import action_space as space


def published_roll_out(actions: Tensor, v0: float) -> Tensor:
    """The formula of the published action space, step by step; it has no floor."""
    v, heading, x, y = v0, 0.0, 0.0, 0.0
    rows = []
    for a, k in actions.tolist():
        v1, heading1 = v + a * 0.1, heading + k * v * 0.1 + k * a * 0.1**2 / 2.0
        x += 0.05 * (v * math.cos(heading) + v1 * math.cos(heading1))
        y += 0.05 * (v * math.sin(heading) + v1 * math.sin(heading1))
        v, heading = v1, heading1
        rows.append([x, y, heading, v])
    return torch.tensor(rows)


def constant(acceleration: float, curvature: float) -> Tensor:
    return torch.tensor([acceleration, curvature]).expand(64, 2).clone()


def test_is_the_published_roll_out_where_the_car_does_not_stop() -> None:
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(64, 2, generator=generator) * torch.tensor([0.7, 0.03])
    plan = space.actions_to_plan(actions, torch.tensor(12.0))
    torch.testing.assert_close(plan, published_roll_out(actions, 12.0), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("curvature", [0.05, -0.1])
def test_constant_curvature_is_a_circle(curvature: float) -> None:
    plan = space.actions_to_plan(constant(0.0, curvature), torch.tensor(8.0))
    angle = curvature * 8.0 * 0.1 * torch.arange(1, 65)
    circle = torch.stack([torch.sin(angle), 1.0 - torch.cos(angle)], dim=-1) / curvature
    torch.testing.assert_close(plan[:, 2], angle, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(plan[:, :2], circle, atol=1e-2, rtol=2e-3)  # of the trapezoid


def test_constant_acceleration_is_a_parabola() -> None:
    plan = space.actions_to_plan(constant(1.5, 0.0), torch.tensor(3.0))
    t = 0.1 * torch.arange(1, 65)
    torch.testing.assert_close(plan[:, 0], 3.0 * t + 0.75 * t**2)
    torch.testing.assert_close(plan[:, 3], 3.0 + 1.5 * t)


@given(
    brake=st.floats(-9.0, -0.5),
    speed=st.floats(0.0, 20.0),
    curvature=st.floats(-0.2, 0.2),
)
@settings(max_examples=50, deadline=None)
def test_braking_stops_and_never_drives_backwards(brake: float, speed: float, curvature: float) -> None:
    plan = space.actions_to_plan(constant(brake, curvature), torch.tensor(speed))
    assert (plan[:, 3] >= 0.0).all()
    heading = torch.cat([torch.zeros(1), plan[:, 2]])
    step = torch.diff(torch.cat([torch.zeros(1, 2), plan[:, :2]]), dim=0)
    middle = 0.5 * (heading[1:] + heading[:-1])
    forward = step[:, 0] * torch.cos(middle) + step[:, 1] * torch.sin(middle)
    assert (forward >= -1e-4).all()
    stopped = plan[:, 3] == 0.0
    if speed < -brake * 6.0:
        assert stopped[-1]
    assert torch.equal(plan[stopped][:, :3], plan[stopped][:1, :3].expand(int(stopped.sum()), 3))


def test_the_published_roll_out_does_drive_backwards() -> None:
    assert published_roll_out(constant(-3.0, 0.0), 5.0)[-1, 3] < 0.0


def test_drives_on_after_a_stop() -> None:
    actions = constant(-4.0, 0.0)
    actions[32:, 0] = 1.0
    plan = space.actions_to_plan(actions, torch.tensor(4.0))
    assert plan[31, 3] == 0.0
    torch.testing.assert_close(plan[-1, 3], torch.tensor(3.2))


@pytest.mark.parametrize("speed", [3.0, 9.0, 20.0])
def test_round_trip(speed: float) -> None:
    t = torch.arange(64) * 0.1
    actions = torch.stack([torch.sin(t), 0.02 * torch.cos(0.7 * t)], dim=-1).expand(3, 64, 2)
    plan = space.actions_to_plan(actions, torch.full((3,), speed))
    fitted = space.plan_to_actions(plan, torch.full((3,), speed))
    torch.testing.assert_close(fitted[..., 0], actions[..., 0], atol=0.1, rtol=0.0)
    again = space.actions_to_plan(fitted, torch.full((3,), speed))
    torch.testing.assert_close(again[..., :2], plan[..., :2], atol=0.1, rtol=0.0)


def test_round_trip_of_a_stop() -> None:
    plan = space.actions_to_plan(constant(-3.0, 0.0), torch.tensor(8.0))
    again = space.actions_to_plan(space.plan_to_actions(plan, torch.tensor(8.0)), torch.tensor(8.0))
    torch.testing.assert_close(again[:, :2], plan[:, :2], atol=0.15, rtol=0.0)


def test_normalisation_is_inverted_and_uses_the_published_numbers() -> None:
    actions = torch.tensor([[0.02902694707164455, 0.0002692167976330542], [0.71006962, 0.02641750]])
    torch.testing.assert_close(space.normalise(actions), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(space.denormalise(space.normalise(actions)), actions)


def test_gradients_pass_the_roll_out() -> None:
    actions = constant(-1.0, 0.01).requires_grad_()
    space.actions_to_plan(actions, torch.tensor(5.0)).sum().backward()
    assert actions.grad is not None
    assert torch.isfinite(actions.grad).all()
    assert actions.grad.abs().sum() > 0
