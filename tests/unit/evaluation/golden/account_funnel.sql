-- event('Cart').where(event('Order').within(parent: 1 day).exists()).exists()

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT stream_0.account_id AS account_id, 'true'::jsonb AS value
FROM (SELECT event.account_id AS account_id, 1 AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS child_1
WHERE child_1.account_id = event.account_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > event.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= event.timestamp + %(param_2)s)) GROUP BY event.account_id) AS stream_0
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_3)s AS NUMERIC)) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=1)
-- param_3 = Decimal('1')

-- profiles
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[])) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS account LEFT OUTER JOIN (SELECT event.account_id AS account_id, 1 AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[])))) AND (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS child_1
WHERE child_1.account_id = event.account_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > event.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= event.timestamp + %(param_2)s)) GROUP BY event.account_id) AS stream_0 ON stream_0.account_id = account.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_3)s AS NUMERIC)) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=1)
-- param_3 = Decimal('1')

-- accounts
SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(%(accounts)s::BIGINT[])) AS account LEFT OUTER JOIN (SELECT event.account_id AS account_id, 1 AS value
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.account_id = any(%(accounts)s::BIGINT[]) AND (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS child_1
WHERE child_1.account_id = event.account_id AND child_1.name = %(name_2)s::VARCHAR COLLATE "C" AND child_1.timestamp > event.timestamp AND child_1.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND child_1.timestamp <= event.timestamp + %(param_2)s)) GROUP BY event.account_id) AS stream_0 ON stream_0.account_id = account.id
WHERE coalesce(stream_0.value, %(coalesce_1)s::INTEGER) >= CAST(%(param_3)s AS NUMERIC)
-- coalesce_1 = 0
-- name_1 = 'Cart'
-- name_2 = 'Order'
-- param_1 = 1
-- param_2 = datetime.timedelta(days=1)
-- param_3 = Decimal('1')
