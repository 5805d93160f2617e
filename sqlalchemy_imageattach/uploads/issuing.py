"""Permits to upload: who may send one picture, for what, how long and how large, and the token that says so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from markupsafe import Markup

from ..arguments import check_range, check_type, wrong_type, wrong_value
from ..concurrency import run_blocking
from ..errors import (
    ContextError,
    DirectUploadNotSupportedError,
    ExpiredTokenError,
    InvalidTokenError,
    UploadError,
)
from ..file import binary_file
from ..imaging import ImagePolicy, probe
from ..serving.signing import Signer
from ..spool import Spool
from ..store import Store
from ..storewrapper import StoreWrapper
from ..uploadtarget import UploadTarget
from .quarantine import QUARANTINE, QuarantinedFile, UploadedContent, is_quarantined, new_id

__all__ = [
    "SESSION_UPLOADS_KEY",
    "Permit",
    "Ticket",
    "Uploads",
    "find_uploads",
    "set_default_uploads",
    "with_token",
]

#: The key of ``session.info`` under which a session's own :class:`Uploads` are found.
SESSION_UPLOADS_KEY = "image_uploads"

#: The name of the field by which a form brings its token to an endpoint.
TOKEN = "upload"

_PLACE = "{token}"

_LONGEST_KEPT = 86400

#: Whose upload it is: nobody in particular, or what the application knows its users by.
User = str | int | UUID | None

_default: Uploads | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """One upload that somebody may make.

    :param token: what says so; to be put into the form that is to have the picture
    :param target: the request by which the file is sent
    :param max_bytes: how many bytes it may have
    :param mimetypes: the types that it may be of
    :param expires_at: the second since 1970 at which the request is no longer taken; the token is for longer
    """

    token: str
    target: UploadTarget
    max_bytes: int
    mimetypes: frozenset[str]
    expires_at: int

    def to_json(self) -> dict[str, Any]:
        """What a script needs: the token, and the request."""
        return {"token": self.token, "expiresAt": self.expires_at, "maxBytes": self.max_bytes} | self.target.to_json()

    def fields(self) -> Markup:
        """The hidden fields of a form that sends the file by itself, without a script; they stand before the file.

        ::

            <form method="post" action="{{ permit.target.url }}" enctype="multipart/form-data">
              {{ permit.fields() }}
              <input type="file" name="{{ permit.target.file_field }}" accept="{{ permit.accept }}" required>
              <button>Upload</button>
            </form>

        :raises DirectUploadNotSupportedError: the store takes no forms: there a script has to send the file
        """
        if self.target.method != "POST":
            msg = "expected a store that takes forms, got one that is sent bare files by PUT; that takes a script"
            raise DirectUploadNotSupportedError(msg)
        hidden = Markup('<input type="hidden" name="{}" value="{}">')
        return Markup("").join(hidden.format(name, value) for name, value in self.target.fields.items())

    @property
    def accept(self) -> str:
        """The ``accept`` of the file input."""
        return ",".join(sorted(self.mimetypes))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says.

    :param id: names the upload
    :param image_class: the name of the class that it is for
    :param user: whose it is
    :param max_bytes: how many bytes it may have
    :param mimetypes: the types that it may be of
    :param redirect: where the browser goes afterwards
    """

    id: str
    image_class: str
    user: str | None
    max_bytes: int
    mimetypes: frozenset[str]
    redirect: str | None = None

    def to_json(self) -> dict[str, Any]:
        given = {"i": self.id, "c": self.image_class, "b": self.max_bytes, "t": sorted(self.mimetypes)}
        optional = {"u": self.user, "r": self.redirect}
        return given | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ticket:
        return cls(value["i"], value["c"], value.get("u"), value["b"], frozenset(value["t"]), value.get("r"))


