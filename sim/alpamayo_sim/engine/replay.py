# mypy: ignore-errors
"""Road users that repeat their recording."""

from alpamayo_sim.engine.layout import Fixed, Slot, State
from alpamayo_sim.warp_runtime import wp


@wp.func
def log_of(fixed: Fixed, slot: Slot, a: wp.int32, step: wp.int32) -> wp.int32:
    """Row of an agent's recording."""
    return slot.log_row + fixed.agents[slot.agent_row + a].log_row + step


@wp.func
def replay_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, step: wp.int32):
    """The ego as recorded; beyond the recording it stands where that ends."""
    row = fixed.logs[log_of(fixed, slot, 0, wp.min(step, slot.steps - 1))]
    state.pose[w, 0] = row.pose
    state.direction[w, 0] = row.direction
    if step < slot.steps:
        controls = fixed.ego_controls[slot.ego_row + step]
        state.velocity[w, 0] = row.velocity
        state.speed[w, 0] = wp.length(row.velocity)
        state.acceleration[w] = controls[0]
        state.curvature[w] = controls[1]
    else:
        state.velocity[w, 0] = wp.vec2(0.0, 0.0)
        state.speed[w, 0] = 0.0
        state.acceleration[w] = 0.0
        state.curvature[w] = 0.0


@wp.func
def replay_agent(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, step: wp.int32):
    """An agent as recorded; it is absent where its row is not valid and beyond the recording."""
    state.valid[w, a] = False
    if step < slot.steps:
        row = fixed.logs[log_of(fixed, slot, a, step)]
        if row.valid != 0:
            state.valid[w, a] = True
            state.pose[w, a] = row.pose
            state.direction[w, a] = row.direction
            state.velocity[w, a] = row.velocity
            state.speed[w, a] = wp.length(row.velocity)
