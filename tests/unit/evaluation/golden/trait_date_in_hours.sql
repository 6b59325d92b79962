-- trait('trial_ends_at').within_last(48 hours)

-- all
SELECT trait_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE engage_instant(trait_0.value) >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND engage_instant(trait_0.value) <= %(as_of)s::TIMESTAMP WITH TIME ZONE
-- name_1 = 'trial_ends_at'
-- param_1 = datetime.timedelta(days=2)

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 ON trait_0.profile_id = person.id
WHERE engage_instant(trait_0.value) >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND engage_instant(trait_0.value) <= %(as_of)s::TIMESTAMP WITH TIME ZONE
-- name_1 = 'trial_ends_at'
-- param_1 = datetime.timedelta(days=2)

-- edges
SELECT edge.profile_id, min(edge.at) AS at
FROM (SELECT dated.profile_id AS profile_id, least(CASE WHEN (CAST(dated.at + %(param_1)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(dated.at + %(param_1)s AS TIMESTAMP WITH TIME ZONE) END, CASE WHEN (CAST(dated.at + %(param_2)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(dated.at + %(param_2)s AS TIMESTAMP WITH TIME ZONE) END) AS at
FROM (SELECT traits.profile_id AS profile_id, engage_instant(traits.value) AS at
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS dated) AS edge GROUP BY edge.profile_id
HAVING min(edge.at) IS NOT NULL
-- name_1 = 'trial_ends_at'
-- param_1 = datetime.timedelta(0)
-- param_2 = datetime.timedelta(days=2, microseconds=1)
