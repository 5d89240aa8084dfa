"""Evidence: everything recomputed from the records of a run or a suite, with intervals, failures and hashes.

The same records give the same bytes: nothing here depends on the clock, the machine or the order of the folders.
"""

import hashlib
import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.episode import Episode, load_episode
from alpamayo.validator.judge import RULES, judge, score_episode
from alpamayo.validator.scores import kilometres_per_incident
from alpamayo.validator.situation import Situation, mirrored_history, plans_in_world
from alpamayo.validator.statistics import clopper_pearson, clustered_bootstrap, mcnemar, paired_difference
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.document import replacing
from alpamayo_sim.errors import InputError

Array = np.ndarray
EVIDENCE_VERSION = 1
INCIDENTS = ("at_fault_collision", "drivable_area", "red_light")
RECENT = 2.0  # s before a collision in which a guard should have done something
PLAN_HORIZON = 41
FILES = ("episode.json", "episode.npz")


def find_runs(path: Path) -> list[Path]:
    """Folders of episodes in a run's or a suite's folder, sorted by name.

    Raises:
        InputError: there is none.
    """
    runs = sorted({file.parent for file in path.rglob("episode.json")}) if path.is_dir() else []
    if not runs:
        raise InputError(f"{path}: no episode.json in this folder or below it, so there is nothing to validate")
    return runs


