"""Low friction: the lead brakes on an icy or wet road where the ego's own brakes hold little."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import STOPPING_MARGIN_M, ego_speed
from alpamayo_scenarios.families.family import REACTION_TIME_S, Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.manoeuvres import stop
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Environment

DURATION_S = 18.0
USABLE_FRICTION_SHARE = 0.8  # share of the friction that a careful driver uses
GOAL_BEYOND_M = 12.0  # m from where the lead stood to the goal


def _accepts(p: Values) -> bool:
    """A driver within the available friction stops behind the lead."""
    speed, grip = p["ego_speed"], USABLE_FRICTION_SHARE * p["friction"] * GRAVITY_MPS2
    room = p["headway"] * speed + speed**2 / (2.0 * p["deceleration"])
    return (
        p["deceleration"] <= p["friction"] * GRAVITY_MPS2
        and speed * REACTION_TIME_S + speed**2 / (2.0 * grip) + STOPPING_MARGIN_M <= room
    )


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, wait = p["ego_speed"], posted_limit(p["ego_speed"]), float(rng.uniform(0.8, 2.0))
    section = CrossSection(1, 1, 3.5, float(rng.uniform(0.5, 1.2)))
    stood = p["headway"] * speed + speed * wait + speed**2 / (2.0 * p["deceleration"])
    site = road_site(rng, speed, limit, section, duration=DURATION_S, reach=stood + 180.0)
    size = draw_car(rng)
    halt = stop(at_time(wait), p["deceleration"], speed / p["deceleration"] + p["hold"], 0.6 * limit, 1.2)
    site.actor("braking", site.ahead(p["headway"] * speed, size), site.d(), speed, size, manoeuvres=halt)
    site.oncoming([60.0, 110.0, 160.0, 210.0], 0.6 * limit)
    ice = Environment(friction=p["friction"], sun_elevation=0.35, visibility=float(rng.uniform(250.0, 800.0)))
    return site.scenario(stood + GOAL_BEYOND_M, environment=ice)


LOW_FRICTION_BRAKING = Family(
    name="low-friction-braking",
    number=159,
    title="Braking on low friction",
    summary="The lead brakes to a standstill on a slippery road where hard braking holds little.",
    group=Group.PERCEPTION,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("braking",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY, OddTag.LOW_FRICTION),
    source="CARLA leaderboard 2.0 ControlLoss; friction of snow and ice 0.1 to 0.4, of a wet road to 0.8",
    parameters=(
        ego_speed(5.0, 13.0, 8.5, "speeds on slippery roads, 20 to 45 km/h"),
        Parameter("friction", "1", 0.25, 0.6, "packed snow 0.25 to 0.35, wet road to 0.6", default=0.4),
        Parameter("headway", "s", 1.5, 4.0, "UN R157 following distance and above", default=2.5),
        Parameter("deceleration", "m/s²", 1.5, 4.0, "up to what the road holds", default=2.5),
        Parameter("hold", "s", 0.5, 2.0, "time that the lead stands", default=1.0),
    ),
    accepts=_accepts,
    make=_make,
)
