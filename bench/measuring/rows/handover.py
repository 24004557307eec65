"""F': shards that go from one instance to another while usage goes on: as planned, and after kill -9."""
import datetime
import re
import time

from .. import topics
from ..processor import Processor
from ..visible import Visible
from .live import steady

ROWS = ("F'",)
PREFIX = "handover."
RATE = 20_000
SESSION_MS = 6000
SETTLE_S = 2
# How long the whole takes at most, so that usage doesn't end before.
SECONDS = 45, 18


def measure(at, sizes, results, rows):
    del rows
    at.forget()
    catalog = at.load(PREFIX, "--only", "catalog")
    at.load(PREFIX, "--only", "events", "--events", 0)
    settings = {"KAFKA__PROPERTIES__SESSION_TIMEOUT_MS": str(SESSION_MS)}
    group = f"handover-{time.time_ns()}"
    stays, comes = (Processor(at, PREFIX, group=group, place=place, **settings) for place in (0, 1))
    with stays, Visible(at, PREFIX, 4) as visible:
        stays.await_catalog(catalog["catalog"])
        loading = steady(at, PREFIX, RATE, SECONDS[0] + SECONDS[1] * sizes.handovers, 0)
        try:
            time.sleep(SETTLE_S)
            moments = [moment for _ in range(sizes.handovers) for moment in there_and_back(stays, comes)]
            died = killed(at, stays, comes)
        finally:
            comes.kill()
            loading.terminate()
            loading.communicate()
        sent = topics.count(at.logs, f"{PREFIX}usage.events")
        stays.until(lambda: stays.taken() >= sent)
        stays.stop()
    note(results, visible, moments, died)
    fates = [sum(fates) for fates in zip(*(record["books"]["fates"] for record in stays.records()))]
    wrong = "" if fates[0] + fates[2] == sum(fates) == sent else f"{fates} of {sent} events"
    results.note("F'", "books", "checked", fault=wrong)


def there_and_back(stays, comes):
    """Half of the shards go to a second instance, and back when it stops."""
    begun = time.time() * 1000
    comes.start()
    shared(stays, comes)
    yield "join", begun, time.time() * 1000
    begun = time.time() * 1000
    comes.stop()
    stays.until(lambda: stays.running() == 4)
    time.sleep(SETTLE_S)
    yield "leave", begun, time.time() * 1000


def shared(stays, comes):
    comes.until(lambda: (stays.running(), comes.running()) == (2, 2))
    time.sleep(SETTLE_S)


def killed(at, stays, comes):
    """When the second instance was killed, when the broker gave it up, and when all was well again."""
    comes.start()
    shared(stays, comes)
    begun = time.time() * 1000
    comes.kill()
    stays.until(lambda: stays.running() == 4)
    time.sleep(SETTLE_S)
    return begun, given_up_ms(at, begun), time.time() * 1000


FAILED = re.compile(r"^(\S+ \S+),(\d+) INFO .*(?:has failed|heartbeat expired|session.*expired|fenced)", re.I)


def given_up_ms(at, since_ms):
    """When the broker's log says that a member was given up."""
    for line in (at.dir / "kafka" / "out").read_text().splitlines():
        found = FAILED.match(line)
        if found:
            when = datetime.datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S").timestamp() * 1000 + int(found.group(2))
            if when > since_ms:
                return when
    return None


def note(results, visible, moments, died):
    for number, (kind, begun, ended) in enumerate(moments):
        pauses = sorted(visible.pauses(begun, ended).values())
        results.note("F'", kind, f"longest pauses {', '.join(f'{pause:.0f}' for pause in pauses)} ms", round=number, pauses_ms=pauses)
    begun, given_up, ended = died
    back = resumed(visible, begun, ended)
    words = f"back {(back - begun) / 1000:.1f} s after the kill"
    figures = {"after_kill_s": (back - begun) / 1000}
    if given_up:
        figures["after_detection_s"] = (back - given_up) / 1000
        words += f", {(back - given_up) / 1000:.2f} s after the broker gave it up"
    results.note("F'", "kill", words, **figures)


def resumed(visible, begun, ended):
    """When the last of the shards that stood still went on."""
    latest = begun
    for seen in visible.seen.values():
        moments = [begun, *(when for when, _ in seen if begun < when < ended)]
        before, after = max(zip(moments, moments[1:]), key=lambda pair: pair[1] - pair[0])
        if after - before > 1000:
            latest = max(latest, after)
    return latest
