"""Sensors: cameras, lidar, radar, frame history and the bird's-eye picture.

Each name of ``__init__.pyi`` is loaded when it is first used, since Warp and OpenCV take their time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
