"""Whether Graceline's books are right: what was billed is what the generator says could be billed."""
import decimal
import json
import subprocess

SHARDS = 4


def fault(at, sent):
    fates = [0] * 6
    units = decimal.Decimal(0)
    for shard in range(SHARDS):
        books = json.loads(ask(at, "GET", f"graceline:{{{shard}}}:shard"))["record"]["books"]
        fates = [sum(pair) for pair in zip(fates, books["fates"])]
        count = books["subscriptions"]
        for first in range(0, count, 1000):
            keys = [f"graceline:{{{shard}}}:usage:{number}" for number in range(first, min(first + 1000, count))]
            units += sum(units_of(text) for text in ask(at, "MGET", *keys).splitlines() if text)
    billed, late, duplicate, parked, rejected, _ = fates
    if (billed, duplicate) != (sent["billable"], sent["events"] - sent["billable"]) or late or parked or rejected:
        return f"billed {billed}, duplicate {duplicate}, late {late}, parked {parked}, rejected {rejected}; sent {sent}"
    if int(units * 100) != sent["units_hundredths"]:
        return f"{units} units are billed, {sent['units_hundredths']} hundredths were sent"
    return ""


def units_of(text):
    buckets = (bucket for _, all_of_them in json.loads(text) for bucket in all_of_them)
    return sum(decimal.Decimal(bucket[4]["sum"]) for bucket in buckets if isinstance(bucket[4], dict) and "sum" in bucket[4])


def ask(at, *words):
    return subprocess.run(["redis-cli", "-u", at.redis, *words], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
