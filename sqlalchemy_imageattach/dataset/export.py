"""Out of a dataset: an ImageFolder, a table, shards of WebDataset, or parquet.

All of it streams, and is whole or not there: each file is written under another name first.  Where single files are
written, doing it again writes those only that are missing, so an export that was killed goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from ..arguments import check_choice, check_range, check_type
from ..bulk.scratch import batches
from ..errors import DatasetError
from ..extras import needs_extra
from ..file import copy_chunks
from ..key import EXTENSIONS, extension_of
from ..paths import open_file
from .picking import Split
from .sample import Sample, is_text, source_key
from .stores.protocol import DatasetStore

__all__ = ["Form", "export"]

#: An ImageFolder of torchvision; a table of comma-separated values; shards of WebDataset; tables of parquet.
Form = Literal["folder", "csv", "webdataset", "parquet"]

_COLUMNS = ("label", "uri", "mimetype", "width", "height", "checksum", "page", "title", "licence", "fetched_at")


def export(
    dataset: DatasetStore,
    target: str | os.PathLike[str],
    form: Form = "folder",
    *,
    label: str | None = None,
    parts: Split | None = None,
    shard_size: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Afterwards ``target`` has the pictures of the dataset; it is made if it is not there.

    What an earlier export of the same parts has written there, and the dataset has no more, is removed: pictures whose
    names are the SHA-256 of what they hold, in the folders of labels, and further shards.  All else stays.  So each
    dataset has a directory of its own.

    ======================  ========================================================================================
    ``form``                what is written
    ======================  ========================================================================================
    ``"folder"``            ``<part>/<label>/<checksum>.jpg`` and so on, as torchvision's ``ImageFolder`` reads it, and
                            ``index.csv`` beside, which says where each picture comes from
    ``"csv"``               ``<part>.csv``: the same table alone, without pictures
    ``"webdataset"``        ``<part>-000000.tar`` …: ``<checksum>.jpg``, ``.cls`` (the label) and ``.json`` of each
    ``"parquet"``           ``<part>-000000.parquet`` …: the table, with the bytes in the column ``image``; by pyarrow
    ======================  ========================================================================================

    Without ``parts`` there is no folder for the part, and files are called ``all``.

    ::

        export(dataset, "fruit", parts=Split(train=0.8, test=0.2))

    :param dataset: such as a :class:`~sqlalchemy_imageattach.dataset.SQLAlchemyDataset`
    :param target: a directory
    :param form: what to write
    :param label: only the pictures of this label
    :param parts: which part each picture belongs to; those of no part are left out
    :param shard_size: how many pictures one file has, where files have several
    :param progress: is called with the number of pictures so far
    :return: how many pictures the export has
    :raises DatasetError: ``target`` has something else
    :raises MissingExtraError: pyarrow is not installed
    :raises OSError: the disk is full, or a picture cannot be read; what was written until then is whole
    """
    check_choice("form", form, ("folder", "csv", "webdataset", "parquet"))
    check_range("shard_size", check_type("shard_size", shard_size, int), "1 or more", 1)
    root = Path(target)
    if root.exists() and not root.is_dir():
        raise DatasetError(f"expected a directory to export into, but {os.fspath(root)!r} is a file")
    root.mkdir(parents=True, exist_ok=True)
    number = 0
    with ExitStack() as files:  # whole at its end, and gone if it is left by an exception
        writer = _WRITERS[form](root, shard_size, files)
        for sample in dataset.iterate(label):
            part = "all" if parts is None else parts.part_of(sample.checksum)
            if part is None:
                continue
            writer.write("" if parts is None and form == "folder" else part, sample)
            number += 1
            if progress is not None:
                progress(number)
        writer.close()
    names = ["all"] if parts is None else parts.names
    if form == "folder":
        _discard_pictures(dataset, root, label, parts, writer.labels)
        _discard_files([root / "index.csv"] if not number else [])
    elif form == "csv":
        _discard_files([root / f"{name}.csv" for name in names if name not in writer.written])
    else:
        for name in names:
            shards = (writer.path_of(name, each) for each in itertools.count(writer.written.get(name, 0)))
            _discard_files(itertools.takewhile(Path.exists, shards))
    return number


