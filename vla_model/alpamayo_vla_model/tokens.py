"""History, route, state and navigation text as embeddings in front of the reasoning."""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from alpamayo_sim.datatypes.observation import HISTORY_STEPS, ROUTE_POINTS

HISTORY_GROUP = 4  # poses a token
ROUTE_GROUP = 4  # points a token


class EgoInputs(Protocol):
    """A batch with what is known of the ego itself; as in ``Inputs``."""

    @property
    def history(self) -> Float[Tensor, "b 16 4"]:
        """The last poses and speeds."""

    @property
    def route(self) -> Float[Tensor, "b 32 2"]:
        """The points of the route."""

    @property
    def state(self) -> Float[Tensor, "b 4"]:
        """Speed, acceleration, curvature and speed limit."""

    @property
    def navigation(self) -> Int64[Tensor, "b words"]:
        """The words of the navigation."""

    def __len__(self) -> int:
        """Return the number of samples."""


class EgoTokens(nn.Module):
    """Everything but the images: 4 tokens of history, 1 of state, 8 of route, then the words of the navigation."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.history = mlp(HISTORY_GROUP * 5, hidden)
        self.state = mlp(9, hidden)
        self.route = mlp(ROUTE_GROUP * 6, hidden)
        self.place = nn.Parameter(torch.zeros(HISTORY_STEPS // HISTORY_GROUP + 1 + ROUTE_POINTS // ROUTE_GROUP, hidden))

    def forward(self, inputs: EgoInputs, embed: Callable[[Tensor], Tensor]) -> Float[Tensor, "b tokens hidden"]:
        """Embed a batch; ``embed`` gives the embeddings of words."""
        history = self.history(_history_features(inputs.history).reshape(len(inputs), -1, HISTORY_GROUP * 5))
        state = self.state(_state_features(inputs.state))[:, None]
        route = self.route(_route_features(inputs.route).reshape(len(inputs), -1, ROUTE_GROUP * 6))
        numbers = torch.cat([history, state, route], dim=1) + self.place
        return torch.cat([numbers, embed(inputs.navigation).to(numbers.dtype)], dim=1)


def mlp(features: int, hidden: int) -> nn.Sequential:
    """Return the network that makes a token of some features."""
    return nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, hidden))


def _history_features(history: Float[Tensor, "b 16 4"]) -> Float[Tensor, "b 16 5"]:
    x, y, heading, speed = history.unbind(-1)
    return torch.stack([x / 10.0, y, torch.sin(heading), torch.cos(heading) - 1.0, speed / 10.0], dim=-1)


def _state_features(state: Float[Tensor, "b 4"]) -> Float[Tensor, "b 9"]:
    speed, acceleration, curvature, limit = state.unbind(-1)
    known = (limit >= 0.0).to(state.dtype)
    return torch.stack(
        [
            speed / 10.0,
            torch.exp(-speed),
            (speed / 10.0).square(),
            acceleration / 3.0,
            curvature * 10.0,
            speed * curvature,
            known * limit / 10.0,
            known * (limit - speed) / 5.0,
            known,
        ],
        dim=-1,
    )


def _route_features(route: Float[Tensor, "b 32 2"]) -> Float[Tensor, "b 32 6"]:
    """Return points at two scales (near ones need centimetres), and the direction to the next one."""
    x, y = route.unbind(-1)
    step = torch.diff(route, dim=1, append=2.0 * route[:, -1:] - route[:, -2:-1]) / 4.0
    return torch.stack([x / 50.0, y / 50.0, torch.tanh(y / 2.0), torch.tanh(y / 10.0), *step.unbind(-1)], dim=-1)
