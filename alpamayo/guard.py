"""The guard: lets the driver's choice pass, takes a safer candidate, or brakes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from alpamayo.validator.contacts import BEHIND, ContactKind, bearing, contacts
from alpamayo.validator.drivable import DrivableField
from alpamayo.validator.forecast import LaneForecaster
from alpamayo.validator.judge import score_plans
from alpamayo.validator.rules.area import FURTHEST
from alpamayo.validator.rules.progress import route_position
from alpamayo.validator.situation import Situation, Traffic, mirrored_history, plans_in_world
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.driver import PLAN_DT, PLAN_STEPS, Decision, Truth
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, box_corners, interpolate, polyline_headings, wrap_angle
from alpamayo_sim.map_index import MapIndex
from alpamayo_sim.scene import Scene

Array = np.ndarray
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 1)
IMMINENT = 1.5  # s; a contact sooner than this is not left to later decisions
DELAY = 0.3  # s; for so long a plan is driven before the guard would brake at the latest
COMFORTABLE = 4.0  # m/s²; what a plan may ask of the brake that follows it
DECELERATIONS = (2.0, 4.0, 6.0, 8.0)  # m/s²
GRAVITY = 9.81
SLACK = 1.0  # m/s²; over the friction's limit, for the noise of a plan
OFF_ROAD = 0.3  # m; nuPlan's tolerance
ROUTE_AHEAD = 60.0  # m
CORRIDOR = 12.0  # m
FALLBACK = -1


@dataclass(frozen=True, eq=False)
class GuardResult:
    """The plan to drive, and why.

    ``index`` is the candidate's, or -1 for the guard's own braking plan; ``intervened`` says whether it is not
    the driver's choice. ``verdict`` is of the driver's K candidates on the guard's forecast.
    """

    plan: Float32[Array, "64 4"]
    index: int
    intervened: bool
    verdict: Verdict
    reason: str


@dataclass(frozen=True, eq=False)
class Danger:
    """What would become of N motions: first contact (s, inf is none), its speed (m/s), first time off the road."""

    contact: Float64[Array, " n"]
    impact: Float64[Array, " n"]
    off_road: Float64[Array, " n"]
    with_whom: tuple[str, ...]

    @property
    def clean(self) -> Bool[Array, " n"]:
        """No contact and no leaving of the road at all."""
        return np.isinf(self.contact) & np.isinf(self.off_road)


class Guard:
    """Watches over the decisions of one drive through ``scene``.

    The driver's choice passes when it is safe. Safe is a plan that the car can drive and that, on the forecast of
    ``LaneForecaster``, meets nobody and stays on the road for its 6.4 s; or that does so for the next 1.5 s at
    least and still leaves time to brake afterwards: driven for 0.3 s and then braked at 4 m/s² along its own path
    it comes to rest clean. So what may happen in six seconds does not stop the ego, what is near does.

    A contact counts unless the ego is struck from behind: that the ego would stand by then makes it somebody else's
    fault, not a good plan. Leaving the road counts from 0.3 m on, or further where the route itself leaves it.

    If the choice is not safe, the safe candidate of the best PDM score is taken; if there is none, a braking plan
    along the driver's path or the route: the gentlest that is clean, or else, of those and the candidates, what
    ends least badly. Decelerations of others are learnt from one ``check`` to the next.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.area = DrivableField(MapIndex(scene.road_map))
        self.forecaster = LaneForecaster(self.area.index)
        self._seen: tuple[int, dict[str, float], dict[str, float]] = (-2, {}, {})
        self._route: tuple[Array, Array] | None = None
        if scene.route is not None:
            self._route = _spaced(scene.route.path)
            if self.area.known:
                self.area.prepare(self._route[1][::4, :2], CORRIDOR)

    def check(self, decision: Decision, truth: Truth) -> GuardResult:
        """Decide which plan to drive.

        Raises:
            InputError: the truth is of another scene.
        """
        if truth.scene.id != self.scene.id:
            raise InputError(f"guard of scene {self.scene.id!r} was given the truth of {truth.scene.id!r}")
        traffic = self._relevant(self.forecaster.forecast(truth, self._decelerations(truth)), truth)
        plans = decision.plans.astype(np.float64)
        pose, speed = plans_in_world(plans, truth.ego_pose.astype(np.float64), truth.ego_speed)
        situation = self._situation(pose, speed, truth, traffic)
        verdict = score_plans(
            self.scene, plans, truth.step * self.scene.dt, truth=truth, forecast=traffic, area=self.area, reference=0.0
        )
        floor = self._floor(truth)
        danger = self._danger(situation, floor)
        safe = self._safe(situation, danger, floor, truth)
        if safe[decision.chosen]:
            return GuardResult(decision.plans[decision.chosen], decision.chosen, False, verdict, "")
        why = _why(danger, decision.chosen)
        if safe.any():
            score = np.where(safe, np.nan_to_num(verdict.scores["pdms"].value), -1.0)
            best = int(np.lexsort((-decision.weights, -score))[0])
            return GuardResult(decision.plans[best], best, True, verdict, f"{why}; takes candidate {best} instead")
        return self._brake(decision, situation, danger, floor, truth, verdict, why)

    def _brake(
        self,
        decision: Decision,
        situation: Situation,
        danger: Danger,
        floor: float,
        truth: Truth,
        verdict: Verdict,
        why: str,
    ) -> GuardResult:
        """The gentlest clean braking plan, or what ends least badly of those and the candidates."""
        paths = [situation.pose[decision.chosen]]
        if (along := self._route_path(truth)) is not None:
            paths.append(along)
        limit = _grip(self.scene)
        levels = sorted({min(a, limit) for a in DECELERATIONS})
        pose = np.stack([path for _ in levels for path in paths])
        rate = np.repeat(levels, len(paths))
        speed = np.full((len(pose), len(TIMES)), truth.ego_speed)
        pose, speed = braked(pose, speed, rate, delay=0.0)
        braking = self._situation(pose, speed, truth, situation.traffic)
        ends = self._danger(braking, floor)
        clean = np.flatnonzero(ends.clean)
        if len(clean):
            best = int(clean[0])
        else:
            best = _least_bad(ends)
            better = _least_bad(danger)
            if _severity(danger)[better] < _severity(ends)[best]:
                plan = decision.plans[better]
                text = f"{why}; no braking avoids it, candidate {better} ends least badly"
                return GuardResult(plan, better, better != decision.chosen, verdict, text)
        plan = _in_ego_frame(pose[best], speed[best], truth)
        return GuardResult(plan, FALLBACK, True, verdict, f"{why}; brakes at {rate[best]:.1f} m/s²")

    def _situation(self, pose: Array, speed: Array, truth: Truth, traffic: Traffic) -> Situation:
        return Situation(
            scene=self.scene,
            index=self.area.index,
            area=self.area,
            times=TIMES,
            pose=pose,
            speed=speed,
            size=truth.ego_size[:2].astype(np.float64),
            traffic=traffic,
            history=mirrored_history(pose, speed[:, 0], PLAN_DT),
            start_step=truth.step,
        )

    def _safe(self, situation: Situation, danger: Danger, floor: float, truth: Truth) -> Bool[Array, " k"]:
        """Which candidates may be driven for the next step."""
        drivable = _drivable(situation, self.scene)
        safe = danger.clean & drivable
        later = (danger.contact > IMMINENT) & (danger.off_road > IMMINENT)
        open_ = np.flatnonzero(drivable & later & ~safe)
        if len(open_):
            rate = np.full(len(open_), min(COMFORTABLE, _grip(self.scene)))
            pose, speed = braked(situation.pose[open_], situation.speed[open_], rate, delay=DELAY)
            after = self._danger(self._situation(pose, speed, truth, situation.traffic), floor)
            safe[open_] = after.clean
        return safe

    def _danger(self, situation: Situation, floor: float) -> Danger:
        touched = situation.shared(contacts)
        length = float(situation.size[0])
        behind = bearing(situation.pose[touched.k, touched.t], situation.traffic.pose[touched.a, touched.t, :2], length)
        counts = (touched.kind != ContactKind.ACTIVE_REAR) & (behind <= BEHIND)
        k, t, a = touched.k[counts], touched.t[counts], touched.a[counts]
        k, first = np.unique(k, return_index=True)
        t, a = t[first], a[first]
        contact, impact = np.full(situation.count, np.inf), np.zeros(situation.count)
        contact[k] = TIMES[t]
        heading = situation.pose[k, t, 2]
        own = situation.speed[k, t][:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        impact[k] = np.linalg.norm(own - situation.traffic.velocity[a, t], axis=-1)
        whom = [""] * situation.count
        for i, name in zip(k, a, strict=True):
            whom[i] = situation.traffic.ids[name]
        return Danger(contact, impact, self._off_road(situation, floor), tuple(whom))

    def _off_road(self, situation: Situation, floor: float) -> Float64[Array, " k"]:
        """First time (s) that a corner is further outside of the road than ``floor``, infinite if never."""
        if not self.area.known:
            return np.full(situation.count, np.inf)
        outside = self._corner_margins(situation.pose, situation.size) < floor
        return np.where(outside.any(axis=1), TIMES[np.argmax(outside, axis=1)], np.inf)

    def _corner_margins(self, pose: Array, size: Array) -> Float64[Array, "..."]:
        corners = box_corners(pose, size)
        margin = self.area.margin(corners.reshape(-1, 2), exact=False).reshape(corners.shape[:-1])
        return np.minimum(margin.min(axis=-1), FURTHEST)

    def _floor(self, truth: Truth) -> float:
        """How far outside of the road (m, negative) a corner may be: as far as the ego or its route is already."""
        if not self.area.known:
            return -np.inf
        size = truth.ego_size[:2].astype(np.float64)
        floor = min(-OFF_ROAD, float(self._corner_margins(truth.ego_pose[None].astype(np.float64), size)[0]) - OFF_ROAD)
        if self._route is not None:
            knots, path = self._route
            here = self._route_s(truth)
            ahead = path[(knots >= here - 2.0) & (knots <= here + ROUTE_AHEAD)]
            if len(ahead):
                floor = min(floor, float(self._corner_margins(ahead[::2], size).min()) - OFF_ROAD)
        return floor

    def _route_s(self, truth: Truth) -> float:
        assert self._route is not None
        return float(route_position(self._route[1], truth.ego_pose[None, :2].astype(np.float64))[0])

    def _route_path(self, truth: Truth) -> Float64[Array, "65 3"] | None:
        """Poses along the route from where the ego is, easing its offset out; as fast as now."""
        if self._route is None:
            return None
        knots, path = self._route
        start, pose = self._route_s(truth), truth.ego_pose.astype(np.float64)
        way = truth.ego_speed * TIMES
        on = np.stack([np.interp(start + way, knots, path[:, i]) for i in range(3)], axis=-1)
        apart = pose[:2] - on[0, :2]
        if np.linalg.norm(apart) > 6.0 or abs(wrap_angle(np.array(pose[2] - on[0, 2]))) > 1.0:
            return None
        left = np.clip(1.0 - way / max(10.0, 2.5 * truth.ego_speed), 0.0, 1.0)
        ease = left**3 * (10.0 - 15.0 * left + 6.0 * left**2)
        turn = float(wrap_angle(np.array(pose[2] - on[0, 2])))
        return on + ease[:, None] * np.array([apart[0], apart[1], turn])

    def _relevant(self, traffic: Traffic, truth: Truth) -> Traffic:
        """Those who come within reach of the ego in the time that is looked at."""
        own = truth.ego_speed * TIMES + 0.5 * 3.0 * TIMES**2 + 0.5 * float(np.hypot(*truth.ego_size[:2]))
        away = np.linalg.norm(traffic.pose[:, : len(TIMES), :2] - truth.ego_pose[:2], axis=-1)
        reach = 0.5 * np.hypot(traffic.size[:, 0], traffic.size[:, 1])[:, None] + own + 10.0
        return traffic.take(((away < reach) & traffic.valid[:, : len(TIMES)]).any(axis=1))

    def _decelerations(self, truth: Truth) -> Float64[Array, " n"]:
        """How hard (m/s²) each of the agents brakes, from their speeds at the check before; smoothed by half."""
        step, speeds, before = self._seen
        now = np.hypot(truth.agents.velocity[:, 0], truth.agents.velocity[:, 1]).astype(np.float64)
        out = np.zeros(len(now))
        if truth.step == step + 1:
            for i, name in enumerate(truth.agents.ids):
                if truth.agents.valid[i] and name in speeds:
                    rate = np.clip((speeds[name] - now[i]) / self.scene.dt, 0.0, 9.0)
                    out[i] = 0.5 * (rate + before.get(name, float(rate)))
        out[out < 0.5] = 0.0
        names = [name for name, there in zip(truth.agents.ids, truth.agents.valid, strict=True) if there]
        here = np.flatnonzero(truth.agents.valid)
        self._seen = truth.step, dict(zip(names, now[here], strict=True)), dict(zip(names, out[here], strict=True))
        return out


def braked(
    pose: Float64[Array, "n 65 3"], speed: Float64[Array, "n 65"], rate: Float64[Array, " n"], delay: float
) -> tuple[Float64[Array, "n 65 3"], Float64[Array, "n 65"]]:
    """The same paths, driven as given for ``delay`` (s) and then braked at ``rate`` (m/s²) to rest; never faster."""
    step = np.linalg.norm(np.diff(pose[..., :2], axis=1), axis=-1)
    way = np.concatenate([np.zeros((len(pose), 1)), np.cumsum(step, axis=1)], axis=1)
    held = round(delay / PLAN_DT)
    start, first = way[:, held], speed[:, held]
    t = np.maximum(TIMES - TIMES[held], 0.0)
    lasting = np.minimum(t, (first / rate)[:, None])
    s = start[:, None] + first[:, None] * lasting - 0.5 * rate[:, None] * lasting**2
    s[:, : held + 1] = way[:, : held + 1]
    slow = np.maximum(first[:, None] - rate[:, None] * t, 0.0)
    slow[:, : held + 1] = speed[:, : held + 1]
    out = np.stack([_at(path, knots, at) for path, knots, at in zip(pose, way, s, strict=True)])
    return out, np.where(s > way, np.minimum(slow, speed), slow)


def _at(path: Array, knots: Array, s: Array) -> Float64[Array, "65 3"]:
    """Poses of a path at arc lengths, held at its end."""
    return np.stack([np.interp(s, knots, path[:, i]) for i in range(3)], axis=-1)


def _grip(scene: Scene) -> float:
    """Deceleration (m/s²) that the road allows."""
    return min(DECELERATIONS[-1], scene.environment.friction * GRAVITY)


def _drivable(situation: Situation, scene: Scene) -> Bool[Array, " k"]:
    """Whether friction allows what each plan asks for in its first two seconds, over windows of 0.3 s."""
    first, window = 20, 3
    step = np.diff(situation.pose[:, : first + 1], axis=1)
    speed = np.linalg.norm(step[..., :2], axis=-1) / PLAN_DT
    speed = np.concatenate([situation.speed[:, :1], speed], axis=1)
    along = (speed[:, window:] - speed[:, :-window]) / (window * PLAN_DT)
    turned = np.cumsum(wrap_angle(step[..., 2]), axis=1)
    rate = (turned[:, window:] - turned[:, :-window]) / (window * PLAN_DT)
    across = rate * speed[:, 1 + window // 2 : 1 + window // 2 + rate.shape[1]]
    limit = scene.environment.friction * GRAVITY + SLACK
    return (np.abs(along).max(axis=1) <= limit) & (np.abs(across).max(axis=1) <= limit)


def _severity(danger: Danger) -> Float64[Array, " n"]:
    """How badly each motion ends: contacts by their speed, then leaving the road; the sooner the worse."""
    soon = np.exp(-np.where(np.isfinite(danger.contact), danger.contact, 0.0) / 4.0)
    contact = np.where(np.isfinite(danger.contact), 10.0 + danger.impact * soon, 0.0)
    off = np.where(np.isfinite(danger.off_road), 1.0 / (1.0 + np.minimum(danger.off_road, 1e3)), 0.0)
    return contact + off


def _least_bad(danger: Danger) -> int:
    return int(np.argmin(_severity(danger)))


def _why(danger: Danger, k: int) -> str:
    if np.isfinite(danger.contact[k]):
        return f"would meet {danger.with_whom[k]!r} in {danger.contact[k]:.1f} s at {danger.impact[k]:.1f} m/s"
    if np.isfinite(danger.off_road[k]):
        return f"would leave the road in {danger.off_road[k]:.1f} s"
    return "asks for more than the road's friction allows"


def _in_ego_frame(pose: Array, speed: Array, truth: Truth) -> Float32[Array, "64 4"]:
    here = truth.ego_pose.astype(np.float64)
    away = pose[1:, :2] - here[:2]
    c, s = np.cos(here[2]), np.sin(here[2])
    x, y = c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0]
    return np.column_stack([x, y, pose[1:, 2] - here[2], speed[1:]]).astype(np.float32)


def _spaced(path: Array) -> tuple[Array, Array]:
    """Arc lengths and x, y, heading (continuous) of a path every metre."""
    points = path[:, :2].astype(np.float64)
    length = float(arc_length(points)[-1])
    s = np.linspace(0.0, length, max(int(np.ceil(length)), 1) + 1)
    xy = interpolate(points, s)
    return s, np.column_stack([xy, np.unwrap(polyline_headings(xy))])
