"""A batch of worlds that advance together: state on the device, one step for all, copies to branch from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from alpamayo_sim.driver import PLAN_STEPS, Agents, Observation, Truth
from alpamayo_sim.engine import layout, vectors
from alpamayo_sim.engine.assess import assess
from alpamayo_sim.engine.contacts import Body, Contact, contact_of, mass_of
from alpamayo_sim.engine.observation import observation_of
from alpamayo_sim.engine.pack import Packed, pack_map
from alpamayo_sim.engine.step import advance, begin, decide
from alpamayo_sim.engine.store import Store
from alpamayo_sim.engine.tracker import track
from alpamayo_sim.errors import InputError
from alpamayo_sim.map_index import MapIndex
from alpamayo_sim.scenario import Scenario
from alpamayo_sim.scene import Category
from alpamayo_sim.warp_runtime import check_device, wp

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WorldState:
    """A copy of everything that changes in a :class:`World`, to return to or to branch from."""

    scenarios: tuple[Scenario, ...]
    arrays: Mapping[str, Array]


class World:
    """``num_worlds`` scenarios that run side by side; a single one is a batch of one.

    A world stands at step 0 when it is made. By default the ego is a bicycle model about its box centre: acceleration
    and curvature hold over a step of the scene's ``dt`` and are integrated exactly; it does not drive backwards.
    A scenario's ``dynamics`` choose another model, actuators that lag, and substeps (``alpamayo_sim.dynamics``).
    Acceleration is clamped to [-9, 4] m/s² and to what friction gives (mu * 9.81), curvature to 0.25 1/m and to
    what friction gives at the speed of the step (mu * 9.81 / v²). Other tracks repeat their recording (absent
    where it is not valid, and after its end), follow their script, or stand (props).

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
        self._controls = self._zeros(wp.vec2)
        self._plans = wp.zeros((self.num_worlds, PLAN_STEPS), dtype=wp.vec4, device=device)
        self._tracked = self._zeros(wp.vec2)
        self._replayed = self._zeros(wp.bool)
        self._active = self._zeros(wp.bool)
        self._use(list(scenarios))
        self.reset()

    # Stepping

    def reset(self, mask: Bool[Array, " worlds"] | None = None) -> None:
        """Put all worlds, or those of the mask, back to step 0."""
        _fill(self._active, self._mask(mask, "mask", default=True))
        self._launches["begin"].launch()
        self._launches["look"].launch()

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
        controls: Float[Array, "worlds 2"],
        replay_ego: Bool[Array, " worlds"] | None = None,
        active: Bool[Array, " worlds"] | None = None,
    ) -> None:
        """Advance by one time step.

        Args:
            controls: acceleration (m/s²) and curvature (1/m, left positive) of each ego, clamped to the limits.
            replay_ego: worlds whose ego repeats its recording exactly instead.
            active: worlds that advance; the others stand still in time. All by default.

        Raises:
            InputError: a wrong shape, or a control that is not finite.
        """
        _fill(self._controls, self._finite(controls, (self.num_worlds, 2), "controls"))
        _fill(self._replayed, self._mask(replay_ego, "replay_ego", default=False))
        _fill(self._active, self._mask(active, "active", default=True))
        for decided, advanced in self._substeps:
            if self._scripted:
                decided.launch()
            advanced.launch()
        self._launches["assess"].launch()
        if self.debug:
            self._check_finite()

    def track(self, plans: Float[Array, "worlds 64 4"]) -> Float32[Array, "worlds 2"]:
        """Controls that follow each world's plan (ego frame, now) over the next step; see ``engine.tracker``.

        Raises:
            InputError: a wrong shape, or a plan that is not finite.
        """
        _fill(self._plans, self._finite(plans, (self.num_worlds, PLAN_STEPS, 4), "plans"))
        self._launches["track"].launch()
        return self._tracked.numpy().copy()

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
            saved = state.arrays[name]
            if array.ndim == 2 and name != "history":
                saved = _resized(saved, array.shape[1])
            _fill(array, saved)

    # What the worlds are

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The scenario of each world."""
        return self._scenarios

    @property
    def has_drivable(self) -> Bool[Array, " worlds"]:
        """Whether the map of each world says where one may drive."""
        return self._has_drivable

    def agents(self, w: int) -> Agents:
        """The other road users and the props of a world now (copies)."""
        packed, n = self._packed[w], len(self._packed[w].ids)
        return Agents(
            ids=packed.ids,
            category=packed.category,
            pose=self.agent_pose[w, :n].copy(),
            velocity=self.agent_velocity[w, :n].copy(),
            size=packed.size,
            valid=self.agent_valid[w, :n].copy(),
        )

    def truth(self, w: int) -> Truth:
        """All that is known of a world now."""
        scenario, packed = self.scenarios[w], self._packed[w]
        states = packed.blocks["signals"].reshape(-1, int(packed.numbers["signal_steps"]))
        step = int(self.step_index[w])
        return Truth(
            scene=scenario.scene,
            step=step,
            ego_pose=self.ego_pose[w].copy(),
            ego_speed=float(self.ego_speed[w]),
            ego_size=scenario.scene.ego.size,
            agents=self.agents(w),
            signals=states[:, min(step, states.shape[1] - 1)].astype(np.int8),
        )

    def observe(self, w: int) -> Observation:
        """What the driver of a world gets now, without cameras and truth."""
        step = int(self.step_index[w])
        order = (step + 1 + np.arange(layout.HISTORY)) % layout.HISTORY
        return observation_of(
            scenario=self.scenarios[w],
            index=self.map_index(w),
            step=step,
            history=self._view("history")[w, order],
            acceleration=float(self.ego_acceleration[w]),
            curvature=float(self.ego_curvature[w]),
            route_s=float(self._view("route_s")[w]),
        )

    def vectors(self, agents: int = vectors.AGENTS, pieces: int = vectors.PIECES) -> Float32[Array, "worlds n"]:
        """All worlds as rows of numbers in [-1, 1]: ego, route, nearest agents, nearest map (``engine.vectors``).

        Raises:
            InputError: more than 200 pieces, or a negative number.
        """
        if agents < 0 or not 0 <= pieces <= vectors.PIECES:
            raise InputError(f"vectors: agents and pieces are {agents} and {pieces}, pieces must be 0 to 200")
        key = agents, pieces
        if key not in self._rows:
            shape = (self.num_worlds, vectors.vector_size(agents, pieces))
            rows = wp.zeros(shape, dtype=wp.float32, device=self.device)
            inputs = [self._store.fixed, self._state, agents, pieces, rows]
            launch = wp.launch(
                vectors.describe, dim=self.num_worlds, inputs=inputs, device=self.device, record_cmd=True
            )
            self._rows[key] = launch, rows
        launch, rows = self._rows[key]
        self._launches["prepare"].launch()
        launch.launch()
        return rows.numpy().copy()

    def map_index(self, w: int) -> MapIndex:
        """The index of a world's road map."""
        return pack_map(self.scenarios[w].scene.road_map).index

    def collisions(self, w: int) -> list[Contact]:
        """Agents whose boxes overlap the ego's now, the deepest overlap first."""
        touching = np.flatnonzero(self._view("contact")[w])
        pose, velocity = self._view("pose")[w], self._view("velocity")[w]
        time = float(self._view("time")[w])
        found = [self._contact(w, int(a), time, pose[[0, a]], velocity[[0, a]]) for a in touching]
        return sorted(found, key=lambda contact: (-contact.depth, contact.agent))

    def first_contacts(self, w: int) -> list[Contact]:
        """The first contact with each agent since the reset, in order of time, as it was when the boxes met.

        Both are taken to move straight from one step to the next; the time is that of the meeting, to a thousandth
        of a step, and the velocities are those at the end of that step.
        """
        time = self._view("hit_time")[w]
        poses = np.stack([self._view("hit_ego")[w], self._view("hit_pose")[w]], axis=1)
        velocities = np.stack([self._view("hit_ego_velocity")[w], self._view("hit_velocity")[w]], axis=1)
        met = [int(a) for a in np.argsort(time, kind="stable") if a > 0 and time[a] >= 0.0]
        return [self._contact(w, a, float(time[a]), poses[a], velocities[a]) for a in met]

    # State

    @property
    def device_arrays(self) -> Mapping[str, Any]:
        """The live state as Warp arrays by name (``layout.State``), agent 0 being the ego: read, do not write.

        Kernels take them as they are, and ``wp.to_torch`` shares them with torch without a copy. Ask again after
        ``assign`` and ``restore``: arrays are replaced when a scenario with more agents comes in.
        """
        return self._arrays

    @property
    def step_index(self) -> Int32[Array, " worlds"]:
        """Steps since the reset."""
        return self._view("step")

    @property
    def ego_pose(self) -> Float32[Array, "worlds 3"]:
        """x, y (m), heading (rad) of the box centre."""
        return self._view("pose")[:, 0]

    @property
    def ego_speed(self) -> Float32[Array, " worlds"]:
        """Speed (m/s)."""
        return self._view("speed")[:, 0]

    @property
    def ego_acceleration(self) -> Float32[Array, " worlds"]:
        """Acceleration (m/s²) over the last step."""
        return self._view("acceleration")

    @property
    def ego_curvature(self) -> Float32[Array, " worlds"]:
        """Curvature (1/m, left positive) of the last step."""
        return self._view("curvature")

    @property
    def agent_pose(self) -> Float32[Array, "worlds agents 3"]:
        """x, y (m), heading (rad) of the box centres."""
        return self._view("pose")[:, 1:]

    @property
    def agent_velocity(self) -> Float32[Array, "worlds agents 2"]:
        """Velocity (m/s) in the world's axes."""
        return self._view("velocity")[:, 1:]

    @property
    def agent_valid(self) -> Bool[Array, "worlds agents"]:
        """Whether the agent is there."""
        return self._view("valid")[:, 1:]

    @property
    def collided(self) -> Bool[Array, " worlds"]:
        """Whether the ego's box overlaps any agent's now."""
        return self._view("collided") > 0

    @property
    def drivable_margin(self) -> Float32[Array, " worlds"]:
        """Least distance (m) of the ego's corners to the border of the drivable area, negative outside.

        Clamped to +-4 m; +4 m where ``has_drivable`` is False. Exact up to float32: it agrees with ``MapIndex``
        to a millimetre within the map, and beyond 4 m outside it is the nearest known point's.
        """
        return self._view("margin")

    @property
    def off_road(self) -> Bool[Array, " worlds"]:
        """Whether any corner of the ego is outside the drivable area; False where ``has_drivable`` is False."""
        return self.drivable_margin < 0.0

    @property
    def progress(self) -> Float32[Array, " worlds"]:
        """Arc length (m) along the route that the ego has come; it never goes back."""
        return self._view("progress")

    @property
    def lateral_offset(self) -> Float32[Array, " worlds"]:
        """Signed distance (m, left positive) of the ego from its route."""
        return self._view("lateral_offset")

    @property
    def arrived(self) -> Bool[Array, " worlds"]:
        """Whether the progress has come to within 0.1 m of the goal's distance."""
        return self._view("arrived")

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "debug": self.debug, "state": self.snapshot()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        World.__init__(self, pickled["state"].scenarios, device=pickled["device"], debug=pickled["debug"])
        self.restore(pickled["state"])

    # Inside

    def _check_finite(self) -> None:
        for name, array in self._arrays.items():
            values = array.numpy()
            if not np.isfinite(values).all():
                w = int(np.argwhere(~np.isfinite(values))[0, 0])
                raise FloatingPointError(f"{name} of world {w} is not finite at step {self.step_index[w]}")

    def _contact(self, w: int, a: int, time: float, poses: Array, velocities: Array) -> Contact:
        packed, ego = self._packed[w], self.scenarios[w].scene.ego
        category, size = Category(int(packed.category[a - 1])), packed.size[a - 1]
        one = Body(poses[0], velocities[0], ego.size, mass_of(ego.category, ego.size))
        other = Body(poses[1], velocities[1], size, mass_of(category, size))
        return contact_of(a - 1, packed.ids[a - 1], category, time, one, other)

    def _use(self, scenarios: list[Scenario]) -> None:
        """Let the worlds run these scenarios; state arrays are only ever replaced by larger ones."""
        slots = self._store.use(scenarios)
        self._scenarios = tuple(scenarios)
        self._packed: list[Packed] = [self._store.packed[slot] for slot in slots]
        self._scripted = any(packed.scripted for packed in self._packed)
        most = self._most_substeps
        self._most_substeps = max(s.dynamics.substeps for s in scenarios)
        self._has_drivable = np.array([pack_map(s.scene.road_map).size != (0, 0) for s in scenarios])
        agents = max(int(packed.numbers["agents"]) for packed in self._packed)
        grown = not self._arrays or agents > self._arrays["pose"].shape[1]
        if grown:
            self._allocate(agents)
        _fill(self._slot_of, np.array(slots, np.int32))
        if grown or self._recorded != self._store.generation or most != self._most_substeps:
            self._record()

    def _zeros(self, dtype: Any) -> Any:
        return wp.zeros(self.num_worlds, dtype=dtype, device=self.device)

    def _allocate(self, agents: int) -> None:
        old = {name: array.numpy() for name, array in self._arrays.items()}
        if not old:
            self._slot_of = self._store.fixed.slot_of = self._zeros(wp.int32)
            self._arrays = {name: self._zeros(dtype) for name, dtype in layout.WORLD_ARRAYS}
            shape = (self.num_worlds, layout.HISTORY)
            self._arrays["history"] = wp.zeros(shape, dtype=wp.vec4, device=self.device)
        for name, dtype in layout.AGENT_ARRAYS:
            self._arrays[name] = wp.zeros((self.num_worlds, agents), dtype=dtype, device=self.device)
            if name in old:
                _fill(self._arrays[name], _resized(old[name], agents))
        for name, array in self._arrays.items():
            setattr(self._state, name, array)
        self._views = {}

    def _record(self) -> None:
        """Prepare the launches once; a step then only starts them."""
        fixed, state, active = self._store.fixed, self._state, self._active
        grid = self._arrays["pose"].shape

        def launch(kernel: Any, dim: Any, *inputs: Any) -> Any:
            return wp.launch(kernel, dim=dim, inputs=list(inputs), device=self.device, record_cmd=True)

        self._launches = {
            "begin": launch(begin, grid, fixed, state, active),
            "look": launch(assess, grid, fixed, state, active, 0),
            "assess": launch(assess, grid, fixed, state, active, 1),
            "prepare": launch(vectors.prepare, self.num_worlds, fixed, state),
            "track": launch(track, self.num_worlds, fixed, state, self._plans, self._tracked),
        }
        moves = (self._controls, self._replayed, active)
        self._substeps = [
            (launch(decide, grid, fixed, state, active, i), launch(advance, grid, fixed, state, *moves, i))
            for i in range(self._most_substeps)
        ]
        self._rows: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._recorded = self._store.generation

    def _view(self, name: str) -> Array:
        if self.device != "cpu":
            return self._arrays[name].numpy()
        if name not in self._views:
            view = self._arrays[name].numpy()
            view.flags.writeable = False
            self._views[name] = view
        return self._views[name]

    def _finite(self, values: Array, shape: tuple[int, ...], name: str) -> Float32[Array, "..."]:
        array = np.asarray(values, np.float32)
        if array.shape != shape:
            raise InputError(f"{name} has shape {array.shape}, must be {shape}")
        if not np.isfinite(array).all():
            w = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise InputError(f"{name} of world {w} is not finite")
        return array

    def _mask(self, mask: Array | None, name: str, default: bool) -> Array | bool:
        if mask is None:
            return default
        array = np.asarray(mask)
        if array.shape != (self.num_worlds,) or array.dtype != bool:
            raise InputError(f"{name} is {array.dtype} of shape {array.shape}, must be bool of ({self.num_worlds},)")
        return array


def _fill(array: Any, values: Any) -> None:
    """Copy numpy values, or one value, into a device array."""
    if array.device.is_cpu:
        array.numpy()[...] = values
    elif np.isscalar(values):
        array.fill_(values)
    else:
        array.assign(np.ascontiguousarray(values))


def _resized(array: Array, agents: int) -> Array:
    """The first so many agents, or with zeros for the missing ones."""
    out = np.zeros((len(array), agents, *array.shape[2:]), array.dtype)
    kept = min(agents, array.shape[1])
    out[:, :kept] = array[:, :kept]
    return out
