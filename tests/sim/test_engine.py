"""The engine against closed forms, shapely and itself."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Category, Environment, Instruction, Prop, RoadMap, Route, Track
from alpamayo_sim.engine import Side, WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.warp_runtime import wp

STILL = np.zeros((1, 2))


def drive(batch: WorldBatch, controls: tuple[float, float], steps: int) -> None:
    for _ in range(steps):
        batch.step(np.tile(controls, (batch.num_worlds, 1)))


@settings(max_examples=40, deadline=None)
@given(st.floats(-4.0, 2.0), st.floats(-0.05, 0.05), st.integers(1, 60))
def test_the_ego_drives_the_analytic_arc(acceleration: float, curvature: float, steps: int) -> None:
    batch = WorldBatch([testing.scenario(environment=Environment(friction=1.5))])
    drive(batch, (acceleration, curvature), steps)
    t = 0.1 * steps
    if acceleration < 0:
        t = min(t, -10.0 / acceleration)
    s = 10.0 * t + 0.5 * acceleration * t * t
    # a tyre would not give more than this; the arc is only one while the limit is not met
    if (10.0 + max(acceleration, 0.0) * t) ** 2 * abs(curvature) > 1.5 * 9.81:
        return
    chord = s * np.sinc(0.5 * curvature * s / np.pi)
    expected = chord * np.array([np.cos(0.5 * curvature * s), np.sin(0.5 * curvature * s)])
    np.testing.assert_allclose(batch.egos.pose[0, 0, :2], expected, atol=2e-3)
    assert batch.egos.speed[0, 0] == pytest.approx(max(10.0 + acceleration * 0.1 * steps, 0.0), abs=1e-4)
    turned = batch.egos.pose[0, 0, 2] - curvature * s
    assert np.cos(turned) == pytest.approx(1.0, abs=1e-6)


def test_the_ego_stops_and_does_not_go_back() -> None:
    batch = WorldBatch([testing.scenario()])
    drive(batch, (-5.0, 0.1), 40)
    stopped = batch.egos.pose[:, 0].copy()
    assert stopped[0, :2] @ stopped[0, :2] < 10.0**2  # v²/2a = 10 m along the arc
    drive(batch, (-5.0, 0.1), 10)
    assert (batch.egos.pose[:, 0] == stopped).all()
    assert batch.egos.speed[0, 0] == 0.0


def test_controls_are_clamped_as_documented() -> None:
    batch = WorldBatch(
        [
            testing.scenario(environment=Environment(friction=1.0)),
            testing.scenario(environment=Environment(friction=0.2)),
        ]
    )
    batch.step(np.full((2, 2), 1e6))
    np.testing.assert_allclose(batch.egos.acceleration[:, 0], [4.0, 0.2 * 9.81], rtol=1e-4)
    fastest = 10.0 + 0.1 * np.array([4.0, 0.2 * 9.81])
    np.testing.assert_allclose(batch.egos.curvature[:, 0] * fastest**2, [9.81, 0.2 * 9.81], rtol=1e-4)
    batch.reset()
    batch.step(np.full((2, 2), -1e6))
    np.testing.assert_allclose(batch.egos.acceleration[:, 0], [-9.0, -0.2 * 9.81], rtol=1e-4)
    slow = WorldBatch([testing.scenario(ego=testing.moving("ego", speed=1.0))])
    slow.step(np.array([[0.0, 9.0]]))
    assert slow.egos.curvature[0, 0] == pytest.approx(0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.usefixtures("no_shape_checks")
def test_a_control_that_is_not_finite_is_named(bad: float) -> None:
    batch = WorldBatch([testing.scenario()] * 3)
    controls = np.zeros((3, 2))
    controls[1, 0] = bad
    before = batch.egos.pose[:, 0].copy()
    with pytest.raises(InputError, match="controls of world 1"):
        batch.step(controls)
    assert (batch.egos.pose[:, 0] == before).all()
    with pytest.raises(InputError, match=r"controls has shape \(2,\)"):
        batch.step(np.zeros(2))
    plans = np.zeros((3, 64, 4))
    plans[2, 5, 1] = bad
    with pytest.raises(InputError, match="plans of world 2"):
        batch.track(plans)
    with pytest.raises(InputError, match="replay_ego"):
        batch.step(np.zeros((3, 2)), replay_ego=np.zeros(3))


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(InputError, match="at least one scenario"):
        WorldBatch([])
    with pytest.raises(InputError, match="not on this machine"):
        WorldBatch([testing.scenario()], device="cuda:77")
    absent = testing.moving("ego")
    absent = Track(**{**absent.__dict__, "valid": np.zeros(testing.STEPS, bool)})
    with pytest.raises(InputError, match="valid at no step"):
        WorldBatch([testing.scenario(ego=absent)])
    with pytest.raises(InputError, match="no length"):
        WorldBatch([testing.scenario(route=Route(testing.polyline((1, 1), (1, 1))))])


def random_track(name: str, rng: np.random.Generator) -> Track:
    steps = 60
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.normal(0, 0.05, steps))
    velocity = rng.uniform(0, 15) * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    xy = rng.uniform(-50, 50, 2) + np.cumsum(0.1 * velocity, axis=0)
    valid = rng.random(steps) > 0.2
    valid[0] |= name == "ego"
    return Track(
        name,
        Category.VEHICLE,
        np.column_stack([xy, np.zeros(steps)]).astype(np.float32) * valid[:, None],
        heading.astype(np.float32) * valid,
        velocity.astype(np.float32) * valid[:, None],
        rng.uniform(0.5, 5.0, 3).astype(np.float32),
        valid,
    )


def test_the_recording_is_repeated_exactly() -> None:
    rng = np.random.default_rng(5)
    tracks = [random_track(f"t{k}", rng) for k in range(7)]
    ego = random_track("ego", rng)
    batch = WorldBatch([testing.scenario(*tracks, ego=ego)])
    replay = np.ones(1, bool)
    for step in range(75):
        assert batch.step_index[0] == step
        if step < 60 and ego.valid[step]:
            assert (batch.egos.pose[0, 0, :2] == ego.position[step, :2]).all()
            assert batch.egos.pose[0, 0, 2] == ego.heading[step]
        for k, track in enumerate(tracks):
            there = step < 60 and track.valid[step]
            assert batch.valid[0, 1 + k] == there
            if there:
                assert (batch.pose[0, 1 + k, :2] == track.position[step, :2]).all()
                assert (batch.velocity[0, 1 + k] == track.velocity[step]).all()
        batch.step(STILL, replay_ego=replay)
    assert batch.egos.speed[0, 0] == 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_contacts_are_shapelys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 100
    pose = np.column_stack([rng.uniform(-7, 7, (count, 2)), rng.uniform(-np.pi, np.pi, count)]).astype(np.float32)
    size = rng.uniform(0.2, 8.0, (count, 3)).astype(np.float32)
    props = [
        Prop(f"p{k}", Category.DEBRIS, np.array([*pose[k, :2], 0], np.float32), float(pose[k, 2]), size[k])
        for k in range(count)
    ]
    batch = WorldBatch([testing.scenario(props=props, ego=testing.moving("ego", heading=float(rng.uniform(-3, 3))))])
    ego = shapely.Polygon(box_corners(batch.egos.pose[0, 0].astype(float), np.array([4.8, 2.0])))
    boxes = [shapely.Polygon(box_corners(pose[k].astype(float), size[k, :2].astype(float))) for k in range(count)]
    found = {contact.agent: contact for contact in batch[0].collisions()}
    for k, box in enumerate(boxes):
        clear = ego.distance(box) > 1e-4 or ego.intersection(box).area > 1e-4
        if clear:
            assert (k in found) == ego.intersects(box)
    assert batch.egos.collided[0, 0] == bool(found)


def test_a_contact_says_where_and_how_hard() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("lead", x=6.0, speed=5.0))])
    assert not batch.egos.collided[0, 0]
    drive(batch, (0.0, 0.0), 3)
    (contact,) = batch[0].collisions()
    assert (contact.id, contact.ego_side, contact.agent_side) == ("lead", Side.FRONT, Side.REAR)
    assert contact.relative_speed == pytest.approx(5.0, abs=1e-4)
    assert contact.closing_speed == pytest.approx(5.0, abs=1e-4)
    assert contact.depth == pytest.approx(0.3, abs=1e-3)
    assert contact.point[0] == pytest.approx(3.0 + 2.4 - 0.15, abs=1e-3)
    parted = WorldBatch([testing.scenario(testing.moving("beside", y=3.0, speed=10.0))])
    drive(parted, (0.0, 0.0), 5)
    assert not parted.egos.collided[0, 0]
    assert parted[0].collisions() == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_off_road_agrees_with_the_map_index(seed: int, edges: bool) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(-np.pi, np.pi, 14))
    ring = testing.polyline(
        *(rng.uniform(4, 30, 14)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).tolist()
    )
    if not shapely.Polygon(ring[:, :2]).is_valid:
        return
    road_map = RoadMap(road_edges=(np.concatenate([ring, ring[:1]]),)) if edges else RoadMap(drivable_areas=(ring,))
    egos = [
        testing.moving("ego", x=rng.uniform(-25, 25), y=rng.uniform(-25, 25), heading=rng.uniform(-3, 3))
        for _ in range(20)
    ]
    batch = WorldBatch([testing.scenario(ego=ego, road_map=road_map) for ego in egos])
    corners = box_corners(batch.egos.pose[:, 0].astype(float), np.tile([4.8, 2.0], (20, 1)))
    index = MapIndex(road_map)
    margin = index.drivable_area.margin(corners.reshape(-1, 2)).reshape(20, 4).min(axis=1)
    near = np.abs(margin) < 4.0
    np.testing.assert_allclose(batch.egos.drivable_margin[near, 0], margin[near], atol=1e-3)
    sure = np.abs(margin) > 1e-3
    in_grid = np.abs(corners).max(axis=(1, 2)) < np.abs(ring).max() + 3.0
    checked = sure & (near | in_grid)
    assert (batch.egos.off_road[checked, 0] == (margin < 0)[checked]).all()
    assert all(view.has_drivable_area for view in batch)


def test_a_map_without_ground_is_never_left() -> None:
    batch = WorldBatch([testing.scenario(road_map=RoadMap())])
    drive(batch, (0.0, 0.1), 20)
    assert not batch[0].has_drivable_area
    assert not batch.egos.off_road[0, 0]


def test_progress_does_not_jump_where_the_route_crosses_itself() -> None:
    eight = testing.polyline((0, 0), (40, 0), (80, 0), (80, 40), (40, 40), (40, 0), (40, -40))
    batch = WorldBatch([testing.scenario(route=Route(eight), road_map=RoadMap(), goal=240.0)])
    seen = []
    for _ in range(70):
        batch.step(STILL)
        seen.append(float(batch.egos.progress[0, 0]))
    np.testing.assert_allclose(seen, np.arange(1, 71), atol=1e-3)
    assert not batch.egos.arrived[0, 0]


def test_progress_offset_and_arrival() -> None:
    batch = WorldBatch([testing.scenario(goal=5.0, ego=testing.moving("ego", y=1.0))])
    drive(batch, (0.0, 0.0), 4)
    assert batch.egos.lateral_offset[0, 0] == pytest.approx(1.0)
    assert batch.egos.progress[0, 0] == pytest.approx(4.0, abs=1e-4)
    assert not batch.egos.arrived[0, 0]
    drive(batch, (0.0, 0.0), 1)
    assert batch.egos.arrived[0, 0]


def busy(rng: np.random.Generator) -> list[Track]:
    return [random_track(f"t{k}", rng) for k in range(int(rng.integers(1, 9)))]


def state_of(batch: WorldBatch, w: int) -> list[bytes]:
    n = len(batch[w].agents().ids)
    agents = [array[w, :n] for array in (batch.pose[:, 1:], batch.velocity[:, 1:], batch.valid[:, 1:])]
    ego = [
        array[w]
        for array in (
            batch.egos.pose[:, 0],
            batch.egos.speed[:, 0],
            batch.egos.progress[:, 0],
            batch.egos.drivable_margin[:, 0],
            batch.egos.lateral_offset[:, 0],
        )
    ]
    return [np.asarray(array).tobytes() for array in (*agents, *ego)]


def test_a_world_has_the_same_bits_alone_and_in_any_batch() -> None:
    rng = np.random.default_rng(8)
    scenarios = [testing.scenario(*busy(rng), props=[testing.prop("c", 20.0, 1.0)]) for _ in range(5)]
    controls = rng.normal(0.0, [2.0, 0.05], (40, 5, 2))
    together = WorldBatch(scenarios)
    backwards = WorldBatch(scenarios[::-1] * 2)
    alone = [WorldBatch([one]) for one in scenarios]
    for step in range(40):
        together.step(controls[step])
        backwards.step(np.tile(controls[step, ::-1], (2, 1)))
        for w, batch in enumerate(alone):
            batch.step(controls[step, w : w + 1])
    for w in range(5):
        assert (
            state_of(together, w) == state_of(alone[w], 0) == state_of(backwards, 4 - w) == state_of(backwards, 9 - w)
        )


ROLL_OUT = """
import hashlib, sys
import numpy as np
from test_engine import busy, state_of
from alpamayo_sim import testing
from alpamayo_sim.engine import WorldBatch
rng = np.random.default_rng(int(sys.argv[1]))
batch = WorldBatch([testing.scenario(*busy(rng)) for _ in range(4)])
digest = hashlib.sha256()
for _ in range(50):
    batch.step(rng.normal(0.0, [2.0, 0.05], (4, 2)))
    for w in range(4):
        for part in state_of(batch, w):
            digest.update(part)
    digest.update(batch.vectors().tobytes())
