"""Decoding of a nano-shaped random model in bfloat16 on a GPU, as a share of the weight-bandwidth roofline.

    python vla_model/benchmarks/nano_decode.py [--preset nano] [--context 1024] [--batch 1] [--layers N]

A step at the given context is timed as it is and captured in a CUDA graph, whose replay does the same work at the
same addresses again (it always reads the token and the states of the capture: a timing, not a generation). The
roofline is what a step must read and write, ``alpamayo model info``'s formula, over the copy bandwidth measured in the
same run. Needs about 65 GB of GPU memory; ``--layers`` keeps the first N blocks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from record import write

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import KeyValueState, MambaState, NemotronCache

RESULTS = Path(__file__).parent / "results.csv"


def random_model(config: NemotronConfig, device: str) -> NemotronModel:
    """Return a model whose weights are drawn where they live, which is quicker than the published way."""
    model = NemotronModel(config, device="meta", dtype=torch.bfloat16).to_empty(device=device).requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        parameter.normal_(0, 0.02, generator=generator)
        if "norm" in name or name.endswith(".D"):
            parameter.fill_(1)
        if name.endswith("A_log"):
            parameter.fill_(1)
    for router in model.routers():
        router.e_score_correction_bias.zero_()
    return model.eval()


def filled_cache(model: NemotronModel, batch: int, context: int) -> NemotronCache:
    """Return a cache as after ``context`` tokens, with random contents; the step's slot is free."""
    cache = model.new_cache(batch, capacity=context + 16)
    generator = torch.Generator(model.device).manual_seed(1)
    for state in cache.layers:
        if isinstance(state, MambaState):
            state.ssm.normal_(generator=generator)
        elif isinstance(state, KeyValueState):
            state.keys.normal_(generator=generator)
            state.values.normal_(generator=generator)
    cache.advance(context, None, False)
    return cache


def step_of(model: NemotronModel, batch: int, context: int) -> Callable[[], torch.Tensor]:
    """Return a function that decodes one token at the context, always the same."""
    tokens = torch.randint(0, model.config.vocab_size, (batch, 1), device=model.device)
    cache = filled_cache(model, batch, context)
    point = cache.snapshot()

    def step() -> torch.Tensor:
        cache.restore(point)
        return model(tokens, cache=cache)

    return step


def milliseconds(call: Callable[[], object], rounds: int = 50) -> float:
    """Return the least time of a call by the GPU's own events."""
    best = float("inf")
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end))
    return best


def captured(step: Callable[[], torch.Tensor]) -> torch.cuda.CUDAGraph:
    """Return a graph of the step, warmed up on a stream of its own as CUDA asks."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def moved_bytes(model: NemotronModel, cache_bytes: int, batch: int) -> float:
    """Return what a step must move: weights that its tokens use, keys and values once, states twice."""
    c = model.config
    share = 1 - (1 - c.num_experts_per_tok / c.n_routed_experts) ** batch
    total = 0.0
    for name, parameter in model.named_parameters():
        if name.startswith(("mtp.", "embeddings.")):
            continue
        total += parameter.nbytes * (share if ".experts." in name else 1)
    states = 4 * c.pattern.count("M") * c.d_inner * c.ssm_state_size * batch
    return total + cache_bytes + 2 * states


@torch.no_grad()
def main() -> None:
    """Time a step and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--layers", type=int)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("nano_decode.py: no GPU here")
    config = NemotronConfig.preset(arguments.preset)
    if arguments.layers:
        config = config.with_(pattern=config.pattern[: arguments.layers])
    model, batch, context = random_model(config, "cuda"), arguments.batch, arguments.context
    per_token = 4 * config.pattern.count("*") * config.num_key_value_heads * config.head_dim
    moved = moved_bytes(model, batch * context * per_token, batch)
    big = torch.empty(1 << 28, device="cuda")
    other = torch.empty_like(big)
    bandwidth = 2 * big.nbytes / (milliseconds(lambda: other.copy_(big)) / 1e3)
    step = step_of(model, batch, context)
    graph = captured(step)
    rows = []
    for name, call in (("eager", step), ("CUDA graph", graph.replay)):
        taken = milliseconds(call)
        share = moved / bandwidth / (taken / 1e3)
        case = f"{arguments.preset}, {len(config.pattern)} blocks, batch {batch}, context {context}, {name}"
        rows.append((case, taken, "ms/step", f"{1e3 * batch / taken:.0f} tokens/s; {share:.2f} of the roofline"))
    write(RESULTS, "decode on a GPU", rows)


if __name__ == "__main__":
    main()
