"""Memory and decode time of the ``tiny`` model while a long text is streamed through it, on one core.

OMP_NUM_THREADS=1 python vla_model/benchmarks/streaming.py [--tokens 1048576] [--exact 32768] [--window 1024]

- **all slots kept**: the exact model. Keys and values grow by the token, and the work of attention with the square of
  the stream: a million tokens would be 8e14 operations, hours on a core. It is streamed up to ``--exact`` tokens; for
  the full length the slots are filled with random numbers, and memory and decode time are measured over them.
- **latest slots kept** (``NemotronCache.forget``): the whole stream, in constant memory. The Mamba-2 states remember
  everything, the attention the last ``--window`` tokens and a chunk.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from record import interleaved, write

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import KeyValueState, NemotronCache
from alpamayo_vla_model.nemotron.inference.cpu_compiled import CompiledModel, compile_for_cpu

RESULTS = Path(__file__).parent / "results.csv"
CHUNK = 512


def formula(model: CompiledModel, slots: int) -> int:
    """Return the bytes that states, convolution inputs and keys and values take."""
    c = model.config
    states = c.pattern.count("M") * 4 * (c.d_inner * c.ssm_state_size + (c.conv_kernel - 1) * c.conv_dim)
    return states + slots * c.pattern.count("*") * 2 * c.num_key_value_heads * c.head_dim * 4


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def decode_seconds(model: CompiledModel, cache: NemotronCache) -> float:
    """Return the least processor time of one more token; the cache is left as it was."""
    token = torch.tensor([[7]])

    def step() -> None:
        point = cache.snapshot()
        model(token, cache=cache)
        cache.restore(point)

    return interleaved({"step": step}, repeats=10, inner=3)["step"]


def row(model: CompiledModel, cache: NemotronCache, tokens: int, kind: str) -> tuple[str, float, str, str]:
    """Measure a cache as it stands."""
    ratio = cache.nbytes / formula(model, cache.tokens)
    note = f"cache {cache.nbytes / 2**20:.2f} MiB, {ratio:.3f} of the formula"
    return f"{kind}, {tokens} tokens", 1e3 * decode_seconds(model, cache), "ms/token", note


def stream(model: CompiledModel, total: int, window: int | None) -> list[tuple[str, float, str, str]]:
    """Stream random tokens, with a measurement at powers of four from 1024 on and at the end."""
    cache, generator = model.new_cache(1), torch.Generator().manual_seed(0)
    kind, rows, mark = "all slots" if window is None else f"latest {window} slots", [], 1024
    for done in range(CHUNK, total + 1, CHUNK):
        tokens = torch.randint(0, model.config.vocab_size, (1, CHUNK), generator=generator)
        hidden = model(tokens, cache=cache, return_hidden=True)
        assert bool(torch.isfinite(hidden).all())
        if window is not None:
            cache.forget(window)
        if done == mark or done + CHUNK > total:
            mark *= 4
            rows.append(row(model, cache, done, kind))
            print(rows[-1], flush=True)
    return rows


def filled(model: CompiledModel, total: int) -> tuple[str, float, str, str]:
    """Measure a cache whose slots were filled with random numbers instead of streamed."""
    before = resident()
    cache, generator = model.new_cache(1, capacity=total + 1), torch.Generator().manual_seed(0)
    for state in cache.layers:
        if isinstance(state, KeyValueState):
            state.keys.normal_(generator=generator)
            state.values.normal_(generator=generator)
    cache.advance(total, None, False)
    ratio = (resident() - before) / formula(model, total)
    name, value, unit, note = row(model, cache, total, "all slots, filled not streamed")
    return name, value, unit, f"{note}; the process grew by {ratio:.3f} of it"


@torch.no_grad()
def main() -> None:
    """Stream, measure and write the CSV."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=1 << 20)
    parser.add_argument("--exact", type=int, default=1 << 15)
    parser.add_argument("--window", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = compile_for_cpu(NemotronModel(NemotronConfig.preset("tiny")).eval())
    decode_seconds(model, model.new_cache(1))
    rows = [filled(model, options.tokens), *stream(model, options.exact, None)]
    write(RESULTS, "streamed prefill", [*rows, *stream(model, options.tokens, options.window)])


if __name__ == "__main__":
    main()
