"""A, A', B, C, D, J and the peers: the same events drained in turn by everybody."""
import time

from .. import books, peers, topics
from ..processor import Processor
from ..watch import Watch, resident_mb

ROWS = ("A", "A'", "B", "C", "D", "J", "peers")
DAY = 86_400
# What the generator is asked for.
PLAIN = ("--span", DAY)
ZIPF = (*PLAIN, "--zipf", 1.1)
DUPLICATES = (*PLAIN, "--duplicates", 0.05)
POISON = (*PLAIN, "--poison", 0.01)


def late():
    """The period before the one that usage falls into is finalized: what is stamped there is late."""
    return (*PLAIN, "--late", 0.1, "--late-back", 7 * DAY, "--interval", "P7D", "--subscribed", int(time.time()) - 12 * DAY)


def prepare(at, prefix, options, events, fsync="everysec", partitions=4):
    """Brings the books to where they know everybody and have seen no usage, and writes the usage. What a processor reads
    ahead while it reads the catalog would otherwise be had for nothing."""
    at.forget(fsync)
    options = (*options, "--partitions", partitions)
    catalog = at.load(prefix, *options, "--only", "catalog")
    at.load(prefix, *options, "--only", "events", "--events", 0)
    with Processor(at, prefix, partitions) as processor:
        processor.await_catalog(catalog["catalog"])
        processor.until(lambda: processor.sum_of("outbox_depth") == 0)
        processor.stop()
    return at.load(prefix, *options, "--only", "events", "--events", events)


def drain(at, prefix, sent):
    """From the moment that the first shard has opened its books to the last commit."""
    with Processor(at, prefix, sent["partitions"]) as processor:
        processor.until(processor.running, pause=0.01)
        watch = Watch(at, [processor.pid])
        processor.until(lambda: processor.taken() >= sent["events"])
        cost = watch.stop()
        resident = resident_mb(processor.pid)
        processor.until(lambda: processor.sum_of("outbox_depth") == 0)
        processor.stop()
    events = sent["events"]
    wrong = books.fault(at, sent, partitions=sent["partitions"])
    refused = topics.count(at.logs, f"{prefix}usage.rejected")
    if not wrong and refused != sent["poison"]:
        wrong = f"{refused} dead letters, {sent['poison']} events couldn't be billed"
    return {**cost, "events": events, "rate": events / cost["seconds"], "resident_mb": resident, "sent": sent, "fault": wrong}


def needs_java(rows):
    return "peers" in rows


def measure(at, sizes, results, rows):
    """Where a row is measured, so is what it is compared with: A and the bare client."""
    others = [
        ("A'", "always", PLAIN, "always"), ("B", "zipf", ZIPF, "everysec"), ("C", "late", late(), "everysec"),
        ("D", "duplicates", DUPLICATES, "everysec"), ("J", "poison", POISON, "everysec"),
    ]
    note = Notes(results)
    for number in range(sizes.rounds):
        plain = f"a{number}."
        sent = prepare(at, plain, PLAIN, sizes.events)
        note.drained("A", "bare", number, peers.bare().drain(at, plain, sent))
        note.drained("A", "graceline", number, drain(at, plain, sent))
        for row, name, options, fsync in others:
            if row in rows and number < sizes.other_rounds:
                prefix = f"{name}{number}."
                note.drained(row, name, number, drain(at, prefix, prepare(at, prefix, options, sizes.events, fsync)))
        if "peers" in rows and number < sizes.other_rounds:
            for name, peer in compared(at, sizes):
                note.drained("peers", name, number, peer.drain(at, plain, sent))


def compared(at, sizes):
    for topic in peers.STREAMS_TOPICS:
        at.make_topic(topic)
    yield "streams", peers.streams("memory")
    yield "streams-packed", peers.streams("packed")
    yield "naive-batch", peers.naive("batch", sizes.naive_events)


class Notes:
    """Keeps drains, and tells each as a share of the bare client of its round."""

    def __init__(self, results):
        self.results, self.bare_rate = results, None

    def drained(self, row, name, number, found):
        self.bare_rate = found["rate"] if name == "bare" else self.bare_rate
        self.results.note(row, name, told(found, self.bare_rate), round=number, **micros(found), **found)


def micros(found):
    each = {f"{name}_us": found[name] / found["events"] * 1e6 for name in ("own", "broker", "redis")}
    return {**each, "total_us": sum(each.values())}


def told(found, bare_rate):
    cost = micros(found)
    warm = f" ({found['warm'] / 1000:.0f} k/s warm)" if "warm" in found else ""
    return (
        f"{found['rate'] / 1000:7.1f} k/s{warm}, {found['rate'] / bare_rate:.2f} of bare, {cost['total_us']:5.2f} µs in all: "
        f"{cost['own_us']:.2f} + broker {cost['broker_us']:.2f} + Redis {cost['redis_us']:.2f}; others {found['others_cores']:.2f}"
    )
