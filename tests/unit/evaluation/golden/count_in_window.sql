-- event('Order Completed').within(30 days).count() >= 2

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT event.profile_id AS profile_id, count(*) AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s GROUP BY event.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('2')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, count(*) AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND event.profile_id = any(%(profiles)s::BIGINT[]) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('2')
