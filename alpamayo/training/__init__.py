"""Training of the drivers ``tiny`` (``belief``, ``perception``, ``reasoner``) and ``end-to-end``.

Each name of ``__init__.pyi`` is loaded when it is first used, since PyTorch takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
