"""Device code of the sensors: NVIDIA Warp functions and kernels."""
