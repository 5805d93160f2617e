"""Two-phase commit: between PREPARE and COMMIT PREPARED everything is still open."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, NullPool, text
from sqlalchemy.exc import DBAPIError, IllegalStateChangeError, IntegrityError
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from ..needs import unavailable
from .cluster import find_programs, postgresql_with_prepared_transactions
from .conftest import MakeSession, empty, server_engine, sqlite_engine
from .helpers import Stop, assert_in_step, blobs_of, picture
from .models import Base, User, UserPicture, Vote
from .proxy import BreakingProxy

#: The error of the database; SQLAlchemy 2.0.30 stumbles over one at PREPARE, and says something else.
FAILED = (DBAPIError, IllegalStateChangeError)


@pytest.fixture(scope="module")
def prepared_server(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """The usual server if it has prepared transactions, and one of our own otherwise."""
    usual = engines("postgresql")
    with usual.connect() as connection:
        if int(connection.scalar(text("SHOW max_prepared_transactions")) or 0) > 0:
            yield usual
            return
    programs = find_programs()
    if programs is None:
        unavailable("PostgreSQL has max_prepared_transactions = 0, and no initdb is found to start another one")
    with postgresql_with_prepared_transactions(programs, usual.url.drivername) as url:
        engine = server_engine(url)
        Base.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def prepared_postgresql(prepared_server: Engine) -> Iterator[Engine]:
    yield from left_empty(prepared_server)


@pytest.fixture(params=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name = "prepared_server" if request.param == "postgresql" else "mariadb"
    yield from left_empty(request.getfixturevalue(name))


def left_empty(engine: Engine) -> Iterator[Engine]:
    before = set(prepared_ids(engine))  # the server may be in use by others
    yield engine
    finish(engine, "ROLLBACK", *(set(prepared_ids(engine)) - before))  # they would keep their locks for ever
    empty(engine)


def attach(session: Session, colour: str) -> User:
    """Replace the picture of the user, who is made if there is none."""
    user = session.query(User).first() or User()
    user.picture.from_blob(picture(colour))
    session.add(user)
    session.flush()
    return user


def prepared_ids(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return list(connection.scalars(text("SELECT gid FROM pg_prepared_xacts")))
        found = connection.execute(text("XA RECOVER")).scalars("data")
        return [data.decode() if isinstance(data, bytes) else data for data in found]


def finish(engine: Engine, verb: str, *idents: str) -> None:
    """End what is prepared, as a transaction manager or an administrator would after a crash."""
    for ident in idents:
        statement = f"{verb} PREPARED '{ident}'" if engine.dialect.name == "postgresql" else f"XA {verb} '{ident}'"
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text(statement))


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "not prepared"])
@pytest.mark.parametrize("end", ["commit", "rollback", "close", "exception"])
def test_each_end_does_what_it_does_in_one_phase(
    engine: Engine, store: FaultyStore, open_session: MakeSession, prepare: bool, end: str
) -> None:
    with Session(engine) as session:
        attach(session, "red")
        session.commit()
    prepared_before = prepared_ids(engine)
    with pytest.raises(Stop), Session(engine, twophase=True) as session:
        attach(session, "blue")
        if prepare:
            session.prepare()
        assert len(store.blobs) == 2
        if end != "exception":
            getattr(session, end)()
        raise Stop
    assert_in_step(engine, store)
    user = open_session(engine).query(User).one()
    assert blobs_of(user.picture) == [picture("blue" if end == "commit" else "red")]
    assert prepared_ids(engine) == prepared_before


def test_a_savepoint_within_follows_its_own_end(prepared_postgresql: Engine, store: FaultyStore) -> None:
    """MariaDB has none in XA transactions."""
    with Session(prepared_postgresql, twophase=True) as session:
        attach(session, "red")
        with session.begin_nested():
            attach(session, "blue")
        savepoint = session.begin_nested()
        attach(session, "green")
        savepoint.rollback()
        session.prepare()
        session.commit()
        assert blobs_of(session.query(User).one().picture) == [picture("blue")]
    assert_in_step(prepared_postgresql, store)


def test_a_prepare_that_is_refused_leaves_nothing(prepared_postgresql: Engine, store: FaultyStore) -> None:
    with Session(prepared_postgresql, twophase=True) as session:
        attach(session, "red")
        session.add(Vote(user_id=4711))
        with pytest.raises(FAILED):  # psycopg takes it for prepared and fails once more, at rolling it back
            session.prepare()
    assert not store.blobs
    assert_in_step(prepared_postgresql, store)


@pytest.fixture
def through_proxy(engine: Engine) -> Iterator[Callable[..., tuple[Engine, BreakingProxy]]]:
    made: list[tuple[Engine, BreakingProxy]] = []

    def make(trigger: bytes, *, deliver: bool) -> tuple[Engine, BreakingProxy]:
        proxy = BreakingProxy(engine.url, deliver=deliver, trigger=trigger)
        made.append((server_engine(proxy.url), proxy))
        return made[-1]

    yield make
    for through, proxy in made:
        through.dispose()
        proxy.close()


@pytest.mark.parametrize("verb", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("breaks_at", ["PREPARE", "ROLLBACK", "COMMIT"])
def test_what_is_prepared_when_the_connection_breaks_keeps_both_blobs(
    engine: Engine,
    through_proxy: Callable[..., tuple[Engine, BreakingProxy]],
    store: FaultyStore,
    breaks_at: str,
    verb: str,
) -> None:
    """It outlives the connection, and another one ends it, either way."""
    with Session(engine) as session:
        attach(session, "red")
        session.commit()
    former = set(store.blobs)
    mariadb = engine.dialect.name == "mysql"
    trigger = {"PREPARE": "XA PREPARE" if mariadb else "PREPARE TRANSACTION"}.get(
        breaks_at, f"XA {breaks_at}" if mariadb else f"{breaks_at} PREPARED"
    )
    through, proxy = through_proxy(trigger.encode(), deliver=breaks_at == "PREPARE")
    before = set(prepared_ids(engine))
    session = Session(through, twophase=True)
    attach(session, "blue")
    new = set(store.blobs) - former
    proxy.armed = True
    with pytest.raises(FAILED):
        session.prepare()
        session.commit() if breaks_at == "COMMIT" else session.rollback()
    session.close()
    assert set(store.blobs) == former | new
    [ident] = set(prepared_ids(engine)) - before
    finish(engine, verb, ident)
    assert_in_step(engine, store, left=former if verb == "COMMIT" else new)


def test_one_of_two_databases_may_have_committed_when_the_other_refuses(
    prepared_postgresql: Engine, tmp_path_factory: pytest.TempPathFactory, store: FaultyStore
) -> None:
    """Without two phases, in an order that SQLAlchemy does not determine."""
    lite = sqlite_engine(tmp_path_factory.mktemp("two") / "votes.db", poolclass=NullPool)
    Base.metadata.create_all(lite)
    for _ in range(8):
        with Session(binds={User: prepared_postgresql, UserPicture: prepared_postgresql, Vote: lite}) as session:
            user = User()
            user.picture.from_blob(picture())
            session.add_all([user, Vote(user_id=4711)])
            with pytest.raises(IntegrityError):
                session.commit()
        assert_in_step(prepared_postgresql, store)
    lite.dispose()
