"""growth: what an event costs as subscriptions and partitions become more."""
from .. import peers
from . import drains

ROWS = ("growth",)
USUAL = 100_000, 4


def measure(at, sizes, results, rows):
    del rows
    points = [(count, USUAL[1]) for count in sizes.growth_subscriptions]
    points += [(USUAL[0], count) for count in sizes.growth_partitions if (USUAL[0], count) not in points]
    for subscriptions, partitions in points:
        work = drains.Work(f"growth{subscriptions}-{partitions}.")
        sent = drains.load(at, work, sizes.growth_events, "--subscriptions", subscriptions, "--partitions", partitions)
        bare = peers.bare().drain(at, work.prefix, sent)["rate"]
        found = drains.Graceline().drain(at, work.prefix, sent)
        name = f"{subscriptions}/{partitions}"
        about = {"subscriptions": subscriptions, "partitions": partitions, "bare": bare, "sent_events": sent["events"]}
        results.note("growth", name, drains.told(found, bare), **about, **drains.micros(found), **found)
