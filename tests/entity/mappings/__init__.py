"""The ways to declare an owner and its picture, one for each module.

Each has ``Owner``, ``Picture`` and ``metadata``, and the owner's attribute is ``picture``.  If it holds several, there
is also ``CHOICE``: what :meth:`~sqlalchemy_imageattach.entity.MultipleImageSet.get_image_set` takes.
"""

from __future__ import annotations
