"""Packing: the flat arrays of scenes and scenarios for the kernels."""
