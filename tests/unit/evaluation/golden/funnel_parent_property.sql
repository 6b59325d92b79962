-- event('Cart').where(event('Order').where(property('sku') = property(parent: 'sku')).within(parent: 1 hour).exists()).exists()

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read
WHERE EXISTS (SELECT %(param_2)s::INTEGER AS anon_1
FROM events AS child_1
WHERE child_1.profile_id = read.profile_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > read.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= read.timestamp + %(param_3)s AND CASE WHEN (engage_number(child_1.properties -> %(param_4)s::VARCHAR) IS NOT NULL AND engage_number(read.field_0) IS NOT NULL) THEN engage_number(child_1.properties -> %(param_4)s::VARCHAR) = engage_number(read.field_0) ELSE engage_text(child_1.properties -> %(param_4)s::VARCHAR) = engage_text(read.field_0) END) GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_5)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = 'sku'
-- param_2 = 1
-- param_3 = datetime.timedelta(seconds=3600)
-- param_4 = 'sku'
-- param_5 = Decimal('1')

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
FROM events AS child_1
WHERE child_1.profile_id = read.profile_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > read.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= read.timestamp + %(param_3)s AND CASE WHEN (engage_number(child_1.properties -> %(param_4)s::VARCHAR) IS NOT NULL AND engage_number(read.field_0) IS NOT NULL) THEN engage_number(child_1.properties -> %(param_4)s::VARCHAR) = engage_number(read.field_0) ELSE engage_text(child_1.properties -> %(param_4)s::VARCHAR) = engage_text(read.field_0) END) GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_5)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = 'sku'
-- param_2 = 1
-- param_3 = datetime.timedelta(seconds=3600)
-- param_4 = 'sku'
-- param_5 = Decimal('1')
