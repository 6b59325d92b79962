-- trait('birthday').within_next(7 days)

-- all
SELECT trait_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_1)s::INTEGER
-- name_1 = 'birthday'
-- param_1 = 7
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'

-- profiles
SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(%(profiles)s::BIGINT[])) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C" AND traits.profile_id = any(%(profiles)s::BIGINT[])) AS trait_0 ON trait_0.profile_id = person.id
WHERE CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_1)s::INTEGER
-- name_1 = 'birthday'
-- param_1 = 7
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'

-- edges
SELECT edge.profile_id, min(edge.at) AS at
FROM (SELECT dated.profile_id AS profile_id, least(CASE WHEN (CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_1)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_1)s AS TIMESTAMP WITH TIME ZONE) END, CASE WHEN (CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_2)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_2)s AS TIMESTAMP WITH TIME ZONE) END) AS at
FROM (SELECT traits.profile_id AS profile_id, engage_instant(traits.value) AS at
FROM traits
WHERE traits.name = %(name_1)s::VARCHAR COLLATE "C") AS dated) AS edge GROUP BY edge.profile_id
HAVING min(edge.at) IS NOT NULL
-- date_trunc_1 = 'day'
-- name_1 = 'birthday'
-- param_1 = datetime.timedelta(days=-7)
-- param_2 = datetime.timedelta(days=1)
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'
