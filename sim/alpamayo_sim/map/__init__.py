"""Map queries: nearest lane, drivable area, and the Frenet frame of a path."""
