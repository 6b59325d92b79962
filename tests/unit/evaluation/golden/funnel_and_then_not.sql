-- event('Cart').where(event('Order').within(parent: 1 day).count() = 0).exists()

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND NOT (EXISTS (SELECT %(param_2)s::INTEGER AS anon_1
FROM events AS child_1
WHERE child_1.profile_id = event.profile_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > event.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= event.timestamp + %(param_3)s)) GROUP BY event.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_4)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = datetime.timedelta(days=1)
-- param_2 = 1
-- param_3 = datetime.timedelta(days=1)
-- param_4 = Decimal('1')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[]) AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND NOT (EXISTS (SELECT %(param_2)s::INTEGER AS anon_1
FROM events AS child_1
WHERE child_1.profile_id = event.profile_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > event.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= event.timestamp + %(param_3)s)) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_4)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = datetime.timedelta(days=1)
-- param_2 = 1
-- param_3 = datetime.timedelta(days=1)
-- param_4 = Decimal('1')
