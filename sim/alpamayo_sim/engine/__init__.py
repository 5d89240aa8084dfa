"""The engine: batches of worlds on NVIDIA Warp kernels, on a CPU or a GPU."""

from alpamayo_sim.engine.contacts import Contact, Severity, Side
from alpamayo_sim.engine.egos import Egos
from alpamayo_sim.engine.world_batch import WorldBatch, WorldState
from alpamayo_sim.engine.world_view import WorldView

__all__ = ["Contact", "Egos", "Severity", "Side", "WorldBatch", "WorldState", "WorldView"]
