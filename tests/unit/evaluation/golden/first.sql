-- event('Order Completed').first(property('store'))

-- all
SELECT stream_0.profile_id AS profile_id, stream_0.value AS value
FROM (SELECT DISTINCT ON (read.profile_id) read.profile_id AS profile_id, read.field_0 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read
WHERE coalesce(jsonb_typeof(read.field_0) != %(jsonb_typeof_1)s::VARCHAR, %(param_2)s) ORDER BY read.profile_id, read.timestamp, read.id, read.id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(jsonb_typeof(stream_0.value) != %(jsonb_typeof_2)s::VARCHAR, %(param_3)s)
-- jsonb_typeof_1 = 'null'
-- jsonb_typeof_2 = 'null'
-- name_1 = 'Order Completed'
-- param_1 = 'store'
-- param_2 = False
-- param_3 = False

-- profiles
SELECT stream_0.profile_id AS profile_id, stream_0.value AS value
FROM (SELECT anon_1.id AS profile_id, stream_0_found.value AS value
FROM unnest(%(profiles)s::BIGINT[]) AS anon_1(id) JOIN LATERAL (SELECT event.properties -> %(param_1)s::VARCHAR AS value
FROM events AS event
WHERE event.profile_id = anon_1.id AND event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND coalesce(jsonb_typeof(event.properties -> %(param_1)s::VARCHAR) != %(jsonb_typeof_1)s::VARCHAR, %(param_2)s) ORDER BY event.timestamp, event.id, event.id
 LIMIT %(param_3)s::INTEGER) AS stream_0_found ON true) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])
WHERE coalesce(jsonb_typeof(stream_0.value) != %(jsonb_typeof_2)s::VARCHAR, %(param_4)s)
-- jsonb_typeof_1 = 'null'
-- jsonb_typeof_2 = 'null'
-- name_1 = 'Order Completed'
-- param_1 = 'store'
-- param_2 = False
-- param_3 = 1
-- param_4 = False
