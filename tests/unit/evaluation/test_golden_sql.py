"""The statement of each construct, as it is read in review: a changed statement shows in the diff of golden/.

GOLDEN=write pytest tests/unit/evaluation/test_golden_sql.py writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engage_sync.definitions import language
from engage_sync.definitions.language import Kind
from engage_sync.definitions.language.tree import OfAccounts
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_as_if, compile_edges, compile_evaluation

GOLDEN = Path(__file__).parent / "golden"
ORDER = "event('Order Completed')"
AUDIENCES = {
    "exists": f"{ORDER}.exists()",
    "count_in_window": f"{ORDER}.within(30 days).count() >= 2",
    "none_in_window": f"{ORDER}.within(30 days).count() = 0",
    "between": f"{ORDER}.between(30 days, 60 days).count() >= 1",
    "where": f"{ORDER}.where(property('total') > 100 AND context('page.url').contains('/sale')).exists()",
    "sources": f"{ORDER}.sources(exclude: 'app').exists()",
    "item_of_a_list": f"{ORDER}.where(property('products.$.category') = 'WINE').exists()",
    "sum_compared": f"{ORDER}.within(7 days).sum(property('total')) > 100",
    "trait": "trait('plan') = 'gold'",
    "trait_absent": "trait('plan').absent()",
    "trait_date_in_days": "trait('birthday').within_next(7 days)",
    "trait_date_in_hours": "trait('trial_ends_at').within_last(48 hours)",
    "audience_in_audience": "trait('other_audience') = 'true'",
    "property_beside_trait": f"{ORDER}.where(property('total') >= trait('other_trait')).exists()",
    "and_or_not": f"({ORDER}.exists() OR trait('plan') = 'gold') AND NOT event('Refund').within(30 days).exists()",
    "shared_pass": f"{ORDER}.within(30 days).count() >= 1 AND {ORDER}.within(90 days).sum(property('total')) > 9",
    "funnel_and_then": "event('Cart').where(event('Order').within(parent: 1 day).exists()).within(7 days).exists()",
    "funnel_and_then_not": "event('Cart').where(event('Order').within(parent: 1 day).count() = 0).exists()",
    "funnel_parent_property": "event('Cart').where(event('Order').where(property('sku') = property(parent: 'sku'))"
    ".within(parent: 1 hour).exists()).exists()",
}
TRAITS = {
    "count": f"{ORDER}.count()",
    "sum": f"{ORDER}.within(90 days).sum(property('total'))",
    "avg": f"{ORDER}.avg(property('total'))",
    "min_as_string": f"{ORDER}.min(property('store') as string)",
    "mode": f"{ORDER}.mode(property('store'), 3)",
    "first": f"{ORDER}.first(property('store'))",
    "last_of_items": f"{ORDER}.last(property('products.$.sku'))",
    "unique_of_items": f"{ORDER}.unique(property('products.$.sku'))",
    "unique_count": f"{ORDER}.unique(property('store')).count()",
    "copied_trait": "trait('address.city')",
}
# Of accounts (type: ACCOUNTS).
ACCOUNTS = {
    "account_events": f"{ORDER}.within(30 days).count() >= 2",
    "account_without_events": f"{ORDER}.count() = 0",
    "account_trait_and_any": f"trait('plan') = 'gold' AND ANY ({ORDER}.count() >= 2)",
    "account_all": f"ALL ({ORDER}.within(30 days).count() = 0 OR trait('other_audience') = 'true')",
    "account_date": "trait('renews').within_next(7 days) OR ANY (trait('birthday').within_next(7 days))",
    "account_funnel": "event('Cart').where(event('Order').within(parent: 1 day).exists()).exists()",
}
ACCOUNT_TRAITS = {"account_sum": f"{ORDER}.within(90 days).sum(property('total'))"}
CASES = [("audience", *each) for each in AUDIENCES.items()] + [("computed_trait", *each) for each in TRAITS.items()]
CASES_OF_ACCOUNTS = [
    *[("audience", *each) for each in ACCOUNTS.items()],
    *[("computed_trait", *each) for each in ACCOUNT_TRAITS.items()],
]
CATALOG = {"other_audience": 7, "other_trait": 8}


@pytest.mark.parametrize(("kind", "name", "query"), CASES, ids=[case[1] for case in CASES])
def test_the_statement_is_the_one_that_was_read(kind: Kind, name: str, query: str) -> None:
    check(name, query, language.parse(query, kind=kind))


@pytest.mark.parametrize(("kind", "name", "query"), CASES_OF_ACCOUNTS, ids=[case[1] for case in CASES_OF_ACCOUNTS])
def test_so_is_that_of_accounts(kind: Kind, name: str, query: str) -> None:
    check(name, query, language.parse(query, kind=kind, of_accounts=True))


def check(name: str, query: str, tree: language.Definition) -> None:
    parts = [f"-- {query}"]
    scopes = [Scope.ALL, Scope.PROFILES, *([Scope.ACCOUNTS] if isinstance(tree, OfAccounts) else [])]
    for scope in scopes:
        made = compile_evaluation(tree, include_anonymous=False, scope=scope, catalog=CATALOG)
        parts.append(f"-- {scope}\n{_shown(made)}")
    edges = compile_edges(tree, scope=Scope.ALL, catalog=CATALOG)
    if edges is not None:
        parts.append(f"-- edges\n{_shown(edges)}")
    text = "\n\n".join(parts) + "\n"
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)
    assert file.read_text() == text


def test_there_is_no_golden_file_without_its_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {case[1] for case in (*CASES, *CASES_OF_ACCOUNTS)}


def test_what_is_supposed_is_asked_by_the_statement_that_was_read() -> None:
    asked = language.parse(AUDIENCES["audience_in_audience"], kind="audience")
    made = compile_evaluation(asked, include_anonymous=False, scope=Scope.PROFILES, catalog=CATALOG)
    others = Evaluation(sql="SELECT * FROM other WHERE definition_id > %(least)s", parameters={"least": 6})
    supposed = compile_as_if(made, others)
    assert supposed.sql == (
        f"\nWITH snapshots AS NOT MATERIALIZED ({others.sql})\nSELECT * FROM ({made.sql}) AS supposed\n"
    )
    assert supposed.parameters == {**made.parameters, "least": 6}


def _shown(made: Evaluation) -> str:
    parameters = "".join(f"\n-- {name} = {value!r}" for name, value in sorted(made.parameters.items()))
    return "\n".join(line.rstrip() for line in made.sql.splitlines()) + parameters
