"""One seed, one log. Each seed dwells on some features, so that rare ones meet."""

import acts
import world
from instants import DAY, read_instant
from pen import Pen

FEATURES = [
    "zones", "anniversary", "own_grace", "rules", "taxes", "minimums", "commitments", "in_advance", "filters", "groups", "late",
    "next_period", "entity_numbers", "zero_closed", "endings", "waiting", "removals", "plan_changes", "changes", "invalid",
    "nonsense", "bad_values", "stripe", "cloudevents", "repeats", "cancels", "edits", "credits", "one_offs", "payments", "voids",
    "bad_commands", "limits", "old_subscriptions", "arrivals", "long_silence", "own_format", "config", "settings", "big"]

COMMANDS = {"cancels": ["event.cancel"] * 2, "edits": ["fee.edit", "fee.edit", "fee.reset", "invoice.refresh"],
            "credits": ["coupon.apply", "coupon.apply", "wallet.top_up", "credit_note.create", "wallet.purchase"],
            "one_offs": ["invoice.create_one_off", "wallet.purchase"],
            "payments": ["payment.record", "payment.record", "payment.dispute_lost"], "voids": ["invoice.void", "invoice.void", "invoice.void", "invoice.finalize"]}


# What only together shows anything.
THEMES = [
    {"voids", "credits", "payments"}, {"voids", "credits", "taxes"}, {"removals", "changes", "taxes"}, {"removals", "waiting", "arrivals"},
    {"in_advance", "rules", "own_grace"}, {"in_advance", "plan_changes", "endings"}, {"config", "payments", "long_silence"},
    {"plan_changes", "zones", "anniversary"}, {"late", "minimums", "commitments", "cancels"}, {"late", "groups", "filters", "taxes"},
    {"late", "next_period", "plan_changes"}, {"edits", "filters", "groups", "minimums"}, {"limits", "repeats", "config"},
    {"arrivals", "old_subscriptions", "late"}, {"zero_closed", "late", "entity_numbers"}, {"stripe", "cloudevents", "plan_changes"}]


def write_log(seed, length=70):
    """The lines, and an instant for --until or None."""
    pen = Pen(seed)
    share = pen.pick(0.15, 0.3, 0.3, 0.45, 0.6)
    pen.features = {feature for feature in FEATURES if pen.chance(share)}
    pen.features |= pen.rng.choice(THEMES) if pen.chance(0.6) else set()
    pen.features |= {feature for feature in ("late", "anniversary") if pen.chance(0.3)}
    pen.model = pen.pick("percentage", "volume", "graduated_percentage", "package") if pen.chance(0.15) else None
    pen.tempo = pen.pick("months", "months", "months", "weeks", "weeks", "mixed", "days", "hours", "minutes")
    pen.step = world.TEMPOS[pen.tempo][1]
    pen.currency = pen.pick("EUR", "EUR", "USD", "JPY", "KWD")
    pen.zone, day = pen.rng.choice(world.PLACES)
    pen.now = read_instant(f"{day}T00:00:00Z") + int(pen.rng.random() * 5 * DAY) // 10**9 * 10**9
    pen.promised, pen.awaited, pen.sent, pen.commands_sent = [], [], [], []
    pen.commands = [name for feature, names in COMMANDS.items() if feature in pen.features for name in names]
    pen.config = make_config(pen) if "config" in pen.features else {}
    if pen.config:
        pen.configure(pen.config)
    world.found(pen)
    deeds = list_deeds(pen)
    while len(pen.lines) < length:
        pen.move_on(pen.step)
        pen.rng.choice(deeds)(pen)
    return finish(pen)


