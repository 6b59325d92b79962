-- trait('plan') = 'gold'

-- all
SELECT trait_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE engage_text(trait_0.value) = %(param_1)s::VARCHAR COLLATE "C"
-- name_1 = 'plan'
-- param_1 = 'gold'

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 ON trait_0.profile_id = person.id
WHERE engage_text(trait_0.value) = %(param_1)s::VARCHAR COLLATE "C"
-- name_1 = 'plan'
-- param_1 = 'gold'
