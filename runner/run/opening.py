"""Turn a prepared run into the plan of the loop: trackers, checkpoint store, policies."""

import io
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from runner.checkpoint.format import SUFFIX
from runner.checkpoint.policies import Saved, retentions
from runner.checkpoint.saving import NoSaving, Saving, StoreSaving, Tolerance
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import AtOnce, Background, Worker
from runner.checkpoint.writer.finite import non_finite
from runner.checkpoint.writer.pickling import size_of
from runner.loop.feeding import Feed, HalvingFeed
from runner.loop.guard import Guard, RaisingSpikes, Skipping, SkippingSpikes, Trusting
from runner.loop.plan import Plan
from runner.loop.state import TrainState
from runner.loop.stopping import EarlyStopping
from runner.loop.wishes import Wishes
from runner.optim import Plateau
from runner.optim.pacing import Pacing
from runner.progress import Progress
from runner.run.joint import Following, JointSaving
from runner.run.sharded import ShardedSaving, ShardWriting
from runner.run_directory.demand import Demand
from runner.run_directory.ownership import Tenure
from runner.signals import Stop
from runner.strategy.processes import Processes, own_part
from runner.tracking import Console, Tracker, Trackers
from runner.wiring.build.identity import IDENTITY
from runner.wiring.build.trackers import build_trackers
from runner.wiring.build.updating import counts_epochs, node_of
from runner.wiring.schema import Config
from runner.wiring.schema.rules import Form, OnError, OnNonFinite, OnSpike
from runner.wiring.schema.running import Checkpoint
from runner.wiring.starts.prepare import Prepared


def make_plan(
    run: Prepared, stop: Stop, environment: Mapping[str, Any], record: Callable[[Saved | None], None]
) -> Plan:
    """Return the plan of a prepared run; the main process builds its trackers and creates its checkpoint folder."""
    config, state, early, processes = run.config, run.state, run.config.early_stopping, run.strategy.processes
    console = _console(run)
    own = [] if processes.rank else build_trackers(run.start.config, run.problem, run.start.directory, state.progress)
    trackers = Trackers([] if processes.rank else [*own, console])
    saving = _saving(run, stop, environment, record, trackers)
    return Plan(
        learner=run.problem.learner,
        strategy=run.strategy,
        train_loader=run.train_loader,
        val_loaders=run.val_loaders,
        horizon=run.horizon,
        limits=run.limits,
        seed=config.seed,
        clip_norm=config.clip_norm,
        clip_value=config.clip_value,
        guard=_guard(config, state.progress, processes),
        skip_limit=config.nonfinite_limit,
        eval_every=run.rhythm.evaluating,
        log_every=config.log_every,
        monitor=config.checkpoint.monitor,
        mode=config.checkpoint.mode,
        min_delta=early.min_delta,
        early_stopping=EarlyStopping(
            monitor=config.checkpoint.monitor,
            mode=config.checkpoint.mode,
            patience=early.patience,
            min_epochs=early.min_epochs,
            threshold=early.threshold,
        ),
        saving=saving,
        trackers=trackers,
        console=console,
        wishes=Wishes(processes, stop, saving.asked),
        pacing=Pacing(
            by_evaluation=_of_kind(state, ReduceLROnPlateau),
            warming_up=_of_kind(state, Plateau),
            by_epoch=_per_epoch(state, config.scheduler),
        ),
        every=config.learner.get("every") or {},
        feed=Feed if config.micro_batch_size is None else HalvingFeed,
        freezing=run.freezing.values(),
    )


def _console(run: Prepared) -> Console:
    """Return the console of the main process; that of another one is never seen."""
    stream = io.StringIO() if run.strategy.processes.rank else None
    return Console(run.horizon.total_steps, first_step=run.state.progress.global_step, stream=stream)


