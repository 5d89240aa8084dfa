from .belief import BeliefPlan as BeliefPlan
from .belief import train_belief as train_belief
from .end_to_end.collection import collect as collect
from .end_to_end.loop import TrainingSettings as TrainingSettings
from .end_to_end.loop import train as train
from .end_to_end.open_loop import evaluate_open_loop as evaluate_open_loop
from .end_to_end.rounds import TrainingResult as TrainingResult
from .end_to_end.rounds import train_end_to_end as train_end_to_end
