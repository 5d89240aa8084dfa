"""Memory and decode time while a long text is streamed through the `tiny` model.

OMP_NUM_THREADS=1 python vla_model/benchmarks/streaming.py [TOKENS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from record import interleaved, write

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import NemotronCache

RESULTS = Path(__file__).parent / "results.csv"
CHUNK = 512


def formula(model: NemotronModel, tokens: int) -> int:
    """Return the bytes that states, convolution inputs and keys and values take."""
    c = model.config
    states = c.pattern.count("M") * 4 * (c.d_inner * c.ssm_state_size + (c.conv_kernel - 1) * c.conv_dim)
    return states + tokens * c.pattern.count("*") * 2 * c.num_key_value_heads * c.head_dim * 4


def decode_seconds(model: NemotronModel, cache: NemotronCache) -> float:
    """Return the least processor time of one more token; the cache is left as it was."""
    token = torch.tensor([[7]])

    def step() -> None:
        point = cache.snapshot()
        model(token, cache=cache)
        cache.restore(point)

    return interleaved({"step": step}, repeats=10, inner=3)["step"]


@torch.no_grad()
def main() -> None:
    """Stream, measure at powers of two and write the CSV."""
    torch.set_num_threads(1)
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 16384
    model = NemotronModel(NemotronConfig.preset("tiny")).eval()
    cache, generator = model.new_cache(1), torch.Generator().manual_seed(0)
    rows, mark = [], 1024
    while cache.tokens < total:
        tokens = torch.randint(0, model.config.vocab_size, (1, CHUNK), generator=generator)
        hidden = model(tokens, cache=cache, return_hidden=True)
        assert bool(torch.isfinite(hidden).all())
        if cache.tokens in (mark, total):
            mark *= 4
            ratio = cache.nbytes / formula(model, cache.tokens)
            note = f"cache {cache.nbytes / 2**20:.2f} MiB, {ratio:.3f} of the formula"
            rows.append((f"{cache.tokens} tokens", 1e3 * decode_seconds(model, cache), "ms/token", note))
    write(RESULTS, "streamed prefill", rows)


if __name__ == "__main__":
    main()
