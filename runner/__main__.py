"""`python -m runner TOOL`: tools for checkpoint files and run directories, which need no config."""

import argparse
import os
import sys

from runner.errors import RunnerError


def main() -> int:
    """Run a file tool and return its exit code."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments)
    except RunnerError as error:
        return _complain(str(error), error.exit_code)
    except RecursionError:
        return _complain("a file is nested too deeply to be a checkpoint, so it is not shown", 2)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner", description="Tools for checkpoint files and runs.")
    tools = parser.add_subparsers(dest="tool", required=True)
    inspect = tools.add_parser("inspect", help="show what a checkpoint holds, without building a model or trusting it")
    inspect.add_argument("file")
    runs = tools.add_parser("list", help="show every run below a directory and the command that continues it")
    runs.add_argument("directory", nargs="?", default="outputs")
    runs.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.tool == "list":
        from runner.commands.list_runs import list_command, list_json_command

        return (list_json_command if arguments.json else list_command)(arguments.directory)
    from runner.commands.inspect import inspect_command

    return inspect_command(arguments.file)


def _complain(sentence: str, code: int) -> int:
    from runner.commands.text import safe

    print(f"error: {safe(sentence)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
