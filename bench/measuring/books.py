"""Whether Graceline's books are right: what was billed is what the generator says could be billed."""
import collections
import decimal
import json

FATES = ("billed", "late", "duplicate", "parked", "rejected", "cancelled")
AT_ONCE = 1000


def fault(at, *all_sent, partitions=4, units=True):
    """What is wrong, as text; empty if nothing is. Units take a while to add up where there are many subscriptions."""
    sent = sum((collections.Counter({name: value for name, value in one.items() if isinstance(value, int)}) for one in all_sent),
               collections.Counter())
    records = [at.store.shard(number) for number in range(partitions)]
    found = dict(zip(FATES, (sum(fates) for fates in zip(*(record["books"]["fates"] for record in records)))))
    wanted = {
        "billed": sent["billable"] - sent["late"], "late": sent["late"], "duplicate": sent["duplicates"], "parked": 0,
        "rejected": sent["poison"], "cancelled": 0,
    }
    if found != wanted:
        return f"found {found}, sent {wanted}"
    if units:
        hundredths = sum(units_of(at, number, record["books"]["subscriptions"]) for number, record in enumerate(records)) * 100
        if hundredths != sent["units_hundredths"]:
            return f"{hundredths} hundredths of a unit are billed, {sent['units_hundredths']} were sent"
    return ""


def units_of(at, shard, subscriptions):
    """The units of a shard: those of open periods, and those that came late and that an open period carries."""
    return sum(in_periods(text) + carried(text) for text in documents(at, shard, "usage", subscriptions))


def documents(at, shard, kind, count):
    for first in range(0, count, AT_ONCE):
        keys = [f"graceline:{{{shard}}}:{kind}:{number}" for number in range(first, min(first + AT_ONCE, count))]
        yield from (text for text in at.store.ask("MGET", *keys) if text)


def in_periods(text):
    totals = (bucket[3] for period in json.loads(text) for bucket in period[1])
    return sum(decimal.Decimal(total) for total in totals if isinstance(total, str))


def carried(text):
    if b'"carries"' not in text:
        return 0
    carries = (carry for period in json.loads(text) if len(period) > 3 for carry in period[3].get("carries", []))
    return sum(decimal.Decimal(units) for carry in carries for _, units in carry["metrics"].values())
