"""The frame around every command: one clear message and one exit code for whatever goes wrong.

``python -m probe …`` and the ``analysis`` modules all end with ``sys.exit(cli.main(build_parser, run))``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from probe.errors import DataError, DiskError, ProbeError, UsageError
from probe.version import __version__

EXIT_CODES = (
    "exit codes: 0 ok, 2 usage, 3 bad data, 4 bad or damaged checkpoint or store, 5 non-finite numbers, "
    "6 disk, 7 refused as unsafe"
)
DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE})
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # no SIGHUP on Windows

Item = TypeVar("Item")
_SAYS = {"quiet": False}  # of the command that runs, by --quiet
Options = TypeVar("Options")


def make_parser(prog: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser in the house style: examples in the help, no guessing of abbreviated options, --debug and --version."""
    parser = argparse.ArgumentParser(prog=prog)
    dress(parser, description, examples)
    add_common(parser)
    return parser


def dress(parser: argparse.ArgumentParser, description: str, examples: str = "") -> None:
    """Give ``parser`` its description, examples and exit codes; an abbreviated option becomes an error, not a guess."""
    parser.description = description
    shown = f"examples:\n{examples.strip(chr(10))}\n\n" if examples else ""
    parser.epilog = shown + EXIT_CODES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False


def add_common(parser: argparse.ArgumentParser, *, json_report: bool = False) -> None:
    """Add the options that every command has; ``json_report`` adds ``--json`` (its value is ``args.json``)."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error too"
    )
    group.add_argument(
        "--quiet", action="store_true", default=argparse.SUPPRESS, help="print errors alone, and what --json reports"
    )
    group.add_argument("--version", action="version", version=f"probe {__version__}")
    if json_report:
        group.add_argument("--json", action="store_true", help="report as one JSON object on standard output")


def add_chat_template(parser: argparse.ArgumentParser) -> None:
    """``--chat-template``: who writes the turns of a conversation; None where it was not given, which means own."""
    parser.add_argument(
        "--chat-template", choices=("own", "none"),
        help="of messages: each tokenizer's own template (the default), or the same plain text for both",
    )  # fmt: skip


def positive(text: str) -> int:
    """An argparse type: a whole number above zero."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number above 0, got {text[:40]!r}")
    return int(text)


def at_most(most: int) -> Callable[[str], int]:
    """An argparse type: a whole number above zero, but no more than ``most``."""

    def bounded(text: str) -> int:
        if (number := positive(text)) > most:
            raise argparse.ArgumentTypeError(f"wanted at most {most}, got {number}")
        return number

    return bounded


def options_of(kind: type[Options], args: argparse.Namespace) -> Options:
    """The frozen options value that a library function takes, from parsed arguments of the same names."""
    return kind(**{field.name: getattr(args, field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def command_line(command: str, args: argparse.Namespace, names: Iterable[str]) -> str:
    """``python -m probe COMMAND`` with the options ``names`` that were given: what goes on record beside a result."""
    words = ["python", "-m", "probe", command]
    for name in names:
        value = getattr(args, name)
        if value is None or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def main(
    build_parser: Callable[[], argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, run, and return the exit code; errors become one message on standard error.

    Args:
        build_parser: makes the parser (called inside, so that its errors are explained too).
        run: does the work; returns an exit code or None for 0.
        argv: arguments without the program's name; ``sys.argv[1:]`` by default.
    """
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)
    _SAYS["quiet"] = "--quiet" in (sys.argv[1:] if argv is None else argv)
    quiet_libraries()
    previous = _on_signals({number: _raise_interrupted for number in ENDING})
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
            code = run(_as_called(build_parser()).parse_args(argv)) or 0
            sys.stdout.flush()
            return code
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(f"error: {exit_.code}", file=sys.stderr)
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException as error:  # the last line of defence: nothing leaves as a bare traceback
        if debug and not isinstance(error, BrokenPipeError):
            traceback.print_exc()
        code, message = explain(error)
        if message:
            print(f"error: {message}", file=sys.stderr)
        return code
    finally:
        _on_signals(previous)


def _as_called(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, whose help names the command as it was called: `probe failures` starts `python -m analysis.failures`.

    Where the package is installed, the second would find nothing.
    """
    name = os.environ.get("PROBE_CALLED_AS")
    if name and parser.prog.startswith("python -m analysis."):
        shown, parser.prog = parser.prog, f"probe {name}"
        parser.epilog = (parser.epilog or "").replace(shown, parser.prog)
    return parser


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and the message for the user ('' when silence is right)."""
    if isinstance(error, ProbeError):
        return error.exit_code, str(error)
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has gone; without this the interpreter complains when it flushes at exit.
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE, ""
    if isinstance(error, Interrupted):
        return 128 + error.number, f"interrupted ({error.number.name}); nothing was left half written."
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; nothing was left half written."
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):
        return DataError.exit_code, f"a link leads back to itself: {error}. Check the path."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return UsageError.exit_code, "a name of a file holds the character NUL, which no disk takes. Remove it."
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return 1, "not enough memory. Use fewer or shorter examples (--limit, --max-length) or a smaller batch."
    name = type(error).__name__
    return 1, f"unexpected {name}: {error}. This is a bug in probe; please report it with the output of --debug."


def _explain_os_error(error: OSError) -> tuple[int, str]:
    place = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in DISK_ERRNOS:
        return DiskError.exit_code, f"{place}{reason}. Free some space or choose another place, then run it again."
    unusable = error.errno in (errno.ENAMETOOLONG, errno.ELOOP)
    if unusable or isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError):
        return DataError.exit_code, f"{place}wanted a readable file, got: {reason}. Check the path."
    return 1, f"{place}{reason} ({type(error).__name__}). Run again with --debug to see where."


def quiet_libraries() -> None:
    """Keep the chatter of model libraries out of a command's output; what matters is said by the command itself."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if _SAYS["quiet"] or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        # A token that the terminal's encoding (or UTF-8: a lone surrogate) cannot say must not end the command.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


class Interrupted(BaseException):
    """A signal that ends the command; raised, so that it unwinds and temporary files are removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def _raise_interrupted(number: int, frame: Any) -> NoReturn:
    raise Interrupted(number)


def _on_signals(handlers: Mapping[int, Any]) -> dict[int, Any]:
    """Set handlers and return the previous ones; outside the main thread nothing is changed.

    A signal that is ignored stays ignored: so `nohup` keeps a command alive.
    """
    previous = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    return previous


def progress(items: Iterable[Item], *, total: int | None = None, label: str = "") -> Iterator[Item]:
    """Yield ``items``, counting them on standard error while a person watches (a terminal), silently otherwise."""
    if _SAYS["quiet"] or not sys.stderr.isatty():
        yield from items
        return
    end = f"/{total}" if total is not None else ""
    step = max(1, (total or 1000) // 100)
    for count, item in enumerate(items, start=1):
        yield item
        if count % step == 0 or count == total:
            print(f"\r{label} {count}{end}", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr, flush=True)


def report(values: dict[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print a command's result: ``values`` as one JSON object, or ``lines`` for people, unless ``--quiet``."""
    if as_json:
        print(json.dumps(values, ensure_ascii=False, indent=1))
    elif not _SAYS["quiet"]:
        print("\n".join(lines))


def note(line: str) -> None:
    """Say on standard error how far a command is, unless ``--quiet``."""
    if not _SAYS["quiet"]:
        print(line, file=sys.stderr, flush=True)
