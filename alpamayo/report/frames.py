"""Pictures of an episode, rendered again from its record: cameras and the world from above."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from alpamayo.episode import Episode
from alpamayo_sim.rig import default_rig
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_sim.sensors.birdseye import BirdsEye

Array = np.ndarray
BIRDSEYE_SIZE = 640


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment: RGB pictures. ``mosaic`` shows wide, tele above cross left, cross right."""

    step: int
    birdseye: UInt8[Array, "h w 3"]
    mosaic: UInt8[Array, "rows columns 3"]


def frames(episode: Episode) -> Iterator[Frame]:
    """The frames of all states of an episode, in order."""
    scene = episode.scenario.scene
    renderer, above = CameraRenderer(scene, default_rig()), BirdsEye(scene)
    for step in range(episode.steps + 1):
        truth = episode.truth(step)
        left, wide, right, tele = renderer.render(truth.ego_pose, truth.agents, truth.signals).rgb
        mosaic = np.concatenate([np.concatenate([wide, tele], axis=1), np.concatenate([left, right], axis=1)])
        decided = min(step, episode.steps - 1)
        plans = np.concatenate([episode.plans[decided], episode.executed[decided][None]])
        shown = {} if step == episode.steps else {"plans": plans, "chosen": len(plans) - 1}
        picture = above.draw(truth, width=BIRDSEYE_SIZE, height=BIRDSEYE_SIZE, **shown)
        yield Frame(step, picture, np.array(mosaic))
