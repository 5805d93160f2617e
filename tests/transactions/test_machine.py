"""Random histories of one session after another, with a store that fails now and then.

Whenever no transaction is open, the blobs are exactly those that the committed rows name, besides those whose deletion
has failed; of the calls that were to follow a commit exactly those were made whose transaction has committed; and each
picture that lacks what its class declares has a job that will make it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import IO, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import StaticPool, create_engine, event, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from sqlalchemy_imageattach.jobs import Job, JobRunner, on_commit
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants.eager import KIND

from .helpers import OTHER, SMALL, Exploded, Waiting, assert_in_step, picture, rows
from .models import Base, Comment, Member, MemberPortrait, Product, ProductPhoto, User, UserPhoto, UserPicture

COLOURS = st.sampled_from(["red", "green", "blue", "white"])
SIZES = st.sampled_from([SMALL, OTHER])
WHICH = st.integers(0, 2)
#: Of a picture of 40×30 or 30×40: the middle, two ends, and one more that comes to the same cut as an end.
POINTS = st.sampled_from([None, (0.0, 0.0), (1.0, 1.0), (0.01, 0.01)])
USED = (UserPicture, UserPhoto, MemberPortrait, ProductPhoto)
NOW, LATER = ("card", "square", "corner"), ("list", "strip")


class FailingStore(MemoryStore):
    """Fails when told to, and knows which blobs it has failed to delete."""

    def __init__(self) -> None:
        super().__init__()
        self.puts_until_failure: int | None = None
        self.fails_after_the_effect = False
        self.fails_to_delete = False
        self.left: set[ImageKey] = set()

    def put_file(self, file: IO[bytes], *args: Any, revision: str | None = None) -> None:
        key = _key(revision, *args[:5])
        # without a revision, bringing back what was there is a put as well, and without it nothing could be promised
        if self.puts_until_failure is not None and revision is not None:
            self.puts_until_failure -= 1
            if self.puts_until_failure < 0:
                self.puts_until_failure = None
                if self.fails_after_the_effect:
                    super().put_file(file, *args, revision=revision)
                raise exploded(key)
        super().put_file(file, *args, revision=revision)

    def delete_file(self, *args: Any, revision: str | None = None) -> bool | None:
        key = _key(revision, *args)
        if self.fails_to_delete:
            if key in self:
                self.left.add(key)
            raise exploded(key)
        self.left.discard(key)
        return super().delete_file(*args, revision=revision)


def _key(revision: str | None, kind: str, ident: int, width: int, height: int, mimetype: str) -> ImageKey:
    return ImageKey(kind, ident, width, height, mimetype, revision)


def exploded(key: ImageKey) -> Exploded:
    return Exploded(f"was told to fail at {key}")


class Histories(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        logging.disable()  # deletions and calls fail by the thousand, and each would be written down with its traceback
        gc.disable()  # whether SQLAlchemy still knows an object must not depend on when garbage is collected
        self.store = FailingStore()
        self.queue = Waiting()
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self.engine, "connect", _begin_nothing)
        event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        with self.engine.connect() as connection:
            _begin_nothing(connection.connection.dbapi_connection)
        Base.metadata.create_all(self.engine)
        self.session = self.open_session()
        #: How many calls were registered, and which were made.
        self.registered = 0
        self.called: list[int] = []
        owners: dict[tuple[type[Base], int], Any] = {
            (cls, number): cls(id=number) for cls in (User, Member, Product) for number in range(3)
        }
        self.session.add_all(owners.values())
        # most that can go wrong needs something that is committed, which histories hardly ever come to by themselves
        owners[User, 0].picture.from_blob(picture("red"))
        owners[User, 0].photos.get_image_set(number=1).from_blob(picture("red"))
        owners[Member, 0].portrait.from_blob(picture("red"))
        owners[Product, 0].photo.from_blob(picture("red"))
        owners[Product, 1].photo.from_blob(picture("green", OTHER))
        self.session.commit()
        self.queue.work_off(JobRunner(self.open_session, Base))

    def open_session(self) -> Session:
        return Session(self.engine, info={"image_store": self.store, "image_queue": self.queue})

    def attempt(self, work: Callable[[], object]) -> None:
        """Do it; if the store fails, roll back what SQLAlchemy wants to be rolled back."""
        try:
            work()
        except (Exploded, IntegrityError):
            savepoint = self.session.get_nested_transaction()
            if savepoint is not None:
                savepoint.rollback()
            else:
                self.session.rollback()
                self.check()

    def check(self) -> None:
        assert not self.session.in_transaction()
        # a place without a revision, whose blob was left over, may have become that of a row
        committed = rows(self.engine, USED)
        self.store.left -= {key_of(image) for image in committed}
        assert_in_step(self.engine, self.store, left=self.store.left, committed=committed)
        with Session(self.engine) as other:
            committed = list(other.scalars(select(Comment.id).order_by(Comment.id)))
            self.check_variants(other)
        assert self.called == committed, "what was registered is called in order if it was committed, and only then"

    def check_variants(self, session: Session) -> None:
        for product in session.scalars(select(Product).options(selectinload(Product.photo))):
            original = product.photo.original
            if original is None:
                assert not product.photo, "variants of nothing"
                continue
            incomplete = {name for name in (*NOW, *LATER) if not product.photo.variant(name).is_complete}
            assert not incomplete & set(NOW)
            assert not incomplete or Job.of(KIND, original) in self.queue.jobs, "what is missing has a job"

    def owner(self, cls: type[Any], which: int) -> Any:
        return self.session.scalar(select(cls).where(cls.id == which))

    # --- what is done to pictures ------------------------------------------------------------------------------------

    @rule(which=WHICH, colour=COLOURS, size=SIZES)
    def attach(self, which: int, colour: str, size: tuple[int, int]) -> None:
        def work() -> None:
            if (user := self.owner(User, which)) is not None:
                user.picture.from_blob(picture(colour, size))

        self.attempt(work)

    @rule(which=WHICH, colour=COLOURS, size=SIZES)
    def attach_without_revision(self, which: int, colour: str, size: tuple[int, int]) -> None:
        def work() -> None:
            if (member := self.owner(Member, which)) is not None:
                member.portrait.from_blob(picture(colour, size))

        self.attempt(work)

    @rule(which=WHICH, number=st.integers(1, 2), colour=COLOURS)
    def attach_one_of_several(self, which: int, number: int, colour: str) -> None:
        def work() -> None:
            if (user := self.owner(User, which)) is not None:
                user.photos.get_image_set(number=number).from_blob(picture(colour))

        self.attempt(work)

    @rule(which=WHICH, width=st.sampled_from([7, 9]), flush=st.booleans())
    def thumbnail(self, which: int, width: int, flush: bool) -> None:
        def work() -> None:
            user = self.owner(User, which)
            if user is not None and user.picture.original is not None:
                (user.picture.thumbnail if flush else user.picture.generate_thumbnail)(width=width)

        self.attempt(work)

    # --- declared variants -------------------------------------------------------------------------------------------

    @rule(which=WHICH, colour=COLOURS, size=SIZES, point=POINTS)
    def attach_with_variants(self, which: int, colour: str, size: tuple[int, int], point: Any) -> None:
        def work() -> None:
            if (product := self.owner(Product, which)) is not None:
                product.photo.from_blob(picture(colour, size))
                product.photo.focal_point = point

        self.attempt(work)

    @rule(which=WHICH, point=POINTS)
    def move_focal_point(self, which: int, point: Any) -> None:
        def work() -> None:
            product = self.owner(Product, which)
            if product is not None and product.photo:
                product.photo.focal_point = point

        self.attempt(work)

    @rule(which=WHICH, names=st.sampled_from([(), ("list",), ("print", "square"), LATER]))
    def make_variants(self, which: int, names: tuple[str, ...]) -> None:
        def work() -> None:
            product = self.owner(Product, which)
            if product is not None and product.photo:
                product.photo.make_variants(*names)

        self.attempt(work)

    @rule(which=WHICH, x=st.sampled_from([0, 0.5, 1]))
    def make_one_more_of_a_size(self, which: int, x: float) -> None:
        def work() -> None:
            product = self.owner(Product, which)
            if product is not None and product.photo:
                product.photo.thumbnail(width=12, height=12, fit="fill", focal_point=(x, x))

        self.attempt(work)

    @precondition(lambda self: not self.session.in_transaction())
    @rule()
    def do_jobs(self) -> None:
        """They fail with the store, and wait again."""
        self.queue.work_off(JobRunner(self.open_session, Base))
        self.check()

    @rule(which=WHICH)
    def clear(self, which: int) -> None:
        def work() -> None:
            for cls, name in ((User, "picture"), (Member, "portrait"), (Product, "photo")):
                if (owner := self.owner(cls, which)) is not None:
                    getattr(owner, name).clear()

        self.attempt(work)

    @rule(which=WHICH)
    def move(self, which: int) -> None:
        def work() -> None:
            users = [user for number in range(3) if (user := self.owner(User, (which + number) % 3)) is not None]
            having = [user for user in users if user.picture]
            lacking = [user for user in users if not user.picture]
            if having and lacking:
                for image in list(having[0].picture):
                    lacking[0].picture.append(image)
                self.session.flush()

        self.attempt(work)

    @rule(which=WHICH)
    def delete_and_make_anew(self, which: int) -> None:
        def work() -> None:
            for cls in (User, Member, Product):
                if (owner := self.owner(cls, which)) is not None:
                    self.session.delete(owner)
                    self.session.flush()
                self.session.add(cls(id=which))
            self.session.flush()

        self.attempt(work)

    @rule(fails=st.booleans())
    def register_a_call(self, fails: bool) -> None:
        """Together with a row, by which it can be told whether what it belongs to has been committed."""
        self.registered += 1
        number = self.registered

        def call() -> None:
            self.called.append(number)
            if fails:
                raise Exploded("a call was told to fail")

        def work() -> None:
            self.session.execute(insert(Comment).values(id=number, user_id=0))
            on_commit(self.session, call)

        self.attempt(work)

    @rule()
    def flush(self) -> None:
        self.attempt(self.session.flush)

    @rule()
    def flush_and_expire(self) -> None:
        def work() -> None:
            self.session.flush()
            self.session.expire_all()

        self.attempt(work)

    # --- how transactions begin and end ------------------------------------------------------------------------------

    @precondition(lambda self: _depth(self.session) < 3)
    @rule()
    def begin_savepoint(self) -> None:
        self.attempt(self.session.begin_nested)

    @precondition(lambda self: self.session.in_nested_transaction())
    @rule(release=st.booleans())
    def end_savepoint(self, release: bool) -> None:
        savepoint = self.session.get_nested_transaction()
        assert savepoint is not None
        if release:
            self.attempt(savepoint.commit)
        else:
            savepoint.rollback()

    @rule()
    def commit(self) -> None:
        self.attempt(self.session.commit)
        if not self.session.in_transaction():  # otherwise the store has failed in a savepoint, and the others go on
            self.check()

    @precondition(lambda self: not self.session.in_nested_transaction())
    @rule()
    def commit_what_is_outside_of_savepoints(self) -> None:
        """Once more, since most that can go wrong needs something that is committed."""
        self.commit()

    @rule(end=st.sampled_from(["rollback", "close", "new session"]))
    def end(self, end: str) -> None:
        if end == "rollback":
            self.session.rollback()
        else:
            self.session.close()
            if end == "new session":
                self.session = self.open_session()
        self.check()

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    @rule(after=st.integers(0, 2), after_the_effect=st.booleans())
    def let_puts_fail(self, after: int, after_the_effect: bool) -> None:
        self.store.puts_until_failure, self.store.fails_after_the_effect = after, after_the_effect

    @rule(fails=st.booleans())
    def let_deletes_fail(self, fails: bool) -> None:
        self.store.fails_to_delete = fails

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.store.fails_to_delete, self.store.puts_until_failure = False, None
            while self.session.in_transaction():  # a savepoint may not hold what is in it, and the others go on
                self.commit()
            self.check()
            self.do_jobs()
            assert not self.queue.jobs
            self.engine.dispose()
        gc.enable()
        logging.disable(logging.NOTSET)


def _begin_nothing(connection: Any, _record: object = None) -> None:
    connection.isolation_level = None


def _depth(session: Session) -> int:
    depth, transaction = 0, session.get_nested_transaction()
    while transaction is not None:
        depth, transaction = depth + 1, transaction.parent
    return depth


TestHistories = Histories.TestCase
# Three faults were made on purpose (released savepoints forgotten, a rollback that removes nothing, variants without a
# job): each was found within 150 histories.
TestHistories.settings = settings(max_examples=150, stateful_step_count=30)
