-- event('Order Completed').within(7 days).sum(property('total')) > 100

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, sum(engage_number(read.field_0)) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE stream_0.value > CAST(%(param_3)s AS NUMERIC)
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = datetime.timedelta(days=7)
-- param_3 = Decimal('100')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT read.profile_id AS profile_id, sum(engage_number(read.field_0)) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE stream_0.value > CAST(%(param_3)s AS NUMERIC)
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = datetime.timedelta(days=7)
-- param_3 = Decimal('100')
