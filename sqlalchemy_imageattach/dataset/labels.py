"""Labels attached to pictures: the :class:`LabelledImage` mixin, and the counters that make picking quick.

A labelled picture has no owner: its row stands for itself.  ::

    class Fruit(Base, LabelledImage):
        __tablename__ = "fruit"

Besides that table there are two more: ``fruit_label`` counts, and ``fruit_failure`` remembers what could not be had.

**Picking at random** takes two look-ups by keys, however many pictures there are: each picture has a *slot*, the next
free number of its label, and a number that nobody has (any more) is drawn again.  So all have the same chance.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    String,
    Table,
    Text,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Mapper, Session, mapped_column
from sqlalchemy.orm.attributes import get_history

from ..bulk.classes import image_mappers
from ..entity import Image
from .sample import LABEL_LENGTH, check_label, check_uri, source_key

__all__ = ["LabelledImage", "failures_of", "labelled_classes", "labels_of", "recount"]

_BIG = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself there

# "apple" is not "Apple", and "é" is not "e", whatever the database compares by default
_LABEL = String(LABEL_LENGTH).with_variant(
    mysql.VARCHAR(LABEL_LENGTH, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


class LabelledImage(Image):
    """A picture with a label and where it comes from, once for each label and URI.

    ::

        class Fruit(Base, LabelledImage):
            __tablename__ = "fruit"

        collect(session, from_urls(urls), "Apple", into=Fruit)
        session.scalars(select(Fruit).where(Fruit.label == "Apple")).first().locate()

    It is an :class:`~sqlalchemy_imageattach.entity.Image` whose row stands for itself: it has no owner and no
    thumbnails, and its blob is kept, located and deleted in step with the transaction like any other.
    """

    if TYPE_CHECKING:
        id: Mapped[int]
        label: Mapped[str]
        uri: Mapped[str]
        source_key: Mapped[str]
        slot: Mapped[int]
        page: Mapped[str | None]
        title: Mapped[str | None]
        licence: Mapped[str | None]
        fetched_at: Mapped[datetime | None]
        http_status: Mapped[int | None]
        likeness: Mapped[int | None]
    else:
        id = mapped_column("id", _BIG, primary_key=True, sort_order=-1)
        width = mapped_column("width", Integer, nullable=False)
        height = mapped_column("height", Integer, nullable=False)
        mimetype = mapped_column("mimetype", String(255), nullable=False)
        variant = None
        #: What the picture shows.
        label = mapped_column("label", _LABEL, nullable=False, active_history=True)
        #: Where it comes from: its URL, as a rule.
        uri = mapped_column("uri", Text, nullable=False)
        #: The SHA-256 of label and URI: a URI may be longer than what databases index.
        source_key = mapped_column("source_key", String(64), nullable=False, unique=True)
        #: By which :func:`~sqlalchemy_imageattach.dataset.random_sample` finds it.
        slot = mapped_column("slot", _BIG, nullable=False)
        #: The URL of the page that showed it.
        page = mapped_column("page", Text, nullable=True)
        #: What that page called it.
        title = mapped_column("title", Text, nullable=True)
        #: The licence that it was published under.
        licence = mapped_column("licence", Text, nullable=True)
        #: When it was fetched.
        fetched_at = mapped_column("fetched_at", DateTime(timezone=True), nullable=True)
        #: What the server answered.
        http_status = mapped_column("http_status", Integer, nullable=True)
        #: The perceptual hash by which near duplicates are found.
        likeness = mapped_column("likeness", BigInteger, nullable=True, index=True)


def labels_of(cls: type[LabelledImage]) -> Table:
    """The table of a class's labels: ``label``, ``total``, ``next_slot``."""
    return _companion(cls, "label")


def failures_of(cls: type[LabelledImage]) -> Table:
    """The table of what could not be had for a class."""
    return _companion(cls, "failure")


def labelled_classes(declarative_base: Any) -> dict[str, type[LabelledImage]]:
    """The classes of labelled images of a declarative base, by their names.

    :raises InvalidTypeError: it is no declarative base class
    """
    classes = [mapper.class_ for mapper in image_mappers(declarative_base)]
    return {cls.__name__: cls for cls in classes if issubclass(cls, LabelledImage)}


