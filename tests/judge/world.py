"""Catalogs to tell stories in: entities, metrics, plans, customers, subscriptions, and how they change."""

import copy

from instants import DAY, SECOND, first_instant, local_date, read_instant, show_instant, zone_named
from pen import raw
from periods import boundaries_after

HOUR, MINUTE = 3600 * SECOND, 60 * SECOND

# Where clocks do odd things, and a day shortly before one.
PLACES = [
    ("UTC", "2023-01-20"), ("UTC", "2024-02-25"), ("UTC", "2023-12-20"), ("Europe/Paris", "2024-03-20"),
    ("Europe/Paris", "2024-10-15"), ("America/New_York", "2024-02-27"), ("America/Los_Angeles", "2023-10-25"),
    ("Pacific/Apia", "2011-12-20"), ("America/Sao_Paulo", "2018-10-25"), ("America/Sao_Paulo", "2018-02-10"),
    ("Asia/Beirut", "2024-03-20"), ("Asia/Beirut", "2024-10-20"), ("Africa/Cairo", "2024-04-16"),
    ("Africa/Cairo", "2024-10-24"), ("Australia/Lord_Howe", "2024-03-28"), ("Australia/Lord_Howe", "2024-09-28"),
    ("Asia/Kolkata", "2023-01-24"), ("America/St_Johns", "2024-03-01"), ("America/St_Johns", "2006-10-24"),
    ("Asia/Kathmandu", "2023-06-28"), ("Pacific/Kiritimati", "2023-05-28"), ("Pacific/Honolulu", "2023-05-28"),
    ("America/Havana", "2024-03-05"), ("Atlantic/Azores", "2024-03-25"), ("Asia/Tehran", "2021-03-15"),
    ("America/Asuncion", "2023-09-25"), ("Pacific/Chatham", "2024-04-01"), ("Africa/Casablanca", "2024-03-05"),
    ("Pacific/Fakaofo", "2011-12-22"), ("America/Caracas", "2016-04-25"), ("Asia/Pyongyang", "2018-04-28"),
    ("America/Scoresbysund", "2025-03-25"), ("Africa/Juba", "2021-01-27"), ("Antarctica/Troll", "2024-03-25"),
    ("Pacific/Norfolk", "2019-10-01"), ("America/Nuuk", "2023-03-20"), ("Europe/Volgograd", "2020-12-20")]
NAMES = [["ann", "bob", "cid"], ["ann", "bob", "cid"], ["Zoé", "ann", "🦊"], ["a/b", "a", "a b"]]
ZONES = sorted({zone for zone, _day in PLACES})

TEMPOS = {
    "months": (["monthly", "monthly", "monthly", "quarterly", "semiannual", "yearly"], 3 * DAY),
    "weeks": (["weekly", "daily", "monthly"], DAY),
    "mixed": (["monthly", "P10D", "PT100H", "weekly", "quarterly"], DAY),
    "days": (["daily", "daily", "weekly"], 10 * HOUR),
    "hours": (["PT1H", "PT6H", "P1D", "daily"], HOUR),
    "minutes": (["PT1M", "PT5M", "PT90S"], 30 * SECOND)}

PRICES = ["1", "10", "0.05", "0.015", "2.5", "0.333333333333", "0", "3.10", raw("2"), raw("0.5"), raw("1e1"), "7", "0.01"]
CENTS = [0, 0, 100, 999, 1000, 2900, 3100, 3333, 100000]
AGGREGATIONS = ["count_agg", "sum_agg", "sum_agg", "max_agg", "unique_count_agg", "latest_agg", "weighted_sum_agg"]
REGIONS, COUNTRIES = ["us", "eu", "asia"], ["fr", "de", "jp"]


# --- Parts --------------------------------------------------------------------------------------------

def graces(pen):
    """Forms of grace, most of which fit the tempo."""
    return {
        "months": [0, 1, 2, 3, 5, 10, "PT72H", "P1DT12H", "P1W", "PT36H", 30],
        "weeks": [0, 1, "PT12H", "P1DT1H", 2, "PT23H", 3],
        "mixed": [0, 1, "PT12H", "P1DT1H", 2, "PT99H", 5],
        "days": [0, "PT1H", "PT23H", "PT12H", 1, "PT6H30M"],
        "hours": [0, "PT10M", "PT59M", "PT30M", "PT1H"],
        "minutes": [0, "PT10S", "PT59S", "PT30S", "PT1M"]}[pen.tempo]


