"""What the ego and the onlooker see: cameras, lidar, radar, frame history and the bird's-eye picture.

Names are imported when they are first used, since Warp and OpenCV take their time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo_sim.sensors.birdseye import BirdsEye
    from alpamayo_sim.sensors.cameras import NO_INSTANCE, CameraImages, CameraRenderer, Flow, WorldCameras
    from alpamayo_sim.sensors.frames import FrameBuffer
    from alpamayo_sim.sensors.lidar import LidarScan, WorldLidar
    from alpamayo_sim.sensors.mesh import StaticMesh, load_mesh
    from alpamayo_sim.sensors.radar import RadarScan, WorldRadar
    from alpamayo_sim.sensors.semantic import PALETTE, Semantic

_HOME = {
    "BirdsEye": "birdseye",
    "CameraImages": "cameras",
    "CameraRenderer": "cameras",
    "Flow": "cameras",
    "FrameBuffer": "frames",
    "LidarScan": "lidar",
    "NO_INSTANCE": "cameras",
    "PALETTE": "semantic",
    "RadarScan": "radar",
    "Semantic": "semantic",
    "StaticMesh": "mesh",
    "WorldCameras": "cameras",
    "WorldLidar": "lidar",
    "WorldRadar": "radar",
    "load_mesh": "mesh",
}

__all__ = [
    "NO_INSTANCE",
    "PALETTE",
    "BirdsEye",
    "CameraImages",
    "CameraRenderer",
    "Flow",
    "FrameBuffer",
    "LidarScan",
    "RadarScan",
    "Semantic",
    "StaticMesh",
    "WorldCameras",
    "WorldLidar",
    "WorldRadar",
    "load_mesh",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
