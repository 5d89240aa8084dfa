"""Training of the driver's perception from the renderer's exact labels."""
