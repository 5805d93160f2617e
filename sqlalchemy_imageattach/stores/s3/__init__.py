"""Stores that keep blobs in buckets of Amazon S3, or of anything that speaks its language.

>>> store = S3Store("pictures", region="eu-west-1", prefix="images")
>>> store.get_url("user-picture", 1234, 640, 480, "image/jpeg", revision="Xk3v9QpLm2w")
'https://pictures.s3.eu-west-1.amazonaws.com/images/user-picture/1234/640x480.Xk3v9QpLm2w.jpe'

It needs boto3: ``pip install 'SQLAlchemy-ImageAttach[s3]'``.  Credentials are found as all programs of AWS find them (a
role of the machine, a profile, SSO, the environment), unless they are given.

**URLs** are made in one of three ways, never with a request:

* by default the bucket's own: for buckets whose policy lets everybody read.  The store makes nothing public by itself;
* ``public=False``: signed ones, which let whoever has them read that blob for ``url_lifetime`` seconds;
* ``public_base_url="https://d1234.cloudfront.net"``: those of a CDN in front of the bucket.

**What it promises:** a blob is there whole or not at all; S3 answers only when it is safe.  What breaks is tried again
``max_retry`` times, with pauses of at most 20 seconds.  An attempt fails when connecting takes longer than
``connect_timeout`` or nothing comes for ``read_timeout``, so by default a request to a service that does not react ends
after at most four times 35 seconds and some pauses, by a :exc:`~sqlalchemy_imageattach.errors.StoreError`.

A revision is taken to be new: it is not looked up whether there is a blob with it, since that would cost a request, and
the condition that S3 has for it is ignored by some of its imitators, and mistakes its own retry for somebody else.

A blob of 8 MiB or more is uploaded in parts.  A process that is killed meanwhile, or an answer that gets lost, can
leave an unfinished upload behind, which is no object, but costs money.  They are listed as temporary, so the sweeper
finds them; or let the bucket itself abort them (lifecycle rule ``AbortIncompleteMultipartUpload``).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..bucket import DEFAULT_MAX_AGE, DEFAULT_MAX_RETRY, DEFAULT_URL_LIFETIME
from .errors import AuthMechanismError
from .legacy import LegacyModule, S3Request, S3RequestV2, S3RequestV4
from .sandbox import S3SandboxStore
from .store import S3Store

if TYPE_CHECKING:
    BASE_URL_FORMAT: str

__all__ = [
    "BASE_URL_FORMAT",
    "DEFAULT_MAX_AGE",
    "DEFAULT_MAX_RETRY",
    "DEFAULT_URL_LIFETIME",
    "AuthMechanismError",
    "S3Request",
    "S3RequestV2",
    "S3RequestV4",
    "S3SandboxStore",
    "S3Store",
]

for _cls in (S3Store, S3SandboxStore, AuthMechanismError):
    _cls.__module__ = __name__  # where they are to be imported from, as reprs and pickles say

sys.modules[__name__].__class__ = LegacyModule
