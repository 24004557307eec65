"""What people would pick instead, and the bare client that nobody can be faster than."""
import json
import subprocess
import time

from .watch import Watch


class Peer:
    """A program that says FIRST with its first event and DONE {…} after its last."""

    needs_java = False

    def __init__(self, command, events=None):
        self.command, self.events_max = command, events

    def drain(self, at, prefix, sent):
        """Rate and cost of one run from an empty Redis, and what is wrong with it."""
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
        if "units_hundredths" in told and events == sent["events"] and told["units_hundredths"] != self.units(sent, told):
            return f"{told['units_hundredths']} hundredths, {sent['units_hundredths']} were sent"
        return ""

    def units(self, sent, told):
        return sent["units_hundredths"]


class Bare(Peer):
    def units(self, sent, told):
        # It counts duplicates twice; that it has read everything is known from the number of events.
        return told["units_hundredths"]


class Streams(Peer):
    needs_java = True


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
    return Streams(command)


# Its announcements go there.
STREAMS_TOPICS = ("webhooks.invoice.finalized", "webhooks.invoice.payment_overdue")


def naive(mode, events):
    return Peer(lambda at, prefix, wanted: [
        at.program("naive-redis"), "--brokers", at.brokers, "--redis", at.redis, "--topic", f"{prefix}usage.events",
        "--mode", mode, "--events", str(wanted),
    ], events)
