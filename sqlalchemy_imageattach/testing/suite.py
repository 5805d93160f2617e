"""The contract of all stores as tests for pytest, one for each rule.

In the tests of whoever writes a store:

.. code-block:: python

   import pytest
   from sqlalchemy_imageattach.testing import Capabilities, StoreContract

   class TestMyStore(StoreContract):
       capabilities = Capabilities(never_overwrites=True, lists=True)

       @pytest.fixture
       def store(self, tmp_path):
           return MyStore(tmp_path)

pytest is not needed to import this, nor otherwise by this package.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..store import Store
from .contract import ContractError, check_rule
from .rules import Rule, all_rules
from .subject import LARGE, Capabilities, NotApplicable

__all__ = ["StoreContract"]


class StoreContract:
    """To be inherited by a class of tests that has, or finds, a fixture ``store``.

    Say in ``capabilities`` what the store can do: then a rule about that fails if it cannot, and one about what it is
    said not to do is no test at all.  What is not said is found out, and its rules are skipped if the store cannot.
    """

    #: What the store is said to do beyond what all must.
    capabilities: ClassVar[Capabilities] = Capabilities()

    #: The length of the largest blob, in bytes.
    large: ClassVar[int] = LARGE

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of each rule: pytest calls this."""
        if "rule" in metafunc.fixturenames:
            rules = [rule for rule in all_rules() if rule.applies_to(self.capabilities)]
            metafunc.parametrize("rule", rules, ids=str)

    def test_contract(self, store: Store, rule: Rule) -> None:
        """The store keeps the rule, and has nothing afterwards that it did not have before.

        :raises ContractError: it does not
        """
        try:
            violations = check_rule(store, rule, self.capabilities, self.large)
        except NotApplicable as reason:
            import pytest  # late: only for those who test

            pytest.skip(str(reason))
        if violations:
            raise ContractError("\n".join(map(str, violations)))
