"""From image cells to detections: cells that show the same thing are joined."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float64, Int64

from alpamayo_vla_model.perception.network import Cells, cell_rays
from alpamayo_vla_model.perception.objects import CELL, CLASS_WEIGHTS, SIGNALS, ObjectClass
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

CORRECTED_SHARE = 0.6  # of the logarithm of the weights in training; all of it would miss most of the rare things
MIN_EXISTENCE = 0.4  # of a cell that takes part
MAX_CELLS = 400
STD_OF_MEAN_ERROR = 2.0**0.5  # of a Laplace distribution
RADIAL_GATE_M, RADIAL_GATE_SHARE, RADIAL_GATE_DOUBTS = 1.0, 0.1, 1.5  # cells as near as this along the ray are joined
LATERAL_GATE_M, LATERAL_GATE_DOUBTS = 0.5, 1.5
MIN_RADIAL_STD_M, MIN_LATERAL_STD_M, MIN_VELOCITY_STD_MPS = 0.15, 0.05, 0.3
AGREED_M, AGREED_SHARE, AGREED_CELLS = 1.5, 0.25, 2.5  # how near a camera must show a thing that another one saw
MIN_DEPTH_M = 0.5  # of a point in an image
GROUPS = np.zeros(len(ObjectClass), np.int64)
GROUPS[[ObjectClass.VEHICLE, ObjectClass.TRUCK, ObjectClass.BUS]] = 1
GROUPS[[ObjectClass.MOTORCYCLE, ObjectClass.CYCLIST, ObjectClass.PEDESTRIAN, ObjectClass.ANIMAL]] = 2
GROUPS[[ObjectClass.CONE, ObjectClass.BARRIER, ObjectClass.DEBRIS]] = 3
GROUPS[list(SIGNALS)] = 4


@dataclass(frozen=True, eq=False)
class Detections:
    """The things seen in the images of one time, in the ego frame.

    Attributes:
        chance: probabilities of ``ObjectClass``, without that of nothing; they add up to one.
        existence: the probability that there is something.
        position: x, y (m) of the centre.
        heading: rad.
        size: length, width, height (m).
        velocity: over ground (m/s).
        position_std: standard deviations (m) along and across the line of sight.
        velocity_std: standard deviation (m/s) of each part of the velocity.
        azimuth: direction (rad) of the line of sight from the camera.
    """

    chance: Float64[Array, "n classes"]
    existence: Float64[Array, " n"]
    position: Float64[Array, "n 2"]
    heading: Float64[Array, " n"]
    size: Float64[Array, "n 3"]
    velocity: Float64[Array, "n 2"]
    position_std: Float64[Array, "n 2"]
    velocity_std: Float64[Array, " n"]
    azimuth: Float64[Array, " n"]

    def __len__(self) -> int:
        return len(self.existence)

    def rows(self, kept: Array) -> "Detections":
        """Return the detections of an index or a mask."""
        return Detections(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})

    @property
    def kind(self) -> Int64[Array, " n"]:
        """The likeliest class of each."""
        return np.argmax(self.chance, axis=1) if len(self) else np.zeros(0, np.int64)


def detections(cells: Cells, rig: RigTensors) -> Detections:
    """Join the cells of one sample that show something, where the finest camera that sees the place agrees."""
    odds = cells.kind[0] - CORRECTED_SHARE * torch.log(torch.tensor(CLASS_WEIGHTS))
    chance = torch.softmax(odds, dim=-1).flatten(0, 2).double().numpy()
    existence = 1.0 - chance[:, ObjectClass.NOTHING]
    chosen = np.flatnonzero(existence > MIN_EXISTENCE)
    chosen = chosen[np.argsort(-existence[chosen], kind="stable")][:MAX_CELLS]
    placed = _placed(cells, rig, chosen, chance, existence)
    joined = _joined(placed)
    return joined.rows(_agreed(joined, placed, chosen, cells, rig))


def _placed(cells: Cells, rig: RigTensors, chosen: Array, chance: Array, existence: Array) -> Detections:
    """Return the chosen cells as detections of their own."""
    rows, columns = cells.bearing.shape[2:]
    azimuth, span = (part[0].flatten().double().numpy()[chosen] for part in cell_rays(rig, rows, columns))

    def column(values: torch.Tensor, width: int = 1) -> Array:
        return values[0].double().numpy().reshape(-1, width)[chosen]

    camera = chosen // (rows * columns)
    place = rig.position[0].double().numpy()[camera, :2]
    bearing = azimuth + column(cells.bearing)[:, 0] * span
    distance = np.exp(np.clip(column(cells.log_distance)[:, 0], 0.0, 6.0))
    doubt = np.exp(np.clip(column(cells.log_doubt, 3), -5.0, 2.0)) * STD_OF_MEAN_ERROR
    turned, size, along = column(cells.heading, 2), column(cells.log_size, 3), 10.0 * column(cells.velocity, 2)
    c, s = np.cos(azimuth), np.sin(azimuth)
    some = chance[chosen].copy()
    some[:, ObjectClass.NOTHING] = 0.0
    return Detections(
        chance=some / some.sum(axis=1, keepdims=True),
        existence=existence[chosen],
        position=place + distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1),
        heading=azimuth + np.arctan2(turned[:, 0], turned[:, 1]),
        size=np.exp(np.clip(size, -3.0, 3.5)),
        velocity=np.stack([c * along[:, 0] - s * along[:, 1], s * along[:, 0] + c * along[:, 1]], axis=-1),
        position_std=np.stack(
            [
                np.maximum(distance * doubt[:, 1], MIN_RADIAL_STD_M),
                np.maximum(distance * span * doubt[:, 0], MIN_LATERAL_STD_M),
            ],
            axis=-1,
        ),
        velocity_std=np.maximum(10.0 * doubt[:, 2], MIN_VELOCITY_STD_MPS),
        azimuth=bearing,
    )


def _joined(cells: Detections) -> Detections:
    """Join cells around the surest one of each thing, weighted by existence and precision."""
    group, free = GROUPS[cells.kind], np.ones(len(cells), bool)
    members = []
    for seed in range(len(cells)):
        if not free[seed]:
            continue
        offset = cells.position - cells.position[seed]
        c, s = np.cos(cells.azimuth[seed]), np.sin(cells.azimuth[seed])
        along = np.abs(c * offset[:, 0] + s * offset[:, 1])
        across = np.abs(c * offset[:, 1] - s * offset[:, 0])
        reach = 0.25 * cells.size[seed, 0]
        distance = float(np.hypot(*cells.position[seed]))
        std = np.hypot(cells.position_std, cells.position_std[seed])
        radial = RADIAL_GATE_M + RADIAL_GATE_SHARE * distance + reach + RADIAL_GATE_DOUBTS * std[:, 0]
        lateral = LATERAL_GATE_M + reach + LATERAL_GATE_DOUBTS * std[:, 1]
        near = free & (group == group[seed]) & ((along / radial) ** 2 + (across / lateral) ** 2 < 1.0)
        free &= ~near
        members.append(np.flatnonzero(near))
    return _averages(cells, members)


def _agreed(joined: Detections, placed: Detections, chosen: Array, cells: Cells, rig: RigTensors) -> Array:
    """Return which detections the finest camera that has their place in its image shows there too.

    A coarse camera may take something far for something near; a finer one tells them apart.
    """
    rows, columns = cells.bearing.shape[2:]
    camera, rest = np.divmod(chosen, rows * columns)
    row, column = np.divmod(rest, columns)
    centre = np.column_stack([joined.position, 0.5 * joined.size[:, 2]])
    reach = AGREED_M + AGREED_SHARE * np.hypot(*joined.position.T) + 0.5 * joined.size[:, 0]
    near = np.linalg.norm(joined.position[:, None] - placed.position[None], axis=-1) < reach[:, None]
    focal = rig.lens[0, :, 0].numpy()
    agreed, decided = np.ones(len(joined), bool), np.zeros(len(joined), bool)
    for fineness in sorted(set(focal), reverse=True):
        inside, shown = np.zeros(len(joined), bool), np.zeros(len(joined), bool)
        for k in np.flatnonzero(focal == fineness):
            at, within = _cell_of(centre, rig, int(k), rows, columns)
            apart = np.maximum(np.abs(at[:, :1] - row), np.abs(at[:, 1:] - column))
            inside |= within
            shown |= (near & (camera == k) & (apart <= AGREED_CELLS)).any(axis=1)
        agreed &= decided | ~inside | shown
        decided |= inside
    return np.asarray(agreed)


def _cell_of(points: Array, rig: RigTensors, camera: int, rows: int, columns: int) -> tuple[Array, Array]:
    """Return row and column of the cell that shows each point (ego frame, m), and whether it is well in the image."""
    rotation, position = (part[0, camera].double().numpy() for part in (rig.rotation, rig.position))
    focal_x, focal_y, centre_x, centre_y = rig.lens[0, camera].double().numpy()
    x, y, z = ((points - position) @ rotation).T
    before = z > MIN_DEPTH_M
    depth = np.where(before, z, 1.0)
    row = (focal_y * y / depth + centre_y) / CELL - 0.5
    column = (focal_x * x / depth + centre_x) / CELL - 0.5
    inside = before & (row > 0.0) & (row < rows - 1.0) & (column > 0.0) & (column < columns - 1.0)
    return np.stack([row, column], axis=-1), inside


def _averages(cells: Detections, members: list[Array]) -> Detections:
    precision = cells.existence / np.square(cells.position_std).sum(axis=1)

    def mean(values: Array, rows: Array) -> Array:
        weight = precision[rows] / precision[rows].sum()
        return np.asarray((weight.reshape(-1, *[1] * (values.ndim - 1)) * values[rows]).sum(axis=0))

    def turned(rows: Array) -> float:
        direction = mean(np.stack([np.cos(cells.heading), np.sin(cells.heading)], axis=-1), rows)
        return float(np.arctan2(direction[1], direction[0]))

    def stacked(values: Sequence[Array | float], *shape: int) -> Array:
        return np.array(values, np.float64).reshape(len(members), *shape)

    return Detections(
        chance=stacked([mean(cells.chance, rows) for rows in members], len(ObjectClass)),
        existence=stacked([cells.existence[rows].max() for rows in members]),
        position=stacked([mean(cells.position, rows) for rows in members], 2),
        heading=stacked([turned(rows) for rows in members]),
        size=stacked([mean(cells.size, rows) for rows in members], 3),
        velocity=stacked([mean(cells.velocity, rows) for rows in members], 2),
        position_std=stacked([mean(cells.position_std, rows) for rows in members], 2),
        velocity_std=stacked([mean(cells.velocity_std, rows) for rows in members]),
        azimuth=stacked([cells.azimuth[rows[0]] for rows in members]),
    )
