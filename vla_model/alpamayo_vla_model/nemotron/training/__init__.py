"""Training of the backbone: losses and sharding."""