def recount(session: Session, cls: type[LabelledImage]) -> None:
    """Afterwards the counters are right, whatever bulk statements have done; in the session's transaction.

    Rows that were added, changed or deleted by the ORM are counted as they are.  What it did not see, such as
    ``session.execute(delete(Fruit))``, it did not count.
    """
    counters = labels_of(cls)
    session.flush()
    found = session.execute(select(cls.label, func.count(), func.max(cls.slot)).group_by(cls.label)).all()
    session.execute(update(counters).values(total=0))
    for label, total, last in found:
        _count(session.connection(bind_arguments={"mapper": inspect(cls)}), counters, label, total, 0)
        session.execute(
            update(counters).where(counters.c.label == label, counters.c.next_slot <= last).values(next_slot=last + 1)
        )


# --- the tables ------------------------------------------------------------------------------------------------------


def _companion(cls: type[Any], suffix: str) -> Table:
    table = inspect(cls).local_table
    found: Table = table.metadata.tables[_name_of(table, suffix)]
    return found


def _name_of(table: Table, suffix: str) -> str:
    return f"{table.fullname}_{suffix}"


@event.listens_for(LabelledImage, "instrument_class", propagate=True)
def _make_tables(mapper: Mapper[Any], cls: type[Any]) -> None:
    table = mapper.local_table
    if not isinstance(table, Table) or _name_of(table, "label") in table.metadata.tables or "slot" not in table.c:
        return
    Index(f"ix_{table.name}_label_slot", table.c.label, table.c.slot, unique=True)
    Index(f"ix_{table.name}_checksum", table.c.checksum)
    Table(
        f"{table.name}_label",
        table.metadata,
        Column("label", _LABEL, primary_key=True),
        Column("total", _BIG, nullable=False),
        Column("next_slot", _BIG, nullable=False),
        schema=table.schema,
    )
    Table(
        f"{table.name}_failure",
        table.metadata,
        Column("source_key", String(64), primary_key=True),
        Column("label", _LABEL, nullable=False),
        Column("uri", Text, nullable=False),
        Column("reason", String(64), nullable=False),
        Column("detail", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("is_final", Boolean, nullable=False),
        Column("failed_at", DateTime(timezone=True), nullable=False),
        schema=table.schema,
    )


# --- counting --------------------------------------------------------------------------------------------------------


@event.listens_for(Session, "before_flush")
def _count_flush(session: Session, _context: object, instances: object) -> None:
    new = [each for each in session.new if isinstance(each, LabelledImage)]
    changed = [each for each in session.dirty if isinstance(each, LabelledImage) and get_history(each, "label").deleted]
    gone = [each for each in session.deleted if isinstance(each, LabelledImage)]
    if not (new or changed or gone):
        return
    for image in (*new, *changed):
        image.source_key = source_key(check_label(image.label), check_uri(image.uri))
    for cls in sorted({type(each) for each in (*new, *changed, *gone)}, key=lambda cls: cls.__qualname__):
        _count_class(session, cls, *([each for each in some if type(each) is cls] for some in (new, changed, gone)))


def _count_class(session: Session, cls: type[Any], new: list[Any], changed: list[Any], gone: list[Any]) -> None:
    arriving = [*new, *changed]
    more = Counter(each.label for each in arriving)
    less = Counter(_label_before(each) for each in (*changed, *gone))
    connection = session.connection(bind_arguments={"mapper": inspect(cls)})
    # in one order, so that two transactions that add to the same labels do not wait for each other
    for label in sorted({*more, *less}):
        first = _count(connection, labels_of(cls), label, more[label] - less[label], more[label])
        for slot, image in enumerate((each for each in arriving if each.label == label), first):
            image.slot = slot


def _label_before(image: Any) -> str:
    history = inspect(image).attrs.label.load_history()
    return str((history.deleted or history.unchanged)[0])


def _count(connection: Connection, counters: Table, label: str, change: int, slots: int) -> int:
    """Count ``change`` more pictures of ``label``, and give the first of ``slots`` new slots.

    The counter stays locked to the end of the transaction.
    """
    counted = (
        update(counters)
        .where(counters.c.label == label)
        .values(total=counters.c.total + change, next_slot=counters.c.next_slot + slots)
    )
    if not connection.execute(counted).rowcount:
        try:
            with connection.begin_nested():
                connection.execute(insert(counters).values(label=label, total=change, next_slot=slots))
        except IntegrityError:  # another transaction was first
            connection.execute(counted)
    after = connection.execute(select(counters.c.next_slot).where(counters.c.label == label)).scalar_one()
    return int(after) - slots
