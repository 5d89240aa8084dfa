"""Many worlds as a native Gymnasium vector environment."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float64

from alpamayo_sim.engine import WorldState
from alpamayo_sim.engine.inputs import real_array
from alpamayo_sim.environments.episode_batch import (
    FRAMES_PER_SECOND,
    RENDER_MODES,
    SCENARIO_OPTION,
    EpisodeBatch,
    Outcome,
    Source,
    check_render_mode,
    checked_options,
    seed_of,
    settings_of,
)
from alpamayo_sim.environments.observations import Observations, of_world
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.settings import whole_number

Array = np.ndarray
MAX_ENVS = 1 << 20
Step = tuple[Observations, Float64[Array, " envs"], Bool[Array, " envs"], Bool[Array, " envs"], dict[str, Any]]


class DrivingVectorEnv(VectorEnv[Observations, Array, Array]):
    """``num_envs`` :class:`DrivingEnv` that step together in one engine; the same seeds give the same episodes.

    ``reset(seed=n)`` seeds the sub-environments with n, n + 1, ...; a list gives each its own. Scenarios of
    different size share a batch. In mode DISABLED ended sub-environments restart by
    ``reset(options={"reset_mask": mask})``.

    Args:
        source: makes the next scenario of a sub-environment from its generator.
        num_envs: number of sub-environments.
        autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED, or its value.
        render_mode: None, or "rgb_array".
        **settings: see :class:`Settings`.

    Raises:
        InputError: A setting or value is unknown.
    """

    def __init__(
        self,
        source: Source,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        num_envs = whole_number(num_envs, "num_envs", (1, MAX_ENVS))
        check_render_mode(render_mode)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {
            "render_modes": RENDER_MODES,
            "render_fps": FRAMES_PER_SECOND,
            "autoreset_mode": self.autoreset_mode,
        }
        self.episodes = EpisodeBatch(source, num_envs, settings_of(settings))
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_action_space = self.episodes.settings.action_space
        self.single_observation_space = self.episodes.settings.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators, self._seeds = _seeded([None] * num_envs)
        self._ended = np.zeros(num_envs, bool)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Return the generator of each sub-environment."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Return the seed of each sub-environment."""
        return tuple(self._seeds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Start the next scenarios of all sub-environments, or of those in ``options["reset_mask"]``.

        ``options["scenario"]`` is one scenario for all of them, or a list with one, or None, for each sub-environment;
        see ``DrivingEnv.reset``.

        Raises:
            InputError: The number of seeds is wrong, an option is unknown, the mask is not a bool array with a True, or
                there is no such scenario.
        """
        checked_options(options, ("reset_mask", SCENARIO_OPTION))
        mask, choices = self._reset_mask(options), self._choices(options)
        seeds = self._seed_list(seed)
        for w in np.flatnonzero(mask):
            if seeds[w] is not None:
                (self._generators[w],), (self._seeds[w],) = _seeded([seeds[w]])
        worlds = np.flatnonzero(mask).tolist()
        self.episodes.begin(worlds, self._generators, [choices[w] for w in worlds])
        self._ended[mask] = False
        return self.episodes.observations(), self._infos(mask)

    def step(self, actions: Array) -> Step:
        """Drive all sub-environments for one time step, and restart ended ones according to the mode.

        Raises:
            InputError: An action is not finite or has a wrong shape.
            ResetNeeded: There was no reset yet, or, in mode DISABLED, a sub-environment has ended.
        """
        if self.episodes.batch is None:
            raise ResetNeeded("step() was called before the first reset()")
        actions = real_array(actions, "actions")
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            return self._step_next(actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            ended = np.flatnonzero(self._ended).tolist()
            raise ResetNeeded(f"sub-environments {ended} have ended; reset them with options['reset_mask']")
        outcome = self.episodes.advance(actions)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            return self._result(outcome, self._start_ended(outcome))
        self._ended = outcome.terminated | outcome.truncated
        return self._result(outcome, self._infos())

    def render(self) -> tuple[Array, ...] | None:
        """Return the bird's-eye picture of each sub-environment in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        if self.episodes.batch is None:
            raise ResetNeeded("render() was called before the first reset()")
        return tuple(self.episodes.render(w) for w in range(self.num_envs))

    def snapshot(self) -> tuple[WorldState, list[np.random.Generator], Bool[Array, " envs"]]:
        """Return a copy of all that changes: worlds, generators, and the ended sub-environments."""
        return self.episodes.snapshot(), copy.deepcopy(self._generators), self._ended.copy()

    def restore(self, state: tuple[WorldState, list[np.random.Generator], Bool[Array, " envs"]]) -> Observations:
        """Return to a snapshot; gives the observations there."""
        worlds, generators, ended = state
        self.episodes.running.restore(worlds)
        self._generators, self._ended = copy.deepcopy(generators), ended.copy()
        return self.episodes.observations()

    def _step_next(self, actions: Array) -> Step:
        """Restart the sub-environments that ended in the last step, whatever their actions; step the others."""
        starting = self._ended.copy()
        if starting.any():
            neutral = np.zeros(actions.shape[1:], actions.dtype)
            actions = np.where(starting.reshape(-1, *[1] * neutral.ndim), neutral, actions)
            self.episodes.begin(np.flatnonzero(starting).tolist(), self._generators)
        outcome = self.episodes.advance(actions, ~starting)
        outcome = Outcome(
            np.where(starting, 0.0, outcome.reward), outcome.terminated & ~starting, outcome.truncated & ~starting
        )
        self._ended = outcome.terminated | outcome.truncated
        return self._result(outcome, self._infos())

    def _start_ended(self, outcome: Outcome) -> dict[str, Any]:
        """Start ended sub-environments again at once; their last observations and infos are in the infos."""
        ended = outcome.terminated | outcome.truncated
        if not ended.any():
            return self._infos()
        last = np.full(self.num_envs, None, dtype=object)
        observations = self.episodes.observations()
        for w in np.flatnonzero(ended):
            last[w] = of_world(observations, int(w))
        final = {"final_obs": last, "_final_obs": ended, "final_info": self._infos(ended), "_final_info": ended.copy()}
        self.episodes.begin(np.flatnonzero(ended).tolist(), self._generators)
        return {**final, **self._infos()}

    def _result(self, outcome: Outcome, infos: dict[str, Any]) -> Step:
        return self.episodes.observations(), outcome.reward, outcome.terminated, outcome.truncated, infos

    def _infos(self, mask: Bool[Array, " envs"] | None = None) -> dict[str, Any]:
        """Return the infos of the sub-environments in the mask, zeros for the others, with a mask for each."""
        mask = np.ones(self.num_envs, bool) if mask is None else mask
        infos: dict[str, Any] = {}
        of_all = bool(mask.all())
        for name, values in self.episodes.infos().items():
            other: Any = None if values.dtype == object else values.dtype.type(0)
            infos[name] = values if of_all else np.where(mask, values, other)
            infos[f"_{name}"] = mask.copy()
        return infos

    def _reset_mask(self, options: dict[str, Any] | None) -> Bool[Array, " envs"]:
        if options is None or "reset_mask" not in options:
            return np.ones(self.num_envs, bool)
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise InputError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},) with a True in it"
            )
        if self.episodes.batch is None and not mask.all():
            raise ResetNeeded("the first reset() must be of all sub-environments")
        return mask.copy()

    def _choices(self, options: dict[str, Any] | None) -> list[Any]:
        """Return the chosen scenario of each sub-environment."""
        choice = (options or {}).get(SCENARIO_OPTION)
        if not isinstance(choice, list):
            return [choice] * self.num_envs
        if len(choice) != self.num_envs:
            raise InputError(f"options['scenario'] has {len(choice)} entries, must have {self.num_envs}")
        return choice

    def _seed_list(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, (list, tuple, np.ndarray)):
            first = seed_of(seed) or 0
            return [first + w for w in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"seed has {len(seed)} numbers, must be one for each of {self.num_envs} sub-environments")
        return [seed_of(each) for each in seed]


def _autoreset_mode(mode: Any) -> AutoresetMode:
    modes = {value.value: value for value in AutoresetMode}
    if isinstance(mode, AutoresetMode):
        return mode
    if not isinstance(mode, str) or mode not in modes:
        raise InputError(f"autoreset_mode is {shown(mode)}, must be one of {', '.join(map(repr, modes))}")
    return modes[mode]


def _seeded(seeds: Sequence[int | None]) -> tuple[list[np.random.Generator], list[int]]:
    made = [seeding.np_random(seed) for seed in seeds]
    return [generator for generator, _ in made], [number for _, number in made]
