"""The shape of the driver: one frozen record with presets."""

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import HISTORY_STEPS, ROUTE_POINTS, ROUTE_SPACING, CameraFrames, Observation
from alpamayo_sim.datatypes.rig import Rig, default_rig
from alpamayo_sim.errors import InputError, check_known, shown
from alpamayo_vla_model.json_config import reading_config
from alpamayo_vla_model.nemotron import NemotronConfig
from alpamayo_vla_model.reasoning_text import VOCABULARY

if TYPE_CHECKING:
    from alpamayo_vla_model.end_to_end.model import AlpamayoModel

RANGES = {
    "image_size": (8, 2048),
    "frames": (1, 64),
    "vision_width": (32, 4096),
    "patch_blocks": (0, 64),
    "vision_blocks": (0, 64),
    "expert_width": (32, 4096),
    "expert_layers": (1, 64),
    "action_group": (1, PLAN_STEPS),
    "sample_steps": (1, 1000),
}


@dataclass(frozen=True)
class AlpamayoConfig:
    """The shape of an Alpamayo driver.

    Attributes:
        backbone: The Nemotron hybrid that reads the prompt and speaks the reasoning.
        image_size: Height and width (pixels) of the images that it was made for; others work too.
        frames: Images of the past a camera, at 10 Hz.
        vision_width: Channels of a patch.
        patch_blocks: Transformer blocks over the patches of one camera.
        vision_blocks: Transformer blocks over the pooled tokens of all cameras.
        expert_width: Channels of an action token.
        expert_layers: Blocks of the action expert.
        action_group: Steps of 0.1 s that share an action token.
        sample_steps: Euler steps of the flow.
    """

    backbone: NemotronConfig
    image_size: tuple[int, int] = (96, 160)
    frames: int = 4
    vision_width: int = 128
    patch_blocks: int = 1
    vision_blocks: int = 1
    expert_width: int = 192
    expert_layers: int = 4
    action_group: int = 4
    sample_steps: int = 6

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.backbone.vocab_size < len(VOCABULARY):
            raise InputError(
                f"config: the backbone has {self.backbone.vocab_size} words, the vocabulary {len(VOCABULARY)}"
            )
        for name in ("vision_width", "expert_width"):
            if getattr(self, name) % 32:
                raise InputError(f"config: {name} is {getattr(self, name)}, must be a multiple of 32")
        if PLAN_STEPS % self.action_group:
            raise InputError(f"config: action_group is {self.action_group}, must divide {PLAN_STEPS}")

    def _check_sizes(self) -> None:
        """Check every field against its range, before anything is made of that size."""
        if not isinstance(self.backbone, NemotronConfig):
            raise InputError(f"config: backbone is a {type(self.backbone).__name__}, must be a NemotronConfig")
        if not isinstance(self.image_size, tuple) or len(self.image_size) != 2:
            raise InputError("config: image_size must be height and width")
        sizes = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name in RANGES and f.name != "image_size"
        }
        sizes |= {"image_size[0]": self.image_size[0], "image_size[1]": self.image_size[1]}
        for name, value in sizes.items():
            low, high = RANGES[name.partition("[")[0]]
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"config: {name} is {shown(value)}, must be an integer in [{low}, {high}]")

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a named shape.

        ``tiny`` ships trained; ``small`` (55 M) is for one GPU; ``alpamayo-10b`` has the published sizes, 8.2 B of
        vision and language and 2.3 B of action expert; ``test`` runs in milliseconds.

        Raises:
            InputError: there is no such preset.
        """
        check_known("preset", name, PRESETS)
        return cls(**PRESETS[name])

    @property
    def rig(self) -> Rig:
        """The default rig at this image size."""
        height, width = self.image_size
        return default_rig(width, height)

    def create(self, seed: int = 0) -> "AlpamayoModel":
        """Return a model of this shape with initial weights drawn from ``seed``."""
        from alpamayo_vla_model.end_to_end.model import AlpamayoModel

        return AlpamayoModel(self, seed=seed)

    def fake_observation(self, seed: int = 0) -> Observation:
        """Return an observation with random pixels, driving straight at 8 m/s: for tests and timings."""
        rng = np.random.default_rng(seed)
        rig = self.rig
        shape = (len(rig.cameras), self.frames, 3, *rig.image_size)
        times = np.tile(np.arange(1 - self.frames, 1, dtype=np.float32) * np.float32(PLAN_DT), (shape[0], 1))
        history = np.zeros((HISTORY_STEPS, 4), np.float32)
        history[:, 0] = 8.0 * PLAN_DT * np.arange(1 - HISTORY_STEPS, 1)
        history[:, 3] = 8.0
        route = np.zeros((ROUTE_POINTS, 2), np.float32)
        route[:, 0] = ROUTE_SPACING * np.arange(ROUTE_POINTS)
        return Observation(
            time=0.0,
            history=history,
            route=route,
            speed=8.0,
            acceleration=0.0,
            curvature=0.0,
            speed_limit=13.9,
            navigation="Continue straight",
            cameras=CameraFrames(rig, rng.integers(0, 256, shape, np.uint8), times),
        )

    def to_json(self) -> str:
        """Return the record as JSON text."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "backbone"}
        return json.dumps({**values, "backbone": self.backbone.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> Self:
        """Read a record from the text of ``to_json``.

        Raises:
            InputError: it is no such record.
        """
        with reading_config(where, "driver's configuration"):
            values: dict[str, Any] = json.loads(text)
            backbone = NemotronConfig.from_dict(values.pop("backbone"), where)
            height, width = values.pop("image_size")
            return cls(backbone=backbone, image_size=(height, width), **values)


_BACKBONE = NemotronConfig.preset("tiny").with_(
    vocab_size=192, pattern="MEM*EME", mtp_pattern="", num_nextn_predict_layers=0, chunk_size=32
)
_TEST_BACKBONE = _BACKBONE.with_(
    hidden_size=64,
    pattern="ME*",
    num_attention_heads=2,
    num_key_value_heads=1,
    mamba_num_heads=4,
    mamba_head_dim=16,
    ssm_state_size=16,
    n_routed_experts=4,
    moe_intermediate_size=32,
    moe_shared_expert_intermediate_size=32,
    moe_latent_size=None,
)
_SMALL_BACKBONE = NemotronConfig.preset("small").with_(vocab_size=192, mtp_pattern="", num_nextn_predict_layers=0)
# 36 pairs of attention and MLP, as in the language model of Alpamayo 1 and 1.5; two matrices an MLP in place of three.
_LARGE_BACKBONE = _BACKBONE.with_(
    vocab_size=151_936,
    hidden_size=4096,
    pattern="*-" * 36,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=16_384,
    max_position_embeddings=131_072,
)
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"backbone": _BACKBONE},
    "small": {
        "backbone": _SMALL_BACKBONE,
        "vision_width": 192,
        "patch_blocks": 2,
        "vision_blocks": 2,
        "expert_width": 256,
        "action_group": 2,
    },
    "alpamayo-10b": {
        "backbone": _LARGE_BACKBONE,
        "image_size": (320, 576),
        "vision_width": 1152,
        "patch_blocks": 24,
        "vision_blocks": 2,
        "expert_width": 2048,
        "expert_layers": 30,
        "action_group": 1,
        "sample_steps": 10,
    },
    "test": {
        "backbone": _TEST_BACKBONE,
        "image_size": (32, 64),
        "vision_width": 32,
        "expert_width": 64,
        "expert_layers": 2,
        "sample_steps": 3,
    },
}
