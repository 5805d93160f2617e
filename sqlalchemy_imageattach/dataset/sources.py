"""Where pictures of a dataset are found: each source gives a :class:`~sqlalchemy_imageattach.dataset.Candidate` a time.

A source is any iterable of candidates; these are the usual ones.  None of them looks at a picture, and none scrapes.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..arguments import check_type, wrong_type, wrong_value
from ..errors import DatasetError
from ..extras import needs_extra
from ..paths import open_file
from .sample import Candidate, Provenance

__all__ = ["from_csv", "from_folder", "from_json_lines", "from_serpapi", "from_urls", "search_serpapi"]

_T = TypeVar("_T")

_COLUMNS = ("uri", "label", "page", "title", "licence")


def from_urls(urls: Iterable[str]) -> Iterator[Candidate]:
    """Pictures by their URLs, such as the lines of a file; empty lines and those that begin with ``#`` are left out.

    >>> [each.uri for each in from_urls(["https://example.com/1.jpg", "", "# more"])]
    ['https://example.com/1.jpg']

    :raises InvalidTypeError: ``urls`` is a single string, or one of them is none
    """
    if isinstance(urls, str | bytes):
        raise wrong_type("urls", urls, "an iterable of URLs", "[url]")
    return _from_urls(urls)


def _from_urls(urls: Iterable[str]) -> Iterator[Candidate]:
    for _, url in _lines(urls):
        text = check_type("url", url, str).strip()
        if text and not text.startswith("#"):
            yield Candidate(text)


def _lines(file: Iterable[_T]) -> Iterator[tuple[int, _T]]:
    """The numbers and lines of ``file``, without the mark that programs of Windows begin a file of UTF-8 with."""
    lines, number = iter(file), 0
    while True:
        number += 1
        try:
            line = next(lines)
        except StopIteration:
            return
        except UnicodeDecodeError as error:  # of some line of the next few kilobytes
            msg = (
                f"line {number}, or one soon after: expected text in {error.encoding} ({error}); open() takes encoding="
            )
            raise DatasetError(msg) from error
        yield number, line.removeprefix("\ufeff") if isinstance(line, str) and number == 1 else line  # type: ignore[misc]


def _check_file(file: object) -> None:
    if isinstance(file, str | bytes | Mapping) or not hasattr(file, "__iter__"):
        raise wrong_type("file", file, "lines of text, as an open file has them", "open(path, encoding='utf-8')")


def from_serpapi(response: Mapping[str, Any]) -> Iterator[Candidate]:
    """What SerpApi has found, from the JSON of its answer; saved ones will do.

    >>> answer = {"images_results": [{"original": "https://example.com/1.jpg", "title": "An apple"}]}
    >>> [(each.uri, each.provenance.title) for each in from_serpapi(answer)]
    [('https://example.com/1.jpg', 'An apple')]

    :param response: the answer of its engines for images; results without an ``original`` are left out
    :raises DatasetError: it says that the search failed, or has no results to look at
    """
    if not isinstance(response, Mapping):
        raise wrong_type("response", response, "the JSON object of an answer", "json.loads() a saved one first")
    if "error" in response and "images_results" not in response:
        raise DatasetError(f"SerpApi says: {response['error']}")
    results = response.get("images_results")
    if not isinstance(results, list):
        msg = f"expected images_results in the answer of SerpApi, got only {', '.join(map(str, response)) or 'nothing'}"
        raise DatasetError(msg)
    return _from_results(results)


def _from_results(results: list[Any]) -> Iterator[Candidate]:
    for result in results:
        original = result.get("original") if isinstance(result, Mapping) else None
        if isinstance(original, str) and original:
            thumbnail = result.get("thumbnail")
            alternatives = (thumbnail,) if isinstance(thumbnail, str) and thumbnail.startswith("http") else ()
            provenance = Provenance(
                page=_text(result.get("link")), title=_text(result.get("title")), licence=_text(result.get("license"))
            )
            yield Candidate(original, provenance, alternatives)


def search_serpapi(query: str, api_key: str, **parameters: str) -> Iterator[Candidate]:
    """Ask SerpApi for pictures, by its own client: ``pip install 'SQLAlchemy-ImageAttach[serpapi]'``.

    ::

        collect(session, search_serpapi("apple", api_key), "Apple", into=Fruit)

    :param query: what to look for
    :param api_key: that of your account
    :param parameters: further ones of its engine, such as ``google_domain``, ``num`` or ``ijn``
    :raises MissingExtraError: the client is not installed
    :raises DatasetError: the search failed
    """
    with needs_extra("serpapi", "search_serpapi() needs SerpApi's client"):
        import serpapi
    asked = {"engine": "google_images", **parameters, "q": query}
    try:
        answer = serpapi.Client(api_key=api_key).search(asked)
    except Exception as error:  # of the client or of what it asks with; its text may have the key
        raise DatasetError(f"SerpApi could not be asked ({type(error).__name__})") from None
    return from_serpapi(dict(answer))


def from_folder(root: str | os.PathLike[str], *, labels: bool = False) -> Iterator[Candidate]:
    """The files of a folder and those below it, in the order of their names; what they are is for the collector to see.

    ::

        collect(session, from_folder("fruit", labels=True), into=Fruit)      # fruit/Apple/1.jpg, fruit/Pear/2.jpg …

    :param root: the folder
    :param labels: whether each picture's label is the name of the folder below ``root`` that it is in
    :raises DatasetError: there is no such folder
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DatasetError(f"expected a folder of pictures, but there is none at {os.fspath(root)!r}")
    return _from_folder(folder, labels)


