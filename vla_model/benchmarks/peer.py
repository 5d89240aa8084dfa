"""Decode and prefill of the `small` preset beside transformers with the same weights, by processor time.

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
from alpamayo_vla_model.nemotron.weight_only import store_weights

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


def ours(model: NemotronModel, tokens: torch.Tensor) -> Callable[[], list[int]]:
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


@torch.no_grad()
def main() -> None:
    """Measure and write the CSV."""
    torch.set_num_threads(1)
    model = NemotronModel(NemotronConfig.preset("small")).eval()
    peer = peer_of(model)
    small = store_weights(copy.deepcopy(model), torch.int8)
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 8):
        tokens = torch.randint(0, 8192, (batch, 128), generator=generator)
        assert ours(model, tokens)() == theirs(peer, tokens)()
        cases = {
            "ours float32": ours(model, tokens),
            "transformers float32": theirs(peer, tokens),
            "ours int8": ours(small, tokens),
        }
        best = interleaved(cases, repeats=7)
        base = best["transformers float32"]
        rows = [(f"{name}, batch {batch}", 1e3 * s / STEPS, "ms/step", f"{base / s:.2f}x") for name, s in best.items()]
        write(RESULTS, "decode after 128 tokens", rows)
    tokens = torch.randint(0, 8192, (1, 512), generator=generator)
    cases = {"ours float32": lambda: model(tokens), "transformers float32": lambda: peer(tokens, use_cache=False)}
    best = interleaved(cases, repeats=7)
    rows = [(n, 1e3 * s, "ms", f"{best['transformers float32'] / s:.2f}x") for n, s in best.items()]
    write(RESULTS, "prefill of 512 tokens", rows)


if __name__ == "__main__":
    main()
