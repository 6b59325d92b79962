-- trait('plan').absent()

-- all
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 ON trait_0.profile_id = person.id
WHERE NOT coalesce(jsonb_typeof(trait_0.value) != %(jsonb_typeof_1)s::VARCHAR, %(param_1)s)
-- jsonb_typeof_1 = 'null'
-- name_1 = 'plan'
-- param_1 = False

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 ON trait_0.profile_id = person.id
WHERE NOT coalesce(jsonb_typeof(trait_0.value) != %(jsonb_typeof_1)s::VARCHAR, %(param_1)s)
-- jsonb_typeof_1 = 'null'
-- name_1 = 'plan'
-- param_1 = False
