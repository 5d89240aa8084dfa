"""Latent experts beside plain ones at equal cost: (E, K, d) against (4E, 4K, latent d/4).

    OMP_NUM_THREADS=1 python vla_model/benchmarks/latent_moe.py [--steps 240] [--seeds 3] [--cost-only]

Cost: one block with hidden size 1024 at 1, 32 and 512 tokens: processor time, bytes of the weights that are read
(experts that no token chose are not), and floating-point operations; router and projections included, the shared
expert, the same in both, left out. Both experts' weights are equal in number.

Loss: two small models that differ in these blocks alone learn Python's own standard library, byte by byte: the same
files, batches, steps and optimiser; the loss is taken over files that training never saw.
"""

from __future__ import annotations

import argparse
import math
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path

import torch
from record import interleaved, write
from torch import Tensor

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.model import MoE
from alpamayo_vla_model.nemotron.training.losses import next_token_loss, record_routing, update_router_bias

RESULTS = Path(__file__).parent / "results.csv"
WIDE = NemotronConfig(
    vocab_size=256,
    hidden_size=1024,
    pattern="E",
    n_routed_experts=32,
    num_experts_per_tok=2,
    moe_intermediate_size=512,
    moe_shared_expert_intermediate_size=16,
)
SMALL = WIDE.with_(
    hidden_size=128,
    pattern="MEM*EME",
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    mamba_num_heads=8,
    mamba_head_dim=32,
    ssm_state_size=32,
    n_groups=2,
    chunk_size=64,
    moe_intermediate_size=64,
    moe_shared_expert_intermediate_size=128,
)
BATCH, WINDOW, RATE = 16, 128, 3e-3


def latent(config: NemotronConfig) -> NemotronConfig:
    """Return the same shape with four times the experts, in a quarter of the width."""
    return config.with_(
        n_routed_experts=4 * config.n_routed_experts,
        num_experts_per_tok=4 * config.num_experts_per_tok,
        moe_latent_size=config.hidden_size // 4,
    )


def routed(moe: MoE, h: Tensor) -> Tensor:
    """Run a block without its shared expert."""
    weights, index, _ = moe.gate(h)
    v = h if moe.fc1_latent_proj is None else moe.fc1_latent_proj(h)
    v = moe.experts(v, weights, index)
    return v if moe.fc2_latent_proj is None else moe.fc2_latent_proj(v)


def counted(moe: MoE, config: NemotronConfig, inputs: list[Tensor]) -> tuple[float, float, float]:
    """Return for a call, on average: weight bytes read, floating-point operations, and distinct experts."""
    distinct = sum(len(torch.unique(moe.gate(h)[1])) for h in inputs) / len(inputs)
    expert = 2 * config.expert_size * config.moe_intermediate_size
    around = config.n_routed_experts * config.hidden_size
    around += 2 * config.hidden_size * config.moe_latent_size if config.moe_latent_size else 0
    operations = 2 * len(inputs[0]) * (config.num_experts_per_tok * expert + around)
    return 4 * (distinct * expert + around), operations, distinct


@torch.no_grad()
def measure_cost() -> None:
    """Time one block of each kind, taking turns; a single token is a new one each time, as are its experts."""
    blocks = {"plain": WIDE, "latent": latent(WIDE)}
    moes = {name: NemotronModel(config).layers[0].mixer for name, config in blocks.items()}
    for tokens in (1, 32, 512):
        generator = torch.Generator().manual_seed(0)
        inputs = [torch.randn(tokens, WIDE.hidden_size, generator=generator) for _ in range(max(1, 32 // tokens))]

        def run(moe: MoE, inputs: list[Tensor] = inputs) -> None:
            for h in inputs:
                routed(moe, h)

        best = interleaved({name: partial(run, moe) for name, moe in moes.items()}, repeats=9)
        rows = []
        for name, config in blocks.items():
            moved, operations, distinct = counted(moes[name], config, inputs)
            experts = f"{distinct:.0f} of {config.n_routed_experts} experts"
            note = f"{moved / 1e6:.1f} MB; {operations / 1e6:.1f} MFLOP; {experts}"
            rows.append((f"{name}, {tokens} tokens", 1e3 * best[name] / len(inputs), "ms", note))
        write(RESULTS, "latent MoE: cost of a block", rows)


def corpus() -> tuple[Tensor, Tensor]:
    """Return the bytes of Python's standard library, for training and (every tenth file) for the loss."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for index, path in enumerate(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))):
        parts[index % 10 == 9].append(path.read_bytes())
    train, held = (torch.frombuffer(bytearray(b"".join(part)), dtype=torch.uint8) for part in parts)
    return train, held


def windows(text: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` windows of text, ``[count, WINDOW + 1]``."""
    starts = torch.randint(0, len(text) - WINDOW - 1, (count, 1), generator=generator)
    return text[starts + torch.arange(WINDOW + 1)].long()


@torch.no_grad()
def bits_per_byte(model: NemotronModel, held: Tensor) -> float:
    """Return the loss over 256 fixed windows of held-out files."""
    model.eval()
    batches = windows(held, 256, torch.Generator().manual_seed(99)).split(32)
    losses = [float(next_token_loss(model(batch), batch)) for batch in batches]
    model.train()
    return sum(losses) / len(losses) / math.log(2)


def train(config: NemotronConfig, seed: int, steps: int, train_text: Tensor, held: Tensor) -> tuple[float, float]:
    """Train one model; return its held-out bits per byte and the processor seconds of a step."""
    model = NemotronModel(config, generator=torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    generator, start = torch.Generator().manual_seed(1000 + seed), time.process_time()
    for step in range(steps):
        batch = windows(train_text, BATCH, generator)
        with record_routing(model) as records:
            loss = next_token_loss(model(batch), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        update_router_bias(records)
        if step % 50 == 0:
            print(f"  seed {seed}, step {step} of {steps}: {loss.item() / math.log(2):.3f} bits", file=sys.stderr)
    return bits_per_byte(model, held), (time.process_time() - start) / steps


def measure_loss(steps: int, seeds: int) -> None:
    """Train both kinds from the same seeds on the same batches."""
    train_text, held = corpus()
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "latent": []}
    for seed in range(seeds):
        for name, config in (("plain", SMALL), ("latent", latent(SMALL))):
            found[name].append(train(config, seed, steps, train_text, held))
    rows = []
    for name, runs in found.items():
        losses = [loss for loss, _ in runs]
        listed = " ".join(f"{loss:.4f}" for loss in losses)
        taken = min(seconds for _, seconds in runs)
        rows.append((name, sum(losses) / seeds, "bits/byte", f"seeds {listed}; {1e3 * taken:.0f} ms a step"))
    gaps = [b[0] - a[0] for a, b in zip(found["plain"], found["latent"], strict=True)]
    note = f"seeds {' '.join(f'{gap:+.4f}' for gap in gaps)}; {steps} steps of {BATCH} x {WINDOW} bytes"
    rows.append(("latent minus plain", sum(gaps) / seeds, "bits/byte", note))
    write(RESULTS, "latent MoE: held-out loss", rows)


def main() -> None:
    """Measure the cost, then train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cost-only", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure_cost()
    if not arguments.cost_only:
        measure_loss(arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()
