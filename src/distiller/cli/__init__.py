"""The command `distiller`: data to stdout, words to stderr; a user's mistake exits with 2."""

import os
import shlex
import signal
import sys
import warnings
from typing import Annotated, Any

import typer

import distiller
from distiller.cli import (
    advise,
    bench,
    check,
    components,
    evaluate,
    export,
    importance,
    label,
    mlm,
    predict,
    pseudo_label,
    recipes,
    report,
    run,
    show,
    study,
    ui,
)
from distiller.cli.app import Group, make_app
from distiller.cli.console import complain
from distiller.errors import ConfigError, DistillerError, Notice, concealed, did_you_mean, warn
from distiller.interruption import SIGNALS, end_at_once, raise_interrupted
from distiller.processes import is_first


class Commands(Group):
    """The commands. Whatever ends one is reported here; typer says "Aborted." to any EOFError, nothing to Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        """Run the requested command. Every error that a user can cause is one line and a hint."""
        try:
            return super().invoke(ctx)
        except DistillerError as error:
            if is_first():  # other processes fail for the same reason
                complain(error.message, error.hint)
            sys.exit(error.exit_code)
        except KeyboardInterrupt as stop:
            complain("interrupted", concealed(how_to_go_on(self, sys.argv[1:])))
            sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - python flushes it when it ends
            sys.exit(1)
        except OSError as error:
            reason = error.strerror or str(error).partition("\n")[0]
            complain(
                f"`{error.filename}`: {reason}" if error.filename else reason, "is there room, and may you write there?"
            )
            sys.exit(1)
        except EOFError as error:
            complain(f"a file ended too early: {error or 'nothing is left to read'}", "copy or make it again")
            sys.exit(1)
        except Exception as error:
            _refuse_usage(error)
            raise

    def make_context(self, *args: Any, **options: Any) -> Any:
        """What the words before the command mean."""
        try:
            return super().make_context(*args, **options)
        except Exception as error:
            _refuse_usage(error)
            raise


def _refuse_usage(error: Any) -> None:
    """One line and a hint about a command line that typer cannot parse; other errors pass."""
    if (
        not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError"
    ):  # typer's, or older: click's
        return
    line = " ".join(error.format_message().split()).rstrip(".")
    if is_first():
        complain(concealed(line[:1].lower() + line[1:]), concealed(_usage_hint(error)))
    sys.exit(error.exit_code)


def _usage_hint(error: Any) -> str:
    """`training.epochs=…` for `--training.epochs`, where a command takes fields; else where its help is."""
    context = error.ctx
    field = getattr(error, "option_name", "").lstrip("-")
    if context is None:
        return "`distiller -h` lists the commands"
    if any("KEY=VALUE" in (one.metavar or "") for one in context.command.params):
        from distiller.config import Run

        if "." in field or field in Run.model_fields:
            return f"fields have no dashes: {field}=…"
    return f"`{context.command_path} -h` says how it is used"


def how_to_go_on(group: Any, arguments: list[str]) -> str:
    """The command line that continues an interrupted one: with `--resume`, if the command has that option."""
    if arguments[:1] == ["translate"]:
        arguments = [RENAMED.get(arguments[1], arguments[1]), *arguments[2:]] if arguments[1:] else ["run"]
    command, names = group, []
    for argument in arguments:
        if argument not in getattr(command, "commands", {}):
            break
        command = command.commands[argument]
        names.append(argument)
    if any("--resume" in option.opts for option in command.params):
        kept = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
        return f"continue with: {shlex.join(['distiller', *kept, '--resume'])}"
    if names == ["study", "resume"]:
        return f"continue with: {shlex.join(['distiller', *arguments])}"
    return "the same command starts again"


app = make_app(
    "Turn a large language model into a small, fast one for one task, and see what made it good.",
    Commands,
    name="distiller",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run.run,
    recipes.recipes,
    recipes.init,
    check.check,
    evaluate.evaluate,
    predict.predict,
    export.export,
    bench.bench,
    report.report,
    show.show,
    components.components,
    importance.importance,
    advise.advise,
    mlm.mlm,
    label.label,
    pseudo_label.pseudo_label,
    ui.ui,
):
    app.command(command.__name__.replace("_", "-"))(command)
app.add_typer(study.app, name="study")


RENAMED = {"run": "run", "check": "check", "table": "show"}
"""What the commands for translations are called since a translation is a task like any other."""
REPLACED = {
    "text": "distiller predict MODEL FILE evaluation.beam=4 evaluation.compute=int8 teacher.languages.source=…",
    "evaluate": "distiller evaluate MODEL task.dev.source=… task.dev.target=… evaluation.beam=4",
}
"""Those that say otherwise what they are to do."""


@app.command("translate", hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def translate(context: typer.Context, words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """What earlier versions called the commands for translations: those that take the same words are carried out."""
    old, *rest = words or ["run"]
    if old in REPLACED:
        raise ConfigError(
            f"`distiller translate {old}` is gone: a translation is a task like any other", hint=REPLACED[old]
        )
    if old not in RENAMED:
        raise ConfigError(
            f"`distiller translate {old}` is no command: a translation is a task like any other",
            hint=did_you_mean(old, list(RENAMED)),
        )
    warn(f"`distiller translate {old}` is called `distiller {RENAMED[old]}` now")
    commands: Any = context.find_root().command
    commands.commands[RENAMED[old]].main(rest, f"distiller {RENAMED[old]}", standalone_mode=False)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"distiller {distiller.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Turn a large language model into a small, fast one for one task, and see what made it good."""


def main() -> None:
    """Entry point: every error that a user can cause is one line and a hint."""
    # Waiting threads should sleep: spinning ones slow down every other process on the machine, some by a factor of 8.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The advice of libraries is for authors of training loops; `TRANSFORMERS_VERBOSITY=warning` shows it.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    _show_notices_plainly()
    signal.signal(signal.SIGTERM, raise_interrupted)
    try:
        app()
    except KeyboardInterrupt as stop:  # before a command began, or after it ended
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
    finally:
        for number in SIGNALS:  # all is said: an exception in Python's own end would be shown as a traceback
            if signal.getsignal(number) in (signal.default_int_handler, raise_interrupted):
                signal.signal(number, end_at_once)


def _show_notices_plainly() -> None:
    """A notice is one `warning:` line without a path; what libraries tell programmers shows only on request (-W)."""
    warnings.showwarning = _show
    warnings.formatwarning = lambda message, *_, **__: (
        f"warning: {message}\n"
    )  # for users who collect warnings in a log
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", Notice)


def _show(message: Warning | str, *_: object, **__: object) -> None:
    if is_first():  # when several processes meet the same
        print(f"warning: {message}", file=sys.stderr)
