"""Several cars of one world, each with its own agent: PettingZoo's parallel API.

Needs the optional ``pettingzoo`` (``pip install 'alpamayo[multiagent]'``).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import seeding

from alpamayo_sim.datatypes.scenario import Scenario, with_egos
from alpamayo_sim.engine import WorldBatch, WorldState
from alpamayo_sim.engine.inputs import real_array
from alpamayo_sim.environments.episode_batch import (
    FRAMES_PER_SECOND,
    RENDER_MODES,
    SCENARIO_OPTION,
    EpisodeBatch,
    Source,
    check_render_mode,
    checked_options,
    chosen_scenario,
    seed_of,
    settings_of,
)
from alpamayo_sim.environments.observations import MAX_AGENTS
from alpamayo_sim.environments.rewards import identity_of, infos_of, named_terms, no_terms, terms_of
from alpamayo_sim.errors import InputError
from alpamayo_sim.settings import instance_of, names_of, whole_number

try:
    from pettingzoo import ParallelEnv
except ModuleNotFoundError as error:
    raise InputError("several agents need PettingZoo: pip install 'alpamayo[multiagent]'") from error

Array = np.ndarray
BRAKING = -9.0  # m/s²


class DrivingParallelEnv(ParallelEnv[str, Array, Array]):  # type: ignore[misc]
    """Drive many cars of a scenario; each reset draws a new scenario; ``car_0`` is the scene's own ego.

    An agent's episode ends as in :class:`Settings`; its car then brakes to rest and stays there. Infos are
    those of :class:`DrivingEnv` and the ``track_id``.

    Args:
        source: makes the next scenario from a generator.
        max_agents: largest number of driven cars.
        controlled: ids of the further tracks that are driven; by default all vehicles that are present
            at the start and move, up to ``max_agents``. Scenarios that have
            ``egos`` keep these.
        render_mode: None, or "rgb_array" for bird's-eye pictures around ``car_0``.
        **settings: see :class:`Settings`; the action is "control" or "normalized", the observation "vector".

    Raises:
        InputError: A setting or value is unknown; or, at a reset, there are more egos than ``max_agents``, or one that
            cannot be driven.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "alpamayo_driving_v0",
        "render_modes": RENDER_MODES,
        "render_fps": FRAMES_PER_SECOND,
    }

    def __init__(
        self,
        source: Source,
        max_agents: int = 64,
        *,
        controlled: Sequence[str] | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        max_agents = whole_number(max_agents, "max_agents", (1, MAX_AGENTS))
        check_render_mode(render_mode)
        self.settings = settings_of(settings)
        if self.settings.action == "trajectory" or self.settings.observation != "vector":
            raise InputError("several agents act by 'control' or 'normalized' and observe by 'vector'")
        self.source, self.render_mode = source, render_mode
        self.controlled = None if controlled is None else names_of(controlled, "controlled")
        self.possible_agents = [f"car_{k}" for k in range(max_agents)]
        self.agents: list[str] = []
        space = self.settings.space
        assert isinstance(space, Box)
        self.observation_spaces = {name: copy.deepcopy(space) for name in self.possible_agents}
        self.action_spaces = dict.fromkeys(self.possible_agents, self.settings.action_space)
        self.np_random, _ = seeding.np_random()
        self._choice: Any = None
        self._terms: dict[str, Array] = {}
        self._episodes = EpisodeBatch(self._next_scenario, 1, self.settings)

    def observation_space(self, agent: str) -> Box:
        """Return the space of an agent's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """Return the space of an agent's actions, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Start the next scenario, or the one in ``options["scenario"]`` (see ``DrivingEnv.reset``).

        Raises:
            InputError: An option is unknown, or there is no such scenario.
        """
        known = (SCENARIO_OPTION, "options")  # the second one is that of PettingZoo's own tests, without a meaning
        chosen = checked_options(options, known).get(SCENARIO_OPTION)
        if seed is not None:
            self.np_random, _ = seeding.np_random(seed_of(seed))
        self._choice = chosen
        self._episodes.begin([0], [self.np_random])
        self._terms = no_terms(self._batch.egos.present.shape)
        self.agents = self.possible_agents[: int(self._batch.egos.present[0].sum())]
        return self._observations(self.agents), self._infos(self.agents)

    def step(
        self, actions: dict[str, Array]
    ) -> tuple[dict[str, Array], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Drive for one time step of the scene; only active agents act.

        Raises:
            InputError: An agent has no action, or an action is not finite or has a wrong shape.
            ResetNeeded: There was no reset yet.
        """
        if self._episodes.batch is None:
            raise ResetNeeded("step() was called before the first reset()")
        batch, acting = self._batch, self.agents
        before = batch.egos.progress.copy()
        batch.step(self._controls(actions))
        rows = [self._row(agent) for agent in acting]
        self._terms = terms_of(batch.egos, before, self.settings.reward)
        reward = np.asarray(sum(self._terms.values()))[0, rows].astype(np.float64)
        ended = self.settings.ended(batch.egos)[0, rows]
        cut = bool(batch.step_index[0] >= self.settings.last_step(batch.scenarios[0]))
        self.agents = [] if cut else [agent for agent, over in zip(acting, ended, strict=True) if not over]
        return (
            self._observations(acting),
            {agent: float(r) for agent, r in zip(acting, reward, strict=True)},
            {agent: bool(over) for agent, over in zip(acting, ended, strict=True)},
            dict.fromkeys(acting, cut),
            self._infos(acting),
        )

    def render(self) -> Array | None:
        """Return the bird's-eye picture [480, 640, 3] uint8 in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        if self._episodes.batch is None:
            raise ResetNeeded("render() was called before the first reset()")
        return self._episodes.render(0)

    def close(self) -> None:
        """Do nothing: the environment holds no resources."""

    def snapshot(self) -> tuple[WorldState, np.random.Generator, list[str]]:
        """Return a copy of all that changes: worlds, generator, and the active agents."""
        return self._episodes.snapshot(), copy.deepcopy(self.np_random), list(self.agents)

    def restore(self, state: tuple[WorldState, np.random.Generator, list[str]]) -> dict[str, Array]:
        """Return to a snapshot; gives the observations there."""
        world, generator, agents = state
        self._batch.restore(world)
        self.np_random, self.agents = copy.deepcopy(generator), list(agents)
        return self._observations(self.agents)

    @property
    def _batch(self) -> WorldBatch:
        return self._episodes.running

    def _next_scenario(self, rng: np.random.Generator) -> Scenario:
        drawn = chosen_scenario(self._choice, rng, self.source)
        scenario, most = self.settings.adapted(drawn), len(self.possible_agents)
        if not scenario.egos and self.controlled is None:
            all_of_them = with_egos(scenario).egos
            scenario = with_egos(scenario, [ego.track_id for ego in all_of_them[: most - 1]])
        elif not scenario.egos:
            scenario = with_egos(scenario, self.controlled)
        if len(scenario.egos) + 1 > most:
            raise InputError(f"scene {scenario.scene.id!r} has {len(scenario.egos) + 1} egos, max_agents is {most}")
        return scenario

    def _controls(self, actions: dict[str, Array]) -> Array:
        """Return the controls of all egos; egos whose episode has ended brake."""
        instance_of(actions, Mapping, "actions")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise InputError(f"actions has none for {missing[0]!r}; it needs one for each of {len(self.agents)} agents")
        controls = np.zeros((*self._batch.egos.present.shape, 2), np.float32)
        controls[..., 0] = BRAKING
        for agent in self.agents:
            action = real_array(actions[agent], f"the action of {agent!r}")
            if action.shape != (2,) or not np.isfinite(action).all():
                raise InputError(f"the action of {agent!r} is {action}, must be two finite numbers")
            controls[0, self._row(agent)] = self.settings.controls(action)
        return controls

    def _row(self, agent: str) -> int:
        return int(agent.removeprefix("car_"))

    def _observations(self, agents: list[str]) -> dict[str, Array]:
        rows = self._batch.vector_view(self.settings.agents, self.settings.pieces)[0]
        return {agent: rows[self._row(agent)].copy() for agent in agents}

    def _infos(self, agents: list[str]) -> dict[str, dict[str, Any]]:
        infos = infos_of(self._batch.egos) | named_terms(self._terms)
        ids, identity = self._batch[0].ego_ids, identity_of(self._batch.scenarios[0])
        return {
            agent: {name: values[0, self._row(agent)].item() for name, values in infos.items()}
            | {"track_id": ids[self._row(agent)]}
            | identity
            for agent in agents
        }
