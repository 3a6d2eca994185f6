"""`-m hydra/sweeper=optuna`: Optuna chooses each job's values from earlier results."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.commands.sweep.command import OWN_SUBDIR, SUPERSEDED, Launcher, Sweep, open_sweep
from runner.errors import ConfigError
from runner.files import replace_text
from runner.run_directory.names import is_segment, unique_name
from runner.signals import Stop
from runner.sweeps.jobs import Job, Rerun
from runner.sweeps.results.table import RECORD, Record, check_goal, write_record
from runner.text import one_line
from runner.wiring.config.compose import plain
from runner.wiring.overrides.arguments import parse
from runner.wiring.schema.sweeping import Optuna
from runner.wiring.search.search import SearchConfig, another_goal, read_search
from runner.wiring.search.sweep_options import options_of

if TYPE_CHECKING:  # optional
    from optuna.study import Study

    from runner.sweeps.optuna.study import Outstanding, Search
    from runner.sweeps.optuna.trial_jobs import Jobs

BEST = "optimization_results.yaml"


def run_search(launcher: Launcher, overrides: Sequence[str]) -> None:
    """Run trials until `n_trials` have a result, and report.

    Raises:
        RunInUse: another sweep owns the directory.
        ConfigError: an option or the space is invalid, the study is another's, or Optuna is not installed.
        SystemExit: a stop was requested.
    """
    if find_spec("optuna") is None:
        raise ConfigError('hydra/sweeper=optuna needs Optuna: python -m pip install "runner-train[optuna]"')
    if not hasattr(launcher, "executor"):
        raise ConfigError(
            f"hydra/sweeper=optuna cannot use the launcher {type(launcher).__name__}; use hydra/launcher=local"
        )
    from runner.sweeps.optuna.study import quiet, storage_kept

    sweep = open_sweep(launcher)
    options = options_of(Optuna, launcher.config.hydra.sweeper, "hydra.sweeper")
    for_hydra = list(launcher.config.hydra.overrides.hydra)
    with quiet(), storage_kept(), sweep:
        _search(sweep, read_search(options, overrides, launcher.context.config_loader, for_hydra))


def _search(sweep: Sweep, config: SearchConfig) -> None:
    from runner.sweeps.optuna.sampling import make_pruner, make_sampler
    from runner.sweeps.optuna.study import make_study, open_study, outstanding, summary

    search = _identity(sweep, config)
    make_sampler(config.sampler, config.sampler_options, config.seed)
    pruner = make_pruner(config.pruner, config.pruner_options)
    anew = sweep.rerun is Rerun.all
    if not anew:
        check_goal(sweep.directory, config.monitor, config.mode)
    study = None if anew else open_study(sweep.directory, search)
    if sweep.preview:
        _preview(outstanding(study, config.n_trials), summary(study))
        return
    with sweep.owned() as stop:
        if anew:
            _set_aside(sweep)
        study = make_study(sweep.directory, search)
        drawn = len(study.get_trials(deepcopy=False))  # a new seed, so that no values repeat
        study.sampler = make_sampler(config.sampler, config.sampler_options, config.seed + drawn)
        study.pruner = pruner
        _run(sweep, config, study, stop)


def _identity(sweep: Sweep, config: SearchConfig) -> "Search":
    """Return the search's identity: the space, the objectives, and the shared config's hash."""
    from runner.sweeps.optuna.study import Search

    if plain(sweep.launcher.config.hydra.sweep)["subdir"] != OWN_SUBDIR:
        raise ConfigError(
            "hydra.sweep.subdir cannot be set for a search, which finds its jobs by their directories' names"
        )
    job = _job(sweep, config, config.example)
    fixed = [override for override in job.overrides if override not in config.example]
    return Search([str(parameter) for parameter in config.space], config.metrics, job.name[-8:], fixed)


def _job(sweep: Sweep, config: SearchConfig, overrides: Sequence[str]) -> Job:
    try:
        job = sweep.job([*config.fixed, *overrides], overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    if job.goal != (config.monitor, config.mode):
        raise ConfigError(another_goal(job.goal, (config.monitor, config.mode)))
    return job


def _preview(left: "Outstanding", there: str) -> None:
    parts = ((len(left.begun), "to be resumed"), (len(left.failed), "failed before"), (left.new, "new"))
    said = ", ".join(f"{count} {what}" for count, what in parts if count)
    print(f"trials: {there}\n{left.total} would run{f': {said}' if said else ''}")


def _run(sweep: Sweep, config: SearchConfig, study: "Study", stop: Stop) -> None:
    from runner.sweeps.optuna.study import OVERRIDES, best_of, outstanding, summary
    from runner.sweeps.optuna.trial_jobs import StudySource

    if len(config.metrics) > 1:
        print("several objectives: no trial is pruned")
    left = outstanding(study, config.n_trials)
    for trial in left.failed:
        study.enqueue_trial(trial.params, user_attrs={OVERRIDES: trial.user_attrs.get(OVERRIDES, [])})
    source = StudySource(study, config.space, list(config.metrics), _jobs(sweep, config, study))
    source.want(left.begun, left.total - len(left.begun))
    ended = sweep.run(source, left.total, stop) if left.total else []
    if (best := best_of(study)) is not None:
        replace_text(sweep.directory / BEST, OmegaConf.to_yaml(OmegaConf.create(_with_values(best))))
    told = f"; {source.told} had the values of an earlier one, and its result without a run" if source.told else ""
    print(f"trials: {summary(study)}{told}")
    sweep.close([*ended, *source.failures], stop.requested())


def _with_values(best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best values with each choice's text parsed to its value."""
    solutions = [{**one, "params": _values_of(one["params"])} for one in best.get("solutions", ())]
    found = {"best_params": _values_of(best["best_params"])} if "best_params" in best else {"solutions": solutions}
    return {**best, **found}


