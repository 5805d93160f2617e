"""What is stored is brought to what is declared."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import InvalidValueError
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.variants import Variant, bring_up_to_date

from ..entity.support import CountingStore, picture
from .models import Base, Product, ProductPhoto


@pytest.fixture
def products(session: Session) -> list[Product]:
    products = [Product() for _ in range(5)]
    session.add_all(products)
    for product in products[:4]:
        product.photo.from_blob(picture(200, 100, "red", "JPEG"))
    products[0].photo.thumbnail(width=50)
    session.commit()
    return products


def run(session: Session, store: CountingStore, **options: Any) -> tuple[int, int]:
    session.rollback()
    result = bring_up_to_date(session, Base, store, **options)
    assert result.ok, result.failures
    return result.generated, result.removed


def in_step(session: Session, store: CountingStore) -> bool:
    session.expire_all()
    rows = {key_of(image) for image in session.query(ProductPhoto)}
    session.rollback()
    return rows == set(store.blobs)


@pytest.mark.usefixtures("products")
def test_what_is_missing_is_made_after_it_was_counted(session: Session, store: CountingStore) -> None:
    before = len(store)
    assert run(session, store) == (4 * 2, 0)
    assert len(store) == before
    assert run(session, store, dry_run=False) == (4 * 2, 0)
    assert run(session, store, dry_run=False) == (0, 0)
    assert run(session, store, dry_run=False, on_demand=True) == (4, 0)
    assert len(store) == before + 12
    assert in_step(session, store)


def test_what_is_declared_no_longer_goes_and_what_was_asked_for_stays(
    session: Session, store: CountingStore, products: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"card": Variant(widths=(32, 50), formats=("webp", "jpeg"))}
    monkeypatch.setattr(ProductPhoto, "image_variants", changed)
    # of 64 and 96 two formats each, and two avatars; 50 in JPEG is there for one of them already
    assert run(session, store) == (4 * 2 - 1, 4 * 6)
    assert run(session, store, dry_run=False) == (4 * 2 - 1, 4 * 6)
    assert run(session, store, dry_run=False) == (0, 0)
    assert in_step(session, store)
    # what the application has asked for by itself is not removed when it is declared no more
    monkeypatch.setattr(ProductPhoto, "image_variants", {})
    assert run(session, store, dry_run=False) == (0, 4 * 4 - 1)
    assert sorted(image.width for image in products[0].photo) == [50, 200]
    assert in_step(session, store)


@pytest.mark.usefixtures("products")
def test_the_work_is_shared_by_shards(session: Session, store: CountingStore) -> None:
    parts = [run(session, store, dry_run=False, shard=(index, 3)) for index in range(3)]
    assert sum(generated for generated, _ in parts) == 8
    assert run(session, store) == (0, 0)
    with pytest.raises(InvalidValueError, match="0 <= i < n"):
        bring_up_to_date(session, Base, store, shard=(3, 3))


@pytest.mark.usefixtures("products")
def test_a_class_is_chosen_by_its_name(session: Session, store: CountingStore) -> None:
    assert run(session, store, classes=["ProductPhoto"]) == (8, 0)
    with pytest.raises(InvalidValueError, match="some of the image classes ProductPhoto"):
        bring_up_to_date(session, Base, store, classes=["Portrait"])


def test_one_picture_that_fails_does_not_stop_the_rest(
    session: Session, store: CountingStore, products: list[Product], engine: Engine
) -> None:
    store.delete_key(key_of(products[1].photo.require_original()))
    session.rollback()
    result = bring_up_to_date(session, Base, store, dry_run=False)
    assert (result.owners, result.pictures, result.generated, result.failed) == (5, 3, 6, 1)
    assert "no such blob" in str(result.failures[0])
    with Session(engine) as other:
        assert len(other.get_one(Product, products[1].id).photo) == 9
