"""Block sizes of the Triton kernels, looked up when a kernel is first launched on a device.

``SETTINGS`` are those of ``operators.py``, for compute capability 8.0 and later. A file ``tuned/<device>.json`` in this
folder, as ``kernels/benchmarks/tune.py`` writes it, takes precedence for the device of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from alpamayo_kernels.operators import OPERATORS

SETTINGS = {key: dict(values) for operator in OPERATORS for key, values in operator.settings.items()}
FOLDER = Path(__file__).parent / "tuned"
_LAUNCH = ("num_warps", "num_stages")


def settings(operator: str, device: torch.device) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the block sizes of an operator, and the options of its launch (``num_warps``, ``num_stages``)."""
    return _settings(operator, file_name(device))


def file_name(device: torch.device) -> str:
    """Return the name of the file with a device's own settings; ``cpu`` for the interpreter."""
    if device.type != "cuda":
        return "cpu"
    return torch.cuda.get_device_name(device).lower().replace(" ", "-")


def forget() -> None:
    """Read the table and its files again at the next launch."""
    _settings.cache_clear()
    _tuned.cache_clear()


@cache
def _settings(operator: str, name: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
    chosen = {**SETTINGS[operator], **_tuned(name).get(operator, {})}
    launch = {key: value for key, value in chosen.items() if key in _LAUNCH}
    return {key: value for key, value in chosen.items() if key not in launch}, launch


@cache
def _tuned(name: str) -> dict[str, dict[str, int]]:
    path = FOLDER / f"{name}.json"
    found: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found
