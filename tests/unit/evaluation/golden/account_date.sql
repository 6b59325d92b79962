-- trait('renews').within_next(7 days) OR ANY (trait('birthday').within_next(7 days))

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT coalesce(trait_0.account_id, users_0.account_id) AS account_id, 'true'::jsonb AS value
FROM (SELECT account_traits.account_id AS account_id, account_traits.value AS value
FROM account_traits
WHERE account_traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 FULL OUTER JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN (SELECT trait_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_2)s::VARCHAR COLLATE "C") AS trait_0 JOIN profiles AS profile ON profile.id = trait_0.profile_id AND profile.is_known
WHERE CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_1)s::INTEGER) AS met ON met.profile_id = user_.profile_id GROUP BY user_.account_id) AS users_0 ON trait_0.account_id = users_0.account_id
WHERE CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_2)s::INTEGER OR users_0.account_id IS NOT NULL) AS of_account ON told.account_id = of_account.account_id GROUP BY told.profile_id
-- name_1 = 'renews'
-- name_2 = 'birthday'
-- param_1 = 7
-- param_2 = 7
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'
-- timezone_3 = 'UTC'
-- timezone_4 = 'UTC'

-- profiles
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[])) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS account LEFT OUTER JOIN (SELECT account_traits.account_id AS account_id, account_traits.value AS value
FROM account_traits
WHERE account_traits.name = %(name_1)s::VARCHAR COLLATE "C" AND account_traits.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS trait_0 ON trait_0.account_id = account.id LEFT OUTER JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN (SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_2)s::VARCHAR COLLATE "C" AND traits.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS trait_0 ON trait_0.profile_id = person.id
WHERE CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_1)s::INTEGER) AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY user_.account_id) AS users_0 ON users_0.account_id = account.id
WHERE CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_2)s::INTEGER OR users_0.account_id IS NOT NULL) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- name_1 = 'renews'
-- name_2 = 'birthday'
-- param_1 = 7
-- param_2 = 7
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'
-- timezone_3 = 'UTC'
-- timezone_4 = 'UTC'

-- accounts
SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(%(accounts)s::BIGINT[])) AS account LEFT OUTER JOIN (SELECT account_traits.account_id AS account_id, account_traits.value AS value
FROM account_traits
WHERE account_traits.name = %(name_1)s::VARCHAR COLLATE "C" AND account_traits.account_id = any(%(accounts)s::BIGINT[])) AS trait_0 ON trait_0.account_id = account.id LEFT OUTER JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN (SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT traits.profile_id AS profile_id, traits.value AS value
FROM traits
WHERE traits.name = %(name_2)s::VARCHAR COLLATE "C" AND traits.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[]))))) AS trait_0 ON trait_0.profile_id = person.id
WHERE CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_1)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_2)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_1)s::INTEGER) AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(%(accounts)s::BIGINT[]) GROUP BY user_.account_id) AS users_0 ON users_0.account_id = account.id
WHERE CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) >= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) AND CAST(timezone(%(timezone_3)s::VARCHAR, engage_instant(trait_0.value)) AS DATE) <= CAST(timezone(%(timezone_4)s::VARCHAR, %(as_of)s::TIMESTAMP WITH TIME ZONE) AS DATE) + %(param_2)s::INTEGER OR users_0.account_id IS NOT NULL
-- name_1 = 'renews'
-- name_2 = 'birthday'
-- param_1 = 7
-- param_2 = 7
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'
-- timezone_3 = 'UTC'
-- timezone_4 = 'UTC'

-- edges
SELECT told.profile_id, min(edge.at) AS at
FROM (SELECT dated.account_id AS account_id, least(CASE WHEN (CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_1)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_1)s AS TIMESTAMP WITH TIME ZONE) END, CASE WHEN (CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_2)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_1)s::VARCHAR, date_trunc(%(date_trunc_1)s::VARCHAR, timezone(%(timezone_2)s::VARCHAR, dated.at))) + %(param_2)s AS TIMESTAMP WITH TIME ZONE) END) AS at
FROM (SELECT account_traits.account_id AS account_id, engage_instant(account_traits.value) AS at
FROM account_traits
WHERE account_traits.name = %(name_1)s::VARCHAR COLLATE "C") AS dated UNION ALL SELECT user_.account_id AS account_id, one.at AS at
FROM (SELECT dated.profile_id AS profile_id, least(CASE WHEN (CAST(timezone(%(timezone_3)s::VARCHAR, date_trunc(%(date_trunc_2)s::VARCHAR, timezone(%(timezone_4)s::VARCHAR, dated.at))) + %(param_3)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_3)s::VARCHAR, date_trunc(%(date_trunc_2)s::VARCHAR, timezone(%(timezone_4)s::VARCHAR, dated.at))) + %(param_3)s AS TIMESTAMP WITH TIME ZONE) END, CASE WHEN (CAST(timezone(%(timezone_3)s::VARCHAR, date_trunc(%(date_trunc_2)s::VARCHAR, timezone(%(timezone_4)s::VARCHAR, dated.at))) + %(param_4)s AS TIMESTAMP WITH TIME ZONE) > %(as_of)s::TIMESTAMP WITH TIME ZONE) THEN CAST(timezone(%(timezone_3)s::VARCHAR, date_trunc(%(date_trunc_2)s::VARCHAR, timezone(%(timezone_4)s::VARCHAR, dated.at))) + %(param_4)s AS TIMESTAMP WITH TIME ZONE) END) AS at
FROM (SELECT traits.profile_id AS profile_id, engage_instant(traits.value) AS at
FROM traits
WHERE traits.name = %(name_2)s::VARCHAR COLLATE "C") AS dated) AS one JOIN (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member) AS user_ ON user_.profile_id = one.profile_id) AS edge JOIN (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member) AS told ON told.account_id = edge.account_id GROUP BY told.profile_id
HAVING min(edge.at) IS NOT NULL
-- date_trunc_1 = 'day'
-- date_trunc_2 = 'day'
-- name_1 = 'renews'
-- name_2 = 'birthday'
-- param_1 = datetime.timedelta(days=-7)
-- param_2 = datetime.timedelta(days=1)
-- param_3 = datetime.timedelta(days=-7)
-- param_4 = datetime.timedelta(days=1)
-- timezone_1 = 'UTC'
-- timezone_2 = 'UTC'
-- timezone_3 = 'UTC'
-- timezone_4 = 'UTC'
