"""Choosing tokens under a mask."""

from alpamayo_kernels.sampling.naive import sample_masked

__all__ = ["sample_masked"]
