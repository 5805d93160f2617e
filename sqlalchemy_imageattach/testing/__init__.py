"""What helps to test programs that attach images, and stores."""

from __future__ import annotations

from .contract import ContractError, Violation, check_store
from .faults import Call, Fault, FaultyStore
from .subject import Capabilities
from .suite import StoreContract

__all__ = [
    "Call",
    "Capabilities",
    "ContractError",
    "Fault",
    "FaultyStore",
    "StoreContract",
    "Violation",
    "check_store",
]