print(digest.hexdigest())
"""


def test_other_processes_give_the_same_bits() -> None:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", ROLL_OUT, seed],
            env={**environment, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed, threads in (("5", "1"), ("5", "4"), ("6", "1"))
    ]
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0].strip()) == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "lane_positions", "ego_evaluation", "tracker", "vector_observation"])
def test_the_kernels_compile_for_a_gpu_without_one(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"alpamayo_sim.engine.kernels.{name}")
    files = wp.compile_aot_module(module, arch=90, module_dir=tmp_path)
    assert any(file.suffix in (".cubin", ".ptx") and file.stat().st_size > 1000 for file in files)


def test_the_debug_switch_finds_what_is_not_finite() -> None:
    batch = WorldBatch([testing.scenario()] * 2, debug=True)
    batch.step(np.zeros((2, 2)))
    batch._arrays["progress"].numpy()[1] = np.nan
    with pytest.raises(FloatingPointError, match="progress of world 1"):
        batch.step(np.zeros((2, 2)), active=np.zeros(2, bool))


def test_a_snapshot_branches_and_returns() -> None:
    rng = np.random.default_rng(9)
    scenarios = [testing.scenario(*busy(rng)) for _ in range(3)]
    batch = WorldBatch(scenarios)
    drive(batch, (1.0, 0.01), 10)
    saved = batch.snapshot()
    drive(batch, (-3.0, 0.0), 10)
    braked = [state_of(batch, w) for w in range(3)]
    batch.restore(saved)
    drive(batch, (2.0, 0.05), 10)
    assert [state_of(batch, w) for w in range(3)] != braked
    other = WorldBatch([testing.scenario()] * 3)  # smaller, and of other scenarios
    for again in (batch, other):
        again.restore(saved)
        drive(again, (-3.0, 0.0), 10)
        assert [state_of(again, w) for w in range(3)] == braked
    assert other[1].observe().history.tobytes() == batch[1].observe().history.tobytes()
    with pytest.raises(InputError, match="3 worlds"):
        WorldBatch([testing.scenario()]).restore(saved)


def test_part_of_the_batch_is_reset_stepped_and_replaced() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("a", x=30.0))] * 3)
    drive(batch, (0.0, 0.0), 5)
    batch.reset(np.array([False, True, False]))
    assert batch.step_index.tolist() == [5, 0, 5]
    batch.step(np.zeros((3, 2)), active=np.array([True, True, False]))
    assert batch.step_index.tolist() == [6, 1, 5]
    crowd = testing.scenario(
        *busy(np.random.default_rng(3)), testing.moving("more", steps=60), testing.moving("and more", steps=60)
    )
    before = state_of(batch, 0)
    batch.assign([1], [crowd])
    assert batch.scenarios[1] is crowd
    assert batch.step_index.tolist() == [6, 0, 5]
    assert state_of(batch, 0) == before
    assert len(batch[1].agents().ids) > len(batch[0].agents().ids) == 1
    assert not batch.valid[0, 2:].any()
    with pytest.raises(InputError, match="0 to 2"):
        batch.assign([3], [crowd])


def test_replaced_scenarios_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alpamayo_sim.engine.packing.store.SPARE_BYTES", 1 << 20)
    batch = WorldBatch([testing.scenario()])
    for k in range(60):
        batch.assign(
            [0], [testing.scenario(testing.moving("a", x=30.0 + k, steps=5000), ego=testing.moving("ego", steps=5000))]
        )
        batch.step(STILL)
        assert batch.pose[0, 1, 0] == pytest.approx(31.0 + k)
    assert len(batch._store.packed) < 60


def test_what_the_driver_is_told() -> None:
    instructions = (Instruction(0.0, "go straight on"), Instruction(50.0, "then stop"))
    route = Route(testing.polyline((0, 0), (400, 0)), ("lane-0",), instructions)
    batch = WorldBatch([testing.scenario(testing.moving("a", x=30.0), route=route)])
    first = batch[0].observe()
    np.testing.assert_allclose(first.history[:, 0], np.arange(-15.0, 1.0), atol=1e-5)
    np.testing.assert_allclose(first.route[:, 0], 4.0 * np.arange(32), atol=1e-4)
    assert (first.time, first.speed, first.speed_limit, first.navigation) == (0.0, 10.0, 14.0, "go straight on")
    drive(batch, (0.0, 0.02), 20)
    later = batch[0].observe()
    assert later.time == pytest.approx(2.0)
    assert later.curvature == pytest.approx(0.02)
    assert (later.history[-1, :3] == 0.0).all()
    assert np.hypot(*later.history[0, :2]) == pytest.approx(15.0, abs=0.1)
    assert later.history[0, 2] == pytest.approx(-0.3, abs=1e-3)
    drive(batch, (0.0, -0.02), 40)
    assert batch[0].observe().navigation == "then stop"


def test_the_truth_is_a_copy() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("a", x=30.0), props=[testing.prop("c", 50.0, 0.0)])])
    truth = batch[0].ground_truth()
    drive(batch, (0.0, 0.0), 3)
    assert (truth.step, truth.ego_pose[0], truth.agents.ids) == (0, 0.0, ("a", "c"))
    assert batch[0].ground_truth().agents.pose[0, 0] == pytest.approx(33.0)
    assert truth.agents.category.tolist() == [Category.VEHICLE, Category.CONE]
    with pytest.raises(ValueError, match="read-only"):
        batch.egos.pose[0, 0, 0] = 1.0
