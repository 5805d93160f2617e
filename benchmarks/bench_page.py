"""Pages of pictures, beside the bare load of the same rows by SQLAlchemy's ORM: statements, store accesses, CPU time.

The bare load has plain classes on the same tables, with a plain relationship.  Told apart are what the load of a row
costs (the listener of this library, its classes and collections) and what is done with it (finding the thumbnail, its
URL, its element).
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import harness
from PIL import Image as PillowImage
from sqlalchemy import Engine, ForeignKey, create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry, relationship, subqueryload
from sqlalchemy.pool import StaticPool

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.entity.image import utc_now
from sqlalchemy_imageattach.entity.transactions.locations import note_loaded
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.stores.memory import MemoryStore

OWNERS, ELEMENTS = 1000, 200


class Base(DeclarativeBase):
    """The catalogue."""


class User(Base):
    """Somebody."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    """Somebody's picture."""

    __tablename__ = "user_picture"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


class Product(Base):
    """Something to be sold."""

    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Base, Image):
    """What it looks like, in three widths and three formats."""

    __tablename__ = "product_photo"
    image_variants = {"card": Variant(widths=(16, 32, 48), formats=("webp", "jpeg", "png"))}
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)


class Locked(MemoryStore):
    """Gives URLs; once it is locked, it raises when anybody does I/O."""

    is_locked = False

    def get_file(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_locked:
            self.refuse()
        return super().get_file(*args, **kwargs)

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        if self.is_locked:
            self.refuse()
        super().put_file(*args, **kwargs)

    def refuse(self) -> NoReturn:
        """Nobody does I/O for a page."""
        msg = "the store was accessed"
        raise AssertionError(msg)


class Pages:
    """The candidates of one page: a statement each, and what is done with the rows."""

    def __init__(self, engine: Engine, store: Locked, owner: type[Any]) -> None:
        self.engine = engine
        self.info = {"image_store": store}
        self.owner = owner
        self.plain = plain_class(owner)
        self.plain_heard = plain_class(owner)
        event.listen(self.plain_heard.picture.property.mapper.class_, "load", note_loaded, raw=True)

    def page(self, owner: type[Any], use: Callable[[Any], object]) -> Callable[[], object]:
        """Load all owners with their pictures, and ``use`` each set."""
        statement = select(owner).options(subqueryload(owner.picture))

        def run() -> list[object]:
            with Session(self.engine, info=self.info) as session:
                return [use(each.picture) for each in session.scalars(statement)]

        return run

    def loads(self) -> dict[str, Callable[[], object]]:
        """What the load costs, by itself."""
        return {
            "bare ORM load": self.page(self.plain, len),
            "the same, with the load listener": self.page(self.plain_heard, len),
            "load": self.page(self.owner, len),
        }


def plain_class(owner: type[Any]) -> type[Any]:
    """A class on the table of ``owner``, and one on that of its pictures, that know nothing of this library."""
    mapped = registry()
    picture, plain = type("PlainPicture", (), {}), type("Plain", (), {})
    mapped.map_imperatively(picture, owner.picture.property.mapper.local_table)
    mapped.map_imperatively(plain, owner.__table__, properties={"picture": relationship(picture, viewonly=True)})
    mapped.configure()
    return plain


def by_hand(images: Any) -> str:
    """The URL of the thumbnail as an application would put it together that knows where everything is."""
    thumbnail = next(image for image in images if not image.original and image.width == 160)
    return (
        f"https://images.example.com/user-picture/{thumbnail.user_id % 1000}/{thumbnail.user_id // 1000}/"
        f"{thumbnail.user_id}.{thumbnail.width}x{thumbnail.height}.{thumbnail.revision}.jpe"
    )


def fill(engine: Engine, store: Locked) -> None:
    """1,000 users with an original and a thumbnail, without blobs; 200 products with all of their variants."""
    Base.metadata.create_all(engine)
    numbers = range(1, OWNERS + 1)
    pictures = [
        {
            "user_id": number,
            "width": width,
            "height": width * 3 // 4,
            "mimetype": "image/jpeg",
            "original": width == 640,
            "created_at": utc_now(),
            "revision": hashlib.sha1(repr((number, width)).encode()).hexdigest()[:16],
        }
        for number in numbers
        for width in (640, 160)
    ]
    with engine.begin() as connection:
        connection.execute(insert(Base.metadata.tables["user"]), [{"id": number} for number in numbers])
        connection.execute(insert(Base.metadata.tables["user_picture"]), pictures)
    with Session(engine, info={"image_store": store}) as session:
        for number in range(ELEMENTS):
            session.add(product := Product())
            product.picture.from_blob(photo(number))
        session.commit()
    store.is_locked = True


def photo(number: int) -> bytes:
    """A small picture, another one for each number."""
    file = io.BytesIO()
    image = PillowImage.linear_gradient("L").resize((60 + number % 40, 50)).convert("RGB")
    image.paste((number, 255 - number, 90), (0, 0, 30, 20 + number % 25))
    image.save(file, "JPEG")
    return file.getvalue()


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(*args: Any) -> None:
        sent.append(args[2])

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def main() -> int:
    """Print the figures."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    store = Locked("https://images.example.com/")
    fill(engine, store)
    users, products = Pages(engine, store, User), Pages(engine, store, Product)

    thumbnails = users.page(User, lambda picture: picture.find_thumbnail(width=160).locate())
    described = users.page(User, lambda picture: picture.thumbnail(width=160).locate())
    elements = products.page(Product, lambda picture: picture.picture("card", alt="A product", sizes="33vw"))
    with statements(engine) as sent:
        thumbnails()
        of_thumbnails = len(sent)
        elements()
        of_elements = len(sent) - of_thumbnails

    page = harness.race(
        {
            **users.loads(),
            "URLs put together by hand": users.page(users.plain, by_hand),
            "page": thumbnails,
            "page by thumbnail()": described,
        }
    )
    harness.report(
        f"page of {OWNERS:,} owners with a thumbnail each ({2 * OWNERS:,} image rows)", page, "bare ORM load"
    )
    gallery = harness.race({**products.loads(), "page": elements})
    harness.report(f"page of {ELEMENTS} <picture> elements ({10 * ELEMENTS:,} image rows)", gallery, "bare ORM load")

    def ratio(figures: dict[str, tuple[float, float]], name: str) -> float:
        return figures[name][1] / figures["bare ORM load"][1]

    rows = OWNERS + 2 * OWNERS
    listener = (page["the same, with the load listener"][1] - page["bare ORM load"][1]) / rows
    print(f"\nthe load listener: {listener * 1e6:.2f} µs a row; none of the pages accessed the store\n")
    verdicts = [
        harness.verdict("statements of the page of thumbnails", of_thumbnails, at_most=2),
        harness.verdict("statements of the page of elements", of_elements, at_most=2),
        harness.verdict("CPU of the page of thumbnails, times that of the bare load", ratio(page, "page"), at_most=1.5),
        harness.verdict("the same by thumbnail()", ratio(page, "page by thumbnail()"), at_most=1.75),
        harness.verdict("CPU of the page of elements, times that of the bare load", ratio(gallery, "page"), at_most=3),
        harness.verdict(
            "CPU of a load with the listener, times that without",
            ratio(page, "the same, with the load listener"),
            at_most=1.2,
        ),
    ]
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
