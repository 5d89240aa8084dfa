"""One world as a Gymnasium environment."""

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from alpamayo_sim.engine import WorldState
from alpamayo_sim.engine.inputs import real_array
from alpamayo_sim.environments.episode_batch import (
    FRAMES_PER_SECOND,
    RENDER_MODES,
    SCENARIO_OPTION,
    EpisodeBatch,
    Source,
    check_render_mode,
    checked_options,
    seed_of,
    settings_of,
)
from alpamayo_sim.environments.observations import Observations, of_world

Array = np.ndarray


class DrivingEnv(gymnasium.Env[Observations, Array]):
    """Drive the ego of a scenario; each reset draws a new scenario.

    ``reset(seed=...)`` seeds the generator that all scenarios come from; without a seed the generator continues. The
    info holds progress (m), lateral_offset (m), speed (m/s), the flags collided, off_road, arrived and success (arrived
    without a collision), the terms of the reward (``reward_progress`` and so on), and what names the scenario:
    ``scenario`` (its id), ``family``, ``seed`` and ``parameters`` (pairs of name and value).

    Args:
        source: makes the next scenario from a generator.
        render_mode: None, or "rgb_array" for bird's-eye pictures.
        **settings: see :class:`Settings`; ``reward`` may be a dict of weights (:class:`Reward`).

    Raises:
        InputError: A setting or value is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": FRAMES_PER_SECOND}  # noqa: RUF012

    def __init__(self, source: Source, *, render_mode: str | None = None, **settings: Any) -> None:
        check_render_mode(render_mode)
        self.episodes = EpisodeBatch(source, 1, settings_of(settings))
        self.render_mode = render_mode
        self.action_space = self.episodes.settings.action_space
        self.observation_space = self.episodes.settings.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start the next scenario, or the one in ``options["scenario"]``.

        That is a ``Scenario``, or what the source takes for a name: a family and a seed, a log.

        Raises:
            InputError: An option is unknown, or there is no such scenario.
        """
        chosen = checked_options(options, (SCENARIO_OPTION,)).get(SCENARIO_OPTION)
        super().reset(seed=seed_of(seed), options=options)
        self.episodes.begin([0], [self.np_random], [chosen])
        return self._observation(), self._info()

    def step(self, action: Array) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Drive for one time step of the scene.

        Raises:
            InputError: The action is not finite or has a wrong shape. Actions out of range are clamped.
            ResetNeeded: There was no reset yet.
        """
        self._check_begun("step")
        outcome = self.episodes.advance(real_array(action, "the action")[None])
        return (
            self._observation(),
            float(outcome.reward[0]),
            bool(outcome.terminated[0]),
            bool(outcome.truncated[0]),
            self._info(),
        )

    def render(self) -> Array | None:
        """Return the bird's-eye picture [480, 640, 3] uint8 in mode "rgb_array", else None."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called, but render_mode was not given; make it 'rgb_array'")
            return None
        self._check_begun("render")
        return self.episodes.render(0)

    def snapshot(self) -> tuple[WorldState, np.random.Generator]:
        """Return a copy of all that changes: the world and the generator that later scenarios come from."""
        self._check_begun("snapshot")
        return self.episodes.snapshot(), copy.deepcopy(self.np_random)

    def restore(self, state: tuple[WorldState, np.random.Generator]) -> Observations:
        """Return to a snapshot, also one of another environment; gives the observation there."""
        self._check_begun("restore")
        world, generator = state
        self.episodes.running.restore(world)
        self.np_random = copy.deepcopy(generator)
        return self._observation()

    def _observation(self) -> Observations:
        return of_world(self.episodes.observations(), 0)

    def _info(self) -> dict[str, Any]:
        infos = self.episodes.infos()
        return {name: values[0] if values.dtype == object else values[0].item() for name, values in infos.items()}

    def _check_begun(self, what: str) -> None:
        if self.episodes.batch is None:
            raise ResetNeeded(f"{what}() was called before the first reset()")
