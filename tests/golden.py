"""Compare behaviour, byte for byte, between a commit and the working tree.

    python tests/golden.py a440076            # all parts
    python tests/golden.py a440076 --parts scenes,logs

Both trees run on this machine with this Python. Each result is reduced to digests, one for the numbers and one for
the words (reasons are reworded more often than behaviour changes). The digests of a commit are kept in ``.golden/``.
Two cores need about six minutes for all parts. Exit code 1: something differs, and each difference is listed.
"""

import argparse
import dataclasses
import enum
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".golden"
WINGS = (".", "sim", "scenarios", "datasets", "vla_model", "kernels")
FAMILIES = ("construction-bypass", "cut-in", "debris", "occluded-child", "red-light-runner", "wrong-way")
SEEDS = (10_000, 10_007)
DRIVERS = ("expert", "idm", "constant-velocity", "end-to-end")
PLAN_SCENARIOS = (("cut-in", 10_001), ("occluded-child", 10_001), ("red-light-runner", 10_001), ("wrong-way", 10_001))
PLANS_EACH = 500
MADE_ON_THE_WAY = {
    "code_version",
    "timings",
    "model",
    "execution",
    "guard_config",
}  # say which code ran and how fast, not what it did
RENAMED = {"traffic_vehicles": "motorists"}  # fields and keys of the working tree -> their names at a440076


class Digest:
    """Hash numbers and words of nested values apart."""

    def __init__(self) -> None:
        self.numbers = hashlib.sha256()
        self.words = hashlib.sha256()

    def add(self, value: Any) -> "Digest":
        """Add one value: a dataclass, an array, a container, an enum or a scalar."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {RENAMED.get(f.name, f.name): getattr(value, f.name) for f in dataclasses.fields(value)}
            for name in sorted(fields.keys() - MADE_ON_THE_WAY):
                self.numbers.update(name.encode())
                self.add(fields[name])
        elif isinstance(value, np.ndarray):
            self.numbers.update(f"{value.dtype.str}{value.shape}".encode())
            self.numbers.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, dict):
            items = {RENAMED.get(str(key), str(key)): item for key, item in value.items()}
            for key in sorted(items):
                self.numbers.update(key.encode())
                self.add(items[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.add(item)
        elif isinstance(value, str):
            self.words.update(value.encode() + b"\0")
        elif isinstance(value, enum.Enum):
            self.numbers.update(value.name.encode())
        elif isinstance(value, np.generic):
            self.add(value.item())
        elif value is None or isinstance(value, (bool, int, float)):
            self.numbers.update(f"{type(value).__name__}{value!r}".encode())
        else:
            raise TypeError(f"no digest for a {type(value).__name__}")
        return self

    def pair(self) -> dict[str, str]:
        """The two digests, in hexadecimal."""
        return {"numbers": self.numbers.hexdigest()[:16], "words": self.words.hexdigest()[:16]}


def name_in_either(*places: str) -> Any:
    """The first of ``module:name`` that this tree has."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise ImportError(f"none of {places} is in this tree")


def verdict_values(verdict: Any) -> dict[str, Any]:
    """All rules and scores of a verdict as plain values."""
    rules = {
        name: [r.value, r.margin, r.valid, r.violation_time, r.margins, r.unit, list(r.reasons), r.error]
        for name, r in verdict.rules.items()
    }
    scores = {name: [s.value, s.parts, [list(m) for m in s.missing]] for name, s in verdict.scores.items()}
    return {"times": verdict.times, "rules": rules, "scores": scores}


def capture_scenes(_: Any) -> Iterator[tuple[str, Any]]:
    """(a) the scenarios of the evaluation suite."""
    make_scenario = name_in_either("alpamayo_scenarios.families:make_scenario")
    for family in FAMILIES:
        for seed in range(10_000, 10_100):
            yield f"scenes/{family}-{seed}", make_scenario(family, seed)


def capture_episode(task: tuple[str, int, str]) -> Iterator[tuple[str, Any]]:
    """(b), (c) one episode with all arrays, and its verdict."""
    import alpamayo
    from alpamayo.drivers.registry import BUILT_IN

    family, seed, name = task
    scenario = alpamayo.make_scenario(family, seed)
    driver = alpamayo.make_driver(name if name in BUILT_IN else "tiny")  # its name before it was told from others
    episode = alpamayo.drive(scenario, driver, seed=seed, guard=name == "end-to-end")
    where = f"{family}-{seed}-{name}"
    yield (
        f"episodes/{where}",
        {f.name: getattr(episode, f.name) for f in dataclasses.fields(episode) if f.name not in MADE_ON_THE_WAY},
    )
    yield f"verdicts/{where}", verdict_values(alpamayo.score_episode(episode))


def capture_plans(task: tuple[str, int]) -> Iterator[tuple[str, Any]]:
    """(d) the verdicts of random plans."""
    import alpamayo

    family, seed = task
    scene = alpamayo.make_scenario(family, seed).scene
    rng = np.random.default_rng(seed)
    plans = random_plans(rng, PLANS_EACH, speed=float(np.hypot(*scene.ego.velocity[0])))
    for t in (0.0, 2.0):
        if round(t / scene.dt) < scene.steps and scene.ego.valid[round(t / scene.dt)]:
            for horizon in (4.0, 6.4):
                verdict = alpamayo.score_plans(scene, plans, t, horizon=horizon)
                yield f"plans/{family}-{seed}-{t:g}s-{horizon:g}s", verdict_values(verdict)


