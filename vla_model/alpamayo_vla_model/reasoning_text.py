"""Reasoning as a sequence over a small vocabulary of words, and the grammar that admits exactly the valid records.

A record reads, word for word::

    yield lane-keeping because pedestrian at 30m left-6 crossing-from-left and route at somewhere . <plan>

Places are a distance and a bearing from the ego, each the nearest of a fixed set (``DISTANCES``, ``BEARINGS``).
Category and motion belong to components of kind ``OBJECT`` alone, ids are not spoken, and at most
``MAX_COMPONENTS`` causes are named: ``canonical`` returns that part of any record.
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError

MAX_COMPONENTS = 3
DISTANCES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 23, 26, 30, 34, 38, 43, 50, 58, 67, 80, 100)  # m
BEARINGS = (0, 2, 4, 6, 9, 12, 16, 20, 26, 33, 42, 55, 70, 90, 110, 135, 160, 180)  # degrees to either side

PAD, UNKNOWN, REASON, PLAN = "<pad>", "<unk>", "<reason>", "<plan>"
SPECIAL = (PAD, UNKNOWN, REASON, PLAN)


def _word(name: str) -> str:
    return name.lower().replace("_", "-")


LONGITUDINAL_WORDS = {d: "any-speed" if d == 0 else _word(d.name) for d in Longitudinal}
LATERAL_WORDS = {d: "any-path" if d == 0 else _word(d.name) for d in Lateral}
CATEGORY_WORDS = {c: "something" if c == 0 else _word(c.name) for c in Category}
KIND_WORDS = {k: _word(k.name) for k in ComponentKind if k != ComponentKind.OBJECT}
MOTION_WORDS = {m: "in-some-motion" if m == 0 else _word(m.name) for m in Motion}
DISTANCE_WORDS = {d: f"{d}m" for d in DISTANCES}
BEARING_WORDS = {0: "ahead", 180: "behind"} | {
    sign * b: f"{side}-{b}" for sign, side in ((1, "left"), (-1, "right")) for b in BEARINGS[1:-1]
}
JOINTS = ("because", "and", "at", "somewhere", ".")
_NAVIGATION = """
a accelerate avenue bear bend bus change continue cross crossing curve cyclists destination drive east enter exit
first follow for give go in intersection into keep lane left light main make merge metres next north of on onto out
over park pass past proceed pull ramp reach red right road roundabout second side sign signal site slow south stay
stop straight street take the then third through to towards traffic turn u-turn until way west when with work zone
lights
"""
NAVIGATION_WORDS = tuple(_NAVIGATION.split())
VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *SPECIAL,
            *LONGITUDINAL_WORDS.values(),
            *LATERAL_WORDS.values(),
            *CATEGORY_WORDS.values(),
            *KIND_WORDS.values(),
            *MOTION_WORDS.values(),
            *DISTANCE_WORDS.values(),
            *BEARING_WORDS.values(),
            *JOINTS,
            *NAVIGATION_WORDS,
        ]
    )
)
TOKEN = {word: i for i, word in enumerate(VOCABULARY)}


@functools.cache
def tokenizer() -> Tokenizer:
    """Return the word-level tokenizer over ``VOCABULARY``; blanks separate words."""
    made = Tokenizer(WordLevel(dict(TOKEN), unk_token=UNKNOWN))
    made.pre_tokenizer = WhitespaceSplit()
    return made


def _any_of(words: Sequence[str]) -> str:
    return " | ".join(f'"{word} "' for word in words)


GRAMMAR = f"""
start: longitudinal lateral causes? ". " <plan>
causes: "because " cause ("and " cause){{0,{MAX_COMPONENTS - 1}}}
cause: category "at " place motion | kind "at " place
place: "somewhere " | distance bearing
longitudinal: {_any_of(list(LONGITUDINAL_WORDS.values()))}
lateral: {_any_of(list(LATERAL_WORDS.values()))}
category: {_any_of(list(CATEGORY_WORDS.values()))}
kind: {_any_of(list(KIND_WORDS.values()))}
motion: {_any_of(list(MOTION_WORDS.values()))}
distance: {_any_of(list(DISTANCE_WORDS.values()))}
bearing: {_any_of(list(BEARING_WORDS.values()))}
"""
MAX_TOKENS = 4 + 6 * MAX_COMPONENTS  # the longest record, with the final <plan>


def canonical(reasoning: Reasoning) -> Reasoning:
    """Return the part of ``reasoning`` that tokens can express: positions as bins, no ids, at most three causes."""
    components = tuple(_canonical(component) for component in reasoning.components[:MAX_COMPONENTS])
    return Reasoning(Longitudinal(reasoning.longitudinal), Lateral(reasoning.lateral), components)


def encode(reasoning: Reasoning) -> list[int]:
    """Return the tokens of ``canonical(reasoning)``, from the longitudinal decision to the final ``<plan>``."""
    record = canonical(reasoning)
    words = [LONGITUDINAL_WORDS[record.longitudinal], LATERAL_WORDS[record.lateral]]
    for i, component in enumerate(record.components):
        words += ["and" if i else "because", *_component_words(component)]
    return [TOKEN[word] for word in (*words, ".", PLAN)]


def parse(tokens: Sequence[int]) -> Reasoning:
    """Return the record of ``tokens``; the inverse of ``encode`` on canonical records.

    Raises:
        InputError: where the sequence is no sentence of the grammar.
    """
    words = _Words([VOCABULARY[token] if 0 <= token < len(VOCABULARY) else str(token) for token in tokens])
    longitudinal, lateral = words.take(_LONGITUDINAL), words.take(_LATERAL)
    components: list[Component] = []
    joint = words.next()
    while joint == ("and" if components else "because") and len(components) < MAX_COMPONENTS:
        components.append(_parse_component(words))
        joint = words.next()
    if joint != "." or words.next() != PLAN or words.left:
        raise InputError(f"reasoning: {' '.join(words.words)!r} is no sentence of the grammar")
    return Reasoning(longitudinal, lateral, tuple(components))


def text(tokens: Sequence[int]) -> str:
    """Return the words of ``tokens``, separated by blanks."""
    return " ".join(VOCABULARY[token] for token in tokens)


def encode_navigation(instruction: str, length: int) -> list[int]:
    """Return the tokens of a navigation text, cut or padded to ``length``; metres become the nearest distance word."""
    lowered = re.sub(r"(\d+(?:\.\d+)?)\s*m\b", lambda hit: f"{_nearest_distance(float(hit[1]))}m", instruction.lower())
    words = re.findall(r"[a-z0-9][a-z0-9-]*", lowered)
    tokens = tokenizer().encode(" ".join(words)).ids[:length]
    return tokens + [TOKEN[PAD]] * (length - len(tokens))


_LONGITUDINAL = {word: decision for decision, word in LONGITUDINAL_WORDS.items()}
_LATERAL = {word: decision for decision, word in LATERAL_WORDS.items()}
_CATEGORY = {word: category for category, word in CATEGORY_WORDS.items()}
_KIND = {word: kind for kind, word in KIND_WORDS.items()}
_MOTION = {word: motion for motion, word in MOTION_WORDS.items()}
_DISTANCE = {word: distance for distance, word in DISTANCE_WORDS.items()}
_BEARING = {word: bearing for bearing, word in BEARING_WORDS.items()}

T = TypeVar("T")


class _Words:
    """Words with a reading position."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.words) - self.position

    def next(self) -> str:
        if not self.left:
            raise InputError(f"reasoning: {' '.join(self.words)!r} ends too early")
        self.position += 1
        return self.words[self.position - 1]

    def take(self, meaning: Mapping[str, T]) -> T:
        word = self.next()
        if word not in meaning:
            raise InputError(f"reasoning: {' '.join(self.words)!r} has {word!r} where one of {sorted(meaning)} must be")
        return meaning[word]


