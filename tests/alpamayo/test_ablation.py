"""Ablated drivers: what is taken away is gone, everything else is the driver's own."""

import numpy as np
import pytest

from alpamayo.drivers.ablation import INPUTS, without
from alpamayo.drivers.registry import guarded_by_default, make_driver
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig


class Listener:
    """Keeps what it is told."""

    name = "listener"
    needs = Needs(rig=default_rig(160, 96), frames=4)
    weights_digest = "digest"

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        pass

    def act(self, observation: Observation) -> Decision:
        self.heard = observation
        return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32))


def heard(what: str) -> tuple[Observation, Observation]:
    """What a driver without something is told, and the whole observation."""
    whole, listener = AlpamayoConfig.preset("tiny").fake_observation(), Listener()
    without(listener, what, "less").act(whole)
    return listener.heard, whole


@pytest.mark.parametrize("what", INPUTS)
def test_only_what_is_taken_away_changes(what: str) -> None:
    told, whole = heard(what)
    assert told.cameras is not None
    assert whole.cameras is not None
    same = {
        "cameras": np.array_equal(told.cameras.rgb, whole.cameras.rgb),
        "route": np.array_equal(told.route, whole.route),
        "history": np.array_equal(told.history, whole.history),
        "navigation": told.navigation == whole.navigation,
    }
    changed = "cameras" if what in ("tele", "frames") else what
    expected = {changed} if what != "route" else set()  # the route of the observation is straight already
    assert {name for name, equal in same.items() if not equal} == expected


def test_the_tele_camera_alone_is_grey_and_frames_are_the_newest() -> None:
    told, whole = heard("tele")
    grey = [bool((told.cameras.rgb[k] == 128).all()) for k in range(4)]
    assert grey == ["tele" in camera.name for camera in whole.cameras.rig.cameras]
    told, whole = heard("frames")
    assert np.array_equal(told.cameras.rgb, np.repeat(whole.cameras.rgb[:, -1:], 4, axis=1))


def test_an_ablated_driver_has_a_name_and_its_drivers_weights_and_no_guard() -> None:
    driver = without(Listener(), "cameras", "less")
    assert driver.name == "less"
    assert driver.weights_digest == "digest"
    assert driver.needs is Listener.needs
    assert make_driver("idm-without-history").name == "idm-without-history"
    assert guarded_by_default("tiny")
    assert not guarded_by_default("tiny-without-cameras")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("idm-without-cameras", "has no cameras"),
        ("idm-without-historie", "did you mean history"),
        ("no-such-without-history", "no-such"),
        ("end-to-end-without-words", "unknown input or part 'words'"),
    ],
)
def test_what_cannot_be_taken_away_is_named(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_driver(name)
