"""What Iterable is sent, rule by rule; a case is named for its rule. The finer points are in the files beside this."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from engage_sync.destinations.iterable import privacy
from engage_sync.destinations.protocol import (
    Answer,
    Delivered,
    Refused,
    Rejected,
    Request,
    Retry,
    Skipped,
    Unauthorized,
)
from engage_sync.sandbox import forms
from tests.unit.destinations.calls import CREATED_AT, call, iterable, order, product

ANN = {"traits": {"email": "ann@x.io"}}
ITEM = {"id": "p1", "name": "Tea", "price": 4.5, "quantity": 2}
MESSAGE = {"id": "m1", "createdAt": CREATED_AT}
NESTED = {"mergeNestedObjects": False}


def case(name: str, given: dict[str, Any], path: str, body: Any, **settings: Any) -> Any:
    return pytest.param(given, settings, path, body, id=name)


def identify(name: str, traits: Any, body: dict[str, Any], *, settings: Any = None, **fields: Any) -> Any:
    given = call("identify", traits=traits, **fields)
    return case(name, given, "users/update", {**NESTED, **body}, **(settings or {}))


def track(name: str, properties: Any, body: dict[str, Any], **fields: Any) -> Any:
    given = call("track", **{"event": "E", "properties": properties, **fields})
    return case(name, given, "events/track", {"eventName": given["event"], **MESSAGE, **body})


def purchase(name: str, properties: dict[str, Any], body: dict[str, Any], **fields: Any) -> Any:
    given = {**order(), "context": ANN, "properties": properties, **fields}
    who = {"email": "ann@x.io", "userId": "u1"}
    return case(name, given, "commerce/trackPurchase", {"user": who, "createdAt": CREATED_AT, **body})


def cart(event: str) -> Any:
    given = call("track", event=event, properties={"products": [product()]}, context=ANN)
    body = {"user": {"email": "ann@x.io", "userId": "u1"}, "items": [ITEM]}
    return case(f"cart: {event}", given, "commerce/updateCart", body)


def alias(name: str, previous: str, path: str, body: dict[str, Any], project_type: str) -> Any:
    given = call("alias", previousId=previous, userId="new@x.io")
    return case(name, given, path, body, email_change="update", project_type=project_type)


SENT = [
    identify(
        "identify: traits are data fields",
        {"email": "a@x.io", "plan": "gold"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io", "plan": "gold"}},
    ),
    identify(
        "identify: a null clears the field",
        {"email": "a@x.io", "plan": None},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io", "plan": None}},
    ),
    identify(
        "the email: of the traits first",
        {"email": "a@x.io"},
        {"email": "a@x.io", "userId": "b@x.io", "dataFields": {"email": "a@x.io"}},
        userId="b@x.io",
        context=ANN,
    ),
    identify(
        "the email: then of the context",
        {},
        {"email": "ann@x.io", "userId": "u1", "dataFields": {}},
        context=ANN,
    ),
    identify(
        "the email: then a userId that is one",
        {},
        {"email": "b@x.io", "userId": "b@x.io", "dataFields": {}},
        userId="b@x.io",
    ),
    identify(
        "the email: never guessed",
        {"customer_email": "c@x.io", "mail": "m@x.io"},
        {"userId": "u1", "preferUserId": True, "dataFields": {"customer_email": "c@x.io", "mail": "m@x.io"}},
    ),
    track(
        "the email: of an event's context before its properties",
        {"email": "p@x.io"},
        {"email": "ann@x.io", "userId": "u1", "dataFields": {"email": "p@x.io"}},
        context=ANN,
    ),
    track(
        "the email: of an event's properties",
        {"email": "p@x.io"},
        {"email": "p@x.io", "dataFields": {"email": "p@x.io"}},
        userId=None,
    ),
    identify(
        "phone: E.164 where the country is known",
        {"email": "a@x.io", "phone": "(415) 865-7309", "country": "us"},
        {
            "email": "a@x.io",
            "userId": "u1",
            "dataFields": {"email": "a@x.io", "country": "us", "phoneNumber": "+14158657309"},
        },
    ),
    identify(
        "phone: as given where it isn't",
        {"email": "a@x.io", "phone": "865 7309"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io", "phoneNumber": "865 7309"}},
    ),
    identify(
        "phone: of the context",
        {},
        {"email": "ann@x.io", "userId": "u1", "dataFields": {"phoneNumber": "+14158657309"}},
        context={"traits": {"email": "ann@x.io", "phone": "+1 415 865 7309"}},
    ),
    identify(
        "phone: a null clears it",
        {"email": "a@x.io", "phone": None},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io", "phoneNumber": None}},
    ),
    identify(
        "context: not by default",
        {"email": "a@x.io"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io"}},
        context={"locale": "de-CH", "timezone": "Europe/Zurich"},
    ),
    identify(
        "context: where set",
        {"email": "a@x.io"},
        {
            "email": "a@x.io",
            "userId": "u1",
            "dataFields": {"email": "a@x.io", "locale": "de-CH", "timeZone": "Europe/Zurich", "ip": "1.2.3.4"},
        },
        settings={"send_context": True},
        context={"locale": "de-CH", "timezone": "Europe/Zurich", "ip": "1.2.3.4", "library": {"name": "x"}},
    ),
    identify(
        "context: what Iterable writes itself is never sent",
        {"email": "a@x.io", "profileUpdatedAt": "x", "itblInternal": {"a": 1}, "signupDate": "x"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io"}},
    ),
    identify(
        "dates: at every depth of traits",
        {"email": "a@x.io", "d": "2023-02-05", "in": {"list": ["2023-02-05T20:42:10.999Z", "2023-02-31"]}},
        {
            "email": "a@x.io",
            "userId": "u1",
            "dataFields": {
                "email": "a@x.io",
                "d": "2023-02-05 00:00:00 +00:00",
                "in": {"list": ["2023-02-05 20:42:10 +00:00", "2023-02-31"]},
            },
        },
    ),
    track(
        "dates: in the properties of an event",
        {"in": [{"d": "2023-02-05T20:42:10+02:00"}], "y": "2023"},
        {"userId": "u1", "dataFields": {"in": [{"d": "2023-02-05 18:42:10 +00:00"}], "y": "2023"}},
    ),
    purchase(
        "dates: in purchases and their items",
        {"order_id": "o1", "total": 9, "due": "2023-02-05", "products": [product(best_by="2023-02-05T01:02:03")]},
        {
            "id": "o1",
            "total": 9,
            "items": [{**ITEM, "dataFields": {"best_by": "2023-02-05 01:02:03 +00:00"}}],
            "dataFields": {"order_id": "o1", "due": "2023-02-05 00:00:00 +00:00"},
        },
    ),
    track(
        "track: campaign and template as integers",
        {"a": 1, "campaignId": "7", "templateId": 8.0},
        {
            "userId": "u1",
            "campaignId": 7,
            "templateId": 8,
            "dataFields": {"a": 1, "campaignId": "7", "templateId": 8.0},
        },
    ),
    *(
        cart(event)
        for event in ("Product Added", "Product Removed", "Added Product", "Cart Updated", "product_removed")
    ),
    track(
        "cart: without products it is a custom event",
        {"product_id": "p1"},
        {"userId": "u1", "dataFields": {"product_id": "p1"}},
        event="Product Added",
    ),
    *(
        purchase(
            f"purchase: {event}",
            {
                "order_id": 17,
                "total": "9.5",
                "products": [product()],
                "campaignId": 7,
                "templateId": "8",
                "coupon": "C",
            },
            {
                "id": "17",
                "total": 9.5,
                "items": [ITEM],
                "campaignId": 7,
                "templateId": 8,
                "dataFields": {"order_id": 17, "coupon": "C"},
            },
            event=event,
        )
        for event in ("Order Completed", "Completed Order", "order_completed", "ORDER COMPLETED")
    ),
    identify(
        "user ids only: preferred where no email is known",
        {},
        {"userId": "u1", "preferUserId": True, "dataFields": {}},
    ),
    identify(
        "user ids only: unless set otherwise",
        {},
        {"userId": "u1", "dataFields": {}},
        settings={"prefer_user_id": False},
    ),
    identify(
        "nested objects: by the setting",
        {"email": "a@x.io"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io"}, "mergeNestedObjects": True},
        settings={"merge_nested_objects": True},
    ),
    identify(
        "nested objects: the call wins",
        {"email": "a@x.io"},
        {"email": "a@x.io", "userId": "u1", "dataFields": {"email": "a@x.io"}},
        settings={"merge_nested_objects": True},
        integrations={"Iterable": {"mergeNestedObjects": False}},
    ),
    alias(
        "alias: of an email",
        "old@x.io",
        "users/updateEmail",
        {"currentEmail": "old@x.io", "newEmail": "new@x.io"},
        "email",
    ),
    alias("alias: of a userId", "u1", "users/updateEmail", {"currentUserId": "u1", "newEmail": "new@x.io"}, "email"),
    alias(
        "alias: in a user_id project",
        "u1",
        "users/update",
        {"userId": "u1", "email": "new@x.io", "dataFields": {"email": "new@x.io"}},
        "user_id",
    ),
    alias(
        "alias: in a hybrid project",
        "old@x.io",
        "users/update",
        {"email": "old@x.io", "dataFields": {"email": "new@x.io"}},
        "hybrid",
    ),
]


@pytest.mark.parametrize(("given", "settings", "path", "body"), SENT)
def test_rule(given: dict[str, Any], settings: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    (request,) = requests_of(given, **settings)
    assert (request.method, request.path, request.body) == ("POST", f"/api/{path}", body)
    assert taken(request, settings.get("project_type", "email"))


LABELS = [(None, None), ("Cart", None), (None, "Shop"), ("Cart", "Shop")]
SWITCHES = list(itertools.product([False, True], repeat=4))


@pytest.mark.parametrize(("everything", "categorized", "named", "single"), SWITCHES)
@pytest.mark.parametrize(("name", "category"), LABELS)
@pytest.mark.parametrize(("kind", "loaded"), [("page", "Loaded a Page"), ("screen", "Loaded a Screen")])
def test_page_settings_in_every_combination(
    kind: str,
    loaded: str,
    name: str | None,
    category: str | None,
    everything: bool,
    categorized: bool,
    named: bool,
    single: bool,
) -> None:
    given = call(kind, name=name, category=category, properties={"on": "2023-02-05", "name": "x"} if name else {})
    result = iterable(
        track_all_pages=everything,
        track_categorized_pages=categorized,
        track_named_pages=named,
        map_all_pages_to_single_event_name=single,
    ).requests(given)
    if not (everything or (categorized and category) or (named and name)):
        assert isinstance(result, Skipped)
        return
    assert isinstance(result, tuple)
    (request,) = result
    own_names = {"Cart": f"Cart {kind}", "Shop": f"Shop {kind}"}
    labels = {"name": name, "category": category, "on": "2023-02-05 00:00:00 +00:00" if name else None}
    assert (request.path, request.budget) == ("/api/events/track", "track")
    assert request.body == {
        "userId": "u1",
        "eventName": loaded if single else own_names.get(name or category or "", loaded),
        **MESSAGE,
        "dataFields": {field: value for field, value in labels.items() if value is not None},
    }


ID_SOURCES = [
    {"product_id": "p1"},
    {"productId": "p1"},
    {"id": "p1"},
    {"product_id": 1},
    {"product_id": "p1", "id": "x"},
]
PRICES = [(4.5, 4.5), ("4.50", 4.5), (4, 4), ("4", 4)]
QUANTITIES = [(None, 1), (3, 3), ("3", 3), (3.0, 3)]
IMAGES = [({}, None), ({"imageUrl": "/i"}, "/i"), ({"image_url": "/i"}, "/i")]
CATEGORIES = [({}, None), ({"category": "Tea"}, ["Tea"]), ({"categories": ["Tea", "Hot"]}, ["Tea", "Hot"])]


@pytest.mark.parametrize("event", ["Order Completed", "Product Added"])
def test_items_in_every_combination(event: str) -> None:
    for id_source, price, quantity, image, category in itertools.product(
        ID_SOURCES, PRICES, QUANTITIES, IMAGES, CATEGORIES
    ):
        given = {**id_source, "name": "Tea", "price": price[0], "quantity": quantity[0], **image[0], **category[0]}
        given = {**given, "sku": "s", "description": "d", "url": "/u", "size": "12"}
        identifier = str(next(iter(id_source.values())))
        expected: dict[str, Any] = {"id": identifier, "name": "Tea", "price": price[1], "quantity": quantity[1]}
        expected |= {"sku": "s", "description": "d", "url": "/u"}
        expected |= {} if image[1] is None else {"imageUrl": image[1]}
        expected |= {} if category[1] is None else {"categories": category[1]}
        expected["dataFields"] = {"size": "12", **({"id": "x"} if len(id_source) > 1 else {})}
        (request,) = requests_of({**order([given], total=1), "event": event})
        assert request.body["items"] == [expected], given
        assert taken(request, "email")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        pytest.param(call("identify", userId=None, traits={"mail": "a@x.io"}), "userId", id="nobody"),
        pytest.param(call("identify", userId=None, anonymousId="x"), "userId", id="only an anonymousId"),
        pytest.param(call("identify", traits={"email": "a@"}), "traits.email", id="malformed email of the traits"),
        pytest.param(
            call("track", event="E", context={"traits": {"email": "a@"}}),
            "context.traits.email",
            id="malformed email of the context",
        ),
        pytest.param(
            call("track", event="E", userId=None, properties={"email": "a@"}),
            "properties.email",
            id="malformed email of the properties",
        ),
        pytest.param(order(), "properties.total", id="purchase without a total"),
        pytest.param(order(total="much"), "properties.total", id="purchase with a total that is no number"),
        pytest.param(
            order([product(product_id=None)], total=1), "properties.products[0].product_id", id="item without an id"
        ),
        pytest.param(order([product(name=None)], total=1), "properties.products[0].name", id="item without a name"),
        pytest.param(order([product(price=None)], total=1), "properties.products[0].price", id="item without a price"),
        pytest.param(call("identify", traits={"a.b": 1}), "traits.a.b", id="period in a trait's name"),
        pytest.param(
            call("track", event="E", properties={"a": [{"b.c": 1}]}),
            "properties.a[0].b.c",
            id="period in a property's name",
        ),
        pytest.param(
            order([product(**{"a.b": 1})], total=1), "properties.products[0].a.b", id="period in an item's name"
        ),
    ],
)
def test_bad_input_is_refused_by_field(given: dict[str, Any], field: str) -> None:
    result = iterable().requests(given)
    assert isinstance(result, Refused)
    assert result.field == field
    assert field in result.sentence


def test_group_is_not_sent_and_says_so() -> None:
    result = iterable().requests(call("group", groupId="g1"))
    assert isinstance(result, Skipped)
    assert "group" in result.reason


@pytest.mark.parametrize("bulk", ["never", "backlog", "always"])
def test_bulk_changes_nothing_in_a_single_request(bulk: str) -> None:
    given = call("identify", traits={"email": "a@x.io"})
    assert requests_of(given, bulk=bulk) == requests_of(given)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        pytest.param(200, "Success", "", Delivered, id="success"),
        pytest.param(200, "BadParams", "", Rejected, id="success: only with the code"),
        pytest.param(400, "Success", "", Rejected, id="success: only with the status"),
        pytest.param(
            200, "Success", "E is disallowed from tracking", Rejected, id="success: a blocked event is refused"
        ),
        pytest.param(408, None, "", Retry, id="outcome: retry 408"),
        pytest.param(429, "RateLimitExceeded", "", Retry, id="outcome: retry 429"),
        pytest.param(500, "GenericError", "", Retry, id="outcome: retry 5xx"),
        pytest.param(400, "BadJsonBody", "", Rejected, id="outcome: permanent 400"),
        pytest.param(409, "ForgottenUserError", "", Rejected, id="outcome: permanent 409"),
        pytest.param(413, "BatchTooLarge", "", Rejected, id="outcome: permanent 413"),
        pytest.param(401, "BadApiKey", "", Unauthorized, id="outcome: 401 pauses"),
        pytest.param(403, "Forbidden", "", Unauthorized, id="outcome: 403 pauses"),
    ],
)
def test_outcome(status: int, code: str | None, message: str, kind: type) -> None:
    (request,) = requests_of(call("track", event="E"))
    answer = Answer(status=status, headers={}, body=orjson.dumps({"code": code, "msg": message}))
    assert type(iterable().outcome(request, answer)) is kind


def test_no_answer_is_retried_as_unanswered() -> None:
    (request,) = requests_of(call("track", event="E"))
    assert iterable().outcome(request, None) == Retry(reason="no answer", unanswered=True)


@pytest.mark.parametrize(
    ("who", "body"),
    [
        ({"email": "a@x.io", "user_id": "u1"}, {"email": "a@x.io"}),
        ({"user_id": "u1"}, {"userId": "u1"}),
    ],
)
def test_forget(who: dict[str, Any], body: dict[str, Any]) -> None:
    found = privacy.forget(**who)
    assert found == Request(method="POST", path="/api/users/forget", body=body, budget="forget")
    assert iterable().budgets["forget"] == 3


@pytest.mark.parametrize(
    ("who", "project_type", "path"),
    [
        ({"email": "a+b/c@x.io"}, "email", "/api/users/a%2Bb%2Fc%40x.io"),
        ({"email": "a@x.io", "user_id": "u1"}, "hybrid", "/api/users/a%40x.io"),
        ({"email": "a@x.io", "user_id": "u/1"}, "user_id", "/api/users/byUserId/u%2F1"),
        ({"user_id": "u1"}, "email", "/api/users/byUserId/u1"),
    ],
)
def test_delete(who: dict[str, Any], project_type: Any, path: str) -> None:
    found = privacy.delete(**who, project_type=project_type)
    assert isinstance(found, Request)
    assert (found.method, found.path) == ("DELETE", path)


def test_nobody_is_neither_forgotten_nor_deleted() -> None:
    assert isinstance(privacy.forget(email="a@"), Refused)
    assert isinstance(privacy.delete(email="a@x.io", project_type="user_id"), Refused)


def requests_of(given: dict[str, Any], **settings: Any) -> tuple[Request, ...]:
    result = iterable(**settings).requests(given)
    assert isinstance(result, tuple), result
    return result


def taken(request: Request, project_type: Any) -> bool:
    """Whether the stand-in has nothing against the request's form."""
    return forms.check(request.path, orjson.loads(orjson.dumps(request.body)), project_type=project_type) is None
