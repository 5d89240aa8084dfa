"""Training data of the reasoner on disk: one compact file an episode, one sample each half second."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64

from alpamayo.training.array_files import ArrayFile

Array = np.ndarray

VERSION = 1


@dataclass(frozen=True, eq=False)
class ReasonerShard(ArrayFile):
    """The samples of one episode.

    The first tables are those of ``BeliefInputs``. ``words`` are the tokens of the right utterances, padded at the
    right, or of the two decisions alone where the causes are not known; ``manoeuvres`` are the pairs of decisions that
    may be uttered, ``groups`` is as in ``Label``.
    """

    file_version = VERSION

    history: Float32[Array, "samples 16 4"]
    route: Float32[Array, "samples 32 2"]
    state: Float32[Array, "samples 4"]
    navigation: Int64[Array, "samples words"]
    tracks: Float32[Array, "samples 16 track_columns"]
    present: Bool[Array, "samples 16"]
    road: Float32[Array, "samples 16 road_columns"]
    signal: Float32[Array, "samples 6"]
    words: Int64[Array, "samples 10"]
    manoeuvres: Bool[Array, "samples 8 9"]
    groups: Int8[Array, "samples 16"]

    def __len__(self) -> int:
        return len(self.state)
