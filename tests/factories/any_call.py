"""Hypothesis strategies: Segment calls of any JSON, leaning towards what destinations look at."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["a@x.io", "Ü@bücher.example", "a@x", "@", "u1", "2023-02-05", "2023-02-05T20:42:10.1Z", "12", "1.5"]
    ),
    st.datetimes().map(lambda instant: instant.isoformat()),
    st.emails(),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.integers(min_value=-(10**39), max_value=10**39),
)
NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["address.city", "."]),
    st.sampled_from(["email", "phone", "phoneNumber", "products", "total", "order_id", "name", "category", "country"]),
    st.sampled_from(["campaignId", "templateId", "product_id", "productId", "id", "price", "quantity", "categories"]),
    st.sampled_from(["sku", "url", "image_url", "signupDate", "traits", "timezone", "Iterable", "All"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=6)
PRODUCTS = st.lists(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {"product_id": SCALARS, "name": TEXTS, "price": SCALARS},
            optional={"quantity": SCALARS, "category": SCALARS, "imageUrl": SCALARS, "extra": JSON},
        ),
    ),
    max_size=3,
)
PROPERTIES = st.one_of(
    JSON,
    OBJECTS,
    st.fixed_dictionaries({"total": SCALARS, "products": PRODUCTS}, optional={"order_id": SCALARS, "extra": JSON}),
)
EVENTS = st.one_of(TEXTS, st.sampled_from(["Order Completed", "product_added", "Cart Updated", "E"]), JSON)
CALLS = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(["identify", "track", "page", "screen", "alias", "group"]), JSON)},
    optional={
        "userId": st.one_of(TEXTS, JSON),
        "previousId": st.one_of(TEXTS, JSON),
        "messageId": st.one_of(st.just("m1"), st.just("m1"), JSON),
        "timestamp": st.one_of(st.just("2026-03-01T10:20:30Z"), st.just("2026-03-01T10:20:30Z"), JSON),
        "event": EVENTS,
        "name": JSON,
        "category": JSON,
        "traits": st.one_of(OBJECTS, JSON),
        "properties": PROPERTIES,
        "context": st.one_of(st.fixed_dictionaries({"traits": OBJECTS}), OBJECTS, JSON),
        "integrations": JSON,
    },
)
