-- event('Order Completed').last(property('products.$.sku'))

-- all
SELECT stream_0.profile_id AS profile_id, stream_0.value AS value
FROM (SELECT DISTINCT ON (read.profile_id) read.profile_id AS profile_id, each.value AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read LEFT OUTER JOIN LATERAL (SELECT CAST(anon_1.value AS JSONB) -> %(param_2)s::VARCHAR AS value, ARRAY[anon_1.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_3)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_1(value, place)) AS each ON true
WHERE coalesce(jsonb_typeof(each.value) != %(jsonb_typeof_2)s::VARCHAR, %(param_4)s) ORDER BY read.profile_id, read.timestamp DESC, read.id DESC, each.place DESC) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(jsonb_typeof(stream_0.value) != %(jsonb_typeof_3)s::VARCHAR, %(param_5)s)
-- jsonb_typeof_1 = 'array'
-- jsonb_typeof_2 = 'null'
-- jsonb_typeof_3 = 'null'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 'sku'
-- param_3 = '[]'
-- param_4 = False
-- param_5 = False

-- profiles
SELECT stream_0.profile_id AS profile_id, stream_0.value AS value
FROM (SELECT DISTINCT ON (read.profile_id) read.profile_id AS profile_id, each.value AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read LEFT OUTER JOIN LATERAL (SELECT CAST(anon_1.value AS JSONB) -> %(param_2)s::VARCHAR AS value, ARRAY[anon_1.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_3)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_1(value, place)) AS each ON true
WHERE coalesce(jsonb_typeof(each.value) != %(jsonb_typeof_2)s::VARCHAR, %(param_4)s) ORDER BY read.profile_id, read.timestamp DESC, read.id DESC, each.place DESC) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])
WHERE coalesce(jsonb_typeof(stream_0.value) != %(jsonb_typeof_3)s::VARCHAR, %(param_5)s)
-- jsonb_typeof_1 = 'array'
-- jsonb_typeof_2 = 'null'
-- jsonb_typeof_3 = 'null'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 'sku'
-- param_3 = '[]'
-- param_4 = False
-- param_5 = False
