"""The page of an episode: one self-contained HTML file that draws the numbers of the record."""

import math
import re
from typing import Any

import numpy as np

from alpamayo.episode import Episode, has_collision
from alpamayo.json_values import json_number
from alpamayo.report.templates import environment
from alpamayo.report.text import part_note, part_title, rule_title, words
from alpamayo.validator import RULES, Verdict
from alpamayo.validator.scores import SCORE_MAXIMUM, TITLES
from alpamayo.validator.verdict import RuleResult
from alpamayo_sim.datatypes.reasoning import Component
from alpamayo_sim.datatypes.scene import STATIC, Category, LineKind, RoadMap
from alpamayo_sim.geometry import from_frame

Array = np.ndarray
MAP_DISTANCE_M = 130.0  # distance around the ego's path in which the map is shown
COLOURS = {
    Category.VEHICLE: "#e9edf2",
    Category.TRUCK: "#d8c9a8",
    Category.BUS: "#e6c65c",
    Category.MOTORCYCLE: "#b98ad6",
    Category.CYCLIST: "#8e5bd0",
    Category.PEDESTRIAN: "#e0453a",
    Category.ANIMAL: "#8a5a2b",
    Category.CONE: "#ff7a1a",
    Category.BARRIER: "#c85a17",
    Category.DEBRIS: "#6b4a2f",
    Category.BUILDING: "#aab2ad",
    Category.VEGETATION: "#7fae73",
}
DECIDING = (
    ("at_fault_collision", "At-fault collision"),
    ("drivable_area", "Left the road"),
    ("red_light", "Ran a red light"),
    ("stop_line", "Did not stop at a stop line"),
)
QUOTED = re.compile(r"'([^']+)'")  # a name in a reason
INDENT = "\u2003"  # a space of one em
# Margins from this one on have the palest colour, by unit; 1 for other units.
LARGE_MARGIN = {"m": 2.0, "s": 2.0, "m/s²": 2.0}


def page(episode: Episode, verdict: Verdict, images: list[str], note: str = "") -> str:
    """Render the report of an episode; ``images`` are ``data:`` URLs of the cameras, ``note`` says which they are."""
    data = report_data(episode, verdict) | {"cameras": images, "every": 1, "cameras_note": note}
    return environment().get_template("episode_page.html.j2").render(data=data)


def report_data(episode: Episode, verdict: Verdict) -> dict[str, Any]:
    """Collect the data of the page, without images, as JSON values; coordinates in m, rounded to centimetres."""
    scenario = episode.scenario
    scene = scenario.scene
    name = scenario.family or scene.id
    route = scene.route.path if scene.route is not None else np.zeros((0, 3))
    return {
        "title": f"{name} · seed {scenario.seed} · {episode.driver}"
        if scenario.family
        else f"{name} · {episode.driver}",
        "headline": headline(episode, verdict),
        "figures": _figures(episode, verdict),
        "dt": episode.dt,
        "time": [round(float(t), 3) for t in episode.times],
        "guarded": episode.guarded,
        "ego": episode.ego_pose.round(3).tolist(),
        "size": episode.ego_size.round(2).tolist(),
        "speed": episode.ego_speed.round(2).tolist(),
        "limit": _limits(episode),
        "agents": _agents(episode, blamed(verdict)),
        "signals": [signal.position[:2].round(2).tolist() for signal in scene.signals],
        "states": episode.signals.tolist(),
        "plans": _plans(episode),
        "reasoning": _reasoning(episode),
        "map": _map(scene.road_map, episode.ego_pose[:, :2]),
        "route": _flat(route),
        "rules": [_rule(rule, verdict) for rule in verdict.rules.values()],
        "scores": _scores(verdict),
        "parameters": _parameters(episode),
        "colours": {category.name: colour for category, colour in COLOURS.items()},
        "footer": _footer(episode),
    }


def headline(episode: Episode, verdict: Verdict) -> dict[str, str]:
    """Say in one line how the episode ended, whether that is good or bad, and the reason of the rule that decided."""
    for name, text in DECIDING:
        rule = verdict.rules.get(name)
        if rule is not None and rule.violated[0]:
            when = f" at {rule.violation_time[0]:.1f} s" if math.isfinite(rule.violation_time[0]) else ""
            return {"text": f"{text}{when}", "kind": "bad", "reason": rule.reasons[0]}
    if has_collision(episode):
        reason = verdict.rules["at_fault_collision"].reasons[0] if "at_fault_collision" in verdict.rules else ""
        return {"text": "Collision, not at fault", "kind": "bad", "reason": reason}
    seconds = episode.steps * episode.dt
    if episode.arrived:
        return {"text": f"Reached the goal after {seconds:.1f} s", "kind": "good", "reason": ""}
    return {"text": f"Timed out after {seconds:.1f} s", "kind": "", "reason": ""}


