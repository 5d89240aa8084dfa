"""Crossing bicycles: a stream of cyclists crosses a side arm while the ego turns right over their path."""

import numpy as np

from alpamayo_scenarios.actors import CYCLIST
from alpamayo_scenarios.conflicts import add_conflict, line_between, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 18.0
PULL_AWAY_MPS2 = 2.0  # m/s²
SETBACK_M = 7.0  # m beyond the kerb where the first cyclist starts


def _accepts(p: Values) -> bool:
    """The ego comes up slowly, and has time to let them pass."""
    way = SETBACK_M + 3.0
    return can_stop(
        p["ego_speed"], p["ego_speed"] * (travel_time(way, p["cyclist_speed"], PULL_AWAY_MPS2) - p["lateness"])
    )


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    site = junction_site(rng, speed, float(rng.uniform(4.5, 6.0)), limit, turn="right", duration=DURATION_S)
    path = site.across("south", False, SETBACK_M)
    for k in range(int(p["cyclists"])):
        begin = path[:1, :2] - (path[1:2, :2] - path[:1, :2]) / np.linalg.norm(path[1, :2] - path[0, :2]) * 3.0 * k
        longer = line_between((float(begin[0, 0]), float(begin[0, 1])), (float(path[-1, 0]), float(path[-1, 1])))
        add_conflict(
            site.stage,
            site.route.path,
            f"cyclist-{k}",
            Category.CYCLIST,
            CYCLIST,
            longer,
            p["cyclist_speed"],
            acceleration=PULL_AWAY_MPS2,
            lateness=p["lateness"] + 3.0 * k / p["cyclist_speed"],
        )
    site.clear(path)
    site.fill("south", "left", [1.5], 0.01)
    return site.scenario(35.0)


CROSSING_BICYCLES = Family(
    name="crossing-bicycles",
    number=147,
    title="Crossing bicycles",
    summary="Several cyclists in a row cross the side road that the ego turns right into.",
    group=Group.INTERSECTION,
    cluster=OodCluster.CYCLISTS_AND_MICROMOBILITY_COMPLEX,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.TURN),
    critical_actors=("cyclist-*",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.CROSSWALK),
    source="CARLA leaderboard 2.0 CrossingBicycleFlow; Euro NCAP CBTA",
    parameters=(
        ego_speed(4.0, 8.0, 6.0, "Euro NCAP turning: 10 to 25 km/h"),
        Parameter("cyclist_speed", "m/s", 3.5, 6.0, "CARLA: 5 to 12 m/s; Euro NCAP CBTA: 15 km/h", default=4.2),
        Parameter("cyclists", "1", 1, 4, "cyclists in a row", integer=True, default=2.0),
        lateness(0.3),
    ),
    accepts=_accepts,
    make=_make,
)
