"""Sizes that the host code and the compiled loops share."""

BLOCK_STEPS = 8
"""Time steps that the contact loops treat as one block."""
SIMD_WIDTH = 8
"""Agents that the vectorised loops treat at once."""
