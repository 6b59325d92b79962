-- trait('address.city')

-- all
SELECT trait_0.profile_id AS profile_id, trait_0.value AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value -> %(param_1)s::VARCHAR AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE coalesce(jsonb_typeof(trait_0.value) != %(jsonb_typeof_1)s::VARCHAR, %(param_2)s)
-- jsonb_typeof_1 = 'null'
-- name_1 = 'address'
-- param_1 = 'city'
-- param_2 = False

-- profiles
SELECT trait_0.profile_id AS profile_id, trait_0.value AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value -> %(param_1)s::VARCHAR AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])
WHERE coalesce(jsonb_typeof(trait_0.value) != %(jsonb_typeof_1)s::VARCHAR, %(param_2)s)
-- jsonb_typeof_1 = 'null'
-- name_1 = 'address'
-- param_1 = 'city'
-- param_2 = False
