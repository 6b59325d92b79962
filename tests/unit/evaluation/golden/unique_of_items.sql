-- event('Order Completed').unique(property('products.$.sku'))

-- all
SELECT stream_0.profile_id AS profile_id, to_jsonb(stream_0.value) AS value
FROM (SELECT read.profile_id AS profile_id, array_agg(DISTINCT engage_text(each.value) ORDER BY engage_text(each.value)) FILTER (WHERE engage_text(each.value) IS NOT NULL) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read LEFT OUTER JOIN LATERAL (SELECT CAST(anon_1.value AS JSONB) -> %(param_2)s::VARCHAR AS value, ARRAY[anon_1.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_3)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_1(value, place)) AS each ON true GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE stream_0.value IS NOT NULL
-- jsonb_typeof_1 = 'array'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 'sku'
-- param_3 = '[]'

-- profiles
SELECT stream_0.profile_id AS profile_id, to_jsonb(stream_0.value) AS value
FROM (SELECT read.profile_id AS profile_id, array_agg(DISTINCT engage_text(each.value) ORDER BY engage_text(each.value)) FILTER (WHERE engage_text(each.value) IS NOT NULL) AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read LEFT OUTER JOIN LATERAL (SELECT CAST(anon_1.value AS JSONB) -> %(param_2)s::VARCHAR AS value, ARRAY[anon_1.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_3)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_1(value, place)) AS each ON true GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])
WHERE stream_0.value IS NOT NULL
-- jsonb_typeof_1 = 'array'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 'sku'
-- param_3 = '[]'
