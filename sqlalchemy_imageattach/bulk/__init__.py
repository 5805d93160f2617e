"""Rows and blobs by the million: what :mod:`~sqlalchemy_imageattach.migration`,
:mod:`~sqlalchemy_imageattach.maintenance` and :mod:`~sqlalchemy_imageattach.variants.backfill` are made of.

Not public: import from those.  Rows are read by pages of the primary key (:mod:`.keyset`, :mod:`.imagerows`), blobs are
worked on by a few threads (:mod:`.workers`), and what does not fit into memory waits in a file (:mod:`.scratch`).
"""
