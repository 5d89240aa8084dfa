"""The guard in pairs of drives: the same scenario and driver without the guard and with it.

``python benchmarks/guard.py [--seeds 40] [--drivers idm,...] [--json PATH]`` drives the six families of ``long-tail-6``
on seeds from 31000. The drivers are constant-velocity, idm, and noisy-idm: idm whose plans wander by up to 1.2 m and
change their speed by up to 25 % every 2 s. Rates have exact intervals of 95 % (Clopper and Pearson). An interrupted
run goes on where it was: the finished pairs of the same code are kept in ``--kept``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.evaluation.statistics import clopper_pearson
from alpamayo.parallel import in_order
from alpamayo.provenance import code_version
from alpamayo.validator.contacts import contacts
from alpamayo.validator.judge import episode_motions, judge
from alpamayo.validator.rules import RULES
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.benchmarking import report
from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers import IdmLaneFollower

Array = np.ndarray
FAMILIES = ("cut-in", "occluded-child", "debris", "construction-bypass", "red-light-runner", "wrong-way")
FIRST_SEED = 31_000
DRIVERS = ("constant-velocity", "idm", "noisy-idm")
JUDGED = ("at_fault_collision", "drivable_area", "kinematics")
OFF_ROAD_TOLERANCE_M = 0.3
LONG_INTERVENTION_S = 1.0
DRIVES = ("alone", "guarded")
Task = tuple[str, int, str]
"""Family, seed and driver of a pair."""
WANDER_M, WANDER_SPEED_PART, WANDER_PERIOD_S, WANDER_LEAST_M = 1.2, 0.25, 2.0, 10.0


class NoisyIdm:
    """IDM with noisy plans: every 2 s they head for another lateral offset and another multiple of the speed.

    The offset is reached within the distance of 2 s, at least 10 m, and positions agree with speeds.
    """

    name = "noisy-idm"
    needs = IdmLaneFollower.needs

    def __init__(self) -> None:
        self._driver = IdmLaneFollower()
        self._rng = np.random.default_rng(0)
        self._offset = self._factor = self._before = 0.0
        self._changed_s = -np.inf
        self._driven, self._length = 0.0, WANDER_LEAST_M

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the driver and take the generator."""
        self._driver.reset(scene, rng)
        self._rng, self._changed_s, self._offset = rng, -np.inf, 0.0

    def act(self, observation: Observation) -> Decision:
        """Make IDM's plan with noise."""
        if observation.time >= self._changed_s + WANDER_PERIOD_S - 0.5 * PLAN_DT:
            self._changed_s, self._before = observation.time, self._offset
            self._offset = self._rng.uniform(-WANDER_M, WANDER_M)
            self._factor = 1.0 + self._rng.uniform(-WANDER_SPEED_PART, WANDER_SPEED_PART)
            self._driven, self._length = 0.0, max(WANDER_LEAST_M, WANDER_PERIOD_S * observation.speed)
        decision = self._driver.act(observation)
        plan = self._noisy(decision.plans[0])
        self._driven += PLAN_DT * observation.speed
        return replace(decision, plans=plan[None])

    def _noisy(self, plan: Float32[Array, "64 4"]) -> Float32[Array, "64 4"]:
        """Stretch a plan along its path, and shift it to the side relative to the present shift."""
        path = np.concatenate([[[0.0, 0.0, 0.0]], plan[:, :3].astype(np.float64)])
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path[:, :2], axis=0).T))])
        stretched = s * self._factor
        x, y, heading = (np.interp(stretched, s + 1e-9 * np.arange(len(s)), column) for column in path.T)
        beyond = np.maximum(stretched - s[-1], 0.0)  # the path goes straight on
        x, y = x + beyond * np.cos(heading), y + beyond * np.sin(heading)
        aside = self._shift(self._driven + stretched) - self._shift(np.array([self._driven]))
        x, y = x - aside * np.sin(heading), y + aside * np.cos(heading)
        step = np.diff(np.column_stack([x, y]), axis=0)
        moved = np.hypot(step[:, 0], step[:, 1])
        course = np.where(moved > 0.05, np.arctan2(step[:, 1], step[:, 0]), heading[1:])
        return np.column_stack([x[1:], y[1:], course, moved / PLAN_DT]).astype(np.float32)

    def _shift(self, driven: Array) -> Array:
        """Compute the lateral shift (m) at distances (m) since the last change."""
        u = np.clip(driven / self._length, 0.0, 1.0)
        return self._before + (self._offset - self._before) * u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


