"""Coupons of Complete Journey in the generic format, and which of them households redeemed.

A coupon in a campaign is an offer: its items are the products it is good for, one or thousands, its
campaign is a rule on the request's context, its validity the campaign's. A build reads the coupons
of all campaigns, and which of them were redeemed before `CUT`; nothing that happened later.

A *choice* is a household and a campaign of which it redeemed something: which of the campaign's
coupons did it redeem? Only campaigns that begin at or after `CUT` are asked about, and those with
no more coupons than a list has places choose themselves and are left out. There are 511 choices
with 1,491 coupons, found so because order lines before each campaign's start then rank as
published: by all lines of a coupon's items hit@1 0.119 and NDCG@10 0.296, by the household's own
lines first 0.305 and 0.445 (published: 0.301 and 0.444).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb

from builder.demo_inputs import data_dir
from builder.duck import connect, literal

CUT: Final = "2017-08-01"
PLACES: Final = 10
_MEMORY_BYTES: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One household's choice among one campaign's coupons.

    Attributes:
        household: its customer id.
        campaign: value of the context `campaign`.
        at: noon of the first day it redeemed something, on the shop's clock; hours are not told.
        offers: ids of the campaign's offers, rising.
        redeemed: those the household redeemed, at least one.
        lines: for each of the offers, all order lines of its items before `CUT`.
        own_lines: those of the household.
    """

    household: str
    campaign: str
    at: datetime
    offers: tuple[str, ...]
    redeemed: frozenset[str]
    lines: tuple[int, ...]
    own_lines: tuple[int, ...]


def write_offers(out: Path) -> Path:
    """Write the coupons of all campaigns; the path of the file.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    path = out / "offers.parquet"
    with connect(_MEMORY_BYTES, out) as connection:
        _open_tables(connection)
        connection.execute(f"COPY ({_OFFERS}) TO {literal(path)} (FORMAT parquet)")
    shutil.rmtree(out / "spill", ignore_errors=True)
    return path


def write_redemptions(out: Path) -> Path:
    """Write what was redeemed before `CUT`, as events; the path of the file.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    path = out / "redemptions.parquet"
    with connect(_MEMORY_BYTES, out) as connection:
        _open_tables(connection)
        connection.execute(f"COPY ({_REDEMPTIONS}) TO {literal(path)} (FORMAT parquet)")
    shutil.rmtree(out / "spill", ignore_errors=True)
    return path


def load_choices(temp_dir: Path) -> list[Choice]:
    """Every choice, by household, then campaign.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    with connect(_MEMORY_BYTES, temp_dir) as connection:
        _open_tables(connection)
        campaigns = {row[0]: row[1:] for row in connection.execute(_CAMPAIGNS).fetchall()}
        own = {row[:2]: dict(row[2]) for row in connection.execute(_OWN_LINES).fetchall()}
        redeemed = connection.execute(_REDEEMED).fetchall()
    choices = []
    for household, campaign, at, taken in redeemed:
        offers, lines = campaigns[campaign]
        own_lines = own.get((household, campaign), {})
        choices.append(
            Choice(
                household=household,
                campaign=campaign,
                at=at,
                offers=tuple(offers),
                redeemed=frozenset(taken),
                lines=tuple(lines),
                own_lines=tuple(own_lines.get(offer, 0) for offer in offers),
            )
        )
    return choices


def _open_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make tables and views of the files.

    `coupons` has a row per offer and item, `later` those of campaigns to be asked about, `lines`
    the order lines before the cut, `redeemed` what was redeemed.
    """
    tables = data_dir()
    for name in ("transactions", "coupons", "coupon_redemptions", "campaign_descriptions"):
        source = literal(tables / f"{name}.parquet")
        connection.execute(f"CREATE TEMP VIEW raw_{name} AS FROM read_parquet({source})")
    connection.execute(
        f"""
        CREATE TEMP TABLE coupons AS
        SELECT DISTINCT campaign_id::VARCHAR AS campaign,
            campaign_id || ':' || coupon_upc AS offer_id, product_id, start_date, end_date
        FROM raw_coupons JOIN raw_campaign_descriptions USING (campaign_id);

        CREATE TEMP VIEW later AS FROM coupons WHERE start_date >= {literal(CUT)}::TIMESTAMP;

        CREATE TEMP VIEW redeemed AS
        SELECT household_id::VARCHAR AS household, campaign_id::VARCHAR AS campaign,
            campaign_id || ':' || coupon_upc AS offer_id,
            redemption_date + INTERVAL 12 HOUR AS redeemed_at
        FROM raw_coupon_redemptions;

        CREATE TEMP TABLE lines AS
        SELECT household_id::VARCHAR AS household, product_id
        FROM raw_transactions WHERE transaction_timestamp < {literal(CUT)}::TIMESTAMP;
        """
    )


_OFFERS: Final = """
SELECT offer_id, to_json(list(product_id::VARCHAR ORDER BY product_id))::VARCHAR AS item_ids,
    strftime(any_value(start_date), '%Y-%m-%d') AS starts_at,
    strftime(any_value(end_date) + INTERVAL 1 DAY, '%Y-%m-%d') AS expires_at,
    json_object('campaign', any_value(campaign))::VARCHAR AS eligibility
FROM coupons GROUP BY offer_id ORDER BY offer_id
"""

_REDEMPTIONS: Final = f"""
SELECT redeemed_at AS ts, household AS customer_id, NULL::VARCHAR AS item_id,
    'redeem' AS event_type, offer_id, campaign AS ctx_campaign
FROM redeemed WHERE redeemed_at < {literal(CUT)}::TIMESTAMP ORDER BY ALL
"""

_CAMPAIGNS: Final = """
SELECT campaign, list(offer_id ORDER BY offer_id), list(n_lines ORDER BY offer_id)
FROM (SELECT campaign, offer_id, count(household) AS n_lines
      FROM later LEFT JOIN lines USING (product_id) GROUP BY campaign, offer_id)
GROUP BY campaign
"""

_OWN_LINES: Final = """
SELECT household, campaign, list((offer_id, n_lines))
FROM (SELECT household, campaign, offer_id, count(*) AS n_lines
      FROM lines JOIN later USING (product_id) GROUP BY ALL)
GROUP BY household, campaign
"""

_REDEEMED: Final = f"""
SELECT household, campaign, min(redeemed_at), list(DISTINCT offer_id) FROM redeemed
WHERE campaign IN (
    SELECT campaign FROM later GROUP BY campaign HAVING count(DISTINCT offer_id) > {PLACES})
GROUP BY household, campaign ORDER BY household, campaign
"""
