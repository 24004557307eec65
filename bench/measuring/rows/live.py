"""A-live: usage at a steady rate; how long from its append to its being visible in Redis."""
import os
import time

from .. import books
from ..processor import Processor
from ..servers import read_sent
from ..visible import Visible, percentiles
from ..watch import Watch

ROWS = ("A-live",)
PREFIX = "live."
# A broker that has just started compiles itself first, and so would be measured instead.
WARM_S = 6


def measure(at, sizes, results, rows):
    del rows
    at.forget()
    catalog = at.load(PREFIX, "--only", "catalog")
    # Its topic has to be there when the processor starts.
    at.load(PREFIX, "--only", "events", "--events", 0)
    sent = []
    with Processor(at, PREFIX) as processor:
        processor.await_catalog(catalog["catalog"])
        for rate in sizes.live_rates:
            found, of_this = at_rate(at, processor, rate, sizes.live_seconds, len(sent))
            sent.append(of_this)
            results.note("A-live", f"{rate // 1000}k", told(found), rate=rate, **found)
        processor.stop()
    results.note("A-live", "books", "checked", fault=books.fault(at, *sent))


def at_rate(at, processor, rate, seconds, seed):
    already = processor.taken()
    with Visible(at, PREFIX, 4) as visible:
        loading = steady(at, PREFIX, rate, WARM_S + seconds, seed)
        time.sleep(WARM_S)
        watch, settled_ms = Watch(at, [processor.pid], loading.pid), time.time() * 1000
        # It has ended, but is still there to be asked what it cost.
        os.waitid(os.P_PID, loading.pid, os.WEXITED | os.WNOWAIT)
        cost = watch.stop()
        sent = read_sent(loading)
        processor.until(lambda: processor.taken() >= already + sent["events"])
        time.sleep(0.1)
    ages = [age for age in visible.ages() if age[1] >= settled_ms]
    p50, p90, p99, p999, most = percentiles(ages)
    cores = {f"{name}_cores": cost[name] / cost["seconds"] for name in ("own", "broker", "redis", "generator")}
    kept = sent["events"] / sent["seconds"]
    found = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p999_ms": p999, "max_ms": most, **cores}
    return {**found, "sent_rate": kept, "others_cores": cost["others_cores"]}, sent


def steady(at, prefix, rate, seconds, seed, *more):
    """Sends usage that happens as it is sent, and says nothing until it is read from."""
    now = int(time.time())
    return at.load_later(
        prefix, "--only", "events", "--events", rate * seconds, "--rate", rate, "--start", now, "--span", seconds,
        "--seed", 100 + seed, *more,
    )






def told(found):
    return (
        f"p50 {found['p50_ms']:.0f}, p90 {found['p90_ms']:.0f}, p99 {found['p99_ms']:.0f}, p99.9 {found['p999_ms']:.0f}, at most "
        f"{found['max_ms']:.0f} ms; {found['own_cores']:.2f} cores, broker {found['broker_cores']:.2f}, Redis "
        f"{found['redis_cores']:.2f}; {found['sent_rate'] / 1000:.0f} k/s sent; others {found['others_cores']:.2f}"
    )
