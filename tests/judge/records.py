"""Catalog records, each read from its own text alone: the reason and the place when it can't be."""

from types import SimpleNamespace

from instants import LONGEST_DAYS, days_long, read_duration, read_instant, zone_named
from json_text import canonical
from numbers_exact import Number, read_decimal, read_price, read_whole

EXPONENTS = dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0)
EXPONENTS.update(dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3))
EXPONENTS.update(dict.fromkeys("CLF UYW".split(), 4))

AGGREGATIONS = ("count_agg", "sum_agg", "max_agg", "unique_count_agg", "latest_agg", "weighted_sum_agg")
INTERVALS = ("daily", "weekly", "monthly", "quarterly", "semiannual", "yearly")
RANGES = {"graduated": "graduated_ranges", "volume": "volume_ranges",
          "graduated_percentage": "graduated_percentage_ranges"}
MODELS = ("standard", "package", "percentage", "dynamic", *RANGES)
FREE_PART = ("free_units_per_events", "free_units_per_total_aggregation")

REQUIRED = object()


class Refusal(Exception):
    """A record that is refused whole."""

    def __init__(self, reason, pointer=""):
        super().__init__(reason)
        self.reason, self.pointer = reason, pointer


class Members:
    """An object of a record, read member by member; the first wrong one refuses the record. `null` is as good as absent."""

    def __init__(self, members, pointer=""):
        self.members, self.pointer = members, pointer

    def at(self, name):
        return f"{self.pointer}/" + str(name).replace("~", "~0").replace("/", "~1")

    def refuse(self, name):
        raise Refusal("invalid_value", self.at(name))

    def read(self, name, default, reader):
        value = self.members.get(name)
        if value is None:
            return self.refuse(name) if default is REQUIRED else default
        result = reader(value)
        return self.refuse(name) if result is None else result

    def text(self, name, default=REQUIRED):
        return self.read(name, default, lambda value: plain_text(value) or None)

    def name(self, name):
        return self.read(name, None, plain_text)

    def flag(self, name, default):
        return self.read(name, default, lambda value: value if isinstance(value, bool) else None)

    def choice(self, name, options, default=REQUIRED):
        return self.read(name, default, lambda value: value if plain_text(value) in options else None)

    def cents(self, name, default):
        return self.read(name, default, read_cents)

    def price(self, name, default=REQUIRED):
        return self.read(name, default, read_price)

    def whole(self, name, default, lowest, highest=10**9):
        def reader(value):
            number = read_whole(value)
            return number if number is not None and lowest <= number <= highest else None
        return self.read(name, default, reader)

    def instant(self, name, default):
        return self.read(name, default, lambda value: read_instant(plain_text(value)))

    def currency(self, name):
        return self.read(name, None, read_currency)

    def zone(self, name):
        return self.read(name, None, lambda value: value if zone_named(plain_text(value)) else None)

    def grace(self, name):
        return self.read(name, None, read_grace)

    def term(self, name, default=None):
        return self.read(name, default, read_term)

    def texts(self, name, default=None):
        values = self.read(name, default, lambda value: value if isinstance(value, list) else None)
        for index, value in enumerate(values or ()):
            if not plain_text(value):
                raise Refusal("invalid_value", f"{self.at(name)}/{index}")
        return values

    def objects(self, name, default=REQUIRED):
        values = self.read(name, default, lambda value: value if isinstance(value, list) else None)
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise Refusal("invalid_value", f"{self.at(name)}/{index}")
        return [Members(value, f"{self.at(name)}/{index}") for index, value in enumerate(values)]


def plain_text(value):
    return value if isinstance(value, str) and not isinstance(value, Number) else None


def read_cents(value):
    number = read_whole(value)
    return number if number is not None and number >= 0 else None


def read_currency(value):
    text = plain_text(value)
    return text if text and len(text) == 3 and text.isascii() and text.isalpha() and text.isupper() else None


def read_grace(value):
    days = read_whole(value)
    if days is not None:
        return days_long(days) if 0 <= days <= LONGEST_DAYS else None
    return read_duration(plain_text(value))


def read_term(value):
    days = read_whole(value)
    if days is not None:
        return days if 0 <= days <= LONGEST_DAYS else None
    duration = read_duration(plain_text(value))
    return duration.days if duration and not duration.exact else None


# --- One reader per kind ------------------------------------------------------------------------------

