"""Decoding the driver's reasoning grammar: what jump-ahead and drafting save, with the same tokens.

The model is the `tiny` shape, trained for a moment on records drawn from the grammar that its prompt determines, so
that the multi-token-prediction block has something to predict. What a trained driver gains depends on how
predictable its reasoning is; the forced share depends on the grammar alone.

Run with one thread: OMP_NUM_THREADS=1 python vla_model/benchmarks/structured.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from record import interleaved, write

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.drafting import MTPDrafter, PromptLookup
from alpamayo_vla_model.nemotron.generation import Engine, Request
from alpamayo_vla_model.nemotron.grammar import Grammar, Vocabulary
from alpamayo_vla_model.nemotron.training import mtp_loss, next_token_loss
from alpamayo_vla_model.reasoning_text import GRAMMAR, MAX_TOKENS, PAD, SPECIAL, TOKEN, VOCABULARY

RESULTS = Path(__file__).parent / "results.csv"
RECORDS = 48
STEPS = 150


def draw_record(grammar: Grammar, generator: torch.Generator) -> list[int]:
    """Walk through the grammar at random."""
    grammar, tokens = grammar.fresh(), []
    while not grammar.done:
        allowed = grammar.mask().nonzero().flatten()
        allowed = allowed[allowed != TOKEN[PAD]]
        token = int(allowed[torch.randint(len(allowed), (1,), generator=generator)])
        grammar.advance(token)
        tokens.append(token)
    return tokens


def trained(prompts: torch.Tensor, records: list[list[int]]) -> NemotronModel:
    """Train on prompt and record; the loss counts on the record alone."""
    config = NemotronConfig.preset("tiny").with_(vocab_size=len(VOCABULARY), num_nextn_predict_layers=2)
    model = NemotronModel(config)
    length = prompts.shape[1] + MAX_TOKENS
    tokens = torch.full((len(records), length), TOKEN[PAD])
    targets = torch.full((len(records), length), -100)
    for row, record in enumerate(records):
        whole = torch.cat([prompts[row], torch.tensor(record)])
        tokens[row, : len(whole)] = whole
        targets[row, prompts.shape[1] : len(whole)] = torch.tensor(record)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / STEPS) + 1e-5
        rows = torch.randperm(len(records), generator=torch.Generator().manual_seed(step))[:24]
        hidden = model(tokens[rows], return_hidden=True)
        loss = next_token_loss(model.logits(hidden), targets[rows])
        loss = loss + 0.3 * mtp_loss(model, hidden, tokens[rows], targets[rows])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    print(f"trained, loss {float(loss.detach()):.3f}")
    return model.eval()


def main() -> None:
    """Measure and write the CSV."""
    torch.set_num_threads(1)
    words = [(word if word in SPECIAL else word + " ").encode() for word in VOCABULARY]
    vocabulary = Vocabulary(words, eos=TOKEN[PAD], special=[TOKEN[word] for word in SPECIAL])
    grammar, generator = Grammar(vocabulary, GRAMMAR), torch.Generator().manual_seed(0)
    records = [draw_record(grammar, generator) for _ in range(RECORDS)]
    prompts = torch.randint(len(SPECIAL), len(VOCABULARY), (RECORDS, 12), generator=generator)
    model = trained(prompts, records)
    requests = [Request(prompt.tolist(), MAX_TOKENS, constraint=grammar, eos=()) for prompt in prompts[:12]]
    engines = {
        "plain": {"jump_ahead": False},
        "jump-ahead": {},
        "jump-ahead, look-up": {"drafter": PromptLookup()},
        "jump-ahead, MTP 2": {"drafter": MTPDrafter(model, 2)},
        "jump-ahead, MTP 4": {"drafter": MTPDrafter(model, 4)},
    }
    runs, facts = {}, {}
    for name, options in engines.items():
        engine = Engine(model, max_batch=1, **options)
        results = engine.run(requests)
        count = sum(len(r.tokens) for r in results)
        facts[name] = (
            engine.rounds / count,
            sum(r.stats.forced for r in results) / count,
            1 + sum(r.stats.accepted for r in results) / max(1, engine.rounds),
            [r.tokens for r in results],
        )
        runs[name] = lambda o=options: Engine(model, max_batch=1, **o).run(requests)
    assert all(fact[3] == facts["plain"][3] for fact in facts.values()), "tokens differ"
    right = sum(tokens == record for tokens, record in zip(facts["plain"][3], records, strict=False))
    print(f"{right} of {len(requests)} records reproduced")
    best = interleaved(runs, repeats=5)
    rows = []
    for name, seconds in best.items():
        rounds, forced, accepted, _ = facts[name]
        note = f"{best['plain'] / seconds:.2f}x; rounds/token {rounds:.2f}; forced {forced:.2f}; length {accepted:.2f}"
        rows.append((name, 1e3 * seconds / len(requests), "ms/record", note))
    write(RESULTS, "structured output", rows)


if __name__ == "__main__":
    main()
