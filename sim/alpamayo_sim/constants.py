"""Physical constants and thresholds that several packages share."""

import math

GRAVITY_MPS2 = 9.81
DEFAULT_FRICTION = 0.9
"""Coefficient of friction of a dry road."""
FROM_BEHIND_RAD = math.radians(150.0)
"""Angle from the ego's heading beyond which another road user is behind it (nuPlan, NAVSIM)."""
LEVEL_GAP_M = 2.5
"""Grounds that are further apart in height are different levels: a bridge leaves 4 m and more for the road below."""
