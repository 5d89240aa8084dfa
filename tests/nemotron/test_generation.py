"""Generation gives the same tokens whatever makes it fast."""

import itertools

import pytest
import torch

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.cuda_graph import FixedStep, GraphDecoder
from alpamayo_vla_model.nemotron.inference.drafting import ModelDrafter, MTPDrafter, PreviousAnswerDrafter, PromptLookup
from alpamayo_vla_model.nemotron.inference.engine import Engine, Request, generate
from alpamayo_vla_model.nemotron.inference.grammar import Grammar, Thinking, Vocabulary

WORDS = ["<end>", "yes ", "no ", "because ", "of ", "the ", "light ", "car ", "a", "b", "ab", "1", "2", "."]
WORDS += sorted(set("".join(WORDS[1:])) - set(WORDS))
EOS = 0
SHAPE = NemotronConfig.preset("tiny").with_(
    vocab_size=len(WORDS),
    hidden_size=32,
    pattern="MEM*-",
    mamba_num_heads=2,
    mamba_head_dim=16,
    n_routed_experts=4,
    chunk_size=8,
    max_position_embeddings=256,
    eos_token_id=EOS,
)
GRAMMARS = {
    "free": None,
    "record": 'start: ("yes " | "no ") "because of the " ("light " | "car ") ("1" | "2"){1,3} "."',
    "long": 'start: item{4,9} "."\nitem: "because of " ("a" | "b") | "the " /[ab]{1,3}/ " "?',
    "one text": 'start: "yes because of the light ."',
    "numbers": "start: /[12]{2,12}/",
}


def make(seed: int, **changes) -> NemotronModel:
    generator = torch.Generator().manual_seed(seed)
    model = NemotronModel(SHAPE.with_(**changes), generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
        model.lm_head.weight.mul_(3)
    return model.eval()


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary([w.encode() for w in WORDS], eos=EOS, special=[EOS])


def requests(vocabulary, name: str, temperature: float = 0.0) -> list[Request]:
    text = GRAMMARS[name]
    constraint = None if text is None else Grammar(vocabulary, text)
    prompts = [[1, 2, 3, 4], [5, 6, 7, 8, 9, 5, 6, 7], [3], [9, 8, 7]]
    return [
        Request(prompt, max_tokens=17 + i, temperature=temperature, seed=i, constraint=constraint)
        for i, prompt in enumerate(prompts)
    ]


def drafters(model: NemotronModel):
    return {
        "none": None,
        "lookup": PromptLookup(depth=4),
        "previous answer": PreviousAnswerDrafter(
            [[1, 3, 4, 5, 6, 11, 13], [2, 3, 4, 5, 7]], fallback=MTPDrafter(model, depth=2)
        ),
        "mtp": MTPDrafter(model, depth=3),
        "same model": ModelDrafter(model, depth=4),
        "other model": ModelDrafter(make(99, pattern="M*"), depth=2),
    }


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("name", GRAMMARS)
def test_tokens_are_the_same_with_every_accelerator_on_or_off(vocabulary, name, temperature):
    for seed in range(2):
        model = make(seed)
        asked = requests(vocabulary, name, temperature)
        plain = [Engine(model, jump_ahead=False, max_batch=1).run([request])[0] for request in asked]
        paths = itertools.product(drafters(model).items(), [(False, 3), (True, 1), (True, 4)])
        for (key, drafter), (jump_ahead, batch) in paths:
            results = Engine(model, drafter=drafter, jump_ahead=jump_ahead, max_batch=batch).run(asked)
            assert [r.tokens for r in results] == [r.tokens for r in plain], (seed, key, jump_ahead, batch)
            assert [r.finish for r in results] == [r.finish for r in plain]


def reference(model: NemotronModel, request: Request) -> list[int]:
    """Greedy decoding by whole forwards, without a cache."""
    tokens = list(request.prompt)
    while len(tokens) < len(request.prompt) + request.max_tokens:
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        if tokens[-1] == EOS:
            break
    return tokens[len(request.prompt) :]


@torch.no_grad()
def test_greedy_is_the_argmax_of_whole_forwards(vocabulary):
    model = make(4)
    asked = requests(vocabulary, "free")
    assert [r.tokens for r in generate(model, asked)] == [reference(model, r) for r in asked]


def test_constrained_texts_belong_to_the_grammar(vocabulary):
    model = make(5)
    for name in ("record", "long", "one text", "numbers"):
        for result in generate(model, requests(vocabulary, name, temperature=1.0), drafter=MTPDrafter(model)):
            grammar = Grammar(vocabulary, GRAMMARS[name])
            tokens = result.tokens[:-1] if result.finish == "eos" else result.tokens
            assert all(grammar.advance(token) for token in tokens)
            if result.finish != "length":
                assert grammar.accepting


def test_forced_tokens_cost_no_round(vocabulary):
    engine = Engine(make(6))
    result = engine.run(requests(vocabulary, "one text")[:1])[0]
    assert "".join(WORDS[t] for t in result.tokens) == "yes because of the light ."
    assert engine.rounds == 0
    assert result.stats.forced == len(result.tokens) - 1


def test_every_draft_of_a_perfect_drafter_is_accepted(vocabulary):
    model = make(7)
    request = Request([1, 2, 3], max_tokens=25, eos=())
    engine = Engine(model, drafter=ModelDrafter(model, depth=4))
    result = engine.run([request])[0]
    assert result.stats.accepted == result.stats.drafted > 15
    assert engine.rounds == 5


@pytest.mark.parametrize("keep_hidden", [False, True])
def test_the_end_of_a_right_guess_is_read_only_for_its_hidden_state(vocabulary, keep_hidden):
    model, read = make(7), []
    model.embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[-1]))
    request = requests(vocabulary, "record")[0]
    text = Engine(model).run([request])[0].tokens
    assert [WORDS[token] for token in text[-4:]] == ["1", "2", "1", "."]  # the dot is forced after three digits
    read.clear()
    engine = Engine(model, drafter=PreviousAnswerDrafter([text]), keep_hidden=keep_hidden)
    assert engine.run([request])[0].tokens == text
    assert engine.rounds == 0
    assert read == [len(request.prompt) + (len(text) if keep_hidden else len(text) - 2)]


