"""Blocked junction exit: a queue stands right behind the junction, on the ego's way out."""

from alpamayo_scenarios.behaviours import move_off
from alpamayo_scenarios.conflicts import add_on_path, shortened
from alpamayo_scenarios.families.axes import can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import EAST_ARM_M, GREEN_FOR_EGO, RED_FOR_OTHERS, junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import arc_length

DURATION_S = 20.0


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["arrival_time"] - 10.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    site = junction_site(rng, speed, p["arrival_time"], limit, duration=DURATION_S)
    back = site.crossing.box + p["free"]
    whole = site.path("west", "through", None)
    middle = float(arc_length(whole)[-1]) - EAST_ARM_M
    for k in range(3):
        size = draw_car(rng)
        path = shortened(whole, middle + back + 0.5 * size[0])
        leave = move_off(2.0, p["hold"] - 0.3 * k, 0.8 * limit)
        add_on_path(site.stage, f"queue-{k}", Category.VEHICLE, size, path, 0.0, yields=True, manoeuvres=leave)
        back += size[0] + float(rng.uniform(2.0, 3.0))
    site.fill("south", "through", [1.5], 0.01)
    site.fill("east", "through", [30.0, 70.0], 0.8 * limit)
    signals = site.crossing.signals(GREEN_FOR_EGO, RED_FOR_OTHERS, site.stage.steps)
    return site.scenario(site.crossing.box + 15.0, signals=signals)


BLOCKED_EXIT = Family(
    name="blocked-exit",
    number=112,
    title="Blocked junction exit",
    summary="The ego has green, but a queue stands right behind the junction and leaves no room; it moves on later.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("queue-*",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.SIGNALS),
    source="CARLA leaderboard 2.0 BlockedIntersection",
    parameters=(
        ego_speed(6.0, 13.8, 10.0, "town streets, 20 to 50 km/h"),
        Parameter("arrival_time", "s", 4.0, 7.0, "time to the middle of the junction at the start", default=5.0),
        Parameter("free", "m", 0.0, 3.0, "room behind the stop line of the other side", default=1.0),
        Parameter("hold", "s", 0.8, 2.0, "standing time of queues that dissolve", default=1.2),
    ),
    accepts=_accepts,
    make=_make,
)
