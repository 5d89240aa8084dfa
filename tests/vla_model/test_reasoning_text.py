"""Reasoning as words: the grammar admits exactly what ``encode`` says, and decoding stays within it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_vla_model import AlpamayoConfig, decoding
from alpamayo_vla_model import reasoning_text as words
from alpamayo_vla_model.nemotron import NemotronModel
from alpamayo_vla_model.nemotron.inference.cpu_compiled import CompiledModel, compile_for_cpu

places = st.none() | st.tuples(st.floats(-120.0, 120.0), st.floats(-120.0, 120.0))
components = st.builds(
    Component,
    st.sampled_from(ComponentKind),
    st.sampled_from(Category),
    places,
    st.sampled_from(Motion),
    st.none() | st.just("track-7"),
)
reasonings = st.builds(
    Reasoning,
    st.sampled_from(Longitudinal),
    st.sampled_from(Lateral),
    st.lists(components, max_size=5).map(tuple),
)


@given(reasonings)
@settings(max_examples=150, deadline=None)
def test_every_record_is_admitted_and_read_back(reasoning: Reasoning) -> None:
    tokens = words.encode(reasoning)
    assert len(tokens) <= words.MAX_TOKENS
    assert decoding.accepts(tokens)
    assert words.parse(tokens) == words.canonical(reasoning)
    assert words.encode(words.parse(tokens)) == tokens


@given(reasonings, st.data())
@settings(max_examples=100, deadline=None)
def test_grammar_and_parser_agree_on_broken_records(reasoning: Reasoning, data: st.DataObject) -> None:
    tokens = words.encode(reasoning)
    at = data.draw(st.integers(0, len(tokens) - 1))
    tokens[at] = data.draw(st.integers(0, len(words.VOCABULARY) - 1))
    tokens = tokens[: data.draw(st.integers(at, len(tokens)))]
    if decoding.accepts(tokens):
        words.parse(tokens)
    else:
        with pytest.raises(InputError):
            words.parse(tokens)


def test_places_are_kept_to_their_bins() -> None:
    for x, y in [(30.0, 2.0), (5.0, -3.0), (-12.0, 1.0), (60.0, 0.0)]:
        position = words.canonical(_saw((x, y))).components[0].position
        assert position is not None
        distance = math.hypot(x, y)
        assert math.dist(position, (x, y)) < 0.25 * distance + 1.0


def test_reads_as_a_sentence() -> None:
    said = words.parse(words.encode(_saw((20.0, 1.9))))
    assert words.text(words.encode(said)) == (
        "yield lane-keeping because pedestrian at 20m left-6 crossing-from-left . <plan>"
    )
    assert said.sentence.startswith("Yield and keep the lane because of a pedestrian crossing from the left 20 m ahead")


def test_navigation_text() -> None:
    tokens = words.encode_navigation("Turn left onto De La Cruz Boulevard in 42 m", 12)
    assert len(tokens) == 12
    assert words.text(tokens[:3]) == "turn left onto"
    assert words.text(tokens[-6:-2]) == "<unk> in 43m <pad>"
    assert words.encode_navigation("", 4) == [0, 0, 0, 0]


def _language_model(seed: int) -> CompiledModel:
    """Return a model with weights so large that each word depends on the words before it."""
    generator = torch.Generator().manual_seed(seed)
    model = NemotronModel(AlpamayoConfig.preset("test").backbone, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
    return compile_for_cpu(model.eval())


@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_jump_ahead_and_earlier_records_do_not_change_greedy_output(seed: int) -> None:
    model = _language_model(seed)
    prompt = torch.randn(1, 5, model.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    slow, hidden = decoding.decode_reasoning(model, prompt, jump_ahead=False)
    assert decoding.accepts(slow.tokens)
    assert (slow.forced, slow.drafted) == (0, 0)
    ahead, _ = decoding.decode_reasoning(model, prompt)
    assert ahead.tokens == slow.tokens
    assert ahead.calls == slow.calls - ahead.forced
    other = decoding.decode_reasoning(model, prompt + 0.2)[0].tokens
    for earlier in ([slow.tokens], [other], [other, slow.tokens[:3]]):
        again, same = decoding.decode_reasoning(model, prompt, earlier=earlier)
        assert again.tokens == slow.tokens
        assert torch.equal(same, hidden)
    same_again, _ = decoding.decode_reasoning(model, prompt, earlier=[slow.tokens])
    assert same_again.calls == 0  # all is read and checked together with the prompt
    assert same_again.accepted == len(slow.tokens)


@torch.no_grad()
def test_sampling_is_seeded_and_valid() -> None:
    model = _language_model(0)
    prompt = torch.randn(1, 5, model.config.hidden_size, generator=torch.Generator().manual_seed(0))

    def sample(seed: int) -> list[int]:
        return decoding.decode_reasoning(model, prompt, temperature=1.0, seed=seed)[0].tokens

    drawn = [sample(seed) for seed in range(20)]
    assert all(decoding.accepts(tokens) for tokens in drawn)
    assert len({tuple(tokens) for tokens in drawn}) > 10
    assert sample(3) == drawn[3]


def _saw(position: tuple[float, float]) -> Reasoning:
    child = Component(ComponentKind.OBJECT, Category.PEDESTRIAN, position, Motion.CROSSING_FROM_LEFT, "child-1")
    return Reasoning(Longitudinal.YIELD, Lateral.LANE_KEEPING, (child,))
