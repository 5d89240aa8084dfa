"""Speed of the validator on one core: plans, decisions under the guard, RSS and temporal logic.

``python benchmarks/validator.py [LOG]`` takes a recorded scene of the Waymo Open Motion Dataset (default: one
in ``ALPAMAYO_REALDATA``); without a recording a generated intersection replaces it, and the table names it.
Times are CPU seconds of this process, the minimum over several rounds.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alpamayo.guard.guard import Guard
from alpamayo.metrics import rss, stl
from alpamayo.validator import PLAN_RULES, score_plans
from alpamayo_datasets import open_log
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.benchmarking import cpu_seconds, report
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray
RECORDING = "womd_json/tfrecord-00000-of-01000_402.json"
ROAD_USERS = 64
STEP = 20


def seconds_of(work: Callable[[], object], rounds: int = 5) -> float:
    """Measure the CPU seconds of one call."""
    return cpu_seconds({"work": work}, rounds)["work"]


def load_scene(log: Path | None) -> Scene:
    """Load the recording, or make a generated intersection."""
    found = log or Path(os.environ.get("ALPAMAYO_REALDATA", "")) / RECORDING
    return open_log(found) if found.is_file() else make_scenario("red-light-runner", 0).scene


def ground_truth(scene: Scene, step: int, others: int, rng: np.random.Generator) -> GroundTruth:
    """Return the recorded state with the nearest road users, filled up with random ones around the ego."""
    ego, tracks = scene.ego, [track for track in scene.tracks if track.id != scene.ego_id]
    here = np.array([*ego.position[step, :2], ego.heading[step]], np.float32)
    nearest = sorted(
        (track for track in tracks if track.valid[step]),
        key=lambda track: float(np.hypot(*(track.position[step, :2] - here[:2]))),
    )[:others]
    pose = [[*track.position[step, :2], track.heading[step]] for track in nearest]
    velocity, size = [track.velocity[step] for track in nearest], [track.size for track in nearest]
    category = [int(track.category) for track in nearest]
    for _ in range(others - len(nearest)):
        heading, speed = rng.uniform(-np.pi, np.pi), rng.uniform(0.0, 12.0)
        pose.append([*(here[:2] + rng.uniform(-60.0, 60.0, 2)), heading])
        velocity.append(speed * np.array([np.cos(heading), np.sin(heading)], np.float32))
        size.append(np.array([4.6, 1.9, 1.6], np.float32))
        category.append(int(Category.VEHICLE))
    agents = Agents(
        ids=tuple(f"a{i}" for i in range(others)),
        category=np.array(category, np.int8),
        pose=np.array(pose, np.float32),
        velocity=np.array(velocity, np.float32),
        size=np.array(size, np.float32),
        valid=np.ones(others, bool),
    )
    speed = float(np.hypot(*ego.velocity[step]))
    return GroundTruth(scene, step, here, speed, ego.size, agents, np.zeros(len(scene.signals), np.int8))


def random_plans(count: int, speed: float, rng: np.random.Generator) -> Array:
    """Draw plans: accelerations of -4 to 2 m/s², lateral shifts up to 3.5 m, slight curvature."""
    t = PLAN_DT * np.arange(PLAN_STEPS + 1)
    acceleration = rng.uniform(-4.0, 2.0, (count, 1))
    v = np.maximum(speed + acceleration * t, 0.0)
    s = np.concatenate([np.zeros((count, 1)), np.cumsum(0.5 * PLAN_DT * (v[:, 1:] + v[:, :-1]), axis=1)], axis=1)
    shift, bend = rng.uniform(-3.5, 3.5, (count, 1)), rng.uniform(-0.01, 0.01, (count, 1))
    u = np.clip(s / 40.0, 0.0, 1.0)
    y = shift * u**3 * (10.0 - 15.0 * u + 6.0 * u**2) + 0.5 * bend * s**2
    slope = shift * u**2 * (30.0 - 60.0 * u + 30.0 * u**2) / 40.0 + bend * s
    return np.stack([s, y, np.arctan(slope), v], axis=-1)[:, 1:].astype(np.float32)


def plans_per_second(scene: Scene, count: int, rng: np.random.Generator) -> None:
    """Measure all rules on ``count`` plans of 6.4 s, with loaded kernels."""
    truth = ground_truth(scene, STEP, ROAD_USERS, rng)
    plans, index = random_plans(count, max(truth.ego_speed, 8.0), rng), MapIndex(scene.road_map)

    def work() -> object:
        verdict = score_plans(
            scene, plans, 0.0, truth=truth, map_index=index, horizon=PLAN_DT * PLAN_STEPS, rules=PLAN_RULES
        )
        return dict(verdict.scores)

    seconds = seconds_of(work, 3)
    report(
        "validator",
        f"{scene.id}: {count} plans of 64 steps, {ROAD_USERS} road users, {len(PLAN_RULES)} rules",
        count / seconds,
        "plans/s",
    )


def guard_latency(scene: Scene, passes: int, rng: np.random.Generator) -> None:
    """Measure the guard at every step of the recording with K = 16: in a first drive and in a second one."""
    steps = [step for step in range(1, scene.steps - 1) if scene.ego.valid[step]]
    truths = [ground_truth(scene, step, ROAD_USERS, rng) for step in steps]
    times: dict[str, list[float]] = {"first drive": [], "same place again": []}
    for _ in range(passes):
        guard = Guard(scene)
        for drive in times.values():
            for truth in truths:
                plans = random_plans(16, truth.ego_speed, rng)
                decision = Decision(plans, np.full(16, 1 / 16, np.float32), 0)
                start = time.process_time()
                guard.check(decision, truth)
                drive.append(time.process_time() - start)
    for name, taken in times.items():
        for part in (50, 99):
            case = f"{scene.id}: guard, K = 16, {ROAD_USERS} road users, {name}, p{part}"
            report("validator", case, 1e3 * float(np.percentile(taken, part)), "ms")


def safe_distances(rng: np.random.Generator) -> None:
    """Measure RSS on random states."""
    v = rng.uniform(0.0, 30.0, (2, 100_000))
    numbers = {"response_time": 1.0, "accel_max": 3.5, "brake_min": 4.0, "brake_max": 8.0}
    ours = seconds_of(lambda: rss.longitudinal_distance(v[0], v[1], **numbers)) / v.shape[1]
    report("validator", "RSS longitudinal distance", 1e-6 / ours, "million/s")


def formulas(rng: np.random.Generator) -> None:
    """Measure a formula of temporal logic on many signals; rtamt gets one record per call."""
    records, samples = 10_000, 65
    signals = {name: rng.normal(1.5, 1.0, (records, samples)) for name in ("gap", "speed")}
    text = "always[0:2](gap > 1.5 or eventually[0:1](speed < 0.1))"
    ours = seconds_of(lambda: stl.robustness(text, signals, PLAN_DT)) / records
    report("validator", "STL: always over eventually, 65 samples", 1.0 / ours, "records/s")
    try:
        import rtamt
    except ImportError:
        return
    times = (PLAN_DT * np.arange(samples)).tolist()

    def theirs() -> None:
        specification = rtamt.StlDiscreteTimeSpecification()
        for name in signals:
            specification.declare_var(name, "float")
        specification.set_sampling_period(100, "ms", 0.1)
        specification.spec = "always[0ms:2000ms]((gap > 1.5) or (eventually[0ms:1000ms](speed < 0.1)))"
        specification.parse()
        for i in range(50):
            specification.evaluate({"time": times} | {name: values[i].tolist() for name, values in signals.items()})

    report("validator", "STL: the same, times faster than rtamt", seconds_of(theirs, 3) / 50 / ours, "x")


def main() -> None:
    """Run the benchmark and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path, nargs="?")
    parser.add_argument("--plans", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=5, help="drives along the recording under the guard")
    arguments = parser.parse_args()
    scene, rng = load_scene(arguments.log), np.random.default_rng(0)
    plans_per_second(scene, arguments.plans, rng)
    guard_latency(scene, arguments.passes, rng)
    safe_distances(rng)
    formulas(rng)


if __name__ == "__main__":
    main()