def collect(
    path: Path, *, confidence: float = 0.95, on_run: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Judge all episodes under a folder again and put together what they show, as JSON values.

    An episode that cannot be read is not counted: it is listed as excluded, with the reason.

    Raises:
        InputError: no episodes at all, or none that can be read.
    """
    runs, excluded = [], []
    folders = find_runs(path)
    for i, folder in enumerate(folders):
        name = folder.relative_to(path).as_posix()
        try:
            episode = load_episode(folder)
            runs.append(run_record(name, folder, episode, score_episode(episode)))
        except InputError as error:
            excluded.append({"run": name, "reason": str(error)})
        if on_run:
            on_run(i + 1, len(folders))
    if not runs:
        raise InputError(f"{path}: none of its {len(folders)} episodes can be read; first: {excluded[0]['reason']}")
    return summarise(runs, excluded, confidence)


def run_record(name: str, folder: Path, episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """One run: who drove what, the verdict, what failed first, and the hashes of its files."""
    scenario = episode.scenario
    certificate = scenario.certificate
    return {
        "run": name,
        "driver": episode.driver,
        "guarded": episode.guarded,
        "family": scenario.family or "log",
        "scene": scenario.scene.id,
        "scenario_seed": scenario.seed,
        "seed": episode.seed,
        "parameters": {key: float(value) for key, value in sorted(scenario.parameters.items())},
        "environment": _environment(episode),
        "arrived": bool(episode.arrived),
        "kilometres": float(np.linalg.norm(np.diff(episode.ego_pose[:, :2].astype(np.float64), axis=0), axis=1).sum())
        / 1e3,
        "avoided_by": None if certificate is None else list(certificate.avoided_by),
        "rules": {row["rule"]: row for row in verdict.table()},
        "scores": {key: _number(score.value[0]) for key, score in verdict.scores.items()},
        "score_missing": {key: list(score.missing[0]) for key, score in verdict.scores.items()},
        "failures": failures(verdict),
        "guard": guard_figures(episode, verdict) if episode.guarded else None,
        "code_version": episode.code_version,
        "hashes": {file: _sha256(folder / file) for file in FILES},
    }


def failures(verdict: Verdict) -> list[dict[str, Any]]:
    """Rules that were broken, the first violation first."""
    broken = [row for row in verdict.table() if verdict.rules[row["rule"]].violated[0]]
    return sorted(broken, key=lambda row: (row["violation_time"] is None, row["violation_time"] or 0.0, row["rule"]))


def guard_figures(episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """How the guard did: interventions, false alarms and misses, by what really happened afterwards.

    An intervention is a false alarm where the driver's choice, driven among the others as they really moved, would
    have met nobody by its own fault and stayed on the road for 4 s. A miss is an at-fault collision with no
    intervention in the 2 s before it. The others might have moved differently: both are estimates.
    """
    steps = np.flatnonzero(episode.intervened)
    alarms = int(sum(not _would_fail(episode, int(t)) for t in steps))
    collision = verdict.rules["at_fault_collision"].violation_time[0]
    recent = episode.intervened[max(0, round((collision - RECENT) / episode.dt)) :] if np.isfinite(collision) else None
    latency = 1e3 * episode.timings["guard"] if "guard" in episode.timings else None
    return {
        "interventions": len(steps),
        "false_alarms": alarms,
        "missed": bool(recent is not None and not recent.any()),
        "latency_ms": None if latency is None else {str(p): float(np.percentile(latency, p)) for p in (50, 99)},
    }


def summarise(runs: list[dict[str, Any]], excluded: list[dict[str, str]], confidence: float) -> dict[str, Any]:
    """The suite's figures, by driver and by family, each with its interval and n."""
    runs = sorted(runs, key=lambda run: run["run"])
    drivers = sorted({_driver(run) for run in runs})
    by_driver = {name: [run for run in runs if _driver(run) == name] for name in drivers}
    return {
        "version": EVIDENCE_VERSION,
        "confidence": confidence,
        "runs": len(runs),
        "excluded": sorted(excluded, key=lambda row: row["run"]),
        "drivers": {name: figures(rows, confidence) for name, rows in by_driver.items()},
        "families": {
            name: {
                family: figures([run for run in rows if run["family"] == family], confidence)
                for family in sorted({run["family"] for run in rows})
            }
            for name, rows in by_driver.items()
        },
        "coverage": coverage(runs),
        "paired": paired(by_driver, confidence),
        "rules": sorted(RULES),
        "records": runs,
    }


def figures(runs: list[dict[str, Any]], confidence: float) -> dict[str, Any]:
    """Rates with Clopper-Pearson, scores with the bootstrap clustered by scene, kilometres per incident."""
    out: dict[str, Any] = {"n": len(runs)}
    for name in INCIDENTS:
        judged = [run for run in runs if run["rules"].get(name, {"applies": False})["applies"]]
        out[name] = _rate([name in _broken(run) for run in judged], confidence)
    out["arrived"] = _rate([run["arrived"] for run in runs], confidence)
    out["scores"] = {name: _mean(runs, name, confidence) for name in runs[0]["scores"]}
    kilometres = sum(run["kilometres"] for run in runs)
    incidents = sum("at_fault_collision" in _broken(run) or "drivable_area" in _broken(run) for run in runs)
    if kilometres > 0.0:
        per = kilometres_per_incident(kilometres, incidents, confidence)
        values = {"value": per.value, "low": per.low, "high": per.high}
        out["kilometres_per_incident"] = {key: _number(value) for key, value in values.items()}
    out["kilometres"], out["incidents"] = kilometres, incidents
    failed = [run for run in runs if "at_fault_collision" in _broken(run) and run["avoided_by"] is not None]
    out["preventable"] = {
        name: sum(name in run["avoided_by"] for run in failed)
        for name in sorted({name for run in failed for name in run["avoided_by"]})
    }
    out["guard"] = _guard(runs)
    return out


def coverage(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What was driven: scenes by family, the range of each parameter, light, rain and friction."""
    out: dict[str, Any] = {}
    for family in sorted({run["family"] for run in runs}):
        rows = [run for run in runs if run["family"] == family]
        spans: dict[str, list[float]] = {}
        for run in rows:
            for name, value in {**run["parameters"], **run["environment"]}.items():
                spans.setdefault(name, []).append(value)
        out[family] = {
            "runs": len(rows),
            "scenes": len({(run["scene"], run["scenario_seed"]) for run in rows}),
            "ranges": {name: [min(values), max(values)] for name, values in sorted(spans.items())},
        }
    return out


def paired(by_driver: dict[str, list[dict[str, Any]]], confidence: float) -> list[dict[str, Any]]:
    """Tests between each two drivers on the scenarios that both drove."""
    names, out = sorted(by_driver), []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = ({_scenario(run): run for run in by_driver[name]} for name in (first, second))
            both = sorted(set(a) & set(b))
            scored = [
                key for key in both if a[key]["scores"]["pdms"] is not None and b[key]["scores"]["pdms"] is not None
            ]
            if not both or not scored:
                continue
            rate = mcnemar(_failed(a, both), _failed(b, both), confidence)
            rng = np.random.default_rng(0)
            gap = paired_difference(_pdms(a, scored), _pdms(b, scored), confidence, rng=rng)
            out.append(
                {
                    "drivers": [first, second],
                    "n": len(both),
                    "at_fault_collision": {
                        "difference": rate.difference,
                        "interval": list(rate.interval),
                        "p": rate.p_value,
                    },
                    "pdms": {"difference": gap.difference, "interval": _finite(gap.interval), "p": gap.p_value},
                }
            )
    return out


def write_evidence(document: dict[str, Any], folder: Path) -> Path:
    """Write ``evidence.json`` and ``evidence.html`` into a folder; the page's path.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("evidence.json", as_json(document)), ("evidence.html", as_html(document))):
            with replacing(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot write the evidence there: {error.strerror or error}") from error
    return folder / "evidence.html"


def as_json(document: dict[str, Any]) -> str:
    """The document as text, keys sorted."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_html(document: dict[str, Any]) -> str:
    """One self-contained page: figures by driver, failures with their first violation, exclusions and hashes."""
    rows = [
        (name, row["n"], _text(row["at_fault_collision"]), _text(row["drivable_area"]), _text(row["scores"]["pdms"]))
        for name, row in document["drivers"].items()
    ]
    failed = [
        (run["run"], run["driver"], found["rule"], found["violation_time"], found["reason"])
        for run in document["records"]
        for found in run["failures"]
        if found["rule"] in INCIDENTS
    ]
    hashes = [(run["run"], run["code_version"], run["hashes"]["episode.npz"]) for run in document["records"]]
    left_out = [(row["run"], row["reason"]) for row in document["excluded"]]
    parts = [
        _table("Drivers", ("driver", "n", "at-fault collisions", "off the road", "PDM score"), rows),
        _table("Failures", ("run", "driver", "rule", "first violation (s)", "reason"), failed),
        _table("Excluded", ("run", "reason"), left_out),
        _table("Records", ("run", "code", "SHA-256 of the record"), hashes),
    ]
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ccc}"
    head = f'<!doctype html><meta charset="utf-8"><title>Evidence</title><style>{style}</style>'
    note = f"<p>Intervals at {100 * document['confidence']:g} %; {document['runs']} runs, {len(left_out)} excluded.</p>"
    return "\n".join([head, "<h1>Evidence</h1>", note, *parts, ""])


def _would_fail(episode: Episode, step: int) -> bool:
    """Whether the driver's choice would have failed among the others as they moved."""
    from alpamayo.validator.judge import episode_situation

    whole = episode_situation(episode)
    last = min(step + PLAN_HORIZON, len(episode.ego_pose))
    if last - step < 5:
        return True
    plan = episode.plans[step, episode.chosen[step]][None].astype(np.float64)
    pose, speed = plans_in_world(plan, whole.pose[0, step], float(whole.speed[0, step]))
    count = last - step
    traffic = whole.traffic
    cut = {name: getattr(traffic, name)[:, step:last] for name in ("pose", "velocity", "valid")}
    there = type(traffic)(ids=traffic.ids, category=traffic.category, size=traffic.size, **cut)
    situation = Situation(
        scene=whole.scene,
        index=whole.index,
        area=whole.area,
        times=whole.times[:count],
        pose=pose[:, :count],
        speed=speed[:, :count],
        size=whole.size,
        traffic=there,
        history=mirrored_history(pose, speed[:, 0], whole.dt),
    )
    found = judge(situation, {name: RULES[name] for name in ("at_fault_collision", "drivable_area")})
    return any(bool(rule.violated[0]) for rule in found.rules.values())


def _driver(run: dict[str, Any]) -> str:
    return run["driver"] + ("+guard" if run["guarded"] else "")


def _scenario(run: dict[str, Any]) -> tuple[str, str, int]:
    return run["family"], run["scene"], run["scenario_seed"]


def _broken(run: dict[str, Any]) -> set[str]:
    return {row["rule"] for row in run["failures"]}


def _failed(runs: dict[tuple[str, str, int], dict[str, Any]], keys: Iterable[tuple[str, str, int]]) -> Array:
    return np.array(["at_fault_collision" in _broken(runs[key]) for key in keys])


def _pdms(runs: dict[tuple[str, str, int], dict[str, Any]], keys: Iterable[tuple[str, str, int]]) -> Array:
    return np.array([runs[key]["scores"]["pdms"] for key in keys])


def _rate(outcomes: list[bool], confidence: float) -> dict[str, Any]:
    low, high = clopper_pearson(sum(outcomes), len(outcomes), confidence)
    value = sum(outcomes) / len(outcomes) if outcomes else None
    return {"value": value, "low": low, "high": high, "count": sum(outcomes), "n": len(outcomes)}


def _mean(runs: list[dict[str, Any]], name: str, confidence: float) -> dict[str, Any]:
    rows = [run for run in runs if run["scores"][name] is not None]
    if not rows:
        return {"value": None, "low": None, "high": None, "n": 0}
    values = np.array([run["scores"][name] for run in rows])
    scenes = np.unique([repr(_scenario(run)) for run in rows], return_inverse=True)[1]
    low, high = clustered_bootstrap(values, scenes, confidence, rng=np.random.default_rng(0))
    return {"value": float(values.mean()), "low": _number(low), "high": _number(high), "n": len(rows)}


def _guard(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    rows = [run for run in runs if run["guard"] is not None]
    if not rows:
        return None
    total = {name: sum(int(run["guard"][name]) for run in rows) for name in ("interventions", "false_alarms", "missed")}
    kilometres = sum(run["kilometres"] for run in rows)
    return total | {"interventions_per_km": total["interventions"] / kilometres if kilometres > 0.0 else None}


def _environment(episode: Episode) -> dict[str, float]:
    environment = episode.scenario.scene.environment
    return {name: float(getattr(environment, name)) for name in ("friction", "rain", "sun_elevation")}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _finite(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _text(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "not applicable"
    bounds = " to ".join("?" if row[name] is None else f"{row[name]:.3f}" for name in ("low", "high"))
    return f"{row['value']:.3f} ({bounds}, n = {row['n']})"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return (
        f"<h2>{html.escape(title)}</h2>\n<table><tr>{head}</tr>\n{body}</table>"
        if rows
        else f"<h2>{title}</h2><p>None.</p>"
    )
