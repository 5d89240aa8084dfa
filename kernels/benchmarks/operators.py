"""Time every operator at published shapes, with its share of the roofline.

    OMP_NUM_THREADS=1 python kernels/benchmarks/operators.py [NAME ...] [--mamba-ssm PATH]

On a CPU the PyTorch versions run, in float32 and on one thread; on a GPU the Triton versions beside them, in bfloat16.
The limit is the larger of the bytes that must be moved over the copy bandwidth and the operations that must be done
over the rate of a large matrix product; both are measured first, in the same run. ``--mamba-ssm`` names a folder that
holds the public ``mamba_ssm`` package, whose scan and state update are then timed beside ours.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.experts import grouped
from alpamayo_kernels.norm import fused
from alpamayo_kernels.quantisation import nvfp4
from alpamayo_kernels.router import naive as router
from alpamayo_kernels.sampling import naive as sampling
from alpamayo_kernels.ssd import chunk
from alpamayo_kernels.state_update import fused as update

RESULTS = Path(__file__).parent / "results.csv"
FIELDS = (
    "date", "machine", "operator", "shape", "version",
    "microseconds", "gigabytes_per_second", "gigaflops_per_second", "limit", "roofline_share",
)  # fmt: skip
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.bfloat16 if GPU else torch.float32
ROUNDS = 20 if GPU else 7
PEER: list[str] = []


@dataclass
class Case:
    """One operator at one shape.

    Attributes:
        operator: Its name.
        shape: For people.
        moved: Bytes that must be read and written at least.
        operations: Floating-point operations that must be done.
        versions: What is timed, by name.
    """

    operator: str
    shape: str
    moved: int
    operations: int
    versions: dict[str, Callable[[], Any]] = field(default_factory=dict)


def draw(*shape: int, dtype: torch.dtype = DTYPE) -> Tensor:
    """Return fixed random numbers on the device."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)


def size(*tensors: Tensor) -> int:
    """Return the bytes of tensors."""
    return sum(t.nbytes for t in tensors)


def triton_of(package: str) -> Any:
    """Return the Triton version of an operator's package."""
    return importlib.import_module(f"alpamayo_kernels.{package}.triton")


def versions(package: str, name: str, plain: Callable[..., Any], *arguments: Any) -> dict[str, Callable[[], Any]]:
    """Return the PyTorch version and, on a GPU, the Triton one."""
    found: dict[str, Callable[[], Any]] = {"torch": lambda: plain(*arguments)}
    if GPU:
        kernel = getattr(triton_of(package), name)
        found["triton"] = lambda: kernel(*arguments)
    return found


def with_gradient(case: Case, tensors: list[Tensor], share: float) -> Case:
    """Return the case of the forward and backward pass; the backward one does ``share`` times the work."""

    def both(call: Callable[[], Any]) -> None:
        with torch.enable_grad():
            outputs = call()
            first = outputs[0] if isinstance(outputs, tuple) else outputs
            torch.autograd.grad(first, tensors, torch.ones_like(first))

    for tensor in tensors:
        tensor.requires_grad_()
    timed = {name: (lambda c=call: both(c)) for name, call in case.versions.items()}
    moved, operations = int((1 + share) * case.moved), int((1 + share) * case.operations)
    return Case(f"{case.operator} and gradient", case.shape, moved, operations, timed)


def scan_inputs(batch: int, time_: int, heads: int) -> tuple[Tensor, ...]:
    """Return x, dt, A, B, C and D at published head sizes: 64 a head, states of 128, eight groups."""
    dt = torch.nn.functional.softplus(draw(batch, time_, heads, dtype=torch.float32) - 3)
    A = -torch.arange(1.0, heads + 1, device=DEVICE)
    maps = draw(2, batch, time_, 8, 128)
    return draw(batch, time_, heads, 64), dt, A, maps[0], maps[1], draw(heads, dtype=torch.float32)


