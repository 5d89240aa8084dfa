"""The cameras: RGB, depth, semantic, instance and flow images, of one scene or of all worlds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, UInt8

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scene import Scene, SignalState
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors.appearance import has_same_appearance
from alpamayo_sim.sensors.camera_bank import CameraBank
from alpamayo_sim.sensors.culling import EGO_INSTANCE, Appearance, ObserverEntry, scene_appearance
from alpamayo_sim.sensors.mesh import StaticMesh
from alpamayo_sim.sensors.observers import Observers
from alpamayo_sim.warp_runtime import check_device, wp

Array = np.ndarray

NO_INSTANCE = -1
CHANNELS = ("rgb", "depth", "semantic", "instance")


@dataclass(frozen=True, eq=False)
class CameraImages:
    """Images of all cameras of a rig at one time; of many worlds with a leading axis.

    ``depth`` is the range in m along each pixel's ray (``Camera.rays``), infinite for the sky. ``semantic`` holds
    ``Semantic`` values. ``instance`` is the row of the agent in ``Agents`` (as the scene's ego has them),
    -2 - i for signal i, ``EGO_INSTANCE`` for that ego seen by another agent, else -1.
    """

    rgb: UInt8[Array, "*worlds cameras height width 3"]
    depth: Float32[Array, "*worlds cameras height width"]
    semantic: UInt8[Array, "*worlds cameras height width"]
    instance: Int32[Array, "*worlds cameras height width"]


@dataclass(frozen=True, eq=False)
class Flow:
    """Forward optical flow: the motion (u right, v down, pixels) of each pixel of the earlier image.

    ``valid`` is False where the point of a pixel has left the image or the world; there the flow is 0. Points that
    another object hides now still count. The sky is infinitely far away.
    """

    pixels: Float32[Array, "*worlds cameras height width 2"]
    valid: Bool[Array, "*worlds cameras height width"]


class CameraRenderer:
    """Render the cameras of ``rig`` in ``scene``, for many frames.

    The ground's texture and the buffers are made once. The ground is level, and the ego's own body
    is not drawn. The same arguments give the same bytes. ``mesh`` replaces the drawn world, in which then
    only road users move. ``seed`` is the seed of noise, rain and dirt.
    """

    def __init__(
        self, scene: Scene, rig: Rig, device: str = "cpu", *, mesh: StaticMesh | None = None, seed: int = 0
    ) -> None:
        self.rig = rig
        self.device = check_device(device)
        self._scene, self._seed = scene, seed & 0xFFFFFFFF
        self._bank = CameraBank(rig, 1, device, mesh)
        self._appearances: Appearance | None = None
        self._key: tuple[tuple[str, ...], Array, Array] | None = None
        self._state: dict[str, wp.array] = {}

    def render(
        self,
        ego_pose: Float32[Array, "3"],
        agents: Agents,
        signals: Int8[Array, " n"] | None = None,
        *,
        step: int = 0,
        motion: tuple[float, float] = (0.0, 0.0),
        elevation: float | None = None,
    ) -> CameraImages:
        """Draw the world from ``ego_pose`` (x, y, heading of the ego's box centre, world).

        ``signals`` are the ``SignalState`` of each of the scene's signals; None shows them unlit. ``step`` counts
        frames, for noise that changes; ``motion`` is the ego's speed (m/s) and yaw rate (rad/s), which matter to a
        rolling shutter alone. ``elevation`` (m) is the z of the ground under the ego, which tells levels apart; None
        where it is unknown. The images are the caller's own.
        """
        self._set_state(ego_pose, agents, signals, step, motion)
        self._state["elevation"].assign(_elevations(elevation, agents)[None])
        self._bank.render(self._state, remember=True)
        return _images(self._bank, ())

    def draw(self, truth: GroundTruth, curvature: float = 0.0) -> CameraImages:
        """Draw a ground truth; ``curvature`` (1/m) of the ego's path only affects a rolling shutter."""
        motion = truth.ego_speed, truth.ego_speed * curvature
        seen = truth.ego_pose, truth.agents, truth.signals
        return self.render(*seen, step=truth.step, motion=motion, elevation=truth.ego_elevation)

    def flow(self, ego_pose: Float32[Array, "3"], agents: Agents) -> Flow:
        """Return the flow from the last rendered image to a later moment; call it before the next ``render``.

        Raises:
            InputError: nothing has been rendered, or the agents are not the same ones.
        """
        if self._key is None or not has_same_appearance(self._key, agents):
            raise InputError("flow: render the earlier moment first, with the same agents")
        self._place(ego_pose, agents)
        return _flow(self._bank, self._state, ())

    def _set_state(
        self,
        ego_pose: Float32[Array, "3"],
        agents: Agents,
        signals: Int8[Array, " n"] | None,
        step: int,
        motion: tuple[float, float],
    ) -> None:
        if not has_same_appearance(self._key, agents):
            self._entry_of(agents)
        self._place(ego_pose, agents)
        velocity = np.zeros((1, len(agents.ids) + 1, 2), np.float32)
        velocity[0, 1:] = agents.velocity
        velocity[0, 0] = motion[0] * np.cos(ego_pose[2]), motion[0] * np.sin(ego_pose[2])
        self._state["velocity"].assign(velocity)
        self._state["step"].assign(np.array([step], np.int32))
        self._bank.turn_rate.assign(np.array([motion[1]], np.float32))
        count = len(self._scene.signals)
        if count:
            shown = np.full(count, SignalState.UNKNOWN) if signals is None else np.asarray(signals)
            self._bank.culler.appearance.signals.assign(shown.astype(np.int32))

    def _place(self, ego_pose: Float32[Array, "3"], agents: Agents) -> None:
        pose = np.concatenate([np.asarray(ego_pose, np.float32)[None], agents.pose])
        self._state["pose"].assign(pose[None])
        self._state["valid"].assign(np.concatenate([[True], agents.valid])[None])

    def _entry_of(self, agents: Agents) -> None:
        self._key = (agents.ids, agents.category.copy(), agents.size.copy())
        appearance = scene_appearance(self._scene, agents.ids, agents.category, agents.size)
        states = np.zeros((len(self._scene.signals), 1), np.int32)
        self._bank.set_observers([ObserverEntry(0, 0, replace(appearance, signals=states), self._seed)], [self._scene])
        shape = (1, len(agents.ids) + 1)
        kinds = {"pose": wp.vec3, "velocity": wp.vec2, "valid": wp.bool, "elevation": wp.float32}
        self._state = {name: wp.zeros(shape, dtype=kind, device=self.device) for name, kind in kinds.items()}
        self._state["step"] = wp.zeros(1, dtype=wp.int32, device=self.device)


def _elevations(ego: float | None, agents: Agents) -> Float32[Array, " n"]:
    """Return the elevations (m) of the ego and the agents; all are level where they are not known."""
    if ego is None or agents.elevation is None:
        return np.zeros(len(agents.ids) + 1, np.float32)
    return np.append(np.float32(ego), np.where(np.isnan(agents.elevation), ego, agents.elevation)).astype(np.float32)


class WorldCameras:
    """A rig on the egos of all worlds, or on any agents. The same seed gives the same pixels in any batch.

    Args:
        batch: the worlds; their scenarios may change at any time (the ground of each new scene is then drawn,
            which takes some tenths of a second).
        rig: the cameras that each observer carries.
        seed: of noise, rain and dirt.
        observers: world and agent of each observer, see ``Observers``.
        mesh: replaces the drawn world.

    Raises:
        InputError: An observer does not exist.
    """

    def __init__(
        self,
        batch: WorldBatch,
        rig: Rig,
        *,
        seed: int = 0,
        observers: Sequence[tuple[int, int]] | None = None,
        mesh: StaticMesh | None = None,
    ) -> None:
        self.batch, self.rig = batch, rig
        self._observers = Observers(batch, observers, seed, "cameras")
        self._bank = CameraBank(rig, len(self._observers.pairs), batch.device, mesh)

    def render(self) -> CameraImages:
        """Return the present images of all observers in new arrays."""
        self.launch()
        return _images(self._bank, (len(self._observers.pairs),))

    def launch(self, remember: bool = True) -> None:
        """Draw into ``device_arrays`` without copying anything to the host.

        On a GPU, once it has run, a launch with an unchanged set of scenarios can be captured into a CUDA graph
        (``wp.ScopedCapture``), together with the world's step; a rolling shutter's yaw rate is set outside of it.
        """
        entries = self._observers.changed()
        if entries is not None:
            self._bank.set_observers(entries, self._observers.scenes)
        if self.rig.imaging.readout > 0.0:
            self._bank.turn_rate.assign(self._observers.turn_rates())
        self._bank.render(self.batch.device_arrays, remember)

    def flow(self) -> Flow:
        """Return the flow from the last ``render`` or ``launch`` to now; call it before the next render."""
        if not self._bank.remembers:
            raise InputError("flow: render the earlier moment first")
        return _flow(self._bank, self.batch.device_arrays, (len(self._observers.pairs),))

    @property
    def device_arrays(self) -> dict[str, wp.array]:
        """Return the last images on the device by channel and view, for ``wp.to_torch`` without a copy.

        Views are the cameras of observer 0, then those of observer 1, and so on.
        """
        return {name: getattr(self._bank.pictures, name) for name in CHANNELS}


def _images(bank: CameraBank, worlds: tuple[int, ...]) -> CameraImages:
    shape = (*worlds, len(bank.rig.cameras), *bank.rig.image_size)
    flat = {name: getattr(bank.pictures, name).numpy().copy() for name in CHANNELS}
    return CameraImages(**{name: array.reshape(*shape, *array.shape[3:]) for name, array in flat.items()})


def _flow(bank: CameraBank, state: Mapping[str, wp.array], worlds: tuple[int, ...]) -> Flow:
    pixels, good = bank.flow(state)
    shape = (*worlds, len(bank.rig.cameras), *bank.rig.image_size)
    return Flow(pixels.numpy().copy().reshape(*shape, 2), good.numpy().astype(bool).reshape(shape))


__all__ = ["EGO_INSTANCE", "NO_INSTANCE", "CameraImages", "CameraRenderer", "Flow", "WorldCameras"]
