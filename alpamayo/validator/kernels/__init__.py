"""The validator's inner loops, compiled by Warp: boxes against boxes, RSS, time to collision.

All values are float64. A box is x, y, cosine and sine of its heading at the centre (``vec4d``), and its half length
and half width. One thread handles one motion and writes only that motion's row: the same input gives the same bits.

Loops over agents handle ``layout.SIMD_WIDTH`` agents at once, in short C++ that the compiler vectorises. Contacts and
distances use blocks of ``layout.BLOCK_STEPS`` steps: bounds over a block exclude agents that cannot matter in it. The
bounds are conservative, so an exclusion never changes a result. ``tests/validator/reference.py`` has the same
computations in plain numpy.
"""
