"""A file of lines through the books, and what they write."""

import json

from books import Books
from instants import read_instant
from json_text import Unreadable, read_record, split_members
from records import Members, Refusal, plain_text, read_settings

TOPICS = ("usage.events", "billing.catalog", "billing.commands")
MEMBERS = ("at", "topic", "key", "value", "text", "headers")
SETTINGS = ("default_grace", "default_net_payment_term", "lateness_limit", "future_limit", "parking_limit", "refresh",
            "refresh_interval", "will_be_due_days", "clock_skew_limit", "format", "max_event_bytes", "dialect")


class BadLine(Exception):
    """The file can't be taken; nothing of it is."""


class Record:
    """One record as a topic would deliver it."""

    def __init__(self, topic, key, headers, written, text):
        self.topic, self.key, self.headers = topic, key, headers
        self.written = written
        self.text = written if text is None else text
        self.is_tombstone = self.text.strip() == "null"

    def value_as_written(self):
        """What goes back out: JSON as it came, bytes that are no JSON as text."""
        if self.written is not None:
            return f'"value": {self.written}'
        try:
            split_or_scalar(self.text)
        except (Unreadable, ValueError):
            return f'"text": {json.dumps(self.text)}'
        on_one_line = self.text.replace("\n", " ").replace("\r", " ")
        return f'"value": {on_one_line}'


def split_or_scalar(text):
    split_members('{"value":' + text + "}")


def simulate(data, until=None, with_books=False):
    """All lines of output. Raises BadLine."""
    lines = read_lines(data)
    settings = None
    if lines and isinstance(lines[0], dict):
        settings = read_config(lines.pop(0))
    books = Books(settings)
    for at, record in lines:
        if until is not None and at > until:
            break
        books.move_to(at)
        if record:
            books.take(record)
            books.move_to(at)
    if until is not None:
        books.move_to(until)
    written = [write(record) for record in books.out]
    if with_books:
        written.append(json.dumps({"books": {"fates": books.counts}}))
    return written


# --- Lines in -----------------------------------------------------------------------------------------

def read_lines(data):
    """Each line as its instant and record, the first perhaps as the config."""
    lines, latest = [], None
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("utf-8")
            if not text.strip(" \t\r"):
                continue
            entry = read_line(text, first=not lines)
        except (Unreadable, ValueError) as error:
            raise BadLine(f"line {number}: {error}")
        if isinstance(entry, tuple):
            if latest is not None and entry[0] < latest:
                raise BadLine(f"line {number}: at goes back")
            latest = entry[0]
        lines.append(entry)
    return lines


def read_line(text, first):
    members = split_members(text)
    if first and "config" in members and len(members) == 1:
        config = read_record(members["config"])
        if not isinstance(config, dict) or set(config) - set(SETTINGS):
            raise Unreadable("config isn't known")
        read_config(config)
        return config
    for name in members:
        if name not in MEMBERS:
            raise Unreadable(f"unknown member {name}")
    members = {name: written for name, written in members.items() if name == "value" or written.strip() != "null"}
    at = read_instant(plain_text(scalar(members, "at")))
    if at is None:
        raise Unreadable("at isn't an instant")
    if set(members) == {"at"}:
        return at, None
    return at, read_input(members)


def read_input(members):
    topic, key, text = (scalar(members, name) for name in ("topic", "key", "text"))
    headers = read_record(members.get("headers", "{}"))
    if topic not in TOPICS:
        raise Unreadable("unknown topic")
    if "value" in members and "text" in members:
        raise Unreadable("a record has a value or a text")
    if not isinstance(headers, dict) or any(plain_text(value) is None for value in headers.values()):
        raise Unreadable("headers are texts")
    for value in (key, text):
        if value is not None and plain_text(value) is None:
            raise Unreadable("key and text are texts")
    return Record(topic, key, headers, members.get("value", "null") if text is None else None, text)


def scalar(members, name):
    return read_record(members[name]) if name in members else None


def read_config(config):
    try:
        return read_settings(Members(config))
    except Refusal as refusal:
        raise Unreadable(f"config: {refusal.pointer}")


# --- Lines out ----------------------------------------------------------------------------------------

def write(record):
    if "record" not in record:
        return json.dumps(record, ensure_ascii=False)
    head = json.dumps({name: record[name] for name in ("at", "topic", "key", "headers")}, ensure_ascii=False)
    return f"{head[:-1]}, {record['record'].value_as_written()}}}"
