"""Does a thing stand or move: an interacting multiple model filter.

The filter is Blom and Bar-Shalom's (1988) with two models: the thing stands, or it moves at a nearly constant velocity.
The chance of each follows from how well it predicted the measurements. A thing that stands gets no velocity from the
jitter of its measurements, and the many things that stand do not slow down one that moves.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Array = np.ndarray

STAND, MOVE = 0, 1
LEAST_CHANCE = 1e-3  # of a model
LEAST_VARIANCE = 1e-4  # (m or m/s)^2, of each measured number: none is exact
STANDING_DRIFT_MPS = 0.1  # standard deviation of the change of a standing thing's place: its measurements drift


@dataclass(eq=False)
class MotionFilter:
    """What is known of a thing's motion; x, y, vx, vy (m, m/s) in the frame of the measurements.

    Attributes:
        states: the state by each model; things that cannot move have the first model alone.
        covariances: their covariances.
        chance: the probability of each model.
        kept: the probability that a model still holds after a step.
    """

    states: Float64[Array, "models 4"]
    covariances: Float64[Array, "models 4 4"]
    chance: Float64[Array, " models"]
    kept: float

    @classmethod
    def standing(cls, position: Float64[Array, "2"], covariance: Float64[Array, "2 2"]) -> "MotionFilter":
        """Return the filter of a new thing that cannot move."""
        states, covariances = np.zeros((1, 4)), np.zeros((1, 4, 4))
        states[STAND, :2], covariances[STAND, :2, :2] = position, covariance
        return cls(states, covariances, np.ones(1), 1.0)

    @classmethod
    def movable(
        cls,
        position: Float64[Array, "2"],
        covariance: Float64[Array, "2 2"],
        velocity_covariance: Float64[Array, "2 2"],
        moving: float,
        kept: float,
    ) -> "MotionFilter":
        """Return the filter of a new thing that moves with the probability ``moving``, at an unknown velocity."""
        states, covariances = np.zeros((2, 4)), np.zeros((2, 4, 4))
        states[:, :2], covariances[:, :2, :2] = position, covariance
        covariances[MOVE, 2:, 2:] = velocity_covariance
        return cls(states, covariances, np.array([1.0 - moving, moving]), kept)

    @property
    def state(self) -> Float64[Array, "4"]:
        """The expected state."""
        return np.asarray(self.chance @ self.states)

    @property
    def covariance(self) -> Float64[Array, "4 4"]:
        """The covariance of ``state``."""
        offset = self.states - self.state
        spread = self.covariances + offset[:, :, None] * offset[:, None, :]
        return np.asarray(np.einsum("i,iab->ab", self.chance, spread))

    def predict(self, dt: float, acceleration_std: float) -> None:
        """Go on by ``dt`` (s); accelerations of the moving thing have this standard deviation (m/s^2)."""
        self.covariances[STAND, :2, :2] += np.eye(2) * (STANDING_DRIFT_MPS * dt) ** 2
        if len(self.chance) == 1:
            return
        self._mix()
        move = np.eye(4)
        move[0, 2] = move[1, 3] = dt
        gain = np.array([[0.5 * dt * dt, 0.0], [0.0, 0.5 * dt * dt], [dt, 0.0], [0.0, dt]])
        self.states[MOVE] = move @ self.states[MOVE]
        self.covariances[MOVE] = move @ self.covariances[MOVE] @ move.T + acceleration_std**2 * gain @ gain.T

    def measure_velocity(self, velocity: Float64[Array, "2"], covariance: Float64[Array, "2 2"]) -> None:
        """Take in a measured velocity alone."""
        self._correct(velocity, covariance, slice(2, 4))

    def measure(self, measured: Float64[Array, "4"], covariance: Float64[Array, "4 4"]) -> None:
        """Take in a measured place and velocity."""
        self._correct(measured, covariance, slice(0, 4))

    def _correct(self, measured: Array, covariance: Array, part: slice) -> None:
        logs = np.empty(len(self.chance))
        for model, (state, spread) in enumerate(zip(self.states, self.covariances, strict=True)):
            innovation = measured - state[part]
            expected = spread[part, part] + covariance + LEAST_VARIANCE * np.eye(len(measured))
            gain = np.linalg.solve(expected, spread[part]).T
            self.states[model] = state + gain @ innovation
            self.covariances[model] = spread - gain @ spread[part]
            unlikely = innovation @ np.linalg.solve(expected, innovation)
            logs[model] = -0.5 * (unlikely + math.log(np.linalg.det(expected)))
        chance = np.maximum(self.chance * np.exp(logs - logs.max()), LEAST_CHANCE)
        self.chance = chance / chance.sum()

    def _mix(self) -> None:
        """Let each model begin from both states, weighted by how likely each came to be the true one."""
        change = np.array([[self.kept, 1.0 - self.kept], [1.0 - self.kept, self.kept]])
        joint = change * self.chance[:, None]
        self.chance = joint.sum(axis=0)
        share = joint / self.chance
        states = share.T @ self.states
        offset = self.states[:, None] - states[None]
        spread = self.covariances[:, None] + offset[..., :, None] * offset[..., None, :]
        covariances = np.einsum("ij,ijab->jab", share, spread)
        states[STAND, 2:] = 0.0
        covariances[STAND, 2:] = covariances[STAND, :, 2:] = 0.0
        self.states, self.covariances = states, covariances
