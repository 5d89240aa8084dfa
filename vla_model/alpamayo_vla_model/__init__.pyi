from .driver import BeliefDriver as BeliefDriver
from .driver import load_driver as load_driver
from .end_to_end.config import AlpamayoConfig as AlpamayoConfig
from .end_to_end.driver import EndToEndDriver as EndToEndDriver
from .end_to_end.model import AlpamayoModel as AlpamayoModel
from .inputs import Inputs as Inputs
