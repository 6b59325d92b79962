-- event('Order Completed').within(30 days).count() = 0

-- all
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known) AS person
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM events AS none_0
WHERE none_0.profile_id = person.id AND none_0.name = %(name_1)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND none_0.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s))
-- name_1 = 'Order Completed'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=30)

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM events AS none_0
WHERE none_0.profile_id = person.id AND none_0.name = %(name_1)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND none_0.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s))
-- name_1 = 'Order Completed'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=30)
