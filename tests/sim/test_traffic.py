"""Traffic vehicles against the models' formulas, written once more, and against what traffic rules ask."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_scenarios.intersections import Phase, four_arms
from alpamayo_scenarios.roads import CrossSection
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Goal, Scenario, Script, TrafficVehicle
from alpamayo_sim.datatypes.scene import Category, RoadMap, Signal, SignalState, StopLine
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_separation

LENGTH = 4.8

ARMS = ("west", "south", "east", "north")
MAIN = (Phase(SignalState.GREEN, 12.0), Phase(SignalState.YELLOW, 3.0), Phase(SignalState.RED, 17.0))
CROSS = (
    Phase(SignalState.RED, 16.0),
    Phase(SignalState.GREEN, 12.0),
    Phase(SignalState.YELLOW, 3.0),
    Phase(SignalState.RED, 1.0),
)


def crossroads(seed: int, control: str, each: int = 4) -> Scenario:
    """Traffic vehicles on all arms of an intersection under "signals", "none", "two signs" or "four signs"."""
    rng = np.random.default_rng(seed)
    crossing = four_arms(CrossSection(1, 1, 3.5, 0.5), 13.9, (150.0,) * 4)
    signed = {"signals": ARMS, "none": (), "two signs": ("south", "north"), "four signs": ARMS}[control]
    lines = tuple(s for s in crossing.road_map.stop_lines if s.id.removeprefix("stop-") in signed)
    road_map = dataclasses.replace(crossing.road_map, stop_lines=lines)
    signals = crossing.signals(MAIN, CROSS, 1800) if control == "signals" else ()
    tracks, traffic_vehicles = [], []
    for arm in ARMS:
        start, *_, end = road_map.lane_by_id[f"{arm}-in-0"].centreline.astype(float)
        along = (end - start) / np.linalg.norm(end - start)
        for k in range(each):
            x, y, _ = start + (5.0 + 20.0 * k) * along
            heading = float(np.arctan2(along[1], along[0]))
            tracks.append(testing.moving(f"{arm}-{k}", x=float(x), y=float(y), speed=9.0, heading=heading))
            traffic_vehicles.append(
                TrafficVehicle(f"{arm}-{k}", seed=int(rng.integers(1 << 30)), lane_id=f"{arm}-in-0")
            )
    return testing.traffic(road_map, tracks, traffic_vehicles, signals=signals)


def overlapping(batch: WorldBatch, w: int = 0) -> list[tuple[str, str]]:
    """Pairs of agents whose boxes overlap now."""
    agents = batch[w].agents()
    there = np.flatnonzero(agents.valid)
    pose, size = agents.pose[there].astype(float), agents.size[there, :2].astype(float)
    depth = box_separation(pose[:, None], size[:, None], pose[None], size[None])
    return [(agents.ids[there[i]], agents.ids[there[k]]) for i, k in np.argwhere(depth < -1e-3) if i < k]


def step(batch: WorldBatch, steps: int = 1) -> None:
    for _ in range(steps):
        batch.step(np.zeros((batch.num_worlds, 2)))


def speeds(batch: WorldBatch) -> np.ndarray:
    return np.hypot(*batch.velocity[0, 1:].T)


def idm(speed: float, wanted: float, gap: float, ahead: float) -> float:
    """Treiber 2000 with 1.5 and 2 m/s², 1.5 s, 2 m, and the engine's documented clamps."""
    desired = 2.0 + max(1.5 * speed + speed * (speed - ahead) / (2.0 * np.sqrt(3.0)), 0.0)
    free = max(1.0 - (speed / wanted) ** 4, -2.0 / 1.5)
    return float(np.clip(1.5 * (free - (desired / max(gap, 0.1)) ** 2), -8.0, 1.5))


@pytest.mark.parametrize("ahead", [5.0, 12.0, 18.0])
def test_the_equilibrium_gap_is_that_of_the_formula(ahead: float) -> None:
    tracks = [testing.moving(name, x=x, speed=ahead, steps=1000) for name, x in (("follower", 10.0), ("lead", 70.0))]
    ego = testing.moving("ego", x=-500.0, y=-500.0, speed=0.0, steps=1000)
    batch = WorldBatch(
        [testing.traffic(testing.highway(1, 20000.0), tracks, [TrafficVehicle("follower", 20.0)], ego=ego)]
    )
    step(batch, 990)
    gap = batch.pose[0, 2, 0] - batch.pose[0, 1, 0] - LENGTH
    assert gap == pytest.approx((2.0 + 1.5 * ahead) / np.sqrt(1.0 - (ahead / 20.0) ** 4), rel=2e-3)


