"""Events: the columns they may have, how they are parsed, and the rules for single rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from builder.clean import Rule, matches_any, text_of
from builder.columns import CONTEXT_PREFIX, TableColumns
from builder.config import Config
from builder.duck import literal, quoted
from builder.sources import Rows
from builder.timestamps import EARLIEST_US, time_columns

IDENTITIES: Final = ("customer_id", "anonymous_id", "order_id", "session_id")
_AMOUNTS: Final = ("quantity", "unit_price", "currency")
CONTEXTS: Final = ("device", "referrer_source", "referrer_medium", "country")
EVENTS: Final = TableColumns(
    table="events",
    required=("ts", "item_id"),
    one_of=IDENTITIES,
    optional=(*IDENTITIES, "event_type", "offer_id", *_AMOUNTS, *CONTEXTS),
    has_context=True,
)

PURCHASE, VIEW, ADD_TO_CART, REMOVE_FROM_CART, REFUND, REDEEM, OTHER = range(7)
KINDS: Final = ("purchase", "view", "add_to_cart", "remove_from_cart", "refund", "redeem", "other")
# Spellings of other systems, with blanks and hyphens as underscores, in lower case.
SPELLINGS: Final[tuple[tuple[int, str], ...]] = (
    (PURCHASE, "purchase purchased order ordered buy bought sale transaction order_completed"),
    (PURCHASE, "completed_order purchase_complete checkout_completed paid conversion"),
    (VIEW, "view viewed product_view page_view pageview detail_view detail_page_view view_item"),
    (VIEW, "product_viewed viewed_product item_view click"),
    (ADD_TO_CART, "add_to_cart addtocart add cart basket add_to_basket product_added cart_add"),
    (REMOVE_FROM_CART, "remove_from_cart removefromcart remove product_removed cart_remove"),
    (REFUND, "refund refunded return returned order_refunded order_cancelled cancel cancelled"),
    (REDEEM, "redeem redeemed redemption coupon_redeemed coupon_redemption offer_redeemed"),
)
WITHOUT_QUANTITY: Final = f"{VIEW}, {REDEEM}, {OTHER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """What the rules for events need to know of the brand.

    Attributes:
        now_us: later events are in the future.
        zone: the brand's time zone.
        currency: ISO 4217 code, or empty.
        max_cents: the highest price of one piece, in hundredths.
    """

    now_us: int
    zone: str
    currency: str
    zero_quantity_is_bad: bool
    negative_quantity_is_bad: bool
    max_quantity: int
    max_cents: int
    test_customers: tuple[str, ...]
    test_orders: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, now_us: int) -> EventSettings:
        """The part of a configuration that matters here."""
        given, currency = config.input, config.brand.currency
        return cls(
            now_us=now_us,
            zone=config.brand.timezone,
            currency=currency,
            zero_quantity_is_bad=given.zero_quantity == "quarantine",
            negative_quantity_is_bad=given.negative_quantity == "quarantine",
            max_quantity=given.max_quantity,
            max_cents=round(given.max_unit_price * 100),
            test_customers=given.test_customers,
            test_orders=given.test_orders,
        )


def parsed_events(
    rows: Rows, selected: str, contexts: Sequence[str], settings: EventSettings
) -> str:
    """SQL of the parsed rows.

    Args:
        rows: the file's columns.
        selected: SQL of the rows to parse.
        contexts: names of all context features, without prefix.
        settings: of the brand.
    """
    kind = rows.types["ts"]
    ts = f"said({quoted('ts')})" if kind == "VARCHAR" else quoted("ts")
    time = time_columns("written_ts", kind, settings.zone)
    sources = [name for name in _context_sources(contexts) if name in rows.types]
    said = "".join(
        f", said({text_of(rows, name)}) AS {alias}"
        for name, alias in (
            *((name, name) for name in ("item_id", "offer_id", *IDENTITIES)),
            *((name, f"written_{name}") for name in ("event_type", *_AMOUNTS, *sources)),
        )
    )
    kinds = " ".join(
        f"WHEN type_name IN ({', '.join(map(literal, names.split()))}) THEN {kind}"
        for kind, names in SPELLINGS
    )
    # Step by step, since an expression that stands in several places is computed in each.
    written = f"(SELECT row, {ts} AS written_ts {said} FROM {selected})"
    spelled = f"""(
        SELECT *, replace(replace(lower(written_event_type), ' ', '_'), '-', '_') AS type_name
            {"".join(f", context_value(written_{name}) AS spelled_{name}" for name in sources)}
        FROM {written})"""
    return f"""(
        SELECT *, {time.time_us} AS ts_us, {time.unit} AS time_unit,
            plain_number(written_quantity) AS quantity,
            amount_cents(written_unit_price) AS price_cents,
            coalesce(upper(written_currency), amount_currency(written_unit_price)) AS currency,
            coalesce(customer_id, 'anon:' || anonymous_id) AS identity,
            CASE WHEN type_name IS NULL THEN {PURCHASE} {kinds} ELSE {OTHER} END AS written_kind
            {_context_columns(contexts, sources)}
        FROM {spelled})"""


def _context_sources(contexts: Sequence[str]) -> list[str]:
    """Columns that a feature may come from; a file may have one with and one without prefix."""
    return [name for feature in contexts for name in (feature, CONTEXT_PREFIX + feature)]


def _context_columns(contexts: Sequence[str], sources: Sequence[str]) -> str:
    """Every feature, and whether a value was left out."""
    columns = ""
    for feature in contexts:
        found = [f"spelled_{name}" for name in _context_sources([feature]) if name in sources]
        columns += f", coalesce({', '.join([*found, 'NULL::VARCHAR'])}) AS ctx_{feature}"
    odd = [f"(written_{name} IS NOT NULL AND spelled_{name} IS NULL)" for name in sources]
    return f"{columns}, {' OR '.join(odd) or 'false'} AS has_odd_context"


def event_rules(settings: EventSettings) -> tuple[Rule, ...]:
    """The rules for single rows of events, in the order in which they are asked."""
    return (*_identity_rules(settings), *_amount_rules(settings), *_adjustments(settings))


def _identity_rules(settings: EventSettings) -> tuple[Rule, ...]:
    ids = ("item_id", "offer_id", *IDENTITIES)
    together = ", ".join(ids)
    return (
        _bad("no_time", "written_ts IS NULL", "the time is missing"),
        _bad(
            "bad_time",
            "ts_us IS NULL",
            "the time is no date, time (RFC 3339) or epoch number",
        ),
        _bad("old_time", f"ts_us < {EARLIEST_US}", "the time is before 1990"),
        _bad("future_time", f"ts_us > {settings.now_us}", "the time is in the future"),
        Rule(
            name="no_item_needed",
            action="drop",
            condition=f"item_id IS NULL AND written_kind = {OTHER}",
            sentence="an event of another type that is about no item",
        ),
        _bad("no_item", f"item_id IS NULL AND written_kind <> {REDEEM}", "the item id is missing"),
        _bad(
            "no_offer",
            f"offer_id IS NULL AND written_kind = {REDEEM}",
            "the id of the redeemed offer is missing",
        ),
        _bad(
            "no_identity",
            f"coalesce({', '.join(IDENTITIES)}) IS NULL",
            "customer, anonymous, order and session id are all missing",
        ),
        _bad(
            "long_id",
            " OR ".join(f"is_too_long({name})" for name in ids),
            "an id is longer than 512 bytes",
        ),
        _bad(
            "bad_id",
            " OR ".join(
                [f"has_control(concat({together}))", *(f"is_nested({name})" for name in ids)]
            ),
            "an id holds control characters or line breaks, or is a JSON list or object",
        ),
        Rule(
            name="test_customer",
            action="drop",
            condition=matches_any("customer_id", settings.test_customers),
            sentence="the customer id is one of tests (input.test_customers)",
        ),
        Rule(
            name="test_order",
            action="drop",
            condition=matches_any("order_id", settings.test_orders),
            sentence="the order id is one of tests (input.test_orders)",
        ),
    )


def _amount_rules(settings: EventSettings) -> tuple[Rule, ...]:
    counts = f"written_kind NOT IN ({WITHOUT_QUANTITY})"
    rules = [
        _bad(
            "bad_quantity",
            f"{counts} AND written_quantity IS NOT NULL"
            f" AND NOT coalesce(abs(quantity) <= {settings.max_quantity}, false)",
            "the quantity is no number, or too large (input.max_quantity)",
        ),
        Rule(
            name="zero_quantity",
            action="quarantine" if settings.zero_quantity_is_bad else "drop",
            condition=f"{counts} AND quantity = 0",
            sentence="the quantity is 0 (input.zero_quantity)",
        ),
    ]
    if settings.negative_quantity_is_bad:
        rules.append(
            _bad(
                "negative_quantity",
                f"{counts} AND written_kind <> {REFUND} AND quantity < 0",
                "the quantity is negative (input.negative_quantity)",
            )
        )
    rules += [
        _bad(
            "bad_price",
            "written_unit_price IS NOT NULL AND price_cents IS NULL",
            "the price cannot be read",
        ),
        _bad(
            "absurd_price",
            f"(price_cents < 0 AND written_kind <> {REFUND})"
            f" OR abs(price_cents) > {settings.max_cents}",
            "the price is negative, or too high (input.max_unit_price)",
        ),
    ]
    return tuple(rules)


def _adjustments(settings: EventSettings) -> tuple[Rule, ...]:
    return (
        Rule(
            name="unknown_type",
            action="adjust",
            condition=f"written_kind = {OTHER}",
            sentence="the event type is not one we know; kept as other, nothing is learned from it",
        ),
        Rule(
            name="offer_not_redeemed",
            action="adjust",
            condition=f"offer_id IS NOT NULL AND written_kind <> {REDEEM}",
            sentence="an offer id in an event that is no redemption: left out",
        ),
        Rule(
            name="sold_back",
            action="adjust",
            condition=f"written_kind = {PURCHASE} AND quantity < 0",
            sentence="the quantity is negative: read as a refund (input.negative_quantity)",
        ),
        Rule(
            name="fraction",
            action="adjust",
            condition=f"written_kind NOT IN ({WITHOUT_QUANTITY}) AND quantity <> trunc(quantity)",
            sentence="the quantity has decimals: rounded, at least 1",
        ),
        Rule(
            name="foreign_currency",
            action="adjust",
            condition=is_foreign(settings),
            sentence="the price is in another currency than the brand's: read as unknown",
        ),
        Rule(
            name="odd_context",
            action="adjust",
            condition="has_odd_context",
            sentence="a context value is longer than 128 bytes or no plain text: left out",
        ),
    )


def is_foreign(settings: EventSettings) -> str:
    """SQL condition: the row's price is in another currency than the brand's."""
    if not settings.currency:
        return "false"
    return f"coalesce(price_cents IS NOT NULL AND currency <> {literal(settings.currency)}, false)"


def _bad(name: str, condition: str, sentence: str) -> Rule:
    return Rule(name=name, action="quarantine", condition=condition, sentence=sentence)
