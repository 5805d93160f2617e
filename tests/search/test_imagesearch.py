"""The documented use of Flask-Image-Search, with the real Flask and Flask-SQLAlchemy; and the faults that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from sqlalchemy_imageattach.errors import EmptyIndexError, InvalidValueError, MissingIndexError, RejectedImageError
from sqlalchemy_imageattach.search import ExtractorInfo, ImageSearch, IndexResult, TinyExtractor

from .support import Counting, picture

COLORS = ["red", "darkred", "blue", "green", "navy"]


class Site:
    """An application with the models of the manual."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.app = Flask(__name__, root_path=str(directory))
        self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{directory}/site.db"
        self.db = db = SQLAlchemy(self.app)
        self.extractor = Counting()
        self.search = ImageSearch(self.app, **{"extractor": self.extractor, **options})

        class Animals(db.Model):  # type: ignore[name-defined]
            id = db.Column(db.Integer, primary_key=True)
            name = db.Column(db.Text)
            images = db.relationship("Image")

        @self.search.register()
        class Image(db.Model):  # type: ignore[name-defined]
            id = db.Column(db.Integer, primary_key=True)
            path = db.Column(db.Text)
            note = db.Column(db.Text)
            ignore = db.Column(db.Boolean)
            animal_id = db.Column(db.Integer, db.ForeignKey("animals.id"))
            distance = db.query_expression()

        self.Animals: Any = Animals
        self.Image: Any = Image

    def fill(self) -> None:
        self.db.create_all()
        for number, color in enumerate(COLORS, 1):
            self.write(f"{color}.png", color)
            self.db.session.add(self.Animals(id=number, images=[self.Image(id=number, path=f"{color}.png")]))
        self.db.session.commit()

    def write(self, name: str, color: Any) -> str:
        (self.directory / name).write_bytes(picture(color))
        return name

    def ids(self, query: Any) -> list[int]:
        return [each.id for each in query]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.app.app_context():
        made.fill()
        yield made
        made.db.session.remove()
        made.db.engine.dispose()


# --- the manual ------------------------------------------------------------------------------------------------------


def test_basic_query(site: Site) -> None:
    near = site.search.case("./blue.png", site.Image)
    assert site.ids(site.Image.query.order_by(near).all())[:2] == [3, 5]


def test_join_query(site: Site) -> None:
    near = site.search.case("blue.png", site.Image)
    query = site.Animals.query.join(site.Animals.images).options(site.db.contains_eager(site.Animals.images))
    assert site.ids(query.order_by(near))[:2] == [3, 5]


def test_query_with_distance(site: Site) -> None:
    near = site.search.case("blue.png", site.Image).label("distance")
    query = site.Image.query.options(site.db.with_expression(site.Image.distance, near)).order_by("distance")
    images = query.all()
    assert site.ids(images)[:2] == [3, 5]
    assert images[0].distance == pytest.approx(0, abs=1e-6)
    assert sorted(image.distance for image in images) == [image.distance for image in images]


