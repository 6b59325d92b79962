"""Carts and purchases: which events they are, and their items."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from engage_sync.destinations.iterable.refusal import Unsendable
from engage_sync.destinations.iterable.values import data_fields, number, text_of, whole_number

Meaning = Literal["cart", "purchase", "event"]

_CARTS: Final = frozenset({"productadded", "addedproduct", "productremoved", "removedproduct", "cartupdated"})
_PURCHASES: Final = frozenset({"ordercompleted", "completedorder"})

# Where each field of an item comes from: the first source with a usable value.
_ID_SOURCES: Final = ("product_id", "productId", "id")
_TEXTS: Final = (
    ("sku", ("sku",)),
    ("description", ("description",)),
    ("url", ("url",)),
    ("imageUrl", ("imageUrl", "image_url")),
)


@lru_cache(maxsize=4096)
def meaning(event: str) -> Meaning:
    """What an event's name stands for; case, spaces and underscores don't count."""
    name = event.lower().replace("_", "").replace(" ", "")
    if name in _PURCHASES:
        return "purchase"
    return "cart" if name in _CARTS else "event"


def items(products: Any) -> list[dict[str, Any]]:
    """The items of a cart or purchase; none where products is null or missing."""
    if products is None:
        return []
    if type(products) is not list:
        raise Unsendable("products is not an array", "properties.products")
    return [_item(product, f"properties.products[{index}]") for index, product in enumerate(products)]


def total(properties: Mapping[str, Any]) -> int | float:
    found = number(properties.get("total"))
    if found is None:
        raise Unsendable("total is missing, or not a number", "properties.total")
    return found


def _item(product: Any, where: str) -> dict[str, Any]:
    if type(product) is not dict:
        raise Unsendable(f"{where} is not an object", where)
    used: set[str] = set()
    item: dict[str, Any] = {
        "id": _id(product, where, used),
        "name": _name(product, where, used),
        "price": _price(product, where, used),
        "quantity": _quantity(product, where, used),
    }
    for field, sources in _TEXTS:
        for source in sources:
            text = _taken_text(product, source, used)
            if text is not None:
                item[field] = text
                break
    categories = _categories(product, used)
    if categories is not None:
        item["categories"] = categories
    rest = {key: value for key, value in product.items() if key not in used}
    if rest:
        item["dataFields"] = data_fields(rest, where)
    return item


def _id(product: Mapping[str, Any], where: str, used: set[str]) -> str:
    for source in _ID_SOURCES:
        text = _taken_text(product, source, used)
        if text is not None:
            return text
    raise Unsendable(f"{where} has no product_id, productId or id", f"{where}.product_id")


def _name(product: Mapping[str, Any], where: str, used: set[str]) -> str:
    text = _taken_text(product, "name", used)
    if text is None:
        raise Unsendable(f"{where} has no name", f"{where}.name")
    return text


def _price(product: Mapping[str, Any], where: str, used: set[str]) -> int | float:
    used.add("price")
    price = number(product.get("price"))
    if price is None:
        raise Unsendable(f"{where} has no price that is a number", f"{where}.price")
    return price


def _quantity(product: Mapping[str, Any], where: str, used: set[str]) -> int:
    used.add("quantity")
    given = product.get("quantity")
    quantity = 1 if given is None else whole_number(given)
    if quantity is None:
        raise Unsendable(f"{where} has a quantity that is not a whole number", f"{where}.quantity")
    return quantity


def _categories(product: Mapping[str, Any], used: set[str]) -> list[str] | None:
    given = product.get("categories")
    if given is None:
        used.add("categories")
    elif type(given) is list:
        texts = [text_of(category) for category in given]
        if all(text is not None for text in texts):
            used.add("categories")
            return [text for text in texts if text is not None]
    category = _taken_text(product, "category", used)
    return None if category is None else [category]


def _taken_text(product: Mapping[str, Any], source: str, used: set[str]) -> str | None:
    # A null says nothing; another value that is no text stays with the item's own fields.
    if source not in product:
        return None
    value = product[source]
    text = text_of(value)
    if text is not None or value is None:
        used.add(source)
    return text
