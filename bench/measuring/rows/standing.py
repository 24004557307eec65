"""F, H, I: what much state costs: to start with it, to keep it, and to let it lie idle."""
import time

from .. import books, topics
from ..processor import Processor
from ..watch import Watch, processor_seconds, resident_mb

ROWS = ("F", "H", "I")
PREFIX, SMALL = "standing.", "small."
DAY = 86_400
SETTLE_S = 3
# How long it may take until nothing more is to be done.
REST_MAX_S = 600
MORE = 1000
# Millions of ids.
IDS_MIN = 2


def measure(at, sizes, results, rows):
    """With half of the ids and with all of them: the difference is what ids cost, the rest is what drafts cost."""
    del rows
    half = sizes.standing_events // 2
    nothing = with_little(at)
    sent = [fill(at, sizes, half, 1, "--subscribed", began())]
    with_half = drained(at, half), started(at, half)["resident_mb"]
    sent.append(fill(at, sizes, half, 2, "--only", "events"))
    in_redis = drained(at, 2 * half)
    results.note("H", "books", "checked", fault=books.fault(at, *sent, units=False))
    taken = 2 * half
    for number in range(sizes.starts):
        fill(at, sizes, MORE, 10 + number, "--only", "events")
        found = started(at, taken, sizes.idle_seconds if number == sizes.starts - 1 else 0)
        taken += MORE
        idle = found.pop("idle", None)
        results.note("F", "start", told(found), round=number, **found)
    results.note("I", "idle", f"{idle['core']:.2%} of a core, {idle['commands']:.1f} commands a second", **idle)
    figures = sized(sizes, half, nothing, with_half, (in_redis, found["resident_mb"]))
    results.note("H", "bytes", ", ".join(f"{name} {value:.1f}" for name, value in figures.items()), **figures)


def began():
    return int(time.time()) - 8 * DAY


def fill(at, sizes, events, seed, *more):
    """Usage in a period that is over and in its grace, so that every subscription has an open draft."""
    return at.load(
        PREFIX, "--events", events, "--subscriptions", sizes.standing_subscriptions, "--start", began() + 3600, "--span", DAY,
        "--interval", "P7D", "--seed", seed, *more,
    )


def with_little(at):
    """Bytes of an empty Redis, and megabytes of a processor that has next to nothing to keep."""
    at.load(SMALL, "--events", MORE, "--subscriptions", 100)
    at.forget()
    empty = at.store.used_bytes()
    with Processor(at, SMALL) as processor:
        processor.until(lambda: processor.taken() >= MORE)
        time.sleep(SETTLE_S)
        resident = resident_mb(processor.pid)
        processor.stop()
    at.forget()
    return empty, resident


def drained(at, events):
    """What Redis holds when all is taken and nobody is connected any more."""
    with Processor(at, PREFIX) as processor:
        processor.until(lambda: processor.taken() >= events and processor.sum_of("outbox_depth") == 0, pause=0.1)
        time.sleep(SETTLE_S)
        processor.stop()
    time.sleep(1)
    return at.store.used_bytes()


def started(at, taken, idle_seconds=0):
    """How long a processor takes from its start to its first event, and what it holds once it rests."""
    begun = time.monotonic()
    with Processor(at, PREFIX) as processor:
        first = None
        if has_more(at, taken):
            processor.until(lambda: processor.taken() > taken, pause=0.005)
            first = time.monotonic() - begun
        else:
            processor.until(lambda: processor.running() == 4)
        spent = processor_seconds(processor.pid)
        time.sleep(SETTLE_S)
        found = {"first_s": first, "processor_s": spent, "resident_mb": resident_mb(processor.pid)}
        if idle_seconds:
            found["idle"] = idle(at, processor, idle_seconds)
        processor.stop()
    return found


def has_more(at, taken):
    return topics.count(at.logs, f"{PREFIX}usage.events") > taken


def idle(at, processor, seconds):
    come_to_rest(at)
    watch, commands = Watch(at, [processor.pid]), at.store.commands()
    time.sleep(seconds)
    # One of the commands asked for the count.
    asked = at.store.commands() - commands - 1
    cost = watch.stop()
    return {
        "core": cost["own"] / cost["seconds"], "commands": asked / cost["seconds"], "redis_core": cost["redis"] / cost["seconds"],
        "others_cores": cost["others_cores"],
    }


def come_to_rest(at):
    """Drafts that usage has changed are announced anew some minutes later: until then there is something to do."""
    began = time.monotonic()
    while time.monotonic() - began < REST_MAX_S:
        commands = at.store.commands()
        time.sleep(5)
        if at.store.commands() - commands <= 1:
            return


def sized(sizes, half, nothing, with_half, with_all):
    """Megabytes for a million ids, and for a million subscriptions with their open drafts."""
    subscriptions, ids = sizes.standing_subscriptions / 1e6, half / 1e6
    figures = {}
    whose = [("redis", 1e6, 0), ("process", 1e6 / 1024 / 1024, 1)]
    if ids < IDS_MIN:
        # So few can't be seen in what a process holds.
        whose.pop()
    for name, scale, place in whose:
        a, b, c = nothing[place] / scale, with_half[place] / scale, with_all[place] / scale
        each = (c - b) / ids
        figures[f"{name}_ids_mb"] = each
        figures[f"{name}_drafts_mb"] = (b - a - each * ids) / subscriptions
    return figures


def told(found):
    return f"first event after {found['first_s']:.2f} s; processor {found['processor_s']:.1f} s, {found['resident_mb']:.0f} MB at rest"
