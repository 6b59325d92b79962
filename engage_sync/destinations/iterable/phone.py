"""Phone numbers in E.164, the only form that Iterable's SMS and profile pages take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import phonenumbers


def phone_number(text: str, traits: Mapping[str, Any]) -> str:
    """The number in E.164 where it can be read with its country known, else as given.

    The country is known from a leading "+", or from `country` or `address.country` in the traits, as two letters.
    """
    country = None if text.lstrip().startswith("+") else _country(traits)
    if country is None and not text.lstrip().startswith("+"):
        return text
    try:
        number = phonenumbers.parse(text, country)
        reading = phonenumbers.is_possible_number_with_reason(number)
    except phonenumbers.NumberParseException:
        return text
    if reading != phonenumbers.ValidationResult.IS_POSSIBLE:
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _country(traits: Mapping[str, Any]) -> str | None:
    address = traits.get("address")
    candidates = (traits.get("country"), address.get("country") if isinstance(address, dict) else None)
    for candidate in candidates:
        if isinstance(candidate, str) and len(candidate) == 2 and candidate.isascii() and candidate.isalpha():
            return candidate.upper()
    return None
