from __future__ import annotations

import re

from engage_sync.definitions.schema import json_schema, json_schemas
from engage_sync.destinations import registry


def test_each_kind_of_file_has_a_schema_that_knows_its_keys_and_no_others() -> None:
    schemas = json_schemas()
    assert {kind: schema["title"] for kind, schema in schemas.items()} == {
        "engage": "engage.yml",
        "audience": "audiences/*.yml",
        "trait": "traits/*.yml",
        "test": "tests/*.yml",
    }
    assert all(schema["additionalProperties"] is False for schema in schemas.values())
    assert set(json_schema("engage")["properties"]) == {
        "space",
        "sources",
        "destinations",
        "schedule",
        "limits",
        "guard",
    }
    assert json_schema("trait")["required"] == ["name"]


def test_each_type_of_destination_has_settings_of_its_own() -> None:
    shape = json_schema("engage", registry.settings_schemas())["$defs"]["DestinationShape"]
    assert shape["properties"]["type"]["enum"] == ["iterable", "segment", "webhook"]
    by_type = {rule["if"]["properties"]["type"]["const"]: rule["then"]["properties"] for rule in shape["allOf"]}
    assert set(by_type["webhook"]["settings"]["properties"]) == {"url", "secret"}
    iterable = by_type["iterable"]["settings"]
    assert iterable["required"] == ["api_key"]
    # A variable may stand for what isn't text.
    choices, variable = iterable["properties"]["bulk"]["anyOf"]
    assert choices["enum"] == ["never", "backlog", "always"]
    assert re.search(variable["pattern"], "${BULK}")
    assert "anyOf" not in iterable["properties"]["base_url"]


def test_without_types_any_is_taken() -> None:
    shape = json_schema("engage")["$defs"]["DestinationShape"]
    assert "enum" not in shape["properties"]["type"]


def test_track_may_be_true_or_names() -> None:
    tells = json_schema("audience")["$defs"]["AudienceTellsShape"]["properties"]["track"]
    assert [each["type"] for each in tells["anyOf"]] == ["boolean", "object"]


def test_of_a_test_files_are_one_or_several() -> None:
    schema = json_schema("test")
    assert schema["oneOf"] == [{"required": ["name", "then"]}, {"required": ["tests"]}]
    assert set(schema["$defs"]["StepShape"]["properties"]) == {
        "at", "calls", "in", "out", "members", "values", "messages",
    }  # fmt: skip