def test_a_free_traffic_vehicle_takes_the_limit_if_that_is_lower() -> None:
    tracks = [testing.moving("wants 20", x=10.0, speed=15.0), testing.moving("wants more", x=10.0, y=3.5, speed=15.0)]
    traffic_vehicles = [TrafficVehicle("wants 20", 20.0), TrafficVehicle("wants more", changes_lanes=False)]
    batch = WorldBatch([testing.traffic(testing.highway(2), tracks, traffic_vehicles)])
    step(batch, 300)
    assert speeds(batch) == pytest.approx([20.0, 30.0], abs=0.1)


def mobil(x: dict[str, float], v: dict[str, float], politeness: float, wanted: float = 25.0) -> float:
    """Kesting 2007: gain - threshold for the car at ``me``, -inf if not safe; speed -inf: no car."""

    def acc(who: str, lead: str) -> float:
        if lead not in x:
            return idm(v[who], wanted, 1e6, 0.0)
        return idm(v[who], wanted, x[lead] - x[who] - LENGTH, v[lead])

    gain = acc("me", "new lead") - acc("me", "lead")
    if acc("me", "new lead") < -3.0:
        return -np.inf
    if "new follower" in x:
        if acc("new follower", "me") < -3.0 or x["me"] - x["new follower"] < LENGTH:
            return -np.inf
        gain += politeness * (acc("new follower", "me") - acc("new follower", "new lead"))
    if "follower" in x:
        gain += politeness * (acc("follower", "lead") - acc("follower", "me"))
    if "new lead" in x and x["new lead"] - x["me"] < LENGTH:
        return -np.inf
    return gain - 0.2


def changes(x: dict[str, float], v: dict[str, float], politeness: float) -> bool:
    """Whether the engine's traffic vehicle has left its lane after a thought; agent 16 thinks at time 0."""
    names = ["lead", "follower", "new lead", "new follower"]
    tracks, traffic_vehicles = [], []
    for name in names:
        if name in x:
            tracks.append(testing.moving(name, x=x[name], y=3.5 * name.startswith("new"), speed=v[name]))
            traffic_vehicles.append(TrafficVehicle(name, 25.0, changes_lanes=False))
    filler = [testing.moving(f"far {k}", x=100.0 * k, y=900.0, speed=0.0) for k in range(15 - len(tracks))]
    me = testing.moving("me", x=x["me"], speed=v["me"])
    made = testing.traffic(
        testing.highway(2),
        [*tracks, *filler, me],
        [*traffic_vehicles, TrafficVehicle("me", 25.0, politeness=politeness)],
    )
    batch = WorldBatch([made])
    assert batch[0].agents().ids[15] == "me"
    step(batch)
    return bool(batch.array("lane")[0, 16] == 1)


