"""Decoding of the driver's reasoning grammar: plain (one token per step) and accelerated, with the same tokens.

Three models, each compared with its own plain decoding:

- **driver**: the shipped weights in closed loop. Its frames are recorded, then every reasoning is decoded again from
  its prefilled prompt. The drafts are the records of the previous frame.
- **tiny, trained on records**: the ``tiny`` shape with its multi-token-prediction block, trained for some steps on
  records that its prompt determines, so that the block can predict them.
- **52M, random**: the ``small`` shape with random weights, whose drafts are rarely right.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/structured.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import alpamayo
from alpamayo_sim.benchmarking import report
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_vla_model import Inputs
from alpamayo_vla_model.decoding import reasoning_grammar
from alpamayo_vla_model.end_to_end.driver import EndToEndDriver, load_driver
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
class DecodingMethod:
    """A decoding method; ``drafter`` makes a drafter from a model and earlier records."""

    name: str
    jump_ahead: bool
    drafter: Callable[[LanguageModel, list[list[int]]], Drafter | None]


class Recorder:
    """A driver that delegates to another driver and keeps its observations."""

    name = "recorder"

    def __init__(self, driver: EndToEndDriver) -> None:
        self.driver, self.needs = driver, driver.needs
        self.seen: list[Observation] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Reset the driver."""
        self.driver.reset(scene, rng)

    def act(self, observation: Observation) -> Decision:
        """Keep the observation and return the driver's decision."""
        self.seen.append(observation)
        return self.driver.act(observation)


@torch.no_grad()
def frames_of_the_driver() -> tuple[NemotronModel, list[Task]]:
    """Drive the scenarios; return the backbone and one task per frame."""
    driver = load_driver()
    assert isinstance(driver, EndToEndDriver)
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
    """Draw a random record of the grammar."""
    grammar, tokens = reasoning_grammar().fresh(), []
    while not grammar.done:
        allowed = grammar.mask().nonzero().flatten()
        allowed = allowed[allowed != TOKEN[PAD]]
        token = int(allowed[torch.randint(len(allowed), (1,), generator=generator)])
        grammar.advance(token)
        tokens.append(token)
    return tokens


def trained(prompts: Tensor, records: list[list[int]]) -> NemotronModel:
    """Train on prompts and records; only the records enter the loss."""
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


def decode(model: LanguageModel, task: Task, method: DecodingMethod) -> tuple[Result, int, float, float]:
    """Read the prompt and decode; return the result, the rounds, and the processor and wall time (s)."""
    request = Request([TOKEN[REASON]], MAX_TOKENS, constraint=reasoning_grammar(), eos=())
    cpu, wall = time.process_time(), time.perf_counter()
    engine = Engine(model, drafter=method.drafter(model, task.earlier), jump_ahead=method.jump_ahead)
    engine.submit(request, task.prompt)
    found = engine.step()
    while not found:
        found = engine.step()
    return found[0][1], engine.rounds, time.process_time() - cpu, time.perf_counter() - wall


def read(model: LanguageModel, task: Task) -> tuple[float, float]:
    """Return the processor and wall time (s) of reading the prompt, which does not count as decoding."""
    cpu, wall = time.process_time(), time.perf_counter()
    model.logits(model(embeddings=task.prompt, cache=model.new_cache(1), return_hidden=True)[0, -1:])
    return time.process_time() - cpu, time.perf_counter() - wall


@torch.no_grad()
def compare(name: str, model: NemotronModel, tasks: Sequence[Task], methods: Sequence[DecodingMethod]) -> None:
    """Decode all tasks with all methods, alternating; the tokens must be equal.

    Times are minima over repeats, minus those of reading the prompt.
    """
    experts_read: list[int] = []
    compiled = compile_for_cpu(model, on_experts_read=experts_read.append)
    cpu, wall = ({method.name: np.full(len(tasks), np.inf) for method in methods} for _ in range(2))
    prompt = np.full((2, len(tasks)), np.inf)
    facts: dict[str, tuple[list[Result], int, int]] = {}
    for repeat in range(REPEATS + 1):
        prompt = np.minimum(prompt, np.transpose([read(compiled, task) for task in tasks]))
        for method in methods:
            experts_read.clear()
            found = [decode(compiled, task, method) for task in tasks]
            facts[method.name] = [f[0] for f in found], sum(f[1] for f in found), sum(experts_read)
            if repeat:
                cpu[method.name] = np.minimum(cpu[method.name], [f[2] for f in found])
                wall[method.name] = np.minimum(wall[method.name], [f[3] for f in found])
    plain = methods[0].name
    for method in methods:
        cpu[method.name], wall[method.name] = cpu[method.name] - prompt[0], wall[method.name] - prompt[1]
    rows = []
    for method in methods:
        results, rounds, experts = facts[method.name]
        assert [r.tokens for r in results] == [r.tokens for r in facts[plain][0]], "tokens differ"
        count, accepted = sum(len(r.tokens) for r in results), sum(r.stats.accepted for r in results)
        faster = [seconds[plain].sum() / seconds[method.name].sum() for seconds in (cpu, wall)]
        forced = sum(r.stats.forced for r in results) / count
        note = (
            f"{faster[0]:.2f}x CPU, {faster[1]:.2f}x wall; {len(tasks)} texts of {count / len(tasks):.1f} tokens; "
            f"rounds/token {rounds / count:.2f}; acceptance length {1 + accepted / rounds:.2f}; forced {forced:.2f}; "
            f"experts/block and round {experts / (rounds + len(tasks)) / model.config.pattern.count('E'):.1f}"
        )
        rows.append((f"{name}, {method.name}", 1e3 * cpu[method.name].sum() / len(tasks), "ms/record", note))
    for case, value, unit, note in rows:
        report("structured", f"{case}; {note}", value, unit)


def main() -> None:
    """Measure and write the CSV."""
    torch.set_num_threads(1)
    plain, jump = DecodingMethod("plain", False, lambda *_: None), DecodingMethod("jump-ahead", True, lambda *_: None)
    recall = DecodingMethod("jump-ahead, recall", True, lambda _, earlier: PreviousAnswerDrafter(earlier, MAX_TOKENS))
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
            DecodingMethod(f"jump-ahead, MTP {depth}", True, lambda model, _, d=depth: MTPDrafter(model, d))
            for depth in (2, 4, 8)
        ]
        compare(name, each, tasks, [plain, jump, *mtp])


if __name__ == "__main__":
    main()
