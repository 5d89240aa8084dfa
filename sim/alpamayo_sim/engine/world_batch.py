"""A batch of worlds that advance together: state on the device, one step for all, copies to branch from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from alpamayo_sim.datatypes.decision import PLAN_STEPS
from alpamayo_sim.datatypes.observation import Agents, GroundTruth, Observation
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine.contacts import Body, Contact, contact_of, mass_of
from alpamayo_sim.engine.egos import Egos
from alpamayo_sim.engine.inputs import Input, ego_mask, fill, per_ego, resized, world_mask
from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.kernels.assess import assess, prepare
from alpamayo_sim.engine.kernels.lanes import line_up
from alpamayo_sim.engine.kernels.layout import Mode
from alpamayo_sim.engine.kernels.step import advance, begin, change_lanes, decide, drive, move, steer
from alpamayo_sim.engine.kernels.tracker import track
from alpamayo_sim.engine.kernels.traffic_vehicles import TURNS
from alpamayo_sim.engine.kernels.vectors import AGENTS, PIECES, FeatureRows, describe
from alpamayo_sim.engine.observation import observation_of
from alpamayo_sim.engine.packing.map_blocks import pack_map
from alpamayo_sim.engine.packing.pack import Packed
from alpamayo_sim.engine.packing.store import Store
from alpamayo_sim.errors import InputError
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.warp_runtime import check_device, wp

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WorldState:
    """A copy of everything that changes in a :class:`WorldBatch`, to return to or to branch from."""

    scenarios: tuple[Scenario, ...]
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class Needs:
    """Which kinds of road users there are in any of the worlds, beside egos."""

    traffic_vehicles: bool = False
    scripts: bool = False
    others: bool = False

    @classmethod
    def of(cls, packed: Sequence[Packed]) -> "Needs":
        """What these scenarios need."""
        modes = {int(mode) for each in packed for mode in each.blocks["agents"]["mode"]}
        scripts = modes & {Mode.SCRIPT, Mode.FOLLOW, Mode.WALKER, Mode.REACTIVE}
        return cls(Mode.TRAFFIC_VEHICLE in modes, bool(scripts), bool(scripts) or Mode.REPLAY in modes)


class WorldBatch:
    """``num_worlds`` scenarios that run side by side; a single one is a batch of one.

    A world stands at step 0 when it is made. By default the ego is a bicycle model about its box centre: acceleration
    and curvature hold over a step of the scene's ``dt`` and are integrated exactly; it does not drive backwards.
    A scenario's ``dynamics`` choose another model, actuators that lag, and substeps (``datatypes.dynamics``).
    Acceleration is clamped to [-9, 4] m/s² and to what friction gives (mu * 9.81), curvature to 0.25 1/m and to
    what friction gives at the speed of the step (mu * 9.81 / v²). Other tracks repeat their recording (absent
    where it is not valid, and after its end), follow their script, or stand (props).

    Further egos of a scenario are driven in the same way; ``egos`` has what is known of all of them, while the
    properties of the world itself speak of the first, which is the scene's own, and call all others agents.

    The properties are arrays over the worlds: on the CPU views of the live state that must not be written to
    and that change with the next step, on a GPU copies. Copy what you want to keep. The agents of a world are its
    scene's tracks without the ego, in their order, then its props; worlds with fewer agents than the largest have
    invalid rows at the end.

    The same scenario gives the same bits whatever the batch, its order and the thread count.

    Args:
        scenarios: what each world runs; one that is given twice is stored once.
        device: "cpu" or "cuda:0".
        debug: look at every array after every step, and raise FloatingPointError where one is not finite (slow).

    Raises:
        InputError: no scenario, one without a route, or no such device.
    """

    def __init__(self, scenarios: Sequence[Scenario], *, device: str = "cpu", debug: bool = False) -> None:
        if not scenarios:
            raise InputError("world: needs at least one scenario")
        self.device = check_device(device)
        self.debug = debug
        self.num_worlds = len(scenarios)
        self._store = Store(device)
        self._state = layout.State()
        self._arrays: dict[str, Any] = {}
        self._views: dict[str, Array] = {}
        self._most_substeps = 1
        self._needs = Needs()
        self._active = Input(self._zeros(wp.bool))
        self._use(list(scenarios))
        self.reset()

    # Stepping

    def reset(self, mask: Bool[Array, " worlds"] | None = None) -> None:
        """Put all worlds, or those of the mask, back to step 0."""
        self._active.set(world_mask(mask, self.num_worlds, "mask", default=True))
        self._launches["begin"].launch()
        self._launches["prepare"].launch()
        self._launches["assess"].launch()

    def assign(self, worlds: Sequence[int], scenarios: Sequence[Scenario]) -> None:
        """Give some worlds other scenarios and put these worlds to step 0; the rest does not notice.

        Raises:
            InputError: the lengths differ, an index is out of range, or a scenario has no route.
        """
        if len(worlds) != len(scenarios) or not all(0 <= w < self.num_worlds for w in worlds):
            raise InputError(f"assign: needs one scenario for each of the worlds, which are 0 to {self.num_worlds - 1}")
        new = list(self.scenarios)
        for w, scenario in zip(worlds, scenarios, strict=True):
            new[w] = scenario
        self._use(new)
        mask = np.zeros(self.num_worlds, bool)
        mask[list(worlds)] = True
        self.reset(mask)

    def step(
        self,
        controls: Float[Array, "worlds *egos 2"],
        replay_ego: Bool[Array, " worlds *egos"] | None = None,
        active: Bool[Array, " worlds"] | None = None,
    ) -> None:
        """Advance by one time step.

        Args:
            controls: acceleration (m/s²) and curvature (1/m, left positive) of each ego, clamped to the limits;
                [worlds, 2] where there is one ego a world, else [worlds, egos, 2].
            replay_ego: egos that repeat their recording exactly instead, by world or by world and ego.
            active: worlds that advance; the others stand still in time. All by default.

        Raises:
            InputError: a wrong shape, or a control that is not finite.
        """
        present = self.egos.present.shape
        self._controls.set(per_ego(controls, present, (2,), "controls"))
        self._replayed.set(ego_mask(replay_ego, present, "replay_ego"))
        self._active.set(world_mask(active, self.num_worlds, "active", default=True))
        self.step_on_device()
        if self.debug:
            self._check_finite()

    def step_on_device(self) -> None:
        """Advance all worlds by what ``device_inputs`` holds, without a look at it on the host.

        Nothing is allocated or copied, so that on a GPU it can be captured, see ``capture``.
        """
        for launches in self._substeps:
            for launch in launches:
                launch.launch()
        self._launches["prepare"].launch()
        self._launches["assess"].launch()

    def capture(self, agents: int = AGENTS, pieces: int = PIECES) -> Any:
        """A graph of ``step_on_device`` and of the observations after it: run it with ``wp.capture_launch``.

        On a GPU it is a CUDA graph, on the CPU it spares the time of the single launches. The world stays where it
        is. The graph holds until arrays grow, for a scenario with more agents or a larger map; then capture again.
        """
        self._active.set(True)
        self._replayed.set(False)
        self._described(agents, pieces)  # loads the kernels and makes the memory
        saved = self.snapshot()
        with wp.ScopedCapture(device=self.device) as capture:
            self.step_on_device()
            self._described(agents, pieces)
        self.restore(saved)
        return capture.graph

    def track(self, plans: Float[Array, "worlds *egos 64 4"]) -> Float32[Array, "worlds *egos 2"]:
        """Controls that follow each ego's plan (its frame, now) over the next step; see ``engine.tracker``.

        Raises:
            InputError: a wrong shape, or a plan that is not finite.
        """
        shape = np.shape(plans)
        self._plans.set(per_ego(plans, self.egos.present.shape, (PLAN_STEPS, 4), "plans"))
        self._launches["track"].launch()
        return self._tracked.numpy().reshape(*shape[:-2], 2).copy()

    def snapshot(self) -> WorldState:
        """A copy of the state of all worlds."""
        return WorldState(self.scenarios, {name: array.numpy().copy() for name, array in self._arrays.items()})

    def restore(self, state: WorldState) -> None:
        """Return to a snapshot of this world, or of another one with as many worlds.

        Raises:
            InputError: the snapshot is of another number of worlds.
        """
        if len(state.scenarios) != self.num_worlds:
            raise InputError(f"restore: the snapshot has {len(state.scenarios)} worlds, this one {self.num_worlds}")
        self._use(list(state.scenarios))
        for name, array in self._arrays.items():
            fill(array, resized(state.arrays[name], array.numpy().shape))
        self._active.set(True)
        self._launches["prepare"].launch()

    # What the worlds are

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The scenario of each world."""
        return self._scenarios

    @property
    def has_drivable(self) -> Bool[Array, " worlds"]:
        """Whether the map of each world says where one may drive."""
        return self._has_drivable

    def ego_ids(self, w: int) -> tuple[str, ...]:
        """Track ids of a world's egos, the scene's own first."""
        return self._packed[w].ids[: int(self._packed[w].numbers["egos"])]

    def agents(self, w: int, ego: int = 0) -> Agents:
        """The other road users and the props of a world now (copies), as seen by one of its egos."""
        packed = self._packed[w]
        others = packed.others(ego)
        return Agents(
            ids=tuple(packed.ids[a] for a in others),
            category=packed.category[others],
            pose=self.array("pose")[w, others],
            velocity=self.array("velocity")[w, others],
            size=packed.size[others],
            valid=self.array("valid")[w, others],
        )

    def truth(self, w: int, ego: int = 0) -> GroundTruth:
        """All that is known of a world now, as seen by one of its egos."""
        scenario, packed = self.scenarios[w], self._packed[w]
        states = packed.blocks["signals"].reshape(-1, int(packed.numbers["signal_steps"]))
        step = int(self.step_index[w])
        return GroundTruth(
            scene=scenario.scene,
            step=step,
            ego_pose=self.egos.pose[w, ego].copy(),
            ego_speed=float(self.egos.speed[w, ego]),
            ego_size=packed.size[ego],
            agents=self.agents(w, ego),
            signals=states[:, min(step, states.shape[1] - 1)].astype(np.int8),
        )

    def observe(self, w: int, ego: int = 0) -> Observation:
        """What the driver of one of a world's egos gets now, without cameras and truth."""
        step = int(self.step_index[w])
        order = (step + 1 + np.arange(layout.HISTORY)) % layout.HISTORY
        return observation_of(
            scene=self.scenarios[w].scene,
            route=self._packed[w].routes[ego],
            index=self.map_index(w),
            step=step,
            history=self.array("history")[w, ego, order],
            acceleration=float(self.egos.acceleration[w, ego]),
            curvature=float(self.egos.curvature[w, ego]),
            route_s=float(self.array("route_s")[w, ego]),
        )

    def vectors(self, agents: int = AGENTS, pieces: int = PIECES) -> Float32[Array, "worlds *egos n"]:
        """Every ego's row of numbers in [-1, 1]: ego, route, nearest agents, nearest map (``engine.vectors``).

        The rows are [worlds, n] where there is one ego a world, else [worlds, egos, n].

        Raises:
            InputError: more than 200 pieces, or a negative number.
        """
        rows = self.vector_view(agents, pieces)
        return (rows[:, 0] if self.egos.count == 1 else rows).copy()

    def vector_view(self, agents: int = AGENTS, pieces: int = PIECES) -> Float32[Array, "worlds egos n"]:
        """The rows of ``vectors`` without a copy: on the CPU they change with the next call of either.

        Raises:
            InputError: more than 200 pieces, or a negative number.
        """
        return self._described(agents, pieces).numpy()

    def vector_tensor(self, agents: int = AGENTS, pieces: int = PIECES) -> Any:
        """The rows of ``vectors`` as a torch tensor [worlds, egos, n] on the device, without a copy.

        Raises:
            InputError: more than 200 pieces, or a negative number.
        """
        return self._described(agents, pieces).torch()

    def map_index(self, w: int) -> MapIndex:
        """The index of a world's road map."""
        return pack_map(self.scenarios[w].scene.road_map).index

    def collisions(self, w: int, ego: int = 0) -> list[Contact]:
        """Agents whose boxes overlap an ego's now, the deepest overlap first."""
        step = int(self.step_index[w])
        pose, velocity = self.array("pose")[w], self.array("velocity")[w]
        time = step * self.scenarios[w].scene.dt
        touching = np.flatnonzero(self.array("touched")[w, ego] == step)
        found = [self._contact(w, ego, int(a), time, pose[[ego, a]], velocity[[ego, a]]) for a in touching]
        return sorted(found, key=lambda contact: (-contact.depth, contact.agent))

    def first_contacts(self, w: int, ego: int = 0) -> list[Contact]:
        """An ego's first contact with each agent since the reset, in order of time, as it was when the boxes met.

        Both are taken to move straight from one step to the next; the time is that of the meeting, to a thousandth
        of a step, and the velocities are those at the end of that step.
        """
        time = self.array("hit_time")[w, ego]
        poses = np.stack([self.array("hit_ego")[w, ego], self.array("hit_pose")[w, ego]], axis=1)
        velocities = np.stack([self.array("hit_ego_velocity")[w, ego], self.array("hit_velocity")[w, ego]], axis=1)
        met = [
            int(a) for a in np.argsort(time, kind="stable") if time[a] >= 0.0 and self.array("touched")[w, ego, a] >= 0
        ]
        return [self._contact(w, ego, a, float(time[a]), poses[a], velocities[a]) for a in met]

    # State

    @property
    def device_arrays(self) -> Mapping[str, Any]:
        """The live state as Warp arrays by name (``layout.State``), agent 0 being the ego: read, do not write.

        Kernels take them as they are, and ``wp.to_torch`` shares them with torch without a copy. Ask again after
        ``assign`` and ``restore``: arrays are replaced when a scenario with more agents comes in.
        """
        return self._arrays

    @property
    def device_inputs(self) -> Mapping[str, Any]:
        """What ``step_on_device`` reads: ``controls`` [worlds, egos] of two numbers, ``replayed``, ``active``.

        ``wp.to_torch`` shares them with torch, for a policy to write into.
        """
        return {"controls": self._controls.array, "replayed": self._replayed.array, "active": self._active.array}

    @property
    def step_index(self) -> Int32[Array, " worlds"]:
        """Steps since the reset."""
        return self.array("step")

    @property
    def ego_pose(self) -> Float32[Array, "worlds 3"]:
        """x, y (m), heading (rad) of the box centre."""
        return self.egos.pose[:, 0]

    @property
    def ego_speed(self) -> Float32[Array, " worlds"]:
        """Speed (m/s)."""
        return self.egos.speed[:, 0]

    @property
    def ego_acceleration(self) -> Float32[Array, " worlds"]:
        """Acceleration (m/s²) over the last step."""
        return self.egos.acceleration[:, 0]

    @property
    def ego_curvature(self) -> Float32[Array, " worlds"]:
        """Curvature (1/m, left positive) of the last step."""
        return self.egos.curvature[:, 0]

    @property
    def agent_pose(self) -> Float32[Array, "worlds agents 3"]:
        """x, y (m), heading (rad) of the box centres."""
        return self.array("pose")[:, 1:]

    @property
    def agent_velocity(self) -> Float32[Array, "worlds agents 2"]:
        """Velocity (m/s) in the world's axes."""
        return self.array("velocity")[:, 1:]

    @property
    def agent_valid(self) -> Bool[Array, "worlds agents"]:
        """Whether the agent is there."""
        return self.array("valid")[:, 1:]

    @property
    def collided(self) -> Bool[Array, " worlds"]:
        """Whether the ego's box overlaps any agent's now."""
        return self.egos.collided[:, 0]

    @property
    def drivable_margin(self) -> Float32[Array, " worlds"]:
        """Least distance (m) of the ego's corners to the border of the drivable area; see ``Egos``."""
        return self.egos.drivable_margin[:, 0]

    @property
    def off_road(self) -> Bool[Array, " worlds"]:
        """Whether any corner of the ego is outside the drivable area; False where ``has_drivable`` is False."""
        return self.egos.off_road[:, 0]

    @property
    def progress(self) -> Float32[Array, " worlds"]:
        """Arc length (m) along the route that the ego has come; it never goes back."""
        return self.egos.progress[:, 0]

    @property
    def lateral_offset(self) -> Float32[Array, " worlds"]:
        """Signed distance (m, left positive) of the ego from its route."""
        return self.egos.lateral_offset[:, 0]

    @property
    def arrived(self) -> Bool[Array, " worlds"]:
        """Whether the progress has come to within 0.1 m of the goal's distance."""
        return self.egos.arrived[:, 0]

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "debug": self.debug, "state": self.snapshot()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        WorldBatch.__init__(self, pickled["state"].scenarios, device=pickled["device"], debug=pickled["debug"])
        self.restore(pickled["state"])

    # Inside

    def _described(self, agents: int, pieces: int) -> FeatureRows:
        """The memory of these observations, written anew."""
        if agents < 0 or not 0 <= pieces <= PIECES:
            raise InputError(f"vectors: agents and pieces are {agents} and {pieces}, pieces must be 0 to 200")
        key = agents, pieces
        if key not in self._rows:
            worlds, egos, present = self._arrays["touched"].shape
            rows = FeatureRows((worlds, egos), present, agents, pieces, self.device)
            self._rows[key] = self._launch(describe, (worlds, egos), *rows.inputs), rows
        launch, rows = self._rows[key]
        launch.launch()
        return rows

    def _check_finite(self) -> None:
        for name, array in self._arrays.items():
            values = array.numpy()
            if not np.isfinite(values).all():
                w = int(np.argwhere(~np.isfinite(values))[0, 0])
                raise FloatingPointError(f"{name} of world {w} is not finite at step {self.step_index[w]}")

    def _contact(self, w: int, ego: int, a: int, time: float, poses: Array, velocities: Array) -> Contact:
        packed = self._packed[w]
        one, other = (
            Body(pose, velocity, packed.size[k], mass_of(Category(int(packed.category[k])), packed.size[k]))
            for k, pose, velocity in zip((ego, a), poses, velocities, strict=True)
        )
        index = a - 1 if a > ego else a
        return contact_of(index, packed.ids[a], Category(int(packed.category[a])), time, one, other)

    def _use(self, scenarios: list[Scenario]) -> None:
        """Let the worlds run these scenarios; state arrays are only ever replaced by larger ones."""
        slots = self._store.use(scenarios)
        self._scenarios = tuple(scenarios)
        self._packed: list[Packed] = [self._store.packed[slot] for slot in slots]
        needs, self._needs = self._needs, Needs.of(self._packed)
        most = self._most_substeps
        self._most_substeps = max(s.dynamics.substeps for s in scenarios)
        self._has_drivable = np.array([len(pack_map(s.scene.road_map).blocks["borders"]) > 0 for s in scenarios])
        wanted = tuple(max(int(packed.numbers[name]) for packed in self._packed) for name in ("egos", "agents"))
        present = np.arange(wanted[0]) < np.array([[packed.numbers["egos"]] for packed in self._packed])
        grown = not self._arrays or any(np.greater(wanted, self._arrays["touched"].shape[1:]))
        if grown:
            self._allocate(*wanted)
        size = self._arrays["touched"].shape[1]
        self.egos = Egos(self.array, np.pad(present, ((0, 0), (0, size - wanted[0]))))
        fill(self._slot_of, np.array(slots, np.int32))
        if grown or self._recorded != self._store.generation or most != self._most_substeps or needs != self._needs:
            self._record()

    def _zeros(self, dtype: Any, *shape: int) -> Any:
        return wp.zeros((self.num_worlds, *shape), dtype=dtype, device=self.device)

    def _allocate(self, egos: int, agents: int) -> None:
        old = {name: array.numpy() for name, array in self._arrays.items()}
        if old:
            egos, agents = np.maximum((egos, agents), self._arrays["touched"].shape[1:]).tolist()
        else:
            self._slot_of = self._store.fixed.slot_of = self._zeros(wp.int32)
        self._controls, self._tracked = Input(self._zeros(wp.vec2, egos)), self._zeros(wp.vec2, egos)
        self._plans, self._replayed = Input(self._zeros(wp.vec4, egos, PLAN_STEPS)), Input(self._zeros(wp.bool, egos))
        kinds: tuple[tuple[Any, tuple[int, ...]], ...] = (
            (layout.WORLD_ARRAYS, ()),
            (layout.EGO_ARRAYS, (egos,)),
            (layout.PAIR_ARRAYS, (egos, agents)),
            (layout.AGENT_ARRAYS, (agents,)),
            ((("history", wp.vec4),), (egos, layout.HISTORY)),
        )
        self._arrays = {name: self._zeros(dtype, *shape) for arrays, shape in kinds for name, dtype in arrays}
        for name, array in self._arrays.items():
            if name in old:
                fill(array, resized(old[name], array.numpy().shape))
            setattr(self._state, name, array)
        self._views = {}

    def _launch(self, kernel: Any, dim: Any, *inputs: Any) -> Any:
        """A launch on the fixed data and the state, prepared once; a step then only starts it."""
        inputs = (self._store.fixed, self._state, *inputs)
        return wp.launch(kernel, dim=dim, inputs=list(inputs), device=self.device, record_cmd=True)

    def _record(self) -> None:
        by_agent, by_ego, active = self._arrays["pose"].shape, self._arrays["progress"].shape, self._active.array
        self._launches = {
            "begin": self._launch(begin, by_agent, active),
            "assess": self._launch(assess, by_ego, active),
            "prepare": self._launch(prepare, by_ego, active),
            "track": self._launch(track, by_ego, self._plans.array, self._tracked),
        }
        self._substeps = [list(self._substep(i)) for i in range(self._most_substeps)]
        self._rows: dict[tuple[int, int], tuple[Any, FeatureRows]] = {}
        self._recorded = self._store.generation

    def _substep(self, i: int) -> Iterator[Any]:
        """The launches of a substep: all decide, then all move; what no world needs is left out."""
        by_agent, by_ego, active = self._arrays["pose"].shape, self._arrays["progress"].shape, self._active.array
        strands = (self.num_worlds, 1 if self.device == "cpu" else by_agent[1])  # a thread has its cost
        if self._needs.traffic_vehicles:
            yield self._launch(line_up, self.num_worlds, active, i)
            yield self._launch(change_lanes, (self.num_worlds, TURNS), active, i)
            yield self._launch(steer, strands, active, i, strands[1])
        if self._needs.scripts:
            yield self._launch(decide, strands, active, i, strands[1])
        yield self._launch(drive, by_ego, self._controls.array, self._replayed.array, active, i)
        if self._needs.traffic_vehicles:
            yield self._launch(move, strands, active, i, strands[1])
        if self._needs.others:
            yield self._launch(advance, strands, active, i, strands[1])

    def array(self, name: str) -> Array:
        """A state array by its name in ``engine.layout``: on the CPU a live view that cannot be written to."""
        if self.device != "cpu":
            return self._arrays[name].numpy()
        if name not in self._views:
            view = self._arrays[name].numpy()
            view.flags.writeable = False
            self._views[name] = view
        return self._views[name]
