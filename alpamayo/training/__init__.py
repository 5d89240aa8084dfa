"""Training of the driver ``tiny``: data from the expert, the training itself, and what it has learnt.

Names are imported when they are first used, since PyTorch takes its time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo.training.collection import collect
    from alpamayo.training.loop import TrainingSettings, train
    from alpamayo.training.open_loop import evaluate_open_loop
    from alpamayo.training.tiny import TrainingResult, train_tiny

_HOME = {
    "TrainingResult": "tiny",
    "TrainingSettings": "loop",
    "collect": "collection",
    "evaluate_open_loop": "open_loop",
    "train": "loop",
    "train_tiny": "tiny",
}

__all__ = ["TrainingResult", "TrainingSettings", "collect", "evaluate_open_loop", "train", "train_tiny"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
