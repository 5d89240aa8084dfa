"""Lane closure: works close the ego's lane of a carriageway, and it merges into the next one."""

from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, lane_count
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.obstacles import add_lane_closure
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 3.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["lanes"])
    section = CrossSection(count, 0, 3.6, float(rng.uniform(1.0, 2.0)))
    lane, gap = int(rng.choice([0, count - 1])), speed * p["distance_time"]
    free = 1 if lane == 0 else lane - 1
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=gap + 260.0
    )
    add_lane_closure(site, START_M + gap, lane, p["taper"], p["length"])
    site.flow(free, [4.0 - p["flow_gap"], 4.0, 4.0 + p["flow_gap"]], p["flow_share"] * speed)
    site.flow(lane, [-36.0])
    return site.scenario(gap + p["taper"] + 15.0)


LANE_CLOSURE = Family(
    name="lane-closure",
    number=130,
    title="Works close a lane",
    summary="Cones lead the ego out of its lane of a carriageway into the traffic of the next one.",
    group=Group.OBSTACLE,
    cluster=OodCluster.WORK_ZONES_TEMP_TRAFFIC_CONTROL,
    trigger=CocTrigger.BYPASS_CONSTRUCTION,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.LANE_CHANGE),
    critical_actors=("works-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.WORK_ZONE),
    source="CARLA leaderboard 2.0 ConstructionObstacle; NHTSA bypassing 02",
    parameters=(
        ego_speed(8.0, 20.0, 14.0, "CARLA leaderboard 2.0 flows: 8 to 17 m/s"),
        Parameter("distance_time", "s", 4.5, 8.0, "time to the first cone at the start", default=6.0),
        Parameter("taper", "m", 15.0, 35.0, "short-term works, tapers of 1:5 to 1:10", default=25.0),
        Parameter("length", "m", 20.0, 40.0, "CARLA leaderboard 2.0 obstacles", default=25.0),
        Parameter("flow_gap", "m", 24.0, 45.0, "CARLA flows: gaps of 10 to 110 m", default=32.0),
        Parameter("flow_share", "1", 0.85, 1.0, "speed of the next lane, share of the ego's", default=0.95),
        lane_count(2, 3, 2),
        bend(0.002),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
