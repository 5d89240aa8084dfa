"""Memory of agents from one step of the planner to the next."""

from dataclasses import dataclass, field

import numpy as np

from alpamayo_sim.datatypes.observation import Agents

STANDING_MPS = 0.3  # the greatest speed of standing agents
GREATEST_DECELERATION_MPS2, GREATEST_ACCELERATION_MPS2 = 9.0, 6.0  # bounds of measurements
ALWAYS_S = -1e3  # the time at which agents began to stand that stood when first seen


@dataclass(eq=False)
class AgentMemory:
    """Speeds, accelerations and times of standing, all by id."""

    speed: dict[str, float] = field(default_factory=dict)
    acceleration: dict[str, float] = field(default_factory=dict)
    standing_since: dict[str, float] = field(default_factory=dict)

    def update(self, agents: Agents, time: float, dt: float) -> None:
        """Measure accelerations (smoothed over a few steps), and since when each agent stands."""
        speeds = np.hypot(agents.velocity[:, 0], agents.velocity[:, 1])
        for k in np.flatnonzero(agents.valid):
            name, speed = agents.ids[k], float(speeds[k])
            before = self.speed.get(name)
            if before is not None:
                measured = (speed - before) / dt
                change = float(np.clip(measured, -GREATEST_DECELERATION_MPS2, GREATEST_ACCELERATION_MPS2))
                self.acceleration[name] = 0.5 * self.acceleration.get(name, 0.0) + 0.5 * change
            self.speed[name] = speed
            if speed > STANDING_MPS:
                self.standing_since.pop(name, None)
            else:
                self.standing_since.setdefault(name, ALWAYS_S if before is None else time)

    def has_always_stood(self, name: str) -> bool:
        """Return whether an agent has not moved since it was first seen."""
        return self.standing_since.get(name, 0.0) < 0.0

    def standing_time(self, name: str, time: float) -> float:
        """Return the time (s) since an agent last moved; 0 if it moves."""
        since = self.standing_since.get(name)
        return 0.0 if since is None else time - since
