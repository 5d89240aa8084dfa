"""Compile every kernel at published shapes, without a GPU; print one line of JSON a kernel.

Run as a process of its own, without TRITON_INTERPRET.
"""

import importlib
import json
import re
import sys

import triton
from triton.backends.compiler import GPUTarget

from alpamayo_kernels.operators import OPERATORS
from alpamayo_kernels.tuning import SETTINGS

# Shared memory that one block may use, by compute capability.
SHARED = {80: 166912, 90: 232448, 100: 232448}
HALF, FLOAT, WIDE, INT, LONG, BYTE = "*bf16", "*fp32", "*fp64", "*i32", "*i64", "*u8"
SHAPE = {"Q": 128, "BP": 64, "BN": 128}
BLOCK = {"Q": 128, "BQ": SETTINGS["ssd.outputs"]["outer"], "BK": SETTINGS["ssd.outputs"]["inner"], "BP": 64, "BN": 128}
BACK = {"Q": 128, "BQ": SETTINGS["ssd.gradient"]["outer"], "BP": 64}
CONV = {
    "HAS_STATE": True,
    "HAS_BIAS": True,
    "KERNEL": 4,
    "BT": SETTINGS["conv1d"]["time"],
    "BC": SETTINGS["conv1d"]["channels"],
}
GEMM = {"BN": SETTINGS["experts"]["columns"], "BK": SETTINGS["experts"]["inner"]}


def flash(name: str) -> dict[str, object]:
    """Return the compile-time values of an attention kernel for heads of 128."""
    sizes = SETTINGS[f"attention.{name}"]
    return {"CAUSAL": True, "HAS_MASK": True, "BQ": sizes["queries"], "BS": sizes["keys"], "BD": 128}


# package, kernel, settings that give warps and stages, pointer types in order, compile-time values
CASES = [
    ("norm", "_rms_norm_kernel", "", [FLOAT, HALF, HALF, HALF], {"GATED": True, "BLOCK": 1024}),
    ("norm", "_rms_norm_kernel", "", [HALF, HALF, HALF, HALF], {"GATED": False, "BLOCK": 8192}),
    ("norm", "_gradient_kernel", "", [FLOAT, HALF, HALF, HALF, FLOAT, HALF, FLOAT], {"GATED": True, "BLOCK": 2048}),
    ("conv1d", "_conv_kernel", "conv1d", [HALF] * 5, CONV),
    ("conv1d", "_gate_gradient_kernel", "conv1d", [HALF, HALF, HALF, HALF, HALF, FLOAT, FLOAT], CONV),
    (
        "conv1d",
        "_window_gradient_kernel",
        "conv1d",
        [FLOAT, HALF, HALF],
        {"KERNEL": 4, "BT": CONV["BT"], "BC": CONV["BC"]},
    ),
    (
        "conv1d",
        "_update_kernel",
        "conv1d.update",
        [HALF] * 6,
        {"HAS_BIAS": True, "KERNEL": 4, "BC": SETTINGS["conv1d.update"]["channels"]},
    ),
    (
        "state_update",
        "_update_kernel",
        "state_update",
        [FLOAT, HALF, FLOAT, FLOAT, HALF, HALF, HALF, FLOAT, FLOAT],
        {"HAS_D": True, "BP": SETTINGS["state_update"]["rows"], "BN": 128},
    ),
    (
        "ssd",
        "_chunk_state_kernel",
        "ssd.states",
        [HALF, HALF, FLOAT, FLOAT],
        {**SHAPE, "BK": SETTINGS["ssd.states"]["inner"]},
    ),
    (
        "ssd",
        "_pass_kernel",
        "ssd.passing",
        [FLOAT] * 4,
        {"HAS_FIRST": True, "REVERSE": True, "Q": 128, "BLOCK": SETTINGS["ssd.passing"]["numbers"]},
    ),
    (
        "ssd",
        "_chunk_scan_kernel",
        "ssd.outputs",
        [HALF, FLOAT, HALF, FLOAT, HALF, FLOAT, FLOAT, FLOAT, FLOAT],
        {**BLOCK, "HAS_D": True},
    ),
    ("ssd", "_running_sum_kernel", "", [WIDE, WIDE], {"REVERSE": True, "Q": 128, "BR": 16}),
    (
        "ssd",
        "_input_gradient_kernel",
        "ssd.gradient",
        [FLOAT, HALF, FLOAT, HALF, FLOAT, HALF, FLOAT, FLOAT, FLOAT, HALF, FLOAT, FLOAT],
        {**BACK, "BN": 128, "BK": SETTINGS["ssd.gradient"]["inner"], "HAS_D": True},
    ),
    ("ssd", "_score_gradient_kernel", "ssd.gradient", [FLOAT, HALF, FLOAT, HALF, *[FLOAT] * 5], BACK),
    (
        "ssd",
        "_map_gradient_kernel",
        "ssd.gradient",
        [FLOAT, HALF, FLOAT, FLOAT, FLOAT, FLOAT],
        {**BACK, "BN": 128},
    ),
    *(
        (
            "experts",
            "_grouped_kernel",
            "experts",
            [HALF, HALF, HALF, out, FLOAT, INT, INT, FLOAT, INT],
            {**GEMM, "KIND": kind, "BM": rows, stride: 1},
        )
        for kind, rows, out, stride in (
            (0, 64, HALF, "stride_k"),
            (1, 16, FLOAT, "stride_k"),
            (2, 64, HALF, "stride_o"),
        )
    ),
    (
        "experts",
        "_weight_gradient_kernel",
        "experts.weights",
        [HALF, HALF, HALF, INT, INT, FLOAT, INT, INT],
        dict(zip(("BM", "BN", "BK"), list(SETTINGS["experts.weights"].values())[:3], strict=True)),
    ),
    (
        "attention",
        "_decode_kernel",
        "attention.decode",
        [HALF, HALF, HALF, BYTE, FLOAT, FLOAT],
        {"HAS_MASK": True, "BR": 32, "BS": SETTINGS["attention.decode"]["keys"], "BD": 128},
    ),
    (
        "attention",
        "_prefill_kernel",
        "attention.prefill",
        [HALF, HALF, HALF, BYTE, HALF, FLOAT],
        flash("prefill"),
    ),
    (
        "attention",
        "_query_gradient_kernel",
        "attention.gradient",
        [HALF, HALF, HALF, BYTE, HALF, FLOAT, FLOAT, HALF],
        flash("gradient"),
    ),
    (
        "attention",
        "_key_gradient_kernel",
        "attention.gradient",
        [HALF, HALF, HALF, BYTE, HALF, FLOAT, FLOAT, HALF, HALF],
        flash("gradient"),
    ),
    (
        "router",
        "_route_kernel",
        "",
        [FLOAT, FLOAT, FLOAT, LONG],
        {"K": 22, "KEPT": 0, "NORMALISE": True, "BG": 1, "BE": 512, "BK": 32},
    ),
    (
        "router",
        "_route_kernel",
        "",
        [FLOAT, FLOAT, FLOAT, LONG],
        {"K": 8, "KEPT": 4, "NORMALISE": True, "BG": 8, "BE": 32, "BK": 8},
    ),
    (
        "sampling",
        "_sample_kernel",
        "sampling",
        [FLOAT, BYTE, FLOAT, LONG],
        {"HAS_MASK": True, "NOISE": True, "BLOCK": SETTINGS["sampling"]["vocabulary"]},
    ),
    (
        "quantisation",
        "_nvfp4_kernel",
        "quantisation",
        [HALF, BYTE, BYTE, FLOAT, HALF],
        {"BM": 16, "BN": SETTINGS["quantisation"]["columns"], "BK": SETTINGS["quantisation"]["inner"]},
    ),
]
FLOATS = {"eps", "scale", "inverse"}
ODD = {"batch", "chunks", "groups", "keys", "kv_heads", "queries", "ratio", "rows", "splits", "steps", "time"}


