"""Training one Nemotron model in several processes, each with a part of its parameters."""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from alpamayo_vla_model.nemotron.model import NemotronModel


def shard(model: NemotronModel, mesh: DeviceMesh) -> NemotronModel:
    """Shard the parameters over the processes of a one-dimensional mesh with PyTorch's ``fully_shard``, in place.

    Every block is gathered by itself when it runs, and so are the multi-token-prediction block, the embeddings and
    the head, which the losses call outside of the model's own forward pass. Balance routers with the mesh's group.

    Args:
        model: With untied embeddings.
        mesh: From ``torch.distributed.init_device_mesh``.
    """
    if model.config.tie_word_embeddings:
        raise ValueError("tied embeddings cannot be sharded apart from the head")
    parts = [*model.layers, model.embeddings, model.lm_head, *([] if model.mtp is None else [model.mtp])]
    for part in parts:
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model
