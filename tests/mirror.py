"""Scenarios and plans mirrored in the x axis: traffic keeps left, and everything else must be the same."""

import dataclasses

import numpy as np

from alpamayo_sim.datatypes.scenario import Ego, Scenario, Script, TriggerKind
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route, Scene

FLIP = np.float32([1.0, -1.0, 1.0])


def mirrored_plans(plans):
    """Return plans (x, y, heading, speed) seen in the mirror."""
    return plans * np.float32([1.0, -1.0, -1.0, 1.0])


def mirrored_scenario(scenario: Scenario) -> Scenario:
    """Return a scenario seen in the mirror, without its certificate."""
    return dataclasses.replace(
        scenario,
        scene=mirrored_scene(scenario.scene),
        scripts=tuple(_script(script) for script in scenario.scripts),
        walkers=tuple(dataclasses.replace(each, path=each.path * FLIP) for each in scenario.walkers),
        egos=tuple(Ego(ego.track_id, _route(ego.route), ego.distance) for ego in scenario.egos),
        certificate=None,
    )


def mirrored_scene(scene: Scene) -> Scene:
    """Return a scene seen in the mirror."""
    return dataclasses.replace(
        scene,
        road_map=mirrored_map(scene.road_map),
        tracks=tuple(
            dataclasses.replace(
                track, position=track.position * FLIP, heading=-track.heading, velocity=track.velocity * FLIP[:2]
            )
            for track in scene.tracks
        ),
        props=tuple(dataclasses.replace(p, position=p.position * FLIP, heading=-p.heading) for p in scene.props),
        signals=tuple(dataclasses.replace(each, position=each.position * FLIP) for each in scene.signals),
        route=None if scene.route is None else _route(scene.route),
    )


def mirrored_map(road_map: RoadMap) -> RoadMap:
    """Return a map seen in the mirror: left and right change places, and edges keep the road at their left."""
    return RoadMap(
        lanes=tuple(_lane(lane) for lane in road_map.lanes),
        drivable_areas=tuple(area[::-1] * FLIP for area in road_map.drivable_areas),
        crosswalks=tuple(area[::-1] * FLIP for area in road_map.crosswalks),
        stop_lines=tuple(dataclasses.replace(each, line=each.line * FLIP) for each in road_map.stop_lines),
        road_edges=tuple(edge[::-1] * FLIP for edge in road_map.road_edges),
        road_lines=tuple(dataclasses.replace(each, line=each.line * FLIP) for each in road_map.road_lines),
    )


def _lane(lane: Lane) -> Lane:
    return dataclasses.replace(
        lane,
        centreline=lane.centreline * FLIP,
        left_boundary=lane.right_boundary * FLIP,
        right_boundary=lane.left_boundary * FLIP,
        left_neighbours=lane.right_neighbours,
        right_neighbours=lane.left_neighbours,
    )


def _route(route: Route) -> Route:
    return dataclasses.replace(route, path=route.path * FLIP)


def _script(script: Script) -> Script:
    manoeuvres = []
    for each in script.manoeuvres:
        trigger = each.trigger
        turned = trigger.kind == TriggerKind.EGO_IN_REGION
        manoeuvres.append(
            dataclasses.replace(
                each,
                trigger=dataclasses.replace(
                    trigger,
                    point=(trigger.point[0], -trigger.point[1]),
                    value=-trigger.value if turned else trigger.value,
                ),
                lateral_offset=None if each.lateral_offset is None else -each.lateral_offset,
                path=None if each.path is None else each.path * FLIP,
            )
        )
    return dataclasses.replace(script, path=script.path * FLIP, manoeuvres=tuple(manoeuvres))
