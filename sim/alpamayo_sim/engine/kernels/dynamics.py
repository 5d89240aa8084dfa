# mypy: ignore-errors
"""Motion of an ego over one substep: actuators, then a kinematic or a dynamic bicycle.

Pure functions over ``Motion``; ``step_ego`` reads it from the state and writes it back. The settings and their
sources are in ``alpamayo_sim.datatypes.dynamics.Dynamics``.
"""

from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers, ScenarioSlot, VehicleRow
from alpamayo_sim.engine.kernels.paths import along_arc, wrapped
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

G_MPS2 = wp.constant(GRAVITY_MPS2)
MAX_ACCELERATION_MPS2 = wp.constant(4.0)
MAX_DECELERATION_MPS2 = wp.constant(9.0)
MAX_CURVATURE_PER_M = wp.constant(0.25)
TYRE_STEP_S = wp.constant(0.01)  # s; largest step of the integration of the tyres' equations
SLIP_SETTLING_S = wp.constant(0.02)  # s; time constant of the slip towards the kinematic one below the blending speeds


@wp.struct
class Motion:
    """Pose and motion of an ego: ``speed`` along its heading, ``slip`` = lateral velocity and yaw rate.

    ``actuators`` are the acceleration (m/s²) and the steering angle (rad) that the car has reached.
    """

    pose: wp.vec3
    speed: wp.float32
    slip: wp.vec2
    actuators: wp.vec2
    curvature: wp.float32


@wp.func
def arc_length_of(speed: wp.float32, acceleration: wp.float32, dt: wp.float32) -> wp.float32:
    """Return the distance (m) covered at constant acceleration, up to a standstill."""
    if speed + acceleration * dt < 0.0:
        return -0.5 * speed * speed / acceleration
    return wp.max(speed * dt + 0.5 * acceleration * dt * dt, 0.0)


@wp.func
def actuator_response(
    now: wp.float32, command: wp.float32, lag: wp.float32, rate: wp.float32, dt: wp.float32
) -> wp.vec2:
    """Return the mean and the final value of an actuator over ``dt``.

    With a lag alone or a rate limit alone the mean is exact, so that it does not depend on the substeps.
    """
    end = command
    mean = command
    if lag > 0.0:
        left = wp.exp(-dt / lag)
        end = command + (now - command) * left
        mean = command + (now - command) * (1.0 - left) * lag / dt
    if rate > 0.0 and wp.abs(end - now) > rate * dt:
        end = now + wp.sign(end - now) * rate * dt
        mean = 0.5 * (now + end)
    elif rate > 0.0 and lag <= 0.0:
        mean = end - 0.5 * (end - now) * wp.abs(end - now) / (rate * dt)
    return wp.vec2(mean, end)


@wp.func
def kinematic(motion: Motion, acceleration: wp.float32, curvature: wp.float32, grip: wp.float32, dt: wp.float32):
    """Integrate constant acceleration and curvature about the box centre exactly, as far as ``grip`` allows."""
    fastest = wp.max(motion.speed, motion.speed + acceleration * dt)
    tightest = wp.min(MAX_CURVATURE_PER_M, grip / wp.max(fastest * fastest, 1.0e-3))
    turned = wp.clamp(curvature, -tightest, tightest)
    after = motion
    after.pose = along_arc(motion.pose, arc_length_of(motion.speed, acceleration, dt), turned)
    after.speed = wp.max(motion.speed + acceleration * dt, 0.0)
    after.slip = wp.vec2(0.0, after.speed * turned)
    after.curvature = turned
    return after


@wp.func
def tyre(slip: wp.float32, stiffness: wp.float32, grip: wp.float32) -> wp.float32:
    """Return the lateral force per load of a brush tyre at a slip angle (rad); ``grip`` is its largest value."""
    z = stiffness * wp.tan(slip) / wp.max(grip, 1.0e-6)
    if wp.abs(z) >= 3.0:
        return wp.sign(slip) * grip
    return grip * (z - z * wp.abs(z) / 3.0 + z * z * z / 27.0)


@wp.func
def tyre_rates(
    car: VehicleRow, speed: wp.float32, slip: wp.vec2, steering: wp.float32, acceleration: wp.float32, grip: wp.float32
) -> wp.vec3:
    """Return the rates of speed, lateral velocity and yaw rate: the single-track model (Rajamani 2012, 2.3).

    Longitudinal force reduces the lateral force (friction circle); drive and brakes share their force by load.
    """
    front_axle = car.wheelbase - car.rear_axle
    front_load = G_MPS2 * car.rear_axle / car.wheelbase
    rear_load = G_MPS2 * front_axle / car.wheelbase
    along = acceleration / G_MPS2
    across = wp.sqrt(wp.max(grip * grip - along * along, 0.0))
    at_front = steering - wp.atan2(slip[0] + front_axle * slip[1], speed)
    at_rear = -wp.atan2(slip[0] - car.rear_axle * slip[1], speed)
    front = front_load * tyre(at_front, car.tyre_stiffness, across)
    rear = rear_load * tyre(at_rear, car.tyre_stiffness, across)
    inertia = car.gyration * car.gyration
    return wp.vec3(
        acceleration - front * wp.sin(steering) + slip[1] * slip[0],
        front * wp.cos(steering) + rear - slip[1] * speed,
        (front_axle * front * wp.cos(steering) - car.rear_axle * rear) / inertia,
    )


