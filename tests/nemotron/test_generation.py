"""Generation gives the same tokens whatever makes it fast."""

import itertools

import pytest
import torch

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import NemotronCache
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


@torch.no_grad()
def test_cached_prefixes_are_bounded_in_bytes():
    model = make(11)
    one = model.new_cache(1)
    model(torch.tensor([[5, 6, 7]]), cache=one)
    engine = Engine(model, prefix_bytes=int(2.5 * one.nbytes))
    asked = [Request([k, 6, 7, 9], max_tokens=5) for k in range(6)]
    want = [result.tokens for result in generate(model, asked)]
    for k in range(5):
        engine.cache_prefix([k, 6, 7])
        engine.run([asked[0]])  # which keeps its prefix in use
    read: list[int] = []
    handle = model.embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[-1]))
    assert [engine.run([request])[0].tokens for request in asked] == want
    handle.remove()
    assert [n for n in read if n > 1] == [4, 4, 4, 4]  # prompts 1, 2, 3 and 5; a prompt after its prefix is one token


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
        generate(model, [Request([1, 2, 3])])
    result = Engine(model).run([Request([1, 2, 3])])[0]
    assert (result.finish, result.tokens) == ("error", [])
    assert isinstance(result.error, NemotronInputError)


class Failing:
    """A constraint that raises after a number of tokens, at one of its methods."""

    def __init__(self, after: int, method: str) -> None:
        self._after, self._method, self._count = after, method, 0

    done = accepting = False

    def _fail(self, method: str) -> None:
        if method == self._method and self._count >= self._after:
            raise RuntimeError(f"{method} failed")

    def mask(self) -> None:
        self._fail("mask")

    def forced(self) -> None:
        self._fail("forced")

    def advance(self, token: int) -> bool:
        self._fail("advance")
        self._count += 1
        return True

    def rollback(self, count: int) -> None:
        self._count -= count

    def fresh(self, tokens=None) -> "Failing":
        return Failing(self._after, self._method)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("method", ["mask", "forced", "advance"])
@pytest.mark.parametrize("drafter", ["none", "previous answer", "same model"])
def test_a_request_that_cannot_go_on_ends_alone(drafter, method, temperature):
    model = make(3)
    good = [Request([3, 4, i], max_tokens=9, eos=(), temperature=temperature, seed=i) for i in range(3)]
    want = [r.tokens for r in Engine(model).run(good)]
    for after in (0, 4):
        bad = Request([5, 6], max_tokens=9, eos=(), constraint=Failing(after, method), temperature=temperature)
        for batch in (2, 4):
            engine = Engine(model, drafter=drafters(model)[drafter], max_batch=batch)
            results = engine.run([good[0], bad, *good[1:]])
            assert [r.tokens for r in (results[0], *results[2:])] == want
            assert results[1].finish == "error"
            assert f"{method} failed" in str(results[1].error)
            assert len(results[1].tokens) <= after
            assert not engine.busy
            assert [r.tokens for r in engine.run(good)] == want


def test_a_prompt_that_is_not_finite_ends_alone_in_any_way_in():
    model = make(3)
    good, bad = Request([3, 4], max_tokens=5, eos=()), Request([3, 4], max_tokens=5, eos=())
    want = Engine(model).run([good])[0].tokens
    embedded = model.embed(torch.tensor([[3, 4]])).detach()
    engine = Engine(model)
    numbers = [engine.submit(good), engine.submit(bad, embedded * torch.nan), engine.submit(bad, embedded[..., :3])]
    found = {}
    while engine.busy:
        found.update(engine.step())
    assert [found[n].finish for n in numbers] == ["length", "error", "error"]
    assert found[numbers[0]].tokens == want
    with torch.no_grad():
        cache = model.new_cache(1)
        hidden = model(torch.tensor([[3, 4]]), cache=cache, return_hidden=True).repeat(2, 1, 1)
        hidden[0] = torch.nan
        numbers = engine.attach(cache.fork(2), hidden, [bad, good])
    while engine.busy:
        found.update(engine.step())
    assert found[numbers[0]].finish == "error"
    assert found[numbers[1]].tokens == want


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_that_stops_being_finite_ends_with_an_error(monkeypatch, graph, temperature):
    """A token whose embedding is not finite is chosen in the middle of one text."""
    model = make(3)
    free = Request([3, 4], max_tokens=12, eos=(), temperature=temperature, seed=1)
    text = Engine(model, graph=graph).run([free])[0].tokens
    poison = next(token for token in text[2:] if token not in (3, 4, *text[:2]))
    other = Request([3, 4], max_tokens=2, eos=(), temperature=temperature, seed=1)
    with torch.no_grad():
        model.embeddings.weight[poison] = torch.nan
    results = Engine(model, graph=graph).run([free, other])
    assert results[0].finish == "error"
    assert results[0].tokens == text[: text.index(poison) + 1]
    assert results[1].tokens == text[:2]


