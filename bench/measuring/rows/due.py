"""E: many drafts that are due at one instant, while usage goes on."""
import time

from .. import books, topics
from ..processor import Processor
from ..servers import read_sent
from ..visible import Visible, percentiles
from ..watch import Watch
from .live import steady

ROWS = ("E",)
DAY = 86_400
GRACE = 20 * 3600
# Usage begins so long before the instant, and goes on as long after it.
AROUND_S = 6
AFTER_S = 24


def measure(at, sizes, results, rows):
    """Drafts have to be there before they are due. On a machine that takes longer to make them, they are due later."""
    del rows
    for longer in (1, 2, 4):
        found = attempt(at, f"due{longer}.", sizes, longer * sizes.due_lead_s)
        if "late_s" not in found:
            break
        print(f"drafts were there {found['late_s']:.0f} s too late; once more with more time", flush=True)
    results.note("E", "drafts", told(found), **found)


def attempt(at, prefix, sizes, lead_s):
    at.forget()
    drafts = sizes.due_drafts
    due = int(time.time()) + lead_s
    began = due - GRACE - DAY
    # The first period is over and in its grace; the instant ends it for all subscriptions.
    first = at.load(
        prefix, "--events", drafts, "--subscriptions", drafts, "--start", began, "--span", DAY, "--subscribed", began,
        "--interval", "P1D", "--grace", "PT20H",
    )
    with Processor(at, prefix) as processor:
        processor.until(lambda: is_ready(processor, drafts) or time.time() > due, pause=0.2)
        left = due - AROUND_S - time.time()
        if left < 0:
            return {"late_s": -left, "fault": "drafts weren't there in time"}
        time.sleep(left)
        found, live = around(at, processor, drafts, due, sizes.due_rate)
        processor.stop()
    found["fault"] = found["fault"] or books.fault(at, first, live, units=False)
    return found


def is_ready(processor, drafts):
    return processor.sum_of("drafts") == drafts and processor.taken() >= drafts and processor.sum_of("outbox_depth") == 0


def around(at, processor, drafts, due, rate):
    announced = f"{processor.prefix}webhooks.invoice.finalized"
    with Visible(at, processor.prefix, 4) as visible:
        loading = steady(at, processor.prefix, rate, AROUND_S + AFTER_S, 0, "--subscriptions", drafts)
        time.sleep(max(0, due - time.time()))
        watch = Watch(at, [processor.pid], loading.pid)
        processor.until(lambda: topics.count(at.logs, announced) >= drafts, pause=0.25, patience=120)
        cost = watch.stop()
        live = read_sent(loading)
        processor.until(lambda: processor.taken() >= drafts + live["events"])
        time.sleep(0.1)
    out_ms = topics.last_ms(at.logs, announced)
    # Nothing comes of it in its first second: that is what clocks may differ by.
    seconds = out_ms / 1000 - due
    kept = (visible.decided_at(out_ms) - visible.decided_at(due * 1000)) / seconds / rate
    meanwhile = [age for age in visible.ages() if due * 1000 <= age[1] <= out_ms]
    p50, _, p99, _, most = percentiles(meanwhile)
    count = topics.count(at.logs, announced)
    wrong = "" if count == drafts else f"{count} invoices were announced, {drafts} were due"
    found = {"drafts": drafts, "all_out_s": seconds, "usage_kept": kept, "rate": rate, "p50_ms": p50, "p99_ms": p99, "max_ms": most}
    return {**found, **{f"{name}_s": cost[name] for name in ("own", "broker", "redis")}, "others_cores": cost["others_cores"], "fault": wrong}, live


def told(found):
    if "late_s" in found:
        return found["fault"]
    return (
        f"{found['drafts']:,} out after {found['all_out_s']:.1f} s; usage kept {found['usage_kept']:.0%} of {found['rate'] / 1000:.0f} k/s, "
        f"p99 {found['p99_ms'] or 0:.0f} ms, at most {found['max_ms'] or 0:.0f} ms; processor {found['own_s']:.1f} s, others {found['others_cores']:.2f}"
    )
