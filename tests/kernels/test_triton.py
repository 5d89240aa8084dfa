"""Every Triton kernel against the naive version in float64, forward and every gradient.

Odd sizes, poisoned memory, published shapes.
"""

import importlib

import pytest
import torch

from alpamayo_kernels import tuning

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


def same_gradients(kernel, naive, tensors, bound):
    """Compare all outputs and the gradient of a random weighting of them, tensor by tensor.

    In half precision a gradient may be many times an output, so the bound is twice as wide.
    """
    found, weights = [], None
    for function, cast in ((kernel, lambda t: t), (naive, lambda t: t.double())):
        inputs = [cast(t.detach()).clone().requires_grad_() for t in tensors]
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        if weights is None:
            draw = Draw(tensors[0].device, torch.float32, seed=9)
            weights = [draw(*o.shape).to(o.dtype) for o in outputs]
        gradients = torch.autograd.grad(outputs, inputs, [w.to(o.dtype) for w, o in zip(weights, outputs, strict=True)])
        found.append((outputs, gradients))
    for got, want in zip(found[0][0], found[1][0], strict=True):
        close(got.detach(), want.detach(), bound)
    for got, want, tensor in zip(found[0][1], found[1][1], tensors, strict=True):
        assert got.dtype == tensor.dtype
        assert got.shape == tensor.shape
        close(got, want, 2 * bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "channels", "groups"), [(1, 64, 1), (5, 96, 4), (3, 1000, 8)])
def test_norm_gradients(device, dtype, rows, channels, groups, monkeypatch):
    kernel, naive = versions("norm")
    monkeypatch.setitem(tuning.SETTINGS, "norm.gradient", {"programs": 2})
    tuning.forget()
    draw = Draw(device, dtype)
    x, gate, weight = draw(rows, channels), draw(rows, channels), draw(channels)
    same_gradients(
        lambda *a: kernel.rms_norm(*a, 1e-5), lambda *a: naive.rms_norm(*a, 1e-5), [x, weight], DTYPES[dtype]
    )
    same_gradients(
        lambda *a: kernel.gated_rms_norm(*a, groups, 1e-5),
        lambda *a: naive.gated_rms_norm(*a, groups, 1e-5),
        [x.float(), gate, weight],
        DTYPES[dtype],
    )


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "time", "channels", "kernel_size"), [(1, 1, 70, 4), (2, 2, 64, 4), (2, 37, 100, 3)])
@pytest.mark.parametrize("whole", [False, True])
def test_conv_gradients(device, dtype, batch, time, channels, kernel_size, whole):
    kernel, naive = versions("conv1d")
    draw = Draw(device, dtype)
    tensors = [draw(batch, time, channels), draw(channels, kernel_size)]
    if whole:
        tensors += [draw(channels), draw(batch, kernel_size - 1, channels)]
    same_gradients(kernel.causal_conv1d, naive.causal_conv1d, tensors, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "kernel_size"), [(300, 4), (64, 2)])
def test_conv_update(device, dtype, channels, kernel_size):
    kernel, naive = versions("conv1d")
    draw = Draw(device, dtype)
    x = draw(3, channels + 9)[:, 3 : channels + 3]
    weight, bias, state = draw(channels, kernel_size), draw(channels), draw(3, kernel_size - 1, channels)
    for shift in (None, bias):
        want, want_state = naive.causal_conv1d(*wide(x[:, None], weight, shift, state))
        got, new = kernel.causal_conv1d_update(x, state, weight, shift)
        close(got, want[:, 0], DTYPES[dtype])
        assert torch.equal(new.double(), want_state)
    kernel.causal_conv1d_update(x, state, weight, bias, out=state)
    assert torch.equal(state, new)


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
@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("extreme", [False, True])
def test_scan_gradients(device, dtype, name, extreme):
    kernel, naive = versions("ssd")
    *shape, chunk = SCANS[name]
    inputs = scan_inputs(Draw(device, dtype), *shape, extreme)
    same_gradients(lambda *a: kernel.ssd_scan(*a, chunk_size=chunk), naive.ssd_scan, inputs, DTYPES[dtype])


def test_scan_gradients_without_skip_or_state(device):
    kernel, naive = versions("ssd")
    inputs = scan_inputs(Draw(device), 1, 19, 2, 16, 16, 2, False)[:5]
    same_gradients(lambda *a: kernel.ssd_scan(*a, chunk_size=16)[0], lambda *a: naive.ssd_scan(*a)[0], inputs, 2e-5)


