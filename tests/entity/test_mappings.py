"""Every way of declaring, through the whole life of a picture."""

from __future__ import annotations

import importlib
import pkgutil
import uuid
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    configure_mappers,
    joinedload,
    mapped_column,
    selectinload,
    subqueryload,
)

from sqlalchemy_imageattach.entity import Image, ImageSet, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.store import key_of

from . import mappings
from .support import CountingStore, color_of, database, picture

NAMES = [module.name for module in pkgutil.iter_modules(mappings.__path__) if module.name != "across_modules"]


@pytest.fixture(params=NAMES)
def mapping(request: pytest.FixtureRequest) -> ModuleType:
    module = importlib.import_module(f".mappings.{request.param}", __package__)
    configure_mappers()
    return module


def the_picture(mapping: ModuleType, owner: Any) -> Any:
    image_set = owner.picture
    return image_set.get_image_set(**mapping.CHOICE) if hasattr(mapping, "CHOICE") else image_set


def rows_and_blobs(session: Session, mapping: ModuleType, store: CountingStore) -> tuple[Any, Any]:
    rows = session.scalars(select(mapping.Picture)).all()
    return {key_of(row) for row in rows}, set(store.blobs)


def test_a_picture_lives_its_life_in_every_way_of_declaring(mapping: ModuleType, context: CountingStore) -> None:
    with database(mapping.metadata) as engine:
        owner = mapping.Owner()
        assert not owner.picture
        the_picture(mapping, owner).from_blob(picture(60, 40, "red"))
        the_picture(mapping, owner).generate_thumbnail(width=30)
        assert not context.blobs
        with Session(engine, expire_on_commit=False) as session:
            session.add(owner)
            session.commit()
            identity = session.identity_key(instance=owner)[1]

        # found again by another session, in each way of loading
        for strategy in (selectinload, joinedload, subqueryload):
            with Session(engine) as session:
                statement = select(mapping.Owner).options(strategy(mapping.Owner.picture))
                (owner,) = session.scalars(statement).unique().all()
                image_set = the_picture(mapping, owner)
                assert image_set.size == (60, 40)
                assert image_set.find_thumbnail(width=30).size == (30, 20)
                assert color_of(image_set.make_blob()) == (255, 0, 0)

        with Session(engine) as session:
            owner = session.get_one(mapping.Owner, identity)
            assert the_picture(mapping, owner).filter_by(original=False).one().width == 30
            # a thumbnail is replaced, and another one added
            the_picture(mapping, owner).generate_thumbnails([{"width": 30}, {"width": 15}])
            session.commit()
            assert len(owner.picture) == 3
            rows, blobs = rows_and_blobs(session, mapping, context)
            assert rows == blobs
            # the picture is replaced by one of the same size, whereupon the thumbnails go
            the_picture(mapping, owner).from_blob(picture(60, 40, "blue"))
            session.commit()
            (image,) = owner.picture
            assert image.original
            assert color_of(image.make_blob()) == (0, 0, 255)
            assert session.scalars(select(mapping.Picture).where(mapping.Picture.size == (60, 40))).one() is image
            rows, blobs = rows_and_blobs(session, mapping, context)
            assert rows == blobs
            assert len(blobs) == 1
            # rolled back
            the_picture(mapping, owner).from_blob(picture(20, 20))
            session.flush()
            assert len(context) == 2
            session.rollback()
            assert set(context.blobs) == blobs
            # and deleted
            session.delete(owner)
            session.commit()
            assert rows_and_blobs(session, mapping, context) == (set(), set())


def test_all_of_the_modules_are_tried() -> None:
    assert len(NAMES) >= 20


@pytest.mark.parametrize(
    ("name", "object_type", "object_id"),
    [
        ("in_2016", "user-picture", 1),
        ("renamed", "user-picture", 1_000_001),
        ("tables_in_schema", "user-picture", 1),
        ("joined_pictures", "portrait", 1),
        ("uuid_keys", "user-picture", 0x12345678123456781234567812345678),
        ("single_table_pictures", "picture", None),
        ("composite_keys", "issue-page", None),
    ],
)
def test_the_names_that_stores_know_a_picture_by(name: str, object_type: str, object_id: int | None) -> None:
    mapping = importlib.import_module(f".mappings.{name}", __package__)
    store = CountingStore()
    owner = mapping.Owner()
    if name == "uuid_keys":
        owner.id = uuid.UUID("12345678-1234-5678-1234-567812345678")
    the_picture(mapping, owner).from_blob(picture(), store=store)
    with database(mapping.metadata) as engine, Session(engine) as session:
        session.add(owner)
        session.commit()
        image = the_picture(mapping, owner).original
        assert image.object_type == object_type
        if object_id is None:  # hashed: two pictures of two keys never share it
            assert 0 <= image.object_id < 2**128
        else:
            assert image.object_id == object_id
        (key,) = store.blobs
        assert (key.object_type, key.object_id) == (image.object_type, image.object_id)


