"""Decoding: the engine, drafting, grammars, and compiled or reduced-precision steps."""
