"""`python -m runner inspect FILE`: tools for checkpoint files, which need no config."""

import argparse
import os
import sys

from runner.errors import RunnerError


def main() -> int:
    """Run a file tool and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner", description="Tools for checkpoint files.")
    tools = parser.add_subparsers(dest="tool", required=True)
    inspect = tools.add_parser("inspect", help="show what a checkpoint holds, without building a model or trusting it")
    inspect.add_argument("file")
    arguments = parser.parse_args()
    try:
        from runner.commands.inspect import inspect_command

        return inspect_command(arguments.file)
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
