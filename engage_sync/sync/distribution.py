"""How the values of a trait are distributed: quantiles and a histogram of numbers, the most frequent of the rest.

Reads the session's own table `engage_preview` (profile_id, value).
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, text

# Values of their own in a listing; what comes less often is "others".
MOST_VALUES = 20
MOST_BINS = 10
# An end of the range that lies farther from the middle 98 % than this share of it is a bin of its own.
_LONG_TAIL = 0.25

_FREQUENT = text(
    """
    SELECT value, count(*) AS profiles FROM engage_preview GROUP BY value ORDER BY count(*) DESC, value LIMIT :limit
    """
)
_OTHERS = text("SELECT count(DISTINCT value) AS values, count(*) AS profiles FROM engage_preview")
_ITEMS = text(
    """
    WITH items AS (
      SELECT item.value, count(DISTINCT profile_id) AS profiles
      FROM engage_preview CROSS JOIN LATERAL jsonb_array_elements(engage_preview.value) AS item
      WHERE jsonb_typeof(engage_preview.value) = 'array' GROUP BY item.value
    )
    SELECT value, profiles, count(*) OVER () AS values FROM items ORDER BY profiles DESC, value LIMIT :limit
    """
)
_QUANTILES = text(
    """
    SELECT quantile, (percentile_disc(quantile) WITHIN GROUP (ORDER BY value::numeric))::float8 AS value
    FROM engage_preview, unnest(ARRAY[0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1]::float8[]) AS quantile
    WHERE jsonb_typeof(engage_preview.value) = 'number'
    GROUP BY quantile ORDER BY quantile
    """
)
_ARE_WHOLE = text(
    """
    SELECT bool_and(value::numeric = trunc(value::numeric)) FROM engage_preview WHERE jsonb_typeof(value) = 'number'
    """
)
_BINS = text(
    """
    SELECT width_bucket(value::numeric, CAST(:edges AS numeric[])) AS bin, count(*) AS profiles
    FROM engage_preview WHERE jsonb_typeof(value) = 'number' GROUP BY bin
    """
)


def distribution(connection: Connection) -> dict[str, Any]:
    """`distribution`: the most frequent values `[{"value", "profiles"}]`, with `others` `{"values", "profiles"}`.

    `items`: the same of what stands in lists, counted once a person; there are `other_items` more. Of numbers there are
    `quantiles` `[{"quantile", "value"}]` and a `histogram` `[{"from", "to", "profiles"}]`: `from` is inclusive, `to`
    exclusive, null is open.
    """
    frequent = [dict(row._mapping) for row in connection.execute(_FREQUENT, {"limit": MOST_VALUES})]
    all_ = connection.execute(_OTHERS).one()
    quantiles = [dict(row._mapping) for row in connection.execute(_QUANTILES)]
    items = connection.execute(_ITEMS, {"limit": MOST_VALUES}).all()
    return {
        "distribution": frequent,
        "others": {
            "values": all_.values - len(frequent),
            "profiles": all_.profiles - sum(each["profiles"] for each in frequent),
        },
        "items": [{"value": row.value, "profiles": row.profiles} for row in items],
        "other_items": items[0].values - len(items) if items else 0,
        "quantiles": quantiles,
        "histogram": _histogram(connection, {each["quantile"]: each["value"] for each in quantiles}),
    }


def _histogram(connection: Connection, quantiles: dict[float, float]) -> list[dict[str, Any]]:
    if not quantiles:
        return []
    is_whole = bool(connection.execute(_ARE_WHOLE).scalar_one())
    edges = bin_edges(quantiles[0.0], quantiles[0.01], quantiles[0.99], quantiles[1.0], is_whole=is_whole)
    counts = {row.bin: row.profiles for row in connection.execute(_BINS, {"edges": edges})}
    bounds: list[Decimal | None] = [None, *edges, None]
    bins = [
        {"from": _number(start), "to": _number(end), "profiles": counts.get(number, 0)}
        for number, (start, end) in enumerate(pairwise(bounds))
    ]
    return [each for number, each in enumerate(bins) if 0 < number < len(bins) - 1 or each["profiles"]]


def bin_edges(low: float, one: float, ninety_nine: float, high: float, *, is_whole: bool) -> list[Decimal]:
    """Round edges of at most MOST_BINS bins between the lowest and the highest value; long tails are left out. Pure.

    `one` and `ninety_nine` are percentiles; `is_whole`: all values are whole, so that no bin is narrower than 1.
    """
    middle = ninety_nine - one
    start = one if middle and one - low > _LONG_TAIL * middle else low
    end = ninety_nine if middle and high - ninety_nine > _LONG_TAIL * middle else high
    room = MOST_BINS - (start != low) - (end != high)
    return _round_edges(Decimal(repr(start)), Decimal(repr(end)), room, Decimal(1) if is_whole else Decimal(0))


def _round_edges(start: Decimal, end: Decimal, most: int, narrowest: Decimal) -> list[Decimal]:
    """Multiples of 1, 2 or 5 times a power of ten, the first at or below the start, the last above the end."""
    power = (end - start or start or Decimal(1)).adjusted() - 2
    widths = (Decimal(factor).scaleb(power + more) for more in range(5) for factor in (1, 2, 5))
    for width in widths:
        first = (start / width).to_integral_value(ROUND_FLOOR)
        count = int((end / width).to_integral_value(ROUND_FLOOR) + 1 - first)
        if width >= narrowest and count <= most:
            return [(first + number) * width for number in range(count + 1)]
    return [start, end + 1]


def _number(edge: Decimal | None) -> int | float | None:
    if edge is None:
        return None
    return int(edge) if edge == edge.to_integral_value() else float(edge)
