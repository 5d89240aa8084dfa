"""Values, shapes and positions in CommonRoad's XML."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.errors import InputError

Array = np.ndarray

MAX_STEPS = 100_000


def number(element: Element | None, where: str) -> float | None:
    """Return an exact value or the middle of an interval; None where there is no element."""
    if element is None:
        return None
    if (exact := element.find("exact")) is not None:
        return _float(exact.text, where)
    if (first := element.find("intervalStart")) is not None and (last := element.find("intervalEnd")) is not None:
        return 0.5 * (_float(first.text, where) + _float(last.text, where))
    raise InputError(f"{where}: has neither exact nor intervalStart and intervalEnd")


def time_step(state: Element, where: str) -> int:
    """Return the time step of a state or occupancy; of a goal's interval the last one."""
    time = state.find("time")
    if time is None:
        raise InputError(f"{where}: a state has no time")
    value = _float(end.text, where) if (end := time.find("intervalEnd")) is not None else number(time, f"{where}: time")
    if value is None or not 0 <= value < MAX_STEPS or value != round(value):
        raise InputError(f"{where}: time is {value}, must be a step in [0, {MAX_STEPS})")
    return int(value)


def position(element: Element, centres: Mapping[str, Array], where: str) -> Float64[Array, "3"]:
    """Return the place that a position element gives: a point, or the middle of an area or of lanelets."""
    if (spot := element.find("point")) is not None:
        return point(spot, where)
    named = [centres[str(lane.get("ref"))] for lane in element.findall("lanelet") if str(lane.get("ref")) in centres]
    if named:
        return np.asarray(np.mean(named, axis=0))
    centre, _, _ = outline(element, where)
    return np.append(centre, 0.0)


def point(element: Element, where: str) -> Float64[Array, "3"]:
    """Return a point; z is 0 where it is missing."""
    found = [_float(element.findtext(axis), f"{where}: {axis}") for axis in "xy"]
    z = element.findtext("z")
    return np.array([*found, 0.0 if z is None else _float(z, f"{where}: z")])


def points(element: Element, where: str) -> Float64[Array, "n 3"]:
    """Return the points of a bound or polygon."""
    return np.array([point(item, where) for item in element.findall("point")]).reshape(-1, 3)


def shape_size(shape: Element, where: str) -> tuple[Float64[Array, "2"], Array, float]:
    """Return length and width (m) of a shape, and where its middle is and how it is turned in its own frame."""
    centre, size, turn = outline(shape, where)
    if not np.all(size > 0):
        raise InputError(f"{where}: the shape's length and width must be positive")
    return size, centre, turn


def outline(element: Element, where: str) -> tuple[Float64[Array, "2"], Float64[Array, "2"], float]:
    """Return centre, length and width (m) and orientation (rad) of the first shape in an element."""
    if (box := element.find("rectangle")) is not None:
        size = np.array([_float(box.findtext(side), f"{where}: {side}") for side in ("length", "width")])
        turn = box.findtext("orientation")
        return _centre(box, where), size, 0.0 if turn is None else _float(turn, f"{where}: orientation")
    if (circle := element.find("circle")) is not None:
        return _centre(circle, where), np.full(2, 2.0 * _float(circle.findtext("radius"), f"{where}: radius")), 0.0
    if (polygon := element.find("polygon")) is not None and len(ring := points(polygon, where)[:, :2]):
        return 0.5 * (ring.min(axis=0) + ring.max(axis=0)), np.ptp(ring, axis=0), 0.0
    raise InputError(f"{where}: has no point, rectangle, circle or polygon")


def reference(element: Element) -> str:
    """Return the id that an element refers to."""
    return str(element.get("ref"))


def _centre(element: Element, where: str) -> Float64[Array, "2"]:
    centre = element.find("center")
    return np.zeros(2) if centre is None else point(centre, f"{where}: center")[:2]


def _float(value: str | None, where: str) -> float:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where}: is {value!r}, must be a number") from None
    if not np.isfinite(found):
        raise InputError(f"{where}: is {value!r}, must be finite")
    return found
