"""Root-mean-square normalisation, plain and gated by groups."""

from alpamayo_kernels.norm.fused import gated_rms_norm, rms_norm

__all__ = ["gated_rms_norm", "rms_norm"]
