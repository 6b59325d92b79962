-- trait('other_audience') = 'true'

-- all
SELECT trait_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT snapshots.profile_id AS profile_id, snapshots.value AS value
FROM snapshots
WHERE snapshots.definition_id = %(definition_id_1)s::INTEGER) AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE engage_text(trait_0.value) = %(param_1)s::VARCHAR COLLATE "C"
-- definition_id_1 = 7
-- param_1 = 'true'

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT snapshots.profile_id AS profile_id, snapshots.value AS value
FROM snapshots
WHERE snapshots.definition_id = %(definition_id_1)s::INTEGER AND snapshots.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 ON trait_0.profile_id = person.id
WHERE engage_text(trait_0.value) = %(param_1)s::VARCHAR COLLATE "C"
-- definition_id_1 = 7
-- param_1 = 'true'
