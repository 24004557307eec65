"""Two outputs of the same log side by side: what differs first, and what kind of difference that is."""

import json
import re

HEADERS = ("webhook-timestamp", "graceline-seq", "graceline-reason", "graceline-pointer", "graceline-command-id")
BAD_LINE = re.compile(r"(?i)(?:line |:)(\d+)\b")
SHOWN = 8


class Difference:
    """Where two outputs part, in words, and the kind of it for counting."""

    def __init__(self, kind, lines):
        self.kind, self.lines = kind, lines


class Names:
    """Ids in the order in which they appear, for their text is free."""

    def __init__(self):
        self.known = {}

    def __call__(self, name):
        return name if name is None else self.known.setdefault(name, f"invoice {len(self.known) + 1}")


def first_difference(judged, printed):
    """Each side is an exit status, the lines of output and the error's text."""
    if judged[0] != printed[0]:
        return Difference("exit status", [f"exit status: judge {judged[0]}, program {printed[0]}: {printed[2].strip()[-300:]}"])
    if judged[0]:
        return bad_line_difference(judged[2], printed[2], printed[1])
    names, its_names, notices = Names(), Names(), {}
    for number in range(max(len(judged[1]), len(printed[1]))):
        wanted, got = (read(side[1][number], own) if number < len(side[1]) else None for side, own in ((judged, names), (printed, its_names)))
        found = record_difference(wanted, got) or repeated_notice(got, notices)
        if found:
            found.lines = [f"record {number + 1}: {label(wanted or got)}"] + found.lines + context(judged[1], printed[1], number)
            return found
    return None


def bad_line_difference(judged, printed, output):
    wanted, got = (BAD_LINE.search(text) for text in (judged, printed))
    if output:
        return Difference("bad line", ["a bad line, and yet there is output"])
    if not got or wanted.group(1) != got.group(1):
        return Difference("bad line", [f"bad line: judge {judged.strip()!r}, program {printed.strip()!r}"])
    return None


# --- Records ------------------------------------------------------------------------------------------

def read(line, names):
    """A record without what is free: ids by first appearance, refused bytes as JSON where they are JSON."""
    try:
        record = parse(line)
    except (ValueError, RecursionError):
        return {"unreadable": line[:2000]}
    if "text" in record:
        try:
            record["value"] = parse(record["text"])
        except (ValueError, RecursionError):
            record["value"] = record["text"]
        del record["text"]
    if "headers" not in record:
        return record
    record["notice"] = record["headers"].get("webhook-id")
    record["headers"] = {name: record["headers"][name] for name in HEADERS if name in record["headers"]}
    value = record.get("value")
    if record["notice"] and isinstance(value, dict):
        if isinstance(value.get("invoice"), dict):
            value["invoice"]["id"] = names(value["invoice"].get("id"))
        if isinstance(value.get("usage"), dict):
            value["usage"]["invoice_id"] = names(value["usage"].get("invoice_id"))
    return record


def parse(text):
    return json.loads(text, parse_float=str, parse_int=lambda number: int(number) if len(number) < 100 else number,
                      parse_constant=no_constant)


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


def record_difference(wanted, got):
    if got is None:
        return Difference("missing " + wanted.get("topic", "books"), ["the program has no record here", f"  judge:   {brief(wanted)}"])
    if wanted is None:
        return Difference("unexpected " + got.get("topic", "books"), ["the judge has no record here", f"  program: {brief(got)}"])
    found = list(compare(wanted, got, ""))
    if not found:
        return None
    head = [path for path, _left, _right in found if path in ("at", "topic", "key")]
    if "topic" in head or "at" in head:
        kind = f"{wanted.get('topic', 'books')} or {got.get('topic', 'books')}"
        return Difference(kind, ["another record", f"  judge:   {brief(wanted)}", f"  program: {brief(got)}"])
    kind = f"{wanted.get('topic', 'books')}: " + " ".join(sorted({re.sub(r'\[\d+\]', '[]', path).split('.')[-1] for path, _l, _r in found})[:4])
    lines = [f"  {path}: judge {brief(left)}, program {brief(right)}" for path, left, right in found[:SHOWN]]
    return Difference(kind, lines + ([f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []))


def compare(wanted, got, path):
    if isinstance(wanted, dict) and isinstance(got, dict):
        for name in sorted(set(wanted) | set(got)):
            if name == "notice" or (name not in wanted and name in ("unreadable",)):
                continue
            here = f"{path}.{name}" if path else name
            if name not in wanted or name not in got:
                yield here, wanted.get(name, "(absent)"), got.get(name, "(absent)")
            else:
                yield from compare(wanted[name], got[name], here)
    elif isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            yield f"{path}.length", len(wanted), len(got)
        for index, (left, right) in enumerate(zip(wanted, got)):
            yield from compare(left, right, f"{path}[{index}]")
    elif type(wanted) is not type(got) or wanted != got:
        yield path, wanted, got


def repeated_notice(got, notices):
    """A webhook's id names one notice only."""
    notice = got and got.get("notice")
    if notice and notice in notices:
        return Difference("repeated webhook-id", [f"  the program's webhook-id {notice} stands on two notices"])
    notices[notice] = True
    return None


# --- In words -----------------------------------------------------------------------------------------

def label(record):
    value = record.get("value")
    invoice = value.get("invoice") if isinstance(value, dict) and isinstance(value.get("invoice"), dict) else {}
    parts = [record.get("at"), record.get("topic"), record.get("key"), record.get("headers", {}).get("graceline-reason"),
             invoice.get("external_subscription_id"), invoice.get("period_from"), invoice.get("invoicing_reason")]
    return " ".join(str(part) for part in parts if part) or "the books"


def brief(value, limit=600):
    if isinstance(value, dict) and "topic" in value:
        invoice = value["value"].get("invoice") if isinstance(value.get("value"), dict) else None
        value = f"{label(value)}" + ("" if isinstance(invoice, dict) else f" {json.dumps(value.get('value'))}")
        return value[:limit]
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[:limit] + "…"


def context(judged, printed, number):
    """What each side says next, for a record that one of them has earlier or later."""
    lines = []
    for name, side in (("judge", judged), ("program", printed)):
        after = [label(read(line, Names())) for line in side[number:number + 3]]
        lines.append(f"  {name + ':':9}{' | '.join(after)}")
    return lines
