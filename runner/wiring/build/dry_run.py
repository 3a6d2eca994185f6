"""A dry run of the first batches, to find mistakes before anything is written."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from runner.blame import raised
from runner.checkpoint.difference import differences
from runner.checkpoint.plain import plain_copy
from runner.data.loaders.batches import Batch, form_of, move, tensors_of
from runner.data.sources import Evaluated, Source
from runner.data.streams.loading import StreamLoader
from runner.errors import ConfigError, RunnerError, Unsavable
from runner.learners import Learner, training_of
from runner.loop.answers import check_training, no_means, tokens_of, updates_of
from runner.loop.evaluate import evaluation_mode, modules_within
from runner.loop.metrics import Figures
from runner.loop.state import TrainState
from runner.optim.freezing import Freezing
from runner.optim.schedules import Horizon
from runner.progress import Names, each
from runner.randomness import isolated
from runner.strategy.strategies import Compiled, Strategy
from runner.wiring.build.checks import check_gradients
from runner.wiring.build.trial_batches import trial_batches
from runner.wiring.build.untouched import untouched
from runner.wiring.schema import Config


class Trial:
    """One forward pass in training and one in evaluation, as in the run, without an update."""

    def __init__(
        self,
        config: Config,
        state: TrainState,
        learner: Learner,
        strategy: Strategy,
        freezing: Collection[Freezing] = (),
    ) -> None:
        self._config, self._state, self._learner, self._freezing = config, state, learner, freezing
        self._strategy = strategy.inner if isinstance(strategy, Compiled) else strategy

    def run(self, train: Source, val: Mapping[str, Evaluated], horizon: Horizon) -> list[str]:
        """Try the first batches, and the last ones if the run reaches them; return notices about them.

        Every state and generator is left as it was.

        Raises:
            ConfigError: data, models and learner do not fit together, or a checkpoint cannot hold the state.
        """
        progress = self._state.progress
        training, evaluating = trial_batches(train, val, self._state, horizon.total_steps)
        with isolated(self._config.seed, progress.global_step), untouched(list(self._things())):
            before = self._of_learner()
            self._train(training)
            self._state.check_models()
            self._check_restored(before)
            said = list(dict.fromkeys(line for batches in evaluating for line in self._evaluate(batches)))
            said += train.notices() if isinstance(train, StreamLoader) else []
        if before is not None and any(differences(before, self._of_learner())):
            self._state.learner.load_state_dict(before)  # type: ignore[union-attr]
        return said

    def _things(self) -> Iterator[Any]:
        state, learner = self._state, self._learner
        inside = [*state.modules(), *modules_within(learner)]
        yield from {id(module): module for thing in inside for module in thing.modules()}.values()
        yield learner

    def _of_learner(self) -> Any:
        """Return a copy of the learner's state; raise ConfigError if a checkpoint cannot hold it."""
        if self._state.learner is None:
            return None
        try:
            return deepcopy(plain_copy(self._state.learner.state_dict(), "learner_state_dict"))
        except Unsavable as error:
            raise ConfigError(str(error)) from error

    def _check_restored(self, before: Any) -> None:
        """Raise ConfigError if the learner cannot be saved now, or does not restore what a trial step has changed."""
        after, learner = self._of_learner(), self._state.learner
        if learner is None or isinstance(learner, nn.Module):
            return
        learner.load_state_dict(deepcopy(before))
        if lost := next(iter(differences(before, self._of_learner())), None):
            raise ConfigError(
                f"{type(learner).__name__}.load_state_dict does not restore {lost.place}, so no resume is exact; let "
                "it restore all that `state_dict` returns"
            )
        learner.load_state_dict(after)

    def _train(self, batches: list[Batch]) -> None:
        state = self._state
        models = {
            name: self._strategy.wrap(model.train(name in state.optimizers)) for name, model in state.models.items()
        }
        for part in self._freezing:
            part.apply(state.progress.global_step)
        together, tried = self._strategy.processes.size > 1, set[int]()
        for batch in batches:
            self._count(batch)
            for part, size in zip(batch.parts, batch.counts, strict=True):
                if size not in tried or self._strategy.runs_together:
                    self._forward(models, part, size, exchange=together and not tried)
                    tried.add(size)

    def _count(self, batch: Batch) -> None:
        with self._blaming("tokens", batch.parts[0], batch.counts[0]):
            if "tokens" in self._state.progress.counts:
                tokens_of(self._learner, batch)

    def _forward(self, models: Mapping[str, nn.Module], part: Any, size: int, *, exchange: bool) -> None:
        """Run a micro-batch, and `exchange` its gradients, which are dropped.

        In an exchange the gradients' buckets take the order of the backward pass. Without one the first step after a
        resume would add in another order than the same step of a whole run.
        """
        state, strategy = self._state, self._strategy
        with self._blaming("training", part, size):
            for names in updates_of(self._learner, state.progress.global_step, state.optimizers):
                running = strategy.updated(models, names) if exchange else models
                with strategy.accumulating(running, last=True):
                    with state.scaler.autocast():
                        values = training_of(self._learner)(running, names, move(part, strategy.device))
                    check_training(values, self._learner)
                    if exchange:
                        self._drop_gradient(values["loss"], names)

    def _drop_gradient(self, loss: Tensor, names: Names) -> None:
        """Compute a gradient and drop it; raise ConfigError for a parameter that has none."""
        loss.backward()  # type: ignore[no-untyped-call]
        own = {name: self._state.models[name] for name in each(names)}
        check_gradients(own, self._config.strategy.find_unused)
        self._state.optimizer_of(names).zero_grad()

    @contextmanager
    def _blaming(self, method: str, part: Any, size: int) -> Iterator[None]:
        """Raise ConfigError, naming the learner's method and the batch, for an error that it raises."""
        try:
            yield
        except RunnerError:
            raise
        except Exception as error:
            if isinstance(error, torch.OutOfMemoryError) and self._config.micro_batch_size is not None:
                return  # the run goes on with smaller micro-batches
            raise self._failure(method, part, size, error) from error

    def _evaluate(self, batches: list[Batch]) -> list[str]:
        averages = {name: average.model for name, average in self._state.averages.items()}
        raw = {**self._state.models, **averages}
        models = {name: self._strategy.wrap(model) for name, model in raw.items()}
        sizes = {batch.size: batch for batch in reversed(batches)}
        device = self._strategy.device
        values: Any = {}
        with torch.no_grad(), evaluation_mode(models, self._learner), Figures(self._learner, self._strategy) as figures:
            for batch in sizes.values():
                try:
                    with self._state.scaler.autocast():
                        values = figures.measure(models, move(batch.whole, device), batch.here) or values
                except RunnerError:
                    raise
                except Exception as error:
                    raise self._failure("evaluation", batch.whole, batch.here, error) from error
            self._summarize(figures)
        place = f"{type(self._learner).__name__}.evaluation"
        return [
            f"{place} returns {name} as one number per batch, whose mean is not the {name} of the whole set; "
            "return an accumulator, or rows for a method `summary(rows)`"
            for name in no_means(values)
        ]

    def _summarize(self, figures: Figures) -> None:
        """Try the metrics of the whole set; errors of metrics that need more samples are ignored."""
        try:
            figures.of_all()
        except (ValueError, ArithmeticError) as error:
            if isinstance(error, RunnerError):
                raise
        except Exception as error:
            name = type(self._learner).__name__
            raise ConfigError(
                f"a summary or an accumulator of {name} raised {raised(error)} on a few samples"
            ) from error

    def _failure(self, method: str, batch: Any, count: int, error: Exception) -> ConfigError:
        place = f"{type(self._learner).__name__}.{method}"
        return ConfigError(
            f"{place} raised {raised(error)} on a batch of {form_of(batch)}{self._way_out(batch, count, error)}"
        )

    def _way_out(self, batch: Any, count: int, error: Exception) -> str:
        if count == 1 and "more than 1 value" in str(error):
            size, parts = self._config.batch_size, self._config.accumulate
            of = f" in {processes} processes" if (processes := self._strategy.processes.size) > 1 else ""
            return f"; with batch_size={size} and accumulate={parts}{of} one sample is left alone: choose other values"
        if "dtype" in str(error) and any(tensor.dtype is torch.float64 for tensor in tensors_of(batch)):
            return "; it is float64, NumPy's default, but weights are float32: convert samples to float32"
        return ""
