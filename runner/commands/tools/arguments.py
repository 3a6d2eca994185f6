"""The arguments of the tools for runs side by side, and their help; a tool itself is imported when it is called."""

import argparse
from collections.abc import Sequence


def add_run_tools(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `list` and its like to the tools of `python -m runner`."""
    _add_list(tools)
    _add_compare(tools)
    _add_prune(tools)
    _add_average(tools)
    _add_rename(tools)


def joined(words: Sequence[str]) -> list[str]:
    """Return the words with `--sort -best` as `--sort=-best`, which argparse does not take for another option."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--sort":
            found[-1] = f"--sort={word}"
        else:
            found.append(word)
    return found


def _add_list(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show every run below a directory, its state, and the command that continues it"
    more = (
        "A KEY is a column (run, state, step, epoch, best, metric, model, lr, size, continue, attempt, reason, host, "
        "started, updated), a metric such as val/accuracy (its last value; val/accuracy:max and :min are its "
        "extremes), or a setting such as optimizer.lr."
    )
    tool = tools.add_parser("list", help=text, description=text, epilog=more)
    tool.add_argument("directory", nargs="?", default="outputs", help="by default outputs")
    tool.add_argument(
        "--sort", default="run", metavar="KEY", help="by default run; -KEY: the largest first; missing values come last"
    )
    tool.add_argument(
        "--where", action="append", default=[], metavar="CONDITION",
        help="only runs with KEY=VALUE (text: case does not matter, * and ? match), KEY!=VALUE, or 'KEY>VALUE' and the "
        "like; may be repeated",
    )  # fmt: skip
    tool.add_argument("--columns", type=_keys, default=(), metavar="KEY,KEY", help="the columns to show")
    form = tool.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list")
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--html", metavar="FILE", help="write one self-contained page with a sortable table and curves")
    tool.set_defaults(command=_list)


def _list(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.listing.command import (
        Asked,
        list_command,
        list_csv_command,
        list_json_command,
        list_page_command,
    )

    asked = Asked(arguments.directory, arguments.sort, arguments.where, arguments.columns)
    if arguments.html:
        return list_page_command(asked, arguments.html)
    if arguments.json:
        return list_json_command(asked)
    return list_csv_command(asked) if arguments.csv else list_command(asked)


def _add_compare(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show what two or more runs did differently: settings, metrics, length, environment, weights"
    more = "A metric is shown with its last value, and with that at the best checkpoint."
    tool = tools.add_parser("compare", help=text, description=text, epilog=more)
    tool.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directories; the first is what --weights measures from"
    )
    tool.add_argument("--weights", action="store_true", help="also how far the weights of each last.tar are apart")
    tool.add_argument("--json", action="store_true", help="print one JSON object")
    tool.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.compare import compare_command

    return compare_command(arguments.runs, weights=arguments.weights, as_json=arguments.json)


def _add_prune(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show which checkpoints of runs can go, and how much space they take; --yes deletes them"
    more = (
        "The newest valid checkpoint, the best one, what last.tar and best.tar are, and every checkpoint with a file "
        "NAME.pin beside it always stay. A run that trains is left alone."
    )
    tool = tools.add_parser("prune", help=text, description=text, epilog=more)
    tool.add_argument(
        "paths",
        nargs="*",
        default=["outputs"],
        metavar="RUN|DIR",
        help="runs, or directories of runs; by default outputs",
    )
    tool.add_argument(
        "--keep-last", type=_count, default=2, metavar="N", help="keep the newest N of each run (default 2)"
    )
    tool.add_argument(
        "--keep-best", type=_count, default=1, metavar="N", help="keep the best N of each run (default 1)"
    )
    tool.add_argument("--keep-every", type=_count, metavar="N", help="keep each whose step is a multiple of N")
    tool.add_argument("--superseded", action="store_true", help="also what rewind=true has set aside")
    tool.add_argument("--yes", action="store_true", help="delete them")
    tool.add_argument("--json", action="store_true", help="print one JSON object")
    tool.set_defaults(command=_prune)


def _prune(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.prune import Keep, prune_command

    keep = Keep(arguments.keep_last, arguments.keep_best, arguments.keep_every, not arguments.superseded)
    return prune_command(arguments.paths, keep, yes=arguments.yes, as_json=arguments.json)


def _add_average(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "write the mean of the weights of several checkpoints of one model, as a checkpoint"
    more = (
        "Tensors of floating point are averaged in float64, moving averages and BatchNorm statistics too; everything "
        "else is the last file's. task=evaluate, runner.load, export and warm_start.path take the file."
    )
    tool = tools.add_parser("average", help=text, description=text, epilog=more)
    tool.add_argument("files", nargs="+", metavar="FILE", help="checkpoints, or run directories (their best.tar)")
    tool.add_argument("--output", required=True, metavar="NEW.tar", help="never overwritten")
    tool.set_defaults(command=_average)


def _average(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.average import average_command

    return average_command(arguments.files, arguments.output)


def _add_rename(tools: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "give a run, or a whole sweep, another name in outputs/; it goes on under that name"
    tool = tools.add_parser("rename", help=text, description=text)
    tool.add_argument("old", metavar="OLD", help="its directory, such as outputs/x, or its name")
    tool.add_argument("new", metavar="NEW", help="a free name, such as y or group/y, or outputs/y")
    tool.set_defaults(command=_rename)


def _rename(arguments: argparse.Namespace) -> int:
    from runner.commands.tools.rename import rename_command

    return rename_command(arguments.old, arguments.new)


def _count(text: str) -> int:
    """Return a number of checkpoints or steps, at least 1."""
    if not text.isdecimal() or not 0 < int(text) < 10**15:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _keys(text: str) -> tuple[str, ...]:
    """Return the keys in a list such as `run,best`."""
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys:
        raise argparse.ArgumentTypeError(f"{text!r} names no column; write some, such as run,state,best")
    return keys
