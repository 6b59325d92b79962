from __future__ import annotations

from engage_sync.definitions.schema import json_schema, json_schemas


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


def test_track_may_be_true_or_names() -> None:
    tells = json_schema("audience")["$defs"]["AudienceTellsShape"]["properties"]["track"]
    assert [each["type"] for each in tells["anyOf"]] == ["boolean", "object"]


def test_of_a_test_files_are_one_or_several() -> None:
    schema = json_schema("test")
    assert schema["oneOf"] == [{"required": ["name", "then"]}, {"required": ["tests"]}]
    assert set(schema["$defs"]["StepShape"]["properties"]) == {
        "at", "calls", "in", "out", "members", "values", "messages",
    }  # fmt: skip
