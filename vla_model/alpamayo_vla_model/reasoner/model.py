"""The reasoner's network: a belief as tokens, the Nemotron backbone, and the loss of its words."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.decoding import decode_reasoning
from alpamayo_vla_model.json_config import reading_config
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel
from alpamayo_vla_model.nemotron.training.losses import load_balancing_loss, record_routing
from alpamayo_vla_model.perception.objects import STATIONS
from alpamayo_vla_model.reasoner.inputs import (
    CLASSES,
    MAX_TRACKS,
    ROAD_COLUMNS,
    SIGNAL_COLUMNS,
    TRACK_COLUMNS,
    BeliefInputs,
)
from alpamayo_vla_model.reasoner.language import FIRST_POINTER, TOKEN, WORDS, SituationGrammar, Utterance
from alpamayo_vla_model.reasoning_text import PAD, REASON
from alpamayo_vla_model.tokens import EgoTokens, mlp

TRACK_FEATURES = len(TRACK_COLUMNS) + 8
STATION_GROUP = 2  # stations a token
BALANCE_WEIGHT = 0.01
BACKBONE = NemotronConfig.preset("tiny").with_(
    vocab_size=208,
    hidden_size=128,
    pattern="M*E*E",
    mtp_pattern="",
    num_nextn_predict_layers=0,
    chunk_size=32,
    num_attention_heads=4,
    mamba_num_heads=4,
    ssm_state_size=16,
    moe_intermediate_size=96,
    moe_shared_expert_intermediate_size=128,
    moe_latent_size=None,
)


@dataclass(frozen=True)
class ReasonerConfig:
    """The shape of a reasoner: that of its backbone."""

    backbone: NemotronConfig = BACKBONE

    def __post_init__(self) -> None:
        if self.backbone.vocab_size < len(WORDS):
            raise InputError(f"reasoner: the backbone has {self.backbone.vocab_size} words, needs {len(WORDS)}")

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps({"backbone": self.backbone.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> Self:
        """Read the text of ``to_json``.

        Raises:
            InputError: it is no such record.
        """
        with reading_config(where, "reasoner's configuration"):
            values: dict[str, Any] = json.loads(text)
            return cls(NemotronConfig.from_dict(values["backbone"], where))


class Reasoner(nn.Module):
    """Reads a belief and utters the decision and its causes.

    To point to a track is to say the word of its slot, which is scored by that track: by the product of its key and
    the hidden state.

    Args:
        config: The shape.
        seed: Of the initial weights.
        device: Where the parameters live; ``meta`` allocates nothing.
    """

    def __init__(self, config: ReasonerConfig | None = None, *, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.config = config or ReasonerConfig()
        hidden = self.config.backbone.hidden_size
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            self.ego = EgoTokens(hidden)
            self.track = mlp(TRACK_FEATURES, hidden)
            self.key = mlp(TRACK_FEATURES, hidden)
            self.road = mlp(STATION_GROUP * ROAD_COLUMNS, hidden)
            self.signal = mlp(SIGNAL_COLUMNS, hidden)
            self.slot = nn.Parameter(torch.randn(MAX_TRACKS, hidden))
            self.station = nn.Parameter(0.5 * torch.randn(STATIONS // STATION_GROUP, hidden))
            self.no_track = nn.Parameter(torch.randn(hidden))
            self.norm_prompt = nn.LayerNorm(hidden)
        generator = torch.Generator().manual_seed(seed)
        self.backbone = NemotronModel(self.config.backbone, generator=generator, device=device)

    def prompt(self, inputs: BeliefInputs) -> Float[Tensor, "b length hidden"]:
        """Return the embeddings of the belief up to ``<reason>``."""
        tracks = self.track(_track_features(inputs)) + self.slot
        tracks = torch.where(inputs.present[..., None], tracks, self.no_track)
        road = self.road(inputs.road.reshape(len(inputs), -1, STATION_GROUP * ROAD_COLUMNS)) + self.station
        signal = self.signal(_signal_features(inputs))[:, None]
        ego = self.ego(inputs, self.backbone.embed)
        start = self.backbone.embed(torch.full((len(inputs), 1), TOKEN[REASON], device=tracks.device))
        return torch.cat([self.norm_prompt(torch.cat([ego, road, signal, tracks], dim=1)), start], dim=1)

    def logits(self, inputs: BeliefInputs, words: Int64[Tensor, "b words"]) -> Float[Tensor, "b words vocabulary"]:
        """Return the scores of each of the given words, read one after the other."""
        prompt = self.prompt(inputs)
        embedded = torch.cat([prompt, self.backbone.embed(words)], dim=1)
        hidden = self.backbone(embeddings=embedded, return_hidden=True)
        hidden = hidden[:, prompt.shape[1] - 1 : -1]
        return pointed(self.backbone.logits(hidden), hidden, self.key(_track_features(inputs)))

    def losses(
        self, inputs: BeliefInputs, words: Int64[Tensor, "b words"], allowed: Bool[Tensor, "b words vocabulary"]
    ) -> dict[str, Tensor]:
        """Return the parts of the training loss; ``total`` is their weighted sum.

        Args:
            inputs: The beliefs.
            words: The right utterances, padded at the right.
            allowed: The words that the situation admits at each place.
        """
        with record_routing(self.backbone) as routing:
            logits = self.logits(inputs, words)
        scores = logits[..., : allowed.shape[-1]].masked_fill(~allowed, -torch.inf)
        wanted = words.masked_fill(words == TOKEN[PAD], -100)
        spoken = functional.cross_entropy(scores.flatten(0, 1), wanted.flatten(), ignore_index=-100)
        balance = load_balancing_loss(routing) if routing else spoken.new_zeros(())
        return {"words": spoken, "balance": balance, "total": spoken + BALANCE_WEIGHT * balance}

    def utter(
        self,
        inputs: BeliefInputs,
        grammar: SituationGrammar,
        *,
        earlier: Sequence[Sequence[int]] = (),
        backbone: LanguageModel | None = None,
    ) -> Utterance:
        """Read one belief and utter what the situation admits, greedily.

        Args:
            inputs: A batch of one.
            grammar: What may be uttered.
            earlier: Tokens of earlier utterances, as in ``decode_reasoning``.
            backbone: This model's backbone compiled for the CPU; the backbone itself when None.

        Raises:
            InputError: The belief leads to scores that are not finite.
        """
        with torch.inference_mode():
            prompt = self.prompt(inputs)
            keys = self.key(_track_features(inputs))[0]
            language = PointingModel(self.backbone if backbone is None else backbone, keys)
            decoded, _ = decode_reasoning(cast(LanguageModel, language), prompt, earlier=earlier, constraint=grammar)
        return Utterance.parse(decoded.tokens)


class PointingModel:
    """A language model of one belief: it scores the words ``<track-k>`` by the tracks, all else as it is.

    Args:
        language: The language model.
        keys: Of the tracks.
    """

    def __init__(self, language: LanguageModel, keys: Float[Tensor, "16 hidden"]) -> None:
        self._language, self._keys = language, keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._language, name)

    def __call__(self, *values: Any, **more: Any) -> Tensor:
        """Return what the language model returns."""
        return self._language(*values, **more)

    def logits(self, hidden: Float[Tensor, "*n hidden"]) -> Float[Tensor, "*n vocabulary"]:
        """Return the scores of all words."""
        return pointed(self._language.logits(hidden), hidden, self._keys)


def pointed(
    logits: Float[Tensor, "*n vocabulary"], hidden: Float[Tensor, "*n hidden"], keys: Float[Tensor, "*b 16 hidden"]
) -> Float[Tensor, "*n vocabulary"]:
    """Return the scores of words, those of ``<track-k>`` being the products of hidden states and keys."""
    scores = hidden @ keys.transpose(-1, -2) / math.sqrt(hidden.shape[-1])
    return torch.cat([logits[..., :FIRST_POINTER], scores, logits[..., FIRST_POINTER + MAX_TRACKS :]], dim=-1)


def _track_features(inputs: BeliefInputs) -> Float[Tensor, "b 16 features"]:
    """Return numbers near one: positions at two scales, since near things need decimetres."""
    chance, numbers = torch.split(inputs.tracks, [CLASSES, len(TRACK_COLUMNS) - CLASSES], dim=-1)
    odds, x, y, heading, vx, vy, length, width, height, along, offset, rate, drift, unseen, age = numbers.unbind(-1)
    speed = inputs.state[:, None, 0]
    columns = [
        odds / 5.0, x / 50.0, y / 20.0, torch.sin(heading), torch.cos(heading), vx / 10.0, vy / 5.0,
        torch.log1p(length), width, height / 2.0, along / 50.0, torch.tanh(along / 10.0), torch.tanh(along / 30.0),
        offset / 10.0, torch.tanh(offset), torch.tanh(offset / 4.0), rate / 10.0, torch.tanh(drift),
        (rate - speed) / 10.0, torch.exp(-along.abs() / (5.0 + speed)), unseen.clamp(max=3.0), torch.tanh(age / 3.0),
        torch.tanh(drift / 4.0),
    ]  # fmt: skip
    return torch.cat([chance, torch.stack(columns, dim=-1)], dim=-1)


def _signal_features(inputs: BeliefInputs) -> Float[Tensor, "b 6"]:
    return torch.cat([inputs.signal[:, :-1], inputs.signal[:, -1:] / 50.0], dim=-1)