@dataclass(frozen=True)
class Drive:
    """What happened in one drive."""

    at_fault: bool
    has_contact: bool
    outside_m: float
    keeps_kinematics: bool
    arrived: bool
    intervened_s: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One scenario with one driver: without the guard and with it."""

    family: str
    seed: int
    driver: str
    alone: Drive
    guarded: Drive

    @property
    def is_fine(self) -> bool:
        """Whether the driver alone has no contact and stays on the road."""
        return not self.alone.has_contact and self.alone.outside_m <= OFF_ROAD_TOLERANCE_M


def drive_pair(task: Task) -> Pair:
    """Drive one scenario twice."""
    family, seed, driver = task
    scenario = make_scenario(family, seed)
    alone, guarded = (_driven(scenario, _driver(driver), seed, guard) for guard in (False, True))
    return Pair(family, seed, driver, alone, guarded)


def _driver(name: str) -> Driver:
    return NoisyIdm() if name == NoisyIdm.name else make_driver(name)


def _driven(scenario: Any, driver: Driver, seed: int, guard: bool) -> Drive:
    episode = drive(scenario, driver, seed=seed, guard=guard)
    motions = episode_motions(episode)
    rules = judge(motions, {name: RULES[name] for name in JUDGED}).rules
    area = rules["drivable_area"]
    reasons = tuple(f"{t * episode.dt:.1f}: {text}" for t, text in enumerate(episode.guard_reasons) if text)
    return Drive(
        at_fault=bool(rules["at_fault_collision"].violated[0]),
        has_contact=bool(len(motions.cached(contacts).k)),
        outside_m=max(0.0, -float(area.margin[0])) if area.valid[0] else 0.0,
        keeps_kinematics=not bool(rules["kinematics"].violated[0]),
        arrived=episode.arrived,
        intervened_s=float(episode.intervened.sum() * episode.dt),
        reasons=reasons,
    )


ROWS: tuple[tuple[str, Callable[[Pair], bool], Callable[[Pair], bool]], ...] = (
    ("at fault without the guard", lambda p: True, lambda p: p.alone.at_fault),
    ("at fault with the guard", lambda p: True, lambda p: p.guarded.at_fault),
    ("prevented, of those at fault", lambda p: p.alone.at_fault, lambda p: not p.guarded.at_fault),
    (
        "contact with the guard, of runs without one",
        lambda p: not p.alone.has_contact,
        lambda p: p.guarded.has_contact,
    ),
    (
        "off the road by over 0.3 m with the guard alone",
        lambda p: True,
        lambda p: p.guarded.outside_m > max(OFF_ROAD_TOLERANCE_M, p.alone.outside_m),
    ),
    (
        "taken over for 1 s or more, of runs where the driver was fine",
        lambda p: p.is_fine,
        lambda p: p.guarded.intervened_s >= LONG_INTERVENTION_S - 0.5 * PLAN_DT,
    ),
    (
        "clean and arrived without, not with the guard",
        lambda p: p.is_fine and p.alone.arrived,
        lambda p: not p.guarded.arrived,
    ),
    (
        "breaks friction or curvature with the guard alone",
        lambda p: True,
        lambda p: p.alone.keeps_kinematics and not p.guarded.keeps_kinematics,
    ),
)
"""Each row: its title, the pairs that count, and what is counted."""


def table(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Count the rows for each driver and for all of them together."""
    groups = {name: [pair for pair in pairs if pair.driver == name] for name in dict.fromkeys(p.driver for p in pairs)}
    out = []
    for title, counts, happens in ROWS:
        for name, group in {**groups, "all": pairs}.items():
            counted = [pair for pair in group if counts(pair)]
            hits = sum(happens(pair) for pair in counted)
            low, high = clopper_pearson(hits, len(counted))
            out.append({"row": title, "driver": name, "hits": hits, "n": len(counted), "low": low, "high": high})
    return out


def kept_pairs(path: Path, version: str) -> dict[Task, Pair]:
    """Return the finished pairs of a version of the code; damaged lines are left out."""
    found: dict[Task, Pair] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            if row.pop("version") == version:
                alone, guarded = (Drive(**{**row[name], "reasons": tuple(row[name]["reasons"])}) for name in DRIVES)
                pair = Pair(row["family"], row["seed"], row["driver"], alone, guarded)
                found[pair.family, pair.seed, pair.driver] = pair
        except (ValueError, KeyError, TypeError):
            continue
    return found


def driven_pairs(tasks: Sequence[Task], kept: Path, workers: int | None) -> list[Pair]:
    """Drive the pairs that are not kept yet, and return all of them in their order.

    Raises:
        RuntimeError: A drive raised an exception.
    """
    version = code_version()
    found = kept_pairs(kept, version)
    left = [task for task in tasks if task not in found]
    print(f"{len(tasks) - len(left)} of {len(tasks)} pairs are taken from {kept}", file=sys.stderr)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        for task, result in in_order(
            drive_pair, left, workers=workers, what="pairs of drives", progress=_print_progress
        ):
            if isinstance(result, Exception):
                raise RuntimeError(f"{task}: {result}") from result
            found[task] = result
            file.write(json.dumps({"version": version, **asdict(result)}) + "\n")
            file.flush()
    return [found[task] for task in tasks]


def _print_progress(what: str, done: int, total: int) -> None:
    print(f"\r{what}: {done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark and record its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="seeds of each family")
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json", type=Path, help="write the table and all pairs here")
    parser.add_argument("--kept", type=Path, default=Path("runs/guard-pairs.jsonl"), help="finished pairs")
    arguments = parser.parse_args()
    families, drivers = arguments.families.split(","), arguments.drivers.split(",")
    tasks = [
        (family, FIRST_SEED + k, driver) for k in range(arguments.seeds) for family in families for driver in drivers
    ]
    pairs = driven_pairs(tasks, arguments.kept, arguments.workers)
    rows = table(pairs)
    for row in rows:
        if row["n"]:
            interval = f"[{100.0 * row['low']:.1f}, {100.0 * row['high']:.1f}]"
            case = f"{row['row']}, {row['driver']}: {row['hits']} of {row['n']}, {interval}"
            report("guard", case, 100.0 * row["hits"] / row["n"], "%")
    if arguments.json:
        document = {"table": rows, "pairs": [asdict(pair) for pair in pairs]}
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
