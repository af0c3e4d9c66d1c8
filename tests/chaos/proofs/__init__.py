"""All proofs, in the order of the page. One module each, or a few that belong together."""

from tests.chaos.proof import Proof
from tests.chaos.proofs import admission, clocks, databases, hindrances, keys, mails, plans, refunds, routes

__all__ = ["PROOFS"]

PROOFS: tuple[Proof, ...] = (
    *admission.PROOFS,
    *databases.PROOFS,
    *hindrances.PROOFS,
    *mails.PROOFS,
    *keys.PROOFS,
    *refunds.PROOFS,
    *clocks.PROOFS,
    *plans.PROOFS,
    *routes.PROOFS,
)
