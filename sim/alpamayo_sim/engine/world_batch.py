"""A batch of worlds that advance together: state on the device, one step for all worlds, snapshots to branch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from alpamayo_sim.datatypes.decision import PLAN_STEPS
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine.egos import Egos
from alpamayo_sim.engine.inputs import Input, ego_mask, fill, per_ego, resized, world_mask
from alpamayo_sim.engine.kernels.ego_evaluation import evaluate_egos, fill_grid_cells
from alpamayo_sim.engine.kernels.lane_positions import sort_along_lanes
from alpamayo_sim.engine.kernels.layout import HISTORY, Mode
from alpamayo_sim.engine.kernels.state import State, state_fields
from alpamayo_sim.engine.kernels.step import (
    plan_lane_changes,
    plan_scripted,
    plan_traffic,
    reset_agents,
    step_egos,
    step_scripted,
    step_traffic,
)
from alpamayo_sim.engine.kernels.tracker import track
from alpamayo_sim.engine.kernels.traffic_vehicles import DECISION_GROUPS
from alpamayo_sim.engine.kernels.vector_observation import AGENTS, PIECES, FeatureRows, write_observations
from alpamayo_sim.engine.packing.pack import Packed
from alpamayo_sim.engine.packing.store import Store
from alpamayo_sim.engine.world_view import WorldView
from alpamayo_sim.errors import InputError
from alpamayo_sim.settings import instance_of
from alpamayo_sim.warp_runtime import check_device, wp

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WorldState:
    """A copy of everything that changes in a :class:`WorldBatch`, to return to or to branch from."""

    scenarios: tuple[Scenario, ...]
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class ActiveModes:
    """Kinds of road users, other than egos, that any of the worlds has; other launches are left out."""

    traffic_vehicles: bool = False
    scripts: bool = False
    others: bool = False

    @classmethod
    def of(cls, packed: Sequence[Packed]) -> "ActiveModes":
        """Return the kinds of road users of some scenarios."""
        modes = frozenset().union(*(each.modes for each in packed))
        scripts = modes & {Mode.SCRIPT, Mode.FOLLOW, Mode.WALKER, Mode.REACTIVE}
        return cls(Mode.TRAFFIC_VEHICLE in modes, bool(scripts), bool(scripts) or Mode.REPLAY in modes)


class WorldBatch:
    """``num_worlds`` scenarios that run side by side; ``batch[w]`` is a view of one of them.

    A world stands at step 0 when it is made. By default an ego is a bicycle model about its box centre: acceleration
    and curvature hold over a step of the scene's ``dt`` and are integrated exactly; an ego does not drive backwards.
    A scenario's ``dynamics`` choose another model, actuators with lag, and substeps (``datatypes.dynamics``).
    Acceleration is clamped to [-9, 4] m/s² and to the friction limit (mu * 9.81), curvature to 0.25 1/m and to the
    friction limit at the speed of the step (mu * 9.81 / v²). Other tracks repeat their recording (absent where it is
    not valid and after its end), drive on the lanes, or follow a script; props stand.

    Arrays have the axes [world, agent]: ``pose``, ``velocity`` and ``valid`` of all agents, and, in ``egos``, values
    of each ego over [world, ego]. The agents of a world are its egos (the scene's own first), then the other tracks
    of its scene in their order, then its props. Worlds with fewer agents than the largest world have invalid rows at
    the end. On a CPU the arrays are read-only views of the live state that change with the next step, on a GPU they
    are copies. Copy an array to keep it.

    The same scenario gives the same bits in any batch, in any order and with any number of threads.

    Args:
        scenarios: the scenario of each world; a scenario that is given twice is stored once.
        device: "cpu" or "cuda:0".
        debug: check all arrays after each step and raise FloatingPointError on a value that is not finite (slow).

    Raises:
        InputError: There is no scenario, a scenario has no route, or the device does not exist.
    """

    def __init__(self, scenarios: Sequence[Scenario], *, device: str = "cpu", debug: bool = False) -> None:
        for scenario in instance_of(scenarios, Sequence, "WorldBatch: scenarios"):
            instance_of(scenario, Scenario, "WorldBatch: a scenario")
        if not scenarios:
            raise InputError("WorldBatch: needs at least one scenario")
        self.device = check_device(device)
        self.debug = debug
        self.num_worlds = len(scenarios)
        self._store = Store(device)
        self._state = State()
        self._arrays: dict[str, Any] = {}
        self._views: dict[str, Array] = {}
        self._launched: tuple[int, int, ActiveModes] | None = None
        self._active = Input(self._zeros(wp.bool))
        self._use(list(scenarios))
        self.reset()

    # Stepping

    def reset(self, mask: Bool[Array, " worlds"] | None = None) -> None:
        """Put all worlds, or the worlds of a mask, back to step 0."""
        self._active.set(world_mask(mask, self.num_worlds, "mask", default=True))
        self._launches["reset_agents"].launch()
        self._launches["fill_grid_cells"].launch()
        self._launches["evaluate_egos"].launch()

    def assign(self, worlds: Sequence[int], scenarios: Sequence[Scenario]) -> None:
        """Give some worlds other scenarios and put these worlds to step 0; the other worlds stay as they are.

        Raises:
            InputError: The lengths differ, an index is out of range, or a scenario has no route.
        """
        if len(worlds) != len(scenarios) or not all(0 <= w < self.num_worlds for w in worlds):
            raise InputError(f"assign: needs one scenario for each world, and worlds from 0 to {self.num_worlds - 1}")
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
                [worlds, 2] if each world has one ego, else [worlds, egos, 2].
            replay_ego: egos that repeat their recording exactly instead; a mask over worlds, or over worlds and egos.
            active: worlds that advance, all by default; the other worlds keep their state.

        Raises:
            InputError: The shape is wrong, or a control is not finite.
        """
        present = self.egos.present.shape
        self._controls.set(per_ego(controls, present, (2,), "controls"))
        self._replayed.set(ego_mask(replay_ego, present, "replay_ego"))
        self._active.set(world_mask(active, self.num_worlds, "active", default=True))
        self.step_on_device()
        if self.debug:
            self._check_finite()

    def step_on_device(self) -> None:
        """Advance all worlds by the values of ``device_inputs``, without checks on the host.

        Nothing is allocated or copied, so that a graph can capture the step; see ``capture``.
        """
        for launches in self._substeps:
            for launch in launches:
                launch.launch()
        self._launches["fill_grid_cells"].launch()
        self._launches["evaluate_egos"].launch()

    def capture(self, agents: int = AGENTS, pieces: int = PIECES) -> Any:
        """Return a graph of ``step_on_device`` and the observations after it, for ``wp.capture_launch``.

        On a GPU this is a CUDA graph; on a CPU it saves the time of the single launches. The worlds keep their state.
        The graph is valid until arrays grow for a scenario with more agents or a larger map; then capture again.
        """
        self._active.set(True)
        self._replayed.set(False)
        self._observed_rows(agents, pieces)  # loads the kernels and makes the memory
        saved = self.snapshot()
        with wp.ScopedCapture(device=self.device) as capture:
            self.step_on_device()
            self._observed_rows(agents, pieces)
        self.restore(saved)
        return capture.graph

    def track(self, plans: Float[Array, "worlds *egos 64 4"]) -> Float32[Array, "worlds *egos 2"]:
        """Return controls that follow each ego's plan (in its present frame) over the next step.

        Raises:
            InputError: The shape is wrong, or a plan is not finite.
        """
        shape = np.shape(plans)
        self._plans.set(per_ego(plans, self.egos.present.shape, (PLAN_STEPS, 4), "plans"))
        self._launches["track"].launch()
        return self._tracked.numpy().reshape(*shape[:-2], 2).copy()

    def snapshot(self) -> WorldState:
        """Return a copy of the state of all worlds."""
        return WorldState(self.scenarios, {name: array.numpy().copy() for name, array in self._arrays.items()})

    def restore(self, state: WorldState) -> None:
        """Return to a snapshot of this batch, or of another batch with as many worlds.

        Raises:
            InputError: The snapshot has another number of worlds.
        """
        if len(state.scenarios) != self.num_worlds:
            found = len(state.scenarios)
            raise InputError(f"restore: the snapshot has {found} worlds, this batch has {self.num_worlds}")
        self._use(list(state.scenarios))
        for name, array in self._arrays.items():
            fill(array, resized(state.arrays[name], array.numpy().shape))
        self._active.set(True)
        self._launches["fill_grid_cells"].launch()

    # Contents

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Return the scenario of each world."""
        return self._scenarios

    def __len__(self) -> int:
        """Return the number of worlds."""
        return self.num_worlds

    def __getitem__(self, w: int) -> WorldView:
        """Return a view of world ``w``.

        Raises:
            IndexError: there is no such world.
        """
        if not 0 <= w < self.num_worlds:
            raise IndexError(f"world {w}: the batch has worlds 0 to {self.num_worlds - 1}")
        return WorldView(w, self._scenarios[w], self._packed[w], self.array)

    def vectors(self, agents: int = AGENTS, pieces: int = PIECES) -> Float32[Array, "worlds *egos n"]:
        """Return the flat observation of each ego in [-1, 1]; see ``kernels.vector_observation``.

        The shape is [worlds, n] if each world has one ego, else [worlds, egos, n].

        Raises:
            InputError: A number is negative, or there are more than 200 pieces.
        """
        rows = self.vector_view(agents, pieces)
        return (rows[:, 0] if self.egos.count == 1 else rows).copy()

    def vector_view(self, agents: int = AGENTS, pieces: int = PIECES) -> Float32[Array, "worlds egos n"]:
        """Return the rows of ``vectors`` without a copy; on a CPU the next call of either method changes them.

        Raises:
            InputError: A number is negative, or there are more than 200 pieces.
        """
        return self._observed_rows(agents, pieces).numpy()

    def vector_tensor(self, agents: int = AGENTS, pieces: int = PIECES) -> Any:
        """Return the rows of ``vectors`` as a torch tensor [worlds, egos, n] on the device, without a copy.

        Raises:
            InputError: A number is negative, or there are more than 200 pieces.
        """
        return self._observed_rows(agents, pieces).torch()

    # State

    @property
    def device_arrays(self) -> Mapping[str, Any]:
        """Return the live state as Warp arrays by their names in ``kernels.state``; read them, do not write.

        Kernels can take them directly, and ``wp.to_torch`` shares them with torch without a copy. Ask again after
        ``assign`` and ``restore``: a scenario with more agents replaces the arrays.
        """
        return self._arrays

    @property
    def device_inputs(self) -> Mapping[str, Any]:
        """Return the inputs of ``step_on_device``: ``controls`` [worlds, egos, 2], ``replayed`` and ``active``.

        ``wp.to_torch`` shares them with torch, so that a policy can write into them.
        """
        return {"controls": self._controls.array, "replayed": self._replayed.array, "active": self._active.array}

    @property
    def step_index(self) -> Int32[Array, " worlds"]:
        """Return the number of steps since the reset."""
        return self.array("step")

    @property
    def pose(self) -> Float32[Array, "worlds agents 3"]:
        """Return x, y (m) and heading (rad) of the box centres of all agents, the egos first."""
        return self.array("pose")

    @property
    def velocity(self) -> Float32[Array, "worlds agents 2"]:
        """Return the velocities (m/s) of all agents in the world's axes, the egos first."""
        return self.array("velocity")

    @property
    def valid(self) -> Bool[Array, "worlds agents"]:
        """Return whether each agent is present, the egos first."""
        return self.array("valid")

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "debug": self.debug, "state": self.snapshot()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        WorldBatch.__init__(self, pickled["state"].scenarios, device=pickled["device"], debug=pickled["debug"])
        self.restore(pickled["state"])

    # Inside

    def _observed_rows(self, agents: int, pieces: int) -> FeatureRows:
        """Write the flat observations of this size and return their memory."""
        if agents < 0 or not 0 <= pieces <= PIECES:
            raise InputError(f"vectors: agents is {agents}, must be >= 0; pieces is {pieces}, must be in [0, {PIECES}]")
        key = agents, pieces
        if key not in self._rows:
            worlds, egos, present = self._arrays["last_contact_step"].shape
            rows = FeatureRows((worlds, egos), present, agents, pieces, self.device)
            self._rows[key] = self._launch(write_observations, (worlds, egos), *rows.inputs), rows
        launch, rows = self._rows[key]
        launch.launch()
        return rows

    def _check_finite(self) -> None:
        for name, array in self._arrays.items():
            values = array.numpy()
            if not np.isfinite(values).all():
                w = int(np.argwhere(~np.isfinite(values))[0, 0])
                raise FloatingPointError(f"{name} of world {w} is not finite at step {self.step_index[w]}")

    def _use(self, scenarios: list[Scenario]) -> None:
        """Let the worlds run these scenarios; arrays of the state grow and never shrink."""
        slots = self._store.use(scenarios)
        self._scenarios = tuple(scenarios)
        self._packed: list[Packed] = [self._store.packed[slot] for slot in slots]
        self._active_modes = ActiveModes.of(self._packed)
        self._most_substeps = max(s.dynamics.substeps for s in scenarios)
        wanted = tuple(max(int(packed.numbers[name]) for packed in self._packed) for name in ("egos", "agents"))
        grown = not self._arrays or any(np.greater(wanted, self._arrays["last_contact_step"].shape[1:]))
        if grown:
            self._allocate(*wanted)
        size = self._arrays["last_contact_step"].shape[1]
        counts = np.array([packed.numbers["egos"] for packed in self._packed])
        self.egos = Egos(self.array, np.arange(size) < counts[:, None])
        fill(self._slot_of, np.array(slots, np.int32))
        launched = (self._store.generation, self._most_substeps, self._active_modes)
        if grown or launched != self._launched:
            self._launched = launched
            self._record()

    def _zeros(self, dtype: Any, *shape: int) -> Any:
        return wp.zeros((self.num_worlds, *shape), dtype=dtype, device=self.device)

    def _allocate(self, egos: int, agents: int) -> None:
        old = {name: array.numpy() for name, array in self._arrays.items()}
        if old:
            egos, agents = np.maximum((egos, agents), self._arrays["last_contact_step"].shape[1:]).tolist()
        else:
            self._slot_of = self._store.buffers.slot_of = self._zeros(wp.int32)
        self._controls, self._tracked = Input(self._zeros(wp.vec2, egos)), self._zeros(wp.vec2, egos)
        self._plans, self._replayed = Input(self._zeros(wp.vec4, egos, PLAN_STEPS)), Input(self._zeros(wp.bool, egos))
        sizes = {"worlds": self.num_worlds, "egos": egos, "agents": agents, "steps": HISTORY}
        self._arrays = {
            name: wp.zeros(tuple(sizes[axis] for axis in axes), dtype=dtype, device=self.device)
            for name, (dtype, axes) in state_fields().items()
        }
        for name, array in self._arrays.items():
            if name in old:
                fill(array, resized(old[name], array.numpy().shape))
            setattr(self._state, name, array)
        self._views = {}

    def _launch(self, kernel: Any, dim: Any, *inputs: Any) -> Any:
        """Record a launch on the constant data and the state; a step then only starts it."""
        inputs = (self._store.buffers, self._state, *inputs)
        return wp.launch(kernel, dim=dim, inputs=list(inputs), device=self.device, record_cmd=True)

    def _record(self) -> None:
        by_ego, active, strands = self._arrays["progress"].shape, self._active.array, self._strands
        self._launches = {
            "reset_agents": self._launch(reset_agents, strands, active, strands[1]),
            "evaluate_egos": self._launch(evaluate_egos, by_ego, active),
            "fill_grid_cells": self._launch(fill_grid_cells, by_ego, active),
            "track": self._launch(track, by_ego, self._plans.array, self._tracked),
        }
        self._substeps = [list(self._substep(i)) for i in range(self._most_substeps)]
        self._rows: dict[tuple[int, int], tuple[Any, FeatureRows]] = {}

    @property
    def _strands(self) -> tuple[int, int]:
        """Return the threads over worlds and agents: one a world on a CPU, where a thread costs more than an agent."""
        return self.num_worlds, 1 if self.device == "cpu" else self._arrays["pose"].shape[1]

    def _substep(self, i: int) -> Iterator[Any]:
        """Yield the launches of a substep that a world needs: all agents plan, then all agents move."""
        by_ego, active, strands = self._arrays["progress"].shape, self._active.array, self._strands
        if self._active_modes.traffic_vehicles:
            yield self._launch(sort_along_lanes, self.num_worlds, active, i)
            yield self._launch(plan_lane_changes, (self.num_worlds, DECISION_GROUPS), active, i)
            yield self._launch(plan_traffic, strands, active, i, strands[1])
        if self._active_modes.scripts:
            yield self._launch(plan_scripted, strands, active, i, strands[1])
        yield self._launch(step_egos, by_ego, self._controls.array, self._replayed.array, active, i)
        if self._active_modes.traffic_vehicles:
            yield self._launch(step_traffic, strands, active, i, strands[1])
        if self._active_modes.others:
            yield self._launch(step_scripted, strands, active, i, strands[1])

    def array(self, name: str) -> Array:
        """Return an array of ``kernels.state`` by its name; on a CPU it is a read-only view of the live state."""
        if self.device != "cpu":
            return self._arrays[name].numpy()
        if name not in self._views:
            view = self._arrays[name].numpy()
            view.flags.writeable = False
            self._views[name] = view
        return self._views[name]