@wp.func
def rates(
    car: VehicleRow, speed: wp.float32, slip: wp.vec2, steering: wp.float32, acceleration: wp.float32, grip: wp.float32
) -> wp.vec3:
    """As ``tyre_rates``, relaxed towards a bicycle whose rear axle does not slip as the speed falls."""
    share = wp.clamp((speed - car.blend_none) / (car.blend_full - car.blend_none), 0.0, 1.0)
    turning = wp.max(speed, 0.0) * wp.tan(steering) / car.wheelbase
    settled = wp.vec3(
        acceleration, (car.rear_axle * turning - slip[0]) / SLIP_SETTLING_S, (turning - slip[1]) / SLIP_SETTLING_S
    )
    if share <= 0.0:
        return settled
    return share * tyre_rates(car, speed, slip, steering, acceleration, grip) + (1.0 - share) * settled


@wp.func
def velocity_of(heading: wp.float32, speed: wp.float32, slip: wp.vec2) -> wp.vec2:
    """Return the velocity (m/s) in the world's axes."""
    c = wp.cos(heading)
    s = wp.sin(heading)
    return wp.vec2(speed * c - slip[0] * s, speed * s + slip[0] * c)


@wp.func
def dynamic(
    car: VehicleRow, motion: Motion, acceleration: wp.float32, steering: wp.float32, grip: wp.float32, dt: wp.float32
):
    """Integrate the dynamic bicycle over ``dt`` by the midpoint rule in steps of at most ``TYRE_STEP_S``."""
    after = motion
    parts = wp.int32(wp.ceil(dt / TYRE_STEP_S - 1.0e-4))
    h = dt / wp.float32(parts)
    for _ in range(parts):
        first = rates(car, after.speed, after.slip, steering, acceleration, grip)
        speed = wp.max(after.speed + 0.5 * h * first[0], 0.0)
        slip = after.slip + 0.5 * h * wp.vec2(first[1], first[2])
        heading = after.pose[2] + 0.5 * h * after.slip[1]
        second = rates(car, speed, slip, steering, acceleration, grip)
        shift = h * velocity_of(heading, speed, slip)
        after.pose = wp.vec3(after.pose[0] + shift[0], after.pose[1] + shift[1], after.pose[2] + h * slip[1])
        after.speed = after.speed + h * second[0]
        after.slip = after.slip + h * wp.vec2(second[1], second[2])
        if after.speed <= 0.0:
            after.speed = 0.0
            after.slip = wp.vec2(0.0, 0.0)
    after.pose = wp.vec3(after.pose[0], after.pose[1], wrapped(after.pose[2]))
    after.curvature = after.slip[1] / wp.max(after.speed, 0.1)
    return after


@wp.func
def integrate(car: VehicleRow, motion: Motion, control: wp.vec2, friction: wp.float32, dt: wp.float32):
    """Return the ego's motion after ``dt`` under a control (acceleration m/s², curvature 1/m)."""
    grip = friction * G_MPS2
    wanted = wp.clamp(control[0], -MAX_DECELERATION_MPS2, MAX_ACCELERATION_MPS2)
    bend = wp.clamp(control[1], -MAX_CURVATURE_PER_M, MAX_CURVATURE_PER_M)
    acceleration = wp.clamp(wanted, -grip, grip)
    held = motion
    if car.has_actuators == 0 and car.is_dynamic == 0:
        held.actuators = wp.vec2(acceleration, 0.0)
        return kinematic(held, acceleration, bend, grip, dt)
    pedal = actuator_response(motion.actuators[0], wanted, car.acceleration_lag, car.jerk_limit, dt)
    wheel = actuator_response(
        motion.actuators[1], wp.atan(car.wheelbase * bend), car.steering_lag, car.steering_rate, dt
    )
    held.actuators = wp.vec2(pedal[1], wheel[1])
    acceleration = wp.clamp(pedal[0], -grip, grip)
    if car.is_dynamic != 0:
        return dynamic(car, held, acceleration, wheel[0], friction, dt)
    return kinematic(held, acceleration, wp.tan(wheel[0]) / car.wheelbase, grip, dt)


@wp.func
def step_ego(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, control: wp.vec2):
    """Move an ego over one substep."""
    motion = Motion()
    motion.pose = state.pose[w, e]
    motion.speed = state.speed[w, e]
    motion.slip = state.slip[w, e]
    motion.actuators = state.actuators[w, e]
    car = buffers.vehicles[slot.vehicle_row]
    after = integrate(car, motion, control, slot.friction, slot.substep_dt)
    direction = wp.vec2(wp.cos(after.pose[2]), wp.sin(after.pose[2]))
    state.pose[w, e] = after.pose
    state.direction[w, e] = direction
    state.velocity[w, e] = after.speed * direction
    if car.is_dynamic != 0:
        state.velocity[w, e] = velocity_of(after.pose[2], after.speed, after.slip)
    state.speed[w, e] = after.speed
    state.acceleration[w, e] = (after.speed - motion.speed) / slot.substep_dt
    state.curvature[w, e] = after.curvature
    state.slip[w, e] = after.slip
    state.actuators[w, e] = after.actuators
