"""Amber dilemma: the light turns yellow while the ego comes up, and cross traffic starts on its green."""

from alpamayo_scenarios.conflicts import add_conflict
from alpamayo_scenarios.families.axes import ego_speed, from_left, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.intersections import Phase
from alpamayo_scenarios.junctions import junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, SignalState

DURATION_S = 20.0
YELLOW_S = 3.0  # s
ALL_RED_S = 0.5  # s
MAX_STOP_LINE_SETBACK_M = 16.0  # m from the middle of the junction to the stop line, at most
RED_S = 7.0  # s of red for the ego
PULL_AWAY_MPS2 = 3.0  # m/s²


def _accepts(p: Values) -> bool:
    """The ego cannot pass before red, and stops with comfort."""
    return (
        p["ego_speed"] ** 2 / (2.0 * 3.0) + 0.8 * p["ego_speed"]
        <= p["ego_speed"] * p["yellow_at"] - MAX_STOP_LINE_SETBACK_M
    )


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    wait = float(rng.uniform(1.0, 2.5))
    site = junction_site(rng, speed, wait + p["yellow_at"], limit, duration=DURATION_S)
    arm = "north" if p["from_left"] else "south"
    add_conflict(
        site.stage,
        site.route.path,
        "crossing",
        Category.VEHICLE,
        draw_car(rng),
        site.path(arm, "through", 3.0),
        8.0,
        acceleration=PULL_AWAY_MPS2,
        lateness=p["lateness"],
    )
    site.fill("east", "through", [40.0], 0.8 * limit)
    main = (
        Phase(SignalState.GREEN, wait),
        Phase(SignalState.YELLOW, YELLOW_S),
        Phase(SignalState.RED, RED_S),
        Phase(SignalState.GREEN, 60.0),
    )
    cross = (
        Phase(SignalState.RED, wait + YELLOW_S + ALL_RED_S),
        Phase(SignalState.GREEN, RED_S - ALL_RED_S - YELLOW_S),
        Phase(SignalState.YELLOW, YELLOW_S),
        Phase(SignalState.RED, 60.0),
    )
    return site.scenario(25.0, signals=site.crossing.signals(main, cross, site.stage.steps))


AMBER_DILEMMA = Family(
    name="amber-dilemma",
    number=150,
    title="Amber dilemma",
    summary="The light turns yellow while the ego comes up; a car from the side starts early on its own green.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.STOP_FOR_CONTROL,
    decision=(Longitudinal.STOP_STATIC, Lateral.LANE_KEEPING),
    critical_actors=("crossing",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.SIGNALS),
    source="Dilemma zone of 2 to 5 s before the stop line: Gazis, Herman and Maradudin 1960",
    parameters=(
        ego_speed(7.0, 14.0, 11.0, "town streets, 25 to 50 km/h"),
        Parameter("yellow_at", "s", 3.6, 6.0, "time to the junction's middle when yellow begins", default=5.0),
        lateness(0.3),
        from_left(),
    ),
    accepts=_accepts,
    make=_make,
)
