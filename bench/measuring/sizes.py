"""How much is measured: in full, or as little as still says something."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    events: int
    rounds: int
    other_rounds: int
    naive_events: int
    live_rates: tuple
    live_seconds: int
    due_drafts: int
    due_lead_s: int
    due_rate: int
    standing_subscriptions: int
    standing_events: int
    starts: int
    idle_seconds: int
    handovers: int
    crowd_events: int
    crowd_seconds: int
    growth_events: int
    growth_subscriptions: tuple
    growth_partitions: tuple


FULL = Sizes(
    events=5_000_000, rounds=3, other_rounds=2, naive_events=1_000_000, live_rates=(50_000, 200_000), live_seconds=180,
    due_drafts=1_000_000, due_lead_s=100, due_rate=20_000, standing_subscriptions=1_000_000, standing_events=10_000_000,
    starts=3, idle_seconds=30, handovers=5, crowd_events=14_000_000, crowd_seconds=20, growth_events=2_000_000,
    growth_subscriptions=(1_000, 10_000, 100_000, 1_000_000), growth_partitions=(1, 4, 16, 64),
)
QUICK = Sizes(
    events=1_000_000, rounds=1, other_rounds=1, naive_events=200_000, live_rates=(50_000,), live_seconds=10,
    due_drafts=100_000, due_lead_s=22, due_rate=20_000, standing_subscriptions=100_000, standing_events=1_000_000,
    starts=1, idle_seconds=5, handovers=1, crowd_events=7_000_000, crowd_seconds=9, growth_events=500_000,
    growth_subscriptions=(1_000,), growth_partitions=(16,),
)
