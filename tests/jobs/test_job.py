"""Jobs are values, which any queue can carry."""

from __future__ import annotations

import json
import pickle
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.jobs import Job, decode_key, encode_key

from .shop import Product, Shop, picture


class Size(Enum):
    LARGE = "large"


class Number(IntEnum):
    ONE = 1


KEYS = [
    (7, sa.Integer()),
    (2**70, sa.Numeric()),
    ("seven", sa.String()),
    (True, sa.Boolean()),
    (1.5, sa.Float()),
    (b"\x00\xff", sa.LargeBinary()),
    (UUID(int=7), sa.Uuid()),
    (Decimal("1.50"), sa.Numeric()),
    (datetime(2026, 1, 2, 3, 4, 5, 6), sa.DateTime()),
    (date(2026, 1, 2), sa.Date()),
    (time(3, 4), sa.Time()),
    (Size.LARGE, sa.Enum(Size)),
    (Number.ONE, sa.Enum(Number)),
]


@pytest.mark.parametrize(("value", "kind"), KEYS, ids=[repr(value) for value, _ in KEYS])
def test_a_key_is_the_same_after_it_has_travelled_as_json(value: Any, kind: sa.types.TypeEngine) -> None:
    job = Job("kind", "module:Class", (encode_key(value),), "revision")
    again = Job.from_json(json.loads(json.dumps(job.to_json())))
    assert again == job
    assert hash(again) == hash(job)
    [key] = again.identity
    found = decode_key(key, sa.Column("key", kind))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("key", [("UUID", "x"), ("Enum", "SMALL"), ("object", ""), ("bytes", "?"), ("a", "b", "c")])
def test_a_key_that_is_none_is_a_typed_error(key: Any) -> None:
    with pytest.raises(InvalidValueError, match="encode_key"):
        decode_key(key, sa.Column("key", sa.Enum(Size)))


def test_a_key_of_a_type_of_its_own_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="expected str, int"):
        encode_key(object())


def test_a_job_names_a_picture_by_its_row_and_by_its_revision(shop: Shop) -> None:
    with shop.sessions() as session:
        session.add(product := Product())
        product.photo.from_blob(picture())
        with pytest.raises(InvalidValueError, match="flush"):
            Job.of("kind", product.photo.original)
        session.flush()
        job = Job.of("kind", product.photo.original, quality=5)
    assert job.image_class == "tests.jobs.shop:ProductPhoto"
    assert job.identity[-1] in {1, ""} or 1 in job.identity
    assert job.revision
    assert job.params == {"quality": 5}
    assert "tests.jobs.shop:ProductPhoto" in str(job)


def test_a_job_cannot_be_changed_and_keeps_a_copy_of_its_parameters() -> None:
    params = {"sizes": [1, 2]}
    job = Job("kind", params=params)
    params["sizes"].append(3)
    assert job.params == {"sizes": [1, 2]}
    with pytest.raises(TypeError):
        job.params["sizes"] = []  # type: ignore[index]
    assert pickle.loads(pickle.dumps(job)) == job


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": 5},
        {"image_class": None},
        {"revision": 5},
        {"params": [1]},
        {"params": {"x": object()}},
        {"params": {"x": float("nan")}},
        {"identity": (b"bytes",)},
    ],
)
def test_what_json_cannot_say_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidTypeError):
        Job(**{"kind": "kind", **arguments})


@pytest.mark.parametrize("message", [None, [], {}, {"kind": "a", "later": 1}, "job"])
def test_a_message_that_is_no_job_is_refused(message: object) -> None:
    with pytest.raises(InvalidValueError, match="job: expected a mapping"):
        Job.from_json(message)
    with pytest.raises(InvalidTypeError, match="identity"):
        Job.from_json({"kind": "a", "identity": "abc"})
