"""Plain data: what the world is, what a driver receives and what it decides."""
