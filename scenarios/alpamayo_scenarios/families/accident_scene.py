"""Accident scene: crashed cars, a police car and helpers block the ego's lane of a carriageway."""

from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, lane_count
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.obstacles import add_crash
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0
GOAL_BEYOND_M = 25.0  # m from the end of the scene to the goal


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 5.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["lanes"])
    section = CrossSection(count, 0, 3.6, float(rng.uniform(1.0, 2.5)))
    lane, gap = int(rng.choice([0, count - 1])), speed * p["distance_time"]
    free = 1 if lane == 0 else lane - 1
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=gap + 230.0
    )
    end = add_crash(site, START_M + gap, site.d())
    site.flow(free, [-38.0 + p["flow_gap"], -38.0, gap + 60.0], 0.8 * speed)
    site.flow(lane, [-32.0])
    return site.scenario(end - START_M + GOAL_BEYOND_M)


ACCIDENT_SCENE = Family(
    name="accident-scene",
    number=128,
    title="Accident scene",
    summary="Two crashed cars, a police car and people on the road block the ego's lane of a carriageway.",
    group=Group.OBSTACLE,
    cluster=OodCluster.EMERGENCY_INCIDENT_SCENE,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("crash-*",),
    odd=(OddTag.ONE_WAY,),
    source="CARLA leaderboard 2.0 Accident",
    parameters=(
        ego_speed(8.0, 18.0, 13.0, "CARLA leaderboard 2.0 flows: 8 to 17 m/s"),
        Parameter("distance_time", "s", 4.0, 8.0, "CARLA Accident: 40 to 200 m", default=6.0),
        Parameter("flow_gap", "m", 24.0, 34.0, "gap in the traffic of the free lane", default=28.0),
        lane_count(2, 3, 2),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
