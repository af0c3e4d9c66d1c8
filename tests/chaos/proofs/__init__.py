"""All proofs, in the order of the page. One module each, or a few that belong together."""

from tests.chaos.proof import Proof
from tests.chaos.proofs import admission, databases, hindrances

__all__ = ["PROOFS"]

PROOFS: tuple[Proof, ...] = (*admission.PROOFS, *databases.PROOFS, *hindrances.PROOFS)
