from .log import open_log as open_log
from .log import scene_ids as scene_ids
from .readers import READERS as READERS
from .readers import Reader as Reader
