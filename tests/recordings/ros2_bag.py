"""A small ROS 2 bag of a driven scene, without sensors."""

from pathlib import Path

from alpamayo_datasets import Recording, writer_named
from alpamayo_sim import testing


def write_ros2_bag(folder: Path) -> Path:
    """Write a bag of a car that follows another one for a second."""
    scene = testing.scene(testing.moving("other", x=30.0, speed=8.0, steps=11))
    writer_named("ros2-bag").write([Recording(scene)], folder / "out")
    (bag,) = (folder / "out").iterdir()
    return bag
