"""The command line. Heavy imports happen inside the commands, so that help is quick."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from searcher.errors import ConfigError, SearcherError
from searcher.streams import leave, prepare, stdout_for_json

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Search for the best way to merge neural networks.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _folder(text: str) -> Path:
    """A folder from the command line; an empty text, from an unset shell variable perhaps, is no folder."""
    if not text:
        raise typer.BadParameter("expected a folder, but got an empty text")
    return Path(text)


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", parser=_folder)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, progress on stderr.")]
Kind = Literal["strategies", "spaces", "objectives", "operators", "executors"]


@app.command()
def optimize(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file (YAML).")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a config key (dotted); repeatable.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", parser=_folder, help="Run folder instead of the config's.")
    ] = None,
    evaluations: Annotated[int | None, typer.Option(min=1, help="Budget instead of the config's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search, export the points that the config names, write the report.

    An interrupted run of the same config is continued.
    """
    from searcher import api
    from searcher.display import Progress

    with stdout_for_json(as_json), Progress(sys.stderr if as_json else sys.stdout) as progress:
        result = api.optimize(config, run=run, evaluations=evaluations, overrides=set_ or (), listeners=[progress])
    _show(result, as_json)


@app.command()
def resume(
    run: RunArgument,
    evaluations: Annotated[int | None, typer.Option(min=1, help="So many more than recorded.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Continue an interrupted run, or add evaluations to a finished one."""
    from searcher import api
    from searcher.display import Progress

    with stdout_for_json(as_json), Progress(sys.stderr if as_json else sys.stdout) as progress:
        result = api.resume(run, evaluations, listeners=[progress])
    _show(result, as_json)


def _show(run: Any, as_json: bool) -> None:  # noqa: ANN401 - api.Run, imported lazily
    if as_json:
        print(json.dumps(run.record(), allow_nan=False))
    else:
        from searcher.display import show_result

        show_result(run, sys.stdout)


@app.command()
def front(
    run: RunArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print front.json.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line per baseline and point.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(metavar="CONDITION", help='Points with "low>=0.9"; and, repeatable.')
    ] = None,
    closest: Annotated[
        str | None,
        typer.Option(metavar="WISHES", help='The point nearest to "low=0.95,high=0.9"; --top N: the N nearest.'),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="So many points, best first.")] = None,
    by: Annotated[str | None, typer.Option(help="Order: hypervolume (contribution to it) or an objective.")] = None,
) -> None:
    """Show the Pareto front, baselines first; filters choose among its points."""
    from searcher.finished_run import open_run
    from searcher.front_filters import FrontFilter

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other.", where="command line", fix="Give one of them.")
    wanted = FrontFilter(where or (), closest, top, by)
    record = wanted.apply(open_run(run).record())
    if as_json:
        from searcher.front_file import front_text

        print(front_text(record), end="")
    elif as_csv:
        from searcher.front_file import write_csv

        write_csv(record, sys.stdout)
    else:
        from searcher.display import print_front

        print_front(record, sys.stdout)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders.", parser=_folder)],
    as_json: JsonOption = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=_folder, help="Write a page with the fronts overlaid.")
    ] = None,
) -> None:
    """Compare the fronts of runs that have the same objectives."""
    from searcher.compare_command import compare_command

    compare_command(runs, sys.stdout, as_json=as_json, report=report)


@app.command()
def export(
    run: RunArgument,
    point: Annotated[str, typer.Option(help="knee, balanced, best:OBJECTIVE, target or a candidate number.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", parser=_folder, help="Folder to write.")],
    format: Annotated[
        Literal["hf", "lora", "mergekit", "recipe"],
        typer.Option("--format", help="hf: a model folder; recipe: JSON; mergekit: its YAML; lora: an adapter."),
    ] = "hf",
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier export there.")] = False,
) -> None:
    """Write a point as an ordinary model folder, then re-load and re-score it in a fresh process."""
    from searcher.finished_run import open_run

    chosen = open_run(run).point(point)
    folder = chosen.export(to, format=format, overwrite=overwrite)
    checked = "; re-loaded in a fresh process, its scores are the recorded ones" if format == "hf" else ""
    print(f"candidate {chosen.number} written to {folder}{checked}")


