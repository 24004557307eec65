"""Writes a log line by line, and knows at each line what the judge makes of those before it.

So usage can be aimed at bounds that exist, and commands at invoices that can take them.
"""

import json
import random
import re

from books import Books
from instants import SECOND, show_instant
from numbers_exact import Number
from records import Members, read_settings
from simulate import read_line

RAW = re.compile(r'"@raw:([^"]*)@"')


def raw(text):
    """A JSON number that stays as it is written."""
    return f"@raw:{text}@"


class Pen:
    """One log in the making."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.lines, self.books, self.now = [], Books(), None
        self.used_ids, self.records = 0, {}
        self.features = set()

    # --- Chance ----------------------------------------------------------------------------------

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, *options):
        return self.rng.choice(options)

    def has(self, feature, share=1.0):
        return feature in self.features and self.chance(share)

    def new_id(self, stem):
        self.used_ids += 1
        return f"{stem}{self.used_ids}"

    # --- Lines -----------------------------------------------------------------------------------

    def configure(self, members):
        self.lines.append(json.dumps({"config": members}))
        self.books = Books(read_settings(Members(json.loads(json.dumps(members), parse_int=Number, parse_float=Number))))

    def tick(self):
        self.add(json.dumps({"at": self.show_now()}))

    def send(self, topic, key, value, headers=None):
        """A record with a JSON value."""
        entry = {"at": self.show_now(), "topic": topic, "key": key, "value": value}
        if headers:
            entry["headers"] = headers
        if self.has("own_format", 0.1) and value is not None and not headers:
            entry["text"] = RAW.sub(r"\1", json.dumps(entry.pop("value"), ensure_ascii=self.chance(0.5), indent=self.pick(None, 1)))
        self.add(RAW.sub(r"\1", json.dumps(entry, ensure_ascii=self.has("own_format", 0.5), separators=self.pick(None, (",", ":")))))

    def send_text(self, topic, key, text):
        """A record whose bytes are the text."""
        self.add(json.dumps({"at": self.show_now(), "topic": topic, "key": key, "text": text}))

    def send_written(self, topic, key, written):
        """A record whose value is written exactly so."""
        head = json.dumps({"at": self.show_now(), "topic": topic, "key": key})
        self.add(f'{head[:-1]}, "value": {written}}}')

    def add(self, line):
        self.lines.append(line)
        at, record = read_line(line, first=False)
        self.books.move_to(at)
        if record:
            self.books.take(record)
            self.books.move_to(at)

    def show_now(self):
        """Now and then with an offset, which must not matter."""
        text = show_instant(self.now)
        if self.chance(0.02) and "." not in text:
            return show_instant(self.now + 7200 * SECOND)[:-1] + "+02:00"
        return text

    # --- The clock -------------------------------------------------------------------------------

    def move_on(self, step):
        """To somewhere interesting: a deadline, a nanosecond beside it, or just on."""
        due = sorted({deadline[0] for deadline in self.books.deadlines() if deadline[0] > self.now})[:4]
        due = [instant for instant in due if instant < self.now + 12 * step]
        draw = self.rng.random()
        if draw < 0.25:
            return
        if draw < 0.55 and due:
            target = self.rng.choice(due) + self.pick(0, 0, 0, -1, 1, -SECOND, SECOND, 60 * SECOND, -60 * SECOND)
            self.now = max(self.now, target)
        elif draw < 0.70:
            self.now += self.pick(1, SECOND, 30 * SECOND, 60 * SECOND, 61 * SECOND, SECOND // 1000)
        else:
            self.now += int(self.rng.random() * 2 * step) // SECOND * SECOND
