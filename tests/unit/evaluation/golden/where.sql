-- event('Order Completed').where(property('total') > 100 AND context('page.url').contains('/sale')).exists()

-- all
SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, (event.context -> %(param_1)s::VARCHAR) -> %(param_2)s::VARCHAR AS field_0, event.properties -> %(param_3)s::VARCHAR AS field_1
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE
 LIMIT ALL OFFSET 0) AS read
WHERE engage_number(read.field_1) > CAST(%(param_4)s AS NUMERIC) AND strpos(engage_text(read.field_0), %(param_5)s::VARCHAR COLLATE "C") > %(strpos_1)s::INTEGER GROUP BY read.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_6)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = 'page'
-- param_2 = 'url'
-- param_3 = 'total'
-- param_4 = Decimal('100')
-- param_5 = '/sale'
-- param_6 = Decimal('1')
-- strpos_1 = 0

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT read.profile_id AS profile_id, 1 AS value
FROM (SELECT event.profile_id AS profile_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, (event.context -> %(param_1)s::VARCHAR) -> %(param_2)s::VARCHAR AS field_0, event.properties -> %(param_3)s::VARCHAR AS field_1
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read
WHERE engage_number(read.field_1) > CAST(%(param_4)s AS NUMERIC) AND strpos(engage_text(read.field_0), %(param_5)s::VARCHAR COLLATE "C") > %(strpos_1)s::INTEGER GROUP BY read.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_6)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = 'page'
-- param_2 = 'url'
-- param_3 = 'total'
-- param_4 = Decimal('100')
-- param_5 = '/sale'
-- param_6 = Decimal('1')
-- strpos_1 = 0