def _figures(episode: Episode, verdict: Verdict) -> list[tuple[str, str]]:
    """Return the few figures that stand below the headline, as (name, value)."""
    gone = float(episode.progress[-1] - episode.progress[0])
    goal = float(episode.scenario.goal.distance - episode.progress[0])
    figures = [("on the way to the goal", f"{gone:.0f} of {goal:.0f} m")]
    if "pdms" in verdict.scores and math.isfinite(verdict.scores["pdms"].value[0]):
        missing = ", ".join(words(part) for part in verdict.scores["pdms"].missing[0])
        name = "PDM score (1 is best)" + (f", without {missing}" if missing else "")
        figures.append((name, f"{verdict.scores['pdms'].value[0]:.2f}"))
    margin = verdict.rules["time_to_collision"].margin[0] if "time_to_collision" in verdict.rules else math.nan
    if math.isfinite(margin):
        figures.append(("smallest margin of the time to collision", f"{margin:.2f} s"))
    broken = sum(bool(rule.violated[0]) for rule in verdict.rules.values())
    figures.append(("rules violated", f"{broken} of {sum(bool(rule.valid[0]) for rule in verdict.rules.values())}"))
    if episode.guarded:
        figures.append(("of the steps were the guard's", f"{episode.intervened.mean():.0%}"))
    return figures


def blamed(verdict: Verdict) -> frozenset[str]:
    """Return the names of the road users that the reasons of violated rules quote."""
    reasons = " ".join(rule.reasons[0] for rule in verdict.rules.values() if rule.violated[0])
    return frozenset(QUOTED.findall(reasons))


def _limits(episode: Episode) -> list[float | None]:
    from alpamayo_sim.map.index import index_of

    road_map = episode.scenario.scene.road_map
    if not road_map.lanes:
        return [None] * (episode.steps + 1)
    pose = episode.ego_pose
    match = index_of(road_map).nearest_lane(pose[:, :2], pose[:, 2], elevation=episode.ego_elevation)
    return [road_map.lanes[i].speed_limit if i >= 0 else None for i in match.index]


def _agents(episode: Episode, named: frozenset[str]) -> list[dict[str, Any]]:
    out = []
    for i in np.flatnonzero(episode.agent_valid.any(axis=0)):
        near = _near(episode.agent_pose[:, i, :2][episode.agent_valid[:, i]], episode.ego_pose[:, :2])
        if not near:
            continue
        category = Category(int(episode.agent_category[i]))
        poses = [
            pose.round(2).tolist() if valid else None
            for pose, valid in zip(episode.agent_pose[:, i], episode.agent_valid[:, i], strict=True)
        ]
        size = episode.agent_size[i].round(2).tolist()
        name = episode.agent_ids[i]
        about = {"id": name, "named": name in named, "category": category.name}
        out.append(about | {"size": size, "moves": category not in STATIC, "poses": poses})
    return out


def _plans(episode: Episode) -> list[dict[str, Any]]:
    out = []
    for t in range(episode.steps):
        pose = episode.ego_pose[t]
        candidates = from_frame(episode.plans[t, :, ::4, :2], pose[None, None])
        driven = from_frame(episode.executed[t, ::2, :2], pose[None])
        out.append(
            {
                "candidates": [_flat(plan) for plan in candidates],
                "driven": _flat(driven),
                "intervened": bool(episode.intervened[t]),
                "reason": episode.guard_reasons[t],
            }
        )
    return out


def _reasoning(episode: Episode) -> list[dict[str, Any] | None]:
    out: list[dict[str, Any] | None] = []
    for reasoning, pose in zip(episode.reasoning, episode.ego_pose, strict=False):
        if reasoning is None:
            out.append(None)
            continue
        places = [c.position for c in reasoning.components if c.position is not None]
        world = [from_frame(np.asarray(place, np.float64), pose).round(2).tolist() for place in places]
        out.append(
            {
                "sentence": reasoning.sentence,
                "longitudinal": words(reasoning.longitudinal.name).lower(),
                "lateral": words(reasoning.lateral.name).lower(),
                "components": [_component(component) for component in reasoning.components],
                "places": world,
            }
        )
    return out


