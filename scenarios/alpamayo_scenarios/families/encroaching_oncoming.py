"""Encroaching oncoming car: it drifts over the middle of the road towards the ego."""

from alpamayo_scenarios.families.axes import bend, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.manoeuvres import change_lane
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario, Trigger, TriggerKind

DURATION_S = 15.0
SHOULDER_M = 1.8  # m
GIVES_WAY_S = 2.2  # s to move right by up to 1.5 m


def _accepts(p: Values) -> bool:
    """There is time to move to the right after the drift begins."""
    return p["time_to_meet"] >= GIVES_WAY_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, other, limit = p["ego_speed"], p["other_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.2, 3.4)), SHOULDER_M)
    meeting = (speed + other) * (p["time_to_meet"] + float(rng.uniform(1.0, 2.5)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=meeting + limit * 8.0 + 60.0)
    drift = change_lane(Trigger(TriggerKind.TIME_TO_COLLISION, p["time_to_meet"]), p["drift"], p["drift_time"])
    site.actor("oncoming", START_M + meeting, section.oncoming(), other, forward=False, manoeuvres=drift)
    site.flow(0, [-30.0])
    site.oncoming([meeting + 40.0, meeting + 90.0, meeting + 140.0], other)
    return site.scenario(0.8 * speed * 10.0)


ENCROACHING_ONCOMING = Family(
    name="encroaching-oncoming",
    number=126,
    title="Encroaching oncoming car",
    summary="An oncoming car drifts over the middle of a two-way road into the ego's lane.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.IN_LANE_NUDGE),
    critical_actors=("oncoming",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="CARLA leaderboard 2.0 InvadingTurn; NHTSA opposite direction, no manoeuvre",
    parameters=(
        ego_speed(8.0, 18.0, 12.0, "rural roads, 30 to 65 km/h"),
        Parameter("other_speed", "m/s", 7.0, 16.0, "CARLA leaderboard 2.0 flows: 8 to 17 m/s", default=11.0),
        Parameter("time_to_meet", "s", 2.2, 4.5, "CARLA InvadingTurn: 50 to 230 m", default=3.2),
        Parameter("drift", "m", 1.7, 2.3, "its left wheels are 0.8 to 1.5 m over the middle", default=1.9),
        Parameter("drift_time", "s", 1.5, 3.0, "UN R157: lateral 0.5 to 3 m/s", default=2.0),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
