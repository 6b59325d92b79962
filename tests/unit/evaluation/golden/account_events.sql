-- event('Order Completed').within(30 days).count() >= 2

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT stream_0.account_id AS account_id, 'true'::jsonb AS value
FROM (SELECT event.account_id AS account_id, count(*) AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s GROUP BY event.account_id) AS stream_0
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('2')

-- profiles
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[])) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS account LEFT OUTER JOIN (SELECT event.account_id AS account_id, count(*) AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND event.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) GROUP BY event.account_id) AS stream_0 ON stream_0.account_id = account.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('2')

-- accounts
SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(%(accounts)s::BIGINT[])) AS account LEFT OUTER JOIN (SELECT event.account_id AS account_id, count(*) AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_1)s AND event.account_id = any(%(accounts)s::BIGINT[]) GROUP BY event.account_id) AS stream_0 ON stream_0.account_id = account.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_2)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Order Completed'
-- param_1 = datetime.timedelta(days=30)
-- param_2 = Decimal('2')
