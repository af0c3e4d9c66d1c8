"""The short form of every proof, and that its control fails it. `make chaos` runs the long one."""

import os

import pytest

from tests.chaos.proof import Trial
from tests.chaos.proofs import PROOFS


@pytest.fixture
def trial(tmp_path):
    return Trial(seed=int(os.environ.get("SKENE_TEST_SEED", "2026")), long=False, folder=tmp_path)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.key)
async def test_what_is_claimed_holds(proof, trial):
    findings = await proof.try_ours(trial)
    assert findings
    assert [str(finding) for finding in findings if not finding.holds] == []


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.key)
async def test_the_careless_way_fails_the_same_trial(proof, trial):
    findings = await proof.try_control(trial)
    assert [finding for finding in findings if not finding.holds]
