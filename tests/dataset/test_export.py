from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.dataset import (
    DatasetError,
    DatasetStore,
    Provenance,
    Split,
    SQLAlchemyDataset,
    export,
    torch_dataset,
)
from sqlalchemy_imageattach.errors import InvalidValueError
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from .models import Fruit, picture, png

PARTS = Split(train=0.6, test=0.4)


@pytest.fixture
def filled(dataset: DatasetStore) -> DatasetStore:
    for number in range(12):
        title = "=cmd|'/c calc'!A0" if number == 3 else "An apple, «ripe»"
        dataset.add("Apple", f"u{number}", picture(number), Provenance(title=title))
    dataset.add("Pear", "u0", picture(0), Provenance())
    return dataset


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_folder_of_pictures_has_one_folder_a_label(filled: DatasetStore, tmp_path: Path) -> None:
    assert export(filled, tmp_path / "out") == 13
    names = files_of(tmp_path / "out")
    assert {f"Apple/{picture(n).content.checksum}.png" for n in range(12)} < names
    assert len(names) == 14
    rows = table(tmp_path / "out" / "index.csv")
    assert all((tmp_path / "out" / row["file"]).read_bytes() == png(int(row["uri"][1:])) for row in rows)
    assert {row["title"] for row in rows} == {"'=cmd|'/c calc'!A0", "An apple, «ripe»", ""}


def test_parts_are_folders_and_nothing_is_in_two(filled: DatasetStore, tmp_path: Path) -> None:
    export(filled, tmp_path, parts=PARTS)
    names = files_of(tmp_path) - {"index.csv"}
    assert {name.split("/")[0] for name in names} == {"train", "test"}
    assert (
        len(
            {name.rpartition("/")[2] for name in names if name.startswith("train")}
            & {name.rpartition("/")[2] for name in names if name.startswith("test")}
        )
        == 0
    )


def test_an_export_goes_on_where_it_was(filled: DatasetStore, tmp_path: Path) -> None:
    class Tired(Exception):
        pass

    def stop(number: int) -> None:
        if number == 5:
            raise Tired

    with pytest.raises(Tired):
        export(filled, tmp_path, progress=stop)
    assert len(files_of(tmp_path)) >= 5
    assert all(not name.endswith(".csv") for name in files_of(tmp_path)), "the table is there when it is whole"
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert export(filled, tmp_path) == 13
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert not [name for name in files_of(tmp_path) if name.endswith(".tmp")]


def test_a_picture_that_cannot_be_read_leaves_no_half_of_it(filled: DatasetStore, tmp_path: Path) -> None:
    class Broken:
        def iterate(self, label: str | None = None) -> Any:
            def fail() -> Any:
                raise OSError(28, "no space left on device")

            for number, sample in enumerate(filled.iterate(label)):
                yield sample if number < 3 else replace(sample, open=fail)

    with pytest.raises(OSError, match="no space left"):
        export(Broken(), tmp_path)  # type: ignore[arg-type]
    assert len(files_of(tmp_path)) == 3


def test_shards_have_so_many_pictures_each_with_label_and_record(filled: DatasetStore, tmp_path: Path) -> None:
    assert export(filled, tmp_path, "webdataset", shard_size=5) == 13
    assert sorted(files_of(tmp_path)) == ["all-000000.tar", "all-000001.tar", "all-000002.tar"]
    found = set()
    for path in sorted(tmp_path.iterdir()):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for image, label, record in zip(*[iter(members)] * 3, strict=True):
                stem = image.name.removesuffix(".png")
                assert (label.name, record.name) == (f"{stem}.cls", f"{stem}.json")
                known = json.loads(archive.extractfile(record).read())  # type: ignore[union-attr]
                assert archive.extractfile(image).read() == png(int(known["uri"][1:]))  # type: ignore[union-attr]
                assert archive.extractfile(label).read().decode() == known["label"]  # type: ignore[union-attr]
                found.add((known["label"], known["uri"]))
    assert len(found) == 13
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "all-000001.tar").write_bytes(before[tmp_path / "all-000001.tar"][:700])
    export(filled, tmp_path, "webdataset", shard_size=5)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_alone_has_no_pictures(filled: DatasetStore, tmp_path: Path) -> None:
    assert export(filled, tmp_path, "csv", label="Apple", parts=PARTS) == 12
    assert sorted(files_of(tmp_path)) == ["test.csv", "train.csv"]
    rows = [row for path in tmp_path.iterdir() for row in table(path)]
    assert {row["label"] for row in rows} == {"Apple"}
    assert {(row["width"], row["height"], row["mimetype"]) for row in rows} == {("8", "8", "image/png")}


