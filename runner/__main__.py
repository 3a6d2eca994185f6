"""`python -m runner TOOL ...`: tools for checkpoints and run directories, which need no config."""

import os
import sys

if __name__ == "__main__" and sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]  # or a zipfile.py in the current directory would be imported

import argparse
from collections.abc import Callable

from runner.commands.tools.arguments import add_run_tools, joined
from runner.errors import RunnerError

_PATHS = ("file", "files", "directory", "paths", "runs", "one", "other", "output", "html", "old", "new")
_EXPORTS = ("state_dict", "safetensors", "module")  # of models
_FORMS = ("general", "sharded")  # of a whole checkpoint
_EPILOG = (
    "Exit codes: 0 success (diff: equal), 1 diff: the files differ, verify: damage that a resume can do without, "
    "2 a file or an argument is wrong."
)


def main() -> int:
    """Run a file tool and return its exit code."""
    arguments = _parser().parse_args(joined(sys.argv[1:]))
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        _understand_paths(arguments)
        code = command(arguments)
        sys.stdout.flush()
        return code
    except RunnerError as error:
        return _complain(str(error), error.exit_code)
    except RecursionError:
        return _complain("a file is nested deeper than any checkpoint of this program, so it was not read", 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _understand_paths(arguments: argparse.Namespace) -> None:
    """Replace each path by its local form, with `~` expanded; refuse URLs."""
    from runner.places import local_path

    for name, value in vars(arguments).items():
        if name in _PATHS and value is not None:
            several = isinstance(value, list)
            paths = [str(local_path(path)) for path in (value if several else [value])]
            setattr(arguments, name, paths if several else paths[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runner", description="Tools for checkpoints and run directories.", epilog=_EPILOG
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    _add_inspect(tools)
    _add_verify(tools)
    _add_diff(tools)
    _add_report(tools)
    _add_export(tools)
    add_run_tools(tools)
    return parser


def _add_inspect(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show what a file holds (every tensor, epoch, metrics, config), without building or trusting anything"
    tool = tools.add_parser("inspect", help=text, description=text)
    tool.add_argument(
        "file", help="a checkpoint, a run directory (its last.tar), a state_dict (.pt, .pth) or .safetensors"
    )
    tool.add_argument("--json", action="store_true", help="print one JSON object")
    tool.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.inspect import inspect_command

    return inspect_command(arguments.file, as_json=arguments.json)


def _add_verify(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "check every byte of files, or of every file that run directories depend on"
    tool = tools.add_parser("verify", help=text, description=text)
    tool.add_argument("paths", nargs="+", metavar="PATH", help="checkpoints or run directories")
    tool.add_argument("--json", action="store_true", help="print one JSON object")
    tool.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.verify import verify_command

    return verify_command(arguments.paths, as_json=arguments.json)


def _add_diff(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show which tensors and settings of two checkpoints differ, and by how much"
    tool = tools.add_parser("diff", help=text, description=text)
    tool.add_argument("one", help="a checkpoint, or a run directory (its last.tar)")
    tool.add_argument("other", help="another one")
    tool.set_defaults(command=_diff)


def _diff(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.diff import diff_command

    return diff_command(arguments.one, arguments.other)


def _add_report(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show the results of a sweep, best first, and rewrite its results.csv and plots"
    tool = tools.add_parser("report", help=text, description=text)
    tool.add_argument("directory", help="a sweep's directory")
    tool.add_argument("--json", action="store_true", help="print a JSON list, and write nothing")
    tool.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.report import report_command

    return report_command(arguments.directory, as_json=arguments.json)


def _add_export(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "export the models of a file for use elsewhere, or a whole checkpoint in another form; each is compared"
    more = (
        "Several models get one file each: OUTPUT with the model's name before the ending. general (one file) and "
        "sharded (a directory) are the two forms of a whole checkpoint."
    )
    tool = tools.add_parser("export", help=text, description=text, epilog=more)
    tool.add_argument(
        "file",
        help="a checkpoint, a run directory (its best.tar), .pt, .safetensors, or with --trust a module",
    )
    tool.add_argument("--format", choices=(*_EXPORTS, *_FORMS), required=True)
    tool.add_argument(
        "--shard-size", type=_bytes, default="5GB", metavar="SIZE",
        help="safetensors, sharded: the most bytes of a file, such as 500MB (default 5GB); above it, safetensors are "
        "several files with Hugging Face's index",
    )  # fmt: skip
    tool.add_argument("--output", help="by default beside FILE, with another ending; never overwritten")
    tool.add_argument("--weights", choices=("ema", "raw"), default="ema", help="ema (default): where the file has them")
    tool.add_argument(
        "--trust",
        nargs="*",
        metavar="PACKAGE",
        help="packages whose classes may be built; with --trust, FILE may also be a pickled module, whose code "
        "runs; put --trust after FILE",
    )
    tool.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.export import export_command

    if arguments.trust:  # a trusted package may be here; installed ones come first
        sys.path.append(os.getcwd())
    if arguments.format in _FORMS:
        from runner.commands.tools.convert import convert_command

        return convert_command(arguments.file, arguments.format, arguments.output, largest=arguments.shard_size)
    average = arguments.weights == "ema"
    return export_command(
        arguments.file,
        arguments.format,
        arguments.output,
        average=average,
        trust=arguments.trust,
        largest=arguments.shard_size,
    )


def _bytes(text: str) -> int:
    """Return a size such as 500MB in bytes; raise ValueError for anything else."""
    for unit, size in {"GB": 10**9, "MB": 10**6, "KB": 10**3}.items():
        if text.upper().endswith(unit) and text[:-2].isdecimal() and int(text[:-2]):
            return int(text[:-2]) * size
    raise argparse.ArgumentTypeError(f"{text!r} is no size; write one such as 500MB or 5GB")


def _complain(sentence: str, code: int) -> int:
    from runner.text import printable

    print(f"error: {printable(sentence)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
