"""One run: drive a scenario, score it, and write its record and its report; or take it from an earlier call."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from alpamayo.closed_loop import drive, guard_config
from alpamayo.drivers.registry import code_of, get_entry, make_driver, shipped_checkpoint
from alpamayo.episode import Episode, has_collision, record_digest, save_episode
from alpamayo.folders import claimed
from alpamayo.guard.config import GuardConfig
from alpamayo.json_values import json_number, read_sealed, rounded, sealed, write_json
from alpamayo.parallel import Progress
from alpamayo.provenance import code_version, file_digest
from alpamayo.report.sensors import RENDERED, Sensors
from alpamayo.validator import Verdict, score_episode
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest

_log = logging.getLogger(__name__)
PAGE, VIDEO = "report.html", "video.mp4"


@dataclass(frozen=True)
class DriverChoice:
    """A driver as the user chose it: its name, its weights, the arguments of its constructor, and the guard."""

    name: str
    guard: GuardConfig | None = None
    checkpoint: Path | None = None
    arguments: str = "{}"  # as JSON, so that equal choices compare equal

    @staticmethod
    def of(
        name: str,
        guard: bool | GuardConfig | None = None,
        checkpoint: Path | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> "DriverChoice":
        """Return the choice; ``guard`` None is the driver's default."""
        try:
            text = json.dumps(dict(arguments or {}), sort_keys=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"driver {name!r}: arguments must be JSON values ({error})") from error
        return DriverChoice(name, guard_config(name, guard), checkpoint, text)

    @property
    def label(self) -> str:
        """The driver's name with its guard, for folders and tables."""
        return self.guard_state.label(self.name)

    @property
    def guard_state(self) -> "GuardState":
        """What supervises the driver."""
        return guard_state(self.guard is not None, self.guard is not None and self.guard.on_belief)

    def make(self) -> Driver:
        """Make the driver."""
        return make_driver(self.name, self.checkpoint, json.loads(self.arguments))

    def inputs(self) -> dict[str, Any]:
        """Return the part of a run's inputs that is the driver's, by digest."""
        return {
            "driver": self.name,
            "driver_arguments": json.loads(self.arguments),
            "driver_code": code_of(self.name),
            "weights": _weights(self.name, self.checkpoint, self.arguments),
            "guard": None if self.guard is None else self.guard.record(),
        }


def driver_of(choice: DriverChoice, weights: str) -> Driver:
    """Return the driver of a choice; a process loads the weights of one of ours once, by their digest."""
    return _loaded(choice, weights) if get_entry(choice.name).weights is not None else choice.make()


@lru_cache(maxsize=1)
def _loaded(choice: DriverChoice, weights: str) -> Driver:
    return choice.make()


class GuardState(StrEnum):
    """What supervises a driver: nothing, the guard, or the guard that is told what the driver believes."""

    OFF = "off"
    ON = "on"
    BELIEF = "belief"

    def label(self, driver: str) -> str:
        """Return the name of a driver with its guard, for folders and tables."""
        return driver + {"off": "", "on": "+guard", "belief": "+guard-on-belief"}[self]


def guard_state(guarded: bool, on_belief: bool) -> GuardState:
    """Return what supervises a driver."""
    return (GuardState.BELIEF if on_belief else GuardState.ON) if guarded else GuardState.OFF


@cache
def _weights(name: str, checkpoint: Path | None, arguments: str) -> str:
    """Return the digest of a driver's weights: of the file, or as the driver itself says; empty for none."""
    if get_entry(name).weights is None:
        driver = make_driver(name, checkpoint, json.loads(arguments)) if not get_entry(name).built_in else None
        return str(getattr(driver, "weights_digest", ""))
    path = checkpoint or shipped_checkpoint(name)
    return "" if path is None else file_digest(path)


def run_inputs(choice: DriverChoice, scenario: Scenario, seed: int) -> dict[str, Any]:
    """Return all that decides the result of a run: scenario, driver, weights and guard, seed, and the code."""
    return choice.inputs() | {"scenario_sha256": digest(scenario), "seed": seed, "code_version": code_version()}


def run_scenarios(
    scenarios: Iterable[Scenario],
    count: int,
    driver_name: str,
    out: Path,
    *,
    guard: bool | GuardConfig | None = None,
    checkpoint: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    progress: Progress,
    seed: int | None = None,
    sensors: Sensors = RENDERED,
) -> list[dict[str, Any]]:
    """Drive scenarios one after another; the files of each are complete before the next starts.

    The files of a single scenario go to ``out`` itself, those of several to one subfolder each. A run that an earlier
    call with the same inputs has finished is not driven again. ``sensors`` say what the driver sees, and what the
    report shows.

    Returns:
        One row of JSON values for each scenario; see ``summary``.

    Raises:
        InputError: A driver, checkpoint or scene is invalid, or the folder cannot be written.
    """
    from alpamayo.report.episode_report import write_report

    choice = DriverChoice.of(driver_name, guard, checkpoint, arguments)
    driver = choice.make()
    rows, taken = [], 0
    with claimed(out):
        for scenario in scenarios:
            name = scenario_name(scenario)
            folder = out if count == 1 else out / name
            inputs = run_inputs(choice, scenario, scenario.seed if seed is None else seed) | sensors.inputs()
            row = finished(folder, inputs, (PAGE, VIDEO))
            if row is None:
                counted = _counted(progress, f"drive {name}")
                episode = drive_run(choice, driver, scenario, inputs["seed"], counted, sensors.recorded)
                verdict = score_episode(episode)
                write_record(episode, verdict, folder)
                shown = replace(sensors, rig=driver.needs.rig)
                write_report(episode, verdict, folder, _counted(progress, f"report {name}"), shown)
                row = write_summary(episode, verdict, folder, {"inputs": inputs})
            else:
                taken += 1
            rows.append(row | {"report": str(folder / PAGE), "video": str(folder / VIDEO)})
    say_taken(driver_name, taken, len(rows))
    return rows