def random_plans(rng: np.random.Generator, count: int, speed: float) -> np.ndarray:
    """Plans of constant acceleration and slowly turning curvature: (count, 64, 4) float32 in the ego frame."""
    times = 0.1 * np.arange(1, 65)
    acceleration = rng.uniform(-6.0, 3.0, (count, 1))
    v = np.maximum(speed + rng.normal(0.0, 0.5, (count, 1)) + acceleration * times, 0.0)
    curvature = rng.normal(0.0, 0.01, (count, 1)) * np.sin(rng.uniform(0.3, 1.5, (count, 1)) * times)
    heading = np.cumsum(v * curvature * 0.1, axis=1)
    x, y = np.cumsum(v * np.cos(heading) * 0.1, axis=1), np.cumsum(v * np.sin(heading) * 0.1, axis=1)
    return np.stack([x, y, heading, v], axis=-1).astype(np.float32)


def capture_log(path: Path) -> Iterator[tuple[str, Any]]:
    """(e) a recorded log as a Scene, and its replay by the recording and by IDM in reactive traffic."""
    import alpamayo

    scenario_of_log = name_in_either(
        "alpamayo_sim.datatypes.scenario:scenario_of_log", "alpamayo_sim.scenario:scenario_of_log"
    )
    scene = alpamayo.open_log(path)
    name = path.name
    yield f"logs/{name}", scene
    for driver, reactive in (("log", False), ("idm", True)):
        episode = alpamayo.drive(scenario_of_log(scene, reactive=reactive), alpamayo.make_driver(driver), guard=False)
        yield (
            f"logs/{name}-{driver}",
            {
                f.name: getattr(episode, f.name)
                for f in dataclasses.fields(episode)
                if f.name not in MADE_ON_THE_WAY | {"scenario"}
            },
        )
        yield f"logs/{name}-{driver}-verdict", verdict_values(alpamayo.score_episode(episode))


def logs() -> list[Path]:
    """The recordings that a440076 reads."""
    folder = Path(os.environ.get("ALPAMAYO_REALDATA", ROOT.parent / "shared" / "realdata"))
    return sorted([*(folder / "scenarionet").glob("*.pkl"), *(folder / "womd_json").glob("*.json")])


def tasks(parts: set[str]) -> list[tuple[Callable[[Any], Iterator[tuple[str, Any]]], Any]]:
    """All pieces of work, the long ones first."""
    work: list[tuple[Callable[[Any], Iterator[tuple[str, Any]]], Any]] = []
    if "episodes" in parts:
        work += [(capture_episode, (f, s, d)) for d in reversed(DRIVERS) for f in FAMILIES for s in SEEDS]
    if "logs" in parts:
        work += [(capture_log, path) for path in logs()]
    if "plans" in parts:
        work += [(capture_plans, entry) for entry in PLAN_SCENARIOS]
    if "scenes" in parts:
        work += [(capture_scenes, None)]
    return work


def run_task(task: tuple[Callable[[Any], Iterator[tuple[str, Any]]], Any]) -> dict[str, dict[str, str]]:
    """Digests of one piece of work. An exception is a result too: both trees must raise the same."""
    function, argument = task
    try:
        return {name: Digest().add(value).pair() for name, value in function(argument)}
    except Exception as error:
        if isinstance(error, (ImportError, TypeError, NameError, AttributeError)):
            raise
        return {f"{function.__name__}-{argument}": {"numbers": type(error).__name__, "words": str(error)}}


def capture(parts: set[str], workers: int) -> dict[str, dict[str, str]]:
    """Digests of this process's tree."""
    found: dict[str, dict[str, str]] = {}
    with ProcessPoolExecutor(workers) as pool:
        for result in pool.map(run_task, tasks(parts)):
            found.update(result)
            print(f"\r{len(found)} digests", end="", file=sys.stderr, flush=True)  # noqa: T201
    return found


def captured_in(tree: Path, parts: set[str], workers: int) -> dict[str, dict[str, str]]:
    """Digests of another tree, made by this script in a process that imports that tree."""
    paths = os.pathsep.join(str(tree / wing) for wing in WINGS)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--capture", "--parts", ",".join(sorted(parts))]
    command += ["--workers", str(workers)]
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def captured_at(commit: str, parts: set[str], workers: int) -> dict[str, dict[str, str]]:
    """Digests of a commit, from the cache where it has them."""
    name = subprocess.run(["git", "rev-parse", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    cache = CACHE / f"{name.stdout.strip()}.json"
    known: dict[str, Any] = json.loads(cache.read_text()) if cache.is_file() else {}
    missing = parts - known.keys()
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
            try:
                found = captured_in(tree, missing, workers)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
        for part in missing:
            owned = ("episodes/", "verdicts/") if part == "episodes" else (f"{part}/",)
            known[part] = {key: value for key, value in found.items() if key.startswith(owned)}
        CACHE.mkdir(exist_ok=True)
        cache.write_text(json.dumps(known, indent=1))
    return {key: value for part in parts for key, value in known[part].items()}


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> Iterator[str]:
    """One line for each thing that differs."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield f"{name}: only {'after' if old is None else 'before'}"
        else:
            changed = [kind for kind in ("numbers", "words") if old[kind] != new[kind]]
            if changed:
                yield f"{name}: {' and '.join(changed)} differ"


def main() -> int:
    """Compare, or capture for the comparing process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="a440076")
    parser.add_argument("--parts", default="scenes,episodes,plans,logs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--numbers-only", action="store_true", help="do not report reworded texts")
    parser.add_argument("--capture", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = set(options.parts.split(","))
    if options.capture:
        print(json.dumps(capture(parts, options.workers)))  # noqa: T201
        return 0
    before = captured_at(options.commit, parts, options.workers)
    after = captured_in(ROOT, parts, options.workers)
    found = [
        line for line in differences(before, after) if not options.numbers_only or "numbers" in line or "only" in line
    ]
    print("\n".join(["", *found, f"{len(after)} digests, {len(found)} differ from {options.commit}"]))  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
