"""Pictures in Flask-Admin: a thumbnail in the list, and a field that uploads, replaces and removes.

::

    class ProductView(PictureModelView):
        column_list = ["name", "photo"]

    admin.add_view(ProductView(Product, db))

Each attribute that is one picture gets such a field; there is nothing to declare.  Those that are several pictures are
left out of the form.  It needs Flask-Admin 2.
"""

from __future__ import annotations

from typing import Any, ClassVar

from flask_admin.contrib.sqla import ModelView
from flask_admin.contrib.sqla.form import AdminModelConverter
from flask_admin.model.typefmt import BASE_FORMATTERS
from markupsafe import Markup
from sqlalchemy.orm import selectinload

from ..entity import MultipleImageSet, SingleImageSet
from .pictures import attachments_of, is_attachment, is_single, thumbnail
from .wtforms import PictureField

__all__ = ["PictureModelConverter", "PictureModelView"]


def _formatter(_view: Any, value: Any, _name: str) -> Markup:
    return thumbnail(value)


_FORMATTERS = {SingleImageSet: _formatter, MultipleImageSet: _formatter}


class PictureModelConverter(AdminModelConverter):  # type: ignore[misc]  # Flask-Admin has no types
    """Knows the attributes that are pictures."""

    def convert(self, model: Any, mapper: Any, name: str, prop: Any, field_args: Any, hidden_pk: bool) -> Any:
        if not is_attachment(prop):
            return super().convert(model, mapper, name, prop, field_args, hidden_pk)
        if not is_single(prop):
            return None
        options = {"label": self._get_label(name, {}), "description": self._get_description(name, {})}
        return PictureField(prop.mapper.class_, **(options | dict(field_args or {})))


class PictureModelView(ModelView):  # type: ignore[misc]  # as above
    """A view of a model with pictures."""

    model_form_converter = PictureModelConverter
    # before those of lists, which image sets are too
    column_type_formatters: ClassVar[Any] = {**_FORMATTERS, **BASE_FORMATTERS}
    column_type_formatters_detail: ClassVar[Any] = {**_FORMATTERS, **BASE_FORMATTERS}

    def get_query(self) -> Any:
        """That of the list, with the pictures of all rows by one statement more."""
        names = [name for name, _ in self._list_columns]
        pictures = [selectinload(getattr(self.model, name)) for name in attachments_of(self.model) if name in names]
        return super().get_query().options(*pictures)
