"""The table of operators: tests, benchmarks, block sizes and the README read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Operator:
    """One folder of this package.

    Attributes:
        name: The folder.
        functions: Public functions; ``naive.py`` has the reference of each.
        pytorch: Module that runs where there is no GPU. Empty for an operator of one version, which is its own
            reference: its folder holds ``__init__.py`` alone.
        triton: Modules with Triton kernels.
        settings: Block sizes and launch options of the kernels, for compute capability 8.0 and later. Rows and
            columns of blocks are powers of two; ``num_warps`` and ``num_stages`` go to Triton as they are.
    """

    name: str
    functions: tuple[str, ...]
    pytorch: str
    triton: tuple[str, ...] = ("triton",)
    settings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


OPERATORS = (
    Operator(
        "attention",
        ("gqa_attention", "shared_prefix_attention"),
        "sdpa",
        settings={
            "attention.decode": {"keys": 64, "num_warps": 4, "num_stages": 2},
            "attention.prefill": {"queries": 64, "keys": 64, "num_warps": 4, "num_stages": 2},
            "attention.gradient": {"queries": 32, "keys": 64, "num_warps": 4, "num_stages": 1},
        },
    ),
    Operator(
        "conv1d",
        ("causal_conv1d",),
        "shifted",
        settings={
            "conv1d": {"time": 32, "channels": 64, "num_warps": 4},
            "conv1d.update": {"channels": 256, "num_warps": 4},
        },
    ),
    Operator(
        "experts",
        ("routed_mlp",),
        "grouped",
        settings={
            "experts": {"columns": 64, "inner": 64, "num_warps": 4, "num_stages": 3},
            "experts.weights": {"rows": 64, "columns": 64, "inner": 32, "num_warps": 4, "num_stages": 2},
        },
    ),
    Operator("norm", ("rms_norm", "gated_rms_norm"), "fused", settings={"norm.gradient": {"programs": 512}}),
    Operator("router", ("route_top_k",), "naive"),
    Operator("sampling", ("sample_masked",), "naive", settings={"sampling": {"vocabulary": 4096, "num_warps": 8}}),
    Operator(
        "ssd",
        ("ssd_scan",),
        "chunk",
        ("triton", "triton_gradient"),
        settings={
            "ssd.states": {"inner": 32, "num_warps": 4, "num_stages": 2},
            "ssd.passing": {"numbers": 1024, "num_warps": 4},
            "ssd.outputs": {"outer": 64, "inner": 32, "num_warps": 4, "num_stages": 2},
            "ssd.gradient": {"outer": 64, "inner": 32, "num_warps": 8, "num_stages": 1},
        },
    ),
    Operator(
        "state_update", ("selective_state_update",), "fused", settings={"state_update": {"rows": 32, "num_warps": 4}}
    ),
    Operator(
        "quantisation",
        (),
        "nvfp4",
        settings={"quantisation": {"columns": 64, "inner": 32, "num_warps": 4, "num_stages": 3}},
    ),
)
