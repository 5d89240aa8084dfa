"""The drivers with weights: ``tiny``, of perception, belief and words, and ``end-to-end``, one network.

Each name of ``__init__.pyi`` is loaded when it is first used, since PyTorch takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
