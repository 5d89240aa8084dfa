"""The guard: lets the driver's choice pass, takes a safer candidate, or brakes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from alpamayo.guard.minimal_risk import Slowed, StopPlanner, swerves
from alpamayo.guard.outcomes import (
    HASTE_TIME,
    TIMES,
    Danger,
    Motions,
    along,
    arc_lengths,
    braked,
    corner_margins,
    danger,
    first_meetings,
    free_ways,
)
from alpamayo.guard.pdm import pdm_score
from alpamayo.validator.contacts import box_clearances
from alpamayo.validator.judge import CORE_RULES, judge, plans_motions
from alpamayo.validator.motions import MotionBatch, plans_in_world
from alpamayo.validator.packed import AgentBoxes, pack_boxes
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT, Decision
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, from_frame, interpolate, oriented, polyline_headings, to_frame, wrap_angle
from alpamayo_sim.map.index import index_of, route_index
from alpamayo_sim.prediction.lane_following import LaneForecaster
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
IMMINENT = 1.5  # s; a contact sooner than this is not left to later decisions
DELAY = 0.3  # s; for so long a plan is driven before the guard would brake at the latest
COMFORTABLE = 4.0  # m/s²; what a plan may ask of the brake that follows it
DECELERATIONS = (2.0, 4.0, 6.0, 8.0)  # m/s²
GRAVITY = 9.81
SLACK = 1.0  # m/s²; over the friction's limit, for the noise of a plan
OFF_ROAD = 0.3  # m; nuPlan's tolerance
STANDOFF = 2.0  # m; room in front that is kept where it can be, so that there is a way on afterwards
ROOMS = (STANDOFF, 0.3)  # m; the same for a stop, where there can be and where there is hardly any
PLACES = 48  # on a path at which it is looked whether someone is in the way
BESIDE = (0.0, 0.4)  # m; by how much longer and wider others are to be cleared on the way around
ROOM_BESIDE = 1.0  # m; beside others on the way around
HASTE = 1.5  # m/s²; so much more or less than forecast may those get up or slow down who cross
UNSURE = (2.0, 0.6)  # m; added to length and width of others where there is a choice
ROUTE_AHEAD = 60.0  # m
WIDE, AROUND = 40.0, 100.0  # m; so far from the route borders and lanes are looked up before the first decision
ROUTE_LOOK = 200  # m of the route beside which they are
CORRIDOR = 16.0  # m
ACCELERATION = 3.0  # m/s²; the most that a driver is thought to plan
AFTERWARDS = TIMES[-1] + 0.4 * np.arange(26)  # s; when nobody should run into an ego that has stopped
FITS = 1.0  # m and m/s; a plan from which the ego is off by more is given up
FALLBACK = -1


@dataclass(frozen=True, eq=False)
class GuardResult:
    """The plan to drive, and why.

    ``index`` is the candidate's, or -1 for a plan of the guard's own; ``intervened`` says whether it is another
    than the driver's choice. ``verdict`` is of the driver's K candidates on the guard's forecast, worked out when
    it is first asked for.
    """

    plan: Float32[Array, "64 4"]
    index: int
    intervened: bool
    reason: str
    judge: Callable[[], Verdict]

    @cached_property
    def verdict(self) -> Verdict:
        """The validator's verdict of the K candidates."""
        return self.judge()


@dataclass(frozen=True, eq=False)
class _Choice:
    """A plan to drive: which candidate (-1 is none of them), in the world, and why it is not the driver's choice.

    ``around`` is one of the guard's own that goes around somebody.
    """

    index: int
    pose: Float64[Array, "65 3"]
    speed: Float64[Array, "65"]
    reason: str
    around: bool = False


@dataclass(frozen=True, eq=False)
class _Seen:
    """Who was there at a step, by id, and each one's speed (m/s) and deceleration (m/s²)."""

    step: int
    row: dict[str, int]
    speed: Float64[Array, " n"]
    rate: Float64[Array, " n"]