def make_metric(pen, code, aggregation):
    metric = {"kind": "billable_metric", "code": code, "name": code.title(), "aggregation_type": aggregation}
    if aggregation != "count_agg":
        metric["field_name"] = "user" if aggregation == "unique_count_agg" else "n"
    if pen.chance(0.2):
        metric["rounding_function"] = pen.pick("round", "ceil", "floor")
        metric["rounding_precision"] = pen.pick(0, 1, 2, 5)
    if pen.chance(0.1):
        metric["recurring"] = False
    return metric


def models_for(pen, metric):
    if pen.model and (pen.model in ("volume", "package") or metric["aggregation_type"] in ("count_agg", "sum_agg")):
        return [pen.model]
    kinds = ["standard", "standard", "graduated", "volume", "package"]
    if metric["aggregation_type"] in ("count_agg", "sum_agg"):
        kinds += ["percentage", "percentage", "graduated_percentage", "dynamic"]
    return kinds


def make_tiers(pen, price_name):
    tops = pen.pick([], ["10"], [raw("10"), raw("100")], ["0.5", "3"], [raw("5"), raw("6")])
    ranges, below = [], 0
    for top in tops + [None]:
        ranges.append({"from_value": below, "to_value": top, price_name: pen.rng.choice(PRICES), "flat_amount": pen.pick("0", "2", "3.5", "0")})
        below = raw("1") if top is None else top
    return ranges


def make_properties(pen, model):
    if model == "standard":
        return {"amount": pen.rng.choice(PRICES)}
    if model == "graduated":
        return {"graduated_ranges": make_tiers(pen, "per_unit_amount")}
    if model == "volume":
        return {"volume_ranges": make_tiers(pen, "per_unit_amount")}
    if model == "graduated_percentage":
        return {"graduated_percentage_ranges": make_tiers(pen, "rate")}
    if model == "package":
        return {"amount": pen.rng.choice(PRICES), "free_units": pen.pick(0, 1, 10), "package_size": pen.pick(1, 5, 100)}
    if model == "percentage":
        properties = {"rate": pen.pick("1", "2.9", "50", "0.5"), "fixed_amount": pen.pick("0", "0.30", "1")}
        if pen.chance(0.5):
            properties["free_units_per_events"] = pen.pick(1, 2, 3)
        if pen.chance(0.5):
            properties["free_units_per_total_aggregation"] = pen.pick("5", "10.5", "100")
        return properties
    return {}


def make_charge(pen, metric, code):
    model = pen.rng.choice(models_for(pen, metric))
    charge = {"code": code, "billable_metric_code": metric["code"], "charge_model": model,
              "properties": make_properties(pen, model)}
    if pen.chance(0.3):
        charge["invoice_display_name"] = f"Charge {code}"
    if pen.has("minimums", 0.5):
        charge["min_amount_cents"] = pen.pick(500, 1000, 3333)
    if pen.has("groups", 0.5):
        charge["properties"]["pricing_group_keys"] = pen.pick(["country"], ["country", "region"])
    if pen.has("filters", 0.6):
        parts = [make_filter(pen, model) for _ in range(pen.pick(1, 2, 3))]
        charge["filters"] = [part for place, part in enumerate(parts) if all(part["values"] != other["values"] for other in parts[:place])]
    return charge


def make_filter(pen, model):
    values = pen.pick({"region": ["us"]}, {"region": ["us", "eu"]}, {"region": ["eu"], "country": ["fr"]}, {"tier": ["1"]},
                      {"tier": ["true", "2.5"]}, {"country": ["de", "jp"]})
    part = {"values": values, "properties": {}}
    if pen.chance(0.5):
        part["properties"] = make_properties(pen, model)
        for name in ("free_units_per_events", "free_units_per_total_aggregation"):
            part["properties"].pop(name, None)
    if pen.has("groups", 0.3):
        part["properties"]["pricing_group_keys"] = ["country"]
    if pen.chance(0.4):
        part["invoice_display_name"] = pen.new_id("Part ")
    return part


