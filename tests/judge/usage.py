"""Usage events: three dialects read into one shape, and the one fate that each meets."""

from fractions import Fraction

from instants import SECOND, read_instant
from json_text import Unreadable, canonical, read_record
from numbers_exact import DECIMAL_TEXT, Number, normal, read_decimal
from prices import value_for
from records import plain_text

FATES = ("billed", "late", "duplicate", "parked", "rejected", "cancelled")


class Malformed(Exception):
    """The record isn't usage."""


class Rejected(Exception):
    """The event is refused, for the reason given."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Event:
    """One usage event. `whose` is the subscription, the customer or whichever of both it names."""

    def __init__(self, whose, identity, code, timestamp, properties, precise):
        self.whose, self.identity, self.code = whose, identity, code
        self.timestamp, self.properties, self.given_precise = timestamp, properties, precise
        self.content = (code, timestamp, canonical(properties), price_content(precise))
        self.precise = read_decimal(precise) if precise is not None else None
        self.record = self.arrived_at = self.happened_at = self.order = None
        self.fate = self.window = self.held_as = None
        self.carrier = self.pricing = None      # Of late usage: the window it is billed with, and how.
        self.attributed = 0


def price_content(precise):
    by_value = isinstance(precise, Number) or read_decimal(precise) is not None
    return normal(precise) if by_value else canonical(precise)


# --- Dialects -----------------------------------------------------------------------------------------

def read_usage(text, headers, form):
    """The event in a record's value. Raises Malformed."""
    is_binary = form in ("auto", "cloudevents") and "ce_specversion" in headers
    try:
        value = {} if is_binary and text.strip() in ("", "null") else read_record(text)
    except Unreadable as error:
        raise Malformed(str(error))
    if not isinstance(value, dict):
        raise Malformed("no object")
    if is_binary:
        attributes = {name[3:]: text for name, text in headers.items() if name.startswith("ce_")}
        return read_cloudevents(attributes, value)
    if form == "auto":
        form = recognise(value)
    return {"lago": read_lago, "stripe": read_stripe, "cloudevents": read_structured}[form](value)


def recognise(value):
    if value.get("specversion") is not None:
        return "cloudevents"
    if value.get("event_name") is not None:
        return "stripe"
    if value.get("code") is not None:
        return "lago"
    raise Malformed("no dialect")


def read_lago(value):
    precise = value.get("precise_total_amount_cents")
    if precise is not None and not isinstance(precise, str):
        raise Malformed("precise_total_amount_cents")
    return Event(("subscription", text_member(value, "external_subscription_id")),
                 text_member(value, "transaction_id", None), text_member(value, "code"),
                 read_timestamp(value.get("timestamp")), object_member(value, "properties"),
                 value.get("precise_total_amount_cents"))


def read_stripe(value):
    payload = object_member(value, "payload")
    return Event(("customer", text_member(payload, "stripe_customer_id")),
                 text_member(value, "identifier", None), text_member(value, "event_name"),
                 read_timestamp(value.get("timestamp")), payload, None)


def read_structured(value):
    return read_cloudevents(value, object_member(value, "data"))


def read_cloudevents(attributes, data):
    if attributes.get("specversion") is not None and plain_text(attributes["specversion"]) != "1.0":
        raise Malformed("specversion")
    source, identity = text_member(attributes, "source", None), text_member(attributes, "id", None)
    return Event(("either", text_member(attributes, "subject")), None if identity is None else (source or "", identity),
                 text_member(attributes, "type"), read_timestamp(attributes.get("time")), data, None)


NEEDED = object()


def text_member(members, name, default=NEEDED):
    value = members.get(name)
    if value is None and default is not NEEDED:
        return default
    if not plain_text(value):
        raise Malformed(name)
    return value


def object_member(members, name):
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(name)
    return value


def instant_or_malformed(value):
    instant = read_instant(plain_text(value))
    if instant is None:
        raise Malformed("timestamp")
    return instant


def read_timestamp(value):
    """Seconds as a number or text, or RFC 3339."""
    if value is None:
        return None
    if isinstance(value, Number) or (isinstance(value, str) and DECIMAL_TEXT.fullmatch(value)):
        sign, digits, power = normal(value)
        written = 0 if isinstance(value, Number) else len(value.partition(".")[2])
        if max(-power, written) > 9:
            raise Malformed("timestamp")
        power = min(power, 30)
        nanoseconds = int(Fraction(int(digits or "0")) * Fraction(10) ** power * SECOND)
        return -nanoseconds if sign else nanoseconds
    return instant_or_malformed(value)


# --- The way of a new event ---------------------------------------------------------------------------

def take_usage(books, record):
    """Decides a record of usage; whatever happens, it meets one fate."""
    record.place = books.usage_read
    books.usage_read += 1
    try:
        event = check_alone(books, record)
        if not meet_known(books, event):
            return
        check_subscription(books, event)
    except Rejected as rejected:
        books.count("rejected")
        books.reject("usage.rejected", record, rejected.reason)


