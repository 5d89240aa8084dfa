"""Transfer of actors and their scripts from a family's straight road to the route of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo.planting.events import Event
from alpamayo.planting.road_sections import LaneAcross, LaneMatch, lanes_across
from alpamayo_sim.datatypes.scenario import Manoeuvre, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Prop, Scene, Track
from alpamayo_sim.geometry import arc_length, interpolate
from alpamayo_sim.map.frenet import RouteFrame

Array = np.ndarray

SECTION_SPACING_M = 20.0  # between the cross-sections that tell on which side traffic keeps
PATH_SPACING_M = 2.0  # at most, between the points of a path, which the new road may bend
PLACED = (TriggerKind.EGO_DISTANCE, TriggerKind.EGO_ARRIVAL, TriggerKind.EGO_IN_REGION)  # triggers with a point


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded scene, the frame of its route, and whether its traffic keeps to the left."""

    scene: Scene
    frame: RouteFrame
    keeps_left: bool

    @classmethod
    def of(cls, scene: Scene) -> "Recording":
        """Return a scene that has a route; more oncoming lanes right of it than left of it are left-hand traffic."""
        assert scene.route is not None
        made = cls(scene, RouteFrame.of_route(scene.route), keeps_left=False)
        places = np.arange(0.0, made.frame.route_length, SECTION_SPACING_M)
        oncoming = [lane.offset for s in places for lane in made.lanes(float(s)) if not lane.forward]
        right = sum(offset < 0.0 for offset in oncoming)
        return replace(made, keeps_left=2 * right > len(oncoming))

    def lanes(self, s: float) -> list[LaneAcross]:
        """Return the lanes across the route at an arc length (m), from right to left."""
        xy, heading, _ = self.frame.at(s)
        return lanes_across(self.scene.road_map, np.append(xy, heading))


@dataclass(frozen=True, eq=False)
class Transfer:
    """A map from the road of an event to the route of a recording.

    Attributes:
        event: the event.
        recording: the recorded scene.
        start: the arc length (m) of the recorded ego at the start of the event.
        lanes: where the lanes of the family lie in the recording.
    """

    event: Event
    recording: Recording
    start: float
    lanes: LaneMatch

    def pose(self, local: Float64[Array, "... 3"]) -> Float64[Array, "... 3"]:
        """Return x, y (m) and heading (rad) in the recording, of u, v (m) and heading in the frame of the event."""
        xy, heading = self.recording.frame.to_world(self.start + local[..., 0], self.lanes.across(local[..., 1]))
        return np.concatenate([xy, (heading + local[..., 2])[..., None]], axis=-1)

    def points(self, xy: Float64[Array, "n 2"]) -> Float32[Array, "n 3"]:
        """Return places (m) of the family's road with their height, in the recording."""
        local = self.event.local(np.column_stack([xy, np.zeros(len(xy))]))
        pose = self.pose(local)
        height = self.recording.frame.elevation_at(self.start + local[:, 0])
        return np.column_stack([pose[:, :2], height]).astype(np.float32)

    def track(self, track: Track, steps: int) -> Track:
        """Return an actor's track in the recording: it repeats its first state, which a script moves."""
        pose = np.array([*track.position[0, :2], track.heading[0]], np.float64)
        place, heading = self._placed(pose)
        speed = float(np.hypot(*track.velocity[0]))
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        return replace(
            track,
            position=np.tile(place, (steps, 1)),
            heading=np.full(steps, heading, np.float32),
            velocity=np.tile(velocity.astype(np.float32), (steps, 1)),
            valid=np.ones(steps, bool),
        )

    def prop(self, prop: Prop) -> Prop:
        """Return a prop in the recording."""
        place, heading = self._placed(np.array([*prop.position[:2], prop.heading], np.float64))
        return replace(prop, position=place, heading=heading)

    def script(self, script: Script) -> Script:
        """Return a script in the recording: its path, offsets and triggers lie along the recorded route."""
        manoeuvres = tuple(self._manoeuvre(each, script.path) for each in script.manoeuvres)
        return replace(script, path=self._path(script.path), manoeuvres=manoeuvres)

    def _placed(self, pose: Float64[Array, "3"]) -> tuple[Float32[Array, "3"], float]:
        local = self.event.local(pose[None])
        return self.points(pose[None, :2])[0], float(self.pose(local)[0, 2])

    def _path(self, path: Float32[Array, "n 3"]) -> Float32[Array, "m 3"]:
        line = path[:, :2].astype(np.float64)
        length = float(arc_length(line)[-1])
        s = np.linspace(0.0, length, max(int(np.ceil(length / PATH_SPACING_M)), 1) + 1)
        return self.points(interpolate(line, s))

    def _manoeuvre(self, manoeuvre: Manoeuvre, along: Float32[Array, "n 3"]) -> Manoeuvre:
        """Return a manoeuvre of an actor on a path of the family's road."""
        shift = manoeuvre.lateral_offset
        if shift is not None:
            line = self.event.local(np.column_stack([along[:2, :2], np.zeros(2)]).astype(np.float64))
            direction = 1.0 if line[1, 0] >= line[0, 0] else -1.0
            offset = float(line[0, 1])
            ends = self.lanes.across(np.array([offset, offset + self.event.side * direction * shift]))
            shift = direction * float(ends[1] - ends[0])
        path = None if manoeuvre.path is None else self._path(manoeuvre.path)
        return replace(manoeuvre, trigger=self._trigger(manoeuvre.trigger), lateral_offset=shift, path=path)

    def _trigger(self, trigger: Trigger) -> Trigger:
        if trigger.kind not in PLACED:
            return trigger
        (x, y, _), heading = self._placed(np.array([*trigger.point, self.event.start[2]]))
        turned = heading - float(self.event.start[2]) if trigger.kind is TriggerKind.EGO_IN_REGION else 0.0
        return replace(trigger, point=(float(x), float(y)), value=trigger.value + turned)


def standing(track: Track) -> Script:
    """Return the script of an actor that only stands: recorded tracks end with the recording, scripts do not."""
    heading = float(track.heading[0])
    ahead = np.array([np.cos(heading), np.sin(heading), 0.0], np.float32)
    return Script(track.id, np.stack([track.position[0], track.position[0] + ahead]), 0.0)


def scripts_of(scripts: Sequence[Script], tracks: Sequence[Track], transfer: Transfer) -> tuple[Script, ...]:
    """Return a script in the recording for each planted track."""
    by_id = {script.track_id: script for script in scripts}
    return tuple(transfer.script(by_id[track.id]) if track.id in by_id else standing(track) for track in tracks)