def _guard(config: Config, progress: Progress, processes: Processes) -> Guard:
    guard: Guard = Skipping(processes.total) if config.on_nonfinite is OnNonFinite.skip else Trusting()
    if config.on_spike is None:
        return guard
    kind = SkippingSpikes if config.on_spike is OnSpike.skip else RaisingSpikes
    return kind(guard, progress, processes.total, factor=config.spike_factor)


def _saving(
    run: Prepared, stop: Stop, environment: Mapping[str, Any], record: Callable[[Saved | None], None], trackers: Tracker
) -> Saving:
    options, processes = run.config.checkpoint, run.strategy.processes
    if not isinstance(options, Checkpoint):
        return NoSaving()
    states = {f"{name}{SUFFIX}": part.state_dict() for name, part in run.state.parts().items()}
    meant = frozenset[str]().union(*processes.gather(non_finite(states, own_part)))
    following = Following(run.rhythm.saving, stop.save_requested)
    writing = _shard_writing(run, meant) if is_divided(run) else None
    own = None
    if processes.rank == 0:
        store = _store(run, options, run.strategy.stand_ins(states)[0])
        record(store.best)
        own = StoreSaving(
            store,
            run.rhythm.saving,
            _description(run, environment),
            requests=[Demand(run.start.directory, stop.save_requested), *run.rhythm.requests],
            worker=_worker(options),
            tolerance=Tolerance(options.error_limit if options.on_error is OnError.warn else 0),
            meant=meant,
            before=_flushing(run, trackers),
            after=lambda: record(store.best),
            write=None if writing is None else writing.lead,
        )
    if writing is not None:
        return ShardedSaving(run.strategy, own, following, writing, _worker(options))
    return own if own is not None and processes.size == 1 else JointSaving(run.strategy, own, following)


def _shard_writing(run: Prepared, meant: frozenset[str]) -> ShardWriting:
    return ShardWriting(run.strategy, run.strategy.processes.limited(run.config.strategy.timeout), meant)


def is_divided(run: Prepared) -> bool:
    """Return whether checkpoints are directories with the shards of each process."""
    options = run.config.checkpoint
    return isinstance(options, Checkpoint) and options.form is Form.sharded and run.strategy.runs_together


def _worker(options: Checkpoint) -> Worker:
    return Background() if options.asynchronous else AtOnce()


def _flushing(run: Prepared, trackers: Tracker) -> Callable[[], None]:
    """Return what comes before each write: this process still owns the run, and its records are on the disk."""
    tenure = Tenure(run.start.directory)

    def before() -> None:
        tenure.check()
        trackers.flush()

    return before


def _store(run: Prepared, options: Checkpoint, states: Mapping[str, Any]) -> CheckpointStore:
    """Return the store in the run's checkpoint folder, which it creates."""
    keep = retentions(options.mode, last=options.keep_last, best=options.keep_best, every=options.keep_every)
    store = CheckpointStore(run.start.directory, keep=keep, monitor=options.monitor, mode=options.mode)
    store.prepare(run.start.standing)
    store.check_space(size_of(states))  # a lower bound: an optimizer has no moments before its first step
    return store


def _description(run: Prepared, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each checkpoint says of the run."""
    resolved = {
        "device_kind": run.devices.kind,
        "devices": max(1, len(run.devices.indices)),
        "strategy": run.strategy.name,
        "processes": run.strategy.processes.size,
    }
    return {
        "config": run.config_text,
        "environment": {**environment, **resolved, "facts": run.facts},
        IDENTITY: run.identity,
    }


def _of_kind(state: TrainState, kind: type) -> frozenset[str]:
    return frozenset(name for name, scheduler in state.schedulers.items() if isinstance(scheduler, kind))


def _per_epoch(state: TrainState, node: Mapping[str, Any]) -> frozenset[str]:
    schedulers = state.schedulers.items()
    return frozenset(name for name, scheduler in schedulers if counts_epochs(scheduler, node_of(node, name)))
