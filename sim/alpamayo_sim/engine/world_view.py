"""One world of a batch: its agents, ground truth, observation and contacts at the present step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alpamayo_sim.datatypes.observation import Agents, GroundTruth, Observation
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.engine.contacts import Body, Contact, contact_of, mass_of
from alpamayo_sim.engine.kernels.layout import HISTORY
from alpamayo_sim.engine.observe import observation_of
from alpamayo_sim.engine.packing.map_blocks import pack_map
from alpamayo_sim.engine.packing.pack import Packed
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WorldView:
    """A light view of world ``index`` of a ``WorldBatch``; it reads the live state and copies what it returns.

    Methods take the number of the ego that looks: 0 is the scene's own ego, the others follow in the order of
    ``Scenario.egos``. All other egos count as agents. A view holds until ``assign`` or ``restore``; then ask the batch
    for a new one.
    """

    index: int
    scenario: Scenario
    packed: Packed
    array: Callable[[str], Array]

    @property
    def scene(self) -> Scene:
        """Return the scene of the scenario."""
        return self.scenario.scene

    @property
    def step(self) -> int:
        """Return the number of steps since the reset."""
        return int(self.array("step")[self.index])

    @property
    def ego_ids(self) -> tuple[str, ...]:
        """Return the track ids of the egos, the scene's own first."""
        return self.packed.ids[: int(self.packed.numbers["egos"])]

    @property
    def map_index(self) -> MapIndex:
        """Return the index of the road map."""
        return pack_map(self.scene.road_map).index

    @property
    def has_drivable_area(self) -> bool:
        """Return whether the map has a drivable area; without one no ego is ever off the road."""
        return len(pack_map(self.scene.road_map).blocks["borders"]) > 0

    def agents(self, ego: int = 0) -> Agents:
        """Return the other road users and the props, as an ego meets them."""
        packed, others = self.packed, self.packed.others(ego)
        return Agents(
            ids=tuple(packed.ids[a] for a in others),
            category=packed.category[others],
            pose=self.array("pose")[self.index, others],
            velocity=self.array("velocity")[self.index, others],
            size=packed.size[others],
            valid=self.array("valid")[self.index, others],
            elevation=self.array("elevation")[self.index, others],
        )

    def ground_truth(self, ego: int = 0) -> GroundTruth:
        """Return the complete state of the world for an ego."""
        states = self.packed.blocks["signals"].reshape(-1, int(self.packed.numbers["signal_steps"]))
        step = self.step
        return GroundTruth(
            scene=self.scene,
            step=step,
            ego_pose=self.array("pose")[self.index, ego].copy(),
            ego_speed=float(self.array("speed")[self.index, ego]),
            ego_size=self.packed.size[ego],
            agents=self.agents(ego),
            signals=states[:, min(step, states.shape[1] - 1)].astype(np.int8),
            ego_elevation=float(self.array("elevation")[self.index, ego]),
        )

    def observe(self, ego: int = 0) -> Observation:
        """Return the observation of an ego's driver, without cameras and ground truth."""
        step = self.step
        order = (step + 1 + np.arange(HISTORY)) % HISTORY
        return observation_of(
            scene=self.scene,
            route=self.packed.routes[ego],
            index=self.map_index,
            step=step,
            history=self.array("history")[self.index, ego, order],
            acceleration=float(self.array("acceleration")[self.index, ego]),
            curvature=float(self.array("curvature")[self.index, ego]),
            route_s=float(self.array("route_s")[self.index, ego]),
            size=self.packed.size[ego],
            elevation=float(self.array("elevation")[self.index, ego]),
        )

    def collisions(self, ego: int = 0) -> list[Contact]:
        """Return the agents whose boxes overlap an ego's box now, the deepest overlap first."""
        step = self.step
        pose, velocity = self.array("pose")[self.index], self.array("velocity")[self.index]
        time = step * self.scene.dt
        touching = np.flatnonzero(self.array("last_contact_step")[self.index, ego] == step)
        found = [self._contact(ego, int(a), time, pose[[ego, a]], velocity[[ego, a]]) for a in touching]
        return sorted(found, key=lambda contact: (-contact.depth, contact.agent))

    def first_contacts(self, ego: int = 0) -> list[Contact]:
        """Return an ego's first contact with each agent since the reset, in order of time, at the moment of contact.

        Both boxes are taken to move straight from one step to the next. The time is that of the first touch, to a
        thousandth of a step; the velocities are those at the end of that step.
        """
        time, last = (self.array(name)[self.index, ego] for name in ("contact_time", "last_contact_step"))
        names = (("contact_ego_pose", "contact_pose"), ("contact_ego_velocity", "contact_velocity"))
        poses, velocities = (np.stack([self.array(n)[self.index, ego] for n in pair], axis=1) for pair in names)
        touched = [int(a) for a in np.argsort(time, kind="stable") if time[a] >= 0.0 and last[a] >= 0]
        return [self._contact(ego, a, float(time[a]), poses[a], velocities[a]) for a in touched]

    def _contact(self, ego: int, a: int, time: float, poses: Array, velocities: Array) -> Contact:
        packed = self.packed
        one, other = (
            Body(pose, velocity, packed.size[k], mass_of(Category(int(packed.category[k])), packed.size[k]))
            for k, pose, velocity in zip((ego, a), poses, velocities, strict=True)
        )
        index = a - 1 if a > ego else a
        return contact_of(index, packed.ids[a], Category(int(packed.category[a])), time, one, other)
