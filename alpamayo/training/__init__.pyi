from .collection import collect as collect
from .loop import TrainingSettings as TrainingSettings
from .loop import train as train
from .open_loop import evaluate_open_loop as evaluate_open_loop
from .tiny import TrainingResult as TrainingResult
from .tiny import train_tiny as train_tiny
