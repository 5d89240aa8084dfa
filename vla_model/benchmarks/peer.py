"""Decode and prefill of the ``small`` preset (52M parameters) beside transformers with the same weights.

By processor time, in turns, with the physical limit beside: a decode step cannot be quicker than reading the weights
it needs at the bandwidth measured in the same run.

Run with one thread: OMP_NUM_THREADS=1 python vla_model/benchmarks/peer.py
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from record import interleaved, write

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.weight_only import store_weights

RESULTS = Path(__file__).parent / "results.csv"
STEPS = 16


def peer_of(model: NemotronModel) -> torch.nn.Module:
    """Return transformers' model with the same weights and the published step limits."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        peer = transformers.NemotronHForCausalLM.from_pretrained(folder).eval()
    for layer in peer.model.layers:
        if hasattr(layer.mixer, "time_step_limit"):
            layer.mixer.time_step_limit = (0.0, float("inf"))
    return peer


def ours(model: LanguageModel, tokens: torch.Tensor) -> Callable[[], list[int]]:
    """Prefill, and return a function that decodes the next tokens greedily."""
    cache = model.new_cache(len(tokens))
    last = [model(tokens, cache=cache)]

    def decode() -> list[int]:
        out = []
        for _ in range(STEPS):
            out.append(last[0][:, -1:].argmax(-1))
            last[0] = model(out[-1], cache=cache)
        return torch.cat(out, 1).flatten().tolist()

    return decode


def theirs(peer: torch.nn.Module, tokens: torch.Tensor) -> Callable[[], list[int]]:
    """Do the same with the peer."""
    last = [peer(tokens, use_cache=True)]

    def decode() -> list[int]:
        out = []
        for _ in range(STEPS):
            out.append(last[0].logits[:, -1:].argmax(-1))
            last[0] = peer(out[-1], past_key_values=last[0].past_key_values, use_cache=True)
        return torch.cat(out, 1).flatten().tolist()

    return decode


def active_bytes(model: NemotronModel) -> int:
    """Return the bytes of the weights that one token of one sequence needs."""
    c, total = model.config, 0
    for name, tensor in model.state_dict().items():
        if name.startswith(("embeddings", "mtp")):
            continue
        routed = ".experts." in name
        total += tensor.nbytes * c.num_experts_per_tok // c.n_routed_experts if routed else tensor.nbytes
    return total


def copies() -> Callable[[], torch.Tensor]:
    """Return a function that reads 256 MiB."""
    numbers = torch.ones(64 << 20)
    return numbers.sum


@torch.no_grad()
def measure_decoding(model: NemotronModel, peer: torch.nn.Module, batch: int) -> None:
    """Decode with every kind of stored weights, beside the peer."""
    tokens = torch.randint(0, 8192, (batch, 128), generator=torch.Generator().manual_seed(batch))
    stored = {
        "float32": compile_for_cpu(model),
        "bfloat16": compile_for_cpu(store_weights(copy.deepcopy(model), torch.bfloat16)),
        "int8": compile_for_cpu(store_weights(copy.deepcopy(model), torch.int8)),
    }
    assert ours(stored["float32"], tokens)() == theirs(peer, tokens)(), "float32 tokens differ from the peer's"
    for name, each in stored.items():
        assert ours(each, tokens)() == ours(each.model, tokens)(), f"{name} tokens differ from the model's own"
    cases = {f"ours {name}": ours(each, tokens) for name, each in stored.items()}
    best = interleaved({**cases, "transformers float32": theirs(peer, tokens), "read": copies()}, repeats=9)
    bandwidth, base = (256 << 20) / best.pop("read"), best["transformers float32"]
    rows = []
    for name, seconds in best.items():
        note = f"{base / seconds:.2f}x"
        if name.startswith("ours") and batch == 1:
            limit = active_bytes(stored[name.removeprefix("ours ")].model) / bandwidth
            note += f"; memory bound {1e3 * limit:.2f} ms at {bandwidth / 1e9:.1f} GB/s"
        rows.append((f"{name}, batch {batch}", 1e3 * seconds / STEPS, "ms/step", note))
    write(RESULTS, "decode after 128 tokens", rows)


@torch.no_grad()
def measure_prefill(model: NemotronModel, peer: torch.nn.Module) -> None:
    """Read 512 tokens, logits of all of them included, beside the peer."""
    tokens = torch.randint(0, 8192, (1, 512), generator=torch.Generator().manual_seed(0))
    compiled = compile_for_cpu(model)
    mine, other = compiled(tokens), peer(tokens, use_cache=False).logits
    assert float((mine - other).norm() / other.norm()) < 2e-6, "logits differ from the peer's"
    cases = {"ours float32": lambda: compiled(tokens), "transformers float32": lambda: peer(tokens, use_cache=False)}
    best = interleaved(cases, repeats=7)
    rows = [(n, 1e3 * s, "ms", f"{best['transformers float32'] / s:.2f}x") for n, s in best.items()]
    write(RESULTS, "prefill of 512 tokens", rows)


def main() -> None:
    """Measure and write the CSV."""
    torch.set_num_threads(1)
    model = NemotronModel(NemotronConfig.preset("small")).eval()
    peer = peer_of(model)
    measure_prefill(model, peer)
    for batch in (1, 8):
        measure_decoding(model, peer, batch)


if __name__ == "__main__":
    main()
