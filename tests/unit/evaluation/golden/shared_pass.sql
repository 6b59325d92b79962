-- event('Order Completed').within(30 days).count() >= 1 AND event('Order Completed').within(90 days).sum(property('total')) > 9

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, count(*) FILTER (WHERE read.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND read.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s) AS value_0, sum(engage_number(read.field_0)) AS value_1
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_2)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_3)s
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value_0, %(coalesce_1)s::INTEGER) >= CAST(%(param_4)s AS NUMERIC) AND stream_0.value_1 > CAST(%(param_5)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = 'total'
-- param_3 = datetime.timedelta(days=90)
-- param_4 = Decimal('1')
-- param_5 = Decimal('9')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT read.profile_id AS profile_id, count(*) FILTER (WHERE read.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND read.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s) AS value_0, sum(engage_number(read.field_0)) AS value_1
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_2)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_3)s AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value_0, %(coalesce_1)s::INTEGER) >= CAST(%(param_4)s AS NUMERIC) AND stream_0.value_1 > CAST(%(param_5)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = 'total'
-- param_3 = datetime.timedelta(days=90)
-- param_4 = Decimal('1')
-- param_5 = Decimal('9')
