"""Inference on a CPU where one compiled call runs all blocks: ``compile_for_cpu``.

The compiled step serves decoding, verifying drafts, appending forced tokens and prefill, for float32 activations and
weights in float32, bfloat16 or int8. It computes what the model's own forward pass computes, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alpamayo_kernels import cpu_step
from alpamayo_vla_model.nemotron import model as general
from alpamayo_vla_model.nemotron.cache import KeyValueState, MambaState, NemotronCache
from alpamayo_vla_model.nemotron.inference.change_detection import ChangeDetector, obstacle
from alpamayo_vla_model.nemotron.inference.cpu_blocks import BlockStack, MtpInput
from alpamayo_vla_model.nemotron.inference.weight_only import StoredExperts, StoredLinear
from alpamayo_vla_model.nemotron.model import NemotronModel

PIECE_TOKENS = 512  # length of the pieces in which a longer input goes through the blocks

# The compiled step computes what these modules compute; it refuses any other, such as an adapter's.
_KNOWN_MODULES = frozenset(
    {
        general.Attention, general.Block, general.Conv1d, general.Experts, general.GatedNorm, general.Linear,
        general.MLP, general.MoE, general.MTP, general.Mamba2, general.RMSNorm, general.Router,
        StoredExperts, StoredLinear, nn.ModuleList,
    }
)  # fmt: skip


def can_compile(model: NemotronModel) -> bool:
    """Return whether ``compile_for_cpu`` accepts a model as it is."""
    return _obstacle(model) is None


def compile_for_cpu(model: NemotronModel, *, on_experts_read: Callable[[int], None] | None = None) -> CompiledModel:
    """Compile a model's inference for one core of this machine's CPU.

    ```python
    compiled = compile_for_cpu(model.eval())
    results = Engine(compiled).run(requests)
    ```

    The weights are copied into another layout. The compiled code is made once a machine, in seconds.

    Args:
        model: In evaluation mode, with float32 parameters on the CPU, or after ``store_weights``.
        on_experts_read: Called after every call with the number of experts whose weights were read, counted once
            a block.

    Raises:
        ValueError: The model cannot be compiled; the message says why.
    """
    obstacle = _obstacle(model)
    if obstacle is not None:
        raise ValueError(f"the model cannot be compiled for the CPU: {obstacle}")
    try:
        return CompiledModel(model, on_experts_read)
    except TypeError as error:  # a weight of another dtype or layout
        raise ValueError(f"the model cannot be compiled for the CPU: {error}") from error


class CompiledModel:
    """A model whose blocks run as one compiled call; made by ``compile_for_cpu``.

    It is called as ``NemotronModel`` is, for inference only, and has no state of its own: threads may share one.
    A call with padding runs the model's own forward pass. A call raises ValueError where the compiled weights are no
    longer those of the model: after a change of weights, a hook, an exchanged or patched module, or in training mode.
    Changes that PyTorch does not count (through ``.data`` or a NumPy view) are found by the next call where they write
    a whole tensor, and down to one number when the next sequence begins, by a checksum over all weights.
    """

    def __init__(self, model: NemotronModel, on_experts_read: Callable[[int], None] | None = None) -> None:
        self.model, self.config = model, model.config
        self._on_experts_read = on_experts_read
        self._unchanged = ChangeDetector(model, [module for _, module in _modules(model)])
        self._stack = BlockStack(self.config, self.config.pattern, model.layers, model.norm_f)
        self.mtp = None if model.mtp is None else CompiledMtp(self, model.mtp)

    def __reduce__(self) -> tuple[Any, ...]:
        """Compile again where a copy arrives: addresses mean nothing in another process."""
        return CompiledModel, (self.model, self._on_experts_read)

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return self.model.device

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of ``[B, T]`` tokens, ``[B, T, D]``."""
        return self.model.embed(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the float32 logits of hidden states, ``[..., V]``."""
        return self.model.logits(hidden)

    def new_cache(self, batch: int, *, capacity: int = 256) -> NemotronCache:
        """Return an empty cache for ``batch`` sequences; see ``NemotronModel.new_cache``.

        Raises:
            ValueError: The model's weights have changed since it was compiled.
        """
        self._unchanged.check_everything()
        return self.model.new_cache(batch, capacity=capacity)

    def new_mtp_cache(self, batch: int) -> NemotronCache:
        """Return an empty cache for the multi-token-prediction block."""
        return self.model.new_mtp_cache(batch)

    def __call__(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        cache: NemotronCache | None = None,
        attention_mask: Tensor | None = None,
        return_hidden: bool = False,
        speculative: bool = False,
    ) -> Tensor:
        """Return logits, or hidden states, of every given token; see ``NemotronModel.forward``.

        Raises:
            ValueError: The model has changed since it was compiled, gradients are enabled, or the cache or the
                embeddings are not float32 on the CPU.
        """
        x = self.model.inputs(tokens, embeddings, cache)  # (B, T, D)
        self.check(x, cache)
        if attention_mask is not None or x.numel() == 0:
            return self.model(
                embeddings=x,
                cache=cache,
                attention_mask=attention_mask,
                return_hidden=return_hidden,
                speculative=speculative,
            )
        hidden, _ = self._run(x, cache, speculative, ())
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
        """Return the hidden states after the last norm and those after the named blocks; see ``NemotronModel``."""
        x = self.model.inputs(tokens, embeddings, cache)  # (B, T, D)
        self.check(x, cache)
        if attention_mask is not None or x.numel() == 0:
            return self.model.features(layers=layers, embeddings=x, cache=cache, attention_mask=attention_mask)
        hidden, found = self._run(x, cache, False, layers)
        return hidden, [found[index] for index in layers]

    def run_stack(self, stack: BlockStack, x: Tensor, cache: NemotronCache, speculative: bool, **more: Any) -> Tensor:
        """Run a stack of this model's blocks and advance the cache; see ``BlockStack.run``."""
        hidden, experts = stack.run(x, cache, speculative, **more)
        cache.advance(x.shape[1], None, speculative)
        if self._on_experts_read is not None:
            self._on_experts_read(experts)
        return hidden

    def check(self, x: Tensor, cache: NemotronCache | None) -> None:
        """Raise ValueError where the compiled step would not answer as the model does."""
        self._unchanged.check()
        if torch.is_grad_enabled():
            raise ValueError("the compiled model computes no gradients: call it under torch.no_grad()")
        states = [] if cache is None else cache.layers
        tensors = [x, *(t for state in states for t in _tensors(state))]
        if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
            raise ValueError("the compiled model takes embeddings and caches in float32 on the CPU")

    def _run(
        self, x: Tensor, cache: NemotronCache | None, speculative: bool, layers: Sequence[int]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the hidden states after the last norm and after the named blocks, ``[B, T, D]`` each."""
        cache = self.new_cache(len(x), capacity=x.shape[1]) if cache is None else cache
        pieces = [x] if speculative else torch.split(x, PIECE_TOKENS, dim=1)
        hidden, found = [], []
        for piece in pieces:
            found.append({index: torch.empty_like(piece, memory_format=torch.contiguous_format) for index in layers})
            hidden.append(self.run_stack(self._stack, piece, cache, speculative, outputs=found[-1]))
        if len(pieces) == 1:
            return hidden[0], found[0]
        return torch.cat(hidden, dim=1), {i: torch.cat([part[i] for part in found], dim=1) for i in layers}


class CompiledMtp:
    """The multi-token-prediction block of a compiled model; called as ``MTP`` is."""

    def __init__(self, owner: CompiledModel, mtp: general.MTP) -> None:
        self._owner, self._mtp = owner, mtp
        first, last = mtp.layers[0], mtp.layers[-1]
        modules = MtpInput(first.enorm, first.hnorm, first.eh_proj)
        self._stack = BlockStack(owner.config, owner.config.mtp_pattern, mtp.layers, last.final_layernorm, modules)

    def __call__(
        self,
        hidden: Tensor,
        next_embeddings: Tensor,
        cache: NemotronCache | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states that predict the token after the next, ``[B, T, D]``; see ``MTP.forward``."""
        self._owner.check(next_embeddings, cache)
        if cache is None or attention_mask is not None or next_embeddings.numel() == 0:
            y: Tensor = self._mtp(hidden, next_embeddings, cache, attention_mask)
            return y
        return self._owner.run_stack(self._stack, next_embeddings, cache, False, hidden=hidden)


LanguageModel = NemotronModel | CompiledModel


def _obstacle(model: NemotronModel) -> str | None:
    """Return why a model cannot be compiled, or None."""
    if model.training:
        return "it is in training mode; call model.eval() first"
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return f"its parameters are {model.dtype} on {model.device.type}, expected torch.float32 on cpu"
    for name, module in _modules(model):
        if type(module) not in _KNOWN_MODULES:
            return f"{name} is a {type(module).__name__}, which the compiled step does not know"
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
                return f"{name} has a parameter of type {type(tensor).__name__}"
    found = obstacle(model, [module for _, module in _modules(model)])
    if found is not None:
        return found
    return None if cpu_step.available() else "the compiled step cannot be built on this machine"


def _modules(model: NemotronModel) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that the compiled step replaces, with their names."""
    for root in ("layers", "norm_f", "mtp"):
        module = getattr(model, root)
        if module is not None:
            yield from module.named_modules(prefix=root)


def _tensors(state: MambaState | KeyValueState | None) -> tuple[Tensor, ...]:
    if isinstance(state, MambaState):
        return state.conv, state.ssm
    return () if state is None else (state.keys, state.values)
