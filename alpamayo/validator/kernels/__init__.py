"""The validator's inner loops, compiled by Warp: boxes against boxes, RSS, the nearest segments of a map.

Everything is float64. A box is x, y, cosine, sine of its centre's heading (``vec4d``) and its half length and width.
One thread looks at one motion (or one point) and writes its own row alone, so the same input gives the same bits.

The loops over road users look at ``packed.ABREAST`` of them at once, in short C++ that the compiler turns into vectors.
Contacts and distances go by blocks of ``packed.BLOCK`` steps: who cannot matter in a whole block, by bounds that hold
whatever happens within it, is not looked at step by step. What is left out never changes a result.
``tests/validator/reference.py`` says the same in plain numpy.
"""