def read_entity(record):
    code = record.text("code")
    return SimpleNamespace(
        key=code, name=record.name("name"), timezone=record.zone("timezone"), currency=record.currency("currency"),
        grace=record.grace("invoice_grace_period"), term=record.term("net_payment_term"),
        prefix=record.text("document_prefix", code.upper()),
        numbering=record.choice("document_numbering", ("per_customer", "per_billing_entity"), "per_customer"),
        finalize_zero=record.flag("finalize_zero_amount_invoice", True),
        tax_codes=record.texts("tax_codes") or [],
        rules=[read_rule(rule) for rule in record.objects("grace_rules", ())],
        late_pricing=record.choice("late_usage_pricing", ("increment", "next_period"), "increment"))


def read_rule(rule):
    delay = rule.read("delay", REQUIRED, read_grace)
    conditions = rule.texts("when") or []
    for index, condition in enumerate(conditions):
        if condition not in ("subscription_cycle", "metered_price"):
            raise Refusal("invalid_value", f"{rule.at('when')}/{index}")
    return SimpleNamespace(delay=delay, conditions=conditions)


def default_entity():
    return SimpleNamespace(
        key="default", name=None, timezone=None, currency=None, grace=None, term=None, prefix="INV",
        numbering="per_customer", finalize_zero=True, tax_codes=[], rules=[], late_pricing="increment")


def read_tax(record):
    return SimpleNamespace(key=record.text("code"), name=record.name("name"), rate=record.price("rate"))


def read_metric(record):
    key = record.text("code")
    name = record.name("name")
    aggregation = record.choice("aggregation_type", AGGREGATIONS)
    field = record.text("field_name", None if aggregation == "count_agg" else REQUIRED)
    if record.flag("recurring", False):
        record.refuse("recurring")
    return SimpleNamespace(
        key=key, name=name, aggregation=aggregation, field=field,
        rounding=record.choice("rounding_function", ("round", "ceil", "floor"), None),
        places=record.whole("rounding_precision", 0, -15, 12))


def read_customer(record):
    return SimpleNamespace(
        key=record.text("external_id"), name=record.name("name"),
        entity_code=record.text("billing_entity_code", "default"), timezone=record.zone("timezone"),
        currency=record.currency("currency"), grace=record.grace("invoice_grace_period"),
        term=record.term("net_payment_term"), tax_codes=record.texts("tax_codes"),
        collection=record.choice("collection_method", ("send_invoice", "charge_automatically"), "send_invoice"))


def read_subscription(record):
    subscription = SimpleNamespace(
        key=record.text("external_id"), customer_id=record.text("external_customer_id"),
        plan_code=record.text("plan_code"),
        billing_time=record.choice("billing_time", ("calendar", "anniversary"), "calendar"),
        started_at=record.instant("started_at", None), ended_at=record.instant("ended_at", None),
        effective_at=record.instant("effective_at", None))
    if None not in (subscription.started_at, subscription.ended_at) and subscription.ended_at < subscription.started_at:
        record.refuse("ended_at")
    return subscription


# --- Plans and their charges --------------------------------------------------------------------------

def read_plan(record):
    plan = SimpleNamespace(
        key=record.text("code"), name=record.name("name"), interval=record.read("interval", REQUIRED, read_interval),
        amount_cents=record.cents("amount_cents", 0), currency=record.currency("amount_currency"),
        in_advance=record.flag("pay_in_advance", False),
        commitment_cents=record.cents("minimum_commitment_cents", 0),
        charges=[read_charge(charge) for charge in record.objects("charges", ())])
    codes = [charge.code for charge in plan.charges]
    for index, code in enumerate(codes):
        if code in codes[:index]:
            raise Refusal("invalid_value", f"/charges/{index}/code")
    return plan


def read_interval(value):
    text = plain_text(value)
    if text in INTERVALS:
        return text
    duration = read_duration(text)
    return duration if duration and duration.length > 0 else None


def read_charge(charge):
    metric_code = charge.text("billable_metric_code")
    model = charge.choice("charge_model", MODELS)
    properties = read_object(charge, "properties")
    default = read_properties(properties, model)
    filters = []
    for part in charge.objects("filters", ()):
        merged = dict(properties.members, **read_object(part, "properties").members)
        filters.append(SimpleNamespace(
            values=read_filter_values(part), name=part.name("invoice_display_name"),
            properties=read_properties(Members(merged, part.at("properties")), model)))
    return SimpleNamespace(
        code=charge.text("code", metric_code), metric_code=metric_code, model=model,
        name=charge.name("invoice_display_name"), minimum_cents=charge.cents("min_amount_cents", 0),
        properties=default, filters=filters, added=0)


