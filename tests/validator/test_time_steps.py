"""Records with other time steps than 0.1 s: the same contacts, the same scores, or a refusal."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.validator import score_episode
from alpamayo.validator.recorded_states import between_records, resampled_poses
from alpamayo_sim import testing
from alpamayo_sim.errors import InputError

SCORE_TOLERANCE = 0.02
"""Of scores of one smooth motion at different time steps."""


def record(dt, *tracks, seconds=6.0):
    """Return an episode that brakes in a gentle bend, recorded every ``dt``."""
    scene = replace(scene_on_route(*tracks, ego=testing.moving("ego", 0.0, 0.0, 10.0)), dt=dt)
    steps = round(seconds / dt)
    t, t1 = dt * np.arange(steps + 1), steps + 1
    base = episode_of(replace(scene, dt=0.1), steps=60)
    speed, s = 10.0 - 0.8 * t, 10.0 * t - 0.4 * t**2
    heading = 0.002 * s
    pose = np.column_stack([np.sin(heading) / 0.002, (1.0 - np.cos(heading)) / 0.002, heading]).astype(np.float32)
    count = len(tracks)
    agents = np.zeros((t1, count, 3), np.float32)
    velocity = np.zeros((t1, count, 2), np.float32)
    for i, track in enumerate(tracks):
        velocity[:, i] = track.velocity[0]
        agents[:, i, :2] = track.position[0, :2] + t[:, None] * track.velocity[0]
        agents[:, i, 2] = track.heading[0]
    return replace(
        base,
        scenario=replace(base.scenario, scene=scene),
        ego_pose=pose,
        ego_speed=speed.astype(np.float32),
        ego_acceleration=np.full(t1, -0.8, np.float32),
        ego_curvature=np.full(t1, 0.002, np.float32),
        progress=s.astype(np.float32),
        agent_pose=agents,
        agent_velocity=velocity,
        agent_valid=np.ones((t1, count), bool),
        signals=np.zeros((t1, 0), np.int8),
        **{name: np.repeat(getattr(base, name)[:1], steps, axis=0) for name in ("plans", "weights", "executed")},
        chosen=np.zeros(steps, np.int8),
        intervened=np.zeros(steps, bool),
        guard_reasons=("",) * steps,
        reasoning=base.reasoning[:1] * steps,
    )


@pytest.mark.parametrize("dt", [0.05, 0.2, 0.25, 0.5, 0.04])
def test_scores_do_not_depend_on_the_time_step(dt):
    lead = testing.moving("lead", 25.0, 0.0, 8.0)
    known, found = score_episode(record(0.1, lead)), score_episode(record(dt, lead))
    assert np.allclose(found.times, known.times)
    for name in ("pdms", "epdms", "nuplan_cls", "alpamayo_score"):
        assert found.scores[name].value[0] == pytest.approx(known.scores[name].value[0], abs=SCORE_TOLERANCE), name
    for name, rule in known.rules.items():
        comparable = name != "extended_comfort" or round(0.5 / dt) * dt == pytest.approx(0.5)
        assert found.rules[name].valid[0] == rule.valid[0] or not comparable, name


@pytest.mark.parametrize("dt", [0.05, 0.1, 0.2, 0.5])
def test_contacts_do_not_depend_on_the_time_step(dt):
    """A crossing car meets the ego's front after 2.5 s; at 2 Hz it is through between two records."""
    crosser = testing.moving("crosser", 23.0, -50.0, 20.0, np.pi / 2)
    verdict = score_episode(record(dt, crosser))
    assert verdict.rules["at_fault_collision"].value[0] == 0.0
    assert verdict.rules["at_fault_collision"].violation_time[0] == pytest.approx(2.3, abs=0.11)


def test_long_steps_are_refused():
    with pytest.raises(InputError, match=r"steps of 1 s; up to 0\.5 s"):
        score_episode(record(1.0))


def test_resampled_motions_keep_acceleration_and_stops():
    at = between_records(9, 0.5, "it")
    t = 0.5 * np.arange(9)
    speed, x = np.maximum(8.0 - 2.0 * t, 0.0), np.where(t < 4.0, 8.0 * t - t**2, 16.0)
    pose = np.stack([x, 0 * x, 0 * x], axis=-1)[None]
    found = resampled_poses(pose, np.stack([speed, 0 * speed], axis=-1)[None], at)[0, :, 0]
    fine = 0.1 * np.arange(41)
    assert np.abs(found - (8.0 * fine - fine**2)).max() < 1e-9
