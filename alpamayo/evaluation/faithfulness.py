"""How far the words of a driver are to be trusted, measured on its own drives without a guard.

At every tenth step the words are compared with the scene and with the plan, and three questions are asked without
driving the answer: is the choice another one without what the words name, does the plan follow when other words are
put in their place, and are the words the same under other noise of the cameras?
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alpamayo.closed_loop import drive
from alpamayo.evaluation.selection import Entry
from alpamayo.evaluation.statistics import clopper_pearson
from alpamayo.parallel import Progress
from alpamayo.validator.reasoning import Consistency, check
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.planning.reasons import Manoeuvre
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.driver import BeliefDriver
from alpamayo_vla_model.reasoner.inputs import relevant_agents
from alpamayo_vla_model.reasoner.language import POINTERS, SIGNAL_WORD, Utterance
from alpamayo_vla_model.reasoner.speaker import Speaker, drive_uttered

Array = np.ndarray

EVERY_STEPS = 10
DEFAULT_EPISODES = 12
NOISE_LEVELS = 4.0  # standard deviation of the other noise, of 255 levels

MEASURES = {
    "grounding": "a named cause is there, visible, where and as the words say",
    "action_consistency": "the plan fits both words",
    "counterfactual_validity": "without the named causes the planner chooses another manoeuvre",
    "counterfactual_control": "without as many other things it chooses another manoeuvre",
    "exchanged_words": "the plan fits other words that are put in place of the uttered ones",
    "noise_stability": "the words are the same under other noise of the cameras",
}
"""What is counted, and when it counts as yes."""


@dataclass(eq=False)
class Faithfulness:
    """For each of ``MEASURES`` how often it was asked, and how often the answer was yes."""

    asked: Counter[str] = field(default_factory=Counter)
    yes: Counter[str] = field(default_factory=Counter)

    def count(self, measure: str, answer: bool) -> None:
        """Count one answer."""
        self.asked[measure] += 1
        self.yes[measure] += int(answer)

    def rows(self, confidence: float = 0.95) -> list[dict[str, Any]]:
        """Return name, meaning, counts, share and interval (Clopper-Pearson) of each measure.

        Steps of one episode are alike, so the intervals are too narrow; they bound what chance alone can do.
        """
        return [
            {
                "measure": name,
                "means": meaning,
                "yes": self.yes[name],
                "asked": self.asked[name],
                "share": self.yes[name] / self.asked[name] if self.asked[name] else None,
                "interval": list(clopper_pearson(self.yes[name], self.asked[name], confidence)),
            }
            for name, meaning in MEASURES.items()
        ]


class ProbedDriver:
    """A driver with words, whose words are questioned at every tenth step; it drives as it does without.

    Args:
        driver: the driver; what it sees is not changed, the truth is for the comparison alone.
        found: where the answers are counted.

    Raises:
        InputError: the driver has no words.
    """

    def __init__(self, driver: Driver, found: Faithfulness) -> None:
        if not isinstance(driver, BeliefDriver) or driver.reasoner is None:
            raise InputError(f"driver {getattr(driver, 'name', '?')!r} has no words to question; tiny has")
        self.name, self.weights_digest = driver.name, driver.weights_digest
        self.needs: Needs = replace(driver.needs, truth=True)
        self._driver, self._found = driver, found

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode."""
        self._driver.reset(scene, rng)
        self._rng, self._step = rng, -1

    def act(self, observation: Observation) -> Decision:
        """Decide as the driver does, and question the words at every tenth step."""
        self._step += 1
        truth, observation = observation.truth, replace(observation, truth=None)
        if truth is None or self._step % EVERY_STEPS:
            planner, situation = self._see(observation)
            return self._speaker.decide(planner, situation)
        noisy = self._noisy_words(observation)
        planner, situation = self._see(observation)
        before, said = copy.deepcopy(planner), self._speaker.words(situation)
        decision = drive_uttered(said, planner, situation)
        self._found.count("noise_stability", noisy == self._new_words(situation))
        self._compare(decision, truth)
        self._exchange(before, situation, said, truth)
        self._remove(before, situation, said)
        return decision

    @property
    def _speaker(self) -> Speaker:
        speaker = self._driver.speaker
        if speaker is None:
            raise InputError(f"driver {self.name!r} was not reset")
        return speaker

    def _see(self, observation: Observation) -> tuple[BeliefPlanner, Situation]:
        planner = self._driver.planner
        planner.see(observation, self._driver.perception.look(observation))
        return planner, planner.propose(observation)

    def _noisy_words(self, observation: Observation) -> Manoeuvre:
        """Return the manoeuvre uttered after the same past, with other noise in the newest images."""
        frames = observation.cameras
        if frames is None:
            raise InputError("faithfulness: the driver was given no images")
        perception, planner = self._driver.perception.copied(), copy.deepcopy(self._driver.planner)
        noise = self._rng.normal(0.0, NOISE_LEVELS, frames.rgb.shape)
        rgb = np.clip(np.rint(frames.rgb + noise), 0, 255).astype(np.uint8)
        noisy = replace(observation, cameras=replace(frames, rgb=rgb))
        planner.see(noisy, perception.look(noisy))
        return self._new_words(planner.propose(noisy))

    def _new_words(self, situation: Situation) -> Manoeuvre:
        """Return the manoeuvre that would be uttered now; the words that hold are not changed."""
        return copy.copy(self._speaker).utter(situation).manoeuvre

    def _compare(self, decision: Decision, truth: GroundTruth) -> None:
        """Compare the words with the scene and with the plan."""
        checked = self._checked(decision, truth)
        for component in checked.components:
            self._found.count("grounding", component.fits)
        self._found.count("action_consistency", checked.plan_fits)

    def _exchange(self, planner: BeliefPlanner, situation: Situation, said: Utterance, truth: GroundTruth) -> None:
        """Put each other manoeuvre that can be driven in place of the uttered one, and see what would be driven."""
        for longitudinal, lateral in situation.manoeuvres:
            if (longitudinal, lateral) != said.manoeuvre:
                words = replace(said, longitudinal=longitudinal, lateral=lateral)
                driven = drive_uttered(words, copy.deepcopy(planner), situation)
                self._found.count("exchanged_words", self._checked(driven, truth).plan_fits)

    def _checked(self, decision: Decision, truth: GroundTruth) -> Consistency:
        if decision.reasoning is None:
            raise InputError(f"driver {self.name!r} gave no reasoning")
        return check(decision.reasoning, decision.plans[decision.chosen], truth)

    def _remove(self, planner: BeliefPlanner, situation: Situation, said: Utterance) -> None:
        """Take the named causes away, and as many other things, and see whether the planner's choice changes."""
        pointers = dict(zip(POINTERS, relevant_agents(situation), strict=False))
        named = [pointers[word] for word in said.causes if word in pointers]
        signal = SIGNAL_WORD in said.causes
        if not named and not signal:
            return
        first = next(iter(situation.manoeuvres))
        removed = np.zeros(len(situation.tracks), bool)
        removed[named] = True

        def another(rows: Array, stops: bool) -> bool:
            rest = planner.without(situation, rows, stops)
            return next(iter(rest.manoeuvres)) != first

        self._found.count("counterfactual_validity", another(removed, not signal))
        others = np.flatnonzero(~removed)
        if named and len(others) >= len(named):
            control = np.zeros(len(removed), bool)
            control[self._rng.choice(others, len(named), replace=False)] = True
            self._found.count("counterfactual_control", another(control, True))


def faithfulness(
    driver: Driver,
    entries: Sequence[Entry],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Faithfulness:
    """Question a driver's words while it drives some scenarios without a guard.

    Args:
        driver: a driver with words.
        entries: the scenarios.
        seed: of the driver, of the removed things and of the other noise.
        progress: called with what is done, how many scenarios are done, and how many there are.

    Raises:
        InputError: the driver has no words, or there is no scenario.
    """
    if not entries:
        raise InputError("faithfulness: there is no scenario to drive")
    found = Faithfulness()
    probed = ProbedDriver(driver, found)
    for done, entry in enumerate(entries, start=1):
        drive(entry.make(), probed, seed=seed, guard=False)
        if progress:
            progress("questioned", done, len(entries))
    return found
