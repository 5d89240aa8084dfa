"""Records of episodes without a simulator: the ego at constant speed among a scene's own tracks."""

import numpy as np

from alpamayo.episode import Episode
from alpamayo_sim import testing
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal, Reasoning
from alpamayo_sim.datatypes.scenario import Goal, Scenario
from alpamayo_sim.datatypes.scene import Route

ROUTE = Route(testing.polyline((-50, 0), (400, 0)), ("east-0",))
KEEP = Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING)


def scene_on_route(*tracks, **values):
    """Return a scene whose route starts 50 m behind the ego."""
    return testing.scene(*tracks, **{"route": ROUTE, **values})


def episode_of(scene, speed=10.0, steps=30, says=KEEP, plan=None):
    """Return an episode of an ego at constant speed along x among the scene's own tracks."""
    others = [t for t in scene.tracks if t.id != "ego"]
    things = [*others, *scene.props]
    t1 = steps + 1
    pose = np.zeros((t1, 3), np.float32)
    pose[:, 0] = speed * 0.1 * np.arange(t1)
    pose[:, 1] = scene.ego.position[0, 1]
    agent_pose = np.zeros((t1, len(things), 3), np.float32)
    velocity = np.zeros((t1, len(things), 2), np.float32)
    for i, t in enumerate(others):
        agent_pose[:, i] = np.column_stack([t.position[:t1, :2], t.heading[:t1]])
        velocity[:, i] = t.velocity[:t1]
    for i, p in enumerate(scene.props, start=len(others)):
        agent_pose[:, i] = [p.position[0], p.position[1], p.heading]
    plan = testing.plan(speed) if plan is None else plan
    return Episode(
        scenario=Scenario(scene=scene, goal=Goal(100.0, 9.0), family="test"),
        driver="test",
        seed=0,
        guarded=False,
        ego_size=scene.ego.size,
        ego_pose=pose,
        ego_speed=np.full(t1, speed, np.float32),
        ego_acceleration=np.zeros(t1, np.float32),
        ego_curvature=np.zeros(t1, np.float32),
        progress=pose[:, 0].copy(),
        agent_ids=tuple(x.id for x in things),
        agent_category=np.array([int(x.category) for x in things], np.int8),
        agent_size=np.array([x.size for x in things], np.float32).reshape(-1, 3),
        agent_pose=agent_pose,
        agent_velocity=velocity,
        agent_valid=np.ones((t1, len(things)), bool),
        signals=np.zeros((t1, 0), np.int8),
        plans=np.tile(plan, (steps, 1, 1, 1)).astype(np.float32),
        weights=np.ones((steps, 1), np.float32),
        chosen=np.zeros(steps, np.int8),
        executed=np.tile(plan, (steps, 1, 1)).astype(np.float32),
        intervened=np.zeros(steps, bool),
        guard_reasons=("",) * steps,
        reasoning=(says,) * steps,
        arrived=False,
    )
