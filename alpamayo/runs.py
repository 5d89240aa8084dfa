"""One run: drive a scenario, score it, and write its record and its report."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import guarded_by_default, make_driver
from alpamayo.episode import Episode, save_episode
from alpamayo.json_values import check_writable, json_number, write_json
from alpamayo.parallel import Progress
from alpamayo.validator import Verdict, score_episode
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.geometry import boxes_overlap


def run_scenarios(
    scenarios: Iterable[Scenario],
    count: int,
    driver_name: str,
    out: Path,
    *,
    guard: bool | None = None,
    checkpoint: Path | None = None,
    progress: Progress,
    seed: int | None = None,
) -> list[dict[str, Any]]:
    """Drive scenarios one after another; the files of each are complete before the next starts.

    The files of a single scenario go to ``out`` itself, those of several to one subfolder each.

    Returns:
        One row of JSON values for each scenario; see ``summary``.

    Raises:
        InputError: A driver, checkpoint or scene is invalid, or the folder cannot be written.
    """
    from alpamayo.report.episode_report import write_report

    driver = make_driver(driver_name, checkpoint)
    guarded = guarded_by_default(driver_name) if guard is None else guard
    check_writable(out)
    rows = []
    for scenario in scenarios:
        name = scenario_name(scenario)
        folder = out if count == 1 else out / name
        episode = drive(
            scenario,
            driver,
            seed=scenario.seed if seed is None else seed,
            guard=guarded,
            on_step=lambda done, total, name=name: progress(f"drive {name}", done, total),  # type: ignore[misc]
        )
        progress(f"drive {name}", episode.steps, episode.steps)
        verdict = score_episode(episode)
        row = write_run(episode, verdict, folder)
        report = write_report(
            episode,
            verdict,
            folder,
            lambda done, total, name=name: progress(f"report {name}", done, total),  # type: ignore[misc]
        )
        rows.append(row | {"report": str(report.page), "video": str(report.video)})
    return rows


def write_run(episode: Episode, verdict: Verdict, folder: Path, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write episode, verdict and summary into ``folder``; the summary is written last and marks a finished run."""
    save_episode(episode, folder)
    row = summary(episode, verdict) | {"episode": str(folder / "episode.json")} | (extra or {})
    write_json(verdict.to_json(), folder / "verdict.json")
    write_json(row, folder / "summary.json")
    return row


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
        "code_version": episode.code_version,
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


def has_collision(episode: Episode) -> bool:
    """Return whether the ego's box overlaps any other box at any time, at fault or not."""
    ego = episode.ego_pose[:, None].astype(np.float64)
    overlap = boxes_overlap(ego, episode.ego_size[:2], episode.agent_pose, episode.agent_size[None, :, :2])
    return bool(np.any(overlap & episode.agent_valid))


def deviation(episode: Episode) -> float | None:
    """Compute the largest distance (m) of the ego from its recorded position; None for a generated scenario."""
    if episode.scenario.family:
        return None
    track = episode.scenario.scene.ego
    rows = np.arange(min(episode.steps + 1, len(track.valid)))
    gap = np.linalg.norm(episode.ego_pose[rows, :2] - track.position[rows, :2], axis=1)
    return round(float(np.max(gap[track.valid[rows]], initial=0.0)), 6)