def read_object(members, name):
    value = members.read(name, {}, lambda value: value if isinstance(value, dict) else None)
    return Members(value, members.at(name))


def read_filter_values(part):
    values = read_object(part, "values")
    if not values.members:
        part.refuse("values")
    for key in values.members:
        if not values.texts(key):
            values.refuse(key)
    return values.members


def read_properties(properties, model):
    read = SimpleNamespace(group_keys=properties.texts("pricing_group_keys") or [])
    if model in ("standard", "package"):
        read.amount = properties.price("amount")
    if model == "package":
        read.free = properties.price("free_units", 0)
        read.size = properties.price("package_size", 1)
        if read.size <= 0:
            properties.refuse("package_size")
    if model == "percentage":
        read.rate = properties.price("rate")
        read.fixed = properties.price("fixed_amount", 0)
        read.free_events = properties.whole(FREE_PART[0], 0, 0, 2**64 - 1)
        read.free_amount = properties.price(FREE_PART[1], 0)
        for limit in ("per_transaction_min_amount", "per_transaction_max_amount"):
            if properties.members.get(limit) is not None:
                properties.refuse(limit)
    if model in RANGES:
        read.tiers = read_tiers(properties, RANGES[model], "rate" if model == "graduated_percentage" else "per_unit_amount")
    return read


def read_tiers(properties, name, price_name):
    """Each tier's upper end, ascending, the last one open."""
    ranges = properties.objects(name)
    if not ranges:
        properties.refuse(name)
    tiers, below = [], 0
    for index, part in enumerate(ranges):
        top = part.read("to_value", None, read_decimal)
        if (top is None) != (index == len(ranges) - 1) or (top is not None and top <= below):
            part.refuse("to_value")
        part.read("from_value", None, read_decimal)
        price, flat = part.price(price_name, None), part.price("flat_amount", None)
        if price is None and flat is None:
            part.refuse(price_name)
        tiers.append(SimpleNamespace(top=top, price=price or 0, flat=flat or 0))
        below = top
    return tiers


# --- Settings, and the way in -------------------------------------------------------------------------

def default_settings():
    return SimpleNamespace(
        grace=days_long(3), term=30, lateness=read_duration("P35D").length, future=read_duration("PT5M").length,
        parking=read_duration("P7D").length, refresh="continuous", refresh_interval=read_duration("PT1M").length,
        will_be_due_days=None, format="auto", dialect="graceline", max_event_bytes=1 << 20)


def read_settings(record):
    """The members of the file's section on billing, and the forms of usage and webhooks."""
    known = default_settings()

    def limit(name, default):
        duration = record.read(name, None, read_limit)
        return default if duration is None else duration

    known.grace = record.grace("default_grace") or known.grace
    known.term = record.term("default_net_payment_term", known.term)
    known.lateness = limit("lateness_limit", known.lateness)
    known.future = limit("future_limit", known.future)
    known.parking = limit("parking_limit", known.parking)
    known.refresh = record.choice("refresh", ("continuous", "at_finalization"), known.refresh)
    known.refresh_interval = limit("refresh_interval", known.refresh_interval)
    known.will_be_due_days = record.whole("will_be_due_days", None, 0, LONGEST_DAYS)
    known.format = record.choice("format", ("auto", "lago", "stripe", "cloudevents"), known.format)
    known.dialect = record.choice("dialect", ("graceline", "lago", "stripe", "hyperline"), known.dialect)
    known.max_event_bytes = record.whole("max_event_bytes", known.max_event_bytes, 1)
    record.read("clock_skew_limit", None, read_limit)
    return known


def read_limit(value):
    duration = read_grace(value)
    return duration.length if duration else None


READERS = {"billing_entity": read_entity, "tax": read_tax, "billable_metric": read_metric, "plan": read_plan,
           "customer": read_customer, "subscription": read_subscription, "settings": read_settings}


def read_catalog_record(value):
    """The kind and the content of a record's JSON value."""
    if not isinstance(value, dict):
        raise Refusal("malformed")
    if plain_text(value.get("kind")) is None:
        raise Refusal("malformed", "/kind")
    kind = value["kind"]
    if kind not in READERS:
        raise Refusal("unknown_kind", "/kind")
    content = READERS[kind](Members(value))
    if kind == "settings":
        content.key = "settings"
    content.kind, content.content = kind, canonical(value)
    return content
