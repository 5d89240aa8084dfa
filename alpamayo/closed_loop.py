"""The closed loop at 10 Hz: observe, decide, guard, drive, record."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from alpamayo.drivers import own
from alpamayo.drivers.registry import guarded_by_default
from alpamayo.episode import Episode
from alpamayo.guard.config import GuardConfig
from alpamayo.guard.guard import Guard
from alpamayo.provenance import code_version
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.sensors import CameraImages, CameraRenderer, FrameBuffer
from alpamayo_sim.settings import SEEDS, instance_of, whole_number

Array = np.ndarray


def drive(
    scenario: Scenario,
    driver: Driver,
    *,
    seed: int = 0,
    guard: bool | GuardConfig | None = None,
    on_step: Callable[[int, int], None] | None = None,
    recorded: RecordedCameras | None = None,
) -> Episode:
    """Drive a scenario once, until the goal, the time limit, or a collision.

    A contact from behind does not end an episode: recorded traffic cannot brake for an ego that is slower than in
    the recording. For a driver that replays the recording, the ego follows the recorded track exactly, to its end.

    Args:
        scenario: The scene, its scripts and the goal.
        driver: The driver; it is reset with the scene and a generator made from ``seed``.
        seed: Seed of all random draws of the driver.
        guard: Let the guard choose among the plans and brake if none is safe, with these thresholds if they are given;
            None: as the driver's entry in ``alpamayo.drivers.registry`` says, off for a driver of your own.
        on_step: Called with (steps done, maximum number of steps) after each step.
        recorded: The cameras of the log that the scenario is made of: the driver gets their images in place of drawn
            ones. They show the recorded drive, wherever the ego is.

    Raises:
        InputError: The scene has no route, or an argument is of a wrong type.
        DriverError: The driver raises or gives no valid decision.
    """
    instance_of(scenario, Scenario, "the scenario")
    seed = whole_number(seed, "the seed of a drive", SEEDS)
    own.checked_driver(str(getattr(driver, "name", type(driver).__name__)), driver)
    config = guard_config(driver, guard)
    world = WorldBatch([scenario])
    replay = np.array([driver.needs.replays_recording])
    supervisor = Guard(scenario.scene, config) if config else None
    source = ObservationSource(world, driver.needs, seed, recorded)
    record = _Recorder(world)
    own.reset(driver, scenario.scene, np.random.default_rng(seed))
    for step in range(scenario.steps):
        clock = _Clock()
        with clock("observe"):
            observation = source.observe()
        with clock("driver"):
            decision = own.act(driver, observation)
        with clock("guard"):
            outcome = supervisor.check(decision, world[0].ground_truth()) if supervisor else None
        plan = decision.plans[decision.chosen] if outcome is None else outcome.plan
        with clock("world"):
            world.step(world.track(plan[None]), replay_ego=replay)
        reason = outcome.reason if outcome is not None and outcome.intervened else ""
        record.decision(decision, plan, outcome is not None and outcome.intervened, reason, clock.times)
        record.observation(observation)
        record.state(world)
        if on_step:
            on_step(step + 1, scenario.steps)
        if not replay[0] and (world.egos.arrived[0, 0] or _crashed(world)):
            break
    return record.episode(driver, seed, config, bool(world.egos.arrived[0, 0]))


def guard_config(driver: str | Driver, guard: bool | GuardConfig | None) -> GuardConfig | None:
    """Return the thresholds of the guard of a driver: on, off, or as the driver's entry says; None without a guard."""
    if isinstance(guard, GuardConfig):
        return guard
    return GuardConfig() if (guarded_by_default(driver) if guard is None else guard) else None


def _crashed(world: WorldBatch) -> bool:
    """Return whether the ego is in contact with an agent that is not behind it."""
    if not world.egos.collided[0, 0]:
        return False
    pose, agents = world.egos.pose[0, 0], world[0].agents()
    for contact in world[0].collisions():
        offset = agents.pose[contact.agent, :2] - pose[:2]
        bearing = math.atan2(offset[1], offset[0]) - pose[2]
        if abs(math.remainder(bearing, 2.0 * math.pi)) < FROM_BEHIND_RAD:
            return True
    return False


