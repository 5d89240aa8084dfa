"""Constant data of all scenarios in use, on the device: each scenario and each map once for all worlds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.packing.lane_graph import LaneGraph, pack_lanes
from alpamayo_sim.engine.packing.map_blocks import GridSpec, PackedMap, pack_map
from alpamayo_sim.engine.packing.pack import Packed, pack_scenario
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
SPARE_BYTES = 32 << 20  # of scenarios and maps that no world uses, which are kept for later resets
SPARE_SHARE = 4  # and so many times the bytes that worlds use


class Store:
    """Growing blocks on the device. ``generation`` changes whenever an array is replaced by a larger one.

    ``packed`` are the scenarios by slot.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.generation = 0
        self.buffers = layout.ScenarioBuffers()
        self._clear()

    def use(self, scenarios: Sequence[Scenario]) -> list[int]:
        """Return the slot of each world's scenario; those that no world uses are dropped when they take much memory."""
        unique = {id(scenario): scenario for scenario in scenarios}
        if self._used_bytes > SPARE_BYTES and len(unique) < len(self.packed):
            in_use = sum(self._bytes[self._slots[key]] for key in unique if key in self._slots)
            if self._used_bytes > (1 + SPARE_SHARE) * in_use + SPARE_BYTES:
                self._clear()
        for key, scenario in unique.items():
            if key not in self._slots:
                self._slots[key] = self._add(pack_scenario(scenario))
        return [self._slots[id(scenario)] for scenario in scenarios]

    def _clear(self) -> None:
        self.packed: list[Packed] = []
        self._bytes: list[int] = []
        self._slots: dict[int, int] = {}
        self._graphs: dict[int, tuple[LaneGraph, dict[str, int]]] = {}
        self._maps: dict[int, tuple[PackedMap, dict[str, int], dict[str, dict[str, Any]]]] = {}
        self._used = dict.fromkeys(layout.BLOCKS, 0)
        for name, dtype in layout.BLOCKS.items():
            if getattr(self.buffers, name, None) is None:
                setattr(self.buffers, name, wp.zeros(1, dtype=dtype, device=self.device))

    @property
    def _used_bytes(self) -> int:
        return sum(self._bytes)

    def _add(self, packed: Packed) -> int:
        before = self._filled_bytes()
        row = layout.empty_rows(layout.ScenarioSlot, 1)
        for name, value in packed.numbers.items():
            row[name] = value
        first_rows = self._append_all(packed.blocks)
        for name, first in {**first_rows, **self._map(packed, row)}.items():
            row[layout.FIRST_ROW[name]] = first
        self._add_graph(packed, row)
        slot = self._append("slots", row)
        self.packed.append(packed)
        self._bytes.append(self._filled_bytes() - before)
        return slot

    def _filled_bytes(self) -> int:
        """Return the bytes of all rows in use."""
        return sum(rows * wp.types.type_size_in_bytes(layout.BLOCKS[name]) for name, rows in self._used.items())

    def _add_graph(self, packed: Packed, row: Array) -> None:
        """Add the lane graph of the scenario's map; only scenarios with traffic vehicles need it."""
        if not packed.on_lanes:
            return
        road_map = packed.scenario.scene.road_map
        if id(road_map) not in self._graphs:
            graph = pack_lanes(road_map)
            self._graphs[id(road_map)] = graph, self._append_all(graph.blocks)
        graph, rows = self._graphs[id(road_map)]
        for name, first in rows.items():
            row[layout.FIRST_ROW[name]] = first
        row["lanes"], row["crosswalks"] = len(graph.paths), len(graph.blocks["crosswalks"])
        row["lane_cells_x"], row["lane_cells_y"] = graph.size
        row["lane_corner"] = graph.corner

    def _map(self, packed: Packed, row: Array) -> dict[str, int]:
        """Return the first rows of the map's blocks, and write its sizes and grids to the slot's row."""
        road_map = packed.scenario.scene.road_map
        if id(road_map) not in self._maps:
            packed_map = pack_map(road_map)
            grids = self._grids(packed_map.grids)
            self._maps[id(road_map)] = packed_map, self._append_all(packed_map.blocks), grids
        packed_map, first_rows, grids = self._maps[id(road_map)]
        row["has_levels"] = packed_map.index.has_levels
        for name, rows in packed_map.blocks.items():
            row[name] = len(rows)
        for name, values in grids.items():
            for field, value in values.items():
                row[name][field] = value
        return first_rows

    def _grids(self, grids: Mapping[str, GridSpec]) -> dict[str, dict[str, Any]]:
        """Return the grids of a map with empty cells and room for their lists; arrays grow once for all."""
        count = sum(grid.cells for grid in grids.values())
        cells = self._room("cells", count)
        lists = self._room("lists", sum(grid.cells * grid.capacity for grid in grids.values()))
        if count:
            self.buffers.cells[cells : cells + count].zero_()
        placed = {}
        for name, grid in grids.items():
            placed[name] = {**dataclasses.asdict(grid), "cell_row": cells, "list_row": lists}
            cells, lists = cells + grid.cells, lists + grid.cells * grid.capacity
        return placed

    def _append_all(self, blocks: Any) -> dict[str, int]:
        return {name: self._append(name, rows) for name, rows in blocks.items()}

    def _append(self, name: str, rows: Array) -> int:
        first = self._room(name, len(rows))
        if len(rows):
            block = getattr(self.buffers, name)
            wp.copy(block, wp.array(rows, dtype=block.dtype, device="cpu"), dest_offset=first, count=len(rows))
        return first

    def _room(self, name: str, count: int) -> int:
        """Make room for some rows and return the first."""
        first = self._used[name]
        block = getattr(self.buffers, name)
        if first + count > block.shape[0]:
            size = max(first + count, 2 * block.shape[0])
            larger = wp.empty(size, dtype=block.dtype, device=self.device)
            if first:
                wp.copy(larger, block, count=first)
            setattr(self.buffers, name, larger)
            self.generation += 1
        self._used[name] = first + count
        return first
