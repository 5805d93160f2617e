"""Pictures in starlette-admin: a thumbnail in the list, and a field that uploads, replaces and removes.

::

    admin.add_view(PictureModelView(Product))

Each attribute that is one picture gets such a field; there is nothing to declare.  Those that are several pictures are
left out.  It needs starlette-admin 1; plain and asynchronous engines will both do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from sqlalchemy import Select
from sqlalchemy.orm import selectinload
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette_admin.contrib.sqla import ModelView
from starlette_admin.contrib.sqla.converters import ModelConverter
from starlette_admin.fields import FileField

from ..entity import Image
from ..file import binary_file
from ..imaging import probe
from ..spool import Spool
from .pictures import accept_of, attachments_of, is_single, smallest_of

__all__ = ["PictureField", "PictureModelConverter", "PictureModelView"]


@dataclass
class PictureField(FileField):
    """One picture.  A file that the policy of its class refuses is an error of the field.

    :param image_class: of which it is a picture
    """

    image_class: type[Image] = Image
    max_size: int | None = None
    list_template: str = "fields/list/image.html"
    form_template: str = "fields/form/image.html"
    detail_template: str = "fields/detail/image.html"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.accept = accept_of(self.image_class)
        self.searchable = self.orderable = False

    async def parse_form_data(self, request: Request, form_data: FormData) -> tuple[UploadFile | None, bool]:
        """The file, if there is one, and whether the picture is to be removed."""
        upload = form_data.get(self.id)
        remove = form_data.get(f"_{self.id}-delete") == "on"
        return (upload if isinstance(upload, UploadFile) and upload.size else None), remove

    async def validate(self, request: Request, value: Any, form_values: dict[str, Any]) -> None:
        """Look at the file.

        :raises RejectedImageError: it is no picture that the class accepts
        """
        upload, _ = value
        if isinstance(upload, UploadFile):
            await anyio.to_thread.run_sync(self._look, upload)

    def _look(self, upload: UploadFile) -> None:
        policy = self.image_class.image_policy
        with Spool.read_from(binary_file(upload), limit=policy.max_bytes).open() as file:
            probe(file, policy)

    async def parse_obj(self, request: Request, obj: Any) -> Any:
        return getattr(obj, self.name) or None

    async def serialize_value(self, request: Request, value: Any) -> Any:
        image = smallest_of(value)
        original = value.original
        if image is None or original is None:
            return None
        return {"url": original.locate(), "thumbnail_url": image.locate(), "filename": self.label}


class PictureModelConverter(ModelConverter):
    """Knows the attributes that are pictures."""

    def convert_fields_list(self, *, fields: Sequence[Any], model: type[Any], **options: Any) -> Sequence[Any]:
        attachments = attachments_of(model)
        chosen: list[Any] = []
        for field in fields:
            prop = attachments.get(field if isinstance(field, str) else getattr(field, "key", ""))
            if prop is None:
                chosen.append(field)
            elif is_single(prop):
                chosen.append(PictureField(prop.key, image_class=prop.mapper.class_))
        return super().convert_fields_list(fields=chosen, model=model, **options)


class PictureModelView(ModelView):
    """A view of a model with pictures."""

    def __init__(self, model: type[Any], **options: Any) -> None:
        super().__init__(model, **{"converter": PictureModelConverter(), **options})

    def get_list_query(self, request: Request) -> Select[Any]:
        """That of the list, with the pictures of all rows by one statement more."""
        query: Select[Any] = super().get_list_query(request)
        return query.options(*(selectinload(getattr(self.model, name)) for name in attachments_of(self.model)))