def make_plan(pen, code, metrics):
    intervals, _step = TEMPOS[pen.tempo]
    plan = {"kind": "plan", "code": code, "name": code.title(), "interval": pen.rng.choice(intervals),
            "amount_cents": pen.rng.choice(CENTS), "amount_currency": pen.currency,
            "pay_in_advance": pen.has("in_advance", 0.6), "charges": []}
    if not pen.chance(0.9):
        del plan["amount_currency"]
    if pen.has("zero_closed", 0.5):
        plan["amount_cents"] = 0
    if pen.has("invalid", 0.15):
        plan["amount_currency"] = pen.pick("EUR", "USD", "JPY")
    if pen.has("commitments", 0.6):
        plan["minimum_commitment_cents"] = pen.pick(1000, 5000, 100001)
    for metric in metrics:
        if pen.chance(0.75):
            plan["charges"].append(make_charge(pen, metric, "c_" + metric["code"]))
            if pen.chance(0.1):
                plan["charges"].append(make_charge(pen, metric, "d_" + metric["code"]))
    if pen.chance(0.1) and len(plan["charges"]) == 1:
        del plan["charges"][0]["code"]
    return plan


def make_entity(pen, code):
    entity = {"kind": "billing_entity", "code": code, "name": code.title(), "timezone": pen.zone, "currency": pen.currency,
              "document_prefix": code.upper()[:3], "net_payment_term": pen.pick(30, 10, 0, "P2W", 1)}
    if pen.chance(0.7):
        entity["invoice_grace_period"] = pen.rng.choice(graces(pen))
    if pen.has("entity_numbers", 0.7):
        entity["document_numbering"] = "per_billing_entity"
    if pen.has("zero_closed", 0.7):
        entity["finalize_zero_amount_invoice"] = False
    if pen.has("next_period", 0.7):
        entity["late_usage_pricing"] = "next_period"
    if pen.has("taxes", 0.7):
        entity["tax_codes"] = pen.pick(["vat"], ["vat", "city"], [])
    if pen.has("rules", 0.8):
        conditions = [["metered_price"], ["subscription_cycle"], ["metered_price", "subscription_cycle"], []]
        entity["grace_rules"] = [{"delay": pen.rng.choice(graces(pen)), "when": pen.rng.choice(conditions)} for _ in range(pen.pick(1, 2))]
    if pen.chance(0.15):
        del entity["timezone"]
    return entity


def make_customer(pen, code, entity_codes):
    customer = {"kind": "customer", "external_id": code, "name": code.title()}
    if pen.chance(0.9):
        customer["billing_entity_code"] = pen.rng.choice(entity_codes)
    if pen.chance(0.9) or "billing_entity_code" not in customer or "invalid" in pen.features:
        customer["currency"] = pen.currency
    if pen.has("zones", 0.5):
        customer["timezone"] = pen.rng.choice([pen.zone, pen.rng.choice(ZONES)])
    if pen.has("own_grace", 0.6):
        customer["invoice_grace_period"] = pen.rng.choice(graces(pen)[:6])
    if pen.chance(0.3):
        customer["net_payment_term"] = pen.pick(0, 5, 15, 60)
    if pen.has("taxes", 0.3):
        customer["tax_codes"] = pen.pick(["city"], [], ["vat", "city"])
    if pen.chance(0.25):
        customer["collection_method"] = "charge_automatically"
    return customer


def make_subscription(pen, code, customers, plans):
    subscription = {"kind": "subscription", "external_id": code, "external_customer_id": pen.rng.choice(customers),
                    "plan_code": pen.rng.choice(plans), "started_at": show_instant(start_near(pen))}
    if pen.chance(0.9):
        subscription["billing_time"] = pen.pick("calendar", "anniversary") if "anniversary" in pen.features else "calendar"
    if pen.has("endings", 0.1):
        subscription["ended_at"] = show_instant(pen.now + int(pen.rng.random() * 12) * pen.step)
    return subscription


