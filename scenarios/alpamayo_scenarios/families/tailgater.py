"""Tailgater: the lead slows while a car follows the ego much too closely."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import brake
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
EARLIEST, LATEST = 1.0, 2.0  # s when the lead begins to brake
GENTLE_BRAKING_MPS2 = 3.0  # m/s² that suffices, so that the one behind can react
REACTION_S = 1.0  # s


def _accepts(p: Values) -> bool:
    """Gentle braking is enough, and without any the ego runs into the lead."""
    speed, slow = p["ego_speed"], p["slow_share"] * p["ego_speed"]
    change = speed - slow
    room = p["headway"] * speed + change**2 / (2.0 * p["deceleration"])
    meets = speed * (LATEST + room / change)
    needed = change * REACTION_S + change**2 / (2.0 * GENTLE_BRAKING_MPS2) + 1.0
    return needed <= room and meets + 8.0 <= _goal(speed, slow, EARLIEST)


def _goal(speed: float, slow: float, wait: float) -> float:
    return 0.85 * (speed * wait + slow * (DURATION_S - wait))


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, 3.5, float(rng.uniform(0.8, 2.0)))
    lane = int(rng.integers(0, 2))
    site = road_site(rng, speed, limit, section, lane=lane, duration=DURATION_S, reach=speed * DURATION_S + 140.0)
    slow, wait = p["slow_share"] * speed, float(rng.uniform(EARLIEST, LATEST))
    size, behind = draw_car(rng), draw_car(rng)
    slows = brake(at_time(wait), p["deceleration"], slow)
    site.actor("lead", site.ahead(p["headway"] * speed, size), site.d(), speed, size, manoeuvres=slows)
    rear = START_M - 0.5 * (EGO_SIZE[0] + behind[0]) - p["rear_gap"]
    site.actor("tailgater", rear, site.d(), speed, behind, yields=True)
    site.flow(1 - lane, [-30.0, -8.0, 14.0, 40.0, 66.0])
    return site.scenario(_goal(speed, slow, wait))


TAILGATER = Family(
    name="tailgater",
    number=111,
    title="Tailgater",
    summary="The lead slows down while a car follows the ego much too closely, so that the ego must brake early.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("lead", "tailgater"),
    odd=(OddTag.RURAL, OddTag.ONE_WAY),
    source="NHTSA pre-crash typology, rear-end with the ego struck",
    parameters=(
        ego_speed(10.0, 22.0, 14.0, "main roads, 40 to 80 km/h"),
        Parameter("headway", "s", 1.4, 2.4, "UN R157 following distance and above", default=1.8),
        Parameter("deceleration", "m/s²", 1.5, 3.5, "firm braking of the lead", default=2.6),
        Parameter("slow_share", "1", 0.3, 0.6, "speed of the lead after braking, share of before", default=0.4),
        Parameter("rear_gap", "m", 4.0, 10.0, "a time gap of 0.3 to 0.6 s is common among tailgaters", default=6.5),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