def test_parquet_has_the_bytes_in_a_column(filled: DatasetStore, tmp_path: Path) -> None:
    from pyarrow import parquet

    assert export(filled, tmp_path, "parquet", shard_size=8) == 13
    rows = [row for path in sorted(tmp_path.iterdir()) for row in parquet.read_table(path).to_pylist()]
    assert [row["image"] for row in rows] == [sample.read() for sample in filled.iterate()]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    export(filled, tmp_path, "parquet", shard_size=8)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_file_is_no_target(filled: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DatasetError, match="is a file"):
        export(filled, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"
    with pytest.raises(InvalidValueError, match="form: expected one of"):
        export(filled, tmp_path, "zip")  # type: ignore[arg-type]


def test_pytorch_takes_pictures_and_the_numbers_of_their_labels(filled: DatasetStore, monkeypatch: Any) -> None:
    import sys
    import types

    # what is asked of PyTorch is one base class; it has 754 MB
    names = ("torch", "torch.utils", "torch.utils.data")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["torch.utils.data"].Dataset = object  # type: ignore[attr-defined]
    whole = torch_dataset(filled)
    assert (len(whole), whole.classes) == (13, ["Apple", "Pear"])
    made, number = whole[0]
    assert isinstance(made, Pillow.Image)
    assert (made.mode, number) == ("RGB", 0)
    train = torch_dataset(filled, part="train", parts=PARTS, transform=lambda image: image.size)
    test = torch_dataset(filled, part="test", parts=PARTS)
    assert len(train) + len(test) == 13
    assert train[0][0] == (8, 8)


def test_workers_of_pytorch_get_the_pictures_by_themselves(engine: Engine, tmp_path: Path, monkeypatch: Any) -> None:
    import sys
    import types

    for name in ("torch", "torch.utils", "torch.utils.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["torch.utils.data"].Dataset = object  # type: ignore[attr-defined]
    store = FileSystemStore(tmp_path, "https://images.example/")
    dataset = SQLAlchemyDataset(sessionmaker(engine), Fruit, store)
    for number in range(3):
        dataset.add("Apple", str(number), picture(number), Provenance())
    whole = torch_dataset(dataset, transform=Pillow.Image.tobytes)
    # a worker that is not forked is a new process, which gets it by pickle
    there = pickle.loads(pickle.dumps(whole))
    assert (len(there), there.classes) == (3, ["Apple"])
    assert [there[n] for n in range(3)] == [whole[n] for n in range(3)]


def test_without_pytorch_it_is_said_what_to_install(filled: DatasetStore, monkeypatch: Any) -> None:
    import sys

    from sqlalchemy_imageattach.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(MissingExtraError, match="pip install torch"):
        torch_dataset(filled)


@pytest.mark.parametrize("parts", [None, PARTS], ids=["all", "parts"])
@pytest.mark.parametrize("form", ["folder", "csv", "webdataset", "parquet"])
def test_what_is_no_longer_in_the_dataset_is_not_in_the_next_export(
    filled: DatasetStore, tmp_path: Path, form: Any, parts: Split | None
) -> None:
    export(filled, tmp_path / "again", form, parts=parts, shard_size=2)
    for sample in list(filled.iterate("Apple"))[3:]:
        filled.remove("Apple", sample.uri)
    number = export(filled, tmp_path / "again", form, parts=parts, shard_size=2)
    assert export(filled, tmp_path / "anew", form, parts=parts, shard_size=2) == number == 4
    assert files_of(tmp_path / "again") == files_of(tmp_path / "anew")


def test_only_what_an_export_has_written_is_removed_by_another(filled: DatasetStore, tmp_path: Path) -> None:
    export(filled, tmp_path)
    export(filled, tmp_path, "webdataset", shard_size=5)
    mine = ["README", "Apple/notes.txt", f"Apple/{'0' * 64}.png", "all-000099.tar", "Cherry/1.png", "all.csv"]
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    pear = files_of(tmp_path / "Pear")
    for sample in list(filled.iterate()):
        filled.remove(sample.label, sample.uri)
    assert export(filled, tmp_path, label="Apple") == 0
    assert not (tmp_path / "index.csv").exists()
    assert files_of(tmp_path / "Apple") == {"notes.txt", f"{'0' * 64}.png"}
    assert files_of(tmp_path / "Pear") == pear, "of another label than the one that was exported"
    assert export(filled, tmp_path, "webdataset") == 0
    assert set(mine) <= files_of(tmp_path)
    assert not (tmp_path / "all-000000.tar").exists()


def test_two_labels_that_are_one_directory_keep_the_pictures_of_both(filled: DatasetStore, tmp_path: Path) -> None:
    filled.add("apple", "small", picture(40), Provenance())
    (tmp_path / "Apple").mkdir()
    (tmp_path / "apple").symlink_to("Apple")  # as it is where case makes no difference
    assert export(filled, tmp_path) == 14
    assert files_of(tmp_path / "Apple") == {f"{picture(n).content.checksum}.png" for n in (*range(12), 40)}


def test_what_merely_looks_like_a_picture_of_an_export_stays_and_is_no_error(
    filled: DatasetStore, tmp_path: Path
) -> None:
    layer = tmp_path / "sha256" / hashlib.sha256(b"layer").hexdigest()  # as container images have theirs
    strange = tmp_path / "Apple" / ("1" * 64)
    dangling = tmp_path / "Apple" / f"{'2' * 64}.png"
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")) / layer.with_suffix(".png").name
    layer.parent.mkdir()
    layer.write_bytes(b"layer")
    strange.mkdir(parents=True)
    dangling.symlink_to("nowhere")
    foreign.parent.mkdir()
    foreign.write_bytes(b"layer")
    assert export(filled, tmp_path) == 13
    assert layer.exists()
    assert strange.is_dir()
    assert dangling.is_symlink()
    assert foreign.exists()
