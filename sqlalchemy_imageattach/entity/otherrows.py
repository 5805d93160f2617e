"""Keys that other rows have a part in, such as the owner's.

An ``object_id`` of the application's own may read ``self.owner.number``.  The blob is then named after a row that is
not the image's: what the database makes of a value there, and each later change of it, counts as well.  So where a key
depends on more than the image's own columns, the rows themselves are asked, by a copy of the image that a session of
its own loads on the same connection.  It is asked after the rows are written, and before an owner is updated, whose
images may then have to follow.  Only owners are looked at: what is further away has to stay as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ClauseElement, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstanceState, Mapper, Session, lazyload
from sqlalchemy.orm.attributes import get_history, set_committed_value
from sqlalchemy.orm.base import PassiveFlag

from ..errors import ImageAttachError, ImageIdentityError
from ..key import ImageKey
from ..store import key_of
from .identity import has_usual_key, mapper_of
from .locks import image_classes
from .readback import depends_on, reads_other_rows
from .relationship import ImageAttachment

__all__ = ["adopt_key_of_rows", "images_of_changed_owners", "key_of_rows"]

#: An ordinary load would look for the images of the new key of an owner, of which there are none yet.
_BY_FORMER_KEY = PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_RAISE | PassiveFlag.LOAD_AGAINST_COMMITTED


def key_of_rows(session: Session, connection: Connection, image: Any) -> ImageKey | None:
    """The key of the blob that the *rows* name for the stored ``image``; ``None`` if its row is not there."""
    identity = inspect(image).identity
    assert identity is not None, "only rows can be asked"
    with _Rereading(session, connection) as rereading:
        copy = rereading.find(type(image), identity)
        return None if copy is None else _told_by(copy)


def adopt_key_of_rows(
    session: Session, connection: Connection, image: Any, flushed: Collection[InstanceState[Any]]
) -> ImageKey:
    """The same for an image whose row was just written; and what its key reads has the values of the rows afterwards.

    :param flushed: the objects that the running flush writes
    :raises ImageIdentityError: the rows do not say the key
    """
    mapper = mapper_of(type(image))
    with _Rereading(session, connection) as rereading:
        copy = rereading.find(type(image), mapper.primary_key_from_instance(image))
        if copy is None:
            raise ImageIdentityError(
                f"the row of {image!r} is not found by {image.identity_map}; give it as it is stored"
            )
        key = _told_by(copy)
        for read in list(rereading.identity_map.values()):
            own = _same_in(session, read)
            if own is not None:
                _adopt(copy, own, read, is_flushed=inspect(own) in flushed)
    return key


def images_of_changed_owners(session: Session, flushed: Collection[Any] | None) -> Iterator[Any]:
    """The stored images whose owners the coming flush updates, and whose keys may read more than their own rows.

    :param flushed: the objects that are to be flushed; ``None`` for all
    """
    owners = [each for each in session.dirty if flushed is None or each in flushed]
    if not owners or all(has_usual_key(cls) for cls in image_classes):
        return
    mappers = {mapper_of(type(owner)) for owner in owners}
    in_doubt = {mapper: [each for each in mapper.relationships if _is_in_doubt(each)] for mapper in mappers}
    for owner in owners:
        attachments = in_doubt[mapper_of(type(owner))]
        if attachments and session.is_modified(owner, include_collections=False):
            for attachment in attachments:
                history = get_history(owner, attachment.key, _BY_FORMER_KEY)
                found = (*(history.unchanged or ()), *(history.deleted or ()))
                yield from (image for image in found if inspect(image).persistent and reads_other_rows(image))


def _is_in_doubt(relationship: Any) -> bool:
    if not isinstance(relationship, ImageAttachment) or relationship.viewonly:
        return False
    return any(not has_usual_key(mapper.class_) for mapper in relationship.mapper.self_and_descendants)


class _Rereading(Session):
    """Loads what the rows say by now, on the connections of ``session``, whose own objects it leaves alone."""

    def __init__(self, session: Session, connection: Connection) -> None:
        # what is this package's own belongs to the other one
        info = {key: value for key, value in session.info.items() if not str(key).startswith("sqlalchemy_imageattach.")}
        super().__init__(autoflush=False, info=info, join_transaction_mode="rollback_only")
        self._session = session
        self._connection = connection

    def get_bind(self, mapper: Any = None, **arguments: Any) -> Connection:
        if self._session.connection_callable is not None:  # that of sharded sessions
            return self._connection
        return self._session.connection(bind_arguments={"mapper": mapper, "clause": arguments.get("clause")})

    def find(self, cls: type[Any], identity: Any) -> Any:
        # a relationship that the application never wants to be loaded unasked is loaded nevertheless
        return self.get(cls, tuple(identity), options=[lazyload("*")])


def _told_by(copy: Any) -> ImageKey:
    try:
        return key_of(copy)
    except (SQLAlchemyError, ImageAttachError):
        raise
    except Exception as error:  # of the application's own code
        raise ImageIdentityError(
            f"the rows do not say the key of a blob of {type(copy).__name__}: reading it from what is stored ended in"
            f" {type(error).__name__} ({error}); let object_id and object_type read nothing but what is stored"
        ) from error


def _same_in(session: Session, read: Any) -> Any:
    state = inspect(read)
    if (found := session.identity_map.get(state.key)) is not None:
        return found
    of_class = (each for each in session.new if type(each) is type(read))
    return next((each for each in of_class if state.mapper.identity_key_from_instance(each) == state.key), None)


def _adopt(copy: Any, own: Any, read: Any, *, is_flushed: bool) -> None:
    mapper: Mapper[Any] = inspect(own).mapper
    for name in mapper.column_attrs.keys() & own.__dict__.keys() & read.__dict__.keys():
        given, stored = own.__dict__[name], read.__dict__[name]
        if isinstance(given, ClauseElement) or (given == stored and type(given) is type(stored)):
            continue
        if (is_flushed or not inspect(own).attrs[name].history.has_changes()) and depends_on(copy, read, name):
            set_committed_value(own, name, stored)
