"""The text of a file: whether the file exists, how it is compressed, and its encoding."""

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from distiller.errors import ConfigError, DataError, did_you_mean, importing, warn

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings behind that of the format, as in `train.csv.gz`. What is compressed is known by its first bytes."""

PACKED = (".zip", ".tar", ".tgz", ".7z", ".rar", ".xlsx", ".xls", ".ods")
"""Endings of archives and spreadsheets, which are not read."""

DELIMITED = (".csv", ".tsv", ".txt")
"""Endings of files whose first line names the columns."""

COLUMNAR = (".parquet", ".arrow", ".feather")
"""Endings of files that say themselves how their cells are written."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and what they say; UTF-32 before UTF-16, whose mark it begins with."""

POINTER = b"version https://git-lfs.github.com/spec/"
"""How the file begins that Git LFS leaves in place of one that was not fetched."""


def ending(name: str | Path) -> str:
    """The ending that says how a file is written, in lower case: `.csv` for `train.CSV` and for `train.csv.gz`."""
    path = Path(name)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def unread(name: str | Path, read: list[str]) -> str:
    """What to do about a file whose ending is not among those that are `read`."""
    known = did_you_mean(Path(name).suffix, read)
    return f"unpack it, or save it as .csv; {known}" if Path(name).suffix.lower() in PACKED else known


def stem(name: str | Path) -> str:
    """The name of a file without folder and endings: `train` of `data/train.csv.gz`."""
    name = Path(name).name
    written = ending(name)
    return name[: name.lower().rindex(written)] if written else name


def check_there(path: Path) -> None:
    """Raise `DataError` for a path that does not exist or is a folder."""
    if path.is_dir():
        raise DataError(f"`{path}` is a folder, not a file", hint="name a file, or set task.data to the folder")
    if path.exists() and not path.is_file():
        raise DataError(f"`{path}` is a pipe or a device, not a file", hint="write it into a file: it is read twice")
    if not path.exists():
        names = [file.name for file in path.parent.glob("[!.]*.*") if file.exists()] if path.parent.is_dir() else []
        near = sorted(names)
        raise DataError(f"there is no file `{path}`", hint=did_you_mean(path.name, near[:20]) if near else None)


def read_text(path: str | Path, encoding: str | None = None) -> str:
    """The whole file as text, without a byte order mark.

    Compression is recognised by the first bytes (.zst needs `pyarrow`). Without `encoding`, the text is in UTF-8 or
    what a byte order mark says. Raises `DataError` for a file that is absent, damaged or in another encoding,
    `ConfigError` for an encoding that Python does not know.
    """
    path = Path(path)
    check_there(path)
    return decoded(path, read_bytes(path), encoding)


def _refuse_other_things(path: Path, data: bytes) -> None:
    """Raise `DataError` for what a download leaves in place of data."""
    if data.startswith(POINTER):
        raise DataError(f"`{path}` is a pointer of Git LFS, not the file itself", hint="git lfs pull fetches it")
    if data[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"`{path}` is a web page", hint="download the file itself, e.g. by its link called `raw`")


def decoded(path: Path, data: bytes, encoding: str | None = None) -> str:
    """`data`, the bytes of `path`, as text; see `read_text`."""
    _refuse_other_things(path, data)
    wanted = encoding or next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(wanted)
    except LookupError:
        known = ["utf-8", "utf-16", "latin-1", "cp1252", "cp1251", "gb18030", "shift_jis", "euc-kr", "big5"]
        raise ConfigError(
            f"task.encoding is `{wanted}`, which is no encoding", hint=did_you_mean(wanted, known)
        ) from None
    except UnicodeDecodeError as error:
        raise _undecodable(path, data, error, guessed=encoding is None) from None
    _doubt_encoding(path, data, text, encoding)
    if encoding is None and wanted == "utf-8" and _is_wide(data):
        order = "be" if data[0] == 0 else "le"
        raise DataError(f"`{path}`: every other byte is 0, as in UTF-16", hint=f"task.encoding=utf-16-{order} reads it")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # old Mac spreadsheets end lines like this
    return text.removeprefix("\ufeff")


def read_bytes(path: Path) -> bytes:
    """The whole file, decompressed if its first bytes say that it is compressed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}") from None
    return expanded(path, data)


def expanded(path: Path, data: bytes) -> bytes:
    """`data`, the bytes of `path`, decompressed if its first bytes say that it is compressed."""
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"`{path}` is a zip archive or a spreadsheet", hint="unpack it, or save it as .csv")
    expand = next((expand for magic, expand in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if expand is None:
        return data
    try:
        return expand(path, data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"`{path}` cannot be decompressed: {reason}", hint="copy or download it again") from None


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Non-blank lines with their numbers; only a line feed ends a line, since texts may contain other separators."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \r"):  # only tabs: a row of empty cells
            yield number, line.removesuffix("\r")


def first_line(text: str) -> str:
    """The first line that is not blank; "" if there is none."""
    return next((line for _, line in numbered_lines(text)), "")


def _expand_zst(path: Path, data: bytes) -> bytes:
    with importing(f"reading `{path}` needs", extra="data", otherwise=", or unpack it"):
        import pyarrow
    with pyarrow.input_stream(pyarrow.BufferReader(data), compression="zstd") as stream:
        return stream.read()


DECOMPRESSORS: dict[bytes, Callable[[Path, bytes], bytes]] = {
    b"\x1f\x8b": lambda _, data: gzip.decompress(data),
    b"BZh": lambda _, data: bz2.decompress(data),
    b"\xfd7zXZ\x00": lambda _, data: lzma.decompress(data),
    b"\x28\xb5\x2f\xfd": _expand_zst,
}
"""The first bytes of what is compressed, and what undoes it."""


def _undecodable(path: Path, data: bytes, error: UnicodeDecodeError, *, guessed: bool) -> DataError:
    """Byte and line of the first byte that is not valid in the encoding."""
    line = data.count(b"\n", 0, error.start) + 1
    said = error.encoding.upper() if guessed else f"`{error.encoding}`, as task.encoding says"
    return DataError(
        f"`{path}`, line {line}: byte {error.start} (0x{data[error.start]:02x}) is not {said}",
        hint="task.encoding=cp1252 (Western Windows), latin-1 or another name says how the file is written"
        if guessed
        else "name another in task.encoding; without it a file is UTF-8, or what its byte order mark says",
    )


def _doubt_encoding(path: Path, data: bytes, text: str, encoding: str | None) -> None:
    """Notes what an encoding that accepts any bytes makes of text that may be written in another.

    Raises `DataError` for text in UTF-16 or UTF-32 that lacks the 0 byte which every line break has there.
    """
    if encoding is None or (data.isascii() and text.isascii()):
        return
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if wide and 0 not in data:
        raise DataError(f"`{path}` is not written in {encoding}, as task.encoding says", hint="leave it out")
    try:
        plain = data.decode()
    except UnicodeDecodeError:
        return
    if plain.removeprefix("\ufeff") != text.removeprefix("\ufeff") and not wide:
        warn(f"`{path}` can be read as UTF-8; task.encoding={encoding} makes other characters of it")


def _is_wide(data: bytes) -> bool:
    """Whether text is valid UTF-8 except for a 0 in every other byte: UTF-16 without a byte order mark."""
    start = data[:1000]
    return len(start) > 3 and 3 * start.count(0) >= len(start)
