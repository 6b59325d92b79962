-- event('Order Completed').where(property('products.$.category') = 'WINE').exists()

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read
WHERE EXISTS (SELECT %(param_2)s::INTEGER AS anon_1
FROM LATERAL (SELECT CAST(anon_2.value AS JSONB) -> %(param_3)s::VARCHAR AS value, ARRAY[anon_2.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_4)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_2(value, place)) AS each
WHERE engage_text(each.value) = %(param_5)s::VARCHAR COLLATE "C") GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_6)s AS NUMERIC)
-- coalesce_1 = 0
-- jsonb_typeof_1 = 'array'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 1
-- param_3 = 'category'
-- param_4 = '[]'
-- param_5 = 'WINE'
-- param_6 = Decimal('1')

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read
WHERE EXISTS (SELECT %(param_2)s::INTEGER AS anon_1
FROM LATERAL (SELECT CAST(anon_2.value AS JSONB) -> %(param_3)s::VARCHAR AS value, ARRAY[anon_2.place] AS place
FROM LATERAL jsonb_array_elements(CASE WHEN (jsonb_typeof(read.field_0) = %(jsonb_typeof_1)s::VARCHAR) THEN read.field_0 ELSE CAST(%(param_4)s::VARCHAR AS JSONB) END) WITH ORDINALITY AS anon_2(value, place)) AS each
WHERE engage_text(each.value) = %(param_5)s::VARCHAR COLLATE "C") GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_6)s AS NUMERIC)
-- coalesce_1 = 0
-- jsonb_typeof_1 = 'array'
-- name_1 = 'Order Completed'
-- param_1 = 'products'
-- param_2 = 1
-- param_3 = 'category'
-- param_4 = '[]'
-- param_5 = 'WINE'
-- param_6 = Decimal('1')
