"""Images attached to SQLAlchemy models, in step with the transaction.

Start with :mod:`sqlalchemy_imageattach.entity`, which declares and attaches them, and a store from
:mod:`sqlalchemy_imageattach.stores`, which keeps their files.
"""
