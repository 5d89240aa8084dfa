"""The network of perception: image cells to objects with doubts, and the road along the route.

Two frames, half a second apart, pass one convolutional stem. Tokens of 16 x 16 pixels attend to all cameras of their
own time and to those of the earlier time, which is how motion is seen: features of two frames are compared. The
result is spread over cells of 8 x 8 pixels. Each cell says what it shows and where that thing is.
"""

import json
import math
import reprlib
from dataclasses import asdict, dataclass
from typing import Self

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.json_config import reading_config
from alpamayo_vla_model.perception.objects import CELL, OFFSETS_M, STATIONS, Control, Ground, ObjectClass
from alpamayo_vla_model.vision import PATCH, RAY_FEATURES, Block, RigTensors, ray_features

CLASSES = len(ObjectClass)
RANGES = {"width": (16, 1024, 16), "deep": (32, 4096, 32), "blocks": (0, 64, 1)}  # of the shape, and its multiples
ROUTE_STRIDE = 2  # route points a station
PARTS = {"kind": CLASSES, "bearing": 1, "log_distance": 1, "heading": 2, "log_size": 3, "velocity": 2, "log_doubt": 3}
"""The numbers of a cell: see ``Cells``."""


@dataclass(frozen=True)
class PerceptionConfig:
    """The shape of the network.

    Attributes:
        width: channels of a cell.
        deep: channels of a token.
        blocks: transformer blocks that compare the two frames.
    """

    width: int = 64
    deep: int = 128
    blocks: int = 1

    def __post_init__(self) -> None:
        for name, (low, high, multiple) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high or value % multiple:
                wanted = f"a multiple of {multiple} in [{low}, {high}]"
                raise InputError(f"perception: {name} is {reprlib.repr(value)}, must be {wanted}")

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> Self:
        """Read the text of ``to_json``.

        Raises:
            InputError: it is no such record.
        """
        with reading_config(where, "configuration of perception"):
            return cls(**json.loads(text))


@dataclass(frozen=True, eq=False)
class Cells:
    """The answer of the network for each image cell.

    Attributes:
        kind: logits of ``ObjectClass``.
        bearing: of the object's centre, in cells to the left of the cell's own azimuth.
        log_distance: of the horizontal distance (m) from the camera to the object's centre.
        heading: sine and cosine of the object's heading relative to the cell's azimuth.
        log_size: of length, width, height (m).
        velocity: over ground along and to the left of the cell's azimuth, in 10 m/s.
        log_doubt: of the mean absolute errors of bearing, log distance and velocity.
    """

    kind: Float[Tensor, "b cameras rows columns classes"]
    bearing: Float[Tensor, "b cameras rows columns"]
    log_distance: Float[Tensor, "b cameras rows columns"]
    heading: Float[Tensor, "b cameras rows columns 2"]
    log_size: Float[Tensor, "b cameras rows columns 3"]
    velocity: Float[Tensor, "b cameras rows columns 2"]
    log_doubt: Float[Tensor, "b cameras rows columns 3"]


