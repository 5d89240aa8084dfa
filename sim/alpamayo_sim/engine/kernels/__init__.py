"""Device code of the engine: NVIDIA Warp functions and kernels."""
