"""Scores of one record: values computed by hand, and no value without the needed data."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.validator import RULES, Rated, episode_scores, score_episode, verdict_from_json
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Goal
from alpamayo_sim.datatypes.scene import Category, Signal, SignalState, StopLine
from alpamayo_sim.errors import InputError

ALPASIM = ("alpasim_scene_score", "alpasim_corridor_score")


def log_of(scene, **kwargs):
    """Return an episode in a recorded scene."""
    episode = episode_of(scene, **kwargs)
    return replace(episode, scenario=replace(episode.scenario, family=""))


def score(episode, name, **kwargs):
    return score_episode(episode, **kwargs).scores[name]


def test_parts_with_a_zero_of_the_recorded_ego_are_filtered():
    wall = testing.standing("wall", 25.0, 0.0)
    verdict = score_episode(
        log_of(scene_on_route(wall, ego=testing.moving("ego", 0.0, 0.0, 10.0)))
    )  # the recording drives through the wall, too
    raw, found = verdict.scores["epdms"], verdict.scores["epdms_filtered"]
    assert raw.value[0] == 0.0
    # progress is 30 of the recorded 99 m; TTC, lanes and both comforts are 1, and no light is there to be red
    assert found.value[0] == pytest.approx((5 * 30 / 99 + 5 + 2 + 2 + 2) / 16, abs=1e-6)
    assert found.parts["at_fault_collision"][0] == 1.0
    assert found.missing == raw.missing == (("red_light",),)
    assert any(note.startswith("at_fault_collision counts as 1, not 0") for note in found.notes)


def test_a_better_recorded_ego_filters_nothing():
    verdict = score_episode(
        log_of(scene_on_route(testing.standing("wall", 25.0, 0.0), ego=testing.moving("ego", 0.0, 0.0, 2.0)))
    )
    found = verdict.scores["epdms_filtered"]
    assert found.value[0] == verdict.scores["epdms"].value[0] == 0.0
    assert found.notes == ()


def test_without_a_recorded_ego_there_is_no_filter():
    log = log_of(scene_on_route())
    ego = log.scenario.scene.ego
    gone = replace(ego, valid=np.arange(len(ego.valid)) != 12)
    scene = replace(log.scenario.scene, tracks=(gone,))
    for episode, why in (
        (episode_of(scene_on_route()), "generated"),
        (replace(log, scenario=replace(log.scenario, scene=scene)), "not present at all times"),
    ):
        verdict = score_episode(episode)
        assert verdict.scores["epdms"].value[0] > 0.5
        for name in ("epdms_filtered", *ALPASIM):
            found = verdict.scores[name]
            assert np.isnan(found.value[0])
            assert found.missing[0] == tuple(found.parts)
            assert why in found.notes[0]


def test_a_rule_that_raises_for_the_recorded_ego_filters_nothing():
    def broken(motions):
        raise ZeroDivisionError("no")

    verdict = score_episode(
        log_of(scene_on_route()), rules={**RULES, "lane_keeping": replace(RULES["lane_keeping"], evaluate=broken)}
    )
    found = verdict.scores["epdms_filtered"]
    assert found.parts["lane_keeping"][0] == 0.0
    assert found.value[0] == verdict.scores["epdms"].value[0]
    assert any("not judged in lane_keeping: ZeroDivisionError" in note for note in found.notes)


@pytest.mark.parametrize("speed", [10.0, 9.0, 2.0])
def test_alpasims_score_uses_progress_on_the_recorded_path(speed):
    """The recorded ego drove 99 m, so progress counts, however near the ego is to the recorded one."""
    found = score(log_of(scene_on_route(ego=testing.moving("ego", 0.0, 0.0, 10.0)), speed=speed), "alpasim_scene_score")
    assert found.value[0] == pytest.approx(3.0 * speed / 99 / 0.8, abs=1e-6)
    assert found.parts["gt_distance"][0] == pytest.approx(99.0, abs=1e-4)
    assert found.missing == ((),)


@pytest.mark.parametrize(("recorded", "value"), [(6.0, 0.25), (4.9, 1.0)])
def test_alpasims_full_marks_are_for_a_short_recording(recorded, value):
    """1.2 m driven of 6 recorded metres; of a recording under 5 m full marks."""
    speed = recorded / 9.9
    scene = scene_on_route(ego=testing.moving("ego", 0.0, 0.0, speed))
    found = score(log_of(scene, speed=0.4), "alpasim_scene_score")
    assert found.parts["progress"][0] == pytest.approx(1.2 / recorded, abs=1e-5)
    assert found.value[0] == pytest.approx(value, abs=1e-5)


def test_alpasims_fault_is_any_contact_except_of_the_rear():
    behind = testing.moving("behind", -10.0, 0.0, 20.0)
    oncoming = testing.moving("oncoming", 20.0, 0.0, 10.0, np.pi)
    rear = score(log_of(scene_on_route(behind, ego=testing.moving("ego", 0.0, 0.0, 10.0))), "alpasim_scene_score")
    assert rear.parts["collision_at_fault"][0] == 0.0
    assert rear.value[0] == pytest.approx(6.0 / 99 / 0.8, abs=1e-6)  # the clip ends at the contact, at 0.6 s
    verdict = score_episode(log_of(scene_on_route(oncoming, ego=testing.standing("ego", 0.0, 0.0)), speed=0.0))
    struck = verdict.scores["alpasim_scene_score"]
    assert verdict.rules["at_fault_collision"].value[0] == 1.0  # ours: it stood
    assert (struck.value[0], struck.parts["collision_at_fault"][0]) == (0.0, 1.0)
    assert struck.notes == ("front or side contact with vehicle 'oncoming' at 1.6 s",)


def test_alpasims_score_off_the_road_and_without_a_known_road():
    off = score(log_of(scene_on_route(ego=testing.moving("ego", 0.0, -1.5, 10.0))), "alpasim_scene_score")
    assert off.value[0] == 0.0
    assert off.parts["offroad"][0] == 1.0
    bare = score(log_of(scene_on_route(road_map=testing.two_way_road(0, area=False))), "alpasim_scene_score")
    assert bare.value[0] == pytest.approx(30 / 99 / 0.8)
    assert bare.missing == (("offroad",),)


@pytest.mark.parametrize(("aside", "failed"), [(3.9, 0.0), (4.2, 1.0), (-4.2, 1.0)])
def test_to_leave_the_corridor_to_the_side_is_a_failure_of_todays_score(aside, failed):
    scene = scene_on_route(road_map=testing.two_way_road(0, area=False), ego=testing.moving("ego", 0.0, 0.0, 10.0))
    episode = log_of(scene)
    pose = episode.ego_pose.copy()
    pose[10:, 1] = aside
    found = score(replace(episode, ego_pose=pose), "alpasim_corridor_score")
    assert found.parts["left_corridor"][0] == failed
    assert found.value[0] == pytest.approx(0.0 if failed else 30 / 99 / 0.8)
    assert any("leaves the corridor at 1.0 s" in note for note in found.notes) == bool(failed)


def test_to_drive_on_beyond_the_end_of_the_recording_is_no_departure():
    """The recorded ego drove 9.9 m; the ego drives 30 m, and meets a wall 20 m on."""
    recorded = testing.moving("ego", 0.0, 0.0, 1.0)
    free = log_of(scene_on_route(ego=recorded))
    wall = log_of(scene_on_route(testing.standing("wall", 27.0, 0.0), ego=recorded))
    assert score(free, "alpasim_corridor_score").value[0] == 1.0
    assert score(free, "alpasim_corridor_score").parts["progress"][0] == pytest.approx(1.0)
    struck = [score(wall, name).parts["collision_at_fault"][0] for name in ALPASIM]
    assert struck == [0.0, 1.0]  # the old clip ends 4 m beyond the recorded line


def test_alpasims_clip_ends_4_m_from_the_recorded_line():
    episode = log_of(scene_on_route(testing.standing("wall", 25.0, 4.0), ego=testing.moving("ego", 0.0, 0.0, 10.0)))
    pose = episode.ego_pose.copy()
    pose[10:, 1] = 4.2
    found = score(replace(episode, ego_pose=pose), "alpasim_scene_score")
    assert found.parts["collision_at_fault"][0] == 0.0  # the wall comes after that
    assert found.parts["progress"][0] == pytest.approx(10 / 99)
    assert any("the clip ends at 1.0 s" in note for note in found.notes)


def person(x, y=0.0):
    return testing.standing("walker", x, y, category=Category.PEDESTRIAN, size=(0.6, 0.6, 1.7))


@pytest.mark.parametrize(
    ("others", "props", "value"),
    [
        ([], [], 60.0),
        (["wall"], [], 60.0 * 0.6),
        (["walker"], [], 60.0 * 0.5),
        ([], ["cone"], 60.0 * 0.65),
        (["wall", "walker"], ["cone"], 60.0 * 0.6 * 0.5 * 0.65),
    ],
)
def test_bench2drive_of_a_record(others, props, value):
    """30 of the 50 m to the goal, and a factor for each agent hit."""
    there = {
        "wall": testing.standing("wall", 25.0, 0.0),
        "walker": person(12.0),
        "cone": testing.prop("cone", 15.0, 0.0, size=(0.5, 0.5, 0.8)),
    }
    scene = scene_on_route(*(there[name] for name in others), props=[there[name] for name in props])
    found = score(episode_of(scene), "bench2drive")
    assert found.value[0] == pytest.approx(value, abs=1e-3)
    assert found.parts["collision_vehicle"][0] == others.count("wall")
    assert found.missing == (("red_light", "stop_sign", "yield_emergency", "min_speed"),)
    if "wall" in others:
        assert "collision_vehicle at 2.1 s with vehicle 'wall'" in found.notes


def test_a_stopped_ego_has_no_time_to_collision():
    oncoming = testing.moving("oncoming", 20.0, 0.0, 10.0, np.pi)
    found = score(episode_of(scene_on_route(oncoming), speed=0.0), "bench2drive")
    assert found.parts["collision_vehicle"][0] == 0.0


def test_only_a_scenarios_limit_is_a_timeout():
    episode = episode_of(scene_on_route())
    late = replace(episode, scenario=replace(episode.scenario, goal=Goal(100.0, 3.0)))
    found = score(late, "bench2drive")
    assert found.value[0] == pytest.approx(60.0 * 0.7, abs=1e-3)
    assert found.notes == ("scenario_timeout at 3.0 s",)
    assert score(replace(late, arrived=True), "bench2drive").value[0] == 100.0
    log = score(replace(late, scenario=replace(late.scenario, family="")), "bench2drive")
    assert log.value[0] == pytest.approx(60.0, abs=1e-3)
    assert "scenario_timeout" in log.missing[0]


@pytest.mark.parametrize("signalled", [True, False])
def test_bench2drive_counts_lights_and_stop_signs(signalled):
    scene = scene_on_route()
    lines = tuple(StopLine(f"at {x}", testing.polyline((x, -1.75), (x, 1.75)), ("east-0",)) for x in (10.0, 11.0, 31.0))
    scene = replace(scene, road_map=replace(scene.road_map, stop_lines=lines))
    red = np.full((31, 1), SignalState.RED, np.int8)
    if signalled:
        scene = replace(scene, signals=(Signal("light", np.zeros(3, np.float32), red[:, 0], ("east-0",)),))
    episode = episode_of(scene)
    found = score(replace(episode, signals=red) if signalled else episode, "bench2drive")
    name, factor = ("red_light", 0.7) if signalled else ("stop_sign", 0.8)
    assert found.parts[name][0] == 2.0  # the first two lines are one approach
    assert found.value[0] == pytest.approx(60.0 * factor**2, abs=1e-3)
    assert found.notes == (f"{name} at 0.8 s", f"{name} at 2.9 s")


def test_distance_outside_the_lanes_reduces_the_score():
    episode = episode_of(scene_on_route())
    pose = episode.ego_pose.copy()
    pose[24:, 1] = 3.5  # the oncoming lane
    found = score(replace(episode, ego_pose=pose), "bench2drive")
    outside = (6.0 + np.hypot(1.0, 3.5)) / (29.0 + np.hypot(1.0, 3.5))
    assert found.parts["outside_lane"][0] == pytest.approx(outside, abs=1e-6)
    assert found.value[0] == pytest.approx(60.0 * (1.0 - outside), abs=1e-3)
    bare = score(episode_of(scene_on_route(road_map=testing.two_way_road(0))), "bench2drive")
    assert "outside_lane" in bare.missing[0]


def test_bench2drive_needs_a_route_and_a_goal_ahead():
    episode = episode_of(scene_on_route())
    behind = replace(episode, scenario=replace(episode.scenario, goal=Goal(40.0, 9.0)))
    for some in (episode_of(scene_on_route(route=None)), behind):
        found = score(some, "bench2drive")
        assert np.isnan(found.value[0])
        assert found.notes


def rated(label, away=0.0, **kwargs):
    """Return the plan of 10 m/s as a rated trajectory at 4 Hz, shifted laterally."""
    x = 10.0 * 0.25 * np.arange(1, 21)
    return Rated(np.stack([np.column_stack([x, np.full(20, away)])]), np.array([label]), **kwargs)


def test_rater_feedback_is_that_of_the_rated_trajectories():
    episode = episode_of(scene_on_route())
    nothing = score(episode, "rater_feedback")
    assert np.isnan(nothing.value[0])
    assert "no trajectories were rated" in nothing.notes[0]
    same = score(episode, "rater_feedback", rated=[rated(8.0)])
    assert same.value[0] == pytest.approx(8.0)
    both = score(episode, "rater_feedback", rated=[rated(8.0), rated(9.0, 50.0, step=20)])
    assert both.value[0] == pytest.approx((8.0 + 4.0) / 2)
    assert both.notes == ("8.00 at 0.0 s", "4.00 at 2.0 s")
    # 1.5 m aside at 3 s: q = 1.5 / (0.5 + 0.5 * 8.6 / 9.6); at 5 s it is within the threshold
    limit = 0.5 + 0.5 * (10.0 - 1.4) / 9.6
    near = score(episode, "rater_feedback", rated=[rated(10.0, 1.5)])
    assert near.value[0] == pytest.approx((10.0 * 0.1 ** (1.5 / limit - 1.0) + 10.0) / 2)


def test_ratings_that_do_not_fit_are_errors():
    with pytest.raises(InputError, match="step 30"):
        score_episode(episode_of(scene_on_route()), rated=[rated(8.0, step=30)])
    with pytest.raises(InputError, match="labels"):
        rated(11.0)
    with pytest.raises(InputError, match="5 s"):
        Rated(np.zeros((1, 19, 2)), np.zeros(1))
    with pytest.raises(InputError, match="finite"):
        Rated(np.full((1, 20, 2), np.nan), np.zeros(1))


def test_scores_are_computed_on_demand_and_survive_json(monkeypatch):
    def broken(record):
        raise ZeroDivisionError("no")

    made = []
    real = episode_scores.recorded_motions
    monkeypatch.setattr(episode_scores, "recorded_motions", lambda *args: made.append(1) or real(*args))
    broken_score = replace(episode_scores.EPISODE_SCORES["bench2drive"], compute=broken)
    monkeypatch.setitem(episode_scores.EPISODE_SCORES, "bench2drive", broken_score)
    verdict = score_episode(log_of(scene_on_route()))
    assert verdict.scores["pdms"].value[0] > 0.3
    assert made == []
    again = verdict_from_json(verdict.to_json()).scores
    assert made == [1]
    assert np.isnan(again["bench2drive"].value[0])
    assert again["bench2drive"].notes == ("the score raised an exception: ZeroDivisionError: no",)
    assert again["rater_feedback"].notes == verdict.scores["rater_feedback"].notes
