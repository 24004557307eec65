"""The life of a subscription: how its windows open and close, how its plan changes, how it ends."""

from instants import local_date
from invoices import Invoice, note_billed_before
from periods import Window


class Change:
    """Another plan from an instant on."""

    def __init__(self, at, plan_code):
        self.at, self.plan_code = at, plan_code


class Subscription:
    """One subscription, its windows in order, and the usage that is ahead of them."""

    def __init__(self, record, started_at, anchor):
        self.id, self.customer_id, self.billing_time = record.key, record.customer_id, record.billing_time
        self.started_at, self.anchor, self.plan_code = started_at, anchor, record.plan_code
        self.ended_at, self.change, self.ended = record.ended_at, None, False
        self.windows, self.ahead = [], []

    @property
    def current(self):
        return self.windows[-1] if self.windows and not self.ended else None

    def window_at(self, instant):
        return next((window for window in self.windows if window.contains(instant)), None)

    def carrier(self):
        """The earliest of its usage invoices that isn't final."""
        for window in self.windows:
            if window.end is None or (window.invoice and window.invoice.status == "draft"):
                return window
        return None

    def plan_at(self, instant):
        window = self.window_at(instant)
        if window:
            return window.plan_code
        if self.windows and instant < self.windows[0].start:
            return self.windows[0].plan_code
        if self.change and instant >= self.change.at:
            return self.change.plan_code
        return self.plan_code

    def plans_ahead(self):
        """The plans it has or will have."""
        if self.ended:
            return []
        return [self.plan_code] + ([self.change.plan_code] if self.change else [])


# --- Records ------------------------------------------------------------------------------------------

def take_subscription(books, record):
    known = books.subscriptions.get(record.key)
    if known:
        update(books, known, record)
    else:
        arrive(books, record)


def arrive(books, record):
    """Periods that are over are opened and closed at once; those that are too old stay without an invoice."""
    started_at = books.now if record.started_at is None else record.started_at
    subscription = Subscription(record, started_at, local_date(started_at, books.zone_of(record.customer_id)))
    books.subscriptions[record.key] = subscription
    if started_at <= books.now:
        oldest = books.now - books.settings.lateness
        begin(books, subscription, oldest)
        advance(books, subscription, oldest)


def update(books, subscription, record):
    """The record's plan and end replace what was announced before and hasn't taken effect."""
    subscription.ended_at = None if record.ended_at is None else max(record.ended_at, books.now)
    at = books.now if record.effective_at is None else max(record.effective_at, books.now)
    subscription.change = None
    window = subscription.current
    begins = window.start if window else subscription.started_at
    if record.plan_code != subscription.plan_code:
        if at <= begins:
            replace_plan(books, subscription, window, record.plan_code)
        else:
            subscription.change = Change(at, record.plan_code)
    take_what_is_ahead(books, subscription)
    advance(books, subscription, None)


def replace_plan(books, subscription, window, plan_code):
    """A change at a window's very start is in force for all of it."""
    subscription.plan_code = plan_code
    if window:
        window.zone = books.zone_of(subscription.customer_id)
        window.take_plan(books.catalog.find("plan", plan_code))
        window.plan_as_begun()


def end_now(books, subscription):
    """As if the record had said so now; one that hasn't begun leaves nothing."""
    if subscription.ended:
        return
    if not subscription.windows:
        leave_nothing(books, subscription)
        return
    subscription.ended_at, subscription.change = books.now, None
    advance(books, subscription, None)


def leave_nothing(books, subscription):
    del books.subscriptions[subscription.id]
    books.catalog.forget("subscription", subscription.id)
    for event in subscription.ahead:
        books.release(event)
        books.settle(event, "rejected")
        books.reject("usage.rejected", event.record, "after_end")


# --- Windows ------------------------------------------------------------------------------------------

def begin(books, subscription, oldest=None):
    """Opens the first window, and the invoice that opens the subscription if its plan is paid in advance."""
    if subscription.ended_at is not None and subscription.ended_at <= subscription.started_at:
        subscription.ended = True
        return
    if subscription.change and subscription.change.at <= subscription.started_at:
        subscription.plan_code, subscription.change = subscription.change.plan_code, None
    plan = books.catalog.find("plan", subscription.plan_code)
    window = Window(subscription, subscription.started_at, plan, books.zone_of(subscription.customer_id),
                    (subscription.anchor, None), on_boundary=False)
    open_window(books, subscription, window)
    too_old = oldest is not None and window.planned_end()[0] < oldest
    if plan.in_advance and not too_old:
        window.before = books.add_invoice(Invoice.that_opens(window))


def open_window(books, subscription, window):
    subscription.windows.append(window)
    window.plan_as_begun()
    take_what_is_ahead(books, subscription)


def take_what_is_ahead(books, subscription):
    """Usage ahead of the clock belongs to the window that holds it, once there is one."""
    window = subscription.current
    for event in list(subscription.ahead):
        if window and event.happened_at < window.planned_end()[0]:
            subscription.ahead.remove(event)
            event.window, event.attributed = window, books.next_order()


def advance(books, subscription, oldest):
    """Closes every window that is over."""
    while subscription.current and subscription.current.planned_end()[0] <= books.now:
        close(books, subscription, oldest)


def close(books, subscription, oldest=None):
    window = subscription.current
    give_up_old(books, subscription)
    window.end, window.cut = window.planned_end()
    window.reason = "subscription_terminating" if window.cut else "subscription_periodic"
    window.skipped = oldest is not None and window.end < oldest
    if window.cut == "end":
        subscription.ended = True
        for event in subscription.ahead:
            event.window, event.attributed = window, books.next_order()
        subscription.ahead = []
    empty = window.end == window.start and not books.carries_usage(window)
    if not window.skipped and not empty:
        window.invoice = books.add_invoice(Invoice.of_window(window))
    if window.cut != "end":
        open_next(books, subscription, window)


def give_up_old(books, subscription):
    """Sealed windows are kept as long as the longest limit that was ever in force could ask for them."""
    opening = subscription.windows[0].before
    if opening and opening.status == "draft":
        return
    for window in subscription.windows[:-1]:
        sealed = window.invoice is None or window.invoice.status != "draft"
        if not sealed or window.end >= books.now - books.longest_lateness or books.waits_for_carrier(window):
            return
        window.skipped = True


def open_next(books, subscription, window):
    if subscription.change and subscription.change.at <= window.end:
        subscription.plan_code, subscription.change = subscription.change.plan_code, None
    on_boundary = window.cut is None and window.boundary_date is not None
    used = (window.boundary_date, window.end) if on_boundary else (window.used_date, window.used_instant)
    following = Window(subscription, window.end, books.catalog.find("plan", subscription.plan_code),
                       books.zone_of(subscription.customer_id), used, on_boundary)
    following.before = window.invoice
    window.following = following
    open_window(books, subscription, following)
    if window.skipped:
        note_billed_before(books, following)
