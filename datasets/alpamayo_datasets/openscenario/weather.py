"""Weather, light and friction of a scenario file, as its first EnvironmentAction says."""

from xml.etree.ElementTree import Element

from alpamayo_datasets.xml_elements import number
from alpamayo_sim.constants import DEFAULT_FRICTION
from alpamayo_sim.datatypes.scene import Environment

CLEAR_M = 20_000.0  # the visibility from which there is no fog
FRICTION_RANGE = (0.05, 1.5)


def environment_of(root: Element, where: str) -> Environment:
    """Return the environment at the start; what the file does not say is as usual.

    Raises:
        InputError: A value is no number.
    """
    usual = Environment()
    action = root.find("Storyboard/Init/Actions/GlobalAction/EnvironmentAction/Environment")
    if action is None:
        return usual
    sun, fog = action.find("Weather/Sun"), action.find("Weather/Fog")
    rain, road = action.find("Weather/Precipitation"), action.find("RoadCondition")
    visibility = CLEAR_M if fog is None else number(fog, "visualRange", where)
    friction = DEFAULT_FRICTION * (1.0 if road is None else number(road, "frictionScaleFactor", where))
    wet = rain is not None and rain.get("precipitationType") == "rain"
    return Environment(
        friction=min(max(friction, FRICTION_RANGE[0]), FRICTION_RANGE[1]),
        sun_elevation=usual.sun_elevation if sun is None else number(sun, "elevation", where),
        sun_azimuth=usual.sun_azimuth if sun is None else number(sun, "azimuth", where),
        rain=max(number(rain, "precipitationIntensity", where, 0.0), 0.0) if rain is not None and wet else 0.0,
        visibility=visibility if 0.0 < visibility < CLEAR_M else None,
    )
