"""One run, rescored from its record: conditions, verdict, violations in order, and hashes."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from alpamayo.episode import Episode, has_collision, load_episode
from alpamayo.evaluation.guard_figures import guard_figures
from alpamayo.evaluation.odd_coverage import levels
from alpamayo.json_values import QUANTITY_DECIMALS, json_number
from alpamayo.runs import guard_state, scenario_name
from alpamayo.validator import RULES, Verdict, score_episode
from alpamayo.validator.formulas import rules_from
from alpamayo_scenarios.families import family_names, get_family
from alpamayo_sim.errors import InputError, is_machine_fault
from alpamayo_sim.io.document import digest

FILES = ("episode.json", "episode.npz")
HARD = tuple(name for name, rule in RULES.items() if rule.hard)
"""The rules whose violation is a failure: those that gate the project's score, and the stop line."""

INCIDENTS = ("at_fault_collision", "drivable_area")
"""Incidents of kilometres per incident, the first of each run; AlpaSim too drops what follows the first."""


def judge_run(
    folder: Path, name: str, formulas: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Any], Episode]:
    """Load and judge the record of a folder by the rules and by the user's formulas; return it with the episode.

    Raises:
        InputError: the record cannot be read or cannot be judged.
    """
    episode = load_episode(folder)
    try:
        verdict = score_episode(episode, rules={**RULES, **rules_from(formulas)})
        return run_record(name, folder, episode, verdict), episode
    except InputError:
        raise
    except Exception as error:  # a record from outside may break anything
        if is_machine_fault(error):
            raise
        raise InputError(f"{folder}: cannot be judged: {type(error).__name__}: {error}") from error


def run_record(name: str, folder: Path, episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """Describe one run as JSON values."""
    scenario = episode.scenario
    violations = violations_of(verdict)
    state = guard_state(episode.guarded, episode.guard_on_belief)
    return {
        "run": name,
        "driver": state.label(episode.driver),
        "base_driver": episode.driver,
        "guard_state": state.value,
        "guarded": episode.guarded,
        "scenario": scenario_name(scenario),
        "family": scenario.family or "log",
        "parameters": {key: float(value) for key, value in sorted(scenario.parameters.items())},
        "odd": levels(episode),
        "arrived": bool(episode.arrived),
        "collided": has_collision(episode),
        "duration_s": round(episode.steps * episode.dt, 6),
        "kilometres": driven(episode),
        "kilometres_before_incident": driven(episode, _first_incident(verdict)),
        "rules": {row["rule"]: row for row in verdict.table()},
        "errors": {rule.name: rule.error for rule in verdict.rules.values() if rule.error},
        "scores": {key: _score(score) for key, score in verdict.scores.items()},
        "violations": violations,
        "failures": [row for row in violations if row["rule"] in HARD],
        "guard": guard_figures(episode, verdict) if episode.guarded else None,
        "seeds": {"scenario": scenario.seed, "driver": episode.seed},
        "hashes": hashes(folder, episode),
        "reproduce": reproduction(episode),
    }


def violations_of(verdict: Verdict) -> list[dict[str, Any]]:
    """List the violated rules in the order of their first violations."""
    rows = [row for row in verdict.table() if verdict.rules[row["rule"]].violated[0]]
    return sorted(rows, key=lambda row: (row["violation_time"] is None, row["violation_time"] or 0.0, row["rule"]))


def driven(episode: Episode, until: float = np.inf) -> float:
    """Compute the distance (km) that the ego's centre has moved up to a time (s)."""
    steps = np.linalg.norm(np.diff(episode.ego_pose[:, :2].astype(np.float64), axis=0), axis=1)
    return float(steps[episode.dt * np.arange(len(steps)) < until - 1e-6].sum()) / 1e3


def _first_incident(verdict: Verdict) -> float:
    """Return the time (s) of the first incident; infinite if there was none."""
    return float(np.nanmin([np.inf, *(verdict.rules[name].violation_time[0] for name in INCIDENTS)]))


def hashes(folder: Path, episode: Episode) -> dict[str, str]:
    """Compute the SHA-256 of the inputs and of the record.

    ``scenario`` is of the scenario with all its parameters; ``config`` of the scenario, the driver's name, arguments
    and seed and the guard being on; ``model`` of the driver's weights, empty for one without; ``code`` is the release
    with a digest of its sources.
    """
    config = {"driver": episode.driver, "guarded": episode.guarded, "seed": episode.seed, "model": episode.model}
    config |= {"guard_on_belief": True} if episode.guard_on_belief else {}
    config |= {"choice": episode.driver_choice, "arguments": episode.driver_arguments}
    scenario = digest(episode.scenario)
    return {
        "scenario": scenario,
        "config": hashlib.sha256(json.dumps([scenario, config], sort_keys=True).encode()).hexdigest(),
        "model": episode.model,
        "code": episode.code_version,
        **{file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES},
    }


def reproduction(episode: Episode) -> str | None:
    """Return the command that repeats the drive; None if the scenario is of no family, or has another seed."""
    scenario = episode.scenario
    if scenario.family not in family_names() or scenario.seed != episode.seed:
        return None
    words = ["alpamayo", "drive", scenario.family, "--driver", episode.driver_choice or episode.driver]
    if episode.driver_arguments not in ("", "{}"):
        words += ["--driver-args", episode.driver_arguments]
    if dict(scenario.parameters) != get_family(scenario.family).draw(scenario.seed):
        words += [f"--set={name}={value!r}" for name, value in sorted(scenario.parameters.items())]
    words += ["--seed", str(episode.seed), "--guard" if episode.guarded else "--no-guard"]
    return shlex.join([*words, *(["--guard-sees", "belief"] if episode.guard_on_belief else [])])


def _score(score: Any) -> dict[str, Any]:
    return {
        "value": json_number(score.value[0], QUANTITY_DECIMALS),
        "parts": {name: json_number(part[0], QUANTITY_DECIMALS) for name, part in score.parts.items()},
        "missing": list(score.missing[0]),
        "notes": list(score.notes),
    }


def is_failed(run: Mapping[str, Any], rule: str) -> bool:
    """Return whether a run violated a rule."""
    return any(row["rule"] == rule for row in run["violations"])
