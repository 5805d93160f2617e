from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.dataset import DatasetStore, SQLAlchemyDataset
from sqlalchemy_imageattach.dataset.stores import CouchbaseDataset
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .couchbase_double import BUCKET, PASSWORD, USER, Double
from .models import Base, Fruit

DATABASES = ["sqlite", "postgresql", "mariadb"]


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with _engine(request, tmp_path_factory) as made:
        yield made


@pytest.fixture
def database(engine: Engine) -> SQLAlchemyDataset:
    return SQLAlchemyDataset(sessionmaker(engine), Fruit, MemoryStore())


@pytest.fixture(scope="session")
def double() -> Iterator[Double]:
    with Double() as running:
        yield running


@pytest.fixture(scope="session")
def collection(double: Double) -> Iterator[Any]:
    """That of the double, or of the server at ``COUCHBASE_URL`` (``couchbase://user:password@host/bucket``)."""
    from datetime import timedelta

    from couchbase.auth import PasswordAuthenticator
    from couchbase.cluster import Cluster
    from couchbase.options import ClusterOptions, ClusterTimeoutOptions
    from sqlalchemy import make_url

    address, user, password, bucket = double.url, USER, PASSWORD, BUCKET
    if real := os.environ.get("COUCHBASE_URL"):
        url = make_url(real)
        address = url.set(username=None, password=None, database=None).render_as_string()
        user, password, bucket = str(url.username), str(url.password), url.database or BUCKET
    timeouts = ClusterTimeoutOptions(bootstrap_timeout=timedelta(seconds=20), kv_timeout=timedelta(seconds=20))
    options = ClusterOptions(PasswordAuthenticator(user, password), timeout_options=timeouts)
    cluster = Cluster.connect(address, options)
    yield cluster.bucket(bucket).scope("image").collection("labelled_image")
    cluster.close()


@pytest.fixture
def couchbase(collection: Any, request: pytest.FixtureRequest) -> CouchbaseDataset:
    return CouchbaseDataset(collection, prefix=f"{os.urandom(6).hex()}:")


@pytest.fixture(params=[*DATABASES, "couchbase"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatasetStore]:
    """Each store of a dataset: Couchbase by a double of its protocol, unless ``COUCHBASE_URL`` names a server."""
    if request.param == "couchbase":
        yield request.getfixturevalue("couchbase")
        return
    with _engine(request, tmp_path_factory) as made:
        yield SQLAlchemyDataset(sessionmaker(made), Fruit, MemoryStore())


@contextmanager
def _engine(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{factory.mktemp('database')}/dataset.db")
    else:
        made = create_engine(request.getfixturevalue(f"{request.param}_url"))
    Base.metadata.create_all(made)
    try:
        yield made
    finally:
        Base.metadata.drop_all(made)
        made.dispose()
