"""Longitude and latitude in metres: Universal Transverse Mercator on the WGS 84 ellipsoid.

Series of Krüger (1912) to the fourth order of the third flattening, as in Karney (2011), "Transverse Mercator with an
accuracy of a few nanometers"; a millimetre within the zone and its neighbours.
"""

import numpy as np
from jaxtyping import Float64

Array = np.ndarray

SEMI_MAJOR_AXIS_M = 6378137.0
FLATTENING = 1.0 / 298.257223563
SCALE = 0.9996
FALSE_EASTING_M = 500_000.0
FALSE_NORTHING_M = 10_000_000.0  # of the southern half
NORTH_EPSG, SOUTH_EPSG = 32600, 32700  # plus the zone


def is_utm(epsg: int) -> bool:
    """Return whether an EPSG code is that of a UTM zone on WGS 84."""
    return 1 <= epsg - NORTH_EPSG <= 60 or 1 <= epsg - SOUTH_EPSG <= 60


def project_utm(longitude_latitude: Float64[Array, "n 2"], epsg: int) -> Float64[Array, "n 2"]:
    """Return easting and northing (m) of longitudes and latitudes (degrees) in a UTM zone by its EPSG code."""
    south = epsg > SOUTH_EPSG
    zone = epsg - (SOUTH_EPSG if south else NORTH_EPSG)
    central = np.radians(6.0 * zone - 183.0)
    longitude, latitude = np.radians(longitude_latitude).T
    n = FLATTENING / (2.0 - FLATTENING)
    radius = SEMI_MAJOR_AXIS_M / (1.0 + n) * (1.0 + n**2 / 4.0 + n**4 / 64.0)
    alpha = (
        n / 2.0 - 2.0 * n**2 / 3.0 + 5.0 * n**3 / 16.0 + 41.0 * n**4 / 180.0,
        13.0 * n**2 / 48.0 - 3.0 * n**3 / 5.0 + 557.0 * n**4 / 1440.0,
        61.0 * n**3 / 240.0 - 103.0 * n**4 / 140.0,
        49561.0 * n**4 / 161280.0,
    )
    eccentricity = 2.0 * np.sqrt(n) / (1.0 + n)
    sine = np.sin(latitude)
    t = np.sinh(np.arctanh(sine) - eccentricity * np.arctanh(eccentricity * sine))
    off = longitude - central
    xi, eta = np.arctan2(t, np.cos(off)), np.arctanh(np.sin(off) / np.sqrt(1.0 + t**2))
    east, north = eta.copy(), xi.copy()
    for j, factor in enumerate(alpha, 1):
        east += factor * np.cos(2 * j * xi) * np.sinh(2 * j * eta)
        north += factor * np.sin(2 * j * xi) * np.cosh(2 * j * eta)
    x = FALSE_EASTING_M + SCALE * radius * east
    y = (FALSE_NORTHING_M if south else 0.0) + SCALE * radius * north
    return np.stack([x, y], axis=1)
