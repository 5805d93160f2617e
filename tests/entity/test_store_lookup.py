"""The store is found when it is needed, and not forgotten."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, selectinload

from sqlalchemy_imageattach.context import set_default_store, store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.entity.transactions import locations
from sqlalchemy_imageattach.errors import ContextError, InvalidTypeError
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.onex import FourMethodStore
from tests.statements import statements

from .models import User, UserPicture
from .support import database, picture


@pytest.fixture
def default() -> Iterator[MemoryStore]:
    store = MemoryStore("https://default/")
    set_default_store(store)
    yield store
    set_default_store(None)


@pytest.fixture
def tenant() -> MemoryStore:
    return MemoryStore("https://tenant/")


def bound(engine: Engine, store: Store, **options: Any) -> Session:
    return Session(engine, info={"image_store": store}, **options)


def test_an_owner_built_before_it_is_added_is_stored_where_the_session_says(
    engine: Engine, default: MemoryStore, tenant: MemoryStore
) -> None:
    """As admin panels and repositories do: the object is made, filled and then added."""
    user = User()
    user.picture.from_blob(picture())
    user.picture.generate_thumbnail(width=30)
    with bound(engine, tenant) as session:
        session.add(user)
        session.commit()
        assert [image.locate().startswith("https://tenant/") for image in user.picture] == [True, True]
    assert (len(tenant), len(default)) == (2, 0)


@pytest.mark.parametrize("is_tried", [False, True], ids=["before a flush", "after one that was rolled back"])
def test_a_new_owner_that_goes_to_another_session_is_stored_where_that_one_says(
    engine: Engine, tenant: MemoryStore, is_tried: bool
) -> None:
    other = MemoryStore("https://other/")
    user = User()
    with bound(engine, other) as first:
        first.add(user)
        user.picture.from_blob(picture())
        user.picture.generate_thumbnail(width=30)
        if is_tried:
            first.flush()
            first.rollback()
        else:
            first.expunge(user)
    with bound(engine, tenant) as session:
        session.add(user)
        session.commit()
        assert [image.locate().startswith("https://tenant/") for image in user.picture] == [True, True]
    assert (len(tenant), len(other)) == (2, 0)


@pytest.mark.parametrize("way", ["argument", "context", "no store there"])
def test_but_a_store_that_was_named_or_is_the_only_one_stays(engine: Engine, tenant: MemoryStore, way: str) -> None:
    named = MemoryStore("https://named/")
    user = User()
    with bound(engine, named if way == "no store there" else tenant) as first:
        first.add(user)
        if way == "context":
            with store_context(named):
                user.picture.from_blob(picture())
        else:
            user.picture.from_blob(picture(), named if way == "argument" else None)
        first.expunge(user)
    with Session(engine) if way == "no store there" else bound(engine, tenant) as session:
        session.add(user)
        session.commit()
        assert user.picture.locate().startswith("https://named/")
    assert (len(tenant), len(named)) == (0, 1)


def test_it_needs_no_store_before_the_flush(engine: Engine, tenant: MemoryStore) -> None:
    user = User()
    user.picture.from_blob(picture())
    assert user.picture.make_blob() == picture()
    with bound(engine, tenant) as session:
        session.add(user)
        session.commit()
    assert len(tenant) == 1


def test_without_any_store_the_flush_says_so_and_nothing_is_written(engine: Engine, tenant: MemoryStore) -> None:
    user = User()
    user.picture.from_blob(picture())
    with Session(engine) as session:
        session.add(user)
        with statements(engine) as sent, pytest.raises(ContextError, match="no image store is set"):
            session.flush()
        assert not sent, "it was refused before anything was written"
        session.info["image_store"] = tenant
        session.commit()
        assert len(tenant) == 1


@pytest.mark.parametrize("how", ["stored", "loaded", "loaded eagerly", "expunged", "garbage collected session"])
def test_what_has_left_its_session_is_in_the_store_that_the_session_had(
    engine: Engine, default: MemoryStore, tenant: MemoryStore, how: str
) -> None:
    session = bound(engine, tenant, expire_on_commit=False)
    session.add(user := User())
    user.picture.from_blob(picture())
    session.commit()
    if how != "stored":
        session.close()
        session = bound(engine, tenant)
        statement = select(User).options(selectinload(User.picture)) if "eager" in how else select(User)
        user = session.scalars(statement).one()
        assert user.picture
    if how == "expunged":
        session.expunge(user)
    elif how == "garbage collected session":
        del session
        gc.collect()
    else:
        session.close()
    assert user.picture.locate().startswith("https://tenant/")
    assert user.picture.make_blob() == picture()
    assert 'src="https://tenant/' in user.picture.__html__()


@pytest.mark.parametrize("other", ["of another store", "without a store"])
def test_in_another_session_it_is_in_the_store_of_that_one_if_it_has_one(
    engine: Engine, default: MemoryStore, tenant: MemoryStore, other: str
) -> None:
    with bound(engine, tenant) as session:
        session.add(user := User())
        user.picture.from_blob(picture())
        session.commit()
    with bound(engine, tenant) as session:
        user = session.scalars(select(User).options(selectinload(User.picture))).one()
    elsewhere = MemoryStore("https://elsewhere/")
    with bound(engine, elsewhere) if other == "of another store" else Session(engine) as session:
        session.add(user)
        host = "elsewhere" if other == "of another store" else "tenant"
        assert user.picture.locate().startswith(f"https://{host}/")
        session.delete(user)
        session.commit()
    assert len(tenant) == (1 if other == "of another store" else 0), "what is not there is not looked for elsewhere"


def test_a_detached_image_keeps_no_session_alive(engine: Engine, tenant: MemoryStore) -> None:
    with bound(engine, tenant) as session:
        session.add(user := User())
        user.picture.from_blob(picture())
        session.commit()
        image = user.picture.original
        assert image is not None
        assert image.width
    alive = weakref.ref(session)
    del session, user
    gc.collect()
    assert alive() is None
    assert image.locate().startswith("https://tenant/")


def test_what_a_session_has_written_elsewhere_it_knows_without_the_object(engine: Engine) -> None:
    """The objects of an image set are let go after each commit."""
    for held in (True, False):
        other, current = MemoryStore(), MemoryStore()
        with store_context(current), Session(engine) as session:
            session.add(user := User())
            image: Any = user.picture.from_blob(picture(), store=other)
            if not held:
                del image
            session.commit()
            gc.collect()
            user.picture.generate_thumbnail(width=30)
            session.commit()
            gc.collect()
            assert user.picture.make_blob() == picture()
            assert (len(other), len(current)) == (2, 0)
            user.picture.clear()
            session.commit()
        assert len(other) == 0


def test_what_was_rolled_back_is_not_known_to_be_anywhere(engine: Engine) -> None:
    one, two = FourMethodStore(), FourMethodStore()
    with store_context(one), Session(engine) as session:
        session.add(user := User())
        user.picture.from_blob(picture())
        session.commit()
        user.picture.from_blob(picture(color="blue"), store=two)
        session.flush()
        session.rollback()
        gc.collect()
        assert user.picture.make_blob() == picture()
        assert (len(one.blobs), len(two.blobs)) == (1, 0)


def test_a_session_remembers_a_bounded_number_of_blobs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "REMEMBERED", 3)
    with Session(engine) as session:
        for _ in range(5):
            session.add(user := User())
            user.picture.from_blob(picture(), MemoryStore())
            session.commit()
        assert len(locations.Locations.of(session)._written) == 3


def test_the_knowledge_of_one_session_is_not_copied_with_its_info(engine: Engine, tenant: MemoryStore) -> None:
    with bound(engine, tenant) as one:
        one.add(User())
        one.commit()
        assert locations.Locations.of(one).bound is tenant
        other = MemoryStore()
        with Session(engine, info={**one.info, "image_store": other}) as two:
            assert locations.Locations.of(two).bound is other
            assert locations.Locations.of(one).bound is tenant


def test_pickled_images_forget_their_store(engine: Engine, tenant: MemoryStore) -> None:
    with bound(engine, tenant) as session:
        session.add(user := User())
        user.picture.from_blob(picture())
        session.commit()
        image = user.picture.original
        assert image is not None
        assert image.mimetype
    again = pickle.loads(pickle.dumps(image))
    with pytest.raises(ContextError):
        again.locate()
    assert copy.copy(image).width == 60


# --- a class with a store of its own ---------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shop"
    id: Mapped[int] = mapped_column(primary_key=True)
    logo: Mapped[SingleImageSet[Logo]] = image_attachment()
    deed: Mapped[SingleImageSet[Deed]] = image_attachment()


PUBLIC, PRIVATE = MemoryStore("https://public/"), MemoryStore("https://private/")


class Logo(Base, Image):
    __tablename__ = "logo"
    image_store = PUBLIC
    shop_id: Mapped[int] = mapped_column(ForeignKey(Shop.id), primary_key=True)


class Deed(Base, Image):
    __tablename__ = "deed"
    shop_id: Mapped[int] = mapped_column(ForeignKey(Shop.id), primary_key=True)

    @staticmethod
    def image_store() -> Store:
        return PRIVATE


@pytest.fixture
def shops() -> Iterator[Engine]:
    with database(Base.metadata) as engine:
        yield engine
    for store in (PUBLIC, PRIVATE):
        for key in store.blobs:
            store.delete_key(key)


def test_a_class_has_its_own_store_in_any_session_and_context(shops: Engine, default: MemoryStore) -> None:
    elsewhere = MemoryStore()
    with store_context(elsewhere), bound(shops, elsewhere) as session:
        shop = Shop()
        shop.logo.from_blob(picture())
        session.add(shop)
        shop.deed.from_blob(picture())
        session.commit()
        shop.logo.thumbnail(width=30)
        session.commit()
        assert (len(PUBLIC), len(PRIVATE), len(elsewhere)) == (2, 1, 0)
        session.expire_all()
        assert shop.logo.locate().startswith("https://public/")
    with Session(shops) as session:
        shop = session.scalars(select(Shop)).one()
        assert shop.logo.locate().startswith("https://public/")
        assert shop.deed.make_blob() == picture()
        session.delete(shop)
        session.commit()
    assert (len(PUBLIC), len(PRIVATE)) == (0, 0)


def test_the_argument_counts_more_than_the_class(shops: Engine) -> None:
    given = MemoryStore()
    with Session(shops) as session:
        session.add(shop := Shop())
        shop.logo.from_blob(picture(), given)
        session.commit()
        assert shop.logo.make_blob() == picture(), "and it is known"
    assert (len(given), len(PUBLIC)) == (1, 0)


def test_what_is_no_store_is_refused(shops: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    for wrong in ("s3", lambda: "s3"):
        monkeypatch.setattr(Logo, "image_store", wrong)
        with pytest.raises(InvalidTypeError, match="expected a store"):
            shop.logo.from_blob(picture())


def test_a_class_may_leave_it_to_the_others(shops: Engine, tenant: MemoryStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(Logo, "image_store", lambda: None)
    with bound(shops, tenant) as session:
        session.add(shop := Shop())
        shop.logo.from_blob(picture())
        session.commit()
    assert len(tenant) == 1


CALLS = {
    "locate": lambda session, shop: shop.deed.locate(),
    "replace": lambda session, shop: shop.deed.from_blob(picture(size=(30, 20))),
    "clear": lambda session, shop: shop.deed.clear(),
    "delete": lambda session, shop: session.delete(shop),
    "thumbnail": lambda session, shop: shop.deed.generate_thumbnail(width=5),
}


def test_a_function_that_fails_to_give_the_store_of_its_class_changes_nothing(
    shops: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its calls it is that fails, and whatever it gives."""
    with Session(shops) as session:
        session.add(shop := Shop(id=1))
        shop.deed.from_blob(picture())
        session.commit()
    before = dict(PRIVATE.blobs)
    failures = 0
    for error, given in ((ZeroDivisionError, lambda: 1 // 0), (ContextError, lambda: None), (InvalidTypeError, str)):
        for call in CALLS.values():
            for good in range(5):
                answers = iter([PRIVATE] * good)
                monkeypatch.setattr(Deed, "image_store", staticmethod(lambda a=answers, g=given: next(a, None) or g()))
                with Session(shops) as session:
                    try:
                        call(session, session.get_one(Shop, 1))
                        session.flush()
                    except error:
                        failures += 1
                    session.rollback()
                assert dict(PRIVATE.blobs) == before
    assert failures >= 3 * len(CALLS)


def test_a_context_for_the_same_place_gives_its_own_urls(engine: Engine) -> None:
    """E.g. one with the address of a CDN."""

    class Twin(MemoryStore):
        def is_same_place(self, other: Store) -> bool:
            return isinstance(other, MemoryStore)

    inside = MemoryStore("https://inside/")
    with Session(engine) as session:
        session.add(user := User())
        user.picture.from_blob(picture(), inside)
        session.commit()
        with store_context(Twin("https://cdn/")):
            assert user.picture.locate().startswith("https://cdn/")
        with store_context(MemoryStore("https://other/")):
            assert user.picture.locate().startswith("https://inside/")
    assert UserPicture.image_store is None
