"""Images of any rig to tokens: a small convolutional stem over stacked frames, and a ray for every patch.

The rig is an input: each patch carries its camera's position and its viewing direction, so that
cameras may be moved, turned, zoomed, added and left out. Every patch of 16 x 16 pixels gets an embedding of its
ray (direction and camera position in the ego frame, as Fourier features), of the angle that a pixel spans, and of
the point where the ray meets level ground.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from alpamayo_sim.datatypes.lenses import Pinhole
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.errors import InputError

PATCH = 16  # pixels a side
OCTAVES = 4
RAY_FEATURES = 3 + 6 * OCTAVES + 3 + 6 + 1 + 3


@dataclass(frozen=True, eq=False)
class RigTensors:
    """A rig as tensors; a batch of one serves every sample.

    ``lens`` is focal x, y and centre x, y in pixels; ``position`` (m) and ``rotation`` as in ``rig.Camera``.
    """

    lens: Float[Tensor, "b cameras 4"]
    position: Float[Tensor, "b cameras 3"]
    rotation: Float[Tensor, "b cameras 3 3"]

    @classmethod
    def of(cls, rig: Rig) -> Self:
        """Return the tensors of ``rig``, a batch of one.

        Raises:
            InputError: a camera that is no pinhole.
        """
        for camera in rig.cameras:
            if not isinstance(camera.optics, Pinhole):
                raise InputError(
                    f"camera {camera.name!r} is {camera.optics.name}; this model was trained on pinhole cameras only"
                )
        lens = np.array([[*camera.focal, *camera.centre] for camera in rig.cameras], np.float32)
        position = np.stack([camera.position for camera in rig.cameras]).astype(np.float32)
        rotation = np.stack([camera.rotation for camera in rig.cameras]).astype(np.float32)
        return cls(*(torch.from_numpy(array)[None] for array in (lens, position, rotation)))


def ray_features(rig: RigTensors, height: int, width: int) -> Float[Tensor, "b cameras rows columns features"]:
    """Return the geometry of each patch, without its pixels, for images of ``height`` x ``width`` pixels."""
    rows, columns = _patches(height), _patches(width)
    v = PATCH * (torch.arange(rows, device=rig.lens.device) + 0.5)
    u = PATCH * (torch.arange(columns, device=rig.lens.device) + 0.5)
    focal_x, focal_y, centre_x, centre_y = (part[..., None, None] for part in rig.lens.unbind(-1))
    x = ((u[None, :] - centre_x) / focal_x).expand(*rig.lens.shape[:2], rows, columns)
    y = ((v[:, None] - centre_y) / focal_y).expand_as(x)
    in_camera = functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)
    direction = torch.einsum("bcij,bcrsj->bcrsi", rig.rotation, in_camera)
    position = rig.position[:, :, None, None].expand_as(direction)
    pixel_angle = torch.log(100.0 / focal_x).expand_as(x)[..., None]
    return torch.cat(
        [
            direction,
            _fourier(direction, OCTAVES),
            position,
            _fourier(0.5 * position, 1),
            pixel_angle,
            _ground_features(direction, position),
        ],
        dim=-1,
    )


def _patches(pixels: int) -> int:
    return -(-pixels // PATCH)


def _fourier(values: Tensor, octaves: int) -> Tensor:
    angles = torch.cat([math.pi * 2**k * values for k in range(octaves)], dim=-1)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


def _ground_features(direction: Tensor, position: Tensor) -> Tensor:
    """Return where a ray meets level ground: 10 m / distance (0 above the horizon), and squashed x and y."""
    slope = (-direction[..., 2] / position[..., 2].clamp(min=0.1)).clamp(min=0.0)
    reach = 1.0 / slope.clamp(min=1e-2)
    meet = position[..., :2] + reach[..., None] * direction[..., :2]
    return torch.cat([(10.0 * slope[..., None]).clamp(max=4.0), torch.tanh(meet / 20.0)], dim=-1)


class ConvolutionStem(nn.Module):
    """Stacked frames to features of 16 x 16 pixel patches: strides 4, 2 and 2, and one residual convolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.first = nn.Conv2d(channels, quarter, 4, 4)
        self.second = nn.Conv2d(quarter, half, 3, 2, 1)
        self.inner = nn.Conv2d(half, half, 3, 1, 1)
        self.third = nn.Conv2d(half, width, 3, 2, 1)
        self.norms = nn.ModuleList([nn.GroupNorm(4, c) for c in (half, half, width)])

    def forward(self, images: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n features rows columns"]:
        """Map images in [-1, 1] to patch features."""
        x = functional.silu(self.first(images.contiguous(memory_format=torch.channels_last)))
        x = functional.silu(self.norms[0](self.second(x)))
        x = x + functional.silu(self.norms[1](self.inner(x)))
        out: Tensor = functional.silu(self.norms[2](self.third(x)))
        return out


class Block(nn.Module):
    """Non-causal pre-norm transformer block: self-attention, cross-attention where there is a context, MLP."""

    def __init__(self, width: int, heads: int, context: int | None = None, expansion: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_self, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        if context is not None:
            self.norm_cross = nn.LayerNorm(width)
            self.q, self.kv = nn.Linear(width, width), nn.Linear(context, 2 * width)
            self.out_cross = nn.Linear(width, width)

    def keys_values(self, context: Float[Tensor, "b length hidden"]) -> tuple[Tensor, Tensor]:
        """Return keys and values of the cross-attention, computed once for many calls."""
        k, v = self.kv(context).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def forward(
        self,
        x: Float[Tensor, "n tokens width"],
        cross: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> Float[Tensor, "n tokens width"]:
        """Map tokens to tokens.

        Args:
            x: Sequences for self-attention.
            cross: keys and values of ``b`` contexts; ``n`` is a multiple of ``b``, and so many sequences in a row
                share each context (which is not copied for them).
            mask: True where the context is visible, ``[b, 1, 1, length]``.
        """
        q, k, v = (self._split(part) for part in self.qkv(self.norm_self(x)).chunk(3, dim=-1))
        x = x + self.out(self._join(functional.scaled_dot_product_attention(q, k, v)))
        if cross is not None:
            contexts = cross[0].shape[0]
            queries = self.q(self.norm_cross(x)).reshape(contexts, -1, x.shape[-1])
            seen = functional.scaled_dot_product_attention(self._split(queries), *cross, attn_mask=mask)
            x = x + self.out_cross(self._join(seen)).view_as(x)
        out: Tensor = x + self.down(functional.silu(self.up(self.norm_mlp(x))))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(-2)


class VisionEncoder(nn.Module):
    """Cameras and their last frames to a few tokens a camera.

    Patches attend to the others of their camera; 2 x 2 of them become one token; tokens attend to all cameras.
    """

    def __init__(self, frames: int, width: int, hidden: int, patch_blocks: int, blocks: int) -> None:
        super().__init__()
        self.frames = frames
        self.stem = ConvolutionStem(3 * frames, width)
        self.ray = nn.Sequential(nn.Linear(RAY_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.patch_blocks = nn.ModuleList([Block(width, width // 32, expansion=2) for _ in range(patch_blocks)])
        self.pool = nn.Linear(4 * width, hidden)
        self.blocks = nn.ModuleList([Block(hidden, hidden // 32, expansion=2) for _ in range(blocks)])

    def forward(
        self, images: UInt8[Tensor, "b cameras frames 3 height width"], rig: RigTensors
    ) -> tuple[Float[Tensor, "b tokens hidden"], Float[Tensor, "b cameras rows columns features"]]:
        """Return the tokens of all cameras, one camera after the other, and the patch features before pooling."""
        b, cameras = images.shape[:2]
        height, width = images.shape[-2:]
        pixels = images.flatten(0, 1).flatten(1, 2).float() / 127.5 - 1.0
        pixels = functional.pad(pixels, (0, -width % PATCH, 0, -height % PATCH))
        patches = self.stem(pixels).permute(0, 2, 3, 1)
        rows, columns = patches.shape[1:3]
        patches = patches.unflatten(0, (b, cameras)) + self.ray(ray_features(rig, height, width))
        x = patches.reshape(b * cameras, rows * columns, -1)
        for block in self.patch_blocks:
            x = block(x)
        patches = x.view(b, cameras, rows, columns, -1)
        tokens = self._pool(x.view(b * cameras, rows, columns, -1)).reshape(b, -1, self.pool.out_features)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens, patches

    def _pool(self, x: Tensor) -> Tensor:
        """Join 2 x 2 patches; an odd row or column is joined with zeros."""
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        n, rows, columns, width = x.shape
        x = x.view(n, rows // 2, 2, columns // 2, 2, width).permute(0, 1, 3, 2, 4, 5)
        out: Tensor = self.pool(x.reshape(n, (rows // 2) * (columns // 2), 4 * width))
        return out
