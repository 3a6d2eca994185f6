"""The command line: choose the command, run it, and exit with its code.

The codes are those of `runner.exit_codes`; after Ctrl-C the process dies by SIGINT itself.
"""

import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn

from hydra import __version__ as hydra_version
from hydra._internal.utils import get_args_parser

import runner
from runner.commands.complaints import complain
from runner.commands.sweep.output import lasting_output
from runner.errors import ConfigError, RunnerError
from runner.exit_codes import FAILED, FINISHED, WRONG
from runner.files import refusal
from runner.places import local_path
from runner.run_directory.names import unique_name
from runner.signals import die_by_sigint
from runner.strategy.processes import check_single_process
from runner.wiring.config.compose import CONF, compose_config, hydra_session, register
from runner.wiring.config.folder import folder_of
from runner.wiring.overrides import arguments
from runner.wiring.overrides.program import find_project, program_name
from runner.wiring.search.sweep_options import check_sweep_options


def main() -> NoReturn:
    """Run the command in `sys.argv` and exit."""
    find_project()
    try:
        code = _run(arguments.with_homes(sys.argv[1:]))
    except RunnerError as error:
        code = complain(error)
    except KeyboardInterrupt:
        logging.shutdown()
        die_by_sigint()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FINISHED
    except Exception as error:  # a full disk; any other is a bug
        if (refused := refusal(error)) is None:
            raise
        code = complain(refused)
    raise SystemExit(code)


def _run(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"runner-train {runner.__version__}, Hydra {hydra_version}, Python {platform.python_version()}")
        return FINISHED
    flags, unknown = get_args_parser().parse_known_intermixed_args(list(argv))
    if unknown:
        raise arguments.no_flag(unknown[0], argv)
    if flags.help:
        from runner.wiring.config.help import help_text

        print(help_text(program_name()))
        return FINISHED
    register()
    if _is_for_hydra(flags):
        check_single_process("a sweep" if flags.multirun else "this")
        return _hydra(flags, argv)
    arguments.check_single(flags.overrides)
    overrides = arguments.expand(flags.overrides)
    with hydra_session(flags.config_dir) as searchpath:
        return _task(arguments.value_of(overrides, "task"))(overrides, searchpath)


def _task(name: str | None) -> Callable[[Sequence[str], Sequence[str]], int]:
    """Return the command of a task; an unknown name goes to training, whose schema refuses it."""
    if name in ("evaluate", "predict", "check_resume"):
        check_single_process(f"task={name}")
    if name == "evaluate":
        from runner.commands.evaluate import evaluate_command

        return evaluate_command
    if name == "predict":
        from runner.commands.predict import predict_command

        return predict_command
    if name == "check_resume":
        from runner.commands.check_resume.command import check_resume_command

        return check_resume_command
    from runner.commands.train import train_command

    return train_command


def _is_for_hydra(flags: Any) -> bool:
    if flags.experimental_rerun:
        raise ConfigError("--experimental-rerun opens a pickle, which can run code; use resume=outputs/x instead")
    if flags.config_path or flags.config_name:
        raise ConfigError(
            "--config-name and --config-path are not supported; put your own files into groups of a folder, "
            "such as mine/experiment/x.yaml, and add --config-dir=mine experiment=x"
        )
    return any(getattr(flags, name) for name in ("multirun", "cfg", "info", "hydra_help", "shell_completion"))


def _hydra(flags: Any, argv: Sequence[str]) -> int:
    """Let Hydra sweep, complete or print; its own errors come before any job and exit with 2."""
    import hydra

    from runner.commands.sweep.hydra_job import TaskFunction

    if flags.multirun and (other := [f"--{name}" for name in ("cfg", "info") if getattr(flags, name)]):
        raise ConfigError(f"-m and {other[0]} do not work together: leave -m out to see a config")
    if flags.config_dir:
        local_path(flags.config_dir, "--config-dir")
    if flags.multirun:
        arguments.check_for_sweep(flags.overrides)
        check_sweep_options(flags.overrides, flags.config_dir)
        for line in arguments.repeated(flags.overrides):
            print(line)
    if flags.multirun or flags.cfg:
        _check_composes(flags)
    options = [one for one in argv if one not in flags.overrides]  # first, as argparse needs it
    named = _named(flags)
    job = TaskFunction([option for option in options if option not in ("-m", "--multirun")], [*argv, *named])
    sys.argv[1:] = [*options, *_expanded(flags), *named]
    try:
        with lasting_output() if flags.multirun else nullcontext():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else FAILED
        if not job.entered:
            return WRONG if code == FAILED else code
        job.note(code)
    return job.exit_code


def _check_composes(flags: Any) -> None:
    """Raise ConfigError if the overrides, each with its first value, do not compose, before Hydra reports it."""
    with hydra_session(flags.config_dir) as searchpath:
        compose_config([*searchpath, *arguments.firsts(flags.overrides)])


def _expanded(flags: Any) -> list[str]:
    if flags.shell_completion:
        return [*flags.overrides, *folder_of(os.environ.get("COMP_LINE", ""))]
    return arguments.expand(flags.overrides)


def _named(flags: Any) -> list[str]:
    """Return a `name=` override for a sweep without one, by which it is found again."""
    is_named = not flags.multirun or arguments.value_of(flags.overrides, "name") is not None
    return [] if is_named else [f"name={unique_name()}"]