def test_scan_at_the_published_shape(device):
    """Eight groups of eight heads of 64, states of 128, chunks of 128, which do not divide the time."""
    kernel, _ = versions("ssd")
    chunk = importlib.import_module("alpamayo_kernels.ssd.chunk")  # held to the naive version elsewhere
    inputs = scan_inputs(Draw(device), 1, 150, 16, 64, 128, 8, True)
    same_gradients(
        lambda *a: kernel.ssd_scan(*a, chunk_size=128), lambda *a: chunk.ssd_scan(*a, chunk_size=32), inputs, 4e-5
    )


@pytest.mark.parametrize("step", [1.0, 100.0, 1e6])
def test_scan_keeps_small_sums_of_logarithms_beside_large_ones(device, step):
    kernel, naive = versions("ssd")
    x, dt, A, B, C, _, _ = scan_inputs(Draw(device), 1, 64, 2, 16, 16, 1, False)
    dt[:], dt[:, :16], A = 1e-3, step, torch.full_like(A, -256.0)
    inputs = [t.requires_grad_() for t in (x, dt, A, B, C)]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    y, want = kernel.ssd_scan(*inputs, chunk_size=64)[0][:, 16:], naive.ssd_scan(*exact)[0][:, 16:]
    close(y.detach(), want.detach(), 5e-7)
    weights = Draw(device, seed=4)(*y.shape)
    gradients = torch.autograd.grad(y, inputs, weights), torch.autograd.grad(want, exact, weights.double())
    for got, right in zip(*gradients, strict=True):
        close(got, right, 2e-5)


def test_scan_repeats_its_bytes(device):
    kernel, _ = versions("ssd")
    inputs = scan_inputs(Draw(device), 1, 37, 4, 16, 24, 2, False)
    runs = []
    for _ in range(2):
        tensors = [t.clone().requires_grad_() for t in inputs]
        y, final = kernel.ssd_scan(*tensors, chunk_size=16)
        runs.append(torch.autograd.grad(y.sum() + final.sum(), tensors))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("heads", "head_dim", "size", "groups"), [(4, 16, 24, 2), (3, 20, 16, 1), (2, 64, 128, 2)])
def test_state_update(device, dtype, steps, heads, head_dim, size, groups):
    kernel, naive = versions("state_update")
    x, dt, A, B, C, D, state = scan_inputs(Draw(device, dtype), 2, steps, heads, head_dim, size, groups, False)
    args = (x, dt, A, B, C, D) if steps > 1 else (x[:, 0], dt[:, 0], A, B[:, 0], C[:, 0], D)
    y, want = naive.selective_state_update(*wide(state, *args))
    before = state.clone()
    got, new = kernel.selective_state_update(state, *args)
    assert torch.equal(state, before)
    close(got, y, DTYPES[dtype])
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "width", "inner", "experts", "k"), [(1, 32, 48, 4, 2), (9, 40, 24, 6, 3), (90, 64, 32, 3, 1)]
)
def test_expert_gradients(device, dtype, tokens, width, inner, experts, k):
    kernel, naive = versions("experts")
    draw = Draw(device, dtype)
    up, down = draw(experts, inner, width) * width**-0.5, draw(experts, width, inner) * inner**-0.5
    index = draw.uniform(tokens, experts).topk(k).indices
    index[:, 0] = 1
    tensors = [draw(tokens, width), draw.uniform(tokens, k), up, down]
    same_gradients(
        lambda x, w, u, d: kernel.routed_mlp(x, w, index, u, d),
        lambda x, w, u, d: naive.routed_mlp(x, w, index, u, d),
        tensors,
        DTYPES[dtype],
    )


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(
    ("experts", "k", "groups", "kept"), [(8, 1, 1, 1), (31, 6, 1, 1), (512, 22, 1, 1), (24, 5, 6, 2), (12, 2, 12, 3)]
)
def test_router(device, experts, k, groups, kept, normalise):
    kernel, naive = versions("router")
    draw = Draw(device)
    logits, bias = draw(7, experts), 0.1 * draw(experts)
    options = (k, groups, kept, normalise, 2.5)
    _, index = kernel.route_top_k(logits, bias, *options)
    assert torch.equal(index, naive.route_top_k(*wide(logits, bias), *options)[1])
    if normalise and k == 1:
        return  # its only weight is constant
    same_gradients(
        lambda x: kernel.route_top_k(x, bias, *options)[0],
        lambda x: naive.route_top_k(x, bias.double(), *options)[0],
        [logits],
        1e-6,
    )


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
@pytest.mark.parametrize(
    ("heads", "kv_heads", "queries", "keys", "head_dim"),
    [(2, 1, 1, 7, 16), (4, 2, 37, 37, 16), (6, 2, 19, 90, 24), (4, 1, 70, 70, 128)],
)
@pytest.mark.parametrize("kind", ["all", "causal", "mask"])
def test_attention_prefill(device, dtype, heads, kv_heads, queries, keys, head_dim, kind):
    kernel, naive = versions("attention")
    draw = Draw(device, dtype)
    mask = draw.uniform(2, 1, queries, keys) < 0.6 if kind == "mask" else None
    if mask is not None:
        mask[..., 0] = True
    tensors = [draw(2, heads, queries, head_dim), *(draw(2, kv_heads, keys, head_dim) for _ in range(2))]
    same_gradients(
        lambda *a: kernel.gqa_prefill(*a, mask, kind == "causal"),
        lambda *a: naive.gqa_attention(*a, mask, kind == "causal"),
        tensors,
        DTYPES[dtype],
    )


