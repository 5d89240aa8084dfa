"""Compile every kernel at published shapes for GPUs that are not there; prints one line of JSON a kernel.

Run as a process of its own, without TRITON_INTERPRET.
"""

import importlib
import json
import sys

import triton
from triton.backends.compiler import GPUTarget

# Shared memory that one block may use, by compute capability.
SHARED = {80: 166912, 90: 232448, 100: 232448}
HALF, FLOAT, LONG = "*bf16", "*fp32", "*i64"

# package, kernel, pointer types in order, compile-time values
CASES = [
    ("norm", "_rms_norm_kernel", [FLOAT, HALF, HALF, HALF], {"GATED": True, "BLOCK": 1024}),
    ("norm", "_rms_norm_kernel", [HALF, HALF, HALF, HALF], {"GATED": False, "BLOCK": 8192}),
    (
        "conv1d",
        "_conv_kernel",
        [HALF, HALF, HALF, HALF, HALF],
        {"HAS_STATE": True, "HAS_BIAS": True, "KERNEL": 4, "BT": 32, "BC": 64},
    ),
    (
        "state_update",
        "_update_kernel",
        [FLOAT, HALF, FLOAT, FLOAT, HALF, HALF, HALF, FLOAT, FLOAT],
        {"HAS_D": True, "BP": 32, "BN": 128},
    ),
    ("ssd", "_chunk_state_kernel", [HALF, FLOAT, HALF, FLOAT, FLOAT], {"Q": 128, "BK": 32, "BP": 64, "BN": 128}),
    ("ssd", "_pass_kernel", [FLOAT, FLOAT, FLOAT, FLOAT], {"HAS_FIRST": True, "Q": 128, "BLOCK": 1024}),
    (
        "ssd",
        "_chunk_scan_kernel",
        [HALF, FLOAT, HALF, FLOAT, HALF, FLOAT, FLOAT, FLOAT],
        {"HAS_D": True, "Q": 128, "BQ": 64, "BK": 32, "BP": 64, "BN": 128},
    ),
    (
        "experts",
        "_grouped_kernel",
        [HALF, HALF, HALF, "*i32", "*i32", FLOAT, "*i32"],
        {"SQUARED_RELU": True, "BM": 64, "BN": 64, "BK": 64},
    ),
    (
        "experts",
        "_grouped_kernel",
        [HALF, HALF, FLOAT, "*i32", "*i32", FLOAT, "*i32"],
        {"SQUARED_RELU": False, "BM": 16, "BN": 64, "BK": 64},
    ),
    (
        "attention",
        "_decode_kernel",
        [HALF, HALF, HALF, "*u8", FLOAT, FLOAT],
        {"HAS_MASK": True, "BR": 32, "BS": 64, "BD": 128},
    ),
    ("router", "_route_kernel", [FLOAT, FLOAT, FLOAT, LONG], {"K": 22, "NORMALISE": True, "BLOCK": 512, "BK": 32}),
    ("sampling", "_sample_kernel", [FLOAT, "*u8", FLOAT, LONG], {"HAS_MASK": True, "NOISE": True, "BLOCK": 4096}),
    ("quantisation", "_nvfp4_kernel", [HALF, "*u8", "*u8", FLOAT, HALF], {"BM": 16, "BN": 64, "BK": 32}),
]
FLOATS = {"eps", "scale", "inverse"}


def main() -> None:
    capability = int(sys.argv[1])
    for package, name, pointers, values in CASES:
        kernel = getattr(importlib.import_module(f"alpamayo_kernels.{package}.triton"), name)
        types = iter(pointers)
        signature = {}
        for argument in kernel.arg_names:
            if argument in values:
                signature[argument] = "constexpr"
            elif argument.endswith("_ptr"):
                signature[argument] = next(types)
            else:
                signature[argument] = "fp32" if argument in FLOATS else "i32"
        source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=values)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert len(compiled.asm["cubin"]) > 0
        shared = compiled.metadata.shared
        line = {"kernel": f"{package}.{name}", "shared": shared, "limit": SHARED[capability]}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
