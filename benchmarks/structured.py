"""Decoding the driver's reasoning grammar: plainly (one token a step) and with all accelerators, the same tokens.

Three models, each against itself:

- **driver**: the shipped weights in closed loop. Its frames are recorded, then every reasoning is decoded again from
  its prefilled prompt. The drafts are the records of the frame before.
- **tiny, trained on records**: the ``tiny`` shape with its multi-token-prediction block, trained for a moment on
  records that its prompt determines, so that the block has something to predict.
- **52M, random**: the ``small`` shape with random weights, whose drafts are seldom right.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/structured.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from record import report
from torch import Tensor

import alpamayo
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_vla_model import Inputs, TinyDriver, load_driver
from alpamayo_vla_model.decoding import reasoning_grammar
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.drafting import Drafter, MTPDrafter, PreviousAnswerDrafter
from alpamayo_vla_model.nemotron.inference.engine import Engine, Request, Result
from alpamayo_vla_model.nemotron.training.losses import mtp_loss, next_token_loss
from alpamayo_vla_model.reasoning_text import MAX_TOKENS, PAD, REASON, SPECIAL, TOKEN, VOCABULARY

SCENARIOS = (("cut-in", 3), ("occluded-child", 7), ("red-light-runner", 5))
REPEATS = 5
RECORDS, STEPS = 48, 150


@dataclass(frozen=True)
class Task:
    """A prefilled prompt, and the records decoded before it."""

    prompt: Tensor  # embeddings, [1, time, hidden]
    earlier: list[list[int]]


@dataclass(frozen=True)
class Way:
    """A way to decode; ``drafter`` makes a drafter from a model and earlier records."""

    name: str
    jump_ahead: bool
    drafter: Callable[[LanguageModel, list[list[int]]], Drafter | None]


class Recorder:
    """Drives as another driver does and keeps its observations."""

    name = "recorder"

    def __init__(self, driver: TinyDriver) -> None:
        self.driver, self.needs = driver, driver.needs
        self.seen: list[Observation] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Pass on."""
        self.driver.reset(scene, rng)

    def act(self, observation: Observation) -> Decision:
        """Pass on and keep."""
        self.seen.append(observation)
        return self.driver.act(observation)


@torch.no_grad()
def frames_of_the_driver() -> tuple[NemotronModel, list[Task]]:
    """Drive, and return the backbone and a task a frame."""
    driver = load_driver()
    assert isinstance(driver, TinyDriver)
    tasks: list[Task] = []
    for family, seed in SCENARIOS:
        recorder = Recorder(driver)
        alpamayo.drive(alpamayo.make_scenario(family, seed=seed), recorder)
        earlier: list[list[int]] = []
        for observation in recorder.seen:
            prompt, _ = driver.model.prompt(Inputs.of([observation]))
            tasks.append(Task(prompt, earlier))
            earlier = [driver.model.reason(Inputs.of([observation]), earlier=earlier).decoded.tokens]
    return driver.model.backbone, tasks


def draw_record(generator: torch.Generator) -> list[int]:
    """Walk through the grammar at random."""
    grammar, tokens = reasoning_grammar().fresh(), []
    while not grammar.done:
        allowed = grammar.mask().nonzero().flatten()
        allowed = allowed[allowed != TOKEN[PAD]]
        token = int(allowed[torch.randint(len(allowed), (1,), generator=generator)])
        grammar.advance(token)
        tokens.append(token)
    return tokens


def trained(prompts: Tensor, records: list[list[int]]) -> NemotronModel:
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
    return model.eval()


def decode(model: LanguageModel, task: Task, way: Way) -> tuple[Result, int, float, float]:
    """Read the prompt and decode; return the result, rounds, and the processor and wall time."""
    request = Request([TOKEN[REASON]], MAX_TOKENS, constraint=reasoning_grammar(), eos=())
    cpu, wall = time.process_time(), time.perf_counter()
    engine = Engine(model, drafter=way.drafter(model, task.earlier), jump_ahead=way.jump_ahead)
    engine.submit(request, task.prompt)
    found = engine.step()
    while not found:
        found = engine.step()
    return found[0][1], engine.rounds, time.process_time() - cpu, time.perf_counter() - wall


