"""`python -m runner TOOL ...`: tools for checkpoints and run directories, which need no config."""

import argparse
import os
import sys
from collections.abc import Callable

from runner.errors import RunnerError

_EPILOG = "Exit codes: 0 good (diff: equal), 1 diff: something differs, 2 a file or an argument is wrong."


def main() -> int:
    """Run a file tool and return its exit code."""
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runner", description="Tools for checkpoints and run directories.", epilog=_EPILOG
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    _add_inspect(tools)
    return parser


def _add_inspect(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show what a file holds (every tensor, epoch, metrics, config), without building or trusting anything"
    tool = tools.add_parser("inspect", help=text, description=text)
    tool.add_argument("file", help="a checkpoint, a state_dict (.pt, .pth) or a .safetensors file")
    tool.add_argument("--json", action="store_true", help="print one JSON object")
    tool.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    from runner.commands.inspect import inspect_command

    return inspect_command(arguments.file, as_json=arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
