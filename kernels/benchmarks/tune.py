"""Find the block sizes of the Triton kernels on this machine's GPU and write them where the kernels look for them.

    python kernels/benchmarks/tune.py [SETTING ...]

Every candidate of a setting is timed on the operator's case of ``operators.py``; the fastest goes to
``kernels/alpamayo_kernels/tuned/<device>.json``. What does not compile or fit is skipped and counted.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator

import operators
import torch
from triton.runtime.errors import OutOfResources

from alpamayo_kernels import tuning

# For each setting: the case that exercises it, and the values to try.
CANDIDATES: dict[str, tuple[Callable[[], operators.Case], dict[str, tuple[int, ...]]]] = {
    "attention.decode": (operators.attention, {"keys": (32, 64, 128), "num_warps": (2, 4, 8)}),
    "attention.prefill": (
        operators.attention_prefill,
        {"queries": (64, 128), "keys": (32, 64, 128), "num_warps": (4, 8), "num_stages": (2, 3)},
    ),
    "attention.gradient": (
        operators.attention_gradient,
        {"queries": (32, 64), "keys": (32, 64, 128), "num_warps": (4, 8), "num_stages": (1, 2)},
    ),
    "conv1d": (operators.conv1d, {"time": (16, 32, 64), "channels": (32, 64, 128), "num_warps": (2, 4, 8)}),
    "conv1d.update": (operators.conv1d_update, {"channels": (128, 256, 512), "num_warps": (2, 4)}),
    "experts": (
        operators.experts,
        {"columns": (32, 64, 128), "inner": (32, 64, 128), "num_warps": (4, 8), "num_stages": (2, 3, 4)},
    ),
    "experts.weights": (
        operators.experts_gradient,
        {"rows": (64, 128), "columns": (64, 128), "inner": (32, 64), "num_warps": (4, 8), "num_stages": (2, 3)},
    ),
    "norm.gradient": (operators.gated_norm_gradient, {"programs": (128, 256, 512, 1024)}),
    "quantisation": (
        operators.nvfp4_linear,
        {"columns": (16, 32, 64, 128), "inner": (32, 64, 128), "num_warps": (2, 4, 8), "num_stages": (2, 3, 4)},
    ),
    "sampling": (operators.sampling_masked, {"vocabulary": (2048, 4096, 8192), "num_warps": (4, 8, 16)}),
    "ssd.states": (operators.ssd, {"inner": (16, 32, 64), "num_warps": (4, 8), "num_stages": (1, 2, 3)}),
    "ssd.passing": (operators.ssd, {"numbers": (256, 512, 1024, 2048), "num_warps": (4, 8)}),
    "ssd.outputs": (
        operators.ssd,
        {"outer": (32, 64, 128), "inner": (16, 32, 64), "num_warps": (4, 8), "num_stages": (1, 2, 3)},
    ),
    "ssd.gradient": (
        operators.ssd_gradient,
        {"outer": (32, 64), "inner": (16, 32), "num_warps": (4, 8), "num_stages": (1, 2)},
    ),
    "state_update": (operators.state_update, {"rows": (8, 16, 32, 64), "num_warps": (2, 4, 8)}),
}


def options(values: dict[str, tuple[int, ...]]) -> Iterator[dict[str, int]]:
    """Yield every combination of the values."""
    for choice in itertools.product(*values.values()):
        yield dict(zip(values, choice, strict=True))


def fastest(setting: str) -> dict[str, int]:
    """Return the best candidate of a setting; the present one is among those timed."""
    make, values = CANDIDATES[setting]
    call, present = make().versions["triton"], dict(tuning.SETTINGS[setting])
    best, least, skipped = present, float("inf"), 0
    for option in [present, *options(values)]:
        tuning.SETTINGS[setting] = {**present, **option}
        tuning.forget()
        try:
            taken = operators.seconds({"triton": call})["triton"]
        except OutOfResources:
            skipped += 1
            continue
        if taken < 0.98 * least:  # a change must be worth it
            best, least = option, taken
    tuning.SETTINGS[setting] = present
    print(f"{setting:20s} {1e6 * least:10.1f} us {best}, {skipped} did not fit", flush=True)
    return best


def main() -> None:
    """Tune the named settings, or all; each is written when it is found."""
    if not operators.GPU:
        sys.exit("tune.py: no GPU here; block sizes can only be tuned on one")
    path = tuning.FOLDER / f"{tuning.file_name(torch.device('cuda'))}.json"
    path.parent.mkdir(exist_ok=True)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with torch.no_grad():
        for setting in sys.argv[1:] or CANDIDATES:
            found[setting] = fastest(setting)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            temporary.replace(path)


if __name__ == "__main__":
    main()
