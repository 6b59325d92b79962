-- event('Order Completed').count() = 0

-- all
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account) AS account
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS none_0
WHERE none_0.account_id = account.id AND none_0.name = %(name_1)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE))) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- name_1 = 'Order Completed'
-- param_1 = 1

-- profiles
SELECT told.profile_id, 'true'::jsonb AS value
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known AND member.profile_id = any(%(profiles)s::BIGINT[])) AS told JOIN (SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(array((SELECT DISTINCT mine.account_id
FROM account_members AS mine
WHERE mine.profile_id = any(%(profiles)s::BIGINT[]))))) AS account
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS none_0
WHERE none_0.account_id = account.id AND none_0.name = %(name_1)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE))) AS of_account ON of_account.account_id = told.account_id GROUP BY told.profile_id
-- name_1 = 'Order Completed'
-- param_1 = 1

-- accounts
SELECT account.id AS account_id, 'true'::jsonb AS value
FROM (SELECT account.id AS id
FROM accounts AS account
WHERE account.id = any(%(accounts)s::BIGINT[])) AS account
WHERE NOT (EXISTS (SELECT %(param_1)s::INTEGER AS anon_1
FROM (SELECT user_.account_id AS account_id, theirs.name AS name, theirs.timestamp AS timestamp, theirs.id AS id, theirs.source_id AS source_id, theirs.properties AS properties, theirs.context AS context
FROM (SELECT member.account_id AS account_id, member.profile_id AS profile_id
FROM account_members AS member JOIN profiles AS profile ON profile.id = member.profile_id
WHERE profile.is_known) AS user_ JOIN events AS theirs ON theirs.profile_id = user_.profile_id) AS none_0
WHERE none_0.account_id = account.id AND none_0.name = %(name_1)s::VARCHAR COLLATE "C" AND none_0.timestamp <= %(as_of)s::TIMESTAMP WITH TIME ZONE))
-- name_1 = 'Order Completed'
-- param_1 = 1
