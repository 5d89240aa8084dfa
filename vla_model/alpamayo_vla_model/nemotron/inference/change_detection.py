"""Finds what would make a model answer differently from the weights and modules that it was compiled from.

PyTorch has no public way to list hooks or to see a parameter replaced; this module alone reads the dictionaries in
which ``nn.Module`` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from alpamayo_kernels import cpu_step
from alpamayo_vla_model.nemotron import model as general

_CLASSES = (
    general.Attention, general.Block, general.Experts, general.Linear, general.MLP, general.MoE, general.MTP,
    general.Mamba2, general.RMSNorm, general.Router,
)  # fmt: skip
# The functions that the compiled step stands for, as they were when this module was imported.
_FUNCTIONS: list[tuple[Mapping[str, Any], str, Any]] = [
    (vars(each), name, function) for each in _CLASSES for name, function in vars(each).items() if callable(function)
] + [(vars(nn.Module), name, vars(nn.Module)[name]) for name in ("__call__", "_call_impl")]
_OF_THE_MODEL = frozenset({"forward", "features", "_run"})  # what the compiled model does in the model's place


def obstacle(model: nn.Module, modules: Sequence[nn.Module]) -> str | None:
    """Return what keeps a compiled step from standing for some modules of a model; None where nothing does."""
    if model.training:
        return "the model is in training mode"
    if any(_hooks(model, modules)):
        return "a module has a forward hook, which the compiled step would not call"
    if _OF_THE_MODEL & set(vars(model)) or any(callable(getattr(type(m), n, None)) for m in modules for n in vars(m)):
        return "a module's forward method is patched"
    if any(owner.get(name) is not function for owner, name, function in _FUNCTIONS):
        return "a method of a module's class is patched"
    return None


class ChangeDetector:
    """Remembers a model's modules, hooks and weights, and finds a change of them.

    Args:
        model: The model, with ``obstacle`` None.
        modules: Those of its modules that a compiled step stands for.
    """

    def __init__(self, model: nn.Module, modules: Sequence[nn.Module]) -> None:
        self._model, self._modules = model, list(modules)
        self._owners: list[dict[str, Any]] = [
            owner for m in (model, *modules) for owner in (m._parameters, m._buffers, m._modules)
        ]
        self._values = self._entries()
        self._hooks = _hooks(model, modules)
        self._attributes = [vars(module) for module in modules]
        self._plain = [dict(attributes) for attributes in self._attributes]
        self._sizes = list(map(len, self._attributes))
        of_modules = chain.from_iterable((*m._parameters.values(), *m._buffers.values()) for m in modules)
        self._tensors = [tensor for tensor in of_modules if tensor is not None]
        self._counted = [tensor for tensor in self._tensors if not tensor.is_inference()]
        self._versions, self._places = self._now()
        self._memory = cpu_step.Memory(self._tensors)
        self._probe, self._checksum = self._memory.probe(), self._memory.checksum()

    def changed(self) -> str | None:
        """Return what changed, as far as it is found in microseconds; None where nothing did."""
        if self._model.training:
            return "the model is in training mode"
        if any(self._hooks):
            return "a module has a forward hook, which the compiled step would not call"
        if list(map(len, self._attributes)) != self._sizes or not _OF_THE_MODEL.isdisjoint(vars(self._model)):
            return "a module's forward method is patched"
        if any(owner.get(name) is not function for owner, name, function in _FUNCTIONS):
            return "a method of a module's class is patched"
        values = self._entries()
        same = len(values) == len(self._values) and all(map(is_, values, self._values))
        if not same or self._now() != (self._versions, self._places):
            return "its weights or modules have changed"
        return None if self._memory.probe() == self._probe else "the values of its weights have changed"

    def check(self) -> None:
        """Raise ValueError where a change is found in microseconds."""
        _refuse(self.changed())

    def check_everything(self) -> None:
        """Raise ValueError for any change: of one number of a weight, or of a module's plain attribute."""
        found = self.changed()
        if found is None and self._attributes != self._plain:
            found = "an attribute of a module has changed"
        if found is None and self._memory.checksum() != self._checksum:
            found = "the values of its weights have changed"
        _refuse(found)

    def _entries(self) -> list[Any]:
        return [*chain.from_iterable(owner.values() for owner in self._owners)]

    def _now(self) -> tuple[list[int], list[int]]:
        return list(map(attrgetter("_version"), self._counted)), list(map(Tensor.data_ptr, self._tensors))


def _hooks(model: nn.Module, modules: Sequence[nn.Module]) -> list[Any]:
    """Return the dictionaries of all hooks that a call of the modules would run."""
    own = [hooks for m in (model, *modules) for hooks in (m._forward_hooks, m._forward_pre_hooks)]
    return [*own, torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks]


def _refuse(found: str | None) -> None:
    if found is not None:
        raise ValueError(f"the compiled model is out of date: {found}; use the model itself or compile it again")
