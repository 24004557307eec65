"""What happens day to day in a generated log: usage, commands, and nonsense."""

import copy
import json

from books import is_draft
from instants import SECOND, show_instant
from pen import RAW, raw
from world import COUNTRIES, REGIONS, known, send_record

DRAFTS = ("invoice.finalize", "invoice.refresh", "fee.edit", "fee.reset")


# --- Usage --------------------------------------------------------------------------------------------

def use(pen):
    """One event, mostly one that can be billed."""
    subscription = choose_subscription(pen)
    metric = choose_metric(pen, subscription)
    at = choose_instant(pen, subscription)
    properties = make_quantities(pen, metric)
    event = {"transaction_id": pen.new_id("e"), "external_subscription_id": subscription.id if subscription else "sub_unknown",
             "code": metric["code"], "timestamp": show_timestamp(pen, at), "properties": properties}
    if event["timestamp"] is None:
        del event["timestamp"]
    if needs_price(pen, metric["code"]) or pen.chance(0.03):
        event["precise_total_amount_cents"] = pen.pick("70", "55.5", "0.25", "-3", raw("12"), raw("1.5e1"), "0.333333333333")
    spoil(pen, event)
    send_event(pen, event, subscription)


def choose_subscription(pen):
    options = sorted(pen.books.subscriptions.values(), key=lambda subscription: subscription.id)
    running = [subscription for subscription in options if not subscription.ended]
    if running and pen.chance(0.93):
        return pen.rng.choice(running)
    return pen.rng.choice(options) if options and pen.chance(0.7) else None


def choose_metric(pen, subscription):
    metrics = known(pen, "billable_metric")
    if subscription:
        plan = pen.books.catalog.find("plan", subscription.plan_code)
        priced = [metric for metric in metrics if any(charge.metric_code == metric["code"] for charge in plan.charges)]
        if priced and pen.chance(0.95):
            return pen.rng.choice(priced)
    return pen.rng.choice(metrics) if metrics and pen.chance(0.95) else {"code": "mystery", "aggregation_type": "count_agg"}


def needs_price(pen, code):
    return any(charge["billable_metric_code"] == code and charge["charge_model"] == "dynamic"
               for plan in known(pen, "plan") for charge in plan["charges"]) and not pen.chance(0.04)


