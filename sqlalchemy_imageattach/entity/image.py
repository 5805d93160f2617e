"""The ``Image`` mixin: one row for each size of a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup, escape
from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Float,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Tuple,
    event,
    inspect,
    tuple_,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, Mapper, mapped_column, object_session
from sqlalchemy.orm.attributes import instance_state

from ..arguments import wrong_value
from ..concurrency import awaitable, run_blocking
from ..context import SESSION_STORE_KEY, find_store
from ..errors import ConcurrentReplacementError, InvalidTypeError, UnsavedImageError
from ..imaging import ImagePolicy
from ..imaging.variant import Variant, check_declaration
from ..key import ImageKey
from ..store import Store, is_missing, key_of
from .identity import default_object_id, has_own_column, mapper_of, primary_key_names, set_value
from .locks import is_outdated
from .transactions.locations import Locations
from .transactions.pending import blob_state, is_pending, stored_in

__all__ = ["Image", "LegacyImage", "utc_now"]


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


if TYPE_CHECKING:
    _UsualProperty = property
else:

    class _UsualProperty(property):
        """One that makes its part of a key of the primary key alone."""

        is_usual_key = True


class _ObjectType:
    """The default ``object_type``, which a class has as well as its objects."""

    is_usual_key = True

    def __get__(self, image: object, cls: type[Any]) -> Any:
        name = getattr(cls, "__tablename__", None)
        if name is None:
            mapper = inspect(cls, raiseerr=False)
            if mapper is None:  # a mixin, or Image itself
                return self
            name = mapper.local_table.description
        return str(name).replace("_", "-")


class Image:
    """A picture of one size.  Mix it into a mapped class; add the columns that say whose picture it is to the key.

    ::

        class UserPicture(Base, Image):
            __tablename__ = "user_picture"
            user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)

    A committed row always has its blob.  Rows come into being by
    :meth:`~sqlalchemy_imageattach.entity.BaseImageSet.from_file` and its kin on the image set of their owner.

    It has ``__html__()``, so templates can render it: ``{{ user.picture.find_thumbnail(width=120) }}`` becomes an
    ``<img>`` element.
    """

    #: What is accepted as a picture of this class.  Override it to be more or less strict.
    image_policy: ClassVar[ImagePolicy] = ImagePolicy()

    #: The store that pictures of this class are in, or a function that gives it when it is needed, or ``None``: then it
    #: is the one of the context, of the session or of the process.  The guide has the order.
    image_store: ClassVar[Store | Callable[[], Store | None] | None] = None

    #: What is made of each picture of this class, by names for
    #: :meth:`~sqlalchemy_imageattach.entity.BaseImageSet.variant`.
    image_variants: ClassVar[Mapping[str, Variant]] = {}

    # No annotations at run time: these columns are to be copied into dataclasses and plain classes alike, and to be
    # left out or replaced by subclasses.
    if TYPE_CHECKING:
        width: Mapped[int]
        height: Mapped[int]
        mimetype: Mapped[str]
        variant: Mapped[str]
        original: Mapped[bool]
        created_at: Mapped[datetime]
        revision: Mapped[str | None]
        byte_size: Mapped[int | None]
        checksum: Mapped[str | None]
        frames: Mapped[int | None]
        focal_x: Mapped[float | None]
        focal_y: Mapped[float | None]
        dominant_color: Mapped[str | None]
        thumbhash: Mapped[str | None]
        made_for: Mapped[str | None]
    else:
        #: The width in pixels, upright.
        width = mapped_column("width", Integer, primary_key=True, autoincrement=False)
        #: The height in pixels, upright.
        height = mapped_column("height", Integer, primary_key=True, autoincrement=False)
        #: The type of the blob, e.g. ``"image/jpeg"``.
        mimetype = mapped_column("mimetype", String(255), primary_key=True)
        #: What tells it from others of its size and type; see
        #: :meth:`Rendition.variant() <sqlalchemy_imageattach.imaging.Rendition.variant>`.  Empty for most.  It is part
        #: of the primary key where the width is.
        variant = mapped_column("variant", String(32), primary_key=True, default="", server_default="")
        #: Whether it is the picture as it was attached, rather than one made from it.
        original = mapped_column("original", Boolean, nullable=False, default=False)
        #: When it was made.
        created_at = mapped_column("created_at", DateTime(timezone=True), nullable=False, default=utc_now)
        #: The token that makes its blob immutable; ``None`` for blobs written by 1.x.
        revision = mapped_column("revision", String(64), nullable=True, active_history=True)
        #: The length of the blob in bytes; ``None`` for blobs written by 1.x.
        byte_size = mapped_column("byte_size", BigInteger, nullable=True)
        #: The SHA-256 of the blob in hexadecimal; ``None`` for blobs written by 1.x.
        checksum = mapped_column("checksum", String(64), nullable=True)
        #: How many pictures an original shows one after the other; ``None`` if that is not known.
        frames = mapped_column("frames", Integer, nullable=True)
        #: Where the most important spot of an original is, from the left, as a fraction of its width: what cutting
        #: keeps in view.  ``None`` for the middle.
        focal_x = mapped_column("focal_x", Float, nullable=True)
        #: The same from the top, as a fraction of its height.
        focal_y = mapped_column("focal_y", Float, nullable=True)
        #: The colour that prevails in an original, e.g. ``"#1f6feb"``; to be shown until the picture is there.
        dominant_color = mapped_column("dominant_color", String(9), nullable=True)
        #: A blurred preview of an original, as ThumbHash in Base64.
        thumbhash = mapped_column("thumbhash", String(48), nullable=True)
        #: The name of the declared variant that it was made for; ``None`` if the application asked for it by itself.
        made_for = mapped_column("made_for", String(64), nullable=True)

    if TYPE_CHECKING:

        @property
        def object_type(self) -> str: ...

    else:
        #: What stores call this kind of image, of the class and of each object: the table name with hyphens for
        #: underscores.  Override it, by a class attribute, a property or a ``declared_attr``, before renaming the
        #: table: it is part of every blob's key.
        object_type = _ObjectType()

    @_UsualProperty
    def object_id(self) -> int:
        """The integer by which stores tell the pictures of one type apart.

        It is the primary key besides width, height, mimetype and variant: an integer as it is, a UUID as its integer,
        anything else hashed to 128 bits.  Override it to return an integer of your own.
        """
        return default_object_id(mapper_of(type(self)), self)

    @classmethod
    def identity_attributes(cls) -> Sequence[str]:
        """The names of the attributes that are mapped to the primary key."""
        return primary_key_names(mapper_of(cls))

    @property
    def identity_map(self) -> Mapping[str, Any]:
        """The values of the primary key by the names of its attributes."""
        return {name: getattr(self, name) for name in self.identity_attributes()}

    @hybrid_property
    def size(self) -> tuple[int, int]:
        """The pair of width and height, in pixels.  It can be used in SQL expressions, and set before the first flush.

        ::

            session.scalars(select(UserPicture).where(UserPicture.size == (200, 100)))
        """
        return self.width, self.height

    @size.inplace.setter
    def _size_setter(self, value: tuple[int, int]) -> None:
        size = value
        try:
            width, height = size
        except (TypeError, ValueError):
            raise wrong_value("size", size, "a pair of width and height in pixels") from None
        for side in (width, height):
            if not isinstance(side, int) or isinstance(side, bool):
                raise InvalidTypeError(f"size: expected integers (pixels), got {size!r}")
            if side < 1:
                raise wrong_value("size", size, "at least 1 pixel on each side")
        set_value(self, "width", width)
        set_value(self, "height", height)

    @size.inplace.expression
    @classmethod
    def _size_expression(cls) -> Tuple:
        return tuple_(cls.width, cls.height)

    def locate(self, store: Store | None = None) -> str:
        """The URL of the blob.  No I/O, unless the image waits to be flushed: then its session is, if it autoflushes.

        :param store: the store that has the blob; the current one by default
        :raises ContextError: no store was given, and there is no current one
        :raises UnsavedImageError: the image was not flushed yet
        """
        self._require_blob()
        return self._find_store(store).locate(self)

    def open_file(self, store: Store | None = None, use_seek: bool = False) -> IO[bytes]:
        """A binary file with the blob, or with the file just attached if it is not flushed yet.  Close it after use.

        ::

            with user.picture.original.open_file() as file:
                shutil.copyfileobj(file, target)

        :param store: the store that has the blob; the current one by default
        :param use_seek: whether the file must have ``seek()`` and ``tell()``
        :raises OSError: the store has no such blob, or cannot be reached
        :raises ConcurrentReplacementError: the store has no such blob any more, since another transaction has replaced
            or removed the picture
        :raises ContextError: no store was given, and there is no current one
        """
        state = blob_state(self)
        if state.is_pending and state.pending is not None:
            return state.pending.content.open()
        found = self._find_store(store)
        try:
            file = run_blocking(found.get, key_of(self), use_seek=use_seek)
        except OSError as error:
            # a blob that is missing because its row is no longer true is no loss
            if is_missing(error) and is_outdated(self):
                raise ConcurrentReplacementError(
                    f"another transaction has replaced or removed {self!r} since it was loaded: roll back, load it anew"
                    " and try again"
                ) from error
            raise
        state.stored_in = found
        return file

    def make_blob(self, store: Store | None = None) -> bytes:
        """The bytes of the blob; otherwise like :meth:`open_file`."""

        def read(file: IO[bytes]) -> bytes:
            with file:
                return file.read()

        return run_blocking(read, self.open_file(store))

    def html(self, alt: str = "", **attributes: object) -> Markup:
        """An ``<img>`` element, for templates::

            {{ user.picture.html(alt=user.name, class_="avatar", loading="lazy") }}

        :param alt: what is read out in place of the picture; leave it empty for one that merely decorates
        :param attributes: more attributes by name: ``class_`` is ``class``, ``data_id`` is ``data-id``; ``True`` gives
            one without a value, ``None`` and ``False`` leave it out
        :raises ContextError: no store is known that could have the blob
        """
        return self._element({"alt": alt, **attributes})

    def __html__(self, alt: str | None = None, **attributes: object) -> str:
        """What templates show for it: as :meth:`html`, but with no ``alt`` if none is given."""
        return self._element({"alt": alt, **attributes})

    def _element(self, attributes: Mapping[str, object]) -> Markup:
        given = {"src": self.locate(), "width": self.width, "height": self.height}
        given |= {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        parts = [
            escape(name) if value is True else Markup('{}="{}"').format(name, value)
            for name, value in given.items()
            if value is not None and value is not False
        ]
        return Markup("<img {}>").format(Markup(" ").join(parts))

    def __repr__(self) -> str:
        # only what is loaded: a look at an object must not send a statement
        known = inspect(self).dict
        kind = {True: "original", False: "thumbnail"}.get(known.get("original"), "image")
        size = f"{known['width']}×{known['height']} " if "width" in known and "height" in known else ""
        return f"<{type(self).__name__} {size}{known.get('mimetype', '')} {kind}>".replace("  ", " ")

    # --- awaitable twins ---------------------------------------------------------------------------------------------

    alocate = awaitable(locate)
    aopen_file = awaitable(open_file)
    amake_blob = awaitable(make_blob)

    @classmethod
    def owns_column(cls, name: str) -> bool:
        """Whether the attribute is a column of this mixin's, rather than one of the application's of the same name."""
        return has_own_column(mapper_of(cls), name)

    def _find_store(self, argument: Store | None) -> Store:
        locations = Locations.find(self)
        bound = None if locations is None else locations.bound
        info = {SESSION_STORE_KEY: Locations.bound_to(self) if bound is None else bound}
        return find_store(argument, info, type(self), _known_store(self, locations))

    def _require_blob(self) -> None:
        if not is_pending(self):
            return
        session = object_session(self)
        if session is None or not session.autoflush:
            raise UnsavedImageError("this image has no blob yet: flush or commit its session first")
        session.flush()


def find_known_store(image: Any, key: ImageKey | None = None) -> Store | None:
    """The store that certainly has the blob of the stored ``image``, if this process has written or read it there.

    :param key: the blob's, if it is not what ``image`` says now
    """
    return _known_store(image, Locations.find(image), key)


def _known_store(image: Any, locations: Locations | None, key: ImageKey | None = None) -> Store | None:
    known = stored_in(image)
    if known is None and locations is not None and locations.remembers_any and instance_state(image).key is not None:
        return locations.store_of(key or key_of(image))
    return known


class LegacyImage(Image):
    """An :class:`Image` for a table made by SQLAlchemy-ImageAttach 1.x, used as it is.

    It has none of the columns that 2.0 added; columns of these names are the application's, and left alone.  Blobs then
    have no revision: a picture of the same size replaces the blob of the one before it, and of two transactions that do
    so at once the last writer wins.
    """

    if TYPE_CHECKING:
        pass
    else:
        mimetype = mapped_column("mimetype", String(255), nullable=False, active_history=True)
        variant = None
        revision = None
        byte_size = None
        checksum = None
        frames = None
        focal_x = None
        focal_y = None
        dominant_color = None
        thumbhash = None
        made_for = None


@event.listens_for(Image, "instrument_class", propagate=True)
def _instrument_class(mapper: Mapper[Any], cls: type[Image]) -> None:
    """What the class declares can be; and where its key is its own, and has no size in it, it has no variant either."""
    check_declaration(cls.__name__, cls.image_variants)
    table, width = mapper.local_table, getattr(cls.width, "column", None)
    if width is None or width.primary_key or not isinstance(table, Table):
        return
    key = [column for column in table.primary_key if column.name != "variant"]
    if key and len(key) < len(table.primary_key.columns):
        table.c["variant"].primary_key = False
        table.append_constraint(PrimaryKeyConstraint(*key, name=table.primary_key.name))  # type: ignore[arg-type]
