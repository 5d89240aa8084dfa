"""Every Triton kernel against the naive version in float64: odd sizes, poisoned memory, published shapes."""

import importlib

import pytest
import torch

pytest.importorskip("triton", reason="Triton is there on Linux only")

DTYPES = {torch.float32: 2e-5, torch.float16: 4e-3}


def versions(package: str):
    return (importlib.import_module(f"alpamayo_kernels.{package}.{name}") for name in ("triton", "naive"))


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Whatever a kernel forgets to write is not a number."""
    real, like = torch.empty, torch.empty_like

    def fill(tensor):
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor.fill_(-7)

    monkeypatch.setattr(torch, "empty", lambda *a, **k: fill(real(*a, **k)))
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: fill(like(*a, **k)))


class Draw:
    def __init__(self, device, dtype=torch.float32, seed=0):
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape, dtype=None):
        return torch.randn(*shape, generator=self.generator).to(self.device, dtype or self.dtype)

    def uniform(self, *shape):
        return torch.rand(*shape, generator=self.generator).to(self.device)


def wide(*tensors):
    return tuple(t.double() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in tensors)


def close(got, want, bound):
    assert torch.isfinite(got).all()
    error = (got.double() - want.double()).square().mean().sqrt() / want.double().square().mean().sqrt()
    assert float(error) < bound, float(error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "channels", "groups"), [(1, 64, 1), (5, 96, 4), (3, 1000, 8)])
def test_norms(device, dtype, rows, channels, groups):
    kernel, naive = versions("norm")
    draw = Draw(device, dtype)
    x, gate, weight = draw(rows, channels), draw(rows, channels), draw(channels)
    close(kernel.rms_norm(x, weight, 1e-5), naive.rms_norm(*wide(x, weight), 1e-5), DTYPES[dtype])
    got = kernel.gated_rms_norm(x.float(), gate, weight, groups, 1e-5)
    assert got.dtype == dtype
    close(got, naive.gated_rms_norm(*wide(x, gate, weight), groups, 1e-5), DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "time", "channels", "kernel_size"), [(1, 1, 70, 4), (2, 2, 64, 4), (2, 37, 100, 3)])
@pytest.mark.parametrize("has_state", [False, True])
def test_conv(device, dtype, batch, time, channels, kernel_size, has_state):
    kernel, naive = versions("conv1d")
    draw = Draw(device, dtype)
    x = draw(batch, time, channels + 9)[..., 3 : channels + 3]  # a slice, as the projection gives it
    weight, bias = draw(channels, kernel_size), draw(channels) if has_state else None
    state = draw(batch, kernel_size - 1, channels) if has_state else None
    got, tail = kernel.causal_conv1d(x, weight, bias, state)
    want, want_tail = naive.causal_conv1d(*wide(x, weight, bias, state))
    close(got, want, DTYPES[dtype])
    assert torch.equal(tail.double(), want_tail)


SCANS = {
    "B1-T1-H2-P16-N16-G1": (1, 1, 2, 16, 16, 1, 16),
    "B2-T37-H4-P16-N24-G2": (2, 37, 4, 16, 24, 2, 16),
    "B1-T63-H3-P20-N16-G3": (1, 63, 3, 20, 16, 3, 32),
    "B1-T70-H2-P64-N128-G2": (1, 70, 2, 64, 128, 2, 64),
}


def scan_inputs(draw, batch, time, heads, head_dim, size, groups, extreme):
    x, B, C = draw(batch, time, heads, head_dim), draw(batch, time, groups, size), draw(batch, time, groups, size)
    dt = torch.nn.functional.softplus(draw(batch, time, heads, dtype=torch.float32) - (9 if extreme else 1))
    A = -torch.exp(torch.linspace(-2, 6 if extreme else 1, heads)).to(draw.device)
    if extreme:
        dt[:, ::5] *= 300
    D, state = draw(heads, dtype=torch.float32), draw(batch, heads, head_dim, size, dtype=torch.float32)
    return x, dt, A, B, C, D, state


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("extreme", [False, True])
def test_scan(device, dtype, name, extreme):
    kernel, naive = versions("ssd")
    *shape, chunk = SCANS[name]
    x, dt, A, B, C, D, state = scan_inputs(Draw(device, dtype), *shape, extreme)
    for skip, first in ((D, state), (None, None)):
        y, final = kernel.ssd_scan(x, dt, A, B, C, skip, first, chunk)
        want_y, want_final = naive.ssd_scan(*wide(x, dt, A, B, C, skip, first))
        close(y, want_y, DTYPES[dtype])
        close(final, want_final, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("heads", "head_dim", "size", "groups"), [(4, 16, 24, 2), (3, 20, 16, 1), (2, 64, 128, 2)])
def test_state_update(device, dtype, steps, heads, head_dim, size, groups):
    kernel, naive = versions("state_update")
    x, dt, A, B, C, D, state = scan_inputs(Draw(device, dtype), 2, steps, heads, head_dim, size, groups, False)
    want, rows = state.double(), []
    for t in range(steps):
        y, want = naive.selective_state_update(want, *wide(x[:, t], dt[:, t], A, B[:, t], C[:, t], D))
        rows.append(y)
    args = (x, dt, A, B, C, D) if steps > 1 else (x[:, 0], dt[:, 0], A, B[:, 0], C[:, 0], D)
    before = state.clone()
    got, new = kernel.selective_state_update(state, *args)
    assert torch.equal(state, before)
    close(got, torch.stack(rows, 1) if steps > 1 else rows[0], DTYPES[dtype])
    close(new, want, DTYPES[dtype])
    kernel.selective_state_update(state, *args, out=state)
    assert torch.equal(state, new)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "width", "inner", "experts", "k"), [(1, 32, 48, 4, 2), (9, 40, 24, 6, 3), (90, 64, 32, 3, 1)]
)
def test_experts(device, dtype, tokens, width, inner, experts, k):
    kernel, naive = versions("experts")
    draw = Draw(device, dtype)
    up, down = draw(experts, inner, width) * width**-0.5, draw(experts, width, inner) * inner**-0.5
    index = draw.uniform(tokens, experts).topk(k).indices
    index[:, 0] = 1  # one expert with nearly all, others with none
    weights, x = draw.uniform(tokens, k), draw(tokens, width)
    got = kernel.routed_mlp(x, weights, index, up, down)
    close(got, naive.routed_mlp(*wide(x, weights, index, up, down)), DTYPES[dtype])


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("experts", "k"), [(8, 1), (31, 6), (512, 22)])
def test_router(device, experts, k, normalise):
    kernel, naive = versions("router")
    draw = Draw(device)
    logits, bias = draw(7, experts), 0.1 * draw(experts)
    weights, index = kernel.route_top_k(logits, bias, k, normalise, 2.5)
    want, order = naive.route_top_k(logits.double(), bias.double(), k, normalise=normalise, scale=2.5)
    assert torch.equal(index, order)
    close(weights, want, 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "keys", "head_dim"), [(4, 2, 1, 16), (6, 2, 70, 24), (32, 2, 200, 128)])
@pytest.mark.parametrize("splits", [1, 3])
def test_attention_decode(device, dtype, heads, kv_heads, keys, head_dim, splits):
    kernel, naive = versions("attention")
    draw = Draw(device, dtype)
    q = draw(2, heads, 1, head_dim)
    k, v = (draw(2, kv_heads, keys + 5, head_dim)[:, :, :keys] for _ in range(2))
    mask = draw.uniform(2, keys) < 0.7
    mask[:, -1] = True
    for seen in (None, mask):
        allowed = None if seen is None else seen[:, None, None]
        want = naive.gqa_attention(*wide(q, k, v), allowed)
        close(kernel.gqa_decode(q, k, v, seen, splits), want, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "inner", "outer"), [(1, 32, 5), (20, 80, 70)])
def test_nvfp4_linear(device, dtype, rows, inner, outer):
    from alpamayo_kernels.quantisation import nvfp4
    from alpamayo_kernels.quantisation.triton import nvfp4_linear

    draw = Draw(device, dtype)
    x, stored = draw(rows, inner), nvfp4.quantise(draw(outer, inner, dtype=torch.float32))
    close(nvfp4_linear(x, *stored), x.double() @ nvfp4.dequantise(*stored).double().T, DTYPES[dtype])


@pytest.mark.parametrize("vocab", [5, 1000, 5001])
def test_sampling(device, vocab):
    kernel, naive = versions("sampling")
    draw = Draw(device)
    logits, mask, uniform = draw(6, vocab), draw.uniform(6, vocab) < 0.3, draw.uniform(6, vocab).clamp(1e-6, 1 - 1e-6)
    mask[:, 2] = True
    assert torch.equal(kernel.sample_masked(logits), naive.sample_masked(logits))
    assert torch.equal(kernel.sample_masked(logits, mask), naive.sample_masked(logits, mask))
    got = kernel.sample_masked(logits, mask, 0.7, uniform)
    assert torch.equal(got, naive.sample_masked(logits, mask, 0.7, uniform=uniform))
