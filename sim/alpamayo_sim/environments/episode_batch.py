"""A batch of episodes for the environments: scenarios with a task, action spaces, rewards and ends."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float64, UInt8

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.datatypes.decision import PLAN_STEPS
from alpamayo_sim.datatypes.dynamics import Dynamics, dynamics_of
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import Egos, WorldBatch, WorldState
from alpamayo_sim.engine.packing.map_blocks import pack_map
from alpamayo_sim.engine.packing.pack import pack_scenario
from alpamayo_sim.environments.observations import ObservationBuilder, ObservationConfig, Observations
from alpamayo_sim.environments.rewards import Reward, identity_of, infos_of, named_terms, no_terms, terms_of
from alpamayo_sim.environments.scenario_pool import ScenarioPool
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.settings import SEEDS, instance_of, named_values, plain_values, whole_number

Array = np.ndarray
ADAPTED_BYTES = 128 << 20  # kept at most
Source = Callable[[np.random.Generator], Scenario]

SCENARIO_OPTION = "scenario"  # of a reset
RENDER_MODES = ["rgb_array"]
RENDER_SIZE = (480, 640)  # height, width
FRAMES_PER_SECOND = 10
ACTIONS = {
    "control": spaces.Box(np.array([-9.0, -0.25], np.float32), np.array([4.0, 0.25], np.float32)),
    "normalized": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "trajectory": spaces.Box(
        np.tile(np.array([-512.0, -512.0, -np.pi, 0.0], np.float32), (PLAN_STEPS, 1)),
        np.tile(np.array([512.0, 512.0, np.pi, 80.0], np.float32), (PLAN_STEPS, 1)),
    ),
}


@dataclass(frozen=True)
class Settings(ObservationConfig):
    """Settings of an environment.

    ``action`` is "control" (acceleration m/s², curvature 1/m), "normalized" (the same as shares of the limits, which
    are 4 and -9 m/s² and +-0.25 1/m) or "trajectory" (a plan, followed by the built-in tracker for one step).
    ``observation`` is one of these kinds, or a sequence of them, which makes a Dict:

    - "vector": numbers in [-1, 1] (see ``kernels.vector_observation``) of the ego, its route,
      the ``agents`` nearest road users and the ``pieces`` nearest pieces of map;
    - "camera": RGB images [cameras, height, width, 3] of the named ``rig`` (see ``rig_presets``) of ``image_size``
      (width, height);
    - "image": the picture [3, height, width] of a rig with one camera, channels first, as image policies take it;
    - "lidar": [2, rings, columns] of the named ``lidar``: range as a share of the largest range, 1 without a
      return, and intensity in [0, 1].

    Sensors take their noise from ``sensor_seed`` and the scenario's own. An episode ends (terminated) with a collision,
    on leaving the drivable area if ``ends_off_road``, and on arrival; it is truncated when the scenario's
    duration or ``max_episode_steps`` is over. ``dynamics`` (or a mapping) replaces the scenario's, see
    ``alpamayo_sim.datatypes.dynamics``; ``reactive`` makes recorded road users react, see ``Scenario``.
    """

    action: str = "control"
    ends_off_road: bool = True
    max_episode_steps: int | None = None
    reward: Reward = field(default_factory=Reward)
    device: str = "cpu"
    dynamics: Dynamics | None = None
    reactive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action not in ACTIONS:
            raise InputError(f"action is {self.action!r}, must be one of {', '.join(map(repr, ACTIONS))}")

    def adapted(self, scenario: Scenario) -> Scenario:
        """Return a scenario with the configured dynamics and reactions; equal arguments give the same object."""
        if self.dynamics is None and not self.reactive:
            return scenario
        return _adapted(scenario, self.dynamics or scenario.dynamics, self.reactive or scenario.reactive)

    def controls(self, actions: Array) -> Array:
        """Return acceleration (m/s²) and curvature (1/m) from actions "control" or "normalized"."""
        if self.action != "normalized":
            return actions
        box = ACTIONS["control"]
        return np.where(actions < 0.0, -box.low, box.high) * actions

    def ended(self, egos: Egos) -> Bool[Array, "worlds egos"]:
        """Return the egos whose episode has ended."""
        return egos.collided | egos.arrived | (egos.off_road & self.ends_off_road)

    def last_step(self, scenario: Scenario) -> int:
        """Return the step at which an episode is truncated."""
        return scenario.steps if self.max_episode_steps is None else min(scenario.steps, self.max_episode_steps)

    @property
    def action_space(self) -> spaces.Box:
        """Return a new space of one world's actions."""
        box = ACTIONS[self.action]
        return spaces.Box(box.low, box.high, dtype=np.float32)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return settings from keyword arguments, where ``reward`` may be a mapping of weights.

    Raises:
        InputError: A name or a value is wrong.
    """
    given = plain_values(values, Settings, "environment")
    if not isinstance(given.get("reward", Reward()), Reward):
        given["reward"] = Reward(**plain_values(given["reward"], Reward, "reward"))
    if given.get("dynamics") is not None:
        given["dynamics"] = dynamics_of(given["dynamics"])
    return Settings(**given)


@byte_cache(ADAPTED_BYTES)
def _adapted(scenario: Scenario, dynamics: Dynamics, reactive: bool) -> Scenario:
    return dataclasses.replace(scenario, dynamics=dynamics, reactive=reactive)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Results of a step for each world; rows of inactive worlds have no meaning."""

    reward: Float64[Array, " worlds"]
    terminated: Bool[Array, " worlds"]
    truncated: Bool[Array, " worlds"]


