"""The catalog: what is in force, what waits for what it names, and which records are refused."""

from instants import Duration
from invoices import least_length
from json_text import Unreadable, canonical, read_record
from records import FREE_PART, READERS, Refusal, default_entity, read_catalog_record


class Entry:
    """The last version of a thing; it stays with those that name it when it isn't in force any more."""

    def __init__(self, content):
        self.content, self.in_force = content, True


class Waiting:
    def __init__(self, order, record, content):
        self.order, self.record, self.content = order, record, content


class Catalog:
    def __init__(self):
        self.entries, self.waiting = {}, {}
        self.entries["billing_entity", "default"] = Entry(default_entity())
        self.entries["billing_entity", "default"].content.content = None

    def find(self, kind, code):
        """The last version, in force or not."""
        entry = self.entries.get((kind, code))
        return entry.content if entry else None

    def in_force(self, kind, code):
        entry = self.entries.get((kind, code))
        return entry.content if entry and entry.in_force else None

    def forget(self, kind, code):
        del self.entries[kind, code]

    def all_in_force(self, kind):
        return [entry.content for (its, _code), entry in self.entries.items() if its == kind and entry.in_force]

    def missing(self, content):
        """What the content names and nobody knows; what the version in force names too isn't asked for again."""
        before = self.in_force(content.kind, content.key)
        asked = references(content) - (references(before) if before and before.content else set())
        return [name for name in asked if not self.in_force(*name)]


def references(content):
    if content.kind == "plan":
        return {("billable_metric", charge.metric_code) for charge in content.charges}
    if content.kind == "billing_entity":
        return {("tax", code) for code in content.tax_codes}
    if content.kind == "customer":
        return {("tax", code) for code in content.tax_codes or ()} | {("billing_entity", content.entity_code)}
    if content.kind == "subscription":
        return {("customer", content.customer_id), ("plan", content.plan_code)}
    return set()


# --- A record comes -----------------------------------------------------------------------------------

def take_catalog_record(books, record):
    try:
        if record.is_tombstone:
            remove(books, record)
        else:
            consider(books, record)
    except Refusal as refusal:
        refuse(books, record, refusal)
    end_the_waiting(books)


def refuse(books, record, refusal):
    books.reject("billing.rejected", record, refusal.reason, {"graceline-pointer": refusal.pointer})


def consider(books, record):
    catalog = books.catalog
    try:
        content = read_catalog_record(read_record(record.text))
    except Unreadable:
        raise Refusal("malformed")
    name = (content.kind, content.key)
    before = catalog.in_force(*name)
    if before and before.content == content.content:
        catalog.waiting.pop(name, None)
        return
    check(books, content)
    catalog.waiting.pop(name, None)
    if catalog.missing(content):
        catalog.waiting[name] = Waiting(books.next_order(), record, content)
    else:
        take_effect(books, content)


def end_the_waiting(books):
    """What misses nothing any more takes effect, in the order of arrival."""
    catalog = books.catalog
    while True:
        ready = [(waiting.order, name) for name, waiting in catalog.waiting.items() if not catalog.missing(waiting.content)]
        if not ready:
            return
        waiting = catalog.waiting.pop(min(ready)[1])
        try:
            check(books, waiting.content)
            take_effect(books, waiting.content)
        except Refusal as refusal:
            refuse(books, waiting.record, refusal)


def take_effect(books, content):
    name = (content.kind, content.key)
    last = books.catalog.find(*name)
    if content.kind == "plan":
        known = {charge.code: charge.added for charge in last.charges} if last else {}
        now = books.next_order()
        for charge in content.charges:
            charge.added = known.get(charge.code, now)
    books.catalog.entries[name] = Entry(content)
    if content.kind == "settings":
        content.max_event_bytes = books.settings.max_event_bytes
        books.reach_back(content.lateness)
        books.settings = content
    if content.kind == "subscription":
        books.take_subscription(content)
    books.decide_parked()