def test_attention_prefill_reads_slices_and_shared_masks(device):
    kernel, naive = versions("attention")
    draw = Draw(device)
    q = draw(2, 5, 4, 16).transpose(1, 2)
    k, v = (draw(2, 2, 30, 16)[:, :, :17] for _ in range(2))
    mask = torch.ones(5, 17, dtype=torch.bool, device=device).tril(12)[None, None]
    want = naive.gqa_attention(*wide(q, k, v), mask)
    close(kernel.gqa_prefill(q, k, v, mask), want, 2e-5)
    close(kernel.gqa_prefill(q, k, v, None, True), want, 2e-5)


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


def test_tuned_settings_take_precedence_on_their_device(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "FOLDER", tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    (tmp_path / "nvidia-h200.json").write_text('{"experts": {"columns": 128, "num_warps": 8}}')
    tuning.forget()
    try:
        blocks, launch = tuning.settings("experts", torch.device("cuda", 0))
        assert (blocks["columns"], blocks["inner"]) == (128, tuning.SETTINGS["experts"]["inner"])
        assert launch == {"num_warps": 8, "num_stages": tuning.SETTINGS["experts"]["num_stages"]}
        assert tuning.settings("experts", torch.device("cpu"))[0]["columns"] == tuning.SETTINGS["experts"]["columns"]
    finally:
        tuning.forget()


@pytest.mark.skipif(torch.cuda.is_available(), reason="takes addresses far apart, which only virtual memory has")
def test_rows_far_apart_are_read_at_their_place(monkeypatch):
    """Offsets above 2^31: rows 2^30 numbers apart, as those of a wide projection over a long context are."""
    interpreter = importlib.import_module("triton.runtime.interpreter")
    monkeypatch.setattr(interpreter.GridExecutor, "_restore_args_dev", lambda *_: None)  # no copy of all in between
    base = 2**31 + 4096
    buffer = torch.zeros(0, dtype=torch.float16).new_empty(2 * base)  # a few pages of it are touched

    def rows(*size: int) -> torch.Tensor:
        """Return a tensor whose last but one axis has a stride of 2^30."""
        strides = [2**31 + 64] * (len(size) - 2) + [2**30, 1]
        if len(size) == 4:
            strides[1] = size[3]
        return buffer.as_strided(size, strides, base)

    conv, norm_conv = versions("conv1d")
    x = rows(1, 3, 64)
    for t in range(3):
        x[0, t] = t + 1
    buffer[base - 2**31 : base - 2**31 + 64] = 77.0  # where an offset of 32 bits lands
    weight = torch.zeros(64, 2).half()
    weight[:, 1] = 1
    near = x.clone()
    close(conv.causal_conv1d(x, weight)[0], norm_conv.causal_conv1d(near, weight)[0], 1e-3)
    found = []
    for inputs in (x, near):
        inputs, taps = inputs.detach(), weight.clone().requires_grad_()
        found.append(torch.autograd.grad(conv.causal_conv1d(inputs, taps)[0].sum(), taps)[0])
    assert torch.equal(*found)

    attention, _ = versions("attention")
    draw = Draw("cpu", torch.float16)
    q, (k, v) = rows(1, 1, 3, 16), (draw(1, 1, 3, 16), draw(1, 1, 3, 16))
    q.copy_(draw(1, 1, 3, 16))
    buffer[base - 2**31 : base - 2**31 + 16] = -8.0
    assert torch.equal(attention.gqa_prefill(q, k, v), attention.gqa_prefill(q.clone(), k, v))
    keys = rows(1, 1, 3, 16)
    keys.copy_(k)
    assert torch.equal(attention.gqa_decode(v[:, :, :1], keys, keys), attention.gqa_decode(v[:, :, :1], k, k))
    assert torch.equal(attention.gqa_prefill(v, keys, keys), attention.gqa_prefill(v, k, k))
