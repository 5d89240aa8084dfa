"""Queue end: standing traffic on all lanes, which moves on after a while."""

from alpamayo_scenarios.behaviours import move_off
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, lane_count
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
ROWS = 3


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 10.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["lanes"])
    section = CrossSection(count, 0, 3.6, float(rng.uniform(1.0, 2.5)))
    lane, gap = int(rng.integers(0, count)), speed * p["distance_time"]
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=gap + 200.0
    )
    for k in range(count):
        back = START_M + gap + float(rng.uniform(0.0, 4.0))
        for row in range(ROWS):
            size = draw_car(rng)
            # The nearest one waits for the ego; those ahead move off a little earlier each.
            leave = move_off(1.5, p["hold"] - 0.3 * row, 0.7 * limit)
            name = f"queue-{k}-{row}"
            site.actor(name, back + 2.5 + 0.5 * size[0], site.d(k), 0.0, size, yields=True, manoeuvres=leave)
            back += size[0] + float(rng.uniform(2.0, 3.5))
        site.flow(k, [-30.0])
    return site.scenario(gap + 20.0)


QUEUE_END = Family(
    name="queue-end",
    number=108,
    title="Queue end on all lanes",
    summary="Standing traffic blocks all lanes of a carriageway; it moves on after the ego has stopped behind it.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("queue-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="UN R157 full block, ASAM OSC-ALKS fully blocking target",
    parameters=(
        ego_speed(8.0, 20.0, 14.0, "ASAM OSC-ALKS: 5 to 60 km/h and above"),
        Parameter("distance_time", "s", 4.0, 7.0, "time to the queue at the start", default=5.5),
        Parameter("hold", "s", 0.8, 2.0, "standing time of queues that dissolve", default=1.2),
        lane_count(2, 3, 2),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
