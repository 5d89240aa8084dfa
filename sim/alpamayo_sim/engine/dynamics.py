# mypy: ignore-errors
"""How the ego moves under acceleration and curvature, and their limits."""

from alpamayo_sim.engine.layout import Fixed, Slot, State
from alpamayo_sim.engine.paths import along_arc
from alpamayo_sim.warp_runtime import wp

GRAVITY = wp.constant(9.81)
MAX_ACCELERATION = wp.constant(4.0)
MAX_DECELERATION = wp.constant(9.0)
MAX_CURVATURE = wp.constant(0.25)


@wp.func
def arc_length_of(speed: wp.float32, acceleration: wp.float32, dt: wp.float32) -> wp.float32:
    """Way (m) of constant acceleration that ends at a standstill."""
    if speed + acceleration * dt < 0.0:
        return -0.5 * speed * speed / acceleration
    return wp.max(speed * dt + 0.5 * acceleration * dt * dt, 0.0)


@wp.func
def drive_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, control: wp.vec2):
    """Bicycle model about the box centre: constant acceleration and curvature over the step, integrated exactly."""
    speed = state.speed[w, 0]
    grip = slot.friction * GRAVITY
    acceleration = wp.clamp(control[0], -wp.min(MAX_DECELERATION, grip), wp.min(MAX_ACCELERATION, grip))
    fastest = wp.max(speed, speed + acceleration * slot.dt)
    tightest = wp.min(MAX_CURVATURE, grip / wp.max(fastest * fastest, 1.0e-3))
    curvature = wp.clamp(control[1], -tightest, tightest)
    way = arc_length_of(speed, acceleration, slot.dt)
    pose = along_arc(state.pose[w, 0], way, curvature)
    reached = wp.max(speed + acceleration * slot.dt, 0.0)
    direction = wp.vec2(wp.cos(pose[2]), wp.sin(pose[2]))
    state.pose[w, 0] = pose
    state.direction[w, 0] = direction
    state.velocity[w, 0] = reached * direction
    state.speed[w, 0] = reached
    state.acceleration[w] = (reached - speed) / slot.dt
    state.curvature[w] = curvature
