"""By which path, and on which processor, a model computes: results repeat to the bit only on the same ones."""

from __future__ import annotations

import torch

from alpamayo_kernels import cpu_step
from alpamayo_vla_model.nemotron.inference.cpu_compiled import CompiledModel, LanguageModel
from alpamayo_vla_model.nemotron.inference.weight_only import StoredLinear
from alpamayo_vla_model.nemotron.model import NemotronModel


def execution_path(model: LanguageModel) -> dict[str, str]:
    """Return what besides code, weights and seed decides the bits of a model's results.

    - ``path``: ``compiled`` (the CPU step of ``compile_for_cpu``) or ``plain`` (PyTorch's operators)
    - ``weights``: How the weights of linear maps are stored, such as ``float32`` or ``int8``
    - ``device``: ``cpu``, or the name of the GPU
    - ``processor``: Vector instructions of the CPU, and the set of them that PyTorch uses
    - ``torch``: Its version
    """
    plain = model.model if isinstance(model, CompiledModel) else model
    device = "cpu" if plain.device.type == "cpu" else torch.cuda.get_device_name(plain.device)
    return {
        "path": "compiled" if isinstance(model, CompiledModel) else "plain",
        "weights": _weights(plain),
        "device": device,
        "processor": f"{' '.join(cpu_step.processor_features())} (PyTorch: {torch.backends.cpu.get_cpu_capability()})",
        "torch": torch.__version__,
    }


def execution_text(model: LanguageModel) -> str:
    """Return ``execution_path`` as one line, which records keep."""
    return "; ".join(f"{name} {value}" for name, value in execution_path(model).items())


def _weights(model: NemotronModel) -> str:
    stored = next((module.weight.dtype for module in model.modules() if isinstance(module, StoredLinear)), model.dtype)
    return str(stored).removeprefix("torch.")
