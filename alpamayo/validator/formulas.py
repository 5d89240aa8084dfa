"""User rules: a name and one formula of signal temporal logic over the signals below.

``always(clearance > 1.0 or speed < 0.5)`` is a rule: on the command line ``--rule room="always(...)"``, in a file
``room = "always(...)"`` (TOML, or JSON with the same keys), in Python ``formula_rule("room", "always(...)")``. It is
judged like the built-in rules. The value is 1 where the formula holds, else 0. The margin is its robustness, in the
units of the comparison. For ``always(p)`` the first violation is the first time at which p does not hold.

A formula without temporal operators has to hold at all times. A signal that the scene lacks (a lane offset without
lanes) makes the rule not applicable.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from alpamayo.metrics import stl
from alpamayo.metrics.comfort import MIN_SAMPLES, comfort
from alpamayo.validator.along_route import route_places
from alpamayo.validator.contacts import clearance
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_boxes, ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules import RULES
from alpamayo.validator.rules.collision import ignored_agents
from alpamayo.validator.rules.drivable_area import corner_margins
from alpamayo.validator.rules.kinematics import motion_quantities
from alpamayo.validator.rules.lanes import lane_matches
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.errors import InputError, check_known
from alpamayo_sim.io.files import read_regular

Array = np.ndarray
Series = Float64[Array, "k t"] | None
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_RULES_PER_FILE = 200
MAX_FILE_BYTES = 1_000_000
UNIT = "robustness"


@dataclass(frozen=True)
class Signal:
    """A series over the verdict's times that formulas may use; ``series`` returns None where the scene lacks it."""

    unit: str
    description: str
    series: Callable[[MotionBatch], Series]


def _quantity(name: str) -> Callable[[MotionBatch], Series]:
    """Return a function for one of the six quantities of comfort, filtered as there."""

    def series(motions: MotionBatch) -> Series:
        past = motions.history.shape[1]
        pose = np.concatenate([motions.history, motions.pose], axis=1)
        if pose.shape[1] < MIN_SAMPLES:
            return None
        return comfort(pose[..., :2], pose[..., 2], motions.dt).series[name][:, past:]

    return series


def _time(motions: MotionBatch) -> Series:
    return np.broadcast_to(motions.times, motions.speed.shape)


def _curvature(motions: MotionBatch) -> Series:
    return motions.cached(motion_quantities)[3]


def _clearance(motions: MotionBatch) -> Series:
    return clearance(motions, motions.cached(ignored_agents))


def _road_margin(motions: MotionBatch) -> Series:
    return motions.cached(corner_margins) if motions.map_index.drivable_area.is_defined else None


def _lane_offset(motions: MotionBatch) -> Series:
    if not motions.scene.road_map.lanes:
        return None
    return motions.cached(lane_matches).offset.reshape(motions.speed.shape)


def _route(motions: MotionBatch, name: str) -> Series:
    return None if motions.scene.route is None else np.asarray(getattr(motions.cached(route_places), name))


def _progress(motions: MotionBatch) -> Series:
    s = _route(motions, "s")
    return None if s is None else s - s[:, :1]


def _speed_limit(motions: MotionBatch) -> Series:
    limits = np.array([np.nan if x.speed_limit is None else x.speed_limit for x in motions.scene.road_map.lanes])
    if not len(limits):
        return None
    match = motions.cached(lane_matches)
    limit = np.where(match.index >= 0, limits[match.index], np.nan).reshape(motions.speed.shape)
    return None if np.isnan(limit).any() else limit


def _gap(motions: MotionBatch) -> Series:
    """Compute the distance to the next agent straight ahead, within the width of the ego."""
    ego, agents = motions.cached(ego_boxes), motions.cached(agent_boxes)
    gap = np.full(motions.speed.shape, np.inf)
    for box, half, valid in zip(agents.boxes, agents.halves, agents.valid, strict=True):
        dx, dy = box[:, 0] - ego[..., 0], box[:, 1] - ego[..., 1]
        c, s = (ego[..., 2] * box[:, 2] + ego[..., 3] * box[:, 3]), (ego[..., 2] * box[:, 3] - ego[..., 3] * box[:, 2])
        ahead, left = ego[..., 2] * dx + ego[..., 3] * dy, ego[..., 2] * dy - ego[..., 3] * dx
        side = np.abs(left) - 0.5 * motions.size[1] - half[0] * np.abs(s) - half[1] * np.abs(c)
        distance = ahead - 0.5 * motions.size[0] - half[0] * np.abs(c) - half[1] * np.abs(s)
        gap = np.where(valid & (side < 0.0) & (ahead > 0.0), np.minimum(gap, distance), gap)
    return gap


