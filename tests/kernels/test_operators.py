"""The PyTorch versions against the naive ones in float64, forward and every gradient; and the recomputed gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_kernels.attention import naive as attention
from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.conv1d import naive as conv
from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.dispatch import with_reference_gradient
from alpamayo_kernels.experts import grouped
from alpamayo_kernels.experts import naive as experts
from alpamayo_kernels.norm import fused
from alpamayo_kernels.norm import naive as norm
from alpamayo_kernels.sampling import sample_masked
from alpamayo_kernels.ssd import chunk
from alpamayo_kernels.ssd import naive as ssd
from alpamayo_kernels.state_update import fused as update
from alpamayo_kernels.state_update import naive as step


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def same_gradients(got_function, want_function, tensors, bound=1e-9):
    """Compare outputs and the gradients of a random weighting of all outputs."""
    found = []
    for function in (got_function, want_function):
        inputs = [t.clone().requires_grad_() for t in tensors]
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        weighted = sum((o * draw(o.numel(), seed=i, dtype=o.dtype).view(o.shape)).sum() for i, o in enumerate(outputs))
        found.append([*outputs, *torch.autograd.grad(weighted, inputs)])
    for got, want in zip(*found, strict=True):
        assert float((got - want).detach().abs().max()) <= bound * (1 + float(want.detach().abs().max()))


@settings(max_examples=25, deadline=None)
@given(
    time=st.integers(1, 40), size=st.sampled_from([1, 4, 7, 16, 128]), groups=st.sampled_from([1, 2, 4]),
    low=st.floats(-14, 0), high=st.floats(-1, 6), seed=st.integers(0, 99),
)  # fmt: skip
def test_scan_by_chunks_is_the_recurrence(time, size, groups, low, high, seed):
    heads = 4
    dt = torch.nn.functional.softplus(draw(2, time, heads, seed=seed) * 2 + low)
    A = -torch.exp(torch.linspace(-2, high, heads, dtype=torch.float64))
    inputs = [
        draw(2, time, heads, 3, seed=seed), dt, A, draw(2, time, groups, 5, seed=seed + 1),
        draw(2, time, groups, 5, seed=seed + 2), draw(heads), draw(2, heads, 3, 5),
    ]  # fmt: skip
    same_gradients(lambda *a: chunk.ssd_scan(*a, chunk_size=size), ssd.ssd_scan, inputs)


def steps_after_large_ones(step: float, time: int = 128) -> list[torch.Tensor]:
    """Return float32 inputs of a scan whose first steps decay far more than all later ones together."""
    heads, dt = 4, torch.full((1, time, 4), 1e-3)
    dt[:, : time // 4] = step
    inputs = [
        draw(1, time, heads, 8),
        dt,
        torch.full((heads,), -256.0),
        draw(1, time, 1, 8),
        draw(1, time, 1, 8, seed=1),
    ]
    return [m.float() for m in inputs]


@pytest.mark.parametrize("step", [1.0, 100.0, 1e6, torch.inf])
def test_small_sums_of_logarithms_are_kept_beside_large_ones(step):
    """The error was 3e-4 to 1.3e-2, by differences of running sums, and not a number for infinite ones."""
    x, dt, A, B, C = steps_after_large_ones(step)
    exact = [m.double() for m in (x, dt, A, B, C)]
    exact[1] = exact[1].clamp(max=1e6)  # the same decay, zero, and the first tokens do not count below
    if step == torch.inf:
        dt, A = dt.clamp(max=1e6), torch.full_like(A, -torch.inf).scatter(0, torch.arange(3), A[:3])
        exact[2] = A.double()
    errors = []
    for scan in (chunk.ssd_scan, ssd.ssd_scan):
        y = scan(x, dt, A, B, C)[0]
        want = ssd.ssd_scan(*exact)[0]
        assert torch.isfinite(y).all()
        errors.append(float((y - want)[:, 32:].norm() / want[:, 32:].norm()))
    assert errors[0] < 3e-7
    assert errors[1] < 3e-7


def test_gradients_beside_large_steps_are_kept():
    inputs, found = steps_after_large_ones(30.0), []
    for scan, cast in ((chunk.ssd_scan, torch.Tensor.float), (ssd.ssd_scan, torch.Tensor.double)):
        leaves = [cast(m).requires_grad_() for m in inputs]
        y = scan(*leaves)[0][:, 32:]
        found.append(torch.autograd.grad((y * draw(*y.shape, seed=3).to(y.dtype)).sum(), leaves))
    for got, want in zip(*found, strict=True):
        assert float((got - want).norm() / want.norm()) < 2e-5


def test_no_tokens_give_no_outputs_and_leave_the_state():
    x, B = draw(2, 0, 4, 3), draw(2, 0, 2, 5)
    state, A, window = draw(2, 4, 3, 5), -draw(4).exp(), draw(2, 3, 6)
    for scan in (chunk.ssd_scan, ssd.ssd_scan):
        y, after = scan(x, x[..., 0], A, B, B, None, state)
        assert y.shape == x.shape
        assert torch.equal(after, state)
        assert torch.equal(scan(x, x[..., 0], A, B, B)[1], torch.zeros_like(state))
    for advance in (update.selective_state_update, step.selective_state_update):
        y, after = advance(state, x, x[..., 0], A, B, B)
        assert y.shape == x.shape
        assert torch.equal(after, state)
    for convolve in (shifted.causal_conv1d, conv.causal_conv1d):
        y, after = convolve(draw(2, 0, 6), draw(6, 4), None, window)
        assert y.shape == (2, 0, 6)
        assert torch.equal(after, window)
    nothing = draw(0, 128), draw(0, 2), torch.zeros(0, 2, dtype=torch.long), draw(64, 128, 128), draw(64, 128, 128)
    assert grouped.routed_mlp(*nothing).shape == experts.routed_mlp(*nothing).shape == (0, 128)


def test_scan_at_the_published_shape_in_float32():
    heads, groups, time = 64, 8, 300
    dt = torch.nn.functional.softplus(draw(1, time, heads) - 6)
    A = -torch.arange(1, heads + 1, dtype=torch.float64)
    inputs = [draw(1, time, heads, 64), dt, A, draw(1, time, groups, 128), draw(1, time, groups, 128, seed=1)]
    y, state = chunk.ssd_scan(*(m.float() for m in inputs))
    want, final = ssd.ssd_scan(*inputs)
    assert float((y - want).abs().max() / want.abs().max()) < 2e-6
    assert float((state - final).abs().max() / final.abs().max()) < 2e-6


def test_state_update():
    inputs = [draw(2, 4, 3, 5), draw(2, 4, 3), draw(2, 4).exp(), -draw(4).exp(), draw(2, 2, 5), draw(2, 2, 5, seed=1)]
    same_gradients(update.selective_state_update, step.selective_state_update, [*inputs, draw(4)])
    several = [inputs[0], draw(2, 3, 4, 3), draw(2, 3, 4).exp(), inputs[3], draw(2, 3, 2, 5), draw(2, 3, 2, 5, seed=1)]
    same_gradients(update.selective_state_update, step.selective_state_update, [*several, draw(4)])
    y, state = ssd.ssd_scan(*several[1:], None, several[0])
    got = update.selective_state_update(*several)
    torch.testing.assert_close(got, (y, state))


@pytest.mark.parametrize("time", [1, 2, 9])
def test_convolution(time):
    inputs = [draw(2, time, 6), draw(6, 4), draw(6), draw(2, 3, 6)]
    same_gradients(shifted.causal_conv1d, conv.causal_conv1d, inputs)
    same_gradients(shifted.causal_conv1d, conv.causal_conv1d, inputs[:2])


def test_norms():
    same_gradients(
        lambda x, w: fused.rms_norm(x, w, 1e-5), lambda x, w: norm.rms_norm(x, w, 1e-5), [draw(3, 8), draw(8)]
    )
    inputs = [draw(3, 8), draw(3, 8, seed=1), draw(8)]
    same_gradients(lambda *a: fused.gated_rms_norm(*a, 4, 1e-5), lambda *a: norm.gated_rms_norm(*a, 4, 1e-5), inputs)


@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_experts(tokens):
    index = torch.rand(tokens, 5, generator=torch.Generator().manual_seed(1)).topk(3).indices
    inputs = [draw(tokens, 4), draw(tokens, 3), draw(5, 6, 4), draw(5, 4, 6)]
    same_gradients(
        lambda x, w, u, d: grouped.routed_mlp(x, w, index, u, d),
        lambda x, w, u, d: experts.routed_mlp(x, w, index, u, d),
        inputs,
    )


@pytest.mark.parametrize("queries", [1, 5])
def test_attention(queries):
    inputs = [draw(2, 6, queries, 4), draw(2, 2, 5, 4), draw(2, 2, 5, 4, seed=1)]
    mask = torch.ones(queries, 5, dtype=torch.bool).tril(5 - queries)[None, None]
    same_gradients(lambda *a: sdpa.gqa_attention(*a, mask), lambda *a: attention.gqa_attention(*a, mask), inputs)
    q, k, v = inputs
    near_k, near_v = draw(2, 2, 3, 4, seed=2), draw(2, 2, 3, 4, seed=3)
    whole = [torch.cat([p[:1].expand(2, -1, -1, -1), n], 2) for p, n in ((k, near_k), (v, near_v))]
    got = attention.shared_prefix_attention(q, (k[:1], v[:1]), near_k, near_v, None)
    torch.testing.assert_close(got, attention.gqa_attention(q, *whole))


def test_the_last_queries_attend_causally_in_parts(monkeypatch):
    monkeypatch.setattr(sdpa, "MASK_NUMBERS", 30)
    inputs = [draw(2, 4, 7, 8), draw(2, 2, 12, 8), draw(2, 2, 12, 8, seed=1)]
    mask = draw(2, 1, 7, 12, seed=5) > -0.5
    mask[..., 0] = True
    for seen in (None, mask):
        same_gradients(
            lambda *a, m=seen: sdpa.gqa_attention(*a, m, True),
            lambda *a, m=seen: attention.gqa_attention(*a, m, True),
            inputs,
        )


def test_recomputed_gradients_are_the_references():
    calls = []

    def kernel(x, factor, y):
        calls.append(torch.is_grad_enabled())
        return (x * y).detach() * factor, x.detach().sum()

    def reference(x, factor, y):
        return x * y * factor, x.sum()

    tensors = [draw(3), draw(3, seed=1)]
    same_gradients(
        lambda x, y: with_reference_gradient(kernel, reference, x, 2.0, y), lambda x, y: reference(x, 2.0, y), tensors
    )
    assert calls == [False]
    with torch.no_grad():
        with_reference_gradient(kernel, reference, tensors[0].requires_grad_(), 2.0, tensors[1])
    assert len(calls) == 2


def test_sampling_follows_the_softmax():
    logits = torch.tensor([[2.0, 1.0, 0.0, 5.0]]).expand(20000, -1)
    mask = torch.tensor([[True, True, True, False]]).expand(20000, -1)
    uniform = torch.rand(20000, 4, generator=torch.Generator().manual_seed(0)).clamp(1e-20, 1 - 1e-7)
    tokens = sample_masked(logits, mask, 0.5, uniform=uniform)
    share = torch.bincount(tokens, minlength=4) / 20000
    want = torch.tensor([4.0, 2.0, 0.0]).softmax(0)
    assert float((share[:3] - want).abs().max()) < 0.01
    assert share[3] == 0
    narrow = sample_masked(logits, mask, 0.5, top_p=0.8, uniform=uniform)
    assert set(narrow.unique().tolist()) == {0}
    with pytest.raises(ValueError, match="uniform"):
        sample_masked(logits, temperature=1.0)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.0), (0.0, 0.5), (1e-30, 1.0), (1.0, 1e-9), (1e-5, 0.9)])
def test_filters_keep_the_likeliest_token(temperature, top_p):
    logits = 1e3 * draw(50, 7, dtype=torch.float32)
    uniform = torch.rand(50, 7, generator=torch.Generator().manual_seed(1))
    chosen = sample_masked(logits, None, temperature, top_p, uniform)
    assert torch.equal(chosen, logits.argmax(-1))


@pytest.mark.parametrize(
    ("temperature", "top_p"),
    [(1.0, -0.1), (1.0, 1.5), (1.0, torch.nan), (-1.0, 1.0), (torch.nan, 1.0), (torch.inf, 1.0)],
)
def test_impossible_filters_are_refused(temperature, top_p):
    with pytest.raises(ValueError, match="expected"):
        sample_masked(draw(2, 7), None, temperature, top_p, torch.rand(2, 7))
