"""What people would pick instead, and the bare client that nobody can be faster than."""
import json
import subprocess
import time

from .watch import Watch


class Peer:
    """A program that says FIRST with its first event and DONE {…} after its last."""

    keeps_redis = False

    def __init__(self, command, events=None):
        self.command, self.events_max = command, events

    def drain(self, at, prefix, sent):
        """Rate and cost of one run from an empty Redis, and what is wrong with it."""
        if not self.keeps_redis:
            at.forget()
        events = min(self.events_max or sent["events"], sent["events"])
        with open(at.dir / "peer.log", "w") as log:
            process = subprocess.Popen(self.command(at, prefix, events), stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
        watch = cost = None
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "FIRST" and watch is None:
                watch = Watch(at, [process.pid])
            elif word == "DONE":
                told = json.loads(rest)
                cost = watch.stop()
        process.wait()
        if cost is None:
            raise SystemExit(f"bench/run: a peer ended with {process.returncode} before it was done; see {at.dir / 'peer.log'}")
        warm = {"warm": told["after_first_quarter"]} if "after_first_quarter" in told else {}
        return {**cost, "events": events, "rate": events / told["seconds"], **warm, "fault": self.fault(told, sent, events)}

    def fault(self, told, sent, events):
        if told["events"] < events:
            return f"{told['events']} events of {events}"
        if "billed" in told and events == sent["events"] and told["billed"] != sent["billable"]:
            return f"{told['billed']} events are billed, {sent['billable']} were sent"
        return ""


class Bare(Peer):
    # Nothing of it is in Redis, and what is there is somebody else's.
    keeps_redis = True


def bare(*more):
    return Bare(lambda at, prefix, events: [
        at.program("bare-rdkafka"), "--brokers", at.brokers, "--topic", f"{prefix}usage.events", *more,
    ])


# The fastest settings that were found for it on two cores.
HEAP = ["-Xms8g", "-Xmx8g", "-Xmn3g", "-XX:+UseParallelGC", "-XX:+UseTransparentHugePages"]


def streams(kind):
    def command(at, prefix, events):
        jar = at.root / "bench" / "kafka-streams" / "target"
        app = f"peer-{kind}-{time.time_ns()}"
        return [
            "java", *HEAP, "-cp", f"{jar}/kafka-streams-peer-1.jar:{jar}/libs/*", "peer.Main", f"brokers={at.brokers}",
            f"topic={prefix}usage.events", f"catalog={prefix}billing.catalog", f"events={events}", f"store={kind}",
            "threads=2", "commit=1000", "cached=none", f"app={app}", f"state={at.dir / app}",
        ]
    return Peer(command)


# Its announcements go there.
STREAMS_TOPICS = ("webhooks.invoice.finalized", "webhooks.invoice.payment_overdue")


def naive(mode, events):
    return Peer(lambda at, prefix, wanted: [
        at.program("naive-redis"), "--brokers", at.brokers, "--redis", at.redis, "--topic", f"{prefix}usage.events",
        "--mode", mode, "--events", str(wanted),
    ], events)
