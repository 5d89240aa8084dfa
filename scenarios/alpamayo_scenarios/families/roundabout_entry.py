"""Roundabout entry: cars in the ring pass the arm where the ego has to enter."""

from alpamayo_scenarios.families.axes import ego_speed, stream_ends, stream_times
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roundabouts import EXITS, roundabout_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
SPEED_LIMIT_MPS = 11.2  # 40 km/h
TURNS = tuple(EXITS)


def _make(p: Values, rng: Rng) -> Scenario:
    time = float(rng.uniform(4.0, 5.5))
    turn = TURNS[int(p["exit"]) - 1]
    site = roundabout_site(rng, p["ego_speed"], time, SPEED_LIMIT_MPS, p["radius"], turn, DURATION_S)
    site.stream("north", 3, stream_times(p, time), p["flow_speed"])
    return site.scenario(32.0)


ROUNDABOUT_ENTRY = Family(
    name="roundabout-entry",
    number=149,
    title="Roundabout entry",
    summary="The ego enters a roundabout while cars in the ring pass its arm in a row.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.PASSING_INTERSECTION,
    decision=(Longitudinal.YIELD, Lateral.TURN),
    critical_actors=("stream-*",),
    odd=(OddTag.URBAN, OddTag.ROUNDABOUT),
    source="NHTSA roundabouts, NCHRP 672: single-lane, inscribed diameter 27 to 55 m; CARLA flows",
    parameters=(
        ego_speed(4.0, 6.5, 5.5, "NCHRP 672: entry speeds of up to 40 km/h"),
        Parameter("radius", "m", 14.0, 20.0, "NCHRP 672: inscribed diameter of 27 to 55 m", default=16.0),
        Parameter("exit", "1", 1, 3, "the first, second or third exit", integer=True, default=2.0),
        Parameter("flow_speed", "m/s", 5.0, 7.5, "speed in the ring", default=6.5),
        Parameter("gap_time", "s", 1.4, 2.4, "CARLA flows: gaps of 10 m and more", default=1.8),
        Parameter("cars", "1", 2, 4, "cars in the row", integer=True, default=3.0),
        Parameter("lateness", "s", -0.3, 0.3, "time of a car at the entry after a steady ego", default=0.0),
    ),
    accepts=stream_ends,
    make=_make,
)