@app.command()
def merge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A mergekit configuration (YAML), or recipe.json.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", parser=_folder, help="Folder to write.")],
    device: Annotated[str, typer.Option(help="auto, cpu, or a CUDA device.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of random masks (dare_*, della*).")] = 0,
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Where a recipe's source is now; repeatable.")
    ] = None,
    loader: Annotated[str, typer.Option(help="For a recipe: transformers, or python:... as in pool.loader.")] = (
        "transformers"
    ),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier merge or export there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge models as a mergekit configuration or an exported recipe says; no search."""
    from searcher.mergekit.merge_command import merge_command

    merge_command(
        file, to, device=device, seed=seed, sources=source or (), loader=loader, overwrite=overwrite, as_json=as_json
    )


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file (YAML).")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a config key (dotted); repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a search would do and cost: opens the pool, builds and scores two candidates."""
    from searcher.config import load_config
    from searcher.search_plan import plan_search, plan_text

    with stdout_for_json(as_json):
        found = plan_search(load_config(config, set_ or ()))
    print(json.dumps(found.to_json(), allow_nan=False) if as_json else plan_text(found))


@app.command()
def report(run: RunArgument) -> None:
    """Write RUN/report.html, self-contained and readable offline."""
    from searcher.finished_run import open_run

    print(open_run(run).write_report())


@app.command(name="list")
def list_(kind: Annotated[Kind | None, typer.Argument(help="What to list; everything by default.")] = None) -> None:
    """List strategies, spaces, objectives, operators and executors."""
    from searcher.catalog import catalog

    for title, rows in catalog(kind).items():
        print(f"{title}:")
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            print(f"  {name:<{width}}  {text}")


@app.command()
def schema() -> None:
    """Print the JSON schema of the config file, for editors."""
    from searcher.config import config_schema

    print(json.dumps(config_schema(), indent=1))


def main() -> None:
    """Run the command line and exit with its code; errors are three lines, tracebacks only with --debug."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):  # a scheduler's stop or a closed terminal saves and leaves as Ctrl-C does
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    prepare()
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    leave(run_command(arguments or ["--help"], debug=len(arguments) < len(sys.argv) - 1))


def run_command(arguments: list[str], *, debug: bool) -> int:
    """Run one command and return its exit code; errors are printed."""
    try:
        code = int(app(arguments, prog_name="searcher", standalone_mode=False) or 0)
        return code if code != INTERRUPTED else _interrupted()
    except (KeyboardInterrupt, typer.Abort):  # typer turns the first into the second, or into a return value
        return _interrupted()
    except SearcherError as error:
        return _failed(error, debug)
    except BrokenPipeError:
        return 0  # the reader has gone, as `| head` does
    except OSError as error:
        from searcher.disk_errors import file_error

        wrapped = file_error(error)
        wrapped.__cause__ = error
        return _failed(wrapped, debug)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        is_usage = hasattr(error, "format_message")  # click's base class moved between typer's versions
        return _failed(_usage(error) if is_usage else _defect(error), debug)


def _interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not fall into the clean-up
    words = "interrupted; what was recorded is saved: run the same command again, or `searcher resume RUN`"
    print(words, file=sys.stderr)
    return INTERRUPTED


def _failed(error: SearcherError, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    else:
        print(error, file=sys.stderr)
    return error.exit_code


def _usage(error: Any) -> SearcherError:  # noqa: ANN401 - see run_command
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "searcher"
    wrapped = ConfigError(error.format_message(), where="command line", fix=f"`{command} --help` lists what is known.")
    wrapped.__cause__ = error
    return wrapped


def _defect(error: BaseException) -> SearcherError:
    wrapped = ConfigError(
        f"Unexpected {type(error).__name__}: {error}",
        where="a defect of searcher",
        fix="Run again with --debug and report the traceback; recorded evaluations are safe.",
    )
    wrapped.__cause__ = error
    return wrapped


if __name__ == "__main__":
    main()