class Guard:
    """Watches over the decisions of one drive through ``scene``.

    The driver's choice passes when it is safe. Safe is a plan that the car can drive and that, on the forecast of
    ``LaneForecaster``, meets nobody and stays on the road for its 6.4 s; or that does so for the next 1.5 s at
    least and still leaves time to brake afterwards: driven for 0.3 s and then braked at 4 m/s² along its own path
    it comes to rest clean, with 2 m of room in front. So what may happen in six seconds does not stop the ego,
    what is near does.

    A contact counts unless the ego is struck from behind: that the ego would stand by then makes it somebody else's
    fault, not a good plan. Leaving the road counts from 0.3 m on, or further where the route itself leaves it.

    If the choice is not safe, the guard takes the first that there is of: the plan that it has intervened with
    before, while that stays clean, so that it does not waver; of the clean candidates from which one could brake,
    the one of the best PDM score, if possible with more room to the others; the plan let through before; a stop on
    the driver's path or in the lane of the route, as gentle as can be and with 2 m of room if possible
    (``minimal_risk``); braking at 2 to 8 m/s²; any clean candidate; a way around (``swerves``), which is kept to
    until the driver's choice has room; and at last whatever ends least badly, braking where that is as good. Where
    somebody will run into an ego that has stopped, as one against the traffic does, stopping comes after the way
    around. Decelerations and swerves of others are learnt from one ``check`` to the next.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.map_index = index_of(scene.road_map)
        self.forecaster = LaneForecaster(self.map_index)
        self.grip = min(DECELERATIONS[-1], scene.environment.friction * GRAVITY)
        self.stops = StopPlanner(self.grip)
        self.acceleration = 0.0  # of the ego (m/s²), from its speeds at the last two checks
        self._speed: tuple[int, float] = (-2, 0.0)
        self._seen = _Seen(-2, {}, np.zeros(0), np.zeros(0))
        self._held: tuple[int, _Choice] | None = None
        self._route: tuple[Array, Array] | None = None
        self._route_margins: Float64[Array, " n"] | None = None
        if scene.route is not None:
            self._route = _spaced(scene.route.path)
            area = self.map_index.drivable_area
            if area.is_defined:
                area.prepare(self._route[1][::4, :2], CORRIDOR, WIDE)
                self._route_margins = corner_margins(area, self._route[1], scene.ego.size[:2].astype(np.float64))
        self._warm_up()

    def _warm_up(self) -> None:
        """Load the compiled loops and look up the map now, so that the first decisions do not wait for that."""
        from alpamayo.guard import kernels as dangers
        from alpamayo.validator.kernels import boxes
        from alpamayo.validator.kernels import time_to_collision as meetings
        from alpamayo_sim.map import kernels as grids
        from alpamayo_sim.prediction import kernels as forecasts

        for loops in (boxes, dangers, forecasts, grids, meetings):
            wp.load_module(module=loops, device="cpu")
        places = self.scene.ego.position[self.scene.ego.valid][:1, :2].astype(np.float64)
        if self._route is not None:
            places = np.concatenate([places, self._route[1][:ROUTE_LOOK:20, :2]])
            route_index(self.scene.route).prepare_lanes(places, WIDE)
        if self.scene.road_map.lanes:
            self.map_index.prepare_lanes(places, AROUND)
            self.forecaster.prepare(places, AROUND)

    def check(self, decision: Decision, truth: GroundTruth) -> GuardResult:
        """Decide which plan to drive.

        Raises:
            InputError: the truth is of another scene.
        """
        if truth.scene.id != self.scene.id:
            raise InputError(f"guard of scene {self.scene.id!r} was given the truth of {truth.scene.id!r}")
        step, before = self._speed
        self.acceleration = (truth.ego_speed - before) / self.scene.dt if truth.step == step + 1 else 0.0
        self._speed = truth.step, truth.ego_speed
        watch = _Watch(self, decision, truth, self._forecast(truth))
        choice = watch.choose()
        own = choice.index < 0
        plan = _in_ego_frame(choice.pose, choice.speed, truth) if own else decision.plans[choice.index]
        self._held = truth.step, choice
        intervened = choice.index != decision.chosen
        return GuardResult(plan, choice.index, intervened, choice.reason, lambda: watch.verdict)

    @property
    def goes_around(self) -> bool:
        """Whether the plan let through last is one of the guard's own around somebody."""
        return self._held is not None and self._held[1].around

    def held(self, truth: GroundTruth) -> _Choice | None:
        """The rest of the plan let through at the step before; None where the ego is far off it."""
        if self._held is None or truth.step != self._held[0] + 1:
            return None
        held = self._held[1]
        pose = np.concatenate([held.pose[1:], held.pose[-1:]])
        pose[-1, :2] += held.pose[-1, :2] - held.pose[-2, :2]
        speed = np.concatenate([held.speed[1:], held.speed[-1:]])
        if np.linalg.norm(pose[0, :2] - truth.ego_pose[:2]) + abs(speed[0] - truth.ego_speed) > FITS:
            return None
        return replace(held, index=FALLBACK, pose=pose, speed=speed)

    def floor(self, truth: GroundTruth) -> float:
        """How far outside of the road (m, negative) a corner may be: as far as the ego or its route is already."""
        area = self.map_index.drivable_area
        if not area.is_defined:
            return -np.inf
        size = truth.ego_size[:2].astype(np.float64)
        floor = min(0.0, float(corner_margins(area, truth.ego_pose[None].astype(np.float64), size)[0]))
        if self._route is not None:
            assert self._route_margins is not None
            here = self._route_s(truth)
            first, last = np.searchsorted(self._route[0], [here - 2.0, here + ROUTE_AHEAD])
            floor = min(floor, float(self._route_margins[first:last].min(initial=0.0)))
        return floor - OFF_ROAD

    def route_path(self, truth: GroundTruth) -> Float64[Array, "65 3"] | None:
        """Poses along the route from where the ego is, easing its offset out; as fast as now."""
        if self._route is None:
            return None
        knots, path = self._route
        start, pose = self._route_s(truth), truth.ego_pose.astype(np.float64)
        way = truth.ego_speed * TIMES
        on = np.stack([np.interp(start + way, knots, path[:, i]) for i in range(3)], axis=-1)
        apart, turn = pose[:2] - on[0, :2], math.remainder(pose[2] - on[0, 2], math.tau)
        if np.linalg.norm(apart) > 6.0 or abs(turn) > 1.0:
            return None
        left = np.clip(1.0 - way / max(10.0, 2.5 * truth.ego_speed), 0.0, 1.0)
        ease = left**3 * (10.0 - 15.0 * left + 6.0 * left**2)
        return on + ease[:, None] * np.array([apart[0], apart[1], turn])

    def _route_s(self, truth: GroundTruth) -> float:
        """Arc length of the ego's place on the route, looked for beside the nearest point."""
        assert self._route is not None
        knots, path = self._route
        x, y = float(truth.ego_pose[0]), float(truth.ego_pose[1])
        nearest = int(np.argmin((path[:, 0] - x) ** 2 + (path[:, 1] - y) ** 2))
        feet = []
        for i in range(max(nearest - 1, 0), min(nearest + 1, len(path) - 1)):
            (a, b, _), (c, d, _) = path[i : i + 2].tolist()
            along = (c - a) ** 2 + (d - b) ** 2
            part = ((x - a) * (c - a) + (y - b) * (d - b)) / along if along > 0.0 else 0.0
            part = min(max(part, 0.0), 1.0)
            off = math.hypot(x - a - part * (c - a), y - b - part * (d - b))
            feet.append((off, float(knots[i] + part * (knots[i + 1] - knots[i]))))
        return min(feet)[1]

    def _forecast(self, truth: GroundTruth) -> AgentTrajectories:
        """The forecast of those who can come near in the time that is looked at."""
        agents, braking = truth.agents, self._decelerations(truth)
        away = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1)
        speed = truth.ego_speed + np.hypot(agents.velocity[:, 0], agents.velocity[:, 1])
        reach = speed * TIMES[-1] + 0.5 * ACCELERATION * TIMES[-1] ** 2 + 0.5 * agents.size[:, 0] + 10.0
        near = agents.valid & (away < reach)
        since = self.scene.dt if self._held is not None and self._held[0] + 1 == truth.step else None
        return self.forecaster.forecast(agents_of(agents, near), braking[near], since=since)

    def _decelerations(self, truth: GroundTruth) -> Float64[Array, " n"]:
        """How hard (m/s²) each of the agents brakes, from their speeds at the check before; smoothed by half."""
        agents, seen, out = truth.agents, self._seen, np.zeros(len(truth.agents.ids))
        speed = np.hypot(agents.velocity[:, 0], agents.velocity[:, 1]).astype(np.float64)
        if seen.step == truth.step - 1:
            before = np.array([seen.row.get(name, -1) for name in agents.ids], np.int64)
            known = np.flatnonzero(agents.valid & (speed > 0.0) & (before >= 0))
            before = before[known]
            rate = np.clip((seen.speed[before] - speed[known]) / self.scene.dt, 0.0, 9.0)
            out[known] = 0.5 * (rate + seen.rate[before])
        out[out < 0.5] = 0.0
        here = np.flatnonzero(agents.valid)
        row = {agents.ids[i]: n for n, i in enumerate(here)}
        self._seen = _Seen(truth.step, row, speed[here], out[here])
        return out


