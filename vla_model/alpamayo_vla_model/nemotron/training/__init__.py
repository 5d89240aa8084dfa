"""Training of a Nemotron model: losses, router updates, deterministic mode and sharding."""

from alpamayo_vla_model.nemotron.training.losses import (
    Routing,
    deterministic,
    expert_load,
    load_balancing_loss,
    mtp_loss,
    next_token_loss,
    record_routing,
    update_router_bias,
)
from alpamayo_vla_model.nemotron.training.sharding import shard

__all__ = [
    "Routing",
    "deterministic",
    "expert_load",
    "load_balancing_loss",
    "mtp_loss",
    "next_token_loss",
    "record_routing",
    "shard",
    "update_router_bias",
]
