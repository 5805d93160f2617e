"""The image classes of a declarative base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper, registry

from ..arguments import wrong_type
from ..entity import Image, ImageAttachment

__all__ = [
    "image_mappers",
    "mapper_of_images",
    "object_types",
    "own_attachments",
    "owner_mappers",
    "registry_of",
    "with_relatives",
]

#: Where a declarative base has its registry; the latter is SQLAlchemy's own name for it, and the only one in SQLModel.
_REGISTRY = ("registry", "_sa_registry")


def image_mappers(declarative_base: Any) -> list[Mapper[Any]]:
    """The mappers to query in order to get each image row of ``declarative_base`` once, ordered by class name.

    :param declarative_base: a declarative base class, or a :class:`~sqlalchemy.orm.registry`
    :raises InvalidTypeError: it is neither
    """
    owner = registry_of(declarative_base)
    of_base = object if owner is declarative_base else declarative_base
    found = [
        mapper for mapper in owner.mappers if issubclass(mapper.class_, Image) and issubclass(mapper.class_, of_base)
    ]
    roots = [mapper for mapper in found if not any(_includes(other, mapper) for other in found)]
    return sorted(roots, key=lambda mapper: (mapper.class_.__name__, mapper.class_.__module__))


def registry_of(declarative_base: Any) -> registry:
    """The registry of a declarative base class, its classes configured, or that registry itself.

    :raises InvalidTypeError: ``declarative_base`` is neither
    """
    candidates = (declarative_base, *(getattr(declarative_base, name, None) for name in _REGISTRY))
    found = next((each for each in candidates if isinstance(each, registry)), None)
    if found is None or (found is not declarative_base and inspect(declarative_base, raiseerr=False) is not None):
        advice = "for a single image class there is migrate_class()"
        raise wrong_type(
            "", declarative_base, "a declarative base class (or a registry)", advice, got=repr(declarative_base)
        )
    found.configure()
    return found


def owner_mappers(declarative_base: Any) -> list[Mapper[Any]]:
    """The mappers of ``declarative_base`` that declare attachments of their own, ordered by class name.

    :param declarative_base: a declarative base class, or a :class:`~sqlalchemy.orm.registry`
    :raises InvalidTypeError: it is neither
    """
    found = [mapper for mapper in registry_of(declarative_base).mappers if own_attachments(mapper)]
    return sorted(found, key=lambda mapper: (mapper.class_.__name__, mapper.class_.__module__))


def own_attachments(mapper: Mapper[Any]) -> list[ImageAttachment[Any]]:
    """The attachments that the class of ``mapper`` declares, and does not inherit."""
    return [each for each in mapper.relationships if isinstance(each, ImageAttachment) and each.parent is mapper]


def with_relatives(mappers: Sequence[Mapper[Any]]) -> list[Mapper[Any]]:
    """``mappers``, and those of other classes of their registries that have blobs of the same object types."""
    others = [mapper for owner in {mapper.registry for mapper in mappers} for mapper in image_mappers(owner)]
    related, known = list(mappers), {name for mapper in mappers for name in object_types(mapper)}
    while found := [mapper for mapper in others if mapper not in related and known & object_types(mapper)]:
        related += found
        known |= {name for mapper in found for name in object_types(mapper)}
    return related


def mapper_of_images(cls: Any) -> Mapper[Any]:
    """The mapper of an image class.

    :raises InvalidTypeError: ``cls`` is none, or not mapped
    """
    try:
        mapper = inspect(cls)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(cls, type) or not isinstance(mapper, Mapper) or not issubclass(cls, Image):
        raise wrong_type("", cls, "a mapped class with the Image mixin", got=repr(cls))
    return mapper


def object_types(mapper: Mapper[Any], chosen: Callable[[type[Any]], bool] = lambda cls: True) -> set[str]:
    """The object types of a class and its subclasses, of those that are ``chosen``, as far as no row is needed."""
    found = set()
    for each in mapper.self_and_descendants:
        if not chosen(each.class_):
            continue
        try:
            value = each.class_manager.new_instance().object_type
        except Exception:  # a property of the user's that wants a row: rows will tell
            continue
        if isinstance(value, str):
            found.add(value)
    return found


def _includes(other: Mapper[Any], mapper: Mapper[Any]) -> bool:
    """Whether a query of ``other`` gives the rows of its subclass ``mapper`` too."""
    if other is mapper or not mapper.isa(other):
        return False
    between = [each for each in mapper.iterate_to_root() if each.isa(other) and each is not other]
    return not any(each.concrete for each in between) or mapper in other.with_polymorphic_mappers
