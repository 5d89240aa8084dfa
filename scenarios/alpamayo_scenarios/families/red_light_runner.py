"""Red-light runner: the ego has green, and a car from the side does not stop."""

from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit, stopping_distance
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.intersections import Intersection, Phase, four_arms
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category, SignalState

DURATION_S = 15.0
RUNNER_ACCELERATION_MPS2 = 3.5  # once the runner has decided not to stop
APPROACH_SPEED_SHARE = 0.35  # of the runner's speed, before it decides
MAX_BOX_M = 20.0  # from the centre to the stop lines of the largest intersection
MAIN_PHASES = (Phase(SignalState.GREEN, 25.0), Phase(SignalState.YELLOW, 3.0), Phase(SignalState.RED, 22.0))
CROSS_PHASES = (
    Phase(SignalState.RED, 30.0),
    Phase(SignalState.GREEN, 15.0),
    Phase(SignalState.YELLOW, 3.0),
    Phase(SignalState.RED, 2.0),
)


def _travel(time: float, speed: float) -> float:
    """Return the distance (m) of the runner in ``time`` (s) after its decision."""
    slow = APPROACH_SPEED_SHARE * speed
    ramp = min(time, (speed - slow) / RUNNER_ACCELERATION_MPS2)
    return slow * ramp + 0.5 * RUNNER_ACCELERATION_MPS2 * ramp**2 + speed * (time - ramp)


def _accepts(p: Values) -> bool:
    """Accept if a driver at the limit can stop after the runner speeds up, which it does behind its stop line."""
    limit = posted_limit(p["ego_speed"])
    needed = stopping_distance(limit) + 0.5 * EGO_SIZE[0] + 1.5
    return p["arrival_time"] * limit >= needed and _travel(p["arrival_time"], p["runner_speed"]) > MAX_BOX_M


def _make(p: Values, rng: Rng) -> Scenario:
    speed, count, limit = p["ego_speed"], int(p["lanes"]), posted_limit(p["ego_speed"])
    section = CrossSection(count, count, float(rng.uniform(3.3, 3.6)), 0.5)
    crossing = four_arms(section, limit, (170.0, 120.0, 200.0, 120.0), float(rng.uniform(5.0, 8.0)))
    stage = Stage(crossing.main, DURATION_S)
    from_left, lane, runner_lane = p["side"] > 0, int(rng.integers(0, count)), int(rng.integers(0, count))
    x = section.lane(runner_lane) if from_left else -section.lane(runner_lane)
    wait = float(rng.uniform(p["arrival_time"] + 0.8, p["arrival_time"] + 2.5))
    start = 170.0 + x - speed * wait
    stage.add_ego(start, section.lane(lane), speed)
    _add_runner(stage, crossing, rng, p, (x, section.lane(lane)), wait)
    _add_waiting(stage, crossing, rng, runner_lane, from_left)

    add_traffic(stage, rng, section.lane(lane), [start - 28.0], speed)
    for k in range(count):
        # oncoming cars pass before the runner, or reach the box well after it
        early, late = 170.0 + limit * (wait - 4.0), 170.0 + limit * (wait + 4.0)
        add_traffic(stage, rng, section.oncoming(k), [early, late], limit, forward=False)
    kerbs = (section.right_kerb, section.left_kerb)
    add_roadside(stage, rng, crossing.road_map, [(crossing.main, *kerbs), (crossing.cross, *kerbs)])
    signals = crossing.signals(MAIN_PHASES, CROSS_PHASES, stage.steps, offset=float(rng.uniform(0.0, 8.0)))
    goal = speed * wait + 30.0
    route = crossing.route(lane, start)
    return stage.scenario(crossing.road_map, route, goal, draw_environment(rng), signals)


def _add_runner(
    stage: Stage, crossing: Intersection, rng: Rng, p: Values, conflict: tuple[float, float], wait: float
) -> None:
    """Add the runner, which reaches the conflict point ``offset`` seconds after an ego of constant speed."""
    forward = p["side"] == 0  # from the right is from the south, along the crossing road
    rolling = APPROACH_SPEED_SHARE * p["runner_speed"]
    back = _travel(p["arrival_time"] + p["offset"], p["runner_speed"]) + rolling * (wait - p["arrival_time"])
    s = 120.0 + conflict[1] + (-back if forward else back)
    run = Manoeuvre(
        Trigger(TriggerKind.EGO_ARRIVAL, p["arrival_time"], conflict),
        speed=p["runner_speed"],
        acceleration=RUNNER_ACCELERATION_MPS2,
    )
    d = -conflict[0]
    stage.add_actor(
        "runner",
        Category.VEHICLE,
        s,
        d,
        rolling,
        draw_car(rng),
        forward=forward,
        manoeuvres=(run,),
        alignment=crossing.cross,
    )


def _add_waiting(stage: Stage, crossing: Intersection, rng: Rng, runner_lane: int, from_left: bool) -> None:
    """Add cars that wait at the red light in the other lanes of the crossing road."""
    section = crossing.section
    for forward in (True, False):
        runner_side = forward != from_left
        for lane in range(section.forward):
            if (runner_side and lane == runner_lane) or rng.random() < 0.3:
                continue
            d = section.lane(lane) if forward else section.oncoming(lane)
            back = crossing.box + 0.8
            for _ in range(int(rng.integers(1, 3))):
                size = draw_car(rng)
                s = 120.0 - (1.0 if forward else -1.0) * (back + 0.5 * size[0])
                pose = crossing.cross.pose(s, d, forward)
                if stage.fits(pose, size):
                    stage.add_track(f"waiting-{len(stage.tracks)}", Category.VEHICLE, pose, 0.0, size)
                back += size[0] + float(rng.uniform(1.5, 3.0))


RED_LIGHT_RUNNER = Family(
    name="red-light-runner",
    number=5,
    title="Red-light runner",
    summary="The ego has green at an intersection, and a car from the side runs its red light.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("runner",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.SIGNALS),
    source="NHTSA crossing paths; CARLA leaderboard 2.0 OppositeVehicleRunningRedLight; Euro NCAP 2023 CCCscp",
    parameters=(
        Parameter("ego_speed", "m/s", 6.0, 16.5, "Euro NCAP CCCscp and town streets: 20 to 60 km/h", default=10.8),
        Parameter("runner_speed", "m/s", 8.0, 15.0, "Euro NCAP CCCscp targets: 20 to 60 km/h", default=11.7),
        Parameter(
            "arrival_time", "s", 2.2, 4.2, "time of the ego to the conflict when the runner speeds up", default=3.1
        ),
        Parameter(
            "offset", "s", -0.35, 0.35, "the runner is at the conflict that long after a steady ego", default=0.0
        ),
        Parameter("lanes", "1", 1, 2, "lanes each way", integer=True, default=1.0),
        Parameter("side", "1", 0, 1, "from the right (0) or the left (1)", integer=True, default=0.0),
    ),
    accepts=_accepts,
    make=_make,
)
