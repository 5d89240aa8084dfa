"""How large a Nemotron model is and how fast it could decode: the figures behind ``alpamayo model info``.

Nothing is allocated: parameters are counted on the meta device, memory and speed follow from the shapes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo_vla_model.nemotron.errors import NemotronInputError

if TYPE_CHECKING:
    from alpamayo_vla_model.nemotron import NemotronConfig

# Memory bandwidth in bytes a second, from the vendors' data sheets.
DEVICES: dict[str, float] = {
    "a100-80gb": 2.039e12,
    "h100-sxm": 3.35e12,
    "h200": 4.8e12,
    "b200": 8.0e12,
    "rtx-4090": 1.008e12,
    "dgx-spark": 0.273e12,
    "jetson-thor": 0.273e12,
    "cpu-ddr5-2ch": 0.0768e12,
}
DEFAULT_CONTEXT = 32768
WEIGHT_BYTES: dict[str, float] = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "nvfp4": 0.5625,
}


@dataclass(frozen=True)
class ModelInfo:
    """Sizes and limits of one model at one context length.

    Attributes:
        parameters: All, without the multi-token-prediction block.
        active_parameters: Read for one token, input embeddings included.
        active_parameters_without_embeddings: The same without the input embeddings.
        mtp_parameters: Of the multi-token-prediction block.
        weight_bytes: Of all parameters in the given weight type.
        state_bytes: Mamba-2 states of one sequence (float32) and its convolution inputs (bfloat16).
        cache_bytes: Keys and values of one sequence at the context length (bfloat16).
        roofline_tokens_per_second: Memory-bandwidth limit of decoding one sequence, each token reading the active
            weights and the cache and reading and writing the states once.
    """

    name: str
    pattern: str
    context: int
    weights: str
    device: str
    parameters: int
    active_parameters: int
    active_parameters_without_embeddings: int
    routed_parameters: int
    mtp_parameters: int
    weight_bytes: int
    state_bytes: int
    cache_bytes_per_token: int
    cache_bytes: int
    roofline_tokens_per_second: float

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data, for JSON."""
        return asdict(self)


def model_info(
    source: str | Path, *, context: int | None = None, device: str = "h200", weights: str = "bfloat16"
) -> ModelInfo:
    """Describe a preset or a folder with a ``config.json``.

    Args:
        source: Name of a preset, or a folder.
        context: Tokens in the cache; None: 32,768, or the model's limit where that is lower.
        device: A name in ``DEVICES``.
        weights: A name in ``WEIGHT_BYTES``: the type in which weights are stored.

    Raises:
        NemotronInputError: No such preset, folder, device or type; a context beyond the model's limit.
    """
    from alpamayo_vla_model.nemotron.config import PRESETS, NemotronConfig

    if str(source) in PRESETS or not Path(source).exists():
        config = NemotronConfig.preset(str(source))
    else:
        config = NemotronConfig.from_file(Path(source) / "config.json")
    for value, table in ((device, DEVICES), (weights, WEIGHT_BYTES)):
        if value not in table:
            raise NemotronInputError(f"unknown {value!r}: choose one of {', '.join(table)}")
    if context is None:
        context = min(DEFAULT_CONTEXT, config.max_position_embeddings)
    if not 0 <= context <= config.max_position_embeddings:
        raise NemotronInputError(f"context is {context}, the model's limit is {config.max_position_embeddings}")
    return _describe(str(source), config, context, device, weights)


def format_value(name: str, value: Any) -> str:
    """Return a figure of ``ModelInfo`` with its unit: parameters in millions or billions, bytes in MiB or GiB."""
    if "parameters" in name:
        return f"{value / 1e9:,.2f} B" if value >= 1e9 else f"{value / 1e6:,.2f} M"
    if "bytes" in name:
        return (
            f"{value / 2**30:,.2f} GiB"
            if value >= 2**30
            else f"{value / 2**20:,.2f} MiB"
            if value >= 2**20
            else f"{value:,} B"
        )
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _describe(name: str, config: NemotronConfig, context: int, device: str, weights: str) -> ModelInfo:
    total, routed, mtp = count_parameters(config)
    embeddings = config.vocab_size * config.hidden_size
    active = total - routed + routed * config.num_experts_per_tok // config.n_routed_experts
    without = active - (0 if config.tie_word_embeddings else embeddings)
    mamba = config.pattern.count("M")
    states = 4 * mamba * config.d_inner * config.ssm_state_size
    convolution = 2 * mamba * (config.conv_kernel - 1) * config.conv_dim
    per_token = 2 * 2 * config.pattern.count("*") * config.num_key_value_heads * config.head_dim
    moved = without * WEIGHT_BYTES[weights] + 2 * (states + convolution) + context * per_token
    return ModelInfo(
        name=name,
        pattern=config.pattern,
        context=context,
        weights=weights,
        device=device,
        parameters=total,
        active_parameters=active,
        active_parameters_without_embeddings=without,
        routed_parameters=routed,
        mtp_parameters=mtp,
        weight_bytes=int((total + mtp) * WEIGHT_BYTES[weights]),
        state_bytes=states + convolution,
        cache_bytes_per_token=per_token,
        cache_bytes=context * per_token,
        roofline_tokens_per_second=DEVICES[device] / moved,
    )


def count_parameters(config: NemotronConfig) -> tuple[int, int, int]:
    """Return the numbers of parameters: all without MTP, those of routed experts, and those of the MTP block."""
    from alpamayo_vla_model.nemotron import NemotronModel

    sizes = {name: p.numel() for name, p in NemotronModel(config, device="meta").named_parameters()}
    mtp = sum(size for name, size in sizes.items() if name.startswith("mtp."))
    routed = sum(size for name, size in sizes.items() if ".experts." in name and not name.startswith("mtp."))
    return sum(sizes.values()) - mtp, routed, mtp
