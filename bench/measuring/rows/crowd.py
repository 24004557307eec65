"""G: one, two and four instances, each held to a quarter of a core."""
import contextlib
import time

from .. import store
from ..processor import Processor
from ..quota import Quota
from ..visible import Visible
from ..watch import Watch

ROWS = ("G",)
PREFIX = "crowd."
SUBSCRIPTIONS = 20_000
SHARE = 0.25
# So many events of each shard are taken before the clock starts.
UNDER_WAY = 60_000
DAY = 86_400


def measure(at, sizes, results, rows):
    del rows
    sent = at.load(PREFIX, "--events", sizes.crowd_events, "--subscriptions", SUBSCRIPTIONS, "--span", DAY)
    alone = None
    for instances in (1, 2, 4):
        found = together(at, sent, instances, sizes.crowd_seconds)
        alone = alone or found["rate"]
        found["times"] = found["rate"] / alone
        results.note("G", f"{instances}", told(found), instances=instances, **found)


def together(at, sent, instances, seconds):
    """How much so many instances take, once each has its shards and is under way."""
    at.forget()
    group = f"crowd-{time.time_ns()}"
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Processor(at, PREFIX, group=group, place=place)) for place in range(instances)]
        quotas = [stack.enter_context(Quota(one.pid, SHARE)) for one in crowd]
        crowd[0].until(lambda: [one.running() for one in crowd] == [4 // instances] * instances, pause=0.2)
        crowd[0].until(lambda: min(map(store.position, crowd[0].records())) >= UNDER_WAY, pause=0.1)
        watch = Watch(at, [one.pid for one in crowd])
        with Visible(at, PREFIX, 4) as visible:
            time.sleep(seconds)
        cost, after = watch.stop(), crowd[0].taken()
        for one in crowd:
            one.kill()
    wrong = "" if after < sent["events"] else "everything was taken before the time was over"
    return {"rate": sum(map(pace, visible.seen.values())), "cores": cost["own"] / cost["seconds"], "way": quotas[0].way,
            "others_cores": cost["others_cores"], "fault": wrong}


def pace(seen):
    """Events a second of a shard from one commit to another: its commits are few, and large."""
    # What was there when the looking began says nothing about when it came.
    seen = seen[1:]
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]) * 1000 if len(seen) > 1 else 0


def told(found):
    return f"{found['rate'] / 1000:.0f} k/s, {found['times']:.2f} times one; {found['cores']:.2f} cores ({found['way']}); others {found['others_cores']:.2f}"