def test_hashed_identifiers_never_depend_on_the_process() -> None:
    mapping = importlib.import_module(".mappings.composite_keys", __package__)
    image = mapping.Picture(title="Le Monde", number=-7, label="front / “Vorderseite”")
    assert image.object_id == 324736690408369270730375309961804902237
    others = [
        mapping.Picture(title="Le Monde", number=7, label="front / “Vorderseite”"),
        mapping.Picture(title="Le Monde-", number=7, label="front / “Vorderseite”"),
        mapping.Picture(title="Le Mond", number=-7, label="efront / “Vorderseite”"),
    ]
    assert len({image.object_id, *(other.object_id for other in others)}) == 4


def test_every_type_of_key_that_is_hashed_counts() -> None:
    mapping = importlib.import_module(".mappings.composite_keys", __package__)
    values: list[Any] = ["1", 1, b"1", uuid.UUID(int=1), "", 0, b"", uuid.UUID(int=0)]
    found = {mapping.Picture(title=value, number=1, label="x").object_id for value in values}
    assert len(found) == len(values)
    assert all(0 <= identifier < 2**128 for identifier in found)


def test_two_kinds_of_pictures_in_one_table_stay_apart(context: CountingStore) -> None:
    mapping = importlib.import_module(".mappings.single_table_pictures", __package__)
    with database(mapping.metadata) as engine, Session(engine) as session:
        owner = mapping.Owner()
        owner.picture.from_blob(picture(60, 40, "red"))
        owner.cover.from_blob(picture(60, 40, "blue"))
        session.add(owner)
        session.commit()
        assert (color_of(owner.picture.make_blob()), color_of(owner.cover.make_blob())) == ((255, 0, 0), (0, 0, 255))
        owner.picture.from_blob(picture(60, 40, "lime"))
        session.commit()
        assert (color_of(owner.picture.make_blob()), color_of(owner.cover.make_blob())) == ((0, 255, 0), (0, 0, 255))
        owner.picture.clear()
        session.commit()
        assert [type(image) for image in session.scalars(select(mapping.AnyPicture))] == [mapping.Cover]
        assert len(context) == 1


def test_a_collection_class_of_ones_own_is_used(context: CountingStore) -> None:
    mapping = importlib.import_module(".mappings.back_references", __package__)
    with database(mapping.metadata) as engine, Session(engine) as session:
        owner = mapping.Owner()
        session.add(owner)
        image = owner.picture.from_blob(picture())
        assert image.user is owner
        owner.picture.make_sizes()
        session.commit()
        assert type(owner.picture) is mapping.Portraits
        assert sorted(image.width for image in owner.picture) == [10, 20, 60]


def test_a_set_of_a_dataclass_can_be_given_to_its_constructor(context: CountingStore) -> None:
    mapping = importlib.import_module(".mappings.dataclasses_parameter", __package__)
    owner = mapping.Owner(SingleImageSet())
    owner.picture.from_blob(picture())
    assert owner.picture.original.user is owner


@pytest.mark.parametrize("options", [{"repr": False}, {"compare": False}, {"repr": False, "init": False}])
def test_options_of_a_dataclass_field_make_no_parameter_of_a_set(options: Any) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        picture: Mapped[SingleImageSet[Any]] = image_attachment("Portrait", **options)

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True, init=False)

    owner = Owner()
    assert not owner.picture
    assert ("picture" in repr(owner)) is options.get("repr", True)


def test_equal_images_of_dataclasses_are_not_confused(context: CountingStore) -> None:
    mapping = importlib.import_module(".mappings.dataclasses_mixin", __package__)
    owner = mapping.Owner(name="Ada")
    original = owner.picture.from_blob(picture(60, 40))
    small = owner.picture.generate_thumbnail(width=30)
    assert original == small  # as dataclasses, they are
    again = owner.picture.generate_thumbnail(width=30)
    assert [image is original or image is again for image in owner.picture] == [True, True]
    owner.picture.remove(again)
    assert [image is original for image in owner.picture] == [True]


def test_the_old_name_of_the_image_set_still_stands() -> None:
    assert ImageSet is SingleImageSet
    assert not issubclass(MultipleImageSet, SingleImageSet)
