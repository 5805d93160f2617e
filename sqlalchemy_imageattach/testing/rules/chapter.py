"""What a rule is, and how a chapter of them is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..subject import Capabilities, Subject

__all__ = ["Chapter", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method of a store promises.

    :param method: the method that is to blame when it is broken
    :param text: the promise, as a sentence whose subject is the method
    :param check: raises ``Broken`` if it is broken
    :param needs: the field of ``Capabilities`` without which it does not apply, if there is one
    """

    method: str
    text: str
    check: Callable[[Subject], None]
    needs: str | None = None

    def applies_to(self, said: Capabilities) -> bool:
        """Whether a store of which this is said has to keep it, as far as that can be told without asking the store."""
        return self.needs is None or getattr(said, self.needs) is not False

    def __str__(self) -> str:
        return f"{self.method}: {self.text}"


class Chapter:
    """Collects the rules of a module, in their order there.

    :param method: the method that they are about
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self.rules: list[Rule] = []

    def rule(
        self, text: str, *, method: str | None = None, needs: str | None = None
    ) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
        """The function checks the promise ``text``."""

        def add(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
            self.rules.append(Rule(method or self._method, text, check, needs))
            return check

        return add
