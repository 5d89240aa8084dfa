"""The sampling planner as a choice of others: candidates, their manoeuvres, and worlds without some agents."""

from dataclasses import replace

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.reasoning import Lateral
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import from_frame
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of
from alpamayo_sim.map.stop_lines import route_stops
from alpamayo_sim.planning.candidates import SAMPLES
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.planner import PlanningWorld, SamplingPlanner
from alpamayo_sim.planning.proposals import Proposals
from alpamayo_sim.planning.reasons import Explainer
from alpamayo_sim.planning.stops import StopMemory
from alpamayo_sim.planning.surroundings import surroundings
from alpamayo_sim.prediction.lane_changes import LaneChangePredictor

BLOCKED = testing.scenario(testing.standing("van", 90.0), testing.standing("car", 97.0), road_map=testing.highway(2))


def first_step(scenario: Scenario) -> tuple[SamplingPlanner, Observation, PlanningWorld]:
    """A planner that is located in the true world of the first step."""
    view, scene = WorldBatch([scenario])[0], scenario.scene
    assert scene.route is not None
    frame, index = RouteFrame.of_route(scene.route), index_of(scene.road_map)
    truth, planner = view.ground_truth(), SamplingPlanner()
    world = PlanningWorld(
        truth,
        np.arange(len(truth.agents.ids)),
        frame,
        surroundings(frame, index),
        StopMemory(route_stops(scene, frame)),
        LaneChangePredictor(index),
    )
    planner.locate(frame, truth)
    return planner, view.observe(), world


def proposed(scenario: Scenario = BLOCKED) -> tuple[SamplingPlanner, Proposals]:
    planner, observation, world = first_step(scenario)
    return planner, planner.propose(observation, world)


def test_each_manoeuvre_has_its_cheapest_candidate() -> None:
    _, proposals = proposed()
    explainer, total = Explainer(proposals), proposals.costs.total
    found = explainer.manoeuvres()
    assert len(found) > 1
    assert next(iter(found.values())) == proposals.best
    limit = total.min() + PlannerConfig().reasoning.acceptable_excess_cost
    near = [int(k) for k in np.flatnonzero(total <= limit)]
    words = {k: explainer.explain(k) for k in near}
    for manoeuvre, chosen in found.items():
        alike = [k for k in near if (words[k].longitudinal, words[k].lateral) == manoeuvre]
        assert total[chosen] == min(total[alike])
    assert {(each.longitudinal, each.lateral) for each in words.values()} == set(found)


def test_the_committed_candidate_is_driven_and_the_next_step_stays_close_to_it() -> None:
    planner, observation, world = first_step(BLOCKED)
    proposals = planner.propose(observation, world)
    explainer = Explainer(proposals)
    other = next(k for k in explainer.manoeuvres().values() if k != proposals.best)
    decision = planner.commit(proposals, other)
    np.testing.assert_allclose(decision.plans[decision.chosen], proposals.plan(other), atol=1e-4)
    assert decision.reasoning == explainer.explain(other)
    assert planner.propose(observation, world).context.previous is not None
    ends = [float(planner.propose(observation, world).paths.d[-1, 60]), float(proposals.target(other).offset)]
    assert ends[0] == pytest.approx(ends[1], abs=0.3)


def test_a_world_without_the_obstacles_is_planned_and_forgotten() -> None:
    planner, observation, world = first_step(BLOCKED)
    proposals = planner.propose(observation, world)
    without = planner.propose_without(observation, world, np.array([0, 1]))
    free = Explainer(without).explain(without.best)
    assert free.lateral == Lateral.LANE_KEEPING
    assert not free.components
    assert np.abs(without.plan(without.best) - proposals.plan(proposals.best))[:, :2].max() > 1.0
    again = planner.propose_without(observation, world, np.zeros(0, np.int64))
    assert np.array_equal(again.costs.total, proposals.costs.total)


def test_a_plan_each_half_second_is_compared_with_itself_half_a_second_later() -> None:
    planner, observation, world = first_step(BLOCKED)
    proposals = planner.propose(observation, world)
    planner.commit(proposals, proposals.best)
    later = planner.propose(replace(observation, time=observation.time + 0.5), world)
    assert later.context.previous is not None
    first = proposals.plan(proposals.best)[int(SAMPLES[0]) + 5 - 1, :2]  # row 0 is step 1
    np.testing.assert_allclose(later.context.previous[0], from_frame(first, proposals.context.pose), atol=1e-6)