def find(package: str, name: str) -> triton.JITFunction:
    """Return a kernel of a package, from the module that holds it."""
    operator = next(each for each in OPERATORS if each.name == package)
    for path in operator.triton:
        module = importlib.import_module(f"alpamayo_kernels.{package}.{path}")
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"{package}.{name}")


def is_even(argument: str, kind: str) -> bool:
    """Return whether an argument is a pointer or a whole number that 16 divides at published shapes."""
    return kind.startswith("*") or (kind == "i32" and argument not in ODD)


def narrow_products(ttir: str) -> list[str]:
    """Return the 32-bit products of two numbers that are known at run time only: as offsets they may pass 2^31."""
    constants = set(re.findall(r"(%\S+) = arith\.constant", ttir))
    products = re.findall(r"arith\.muli (%\S+), (%\S+) : (?:tensor<[\dx]*x)?i32\b(.*)", ttir)
    return [f"{a} * {b} {place}" for a, b, place in products if not {a, b} & constants]


def main() -> None:
    capability = int(sys.argv[1])
    for package, name, operator, pointers, values in CASES:
        kernel = find(package, name)
        types = iter(pointers)
        signature = {}
        for argument in kernel.arg_names:
            if argument in values:
                signature[argument] = "constexpr"
            elif argument.endswith("_ptr"):
                signature[argument] = next(types)
            else:
                signature[argument] = "fp32" if argument in FLOATS else "i32"
        # Addresses and widths are multiples of 16 when a model runs, which is what makes Triton use shared memory.
        even = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(signature) if is_even(name, signature[name])}
        source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=even)
        options = {k: v for k, v in SETTINGS.get(operator, {}).items() if k in ("num_warps", "num_stages")}
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert len(compiled.asm["cubin"]) > 0
        shared = compiled.metadata.shared
        line = {
            "kernel": f"{package}.{name}",
            "shared": shared,
            "limit": SHARED[capability],
            "narrow": narrow_products(compiled.asm["ttir"]),
        }
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
