"""Perception: labels of image cells and back, detections that are joined, tracks, and the memory of the road."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from alpamayo_sim import testing
from alpamayo_sim.datatypes.rig import Rig, default_rig
from alpamayo_sim.geometry import to_frame
from alpamayo_vla_model.belief import Belief, moved
from alpamayo_vla_model.driver import BeliefDriver
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.perception.detections import Detections, detections
from alpamayo_vla_model.perception.losses import PerceptionTargets, cell_targets, perception_losses
from alpamayo_vla_model.perception.network import CLASSES, Cells, PerceptionNetwork
from alpamayo_vla_model.perception.objects import CELL, OFFSETS_M, STATIONS, Control, Ground, ObjectClass
from alpamayo_vla_model.perception.perception import Perception
from alpamayo_vla_model.perception.road_memory import RoadMemory
from alpamayo_vla_model.perception.tracks import TrackMemory
from alpamayo_vla_model.vision import RigTensors

RIG = default_rig(160, 96)
ROWS, COLUMNS = 96 // CELL, 160 // CELL
STRAIGHT = np.column_stack([4.0 * np.arange(32), np.zeros(32)]).astype(np.float32)
OBJECTS = [  # class, x, y, heading, length, width, height, vx, vy, pixels
    (ObjectClass.VEHICLE, 25.0, 3.5, 0.1, 4.6, 1.9, 1.5, 8.0, -1.0, 300.0),
    (ObjectClass.PEDESTRIAN, 18.0, -2.0, 1.6, 0.5, 0.5, 1.7, 0.0, 1.4, 60.0),
    (ObjectClass.TRUCK, 60.0, 0.5, 3.1, 9.0, 2.5, 3.2, -12.0, 0.0, 80.0),
    (ObjectClass.CONE, 12.0, -3.0, 0.0, 0.4, 0.4, 0.8, 0.0, 0.0, 40.0),
]


def labels(rig: Rig = RIG) -> PerceptionTargets:
    """Targets in which each object owns the cells around the pixel of its centre."""
    objects = np.zeros((1, 48, 10), np.float32)
    objects[0, : len(OBJECTS)] = np.array(OBJECTS, np.float32)
    owner = np.full((1, len(rig.cameras), ROWS, COLUMNS), -1)
    for number, row in enumerate(OBJECTS):
        point = np.array([[row[1], row[2], 0.5 * row[6]]])
        for camera, lens in enumerate(rig.cameras):
            pixel, inside = lens.project(point)
            if inside[0]:
                u, v = int(pixel[0, 0] // CELL), int(pixel[0, 1] // CELL)
                owner[0, camera, max(v - 1, 0) : v + 1, max(u - 1, 0) : u + 1] = number
    return PerceptionTargets(
        torch.from_numpy(objects),
        torch.from_numpy(owner),
        torch.zeros(1, STATIONS, len(OFFSETS_M), dtype=torch.long),
        torch.tensor([[float(Control.NONE), 120.0]]),
    )


def perfect(targets: PerceptionTargets, rig: RigTensors) -> Cells:
    """The cells that say exactly what the labels ask."""
    wanted = cell_targets(targets, rig)
    kind = torch.nn.functional.one_hot(wanted.kind, CLASSES).float() * 20.0
    doubt = torch.full((*wanted.kind.shape, 3), -4.0)
    return Cells(kind, wanted.bearing, wanted.log_distance, wanted.heading, wanted.log_size, wanted.velocity, doubt)


def test_labels_and_detections_are_inverse() -> None:
    rig = RigTensors.of(RIG)
    found = detections(perfect(labels(), rig), rig)
    assert len(found) == len(OBJECTS)
    for row in OBJECTS:
        k = int(np.argmin(np.linalg.norm(found.position - row[1:3], axis=1)))
        assert found.kind[k] == row[0]
        np.testing.assert_allclose(found.position[k], row[1:3], atol=2e-3 * row[1])
        np.testing.assert_allclose(found.size[k], row[4:7], rtol=1e-4)
        np.testing.assert_allclose(found.velocity[k], row[7:9], atol=1e-4)
        assert math.cos(found.heading[k] - row[3]) > 0.9999


def test_perfect_cells_have_less_loss_than_any_disturbed_ones() -> None:
    rig, targets = RigTensors.of(RIG), labels()
    network = PerceptionNetwork()
    image = torch.zeros(1, 4, 96, 160, 3, dtype=torch.uint8)
    now = network.features(image, rig)
    zeros = torch.zeros(1, 3), torch.zeros(1, 4), torch.from_numpy(STRAIGHT)[None]
    cells, road = network(now, now, *zeros)
    best = perceptible = perception_losses(perfect(targets, rig), road, targets, rig)
    for name in ("kind", "bearing", "distance", "velocity", "heading", "size"):
        assert perception_losses(cells, road, targets, rig)[name] > perceptible[name]
    assert best["total"].isfinite()


def test_a_camera_more_or_less_needs_no_other_network() -> None:
    network = PerceptionNetwork()
    for cameras in (1, 2, 4):
        rig = Rig(RIG.cameras[:cameras])
        now = network.features(torch.zeros(1, cameras, 96, 160, 3, dtype=torch.uint8), RigTensors.of(rig))
        cells, road = network(now, now, torch.zeros(1, 3), torch.zeros(1, 4), torch.from_numpy(STRAIGHT)[None])
        assert cells.bearing.shape == (1, cameras, ROWS, COLUMNS)
        assert road.ground.shape == (1, STATIONS, len(OFFSETS_M), len(Ground))


def seen(*things: tuple[ObjectClass, float, float], rng: np.random.Generator | None = None) -> Detections:
    """Detections of standing answers: class, x, y in the ego frame, with noise of the stated deviations."""
    n = len(things)
    position = np.array([thing[1:] for thing in things], np.float64).reshape(n, 2)
    azimuth = np.arctan2(position[:, 1], position[:, 0])
    std = np.stack([0.03 * np.hypot(*position.T), 0.005 * np.hypot(*position.T)], axis=-1)
    if rng is not None:
        error = rng.standard_normal((n, 2)) * std
        c, s = np.cos(azimuth), np.sin(azimuth)
        position = position + np.stack([c * error[:, 0] - s * error[:, 1], s * error[:, 0] + c * error[:, 1]], axis=-1)
    chance = np.zeros((n, CLASSES))
    chance[np.arange(n), [thing[0] for thing in things]] = 1.0
    size = np.tile([0.5, 0.5, 1.7], (n, 1))
    return Detections(
        chance, np.full(n, 0.9), position, np.zeros(n), size, np.zeros((n, 2)), std, np.full(n, 4.0), azimuth
    )


def test_a_crossing_pedestrian_gets_its_velocity_from_positions() -> None:
    memory, rng = TrackMemory(RIG), np.random.default_rng(0)
    for step in range(20):
        memory.update(seen((ObjectClass.PEDESTRIAN, 20.0, -4.0 + 0.14 * step), rng=rng), np.zeros(3), 0.1)
    (track,) = memory.confirmed()
    assert track.kind == ObjectClass.PEDESTRIAN
    assert track.state[3] == pytest.approx(1.4, abs=0.35)
    assert track.state[1] == pytest.approx(-4.0 + 0.14 * 19, abs=0.2)


def test_a_standing_thing_stays_where_it_is_while_the_ego_turns() -> None:
    memory, place = TrackMemory(RIG), np.array([30.0, 2.0])
    for step in range(15):
        pose = np.array([0.8 * step, 0.0, 0.02 * step])
        memory.update(seen((ObjectClass.CONE, *to_frame(place, pose))), pose, 0.1)
    (track,) = memory.confirmed()
    np.testing.assert_allclose(track.state[:2], place, atol=1e-6)
    assert track.speed == 0.0


def test_a_hidden_track_lives_on_and_a_track_in_sight_that_is_not_seen_ends() -> None:
    walker, van = (ObjectClass.PEDESTRIAN, 20.0, -2.0), (ObjectClass.VEHICLE, 12.0, -1.2)
    hidden, gone = TrackMemory(RIG), TrackMemory(RIG)
    for _ in range(10):
        hidden.update(seen(walker), np.zeros(3), 0.1)
        gone.update(seen(walker), np.zeros(3), 0.1)
    for _ in range(15):
        hidden.update(seen(van), np.zeros(3), 0.1)
        gone.update(seen(), np.zeros(3), 0.1)
    assert {track.kind for track in hidden.confirmed()} == {ObjectClass.PEDESTRIAN, ObjectClass.VEHICLE}
    assert not gone.confirmed()


def test_one_false_alarm_is_no_track() -> None:
    memory = TrackMemory(RIG)
    memory.update(seen((ObjectClass.VEHICLE, 15.0, 0.0)), np.zeros(3), 0.1)
    memory.update(seen(), np.zeros(3), 0.1)
    memory.update(seen(), np.zeros(3), 0.1)
    assert not memory.confirmed()


def test_something_far_does_not_keep_a_false_track_before_it_alive() -> None:
    """The doubt of a far distance is large, and reaches the place of a nearer track in the same direction."""
    memory = TrackMemory(RIG)
    for _ in range(6):
        memory.update(seen((ObjectClass.VEHICLE, 14.0, 0.0), (ObjectClass.VEHICLE, 60.0, 0.0)), np.zeros(3), 0.1)
    far = replace(seen((ObjectClass.VEHICLE, 60.0, 0.0)), position_std=np.array([[20.0, 0.5]]))
    for _ in range(12):
        memory.update(far, np.zeros(3), 0.1)
    assert [round(float(track.state[0])) for track in memory.confirmed()] == [60]


def test_solid_things_are_not_in_each_other_nor_in_the_ego() -> None:
    memory, size = TrackMemory(RIG), np.array([[4.6, 1.9, 1.5]])
    for _ in range(6):
        pair = seen((ObjectClass.VEHICLE, 20.0, 0.0), (ObjectClass.CYCLIST, 21.5, 0.3), (ObjectClass.VEHICLE, 1.5, 0.5))
        memory.update(replace(pair, size=np.repeat(size, 3, axis=0)), np.zeros(3), 0.1)
    (track,) = memory.confirmed()
    assert track.kind == ObjectClass.VEHICLE
    assert track.state[0] == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize(("empty", "left"), [("tele", {ObjectClass.CONE}), ("wide", {row[0] for row in OBJECTS})])
def test_the_finest_camera_that_sees_a_place_decides(empty: str, left: set[ObjectClass]) -> None:
    """What the wide cameras show at a place in the tele image counts only if the tele camera shows it too."""
    rig, cells = RigTensors.of(RIG), perfect(labels(), RigTensors.of(RIG))
    kind = cells.kind.clone()
    (camera,) = (k for k, each in enumerate(RIG.cameras) if f"front_{empty}" in each.name)
    kind[:, camera] = torch.nn.functional.one_hot(torch.tensor(0), CLASSES) * 20.0
    found = detections(replace(cells, kind=kind), rig)
    assert {ObjectClass(int(k)) for k in found.kind} == left


def test_the_road_is_remembered_in_one_frame() -> None:
    """The route bends; what was seen beside it stays at its arc length when the ego has passed it."""
    road, radius = RoadMemory(), 60.0
    bend = np.arange(0.0, 300.0, 4.0) / radius
    path = radius * np.column_stack([np.sin(bend), 1.0 - np.cos(bend)])
    ground = np.zeros((STATIONS, len(OFFSETS_M), len(Ground)))
    ground[..., Ground.OFF_ROAD] = 1.0
    ground[:, np.abs(OFFSETS_M) < 2.0] = np.eye(len(Ground))[Ground.SAME_DIRECTION]
    ground[:, (OFFSETS_M > 2.0) & (OFFSETS_M < 5.5)] = np.eye(len(Ground))[Ground.OPPOSITE_DIRECTION]
    control = np.eye(len(Control))[Control.RED]
    for k in range(12):
        pose = np.array([*path[k], bend[k]])
        road.follow(to_frame(path[k : k + 32], pose).astype(np.float32), pose)
        road.look(ground, control, 60.0 - 4.0 * k)
    assert road.s == pytest.approx(44.0, abs=0.3)
    assert road.line_s == pytest.approx(60.0, abs=0.5)
    assert road.state == Control.RED
    np.testing.assert_allclose(road.frame.position(np.array([20.0, 120.0])), path[[5, 30]], atol=0.2)
    lanes = {lane.id: lane for lane in road.road_map().lanes}
    assert set(lanes) == {"route", "opposite_direction1"}
    middle = lanes["opposite_direction1"].centreline[:, :2].astype(np.float64)
    assert np.hypot(middle[:, 0], middle[:, 1] - radius)[2:-2] == pytest.approx(radius - 3.5, abs=0.15)


def test_odometry_adds_up() -> None:
    """Poses that are known by the step before alone give back the drive."""
    drive = [np.array([1.2 * k, 0.02 * k * k, 0.03 * k]) for k in range(20)]
    pose = drive[0]
    for before, now in itertools.pairwise(drive):
        back = np.array([*to_frame(before[:2], now), before[2] - now[2]])
        pose = moved(pose, back)
        np.testing.assert_allclose(pose, now, atol=1e-9)


def test_the_belief_driver_takes_nothing_from_the_scene() -> None:
    observation = AlpamayoConfig.preset("tiny").fake_observation()
    decisions = []
    for scenario in (testing.scenario(), testing.scenario(testing.moving("near", x=12.0))):
        driver = BeliefDriver(PerceptionNetwork())
        driver.reset(scenario.scene, np.random.default_rng(0))
        decisions.append([driver.act(observation) for _ in range(2)][-1])
    assert np.array_equal(decisions[0].plans, decisions[1].plans)
    assert decisions[0].reasoning == decisions[1].reasoning
    assert set(decisions[0].timings) == {"look", "plan", "choose"}


def test_a_world_can_be_asked_for_at_any_step() -> None:
    """The map of the belief is made anew now and then; the first time may be late."""
    observation = AlpamayoConfig.preset("tiny").fake_observation()
    perception, belief = Perception(PerceptionNetwork()), Belief(RIG)
    for _ in range(3):
        belief.update(observation, perception.look(observation))
    assert len(belief.world(observation).state.agents.ids) == 0