def state_update(steps: int = 1) -> Case:
    """Decode step of a Super-shaped Mamba-2 block (nano-shaped on a CPU); several when drafts are verified."""
    batch, heads = (64, 128) if GPU else (1, 64)
    x, dt, A, B, C, D = scan_inputs(batch, steps, heads)
    state = draw(batch, heads, 64, 128, dtype=torch.float32)
    if steps == 1:
        x, dt, B, C = x[:, 0], dt[:, 0], B[:, 0], C[:, 0]
    timed = versions("state_update", "selective_state_update", update.selective_state_update, state, x, dt, A, B, C, D)
    if PEER and steps == 1:
        peer = importlib.import_module("mamba_ssm.ops.triton.selective_state_update").selective_state_update
        wide_dt, wide_A = dt[..., None].expand(*x.shape[:2], 64), A[:, None, None].expand(heads, 64, 128)
        wide_D = D[:, None].expand(heads, 64)
        timed["mamba_ssm"] = lambda: peer(state, x, wide_dt, wide_A, B, C, wide_D)
    moved = 2 * size(state) + size(x, B, C, dt) + x.numel() * 4
    return Case("state_update", f"B{batch} S{steps} H{heads} P64 N128 G8", moved, 5 * steps * state.numel(), timed)


def state_update_steps() -> Case:
    """Five tokens at once, as a draft of four takes."""
    return state_update(5)


def ssd() -> Case:
    """Prefill of a Super-shaped Mamba-2 block (nano-shaped and short on a CPU)."""
    time_, heads = (8192, 128) if GPU else (512, 64)
    x, dt, A, B, C, D = scan_inputs(1, time_, heads)
    timed = versions("ssd", "ssd_scan", chunk.ssd_scan, x, dt, A, B, C, D)
    if PEER:
        peer = importlib.import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined
        timed["mamba_ssm"] = lambda: peer(x, dt, A, B, C, chunk_size=128, D=D)
    # Causal scores and their product with x count half; then the states in and out (facts of the published shapes).
    per_token = 128 * 128 * 8 + 128 * 64 * heads + 4 * 128 * 64 * heads
    shape = f"T{time_} H{heads} P64 N128 G8 Q128"
    return Case("ssd", shape, size(x, dt, B, C) + x.numel() * 4, per_token * time_, timed)


def ssd_gradient() -> Case:
    """The same with all gradients."""
    time_, heads = (8192, 128) if GPU else (256, 64)
    inputs = scan_inputs(1, time_, heads)
    per_token = 128 * 128 * 8 + 128 * 64 * heads + 4 * 128 * 64 * heads
    timed = versions("ssd", "ssd_scan", chunk.ssd_scan, *inputs)
    moved = size(*inputs) + inputs[0].numel() * 4
    case = Case("ssd", f"T{time_} H{heads} P64 N128 G8 Q128", moved, per_token * time_, timed)
    return with_gradient(case, list(inputs), 2.5)


def conv1d() -> Case:
    """Prefill convolution of a nano-shaped block."""
    time_ = 8192 if GPU else 512
    x, weight, bias = draw(1, time_, 6144), draw(6144, 4), draw(6144)
    timed = versions("conv1d", "causal_conv1d", shifted.causal_conv1d, x, weight, bias)
    return Case("conv1d", f"T{time_} C6144 K4", 2 * size(x), 8 * x.numel(), timed)


def conv1d_gradient() -> Case:
    """The same with all gradients."""
    time_ = 8192 if GPU else 512
    x, weight, bias = draw(1, time_, 6144), draw(6144, 4), draw(6144)
    timed = versions("conv1d", "causal_conv1d", shifted.causal_conv1d, x, weight, bias)
    return with_gradient(
        Case("conv1d", f"T{time_} C6144 K4", 2 * size(x), 8 * x.numel(), timed), [x, weight, bias], 1.5
    )


def conv1d_update() -> Case:
    """Convolution of one token, nano-shaped."""
    batch = 256 if GPU else 8
    x, weight, bias, state = draw(batch, 6144), draw(6144, 4), draw(6144), draw(batch, 3, 6144)
    timed: dict[str, Callable[[], Any]] = {"torch": lambda: shifted.causal_conv1d(x[:, None], weight, bias, state)}
    if GPU:
        timed["triton"] = lambda: triton_of("conv1d").causal_conv1d_update(x, state, weight, bias)
    return Case("conv1d_update", f"B{batch} C6144 K4", 2 * size(x, state), 8 * x.numel(), timed)


def norm() -> Case:
    """Norm of a nano-shaped block."""
    rows = 8192 if GPU else 512
    x, weight = draw(rows, 2688), draw(2688)
    timed = versions("norm", "rms_norm", fused.rms_norm, x, weight, 1e-5)
    return Case("norm", f"T{rows} C2688", 2 * size(x), 4 * x.numel(), timed)


