"""Pictures in SQLAdmin: a thumbnail in the list, and a field that uploads, replaces and removes.

::

    class ProductAdmin(PictureModelView, model=Product):
        column_list = ["name", "photo"]

Each attribute that is one picture gets such a field; there is nothing to declare.  Those that are several pictures are
left out of the form.  It needs SQLAdmin 0.32; plain and asynchronous engines will both do.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from sqladmin import ModelView
from sqladmin._queries import Query
from sqladmin.forms import ModelConverter
from sqladmin.helpers import get_object_identifier
from starlette.requests import Request

from ..uploads import SESSION_UPLOADS_KEY
from .pictures import attachments_of, is_attachment, is_single, thumbnail
from .wtforms import PictureChange, PictureField

__all__ = ["PictureModelConverter", "PictureModelView"]


class PictureModelConverter(ModelConverter):
    """Knows the attributes that are pictures."""

    async def convert(self, model: type, prop: Any, *args: Any, **options: Any) -> Any:
        if not is_attachment(prop):
            return await super().convert(model, prop, *args, **options)
        if not is_single(prop):
            return None
        label = options.get("label") or prop.key.replace("_", " ").capitalize()
        return PictureField(prop.mapper.class_, label, name=prop.key)


class _PictureQuery(Query):
    """Attaches pictures in the transaction in which the other attributes are set."""

    def _set_attributes_sync(self, session: Any, obj: Any, data: dict[str, Any]) -> Any:
        changes, others = _apart(data)
        found = super()._set_attributes_sync(session, obj, others)
        for name, change in changes.items():
            change.apply(getattr(found, name), uploads=session.info.get(SESSION_UPLOADS_KEY))
        return found

    async def _set_attributes_async(self, session: Any, obj: Any, data: dict[str, Any]) -> Any:
        changes, others = _apart(data)
        found = await super()._set_attributes_async(session, obj, others)
        for name, change in changes.items():
            await change.aapply(getattr(found, name), uploads=session.info.get(SESSION_UPLOADS_KEY))
        return found


def _apart(data: dict[str, Any]) -> tuple[dict[str, PictureChange], dict[str, Any]]:
    changes = {name: value for name, value in data.items() if isinstance(value, PictureChange)}
    return changes, {name: value for name, value in data.items() if name not in changes}


class PictureModelView(ModelView):
    """A view of a model with pictures."""

    form_converter = PictureModelConverter

    def __init__(self) -> None:
        super().__init__()
        self._pictures = list(attachments_of(self.model))
        for name in self._pictures:
            for formatters, with_request in (
                (self._list_formatters, self._list_formatter_accepts_request),
                (self._detail_formatters, self._detail_formatter_accepts_request),
            ):
                if formatters.setdefault(name, _shown) is _shown:
                    with_request[name] = False
        # otherwise each image of a set would be shown as a link to a view of its own
        self._relation_names = [name for name in self._relation_names if name not in self._pictures]

    async def get_object_for_edit(self, request: Request) -> Any:
        found = await super().get_object_for_edit(request)
        for name in self._pictures if found is not None else ():
            # SQLAdmin looks there for a former file, where the form has none
            setattr(found, f"{name}-file", None)
        return found

    async def insert_model(self, request: Request, data: dict[str, Any]) -> Any:
        obj = await _PictureQuery(self).insert(data, request)
        await self._emit_audit(request, "create", get_object_identifier(obj), _apart(data)[1])
        return obj

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:
        obj = await _PictureQuery(self).update(pk, data, request)
        await self._emit_audit(request, "update", pk, _apart(data)[1])
        return obj


def _shown(model: Any, name: Any) -> Markup:
    return thumbnail(getattr(model, name))
