"""Beliefs as tensors, the way the reasoner takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from alpamayo_sim.geometry import rotate, to_frame, wrap_angle
from alpamayo_vla_model.belief_planner import Situation
from alpamayo_vla_model.inputs import NAVIGATION_TOKENS, state_of
from alpamayo_vla_model.perception.objects import OFFSETS_M, STATION_SPACING_M, STATIONS, Control, Ground, ObjectClass
from alpamayo_vla_model.reasoning_text import encode_navigation

Array = np.ndarray

MAX_TRACKS = 16
CLASSES = len(ObjectClass)
TRACK_COLUMNS = (
    *(f"chance_{kind.name.lower()}" for kind in ObjectClass),
    *("existence_log_odds", "x", "y", "heading", "velocity_x", "velocity_y", "length", "width", "height"),
    *("along", "offset", "along_speed", "offset_speed", "unseen_s", "age_s"),
)
"""The numbers of a track in m, rad, m/s and s. Position, heading and velocity (over ground) are in the ego frame,
``along`` (from the ego on) and ``offset`` on the route."""
ROAD_COLUMNS = len(OFFSETS_M) * len(Ground)
SIGNAL_COLUMNS = len(Control) + 1
FAR_LINE_M = 130.0  # the distance of a line that is not there
SIDE_FACTOR, BEHIND_FACTOR = 2.0, 2.0  # how much farther things beside the route and behind the ego count


@dataclass(frozen=True, eq=False)
class BeliefInputs:
    """A batch of beliefs.

    Attributes:
        history: as in ``Inputs``, and so are ``route``, ``state`` and ``navigation``.
        route: points ahead.
        state: speed, acceleration, curvature, speed limit.
        navigation: words.
        tracks: the most relevant tracks, ``TRACK_COLUMNS`` of each; rows without a track are zero.
        present: whether there is a track.
        road: probabilities of ``Ground`` at ``OFFSETS_M`` for each station along the route.
        signal: probabilities of ``Control`` of the next signal, and the distance (m) from the ego to its line.
    """

    history: Float[Tensor, "b 16 4"]
    route: Float[Tensor, "b 32 2"]
    state: Float[Tensor, "b 4"]
    navigation: Int64[Tensor, "b words"]
    tracks: Float[Tensor, "b 16 track_columns"]
    present: Bool[Tensor, "b 16"]
    road: Float[Tensor, "b 16 road_columns"]
    signal: Float[Tensor, "b 6"]

    def __len__(self) -> int:
        return len(self.state)

    @classmethod
    def of(cls, situations: Sequence[Situation]) -> Self:
        """Batch the beliefs of some situations."""
        rows = [belief_row(situation) for situation in situations]
        return cls(**{f.name: torch.from_numpy(np.stack([row[f.name] for row in rows])) for f in fields(cls)})

    def rows(self, index: Tensor | slice) -> Self:
        """Return the selected samples."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))


def relevant_agents(situation: Situation) -> Int64[Array, " n"]:
    """Return the rows of the agents that the reasoner sees, at most ``MAX_TRACKS``: the near ones along the route."""
    rows = situation.world.rows
    if not len(rows):
        return rows
    along, offset = on_route(situation, situation.world.state.agents.pose[rows, :2])
    reach = np.hypot(np.where(along < 0.0, BEHIND_FACTOR * along, along), SIDE_FACTOR * offset)
    return np.asarray(rows[np.argsort(reach, kind="stable")[:MAX_TRACKS]])


def belief_row(situation: Situation) -> dict[str, Array]:
    """Return one row of each table of ``BeliefInputs``."""
    observation, rows = situation.observation, relevant_agents(situation)
    tracks = np.zeros((MAX_TRACKS, len(TRACK_COLUMNS)), np.float32)
    tracks[: len(rows)] = _track_table(situation, rows)
    return {
        "history": observation.history.astype(np.float32),
        "route": observation.route.astype(np.float32),
        "state": np.array(state_of(observation), np.float32),
        "navigation": np.array(encode_navigation(observation.navigation, NAVIGATION_TOKENS), np.int64),
        "tracks": tracks,
        "present": np.arange(MAX_TRACKS) < len(rows),
        "road": _road_table(situation),
        "signal": _signal_row(situation),
    }


def _track_table(situation: Situation, rows: Int64[Array, " n"]) -> Float32[Array, "n track_columns"]:
    state, dt = situation.world.state, situation.world.state.scene.dt
    agents, ego = state.agents, state.ego_pose.astype(np.float64)
    own = [situation.tracks[k] for k in rows]
    pose, velocity = agents.pose[rows].astype(np.float64), agents.velocity[rows].astype(np.float64)
    along, offset = on_route(situation, pose[:, :2])
    heading = np.asarray(situation.world.frame.at(along + situation.proposals.context.s)[1])
    c, s = np.cos(heading), np.sin(heading)
    columns = [
        np.array([track.chance for track in own]).reshape(len(rows), CLASSES),
        np.array([track.log_odds for track in own]).reshape(-1, 1),
        to_frame(pose[:, :2], ego),
        wrap_angle(pose[:, 2] - ego[2])[:, None],
        rotate(velocity, -float(ego[2])),
        agents.size[rows],
        along[:, None],
        offset[:, None],
        (c * velocity[:, 0] + s * velocity[:, 1])[:, None],
        (c * velocity[:, 1] - s * velocity[:, 0])[:, None],
        dt * np.array([(track.unseen, track.age) for track in own], np.float64).reshape(-1, 2),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def on_route(situation: Situation, xy: Array) -> tuple[Array, Array]:
    """Return how far (m) along the route from the ego on, and how far to its left, points are."""
    start = situation.proposals.context.s
    s, d = situation.world.frame.project(xy, start, 260.0)
    return s - start, d


def _road_table(situation: Situation) -> Float32[Array, "16 road_columns"]:
    road = situation.road
    rows, s = road.rows_between(road.s, road.s + STATION_SPACING_M * STATIONS)
    at = np.searchsorted(s, road.s + STATION_SPACING_M * np.arange(STATIONS)).clip(0, len(rows) - 1)
    return road.ground[rows[at]].reshape(STATIONS, ROAD_COLUMNS).astype(np.float32)


def _signal_row(situation: Situation) -> Float32[Array, "6"]:
    road = situation.road
    distance = min(road.line_s - road.s, FAR_LINE_M) if road.controlled else FAR_LINE_M
    return np.array([*road.control, distance], np.float32)
