"""The rules that all stores keep, one function for each, by the method that they are about."""

from __future__ import annotations

from . import deleting, getting, listing, locating, parts, putting, threads, uploading, whole
from .chapter import Rule

__all__ = ["Rule", "all_rules"]


def all_rules() -> tuple[Rule, ...]:
    """All of them, in the order in which they are looked at; all the others need the first one."""
    chapters = (putting, getting, parts, locating, deleting, listing, uploading, threads, whole)
    return tuple(rule for module in chapters for rule in module.CHAPTER.rules)
