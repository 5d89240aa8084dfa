"""A simulated sight: what perception would say, made from the truth and spoilt as perception is, without rendering."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from alpamayo.training.perception.labels import FIRST_SIGNAL, RoadLabeller, object_row
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers.expert import SCENERY
from alpamayo_sim.prediction.visibility import visible
from alpamayo_vla_model.perception.detections import GROUPS, Detections
from alpamayo_vla_model.perception.objects import MOVABLE, SIGNALS, Control, Ground, ObjectClass
from alpamayo_vla_model.perception.perception import Answer

Array = np.ndarray

CLASSES = len(ObjectClass)
SIZES_M = {
    ObjectClass.VEHICLE: (4.6, 1.9, 1.5),
    ObjectClass.TRUCK: (8.5, 2.5, 3.2),
    ObjectClass.PEDESTRIAN: (0.5, 0.6, 1.7),
    ObjectClass.CONE: (0.4, 0.4, 0.8),
    ObjectClass.DEBRIS: (0.9, 0.8, 0.5),
}
"""The classes of ghosts, and their sizes."""


@dataclass(frozen=True)
class SightConfig:
    """How the truth is spoilt.

    Attributes:
        range_m: the distance beyond which nothing is seen.
        birth_steps: the longest time (steps of 0.1 s) in sight before a thing is seen, at the full range.
        miss_probability: probability that a thing is lost, per step.
        miss_per_m: what each metre of distance adds to it.
        miss_steps: the mean time for which it is lost.
        memory: the share of an error that the next step keeps.
        radial_share: standard deviation of the distance, as a share of it.
        radial_m: what is added to it.
        lateral_share: standard deviation across the line of sight, as a share of the distance.
        lateral_m: what is added to it.
        velocity_mps: standard deviation of each part of a velocity.
        heading_rad: standard deviation of headings.
        log_size: standard deviation of the logarithm of sizes, for the whole life of a thing.
        mistaken_share: the share of things whose class is taken for another one of the same group.
        ghost_probability: probability that a ghost appears, per step.
        ghost_steps: range of the life of a ghost.
        ghost_range_m: how far ahead, and how far to either side, ghosts appear.
        existence: range of the probability of existence of things; that of ghosts is half of it.
        ground_error: the share of the ground's probability that is spread over all kinds.
        control_error: probability that a step takes the next signal for another.
        line_share: standard deviation of the distance to its line, as a share of it.
    """

    range_m: float = 100.0
    birth_steps: int = 12
    miss_probability: float = 0.02
    miss_per_m: float = 0.001
    miss_steps: float = 4.0
    memory: float = 0.85
    radial_share: float = 0.04
    radial_m: float = 0.15
    lateral_share: float = 0.006
    lateral_m: float = 0.08
    velocity_mps: float = 0.9
    heading_rad: float = 0.06
    log_size: float = 0.08
    mistaken_share: float = 0.04
    ghost_probability: float = 0.012
    ghost_steps: tuple[int, int] = (2, 18)
    ghost_range_m: tuple[float, float] = (60.0, 9.0)
    existence: tuple[float, float] = (0.75, 0.98)
    ground_error: float = 0.15
    control_error: float = 0.02
    line_share: float = 0.05


@dataclass(eq=False)
class _Things:
    """The state of the errors, one row for each agent and each signal of a scene."""

    seen_steps: Int64[Array, " n"]
    lost: Int64[Array, " n"]
    error: Float64[Array, "n 5"]
    scale: Float64[Array, " n"]
    patience: Float64[Array, " n"]
    mistaken: Float64[Array, " n"]


@dataclass(eq=False)
class _Ghost:
    row: list[float]
    left: int


class SimulatedSight:
    """Answers for one episode; the same generator and drive give the same answers.

    Args:
        scene: the scene.
        rng: source of all errors.
        config: their sizes.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, config: SightConfig | None = None) -> None:
        self.config = config or SightConfig()
        self._rng, self._road = rng, RoadLabeller(scene)
        self._things: _Things | None = None
        self._ghosts: list[_Ghost] = []
        self._line_error = 0.0

    def look(self, truth: GroundTruth) -> Answer:
        """Return what perception would say of one step."""
        numbers, table = self._in_sight(truth)
        kept, table = self._spoilt(truth, numbers, table)
        ghosts = self._ghost_rows(truth)
        rows = np.concatenate([table, np.array(ghosts, np.float64).reshape(-1, 9)])
        low, high = self.config.existence
        existence = self._rng.uniform(low, high, len(rows)) * np.where(np.arange(len(rows)) < len(kept), 1.0, 0.5)
        return Answer(self._detections(rows, existence), *self._look_at_road(truth))

    def _in_sight(self, truth: GroundTruth) -> tuple[Int64[Array, " n"], Float64[Array, "n 9"]]:
        """Return the agents and signals in line of sight, signals after all agents, and their true rows."""
        agents = truth.agents
        near = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < self.config.range_m
        rows = np.flatnonzero(agents.valid & near & ~np.isin(agents.category, SCENERY))
        rows = rows[visible(truth, rows)] if len(rows) else rows
        found = [(int(k), object_row(int(k), truth)) for k in rows]
        found += [(len(agents.ids) + k, object_row(FIRST_SIGNAL - k, truth)) for k in range(len(truth.signals))]
        known = [(k, row) for k, row in found if row is not None and np.hypot(row[1], row[2]) < self.config.range_m]
        numbers = np.array([k for k, _ in known], np.int64)
        return numbers, np.array([row for _, row in known], np.float64).reshape(len(known), 9)

    def _spoilt(self, truth: GroundTruth, numbers: Array, table: Array) -> tuple[Array, Array]:
        """Return which things are seen, and their rows with errors that last from step to step."""
        config, rng = self.config, self._rng
        things = self._state(len(truth.agents.ids) + len(truth.signals))
        things.error = config.memory * things.error
        things.error += np.sqrt(1.0 - config.memory**2) * rng.standard_normal(things.error.shape)
        distance = np.hypot(table[:, 1], table[:, 2])
        things.seen_steps[numbers] += 1
        late = things.seen_steps[numbers] <= things.patience[numbers] * config.birth_steps * distance / config.range_m
        things.lost = np.maximum(things.lost - 1, 0)
        chance = config.miss_probability + config.miss_per_m * distance
        misses = numbers[rng.random(len(numbers)) < chance]
        things.lost[misses] = np.maximum(things.lost[misses], rng.geometric(1.0 / config.miss_steps, len(misses)))
        use = ~late & (things.lost[numbers] == 0)
        return numbers[use], self._with_errors(table[use], numbers[use], things)

    def _with_errors(self, table: Array, numbers: Array, things: _Things) -> Array:
        config, out = self.config, table.copy()
        error = things.error[numbers]
        distance, azimuth = np.hypot(table[:, 1], table[:, 2]), np.arctan2(table[:, 2], table[:, 1])
        radial = (config.radial_m + config.radial_share * distance) * error[:, 0]
        lateral = (config.lateral_m + config.lateral_share * distance) * error[:, 1]
        out[:, 1] += np.cos(azimuth) * radial - np.sin(azimuth) * lateral
        out[:, 2] += np.sin(azimuth) * radial + np.cos(azimuth) * lateral
        out[:, 3] += config.heading_rad * error[:, 2]
        out[:, 4:7] *= np.exp(config.log_size * things.scale[numbers])[:, None]
        out[:, 7:9] += config.velocity_mps * error[:, 3:5]
        for k in np.flatnonzero(things.mistaken[numbers] < config.mistaken_share):
            group = np.flatnonzero((GROUPS[int(out[k, 0])] == GROUPS) & (GROUPS > 0))
            if int(out[k, 0]) not in SIGNALS and len(group):
                share = things.mistaken[numbers[k]] / config.mistaken_share
                out[k, 0] = group[int(share * len(group))]
        return out

    def _state(self, count: int) -> _Things:
        if self._things is None:
            rng = self._rng
            self._things = _Things(
                np.zeros(count, np.int64),
                np.zeros(count, np.int64),
                rng.standard_normal((count, 5)),
                rng.standard_normal(count),
                rng.random(count),
                rng.random(count),
            )
        return self._things

    def _ghost_rows(self, truth: GroundTruth) -> list[list[float]]:
        """Return the rows of the ghosts of this step; they move with the ego or towards it."""
        config, rng = self.config, self._rng
        if rng.random() < config.ghost_probability:
            kind = list(SIZES_M)[int(rng.integers(len(SIZES_M)))]
            ahead, aside = config.ghost_range_m
            place = [float(rng.uniform(3.0, ahead)), float(rng.uniform(-aside, aside))]
            speed = float(rng.uniform(0.0, 8.0)) * (kind in MOVABLE and rng.random() < 0.5)
            row = [float(kind), *place, float(rng.uniform(-0.3, 0.3)), *SIZES_M[kind], speed, 0.0]
            self._ghosts.append(_Ghost(row, int(rng.integers(*config.ghost_steps))))
        for ghost in self._ghosts:
            ghost.row[1] += truth.scene.dt * (ghost.row[7] - truth.ego_speed)
            ghost.left -= 1
        self._ghosts = [ghost for ghost in self._ghosts if ghost.left > 0 and ghost.row[1] > 1.0]
        return [ghost.row for ghost in self._ghosts]

    def _detections(self, rows: Float64[Array, "n 9"], existence: Float64[Array, " n"]) -> Detections:
        config = self.config
        distance = np.hypot(rows[:, 1], rows[:, 2])
        chance = np.full((len(rows), CLASSES), 0.1 / (CLASSES - 1))
        chance[np.arange(len(rows)), rows[:, 0].astype(np.int64)] = 0.9
        std = [config.radial_m + config.radial_share * distance, config.lateral_m + config.lateral_share * distance]
        return Detections(
            chance=chance / np.maximum(chance.sum(axis=1, keepdims=True), 1e-9),
            existence=existence,
            position=rows[:, 1:3],
            heading=rows[:, 3],
            size=np.maximum(rows[:, 4:7], 0.1),
            velocity=rows[:, 7:9],
            position_std=np.stack(std, axis=-1),
            velocity_std=np.full(len(rows), config.velocity_mps),
            azimuth=np.arctan2(rows[:, 2], rows[:, 1]),
        )

    def _look_at_road(self, truth: GroundTruth) -> tuple[Float64[Array, "16 17 4"], Float64[Array, " controls"], float]:
        config, rng, label = self.config, self._rng, self._road.label(truth)
        right = np.eye(len(Ground))[label.ground]
        share = config.ground_error * rng.random((*label.ground.shape, 1))
        ground = (1.0 - share) * right + share / len(Ground)
        state = int(label.control[0])
        if state != Control.NONE and rng.random() < config.control_error:
            state = int(rng.integers(1, len(Control)))
        control = 0.9 * np.eye(len(Control))[state] + 0.1 / len(Control)
        self._line_error = config.memory * self._line_error + np.sqrt(1.0 - config.memory**2) * rng.standard_normal()
        line = float(label.control[1]) * (1.0 + config.line_share * self._line_error)
        return ground, control, max(line, 0.1)
