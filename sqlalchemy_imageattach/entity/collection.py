"""What every image set can tell of itself: whose it is, and which rows it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from sqlalchemy.orm import Query, RelationshipProperty, Session, collections, object_session, with_parent

from ..context import find_named_store, find_store
from ..errors import InvalidValueError, NoOriginalError
from ..store import Store
from .identity import mapper_of
from .image import Image

__all__ = ["BaseImageQuery", "ImageList", "ImageT", "PictureSet"]

ImageT = TypeVar("ImageT", bound=Image)


class BaseImageQuery(Generic[ImageT]):
    """What sets of one and of several pictures have in common: their owner, and queries of their rows."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[ImageT]: ...
        def __len__(self) -> int: ...

    @property
    def owner(self) -> Any:
        """The object that the images are attached to.

        :raises InvalidValueError: the collection is that of no object, or was replaced by another one
        """
        adapter = self._adapter
        owner = None if adapter is None or adapter.invalidated else adapter.owner_state.obj()
        if owner is None:
            msg = "this image set belongs to no object (any more): get it from the attribute of its owner"
            raise InvalidValueError(msg)
        return owner

    @property
    def image_class(self) -> type[ImageT]:
        """The class of the images."""
        return cast("type[ImageT]", self._attachment.mapper.class_)

    @property
    def query(self) -> Query[ImageT]:
        """A query of the rows of the set, for an owner that is in a session and has been flushed.

        Rows deleted by a bulk ``query.delete()`` leave their blobs behind for the sweeper.

        :raises InvalidValueError: the owner is in no session
        """
        owner = self.owner
        session = object_session(owner)
        if session is None:
            msg = f"{owner!r} is in no session, so its images cannot be queried: add it to one, or iterate over the set"
            raise InvalidValueError(msg)
        # not its own with_parent(), which warns that it is legacy
        of_owner = with_parent(owner, getattr(type(owner), self._attachment.key))
        # SQLModel's warns that it is deprecated there
        query: Any = Session.query if hasattr(type(session).query, "__deprecated__") else type(session).query
        return cast("Query[ImageT]", query(session, self.image_class).filter(of_owner))

    def count(self) -> int:  # type: ignore[override,unused-ignore]  # list.count() takes an argument
        """The number of images in the set, originals and thumbnails; without a statement."""
        return len(self)

    def filter(self, *criteria: Any) -> Query[ImageT]:
        """:attr:`query` with SQL expressions as criteria."""
        return self.query.filter(*criteria)

    def filter_by(self, **criteria: Any) -> Query[ImageT]:
        """:attr:`query` with values of attributes as criteria."""
        return self.query.filter_by(**criteria)

    def order_by(self, *expressions: Any) -> Query[ImageT]:
        """:attr:`query` in a stated order."""
        return self.query.order_by(*expressions)

    @property
    def _adapter(self) -> collections.CollectionAdapter | None:
        return getattr(self, "_sa_adapter", None)

    @property
    def _attachment(self) -> RelationshipProperty[Any]:
        owner = self.owner
        assert self._adapter is not None
        return mapper_of(type(owner)).relationships[self._adapter.attr.key]

    @property
    def _session(self) -> Session | None:
        return object_session(self.owner)

    def _find_store(self, argument: Store | None) -> Store:
        session = self._session
        return find_store(argument, None if session is None else session.info, self.image_class)

    def _store_to_attach_to(self, argument: Store | None, cls: type[ImageT]) -> tuple[Store | None, bool]:
        """The store, and whether it is that of the session; ``None`` if the owner is in none yet: the flush asks it."""
        named, session = find_named_store(argument, cls), self._session
        if named is not None or session is None:
            return named, False
        return find_store(None, session.info), True


class PictureSet(BaseImageQuery[ImageT]):
    """The images of one picture: what attaching and making thumbnails need of a set."""

    if TYPE_CHECKING:

        def append(self, image: ImageT, /) -> None: ...
        def remove(self, image: ImageT, /) -> None: ...

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def original(self) -> ImageT | None:
        """The picture as it was attached; ``None`` if there is none yet."""
        originals = [image for image in self if image.original]
        if len(originals) < 2:  # without a look at created_at, which the database may have set, and which is not loaded
            return originals[0] if originals else None
        # More than one only if two transactions attached the very first picture at the same time.
        return max(originals, key=_age)

    def require_original(self) -> ImageT:
        """The picture as it was attached.

        :raises NoOriginalError: there is none yet; it is an :exc:`OSError`
        """
        original = self.original
        if original is None:
            msg = f"{type(self.owner).__name__}.{self._attachment.key} has no picture yet: attach one by from_file()"
            raise NoOriginalError(msg)
        return original

    @property
    def _discriminators(self) -> Mapping[str, Any]:
        """The values that tell this picture from others of the same owner."""
        return {}


class ImageList(list[ImageT]):
    """A list in which images that are equal, as those of a dataclass may be, are still different images."""

    def remove(self, image: ImageT, /) -> None:
        """Remove ``image``; its blob goes when the transaction has committed."""
        for index, mine in enumerate(self):
            if mine is image:
                list.__delitem__(self, index)  # not ours, which would tell SQLAlchemy a second time
                return
        raise InvalidValueError(f"{image!r} is not in this image set")


def _age(image: Image) -> datetime:
    created_at: datetime | None = image.created_at
    if created_at is None:
        created_at = datetime.max
    return created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)