class _Watch:
    """One check: the candidates, what would become of them, and the choice."""

    def __init__(self, guard: Guard, decision: Decision, truth: GroundTruth, traffic: AgentTrajectories) -> None:
        self.guard, self.decision, self.truth, self.traffic = guard, decision, truth, traffic
        self.others = pack_boxes(traffic, len(TIMES))
        self.size = truth.ego_size[:2].astype(np.float64)
        self.area = guard.map_index.drivable_area
        self.floor = guard.floor(truth)
        plans = decision.plans.astype(np.float64)
        self.pose, self.speed = plans_in_world(plans, truth.ego_pose.astype(np.float64), truth.ego_speed)
        self.danger, self.leaves_room, self.crossing = self._outlook()
        self.drivable = drivable(self.pose, self.speed, guard.scene.environment.friction)

    def of(self, pose: Array, speed: Array) -> Danger:
        """What would become of motions."""
        return danger(Motions(pose, speed, self.size), self.traffic, self.others, self.area, self.floor)

    def _outlook(self) -> tuple[Danger, Bool[Array, " k"], str]:
        """What would become of the candidates, which leave room, and who may cross the way of the driver's choice.

        One that leaves room, driven for 0.3 s and then braked at 4 m/s², comes to rest clean with 2 m in front.
        """
        count, chosen = len(self.pose), slice(self.decision.chosen, self.decision.chosen + 1)
        rate = np.full(count, min(COMFORTABLE, self.guard.grip))
        pose, speed = braked(self.pose, self.speed, rate, DELAY)
        motions = Motions(
            np.concatenate([self.pose, pose, self.pose[chosen]]),
            np.concatenate([self.speed, speed, self.speed[chosen]]),
            self.size,
            standoff=np.repeat([0.0, STANDOFF, 0.0], [count, count, 1]),
            haste=np.repeat([0.0, HASTE], [2 * count, 1]),
        )
        found = danger(motions, self.traffic, self.others, self.area, self.floor)
        crosses = found.contact[-1] <= HASTE_TIME and found.contact[-1] < found.contact[self.decision.chosen]
        who = self.traffic.ids[found.whom[-1]] if crosses else ""
        return found.take(slice(count)), found.take(slice(count, 2 * count)).clean, who

    @cached_property
    def verdict(self) -> Verdict:
        """The validator's, of the K candidates on this forecast."""
        return judge(self._situation(self.decision.plans), CORE_RULES)

    def _situation(self, plans: Float32[Array, "k 64 4"]) -> MotionBatch:
        now = self.truth.step * self.guard.scene.dt
        return plans_motions(
            self.guard.scene, plans, now, truth=self.truth, forecast=self.traffic, map_index=self.guard.map_index
        )

    def choose(self) -> _Choice:
        """The plan to drive."""
        chosen = self.decision.chosen
        passes = self.drivable[chosen] and (self.danger.clean[chosen] or self._later(chosen))
        if passes and not self.guard.goes_around:
            way = self._give_way() if self.crossing else None
            return self._candidate(chosen, "") if way is None else way
        if passes and (self.held is None or len(self._unhurt(np.array([chosen])))):
            return self._candidate(chosen, "")
        why = "has little room" if passes else self._why(chosen)
        if self.held is not None and self.held.reason:
            return replace(self.held, reason=f"{why}; keeps to the plan before")
        clean = self.drivable & self.danger.clean
        strong = np.flatnonzero(clean & self.leaves_room)
        if len(strong):
            roomy = self._unhurt(strong)
            return self._candidate(self._best(roomy if len(roomy) else strong), f"{why}; takes another candidate")
        if self.held is not None:
            return replace(self.held, reason=f"{why}; keeps to the plan before")
        return self._fallback(np.flatnonzero(clean), why)

    def _give_way(self) -> _Choice | None:
        """The gentlest braking that keeps out of the way of one who may cross closer than he should."""
        braking = self._braking()
        when, whom = first_meetings(Motions(braking.pose, braking.speed, self.size, haste=HASTE), self.others)
        kept = self.of(braking.pose, braking.speed).clean & ((whom < 0) | (TIMES[when] > HASTE_TIME))
        if not kept.any():
            return None
        k = int(np.argmax(kept))
        said = f"may be crossed by {self.crossing!r}; gives way, brakes at {braking.rate[k]:.1f} m/s²"
        return _own(braking, k, said)

    @cached_property
    def held(self) -> _Choice | None:
        """The plan that is held on to, if it is still clean; one around somebody with a little room.

        Looked at is what is driven if the ego stays as far off the plan as it is.
        """
        held = self.guard.held(self.truth)
        if held is None:
            return None
        here = self.truth.ego_pose.astype(np.float64)
        xy = from_frame(to_frame(held.pose[:, :2], held.pose[0]), here)
        pose = np.column_stack([xy, held.pose[:, 2] + math.remainder(here[2] - held.pose[0, 2], math.tau)])
        motion = Motions(pose[None], held.speed[None], self.size, doubt=BESIDE if held.around else (0.0, 0.0))
        return held if danger(motion, self.traffic, self.others, self.area, self.floor).clean[0] else None

    def _later(self, k: int) -> bool:
        """Whether it is time enough to decide later."""
        soonest = min(self.danger.contact[k], self.danger.off_road[k])
        return bool(soonest > IMMINENT and self.leaves_room[k])

    def _unhurt(self, rows: Int64[Array, " n"]) -> Int64[Array, " n"]:
        """Which of some candidates meet nobody among longer and wider others either."""
        _, whom = first_meetings(Motions(self.pose[rows], self.speed[rows], self.size, doubt=UNSURE), self.others)
        return rows[(whom < 0) & self.danger.clean[rows]]

    def _best(self, rows: Int64[Array, " n"]) -> int:
        """The candidate of the best PDM score."""
        if len(rows) == 1:
            return int(rows[0])
        score = np.nan_to_num(pdm_score(self._situation(self.decision.plans[rows])))
        return int(rows[np.lexsort((-self.decision.weights[rows], -score))[0]])

    def _candidate(self, k: int, reason: str) -> _Choice:
        return _Choice(k, self.pose[k], self.speed[k], f"{reason} ({k})" if reason else "")

    def _fallback(self, clean: Int64[Array, " n"], why: str) -> _Choice:
        """A stop in the lane; full braking; a ``clean`` candidate; a way around; what ends least badly.

        Where somebody will come to the place of the stop, as against the traffic, a way around comes before stopping.
        """
        braking = self._braking()
        ends = self.of(braking.pose, braking.speed)
        hardest = ends.clean[-len(self._paths) :]
        stop = self._stop(why) if hardest.any() else None  # no stop is shorter
        if stop is not None and not self._is_run_into(stop.pose[-1]):
            return stop
        for k in np.flatnonzero(ends.clean):
            if not self._is_run_into(braking.pose[k, -1]):
                return _own(braking, k, f"{why}; brakes at {braking.rate[k]:.1f} m/s²")
        if len(clean):
            return self._candidate(self._best(clean), f"{why}; braking does not avoid it, takes a candidate that does")
        if (around := self._around(why)) is not None:
            return around
        if stop is not None:
            return stop
        k, other = int(np.argmin(ends.severity)), int(np.argmin(self.danger.severity + 1e3 * ~self.drivable))
        if self.danger.severity[other] < ends.severity[k] and self.drivable[other]:
            return self._candidate(other, f"{why}; takes what ends least badly")
        avoids = "" if ends.clean[k] else ", which does not avoid it"
        return _own(braking, k, f"{why}; brakes at {braking.rate[k]:.1f} m/s²{avoids}")

    def _around(self, why: str) -> _Choice | None:
        """Of the ways around that are clean the one with the most room to the others, up to 1 m; then the mildest."""
        ways = swerves(self._paths[-1], float(self.truth.ego_speed), self.guard.grip)
        clean = self.of(ways.pose, ways.speed).clean
        if not clean.any():
            return None
        nobody = np.zeros((len(clean), len(self.others.boxes)), bool)
        room = box_clearances(oriented(ways.pose), self.size, self.others, nobody, ROOM_BESIDE).min(axis=1)
        k = int(np.argmax(np.where(clean, room, -np.inf)))
        side = "left" if ways.aside[k] > 0.0 else "right"
        said = f"{why}; braking does not avoid it, goes {abs(ways.aside[k]):.0f} m to the {side}"
        return replace(_own(ways, k, said), around=True)

    def _is_run_into(self, end: Float64[Array, "3"]) -> bool:
        """Whether somebody meets an ego that stands there in the 10 s after the plan, not from behind."""
        pose = np.broadcast_to(end, (1, len(AFTERWARDS), 3))
        motions = Motions(pose, np.zeros(pose.shape[:2]), self.size, doubt=(0.0, UNSURE[1]))
        return bool(first_meetings(motions, self._afterwards)[1][0] >= 0)

    @cached_property
    def _afterwards(self) -> AgentBoxes:
        """The others after the time of a plan."""
        return pack_boxes(self.guard.forecaster.at(AFTERWARDS), len(AFTERWARDS))

    @cached_property
    def _paths(self) -> list[Float64[Array, "65 3"]]:
        """The driver's path, and the route's where there is one."""
        along = self.guard.route_path(self.truth)
        return [self.pose[self.decision.chosen]] + ([] if along is None else [along])

    def _stop(self, why: str) -> _Choice | None:
        """A planned stop that is clean, with room in front if there can be."""
        speed, names = float(self.truth.ego_speed), ("on the driver's path", "in its lane")
        paths = np.stack(self._paths)
        way = arc_lengths(paths)
        s = np.linspace(0.0, way[:, -1], PLACES, axis=-1)
        free = free_ways(along(paths, way, s), s, self.size, ROOMS, self.others)
        for path, where in enumerate(names[: len(paths)]):
            for limit in np.minimum(free[path], way[path, -1]):
                stop = self.guard.stops.plan(speed, self.guard.acceleration, limit)
                if stop is None:
                    continue
                pose = along(paths[path : path + 1], way[path : path + 1], stop.way[None])
                if self.of(pose, stop.speed[None]).clean[0]:
                    said = f"{why}; stops {where}, at most {stop.hardest:.1f} m/s²"
                    return _Choice(FALLBACK, pose[0], stop.speed, said)
                break
        return None

    def _braking(self) -> Slowed:
        """Braking plans, gentle ones first: along the driver's path and along the route."""
        levels = sorted({min(a, self.guard.grip) for a in DECELERATIONS})
        pose = np.stack([path for _ in levels for path in self._paths])
        rate = np.repeat(levels, len(self._paths))
        speed = np.full(pose.shape[:2], float(self.truth.ego_speed))
        return Slowed(*braked(pose, speed, rate, 0.0), rate)

    def _why(self, k: int) -> str:
        found = self.danger
        if np.isfinite(found.contact[k]):
            whom = self.traffic.ids[found.whom[k]]
            return f"would meet {whom!r} in {found.contact[k]:.1f} s at {found.impact[k]:.1f} m/s"
        if np.isfinite(found.off_road[k]):
            return f"would leave the road in {found.off_road[k]:.1f} s"
        return "asks for more than the road's friction allows"


