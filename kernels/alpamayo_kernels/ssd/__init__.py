"""The state-space scan of Mamba-2 over whole sequences."""

from alpamayo_kernels.ssd.chunk import ssd_scan

__all__ = ["ssd_scan"]
