"""A page of 200 ``<picture>`` elements, beside the bare load of the same rows by SQLAlchemy.

It has to stay at two statements, without a look into the store, and within three times the time of the load.
"""

from __future__ import annotations

import io
import time
from statistics import median
from typing import Any

from PIL import Image as PillowImage
from sqlalchemy import ForeignKey, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, selectinload
from sqlalchemy.pool import StaticPool

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.stores.memory import MemoryStore

PRODUCTS, RUNS = 200, 15


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[Photo]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {"card": Variant(widths=(16, 32, 48), formats=("webp", "jpeg", "png"))}


class Deaf(MemoryStore):
    """It can be asked for URLs alone."""

    is_open = True

    def get_file(self, *args: Any, **kwargs: Any) -> Any:
        assert self.is_open
        return super().get_file(*args, **kwargs)


def photo(number: int) -> bytes:
    file = io.BytesIO()
    image = PillowImage.linear_gradient("L").resize((60 + number % 40, 50)).convert("RGB")
    image.paste((number, 255 - number, 90), (0, 0, 30, 20 + number % 25))
    image.save(file, "JPEG")
    return file.getvalue()


def main() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    store = Deaf("https://images.example.com/")
    with Session(engine, info={"image_store": store}) as session:
        for number in range(PRODUCTS):
            product = Product()
            session.add(product)
            product.photo.from_blob(photo(number))
        session.commit()
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    statement = select(Product).options(selectinload(Product.photo))

    def load() -> int:
        with Session(engine, info={"image_store": store}) as session:
            return sum(len(product.photo) for product in session.scalars(statement))

    def page() -> int:
        with Session(engine, info={"image_store": store}) as session:
            products = session.scalars(statement)
            return sum(len(product.photo.picture("card", alt="A product", sizes="33vw")) for product in products)

    store.is_open = False
    seconds: dict[str, list[float]] = {"load": [], "page": []}
    first = time.perf_counter()
    page()
    first = time.perf_counter() - first
    statements = len(sent)
    for _ in range(RUNS):
        for name, run in (("load", load), ("page", page)):
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    bare, whole = (median(seconds[name]) for name in ("load", "page"))
    print(f"{load()} rows loaded in {bare * 1000:.0f} ms; page in {whole * 1000:.0f} ms, {whole / bare:.2f} times that")
    print(f"the first page of the process: {first * 1000:.0f} ms; {statements} statements")
    assert statements == 2


if __name__ == "__main__":
    main()
