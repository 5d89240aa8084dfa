"""The Nemotron-3 hybrid backbone: a library of its own; ``inference`` decodes with it, ``training`` trains it."""

from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.config import NemotronConfig
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.model import NemotronModel

__all__ = ["NemotronCache", "NemotronConfig", "NemotronInputError", "NemotronModel"]