class Uploads:
    """Lets browsers send pictures to a store by themselves, and gives them to those who may have them.

    ::

        uploads = Uploads(secret, store)
        set_default_uploads(uploads)

        permit = uploads.direct_upload(UserPicture, user=user.id)     # the browser sends the file, and comes back
        user.picture.from_upload(permit.token, user=user.id)

    :param secret: 32 bytes or more that nobody can guess, or several of them, the newest first
    :param store: where uploads are until they are taken; best that of the pictures, or one on the same service
    :param endpoint: the URL of an :class:`~sqlalchemy_imageattach.uploads.UploadEndpoint`, for stores that cannot be
        written to by others, such as directories
    :param lifetime: for how many seconds a file can be sent
    :param keep: for how many seconds a token is valid, and so, how long the form around it may be filled in; a day at
        most
    :raises InvalidValueError: the secret is missing or too short, a time is out of range, or there is no endpoint and
        the store cannot be written to by others
    :raises InvalidTypeError: an argument has the wrong type
    """

    def __init__(
        self,
        secret: Any,
        store: Store,
        *,
        endpoint: str | None = None,
        lifetime: int = 3600,
        keep: int = _LONGEST_KEPT,
    ) -> None:
        self._signer = Signer(secret, purpose="upload")
        self.store = check_type("store", store, Store)
        self.endpoint = None if endpoint is None else check_type("endpoint", endpoint, str)
        for name, seconds in (("lifetime", lifetime), ("keep", keep)):
            check_type(name, seconds, int)
            check_range(name, seconds, f"seconds, 1 to {_LONGEST_KEPT}", 1, _LONGEST_KEPT)
        if keep < lifetime:
            raise wrong_value("keep", keep, f"as many seconds as lifetime ({lifetime}) or more")
        self.lifetime = lifetime
        self.keep_for = keep
        if endpoint is None and not _is_open_to_others(store):
            advice = "nobody else can write to this store; give the URL of an UploadEndpoint"
            raise wrong_value("endpoint", endpoint, f"a URL for {store!r}", advice)

    # --- giving ------------------------------------------------------------------------------------------------------

    def direct_upload(
        self,
        image_class: type[Any],
        *,
        user: User = None,
        mimetype: str | None = None,
        byte_size: int | None = None,
        redirect: str | None = None,
    ) -> Permit:
        """A permit for one upload.  No statement, and no request to the store.

        :param image_class: what it will be a picture of; its ``image_policy`` has the limits
        :param user: whose it is: nobody else can use the token
        :param mimetype: the type that the browser says the file is of, if it is known
        :param byte_size: its length, if that is known
        :param redirect: the URL to which a browser that has sent a form without a script is to go, with ``{token}``
            where the token is to stand: in the path, since some services forget the query
        :raises PolicyViolationError: the policy does not take such a file; the text is for the visitor
        :raises InvalidTypeError: ``image_class`` is no image class, or another argument of the wrong type
        :raises InvalidValueError: the policy has no ``max_bytes``, or ``redirect`` no ``{token}``
        :raises StoreError: there are no credentials to sign with
        """
        policy, limit = _policy_of(image_class), _limit_of(image_class)
        if byte_size is not None:
            policy.check_bytes(check_type("byte_size", byte_size, int))
        if mimetype is not None:
            policy.check_type(check_type("mimetype", mimetype, str))
        if redirect is not None and _PLACE not in check_type("redirect", redirect, str):
            raise wrong_value("redirect", redirect, "a URL with {token} in its path")
        types = frozenset({mimetype}) if mimetype else policy.allowed_types
        ticket = Ticket(new_id(), _name_of(image_class), _user(user), limit, types, redirect)
        now = time.time()
        token = self._token(ticket, now)
        return Permit(token, self._target(ticket, token, mimetype), limit, types, int(now) + self.lifetime)

    def keep(self, image_class: type[Any], file: Any, *, user: User = None) -> str:
        """Keep a file that came with a form which was refused for another reason, and give the token for the form.

        ::

            if form.errors:
                token = uploads.keep(UserPicture, request.files["picture"], user=user.id)
                return render_template("form.html", picture_token=token)     # in a hidden field

        :param file: what :meth:`~sqlalchemy_imageattach.entity.BaseImageSet.from_file` takes
        :raises RejectedImageError: it is no picture that the class accepts; nothing is kept
        :raises OSError: the store could not do it
        """
        policy, limit = _policy_of(image_class), _limit_of(image_class)
        content = Spool.read_from(binary_file(file), limit=limit)
        with content.open() as copy:
            probe(copy, policy)
        ticket = Ticket(new_id(), _name_of(image_class), _user(user), limit, policy.allowed_types)
        with content.open() as copy:
            run_blocking(self.file_of(ticket).put, copy)
        return self._token(ticket, time.time())

    # --- taking ------------------------------------------------------------------------------------------------------

    def check(self, token: str) -> Ticket:
        """What the token says, whoever brings it.

        :raises UploadError: it was not made here, or its time is over
        """
        try:
            return Ticket.from_json(self._signer.loads(token))
        except ExpiredTokenError as error:
            msg = "the upload was kept too long: upload the picture again"
            raise UploadError(msg, code="upload_expired") from error
        except (InvalidTokenError, KeyError, TypeError) as error:
            msg = "this is no upload that was made here: upload the picture again"
            raise UploadError(msg, code="upload_unknown") from error

    def check_sending(self, token: str) -> Ticket:
        """What the token says, while its file may be sent yet: for as long as stores take one by a signed request.

        :raises UploadError: it was not made here, or its file cannot be sent any more
        """
        ticket = self.check(token)
        end = self._signer.expiry_of(token)
        if end is None or end - self.keep_for + self.lifetime <= time.time():
            msg = "the time in which the picture could be sent is over: begin the upload anew"
            raise UploadError(msg, code="upload_expired")
        return ticket

    def take(self, token: str, image_class: type[Any], *, user: User = None) -> UploadedContent:
        """What was sent, for who may have it.

        :raises UploadError: nobody may, or not as a picture of this class, or not this user; or nothing was sent
        :raises RejectedImageError: it is too long
        """
        ticket = self.check(token)
        if ticket.image_class != _name_of(image_class):
            msg = "this was uploaded for something else: upload the picture again"
            raise UploadError(msg, code="other_class")
        if ticket.user != _user(user):
            error = UploadError("this was uploaded by somebody else: upload the picture again", code="other_user")
            if user is None:
                error.add_note("it is somebody's, and no user= was given: give the one that direct_upload() was told")
            raise error
        return self.file_of(ticket).read(ticket.max_bytes)

    def file_of(self, ticket: Ticket) -> QuarantinedFile:
        """Where the upload is."""
        return QuarantinedFile(self.store, ticket.id)

    def sweep(self, *, grace: timedelta = timedelta(seconds=_LONGEST_KEPT)) -> int:
        """Delete what nobody has taken, and the marks of what was, and say how many blobs these were.

        ``imageattach sweep`` does so in stores of pictures; this is for one that has nothing but uploads.

        :param grace: how old they must be; less than ``keep`` lets tokens be used twice
        :raises StoreError: the store cannot list what it has, or cannot delete it
        """
        cutoff = datetime.now(UTC) - check_type("grace", grace, timedelta)
        old = [
            blob.key
            for blob in self.store.list_blobs(f"{QUARANTINE}/")
            if blob.key is not None and is_quarantined(blob.key) and blob.modified_at <= cutoff
        ]
        for key in old:
            self.store.delete_key(key)
        return len(old)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _token(self, ticket: Ticket, now: float) -> str:
        return self._signer.dumps(ticket.to_json(), expires_at=int(now) + self.keep_for)

    def _target(self, ticket: Ticket, token: str, mimetype: str | None) -> UploadTarget:
        redirect = None if ticket.redirect is None else with_token(ticket.redirect, token)
        key = self.file_of(ticket).key
        try:
            return self.store.presign_upload(
                key, max_bytes=ticket.max_bytes, lifetime=self.lifetime, mimetype=mimetype, redirect=redirect
            )
        except DirectUploadNotSupportedError:
            if self.endpoint is None:
                raise
        return UploadTarget(self.endpoint, "POST", {TOKEN: token}, limits_size=True, limits_type=True)


