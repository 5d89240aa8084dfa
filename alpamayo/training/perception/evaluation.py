"""What perception finds and misses: recall, false alarms and errors by class and distance."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment

from alpamayo.parallel import Progress
from alpamayo.training.perception.samples import PerceptionSamples
from alpamayo_vla_model.perception.detections import GROUPS, Detections, detections
from alpamayo_vla_model.perception.network import PerceptionNetwork
from alpamayo_vla_model.perception.objects import MOVABLE, ObjectClass
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

BANDS_M = ((0.0, 15.0), (15.0, 30.0), (30.0, 60.0), (60.0, 120.0))
MATCH_M, MATCH_SHARE = 1.5, 0.15  # a detection matches within the larger of this and this share of the distance
MIN_EXISTENCE = 0.5
MIN_PIXELS = 6  # of an object that should be found


@dataclass(frozen=True, eq=False)
class Found:
    """The visible objects of many samples, one row each, and the number of false alarms by class.

    ``rows`` is class, distance (m), found (0 or 1), class right (0 or 1), error along and across the line of sight
    (m), error of the velocity (m/s), pixels.
    """

    rows: Float64[Array, "n 8"]
    false_alarms: Float64[Array, " classes"]
    samples: int
    ground_right: float
    control_right: float


@torch.inference_mode()
def find(
    network: PerceptionNetwork,
    samples: PerceptionSamples,
    chosen: Iterable[int],
    progress: Progress = lambda what, done, total: None,
) -> Found:
    """Compare the answers of a network with the labels of some samples."""
    rows, alarms, ground, control = [], np.zeros(len(ObjectClass)), [], []
    chosen = list(chosen)
    for done, number in enumerate(chosen, start=1):
        batch = samples.batch(np.array([number]))
        now, earlier = (network.features(batch.images[:, k], batch.rig) for k in (1, 0))
        cells, road = network(now, earlier, batch.motion, batch.state, batch.route)
        seen = detections(cells, batch.rig)
        table = batch.targets.objects[0].double().numpy()
        found, alarm = _compare(seen, table, batch.rig)
        rows.append(found)
        alarms += alarm
        ground.append(float((road.ground[0].argmax(-1) == batch.targets.ground[0]).float().mean()))
        control.append(int(road.control[0].argmax()) == int(batch.targets.control[0, 0]))
        progress("look", done, len(chosen))
    return Found(np.concatenate(rows), alarms, len(chosen), float(np.mean(ground)), float(np.mean(control)))


def _compare(seen: Detections, table: Array, rig: RigTensors) -> tuple[Array, Array]:
    """Match detections with the objects of one sample."""
    objects = table[table[:, 0] > 0]
    strong = np.flatnonzero(seen.existence > MIN_EXISTENCE)
    place = rig.position[0, 0, :2].double().numpy()
    distance = np.hypot(*(objects[:, 1:3] - place).T)
    gap = np.linalg.norm(objects[:, None, 1:3] - seen.position[None, strong], axis=-1)
    limit = np.maximum(MATCH_M + 0.3 * objects[:, 4], MATCH_SHARE * distance)[:, None]
    same = GROUPS[objects[:, 0].astype(int)][:, None] == GROUPS[seen.kind[strong]][None]
    cost = np.where((gap < limit) & same, gap / limit, 1e3)
    pairs = {int(r): int(strong[c]) for r, c in zip(*linear_sum_assignment(cost), strict=True) if cost[r, c] < 1.0}
    rows = np.full((len(objects), 8), np.nan)
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 7] = objects[:, 0], distance, 0.0, objects[:, 9]
    for r, k in pairs.items():
        azimuth = np.arctan2(objects[r, 2] - place[1], objects[r, 1] - place[0])
        error = seen.position[k] - objects[r, 1:3]
        c, s = np.cos(azimuth), np.sin(azimuth)
        rows[r, 2:7] = (
            1.0,
            float(seen.kind[k] == objects[r, 0]),
            c * error[0] + s * error[1],
            c * error[1] - s * error[0],
            np.hypot(*(seen.velocity[k] - objects[r, 7:9])),
        )
    alarms = np.zeros(len(ObjectClass))
    np.add.at(alarms, seen.kind[[k for k in strong if k not in pairs.values()]], 1.0)
    return rows[rows[:, 7] >= MIN_PIXELS], alarms


def table(found: Found) -> list[dict[str, object]]:
    """Return one row for each class and distance band: number, recall and median errors."""
    out: list[dict[str, object]] = []
    for kind in ObjectClass:
        for low, high in BANDS_M:
            rows = found.rows[(found.rows[:, 0] == kind) & (found.rows[:, 1] >= low) & (found.rows[:, 1] < high)]
            if not len(rows):
                continue
            hit = rows[rows[:, 2] == 1.0]
            out.append(
                {
                    "class": kind.name.lower(),
                    "from_m": low,
                    "to_m": high,
                    "number": len(rows),
                    "recall": round(float(rows[:, 2].mean()), 3),
                    "class_right": _rounded(np.mean, hit[:, 3]),
                    "along_m": _rounded(np.median, np.abs(hit[:, 4])),
                    "across_m": _rounded(np.median, np.abs(hit[:, 5])),
                    "velocity_mps": _rounded(np.median, hit[:, 6]) if kind in MOVABLE else None,
                    "false_alarms_per_image": round(float(found.false_alarms[kind]) / found.samples, 4),
                }
            )
    return out


def _rounded(value: Callable[[Array], float], values: Array) -> float | None:
    return round(float(value(values)), 3) if len(values) else None