class EpisodeBatch:
    """Worlds that draw a scenario from ``source`` at each start and give rewards in it.

    A source with a method ``named`` makes the scenario that a choice names, such as a family and a seed.
    """

    def __init__(self, source: Source, num: int, settings: Settings) -> None:
        self.source = source
        self.num = num
        self.settings = settings
        self.batch: WorldBatch | None = None
        self._builder: ObservationBuilder | None = None
        self._pictures: dict[int, tuple[Scene, Any]] = {}
        self._terms: dict[str, Array] = no_terms((num,))
        self._identity: dict[str, Array] = {}
        self._last_steps = np.zeros(num, np.int64)
        self._named: tuple[Scenario, ...] | None = None  # the scenarios whose identities and last steps are kept
        if isinstance(source, ScenarioPool):
            source.prepare = self._prepare

    def begin(
        self, worlds: Sequence[int], generators: Sequence[np.random.Generator], choices: Sequence[Any] | None = None
    ) -> None:
        """Start new scenarios in some worlds; the first call must name all worlds.

        Args:
            worlds: the worlds.
            generators: of all worlds, from which scenarios are drawn.
            choices: for each of ``worlds`` a scenario, or what names one; None draws it.

        Raises:
            InputError: There is no scenario of that name.
        """
        wanted = [None] * len(worlds) if choices is None else choices
        chosen = [chosen_scenario(choice, generators[w], self.source) for w, choice in zip(worlds, wanted, strict=True)]
        scenarios = [self.settings.adapted(scenario) for scenario in chosen]
        for values in self._terms.values():
            values[list(worlds)] = 0.0
        if self.batch is None:
            self.batch = WorldBatch(scenarios, device=self.settings.device)
            self._builder = ObservationBuilder(self.batch, self.settings)
        else:
            self.batch.assign(worlds, scenarios)

    def _prepare(self, scenario: Scenario) -> None:
        """Pack a scenario and its map; both are kept for its resets."""
        pack_scenario(self.settings.adapted(scenario))
        pack_map(scenario.scene.road_map)

    def advance(self, actions: Array, active: Bool[Array, " worlds"] | None = None) -> Outcome:
        """Advance the active worlds by one step.

        Raises:
            InputError: An action is not finite or has a wrong shape.
        """
        batch = self.running
        before = batch.egos.progress.copy()
        batch.step(self._controls(actions), active=active)
        terms = terms_of(batch.egos, before, self.settings.reward)
        self._refresh()
        moved = True if active is None else active
        self._terms = {name: np.where(moved, values[:, 0], 0.0) for name, values in terms.items()}
        reward = np.asarray(sum(terms.values()))[:, 0].astype(np.float64)
        return Outcome(reward, self.settings.ended(batch.egos)[:, 0], batch.step_index >= self._last_steps)

    def _controls(self, actions: Array) -> Array:
        return self.running.track(actions) if self.settings.action == "trajectory" else self.settings.controls(actions)

    def observations(self) -> Observations:
        """Return the observations of all worlds as new arrays."""
        assert self._builder is not None
        return self._builder.observe()

    def infos(self) -> dict[str, Array]:
        """Return the infos of each world by name: its state, the terms of the last reward, and its scenario."""
        self._refresh()
        state = {name: values[:, 0] for name, values in infos_of(self.running.egos).items()}
        scenario = {name: values.copy() for name, values in self._identity.items()}
        return state | named_terms(self._terms) | scenario

    def render(self, w: int) -> UInt8[Array, "height width 3"]:
        """Return a bird's-eye picture of a world."""
        from alpamayo_sim.sensors.birdseye import BirdsEye

        truth = self.running[w].ground_truth()
        if w not in self._pictures or self._pictures[w][0] is not truth.scene:
            self._pictures[w] = truth.scene, BirdsEye(truth.scene)
        height, width = RENDER_SIZE
        picture: Array = self._pictures[w][1].draw(truth, width=width, height=height)
        return picture

    def snapshot(self) -> WorldState:
        """Return a copy of the state of all worlds."""
        return self.running.snapshot()

    @property
    def running(self) -> WorldBatch:
        """Return the batch of worlds."""
        if self.batch is None:
            raise RuntimeError("the worlds have not begun")
        return self.batch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pictures": {}}

    def _refresh(self) -> None:
        """Update what is kept of the scenario of each world, where it has changed."""
        now = self.running.scenarios
        if self._named is now:
            return
        for w, scenario in enumerate(now):
            if self._named is not None and self._named[w] is scenario:
                continue
            self._last_steps[w] = self.settings.last_step(scenario)
            for name, value in identity_of(scenario).items():
                dtype = np.int64 if isinstance(value, int) else object
                self._identity.setdefault(name, np.zeros(self.num, dtype))[w] = value
        self._named = now