class ObservationSource:
    """Observations of world 0 for one driver: its cameras and the ground truth only if it needs them.

    With ``recorded`` cameras the driver sees what they saw at the time of the step, in its own rig. ``images`` are the
    newest images of the driver's rig, with depth and labels; None for a driver without cameras, or with recorded ones.
    """

    def __init__(self, world: WorldBatch, needs: Needs, seed: int, recorded: RecordedCameras | None = None) -> None:
        self.world = world
        self.needs = needs
        self.images: CameraImages | None = None
        scene = world.scenarios[0].scene
        self._recorded = recorded if needs.rig else None
        self._renderer = CameraRenderer(scene, needs.rig, seed=seed) if needs.rig and not self._recorded else None
        self._frames = FrameBuffer(needs.rig, needs.frames, seed=seed) if needs.rig else None

    def observe(self) -> Observation:
        """Observe the current state; call it once per step, since it adds a frame to the history."""
        observation = self.world[0].observe()
        if self._recorded and self.needs.rig:
            dt = self.world.scenarios[0].scene.dt
            frames = self._recorded.observe(self.needs.rig, self.needs.frames, observation.time, dt)
            observation = replace(observation, cameras=frames)
        elif self._renderer and self._frames:
            truth = self.world[0].ground_truth()
            self.images = self._renderer.draw(truth, float(self.world.egos.curvature[0, 0]))
            self._frames.push(self.images.rgb)
            observation = replace(observation, cameras=self._frames.frames())
        if self.needs.truth:
            observation = replace(observation, truth=self.world[0].ground_truth())
        return observation


class _Clock:
    """Measure the wall time (s) of the named parts of one step."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times[name] = time.perf_counter() - start


class _Recorder:
    """Collect states and decisions, and make an Episode of them."""

    def __init__(self, world: WorldBatch) -> None:
        self.scenario = world.scenarios[0]
        self.agents = world[0].agents()
        self.ego_size = world[0].ground_truth().ego_size
        self.states: dict[str, list[Array]] = {}
        self.decisions: list[Decision] = []
        self.executed: list[Array] = []
        self.intervened: list[bool] = []
        self.reasons: list[str] = []
        self.times: list[dict[str, float]] = []
        self.rig: Rig | None = None
        self.ages: list[float] = []
        self.state(world)

    def state(self, world: WorldBatch) -> None:
        truth = world[0].ground_truth()
        agents = truth.agents
        now = {
            "ego_pose": world.egos.pose[0, 0],
            "ego_speed": world.egos.speed[0, 0],
            "ego_acceleration": world.egos.acceleration[0, 0],
            "ego_curvature": world.egos.curvature[0, 0],
            "progress": world.egos.progress[0, 0],
            "agent_pose": agents.pose,
            "agent_velocity": agents.velocity,
            "agent_valid": agents.valid,
            "signals": truth.signals,
        }
        if agents.elevation is not None and truth.ego_elevation is not None:
            now |= {"agent_elevation": agents.elevation, "ego_elevation": np.float32(truth.ego_elevation)}
        for name, value in now.items():
            self.states.setdefault(name, []).append(np.array(value))

    def decision(
        self, decision: Decision, executed: Array, intervened: bool, reason: str, times: dict[str, float]
    ) -> None:
        self.decisions.append(decision)
        self.executed.append(executed)
        self.intervened.append(intervened)
        self.reasons.append(reason)
        self.times.append(times)

    def observation(self, observation: Observation) -> None:
        cameras = observation.cameras
        if cameras is not None:
            self.rig = cameras.rig
            self.ages.append(float(-cameras.times[:, -1].min()))

    def episode(self, driver: Driver, seed: int, config: GuardConfig | None, arrived: bool) -> Episode:
        k = max(len(decision.weights) for decision in self.decisions)
        padded = [_padded(decision, k) for decision in self.decisions]
        return Episode(
            scenario=self.scenario,
            driver=driver.name,
            seed=seed,
            guarded=config is not None,
            guard_config=config.record() if config else None,
            ego_size=self.ego_size,
            agent_ids=self.agents.ids,
            agent_category=np.array(self.agents.category),
            agent_size=np.array(self.agents.size),
            plans=np.stack([plans for plans, _ in padded]).astype(np.float32),
            weights=np.stack([weights for _, weights in padded]).astype(np.float32),
            chosen=np.array([decision.chosen for decision in self.decisions], np.int8),
            executed=np.stack(self.executed).astype(np.float32),
            intervened=np.array(self.intervened, bool),
            guard_reasons=tuple(self.reasons),
            reasoning=tuple(decision.reasoning for decision in self.decisions),
            arrived=arrived,
            code_version=code_version(),
            model=getattr(driver, "weights_digest", ""),
            execution=getattr(driver, "execution", ""),
            rig=self.rig,
            observation_age=np.array(self.ages, np.float32) if self.ages else None,
            timings={name: np.array([t[name] for t in self.times], np.float32) for name in self.times[0]},
            **{name: np.stack(values) for name, values in self.states.items()},
        )


def _padded(decision: Decision, k: int) -> tuple[Array, Array]:
    """Pad the plans of a decision to ``k`` with copies of the chosen plan, with weight 0."""
    missing = k - len(decision.weights)
    filler = np.repeat(decision.plans[decision.chosen][None], missing, axis=0)
    return np.concatenate([decision.plans, filler]), np.concatenate([decision.weights, np.zeros(missing)])
