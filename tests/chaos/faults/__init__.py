"""Everything that went wrong in systems of this kind, in the order of the page."""

from tests.chaos.faults.counting import COUNTING
from tests.chaos.faults.databases import DATABASES
from tests.chaos.faults.definitions import DEFINITIONS
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.messages import MESSAGES
from tests.chaos.faults.money import MONEY

__all__ = ["FAULTS", "Fault"]

FAULTS: tuple[Fault, ...] = (*COUNTING, *DATABASES, *MESSAGES, *MONEY, *DEFINITIONS)