def _discard_files(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _discard_pictures(
    dataset: DatasetStore,
    root: Path,
    label: str | None,
    parts: Split | None,
    labels: Mapping[tuple[int, int], set[str]],
) -> None:
    for part in [""] if parts is None else parts.names:
        for directory in _directories(root / part):
            if not is_text(directory.name) or (label is not None and directory.name != label):
                continue
            names = {directory.name, *labels.get(_identity(directory), ())}
            for some in batches(filter(_is_picture, directory.iterdir())):
                stems = {path.stem for path in some}
                there = {each for name in names for each in dataset.has_content(name, stems)}
                there = {each for each in there if parts is None or parts.part_of(each) == part}
                _discard_files(path for path in some if path.stem not in there and _is_named_by_its_bytes(path))


def _directories(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()] if root.is_dir() else []


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _is_picture(path: Path) -> bool:
    return path.suffix in _SUFFIXES and bool(_CHECKSUM.fullmatch(path.stem)) and path.is_file()


def _is_named_by_its_bytes(path: Path) -> bool:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem  # type: ignore[arg-type]


#: The names of pictures in folders.
_CHECKSUM = re.compile(r"[0-9a-f]{64}")


def _record(sample: Sample) -> dict[str, Any]:
    provenance = sample.provenance
    fetched_at = None if provenance.fetched_at is None else provenance.fetched_at.isoformat()
    width, height = sample.size
    values = (sample.label, sample.uri, sample.mimetype, width, height, sample.checksum)
    return dict(
        zip(_COLUMNS, (*values, provenance.page, provenance.title, provenance.licence, fetched_at), strict=True)
    )


def _file_name(sample: Sample) -> str:
    return f"{sample.checksum}{_EXTENSIONS.get(sample.mimetype) or extension_of(sample.mimetype)}"


# what ImageFolder knows
_EXTENSIONS = {"image/jpeg": ".jpg", "image/tiff": ".tiff"}
_SUFFIXES = {*EXTENSIONS.values(), *_EXTENSIONS.values()}


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Within, a file is written that is ``path`` afterwards; it never is in part."""
    draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


class _Table:
    """Rows of comma-separated values, in one file for each part."""

    def __init__(self, root: Path, files: ExitStack, more: Iterable[str] = ()) -> None:
        self._root = root
        self._files = files
        self._columns = [*more, *_COLUMNS]
        self._tables: dict[str, csv.DictWriter[str]] = {}

    def write(self, name: str, row: dict[str, Any]) -> None:
        if name not in self._tables:
            file = self._files.enter_context(_whole(self._root / f"{name}.csv"))
            text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
            self._files.callback(text.detach)
            self._tables[name] = csv.DictWriter(text, self._columns)
            self._tables[name].writeheader()
        self._tables[name].writerow({key: _no_formula(value) for key, value in row.items()})


def _no_formula(value: object) -> object:
    # spreadsheets run what begins so, and titles are written by strangers
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


class _FolderWriter:
    def __init__(self, root: Path, _shard_size: int, files: ExitStack) -> None:
        self._root = root
        self._table = _Table(root, files, ["file"])
        self._made: set[tuple[str, str]] = set()
        #: Of each directory, by its identity: file systems may take two labels for one name, or give it back otherwise.
        self.labels: dict[tuple[int, int], set[str]] = {}

    def write(self, part: str, sample: Sample) -> None:
        directory = self._root / part / sample.label
        if (part, sample.label) not in self._made:
            directory.mkdir(parents=True, exist_ok=True)
            self.labels.setdefault(_identity(directory), set()).add(sample.label)
            self._made.add((part, sample.label))
        path = directory / _file_name(sample)
        if not path.exists():
            with sample.open() as source, _whole(path) as file:
                copy_chunks(source, file)
        self._table.write("index", {"file": path.relative_to(self._root).as_posix(), **_record(sample)})

    def close(self) -> None:
        """The tables end with the files."""


class _CsvWriter:
    def __init__(self, root: Path, _shard_size: int, files: ExitStack) -> None:
        self._table = _Table(root, files)
        self.written: set[str] = set()

    def write(self, part: str, sample: Sample) -> None:
        self._table.write(part, _record(sample))
        self.written.add(part)

    def close(self) -> None:
        """The tables end with the files."""


class _Shards:
    """Pictures in files of so many each, each file whole; those that are there already are passed over."""

    suffix = ""

    def __init__(self, root: Path, shard_size: int, _files: ExitStack) -> None:
        self._root = root
        self._size = shard_size
        self._waiting: dict[str, list[Sample]] = {}
        #: How many there are of each part.
        self.written: dict[str, int] = {}

    def write(self, part: str, sample: Sample) -> None:
        waiting = self._waiting.setdefault(part, [])
        waiting.append(sample)
        if len(waiting) == self._size:
            self._flush(part)

    def close(self) -> None:
        for part in list(self._waiting):
            self._flush(part)

    def _flush(self, part: str) -> None:
        samples = self._waiting.pop(part)
        number = self.written.get(part, 0)
        self.written[part] = number + 1
        path = self.path_of(part, number)
        if not (path.exists() and self._holds(path, samples)):
            with _whole(path) as file:
                self._fill(file, samples)

    def path_of(self, part: str, number: int) -> Path:
        return self._root / f"{part}-{number:06}{self.suffix}"

    def _holds(self, path: Path, samples: list[Sample]) -> bool:
        raise NotImplementedError

    def _fill(self, file: IO[bytes], samples: list[Sample]) -> None:
        raise NotImplementedError


class _TarWriter(_Shards):
    suffix = ".tar"

    def _holds(self, path: Path, samples: list[Sample]) -> bool:
        try:
            with tarfile.open(path) as archive:
                names = archive.getnames()
        except tarfile.TarError:
            return False
        return names == [name for sample in samples for name in self._names(sample)]

    def _fill(self, file: IO[bytes], samples: list[Sample]) -> None:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for sample in samples:
                picture, label, record = self._names(sample)
                self._add(archive, picture, sample.read())
                self._add(archive, label, sample.label.encode())
                self._add(archive, record, json.dumps(_record(sample)).encode())

    @staticmethod
    def _names(sample: Sample) -> tuple[str, str, str]:
        # by label and URI too: the same bytes may have two labels
        stem = f"{sample.checksum[:32]}-{_short(sample)}"
        extension = _file_name(sample)[len(sample.checksum) :]
        return f"{stem}{extension}", f"{stem}.cls", f"{stem}.json"

    @staticmethod
    def _add(archive: tarfile.TarFile, name: str, blob: bytes) -> None:
        member = tarfile.TarInfo(name)  # of no time and no owner: the same dataset gives the same bytes
        member.size = len(blob)
        archive.addfile(member, io.BytesIO(blob))


def _short(sample: Sample) -> str:

    return source_key(sample.label, sample.uri)[:16]


class _ParquetWriter(_Shards):
    suffix = ".parquet"

    def __init__(self, root: Path, shard_size: int, files: ExitStack) -> None:
        super().__init__(root, shard_size, files)
        with needs_extra("parquet", "parquet needs pyarrow"):
            import pyarrow
            import pyarrow.parquet
        self._pyarrow = pyarrow

    def _holds(self, path: Path, samples: list[Sample]) -> bool:
        try:
            table = self._pyarrow.parquet.read_table(path, columns=["label", "uri", "checksum"])
        except (OSError, ValueError):  # pyarrow's errors are these too
            return False
        there = list(zip(*(table[name].to_pylist() for name in ("label", "uri", "checksum")), strict=True))
        return there == [(sample.label, sample.uri, sample.checksum) for sample in samples]

    def _fill(self, file: IO[bytes], samples: list[Sample]) -> None:
        text, number = self._pyarrow.string(), self._pyarrow.int32()
        types = {name: number if name in {"width", "height"} else text for name in _COLUMNS}
        schema = self._pyarrow.schema([*types.items(), ("image", self._pyarrow.binary())])
        with self._pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for sample in samples:  # a group for each few, so that not all bytes are in memory at once
                row = {**_record(sample), "image": sample.read()}
                writer.write_table(self._pyarrow.Table.from_pylist([row], schema))


_WRITERS: dict[str, Callable[[Path, int, ExitStack], Any]] = {
    "folder": _FolderWriter,
    "csv": _CsvWriter,
    "webdataset": _TarWriter,
    "parquet": _ParquetWriter,
}
