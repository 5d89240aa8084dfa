"""Evaluation of drivers: on a suite, side by side, with a stop rule, or with importance sampling.

Each name of ``__init__.pyi`` is loaded when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