@dataclass(frozen=True, eq=False)
class Road:
    """The road along the route: logits of ``Ground`` and ``Control``, and the log of the distance (m) to its line."""

    ground: Float[Tensor, "b stations offsets grounds"]
    control: Float[Tensor, "b controls"]
    log_distance: Float[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one frame: of cells, and tokens of patches."""

    cells: Float[Tensor, "b cameras width rows columns"]
    tokens: Float[Tensor, "b tokens deep"]


class PerceptionNetwork(nn.Module):
    """See the module's description.

    Args:
        config: The shape.
        seed: Of the initial weights.
        device: Where the parameters live; ``meta`` allocates nothing.
    """

    def __init__(self, config: PerceptionConfig | None = None, *, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.config = config or PerceptionConfig()
        width, deep, blocks = self.config.width, self.config.deep, self.config.blocks
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            self.stem = nn.ModuleList(
                [
                    nn.Conv2d(3, width // 2, 4, 4),
                    nn.Conv2d(width // 2, width, 3, 2, 1),
                    nn.Conv2d(width, width, 3, 1, 1),
                ]
            )
            self.down = nn.Conv2d(width, deep, 3, 2, 1)
            self.norms = nn.ModuleList([nn.GroupNorm(4, width), nn.GroupNorm(4, width), nn.GroupNorm(4, deep)])
            self.ray = nn.Sequential(nn.Linear(RAY_FEATURES, deep), nn.SiLU(), nn.Linear(deep, deep))
            self.motion = nn.Sequential(nn.Linear(6, deep), nn.SiLU(), nn.Linear(deep, deep))
            self.blocks = nn.ModuleList([Block(deep, deep // 32, context=deep, expansion=2) for _ in range(blocks)])
            self.spread = nn.Linear(deep, 4 * width)
            self.mix = nn.Conv2d(width, width, 3, 1, 1)
            self.norm_mix = nn.GroupNorm(4, width)
            self.cell_head = nn.Conv2d(width, sum(PARTS.values()), 1)
            self.station = nn.Sequential(nn.Linear(7, deep), nn.SiLU(), nn.Linear(deep, deep))
            self.control_query = nn.Parameter(torch.zeros(1, 1, deep))
            self.road_block = Block(deep, deep // 32, context=deep, expansion=2)
            self.ground_head = nn.Linear(deep, len(OFFSETS_M) * len(Ground))
            self.control_head = nn.Linear(deep, len(Control) + 1)
            _begin_without_objects(self.cell_head)

    def features(self, images: UInt8[Tensor, "b cameras height width 3"], rig: RigTensors) -> Features:
        """Return the features of one frame, which serve again as those of the earlier frame later."""
        b, cameras, height, width = images.shape[:4]
        x = images.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        x = functional.pad(x, (0, -width % PATCH, 0, -height % PATCH))
        x = functional.silu(self.stem[0](x))
        x = functional.silu(self.norms[0](self.stem[1](x)))
        cells = x + functional.silu(self.norms[1](self.stem[2](x)))
        tokens = torch.unflatten(functional.silu(self.norms[2](self.down(cells))).permute(0, 2, 3, 1), 0, (b, cameras))
        tokens = tokens + self.ray(ray_features(rig, height, width))
        return Features(torch.unflatten(cells, 0, (b, cameras)), tokens.flatten(1, 3))

    def forward(
        self,
        now: Features,
        earlier: Features,
        motion: Float[Tensor, "b 3"],
        state: Float[Tensor, "b 4"],
        route: Float[Tensor, "b 32 2"],
    ) -> tuple[Cells, Road]:
        """Return what each cell shows, and the road.

        Args:
            now: The features of the newest frame.
            earlier: Those of the frame half a second before.
            motion: x, y (m) and heading (rad) of the ego at that time, in its present frame.
            state: Speed, acceleration, curvature and speed limit, as in ``Inputs.state``.
            route: The route in the ego frame, as in ``Observation``.
        """
        ego = self.motion(torch.cat([motion[:, :1] / 10.0, motion[:, 1:], _moving(state)], dim=1))[:, None]
        x = now.tokens + ego
        for block in self.blocks:
            x = block(x, block.keys_values(earlier.tokens + ego))  # type: ignore[operator]
        return self._cells(x, now), self._road(x, route)

    def _cells(self, tokens: Tensor, now: Features) -> Cells:
        b, cameras, width, rows, columns = now.cells.shape
        spread = self.spread(tokens).view(b * cameras, rows // 2, columns // 2, 4 * width).permute(0, 3, 1, 2)
        x = now.cells.flatten(0, 1) + functional.pixel_shuffle(spread, 2)
        x = x + functional.silu(self.norm_mix(self.mix(x)))
        out = torch.unflatten(self.cell_head(functional.silu(x)).permute(0, 2, 3, 1), 0, (b, cameras)).float()
        parts = dict(zip(PARTS, torch.split(out, list(PARTS.values()), dim=-1), strict=True))
        for name in ("bearing", "log_distance"):
            parts[name] = parts[name][..., 0]
        return Cells(**parts)

    def _road(self, tokens: Tensor, route: Tensor) -> Road:
        b = len(tokens)
        queries = torch.cat([self.station(_stations(route)), self.control_query.expand(b, -1, -1)], dim=1)
        seen = self.road_block(queries, self.road_block.keys_values(tokens))
        ground = self.ground_head(seen[:, :-1]).view(b, STATIONS, len(OFFSETS_M), len(Ground)).float()
        control = self.control_head(seen[:, -1]).float()
        return Road(ground, control[:, :-1], control[:, -1])


def cell_rays(rig: RigTensors, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return the azimuth (rad, ego frame) of each cell's middle, and the angle (rad) that a cell spans."""
    u = CELL * (torch.arange(columns, device=rig.lens.device) + 0.5)
    v = CELL * (torch.arange(rows, device=rig.lens.device) + 0.5)
    focal_x, focal_y, centre_x, centre_y = (part[..., None, None] for part in rig.lens.unbind(-1))
    x = ((u[None, :] - centre_x) / focal_x).expand(*rig.lens.shape[:2], rows, columns)
    y = ((v[:, None] - centre_y) / focal_y).expand_as(x)
    direction = torch.einsum("bcij,bcrsj->bcrsi", rig.rotation, torch.stack([x, y, torch.ones_like(x)], dim=-1))
    azimuth = torch.atan2(direction[..., 1], direction[..., 0])
    return azimuth, (CELL / focal_x / (1.0 + x * x)).expand_as(x)


def _begin_without_objects(head: nn.Conv2d) -> None:
    """Let the initial answer be that nearly all cells are empty."""
    assert head.bias is not None
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.bias[ObjectClass.NOTHING] = math.log(50.0)
        head.bias[CLASSES + 1] = math.log(20.0)


def _moving(state: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3"]:
    speed, acceleration, curvature, _ = state.unbind(-1)
    return torch.stack([speed / 10.0, acceleration / 3.0, speed * curvature], dim=-1)


def _stations(route: Float[Tensor, "b 32 2"]) -> Float[Tensor, "b 16 7"]:
    """Return number, position, azimuth and direction of each station's route point."""
    step = torch.diff(route, dim=1, append=2.0 * route[:, -1:] - route[:, -2:-1])[:, ::ROUTE_STRIDE] / 4.0
    x, y = route[:, ::ROUTE_STRIDE].unbind(-1)
    number = torch.linspace(0.0, 1.0, STATIONS, device=route.device).expand_as(x)
    azimuth = torch.atan2(y, x.clamp(min=1.0))
    return torch.stack([number, x / 50.0, y / 50.0, torch.tanh(y / 5.0), azimuth, *step.unbind(-1)], dim=-1)