def _parse_component(words: _Words) -> Component:
    what = words.take({**_CATEGORY, **_KIND})
    words.take({"at": None})
    position = _parse_place(words)
    if isinstance(what, ComponentKind):
        return Component(what, position=position)
    return Component(ComponentKind.OBJECT, what, position, words.take(_MOTION))


def _parse_place(words: _Words) -> tuple[float, float] | None:
    distance = words.take(_DISTANCE | {"somewhere": None})
    return None if distance is None else _place(distance, words.take(_BEARING))


def _component_words(component: Component) -> list[str]:
    place = ["somewhere"] if component.position is None else _place_words(component.position)
    if component.kind == ComponentKind.OBJECT:
        return [CATEGORY_WORDS[component.category], "at", *place, MOTION_WORDS[component.motion]]
    return [KIND_WORDS[component.kind], "at", *place]


def _canonical(component: Component) -> Component:
    position = None if component.position is None else _place(*_bins(component.position))
    if component.kind == ComponentKind.OBJECT:
        return Component(component.kind, Category(component.category), position, Motion(component.motion))
    return Component(ComponentKind(component.kind), position=position)


def _place_words(position: tuple[float, float]) -> list[str]:
    distance, bearing = _bins(position)
    return [DISTANCE_WORDS[distance], BEARING_WORDS[bearing]]


def _bins(position: tuple[float, float]) -> tuple[int, int]:
    """Return the nearest distance (by ratio) and bearing (degrees, left positive) of a position (m, ego frame)."""
    x, y = position
    bearing = math.degrees(math.atan2(y, x))
    side = -1 if bearing < 0 else 1
    nearest = min(BEARINGS, key=lambda b: abs(b - abs(bearing)))
    return _nearest_distance(math.hypot(x, y)), nearest if nearest in (0, 180) else side * nearest


def _nearest_distance(distance: float) -> int:
    return min(DISTANCES, key=lambda d: abs(math.log(d / max(distance, 0.1))))


def _place(distance: int, bearing: int) -> tuple[float, float]:
    angle = math.radians(bearing)
    return distance * math.cos(angle), distance * math.sin(angle)
