"""Side drift: a car of the next lane drifts over the line and stays there."""

from alpamayo_scenarios.behaviours import when_near
from alpamayo_scenarios.families.axes import drift_gap, ego_speed, from_left
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_truck
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import change_lane
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0
LANE_WIDTH_M = 3.5


def _accepts(p: Values) -> bool:
    """A steady ego touches the car after it has drifted, and a careful one can fall back to its speed before."""
    catches_up = p["gap"] / p["closing_speed"]
    slow_enough = p["closing_speed"] <= 0.5 * p["ego_speed"]
    return slow_enough and catches_up <= 7.0 and drift_gap(p["closing_speed"], p["lateral_speed"]) <= p["gap"]


def _make(p: Values, rng: Rng) -> Scenario:
    speed, slower, limit = p["ego_speed"], p["ego_speed"] - p["closing_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, LANE_WIDTH_M, float(rng.uniform(0.8, 2.0)))
    lane = 0 if p["from_left"] == 0 else 1
    wait, size = float(rng.uniform(0.8, 2.0)), draw_truck(rng)
    site = road_site(rng, speed, limit, section, lane=lane, duration=DURATION_S, reach=speed * DURATION_S + 130.0)
    centres = p["gap"] + 0.5 * (EGO_SIZE[0] + size[0])
    side = 1.0 if site.d() > site.d(1 - lane) else -1.0
    s = START_M + centres + p["closing_speed"] * wait
    drift = change_lane(when_near(centres), side * p["drift"], p["drift"] / p["lateral_speed"])
    site.actor("drifting", s, site.d(1 - lane), slower, size, category=Category.TRUCK, manoeuvres=drift)
    site.flow(lane, [-34.0])
    site.flow(1 - lane, [s - START_M - 30.0, s - START_M + 50.0], slower)
    return site.scenario(speed * (wait + p["gap"] / p["closing_speed"]) + 25.0)


SIDE_DRIFT = Family(
    name="side-drift",
    number=119,
    title="Drifting neighbour",
    summary="A truck in the next lane drifts over the line into the ego's lane and stays there.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("drifting",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="ASAM OSC-ALKS lateral drift of a side vehicle; NHTSA drifting, same direction",
    parameters=(
        ego_speed(8.0, 22.0, 16.0, "ASAM OSC-ALKS: up to 60 km/h and above"),
        Parameter("closing_speed", "m/s", 1.5, 6.0, "the truck is up to 20 km/h slower", default=3.5),
        Parameter("gap", "m", 4.0, 25.0, "bumper gap when the drift begins", default=10.0),
        Parameter("drift", "m", 1.6, 2.8, "ASAM OSC-ALKS: offsets in steps of 0.5 m", default=2.2),
        Parameter("lateral_speed", "m/s", 0.5, 1.5, "ASAM OSC-ALKS: 0.5 to 3 m/s", default=0.9),
        from_left(),
    ),
    accepts=_accepts,
    make=_make,
)