def start_near(pen):
    """Mostly about now, at a local midnight or beside it, sometimes far back."""
    zone = zone_named(pen.zone)
    midnight = first_instant(local_date(pen.now, zone) + pen.pick(-1, 0, 1, 2), zone)
    options = [pen.now, pen.now - pen.step, pen.now + pen.step, midnight, midnight, midnight + 9 * HOUR, midnight - 1]
    if pen.tempo == "minutes":
        options = [pen.now, pen.now - MINUTE, pen.now + MINUTE, pen.now + 1, pen.now - 5 * MINUTE]
    elif pen.has("old_subscriptions", 0.5):
        options = [pen.now - back * pen.step for back in (10, 30, 60)]
        if pen.tempo == "months":
            options += [pen.now - 400 * DAY, read_instant("2019-12-31T10:00:00Z")]
    return pen.rng.choice(options)


def make_big(pen, record):
    """As much as a price, an amount and a quantity may be."""
    if record["kind"] == "plan" and pen.has("big", 0.6):
        record["amount_cents"] = pen.pick(10**12, 999999999999)
        for charge in record["charges"]:
            if charge["charge_model"] in ("standard", "package"):
                charge["properties"]["amount"] = pen.pick("999999999999.999999999999", "999999999999", "0.000000000001")
    return record


# --- The first catalog --------------------------------------------------------------------------------

def found(pen):
    """Two to four of each, in an order that may make some wait for others."""
    records = []
    if "taxes" in pen.features or pen.chance(0.2):
        records += [{"kind": "tax", "code": "vat", "name": "VAT", "rate": pen.pick("20", "19.6", raw("7.7"))},
                    {"kind": "tax", "code": "city", "name": "City", "rate": pen.pick("1.5", "0", "3")}]
    else:
        pen.features.discard("taxes")
    entities = [make_entity(pen, code) for code in pen.pick(["acme"], ["acme"], ["acme", "bolt"], ["default", "acme"])]
    metrics = [make_metric(pen, code, pen.rng.choice(AGGREGATIONS)) for code in ["calls", "seats", "bytes", "trips"][:pen.pick(1, 2, 3, 4)]]
    plans = [make_big(pen, make_plan(pen, code, metrics)) for code in ["pro", "max", "lite"][:pen.pick(1, 2, 2, 3)]]
    customers = [make_customer(pen, code, [entity["code"] for entity in entities]) for code in pen.rng.choice(NAMES)[:pen.pick(1, 2, 3)]]
    names = [customer["external_id"] for customer in customers]
    codes = [plan["code"] for plan in plans]
    subscriptions = [make_subscription(pen, f"sub_{number}", names, codes) for number in range(1, pen.pick(2, 3, 4, 5))]
    records += entities + metrics + plans + customers + subscriptions
    if pen.has("waiting", 0.6):
        pen.rng.shuffle(records)
    for record in records:
        send_record(pen, record)
        if pen.has("waiting", 0.2):
            pen.move_on(pen.step)


def send_record(pen, record):
    """Sends it, and keeps what is in force then."""
    code = record.get("code") or record.get("external_id")
    pen.send("billing.catalog", f"{record['kind']}/{code}", record)
    entry = pen.books.catalog.in_force(record["kind"], code)
    waits = (record["kind"], code) in pen.books.catalog.waiting
    known = pen.records.get((record["kind"], code))
    if (entry or waits) and (known is None or not refused(pen)):
        pen.records[record["kind"], code] = record


def refused(pen):
    return bool(pen.books.out) and pen.books.out[-1]["topic"] == "billing.rejected"


# --- Changes ------------------------------------------------------------------------------------------

def known(pen, kind):
    return [copy.deepcopy(record) for (its, _code), record in sorted(pen.records.items()) if its == kind]


def change_something(pen):
    kind = pen.pick("plan", "plan", "billing_entity", "customer", "customer", "tax", "billable_metric")
    options = known(pen, kind)
    if not options:
        return
    record = pen.rng.choice(options)
    {"plan": change_plan, "billing_entity": change_entity, "customer": change_customer, "tax": change_tax,
     "billable_metric": change_metric}[kind](pen, record)
    send_record(pen, record)