def _component(component: Component) -> str:
    """Name the category of a component of the reasoning and its motion."""
    names = (component.category or component.kind, component.motion)
    return " ".join(words(name.name).lower() for name in names if name is not None)


def _map(road_map: RoadMap, path: Array) -> dict[str, Any]:
    boundaries = [(LineKind.UNKNOWN, b) for lane in road_map.lanes for b in (lane.left_boundary, lane.right_boundary)]
    lines = [(line.kind, line.line) for line in road_map.road_lines] or [(k, b) for k, b in boundaries if len(b) > 1]
    lanes = [] if road_map.drivable_areas else road_map.lanes
    return {
        "drivable": [_flat(p) for p in road_map.drivable_areas if _near(p, path)],
        "lanes": [
            (_flat(lane.centreline), round(float(np.mean(lane.width)), 2))
            for lane in lanes
            if _near(lane.centreline, path)
        ],
        "crosswalks": [_flat(p) for p in road_map.crosswalks if _near(p, path)],
        "edges": [_flat(p) for p in road_map.road_edges if _near(p, path)],
        "lines": [(kind.name, _flat(p)) for kind, p in lines if _near(p, path)],
        "stops": [_flat(stop.line) for stop in road_map.stop_lines if _near(stop.line, path)],
    }


def _near(points: Array, path: Array) -> bool:
    """Return whether the bounding box of the points is within ``MAP_DISTANCE_M`` of that of the path."""
    low, high = path.min(axis=0) - MAP_DISTANCE_M, path.max(axis=0) + MAP_DISTANCE_M
    return bool(np.all(points[:, :2].min(axis=0) <= high) and np.all(points[:, :2].max(axis=0) >= low))


def _rule(rule: RuleResult, verdict: Verdict) -> dict[str, Any]:
    state = "violated" if rule.violated[0] else "kept" if rule.valid[0] else "not applicable"
    series = None if rule.margins is None else [json_number(margin, 4) for margin in rule.margins[0]]
    return {
        "title": rule_title(rule.name),
        "summary": RULES[rule.name].summary if rule.name in RULES else "a rule of your own",
        "state": state,
        "value": json_number(rule.value[0], 4) if rule.valid[0] else None,
        "margin": json_number(rule.margin[0], 4) if rule.valid[0] else None,
        "unit": rule.unit,
        "first": json_number(rule.violation_time[0], 4) if rule.valid[0] else None,
        "reason": rule.reasons[0],
        "series": series,
        "large_margin": LARGE_MARGIN.get(rule.unit, 1.0),
    }


def _scores(verdict: Verdict) -> list[tuple[str, float | None, str, bool]]:
    """Return (name, value, note, whether it is a part) of each score and, below it, of its parts."""
    rows: list[tuple[str, float | None, str, bool]] = []
    for score in verdict.scores.values():
        name, value = TITLES.get(score.name, score.name) + _out_of(score.name), json_number(score.value[0], 4)
        rows.append((name, value, "; ".join(score.notes), False))
        for part, values in score.parts.items():
            known = math.isfinite(values[0])
            if known or value is not None:
                note = part_note(score.name, part) if known else "missing"
                rows.append((f"{INDENT}{part_title(score.name, part)}", json_number(values[0], 4), note, True))
    return rows


def _out_of(name: str) -> str:
    return f" of {SCORE_MAXIMUM[name]:g}" if name in SCORE_MAXIMUM else ""


def _parameters(episode: Episode) -> list[tuple[str, str]]:
    scene = episode.scenario.scene
    rows = [("family" if episode.scenario.family else "log", episode.scenario.family or scene.id)]
    rows += [(words(name), f"{value:.4g}") for name, value in episode.scenario.parameters.items()]
    rows += [
        ("source", scene.provenance.source),
        ("licence", scene.provenance.licence),
        ("road users and props", str(len(episode.agent_ids))),
        ("friction", f"{scene.environment.friction:g}"),
    ]
    return rows


def _footer(episode: Episode) -> str:
    return (
        f"alpamayo {episode.code_version} · driver {episode.driver} · driver seed {episode.seed} · "
        f"{episode.steps} steps of {episode.dt:g} s · made only from episode.json and episode.npz"
    )


def _flat(points: Array) -> list[float]:
    return [round(float(x), 2) for x in points[:, :2].ravel()]