def test_the_factory_of_applications(tmp_path: Path) -> None:
    db, search = SQLAlchemy(), ImageSearch(extractor=TinyExtractor())

    @search.register(id="uid", path="url", ignore="exclude")
    class Image(db.Model):  # type: ignore[name-defined]
        uid = db.Column(db.Integer, primary_key=True)
        url = db.Column(db.Text)
        exclude = db.Column(db.Boolean)

    app = Flask(__name__, root_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/site.db"
    with pytest.raises(InvalidValueError, match="db.init_app"):
        search.init_app(app)
    db.init_app(app)
    search.init_app(app)
    (tmp_path / "red.png").write_bytes(picture("red"))
    with app.app_context():
        db.create_all()
        db.session.add_all([Image(uid=7, url="red.png"), Image(uid=8, url="red.png", exclude=True)])
        db.session.commit()
        near = search.case("red.png", Image)
        assert [row.uid for row in Image.query.where(near < 0.1)] == [7]
        db.session.remove()
        db.engine.dispose()


def test_a_path_can_be_a_property(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    search = ImageSearch(extractor=TinyExtractor(), bind=create_engine("sqlite://"))

    @search.register()
    class Photo(Base):
        __tablename__ = "photo"
        id: Mapped[int] = mapped_column(primary_key=True)
        url: Mapped[str]
        note: Mapped[str] = mapped_column(default="")

        @property
        def path(self) -> str:
            return str(tmp_path / self.url)

    (tmp_path / "a.png").write_bytes(picture("red"))
    (tmp_path / "b.png").write_bytes(picture("blue"))
    with Session(search._bind) as session:
        Base.metadata.create_all(session.connection())
        photo = Photo(url="a.png")
        session.add(photo)
        session.commit()
        photo.url = "b.png"
        session.commit()
        near = search.case(tmp_path / "b.png", Photo)
        assert session.scalar(select(near)) == pytest.approx(0, abs=1e-6)
        with pytest.raises(MissingIndexError, match="register"):
            search.case(picture(), Base)
    search._bind.dispose()  # type: ignore[union-attr]


def test_a_path_can_be_of_a_type_that_stores_it_otherwise(tmp_path: Path) -> None:
    class Below(TypeDecorator[Path]):
        impl = String(100)
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return None if value is None else str(value.relative_to(tmp_path))

        def process_result_value(self, value: Any, dialect: Any) -> Any:
            return None if value is None else tmp_path / value

    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    search = ImageSearch(extractor=TinyExtractor(), bind=engine)

    @search.register()
    class Photo(Base):
        __tablename__ = "photo"
        id: Mapped[int] = mapped_column(primary_key=True)
        path: Mapped[Path] = mapped_column(Below())

    (tmp_path / "a.png").write_bytes(picture("red"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Photo(path=tmp_path / "a.png"))
        session.commit()
        assert session.scalar(select(search.case(picture("red"), Photo))) == pytest.approx(0, abs=1e-6)
    assert search.index_model(Photo, threaded=False).present == 1
    engine.dispose()


def test_several_columns_of_pictures_have_an_index_each(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    search = ImageSearch(extractor=TinyExtractor(), bind=engine)

    @search.register(path="front")
    @search.register(path="back")
    class Card(Base):
        __tablename__ = "card"
        id: Mapped[int] = mapped_column(primary_key=True)
        front: Mapped[str]
        back: Mapped[str]

    for name in ("red", "blue"):
        (tmp_path / name).write_bytes(picture(name))
    with Session(engine) as session:
        Base.metadata.create_all(session.connection())
        session.add(Card(id=1, front=str(tmp_path / "red"), back=str(tmp_path / "blue")))
        session.commit()
        front, back = (search.case(picture("red"), Card, path=path) for path in ("front", "back"))
        assert session.execute(select(front < 0.1, back < 0.1)).one() == (True, False)
        with pytest.raises(InvalidValueError, match="'back'.*'front'"):
            search.case(picture("red"), Card)
    engine.dispose()


def test_one_image_and_all_images_can_be_indexed_and_deleted(site: Site) -> None:
    image = site.db.session.get_one(site.Image, 1)
    site.search.delete(image)
    near = site.search.case("red.png", site.Image)
    assert site.ids(site.Image.query.order_by(near))[-1] == 1
    assert site.search.index(image)
    assert site.ids(site.Image.query.order_by(near))[0] == 1
    site.db.session.commit()
    site.search.delete(site.Image)
    with pytest.raises(EmptyIndexError):
        site.Image.query.order_by(near).all()
    site.db.session.rollback()
    result = site.search.index_model(site.Image).result()
    assert (result.indexed, result.ok) == (5, True)
    assert site.ids(site.Image.query.order_by(near))[0] == 1


def test_index_model_makes_the_table_of_an_application_that_has_none(site: Site) -> None:
    site.search.embeddings(site.Image).table.drop(site.db.engine)
    with pytest.raises(MissingIndexError, match="create_all"):
        site.Image.query.order_by(site.search.case("red.png", site.Image)).all()
    site.db.session.rollback()
    assert site.search.index_model(site.Image, threaded=False).indexed == 5


def test_the_index_follows_rows_that_are_changed_ignored_and_deleted(site: Site) -> None:
    near = site.search.case("navy.png", site.Image)
    image = site.db.session.get_one(site.Image, 1)
    image.path = site.write("other.png", "navy")
    site.db.session.commit()
    assert set(site.ids(site.Image.query.where(near < 1e-3))) == {1, 5}
    image.ignore = True
    site.db.session.commit()
    assert site.ids(site.Image.query.where(near < 1e-3)) == [5]
    site.db.session.delete(site.db.session.get(site.Image, 5))
    site.db.session.commit()
    table = site.search.embeddings(site.Image).table
    assert site.db.session.scalar(select(func.count()).select_from(table)) == 3


def test_the_model_can_be_one_of_keras(tmp_path: Path) -> None:
    class Model:
        input_shape, output_shape = (None, 2, 2, 3), (None, 12)

        def predict(self, batch: Any) -> Any:
            return np.asarray(batch).reshape(len(batch), -1)

    class MyImageSearch(ImageSearch):
        @staticmethod
        def create_keras_model() -> Any:
            return Model()

        @staticmethod
        def preprocess_image_array(image_array: Any) -> Any:
            return image_array - 127.5

    site = Site(tmp_path, extractor=None)
    search = MyImageSearch(site.app)
    assert search.extractor.describe() == ExtractorInfo("keras-MyImageSearch", "1", 12)
    blue, red = (search.extractor.extract([search.extractor.prepare(_opened(color))]) for color in ("blue", "red"))
    assert not np.allclose(blue, red)


def test_without_tensorflow_no_model_is_loaded(tmp_path: Path) -> None:
    site = Site(tmp_path, extractor=None, tensorflow=False)
    assert site.search.extractor.describe().name == "tiny"


def _opened(color: str) -> Any:
    from PIL import Image as Pillow

    return Pillow.new("RGB", (8, 8), color)


# --- the faults of Flask-Image-Search 2.0.0rc1, none of which may come back ------------------------------------------


def test_names_of_extractors_are_no_names_of_tables(tmp_path: Path) -> None:
    class Hyphenated(TinyExtractor):
        def describe(self) -> ExtractorInfo:
            return ExtractorInfo("vgg16-fc1; --'\"", "1", 48)

    site = Site(tmp_path, extractor=Hyphenated())
    with site.app.app_context():
        site.fill()
        assert site.ids(site.Image.query.order_by(site.search.case("blue.png", site.Image)))[0] == 3
        site.db.session.remove()
        site.db.engine.dispose()


def test_a_limit_changes_no_distance(site: Site) -> None:
    with_limit, without = (site.search.case("blue.png", site.Image, limit=limit) for limit in (1, None))
    rows = site.db.session.execute(select(with_limit, without).select_from(site.Image)).all()
    assert all(first == second for first, second in rows)


def test_a_limit_does_not_come_before_a_filter(site: Site) -> None:
    near = site.search.case("blue.png", site.Image, limit=1)
    found = site.Image.query.where(site.Image.id.in_([1, 2, 4])).order_by(near)
    rows = site.db.session.execute(select(near).select_from(site.Image).where(site.Image.id.in_([1, 2, 4])))
    assert all(row[0] < 2 for row in rows)
    assert len(site.ids(found)) == 3


def test_two_cases_in_one_query_are_two(site: Site) -> None:
    red, blue = (site.search.case(f"{name}.png", site.Image) for name in ("red", "blue"))
    rows = site.db.session.execute(select(site.Image.id, red, blue)).all()
    assert [row[0] for row in rows if row[1] < 1e-3] == [1]
    assert [row[0] for row in rows if row[2] < 1e-3] == [3]


def test_a_statement_does_not_grow_with_the_rows(site: Site) -> None:
    sent: list[str] = []
    event.listen(site.db.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    near = site.search.case("blue.png", site.Image)
    site.Image.query.order_by(near).all()
    length = max(map(len, sent))
    site.db.session.add_all([site.Image(id=number, path="red.png") for number in range(100, 160)])
    site.db.session.commit()
    sent.clear()
    site.Image.query.order_by(near).all()
    assert max(map(len, sent)) == length


def test_a_missing_file_does_not_abort_the_insert(site: Site) -> None:
    site.db.session.add(site.Image(id=99, path="nowhere.png"))
    (site.directory / "broken.png").write_bytes(b"no picture")
    site.db.session.add(site.Image(id=98, path="broken.png"))
    site.db.session.commit()
    assert site.db.session.get(site.Image, 99) is not None
    result = site.search.index_model(site.Image, threaded=False)
    assert sorted(failure.identity for failure in result.failures) == [(98,), (99,)]


def test_a_missing_file_aborts_it_where_it_is_to(tmp_path: Path) -> None:
    site = Site(tmp_path, unreadable="refuse")
    with site.app.app_context():
        site.db.create_all()
        site.db.session.add(site.Image(id=99, path="nowhere.png"))
        with pytest.raises(RejectedImageError, match="nowhere.png"):
            site.db.session.commit()
        site.db.session.remove()
        site.db.engine.dispose()


def test_an_update_of_another_column_extracts_nothing(site: Site) -> None:
    site.extractor.count = 0
    site.db.session.get_one(site.Image, 1).note = "changed"
    site.db.session.commit()
    assert site.extractor.count == 0


def test_keys_need_not_be_one_integer(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    search = ImageSearch(extractor=TinyExtractor(), bind=engine)

    @search.register()
    class Photo(Base):
        __tablename__ = "photo"
        album: Mapped[str] = mapped_column(primary_key=True)
        number: Mapped[int] = mapped_column(primary_key=True)
        path: Mapped[str]

    (tmp_path / "red.png").write_bytes(picture("red"))
    with Session(engine) as session:
        Base.metadata.create_all(session.connection())
        session.add_all([Photo(album=each, number=1, path=str(tmp_path / "red.png")) for each in ("a", "b")])
        session.commit()
        near = search.case(picture("red"), Photo)
        assert session.scalars(select(Photo.album).where(near < 0.1).order_by(Photo.album)).all() == ["a", "b"]
    engine.dispose()


def test_rows_that_statements_change_or_delete_are_not_found_by_what_they_were(site: Site) -> None:
    site.write("other.png", "yellow")
    near = site.search.case("red.png", site.Image)
    site.Image.query.where(site.Image.id == 1).update({"path": "other.png"})
    site.Image.query.where(site.Image.id == 2).delete()
    site.db.session.commit()
    assert 1 not in site.ids(site.Image.query.where(near < 0.5))
    result = site.search.index_model(site.Image, threaded=False)
    assert result.indexed == 1


def test_threads_of_the_process_are_left_as_they_are() -> None:
    from sqlalchemy_imageattach.search import EfficientNetLite0

    with pytest.raises(InvalidValueError, match="1 or more"):
        EfficientNetLite0(threads=0)


def test_progress_is_told_and_can_be_read(site: Site) -> None:
    seen: list[IndexResult] = []
    site.search.index_model(site.Image, replace=True, threaded=False, progress=seen.append)
    assert seen[-1].examined == 5


def test_an_object_of_the_class_can_be_searched_by(site: Site) -> None:
    near = site.search.case(site.db.session.get(site.Image, 3), site.Image)
    assert site.ids(site.Image.query.where(site.Image.id != 3).order_by(near))[0] == 5


def test_a_model_that_is_registered_twice_is_refused(site: Site) -> None:
    with pytest.raises(InvalidValueError, match="not registered"):
        site.search.register()(site.Image)
