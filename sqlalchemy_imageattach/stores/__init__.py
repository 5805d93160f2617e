"""The stores that come with this package; to write one, see :mod:`sqlalchemy_imageattach.store`."""
