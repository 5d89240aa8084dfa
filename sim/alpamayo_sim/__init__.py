"""The world: scene, engine, traffic, sensors, environments and reference drivers."""
