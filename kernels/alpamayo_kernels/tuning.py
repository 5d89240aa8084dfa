"""Block sizes of the Triton kernels: one table, looked up when a kernel is first launched on a device.

``SETTINGS`` holds what runs anywhere from compute capability 8.0 on. A file ``tuned/<device>.json`` beside this module,
as ``kernels/benchmarks/tune.py`` writes it, takes precedence for the device of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

# Rows and columns of blocks are powers of two; warps and stages go to Triton as they are.
SETTINGS: dict[str, dict[str, int]] = {
    "attention.decode": {"keys": 64, "num_warps": 4, "num_stages": 2},
    "attention.prefill": {"queries": 64, "keys": 64, "num_warps": 4, "num_stages": 2},
    "attention.gradient": {"queries": 32, "keys": 64, "num_warps": 4, "num_stages": 1},
    "conv1d": {"time": 32, "channels": 64, "num_warps": 4},
    "conv1d.update": {"channels": 256, "num_warps": 4},
    "experts": {"columns": 64, "inner": 64, "num_warps": 4, "num_stages": 3},
    "experts.weights": {"rows": 64, "columns": 64, "inner": 32, "num_warps": 4, "num_stages": 2},
    "norm.gradient": {"programs": 512},
    "quantisation": {"columns": 64, "inner": 32, "num_warps": 4, "num_stages": 3},
    "sampling": {"vocabulary": 4096, "num_warps": 8},
    "ssd.states": {"inner": 32, "num_warps": 4, "num_stages": 2},
    "ssd.passing": {"numbers": 1024, "num_warps": 4},
    "ssd.outputs": {"outer": 64, "inner": 32, "num_warps": 4, "num_stages": 2},
    "ssd.gradient": {"outer": 64, "inner": 32, "num_warps": 8, "num_stages": 1},
    "state_update": {"rows": 32, "num_warps": 4},
}
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
    """Read the table and its files anew at the next launch."""
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