def _values_of(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: parse([f"{key}={value}"])[0].value() if isinstance(value, str) else value for key, value in params.items()
    }


def _jobs(sweep: Sweep, config: SearchConfig, study: "Study") -> "Jobs":
    from optuna.trial import TrialState

    from runner.sweeps.optuna.study import jobs_of
    from runner.sweeps.optuna.trial_jobs import Jobs

    metrics = config.metrics if len(config.metrics) > 1 else {}

    def put_on_record(
        jobs: Mapping[str, Sequence[str]], pruned: Sequence[str] = (), kinds: Mapping[str, str] | None = None
    ) -> None:
        write_record(sweep.directory, Record(config.monitor, config.mode, jobs, metrics, pruned, kinds or {}))

    def job_of(overrides: Sequence[str]) -> Job:
        job = _job(sweep, config, overrides)
        put_on_record({job.name: job.overrides}, kinds={job.name: job.kind})
        return job

    put_on_record({}, sorted(jobs_of(study, TrialState.PRUNED)))
    return Jobs(
        of=job_of,
        instead=lambda number: Job(sweep.directory / f"trial_{number}", ()),
        begins=sweep.set_aside,
        pruned=lambda job: put_on_record({}, [job.name]),
    )


def _set_aside(sweep: Sweep) -> None:
    """Move the study and its jobs' directories to superseded/, so that nothing is lost."""
    from runner.sweeps.optuna.study import FILE, jobs_of, read_study

    study = read_study(sweep.directory)
    for name in sorted(filter(is_segment, jobs_of(study) if study else ())):
        sweep.set_aside(Job(sweep.directory / name, ()))
    (sweep.directory / SUPERSEDED).mkdir(exist_ok=True)
    stamp = unique_name()
    for name in (FILE, RECORD):
        if (path := sweep.directory / name).exists():
            path.rename(sweep.directory / SUPERSEDED / f"{path.stem}-{stamp}{path.suffix}")
