"""A share of a core for a process, and no more: by the kernel's control groups, or, where those can't be written, by stopping
it whenever it is ahead of its share."""
import contextlib
import os
import pathlib
import signal
import threading
import time

from .watch import processor_seconds

GROUPS = pathlib.Path("/sys/fs/cgroup")
PERIOD_US = 20_000


class Quota:
    """Holds a process and its threads to a share while it is open."""

    def __init__(self, pid, share):
        self.pid, self.share = pid, share
        self.folder = next((home / f"graceline-bench-{pid}" for home in (GROUPS / "cpu", GROUPS) if os.access(home, os.W_OK)), None)
        self.stopping = threading.Event()

    def __enter__(self):
        try:
            self.by_group()
        except OSError:
            self.way = "stops and goes on"
            self.thread = threading.Thread(target=self.by_stopping, daemon=True)
            self.thread.start()
        return self

    def by_group(self):
        if self.folder is None:
            raise OSError("no control groups")
        self.folder.mkdir()
        quota = int(PERIOD_US * self.share)
        if (self.folder / "cpu.cfs_quota_us").exists():
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        (self.folder / "cgroup.procs").write_text(str(self.pid))
        self.way = "control group"

    def by_stopping(self):
        begun, used = time.monotonic(), processor_seconds(self.pid)
        while not self.stopping.wait(0.005):
            ahead = processor_seconds(self.pid) - used > (time.monotonic() - begun) * self.share
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGSTOP if ahead else signal.SIGCONT)

    def __exit__(self, *_):
        """The process has ended by now, or goes on without limits."""
        self.stopping.set()
        if self.way != "control group":
            self.thread.join()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            return
        with contextlib.suppress(OSError):
            (self.folder.parent / "cgroup.procs").write_text(str(self.pid))
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.02)
