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
        prefix = f"growth{subscriptions}-{partitions}."
        options = (*drains.PLAIN, "--subscriptions", subscriptions)
        sent = drains.prepare(at, prefix, options, sizes.growth_events, partitions=partitions)
        bare = peers.bare().drain(at, prefix, sent)["rate"]
        found = drains.drain(at, prefix, sent)
        name = f"{subscriptions}/{partitions}"
        about = {"subscriptions": subscriptions, "partitions": partitions, "bare": bare}
        results.note("growth", name, drains.told(found, bare), **about, **drains.micros(found), **found)