def test_budget_ends_thinking(vocabulary):
    model = make(8)
    answer = Grammar(vocabulary, GRAMMARS["record"])
    for budget in (0, 3, 9):
        thinking = Thinking(budget, [13, 13], answer)
        request = Request([1, 2], max_tokens=40, constraint=thinking, eos=())
        texts = [generate(model, [request], drafter=d)[0] for d in drafters(model).values()]
        assert all(text.tokens == texts[0].tokens for text in texts)
        assert texts[0].finish == "grammar"
        close = next(i for i in range(50) if texts[0].tokens[i : i + 2] == [13, 13])
        assert close <= budget
        grammar = answer.fresh()
        assert all(grammar.advance(token) for token in texts[0].tokens[close + 2 :])
        assert grammar.done


@torch.no_grad()
def test_samples_start_from_one_shared_prefill(vocabulary):
    model = make(9)
    prompt = [1, 2, 3, 4, 5]
    asked = [Request(prompt, max_tokens=12, temperature=1.0, seed=s) for s in range(4)]
    want = generate(model, asked)
    for drafter in (None, MTPDrafter(model)):
        cache = model.new_cache(1)
        embedded = model.embed(torch.tensor([prompt]))
        hidden = model(embeddings=embedded, cache=cache, return_hidden=True)
        engine = Engine(model, drafter=drafter, keep_hidden=True)
        numbers = engine.attach(cache.fork(4), hidden.expand(4, -1, -1), asked, embedded.expand(4, -1, -1).contiguous())
        found = {}
        while engine.busy:
            found.update(engine.step())
        assert [found[n].tokens for n in numbers] == [r.tokens for r in want]
        for number in numbers:
            tokens = torch.tensor([prompt + found[number].tokens])
            whole = model(tokens, return_hidden=True)[0, len(prompt) :]
            torch.testing.assert_close(found[number].hidden, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([]), "empty"),
        (Request([999]), f"outside 0 to {len(WORDS) - 1}"),
        (Request([1], max_tokens=0), "at least 1"),
        (Request([1] * 200, max_tokens=100), "exceed the context of 256"),
    ],
)
def test_impossible_requests_are_refused(request_, message):
    with pytest.raises(NemotronInputError, match=message):
        Engine(make(0)).submit(request_)