def _from_folder(root: Path, labels: bool) -> Iterator[Candidate]:
    for directory, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(directory, name)
            relative = path.relative_to(root)
            if name.startswith(".") or path.is_symlink() or (labels and len(relative.parts) < 2):
                continue
            label = relative.parts[0] if labels else None
            # a name that is not UTF-8 has bytes that no database takes
            uri = relative.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            yield Candidate(uri, open=partial(open_file, path), label=label)


def from_csv(file: Iterable[str]) -> Iterator[Candidate]:
    """Pictures by a table with the columns ``uri`` and, if it has them, ``label``, ``page``, ``title``, ``licence``.

    >>> [(each.uri, each.label) for each in from_csv(["uri,label", "https://example.com/1.jpg,Apple"])]
    [('https://example.com/1.jpg', 'Apple')]

    :param file: lines of text, as an open file has them
    :raises InvalidTypeError: ``file`` is no file that is open, or not as text
    :raises DatasetError: there is no column ``uri``, a line has none, or a quote is not closed
    """
    _check_file(file)
    # strict, as a quote that is never closed would swallow what follows
    reader = csv.reader((check_type("line", line, str) for _, line in _lines(file)), strict=True)
    names = [name.strip().lower() for name in _row(reader) or ()]
    if "uri" not in names:
        raise DatasetError(f"expected a first line with the column uri, got {', '.join(names) or 'nothing'}")
    return _from_records(_rows(reader, names))


def _row(reader: Any) -> list[str] | None:
    number = reader.line_num + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        raise DatasetError(f"line {number}: expected comma-separated values ({error})") from error


def _rows(reader: Any, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    while (row := _row(reader)) is not None:
        if any(row):  # spreadsheets write lines of commas alone
            yield reader.line_num, dict(zip(names, row, strict=False))


def from_json_lines(file: Iterable[str]) -> Iterator[Candidate]:
    """Pictures by one JSON object a line, with the keys that :func:`from_csv` has as columns.

    :raises InvalidTypeError: ``file`` is no file that is open
    :raises DatasetError: a line is no object, has no ``uri``, or a label that is no text
    """
    _check_file(file)
    return _from_records(_objects(file))


def _objects(file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(file):
        check_type("line", line, (str, bytes))
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"line {number}: expected a JSON object, got {line[:40]!r} ({error})") from error
        if not isinstance(found, dict):
            raise DatasetError(f"line {number}: expected a JSON object, got {line[:40]!r}")
        yield number, found


def _from_records(records: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Candidate]:
    for number, record in records:
        values = {name: _text(record.get(name)) for name in _COLUMNS}
        uri, label = values["uri"], record.get("label")
        if not uri:
            raise DatasetError(f"line {number}: expected a uri, got {dict(record)!r}")
        if label is not None and not isinstance(label, str):  # 3 and "3" may be two labels, or one
            raise DatasetError(f"line {number}: expected a label that is text, got {label!r}")
        provenance = Provenance(page=values["page"], title=values["title"], licence=values["licence"])
        yield Candidate(uri, provenance, label=values["label"])


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def check_source(source: object) -> Iterator[Candidate]:
    """``source`` as an iterator.

    :raises InvalidTypeError: it is none that gives candidates
    """
    if isinstance(source, str | bytes | Mapping) or not hasattr(source, "__iter__"):
        raise wrong_type("source", source, "an iterable of candidates", "from_urls(), from_folder() … make some")
    return _checked(source)


def _checked(source: Iterable[object]) -> Iterator[Candidate]:
    for each in source:
        if isinstance(each, str):
            raise wrong_value("source", each, "candidates", "from_urls() makes them of URLs")
        yield check_type("source", each, Candidate)
