# mypy: ignore-errors
"""Road users that repeat their recording."""

from alpamayo_sim.engine.layout import Fixed, LogRow, Slot, State
from alpamayo_sim.engine.paths import between
from alpamayo_sim.warp_runtime import wp


@wp.func
def log_of(fixed: Fixed, slot: Slot, a: wp.int32, step: wp.int32) -> wp.int32:
    """Row of an agent's recording."""
    return slot.log_row + fixed.agents[slot.agent_row + a].log_row + step


@wp.func
def logged_at(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, substep: wp.int32) -> LogRow:
    """A road user's recording after so many substeps of the step that has begun: between two rows if need be.

    Where one of the two is not valid the nearer one in time holds, where the recording is over the last one.
    """
    step = wp.min(state.step[w], slot.steps - 1)
    row = fixed.logs[log_of(fixed, slot, a, step)]
    share = wp.float32(substep) / wp.float32(slot.substeps)
    if step + 1 < slot.steps:
        later = fixed.logs[log_of(fixed, slot, a, step + 1)]
        if substep == slot.substeps:
            return later
        if row.valid != 0 and later.valid != 0 and share > 0.0:
            row.pose = between(row.pose, later.pose, share)
            row.velocity = row.velocity + share * (later.velocity - row.velocity)
            row.direction = wp.vec2(wp.cos(row.pose[2]), wp.sin(row.pose[2]))
        elif share >= 0.5:
            row = later
    return row


@wp.func
def recorded_controls(fixed: Fixed, slot: Slot, e: wp.int32, step: wp.int32) -> wp.vec2:
    """Acceleration and curvature that led an ego to a step of its recording."""
    return fixed.controls[slot.control_row + fixed.egos[slot.ego_row + e].control_row + step]


@wp.func
def replay_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32, substep: wp.int32):
    """An ego as recorded; beyond the recording it stands where that ends."""
    row = logged_at(fixed, state, slot, w, e, substep)
    speed = wp.length(row.velocity)
    controls = recorded_controls(fixed, slot, e, wp.min(state.step[w] + 1, slot.steps - 1))
    if state.step[w] + 1 >= slot.steps:
        speed = wp.float32(0.0)
        row.velocity = wp.vec2(0.0, 0.0)
        controls = wp.vec2(0.0, 0.0)
    state.pose[w, e] = row.pose
    state.direction[w, e] = row.direction
    state.velocity[w, e] = row.velocity
    state.speed[w, e] = speed
    state.acceleration[w, e] = controls[0]
    state.curvature[w, e] = controls[1]
    car = fixed.vehicles[slot.vehicle_row]
    state.slip[w, e] = wp.vec2(0.0, speed * controls[1])
    state.actuators[w, e] = wp.vec2(controls[0], wp.atan(car.wheelbase * controls[1]))


@wp.func
def replay_agent(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, substep: wp.int32):
    """An agent as recorded; it is absent where its row is not valid and beyond the recording."""
    state.valid[w, a] = False
    over = state.step[w] + 1 >= slot.steps and substep > 0
    row = logged_at(fixed, state, slot, w, a, substep)
    if row.valid != 0 and not over:
        state.valid[w, a] = True
        state.pose[w, a] = row.pose
        state.direction[w, a] = row.direction
        state.velocity[w, a] = row.velocity
        state.speed[w, a] = wp.length(row.velocity)
