"""Reference drivers: what the VLA is compared with, and the expert that teaches it."""

from collections.abc import Callable
from types import MappingProxyType

from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.drivers.constant_velocity import ConstantVelocity
from alpamayo_sim.drivers.expert import Expert
from alpamayo_sim.drivers.idm import IdmLaneFollower
from alpamayo_sim.errors import unknown_name

REFERENCE_DRIVERS: MappingProxyType[str, Callable[[], Driver]] = MappingProxyType(
    {driver.name: driver for driver in (ConstantVelocity, IdmLaneFollower, Expert)}
)

__all__ = ["REFERENCE_DRIVERS", "ConstantVelocity", "Expert", "IdmLaneFollower", "get_driver"]


def get_driver(name: str) -> Driver:
    """A new reference driver.

    Raises:
        InputError: there is none of that name; the message offers the near ones.
    """
    if name not in REFERENCE_DRIVERS:
        raise unknown_name("driver", name, tuple(REFERENCE_DRIVERS))
    return REFERENCE_DRIVERS[name]()
