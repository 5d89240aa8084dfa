from .importance import failure_probability as failure_probability
from .suite_run import evaluate as evaluate
from .validation import validate as validate
