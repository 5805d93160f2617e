"""Image sets behave as the collections of any relationship do."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, inspect, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    raiseload,
    relationship,
    selectinload,
    subqueryload,
)

from sqlalchemy_imageattach.entity import (
    BaseImageQuery,
    BaseImageSet,
    Image,
    ImageSubset,
    MultipleImageSet,
    SingleImageSet,
    image_attachment,
)
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, NoFileError, NoOriginalError
from tests.statements import statements

from .models import Post, PostPhoto, User, UserPicture
from .support import CountingStore, color_of, database, picture


def saved(session: Session, **thumbnails: int) -> User:
    """A user with a picture, as a session of its own would find it."""
    user = User()
    user.picture.from_blob(picture())
    for side, pixels in thumbnails.items():
        user.picture.generate_thumbnail(**{side: pixels})  # type: ignore[arg-type]
    session.add(user)
    session.commit()
    identity = user.id
    session.expunge_all()
    return session.get_one(User, identity)


def test_the_sets_are_what_the_manual_says_they_are() -> None:
    user, post = User(), Post()
    assert type(user.picture) is SingleImageSet
    assert type(post.photos) is MultipleImageSet
    subset = post.photos.get_image_set(order_index=1)
    assert type(subset) is ImageSubset
    assert isinstance(user.picture, BaseImageSet)
    assert isinstance(subset, BaseImageSet)
    assert not isinstance(post.photos, BaseImageSet)
    for image_set in (user.picture, post.photos, subset):
        assert isinstance(image_set, BaseImageQuery)
        assert image_set.owner in (user, post)
    assert user.picture.image_class is UserPicture
    assert subset.image_class is PostPhoto


def test_an_empty_set_is_false_and_has_neither_images_nor_an_original() -> None:
    user, post = User(), Post()
    for image_set in (user.picture, post.photos, post.photos.get_image_set(order_index=1)):
        assert not image_set
        assert (len(image_set), list(image_set), image_set.count()) == (0, [], 0)
    assert list(post.photos.image_sets) == []
    assert user.picture.original is None
    with pytest.raises(NoOriginalError, match=r"User\.picture has no picture yet: attach one by from_file\(\)"):
        user.picture.require_original()


def test_len_iteration_membership_and_equality_are_those_of_a_list(context: CountingStore) -> None:
    user = User()
    original = user.picture.from_blob(picture())
    small = user.picture.generate_thumbnail(width=10)
    assert bool(user.picture)
    assert (len(user.picture), user.picture.count()) == (2, 2)
    assert list(user.picture) == [original, small] == user.picture
    assert user.picture[0] is original
    assert small in user.picture
    assert user.picture != User().picture
    assert user.picture.index(small) == 1
    assert not hasattr(type(user.picture), "__hash__") or type(user.picture).__hash__ is None


def test_len_iteration_membership_and_equality_of_a_subset(context: CountingStore) -> None:
    post, other = Post(), Post()
    first, second = (post.photos.get_image_set(order_index=index) for index in (1, 2))
    one, two = first.from_blob(picture()), second.from_blob(picture())
    assert ([*first], [*second], [*post.photos]) == ([one], [two], [one, two])
    assert one in first
    assert two not in first
    assert first == post.photos.get_image_set(order_index=1)
    assert first != second
    assert first != other.photos.get_image_set(order_index=1)
    assert list(post.photos.image_sets) == [first, second]
    assert repr(first).startswith("<ImageSubset {'order_index': 1}: [")
    with pytest.raises(TypeError, match="unhashable"):
        hash(first)


@pytest.mark.parametrize("strategy", [selectinload, joinedload, subqueryload])
def test_eager_loading_needs_no_further_statement(session: Session, engine: Engine, strategy: Any) -> None:
    saved(session, width=10)
    session.expunge_all()
    users = session.scalars(select(User).options(strategy(User.picture))).unique().all()
    with statements(engine) as sent:
        for user in users:
            assert user.picture.original is not None
            assert user.picture.find_thumbnail(width=10).locate()
            assert user.picture.owner is user
    assert sent == []


@pytest.mark.parametrize("lazy", ["select", "selectin", "joined", "subquery", "immediate", "raise", "raise_on_sql"])
def test_the_ways_of_loading_that_a_relationship_has(context: CountingStore, lazy: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture", lazy=lazy, order_by="Picture.width.desc()")

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner(id=1)
        owner.picture.from_blob(picture(60, 40))
        owner.picture.generate_thumbnails([{"width": 10}, {"width": 30}, {"width": 20}])
        session.add(owner)
        session.commit()
        session.expunge_all()
        with statements(engine) as sent:
            owner = session.scalars(select(Owner)).unique().one()
            if lazy.startswith("raise"):
                with pytest.raises(InvalidRequestError, match="raise"):
                    _ = owner.picture
                return
            assert [image.width for image in owner.picture] == [60, 30, 20, 10]
        assert len(sent) == (1 if lazy == "joined" else 2)


@pytest.mark.parametrize("lazy", ["dynamic", "noload", "write_only"])
def test_ways_of_loading_that_give_no_collection_are_refused(lazy: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture", lazy=lazy)

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    with pytest.raises(InvalidTypeError, match=rf"expected a lazy= .*, got '{lazy}': leave it out"):
        Base.registry.configure()
    Base.registry.dispose()


def test_raiseload_raises(session: Session) -> None:
    saved(session)
    session.expunge_all()
    user = session.scalars(select(User).options(raiseload(User.picture))).one()
    with pytest.raises(InvalidRequestError, match="raise"):
        _ = user.picture


def test_a_view_of_some_of_the_images_can_be_mapped_beside(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture")
        small = image_attachment(
            "Picture", viewonly=True, primaryjoin="and_(Picture.owner_id == Owner.id, Picture.width < 20)"
        )

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner(id=1)
        owner.picture.from_blob(picture())
        owner.picture.generate_thumbnail(width=10)
        session.add(owner)
        session.commit()
        assert [image.width for image in owner.small] == [10]
        assert owner.small.find_thumbnail(width=10).locate()
        with pytest.raises(InvalidValueError, match=r"small is viewonly=True, so the picture would not be stored"):
            owner.small.from_blob(picture())
        assert len(owner.small) == 1


# --- statements behind the collection --------------------------------------------------------------------------------


def test_the_rows_of_a_set_can_be_queried(session: Session) -> None:
    saved(session, width=5)
    user = saved(session, width=10)
    assert user.picture.query.count() == 2
    assert [image.width for image in user.picture.filter(UserPicture.width < 20)] == [10]
    assert user.picture.filter_by(original=True).one() is user.picture.original
    assert [image.width for image in user.picture.order_by(UserPicture.width)] == [10, 60]


def test_the_rows_of_one_picture_of_several_can_be_queried(session: Session) -> None:
    post = Post()
    for index in (1, 2):
        post.photos.get_image_set(order_index=index).from_blob(picture())
        post.photos.get_image_set(order_index=index).generate_thumbnail(width=10 * index)
    session.add(post)
    session.commit()
    assert [image.width for image in post.photos.order_by(PostPhoto.order_index.desc(), PostPhoto.width)][:2] == [
        20,
        60,
    ]
    second = post.photos.get_image_set(order_index=2)
    assert [image.width for image in second.order_by(PostPhoto.width)] == [20, 60]
    assert second.filter_by(width=10).all() == []
    assert post.photos.filter_by(width=60).count() == 2


def test_the_images_of_an_owner_in_no_session_cannot_be_queried() -> None:
    with pytest.raises(InvalidValueError, match="is in no session, so its images cannot be queried: add it to one"):
        User().picture.filter_by(original=True)


def test_counting_sends_no_statement_once_the_set_is_loaded(session: Session, engine: Engine) -> None:
    user = saved(session, width=10)
    assert user.picture.count() == 2
    with statements(engine) as sent:
        assert user.picture.count() == 2
    assert sent == []


# --- membership ------------------------------------------------------------------------------------------------------


def test_an_image_that_is_removed_from_its_set_is_deleted(session: Session, store: CountingStore) -> None:
    user = saved(session, width=10)
    user.picture.remove(user.picture.find_thumbnail(width=10))
    session.commit()
    assert [image.width for image in user.picture] == [60]
    assert len(store) == 1


def test_removing_what_is_not_there_is_refused(session: Session) -> None:
    saved(session)
    other = saved(session)
    user = session.get_one(User, 1)
    with pytest.raises(InvalidValueError, match="is not in this image set"):
        user.picture.remove(other.picture[0])
    session.commit()
    assert (len(user.picture), len(other.picture)) == (1, 1)


@pytest.mark.parametrize(
    "empty",
    [
        lambda user: user.picture.clear(),
        lambda user: user.picture.__delitem__(slice(None)),
        lambda user: setattr(user, "picture", []),
        lambda user: [user.picture.pop() for _ in range(2)],
        lambda user: [user.picture.remove(image) for image in list(user.picture)],
    ],
    ids=["clear", "del", "assignment", "pop", "remove"],
)
def test_emptying_a_set_in_any_way_deletes_rows_and_blobs(session: Session, store: CountingStore, empty: Any) -> None:
    user = saved(session, width=10)
    empty(user)
    session.commit()
    assert not user.picture
    assert session.scalars(select(UserPicture)).all() == []
    assert not store.blobs


def test_clearing_one_picture_of_several_leaves_the_others(session: Session, store: CountingStore) -> None:
    post = Post()
    for index in (1, 2):
        post.photos.get_image_set(order_index=index).from_blob(picture())
    session.add(post)
    session.commit()
    post.photos.get_image_set(order_index=1).clear()
    session.commit()
    assert [image_set.original.order_index for image_set in post.photos.image_sets] == [2]  # type: ignore[union-attr]
    assert len(store) == 1


def test_a_list_of_images_can_be_assigned(session: Session, store: CountingStore) -> None:
    user = saved(session, width=10)
    original, small = user.picture.original, user.picture.find_thumbnail(width=10)
    former = user.picture
    assert original is not None
    user.picture = [original]  # type: ignore[assignment]
    assert type(user.picture) is SingleImageSet
    assert user.picture.owner is user
    with pytest.raises(InvalidValueError, match=r"belongs to no object \(any more\): get it from the attribute"):
        former.from_blob(picture())
    session.commit()
    assert inspect(small).was_deleted or inspect(small).detached
    assert len(store) == 1


def test_an_image_without_a_file_is_not_stored(session: Session, store: CountingStore) -> None:
    user = saved(session)
    user.picture.append(UserPicture(size=(1, 1), mimetype="image/png"))
    with pytest.raises(NoFileError, match=r"UserPicture has no file: .* Attach one by from_file\(\) or from_blob\(\)"):
        session.commit()
    session.rollback()
    assert len(user.picture) == len(store) == 1


def test_a_reference_back_to_the_owner_is_kept(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture", back_populates="owner")

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        owner: Mapped[Owner] = relationship(back_populates="picture")

    Base.registry.configure()
    owner = Owner()
    image = owner.picture.from_blob(picture())
    assert image.owner is owner
    owner.picture.clear()
    assert image.owner is None


# --- the session's verbs ---------------------------------------------------------------------------------------------


def test_images_follow_their_owner_into_the_session_and_out_of_it(session: Session) -> None:
    user = User()
    image = user.picture.from_blob(picture())
    session.add(user)
    assert image in session
    session.expunge(user)
    assert image not in session
    session.add(user)
    session.commit()
    assert user.picture.original is image
    session.expunge(user)
    assert inspect(image).detached


def test_a_detached_owner_still_shows_its_picture(session: Session, store: CountingStore) -> None:
    user = saved(session, width=10)
    assert user.picture
    session.expunge(user)
    assert user.picture.find_thumbnail(width=10).locate()
    assert user.picture.make_blob() == picture()
    small = user.picture.generate_thumbnail(width=20)
    assert small.make_blob()
    session.add(user)
    session.commit()
    assert len(user.picture) == len(store) == 3


def test_merging_a_transient_owner_stores_its_picture(session: Session, store: CountingStore) -> None:
    user = User(id=1)
    user.picture.from_blob(picture(60, 40, "blue"))
    merged = session.merge(user)
    session.commit()
    assert merged is not user
    assert color_of(merged.picture.make_blob()) == (0, 0, 255)
    assert len(store) == 1


def test_merging_a_picture_over_a_stored_one_replaces_it(session: Session, store: CountingStore) -> None:
    stored = saved(session, width=10)
    user = User(id=stored.id)
    user.picture.from_blob(picture(60, 40, "blue"))
    merged = session.merge(user)
    session.commit()
    assert merged is stored
    assert [color_of(image.make_blob()) for image in stored.picture] == [(0, 0, 255)]
    assert len(store) == 1


def test_merging_a_detached_owner_changes_nothing(session: Session, engine: Engine, store: CountingStore) -> None:
    user = saved(session, width=10)
    assert len(user.picture) == 2
    session.expunge(user)
    with Session(engine) as other:
        merged = other.merge(user)
        other.commit()
        assert len(merged.picture) == 2
        assert merged.picture.owner is merged
    assert len(store) == 2


def test_refreshing_brings_what_others_have_stored(session: Session, engine: Engine) -> None:
    user = saved(session)
    assert len(user.picture) == 1
    session.commit()
    with Session(engine) as other:
        other.get_one(User, user.id).picture.generate_thumbnail(width=10)
        other.commit()
    session.refresh(user)
    assert len(user.picture) == 2
    session.expire(user, ["picture"])
    assert user.picture.find_thumbnail(width=10).size == (10, 7)


def test_expiring_a_set_forgets_a_picture_that_was_not_flushed(session: Session, store: CountingStore) -> None:
    user = saved(session)
    with session.no_autoflush:
        user.picture.from_blob(picture(20, 20))
        session.expire(user, ["picture"])
        assert user.picture.size == (60, 40)
    session.rollback()
    assert user.picture.size == (60, 40)
    assert len(store) == 1


def test_a_subset_outlives_the_commit(session: Session, store: CountingStore) -> None:
    post = Post()
    first = post.photos.get_image_set(order_index=1)
    first.from_blob(picture())
    session.add(post)
    session.commit()
    assert first.size == (60, 40)
    first.generate_thumbnail(width=10)
    session.commit()
    assert sorted(image.width for image in first) == [10, 60]
    post.photos = []  # type: ignore[assignment]
    assert not first
    session.commit()
    assert not store.blobs


def test_a_single_set_of_before_the_commit_can_be_read_but_says_that_it_is_of_the_past(session: Session) -> None:
    user = User()
    image_set = user.picture
    image_set.from_blob(picture())
    session.add(user)
    session.commit()
    assert image_set.size == (60, 40)
    with pytest.raises(InvalidValueError, match="get it from the attribute of its owner"):
        image_set.from_blob(picture())
    assert user.picture is not image_set
    user.picture.from_blob(picture(20, 20))
    session.commit()
    assert user.picture.size == (20, 20)


# --- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [False, True])
def test_a_stored_picture_can_be_pickled(session: Session, store: CountingStore, detached: bool) -> None:
    user = saved(session, width=10)
    assert len(user.picture) == 2
    if detached:
        session.expunge(user)
    copied = pickle.loads(pickle.dumps(user))
    assert type(copied.picture) is SingleImageSet
    assert copied.picture.owner is copied
    assert copied.picture.find_thumbnail(width=10).locate() == user.picture.find_thumbnail(width=10).locate()
    session.expunge_all()
    session.add(copied)
    copied.picture.from_blob(picture(20, 20))
    session.commit()
    assert len(copied.picture) == len(store) == 1


def test_a_picture_that_was_just_committed_can_be_pickled_although_its_store_cannot(session: Session) -> None:
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    assert user.picture.original is not None  # loaded, and known to be in a store that has a lock
    assert pickle.loads(pickle.dumps(user)).picture.original.size == (60, 40)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_picture_whose_file_is_on_its_way_cannot_be_pickled(session: Session, flushed: bool) -> None:
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    if flushed:
        session.flush()
    with pytest.raises(pickle.PicklingError, match="not committed yet cannot be pickled: commit its session first"):
        pickle.dumps(user)


def test_a_deep_copy_of_a_set_has_images_of_its_own(session: Session) -> None:
    user = saved(session, width=10)
    copied = copy.deepcopy(list(user.picture))
    assert [image.size for image in copied] == [image.size for image in user.picture]
    assert not any(image is mine for image in copied for mine in user.picture)


# --- lifetimes -------------------------------------------------------------------------------------------------------


def test_a_picture_is_attached_to_an_owner_that_nobody_else_holds(session: Session, store: CountingStore) -> None:
    session.add(User(id=1))
    session.commit()
    session.expunge_all()
    gc.collect()
    session.get_one(User, 1).picture.from_blob(picture())
    gc.collect()
    session.commit()
    assert session.get_one(User, 1).picture.size == (60, 40)


def test_a_set_keeps_its_owner_alive(session: Session) -> None:
    saved(session)
    session.expunge_all()
    image_set = session.get_one(User, 1).picture
    gc.collect()
    assert image_set.owner.id == 1
    image_set.generate_thumbnail(width=10)
    del image_set
    gc.collect()
    session.commit()
    assert len(session.get_one(User, 1).picture) == 2


def test_owners_are_not_kept_alive_by_anything_else(session: Session) -> None:
    user = User()
    user.picture.from_blob(picture())
    user.picture.generate_thumbnail(width=10)
    session.add(user)
    session.commit()
    assert user.picture.make_blob()
    references = [weakref.ref(thing) for thing in (user, user.picture, *user.picture)]
    del user
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_files_are_let_go_once_they_are_committed(session: Session) -> None:
    user = User()
    user.picture.from_blob(picture())
    content = weakref.ref(user.picture[0]._blob_state.pending.content)  # type: ignore[attr-defined]
    session.add(user)
    session.flush()
    assert content() is not None  # a rollback would need it
    session.commit()
    gc.collect()
    assert content() is None


def test_a_set_of_no_owner_says_so() -> None:
    lonely: SingleImageSet[UserPicture] = SingleImageSet()
    assert not lonely
    with pytest.raises(InvalidValueError, match=r"belongs to no object \(any more\)"):
        _ = lonely.owner
    with pytest.raises(InvalidValueError, match=r"belongs to no object \(any more\)"):
        lonely.from_blob(picture())
