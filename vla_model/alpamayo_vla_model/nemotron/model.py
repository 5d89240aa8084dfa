"""The Nemotron-3 hybrid: Mamba-2, attention, mixture of experts and dense blocks in any order.

- Every block is ``x + mixer(rms_norm(x))``; there is one mixer a block, and the pattern says which.
- Attention has grouped queries and no positional encoding; order comes from the Mamba-2 blocks.
- Experts are ungated MLPs with squared ReLU; the router takes sigmoid scores plus a correction bias that counts
  for the choice only. With a latent size the routed experts work in a narrower space than the shared one.
- Mamba-2 states, routing and norms are computed in float32 whatever the weights' dtype.
- The multi-token-prediction block reads the final hidden state and the next token's embedding, and is applied
  again to its own output for every further token.

Shapes: B sequences, T tokens, D hidden size, H heads, K key-value heads, P head size, N state size, G groups of
heads, S cache slots, E experts, V vocabulary size, F features inside a block.

Sources: Nemotron-3 reports (arXiv 2512.20848, 2512.20856), Mamba-2 (arXiv 2405.21060). Parameters are named as in
the published checkpoints, without their leading ``backbone.``; experts are merged into one tensor a projection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from alpamayo_kernels.attention import gqa_attention, shared_prefix_attention
from alpamayo_kernels.conv1d import causal_conv1d
from alpamayo_kernels.experts import routed_mlp
from alpamayo_kernels.linear import linear
from alpamayo_kernels.norm import gated_rms_norm, rms_norm
from alpamayo_kernels.router import route_top_k
from alpamayo_kernels.ssd import ssd_scan
from alpamayo_kernels.state_update import selective_state_update
from alpamayo_vla_model.nemotron.cache import (
    KeyValueState,
    LayerState,
    MambaDraft,
    MambaState,
    NemotronCache,
    replay,
    window_after,
)
from alpamayo_vla_model.nemotron.config import NemotronConfig
from alpamayo_vla_model.nemotron.context import Context, make_context
from alpamayo_vla_model.nemotron.initial_weights import initial_value
from alpamayo_vla_model.nemotron.padding import Padding, read_padding

RECURRENT_TOKENS = 16  # most tokens that a GPU advances by the recurrence; more go by chunks


class Linear(nn.Linear):
    """A linear map by the operator that suits the device and the number of rows."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        return linear(x, self.weight, self.bias)


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32, weight included."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return rms_norm(x, self.weight, self.eps)


