"""Choosing the experts of each token."""

from alpamayo_kernels.router.naive import route_top_k

__all__ = ["route_top_k"]
