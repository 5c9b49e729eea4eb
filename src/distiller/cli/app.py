"""What the commands share: help whose examples are on their own lines, in a terminal and in a pipe."""

import io
import re
import sys
import textwrap
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ROOM = 77
"""Characters of an example: with its indentation it fits 80 columns."""
MARKS = ("\n\nExamples:\n\n", "\n\nExample:\n\n")
"""What stands between the words of a docstring and its examples, which are its end."""


class Command(TyperCommand):
    """A command whose examples are printed as they are written, after its options."""

    def __init__(self, *args: Any, help: str | None = None, **options: Any) -> None:
        words, self.examples = split_examples(help or "")
        super().__init__(*args, help=words, **options)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help on stdout."""
        shown(lambda: super(Command, self).format_help(ctx, formatter))
        if self.examples:
            print("\n".join([" Examples:", "", *(f"   {line}" for line in self.examples)]))


class Group(TyperGroup):
    """A command with subcommands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help on stdout."""
        shown(lambda: super(Group, self).format_help(ctx, formatter))


class App(typer.Typer):
    """A set of commands."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a function as the command `name`."""
        return super().command(name, cls=Command, **options)


def make_app(words: str, group: type[TyperGroup] = Group, **options: Any) -> App:
    """A set of commands with the help `words`, printed if no command is named."""
    return App(cls=group, help=words, no_args_is_help=True, rich_markup_mode="markdown", **options)


def split_examples(text: str) -> tuple[str, list[str]]:
    """The words of a docstring, and the command lines at its end."""
    for mark in MARKS:
        words, found, rest = text.partition(mark)
        if found:
            return words, [line for example in examples(rest) for line in wrapped(example)]
    return text, []


def examples(text: str) -> list[str]:
    """Command lines; one may continue in the next line after a backslash."""
    lines = [line.strip() for line in text.replace("\\\n", "").splitlines()]
    return [" ".join(line.split()) for line in lines if line]


def wrapped(command: str) -> list[str]:
    """A command line in lines of at most `ROOM` characters that a shell reads as one."""
    quoted = re.sub(r'"[^"]*"', lambda found: found[0].replace(" ", "\0"), command)
    together = re.sub(r"( --?[a-z][\w-]*) (?=[^-])", "\\1\0", quoted)  # an option and its value
    lines = textwrap.wrap(together, ROOM - 2, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    parts = [line.replace("\0", " ") for line in lines]
    return [f"{line} \\" for line in parts[:-1]] + parts[-1:]


def shown(print_help: Callable[[], None]) -> None:
    """Let `print_help` print; in a file or a pipe no line has trailing spaces."""
    if sys.stdout.isatty():
        print_help()
        return
    with redirect_stdout(io.StringIO()) as text:
        print_help()
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n"))
    print()