SIGNALS: Mapping[str, Signal] = {
    "time": Signal("s", "since the first pose", _time),
    "speed": Signal("m/s", "of the ego", lambda motions: motions.speed),
    "acceleration": Signal(
        "m/s²", "along the heading, filtered as for comfort", _quantity("longitudinal_acceleration")
    ),
    "lateral_acceleration": Signal("m/s²", "to the left, filtered", _quantity("lateral_acceleration")),
    "jerk": Signal("m/s³", "along the heading, filtered", _quantity("longitudinal_jerk")),
    "yaw_rate": Signal("rad/s", "to the left, filtered", _quantity("yaw_rate")),
    "curvature": Signal("1/m", "of the path, to the left", _curvature),
    "clearance": Signal("m", "to the nearest agent, negative in contact, at most 5", _clearance),
    "gap": Signal("m", "to the next agent straight ahead; infinite without one", _gap),
    "road_margin": Signal("m", "of the outermost corner to the edge of the drivable area, at most 5", _road_margin),
    "lane_offset": Signal("m", "of the centre from the middle of its lane, to the left", _lane_offset),
    "route_offset": Signal("m", "of the centre from the route, to the left", lambda s: _route(s, "offset")),
    "progress": Signal("m", "along the route since the first pose", _progress),
    "speed_limit": Signal("m/s", "of the lane", _speed_limit),
}


def formula_rule(name: str, formula: str) -> Rule:
    """Return a rule made of a formula, as ``score_plans`` and ``score_episode`` take it in ``rules``.

    Raises:
        InputError: the name is not valid, the formula cannot be parsed, or it uses an unknown signal.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"rule {name[:80]!r}: a name is a letter, then at most 63 letters, digits, - and _")
    parsed = stl.parse(formula)
    for signal in sorted(parsed.signals):
        check_known(f"signal in rule {name!r}:", signal, SIGNALS)
    return Rule(name, UNIT, summary=formula, source="user", evaluate=lambda motions: _evaluate(motions, parsed))


def parse_rule(text: str) -> tuple[str, str]:
    """Split ``NAME=FORMULA`` into name and formula.

    Raises:
        InputError: the text is not of that form.
    """
    name, equals, formula = text.partition("=")
    if not equals or not formula.strip():
        raise InputError(f"rule {text[:80]!r}: must be NAME=FORMULA, such as room=always(clearance > 0.5)")
    return name.strip(), formula.strip()


def rules_from(formulas: Mapping[str, str] | Sequence[tuple[str, str]]) -> dict[str, Rule]:
    """Return rules of names and formulas; use them as ``score_episode(..., rules={**RULES, **rules_from(...)})``.

    Raises:
        InputError: as ``formula_rule``; or a name is that of a built-in rule, or is used twice.
    """
    pairs = list(formulas.items()) if isinstance(formulas, Mapping) else formulas
    out: dict[str, Rule] = {}
    for name, formula in pairs:
        if name in RULES or name in out:
            raise InputError(f"rule {name!r}: a rule of that name exists already")
        out[name] = formula_rule(name, formula)
    return out


def load_formulas(path: Path) -> dict[str, str]:
    """Read names and formulas from a TOML or JSON file.

    Raises:
        InputError: the file cannot be read, is not of that form, or has an invalid rule.
    """
    try:
        text = read_regular(path, MAX_FILE_BYTES).decode("utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from error
    is_table = isinstance(document, dict) and all(isinstance(formula, str) for formula in document.values())
    if not is_table or not 0 < len(document) <= MAX_RULES_PER_FILE:
        raise InputError(f'{path}: must have 1 to {MAX_RULES_PER_FILE} lines of the form name = "formula"')
    try:
        rules_from(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return document


def given_formulas(texts: Sequence[str], files: Sequence[Path] = ()) -> dict[str, str]:
    """Return the checked names and formulas of ``NAME=FORMULA`` texts and of files; a name may be used once.

    Raises:
        InputError: as ``rules_from`` and ``load_formulas``.
    """
    pairs = [pair for path in files for pair in load_formulas(path).items()] + [parse_rule(text) for text in texts]
    rules_from(pairs)
    return dict(pairs)


def _evaluate(motions: MotionBatch, formula: stl.Formula) -> RuleResult:
    signals: dict[str, Array] = {}
    for signal in sorted(formula.signals):
        series = SIGNALS[signal].series(motions)
        if series is None or np.isnan(series).any():
            return not_applicable(motions.count, f"the scene has no {signal.replace('_', ' ')}")
        signals[signal] = series
    margins = stl.evaluated(formula, formula.each or formula.evaluate, signals, motions.dt)
    margins = np.broadcast_to(margins, motions.speed.shape)
    margin = margins.min(axis=1) if formula.each else margins[:, 0]
    broken = margins < 0.0 if formula.each else np.repeat(margins[:, :1] < 0.0, margins.shape[1], axis=1)
    when = first_time(broken, motions.times)

    def describe(k: int) -> str:
        if np.isfinite(when[k]):
            return f"{formula.text} is violated by {-margin[k]:.2f}, first at {when[k]:.1f} s"
        return f"{formula.text} holds by {margin[k]:.2f}"

    value = (margin >= 0.0).astype(np.float64)
    valid = np.ones(motions.count, bool)
    return RuleResult(value, margin, valid, when, Reasons(motions.count, describe), margins)
