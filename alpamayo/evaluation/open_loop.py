"""Open-loop evaluation: the plans of drivers at each step of recorded logs, against what the ego then did."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.closed_loop import ObservationSource
from alpamayo.drivers import own
from alpamayo.evaluation.statistics import clustered_bootstrap
from alpamayo.json_values import json_number
from alpamayo.metrics.plan_errors import HORIZONS_S, PlanErrors, plan_errors
from alpamayo.parallel import Progress, Workers, in_order
from alpamayo.runs import DriverChoice
from alpamayo_datasets import find_log, open_log
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError, one_line
from alpamayo_sim.geometry import to_frame, wrap_angle

Array = np.ndarray
METRICS = tuple(field.name for field in fields(PlanErrors))
INTERVAL_SEED = 0


@dataclass(frozen=True)
class Task:
    """One driver on one scene of a log."""

    choice: DriverChoice
    log: str
    seed: int


def evaluate_open_loop(
    logs: Sequence[str],
    choices: Sequence[DriverChoice],
    *,
    seed: int = 0,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Ask drivers for a plan at each step of each scene, while the ego repeats its recording.

    Returns:
        JSON values: ``scenes`` has a row of mean errors for each driver and scene, ``drivers`` one for each driver
        over all scenes, with 95 % intervals that draw scenes, ``failed`` the scenes that could not be read or driven.

    Raises:
        InputError: A log is of no known format, or no scene could be evaluated.
    """
    scenes = [name for log in logs for name in scene_paths(log)]
    tasks = [Task(choice, scene, seed) for choice in choices for scene in scenes]
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for task, result in in_order(run_task, tasks, workers=workers, what="open loop", progress=progress):
        if isinstance(result, Exception):
            if not isinstance(result, InputError):
                raise result
            failed.append({"driver": task.choice.name, "log": task.log, "reason": one_line(str(result))})
        else:
            rows.append({"driver": task.choice.name, "log": task.log} | result)
    if not rows:
        raise InputError(f"open loop: no scene could be evaluated: {failed[0]['reason'] if failed else 'no scenes'}")
    names = dict.fromkeys(choice.name for choice in choices)
    drivers = [_overall(name, [row for row in rows if row["driver"] == name]) for name in names]
    return {"horizons_s": list(HORIZONS_S), "drivers": drivers, "scenes": rows, "failed": failed}


def scene_paths(log: str) -> list[str]:
    """Return the paths of all scenes of a log: the path itself where it names one or holds one alone."""
    found = find_log(log)
    ids = found.scene_ids()
    return [log] if found.scene_id is not None or len(ids) == 1 else [f"{log}#{name}" for name in ids]


def run_task(task: Task) -> dict[str, Any]:
    """Evaluate one driver on one scene; see ``scene_errors``."""
    return scene_errors(open_log(task.log), task.choice.make(), task.seed)


def scene_errors(scene: Scene, driver: Driver, seed: int = 0) -> dict[str, Any]:
    """Return the mean errors of a driver over the steps of a scene, as JSON values by metric and horizon.

    A step counts for a horizon if the recorded ego is known at it; ``steps`` says how many do. A mean of no step is
    None.

    Raises:
        InputError: The scene has no route.
        DriverError: The driver raises or gives no valid decision.
    """
    world = WorldBatch([scenario_of_log(scene)])
    source = ObservationSource(world, driver.needs, seed)
    own.reset(driver, scene, np.random.default_rng(seed))
    table: list[Array] = []
    for step in range(scene.steps - 1):
        decision = own.act(driver, source.observe())
        future, valid = recorded_future(scene, step)
        if scene.ego.valid[step] and valid.any():
            errors = plan_errors(decision.plans[..., :3], future, valid, PLAN_DT, int(decision.chosen))
            table.append(np.stack([getattr(errors, name) for name in METRICS]))
        world.step(np.zeros((1, 2), np.float32), replay_ego=np.ones(1, bool))
    values = np.stack(table) if table else np.full((1, len(METRICS), len(HORIZONS_S)), np.nan)
    counted = np.isfinite(values[:, 0]).sum(axis=0)
    sums = np.nansum(values, axis=0)
    means = {
        name: [json_number(total / n, 6) if n else None for total, n in zip(sums[k], counted, strict=True)]
        for k, name in enumerate(METRICS)
    }
    return {"scene": scene.id, "steps": counted.tolist(), **means}


def recorded_future(scene: Scene, step: int) -> tuple[Float64[Array, "64 3"], Bool[Array, " 64"]]:
    """Return the recorded poses of the ego in its frame at ``step``, at the times of a plan, and which are known.

    Between two recorded steps, where the recording has another time step than a plan, poses are interpolated.
    """
    ego = scene.ego
    now = np.array([*ego.position[step, :2], ego.heading[step]], np.float64)
    at = step + PLAN_DT / scene.dt * np.arange(1, PLAN_STEPS + 1)
    last = scene.steps - 1
    before = np.minimum(np.floor(at + 1e-6).astype(int), last)
    after = np.minimum(np.ceil(at - 1e-6).astype(int), last)
    valid = ego.valid[before] & ego.valid[after] & (at < last + 1e-6)
    share = np.clip(at - before, 0.0, 1.0)[:, None]
    position = ego.position.astype(np.float64)
    xy = position[before, :2] + share * (position[after, :2] - position[before, :2])
    turn = wrap_angle(ego.heading[after] - ego.heading[before].astype(np.float64))
    heading = wrap_angle(ego.heading[before] + share[:, 0] * turn - now[2])
    return np.column_stack([to_frame(xy, now), heading]), valid


def _overall(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of a driver over its scenes, each scene with the weight of its steps."""
    found: dict[str, Any] = {"driver": name, "scenes": len(rows)}
    for metric in METRICS:
        found[metric] = [_mean(rows, metric, h) for h in range(len(HORIZONS_S))]
    return found


def _mean(rows: list[dict[str, Any]], metric: str, h: int) -> dict[str, Any]:
    values = [(row[metric][h], row["steps"][h], k) for k, row in enumerate(rows) if row[metric][h] is not None]
    if not values:
        return {"mean": None, "low": None, "high": None}
    numbers, steps, clusters = (np.array(column) for column in zip(*values, strict=True))
    mean = float(np.average(numbers, weights=steps))
    rng = np.random.default_rng(INTERVAL_SEED)
    low, high = clustered_bootstrap(np.repeat(numbers, steps), np.repeat(clusters, steps), rng=rng)
    bounds = (json_number(bound, 6) if math.isfinite(bound) else None for bound in (low, high))
    return {"mean": json_number(mean, 6), **dict(zip(("low", "high"), bounds, strict=True))}
