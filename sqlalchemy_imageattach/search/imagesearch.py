"""Search by a picture under the names of Flask-Image-Search, with Flask or without.

::

    image_search = ImageSearch(app)  # after SQLAlchemy(app)

    @image_search.register()
    class Image(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        path = db.Column(db.Text)

    distance = image_search.case("query.png", Image)
    Image.query.order_by(distance).limit(10)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.orm import Session, object_session

from ..arguments import choices_of, wrong_value
from ..bulk.rows import bind_of, sync_session
from ..entity import Image
from ..entity.identity import mapper_of
from ..errors import InvalidValueError, MissingIndexError
from ..store import Store
from .declaring import source_of
from .embedding import Embeddings
from .extractors import Extractor, TinyExtractor, check_extractor
from .filling import index_rows
from .index import Unreadable
from .indexing import IndexingThread, IndexResult, build_index, total_of
from .keras import KerasExtractor
from .listening import keep_in_step
from .onnx import EfficientNetLite0
from .shards import session_of_shard

__all__ = ["ImageSearch"]

_log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=type[Any])


class ImageSearch:
    """Classes of pictures, and the order of their rows by likeness.

    Vectors are rows beside those of the class, in the same database: so they are there, changed and gone in the same
    transaction, and distances can be combined with any filter.

    :param app: a Flask application, after Flask-SQLAlchemy was given it; ``None`` without Flask
    :param extractor: what makes vectors; that of :meth:`create_extractor` by default
    :param bind: the engine of :meth:`index_model`, where there is no application
    :param unreadable: whether a flush with a picture that cannot be decoded leaves it out (``"skip"``), or raises
        (``"refuse"``)
    :param tensorflow: ``False`` orders by colours alone, without loading a model
    """

    def __init__(
        self,
        app: Any = None,
        *,
        extractor: Extractor | None = None,
        bind: Engine | Connection | None = None,
        unreadable: Unreadable = "skip",
        tensorflow: bool = True,
    ) -> None:
        self._app: Any = None
        self._bind, self._unreadable = bind, unreadable
        self._uses_model = tensorflow
        self._extractor = None if extractor is None else check_extractor(extractor)
        self._indexes: dict[type[Any], list[Embeddings]] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any, *, tensorflow: bool | None = None) -> None:
        """Afterwards relative paths start from the root of ``app``, and its database is the one that is indexed.

        :param app: a Flask application, after Flask-SQLAlchemy was given it
        :param tensorflow: as in the constructor
        :raises InvalidValueError: Flask-SQLAlchemy has not been given it yet
        """
        if "sqlalchemy" not in app.extensions:
            msg = "app: expected an application with Flask-SQLAlchemy; call db.init_app(app) before init_app(app)"
            raise InvalidValueError(msg)
        if tensorflow is not None:
            self._uses_model = tensorflow
        app.extensions["image_search"] = self
        self._app = app

    # --- what makes vectors ------------------------------------------------------------------------------------------

    @property
    def extractor(self) -> Extractor:
        """What makes vectors, made when it is first asked for."""
        if self._extractor is None:
            self._extractor = check_extractor(self.create_extractor())
        return self._extractor

    def create_extractor(self) -> Extractor:
        """Override it to use another extractor.

        Where ``create_keras_model()`` is overridden, as Flask-Image-Search wants it, it is one that runs that model.
        """
        if not self._uses_model:
            return TinyExtractor()
        if type(self).create_keras_model is not ImageSearch.create_keras_model:
            return KerasExtractor(type(self).__name__, self.create_keras_model(), self.preprocess_image_array)
        return EfficientNetLite0()

    @staticmethod
    def create_keras_model() -> Any:
        """Override it to use a model of Keras; the one here is none."""
        raise NotImplementedError("create_keras_model() is to be overridden, by what gives a model of Keras")

    @staticmethod
    def preprocess_image_array(image_array: Any) -> Any:
        """Override it to prepare pictures, given as one batch of an array, for the model of Keras."""
        return image_array

    # --- classes -----------------------------------------------------------------------------------------------------

    def register(
        self, id: str = "id", path: str = "path", ignore: str | None = "ignore", *, table_name: str | None = None
    ) -> Callable[[ModelT], ModelT]:
        """Decorates a mapped class whose pictures are to be found.

        Its rows are indexed when they are inserted, changed and deleted; those that are there by :meth:`index_model`.
        A class with several columns of pictures is decorated once for each.

        :param id: the name of the primary key; it is found without
        :param path: the name of the column, or property, with the path of the file; not asked for where the class has
            the ``Image`` mixin, whose pictures are in its store
        :param ignore: the name of the column, or property, that says whether a row is to be left out; it need not be
        :param table_name: of the table of vectors; by default that of the class with ``_embedding``
        :raises InvalidTypeError: it is no mapped class
        :raises InvalidValueError: it has no such attribute, or is registered so already
        """

        def inner(model: ModelT) -> ModelT:
            if id != "id" and not hasattr(model, id):
                raise wrong_value("id", id, f"the name of an attribute of {model.__name__}")
            is_image = isinstance(model, type) and issubclass(model, Image)
            attribute = "" if path == "path" or is_image else path
            if any(index.attribute == attribute for index in self._indexes.get(model, ())):
                raise wrong_value("path", path, f"one that is not registered for {model.__name__} yet")
            source = source_of(model, None if is_image else path, ignore, self._root)
            index = Embeddings(
                model,
                source,
                self.extractor,
                attribute=attribute,
                table_name=table_name,
                unreadable=self._unreadable,
            )
            keep_in_step(index)
            self._indexes.setdefault(model, []).append(index)
            return model

        return inner

    def embeddings(self, model: Any, path: str | None = None) -> Embeddings:
        """The index of a registered class.

        :param path: which one, where several are registered
        :raises MissingIndexError: it is not registered
        :raises InvalidValueError: there are several, and ``path`` does not say which
        """
        found = self._find(model)
        if path is not None:
            found = [index for index in found if index.attribute == ("" if path == "path" else path)]
        if len(found) == 1:
            return found[0]
        choices = [index.attribute or "path" for index in self._find(model)]
        raise wrong_value("path", path, choices_of(choices))

    def _find(self, model: Any) -> list[Embeddings]:
        cls = inspect(model).mapper.class_ if inspect(model, raiseerr=False) is not None else model
        for each in getattr(cls, "__mro__", ()):
            if each in self._indexes:
                return self._indexes[each]
        msg = f"expected a class that is registered, got {cls!r}; decorate it with @image_search.register()"
        raise MissingIndexError(msg)

    # --- indexing ----------------------------------------------------------------------------------------------------

    def index(self, image: Any, replace: bool = False) -> bool:
        """Afterwards the picture of one row is indexed, in the transaction of its session: commit it to keep that.

        :param image: an object of a registered class, in a session; if it is new, it is flushed first
        :param replace: whether to look at it again if it is indexed already
        :return: whether it is indexed: not if it is to be ignored or cannot be decoded
        :raises MissingIndexError: its class is not registered
        :raises InvalidValueError: it is in no session
        """
        session, indexes = self._session_of(image, flush=True)
        for index in indexes:
            index_rows(index, session, [image], replace=replace)
        identity = tuple(mapper_of(type(image)).primary_key_from_instance(image))
        return all(index.sources(session, [identity]) for index in indexes)

    def delete(self, image: Any) -> None:
        """Afterwards the picture of one row is not indexed any more, in the transaction of its session.

        :param image: an object of a registered class, in a session; or the class, for all that is indexed of it
        :raises MissingIndexError: the class is not registered
        """
        if isinstance(image, type):
            for index in self._find(image):
                with self._own_session(index, None) as session:
                    index.clear(session)
                    session.commit()
            return
        session, indexes = self._session_of(image)
        identity = tuple(mapper_of(type(image)).primary_key_from_instance(image))
        for index in indexes:
            index.remove(session, [identity], all_versions=True)

    delete_index = delete

    def index_model(
        self,
        model: type[Any],
        replace: bool = False,
        threaded: bool = True,
        *,
        session: Session | None = None,
        store: Store | None = None,
        progress: Callable[[IndexResult], object] | None = None,
    ) -> Any:
        """Afterwards all pictures of a class are indexed, but for those that failed; their table is made if need be.

        It commits page by page.  If it is broken off, the same call goes on from there.

        :param model: a registered class
        :param replace: whether to read all pictures again, and not only those that are not indexed as they are called
        :param threaded: whether to return at once, and do it meanwhile
        :param session: tells the database; that of the application, or the ``bind`` of the constructor, by default
        :param store: the store that has the pictures; that of the session or the current one by default
        :param progress: called with the result so far after each page
        :return: an :class:`~.indexing.IndexResult`; or, with ``threaded``, a thread whose ``result()`` waits for it
        :raises MissingIndexError: the class is not registered
        """
        indexes = self._find(model)
        # found here, where the application's context is
        sessions = [self._own_session(index, session) for index in indexes]

        def work() -> IndexResult:
            results = []
            with self._app_context():
                for index, own in zip(indexes, sessions, strict=True):
                    with own:
                        results.append(build_index(index, own, store, anew=replace, progress=progress))
            total = total_of(results)
            for failure in total.failures:
                _log.warning("not indexed: %s", failure)
            _log.info("%d of %d pictures of %s are indexed now", total.indexed, total.examined, model.__name__)
            return total

        if not threaded:
            return work()
        thread = IndexingThread(work)
        thread.start()
        return thread

    # --- searching ---------------------------------------------------------------------------------------------------

    def case(
        self, image: Any, model: Any, column: Any = None, limit: int | None = None, *, path: str | None = None
    ) -> Any:
        """The distance of each row of a class from a picture, as an expression.

        0 is the same, 1 has nothing in common; rows that are not indexed have 9999.  See
        :meth:`Embeddings.distance() <sqlalchemy_imageattach.search.Embeddings.distance>`.

        :param image: a path, bytes, a file, a picture of Pillow's, an object of a registered class, or a vector
        :param model: a registered class, or an alias of it
        :param column: the column with the primary key, if it is not that of ``model``
        :param limit: taken as Flask-Image-Search takes it, and of no effect: all rows have their distance, so that a
            filter leaves no rows without
        :param path: which picture, where several are registered for the class
        """
        index = self.embeddings(model, path)
        return index.distance(self._query(image), None if inspect(model) is index.mapper else model, key=column)

    def _query(self, image: Any) -> Any:
        if isinstance(image, str | os.PathLike) and (root := self._root()) is not None:
            return root / image
        if not isinstance(image, Image) and inspect(image, raiseerr=False) is not None:
            for index in self._find(type(image)):
                picture = index.source.find(image, None, object_session(image))
                if picture is not None:
                    with picture.open() as file:
                        return index.vector_of(file)
            raise wrong_value("image", image, "one that has a picture, and is not to be ignored")
        return image

    # --- surroundings ------------------------------------------------------------------------------------------------

    def _session_of(self, image: Any, flush: bool = False) -> tuple[Session, list[Embeddings]]:
        indexes = self._find(type(image))
        session = object_session(image)
        if session is None:
            raise wrong_value("image", image, "an object in a session", "add it to one")
        if flush and image in session.new:
            session.flush()
        return session_of_shard(session, inspect(image).identity_token), indexes

    def _own_session(self, index: Embeddings, session: Any) -> Session:
        if session is not None:
            own = sync_session(session)
            return Session(bind_of(own, index.mapper), info=dict(own.info))
        if self._bind is not None:
            return Session(self._bind)
        app = self._current_app()
        if app is None:
            msg = "session: expected one, since there is neither an application nor a bind; give one of them"
            raise InvalidValueError(msg)
        with app.app_context():
            own = app.extensions["sqlalchemy"].session()
            return Session(bind_of(own, index.mapper), info=dict(own.info))

    def _app_context(self) -> AbstractContextManager[Any]:
        app = self._current_app()
        return nullcontext() if app is None else app.app_context()

    def _current_app(self) -> Any:
        flask: Any = sys.modules.get("flask")
        if flask is not None and self._app is not None and flask.has_app_context():
            return flask.current_app._get_current_object()
        return self._app

    def _root(self) -> Path | None:
        app = self._current_app()
        return None if app is None else Path(app.root_path)
