"""Two samples through what the runner brings itself, so that a mismatch is known before anything is created."""

import torch

from runner.data.image_folder import Images
from runner.data.memory import InMemory
from runner.errors import ConfigError, RunnerError
from runner.learners import Classification, Regression
from runner.loop.evaluate import evaluation_mode
from runner.wiring.build import Problem

_DATA, _LEARNERS, _MODELS = (InMemory, Images), (Classification, Regression), "runner.models."


def try_on_two_samples(problem: Problem) -> None:
    """Evaluate a problem of which all parts are the runner's own: nothing is drawn, nothing changes.

    Code of the user's is not called before its time: it might draw, or count.

    Raises:
        ConfigError: the model does not take the inputs, or the learner not what it returns with the targets.
        DataMissing: a sample cannot be read.
    """
    train, learner, models = problem.data.train, problem.learner, problem.models
    modules = all(type(model).__module__.startswith(_MODELS) for model in models.values())
    if type(train) not in _DATA or type(learner) not in _LEARNERS or not modules:
        return
    batch = train.fetch(torch.tensor([0, _of_last_class(train)]), seed=0, epoch=0)
    try:
        with torch.no_grad(), evaluation_mode(models, learner):
            learner.evaluation(models, batch)
    except RunnerError:
        raise
    except Exception as error:
        names = f"{type(problem.data).__name__} and {type(learner).__name__}"
        raise ConfigError(f"the model does not fit {names}: {' '.join(str(error).split())[:300]}") from error


def _of_last_class(train: InMemory | Images) -> int:
    """Return the index of a sample of the last class; images come in the order of their classes."""
    if isinstance(train, InMemory) and train.targets.dim() == 1:
        return int(train.targets.argmax())
    return len(train) - 1
