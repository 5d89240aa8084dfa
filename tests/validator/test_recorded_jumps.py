"""Jumps of a recording: who repeats them is judged without those steps, and it is said."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.validator import score_episode
from alpamayo_sim import testing

STEPS, JUMP_STEP = 60, 25


def moved_on(track, dx, dy=0.0):
    """Return a track whose recording jumps by (dx, dy) m."""
    position = track.position.copy()
    position[JUMP_STEP:, :2] += np.float32([dx, dy])
    return replace(track, position=position)


def repeated(ego, *others, family=""):
    """Return an episode in which all repeat their recording."""
    episode = episode_of(scene_on_route(*others, ego=ego), steps=STEPS)
    pose = np.column_stack([ego.position[: STEPS + 1, :2], ego.heading[: STEPS + 1]]).astype(np.float32)
    return replace(episode, ego_pose=pose, scenario=replace(episode.scenario, family=family))


@pytest.mark.parametrize(("dx", "dy"), [(0.5, 0.0), (0.0, 0.8), (-0.5, 0.1)])
def test_who_repeats_a_jump_of_the_recording_is_judged_without_its_steps(dx, dy):
    ego = moved_on(testing.moving("ego", 0.0, 0.0, 10.0), dx, dy)
    charged, spared = (score_episode(repeated(ego, family=family)) for family in ("generated", ""))
    for name in ("kinematics", "comfort"):
        assert charged.rules[name].value[0] == 0.0
        assert spared.rules[name].value[0] == 1.0
        assert np.isnan(spared.rules[name].violation_time[0])
        assert "left out, where the recording jumps" in spared.rules[name].reasons[0]
        margins = spared.rules[name].margins[0]
        assert np.isnan(margins[JUMP_STEP])
        assert np.isfinite(margins[[0, STEPS]]).all()


def test_a_driver_that_does_not_repeat_the_recording_has_no_excuse():
    ego = moved_on(testing.moving("ego", 0.0, 0.0, 10.0), 0.5)
    other = moved_on(testing.moving("ego", 0.0, 0.3, 10.0), 0.5)  # beside the recording
    episode = repeated(ego)
    pose = np.column_stack([other.position[: STEPS + 1, :2], other.heading[: STEPS + 1]]).astype(np.float32)
    assert score_episode(replace(episode, ego_pose=pose)).rules["kinematics"].value[0] == 0.0


def test_faults_beside_the_jump_are_still_found():
    ego = moved_on(testing.moving("ego", 0.0, 0.0, 10.0), 0.5)
    swerving = ego.position.copy()
    swerving[45:, 1] += np.float32(0.25) * np.minimum(np.arange(len(swerving) - 45), 3)  # 0.25 m a step: no jump
    verdict = score_episode(repeated(replace(ego, position=swerving)))
    assert verdict.rules["kinematics"].violation_time[0] >= 4.4


def test_a_recording_without_jumps_is_judged_whole():
    verdict = score_episode(repeated(testing.moving("ego", 0.0, 0.0, 10.0)))
    assert "left out" not in verdict.rules["kinematics"].reasons[0]
    assert np.isfinite(verdict.rules["kinematics"].margins).all()


def test_a_track_that_jumps_across_the_ego_hits_nothing():
    x = 10.0 * 0.1 * JUMP_STEP
    jumping = moved_on(testing.standing("jumping", x, -25.0), 0.0, 50.0)
    jumping_ego = moved_on(testing.moving("ego", 0.0, 0.0, 10.0), 30.0)
    parked = testing.standing("parked", x + 15.0, 0.0)
    for episode in (repeated(testing.moving("ego", 0.0, 0.0, 10.0), jumping), repeated(jumping_ego, parked)):
        assert score_episode(episode).rules["at_fault_collision"].value[0] == 1.0


def test_a_jump_of_the_recorded_ego_excuses_no_other_driver():
    """The recording jumps over a parked car, which the driver hits; the human filter takes that for no contact."""
    jumping_ego = moved_on(testing.moving("ego", 0.0, 0.0, 10.0), 30.0)
    parked = testing.standing("parked", 40.0, 0.0)
    episode = repeated(jumping_ego, parked)
    driven = testing.moving("ego", 0.0, 0.0, 10.0)
    pose = np.column_stack([driven.position[: STEPS + 1, :2], driven.heading[: STEPS + 1]]).astype(np.float32)
    verdict = score_episode(replace(episode, ego_pose=pose))
    assert verdict.rules["at_fault_collision"].value[0] == 0.0
    filtered = verdict.scores["epdms_filtered"]
    assert filtered.parts["at_fault_collision"][0] == 0.0
    assert filtered.value[0] == 0.0
    assert not any(note.startswith("at_fault_collision") for note in filtered.notes)
