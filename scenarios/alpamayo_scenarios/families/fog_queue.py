"""Fog: the end of a slow queue comes into sight late."""

from alpamayo_scenarios.families.axes import bend, ego_speed, slowing_gap
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Environment

DURATION_S = 18.0


def _accepts(p: Values) -> bool:
    """A careful driver slows to the speed of the queue within the visibility."""
    closing = p["ego_speed"] - p["queue_speed"]
    return closing >= 4.0 and slowing_gap(closing) <= p["visibility"] - 3.0 and p["gap"] <= 8.0 * closing


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, slow = p["ego_speed"], posted_limit(p["ego_speed"]), p["queue_speed"]
    section = CrossSection(2, 0, 3.6, float(rng.uniform(1.0, 2.5)))
    lane = int(rng.integers(0, 2))
    reach = p["gap"] + speed * DURATION_S + 60.0
    site = road_site(rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=reach)
    for k in range(2):
        back = START_M + p["gap"] + 2.5 + float(rng.uniform(0.0, 3.0)) * k
        for row in range(3):
            size = draw_car(rng)
            site.actor(f"queue-{k}-{row}", back + 0.5 * size[0], site.d(abs(lane - k)), slow, size, yields=True)
            back += size[0] + 3.0 + 1.2 * slow
    site.flow(lane, [-34.0])
    fog = Environment(0.8, 0.6, float(rng.uniform(-3.0, 3.0)), 0.0, p["visibility"])
    return site.scenario(p["gap"] + 0.7 * slow * DURATION_S, environment=fog)


FOG_QUEUE = Family(
    name="fog-queue",
    number=160,
    title="Queue in the fog",
    summary="In dense fog the ego comes up to slow queues on both lanes that it sees late.",
    group=Group.PERCEPTION,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.SLOW_FOR_LEAD,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_KEEPING),
    critical_actors=("queue-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.FOG),
    source="ISO 34502 perception disturbances; visibility of dense fog 40 to 150 m",
    parameters=(
        ego_speed(9.0, 20.0, 14.0, "motorways in fog, 30 to 70 km/h"),
        Parameter("queue_speed", "m/s", 3.0, 8.0, "slow traffic", default=5.0),
        Parameter("visibility", "m", 40.0, 150.0, "dense fog", default=80.0),
        Parameter("gap", "m", 30.0, 90.0, "distance to the queue at the start", default=60.0),
        bend(0.002),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
