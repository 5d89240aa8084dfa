"""The driver's network: vision, prompt, Nemotron backbone, reasoning and action expert, and its losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from alpamayo_vla_model.decoding import DecodedReasoning, decode_reasoning
from alpamayo_vla_model.end_to_end import action_space
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.end_to_end.expert import ActionExpert, ContextKeysValues
from alpamayo_vla_model.end_to_end.patch_labels import PatchHead, PatchLabels, patch_loss
from alpamayo_vla_model.inputs import Inputs
from alpamayo_vla_model.nemotron import NemotronModel
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel
from alpamayo_vla_model.nemotron.training.losses import load_balancing_loss, record_routing
from alpamayo_vla_model.reasoning_text import PAD, PLAN, REASON, TOKEN
from alpamayo_vla_model.tokens import EgoTokens
from alpamayo_vla_model.vision import VisionEncoder

NOISE_DRAWS = 2  # of each sample in training
LEAST_LOSS_REMAINDER = 0.3  # of 1 - t, which divides the error of the flow loss
LOSS_WEIGHTS = {"reasoning": 1.0, "flow": 0.5, "plan": 4.0, "patch": 0.5, "balance": 0.01}


@dataclass(frozen=True, eq=False)
class Targets:
    """The correct answers of a batch.

    ``reasoning`` are the tokens of ``reasoning_text.encode``, padded at the right; ``actions`` are accelerations
    (m/s²) and curvatures (1/m); ``plan`` is the expert's own.
    """

    reasoning: Int64[Tensor, "b words"]
    actions: Float[Tensor, "b 64 2"]
    plan: Float[Tensor, "b 64 4"]
    patches: PatchLabels | None = None


@dataclass(frozen=True, eq=False)
class ReasoningState:
    """The result of reading a prompt and decoding its reasoning; plans are sampled from it."""

    decoded: DecodedReasoning
    hidden: Float[Tensor, "1 length hidden"]
    context: ContextKeysValues


class AlpamayoModel(nn.Module):
    """The driver's network.

    ```python
    model = AlpamayoConfig.preset("tiny").create()
    state = model.reason(Inputs.of([observation]))
    plans, actions = model.plan(state, speed, noise)
    ```

    Args:
        config: The shape.
        seed: Of the initial weights.
        device: Where the parameters live; ``meta`` allocates nothing.
    """

    def __init__(self, config: AlpamayoConfig, *, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.config = config
        hidden = config.backbone.hidden_size
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            self.vision = VisionEncoder(
                config.frames, config.vision_width, hidden, config.patch_blocks, config.vision_blocks
            )
            self.patch_head = PatchHead(config.vision_width)
            self.ego = EgoTokens(hidden)
            self.norm_prompt = nn.LayerNorm(hidden)
            self.expert = ActionExpert(hidden, config.expert_width, config.expert_layers, config.action_group)
        self.backbone = NemotronModel(config.backbone, generator=torch.Generator().manual_seed(seed), device=device)

    def prompt(self, inputs: Inputs) -> tuple[Float[Tensor, "b length hidden"], Tensor]:
        """Return the embeddings of the prompt up to ``<reason>``, and the patch features."""
        tokens, patches = self.vision(inputs.images, inputs.rig)
        ego = self.ego(inputs, self.backbone.embed)
        start = self.backbone.embed(torch.full((len(inputs), 1), TOKEN[REASON], device=tokens.device))
        return torch.cat([self.norm_prompt(torch.cat([tokens, ego], dim=1)), start], dim=1), patches

    def reason(
        self,
        inputs: Inputs,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        jump_ahead: bool = True,
        earlier: Sequence[Sequence[int]] = (),
        backbone: LanguageModel | None = None,
    ) -> ReasoningState:
        """Read one observation and decode the reasoning under its grammar.

        Args:
            inputs: A batch of one.
            temperature: 0 is greedy.
            generator: Source of the seed at a positive temperature.
            jump_ahead: Read tokens that the grammar forces in one call.
            earlier: Tokens of earlier reasonings; the result is the same with and without them, but is found faster
                where they are still correct.
            backbone: This model's backbone compiled for the CPU; the backbone itself when None.
        """
        prompt, _ = self.prompt(inputs)
        seed = 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))
        decoded, hidden = decode_reasoning(
            self.backbone if backbone is None else backbone,
            prompt,
            temperature=temperature,
            seed=seed,
            jump_ahead=jump_ahead,
            earlier=earlier,
        )
        return ReasoningState(decoded, hidden, self.expert.read_context(hidden, hidden[:, -1]))

    def plan(
        self, state: ReasoningState, speed: Float[Tensor, ""], noise: Float[Tensor, "k 64 2"], steps: int | None = None
    ) -> tuple[Float[Tensor, "k 64 4"], Float[Tensor, "k 64 2"]]:
        """Sample plans and their (acceleration, curvature) pairs, one for each row of ``noise``."""
        values = self.expert.sample(noise[None], state.context, steps=steps or self.config.sample_steps)[0]
        actions = action_space.denormalise(values)
        return action_space.actions_to_plan(actions, speed.expand(len(noise))), actions

    def read(
        self, inputs: Inputs, reasoning: Int64[Tensor, "b words"]
    ) -> tuple[Tensor, Float[Tensor, "b length hidden"], Bool[Tensor, "b length"], Tensor]:
        """Read prompts and given reasonings.

        Returns:
            Patch features, hidden states, a mask that is False at padding, and the logits of the words.
        """
        prompt, patches = self.prompt(inputs)
        words = self.backbone.embed(reasoning)
        hidden = self.backbone(embeddings=torch.cat([prompt, words], dim=1), return_hidden=True)
        start = prompt.shape[1] - 1
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        mask[:, start + 1 :] = reasoning != TOKEN[PAD]
        return patches, hidden, mask, self.backbone.logits(hidden[:, start:-1])

    def losses(self, inputs: Inputs, targets: Targets, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the parts of the training loss; ``total`` is their weighted sum."""
        with record_routing(self.backbone) as routing:
            patches, hidden, mask, logits = self.read(inputs, targets.reasoning)
        wanted = targets.reasoning.masked_fill(targets.reasoning == TOKEN[PAD], -100)
        last = (targets.reasoning == TOKEN[PLAN]).int().argmax(dim=1) + hidden.shape[1] - targets.reasoning.shape[1]
        context = self.expert.read_context(hidden, hidden[torch.arange(len(hidden)), last])
        flow, plan = self._action_losses(context, mask, inputs.state[:, 0], targets, generator)
        parts = {
            "reasoning": functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100),
            "flow": flow,
            "plan": plan,
            "balance": load_balancing_loss(routing) if routing else hidden.new_zeros(()),
        }
        if targets.patches is not None:
            parts["patch"] = patch_loss(self.patch_head(patches), targets.patches)
        parts["total"] = torch.stack([LOSS_WEIGHTS[name] * part for name, part in parts.items()]).sum()
        return parts

    def _action_losses(
        self, context: ContextKeysValues, mask: Tensor, speed: Tensor, targets: Targets, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the flow's velocity error, early steps weighing more, and the position error of the estimated plan."""
        b = len(speed)
        clean = action_space.normalise(targets.actions)[:, None].expand(b, NOISE_DRAWS, -1, -1)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        time = (torch.rand(b, NOISE_DRAWS, generator=generator) ** 1.5).to(clean)  # most at the noisy end
        t = time[..., None, None]
        estimate = self.expert.clean(t * clean + (1.0 - t) * noise, time, context, mask).float()
        weight = 0.5 + 1.5 * torch.exp(-torch.arange(clean.shape[2], device=clean.device) / 20.0)
        error = (estimate - clean) / (1.0 - t).clamp(min=LEAST_LOSS_REMAINDER)
        flow = (error.square() * weight[:, None]).mean()
        rolled = action_space.actions_to_plan(action_space.denormalise(estimate), speed[:, None].expand(b, NOISE_DRAWS))
        reach = 1.0 + torch.arange(1, 65, device=clean.device)[:, None] * 0.1
        off = functional.smooth_l1_loss(
            rolled[..., :2] / reach, (targets.plan[:, None, :, :2] / reach).expand_as(rolled[..., :2]), beta=0.1
        )
        return flow, off