def change_plan(pen, plan):
    charges = plan["charges"]
    what = pen.pick("price", "price", "amount", "name", "minimum", "charge", "nothing", "advance", "model", "without")
    if what == "price" and charges:
        charge = pen.rng.choice(charges)
        old = charge["properties"]
        charge["properties"] = dict(make_properties(pen, charge["charge_model"]),
                                    **{name: old[name] for name in ("pricing_group_keys",) if name in old})
        keep_free_part(charge["properties"], old)
    elif what == "amount":
        plan["amount_cents"] = pen.rng.choice(CENTS)
    elif what == "name":
        plan["name"] = pen.new_id("Plan ")
    elif what == "minimum":
        plan["minimum_commitment_cents"] = pen.pick(0, 2000, 7777)
    elif what == "charge":
        metrics = known(pen, "billable_metric")
        if metrics:
            charges.append(make_charge(pen, pen.rng.choice(metrics), pen.new_id("x_")))
    elif what == "without" and len(charges) > 1 and pen.chance(0.5):
        charges.pop()
    elif what == "advance" and pen.has("in_advance", 0.3):
        plan["pay_in_advance"] = not plan["pay_in_advance"]
    elif what == "model" and charges:
        charge = pen.rng.choice(charges)
        if charge["charge_model"] in ("standard", "graduated", "volume", "package") and not charge.get("filters"):
            keys = charge["properties"].get("pricing_group_keys")
            charge["charge_model"] = pen.pick("standard", "graduated", "volume", "package")
            charge["properties"] = make_properties(pen, charge["charge_model"])
            if keys:
                charge["properties"]["pricing_group_keys"] = keys


def keep_free_part(new, old):
    for name in ("free_units_per_events", "free_units_per_total_aggregation"):
        new.pop(name, None)
        if name in old:
            new[name] = old[name]


def change_entity(pen, entity):
    what = pen.pick("grace", "grace", "zone", "term", "name", "rules", "numbers", "taxes", "late")
    if what == "grace":
        entity["invoice_grace_period"] = pen.rng.choice(graces(pen) + [None])
    elif what == "zone" and "zones" in pen.features:
        entity["timezone"] = pen.rng.choice(ZONES)
    elif what == "term":
        entity["net_payment_term"] = pen.pick(0, 7, 30, 45)
    elif what == "rules" and "rules" in pen.features:
        entity["grace_rules"] = [{"delay": pen.rng.choice(graces(pen)), "when": pen.pick([], ["metered_price"], ["subscription_cycle"])}]
    elif what == "numbers" and "entity_numbers" in pen.features:
        entity["document_numbering"] = pen.pick("per_customer", "per_billing_entity")
    elif what == "taxes" and "taxes" in pen.features:
        entity["tax_codes"] = pen.pick([], ["vat"], ["city", "vat"])
    elif what == "late" and "next_period" in pen.features:
        entity["late_usage_pricing"] = pen.pick("increment", "next_period")
    else:
        entity["name"] = pen.new_id("Entity ")


def change_customer(pen, customer):
    what = pen.pick("grace", "grace", "zone", "term", "name", "taxes", "collection", "entity")
    if what == "grace" and "own_grace" in pen.features:
        customer["invoice_grace_period"] = pen.rng.choice(graces(pen) + [None])
    elif what == "zone" and "zones" in pen.features:
        customer["timezone"] = pen.rng.choice(ZONES)
    elif what == "term":
        customer["net_payment_term"] = pen.pick(None, 0, 3, 20)
    elif what == "taxes" and "taxes" in pen.features:
        customer["tax_codes"] = pen.pick(None, [], ["vat"])
    elif what == "collection":
        customer["collection_method"] = pen.pick("send_invoice", "charge_automatically")
    elif what == "entity" and pen.chance(0.3):
        customer["billing_entity_code"] = pen.pick("acme", "bolt")
    else:
        customer["name"] = pen.new_id("Name ")


def change_tax(pen, tax):
    tax["rate"] = pen.pick("10", "0", "21.5")