class Conv1d(nn.Module):
    """Weights of the causal depthwise convolution, ``[channels, 1, kernel]`` as published."""

    def __init__(self, channels: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None


class GatedNorm(nn.Module):
    """Weights of the gated norm at the end of a Mamba-2 block."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


class Mamba2(nn.Module):
    """Selective state space: project, convolve, scan, gate and norm, project back."""

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.c = c
        self.in_proj = Linear(c.hidden_size, c.d_inner + c.conv_dim + c.mamba_num_heads, bias=c.use_bias)
        self.conv1d = Conv1d(c.conv_dim, c.conv_kernel, c.use_conv_bias)
        self.A_log = nn.Parameter(torch.empty(c.mamba_num_heads))
        self.D = nn.Parameter(torch.empty(c.mamba_num_heads))
        self.dt_bias = nn.Parameter(torch.empty(c.mamba_num_heads))
        self.norm = GatedNorm(c.d_inner)
        self.out_proj = Linear(c.d_inner, c.hidden_size, bias=c.use_bias)

    def forward(self, h: Tensor, state: LayerState, context: Context) -> Tensor:
        """Map ``[B, T, D]`` to the same shape, reading and replacing the state."""
        c = self.c
        previous = state if isinstance(state, MambaState) else None
        z, xbc, dt = torch.split(self.in_proj(h), [c.d_inner, c.conv_dim, c.mamba_num_heads], dim=-1)
        xbc, window = self._convolve(xbc, previous, context)  # (B, T, H P + 2 G N)
        x, B, C = torch.split(xbc, [c.d_inner, c.n_groups * c.ssm_state_size, c.n_groups * c.ssm_state_size], dim=-1)
        x = torch.unflatten(x, -1, (c.mamba_num_heads, c.mamba_head_dim))  # (B, T, H, P)
        B, C = (torch.unflatten(m, -1, (c.n_groups, c.ssm_state_size)) for m in (B, C))  # (B, T, G, N)
        dt = self._step_sizes(dt, context.padding)  # (B, T, H)
        A = self.decay_rates()  # (H,)
        y, ssm = self._scan(x, dt, A, B, C, previous)  # (B, T, H, P), (B, H, P, N)
        if previous is not None:
            self._update(previous, window, ssm, (x, dt, A, B), context)
        y = gated_rms_norm(y.flatten(-2), z, self.norm.weight, c.n_groups, c.norm_eps)  # (B, T, H P)
        return self.out_proj(y.to(h.dtype))  # (B, T, D)

    def _convolve(self, xbc: Tensor, previous: MambaState | None, context: Context) -> tuple[Tensor, Tensor]:
        """Return the convolved channels ``[B, T, channels]`` and the inputs that the state keeps.

        Those are the last ``kernel - 1`` inputs that are tokens, or, in a speculative call,
        ``[B, kernel - 1 + T, channels]``.
        """
        past = xbc.new_zeros(len(xbc), self.c.conv_kernel - 1, xbc.shape[-1]) if previous is None else previous.conv
        y, tail = causal_conv1d(xbc, self.conv1d.weight[:, 0], self.conv1d.bias, past)
        if context.speculative:
            tail = torch.cat([past.to(xbc.dtype), xbc], dim=1)
        elif context.padding is not None:
            tail = window_after(torch.cat([past.to(xbc.dtype), xbc], dim=1), context.padding.counts, past.shape[1])
        return y, tail

    def decay_rates(self) -> Tensor:
        """Return the decay rates ``-exp(A_log)``, finite however large ``A_log`` is, ``[H]``."""
        logs = self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32))
        return -torch.exp(logs.clamp(max=math.floor(math.log(torch.finfo(logs.dtype).max))))

    def _step_sizes(self, dt: Tensor, padding: Padding | None) -> Tensor:
        """Return the discretisation steps in float32, ``[B, T, H]``; padding gets zero and leaves the state alone."""
        wide = torch.promote_types(dt.dtype, torch.float32)
        dt = functional.softplus(dt.to(wide) + self.dt_bias.to(wide))
        if self.c.time_step_limit != (0.0, math.inf):
            dt = dt.clamp(*self.c.time_step_limit)
        return dt if padding is None else dt * padding.ordered_mask[..., None]

    def _scan(
        self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, previous: MambaState | None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[B, T, H, P]`` and the last state ``[B, H, P, N]``."""
        if previous is not None and (x.shape[1] == 1 or (x.is_cuda and x.shape[1] <= RECURRENT_TOKENS)):
            return selective_state_update(previous.ssm, x, dt, A, B, C, self.D)
        initial = None if previous is None else previous.ssm
        return ssd_scan(x, dt, A, B, C, self.D, initial, self.c.chunk_size)

    def _update(
        self, state: MambaState, window: Tensor, ssm: Tensor, factors: tuple[Tensor, ...], context: Context
    ) -> None:
        """Replace the state, or keep a speculative call's factors so that a part of it can be committed."""
        if context.speculative:
            state.draft = MambaDraft(window, factors[0].shape[1], ssm, partial(replay, state.ssm, *factors))
        else:
            state.conv, state.ssm = window, state.rounded(ssm)


class Attention(nn.Module):
    """Causal grouped-query attention without positional encoding."""

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.c = c
        self.q_proj = Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.k_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.v_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.o_proj = Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)

    def forward(self, h: Tensor, state: LayerState, context: Context) -> Tensor:
        """Map ``[B, T, D]`` to the same shape, appending keys and values to the state."""
        q, k, v = (
            torch.unflatten(proj(h), -1, (-1, self.c.head_dim)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )  # q (B, H, T, P); k and v (B, K, T, P)
        prefix = None
        if isinstance(state, KeyValueState):
            k, v = state.append(k, v, context.start)  # (B, K, S, P)
            prefix = state.prefix
        if prefix is None:
            y = gqa_attention(q, k, v, context.mask, context.causal)  # (B, H, T, P)
        else:
            y = shared_prefix_attention(q, prefix, k, v, context.mask)  # (B, H, T, P)
        return self.o_proj(y.transpose(1, 2).flatten(-2))  # (B, T, D)


class MLP(nn.Module):
    """Ungated MLP with squared ReLU."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.up_proj = Linear(width, inner, bias=bias)
        self.down_proj = Linear(inner, width, bias=bias)

    def forward(self, h: Tensor, state: LayerState = None, context: Context | None = None) -> Tensor:
        """Map ``[..., width]`` to the same shape."""
        inner = functional.relu(self.up_proj(h)).square()  # (..., F)
        return self.down_proj(inner)  # (..., width)


class Router(nn.Module):
    """Choice of experts: sigmoid scores, correction bias, best groups, best experts."""

    e_score_correction_bias: Tensor

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.c = c
        self.weight = nn.Parameter(torch.empty(c.n_routed_experts, c.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(c.n_routed_experts))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights ``[B T, k]``, expert indices ``[B T, k]`` and logits ``[B T, E]``."""
        c = self.c
        wide = torch.promote_types(h.dtype, torch.float32)
        logits = functional.linear(h.to(wide), self.weight.to(wide))  # (B T, E)
        weights, index = route_top_k(
            logits,
            self.e_score_correction_bias,
            c.num_experts_per_tok,
            c.n_group,
            c.topk_group,
            c.norm_topk_prob,
            c.routed_scaling_factor,
        )  # (B T, k) each
        return weights, index, logits


class Experts(nn.Module):
    """Weights of all routed experts, ``up_proj`` ``[E, F, width]`` and ``down_proj`` ``[E, width, F]``."""

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.up_proj = nn.Parameter(torch.empty(c.n_routed_experts, c.moe_intermediate_size, c.expert_size))
        self.down_proj = nn.Parameter(torch.empty(c.n_routed_experts, c.expert_size, c.moe_intermediate_size))

    def forward(self, x: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """Return the weighted sum of each token's experts, ``[B T, width]``."""
        return routed_mlp(x, weights, index, self.up_proj, self.down_proj)


class MoE(nn.Module):
    """Routed experts, in a latent space if the model has one, plus one shared expert at full width."""

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.gate = Router(c)
        self.experts = Experts(c)
        self.shared_experts = MLP(c.hidden_size, c.moe_shared_expert_intermediate_size, c.mlp_bias)
        self.fc1_latent_proj: Linear | None = None
        self.fc2_latent_proj: Linear | None = None
        if c.moe_latent_size is not None:
            self.fc1_latent_proj = Linear(c.hidden_size, c.moe_latent_size, bias=c.mlp_bias)
            self.fc2_latent_proj = Linear(c.moe_latent_size, c.hidden_size, bias=c.mlp_bias)

    def forward(self, h: Tensor, state: LayerState = None, context: Context | None = None) -> Tensor:
        """Map ``[B, T, D]`` to the same shape."""
        flat = h.flatten(0, -2)  # (B T, D)
        weights, index, _ = self.gate(flat)  # (B T, k) each
        v = flat if self.fc1_latent_proj is None else self.fc1_latent_proj(flat)  # (B T, latent or D)
        v = self.experts(v, weights, index)  # (B T, latent or D)
        if self.fc2_latent_proj is not None:
            v = self.fc2_latent_proj(v)  # (B T, D)
        return v.view(h.shape) + self.shared_experts(h)  # (B, T, D)


def make_mixer(block: str, c: NemotronConfig) -> nn.Module:
    """Return the mixer of a pattern letter."""
    match block:
        case "M":
            return Mamba2(c)
        case "*":
            return Attention(c)
        case "E":
            return MoE(c)
        case _:
            return MLP(c.hidden_size, c.intermediate_size, c.mlp_bias)


class Block(nn.Module):
    """``x + mixer(norm(x))``."""

    def __init__(self, block: str, c: NemotronConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.mixer = make_mixer(block, c)

    def forward(self, x: Tensor, state: LayerState, context: Context) -> Tensor:
        """Map ``[B, T, D]`` to the same shape."""
        y: Tensor = x + self.mixer(self.norm(x), state, context)  # (B, T, D)
        return y


class MTP(nn.Module):
    """The multi-token-prediction block.

    ``layers[0]`` also holds the norms and the projection that join the hidden state with the next token's embedding,
    ``layers[-1]`` the final norm, as in the published checkpoints.
    """

    def __init__(self, c: NemotronConfig) -> None:
        super().__init__()
        self.c = c
        self.layers = nn.ModuleList([Block(block, c) for block in c.mtp_pattern])
        first, last = self.layers[0], self.layers[-1]
        first.enorm = RMSNorm(c.hidden_size, c.norm_eps)
        first.hnorm = RMSNorm(c.hidden_size, c.norm_eps)
        first.eh_proj = Linear(2 * c.hidden_size, c.hidden_size, bias=False)
        last.final_layernorm = RMSNorm(c.hidden_size, c.norm_eps)

    def forward(
        self,
        hidden: Tensor,
        next_embeddings: Tensor,
        cache: NemotronCache | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states that predict the token after the next, ``[B, T, D]``.

        Args:
            hidden: The model's hidden states at t (or this block's output, for further tokens), ``[B, T, D]``.
            next_embeddings: Embeddings of the tokens at t + 1, ``[B, T, D]``.
            cache: From ``NemotronModel.new_mtp_cache``.
            attention_mask: False at padding, ``[B, T]``.
        """
        first, last = self.layers[0], self.layers[-1]
        padding = read_padding(attention_mask, hidden)
        if padding is not None:
            hidden, next_embeddings = padding.tokens_first(hidden), padding.tokens_first(next_embeddings)
        joined = torch.cat([first.enorm(next_embeddings), first.hnorm(hidden)], dim=-1)  # type: ignore[operator]
        context = make_context(joined.shape[1], cache, padding, joined.device, False)
        x = first.eh_proj(joined)  # type: ignore[operator]  # (B, T, 2 D) to (B, T, D)
        for index, layer in enumerate(self.layers):
            x = layer(x, None if cache is None else cache.layers[index], context)  # (B, T, D)
        if cache is not None:
            cache.advance(joined.shape[1], padding, False)
        y: Tensor = last.final_layernorm(x)  # type: ignore[operator]
        return y if padding is None else padding.restored(y)


class NemotronModel(nn.Module):
    """A Nemotron-3 language model.

    ```python
    model = NemotronModel(NemotronConfig.preset("tiny"))
    logits = model(tokens)  # [B, T, V], float32
    hidden = model(embeddings=x, return_hidden=True)  # [B, T, D], after the last norm
    cache = model.new_cache(batch=1)
    model(prompt, cache=cache)  # prefill; again with more tokens: chunked prefill; with one token: decode
    samples = cache.fork(6)  # six sequences that share the prefill
    ```

    A call with a cache continues every sequence from where the cache stands, whatever the number of tokens. With
    ``speculative=True`` it computes the same, but the cache only advances at ``cache.commit(n)``, by the n tokens that
    are accepted.

    Args:
        config: The shape.
        generator: Source of the initial weights; a fresh one with seed 0 when None.
        device: Where the parameters live; ``meta`` allocates nothing.
        dtype: Of the parameters; the router's correction bias is always float32.

    Attributes:
        checkpoint_activations: Recompute each block in the backward pass instead of keeping its inside.
    """

    def __init__(
        self,
        config: NemotronConfig,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        with torch.device("meta"):
            self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
            self.layers = nn.ModuleList([Block(block, config) for block in config.pattern])
            self.norm_f = RMSNorm(config.hidden_size, config.norm_eps)
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
            self.mtp = MTP(config) if config.mtp_pattern else None
        self._tie()
        self.to(dtype)
        for router in self.routers():
            router.e_score_correction_bias = router.e_score_correction_bias.float()
        if torch.device(device).type != "meta":
            self.to_empty(device=device)
            self._tie()
            self.reset_parameters(generator or torch.Generator().manual_seed(0))

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.embeddings.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return self.embeddings.weight.dtype

    def routers(self) -> list[Router]:
        """Return all routers, in order, those of the MTP block last."""
        return [module for module in self.modules() if isinstance(module, Router)]

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights as published; the same generator gives the same bytes on every device."""
        for name, parameter in self.named_parameters():
            parameter.copy_(initial_value(name, parameter, self.config, generator))
        for router in self.routers():
            router.e_score_correction_bias.zero_()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of ``[B, T]`` tokens, ``[B, T, D]``."""
        embedded: Tensor = self.embeddings(tokens)
        return embedded

    def inputs(self, tokens: Tensor | None, embeddings: Tensor | None, cache: NemotronCache | None) -> Tensor:
        """Return what a call feeds to the first block, ``[B, T, D]``.

        Raises:
            ValueError: Tokens and embeddings are both given or missing, or the cache is of another batch or model.
        """
        if (tokens is None) == (embeddings is None):
            raise ValueError("give either tokens or embeddings")
        x = self.embed(tokens) if tokens is not None else embeddings
        assert x is not None
        if cache is not None and cache.batch != len(x):
            raise ValueError(f"the cache holds {cache.batch} sequences, the input {len(x)}")
        if cache is not None and len(cache.layers) != len(self.layers):
            raise ValueError(f"the cache is for {len(cache.layers)} blocks, the model has {len(self.layers)}")
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the float32 logits of hidden states, ``[..., V]``."""
        out: Tensor = self.lm_head(hidden)
        return out if out.dtype == torch.float64 else out.float()

    def forward(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        cache: NemotronCache | None = None,
        attention_mask: Tensor | None = None,
        return_hidden: bool = False,
        speculative: bool = False,
    ) -> Tensor:
        """Return logits, or hidden states, of every given token.

        Args:
            tokens: ``[B, T]``, int64; or None when ``embeddings`` is given.
            embeddings: ``[B, T, D]``, instead of tokens.
            cache: State of the tokens so far, updated in place; None starts without one and keeps none.
            attention_mask: True (1) at tokens, False (0) at padding, anywhere, ``[B, T]``; the cache remembers it.
            return_hidden: Return the states after the last norm instead of logits.
            speculative: With a cache: advance it only at ``cache.commit(n)``.

        Returns:
            Float32 logits ``[B, T, V]``, or hidden states ``[B, T, D]``.
        """
        hidden, _ = self._run(tokens, embeddings, cache, attention_mask, speculative, ())
        return hidden if return_hidden else self.logits(hidden)

    def features(
        self,
        tokens: Tensor | None = None,
        *,
        layers: Sequence[int],
        embeddings: Tensor | None = None,
        cache: NemotronCache | None = None,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the hidden states after the last norm and those after each of the named blocks.

        Args:
            tokens: As in ``forward``.
            layers: Block indices; the result lists their outputs (before the last norm) in this order.
            embeddings: As in ``forward``.
            cache: As in ``forward``.
            attention_mask: As in ``forward``.
        """
        hidden, found = self._run(tokens, embeddings, cache, attention_mask, False, layers)
        return hidden, [found[index] for index in layers]

    def new_cache(
        self,
        batch: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        state_dtype: torch.dtype | None = None,
        capacity: int = 256,
    ) -> NemotronCache:
        """Return an empty cache for ``batch`` sequences.

        Args:
            batch: Number of sequences.
            dtype: Of keys, values and convolution inputs; the parameters' when None.
            device: The parameters' when None.
            state_dtype: Of the Mamba-2 states; float32 when None (float64 for a float64 model). float16 states are
                rounded stochastically, always with the same random bits.
            capacity: Initial number of attention slots; it grows when they are full.
        """
        return self._new_cache(self.config.pattern, batch, dtype, device, state_dtype, capacity)

    def new_mtp_cache(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> NemotronCache:
        """Return an empty cache for the multi-token-prediction block."""
        return self._new_cache(self.config.mtp_pattern, batch, dtype, device, None, 256)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Self:
        """Load a folder in Hugging Face's layout; see ``checkpoint.load``."""
        from alpamayo_vla_model.nemotron.checkpoint import load

        return load(cls, folder, dtype=dtype, device=device)

    def save_pretrained(
        self, folder: str | Path, *, shard_bytes: int = 5_000_000_000, recipe: str | None = None
    ) -> None:
        """Write a folder in Hugging Face's layout; see ``checkpoint.save``."""
        from alpamayo_vla_model.nemotron.checkpoint import save

        save(self, NemotronModel, folder, shard_bytes=shard_bytes, recipe=recipe)

    def _run(
        self,
        tokens: Tensor | None,
        embeddings: Tensor | None,
        cache: NemotronCache | None,
        attention_mask: Tensor | None,
        speculative: bool,
        layers: Sequence[int],
    ) -> tuple[Tensor, dict[int, Tensor]]:
        x = self.inputs(tokens, embeddings, cache)  # (B, T, D)
        padding = read_padding(attention_mask, x)
        x = x if padding is None else padding.tokens_first(x)  # (B, T, D)
        context = make_context(x.shape[1], cache, padding, x.device, speculative)
        found: dict[int, Tensor] = {}
        for index, layer in enumerate(self.layers):
            state = None if cache is None else cache.layers[index]
            if self.checkpoint_activations and cache is None and torch.is_grad_enabled():
                x = checkpoint(layer, x, state, context, use_reentrant=False)  # (B, T, D)
            else:
                x = layer(x, state, context)  # (B, T, D)
            if index in layers:
                found[index] = x if padding is None else padding.restored(x)
        if cache is not None:
            cache.advance(x.shape[1], padding, speculative)
        x = self.norm_f(x)  # (B, T, D)
        return x if padding is None else padding.restored(x), found

    def _new_cache(
        self,
        pattern: str,
        batch: int,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        state_dtype: torch.dtype | None,
        capacity: int,
    ) -> NemotronCache:
        c, dtype, device = self.config, dtype or self.dtype, device or self.device
        wide = state_dtype or torch.promote_types(self.dtype, torch.float32)
        generator = torch.Generator(device).manual_seed(0) if wide == torch.float16 else None
        layers: list[LayerState] = []
        for block in pattern:
            if block == "M":
                conv = torch.zeros(batch, c.conv_kernel - 1, c.conv_dim, dtype=dtype, device=device)
                shape = (batch, c.mamba_num_heads, c.mamba_head_dim, c.ssm_state_size)
                layers.append(MambaState(conv, torch.zeros(shape, dtype=wide, device=device), None, generator))
            elif block == "*":
                slots = (batch, c.num_key_value_heads, capacity, c.head_dim)
                keys, values = (torch.zeros(slots, dtype=dtype, device=device) for _ in range(2))
                layers.append(KeyValueState(keys, values))
            else:
                layers.append(None)
        return NemotronCache(layers, batch)

    def _tie(self) -> None:
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.embeddings.weight
