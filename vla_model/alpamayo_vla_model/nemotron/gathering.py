"""Writing a model whose parameters several processes hold: one writes, all give their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor


class Writer:
    """The process that writes a model; used by all processes of a sharded one, in the same order.

    Args:
        parameters: Of the model.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        meshes = (getattr(parameter, "device_mesh", None) for parameter in parameters)
        mesh: Any = next((mesh for mesh in meshes if mesh is not None), None)
        self._group = None if mesh is None else mesh.get_group()
        self._writes = self._group is None or mesh.get_local_rank() == 0
        self._fault: Exception | None = None
        self._last: tuple[Tensor, Tensor] | None = None

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor with the parts of all processes; the latest one is kept for the next call."""
        gather = getattr(tensor, "full_tensor", None)
        if gather is None:
            return tensor
        if self._last is None or self._last[0] is not tensor:
            self._last = tensor, gather()
        return self._last[1]

    def attempt(self, work: Callable[[], None]) -> None:
        """Do a part of the work in the process that writes, unless an earlier part failed.

        A fault is kept until ``finish``: the others still wait for this process's parts.
        """
        if self._writes and self._fault is None:
            try:
                work()
            except Exception as fault:
                self._fault = fault

    def finish(self) -> None:
        """Wait for the process that writes; raise its fault, in the others a RuntimeError with its text."""
        message = [None if self._fault is None else f"{type(self._fault).__name__}: {self._fault}"]
        if self._group is not None:
            dist.broadcast_object_list(message, src=dist.get_global_rank(self._group, 0), group=self._group)
        if self._fault is not None:
            raise self._fault
        if message[0] is not None:
            raise RuntimeError(f"the model was not written: {message[0]}")
