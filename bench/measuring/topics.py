"""What lies in a topic, read from the broker's own files: the heads of its batches, and none of the records."""
import collections
import mmap
import struct

Batch = collections.namedtuple("Batch", "partition first count appended_ms")

HEAD = struct.Struct(">qi4xb4xh4xqq14xi")


def batches(folder, topic, start=None):
    """All batches of a topic, partition by partition; of each partition, those from `start[partition]` on."""
    for partition in partitions(folder, topic):
        for file in sorted((folder / f"{topic}-{partition}").glob("*.log")):
            for batch in heads(file, partition):
                if batch.first + batch.count > (start or {}).get(partition, 0):
                    yield batch


def partitions(folder, topic):
    found = (path.name[len(topic) + 1:] for path in folder.glob(f"{topic}-*"))
    return sorted(int(name) for name in found if name.isdigit())


def heads(file, partition):
    if file.stat().st_size == 0:
        return
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held:
        at = 0
        while at + 61 <= len(held):
            first, length, magic, attributes, _, appended_ms, count = HEAD.unpack_from(held, at)
            if magic != 2 or length <= 0:
                return
            # Markers of transactions and of leaders are records to nobody.
            if not attributes & 0x20:
                yield Batch(partition, first, count, appended_ms)
            at += 12 + length


def count(folder, topic):
    return sum(batch.count for batch in batches(folder, topic))


def last_ms(folder, topic):
    return max((batch.appended_ms for batch in batches(folder, topic)), default=0)
