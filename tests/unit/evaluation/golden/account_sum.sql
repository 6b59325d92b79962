-- event('Order Completed').within(90 days).sum(property('total'))

-- all
SELECT told.profile_id, of_account.value
FROM (SELECT DISTINCT ON (member.profile_id) member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known ORDER BY member.profile_id, member.timestamp DESC, member.account_id) AS told JOIN (SELECT stream_0.account_id AS account_id, engage_float(stream_0.value) AS value
FROM (SELECT read.account_id AS account_id, sum(engage_number(read.field_0)) AS value
FROM (SELECT event.account_id AS account_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s
 LIMIT ALL OFFSET 0) AS read GROUP BY read.account_id) AS stream_0
WHERE stream_0.value IS NOT NULL) AS of_account ON of_account.account_id = told.account_id
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = datetime.timedelta(days=90)

-- profiles
SELECT told.profile_id, of_account.value
FROM (SELECT DISTINCT ON (member.profile_id) member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[]) ORDER BY member.profile_id, member.timestamp DESC, member.account_id) AS told JOIN (SELECT stream_0.account_id AS account_id, engage_float(stream_0.value) AS value
FROM (SELECT read.account_id AS account_id, sum(engage_number(read.field_0)) AS value
FROM (SELECT event.account_id AS account_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s AND event.account_id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))
 LIMIT ALL OFFSET 0) AS read GROUP BY read.account_id) AS stream_0
WHERE stream_0.value IS NOT NULL) AS of_account ON of_account.account_id = told.account_id
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = datetime.timedelta(days=90)

-- accounts
SELECT stream_0.account_id AS account_id, engage_float(stream_0.value) AS value
FROM (SELECT read.account_id AS account_id, sum(engage_number(read.field_0)) AS value
FROM (SELECT event.account_id AS account_id, event.timestamp AS timestamp, event.id AS id, event.source_id AS source_id, event.properties -> %(param_1)s::VARCHAR AS field_0
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS event
WHERE event.name = %(name_1)s::VARCHAR COLLATE "C" AND event.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE AND event.timestamp >= %(as_of)s::TIMESTAMP WITH TIME ZONE - %(param_2)s AND event.account_id = any(%(accounts)s::BIGINT[])
 LIMIT ALL OFFSET 0) AS read GROUP BY read.account_id) AS stream_0
WHERE stream_0.value IS NOT NULL
-- name_1 = 'Order Completed'
-- param_1 = 'total'
-- param_2 = datetime.timedelta(days=90)
