"""A field of WTForms for one picture: upload, replace, remove, and what was chosen survives a form that is refused.

::

    class ProfileForm(Form):
        name = StringField(validators=[DataRequired()])
        picture = PictureField(UserPicture)

    form = ProfileForm(CombinedMultiDict([request.form, request.files]), user)
    if form.validate():
        form.populate_obj(user)
        session.commit()

It needs WTForms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from wtforms import Field
from wtforms.utils import unset_value
from wtforms.validators import StopValidation

from ..entity import BaseImageSet, Image
from ..errors import ContextError, InvalidTypeError, InvalidValueError, RejectedImageError
from ..file import binary_file
from ..imaging import probe
from ..spool import Spool
from ..uploads import Uploads, find_uploads
from .pictures import accept_of, thumbnail

__all__ = ["PictureChange", "PictureField", "PictureWidget"]


@dataclass(slots=True)
class PictureChange:
    """What a form wants to be done with a picture; false if nothing.

    :param file: what to attach
    :param token: what was uploaded or kept before, and is to be attached
    :param remove: whether to remove it
    """

    file: Spool | None = None
    token: str = ""
    remove: bool = False

    def __bool__(self) -> bool:
        return self.file is not None or bool(self.token) or self.remove

    def apply(self, picture: BaseImageSet[Any], *, uploads: Uploads | None = None, user: Any = None) -> None:
        """Do it, in the transaction of the picture's session.

        :raises RejectedImageError: it is no picture that the class accepts, or the token is none
        """
        if self.file is not None:
            with self.file.open() as file:
                picture.from_file(file)
        elif self.token:
            picture.from_upload(self.token, user=user, uploads=uploads)
        elif self.remove:
            picture.clear()

    async def aapply(self, picture: BaseImageSet[Any], *, uploads: Uploads | None = None, user: Any = None) -> None:
        """The same below an ``AsyncSession``."""
        if self.file is not None:
            with self.file.open() as file:
                await picture.afrom_file(file)
        elif self.token:
            await picture.afrom_upload(self.token, user=user, uploads=uploads)
        elif self.remove:
            picture.clear()


class PictureWidget:
    """A thumbnail, a file input, and what else belongs to them."""

    input_type = "file"

    def __call__(self, field: PictureField, **attributes: Any) -> Markup:
        name, data = field.name, field.data
        attributes.setdefault("id", field.id)
        classes = attributes.pop("class_", attributes.pop("class", "form-control"))
        given = {"type": "file", "name": f"{name}-file", "accept": field.accept, "class": classes, **attributes}
        parts = [Markup("<input {}>").format(_attributes(given))]
        token = field.token_to_keep()
        if token:
            kept = Markup('<input type="hidden" name="{}-token" value="{}"><small>{}</small>')
            parts.append(kept.format(name, token, field.gettext("The picture that was chosen is kept.")))
        if field.picture:
            checked = Markup(" checked") if data.remove else ""
            parts.insert(0, Markup("<p>{}</p>").format(thumbnail(field.picture, "6rem")))
            remove = Markup('<label><input type="checkbox" name="{}-remove" value="1"{}> {}</label>')
            parts.append(remove.format(name, checked, field.gettext("Remove")))
        return Markup("").join(parts)


class PictureField(Field):  # type: ignore[misc]  # WTForms has no types
    """One picture.  Its ``data`` is a :class:`PictureChange`, and the picture itself is its ``object_data``.

    A file that the policy of the class refuses is an error of the field.  If it is another field that is refused, the
    file is kept (:meth:`Uploads.keep() <sqlalchemy_imageattach.uploads.Uploads.keep>`), so it need not be chosen again:
    where ``uploads`` are given, or are set for the process.

    :param image_class: of which it is a picture
    :param label: as of all fields
    :param validators: as of all fields
    :param uploads: what keeps files; by default those of the process, if there are any
    :param user: who fills in the form, if several people do
    """

    widget = PictureWidget()

    def __init__(
        self,
        image_class: type[Image],
        label: str | None = None,
        validators: Sequence[Any] | None = None,
        *,
        uploads: Uploads | None = None,
        user: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(label, validators, **options)
        self.image_class = image_class
        self.accept = accept_of(image_class)
        self.uploads = uploads
        self.user = user
        self.data = PictureChange()
        self._form: Any = None
        self._refused: str | None = None

    @property
    def picture(self) -> Any:
        """The image set that the form was filled with, if it was."""
        return self.object_data if isinstance(self.object_data, BaseImageSet) else None

    def process(self, formdata: Any, data: Any = unset_value, extra_filters: Iterable[Any] | None = None) -> None:
        self.process_errors: list[str] = []
        self.object_data = None if data is unset_value else data
        self.data = PictureChange()
        self._refused = None
        if formdata is None:
            return
        self.raw_data = formdata.getlist(f"{self.name}-file")
        for upload in self.raw_data:
            try:
                content = Spool.read_from(binary_file(upload), limit=self.image_class.image_policy.max_bytes)
            except RejectedImageError as error:
                self._refused = str(error)
            except (InvalidTypeError, InvalidValueError):
                continue  # a form without multipart/form-data sends the file's name
            else:
                self.data.file = content if content.byte_size else self.data.file
        self.data.token = next(iter(formdata.getlist(f"{self.name}-token")), "") if self.data.file is None else ""
        self.data.remove = bool(formdata.getlist(f"{self.name}-remove"))

    def pre_validate(self, form: Any) -> None:
        self._form = form
        if self._refused is not None:
            raise StopValidation(self._refused)
        try:
            if self.data.file is not None:
                with self.data.file.open() as file:
                    probe(file, self.image_class.image_policy)
            elif self.data.token:
                self._find_uploads().take(self.data.token, self.image_class, user=self.user)
        except RejectedImageError as error:
            self.data = PictureChange(remove=self.data.remove)
            raise StopValidation(str(error)) from error

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            self.data.apply(getattr(obj, name), uploads=self.uploads, user=self.user)

    def token_to_keep(self) -> str:
        """The token of the file that was chosen, if the form comes back because of something else."""
        if self.data.file is not None and self._form is not None and self._form.errors and not self.errors:
            try:
                uploads = self._find_uploads()
            except ContextError:
                return ""
            with self.data.file.open() as file:
                self.data = PictureChange(None, uploads.keep(self.image_class, file, user=self.user), self.data.remove)
        return self.data.token

    def _find_uploads(self) -> Uploads:
        return find_uploads(self.uploads)


def _attributes(given: dict[str, Any]) -> Markup:
    parts = [
        escape(name) if value is True else Markup('{}="{}"').format(name.replace("_", "-"), value)
        for name, value in given.items()
        if value is not None and value is not False
    ]
    return Markup(" ").join(parts)
