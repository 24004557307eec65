"""The books: everything that is known, its deadlines, and the records that leave.

One rule moves time: of all that is due, the first in the order of R13 is done, until nothing is due. Every deadline is
looked for anew each time; none is stored.
"""

import commands
import subscriptions
import usage
from catalog import Catalog, take_catalog_record
from credits import Account
from instants import local_date, show_date, show_instant, zone_named
from invoices import FOREVER_AGO, document_of, finalize, finalization_instant
from numbers_exact import show_decimal
from prices import value_for
from records import default_settings

RENAMED = {"lago": {"invoice.finalized": "invoice.created"}, "stripe": {"invoice.payment_overdue": "invoice.overdue"},
           "hyperline": {"invoice.finalized": "invoice.ready"}}


class Books:
    def __init__(self, settings=None):
        self.settings = settings or default_settings()
        self.longest_lateness = self.settings.lateness
        self.catalog = Catalog()
        self.subscriptions, self.invoices, self.accounts, self.command_ids = {}, [], {}, {}
        self.events, self.parked, self.held, self.unbillable = [], [], {}, {}
        self.counts, self.numbers = dict.fromkeys(usage.FATES, 0), {}
        self.now, self.order, self.usage_read, self.sequence = FOREVER_AGO, 0, 0, 0
        self.out = []

    # --- Time and records in ----------------------------------------------------------------------

    def take(self, record):
        """Applies one record that has come now."""
        if record.topic == "usage.events":
            usage.take_usage(self, record)
            return
        before = {invoice: document_of(self, invoice) for invoice in self.invoices if is_draft(invoice)}
        if record.topic == "billing.catalog":
            take_catalog_record(self, record)
        else:
            commands.take_command(self, record)
        for invoice, document in before.items():
            if is_draft(invoice) and document_of(self, invoice) != document:
                invoice.notify = True

    def move_to(self, instant):
        """Fires what is due at or before the instant, one by one, and leaves the clock there."""
        while True:
            due = min(self.deadlines(), key=lambda deadline: deadline[:2], default=None)
            if due is None or due[0] > instant:
                break
            self.now = due[0]
            due[2](*due[3:])
        self.now = max(self.now, instant)

    def deadlines(self):
        """Each: when it fires, its place in the order at that instant, what to do."""
        for event in self.parked:
            at = event.arrived_at + self.settings.parking
            yield max(at, self.now), (0, event.order), usage.expire_parked, self, event
        for subscription in self.subscriptions.values():
            yield from self.subscription_deadline(subscription)
        for invoice in self.invoices:
            yield from self.invoice_deadlines(invoice)
        for name, notice in self.unbillable.items():
            subscription, window = name
            place = (1, (subscription.customer_id.encode(), window.start, subscription.id.encode(), 1), 9)
            yield max(notice[0].arrived_at + self.settings.refresh_interval, self.now), place, self.tell_of_unbillable, name

    def subscription_deadline(self, subscription):
        window = subscription.current
        start = window.start if window else subscription.started_at
        place = (1, (subscription.customer_id.encode(), start, subscription.id.encode(), 1), 0)
        if window:
            yield max(window.planned_end()[0], self.now), place, subscriptions.close, self, subscription
        elif not subscription.ended:
            yield max(start, self.now), place, subscriptions.begin, self, subscription

    def invoice_deadlines(self, invoice):
        """Of several at one instant finalization comes first: it carries what the others would have told."""
        due = []
        if invoice.status == "draft":
            due.append((finalization_instant(self, invoice), 1, finalize))
            if not invoice.announced:
                due = [(self.now, 2, make_known)]
            elif invoice.notify:
                due.append((self.now, 3, tell_of_change))
            elif invoice.refresh_at is not None:
                due.append((invoice.refresh_at, 4, tell_of_usage))
        elif invoice.status == "finalized" and invoice.payment != "succeeded" and invoice.dispute_lost_at is None:
            if invoice.will_be_due_at is not None:
                due.append((invoice.will_be_due_at, 5, tell_it_will_be_due))
            if invoice.overdue_at is not None:
                due.append((invoice.overdue_at, 6, become_overdue))
        for at, rank, act in due:
            yield max(at, self.now), (1, invoice.order(), rank), act, self, invoice

    def next_order(self):
        self.order += 1
        return self.order

    # --- Who is who ------------------------------------------------------------------------------

    def customer(self, customer_id):
        return self.catalog.find("customer", customer_id)

    def entity_of(self, customer_id):
        return self.catalog.find("billing_entity", self.customer(customer_id).entity_code)

    def zone_name_of(self, customer_id):
        return self.customer(customer_id).timezone or self.entity_of(customer_id).timezone or "UTC"

    def zone_of(self, customer_id):
        return zone_named(self.zone_name_of(customer_id))

    def account(self, customer_id):
        return self.accounts.setdefault(customer_id, Account())

    def metric_in_use(self, event):
        """In force, or removed while a plan names it that is in force, or the subscription's own."""
        metric = self.catalog.in_force("billable_metric", event.code)
        is_named = metric is None and self.is_priced(event.code, self.owner_of(event)[0])
        return self.catalog.find("billable_metric", event.code) if is_named else metric

    def is_priced(self, code, owner):
        own = owner.plans_ahead() if owner else []
        plans = self.catalog.all_in_force("plan") + [self.catalog.find("plan", plan_code) for plan_code in own]
        return any(charge.metric_code == code for plan in plans for charge in plan.charges)

    def owner_of(self, event):
        """The subscription that the event names or means; and whether it could mean several."""
        kind, name = event.whose
        if kind != "customer" and name in self.subscriptions:
            return self.subscriptions[name], False
        if kind == "subscription":
            return None, False
        found = [known for known in self.subscriptions.values() if known.customer_id == name and self.counts_for(known, event)]
        return (found[0], False) if len(found) == 1 else (None, len(found) > 1)

    def counts_for(self, subscription, event):
        """Active at the timestamp, under a plan that prices the metric."""
        at = event.happened_at
        if at < subscription.started_at or (subscription.ended_at is not None and at >= subscription.ended_at):
            return False
        return any(charge.metric_code == event.code for charge in self.charges_at(subscription, at))

    def charges_at(self, subscription, instant):
        return self.catalog.find("plan", subscription.plan_at(instant)).charges

    def prices_by_event(self, subscription, event):
        return any(charge.model == "dynamic" and charge.metric_code == event.code
                   for charge in self.charges_at(subscription, event.happened_at))

    def take_subscription(self, record):
        subscriptions.take_subscription(self, record)

    def end_subscription(self, subscription_id):
        if subscription_id in self.subscriptions:
            subscriptions.end_now(self, self.subscriptions[subscription_id])

    # --- Usage -----------------------------------------------------------------------------------

    def decide_parked(self):
        usage.decide_parked(self)

    def count(self, fate):
        self.counts[fate] += 1

    def settle(self, event, fate):
        """The event's fate, which may follow an earlier one."""
        if event.fate is None:
            self.events.append(event)
        else:
            self.counts[event.fate] -= 1
        event.fate = fate
        self.counts[fate] += 1

    def holder(self, held_as):
        """The event that holds an id, as long as usage with its timestamp could be taken."""
        event = self.held.get(held_as)
        return event if event and self.now <= event.happened_at + self.settings.lateness else None

    def reach_back(self, lateness):
        """A limit that is longer than all before finds what was over under those forgotten."""
        if lateness > self.longest_lateness:
            reach = self.now - self.longest_lateness
            self.held = {name: event for name, event in self.held.items() if event.happened_at >= reach}
            self.command_ids = {name: at for name, at in self.command_ids.items() if at >= reach}
            self.longest_lateness = lateness

    def release(self, event):
        if self.held.get(event.held_as) is event:
            del self.held[event.held_as]

    def usage_landed(self, window, event):
        invoice = window.invoice
        if invoice and is_draft(invoice) and invoice.refresh_at is None and self.settings.refresh == "continuous":
            invoice.refresh_at = event.arrived_at + self.settings.refresh_interval

    def events_in(self, window):
        """Usage that counts in the window: its own, and late usage that is priced as if it were."""
        return [event for event in self.events
                if (event.fate == "billed" and event.window is window)
                or (event.fate == "late" and event.carrier is window and event.pricing == "next_period")]

    def waits_for_carrier(self, window):
        """Late usage of the window is still to be billed as an increment."""
        return any(event.fate == "late" and event.window is window and event.pricing == "increment"
                   and (event.carrier.invoice is None or is_draft(event.carrier.invoice)) for event in self.events)

    def carries_usage(self, window):
        return any(window in (event.carrier or event.window,) for event in self.events if event.fate in ("billed", "late"))

    def originals_on(self, window):
        """The periods whose late usage the window carries as increments, oldest first."""
        found = {event.window for event in self.events
                 if event.fate == "late" and event.carrier is window and event.pricing == "increment"}
        return sorted(found, key=lambda original: original.start)

    def late_events(self, original, carrier):
        """What was known of the period before this carrier, and what the carrier adds."""
        late = [event for event in self.events
                if event.fate == "late" and event.window is original and event.pricing == "increment"]
        known = [event for event in late if event.carrier.start < carrier.start]
        return self.events_in(original) + known, [event for event in late if event.carrier is carrier]

    def note_unbillable(self, event, subscription):
        window = subscription.window_at(event.happened_at) if subscription else None
        if window:
            self.unbillable.setdefault((subscription, window), []).append(event)

    # --- Records out -----------------------------------------------------------------------------

    def add_invoice(self, invoice):
        self.invoices.append(invoice)
        return invoice

    def next_number(self, entity, customer_id):
        if entity.numbering == "per_customer":
            name, middle = (entity.key, customer_id), customer_id
        else:
            zone = zone_named(entity.timezone or "UTC")
            name, middle = (entity.key,), show_date(local_date(self.now, zone))[:7].replace("-", "")
        self.numbers[name] = number = self.numbers.get(name, 0) + 1
        return number, f"{entity.prefix}-{middle}-{number:03}"

    def announce(self, kind, invoice):
        """A webhook that carries the invoice, and with it everything that waited to be told."""
        invoice.version += 1
        invoice.announced, invoice.notify, invoice.refresh_at = True, False, None
        invoice.sent = document_of(self, invoice)
        document = dict(invoice.sent, version=invoice.version)
        self.send(kind, invoice.customer_id, {"object_type": "invoice", "invoice": document}, f"{invoice.id}/{invoice.version}")

    def send(self, kind, customer_id, value, identity):
        kind = RENAMED.get(self.settings.dialect, {}).get(kind, kind)
        headers = {"webhook-id": identity, "webhook-timestamp": show_instant(self.now), "graceline-seq": str(self.sequence)}
        self.sequence += 1
        self.out.append({"at": show_instant(self.now), "topic": f"webhooks.{kind}", "key": customer_id, "headers": headers,
                         "value": dict({"webhook_type": kind}, **value)})

    def reject(self, topic, record, reason, more=None):
        headers = dict({"graceline-reason": reason}, **(more or {}))
        self.out.append({"at": show_instant(self.now), "topic": topic, "key": record.key, "headers": headers, "record": record})

    def tell_of_late_usage(self, invoice):
        late = [event for event in self.events if event.fate == "late" and event.carrier is invoice.window]
        for original in sorted({event.window for event in late}, key=lambda window: window.start):
            events = [event for event in late if event.window is original]
            self.send_usage("usage.late", invoice.id, original, events, f"late/{invoice.id}/{show_instant(original.start)}")

    def tell_of_unbillable(self, name):
        subscription, window = name
        events = self.unbillable.pop(name)
        identity = f"unbillable/{subscription.id}/{show_instant(window.start)}/{events[0].order}"
        self.send_usage("usage.unbillable", None, window, events, identity)

    def send_usage(self, kind, invoice_id, window, events, identity):
        subscription = window.subscription
        end = window.planned_end()[0] if window.end is None else window.end
        value = {"invoice_id": invoice_id, "external_customer_id": subscription.customer_id,
                 "external_subscription_id": subscription.id, "period_from": show_instant(window.start),
                 "period_to": show_instant(end), "events_count": len(events), "charges": self.by_metric(events)}
        self.send(kind, subscription.customer_id, {"object_type": "usage", "usage": value}, identity)

    def by_metric(self, events):
        charges = []
        for code in sorted({event.code for event in events}, key=str.encode):
            metric = self.catalog.find("billable_metric", code)
            own = [event for event in events if event.code == code]
            summed = metric.aggregation in ("count_agg", "sum_agg")
            units = sum(value_for(metric, event.properties)[1] for event in own) if summed else None
            charges.append({"billable_metric_code": code, "events_count": len(own), "units": units if units is None else show_decimal(units)})
        return charges


# --- Deadlines of an invoice --------------------------------------------------------------------------

def is_draft(invoice):
    return invoice.announced and invoice.status == "draft"


def make_known(books, invoice):
    """A new invoice is a draft, if its grace isn't over already."""
    if finalization_instant(books, invoice) <= books.now:
        finalize(books, invoice)
    else:
        books.announce("invoice.drafted", invoice)


def tell_of_change(books, invoice):
    books.announce("invoice.updated", invoice)


def tell_of_usage(books, invoice):
    invoice.refresh_at = None
    if document_of(books, invoice) != invoice.sent:
        books.announce("invoice.updated", invoice)


def tell_it_will_be_due(books, invoice):
    invoice.will_be_due_at = None
    books.announce("invoice.will_be_due", invoice)


def become_overdue(books, invoice):
    invoice.overdue, invoice.overdue_at = True, None
    books.announce("invoice.payment_overdue", invoice)
