"""Right turn into traffic: the ego turns right into a stream of cars from the left."""

from alpamayo_scenarios.families.axes import ego_speed, stream, stream_ends, stream_times
from alpamayo_scenarios.families.family import Family, Rng, Values
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
SPEED_LIMIT_MPS = 13.9  # m/s


def _make(p: Values, rng: Rng) -> Scenario:
    site = junction_site(
        rng, p["ego_speed"], float(rng.uniform(3.5, 5.0)), SPEED_LIMIT_MPS, turn="right", duration=DURATION_S
    )
    site.stream("north", stream_times(p, site.before / p["ego_speed"]), p["flow_speed"])
    return site.scenario(30.0)


RIGHT_TURN_INTO_FLOW = Family(
    name="right-turn-into-flow",
    number=144,
    title="Right turn into traffic",
    summary="The ego turns right at a stop line into a stream of cars that come from its left.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.PASSING_INTERSECTION,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.TURN),
    critical_actors=("stream-*",),
    odd=(OddTag.URBAN, OddTag.JUNCTION),
    source="CARLA leaderboard 2.0 NonSignalizedJunctionRightTurn",
    parameters=(ego_speed(4.0, 7.5, 6.0, "turning speeds of 15 to 25 km/h"), *stream()),
    accepts=stream_ends,
    make=_make,
)