def check_alone(books, record):
    """What can be seen without knowing whose it is."""
    if len(record.text.encode("utf-8", "surrogatepass")) > books.settings.max_event_bytes:
        raise Rejected("too_large")
    try:
        event = read_usage(record.text, record.headers, books.settings.format)
    except Malformed:
        raise Rejected("malformed")
    if event.identity is None:
        event.identity = f"usage.events/0/{record.place}"
    event.record, event.arrived_at, event.order = record, books.now, books.next_order()
    event.happened_at = books.now if event.timestamp is None else event.timestamp
    metric = books.metric_in_use(event)
    if metric is None:
        raise Rejected("unknown_metric")
    reason, _ = value_for(metric, event.properties)
    subscription, _several = books.owner_of(event)
    reason = reason if reason == "missing_field" else precise_refusal(books, event, subscription, "missing_field") or reason
    reason = reason or precise_refusal(books, event, subscription, "invalid_value")
    if reason:
        raise Rejected(reason)
    if event.happened_at > books.now + books.settings.future:
        raise Rejected("in_future")
    if event.happened_at < books.now - books.settings.lateness:
        books.note_unbillable(event, subscription)
        raise Rejected("too_late")
    return event


def precise_refusal(books, event, subscription, wanted):
    """A dynamic charge needs the event's own price."""
    if subscription is None or not books.prices_by_event(subscription, event):
        return None
    reason = "missing_field" if event.given_precise is None else "invalid_value" if event.precise is None else None
    return reason if reason == wanted else None


def meet_known(books, event):
    """False if the id is known: then the event is dropped or refused."""
    subscription, several = books.owner_of(event)
    if several:
        raise Rejected("unknown_subscription")
    event.held_as = (("subscription", subscription.id) if subscription else event.whose, event.identity)
    known = books.holder(event.held_as)
    if known is None:
        return True
    if known.content != event.content:
        raise Rejected("id_conflict")
    event.fate = "duplicate"
    books.count("duplicate")
    return False


def check_subscription(books, event):
    subscription, _several = books.owner_of(event)
    if subscription is None:
        books.held[event.held_as] = event
        books.settle(event, "parked")
        books.parked.append(event)
        return
    attribute(books, event, subscription)
    books.held[event.held_as] = event


# --- Attribution --------------------------------------------------------------------------------------

def attribute(books, event, subscription):
    """Puts the event where it is billed. Raises Rejected if there is no such place."""
    if event.happened_at < subscription.started_at:
        raise Rejected("before_start")
    if subscription.ended_at is not None and event.happened_at >= subscription.ended_at:
        raise Rejected("after_end")
    event.attributed = books.next_order()
    own = subscription.window_at(event.happened_at)
    if own is None:
        subscription.ahead.append(event)
        books.settle(event, "billed")
    elif own.skipped:
        books.note_unbillable(event, subscription)
        raise Rejected("too_late")
    elif own.invoice is None or own.invoice.status == "draft":
        event.window = own
        books.settle(event, "billed")
        books.usage_landed(own, event)
    else:
        attribute_late(books, event, subscription, own)


def attribute_late(books, event, subscription, own):
    carrier = subscription.carrier()
    if carrier is None:
        books.note_unbillable(event, subscription)
        raise Rejected("no_open_invoice")
    event.window, event.carrier = own, carrier
    event.pricing = books.entity_of(subscription.customer_id).late_pricing
    books.settle(event, "late")
    books.usage_landed(carrier, event)


def decide_parked(books):
    """Usage whose subscription is known now is decided in the order of its arrival."""
    for event in list(books.parked):
        subscription, several = books.owner_of(event)
        if subscription is None and not several:
            continue
        books.parked.remove(event)
        books.release(event)
        try:
            decide_one_parked(books, event, subscription, several)
        except Rejected as rejected:
            books.settle(event, "rejected")
            books.reject("usage.rejected", event.record, rejected.reason)


def decide_one_parked(books, event, subscription, several):
    if several:
        raise Rejected("unknown_subscription")
    for reason in ("missing_field", "invalid_value"):
        if precise_refusal(books, event, subscription, reason):
            raise Rejected(reason)
    event.held_as = (("subscription", subscription.id), event.identity)
    known = books.holder(event.held_as)
    if known is not None:
        if known.content != event.content:
            raise Rejected("id_conflict")
        books.settle(event, "duplicate")
        return
    attribute(books, event, subscription)
    books.held[event.held_as] = event


def expire_parked(books, event):
    books.parked.remove(event)
    books.release(event)
    books.settle(event, "rejected")
    books.reject("usage.rejected", event.record, "unknown_subscription")
