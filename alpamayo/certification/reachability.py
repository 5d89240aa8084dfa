"""Unavoidable collisions, by an over-approximation of what the ego can reach (after Söntges and Althoff, 2018).

The ego is a point mass whose acceleration along and across its first heading may take any value up to the friction
limit: every motion of a car is one of these. Positions lie on a grid. From step to step all cells are kept that any
velocity reached so far leads to; cells are dropped where the inscribed circle of the ego meets a box from all points of
the cell, at any heading. No cell left means that no braking and no steering avoids a contact.

Only boxes whose motion does not depend on the ego count, since the others might move otherwise for another ego.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.ndimage import maximum_filter

from alpamayo.metrics.friction import friction_limit
from alpamayo_sim.datatypes.scenario import Scenario, Script, TriggerKind
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import to_frame

Array = np.ndarray

HORIZON_S = 2.5  # after which an ego that could not avoid a contact from its start has had it
CELL_M = 0.25
SOUND_TRIGGERS = frozenset({TriggerKind.IMMEDIATELY, TriggerKind.TIME, TriggerKind.AFTER})


def is_unavoidable(scenario: Scenario) -> bool:
    """Return whether every motion of the ego from its start leads into a contact; False if that is not shown."""
    scene = scenario.scene
    pose, size, speed, ego_size = _boxes(scenario)
    limit = friction_limit(scene.environment.friction, 0.0)
    return bool(len(size)) and not survives(pose, size, speed, float(ego_size.min()), limit, scene.dt)


def survives(
    pose: Float64[Array, "t n 3"], size: Float64[Array, "n 2"], speed: float, width: float, limit: float, dt: float
) -> bool:
    """Return whether a position is left that the ego may reach without a contact.

    Args:
        pose: the boxes of the others in the frame of the ego's start (m, rad), from the start on.
        size: their lengths and widths (m).
        speed: the speed (m/s) of the ego at its start.
        width: the diameter (m) of the circle inscribed in the ego.
        limit: the greatest acceleration (m/s²).
        dt: the time (s) between the rows of ``pose``.
    """
    duration = dt * (len(pose) - 1)
    reach = 0.5 * limit * duration**2 + 2.0 * CELL_M
    x = np.arange(-reach, speed * duration + reach + CELL_M, CELL_M)
    y = np.arange(-reach, reach + CELL_M, CELL_M)
    free = np.zeros((len(x), len(y)), bool)
    free[np.ix_(np.abs(x) <= CELL_M, np.abs(y) <= CELL_M)] = True
    for k in range(1, len(pose)):
        spread = limit * dt * k  # of the velocity (m/s) by now
        free = _moved(free, speed * dt, (spread * dt) / CELL_M)
        free &= _within(x, y, speed * dt * k, 0.5 * limit * (dt * k) ** 2)
        if free.any():
            free &= ~_hit(x, y, free, pose[k], size, width)
        if not free.any():
            return False
    return True


def _moved(free: Bool[Array, "x y"], along: float, spread: float) -> Bool[Array, "x y"]:
    """Return the cells that a step of ``along`` (m), and of up to ``spread`` cells more to any side, may lead to."""
    cells = along / CELL_M
    whole = int(np.floor(cells))
    wide = int(np.ceil(spread)) + 1  # one for the part of a cell that the shift leaves out
    shifted = np.zeros_like(free)
    shifted[whole:] = free[: len(free) - whole] if whole else free
    return maximum_filter(shifted, size=2 * wide + 1, mode="constant", cval=False)


def _within(x: Array, y: Array, ahead: float, radius: float) -> Bool[Array, "x y"]:
    """Return the cells that touch the disc of all positions that bounded acceleration allows."""
    nearest = np.hypot(x[:, None] - ahead, y[None, :]) - CELL_M
    return np.asarray(nearest <= radius)


def _hit(
    x: Array, y: Array, free: Bool[Array, "x y"], pose: Float[Array, "n 3"], size: Float[Array, "n 2"], width: float
) -> Bool[Array, "x y"]:
    """Return the free cells from all points of which the inscribed circle meets a box."""
    rows, columns = np.nonzero(free)
    cells = np.stack([x[rows], y[columns]], axis=-1)
    offset = np.abs(to_frame(cells[:, None, :], pose[None])) - 0.5 * size[None]
    outside = np.hypot(np.maximum(offset[..., 0], 0.0), np.maximum(offset[..., 1], 0.0))
    distance = outside + np.minimum(offset.max(axis=-1), 0.0)
    hit = np.zeros_like(free)
    hit[rows, columns] = (distance + np.sqrt(0.5) * CELL_M < 0.5 * width).any(axis=1)
    return hit


def _boxes(scenario: Scenario) -> tuple[Array, Array, float, Array]:
    """Return the boxes that do not react to the ego in its first frame, their sizes, its speed and its size."""
    world = WorldBatch([scenario])
    start, speed = world.egos.pose[0, 0].astype(np.float64), float(world.egos.speed[0, 0])
    agents = world[0].agents()
    reacting = {script.track_id for script in scenario.scripts if _reacts(script)}
    reacting |= {vehicle.track_id for vehicle in scenario.traffic_vehicles} | {w.track_id for w in scenario.walkers}
    kept = np.array([name not in reacting and not scenario.reactive for name in agents.ids], bool)
    kept &= np.asarray(agents.valid)
    poses = [agents.pose[kept]]
    for _ in range(min(round(HORIZON_S / scenario.scene.dt), scenario.steps)):
        world.step(np.zeros((1, 2), np.float32))
        now = world[0].agents()
        poses.append(now.pose[kept])
        if not np.asarray(now.valid)[kept].all():
            break
    pose = np.array(poses, np.float64)
    pose = np.concatenate([to_frame(pose[..., :2], start), pose[..., 2:] - start[2]], axis=-1)
    return pose, agents.size[kept, :2].astype(np.float64), speed, world[0].ground_truth().ego_size[:2]


def _reacts(script: Script) -> bool:
    return script.yields or any(m.trigger.kind not in SOUND_TRIGGERS for m in script.manoeuvres)
