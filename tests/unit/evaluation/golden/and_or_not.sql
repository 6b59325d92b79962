-- (event('Order Completed').exists() OR trait('plan') = 'gold') AND NOT event('Refund').within(30 days).exists()

-- all
SELECT coalesce(trait_1.profile_id, stream_0.profile_id) AS profile_id, 'true'::jsonb AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_1 FULL OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_2)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE GROUP BY event.profile_id) AS stream_0 ON trait_1.profile_id = stream_0.profile_id JOIN profiles AS profile ON profile.id = coalesce(trait_1.profile_id, stream_0.profile_id) AND profile.is_known
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM events AS none_0
WHERE none_0.profile_id = coalesce(trait_1.profile_id, stream_0.profile_id) AND none_0.name = %(name_3)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND none_0.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s)) AND (coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_3)s AS NUMERIC) OR engage_text(trait_1.value) = %(param_4)s::VARCHAR COLLATE "C")
-- coalesce_1 = 0
-- name_1 = 'plan'
-- name_2 = 'Order Completed'
-- name_3 = 'Refund'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=30)
-- param_3 = Decimal('1')
-- param_4 = 'gold'

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_1 ON trait_1.profile_id = person.id LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_2)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(%(profiles)s::BIGINT[]) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM events AS none_0
WHERE none_0.profile_id = person.id AND none_0.name = %(name_3)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND none_0.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s)) AND (coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_3)s AS NUMERIC) OR engage_text(trait_1.value) = %(param_4)s::VARCHAR COLLATE "C")
-- coalesce_1 = 0
-- name_1 = 'plan'
-- name_2 = 'Order Completed'
-- name_3 = 'Refund'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=30)
-- param_3 = Decimal('1')
-- param_4 = 'gold'