def read(model: LanguageModel, task: Task) -> tuple[float, float]:
    """Return the processor and wall time of reading the prompt alone, which is no part of decoding."""
    cpu, wall = time.process_time(), time.perf_counter()
    model.logits(model(embeddings=task.prompt, cache=model.new_cache(1), return_hidden=True)[0, -1:])
    return time.process_time() - cpu, time.perf_counter() - wall


@torch.no_grad()
def compare(name: str, model: NemotronModel, tasks: Sequence[Task], ways: Sequence[Way]) -> None:
    """Decode all tasks in all ways, in turns; the tokens must be the same.

    Times are the least over repeats, less those of reading the prompt.
    """
    experts_read: list[int] = []
    compiled = compile_for_cpu(model, on_experts_read=experts_read.append)
    cpu, wall = ({way.name: np.full(len(tasks), np.inf) for way in ways} for _ in range(2))
    prompt = np.full((2, len(tasks)), np.inf)
    facts: dict[str, tuple[list[Result], int, int]] = {}
    for repeat in range(REPEATS + 1):
        prompt = np.minimum(prompt, np.transpose([read(compiled, task) for task in tasks]))
        for way in ways:
            experts_read.clear()
            found = [decode(compiled, task, way) for task in tasks]
            facts[way.name] = [f[0] for f in found], sum(f[1] for f in found), sum(experts_read)
            if repeat:
                cpu[way.name] = np.minimum(cpu[way.name], [f[2] for f in found])
                wall[way.name] = np.minimum(wall[way.name], [f[3] for f in found])
    plain = ways[0].name
    for way in ways:
        cpu[way.name], wall[way.name] = cpu[way.name] - prompt[0], wall[way.name] - prompt[1]
    rows = []
    for way in ways:
        results, rounds, experts = facts[way.name]
        assert [r.tokens for r in results] == [r.tokens for r in facts[plain][0]], "tokens differ"
        count, accepted = sum(len(r.tokens) for r in results), sum(r.stats.accepted for r in results)
        faster = [seconds[plain].sum() / seconds[way.name].sum() for seconds in (cpu, wall)]
        forced = sum(r.stats.forced for r in results) / count
        note = (
            f"{faster[0]:.2f}x CPU, {faster[1]:.2f}x wall; {len(tasks)} texts of {count / len(tasks):.1f} tokens; "
            f"rounds/token {rounds / count:.2f}; acceptance length {1 + accepted / rounds:.2f}; forced {forced:.2f}; "
            f"experts/block and round {experts / (rounds + len(tasks)) / model.config.pattern.count('E'):.1f}"
        )
        rows.append((f"{name}, {way.name}", 1e3 * cpu[way.name].sum() / len(tasks), "ms/record", note))
    for case, value, unit, note in rows:
        report("structured", f"{case}; {note}", value, unit)


def main() -> None:
    """Measure and write the CSV."""
    torch.set_num_threads(1)
    plain, jump = Way("plain", False, lambda *_: None), Way("jump-ahead", True, lambda *_: None)
    recall = Way("jump-ahead, recall", True, lambda _, earlier: PreviousAnswerDrafter(earlier, MAX_TOKENS))
    backbone, tasks = frames_of_the_driver()
    compare("driver", backbone, tasks, [plain, jump, recall])

    generator = torch.Generator().manual_seed(0)
    records = [draw_record(generator) for _ in range(RECORDS)]
    prompts = torch.randint(len(SPECIAL), len(VOCABULARY), (RECORDS, 12), generator=generator)
    model = trained(prompts, records)
    shape = NemotronConfig.preset("small").with_(vocab_size=len(VOCABULARY))
    for name, each in (("tiny trained on records", model), ("52M random", NemotronModel(shape).eval())):
        tasks = [Task(each.embed(prompt[None]).detach(), []) for prompt in prompts[:12]]
        mtp = [
            Way(f"jump-ahead, MTP {depth}", True, lambda model, _, d=depth: MTPDrafter(model, d)) for depth in (2, 4, 8)
        ]
        compare(name, each, tasks, [plain, jump, *mtp])


if __name__ == "__main__":
    main()
