from .config import AlpamayoConfig as AlpamayoConfig
from .driver import TinyDriver as TinyDriver
from .driver import load_driver as load_driver
from .inputs import Inputs as Inputs
from .model import AlpamayoModel as AlpamayoModel
