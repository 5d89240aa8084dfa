"""From scenes and scenarios to the flat arrays that the kernels read."""