def set_default_uploads(uploads: Uploads | None) -> None:
    """Make ``uploads`` those that the whole process uses where no others are named; ``None`` takes them away.

    :raises InvalidTypeError: it is something else
    """
    global _default
    _default = None if uploads is None else check_type("uploads", uploads, Uploads)


def find_uploads(argument: Uploads | None = None, session_info: Mapping[Any, Any] | None = None) -> Uploads:
    """The uploads to use: the argument, those bound to the session, those of the process.

    :raises ContextError: there are none
    """
    found = argument or (session_info or {}).get(SESSION_UPLOADS_KEY) or _default
    if found is None:
        msg = (
            "no uploads are set; pass uploads=…, or bind them to the session by Session(engine, info={"
            f'"{SESSION_UPLOADS_KEY}": uploads}}), or call set_default_uploads(uploads) once'
        )
        raise ContextError(msg)
    return check_type("uploads", found, Uploads)


def with_token(url: str, token: str) -> str:
    """``url`` with the token in its place."""
    return url.replace(_PLACE, token)


def _policy_of(image_class: object) -> ImagePolicy:
    policy = getattr(image_class, "image_policy", None)
    if not isinstance(image_class, type) or not isinstance(policy, ImagePolicy):
        raise wrong_type("image_class", image_class, "an image class, such as UserPicture")
    return policy


def _limit_of(image_class: type[Any]) -> int:
    limit: int | None = image_class.image_policy.max_bytes
    if limit is None:
        advice = "nobody may fill a store without a limit"
        raise wrong_value("max_bytes", limit, f"a limit in the image_policy of {image_class.__name__}", advice)
    return limit


def _name_of(image_class: type[Any]) -> str:
    return f"{image_class.__module__}.{image_class.__qualname__}"


def _user(user: User) -> str | None:
    return None if user is None else str(check_type("user", user, (str, int, UUID), "what users are known by"))


def _is_open_to_others(store: Store) -> bool:
    while isinstance(store, StoreWrapper):
        store = store.wrapped
    return type(store).presign_upload is not Store.presign_upload
