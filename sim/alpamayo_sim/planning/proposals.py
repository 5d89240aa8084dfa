"""The outcome of one search: every candidate with its costs, and the situation in which it was scored."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.decision import PLAN_STEPS
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.geometry import to_frame, wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import RouteStop
from alpamayo_sim.planning.candidates import Candidates, PlanningContext
from alpamayo_sim.planning.paths import Paths, Target, interpolate_rows
from alpamayo_sim.planning.rules import Caution
from alpamayo_sim.planning.scoring import Costs

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Proposals:
    """All candidates of one step.

    Attributes:
        state: the present state of the world.
        frame: the route.
        context: the situation that they were scored in.
        cautions: the places where the allowed speed is low.
        stop_line: the line to stop at, if any.
        paths: their paths.
        candidates: the combinations of paths and speed profiles.
        costs: their costs.
    """

    state: GroundTruth
    frame: RouteFrame
    context: PlanningContext
    cautions: tuple[Caution, ...]
    stop_line: RouteStop | None
    paths: Paths
    candidates: Candidates
    costs: Costs

    @property
    def best(self) -> int:
        """The candidate with the lowest cost."""
        return int(np.argmin(self.costs.total))

    def target(self, k: int) -> Target:
        """Return the target of the path of candidate ``k``."""
        return self.paths.targets[int(self.candidates.path[k])]

    def plan(self, k: int) -> Float64[Array, "64 4"]:
        """Return candidate ``k`` as a plan in the ego frame."""
        steps = slice(1, PLAN_STEPS + 1)
        paths, candidates, pose = self.paths, self.candidates, self.context.pose
        at = paths.at(np.full(PLAN_STEPS, candidates.path[k]), candidates.distance[k, steps])
        x, y, heading = (interpolate_rows(v, at) for v in (paths.xy[..., 0], paths.xy[..., 1], paths.heading))
        xy = to_frame(np.stack([x, y], axis=-1), pose)
        return np.column_stack([xy, wrap_angle(heading - pose[2]), candidates.speed[k, steps]])
