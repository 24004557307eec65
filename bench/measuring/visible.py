"""When usage becomes visible in Redis, as somebody who reads the shards' records there sees it."""
import bisect
import re
import threading
import time

from . import store, topics

EVERY_S = 0.002
FATES = re.compile(rb'"fates":\[(\d+(?:,\d+)*)\]')
POSITIONS = re.compile(rb'"positions":\[((?:\d+|null)(?:,(?:\d+|null))*)\]')


class Visible:
    """Looks at the shards' positions until it is stopped."""

    def __init__(self, at, prefix, partitions):
        self.at, self.topic, self.partitions = at, f"{prefix}usage.events", partitions
        # Of each shard: when its position was first seen to be there, and the position.
        self.seen = {shard: [] for shard in range(partitions)}
        # The same of how much of its usage was decided: while many drafts are due, the position stays where some of it waits.
        self.decided = {shard: [] for shard in range(partitions)}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def look(self):
        mine = store.Store(self.at.redis)
        keys = [store.shard_key(shard) for shard in range(self.partitions)]
        before = [None] * self.partitions
        while not self.stopping.is_set():
            records = mine.ask("MGET", *keys)
            now_ms = time.time() * 1000
            for shard, record in enumerate(records):
                if record and record != before[shard]:
                    before[shard] = record
                    self.note(shard, now_ms, usage_position(record))
                    self.decided[shard].append((now_ms, usage_decided(record)))
            time.sleep(EVERY_S)

    def note(self, shard, now_ms, position):
        seen = self.seen[shard]
        if not seen or position > seen[-1][1]:
            seen.append((now_ms, position))

    def ages(self):
        """How old usage was when it became visible: (milliseconds, when, how many events), of what came while it looked."""
        start = {shard: seen[0][1] for shard, seen in self.seen.items() if seen}
        for batch in topics.batches(self.at.logs, self.topic, start):
            seen = self.seen[batch.partition]
            first, end = max(batch.first, start.get(batch.partition, 0)), batch.first + batch.count
            place = bisect.bisect_right(seen, first, key=lambda one: one[1])
            while first < end and place < len(seen):
                when, position = seen[place]
                upto = min(end, position)
                yield max(0.0, when - batch.appended_ms), when, upto - first
                first, place = upto, place + 1

    def pauses(self, since_ms, until_ms):
        """Of each shard, how long its usage stood still at most, in milliseconds."""
        found = {}
        for shard, seen in self.seen.items():
            moments = [since_ms, *(when for when, _ in seen if since_ms < when < until_ms), until_ms]
            found[shard] = max(after - before for before, after in zip(moments, moments[1:]))
        return found

    def decided_at(self, when_ms):
        """How many events were decided then, as the books in Redis say."""
        total = 0
        for seen in self.decided.values():
            place = bisect.bisect_right(seen, when_ms, key=lambda one: one[0])
            total += seen[place - 1][1] if place else 0
        return total


def usage_position(record):
    found = POSITIONS.search(record)
    position = found.group(1).split(b",")[store.USAGE] if found else b"null"
    return 0 if position == b"null" else int(position)


def usage_decided(record):
    found = FATES.search(record)
    return sum(int(count) for count in found.group(1).split(b",")) if found else 0


def percentiles(ages, shares=(0.5, 0.9, 0.99, 0.999, 1)):
    """Of (value, …, how many): the values below which these shares of them lie."""
    ordered = sorted((age[0], age[-1]) for age in ages)
    total = sum(count for _, count in ordered)
    found, passed, place = [], 0, 0
    for share in shares:
        while place < len(ordered) and passed + ordered[place][1] < share * total:
            passed += ordered[place][1]
            place += 1
        found.append(ordered[min(place, len(ordered) - 1)][0] if ordered else None)
    return found
