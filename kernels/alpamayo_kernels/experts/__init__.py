"""The routed experts of a mixture."""

from alpamayo_kernels.experts.grouped import routed_mlp

__all__ = ["routed_mlp"]
