-- ALL (event('Order Completed').within(30 days).count() = 0 OR trait('other_audience') = 'true')

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT users_0.account_id AS account_id, 'true'::jsonb AS value
FROM (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ LEFT OUTER JOIN (SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known) AS person LEFT OUTER JOIN (SELECT snapshots.profile_id AS profile_id, snapshots.value AS value
FROM snapshots
WHERE snapshots.definition_id = %(definition_id_1)s::INTEGER) AS trait_1 ON trait_1.profile_id = person.id LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) = CAST(%(param_2)s AS NUMERIC) OR engage_text(trait_1.value) = %(param_3)s::VARCHAR COLLATE "C") AS met ON met.profile_id = user_.profile_id GROUP BY user_.account_id
HAVING count(*) = count(met.profile_id)) AS users_0
WHERE users_0.account_id IS NOT NULL) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- definition_id_1 = 7
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('0')
-- param_3 = 'true'

-- profiles
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[])) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS account LEFT OUTER JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ LEFT OUTER JOIN (SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT snapshots.profile_id AS profile_id, snapshots.value AS value
FROM snapshots
WHERE snapshots.definition_id = %(definition_id_1)s::INTEGER AND snapshots.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS trait_1 ON trait_1.profile_id = person.id LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND event.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) = CAST(%(param_2)s AS NUMERIC) OR engage_text(trait_1.value) = %(param_3)s::VARCHAR COLLATE "C") AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY user_.account_id
HAVING count(*) = count(met.profile_id)) AS users_0 ON users_0.account_id = account.id
WHERE users_0.account_id IS NOT NULL) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- definition_id_1 = 7
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('0')
-- param_3 = 'true'

-- accounts
SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(%(accounts)s::BIGINT[])) AS account LEFT OUTER JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ LEFT OUTER JOIN (SELECT person.id AS profile_id, 'true'::jsonb AS value
FROM (SELECT profile.id AS id
FROM profiles AS profile
WHERE profile.is_known AND profile.id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT snapshots.profile_id AS profile_id, snapshots.value AS value
FROM snapshots
WHERE snapshots.definition_id = %(definition_id_1)s::INTEGER AND snapshots.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[]))))) AS trait_1 ON trait_1.profile_id = person.id LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, 1 AS value
FROM events AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND event.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[])))) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) = CAST(%(param_2)s AS NUMERIC) OR engage_text(trait_1.value) = %(param_3)s::VARCHAR COLLATE "C") AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(%(accounts)s::BIGINT[]) GROUP BY user_.account_id
HAVING count(*) = count(met.profile_id)) AS users_0 ON users_0.account_id = account.id
WHERE users_0.account_id IS NOT NULL
-- coalesce_1 = 0
-- definition_id_1 = 7
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('0')
-- param_3 = 'true'
