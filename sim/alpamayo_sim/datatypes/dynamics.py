"""Response of an ego to its controls: the bicycle model, its actuators, and substeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alpamayo_sim.errors import InputError
from alpamayo_sim.settings import Bounds, check_fields, plain_values

MODELS = ("kinematic", "dynamic")
BOUNDS: dict[str, Bounds] = {"substeps": (1, 100), "acceleration_lag": (0.0, 10.0), "steering_lag": (0.0, 10.0)}


@dataclass(frozen=True)
class Dynamics:
    """The ego's dynamics; the defaults are an ideal car that follows commands at once and exactly.

    ``model`` "kinematic" turns as commanded, within the friction limit; "dynamic" is a single-track model whose
    axles slip and saturate (a brush tyre each: Fiala 1954; Pacejka 2012, chapter 3), which relaxes to the kinematic
    one below ``blend_speeds`` (m/s, full and none; after Kabzan et al., AMZ Driverless, 2020).

    A control step is cut into ``substeps`` equal parts; the simulated road users decide in each of them.

    The actuators follow the commands with a first-order lag: ``acceleration_lag`` and ``steering_lag`` (s) are the
    time constants, 0 for none; ``jerk_limit`` (m/s³) and ``steering_rate`` (rad/s at the wheels) bound how fast
    they change, None for no bound.

    The car is a BMW 320i (Althoff, Koschi and Manzinger, CommonRoad, 2017, vehicle 2): ``wheelbase`` (m),
    ``rear_axle`` (m from the box centre, which is the centre of gravity), ``gyration`` (m, radius of yaw inertia)
    and ``tyre_stiffness`` (1/rad, cornering stiffness per load).
    """

    model: str = "kinematic"
    substeps: int = 1
    acceleration_lag: float = 0.0
    steering_lag: float = 0.0
    jerk_limit: float | None = None
    steering_rate: float | None = None
    blend_speeds: tuple[float, float] = (2.0, 4.0)
    wheelbase: float = 2.578
    rear_axle: float = 1.422
    gyration: float = 1.280
    tyre_stiffness: float = 20.89

    def __post_init__(self) -> None:
        check_fields(self, "dynamics", BOUNDS)
        if self.model not in MODELS:
            raise InputError(f"dynamics: model is {self.model!r}, must be 'kinematic' or 'dynamic'")
        for name in ("jerk_limit", "steering_rate", "wheelbase", "gyration", "tyre_stiffness"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1e6:
                raise InputError(f"dynamics: {name} is {value}, must be positive")
        if not 0.0 < self.rear_axle < self.wheelbase:
            raise InputError(f"dynamics: rear_axle is {self.rear_axle} m, must be within the wheelbase")
        if not 1.0 <= self.blend_speeds[0] < self.blend_speeds[1]:
            raise InputError(f"dynamics: blend_speeds is {self.blend_speeds}, must be two rising speeds from 1 m/s on")


def dynamics_of(values: "Dynamics | Mapping[str, Any]") -> Dynamics:
    """Return dynamics from plain data, such as a JSON configuration.

    Raises:
        InputError: A name or a value is wrong.
    """
    if isinstance(values, Dynamics):
        return values
    return Dynamics(**plain_values(values, Dynamics, "dynamics"))
