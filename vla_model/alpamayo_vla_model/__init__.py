"""The driver: Nemotron backbone, vision, reasoning and action expert.

Names are imported when they are first used, since PyTorch takes its time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo_vla_model.config import AlpamayoConfig
    from alpamayo_vla_model.driver import TinyDriver, load_driver
    from alpamayo_vla_model.inputs import Inputs
    from alpamayo_vla_model.model import AlpamayoModel

_HOME = {
    "AlpamayoConfig": "config",
    "AlpamayoModel": "model",
    "Inputs": "inputs",
    "TinyDriver": "driver",
    "load_driver": "driver",
}

__all__ = ["AlpamayoConfig", "AlpamayoModel", "Inputs", "TinyDriver", "load_driver"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