def remove(books, record):
    kind, slash, code = (record.key or "").partition("/")
    if not slash:
        raise Refusal("malformed")
    if kind not in READERS:
        raise Refusal("unknown_kind")
    books.catalog.waiting.pop((kind, code), None)
    entry = books.catalog.entries.get((kind, code))
    if not entry or not entry.in_force or (kind, code) == ("billing_entity", "default"):
        return
    if kind == "settings":
        return
    entry.in_force = False
    if kind == "subscription":
        books.end_subscription(code)
    if kind == "customer":
        for subscription in sorted(books.subscriptions.values(), key=lambda known: known.id.encode()):
            if subscription.customer_id == code:
                books.end_subscription(subscription.id)


# --- Checks against what is known ---------------------------------------------------------------------

def check(books, content):
    """Refuses what contradicts the catalog; what is missing yet isn't looked at."""
    last = books.catalog.find(content.kind, content.key)
    if content.kind == "billable_metric" and last:
        keep(content.aggregation, last.aggregation, "/aggregation_type")
        keep(content.field, last.field, "/field_name")
    elif content.kind == "plan" and last:
        check_plan(content, last)
    elif content.kind == "customer":
        check_customer(books, content)
    elif content.kind == "subscription":
        check_subscription(books, content)


def keep(new, old, pointer):
    if new != old:
        raise Refusal("immutable", pointer)


def check_plan(plan, last):
    keep(interval_value(plan.interval), interval_value(last.interval), "/interval")
    keep(plan.currency, last.currency, "/amount_currency")
    before = {charge.code: charge for charge in last.charges}
    for index, charge in enumerate(plan.charges):
        if charge.code in before:
            check_charge(charge, before[charge.code], f"/charges/{index}")


def interval_value(interval):
    return interval.length if isinstance(interval, Duration) else interval


def check_charge(charge, last, pointer):
    keep(charge.metric_code, last.metric_code, f"{pointer}/billable_metric_code")
    check_properties(charge.properties, last.properties, f"{pointer}/properties")
    keep(len(charge.filters), len(last.filters), f"{pointer}/filters")
    for index, (part, old) in enumerate(zip(charge.filters, last.filters)):
        keep(canonical(part.values), canonical(old.values), f"{pointer}/filters/{index}/values")
        check_properties(part.properties, old.properties, f"{pointer}/filters/{index}/properties")


def check_properties(properties, last, pointer):
    keep(properties.group_keys, last.group_keys, f"{pointer}/pricing_group_keys")
    for name, member in zip(FREE_PART, ("free_events", "free_amount")):
        keep(getattr(properties, member, 0), getattr(last, member, 0), f"{pointer}/{name}")


def check_customer(books, customer):
    plans = [books.catalog.find("plan", code) for subscription in books.subscriptions.values()
             if subscription.customer_id == customer.key for code in subscription.plans_ahead()]
    for plan in plans:
        check_currency(plan, customer, "/currency")
    for plan in plans:
        check_grace(plan, customer, "/invoice_grace_period")


def check_subscription(books, record):
    known = books.subscriptions.get(record.key)
    if known:
        if record.started_at is None and record.ended_at is not None and record.ended_at < known.started_at:
            raise Refusal("invalid_value", "/ended_at")
        if known.ended:
            raise Refusal("subscription_ended")
        keep(known.customer_id, record.customer_id, "/external_customer_id")
        keep(known.started_at, known.started_at if record.started_at is None else record.started_at, "/started_at")
        keep(known.billing_time, record.billing_time, "/billing_time")
    missing = books.catalog.missing(record)
    plan = books.catalog.find("plan", record.plan_code)
    customer = books.catalog.find("customer", record.customer_id)
    if not missing:
        check_currency(plan, customer, "/plan_code")
        check_grace(plan, customer, "/plan_code")


def check_currency(plan, customer, pointer):
    if plan.currency and customer.currency and plan.currency != customer.currency:
        raise Refusal("currency_mismatch", pointer)


def check_grace(plan, customer, pointer):
    if customer.grace and customer.grace.length >= least_length(plan.interval):
        raise Refusal("grace_not_shorter_than_period", pointer)
