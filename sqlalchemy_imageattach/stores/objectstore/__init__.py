"""Stores that keep blobs in Google Cloud Storage, Azure Blob Storage, or whatever else obstore speaks to.

It needs obstore: ``pip install 'SQLAlchemy-ImageAttach[objectstore]'``.  A store of obstore says where and with which
credentials, and :class:`ObjectStore` keeps pictures there::

    ObjectStore(google_bucket("pictures"), prefix="images")
    ObjectStore(azure_container("pictures", account="example"), public_base_url="https://images.example.com")

Or as a URL: ``gs://pictures/images``, ``az://pictures/images?account=example``.  For Amazon S3, and what is compatible
with it, :class:`.s3.S3Store` does more.

**URLs** are signed: whoever has one can read that blob for ``url_lifetime`` seconds.  They are made without a request
where the key of a service account (Google) or of the storage account (Azure) is known; otherwise the service is asked
to sign.  With ``public_base_url`` they are plain ones of a CDN, or of a bucket that everybody may read.

On Azure only names without spaces and other characters that URLs have to quote can be signed.

**What it promises:** a blob is there whole or not at all.  Requests that a service is too busy for are made again, and
so are most of those that break; which ones, obstore decides.
:func:`google_bucket` and :func:`azure_container` have obstore try three times more, and wait while something moves.
Left to itself it ends *every* request after 30 seconds, however well it goes, and tries again for up to 3 minutes.

A revision is taken to be new: it is not looked up whether there is a blob with it.  A blob of 8 MiB or more is uploaded
in parts.  Of an upload that was never ended, Google keeps the parts for ever unless the bucket's lifecycle rules say
otherwise (``AbortIncompleteMultipartUpload``), Azure for a week; the sweeper does not see them.

Threads can share a store, and it can be pickled, secrets included.  A forked process can use it unless a request was
made before the fork: obstore would wait for ever then, so a :exc:`~sqlalchemy_imageattach.errors.StoreError` is raised.
"""

from __future__ import annotations

from .backends import azure_container, google_bucket
from .store import ObjectStore

__all__ = ["ObjectStore", "azure_container", "google_bucket"]

ObjectStore.__module__ = __name__  # where it is to be imported from, as reprs and pickles say
