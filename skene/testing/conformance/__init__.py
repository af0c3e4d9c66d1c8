"""The suite that every storage must pass: skene's own, and those of others.

Subclass `StorageConformance` in a test module, and give it a storage (anyio's pytest plugin runs it):

    class TestMine(StorageConformance):
        @pytest.fixture
        async def storage(self, clock):
            storage = MyStorage(url, clock=clock)
            await storage.start()
            yield storage
            await storage.aclose()

        @pytest.fixture
        async def storage_factory(self):
            async with AsyncExitStack() as stack:

                async def open_one():
                    storage = MyStorage(url)
                    await storage.start()
                    stack.push_async_callback(storage.aclose)
                    return storage

                yield open_one

Every test begins with no data. Each names the law or the decision of skene's design that it keeps.
"""

import pytest

_PARTS = (
    "base",
    "billed",
    "concurrency",
    "contacts",
    "counting",
    "delivery",
    "erasure",
    "features",
    "firings",
    "happening",
    "history",
    "held",
    "holdings",
    "journeys",
    "keeping",
    "merging",
    "merging_own",
    "merging_rest",
    "overrides",
    "people",
    "grant_returns",
    "grants",
    "plans",
    "proof",
    "pruning",
    "recording",
    "returns",
    "rushes",
    "sending",
    "spells",
    "syncs",
    "ticks",
    "watching",
    "windows",
)
# Before they are imported: a failed assertion then shows both of its sides.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from skene.testing.conformance.base import ConformanceBase, StorageFactory  # noqa: E402 - see above
from skene.testing.conformance.billed import BilledConformance  # noqa: E402 - see above
from skene.testing.conformance.concurrency import ConcurrencyConformance  # noqa: E402 - see above
from skene.testing.conformance.contacts import ContactConformance  # noqa: E402 - see above
from skene.testing.conformance.counting import (  # noqa: E402 - see above
    LimitConformance,
    PlanConformance,
    RefusalConformance,
)
from skene.testing.conformance.delivery import AttemptConformance, ClaimConformance  # noqa: E402 - see above
from skene.testing.conformance.erasure import (  # noqa: E402 - see above
    ForgetConformance,
    IdConformance,
    LifeConformance,
)
from skene.testing.conformance.features import FeatureConformance  # noqa: E402 - see above
from skene.testing.conformance.firings import (  # noqa: E402 - see above
    EmitConformance,
    FiringClaimConformance,
    LogConformance,
)
from skene.testing.conformance.grant_returns import (  # noqa: E402 - see above
    GrantConcurrencyConformance,
    GrantReturnConformance,
    GrantRollingConformance,
)
from skene.testing.conformance.grants import GrantConformance  # noqa: E402 - see above
from skene.testing.conformance.held import HeldConformance  # noqa: E402 - see above
from skene.testing.conformance.history import HistoryConformance  # noqa: E402 - see above
from skene.testing.conformance.holdings import HoldingConformance  # noqa: E402 - see above
from skene.testing.conformance.journeys import (  # noqa: E402 - see above
    GoalConformance,
    JourneyConformance,
    OverConformance,
)
from skene.testing.conformance.keeping import KeepingConformance  # noqa: E402 - see above
from skene.testing.conformance.merging import (  # noqa: E402 - see above
    MergeConcurrencyConformance,
    MergeCountConformance,
)
from skene.testing.conformance.merging_own import (  # noqa: E402 - see above
    ForgetMergedConformance,
    MergeLimitConformance,
)
from skene.testing.conformance.merging_rest import MergeConformance  # noqa: E402 - see above
from skene.testing.conformance.overrides import OverrideConformance  # noqa: E402 - see above
from skene.testing.conformance.people import (  # noqa: E402 - see above
    OutboxConformance,
    ReportConformance,
)
from skene.testing.conformance.plans import (  # noqa: E402 - see above
    LookupConformance,
    SyncConformance,
    TieConformance,
)
from skene.testing.conformance.proof import (  # noqa: E402 - see above
    ConversionConformance,
    FunnelConformance,
    WallConformance,
)
from skene.testing.conformance.pruning import PruneConformance  # noqa: E402 - see above
from skene.testing.conformance.recording import (  # noqa: E402 - see above
    RecordConformance,
    RepeatConformance,
)
from skene.testing.conformance.returns import (  # noqa: E402 - see above
    KeyConformance,
    NoticeConformance,
    RefundConformance,
)
from skene.testing.conformance.rushes import RushConformance  # noqa: E402 - see above
from skene.testing.conformance.sending import (  # noqa: E402 - see above
    CapConformance,
    PaceConformance,
    SuppressionConformance,
)
from skene.testing.conformance.spells import (  # noqa: E402 - see above
    HookConformance,
    SpellConformance,
)
from skene.testing.conformance.syncs import (  # noqa: E402 - see above
    ComparisonConformance,
    SyncRunConformance,
)
from skene.testing.conformance.ticks import (  # noqa: E402 - see above
    EpisodeConformance,
    TickConformance,
)
from skene.testing.conformance.watching import WatcherConformance  # noqa: E402 - see above
from skene.testing.conformance.windows import (  # noqa: E402 - see above
    AnchoredConformance,
    EdgesConformance,
    RollingConformance,
)

__all__ = ["ConformanceBase", "StorageConformance", "StorageFactory"]


class StorageConformance(
    LimitConformance,
    RefusalConformance,
    PlanConformance,
    AnchoredConformance,
    RollingConformance,
    EdgesConformance,
    RefundConformance,
    KeyConformance,
    NoticeConformance,
    HeldConformance,
    HoldingConformance,
    GrantConformance,
    GrantRollingConformance,
    GrantReturnConformance,
    OverrideConformance,
    FeatureConformance,
    BilledConformance,
    SyncConformance,
    TieConformance,
    LookupConformance,
    SyncRunConformance,
    ComparisonConformance,
    WallConformance,
    ConversionConformance,
    FunnelConformance,
    SpellConformance,
    HookConformance,
    HistoryConformance,
    ClaimConformance,
    AttemptConformance,
    EmitConformance,
    FiringClaimConformance,
    LogConformance,
    TickConformance,
    EpisodeConformance,
    RecordConformance,
    RepeatConformance,
    ContactConformance,
    SuppressionConformance,
    CapConformance,
    PaceConformance,
    OutboxConformance,
    ReportConformance,
    GoalConformance,
    JourneyConformance,
    OverConformance,
    WatcherConformance,
    MergeCountConformance,
    MergeConformance,
    MergeLimitConformance,
    ForgetConformance,
    ForgetMergedConformance,
    PruneConformance,
    KeepingConformance,
    IdConformance,
    LifeConformance,
    ConcurrencyConformance,
    RushConformance,
    GrantConcurrencyConformance,
    MergeConcurrencyConformance,
):
    """Everything a storage must do. A subclass gives the fixtures `storage` and `storage_factory`."""
