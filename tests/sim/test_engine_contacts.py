"""First contacts: when, where, with which sides and how hard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Category, Track
from alpamayo_sim.engine import Contact, Severity, Side, WorldBatch
from alpamayo_sim.engine.contacts import mass_of
from alpamayo_sim.geometry import box_separation


def first(*others: Track, steps: int = 40, **values: object) -> Contact:
    batch = WorldBatch([testing.scenario(*others, **values)])  # type: ignore[arg-type]
    for _ in range(steps):
        batch.step(np.zeros((1, 2)))
    (contact,) = batch[0].first_contacts()
    return contact


def test_a_rear_end_crash_is_timed_within_the_step() -> None:
    contact = first(testing.moving("lead", x=7.13, speed=4.0))
    assert contact.time == pytest.approx((7.13 - 4.8) / 6.0, abs=2e-4)
    assert (contact.ego_side, contact.agent_side) == (Side.FRONT, Side.REAR)
    assert contact.point[0] == pytest.approx(2.4 + 10.0 * contact.time, abs=2e-3)
    assert contact.closing_speed == pytest.approx(6.0, abs=1e-4)
    assert contact.ego_delta_v == pytest.approx(3.0, abs=1e-3)  # two cars of one mass share it
    assert contact.agent_delta_v == pytest.approx(3.0, abs=1e-3)
    assert contact.severity == Severity.LIGHT
    assert 0.0 <= contact.depth < 0.01


def test_a_fast_head_on_crash_meets_with_the_fronts() -> None:
    contact = first(
        testing.moving("oncoming", x=81.3, speed=30.0, heading=np.pi), ego=testing.moving("ego", speed=30.0)
    )
    assert contact.time == pytest.approx((81.3 - 4.8) / 60.0, abs=2e-4)
    assert (contact.ego_side, contact.agent_side) == (Side.FRONT, Side.FRONT)
    assert contact.ego_delta_v == pytest.approx(30.0, abs=1e-2)
    assert contact.severity == Severity.CRITICAL


def test_being_hit_from_behind_and_from_the_side() -> None:
    behind = first(testing.moving("tail", x=-8.0, speed=20.0))
    assert (behind.ego_side, behind.agent_side) == (Side.REAR, Side.FRONT)
    left = first(testing.moving("crossing", x=12.0, y=13.2, speed=10.0, heading=-np.pi / 2))
    assert (left.ego_side, left.agent_side) == (Side.LEFT, Side.FRONT)
    assert left.closing_speed == pytest.approx(10.0, abs=1e-3)
    assert left.relative_speed == pytest.approx(np.sqrt(200.0), abs=1e-3)
    right = first(testing.moving("drifting", y=-3.0, speed=np.hypot(10, 1), heading=np.arctan2(1, 10)))
    assert right.ego_side == Side.RIGHT
    assert right.closing_speed == pytest.approx(1.0, abs=0.05)
    assert right.severity == Severity.TOUCH


def test_the_heavier_one_takes_less() -> None:
    truck = testing.moving("truck", x=20.0, speed=0.0, size=(16.0, 2.5, 3.8), category=Category.TRUCK)
    contact = first(truck)
    assert mass_of(Category.TRUCK, truck.size) > 10 * mass_of(Category.VEHICLE, testing.moving("car").size)
    assert contact.ego_delta_v > 9.0
    assert contact.agent_delta_v < 1.0
    assert contact.ego_delta_v + contact.agent_delta_v == pytest.approx(10.0, abs=1e-3)
    barrier = testing.moving("wall", x=20.0, speed=0.0, category=Category.BARRIER)
    assert first(barrier).ego_delta_v == pytest.approx(10.0, abs=1e-3)


def test_severity_for_unprotected_road_users_is_by_closing_speed() -> None:
    walker = testing.moving("walker", x=12.0, speed=0.0, size=(0.5, 0.5, 1.75), category=Category.PEDESTRIAN)
    contact = first(walker)
    assert contact.severity == Severity.CRITICAL
    assert contact.ego_delta_v < 0.5
    assert first(props=[testing.prop("c", 12.0, 0.0)]).severity == Severity.TOUCH


def test_every_pair_is_kept_and_the_first_contact_alone() -> None:
    batch = WorldBatch(
        [
            testing.scenario(
                testing.moving("a", x=10.0, speed=0.0),
                testing.moving("b", x=20.0, speed=0.0),
                props=[testing.prop("c", 5.0, 0.5)],
            )
        ]
    )
    for _ in range(40):
        batch.step(np.zeros((1, 2)))
    contacts = batch[0].first_contacts()
    assert [contact.id for contact in contacts] == ["c", "a", "b"]
    assert [contact.time for contact in contacts] == pytest.approx([0.24, 0.52, 1.52], abs=2e-4)
    assert batch[0].collisions() == []
    batch.reset()
    assert batch[0].first_contacts() == []


def test_contacts_with_agents_that_start_or_appear_inside_the_ego() -> None:
    assert first(testing.moving("inside", x=1.0, speed=10.0)).time == 0.0
    late = testing.moving("late", x=1.0, speed=10.0)
    valid = late.valid.copy()
    valid[:8] = False
    kept = {name: getattr(late, name) * (valid if getattr(late, name).ndim == 1 else valid[:, None])
            for name in ("position", "heading", "velocity")}  # fmt: skip
    contact = first(Track("late", late.category, size=late.size, valid=valid, **kept))
    assert 0.7 <= contact.time <= 0.8


@settings(max_examples=40, deadline=None)
@given(st.floats(-2.5, 2.5))
def test_the_boxes_just_touch_at_the_first_contact(bearing: float) -> None:
    away = np.array([np.cos(bearing), np.sin(bearing)])
    meet = 20.0 * away  # both reach about the origin of the ego's path after 2 s
    other = testing.moving("o", x=20.0 + meet[0], y=meet[1], speed=10.0, heading=float(bearing + np.pi))
    batch = WorldBatch([testing.scenario(other, ego=testing.moving("ego", speed=10.0))])
    for _ in range(40):
        batch.step(np.zeros((1, 2)))
    for contact in batch[0].first_contacts():
        assert contact.depth < 0.05
        ego = np.array([[10.0 * contact.time, 0.0, 0.0]])
        way = 20.0 - 10.0 * contact.time
        pose = np.array([[20.0 + way * away[0], way * away[1], bearing + np.pi]])
        size = np.array([[4.8, 2.0]])
        assert abs(box_separation(ego, size, pose, size)[0]) < 0.02
