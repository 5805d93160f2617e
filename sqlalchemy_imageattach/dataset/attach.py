"""How a picture gets its row with a label: the one place that makes such rows."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ..context import find_store
from ..entity.transactions.pending import PendingBlob, blob_state
from ..store import Store
from .labels import LabelledImage
from .sample import Picture, Provenance, check_label, check_uri

__all__ = ["attach"]


def attach(
    session: Session,
    cls: type[LabelledImage],
    label: str,
    uri: str,
    picture: Picture,
    provenance: Provenance,
    *,
    store: Store | None = None,
) -> LabelledImage:
    """Add a row to the session; its blob is written by the next flush, and stays if the transaction is committed.

    :raises InvalidValueError: the label is empty or a path, or there is no URI
    """
    image = cls()
    image.label, image.uri = check_label(label), check_uri(uri)
    image.page, image.title, image.licence = provenance.page, provenance.title, provenance.licence
    image.fetched_at, image.http_status = provenance.fetched_at, provenance.status
    image.likeness = picture.likeness
    image.size, image.mimetype, image.original = picture.size, picture.mimetype, True
    # as attaching to a set does
    pending = PendingBlob(picture.content, find_store(store, session.info, cls))
    blob_state(image).pending = pending
    image.revision = pending.token
    session.add(image)
    return image