def drive_run(
    choice: DriverChoice,
    driver: Driver,
    scenario: Scenario,
    seed: int,
    on_step: Callable[[int, int], None] | None = None,
    recorded: RecordedCameras | None = None,
) -> Episode:
    """Drive a scenario; the episode says how its driver is made."""
    episode = drive(scenario, driver, seed=seed, guard=choice.guard or False, on_step=on_step, recorded=recorded)
    return replace(episode, driver_choice=choice.name, driver_arguments=choice.arguments)


def write_run(
    episode: Episode, verdict: Verdict, folder: Path, extra: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Write episode, verdict and summary into ``folder``; return the summary, with ``extra`` values."""
    write_record(episode, verdict, folder)
    return write_summary(episode, verdict, folder, extra)


def write_record(episode: Episode, verdict: Verdict, folder: Path) -> None:
    """Write episode and verdict into ``folder``."""
    save_episode(episode, folder)
    write_json(rounded(verdict.to_json()), folder / "verdict.json")


def write_summary(episode: Episode, verdict: Verdict, folder: Path, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Write the summary, which is the last file of a run and marks it as finished; return it."""
    row = summary(episode, verdict) | {
        "episode": str(folder / "episode.json"),
        "record_sha256": record_digest(folder),
        **extra,
    }
    write_json(row := sealed(rounded(row)), folder / "summary.json")
    return row


def finished(folder: Path, inputs: Mapping[str, Any], files: Iterable[str] = ()) -> dict[str, Any] | None:
    """Return the summary of an earlier run in ``folder`` with the same inputs, if its record is whole; else None."""
    row = read_sealed(folder / "summary.json")
    if row is None or row.get("inputs") != rounded(inputs) or not all((folder / name).is_file() for name in files):
        return None
    return row if row["record_sha256"] == record_digest(folder) else None


def say_taken(driver: str, taken: int, runs: int) -> None:
    """Say how many runs were not driven, because an earlier call with the same inputs has finished them."""
    if taken:
        _log.warning("%s: %d of %d runs taken from an earlier call with the same inputs", driver, taken, runs)


def _counted(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)


def scenario_name(scenario: Scenario) -> str:
    """Return the name of a scenario for tables and folders."""
    return f"{scenario.family}-{scenario.seed:05d}" if scenario.family else scenario.scene.id


def summary(episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """Summarise an episode as JSON values; None where a rule did not apply."""
    scenario = episode.scenario
    collision, area = verdict.rules["at_fault_collision"], verdict.rules["drivable_area"]
    latency = 1000.0 * episode.timings["driver"] if "driver" in episode.timings else np.zeros(1)
    return {
        "scenario": scenario_name(scenario),
        "family": scenario.family,
        "seed": scenario.seed,
        "driver": episode.driver,
        "guarded": episode.guarded,
        "guard_state": guard_state(episode.guarded, episode.guard_on_belief).value,
        "code_version": episode.code_version,
        "execution": episode.execution,
        "steps": episode.steps,
        "duration_s": round(episode.steps * episode.dt, 3),
        "arrived": episode.arrived,
        "progress_m": round(float(episode.progress[-1] - episode.progress[0]), 3),
        "goal_m": round(float(scenario.goal.distance - episode.progress[0]), 3),
        "collision": has_collision(episode),
        "at_fault_collision": bool(collision.violated[0]),
        "clearance_m": json_number(collision.margin[0], 4),
        "off_road": bool(area.violated[0]) if area.valid[0] else None,
        "time_to_collision_margin_s": json_number(verdict.rules["time_to_collision"].margin[0], 4),
        "comfort": json_number(verdict.rules["comfort"].value[0], 4),
        "pdm_score": json_number(verdict.scores["pdms"].value[0], 4),
        "scores": {
            name: {"value": json_number(score.value[0], 4), "missing": list(score.missing[0])}
            for name, score in verdict.scores.items()
        },
        "interventions": int(episode.intervened.sum()),
        "deviation_from_recording_m": deviation(episode),
        "driver_latency_ms": {q: round(float(np.percentile(latency, p)), 2) for q, p in (("p50", 50), ("p99", 99))},
    }


def deviation(episode: Episode) -> float | None:
    """Compute the largest distance (m) of the ego from its recorded position; None for a generated scenario."""
    if episode.scenario.family:
        return None
    track = episode.scenario.scene.ego
    rows = np.arange(min(episode.steps + 1, len(track.valid)))
    gap = np.linalg.norm(episode.ego_pose[rows, :2] - track.position[rows, :2], axis=1)
    return round(float(np.max(gap[track.valid[rows]], initial=0.0)), 6)
