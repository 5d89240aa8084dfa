"""Stop and go: a lead in a shock wave slows, speeds up and stops again."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import ego_speed, slowing_gap
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.manoeuvres import speed_profile
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
RELEASE_MPS2 = 1.5  # m/s² of the queue that moves off


def _accepts(p: Values) -> bool:
    speed = p["ego_speed"]
    needed = slowing_gap(speed) - speed**2 / (2.0 * p["deceleration"])
    return p["headway"] * speed >= needed


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, 3.6, float(rng.uniform(1.0, 2.5)))
    lane, slow = int(rng.integers(0, 2)), p["low_share"] * speed
    site = road_site(rng, speed, limit, section, lane=lane, duration=DURATION_S, reach=speed * DURATION_S + 150.0)
    down, up = (speed - slow) / p["deceleration"], (0.8 * speed - slow) / RELEASE_MPS2
    times = [down, down + up, down + up + 0.8 * speed / p["deceleration"]]
    times += [times[-1] + 1.5, times[-1] + 1.5 + 0.8 * speed / RELEASE_MPS2]
    speeds = [slow, 0.8 * speed, 0.0, 0.0, 0.8 * speed]
    gap, size = p["headway"] * speed, draw_car(rng)
    wave = speed_profile(at_time(0.8), times, speeds, speed)
    site.actor("wave", site.ahead(gap, size), site.d(), speed, size, manoeuvres=wave)
    site.flow(1 - lane, [-24.0, 2.0, 26.0, 50.0, 74.0], 0.5 * speed)
    site.flow(lane, [-26.0])
    return site.scenario(gap + 0.5 * speed * times[2])


STOP_AND_GO = Family(
    name="stop-and-go",
    number=105,
    title="Stop and go",
    summary="The lead runs through a shock wave: it slows, speeds up, stops and moves off again.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.SLOW_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("wave",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="Sugiyama et al. 2008, traffic jams without bottlenecks; UN R157 traffic jam",
    parameters=(
        ego_speed(7.0, 16.0, 11.0, "UN R157: up to 60 km/h"),
        Parameter("headway", "s", 1.0, 2.2, "UN R157 following distance and above", default=1.5),
        Parameter("deceleration", "m/s²", 1.5, 4.0, "shock waves, up to firm braking", default=2.5),
        Parameter("low_share", "1", 0.1, 0.4, "speed in the first wave, share of the initial one", default=0.2),
    ),
    accepts=_accepts,
    make=_make,
)
