-- trait('plan') = 'gold' AND ANY (event('Order Completed').count() >= 2)

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT trait_0.account_id AS account_id, 'true'::jsonb AS value
FROM (SELECT account_traits.account_id AS account_id, account_traits.value AS value
FROM account_traits
WHERE account_traits.name = %(name_1)s::VARCHAR COLLATE "C") AS trait_0 JOIN (SELECT user_.account_id AS account_id
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN (SELECT stream_0.profile_id AS profile_id, 'true'::jsonb AS value
FROM (SELECT event.profile_id AS profile_id, count(*) AS value
FROM events AS event
WHERE event.name = %(name_2)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE GROUP BY event.profile_id) AS stream_0 JOIN profiles AS profile ON profile.id = stream_0.profile_id AND profile.is_known
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_1)s AS NUMERIC)) AS met ON met.profile_id = user_.profile_id GROUP BY user_.account_id) AS users_0 ON users_0.account_id = trait_0.account_id
WHERE engage_text(trait_0.value) = %(param_2)s::VARCHAR COLLATE "C" AND users_0.account_id IS NOT NULL) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'plan'
-- name_2 = 'Order Completed'
-- param_1 = Decimal('2')
-- param_2 = 'gold'

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
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, count(*) AS value
FROM events AS event
WHERE event.name = %(name_2)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS mine JOIN account_members AS theirs ON theirs.account_id = mine.account_id
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_1)s AS NUMERIC)) AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY user_.account_id) AS users_0 ON users_0.account_id = account.id
WHERE engage_text(trait_0.value) = %(param_2)s::VARCHAR COLLATE "C" AND users_0.account_id IS NOT NULL) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'plan'
-- name_2 = 'Order Completed'
-- param_1 = Decimal('2')
-- param_2 = 'gold'

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
WHERE theirs.account_id = any(%(accounts)s::BIGINT[]))))) AS person LEFT OUTER JOIN (SELECT event.profile_id AS profile_id, count(*) AS value
FROM events AS event
WHERE event.name = %(name_2)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.profile_id = any(array((SELECT DISTINCT theirs.profile_id
FROM account_members AS theirs
WHERE theirs.account_id = any(%(accounts)s::BIGINT[])))) GROUP BY event.profile_id) AS stream_0 ON stream_0.profile_id = person.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_1)s AS NUMERIC)) AS met ON met.profile_id = user_.profile_id
WHERE user_.account_id = any(%(accounts)s::BIGINT[]) GROUP BY user_.account_id) AS users_0 ON users_0.account_id = account.id
WHERE engage_text(trait_0.value) = %(param_2)s::VARCHAR COLLATE "C" AND users_0.account_id IS NOT NULL
-- coalesce_1 = 0
-- name_1 = 'plan'
-- name_2 = 'Order Completed'
-- param_1 = Decimal('2')
-- param_2 = 'gold'