def _own(plans: Slowed, k: int, reason: str) -> _Choice:
    return _Choice(FALLBACK, plans.pose[k], plans.speed[k], reason)


def drivable(pose: Float64[Array, "k 65 3"], speed: Float64[Array, "k 65"], friction: float) -> Bool[Array, " k"]:
    """Whether friction allows what each motion asks for in its first two seconds, over windows of 0.3 s."""
    first, window = 20, 3
    step = np.diff(pose[:, : first + 1], axis=1)
    moved = np.concatenate([speed[:, :1], np.hypot(step[..., 0], step[..., 1]) / PLAN_DT], axis=1)
    along = (moved[:, window:] - moved[:, :-window]) / (window * PLAN_DT)
    turned = np.cumsum(wrap_angle(step[..., 2]), axis=1)
    rate = (turned[:, window:] - turned[:, :-window]) / (window * PLAN_DT)
    across = rate * moved[:, 2 : 2 + rate.shape[1]]
    limit = friction * GRAVITY + SLACK
    return (np.abs(along).max(axis=1) <= limit) & (np.abs(across).max(axis=1) <= limit)


def agents_of(agents: Agents, rows: Bool[Array, " n"]) -> Agents:
    """Some of the agents."""
    ids = tuple(name for name, kept in zip(agents.ids, rows, strict=True) if kept)
    fields = ("category", "pose", "velocity", "size", "valid")
    return Agents(ids=ids, **{name: np.asarray(getattr(agents, name))[rows] for name in fields})


def _in_ego_frame(pose: Array, speed: Array, truth: GroundTruth) -> Float32[Array, "64 4"]:
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
