"""OpenDRIVE road networks: read as plain data, and made into the map of a Scene."""

from alpamayo_datasets.opendrive.network import Network
from alpamayo_datasets.opendrive.reader import read_network
from alpamayo_datasets.opendrive.scene_map import raw_map, scene_signals

__all__ = ["Network", "raw_map", "read_network", "scene_signals"]
