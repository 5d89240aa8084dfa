"""Time operators at published shapes: PyTorch on the CPU, Triton beside PyTorch on a GPU, with the roofline share.

    python kernels/benchmarks/operators.py [NAME ...]

Without a GPU the share is against the processor's copy bandwidth, measured first; the Triton columns need a GPU.
"""

from __future__ import annotations

import csv
import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.dispatch import kernels
from alpamayo_kernels.experts import grouped
from alpamayo_kernels.norm import fused
from alpamayo_kernels.quantisation import nvfp4
from alpamayo_kernels.router import naive as router
from alpamayo_kernels.ssd import chunk
from alpamayo_kernels.state_update import fused as update

RESULTS = Path(__file__).parent / "results.csv"
FIELDS = ("date", "machine", "operator", "shape", "version", "microseconds", "gigabytes_per_second", "roofline_share")
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.bfloat16 if GPU else torch.float32


@dataclass
class Case:
    """One operator at one shape: what must be moved at least, and its versions."""

    operator: str
    shape: str
    moved: int
    versions: dict[str, Callable[[], Any]]


def draw(*shape: int, dtype: torch.dtype = DTYPE) -> Tensor:
    """Return fixed random numbers on the device."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)


def size(*tensors: Tensor) -> int:
    """Return the bytes of tensors."""
    return sum(t.nbytes for t in tensors)


def with_triton(package: str, name: str, plain: Callable[..., Any], *arguments: Any) -> dict[str, Callable[[], Any]]:
    """Return the PyTorch version and, on a GPU, the Triton one."""
    found: dict[str, Callable[[], Any]] = {"torch": lambda: plain(*arguments)}
    if GPU:
        kernel = getattr(kernels(f"alpamayo_kernels.{package}"), name)
        found["triton"] = lambda: kernel(*arguments)
    return found


def state_update() -> Case:
    """Decode step of a Super-shaped Mamba-2 block (nano-shaped on a CPU)."""
    batch, heads = (64, 128) if GPU else (1, 64)
    state, x = draw(batch, heads, 64, 128, dtype=torch.float32), draw(batch, heads, 64)
    dt, A = draw(batch, heads, dtype=torch.float32).exp(), -draw(heads, dtype=torch.float32).exp()
    B, C, D = draw(batch, 8, 128), draw(batch, 8, 128), draw(heads)
    versions = with_triton(
        "state_update", "selective_state_update", update.selective_state_update, state, x, dt, A, B, C, D
    )
    return Case("state_update", f"B{batch} H{heads} P64 N128 G8", 2 * size(state) + 2 * size(x) + size(B, C), versions)


def ssd() -> Case:
    """Prefill of a Super-shaped Mamba-2 block (nano-shaped and short on a CPU)."""
    time_, heads = (8192, 128) if GPU else (512, 64)
    x, B, C = draw(1, time_, heads, 64), draw(1, time_, 8, 128), draw(1, time_, 8, 128)
    dt = torch.nn.functional.softplus(draw(1, time_, heads, dtype=torch.float32) - 3)
    A = -torch.arange(1.0, heads + 1, device=DEVICE)
    versions = with_triton("ssd", "ssd_scan", chunk.ssd_scan, x, dt, A, B, C)
    return Case("ssd", f"T{time_} H{heads} P64 N128 G8 Q128", size(x, dt, B, C) + x.numel() * 4, versions)


def conv1d() -> Case:
    """Prefill convolution of a nano-shaped block."""
    time_ = 8192 if GPU else 512
    x, weight, bias = draw(1, time_, 6144), draw(6144, 4), draw(6144)
    versions = with_triton("conv1d", "causal_conv1d", shifted.causal_conv1d, x, weight, bias)
    return Case("conv1d", f"T{time_} C6144 K4", 2 * size(x), versions)


def norm() -> Case:
    """Gated norm of a nano-shaped block."""
    rows = 8192 if GPU else 512
    x, gate, weight = draw(rows, 4096, dtype=torch.float32), draw(rows, 4096), draw(4096)
    versions = with_triton("norm", "gated_rms_norm", fused.gated_rms_norm, x, gate, weight, 8, 1e-5)
    return Case("norm", f"T{rows} C4096 G8", size(x) + 2 * size(gate), versions)


def experts() -> Case:
    """Routed experts of one nano-shaped block for a small batch (a quarter of the experts on a CPU)."""
    tokens, count = (32, 128) if GPU else (8, 32)
    up, down = draw(count, 1856, 2688), draw(count, 2688, 1856)
    index = torch.rand(tokens, count, generator=torch.Generator().manual_seed(1)).topk(6).indices.to(DEVICE)
    x, weights = draw(tokens, 2688), torch.rand(tokens, 6).to(DEVICE)
    used = len(torch.unique(index))
    versions = with_triton("experts", "routed_mlp", grouped.routed_mlp, x, weights, index, up, down)
    return Case("experts", f"T{tokens} E{count} K6 I1856 d2688", used * 2 * size(up[0]), versions)


def attention() -> Case:
    """One new token over a long context, nano-shaped."""
    batch, keys = (8, 32768) if GPU else (1, 8192)
    q, k, v = draw(batch, 32, 1, 128), draw(batch, 2, keys, 128), draw(batch, 2, keys, 128)
    found: dict[str, Callable[[], Any]] = {"torch": lambda: sdpa.gqa_attention(q, k, v)}
    if GPU:
        found["triton"] = lambda: kernels("alpamayo_kernels.attention").gqa_decode(q, k, v)
    return Case("attention", f"B{batch} H32/2 S{keys} d128", size(k, v), found)


def routing() -> Case:
    """Router of a Super-shaped block."""
    logits, bias = draw(512, 512, dtype=torch.float32), draw(512, dtype=torch.float32)
    found: dict[str, Callable[[], Any]] = {"torch": lambda: router.route_top_k(logits, bias, 22)}
    if GPU:
        found["triton"] = lambda: kernels("alpamayo_kernels.router").route_top_k(logits, bias, 22)
    return Case("router", "T512 E512 K22", size(logits), found)


def nvfp4_linear() -> Case:
    """Product with an NVFP4 weight: dequantised first, or on the way (GPU)."""
    stored = nvfp4.quantise(draw(4096, 4096, dtype=torch.float32))
    x = draw(1, 4096)
    found: dict[str, Callable[[], Any]] = {"torch": lambda: x @ nvfp4.dequantise(*stored, dtype=DTYPE).T}
    if GPU:
        found["triton"] = lambda: kernels("alpamayo_kernels.quantisation").nvfp4_linear(x, *stored)
    return Case("nvfp4_linear", "T1 4096x4096", size(*stored), found)


CASES = [state_update, ssd, conv1d, norm, experts, attention, routing, nvfp4_linear]


def seconds(call: Callable[[], Any]) -> float:
    """Return the least time of a call: of the processor, or of the GPU by events."""
    call()
    best = float("inf")
    for _ in range(10):
        if GPU:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            best = min(best, start.elapsed_time(end) / 1e3)
        else:
            begin = time.process_time()
            call()
            best = min(best, time.process_time() - begin)
    return best


def main() -> None:
    """Measure the named operators, or all, and rewrite their lines of the CSV."""
    torch.set_num_threads(1)
    big = torch.empty(1 << (28 if GPU else 25), device=DEVICE)
    other = torch.empty_like(big)
    bandwidth = 2 * big.nbytes / seconds(lambda: other.copy_(big))
    machine = torch.cuda.get_device_name() if GPU else "CPU, one thread"
    print(f"{machine}: copies at {bandwidth / 1e9:.1f} GB/s")
    lines = []
    with torch.no_grad():
        for make in CASES:
            if sys.argv[1:] and make.__name__ not in sys.argv[1:]:
                continue
            case = make()
            for version, call in case.versions.items():
                taken = seconds(call)
                rate = case.moved / taken
                today = datetime.date.today().isoformat()
                values = (f"{1e6 * taken:.1f}", f"{rate / 1e9:.2f}", f"{rate / bandwidth:.3f}")
                lines.append(
                    dict(zip(FIELDS, (today, machine, case.operator, case.shape, version, *values), strict=True))
                )
                print(f"{case.operator:14s} {case.shape:28s} {version:7s}", *(f"{v:>10s}" for v in values))
    save(lines)


def save(lines: list[dict[str, str]]) -> None:
    """Replace the lines of the same machine, operator, shape and version."""
    old = []
    if RESULTS.exists():
        with RESULTS.open(encoding="utf-8", newline="") as file:
            old = list(csv.DictReader(file))
    keys = {tuple(line[f] for f in FIELDS[1:5]) for line in lines}
    kept = [line for line in old if tuple(line[f] for f in FIELDS[1:5]) not in keys]
    temporary = RESULTS.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *lines])
    temporary.replace(RESULTS)


if __name__ == "__main__":
    main()