def change_metric(pen, metric):
    metric["name"] = pen.new_id("Metric ")
    if pen.chance(0.5):
        metric["rounding_function"], metric["rounding_precision"] = pen.pick("round", "ceil", "floor"), pen.pick(0, 1, 3)


# --- Subscriptions change -----------------------------------------------------------------------------

def living(pen):
    return [record for record in known(pen, "subscription")
            if record["external_id"] in pen.books.subscriptions and not pen.books.subscriptions[record["external_id"]].ended]


def instants_of(pen, subscription):
    """Instants that matter to it from now on."""
    window = subscription.current
    zone = pen.books.zone_of(subscription.customer_id)
    midnight = first_instant(local_date(pen.now, zone) + pen.pick(0, 1, 2), zone)
    found = [pen.now, pen.now - pen.step, pen.now + pen.step, subscription.started_at, midnight, midnight, midnight + HOUR]
    if window:
        found += [window.start, window.boundary, window.boundary, window.boundary + 1, window.boundary - 1,
                  (window.start + window.boundary) // 2]
        if window.boundary_date:
            dates = boundaries_after(window.interval, subscription.billing_time, subscription.anchor, window.boundary_date)
            next(dates)
            found.append(first_instant(next(dates), window.zone))
    return found


def change_plan_of_subscription(pen):
    options = living(pen)
    if not options:
        return
    record = pen.rng.choice(options)
    subscription = pen.books.subscriptions[record["external_id"]]
    record["plan_code"] = pen.rng.choice([plan["code"] for plan in known(pen, "plan")] or ["pro"])
    record.pop("effective_at", None)
    if pen.chance(0.6):
        record["effective_at"] = show_instant(pen.rng.choice(instants_of(pen, subscription)))
    send_record(pen, record)


def end_a_subscription(pen):
    options = living(pen)
    if not options:
        return
    record = pen.rng.choice(options)
    subscription = pen.books.subscriptions[record["external_id"]]
    later = [at for at in instants_of(pen, subscription) if at > subscription.started_at]
    record["ended_at"] = show_instant(pen.rng.choice(later)) if later and pen.chance(0.85) else None
    send_record(pen, record)


def start_a_subscription(pen):
    customers = [record["external_id"] for record in known(pen, "customer")] or ["ann"]
    plans = [record["code"] for record in known(pen, "plan")] or ["pro"]
    code = pen.rng.choice(pen.awaited or [""]) or pen.new_id("sub_")
    if code in pen.books.subscriptions:
        code = pen.new_id("sub_")
    send_record(pen, make_subscription(pen, code, customers, plans))


def start_one_that_waits(pen):
    """A subscription of a customer or plan that comes later."""
    code = pen.new_id("sub_")
    record = make_subscription(pen, code, ["ann"], ["pro"])
    new_plan = make_plan(pen, pen.new_id("plan_"), known(pen, "billable_metric"))
    record["plan_code"] = new_plan["code"]
    send_record(pen, record)
    pen.promised.append(new_plan)
    pen.awaited.append(code)


def keep_a_promise(pen):
    if pen.promised:
        send_record(pen, pen.promised.pop(0))


def name_the_unknown(pen):
    """A record in force names something new; both come in the wrong order."""
    tax = {"kind": "tax", "code": pen.new_id("tax_"), "name": "New", "rate": "5"}
    options = known(pen, pen.pick("customer", "billing_entity"))
    if not options:
        return
    record = pen.rng.choice(options)
    record["tax_codes"] = (record.get("tax_codes") or []) + [tax["code"]]
    send_record(pen, record)
    pen.promised.append(tax)


def remove_something(pen):
    if pen.chance(0.05):
        pen.send("billing.catalog", "settings/settings", None)
        return
    kind = pen.pick("plan", "customer", "subscription", "subscription", "tax", "billing_entity", "billable_metric")
    names = [code for its, code in sorted(pen.records) if its == kind]
    if kind == "billing_entity":
        names.append("default")
    if not names:
        return
    code = pen.rng.choice(names)
    pen.send("billing.catalog", f"{kind}/{code}", None)
    if pen.chance(0.05 if kind == "subscription" else 0.6) and (kind, code) in pen.records:
        pen.promised.append(copy.deepcopy(pen.records[kind, code]))