def test_mobil_on_a_case_that_was_computed_by_hand() -> None:
    # Behind a leader 30 m ahead at 15 m/s: a = 1.5 (1 - 0.8^4 - ((2 + 30 + 28.87) / 25.2)²) = -7.86; free: 0.886.
    x, v = {"me": 500.0, "lead": 530.0}, {"me": 20.0, "lead": 15.0}
    assert mobil(x, v, 0.3) == pytest.approx(0.886 + 7.86 - 0.2, abs=0.02)
    assert changes(x, v, 0.3)
    blocked = ({**x, "new follower": 490.0}, {**v, "new follower": 25.0})
    assert mobil(*blocked, 0.3) == -np.inf
    assert not changes(*blocked, 0.3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_mobil_decides_as_the_formula(seed: int, politeness: float) -> None:
    rng = np.random.default_rng(seed)
    x, v = {"me": 500.0}, {"me": float(rng.uniform(10, 24))}
    for name, sign in (("lead", 1), ("follower", -1), ("new lead", 1), ("new follower", -1)):
        if rng.random() < 0.8:
            x[name] = 500.0 + sign * float(rng.uniform(6.0, 60.0))
            v[name] = float(rng.uniform(10, 24))
    gain = mobil(x, v, politeness)
    if abs(gain) < 0.05:
        return  # within rounding of the threshold
    assert changes(x, v, politeness) == (gain > 0.0)


def test_a_lane_change_is_smooth_and_ends_in_the_middle() -> None:
    tracks = [testing.moving("me", x=100.0, speed=20.0), testing.moving("slow", x=140.0, speed=8.0)]
    batch = WorldBatch(
        [
            testing.traffic(
                testing.highway(2),
                tracks,
                [TrafficVehicle("me", 25.0), TrafficVehicle("slow", 8.0, changes_lanes=False)],
            )
        ]
    )
    rows = []
    for _ in range(120):
        step(batch)
        rows.append(batch.pose[0, 1].copy())
    y = np.array(rows)[:, 1]
    assert y[-1] == pytest.approx(3.5, abs=1e-4)
    assert (np.diff(y) > -1e-4).all()
    assert np.abs(np.diff(y, 2)).max() < 0.03  # the quintic's peak: 5.77 * 3.5 m / (3 s)² * (0.1 s)²
    assert rows[-1][0] > batch.pose[0, 2, 0]  # overtaken


def test_hysteresis_keeps_from_changing_for_nothing() -> None:
    tracks = [testing.moving(f"m{k}", x=100.0 + 60.0 * (k // 2), y=3.5 * (k % 2), speed=20.0) for k in range(8)]
    batch = WorldBatch([testing.traffic(testing.highway(2), tracks, [TrafficVehicle(f"m{k}", 20.0) for k in range(8)])])
    lanes = batch.array("lane")[0, 1:9].copy()
    for _ in range(200):
        step(batch)
        assert (batch.array("lane")[0, 1:9] == lanes).all()


def test_keeping_right_is_a_matter_of_bias() -> None:
    traffic_vehicle = TrafficVehicle("m", 20.0, right_bias=0.3)
    batch = WorldBatch(
        [testing.traffic(testing.highway(2), [testing.moving("m", x=100.0, y=3.5, speed=20.0)], [traffic_vehicle])]
    )
    step(batch, 60)
    assert batch.pose[0, 1, 1] == pytest.approx(0.0, abs=1e-3)


def ramp() -> RoadMap:
    """A lane that ends beside one that goes on."""
    return RoadMap(
        lanes=(
            testing.straight_lane("main", (0, 3.5), (400, 3.5), successors=("on",), right_neighbours=("ramp",)),
            testing.straight_lane("ramp", (0, 0), (400, 0), left_neighbours=("main",)),
            testing.straight_lane("on", (400, 3.5), (1500, 3.5)),
        )
    )


def test_vehicles_leave_an_ending_lane_in_time() -> None:
    tracks = [testing.moving(f"ramp-{k}", x=20.0 + 30 * k, speed=20.0) for k in range(4)]
    tracks += [testing.moving(f"main-{k}", x=25.0 + 35 * k, y=3.5, speed=20.0) for k in range(6)]
    batch = WorldBatch([testing.traffic(ramp(), tracks, [TrafficVehicle(t.id, 20.0) for t in tracks])])
    for _ in range(500):
        step(batch)
        assert overlapping(batch) == []
    assert (batch.pose[0, 1:][batch.valid[0, 1:], 0] > 400.0).all()
    assert batch.valid[0, 1:].sum() >= 1


def test_lanes_that_run_together_zip() -> None:
    road_map = RoadMap(
        lanes=(
            testing.straight_lane("left", (0, 20), (200, 0), successors=("on",)),
            testing.straight_lane("right", (0, -20), (200, 0), successors=("on",)),
            testing.straight_lane("on", (200, 0), (1500, 0)),
        )
    )
    tracks = [
        testing.moving(f"{name}-{k}", x=15.0 + 25 * k, y=y * (20 - 2.5 * k - 1.5), heading=-y * 0.0997, speed=15.0)
        for name, y in (("left", 1), ("right", -1))
        for k in range(5)
    ]
    traffic_vehicles = [TrafficVehicle(t.id, 15.0, lane_id=t.id[:-2]) for t in tracks]
    batch = WorldBatch([testing.traffic(road_map, tracks, traffic_vehicles)])
    order = []
    for _ in range(500):
        step(batch)
        assert overlapping(batch) == []
        for k in np.flatnonzero(batch.pose[0, 1:, 0] > 210.0):
            if k not in order:
                order.append(k)
    sides = [k // 5 for k in order]
    assert len(order) == 10
    assert sum(a != b for a, b in pairwise(sides)) >= 6  # one from here, one from there


@pytest.mark.parametrize("control", ["signals", "none", "two signs", "four signs"])
def test_no_collisions_at_a_crossroads_and_all_pass(control: str) -> None:
    batch = WorldBatch([crossroads(seed, control) for seed in range(3)])
    for k in range(1500):
        step(batch)
        if k % 3 == 0:
            assert [overlapping(batch, w) for w in range(3)] == [[], [], []]
    assert batch.valid[:, 1:].sum() == 0


def test_vehicles_at_a_stop_sign_yield() -> None:
    made = crossroads(1, "two signs", each=1)
    batch = WorldBatch([made])
    first: dict[str, int] = {}
    for k in range(700):
        step(batch)
        for name, pose in zip(batch[0].agents().ids, batch.pose[0, 1:], strict=True):
            if np.abs(pose[:2]).max() < 10.0:
                first.setdefault(name[:-2], k)
    assert max(first["west"], first["east"]) < min(first["south"], first["north"])


def one_lane(states: list[int] | None, sign: bool = False, crosswalk: bool = False, **values: object) -> Scenario:
    """A traffic vehicle 150 m before a line at x = 200, and what holds there."""
    lanes = (
        testing.straight_lane("in", (0, 0), (200, 0), successors=("out",)),
        testing.straight_lane("out", (200, 0), (900, 0)),
    )
    stop = StopLine("line", testing.polyline((200, -1.75), (200, 1.75)), ("in", "out"))
    walk = (testing.polyline((203, -6), (206, -6), (206, 6), (203, 6)),) if crosswalk else ()
    road_map = RoadMap(lanes=lanes, stop_lines=(stop,) if sign or states else (), crosswalks=walk)
    light = Signal("light", np.array([200, 3, 5], np.float32), np.array(states or [0], np.int8), ("out",))
    tracks = [testing.moving("m", x=50.0, speed=14.0), *values.pop("others", [])]  # type: ignore[misc]
    scripts = values.pop("scripts", ())
    made = testing.traffic(road_map, tracks, [TrafficVehicle("m", 14.0)], signals=(light,) if states else ())
    return Scenario(made.scene, Goal(4000.0, 60.0), tuple(scripts), traffic_vehicles=made.traffic_vehicles)  # type: ignore[arg-type]


def fronts(made: Scenario, steps: int) -> tuple[np.ndarray, np.ndarray]:
    batch = WorldBatch([made])
    rows = []
    for _ in range(steps):
        step(batch)
        rows.append((batch.pose[0, 1, 0] + 0.5 * LENGTH, speeds(batch)[0]))
    x, v = np.array(rows).T
    return x, v


def test_red_holds_green_lets_go_and_late_yellow_is_driven() -> None:
    red = [SignalState.RED] * 200 + [SignalState.GREEN]
    x, v = fronts(one_lane(red), 320)
    assert (x[:200] < 200.0).all()
    assert x[199] > 197.0
    assert v[199] < 0.05
    assert x[-1] > 220.0
    late = [SignalState.GREEN] * 100 + [SignalState.YELLOW] * 15 + [SignalState.RED]  # 8 m before the line
    x, v = fronts(one_lane(late), 180)
    assert 185.0 < x[99] < 200.0
    assert v.min() > 12.0
    early = [SignalState.GREEN] * 50 + [SignalState.YELLOW] * 30 + [SignalState.RED]
    assert fronts(one_lane(early), 300)[0].max() < 200.0


def test_a_stop_sign_is_stopped_at() -> None:
    x, v = fronts(one_lane(None, sign=True), 350)
    stood = np.flatnonzero(v == 0.0)
    assert len(stood)
    assert 196.0 < x[stood[0]] <= 200.0
    assert x[-1] > 230.0


def walker(start: float, speed: float) -> dict[str, object]:
    """A pedestrian that walks over the crosswalk once the traffic vehicle is near."""
    track = testing.moving("p", x=204.5, y=start, speed=speed, heading=np.pi / 2, size=(0.6, 0.6, 1.7))
    script = Script("p", testing.polyline((204.5, start), (204.5, 9.0)), speed)
    return {"others": [type(track)(**{**track.__dict__, "category": Category.PEDESTRIAN})], "scripts": (script,)}


def test_people_on_a_crosswalk_are_let_pass() -> None:
    made = one_lane(None, crosswalk=True, **walker(-16.0, 1.2))
    batch = WorldBatch([made])
    slowest = np.inf
    for _ in range(400):
        step(batch)
        front, person = batch.pose[0, 1, 0] + 0.5 * LENGTH, batch.pose[0, 2]
        if batch.valid[0, 2] and -5.9 < person[1] < 2.0:
            assert front < 203.0
            slowest = min(slowest, float(speeds(batch)[0]))
    assert slowest < 3.0
    assert front > 230.0


def test_an_empty_crosswalk_is_no_reason_to_brake() -> None:
    assert fronts(one_lane(None, crosswalk=True), 250)[1].min() > 13.9


def test_bends_are_taken_at_their_speed() -> None:
    angle = np.linspace(0.0, np.pi / 2, 30)
    bend = testing.polyline(*[(200.0 + 20.0 * np.sin(a), 20.0 - 20.0 * np.cos(a)) for a in angle])
    lanes = (
        testing.straight_lane("in", (0, 0), (200, 0), successors=("bend",)),
        type(testing.straight_lane("x", (0, 0), (1, 0)))(
            "bend", bend, np.full(30, 3.5, np.float32), successors=("out",)
        ),
        testing.straight_lane("out", (220, 20), (220, 500)),
    )
    batch = WorldBatch(
        [testing.traffic(RoadMap(lanes=lanes), [testing.moving("m", x=20.0, speed=20.0)], [TrafficVehicle("m", 20.0)])]
    )
    fastest, hardest = 0.0, 0.0
    for _ in range(250):
        before = speeds(batch)[0]
        step(batch)
        hardest = max(hardest, float(before - speeds(batch)[0]) / 0.1)
        if batch.pose[0, 1, 0] > 201.0 and batch.pose[0, 1, 1] < 19.0:
            fastest = max(fastest, float(speeds(batch)[0]))
    assert fastest**2 / 20.0 < 2.5 * 1.15
    assert hardest < 3.5
    assert speeds(batch)[0] > 12.0


def test_traffic_vehicles_see_the_ego_props_and_people() -> None:
    tracks = [testing.moving(f"m{k}", x=20.0, y=3.5 * k, speed=15.0, steps=400) for k in range(3)]
    person = testing.moving(
        "p", x=150.0, y=7.5, speed=0.0, steps=400, size=(0.6, 0.6, 1.7), category=Category.PEDESTRIAN
    )
    road_map = testing.highway(3)
    traffic_vehicles = [TrafficVehicle(f"m{k}", 15.0, changes_lanes=False) for k in range(3)]
    ego = testing.moving("ego", x=150.0, y=0.3, speed=0.0, steps=400)
    batch = WorldBatch(
        [
            testing.traffic(
                road_map, [*tracks, person], traffic_vehicles, ego=ego, props=(testing.prop("c", 150.0, 3.0),)
            )
        ]
    )
    step(batch, 300)
    front = batch.pose[0, 1:4, 0] + 0.5 * LENGTH
    assert speeds(batch)[:3] == pytest.approx(0.0, abs=0.05)
    np.testing.assert_allclose(front, [150 - 2.4 - 2.0, 150 - 0.2 - 2.0, 150 - 0.3 - 2.0], atol=0.6)


def test_turns_are_decided_by_the_seed() -> None:
    def ends(seed: int) -> tuple[float, float]:
        made = crossroads(seed, "none", each=1)
        batch = WorldBatch([made])
        last = {}
        for _ in range(700):
            step(batch)
            last |= {k: tuple(batch.pose[0, 1 + k, :2].round(0)) for k in np.flatnonzero(batch.valid[0, 1:])}
        return last[0]

    assert ends(0) == ends(0)
    assert len({ends(seed) for seed in range(8)}) == 3  # straight on, left and right


def digest_of(batch: WorldBatch, steps: int) -> str:
    total = hashlib.sha256()
    rng = np.random.default_rng(0)
    controls = rng.normal(0.0, 1.0, (steps, 2)) * [1.0, 0.002]
    for k in range(steps):
        batch.step(np.tile(controls[k], (batch.num_worlds, 1)))
        agents = batch[0].agents()
        total.update(agents.pose.tobytes() + agents.velocity.tobytes() + agents.valid.tobytes())
    return total.hexdigest()


def crowded() -> Scenario:
    rng = np.random.default_rng(4)
    tracks = [
        testing.moving(f"m{k}", x=30.0 + 9.0 * k, y=3.5 * int(rng.integers(3)), speed=rng.uniform(10, 25))
        for k in range(30)
    ]
    traffic_vehicles = [TrafficVehicle(t.id, float(rng.uniform(12, 28)), seed=k) for k, t in enumerate(tracks)]
    return testing.traffic(
        testing.highway(3), tracks, traffic_vehicles, ego=testing.moving("ego", x=20.0, y=3.5, speed=15.0)
    )


def test_traffic_is_the_same_in_any_batch_and_after_a_restore() -> None:
    made = crowded()
    alone = digest_of(WorldBatch([made]), 150)
    assert digest_of(WorldBatch([made, crossroads(0, "signals"), crowded()]), 150) == alone
    batch = WorldBatch([made])
    saved = batch.snapshot()
    digest_of(batch, 40)
    batch.restore(saved)
    assert digest_of(batch, 150) == alone
    batch.assign([0], [crossroads(1, "none")])
    batch.assign([0], [made])
    assert digest_of(batch, 150) == alone


@pytest.mark.slow
def test_traffic_is_the_same_in_another_process_with_other_threads() -> None:
    code = "import test_traffic as t; print(t.digest_of(t.WorldBatch([t.crowded()] * 3), 100))"
    here = Path(__file__).parent
    runs = []
    for threads in ("1", "4"):
        paths = [str(here), str(here.parent), *sys.path]
        env = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(paths)}
        runs.append(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True))
    digests = {run.stdout.strip() for run in runs}
    assert digests == {digest_of(WorldBatch([crowded()] * 3), 100)}


def test_what_a_traffic_vehicle_cannot_be_is_said() -> None:
    track = testing.moving("m", x=10.0, y=300.0)
    with pytest.raises(InputError, match=r"traffic vehicle 'm' starts 4 m or more from any lane"):
        WorldBatch([testing.traffic(testing.highway(1), [track], [TrafficVehicle("m")])])
    with pytest.raises(InputError, match="there is no lane 'moon'"):
        WorldBatch([testing.traffic(testing.highway(1), [track], [TrafficVehicle("m", lane_id="moon")])])
    late = type(track)(**{**track.__dict__, "valid": np.arange(len(track.valid)) > 3})
    with pytest.raises(InputError, match="is not there at the first step"):
        WorldBatch([testing.traffic(testing.highway(1), [late], [TrafficVehicle("m")])])
    with pytest.raises(InputError, match="traffic vehicle for unknown agent 'x'"):
        testing.traffic(testing.highway(1), [track], [TrafficVehicle("x")])
    with pytest.raises(InputError, match="which already has another behaviour"):
        testing.traffic(testing.highway(1), [track], [TrafficVehicle("m"), TrafficVehicle("m")])
    with pytest.raises(InputError, match="wanted_speed is 0"):
        TrafficVehicle("m", 0.0)


def test_tracks_that_come_late_and_go_early_are_met_as_long_as_they_are_there() -> None:
    late = testing.moving("late", x=150.0, speed=0.0, steps=400)
    late = type(late)(**{**late.__dict__, "valid": (np.arange(400) >= 20) & (np.arange(400) < 200)})
    tracks = [testing.moving("m", x=60.0, speed=10.0, steps=400), late]
    ego = testing.moving("ego", x=-500.0, y=-500.0, speed=0.0, steps=400)
    batch = WorldBatch([testing.traffic(testing.highway(1), tracks, [TrafficVehicle("m", 10.0)], ego=ego)])
    step(batch, 15)
    assert speeds(batch)[0] == pytest.approx(10.0, abs=1e-3)
    step(batch, 180)
    assert speeds(batch)[0] < 0.05
    assert batch.pose[0, 1, 0] < 150.0 - LENGTH
    step(batch, 100)
    assert batch.pose[0, 1, 0] > 170.0
