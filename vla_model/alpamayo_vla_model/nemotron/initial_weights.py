"""The published initial values of a Nemotron model's parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpamayo_vla_model.nemotron.config import NemotronConfig


def initial_value(name: str, parameter: Tensor, c: NemotronConfig, generator: torch.Generator) -> Tensor:
    """Return the published initial value of one parameter."""
    shape, leaf = parameter.shape, name.rsplit(".", 1)[-1]

    def uniform(bound: float) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * bound

    if leaf == "A_log":
        return torch.arange(1, len(parameter) + 1).float().log()
    if leaf == "D" or "norm" in name.rsplit(".", 2)[-2]:
        return torch.ones(shape)
    if leaf == "dt_bias":
        low, high = math.log(c.time_step_min), math.log(c.time_step_max)
        dt = torch.exp(torch.rand(shape, generator=generator) * (high - low) + low).clamp(min=c.time_step_floor)
        return dt + torch.log(-torch.expm1(-dt))
    if "conv1d" in name:
        return uniform(c.conv_kernel**-0.5)
    if leaf == "bias":
        return torch.zeros(shape)
    if name.endswith("out_proj.weight"):
        return uniform((shape[1] * len(c.pattern)) ** -0.5)
    return torch.randn(shape, generator=generator) * c.initializer_range
