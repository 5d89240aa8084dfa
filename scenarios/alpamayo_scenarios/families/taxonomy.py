"""The closed sets that families are sorted by: group, OOD cluster, chain-of-causation trigger, ODD tag."""

import enum


class Group(enum.StrEnum):
    """Groups of the catalogue of families."""

    LONGITUDINAL = "longitudinal"
    LATERAL = "lateral"
    OBSTACLE = "overtake and obstacle"
    INTERSECTION = "intersection"
    VULNERABLE = "vulnerable road users"
    PERCEPTION = "control and perception"


class OodCluster(enum.StrEnum):
    """Clusters of the out-of-distribution reasoning split of the PhysicalAI-AV data set."""

    WORK_ZONES_TEMP_TRAFFIC_CONTROL = "WORK_ZONES_TEMP_TRAFFIC_CONTROL"
    PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY = "PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY"
    SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR = "SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR"
    CYCLISTS_AND_MICROMOBILITY_COMPLEX = "CYCLISTS_AND_MICROMOBILITY_COMPLEX"
    COMPLEX_INTERSECTION_INTERACTION = "COMPLEX_INTERSECTION_INTERACTION"
    OTHER_LONGTAIL = "OTHER_LONGTAIL"
    ANIMALS_BIRDS_ROADKILL = "ANIMALS_BIRDS_ROADKILL"
    EMERGENCY_INCIDENT_SCENE = "EMERGENCY_INCIDENT_SCENE"
    ROAD_DEBRIS_OR_SAFETY_TRACES = "ROAD_DEBRIS_OR_SAFETY_TRACES"


class CocTrigger(enum.StrEnum):
    """Scenario triggers of the chain-of-causation labels (arXiv 2511.00088, table 3)."""

    SLOW_FOR_LEAD = "slow for lead"
    STOP_FOR_LEAD = "stop for lead"
    STOP_FOR_CONTROL = "stop for traffic light or sign"
    RESUME_AT_CONTROL = "resume at traffic light or sign"
    LANE_CHANGE = "lane change"
    YIELD_TO_VRU = "yield to vulnerable road user"
    CUT_IN = "cut-in"
    SPEED_BUMP = "speed bump"
    NUDGE = "nudge"
    BYPASS_CONSTRUCTION = "bypass construction"
    RISKY_DRIVING = "risky driving of others"
    CURVY_ROAD = "curvy road"
    LANE_CHANGE_PREPARATION = "lane change preparation"
    NUDGE_PREPARATION = "nudge preparation"
    PASSING_INTERSECTION = "passing intersection"
    NO_YIELD_TO_VRU = "no need to yield to vulnerable road user"


class OddTag(enum.StrEnum):
    """Tags of the operational design domain, in the words of ISO 34503 where it has them."""

    URBAN = "urban"
    RURAL = "rural"
    MOTORWAY = "motorway"
    ONE_WAY = "one-way carriageway"
    TWO_WAY = "two-way road"
    JUNCTION = "junction"
    SIGNALS = "traffic signals"
    ROUNDABOUT = "roundabout"
    MERGE = "merge"
    CROSSWALK = "crosswalk"
    PARKING = "parking strip"
    WORK_ZONE = "work zone"
    OCCLUSION = "occlusion"
    LOW_FRICTION = "low friction"
    FOG = "fog"
    NIGHT = "night"