def test_a_failing_model_ends_the_running_requests_and_no_more(monkeypatch):
    model = make(3)
    request = Request([3, 4], max_tokens=6, eos=())
    want = Engine(model).run([request])[0].tokens
    engine = Engine(model)
    numbers = [engine.submit(request), engine.submit(request)]
    engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", lambda *_, **__: 1 / 0)
        found = dict(engine.step())
    assert {n: (r.finish, type(r.error)) for n, r in found.items()} == dict.fromkeys(
        numbers, ("error", ZeroDivisionError)
    )
    assert not engine.busy
    assert engine.run([request])[0].tokens == want


def test_requests_are_aborted_wherever_they_are():
    model = make(3)
    request = Request([3, 4], max_tokens=6, eos=())
    want = Engine(model).run([request])[0].tokens
    engine = Engine(model, max_batch=2)
    numbers = [engine.submit(request) for _ in range(4)]
    engine.step()
    running, waiting = engine.abort(numbers[0]), engine.abort(numbers[3])
    assert (running.finish, running.tokens) == ("abort", want[: len(running.tokens)])
    assert len(running.tokens) > 0
    assert (waiting.finish, waiting.tokens) == ("abort", [])
    assert engine.abort(99) is engine.abort(numbers[0]) is None
    found = {}
    while engine.busy:
        found.update(engine.step())
    assert {n: r.tokens for n, r in found.items()} == {numbers[1]: want, numbers[2]: want}


def test_results_of_submitted_requests_wait_for_their_step():
    model = make(3)
    short, long = Request([3, 4], max_tokens=2, eos=()), Request([5], max_tokens=30, eos=())
    engine = Engine(model)
    first, last = engine.submit(short), engine.submit(long)
    assert len(engine.run([Request([6], max_tokens=9, eos=())])) == 1
    found = {}
    while engine.busy:
        found.update(engine.step())
    assert [len(found[n].tokens) for n in (first, last)] == [2, 30]
    with pytest.raises(NemotronInputError):
        engine.run([short, Request([], max_tokens=2)])
    assert not engine.busy  # none of an impossible list is started


def test_samples_of_one_prompt_differ_and_repeat():
    model = make(3)
    asked = [Request([3, 4], max_tokens=12, temperature=1.0, eos=())] * 4
    texts = [r.tokens for r in generate(model, asked)]
    assert len({tuple(text) for text in texts}) == 4
    assert texts == [r.tokens for r in generate(model, asked)]
    assert texts == [r.tokens for r in Engine(model, max_batch=1, drafter=PromptLookup()).run(asked)]
    other = [r.tokens for r in Engine(model, seed=1).run(asked)]
    assert not any(text in texts for text in other)
    seeded = [Request([3, 4], max_tokens=12, temperature=1.0, eos=(), seed=5)] * 2
    same = [r.tokens for r in Engine(model, seed=1).run(seeded)]
    assert same[0] == same[1] == Engine(model).run(seeded)[0].tokens


