"""A, A', B, C, D, J and the peers: the same events drained in turn by everybody, from an empty Redis to the last commit."""
import dataclasses
import time

from .. import books, peers, topics
from ..processor import Processor
from ..watch import Watch, resident_mb

ROWS = ("A", "A'", "B", "C", "D", "J", "peers")


@dataclasses.dataclass
class Work:
    prefix: str
    options: tuple = ()


DAY = 86_400
PLAIN = Work("a.")
WORKS = {
    "B": Work("b.", ("--zipf", 1.1)),
    # The period before the one that usage falls into is finalized: what is stamped there is late.
    "C": Work("c.", ("--late", 0.1, "--late-back", 7 * DAY, "--interval", "P7D", "--subscribed", "-12d")),
    "D": Work("d.", ("--duplicates", 0.05)),
    "J": Work("j.", ("--poison", 0.01)),
}


class Graceline:
    needs_java = False

    def __init__(self, fsync="everysec"):
        self.fsync = fsync

    def drain(self, at, prefix, sent):
        at.forget(self.fsync)
        refused = topics.count(at.logs, f"{prefix}usage.rejected")
        with Processor(at, prefix, sent["partitions"]) as processor:
            begun = processor.until(processor.decided)
            watch = Watch(at, [processor.pid])
            processor.until(lambda: processor.taken() >= sent["events"])
            cost = watch.stop()
            resident = resident_mb(processor.pid)
            processor.stop()
        events = sent["events"] - begun
        wrong = books.fault(at, sent, partitions=sent["partitions"])
        refused = topics.count(at.logs, f"{prefix}usage.rejected") - refused
        if not wrong and refused != sent["poison"]:
            wrong = f"{refused} dead letters, {sent['poison']} events couldn't be billed"
        return {**cost, "events": events, "rate": events / cost["seconds"], "resident_mb": resident, "fault": wrong}


def contestants(rows, sizes):
    """(row, name, work, who, rounds). Where a row is measured, so are what it is compared with."""
    all_of_them = [
        ("A", "bare", PLAIN, peers.bare(), sizes.rounds),
        ("A", "graceline", PLAIN, Graceline(), sizes.rounds),
        ("A'", "always", PLAIN, Graceline("always"), sizes.rounds),
        ("B", "zipf", WORKS["B"], Graceline(), sizes.rounds),
        ("C", "late", WORKS["C"], Graceline(), sizes.rounds),
        ("D", "duplicates", WORKS["D"], Graceline(), sizes.rounds),
        ("J", "poison", WORKS["J"], Graceline(), sizes.rounds),
        ("peers", "streams", PLAIN, peers.streams("memory"), sizes.peer_rounds),
        ("peers", "streams-packed", PLAIN, peers.streams("packed"), sizes.peer_rounds),
        ("peers", "naive-batch", PLAIN, peers.naive("batch", sizes.naive_events), sizes.peer_rounds),
    ]
    return [one for one in all_of_them if one[0] in {"A", *rows}]


def needs_java(rows):
    return "peers" in rows


def measure(at, sizes, results, rows):
    chosen = contestants(rows, sizes)
    if needs_java(rows):
        for topic in peers.STREAMS_TOPICS:
            at.make_topic(topic)
    sent = {}
    for _, _, work, _, _ in chosen:
        if work.prefix not in sent:
            sent[work.prefix] = load(at, work, sizes.events)
    bare_rate = None
    for number in range(max(rounds for *_, rounds in chosen)):
        for row, name, work, who, rounds in chosen:
            if number >= rounds:
                continue
            found = who.drain(at, work.prefix, sent[work.prefix])
            bare_rate = found["rate"] if name == "bare" else bare_rate
            results.note(row, name, told(found, bare_rate), round=number, **micros(found), sent=sent[work.prefix], **found)


def load(at, work, events, *more):
    """A day of usage that ends now."""
    options = [int(time.time()) - 12 * DAY if option == "-12d" else option for option in work.options]
    return at.load(work.prefix, "--events", events, "--span", DAY, *options, *more)


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