@pytest.mark.parametrize("text", ["start: ", "start: x", "strat: 'a'", "start: /[^\\x00-\\xff]/ ", 'start: "Q"'])
def test_bad_grammars_are_refused(vocabulary, text):
    with pytest.raises(NemotronInputError, match="grammar"):
        Grammar(vocabulary, text)


@torch.no_grad()
def test_a_cached_prefix_is_not_read_again(vocabulary):
    model = make(11)
    asked = [Request([5, 6, 7, 8, 9, *tail], max_tokens=9) for tail in ([1], [2, 3], [1, 2, 3, 4])]
    want = [r.tokens for r in generate(model, asked)]
    read: list[int] = []
    handle = model.embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[-1]))
    for drafter in (None, PromptLookup(), PreviousAnswerDrafter([want[0]], fallback=PromptLookup())):
        engine = Engine(model, drafter=drafter, max_batch=2)
        engine.cache_prefix([5, 6, 7])
        engine.cache_prefix([5, 6, 7, 8, 9])
        read.clear()
        assert [r.tokens for r in engine.run(asked)] == want
        if drafter is None:
            assert [n for n in read if n > 1] == [2, 4]  # the part of each prompt after its prefix
    engine = Engine(model, drafter=MTPDrafter(model))
    engine.cache_prefix([5, 6, 7])
    assert [r.tokens for r in engine.run(asked)] == want
    handle.remove()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_at_fixed_addresses_decodes_the_same(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU is here")
    model = make(10).to(device)
    decoder = GraphDecoder(model, capacity=64)
    asked = requests(None, "free")
    for some in (asked[:1], asked[:3], asked):
        want = [r.tokens[:17] for r in generate(model, some)]
        assert decoder.generate([r.prompt for r in some], 17) == want
    with pytest.raises(NemotronInputError, match="at most 64"):
        decoder.generate([[1] * 50], 20)
    with pytest.raises(NemotronInputError, match="expected 1 to the context of 256"):
        GraphDecoder(model, capacity=1000)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("name", "temperature"), [("free", 0.0), ("free", 0.8), ("record", 0.0), ("long", 0.8)])
def test_the_engine_decodes_the_same_at_fixed_addresses(vocabulary, monkeypatch, device, name, temperature):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU is here")
    model, steps, feed = make(10).to(device), [], FixedStep.feed
    monkeypatch.setattr(FixedStep, "feed", lambda step, tokens: steps.append(step.batch) or feed(step, tokens))
    asked = requests(vocabulary, name, temperature)  # they end at different times, and others take their place
    want = [r.tokens for r in Engine(model, jump_ahead=False, graph=False).run(asked)]
    assert not steps
    for batch, buckets in ((1, {1}), (2, {1, 2}), (3, {1, 2, 4}), (4, {1, 2, 4})):
        engine = Engine(model, jump_ahead=False, max_batch=batch, graph=True)
        assert [r.tokens for r in engine.run(asked)] == want
        assert set(steps) <= buckets
        assert len(steps) == engine.rounds > 0
        if (name, temperature) == ("free", 0.0):
            assert max(steps) == max(buckets)
        steps.clear()


def test_rounds_that_do_not_fit_fixed_addresses_take_the_general_path(vocabulary, monkeypatch):
    model, steps, feed = make(10), [], FixedStep.feed
    monkeypatch.setattr(FixedStep, "feed", lambda step, tokens: steps.append(step.batch) or feed(step, tokens))
    monkeypatch.setattr("alpamayo_vla_model.nemotron.inference.engine._GRAPH_SLOTS", 12)
    free, forced = requests(vocabulary, "free")[::2], requests(vocabulary, "record")
    mixed = [*free, *forced]
    want = [r.tokens for r in Engine(model).run(mixed)]
    engine = Engine(model, max_batch=2, graph=True)
    assert [r.tokens for r in engine.run(mixed)] == want
    assert 0 < len(steps) < engine.rounds


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_noticed(value):
    model = make(0)
    with torch.no_grad():
        model.layers[1].norm.weight[3] = value
    with pytest.raises(NemotronInputError, match="logits of a prompt are not finite"):
        Engine(model).run([Request([1, 2, 3])])
