"""Whether a store keeps the contract of all stores: for those who write one, or set one up.

>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> check_store(MemoryStore(), capabilities=Capabilities(never_overwrites=True, lists=True))
[]

Each violation says which method broke which rule, what was expected, and what came instead:

>>> class Forgetful(MemoryStore):
...     def delete_file(self, *args, **kwargs):
...         return None
>>> for violation in check_store(Forgetful())[:1]:
...     print(violation)
Forgetful.delete_file: deletes a blob: expected the blob to be gone, got a file that can be opened

For pytest there is the same as a class: :class:`~sqlalchemy_imageattach.testing.StoreContract`.

**It is safe to use on a store that is in production.**  Everything is stored under an object type that is made up for
the purpose, by random, and deleted again; nothing else is read, listed or touched.  About 75 MB are written in all.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

from ..arguments import wrong_type
from ..errors import ImageAttachError, InvalidValueError, StoreError
from ..store import Store
from .rules import Rule, all_rules
from .subject import LARGE, Broken, Capabilities, NotApplicable, Subject

__all__ = ["Capabilities", "ContractError", "Rule", "Violation", "all_rules", "check_rule", "check_store"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a store breaks.

    :param method: the class and the method to blame, such as ``"MyStore.get_file"``
    :param rule: what the method should do
    :param expected: what should have come of it
    :param came: what came instead
    """

    method: str
    rule: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.method}: {self.rule}: expected {self.expected}, got {self.came}"


class ContractError(ImageAttachError, AssertionError):
    """A store breaks a rule; the message has its violations, one a line."""


def check_store(store: Store, *, capabilities: Capabilities | None = None, large: int = LARGE) -> list[Violation]:
    """What of the contract the store breaks: nothing, if the list is empty.  Afterwards the store is as it was before.

    A blob that the store refuses to delete is a violation, too, which names it.  If a small blob cannot be stored, read
    back and deleted, that is all that is said, since all other rules need it.

    :param store: the store; it has to be able to write, read and delete
    :param capabilities: what it is said to do beyond what all stores must; by default that is found out
    :param large: the length of the largest blob, in bytes: longer than what the store sends in one piece
    :raises InvalidTypeError: it is no store
    :raises InvalidValueError: ``large`` is less than 100,000 bytes
    :raises StoreError: the store says itself, at the very first, that it cannot be used: unreachable, denied, full
    """
    _check_arguments(store, large)
    said = capabilities or Capabilities()
    _try_out(Subject(store, said, large))
    first, *others = all_rules()
    found: dict[tuple[str, str], Violation] = {}
    for rule in (first, *others):
        try:
            violations = check_rule(store, rule, said, large)
        except NotApplicable:
            continue
        for violation in violations:
            found.setdefault((violation.method, violation.rule), violation)
        if found and rule is first:
            break
    return list(found.values())


def check_rule(
    store: Store, rule: Rule, capabilities: Capabilities | None = None, large: int = LARGE
) -> list[Violation]:
    """The same for a single rule.

    :raises NotApplicable: it is about something that the store cannot do, and is not said to
    """
    said = capabilities or Capabilities()
    if not rule.applies_to(said):
        raise NotApplicable(f"the store is not said to have {rule.needs}")
    subject = Subject(store, said, large)
    violations: list[Violation] = []
    try:
        rule.check(subject)
    except NotApplicable:
        raise
    except Exception as error:
        violations.append(_violation(store, rule, error))
    finally:
        try:
            subject.clean_up()
        except Broken as broken:
            violations.append(_violation(store, rule, broken))
    return violations


def _violation(store: Store, rule: Rule, error: Exception) -> Violation:
    broken = error if isinstance(error, Broken) else Broken("no error", error)
    name = type(store).__qualname__
    # the rule itself says it best, unless it is another method's failure that was in its way
    text = rule.text if broken.text is None or broken.method == rule.method else broken.text
    return Violation(f"{name}.{broken.method or rule.method}", text, broken.expected, broken.came)


def _try_out(subject: Subject) -> None:
    """Raises what the store says of itself if it cannot be used at all; all else is the rules' business."""
    key = subject.key()
    try:
        subject.try_to_put(key, io.BytesIO(b"a picture"))
        subject.store.get(key).close()
        subject.store.delete_key(key)
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, FileNotFoundError | FileExistsError):
            raise
        _log.debug("the store does not work", exc_info=True)
    finally:
        try:
            subject.clean_up()
        except Broken as broken:
            _log.debug("the store does not delete: %s", broken.came)


def _check_arguments(store: object, large: object) -> None:
    if not isinstance(store, Store):
        raise wrong_type("", store, "a store to check (an instance of a subclass of Store)")
    if not isinstance(large, int) or isinstance(large, bool):
        raise wrong_type("large", large, "a number of bytes")
    if large < 100_000:
        raise InvalidValueError(f"large: expected 100,000 bytes or more, got {large}")
