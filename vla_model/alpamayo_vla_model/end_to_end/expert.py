"""The action expert: flow matching over 64 (acceleration, curvature) pairs, given the backbone's hidden states.

Noise at time 0 becomes actions at time 1 along ``a_t = t a + (1 - t) ε`` with velocity ``a - ε``. The network predicts
the clean actions, and the velocity follows: ``v = (â - a_t) / (1 - t)``. The loss is that of the velocity,
and the last Euler step lands on the network's own clean estimate, so that plans come out smooth.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from alpamayo_vla_model.end_to_end.action_space import STEPS
from alpamayo_vla_model.vision import Block

LEAST_REMAINDER = 0.05  # of 1 - t, which divides a velocity


@dataclass(frozen=True, eq=False)
class ContextKeysValues:
    """The part that all samples of a context share: keys and values of every layer, a summary, and base actions.

    The samples' actions are predicted as a difference to ``base``, which is linear in the last hidden state.
    """

    layers: list[tuple[Tensor, Tensor]]
    summary: Float[Tensor, "b width"]
    base: Float[Tensor, "b 64 2"]


class ActionExpert(nn.Module):
    """Non-causal transformer over the action tokens that cross-attends the hidden states of prompt and reasoning.

    ``group`` consecutive steps share a token (the published expert has one token a step), which a CPU needs: 64
    steps are ``64 / group`` tokens.
    """

    def __init__(self, hidden: int, width: int, layers: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.time_features = 16
        self.read = nn.Sequential(nn.Linear(2 * group + self.time_features, width), nn.SiLU(), nn.Linear(width, width))
        self.place = nn.Parameter(torch.zeros(STEPS // group, width))
        self.summary = nn.Linear(hidden, width)
        self.base = nn.Linear(hidden, 2 * STEPS)
        self.blocks = nn.ModuleList([Block(width, width // 32, context=hidden) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, 2 * group)
        nn.init.normal_(self.place, std=0.02)
        for layer in (self.write, self.base):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def read_context(
        self, hidden: Float[Tensor, "b length hidden"], last: Float[Tensor, "b hidden"]
    ) -> ContextKeysValues:
        """Return the keys and values that all samples share; ``last`` is the hidden state of ``<plan>``."""
        base = self.base(last).unflatten(-1, (STEPS, 2))
        layers = [block.keys_values(hidden) for block in self.blocks]  # type: ignore[operator]
        return ContextKeysValues(layers, self.summary(last), base)

    def clean(
        self,
        noisy: Float[Tensor, "b k 64 2"],
        time: Float[Tensor, "b k"],
        context: ContextKeysValues,
        mask: Bool[Tensor, "b length"] | None = None,
    ) -> Float[Tensor, "b k 64 2"]:
        """Estimate the clean (unit-scale) actions of ``k`` noisy ones a context."""
        b, k = noisy.shape[:2]
        grouped = noisy.reshape(b * k, -1, 2 * self.group)
        times = _time_features(time.reshape(-1), self.time_features)[:, None].expand(-1, grouped.shape[1], -1)
        x = self.read(torch.cat([grouped, times.to(grouped.dtype)], dim=-1)) + self.place
        x = (x.unflatten(0, (b, k)) + context.summary[:, None, None]).flatten(0, 1)
        seen = None if mask is None else mask[:, None, None]
        for block, cross in zip(self.blocks, context.layers, strict=True):
            x = block(x, cross, seen)
        out: Tensor = context.base[:, None] + self.write(self.norm(x)).reshape(b, k, STEPS, 2)
        return out

    def velocity(
        self,
        noisy: Float[Tensor, "b k 64 2"],
        time: Float[Tensor, "b k"],
        context: ContextKeysValues,
        mask: Bool[Tensor, "b length"] | None = None,
    ) -> Float[Tensor, "b k 64 2"]:
        """Return the flow's velocity at ``noisy`` and ``time``."""
        remaining = (1.0 - time).clamp(min=LEAST_REMAINDER)[..., None, None]
        return (self.clean(noisy, time, context, mask) - noisy) / remaining

    def sample(
        self,
        noise: Float[Tensor, "b k 64 2"],
        context: ContextKeysValues,
        mask: Bool[Tensor, "b length"] | None = None,
        steps: int = 6,
    ) -> Float[Tensor, "b k 64 2"]:
        """Integrate from noise to (unit-scale) actions by ``steps`` Euler steps, all samples of a context at once."""
        x = noise
        for i in range(steps):
            time = torch.full(x.shape[:2], i / steps, dtype=x.dtype, device=x.device)
            x = x + self.velocity(x, time, context, mask) / steps
        return x


def _time_features(time: Float[Tensor, " n"], features: int) -> Float[Tensor, "n features"]:
    """Return Fourier features of t at frequencies from 1 to 100, as published."""
    frequencies = torch.logspace(0.0, 2.0, features // 2, device=time.device)
    angles = math.pi * time[:, None] * frequencies
    return math.sqrt(2.0) * torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