def gated_norm() -> Case:
    """Gated norm of a nano-shaped block."""
    rows = 8192 if GPU else 512
    x, gate, weight = draw(rows, 4096, dtype=torch.float32), draw(rows, 4096), draw(4096)
    timed = versions("norm", "gated_rms_norm", fused.gated_rms_norm, x, gate, weight, 8, 1e-5)
    return Case("gated_norm", f"T{rows} C4096 G8", size(x) + 2 * size(gate), 8 * x.numel(), timed)


def gated_norm_gradient() -> Case:
    """The same with all gradients."""
    rows = 8192 if GPU else 512
    x, gate, weight = draw(rows, 4096, dtype=torch.float32), draw(rows, 4096), draw(4096)
    timed = versions("norm", "gated_rms_norm", fused.gated_rms_norm, x, gate, weight, 8, 1e-5)
    case = Case("gated_norm", f"T{rows} C4096 G8", size(x) + 2 * size(gate), 8 * x.numel(), timed)
    return with_gradient(case, [x, gate, weight], 1.7)


def expert_case(tokens: int) -> tuple[Case, list[Tensor]]:
    """Routed experts of one nano-shaped block (an eighth of the experts on a CPU)."""
    count = 128 if GPU else 16
    up, down = draw(count, 1856, 2688) * 0.02, draw(count, 2688, 1856) * 0.02
    index = torch.rand(tokens, count, generator=torch.Generator().manual_seed(1)).topk(6).indices.to(DEVICE)
    x, weights = draw(tokens, 2688), torch.rand(tokens, 6, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    used = len(torch.unique(index))
    timed = versions("experts", "routed_mlp", grouped.routed_mlp, x, weights, index, up, down)
    moved, operations = used * 2 * size(up[0]) + 2 * size(x), 4 * tokens * 6 * 1856 * 2688
    return Case("experts", f"T{tokens} E{count} K6 I1856 d2688", moved, operations, timed), [x, weights, up, down]


def experts() -> Case:
    """A small batch that decodes."""
    return expert_case(32 if GPU else 8)[0]


def experts_prefill() -> Case:
    """A prompt."""
    return expert_case(8192 if GPU else 64)[0]


def experts_gradient() -> Case:
    """A prompt, with all gradients."""
    case, tensors = expert_case(8192 if GPU else 64)
    return with_gradient(case, tensors, 2)


def attention() -> Case:
    """One new token over a long context, nano-shaped."""
    batch, keys = (8, 32768) if GPU else (1, 8192)
    q, k, v = draw(batch, 32, 1, 128), draw(batch, 2, keys, 128), draw(batch, 2, keys, 128)
    timed = versions("attention", "gqa_decode", sdpa.gqa_attention, q, k, v)
    return Case("attention_decode", f"B{batch} H32/2 S{keys} d128", size(k, v), 4 * batch * 32 * keys * 128, timed)


def prefill_case() -> tuple[Case, list[Tensor]]:
    """A prompt, nano-shaped."""
    time_ = 8192 if GPU else 512
    q, k, v = draw(1, 32, time_, 128), draw(1, 2, time_, 128), draw(1, 2, time_, 128)
    timed = versions("attention", "gqa_prefill", sdpa.gqa_attention, q, k, v, None, True)
    operations = 2 * 32 * time_ * time_ * 128
    return Case("attention_prefill", f"B1 H32/2 T{time_} d128", 2 * size(q) + size(k, v), operations, timed), [q, k, v]


def attention_prefill() -> Case:
    """A prompt, causal."""
    return prefill_case()[0]


def attention_gradient() -> Case:
    """The same with all gradients."""
    return with_gradient(*prefill_case(), 2.5)


def routing() -> Case:
    """Router of a Super-shaped block."""
    logits, bias = draw(512, 512, dtype=torch.float32), draw(512, dtype=torch.float32)
    timed = versions("router", "route_top_k", router.route_top_k, logits, bias, 22)
    return Case("router", "T512 E512 K22", size(logits), 4 * logits.numel(), timed)


def nvfp4_linear() -> Case:
    """Product with an NVFP4 weight: dequantised first, or on the way (GPU)."""
    stored = nvfp4.quantise(draw(4096, 4096, dtype=torch.float32))
    x = draw(1, 4096)
    timed: dict[str, Callable[[], Any]] = {"torch": lambda: x @ nvfp4.dequantise(*stored, dtype=DTYPE).T}
    if GPU:
        timed["triton"] = lambda: triton_of("quantisation").nvfp4_linear(x, *stored)
    return Case("nvfp4_linear", "T1 4096x4096", size(*stored), 2 * 4096 * 4096, timed)


def sampling_masked() -> Case:
    """Choice of a token under a grammar's mask."""
    rows, vocab = (64, 131072) if GPU else (4, 131072)
    logits, mask = draw(rows, vocab, dtype=torch.float32), draw(rows, vocab) > 0
    uniform = torch.rand(rows, vocab, generator=torch.Generator().manual_seed(1)).clamp(1e-6, 1 - 1e-6).to(DEVICE)
    timed: dict[str, Callable[[], Any]] = {"torch": lambda: sampling.sample_masked(logits, mask, 0.7, uniform=uniform)}
    if GPU:
        timed["triton"] = lambda: triton_of("sampling").sample_masked(logits, mask, 0.7, uniform)
    return Case("sampling", f"B{rows} V{vocab}", size(logits, mask, uniform), 5 * logits.numel(), timed)


CASES = [
    state_update, state_update_steps, ssd, ssd_gradient, conv1d, conv1d_gradient, conv1d_update, norm, gated_norm,
    gated_norm_gradient, experts, experts_prefill, experts_gradient, attention, attention_prefill,
    attention_gradient, routing, nvfp4_linear, sampling_masked,
]  # fmt: skip


def once(call: Callable[[], Any]) -> float:
    """Return the seconds of one call: of the processor, or of the GPU by events."""
    if not GPU:
        begin = time.process_time()
        call()
        return time.process_time() - begin
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def seconds(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least seconds of each call; they take turns."""
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], once(call))
    return best


def machine_limits() -> tuple[float, float]:
    """Return the measured copy bandwidth in bytes a second and the rate of a large product in operations a second."""
    big = torch.empty(1 << (28 if GPU else 25), device=DEVICE)
    other, side = torch.empty_like(big), 8192 if GPU else 1024
    a = draw(side, side)
    best = seconds({"copy": lambda: other.copy_(big), "product": lambda: a @ a})
    return 2 * big.nbytes / best["copy"], 2 * side**3 / best["product"]


def lines_of(case: Case, machine: str, bandwidth: float, rate: float) -> list[dict[str, str]]:
    """Time the versions of a case and return their lines."""
    least = max(case.moved / bandwidth, case.operations / rate)
    limit = "memory" if case.moved / bandwidth >= case.operations / rate else "compute"
    lines = []
    for version, taken in seconds(case.versions).items():
        values = (
            f"{1e6 * taken:.1f}", f"{case.moved / taken / 1e9:.2f}", f"{case.operations / taken / 1e9:.1f}",
            limit, f"{least / taken:.3f}",
        )  # fmt: skip
        today = datetime.date.today().isoformat()
        lines.append(dict(zip(FIELDS, (today, machine, case.operator, case.shape, version, *values), strict=True)))
        print(f"{case.operator:30s} {case.shape:30s} {version:10s}", *(f"{v:>10s}" for v in values))
    return lines


def main() -> None:
    """Measure the named operators, or all, and rewrite their lines of the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(case.__name__ for case in CASES))
    parser.add_argument("--mamba-ssm", type=Path, help="folder that holds the public mamba_ssm package; needs a GPU")
    arguments = parser.parse_args()
    if arguments.mamba_ssm and GPU:
        sys.path.insert(0, str(arguments.mamba_ssm))
        PEER.append("mamba_ssm")
    torch.set_num_threads(1)
    bandwidth, rate = machine_limits()
    machine = torch.cuda.get_device_name() if GPU else "CPU, one thread"
    print(f"{machine}: copies at {bandwidth / 1e9:.1f} GB/s, products at {rate / 1e9:.0f} GFLOP/s")
    chosen = [make for make in CASES if not arguments.names or make.__name__ in arguments.names]
    with torch.no_grad():
        for make in chosen:
            save(lines_of(make(), machine, bandwidth, rate))


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
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows([*kept, *lines])
    temporary.replace(RESULTS)


if __name__ == "__main__":
    main()