def list_deeds(pen):
    """What is done how often."""
    deeds = [acts.use] * 24 + [Pen.tick]
    for feature, more in {
            "changes": [world.change_something] * 4, "plan_changes": [world.change_plan_of_subscription] * 3,
            "endings": [world.end_a_subscription], "removals": [world.remove_something, world.keep_a_promise, world.keep_a_promise],
            "waiting": [world.start_one_that_waits, world.name_the_unknown, world.keep_a_promise, world.keep_a_promise],
            "invalid": [acts.break_a_record] * 2, "nonsense": [acts.nonsense] * 2, "repeats": [acts.send_again] * 3,
            "arrivals": [world.start_a_subscription, use_before_its_subscription], "long_silence": [be_silent],
            "settings": [change_settings]}.items():
        if feature in pen.features:
            deeds += more
    if pen.commands:
        deeds += [acts.command] * (4 + len(pen.commands) // 2)
    return deeds


def finish(pen):
    """Lets what has begun come to an end; sometimes --until does that."""
    until = None
    pen.now += pen.pick(0, 3, 10, 30) * pen.step
    if pen.chance(0.15):
        until = pen.now + pen.pick(-3, 2, 20) * pen.step
    else:
        pen.tick()
        if pen.tempo in ("months", "weeks", "mixed") and pen.chance(0.5):
            pen.now += 45 * DAY
            pen.tick()
        elif pen.tempo == "months" and pen.chance(0.1):
            pen.now += 400 * DAY
            pen.tick()
    if pen.chance(0.015):
        acts.bad_line(pen)
    return pen.lines, until


def make_config(pen):
    members = {}
    minutes = pen.tempo in ("minutes", "hours")
    options = {
        "default_grace": pen.rng.choice(world.graces(pen)), "default_net_payment_term": pen.pick(0, 10, 45),
        "lateness_limit": pen.pick("PT10M", "PT2H", "P1D") if minutes else pen.pick("P3D", "P10D", "P60D", "PT36H"),
        "future_limit": pen.pick("PT0S", "PT30S", "PT5M", "PT1H"),
        "parking_limit": pen.pick("PT1M", "PT30M") if minutes else pen.pick("P1D", "P2D", "PT5H"),
        "refresh": "at_finalization", "refresh_interval": pen.pick("PT0S", "PT1S", "PT10M", "PT1M"),
        "will_be_due_days": pen.pick(0, 1, 3, 7), "dialect": pen.pick("lago", "stripe", "hyperline", "graceline"),
        "format": pen.pick("auto", "auto", "auto", "lago", "stripe", "cloudevents"), "max_event_bytes": pen.pick(300, 1048576), "clock_skew_limit": "PT1S"}
    for name, value in options.items():
        if pen.chance(0.5 if name == "will_be_due_days" else 0.3):
            members[name] = value
    return members


def change_settings(pen):
    """All members, for what those left out would be is another story. The lateness limit comes back, or grows."""
    if not pen.chance(0.25):
        return
    settings = {"default_grace": "P3D", "default_net_payment_term": 30, "lateness_limit": "P35D", "future_limit": "PT5M",
                "parking_limit": "P7D", "refresh": "continuous", "refresh_interval": "PT1M", "format": "auto"}
    settings.update((name, value) for name, value in pen.config.items() if name != "max_event_bytes")
    changed = make_config(pen)
    settings.update((name, value) for name, value in changed.items() if name != "max_event_bytes")
    pen.send("billing.catalog", "settings/settings", dict(settings, kind="settings"))


def use_before_its_subscription(pen):
    """Usage that has to be parked."""
    if not pen.awaited or pen.chance(0.3):
        pen.awaited.append(pen.new_id("sub_"))
    for _ in range(pen.pick(1, 2)):
        metrics = world.known(pen, "billable_metric")
        if not metrics:
            return
        metric = pen.rng.choice(metrics)
        event = {"transaction_id": pen.new_id("e"), "external_subscription_id": pen.awaited[-1], "code": metric["code"],
                 "timestamp": acts.show_timestamp(pen, pen.now - pen.pick(0, 0, 1, 5, 15) * pen.step // 2),
                 "properties": acts.make_quantities(pen, metric)}
        if acts.needs_price(pen, metric["code"]):
            event["precise_total_amount_cents"] = "12.5"
        pen.sent.append(event)
        pen.send("usage.events", pen.pick("ann", "bob"), event)


def be_silent(pen):
    pen.now += pen.pick(10, 20, 40) * pen.step
    if pen.chance(0.5):
        pen.tick()
