"""A studio: members upload photographs straight to a bucket, and see their own, in sizes made on demand.

``scripts/studio`` runs it.

=============  ======================================================================================
``models``     the tables: a member, and the photographs of one
``site``       the FastAPI application: permits, photographs, pages
``bucket``     SeaweedFS, an S3 server, started beside it, and a bucket that takes files from its pages
``upload.js``  sends files from the browser to the bucket: several at a time, with progress
=============  ======================================================================================
"""

from __future__ import annotations
