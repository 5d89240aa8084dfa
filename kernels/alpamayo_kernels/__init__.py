"""The operators: naive truth, Triton kernels and their dispatch."""