def choose_instant(pen, subscription):
    """Now, or an edge: of a period, of a life, of a limit."""
    settings, now = pen.books.settings, pen.now
    if pen.chance(0.25):
        return None
    options = [now] * 4 + [now + min(SECOND, settings.future), now + settings.future]
    if pen.has("limits", 0.5):
        options += [now - settings.lateness, now - settings.lateness - 1, now + settings.future + 1]
    windows = subscription.windows[-4:] if subscription else []
    for window in windows:
        end = window.planned_end()[0] if window.end is None else window.end
        options += [window.start, window.start, end - 1, end - 1, (window.start + min(end, now)) // 2]
        if window.invoice and window.invoice.status == "draft":
            options += [(window.start + end) // 2] * 4
        if "late" in pen.features:
            options += [(window.start + min(end, now)) // 2, window.start + 1] * 3
        if end <= now + settings.future:
            options += [end, end + 1]
    if subscription and pen.chance(0.2):
        options += [subscription.started_at - 1, subscription.started_at]
        if subscription.ended_at is not None:
            options += [subscription.ended_at - 1, subscription.ended_at]
    kept = [at for at in options if now - settings.lateness <= at <= now + settings.future]
    return pen.rng.choice(kept if kept and pen.chance(0.96) else options)


def show_timestamp(pen, at):
    if at is None:
        return None
    if pen.chance(0.15):
        seconds, rest = divmod(at, SECOND)
        text = str(seconds) if not rest else f"{seconds}.{rest:09}".rstrip("0")
        return text if pen.chance(0.5) else raw(text)
    if pen.chance(0.1):
        return show_instant(at + 19_800 * SECOND)[:-1] + "+05:30"
    return show_instant(at)


def make_quantities(pen, metric):
    properties = {}
    aggregation = metric["aggregation_type"]
    if aggregation == "unique_count_agg":
        properties["user"] = pen.pick("u1", "u2", "u3", "5", raw("5"), raw("5.0"), True, "true")
    elif aggregation != "count_agg":
        properties["n"] = pen.pick("1", "2", "3", "5", "10", "0.5", "7.25", raw("4"), raw("1e1"), raw("5E-1"), "100", "0",
                                   "-1", "-2.5", "0.000000000001", "11", "6", "1000")
        if pen.has("big", 0.4) or pen.chance(0.01):
            properties["n"] = pen.pick("999999999999999.999999999999", "-999999999999999", "0001.500")
    for key, values in (("region", REGIONS), ("country", COUNTRIES)):
        if ({"filters", "groups"} & pen.features) and pen.chance(0.75):
            properties[key] = pen.rng.choice(values)
    if pen.has("filters", 0.3):
        properties["tier"] = pen.pick("1", raw("1"), raw("2.5"), True, raw("1.0"), "2.50", None)
    return properties


def spoil(pen, event):
    """Rarely one thing about it is wrong."""
    if not pen.has("bad_values", 0.15):
        return
    what = pen.pick("missing", "null", "word", "big", "fine", "bool", "exponent", "object", "type", "code", "when", "price", "no_id", "list")
    properties = event["properties"]
    field = "user" if "user" in properties else "n"
    values = {"null": None, "word": "five", "big": pen.pick("1000000000000000", raw("1e15")), "fine": pen.pick("0.1234567890123", raw("1e-13")),
              "bool": True, "exponent": pen.pick("1e3", "+1", " 1", "1.", ".5", ""), "object": {"a": raw("1")}}
    if what == "missing":
        properties.pop(field, None)
    elif what in values:
        properties[field] = values[what]
    elif what == "type":
        event[pen.pick("transaction_id", "code", "external_subscription_id", "properties")] = pen.pick(raw("7"), True, ["x"])
    elif what == "code":
        del event[pen.pick("code", "external_subscription_id")]
    elif what == "when":
        event["timestamp"] = pen.pick("yesterday", "2023-02-30T00:00:00Z", "2023-01-01", True, "2023-01-01T00:00:00", {})
    elif what == "price":
        event["precise_total_amount_cents"] = pen.pick("much", "1e3", True, "0.1234567890123")
    elif what == "no_id":
        del event["transaction_id"]
    else:
        event["properties"] = pen.pick([], "n", raw("5"))


def send_event(pen, event, subscription):
    customer = subscription.customer_id if subscription else pen.pick("ann", "bob")
    key = customer if pen.chance(0.95) else pen.pick("elsewhere", None)
    form, headers = event, None
    plain = isinstance(event.get("properties"), dict) and "code" in event and "precise_total_amount_cents" not in event
    alone = plain and is_alone(pen, subscription, event) or pen.chance(0.08)
    if plain and alone and pen.has("stripe", 0.5):
        form = as_stripe(event, customer)
    elif plain and pen.has("cloudevents", 0.5):
        form, headers = as_cloudevent(pen, event, customer if alone else None)
    else:
        pen.sent.append(copy.deepcopy(event))
    if pen.has("own_format", 0.2):
        form["note"] = pen.pick("unknown members are fine", raw("1"), [raw("1"), {"a": None}])
    pen.send("usage.events", key, form, headers)
    if pen.has("repeats", 0.15):
        pen.send("usage.events", key, form, headers)
    if pen.books.settings.max_event_bytes < 1000 and headers is None and pen.chance(0.3):
        send_padded(pen, key, form)


def send_padded(pen, key, form):
    """Another such event, as long as events may be or a byte longer, with blanks that count and a note of two bytes a letter."""
    form = dict(form, note="é" * pen.pick(0, 3))
    for name in ("transaction_id", "identifier", "id"):
        if isinstance(form.get(name), str):
            form[name] = pen.new_id("e")
    text = RAW.sub(r"\1", json.dumps(form, ensure_ascii=False))
    missing = pen.books.settings.max_event_bytes - len(text.encode()) + pen.pick(0, 0, 1)
    if missing >= 0:
        pen.send_written("usage.events", key, text[:1] + " " * missing + text[1:])


def is_alone(pen, subscription, event):
    """The customer has no other subscription that the event could mean."""
    return subscription is not None and 1 == sum(
        other.customer_id == subscription.customer_id and any(
            charge.metric_code == event["code"] for charge in pen.books.catalog.find("plan", other.plan_code).charges)
        for other in pen.books.subscriptions.values())


def as_stripe(event, customer):
    form = {"event_name": event["code"], "identifier": event.get("transaction_id"),
            "payload": dict(event["properties"], stripe_customer_id=customer)}
    if "timestamp" in event:
        form["timestamp"] = event["timestamp"]
    return form


def as_cloudevent(pen, event, customer):
    subject = event.get("external_subscription_id") if customer is None or pen.chance(0.6) else customer
    attributes = {"specversion": "1.0", "id": event.get("transaction_id", "x"), "source": pen.pick("/a", "/b"),
                  "type": event["code"], "subject": subject, "time": event.get("timestamp")}
    if attributes["time"] is None or not isinstance(attributes["time"], str) or "T" not in attributes["time"]:
        del attributes["time"]
    if pen.chance(0.5):
        return dict(attributes, data=event["properties"]), None
    texts = {f"ce_{name}": value for name, value in attributes.items() if isinstance(value, str) and not RAW.search(f'"{value}"')}
    return dict(event["properties"]), texts


def send_again(pen):
    """An event once more: the same, the same in other words, or another under its id."""
    if not pen.sent:
        return
    event = copy.deepcopy(pen.rng.choice(pen.sent[-12:]))
    draw = pen.rng.random()
    if draw < 0.25 and isinstance(event.get("properties"), dict):
        event["properties"]["n"] = pen.pick("77", "1")
    elif draw < 0.35:
        event["code"] = pen.pick("calls", "seats")
    elif draw < 0.5 and isinstance(event.get("properties"), dict):
        event["properties"] = dict(reversed(event["properties"].items()))
    pen.send("usage.events", "ann", event)


# --- Commands -----------------------------------------------------------------------------------------

def command(pen):
    """Mostly one that can be carried out."""
    name = pen.rng.choice(pen.commands)
    act = {"event.cancel": cancel, "coupon.apply": coupon, "invoice.create_one_off": one_off}.get(name)
    if name in DRAFTS:
        if not any(is_draft(invoice) for invoice in pen.books.invoices) and pen.chance(0.85):
            wait_for_a_draft(pen)
        value = on_invoice(pen, name, "draft")
    elif name in ("invoice.void", "payment.record", "payment.dispute_lost"):
        value = on_invoice(pen, name, "finalized")
    else:
        value = act(pen) if act else {"credits_cents" if name.startswith("wallet") else "amount_cents": pen.pick(100, 426, 1000, 20000)}
    if value is None:
        return
    value = dict({"command": name, "command_id": pen.new_id("c")}, **value)
    send_command(pen, value)


def wait_for_a_draft(pen):
    """Moves on to where a period ends soon."""
    ends = [subscription.current.planned_end()[0] for subscription in pen.books.subscriptions.values() if subscription.current]
    soon = [end for end in ends if pen.now < end < pen.now + 12 * pen.step]
    if soon:
        pen.now = min(soon) + pen.pick(0, 1, SECOND, pen.step // 8)
        pen.tick()


def send_command(pen, value):
    customers = [record["external_id"] for record in known(pen, "customer")]
    key = value.pop("_key", None) or (pen.rng.choice(customers) if customers and pen.chance(0.95) else "nobody")
    if pen.has("bad_commands", 0.15):
        value = break_command(pen, value)
    pen.send("billing.commands", key, value)
    pen.commands_sent.append((key, value))
    if pen.has("repeats", 0.1):
        pen.send("billing.commands", *pen.rng.choice(pen.commands_sent[-8:]))


def break_command(pen, value):
    what = pen.pick("no_id", "name", "drop", "customer", "type", "unknown_customer")
    value = dict(value)
    if what == "no_id":
        del value["command_id"]
    elif what == "name":
        value["command"] = pen.pick("invoice.frame", None, raw("5"))
    elif what == "drop":
        extra = [name for name in value if name not in ("command", "command_id")]
        if extra:
            del value[pen.rng.choice(extra)]
    elif what == "customer":
        value["external_customer_id"] = pen.pick("ann", "bob")
    elif what == "unknown_customer":
        value["external_customer_id"] = "nobody"
    else:
        extra = [name for name in value if name not in ("command", "command_id", "event")]
        if extra:
            value[pen.rng.choice(extra)] = pen.pick(True, [], raw("-1"))
    return value


def on_invoice(pen, name, status):
    """The command on an invoice that is in the right state, or else on any."""
    invoices = [invoice for invoice in pen.books.invoices if invoice.announced]
    fitting = [invoice for invoice in invoices if invoice.status == status]
    if not invoices:
        return {"external_subscription_id": "sub_1", "period_from": show_instant(pen.now), "status": "failed", "charge_code": "c_calls"}
    invoice = pen.rng.choice(fitting[-6:] if fitting and pen.chance(0.9) else invoices[-8:])
    value = name_invoice(pen, invoice)
    if name == "payment.record":
        value["status"] = pen.pick("succeeded", "succeeded", "failed")
    if name in ("fee.edit", "fee.reset"):
        value.update(name_fee(pen, invoice, name == "fee.edit"))
    if pen.chance(0.03):
        value = {"invoice_id": "no-such-invoice", **{member: value[member] for member in ("status", "charge_code", "units") if member in value}}
    return value


def name_invoice(pen, invoice):
    value = {"_key": invoice.customer_id}
    if pen.chance(0.2):
        value["external_customer_id"] = invoice.customer_id
    if invoice.created_by:
        return dict(value, created_by=invoice.created_by)
    value.update(external_subscription_id=invoice.window.subscription.id, period_from=show_instant(invoice.window.start))
    if invoice.opening:
        value["invoicing_reason"] = "subscription_starting"
    if pen.has("bad_commands", 0.05):
        current = invoice.window.subscription.current
        value["period_from"] = show_instant(current.start if current else pen.now)
    return value


def name_fee(pen, invoice, edits):
    plan = pen.books.catalog.find("plan", invoice.window.plan_code) if invoice.window else None
    value = {"charge_code": "c_none"}
    if plan and plan.charges and pen.chance(0.96):
        charge = pen.rng.choice(plan.charges)
        part = pen.rng.choice([None] + charge.filters)
        keys = (part or charge).properties.group_keys
        value = {"charge_code": charge.code, "filter": part.values if part else None,
                 "grouped_by": {key: pen.pick("fr", "us", None) for key in keys} or None}
        if invoice.edits and pen.chance(0.6):
            code, index, group = pen.rng.choice(sorted(invoice.edits, key=str))
            edited = next((charge for charge in plan.charges if charge.code == code), None)
            if edited:
                value = {"charge_code": code, "filter": None if index < 0 else edited.filters[index].values,
                         "grouped_by": dict(group) if group else None}
        value = {name: member for name, member in value.items() if member is not None or pen.chance(0.2)}
    if edits:
        value.update(pen.pick({"units": "3"}, {"units": "0"}, {"units": raw("12.5")}, {"amount_cents": 4500}, {"amount_cents": 0},
                              {"invoice_display_name": "As agreed"}, {"units": "7", "invoice_display_name": "Agreed"},
                              {"amount_cents": 1, "invoice_display_name": "One"}))
    return value


def cancel(pen):
    if not pen.sent:
        return None
    fitting = [event for event in pen.sent[-30:] if is_open(pen, event)]
    event = copy.deepcopy(pen.rng.choice(fitting if fitting and pen.chance(0.85) else pen.sent[-20:]))
    if pen.chance(0.08) and isinstance(event.get("properties"), dict):
        event["properties"]["n"] = "123"
    if pen.chance(0.04):
        event["transaction_id"] = "never_came"
    return {"event": event}


def is_open(pen, event):
    """The event can still be taken back, as far as its invoice goes."""
    whose = ("subscription", event.get("external_subscription_id"))
    if not isinstance(whose[1], str) or not isinstance(event.get("transaction_id"), str):
        return False
    held = pen.books.holder((whose, event["transaction_id"]))
    if held is None or held.fate == "cancelled":
        return False
    invoice = (held.carrier or held.window).invoice if held.window else None
    return invoice is None or invoice.status == "draft"


def coupon(pen):
    value = {"coupon_code": pen.new_id("coupon"), "frequency": pen.pick("once", "recurring", "forever")}
    if pen.chance(0.5):
        value["amount_cents"] = pen.pick(100, 1000, 5000)
    else:
        value["percentage_rate"] = pen.pick("10", "33.3", raw("50"), "100", "0.5")
    if value["frequency"] == "recurring":
        value["frequency_duration"] = pen.pick(1, 2, 3)
    return value


def one_off(pen):
    fees = []
    for _ in range(pen.pick(1, 1, 2)):
        fee = {"invoice_display_name": pen.new_id("Work ")}
        fee.update(pen.pick({"amount_cents": 5000}, {"amount_cents": 0}, {"units": "2.5", "unit_amount_cents": 333},
                            {"units": raw("3"), "unit_amount_cents": 100}))
        fees.append(fee)
    return {"fees": fees}


# --- Nonsense -----------------------------------------------------------------------------------------

def nest(depth):
    """A billable event, if its nesting is taken; the value itself is the first level."""
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    return f'{{"transaction_id": "deep{depth}", "external_subscription_id": "sub_1", "code": "calls", "properties": {{"n": "1", "user": "u9"}}, "deep": {inner}}}'


def nonsense(pen):
    written = ['"hello"', "42", "[]", "null", "{}", "true", '{"code": "calls"}', '{"transaction_id": "a", "transaction_id": "a"}',
               '{"code": "calls", "external_subscription_id": "sub_1", "properties": {"n": "1", "n": "2"}}',
               '{"code": "calls", "external_subscription_id": "sub_1", "properties": {"n": "\\ud800"}}',
               '{"event_name": "calls"}', '{"specversion": "1.0", "id": "x", "source": "/a", "type": "calls"}',
               nest(128), nest(129), nest(127), nest(400)]
    texts = ["", "hello", "{", '{"code": "calls",}', "[1, 2", "nul", '{"code": NaN}', "{} {}", " 5 "]
    topic = pen.pick("usage.events", "usage.events", "billing.catalog", "billing.commands")
    if pen.chance(0.5):
        value = pen.rng.choice(written)
        if not (topic == "billing.catalog" and value == "null"):
            pen.send_written(topic, pen.pick("ann", None, "k"), value)
    else:
        pen.send_text(topic, pen.pick("ann", None, "k"), pen.rng.choice(texts))


def break_a_record(pen):
    """A catalog record with one thing wrong."""
    records = [copy.deepcopy(record) for _name, record in sorted(pen.records.items())]
    if not records:
        return
    record = pen.rng.choice(records)
    wrongs = {
        "billing_entity": [("timezone", "Mars/Base"), ("currency", "euro"), ("invoice_grace_period", "P1M"), ("invoice_grace_period", -1),
                           ("net_payment_term", "PT5H"), ("document_numbering", "random"), ("finalize_zero_amount_invoice", "yes"),
                           ("late_usage_pricing", "free"), ("tax_codes", "vat"), ("code", None), ("invoice_grace_period", "P1.5D")],
        "tax": [("rate", "-1"), ("rate", "many"), ("rate", None), ("rate", "1234567890123")],
        "billable_metric": [("aggregation_type", "median"), ("recurring", True), ("field_name", "other"), ("rounding_function", "up"),
                            ("code", raw("5")), ("aggregation_type", "sum_agg"), ("aggregation_type", "count_agg")],
        "plan": [("interval", "hourly"), ("interval", "P1M"), ("interval", "yearly"), ("interval", "PT7M"), ("amount_cents", -5),
                 ("amount_cents", "5"), ("amount_currency", "JPY"), ("pay_in_advance", "no"), ("charges", {}), ("minimum_commitment_cents", True)],
        "customer": [("timezone", "Nowhere"), ("currency", "JPY"), ("invoice_grace_period", 400), ("collection_method", "cash"),
                     ("net_payment_term", -3), ("invoice_grace_period", "P1Y"), ("external_id", None), ("tax_codes", [raw("5")])],
        "subscription": [("billing_time", "lunar"), ("started_at", "soon"), ("started_at", "2001-01-01T00:00:00Z"), ("ended_at", "never"),
                         ("external_customer_id", "zoe"), ("plan_code", None), ("external_customer_id", "bob")]}
    name, value = pen.rng.choice(wrongs[record["kind"]])
    record[name] = value
    if record["kind"] == "plan" and record["charges"] and pen.chance(0.5):
        record = copy.deepcopy(pen.records["plan", record["code"]]) if record.get("code") else record
        break_a_charge(pen, pen.rng.choice(record["charges"]))
    if pen.chance(0.05):
        record["kind"] = pen.pick("planet", None)
        pen.send("billing.catalog", "planet/x", record)
        return
    if (record.get("code") or record.get("external_id")) is None:
        pen.send("billing.catalog", "odd/one", record)
        return
    send_record(pen, record)


def break_a_charge(pen, charge):
    properties, filters = charge["properties"], charge.get("filters") or []
    tiers = next((value for name, value in sorted(properties.items()) if name.endswith("_ranges")), [])
    what = pen.pick("model", "metric", "amount", "groups", "filters", "limit", "properties", "minimum", "free", "code", "size") \
        if pen.chance(0.5) or not (filters or tiers) else pen.pick(*(["values"] if filters else []), *(["tiers"] if tiers else []))
    if what == "model":
        charge["charge_model"] = "guesswork"
    elif what == "metric":
        charge["billable_metric_code"] = pen.pick("calls", "seats", None)
    elif what == "amount":
        properties["amount"] = properties["rate"] = "-1"
    elif what == "groups":
        properties["pricing_group_keys"] = pen.pick(["tier"], [""], ["country", raw("7")], "country", [])
    elif what == "filters":
        charge["filters"] = [{"values": {"region": ["mars"]}, "properties": {}}] + filters
    elif what == "limit":
        properties["per_transaction_max_amount"] = "5"
    elif what == "properties":
        charge["properties"] = "none"
    elif what == "minimum":
        charge["min_amount_cents"] = "100"
    elif what == "free":
        properties[pen.pick("free_units_per_events", "free_units_per_total_aggregation")] = pen.pick(raw("9"), "9", raw("-1"), None)
    elif what == "code":
        charge["code"] = pen.pick("", raw("5"), "c_seats", "c_calls")
    elif what == "size":
        properties["package_size"] = pen.pick(raw("0"), "-1", "many")
    elif what == "values":
        pen.rng.choice(filters)["values"] = pen.pick({}, None, {"region": []}, {"region": ["us", ""]}, {"region": "us"}, {"re/gi~on": [raw("1")]},
                                                     {"region": ["mars"]})
    elif what == "tiers":
        tier = pen.rng.choice(tiers)
        tier.update(pen.pick({"to_value": None}, {"to_value": raw("0")}, {"to_value": "many"}, {"to_value": "1000000"}, {"flat_amount": "-1"},
                             {"per_unit_amount": None, "rate": None}, {"from_value": "x"}, {"to_value": "999999999999999"}))


def bad_line(pen):
    """Ends the log: the file can't be taken."""
    pen.lines.append(pen.pick("usage: five calls", '{"at": "yesterday"}', '{"topic": "usage.events"}', '{"at": "2001-01-01T00:00:00Z"}',
                              json.dumps({"at": show_instant(pen.now), "topic": "weather", "value": {}}),
                              json.dumps({"at": show_instant(pen.now), "colour": "red"}), '{"at": "2030-01-01T00:00:00Z", "at": "2030-01-01T00:00:00Z"}',
                              "[]", '{"config": {}}', json.dumps({"at": show_instant(pen.now), "topic": "usage.events", "key": 5, "value": {}})))
