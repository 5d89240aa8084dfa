"""The causal depthwise convolution of Mamba-2."""

from alpamayo_kernels.conv1d.shifted import causal_conv1d

__all__ = ["causal_conv1d"]
