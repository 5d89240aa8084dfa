"""The config of a Nemotron-3 model: one frozen record, read from every published spelling.

The field names are those of Hugging Face's ``config.json`` of ``model_type: nemotron_h``, except ``pattern`` and
``mtp_pattern`` (one letter a block: ``M`` Mamba-2, ``E`` mixture of experts, ``*`` attention, ``-`` dense MLP)
and ``norm_eps``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from alpamayo_vla_model.nemotron.errors import NemotronInputError, unknown_name

BLOCKS = "ME*-"

_BLOCK_NAMES = {
    "mamba": "M",
    "mamba2": "M",
    "linear_attention": "M",
    "moe": "E",
    "attention": "*",
    "full_attention": "*",
    "mlp": "-",
}
_SAVED_BLOCK_NAMES = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
_ALIASES = {
    "layer_norm_epsilon": "norm_eps",
    "rms_norm_eps": "norm_eps",
    "mamba_n_groups": "n_groups",
    "mamba_d_conv": "conv_kernel",
    "mamba_dt_min": "time_step_min",
    "mamba_dt_max": "time_step_max",
    "mamba_dt_limit": "time_step_limit",
    "mamba_dt_init_floor": "time_step_floor",
    "mamba_conv_bias": "use_conv_bias",
    "mamba_chunk_size": "chunk_size",
    "num_local_experts": "n_routed_experts",
}
_EXPERT_KEYS = frozenset(
    {
        "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_shared_expert_intermediate_size",
        "moe_latent_size", "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor",
    }
)  # fmt: skip
_LARGEST = 1 << 24
_LARGEST_FILE = 64_000_000


@dataclass(frozen=True)
class NemotronConfig:
    """The shape of a Nemotron-3 hybrid model.

    Attributes:
        pattern: One letter a block, in order: ``M``, ``E``, ``*`` or ``-``.
        mtp_pattern: The blocks of the one physical multi-token-prediction block; empty for none.
        moe_latent_size: Width in which the routed experts work; None for ``hidden_size``.
        time_step_limit: Bounds of the discretisation step; the published semantics is ``(0, inf)``.
        n_group: Router groups; ``topk_group`` of them are kept for every token.
        num_nextn_predict_layers: How many MTP steps the checkpoint was trained for; the block is shared.
    """

    vocab_size: int
    hidden_size: int
    pattern: str
    mtp_pattern: str = ""
    num_nextn_predict_layers: int = 0
    num_attention_heads: int = 32
    num_key_value_heads: int = 2
    head_dim: int = 128
    mamba_num_heads: int = 64
    mamba_head_dim: int = 64
    ssm_state_size: int = 128
    n_groups: int = 8
    conv_kernel: int = 4
    chunk_size: int = 128
    use_conv_bias: bool = True
    use_bias: bool = False
    mlp_bias: bool = False
    intermediate_size: int = 1856
    n_routed_experts: int = 128
    num_experts_per_tok: int = 6
    moe_intermediate_size: int = 1856
    moe_shared_expert_intermediate_size: int = 3712
    moe_latent_size: int | None = None
    n_group: int = 1
    topk_group: int = 1
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 2.5
    norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    time_step_min: float = 0.001
    time_step_max: float = 0.1
    time_step_floor: float = 1e-4
    time_step_limit: tuple[float, float] = (0.0, math.inf)
    initializer_range: float = 0.02
    max_position_embeddings: int = 262144
    bos_token_id: int = 1
    eos_token_id: int | tuple[int, ...] = 2
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def d_inner(self) -> int:
        """Channels of a Mamba-2 block: heads times head dimension (``expand`` plays no part)."""
        return self.mamba_num_heads * self.mamba_head_dim

    @property
    def conv_dim(self) -> int:
        """Channels of the causal convolution: x, B and C."""
        return self.d_inner + 2 * self.n_groups * self.ssm_state_size

    @property
    def expert_size(self) -> int:
        """Width in which the routed experts read and write."""
        return self.moe_latent_size or self.hidden_size

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """All tokens that end a sequence."""
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a named shape: ``tiny``, ``small``, ``nano``, ``super`` or ``ultra``."""
        if name not in PRESETS:
            raise unknown_name("preset", name, PRESETS)
        return cls(**PRESETS[name])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "config") -> Self:
        """Read a ``config.json`` in any of its published spellings; unknown keys are ignored.

        Args:
            values: The parsed file. A vision-language wrapper's ``text_config`` or ``llm_config`` is followed.
            where: Named in the errors.
        """
        for wrapper in ("text_config", "llm_config"):
            if isinstance(values.get(wrapper), Mapping):
                return cls.from_dict(values[wrapper], f"{where}: {wrapper}")
        kind = values.get("model_type", "nemotron_h")
        if kind != "nemotron_h":
            raise NemotronInputError(f"{where}: model_type is {kind!r}, expected 'nemotron_h'")
        return cls(**_read(values, where, {field.name for field in fields(cls)}))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a ``config.json``."""
        return cls.from_dict(read_json(Path(path)), str(path))

    def to_dict(self, dtype: str = "float32") -> dict[str, Any]:
        """Return the ``config.json`` that transformers, vLLM and this package read."""
        values = asdict(self)
        pattern, mtp_pattern = values.pop("pattern"), values.pop("mtp_pattern")
        values["layer_norm_epsilon"] = values.pop("norm_eps")
        values["time_step_limit"] = [
            {"__float__": "Infinity"} if math.isinf(bound) else bound for bound in self.time_step_limit
        ]
        if isinstance(self.eos_token_id, tuple):
            values["eos_token_id"] = list(self.eos_token_id)
        extra = {
            "architectures": ["NemotronHForCausalLM"],
            "model_type": "nemotron_h",
            "dtype": dtype,
            "hybrid_override_pattern": pattern,
            "layers_block_type": [_SAVED_BLOCK_NAMES[block] for block in pattern],
            "num_hidden_layers": len(pattern),
            "attention_bias": False,
            "mlp_hidden_act": "relu2",
            "mamba_hidden_act": "silu",
            "mamba_proj_bias": self.use_bias,
            "mamba_ssm_cache_dtype": "float32",
            "residual_in_fp32": False,
        }
        if "E" in pattern + mtp_pattern:
            extra["n_shared_experts"] = 1
        else:  # readers take a model with these keys for a mixture of experts
            values = {key: value for key, value in values.items() if key not in _EXPERT_KEYS}
        if mtp_pattern:
            extra["mtp_hybrid_override_pattern"] = mtp_pattern
            extra["mtp_layers_block_type"] = [_SAVED_BLOCK_NAMES[block] for block in mtp_pattern]
        return {**extra, **values}

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of at most 64 MB; whatever is wrong with the file is an ``NemotronInputError``."""
    if path.is_file() and path.stat().st_size > _LARGEST_FILE:
        raise NemotronInputError(f"{path}: {path.stat().st_size} bytes, expected at most {_LARGEST_FILE}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NemotronInputError(f"{path}: no such file") from error
    except RecursionError as error:
        raise NemotronInputError(f"{path}: not readable as JSON: nested too deeply") from error
    except (OSError, ValueError) as error:
        raise NemotronInputError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(values, dict):
        raise NemotronInputError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def parse_blocks(blocks: str | Sequence[str], where: str) -> str:
    """Return the pattern string of a pattern or of a list of block names (legacy and new names)."""
    names = [str(name) for name in blocks]
    letters = [name if name in BLOCKS and len(name) == 1 else _BLOCK_NAMES.get(name) for name in names]
    for index, letter in enumerate(letters):
        if letter is None:
            known = ", ".join([*BLOCKS, *_BLOCK_NAMES])
            raise NemotronInputError(f"{where}: unknown block {names[index]!r} at position {index}; known: {known}")
    return "".join(letter for letter in letters if letter is not None)


def _read(values: Mapping[str, Any], where: str, known: set[str]) -> dict[str, Any]:
    named = {_ALIASES.get(key, key): value for key, value in values.items() if value is not None}
    found = {key: value for key, value in named.items() if key in known - {"pattern", "mtp_pattern"}}
    blocks = named.get("hybrid_override_pattern") or named.get("layers_block_type") or named.get("layer_types")
    if not isinstance(blocks, str | list):
        raise NemotronInputError(f"{where}: needs `hybrid_override_pattern` (text) or `layers_block_type` (list)")
    for key in ("vocab_size", "hidden_size"):
        if key not in found:
            raise NemotronInputError(f"{where}: `{key}` is missing")
    found["pattern"] = parse_blocks(blocks, f"{where}: blocks")
    if found.get("num_nextn_predict_layers", 0):
        mtp = named.get("mtp_hybrid_override_pattern") or named.get("mtp_layers_block_type") or "*E"
        found["mtp_pattern"] = parse_blocks(mtp, f"{where}: MTP blocks")
    if "time_step_limit" in found:
        found["time_step_limit"] = _limit(found["time_step_limit"], where)
    if isinstance(found.get("eos_token_id"), list):
        found["eos_token_id"] = tuple(found["eos_token_id"])
    if values.get("num_key_value_heads", 0) is None and "num_attention_heads" in found:
        found["num_key_value_heads"] = found["num_attention_heads"]
    if named.get("attention_bias"):
        raise NemotronInputError(f"{where}: `attention_bias` is true, which no published model uses; expected false")
    for key, expected in (("mlp_hidden_act", "relu2"), ("mamba_hidden_act", "silu")):
        if named.get(key, expected) != expected:
            raise NemotronInputError(f"{where}: `{key}` is {named[key]!r}, expected {expected!r}")
    return found


def _limit(bounds: Any, where: str) -> tuple[float, float]:
    try:
        low, high = (float(b["__float__"]) if isinstance(b, Mapping) else float(b) for b in bounds)
    except (TypeError, ValueError, KeyError) as error:
        raise NemotronInputError(f"{where}: `time_step_limit` is {bounds!r}, expected two numbers") from error
    return low, high


def _check(c: NemotronConfig) -> None:
    """Raise an error for impossible shapes, before anything is allocated."""
    parse_blocks(c.pattern, "config: pattern")
    parse_blocks(c.mtp_pattern, "config: mtp_pattern")
    if not c.pattern:
        raise NemotronInputError("config: pattern is empty, expected at least one of M, E, *, -")
    if len(c.pattern) > 4096:
        raise NemotronInputError(f"config: pattern has {len(c.pattern)} blocks, the limit is 4096")
    for field in fields(c):
        value = getattr(c, field.name)
        if field.type in ("int", "int | None") and value is not None:
            lowest = 0 if field.name.endswith(("token_id", "_layers")) else 1
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not lowest <= value <= _LARGEST:
                raise NemotronInputError(f"config: `{field.name}` is {value!r}, expected a whole number from {lowest}")
        if field.type == "bool" and not isinstance(value, bool):
            raise NemotronInputError(f"config: `{field.name}` is {value!r}, expected true or false")
        if field.type == "float" and not (isinstance(value, int | float) and math.isfinite(value)):
            raise NemotronInputError(f"config: `{field.name}` is {value!r}, expected a finite number")
    if not c.eos_token_ids or not all(type(token) is int and token >= 0 for token in c.eos_token_ids):
        raise NemotronInputError(f"config: `eos_token_id` is {c.eos_token_id!r}, expected token numbers")
    _divides(c, "num_attention_heads", "num_key_value_heads")
    _divides(c, "mamba_num_heads", "n_groups")
    _divides(c, "n_routed_experts", "n_group")
    size = c.n_routed_experts // c.n_group
    if "E" in c.pattern + c.mtp_pattern:
        if not 1 <= c.topk_group <= c.n_group:
            raise NemotronInputError(f"config: `topk_group` is {c.topk_group}, expected 1 to n_group = {c.n_group}")
        if c.num_experts_per_tok > c.topk_group * size:
            raise NemotronInputError(
                f"config: `num_experts_per_tok` is {c.num_experts_per_tok}, "
                f"but the kept groups hold only {c.topk_group * size} experts"
            )
    if not 0 <= c.time_step_limit[0] < c.time_step_limit[1]:
        raise NemotronInputError(f"config: `time_step_limit` is {c.time_step_limit}, expected 0 <= low < high")


def _divides(c: NemotronConfig, whole: str, part: str) -> None:
    if getattr(c, whole) % getattr(c, part):
        raise NemotronInputError(
            f"config: `{whole}` = {getattr(c, whole)} is no multiple of `{part}` = {getattr(c, part)}"
        )


_NANO_PATTERN = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
_SUPER_PATTERN = "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"
_ULTRA_PATTERN = (
    "MEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
)
_PUBLISHED: dict[str, Any] = {"vocab_size": 131072, "num_key_value_heads": 2, "head_dim": 128}
_LATENT: dict[str, Any] = {
    "n_routed_experts": 512,
    "num_experts_per_tok": 22,
    "routed_scaling_factor": 5.0,
    "num_nextn_predict_layers": 1,
    "mtp_pattern": "*E",
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 2048,
        "hidden_size": 192,
        "pattern": "MEM*EMEM*E",
        "mtp_pattern": "*E",
        "num_nextn_predict_layers": 1,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "mamba_num_heads": 12,
        "mamba_head_dim": 32,
        "ssm_state_size": 32,
        "n_groups": 2,
        "chunk_size": 64,
        "intermediate_size": 384,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 128,
        "moe_shared_expert_intermediate_size": 192,
        "moe_latent_size": 96,
        "max_position_embeddings": 8192,
    },
    "small": {
        "vocab_size": 8192,
        "hidden_size": 384,
        "pattern": "MEMEM*EMEMEM*EME",
        "mtp_pattern": "*E",
        "num_nextn_predict_layers": 1,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "mamba_num_heads": 12,
        "mamba_head_dim": 64,
        "ssm_state_size": 64,
        "n_groups": 2,
        "chunk_size": 128,
        "intermediate_size": 768,
        "n_routed_experts": 32,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 384,
        "moe_shared_expert_intermediate_size": 768,
        "moe_latent_size": 192,
    },
    "nano": {
        **_PUBLISHED,
        "hidden_size": 2688,
        "pattern": _NANO_PATTERN,
        "num_attention_heads": 32,
        "mamba_num_heads": 64,
    },
    "super": {
        **_PUBLISHED,
        **_LATENT,
        "hidden_size": 4096,
        "pattern": _SUPER_PATTERN,
        "num_attention_heads": 32,
        "mamba_num_heads": 128,
        "intermediate_size": 2688,
        "moe_intermediate_size": 2688,
        "moe_shared_expert_intermediate_size": 5376,
        "moe_latent_size": 1024,
    },
    "ultra": {
        **_PUBLISHED,
        **_LATENT,
        "hidden_size": 8192,
        "pattern": _ULTRA_PATTERN,
        "num_attention_heads": 64,
        "mamba_num_heads": 256,
        "intermediate_size": 5120,
        "moe_intermediate_size": 5120,
        "moe_shared_expert_intermediate_size": 10240,
        "moe_latent_size": 2048,
    },
}
