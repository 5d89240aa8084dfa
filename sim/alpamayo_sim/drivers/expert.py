"""The privileged expert: plans in the true world, as far as it has been in sight."""

import numpy as np
from jaxtyping import Bool, Int64

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import GroundTruth, Observation
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import heights_overlap
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of
from alpamayo_sim.map.stop_lines import route_stops
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.planner import PlanningWorld, SamplingPlanner
from alpamayo_sim.planning.stops import StopMemory
from alpamayo_sim.planning.surroundings import surroundings
from alpamayo_sim.prediction.lane_changes import LaneChangePredictor
from alpamayo_sim.prediction.visibility import visible

Array = np.ndarray

SCENERY = (Category.BUILDING, Category.VEGETATION)


class Expert:
    """Plans with ``SamplingPlanner`` and knows the true state of the agents that it has seen.

    It does not read scripts, and ignores agents that have never been in line of sight.
    """

    name = "expert"
    needs = Needs(truth=True)

    def __init__(self, config: PlannerConfig | None = None) -> None:
        self.config = config or PlannerConfig()
        self._frame: RouteFrame | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare the route and its surroundings.

        Raises:
            InputError: the scene has no route.
        """
        if scene.route is None:
            raise InputError(f"scene {scene.id!r} has no route; the {self.name} driver needs one")
        self._frame = RouteFrame.of_route(scene.route)
        index = index_of(scene.road_map)
        self._predictor = LaneChangePredictor(index)
        self._surroundings = surroundings(self._frame, index)
        self._stops = StopMemory(route_stops(scene, self._frame))
        self._planner = SamplingPlanner(self.config)
        self._seen: set[str] = set()

    def act(self, observation: Observation) -> Decision:
        """Make the best plans and say why.

        Raises:
            InputError: the observation has no ground truth, or ``reset`` was not called.
        """
        if observation.truth is None or self._frame is None:
            raise InputError(f"the {self.name} driver needs a call of reset and the truth in its observation")
        truth, frame = observation.truth, self._frame
        s = self._planner.locate(frame, truth)
        rows = self._rows(truth, frame, s)
        world = PlanningWorld(truth, rows, frame, self._surroundings, self._stops, self._predictor)
        return self._planner.plan(observation, world)

    def _rows(self, truth: GroundTruth, frame: RouteFrame, s: float) -> Int64[Array, " n"]:
        """Return the rows of agents that are near and have been in sight."""
        agents = truth.agents
        near = np.linalg.norm(agents.pose[:, :2] - truth.ego_pose[:2], axis=1) < self.config.agent_range_m
        rows = np.flatnonzero(agents.valid & near & ~np.isin(agents.category, SCENERY))
        rows = rows[self._on_level(truth, frame, s, rows)]
        unseen = np.array([k for k in rows if agents.ids[k] not in self._seen], np.int64)
        if unseen.size:
            self._seen.update(agents.ids[k] for k in unseen[visible(truth, unseen)])
        return np.array([k for k in rows if agents.ids[k] in self._seen], np.int64)

    def _on_level(self, truth: GroundTruth, frame: RouteFrame, s: float, rows: Int64[Array, " m"]) -> Bool[Array, " m"]:
        """Return which agents share a height with an ego on the route beside them."""
        agents = truth.agents
        if agents.elevation is None:
            return np.ones(len(rows), bool)
        elevation, height = agents.elevation[rows].astype(np.float64), agents.size[rows, 2].astype(np.float64)
        at, _ = frame.project(agents.pose[rows, :2], s, self.config.agent_range_m, elevation)
        return heights_overlap(frame.elevation_at(at), float(truth.ego_size[2]), elevation, height)