ENDS = ["<unk>", "<s>", "</s>", "<end>", *(chr(97 + i % 26) * (1 + i // 26) for i in range(58)), "{", "}"]


def favouring(token: int, **changes) -> NemotronModel:
    """Return a model that would always choose one token."""
    model = make(3, vocab_size=64, **changes)
    logits = model.logits

    def favoured(hidden: torch.Tensor) -> torch.Tensor:
        out = logits(hidden).clone()
        out[..., token] += 50
        return out

    model.logits = favoured
    return model


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("token", [2, 3])
@pytest.mark.parametrize("drafted", [False, True])
def test_end_tokens_end_a_text_only_where_its_grammar_may_end(token, drafted, temperature):
    words = Vocabulary([w.encode() for w in ENDS], eos=2, special=[0, 1, 2])
    model = favouring(token, eos_token_id=(2, 3))
    drafter = ModelDrafter(model) if drafted else None
    for text, accepts in (('start: "{" /[^}]{1,9}/ "}"', True), ("start: /[a-z]{3,9}/", True)):
        grammar = Grammar(words, text)
        for constraint in (grammar, Thinking(4, [20], grammar)):
            request = Request([5], max_tokens=40, constraint=constraint, temperature=temperature)
            result = generate(model, [request], drafter=drafter)[0]
            found = [t for t in result.tokens if t not in (2, 3)]
            assert result.tokens in (found, [*found, token])
            answer = found if constraint is grammar else found[5:]
            follow = grammar.fresh()
            assert all(follow.advance(t) for t in answer)
            assert follow.accepting == accepts
            assert result.finish == ("eos" if "3," in text else "grammar")
            if constraint is not grammar:
                assert found[4] == 20
                assert not {2, 3} & set(result.tokens[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constraint": "grammar", "eos": (1,)}, "ends a text with token 2, the model with 1"),
        ({"constraint": "grammar", "eos": (64,)}, "end tokens"),
        ({"constraint": "thinking", "eos": (20, 2)}, "closing sequence"),
        ({"constraint": "thinking 2", "eos": ()}, "closing sequence"),
        ({"constraint": "thinking", "eos": (3,)}, "ends a text with token 2"),
        ({"constraint": "large"}, "its vocabulary has 65 tokens, the model 64"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": -0.5}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
    ],
)
def test_settings_that_do_not_agree_are_refused_when_submitted(changes, message):
    words = [w.encode() for w in ENDS]
    grammar = Grammar(Vocabulary(words, eos=2, special=[0, 1, 2]), "start: /[a-z]+/")
    constraints = {
        "grammar": grammar,
        "thinking": Thinking(4, [20], grammar),
        "thinking 2": Thinking(4, [64], grammar),
        "large": Grammar(Vocabulary([*words, b"more"], eos=2, special=[0, 1, 2]), "start: /[a-z]+/"),
    }
    changes = {**changes, "constraint": constraints.get(changes.get("constraint"))}
    engine = Engine(make(3, vocab_size=64, eos_token_id=2))
    with pytest.raises(NemotronInputError, match=message):
        engine.submit(Request([5], **changes))
    assert not engine.busy


def test_a_grammar_without_an_end_token_goes_on_until_it_is_complete():
    words = Vocabulary([w.encode() for w in ENDS], eos=2, special=[0, 1, 2])
    model = favouring(2, eos_token_id=2)
    result = generate(model, [Request([5], max_tokens=30, constraint=Grammar(words, "start: /[a-z]{2,7}/"), eos=())])[0]
    assert result.finish == "grammar"
    assert len("".join(ENDS[t] for t in result.tokens)) == 7


@pytest.mark.parametrize("guesses", [False, True])
def test_requests_that_overlap_without_end_need_the_slots_of_the_longest(guesses):
    """As in a service: there is always a running request when another one comes."""
    model, drafter = make(0), ModelDrafter(make(1), depth=2) if guesses else None
    asked = [Request([1, 2, 3], max_tokens=5 + 3 * (k % 2), temperature=0.8, seed=k, eos=()) for k in range(10)]
    engine = Engine(model, drafter=drafter, max_batch=2)
    for request in asked:
        engine.submit(request)
    results, slots = {}, []
    while engine.busy:
        results.update(engine.step())
        slots += [cache.tokens for cache in (engine._cache, getattr(engine._drafter, "_cache", None)) if cache]
    assert max(slots) <= 3 + 2 * 8  # prompt and text, and what the other one has read before one of them ends
    alone = Engine(model, max_batch=1).run(asked)
    assert [results[number].tokens for number in range(len(asked))] == [result.tokens for result in alone]


def test_a_cache_without_holes_says_the_same():
    model = make(2)
    one, two = model.new_cache(1), model.new_cache(1)
    model(torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]]), cache=one)
    model(torch.tensor([[3, 4]]), cache=two)
    both = NemotronCache.stack([one, two])
    alone = both.select([1])
    assert (both.length, alone.length, alone.valid) == (8, 2, None)
    following = torch.tensor([[5]])
    torch.testing.assert_close(model(following, cache=alone), model(following, cache=two))
