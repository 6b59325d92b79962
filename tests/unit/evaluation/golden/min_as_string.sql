-- event('Order Completed').min(property('store') as string)

-- all
SELECT stream_0.profile_id AS profile_id, to_jsonb(stream_0.value) AS value
FROM (SELECT read.profile_id AS profile_id, min(engage_text(read.field_0)) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE stream_0.value IS NOT NULL
-- name_1 = 'Order Completed'
-- param_1 = 'store'

-- profiles
SELECT stream_0.profile_id AS profile_id, to_jsonb(stream_0.value) AS value
FROM (SELECT read.profile_id AS profile_id, min(engage_text(read.field_0)) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])
WHERE stream_0.value IS NOT NULL
-- name_1 = 'Order Completed'
-- param_1 = 'store'
