"""Sun, sky, haze and headlights of an environment, for the cameras' kernels."""

import math

import numpy as np

from alpamayo_sim.datatypes.scene import Environment
from alpamayo_sim.sensors.ground import GRASS
from alpamayo_sim.sensors.kernels import camera as kernel
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

DAY_HORIZON, DAY_ZENITH = np.array([0.80, 0.87, 0.93]), np.array([0.36, 0.58, 0.86])
DUSK_HORIZON, DUSK_ZENITH = np.array([0.93, 0.66, 0.45]), np.array([0.32, 0.40, 0.62])
NIGHT_HORIZON, NIGHT_ZENITH = np.array([0.055, 0.065, 0.10]), np.array([0.012, 0.016, 0.04])
GREY = np.array([0.72, 0.74, 0.76])
CLEAR_VISIBILITY = 6000.0  # m
KOSCHMIEDER = 3.0  # -ln of the contrast (5 %) that visibility is defined by (ICAO, meteorological optical range)


def light_of(environment: Environment) -> kernel.Light:
    """Return the light of an environment; directions in the world's axes.

    Haze follows Koschmieder's law: over a distance d an object's contrast with the horizon falls by
    exp(-3 d / visibility). Day fades to dusk between sun elevations of 0.25 and -0.1 rad, and to night, with
    headlights on, down to -0.15 rad. Rain and fog dull the sky and weaken the sun.
    """
    elevation, azimuth = environment.sun_elevation, environment.sun_azimuth
    day = float(np.clip((elevation + 0.10) / 0.35, 0.0, 1.0))
    night = float(np.clip(-elevation / 0.15, 0.0, 1.0))
    horizon = _blend(DUSK_HORIZON, DAY_HORIZON, day) * (1.0 - night) + NIGHT_HORIZON * night
    zenith = _blend(DUSK_ZENITH, DAY_ZENITH, day) * (1.0 - night) + NIGHT_ZENITH * night
    wet = min(environment.rain / 10.0, 1.0)
    thick = min(300.0 / environment.visibility, 1.0) if environment.visibility is not None else 0.0
    dull = max(thick, 0.7 * wet)
    brightness = 1.0 - night * 0.94
    horizon, zenith = _blend(horizon, GREY * brightness, dull), _blend(zenith, GREY * brightness * 0.9, dull)
    light = kernel.Light()
    cos = math.cos(elevation)
    light.sun = wp.vec3(cos * math.cos(azimuth), cos * math.sin(azimuth), math.sin(elevation))
    light.diffuse = 0.5 * day * (1.0 - 0.85 * dull) if elevation > 0.02 else 0.0
    light.ambient = (0.66 + 0.26 * dull) * (0.25 + 0.75 * day) * (1.0 - night) + 0.10 * night
    light.horizon, light.zenith = wp.vec3(*horizon), wp.vec3(*zenith)
    light.terrain = wp.vec3(*(np.array(GRASS) / 255.0))
    light.haze = KOSCHMIEDER / min(environment.visibility or CLEAR_VISIBILITY, CLEAR_VISIBILITY)
    light.headlights = 0.9 * night
    light.wet = wet
    light.rain = environment.rain
    return light


def sun_of(light: kernel.Light) -> tuple[float, float, float]:
    """Return the direction of the sun that casts shadows; straight down without shadows."""
    return tuple(light.sun) if light.diffuse > 0.0 else (0.0, 0.0, -1.0)


def _blend(a: Array, b: Array, share: float) -> Array:
    return a * (1.0 - share) + b * share
