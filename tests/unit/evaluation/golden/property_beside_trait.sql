-- event('Order Completed').where(property('total') >= trait('other_trait')).exists()

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read
WHERE engage_number(read.field_0) >= engage_number((SELECT snapshots.value
FROM snapshots
WHERE snapshots.profile_id = read.profile_id AND snapshots.definition_id = %(definition_id_1)s::INTEGER)) GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)
-- coalesce_1 = 0
-- definition_id_1 = 8
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = Decimal('1')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read
WHERE engage_number(read.field_0) >= engage_number((SELECT snapshots.value
FROM snapshots
WHERE snapshots.profile_id = read.profile_id AND snapshots.definition_id = %(definition_id_1)s::INTEGER)) GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)
-- coalesce_1 = 0
-- definition_id_1 = 8
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = Decimal('1')