def checked_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the options of a reset.

    Raises:
        InputError: An option is unknown.
    """
    return {} if options is None else named_values(options, "reset", known, "option")


def chosen_scenario(choice: Any, generator: np.random.Generator, source: Source) -> Scenario:
    """Return the scenario that a choice names, or without one the next scenario of a source.

    Raises:
        InputError: There is no scenario of that name, or the source knows no names.
    """
    if choice is None:
        return instance_of(source(generator), Scenario, "what the source makes")
    if isinstance(choice, Scenario):
        return choice
    named = getattr(source, "named", None)
    if named is None:
        raise InputError(f"options['scenario'] is a {type(choice).__name__}, must be a Scenario for this source")
    scenario: Scenario = named(choice)
    return scenario


def check_render_mode(mode: Any) -> None:
    """Check the mode in which an environment is drawn.

    Raises:
        InputError: It is unknown.
    """
    if mode is not None and not (isinstance(mode, str) and mode in RENDER_MODES):
        raise InputError(f"render_mode is {shown(mode)}, must be None or 'rgb_array'")


def seed_of(seed: Any) -> int | None:
    """Return the seed of a reset.

    Raises:
        InputError: It is neither None nor a whole number in [0, 2^63).
    """
    return None if seed is None else whole_number(seed, "the seed of a reset", SEEDS)
