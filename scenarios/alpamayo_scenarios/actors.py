"""Sizes of the road users that families name: length, width, height in m."""

from alpamayo_scenarios.stage import Size

ADULT: Size = (0.5, 0.6, 1.75)
CYCLIST: Size = (1.8, 0.65, 1.75)
MOTORCYCLE: Size = (2.2, 0.85, 1.5)
CITY_BUS: Size = (12.0, 2.55, 3.0)
SCHOOL_BUS: Size = (10.5, 2.45, 3.0)
AMBULANCE: Size = (6.2, 2.1, 2.7)
DEER: Size = (1.7, 0.6, 1.3)
DELIVERY_VAN: Size = (5.9, 2.0, 2.5)
FLAT_CAR: Size = (4.4, 1.8, 1.4)
WARNING_TRIANGLE: Size = (0.4, 0.5, 0.6)
