"""What a measurement cost: whose processor time, and whose it wasn't."""
import os
import time

TICK = os.sysconf("SC_CLK_TCK")
# Beside more than this a round says too little about the rate.
OTHERS_MAX = 0.2


def processor_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmRSS"].split()[0]) / 1024


def machine_seconds():
    """All that ran, but for interrupts: those are served for whoever is measured, on nobody's account."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, _, _, stolen = map(int, file.readline().split()[1:9])
    return (user + nice + system + stolen) / TICK


class Watch:
    """What has been used since it was started: by who is measured, the broker, Redis, a generator, and anything else."""

    def __init__(self, at, pids, generator=None):
        self.pids = {"broker": [at.pid("kafka")], "redis": [at.pid("redis")], "own": pids}
        self.pids["generator"] = [generator] if generator else []
        self.before = self.look()

    def look(self):
        used = {name: sum(map(processor_seconds, pids)) for name, pids in self.pids.items()}
        return used, machine_seconds(), time.process_time(), time.monotonic()

    def stop(self):
        """Seconds that passed, seconds of processor by whom, and how many cores something else had meanwhile."""
        (used, machine, harness, now), (used_before, machine_before, harness_before, begun) = self.look(), self.before
        cost = {name: max(0.0, used[name] - used_before[name]) for name in used}
        seconds = now - begun
        known = sum(cost.values()) + harness - harness_before
        others = max(0.0, machine - machine_before - known) / seconds
        return {"seconds": seconds, **cost, "others_cores": others}
